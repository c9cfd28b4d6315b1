//! A chain that grows block by block, with validators that report what the test says.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::LazyLock;
use std::time::Duration;

use lucid_score::draw::EpochDraw;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::block::{Block, Header, items_hash};
use lucid_types::codec::{decode, encode};
use lucid_types::command::{Action, Command, Entry, Registration};
use lucid_types::genesis::{Genesis, PaymentNetwork};
use lucid_types::id::{Hash, NodeId, PayoutAddress, PoolId, SolidBlockId, StateRoot, ValidatorId};
use lucid_types::key::NodeKey;
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::payout::{AccountKind, VaultLimits};
use lucid_types::payout_tree::AccountId;
use lucid_types::policy::Policy;
use lucid_types::pool::{PoolAction, SplitRule};
use lucid_types::report::{AssignedWorker, Observation, ReportCommitment, Reveal, ScoreReport};
use lucid_types::signed::{MultiSigned, Signed};
use lucid_types::stamp::{Stamp, StampTarget};
use lucid_types::ticket::Ticket;
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::validator::Validator;
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vault::{SignerSet, TreasurySigner, Vault};

use super::entry::newcomer;
use super::start::{Pool, Start, Worker};
use crate::chain_spec::ChainSpec;
use crate::ledger::check::{InvalidBlock, check_reveal};
use crate::ledger::command::{CommandRefused, SignedCommand, check};
use crate::ledger::event::Event;
use crate::ledger::execute::{Execution, transition, validate};
use crate::ledger::pool::{Account, PoolState};
use crate::ledger::registry::Node;
use crate::ledger::state::{EpochScores, FinalEpoch, Overlay, PendingEpoch, Rows, State};
use crate::ledger::table::{Closes, Draws, Nodes, Pools, ScoreRoots};

pub(super) const VALIDATORS: usize = 4;
pub(super) const WORKERS: usize = 3;
pub(super) const BUDGET: u64 = 120_000_000;

/// How many keys one account has had at most, one after the other.
pub(super) const ROTATIONS: u8 = 4;

/// The ids of [`validator_key`].
static ACCOUNTS: LazyLock<Vec<NodeId>> = LazyLock::new(|| (0..100).map(|i| validator_key(i).account()).collect());

/// The keys of everybody who may be a validator: their ids take long to compute.
static SIGNERS: LazyLock<BTreeMap<ValidatorId, ValidatorKey>> = LazyLock::new(|| {
    let accounts = (0..100).map(validator_key).chain((0..WORKERS).map(worker_key)).chain((1..=6).map(newcomer));
    let keys = accounts.flat_map(|account| (0..ROTATIONS).map(move |nth| signer_of(&account, nth)));
    keys.map(|key| (key.id(), key)).collect()
});

/// The key of an account: its node's, not that with which it signs as a validator.
pub(super) fn validator_key(i: usize) -> NodeKey {
    NodeKey::from_seed(&[u8::try_from(i).unwrap() + 1; 32])
}

pub(super) fn validator(i: usize) -> NodeId {
    ACCOUNTS[i]
}

/// With what an account signs as a validator, after so many rotations.
pub(super) fn signer_of(account: &NodeKey, nth: u8) -> ValidatorKey {
    ValidatorKey::from_seed(Hash::derive("lucid test validator key 1", &[account.seed(), &[nth]]).as_bytes())
}

/// With what validator `i` signs, before it has rotated its key.
pub(super) fn signer(i: usize) -> ValidatorKey {
    signer_of(&validator_key(i), 0)
}

pub(super) fn signer_id(i: usize) -> ValidatorId {
    signer(i).id()
}

/// The secret key with this id.
pub(super) fn key_of(id: &ValidatorId) -> &'static ValidatorKey {
    &SIGNERS[id]
}

/// Somebody who runs its own validator.
pub(super) fn as_validator(key: &NodeKey, power: u64) -> Validator {
    let node = key.account();
    Validator { node, power, operator: node, keys: signer_of(key, 0).keys(&node) }
}

/// The first validators, of power 1.
pub(super) fn members(count: usize) -> Vec<Validator> {
    (0..count).map(|i| as_validator(&validator_key(i), 1)).collect()
}

pub(super) fn worker_key(i: usize) -> NodeKey {
    NodeKey::from_seed(&[u8::try_from(i).unwrap() + 101; 32])
}

pub(super) fn worker(i: usize) -> NodeId {
    worker_key(i).account()
}

pub(super) fn address(i: usize) -> PayoutAddress {
    PayoutAddress::from_hash20([u8::try_from(i).unwrap(); 20])
}

