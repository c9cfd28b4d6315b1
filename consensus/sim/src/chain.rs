//! The ledger without the engine: a chain that grows block by block. [`Conduct`] says what validators measured, and how they cheat.
//!
//! Blocks are built and validated as by any node, so a cheat that makes no valid block ends the simulation. There is no network: every
//! commitment and reveal is there for the first block that may carry it, unless its proposer leaves it out.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::commands::Source;
use lucid_consensus::ledger::build::{Pending, Turn, build};
use lucid_consensus::ledger::check::InvalidBlock;
use lucid_consensus::ledger::command::SignedCommand;
use lucid_consensus::ledger::execute::{Execution, validate};
use lucid_consensus::ledger::state::{FinalEpoch, PendingEpoch, Rows, State};
use lucid_consensus::ledger::table::Draws;
use lucid_types::bls::BlsSignature;
use lucid_types::id::{Hash, NodeId, PoolId, ValidatorId};
use lucid_types::payout::AccountKind;
use lucid_types::payout_tree::AccountId;
use lucid_types::report::{ReportCommitment, Reveal, ScoreReport};
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::validator_key::ValidatorKey;

/// A height is decided in one of so many rounds: in the last one whether its proposer likes it or not.
const MAX_ROUNDS: u32 = 64;

/// What validators do, by their numbers in the genesis. What is provided is honest.
pub trait Conduct {
    /// What a validator reports of an epoch that is over, with its draw in the chain's state; `None` if it commits to nothing. Asked once.
    fn report(&mut self, chain: &Chain, epoch: Epoch, validator: usize) -> Option<ScoreReport>;

    /// What it reveals of a report that it has committed to; `None` if it withholds it. Asked once all commitments are in the chain.
    /// `others` are the reveals of the epoch that have been made by then.
    fn reveal(
        &mut self,
        _validator: usize,
        committed: &ScoreReport,
        _others: &BTreeMap<usize, ScoreReport>,
    ) -> Option<ScoreReport> {
        Some(committed.clone())
    }

    /// Whether a proposer takes a validator's commitments and reveals into its block.
    fn includes(&mut self, _proposer: usize, _validator: usize) -> bool {
        true
    }

    /// Whether a proposer proposes the next block. If not, the next round's proposer has the turn.
    fn proposes(&mut self, _chain: &Chain, _proposer: usize, _key: &ValidatorKey) -> bool {
        true
    }

    /// Another contribution to the beacon than the one that there is. No valid block holds it, under the rules of the specification.
    fn contribution(&mut self, _chain: &Chain, _proposer: usize, _key: &ValidatorKey) -> Option<BlsSignature> {
        None
    }
}

/// A report of an epoch whose scores are not final.
struct Own {
    commitment: Verified<Signed<ReportCommitment>>,
    report: ScoreReport,
    /// `None` until it was asked for.
    reveal: Option<Option<Verified<Signed<Reveal>>>>,
}

/// A chain, and the keys of its validators.
pub struct Chain {
    spec: Arc<ChainSpec>,
    state: State,
    keys: Vec<ValidatorKey>,
    numbers: BTreeMap<ValidatorId, usize>,
    own: BTreeMap<(Epoch, usize), Own>,
}

impl Chain {
    /// A chain that begins with this state. `keys` are those of the validators of the genesis, in its order.
    pub fn new(spec: Arc<ChainSpec>, first: State, keys: Vec<ValidatorKey>) -> Self {
        let numbers = keys.iter().zip(0..).map(|(key, number)| (key.id(), number)).collect();
        Self { spec, state: first, keys, numbers, own: BTreeMap::new() }
    }

    /// The network.
    pub const fn spec(&self) -> &Arc<ChainSpec> {
        &self.spec
    }

    /// The state after the newest block.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The epoch that is open: the one after the newest that is closed.
    pub fn open(&self) -> Epoch {
        self.state.closed().next()
    }

    /// What an account of a pool was owed so far, in micro-USDT, that which is held included; 0 if there is none.
    pub fn owed(&self, pool: &PoolId, kind: AccountKind, node: &NodeId) -> u64 {
        let id = AccountId::derive(self.spec.id(), pool, kind, node);
        self.state.account(pool, &id).map_or(0, |account| account.owed.get() + account.held.get())
    }

    /// Goes on until the scores of the open epoch are final. Commands are in a block in the middle of it.
    pub fn epoch(&mut self, conduct: &mut dyn Conduct, commands: &[SignedCommand]) -> FinalEpoch {
        let (epoch, genesis) = (self.open(), self.spec.genesis());
        let (middle, end) = (genesis.epoch_start(epoch).after(genesis.policy.epoch() / 2), genesis.epoch_end(epoch));
        if !commands.is_empty() {
            self.block(conduct, middle, commands);
        }
        let mut finalised = self.block(conduct, end, &[]).finalised;
        while self.state.final_through() < epoch {
            finalised = self.block(conduct, self.state.time(), &[]).finalised;
        }
        self.own.retain(|(of, _), _| *of > epoch);
        finalised.unwrap()
    }