/// Four validators of power 1, three workers in one pool, a settlement every two epochs.
pub(super) fn start() -> Start {
    let workers = (0..WORKERS).map(|i| Worker {
        node: worker(i),
        operator: worker(i),
        payout_address: address(i + 1),
        gas_address: Some(address(i + 50)),
        capacity: Capacity::default(),
    });
    let genesis = Genesis {
        name: "ledger".into(),
        genesis_time: UnixMillis::new(1_000_000),
        tron: PaymentNetwork {
            network: "local".into(),
            genesis_block: SolidBlockId::from_bytes([1; 32]),
            usdt: address(200),
        },
        policy: Policy::local(Duration::from_secs(5), 2, None),
        validators: members(VALIDATORS),
    };
    let pool = Pool {
        name: "pool".into(),
        owner: validator(0),
        members: (0..WORKERS).map(worker).collect(),
        budget: MicroUsdt::new(BUDGET),
        split: SplitRule::Equal,
        commission: Ppm::new(50_000),
        commission_address: address(99),
        vault: Vault {
            address: address(100),
            nonce: 0,
            limits: VaultLimits { cap: MicroUsdt::new(1 << 40), push_fee: MicroUsdt::ZERO },
            signers: signers(1, 2),
        },
    };
    Start { genesis, workers: workers.collect(), pools: vec![pool] }
}

/// Validators 0 to 2 sign, `threshold` of them together.
pub(super) fn signers(era: u32, threshold: u8) -> SignerSet {
    let signer = |i| TreasurySigner { node: validator(i), key_address: address(110 + i) };
    SignerSet { era, threshold, members: (0..3).map(signer).collect() }
}

pub(super) fn start_with(change: impl FnOnce(&mut Start)) -> Start {
    let mut start = start();
    change(&mut start);
    start
}

/// What a validator may have measured of a worker: pings answered of four, and whether an echo was verified. The throughput is such that
/// echoes stay of 256 KiB.
pub(super) fn observation(answered: u8, echoed: bool) -> Observation {
    Observation {
        pings_sent: 4,
        pings_answered: answered,
        rtt_us: LogScale::encode(if answered > 0 { 800 } else { 0 }),
        echo_kbit_s: Some(LogScale::encode(u64::from(echoed) * 8_000)),
        // Where it was agreed to be.
        group: None,
    }
}

/// A report on workers of whom none was agreed to be anywhere, all with echoes.
pub(super) fn report_of(epoch: Epoch, seen: &[Option<Observation>]) -> ScoreReport {
    let worker = AssignedWorker { has_echo: true, group: NetworkGroup::NONE };
    let assigned: Vec<_> = seen.iter().map(|seen| (worker, *seen)).collect();
    ScoreReport::new(epoch, &assigned, &[])
}

/// Every worker did everything.
pub(super) fn all_good(_validator: usize, _worker: usize) -> Option<Observation> {
    Some(observation(4, true))
}

#[derive(Clone)]
pub(super) struct Chain {
    pub(super) start: Start,
    pub(super) spec: ChainSpec,
    pub(super) state: State,
    /// Blocks by height.
    pub(super) blocks: BTreeMap<Height, Block>,
    /// Final epochs.
    pub(super) finalised: BTreeMap<Epoch, FinalEpoch>,
    /// The rows as a disk would hold them: written by deltas alone.
    disk: BTreeMap<Vec<u8>, Vec<u8>>,
    own: BTreeMap<(Epoch, NodeId), Signed<Reveal>>,
    /// Chunks that every storage seat finds proved, as far as it may.
    pub(super) proved: u16,
}

impl Chain {
    pub(super) fn new(start: Start) -> Self {
        let spec = ChainSpec::new(start.genesis.clone()).unwrap();
        let state = start.state(&spec);
        let disk = state.encoded_from(Bound::Unbounded).map(|(key, value)| (key.to_vec(), value)).collect();
        let (blocks, finalised, own, proved) = Default::default();
        Self { start, spec, state, blocks, finalised, disk, own, proved }
    }

    /// A chain of so many epochs in which everything went well; their scores are final.
    pub(super) fn grown(start: Start, epochs: u64) -> Self {
        let mut chain = Self::new(start);
        for _ in 0..epochs {
            chain.step(all_good);
        }
        chain
    }

    /// The first pool.
    pub(super) fn pool_id(&self) -> PoolId {
        PoolId::derive(self.spec.id(), &self.start.pools[0].name)
    }

    pub(super) fn pool(&self) -> &PoolState {
        self.state.pool(&self.pool_id()).unwrap()
    }