    /// The next block, not before this time.
    fn block(&mut self, conduct: &mut dyn Conduct, time: UnixMillis, commands: &[SignedCommand]) -> Execution {
        self.commit(conduct);
        self.reveal(conduct);
        let (round, proposer) = self.turn(conduct);
        let (spec, state, key) = (&self.spec, &self.state, &self.keys[proposer]);
        let mut pending = Pending::default();
        for ((_, validator), own) in &self.own {
            if conduct.includes(proposer, *validator) {
                pending.reports.add_commitment(spec, state, own.commitment.clone());
                if let Some(Some(reveal)) = &own.reveal {
                    pending.reports.add_reveal(spec, state, reveal.clone());
                }
            }
        }
        let now = time.max(state.next_time(spec));
        for command in commands {
            let command = command.clone().verify(spec.id()).unwrap();
            pending.commands.add(spec, state, command, now, Source::Peer).unwrap();
        }
        let (mut block, _) = build(spec, state, &pending, Turn { key, round, now }).unwrap();
        assert_eq!(block.commands.len(), commands.len(), "a command has no effect");
        if let Some(randao) = conduct.contribution(self, proposer, key) {
            block.header.randao = randao;
            let verified = block.clone().verify(spec.id()).unwrap();
            if let Err(InvalidBlock::StateRoot { expected, .. }) = validate(spec, state, &verified) {
                block.header.state_root = expected;
            }
        }
        let applied = validate(spec, state, &block.verify(spec.id()).unwrap()).unwrap();
        assert!(applied.state.accounts_balance(), "invariant 4 at height {}", applied.state.height());
        self.state = applied.state.clone();
        applied
    }

    /// Epochs in one of whose windows the next block is.
    fn in_window(&self, is_open: impl Fn(&PendingEpoch, Height) -> bool) -> Vec<Epoch> {
        let next = self.state.height().next();
        self.state.pending().filter(|(_, pending)| is_open(pending, next)).map(|(epoch, _)| epoch).collect()
    }

    /// Validators commit to their reports of the epochs whose windows are open.
    fn commit(&mut self, conduct: &mut dyn Conduct) {
        for epoch in self.in_window(|pending, next| pending.windows(&self.spec).commitments().contains(&next)) {
            let reporters = self.state.get::<Draws>(&epoch).unwrap().reporters.iter();
            let mut reporters: Vec<_> = reporters.map(|id| self.numbers[id]).collect();
            reporters.sort_unstable();
            for validator in reporters {
                if self.own.contains_key(&(epoch, validator)) {
                    continue;
                }
                let Some(report) = conduct.report(self, epoch, validator) else { continue };
                let (id, key) = (self.spec.id(), &self.keys[validator]);
                let account = self.state.validator_account(&key.id()).unwrap();
                let reveal = Reveal { report, salt: Self::salt(epoch, validator) };
                let commitment = ReportCommitment { epoch, report: reveal.commitment(id, &account) };
                let commitment = key.sign_report_commitment(id, commitment);
                self.own.insert((epoch, validator), Own { commitment, report: reveal.report, reveal: None });
            }
        }
    }

    /// Validators reveal what they have committed to, one after the other.
    fn reveal(&mut self, conduct: &mut dyn Conduct) {
        for epoch in self.in_window(|pending, next| pending.windows(&self.spec).reveals().contains(&next)) {
            let mut others = BTreeMap::new();
            for validator in 0..self.keys.len() {
                let salt = Self::salt(epoch, validator);
                let Some(own) = self.own.get_mut(&(epoch, validator)) else { continue };
                let key = &self.keys[validator];
                let made = own.reveal.get_or_insert_with(|| {
                    let report = conduct.reveal(validator, &own.report, &others)?;
                    Some(key.sign_report(self.spec.id(), Reveal { report, salt }))
                });
                others.extend(made.iter().map(|reveal| (validator, reveal.record.report.clone())));
            }
        }
    }

    /// Who proposes the next block, in which round.
    fn turn(&self, conduct: &mut dyn Conduct) -> (u32, usize) {
        let proposer = |round| self.numbers[&self.state.next_proposers().of(round).keys.id];
        let proposes = |round: &u32| {
            let proposer = proposer(*round);
            conduct.proposes(self, proposer, &self.keys[proposer])
        };
        let round = (0..MAX_ROUNDS).find(proposes).unwrap_or(MAX_ROUNDS);
        (round, proposer(round))
    }

    /// Known to its validator only, as far as anybody in the simulation looks.
    fn salt(epoch: Epoch, validator: usize) -> [u8; 32] {
        let number = u64::try_from(validator).unwrap();
        let parts = [epoch.get(), number].map(u64::to_le_bytes);
        *Hash::derive("lucid simulated salt 1", &[&parts.concat()]).as_bytes()
    }
}