    /// Changes the pool as no block does.
    pub(super) fn change_pool(&mut self, change: impl FnOnce(&mut PoolState)) {
        let id = self.pool_id();
        self.change(|rows| change(rows.get_mut::<Pools>(&id).unwrap()));
    }

    /// Changes a node's row as no block does yet.
    pub(super) fn change_node(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        self.change(|rows| change(rows.get_mut::<Nodes>(&id).unwrap()));
    }

    /// Changes rows as no block does.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Overlay<'_>)) {
        self.state = self.state.changed(change);
        self.disk = self.state.encoded_from(Bound::Unbounded).map(|(key, value)| (key.to_vec(), value)).collect();
    }

    /// What the pool owes, by account.
    pub(super) fn accounts(&self) -> BTreeMap<AccountId, Account> {
        self.state.accounts(&self.pool_id()).map(|(id, account)| (id, account.clone())).collect()
    }

    /// Sum of all owed totals of the pool.
    pub(super) fn owed(&self) -> MicroUsdt {
        self.state.owed(&self.pool_id()).unwrap()
    }

    /// An account of the pool, if it is known.
    pub(super) fn account(&self, kind: AccountKind, node: NodeId) -> Option<&Account> {
        self.state.account(&self.pool_id(), &self.account_id(kind, node))
    }

    pub(super) fn account_id(&self, kind: AccountKind, node: NodeId) -> AccountId {
        AccountId::derive(self.spec.id(), &self.pool_id(), kind, &node)
    }

    /// The next command of the pool's owner, validator 0, signed by these validators.
    pub(super) fn command(&self, action: PoolAction, by: &[usize]) -> SignedCommand {
        self.later_command(0, action, by)
    }

    /// The one after so many others.
    pub(super) fn later_command(&self, others: u64, action: PoolAction, by: &[usize]) -> SignedCommand {
        let nonce = self.state.nonce(&validator(0)).next + others;
        let action = Action::Pool { pool: self.pool_id(), action };
        let keys: Vec<_> = by.iter().map(|i| validator_key(*i)).collect();
        self.sign(Command { nonce, ..self.draft_of(validator(0), action) }, &keys)
    }

    /// The account's next command, with an hour to go.
    pub(super) fn draft_of(&self, account: NodeId, action: Action) -> Command {
        let until = self.state.time().after(Duration::from_hours(1));
        Command { account, nonce: self.state.nonce(&account).next, until, action }
    }

    /// A command signed with these keys.
    pub(super) fn sign(&self, command: Command, keys: &[NodeKey]) -> SignedCommand {
        let sign = |key: &NodeKey| {
            let signed = key.sign_command(self.spec.id(), command.clone()).into_inner();
            (signed.signer, signed.signature)
        };
        MultiSigned::collect(command.clone(), keys.iter().map(sign).collect::<Vec<_>>())
    }

    /// The next command of the account of this key, signed by it and by these.
    pub(super) fn give(&self, key: &NodeKey, action: Action, others: &[&NodeKey]) -> SignedCommand {
        let keys: Vec<_> = [key].into_iter().chain(others.iter().copied()).cloned().collect();
        self.sign(self.draft_of(key.account(), action), &keys)
    }

    /// Adopts a block with this command in it, if it applies.
    pub(super) fn take(&mut self, command: SignedCommand) -> Result<Vec<Event>, CommandRefused> {
        check(&self.spec, &self.state, &command, self.state.next_time(&self.spec))?;
        Ok(self.step_with(vec![command]))
    }

    /// A stamp of as many bits as are asked for at the newest close.
    pub(super) fn stamp(&self, account: NodeId, pool: Option<PoolId>) -> Stamp {
        let (epoch, _) = self.state.newest_close().unwrap();
        let bits = self.state.stamp_bits(pool.as_ref(), epoch).unwrap();
        self.stamp_of(account, pool, (epoch, bits), true)
    }

    /// A stamp for this epoch of at least so many bits, or of fewer.
    pub(super) fn stamp_of(
        &self,
        account: NodeId,
        pool: Option<PoolId>,
        (epoch, bits): (Epoch, u8),
        is_enough: bool,
    ) -> Stamp {
        let beacon = self.state.get::<Closes>(&epoch).map_or(self.state.head().beacon, |close| close.beacon);
        let target = StampTarget { network: *self.spec.id(), account, pool, beacon };
        let mut stamps = (0..).map(|nonce| Stamp { epoch, nonce });
        stamps.find(|stamp| (stamp.bits(&target) >= u32::from(bits)) == is_enough).unwrap()
    }

    /// What makes an account of this key, paid at this address.
    pub(super) fn registration(key: &NodeKey, to: usize, entry: Entry) -> Action {
        Action::Register(Registration {
            operator: key.account(),
            payout_address: address(to),
            payout_key: None,
            gas_address: None,
            capacity: Capacity::default(),
            entry,
        })
    }

    /// Registers an account that works for no pool.
    pub(super) fn register(&mut self, key: &NodeKey) {
        let entry = Entry::Network(self.stamp(key.account(), None));
        let command = self.give(key, Self::registration(key, 150, entry), &[]);
        self.take(command).unwrap();
    }

    /// Registers a member of the pool, by a stamp.
    pub(super) fn enlist(&mut self, key: &NodeKey, pool: PoolId) {
        let ticket = Ticket::Stamp(self.stamp(key.account(), Some(pool)));
        let command = self.give(key, Self::registration(key, 150, Entry::Pool { pool, ticket }), &[]);
        self.take(command).unwrap();
    }

    /// Closes epochs one after the other, whoever is measured, until this one is open.
    pub(super) fn reach(&mut self, epoch: u64) {
        while self.state.closed().next().get() < epoch {
            self.step(all_good);
        }
    }

    /// A block in between, with these commands.
    pub(super) fn step_with(&mut self, commands: Vec<SignedCommand>) -> Vec<Event> {
        let block = Block { commands, ..self.at(self.state.next_time(&self.spec)) };
        let block = self.seal(block);
        self.apply(block)
    }

    /// Validator `i`'s commitment to a report; its reveal is kept for when it is due.
    pub(super) fn commitment(&mut self, i: usize, report: ScoreReport) -> Signed<ReportCommitment> {
        let epoch = report.epoch;
        let (account, id) = (validator(i), *self.spec.id());
        // That of the epoch's draw, whatever key the validator has by now.
        let key = self.state.reporter(epoch, &account).map_or_else(|| signer(i), |id| key_of(&id).clone());
        let mut salt = [u8::try_from(i).unwrap(); 32];
        salt[..8].copy_from_slice(&epoch.get().to_le_bytes());
        let reveal = Reveal { report, salt };
        let commitment = ReportCommitment { epoch, report: reveal.commitment(&id, &account) };
        self.own.insert((epoch, account), key.sign_report(&id, reveal).into_inner());
        key.sign_report_commitment(&id, commitment).into_inner()
    }

    /// The reveal behind a commitment.
    pub(super) fn reveal(&self, i: usize, epoch: u64) -> Signed<Reveal> {
        self.own[&(Epoch::new(epoch), validator(i))].clone()
    }

    /// The next block: the one that closes the open epoch or, while a window is open, one with every commitment and reveal that may
    /// stand in it.
    pub(super) fn draft(&mut self, observe: impl Fn(usize, usize) -> Option<Observation>) -> Block {
        let end = self.spec.genesis().epoch_end(self.state.closed().next());
        let is_closing = self.state.pending().next().is_none();
        let least = self.state.next_time(&self.spec);
        let mut block = self.at(if is_closing { end.max(least) } else { least });
        let next = self.state.height().next();
        let spec = self.spec.clone();
        let is_open = |pending: &PendingEpoch| pending.windows(&spec).commitments().contains(&next);
        let state = self.state.clone();
        for (epoch, _) in state.pending().filter(|(_, pending)| is_open(pending)) {
            let draw = state.get::<Draws>(&epoch).unwrap();
            let reports = |id: &&ValidatorId| !state.has_committed(epoch, id);
            for reporter in draw.reporters.iter().filter(reports) {
                let account = state.validator_account(reporter).unwrap();
                let Some(i) = ACCOUNTS.iter().position(|it| *it == account) else { continue };
                let report = self.report(epoch, draw, (i, reporter), &observe);
                block.commitments.push(self.commitment(i, report));
            }
        }
        block.commitments.sort_by_key(|commitment| (commitment.record.epoch, commitment.signer));
        let is_due = |reveal: &&Signed<Reveal>| check_reveal(&self.spec, &self.state, reveal).is_ok();
        block.reveals = self.own.values().filter(is_due).cloned().collect();
        block.reveals.sort_by_key(|reveal| (reveal.record.report.epoch, reveal.signer));
        self.seal(block)
    }

    /// What validator `i` measured of the workers assigned to it; they are numbered as at the start, later ones are
    /// number [`WORKERS`].
    fn report(
        &self,
        epoch: Epoch,
        draw: &EpochDraw,
        (i, reporter): (usize, &ValidatorId),
        observe: &impl Fn(usize, usize) -> Option<Observation>,
    ) -> ScoreReport {
        let number: BTreeMap<_, _> = self.start.workers.iter().map(|worker| worker.node).zip(0..).collect();
        let seen = |worker: &NodeId| observe(i, number.get(worker).copied().unwrap_or(WORKERS));
        let assigned = draw.assignment(reporter).unwrap().map(|(worker, _)| (worker.assigned(), seen(&worker.node)));
        let stored = draw.storage_assignment(reporter).unwrap().map(|(worker, _)| Some(self.proved.min(worker.quota)));
        ScoreReport::new(epoch, &assigned.collect::<Vec<_>>(), &stored.collect::<Vec<_>>())
    }

    /// The next block, of this time, without anything in it.
    pub(super) fn at(&self, time: UnixMillis) -> Block {
        let height = self.state.height().next();
        let proposer = self.state.next_proposers().of(0).keys.id;
        self.seal(
            Block {
                header: Header {
                    height,
                    parent: self.state.block(),
                    round: 0,
                    proposer,
                    time,
                    randao: key_of(&proposer).bls_key().sign_randao(self.spec.id(), height),
                    next_set: Hash::from_bytes([0; 32]),
                    state_root: StateRoot::from_bytes([0; 32]),
                    items: items_hash(&[]),
                },
                commitments: Vec::new(),
                reveals: Vec::new(),
                commands: Vec::new(),
                evidence: Vec::new(),
            }
            .sealed(),
        )
    }

    /// Gives a block the roots that it leads to, if it leads anywhere.
    pub(super) fn seal(&self, mut block: Block) -> Block {
        if let Ok(applied) = transition(&self.spec, &self.state, &block) {
            block.header.next_set = applied.state.sets().newest().1.hash();
            block.header.state_root = applied.state.root();
        }
        block.sealed()
    }

    /// What the ledger says to a block whose signatures are right.
    pub(super) fn validate(&self, block: Block) -> Result<Execution, InvalidBlock> {
        validate(&self.spec, &self.state, &block.sealed().verify(self.spec.id()).unwrap())
    }

    /// Adopts a block.
    pub(super) fn apply(&mut self, block: Block) -> Vec<Event> {
        let block = block.sealed();
        let (hash, root) = (block.hash(), block.header.state_root);
        let Execution { state, delta, finalised, events } = self.validate(block.clone()).unwrap();
        assert_eq!((state.block(), state.root()), (hash, root));
        assert!(state.accounts_balance(), "invariant 4 at height {}", state.height());
        for (key, value) in delta.0 {
            match value {
                Some(value) => self.disk.insert(key, value),
                None => self.disk.remove(&key),
            };
        }
        assert_eq!(State::from_rows(hash, &self.disk).unwrap(), state, "the deltas make the state");
        if let Some(FinalEpoch { scores, .. }) = &finalised {
            assert_eq!(decode::<EpochScores>(&encode(scores)).unwrap(), *scores);
            assert_eq!(state.get::<ScoreRoots>(&scores.epoch), Some(&scores.root()));
        }
        self.finalised.extend(finalised.map(|it| (it.scores.epoch, it)));
        self.blocks.insert(block.header.height, block);
        self.state = state;
        events
    }

    /// Ends the process and starts another, which has what the disk has.
    pub(super) fn crash(&mut self) {
        let before = self.state.root();
        self.state = State::from_rows(self.state.block(), &self.disk).unwrap();
        assert_eq!(self.state.root(), before);
    }

    /// Drafts and adopts the next block.
    pub(super) fn block(&mut self, observe: impl Fn(usize, usize) -> Option<Observation>) -> Vec<Event> {
        let block = self.draft(observe);
        self.apply(block)
    }

    /// Closes the open epoch, and goes on until its scores are final.
    pub(super) fn step(&mut self, observe: impl Fn(usize, usize) -> Option<Observation>) -> Vec<Event> {
        self.step_revealing(observe, |_| true)
    }

    /// The same, and some of the first validators do not reveal what they committed to.
    pub(super) fn step_revealing(
        &mut self,
        observe: impl Fn(usize, usize) -> Option<Observation>,
        reveals: impl Fn(usize) -> bool,
    ) -> Vec<Event> {
        let mut events = self.block(&observe);
        while self.state.pending().next().is_some() {
            let mut block = self.draft(&observe);
            let is_hidden =
                |reveal: &Signed<Reveal>| (0..VALIDATORS).any(|i| !reveals(i) && signer_id(i) == reveal.signer);
            block.reveals.retain(|reveal| !is_hidden(reveal));
            let block = self.seal(block);
            events.extend(self.apply(block));
        }
        events
    }
}
