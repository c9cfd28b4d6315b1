//! A chain with a vault, signers, a ledger's history, and nodes that run pushers. Everything follows from a seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use lucid_types::amount::Sun;
use lucid_types::id::{NodeId, PayoutAddress, PoolId, TxId};
use lucid_types::payout::{CosignReply, Requested, SettlementRoot, TreasurySignature};
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutRoot, PayoutTree};
use lucid_types::time::UnixMillis;
use lucid_types::vault::{SignerSet, TreasurySigner};

use super::super::*;
use super::model::{Vault, address, usdt};
use crate::client::{Answer, BroadcastOutcome};
use crate::key::TronKey;
use crate::vault::VaultDomain;

pub(super) const START: u64 = 1_790_000_000_000;
pub(super) const POOL: PoolId = PoolId::from_bytes([2; 32]);
pub(super) const DOMAIN: VaultDomain = VaultDomain { chain_id: 7, vault: address(0xee) };
const BLOCK_MS: u64 = 3_000;
/// Blocks from the head to the newest solidified one.
pub(super) const LAG: usize = 5;
const LIFETIME_MS: u64 = 60_000;
const ENERGY_PRICE: u64 = 100;

/// A generator whose numbers follow from its seed.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    /// SplitMix64.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(super) fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }
}

/// How often things go wrong, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// An answer is lost, or the effect before it.
    pub(super) lost: u64,
    /// An answer comes twice.
    pub(super) doubled: u64,
    /// The longest delay of an answer, in milliseconds.
    pub(super) delay: u64,
    /// A node dies before or after an effect, and starts again.
    pub(super) crash: u64,
    /// A broadcast is refused as busy, or taken and dropped.
    pub(super) broadcast: u64,
    /// A view or a receipt is of an older block.
    pub(super) stale: u64,
    /// A signer does not answer, is behind, or sends nonsense.
    pub(super) signer: u64,
    /// With each block: the newest blocks are replaced.
    pub(super) fork: u64,
    /// With each block: somebody else pays a random account.
    pub(super) stranger: u64,
    /// With each block: energy for an item changes.
    pub(super) energy: u64,
    /// With each block: the vault is paused, empty, frozen or the like.
    pub(super) mischief: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Tx {
    sender: PayoutAddress,
    data: Vec<u8>,
    fee_limit: u64,
    expiration: u64,
}

#[derive(Clone)]
struct Block {
    time: u64,
    vault: Vault,
}

/// A transaction that a block of the newest chain includes.
struct Included {
    tx_id: TxId,
    sender: PayoutAddress,
    receipt: Receipt,
}

/// Blocks whose state is kept.
const N_BLOCKS: usize = 4 * LAG;

pub(super) struct World {
    pub(super) now: u64,
    pub(super) random: Random,
    pub(super) faults: Faults,
    blocks: Vec<Block>,
    /// In the order of the chain.
    included: Vec<Included>,
    known: BTreeMap<TxId, Tx>,
    mempool: Vec<TxId>,
    /// What the network says to broadcasts instead of taking them.
    pub(super) answers: VecDeque<Option<BroadcastOutcome>>,
    /// Signers that answer.
    pub(super) signing: BTreeSet<NodeId>,
    pub(super) history: BTreeMap<(u64, PayoutRoot), IssuedRoot>,
    /// What was requested so far.
    requested: Requested,
    /// Of settlements before, nodes can say nothing.
    pub(super) history_from: u64,
    pub(super) assignment: Option<Assignment>,
    pub(super) gas: u64,
    /// Changes of the vault that happen with the next block.
    pub(super) changes: Vec<fn(&mut Vault)>,
    /// Whether estimates are made without the vault's limit on energy.
    pub(super) estimate_percent: u64,
    n_sequence: u64,
    pub(super) trace: Vec<String>,
}

fn key(n: u8) -> &'static TronKey {
    static KEYS: LazyLock<Vec<TronKey>> =
        LazyLock::new(|| (1..=3).map(|n| TronKey::from_secret(&[n; 32]).unwrap()).collect());
    &KEYS[usize::from(n) - 1]
}

pub(super) fn signers(era: u32) -> SignerSet {
    static ADDRESSES: LazyLock<Vec<PayoutAddress>> = LazyLock::new(|| (1..=3).map(|n| key(n).address()).collect());
    let members =
        (1..=3).map(|n| TreasurySigner { node: node_id(n), key_address: ADDRESSES[usize::from(n) - 1] }).collect();
    SignerSet { era, threshold: 2, members }
}

pub(super) const fn node_id(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

pub(super) fn account(n: u64) -> AccountId {
    let mut id = [0; 32];
    id[24..].copy_from_slice(&n.to_be_bytes());
    AccountId::from_bytes(id)
}

pub(super) fn leaf(n: u64, owed: u64) -> OwedAccount {
    OwedAccount { id: account(n), to: address(u8::try_from(n % 200).unwrap() + 1), owed: usdt(owed) }
}

/// Signatures are deterministic, so each is made once.
fn sign(signer: u8, root: &SettlementRoot) -> TreasurySignature {
    type Made = BTreeMap<(u8, [u8; 32]), TreasurySignature>;
    static MADE: Mutex<Made> = Mutex::new(BTreeMap::new());
    let digest = crate::vault::root_digest(&DOMAIN, root);
    let make = || key(signer).sign_root(&DOMAIN, root).unwrap();
    *MADE.lock().unwrap().entry((signer, digest)).or_insert_with(make)
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let set = signers(1).members.iter().map(|signer| signer.key_address).collect();
        let vault = Vault::new(DOMAIN, set, 2);
        let first = Block { time: START, vault };
        Self {
            now: START,
            random: Random(seed),
            faults: Faults::default(),
            blocks: vec![first; LAG + 1],
            included: Vec::new(),
            known: BTreeMap::new(),
            mempool: Vec::new(),
            answers: VecDeque::new(),
            signing: (1..=3).map(node_id).collect(),
            history: BTreeMap::new(),
            requested: Requested::new(),
            history_from: 0,
            assignment: None,
            gas: 1_000_000_000_000,
            changes: Vec::new(),
            estimate_percent: 100,
            n_sequence: 0,
            trace: Vec::new(),
        }
    }

    /// The newest lines of the trace.
    fn last(&self, n: usize) -> Vec<String> {
        self.trace.iter().rev().take(n).map(|line| line.chars().take(240).collect()).collect()
    }

    pub(super) fn head(&self) -> &Vault {
        &self.blocks.last().unwrap().vault
    }

    pub(super) fn solid(&self) -> &Vault {
        &self.blocks[self.blocks.len() - 1 - LAG].vault
    }

    /// The ledger issues a root over these leaves.
    pub(super) fn issue(&mut self, settlement: u64, leaves: &[OwedAccount], more: u64) -> SettlementRoot {
        let tree = PayoutTree::new(leaves).unwrap();
        let fees = 1_000;
        let total: u64 = leaves.iter().map(|leaf| leaf.owed.get()).sum::<u64>() + fees + more;
        let root = SettlementRoot {
            pool: POOL,
            settlement,
            vault: DOMAIN.vault,
            era: 1,
            root: tree.root(),
            total: usdt(total),
            fees: usdt(fees),
            promised: usdt(total),
            leader: Some(gas_address(0)),
            until: START / 1_000 + settlement * 100,
        };
        for leaf in leaves {
            let requested = self.requested.entry(leaf.id).or_default();
            if leaf.owed.get() / THRESHOLD > requested.get() / THRESHOLD {
                *requested = leaf.owed;
            }
        }
        let issued = IssuedRoot { root, leaves: leaves.to_vec(), requested: self.requested.clone() };
        self.history.insert((settlement, root.root), issued);
        self.assignment = Some(Assignment { root, nonce: 0, signers: signers(1), rank: None, n_elected: 3 });
        root
    }

    /// Accounts of the newest root that are due and not paid on the solid view.
    pub(super) fn open(&self) -> Vec<AccountId> {
        let root = self.assignment.as_ref().unwrap().root;
        let issued = &self.history[&(root.settlement, root.root)];
        let is_open = |id: &AccountId| issued.is_due(id, self.solid().paid(id));
        issued.leaves.iter().map(|leaf| leaf.id).filter(is_open).collect()
    }

    /// Fees that this account paid in the newest chain.
    pub(super) fn fees_of(&self, sender: PayoutAddress) -> u64 {
        self.included.iter().filter(|one| one.sender == sender).map(|one| one.receipt.fee.get()).sum()
    }

    /// How the transactions of this account ended, in order.
    pub(super) fn outcomes(&self, sender: PayoutAddress) -> Vec<Outcome> {
        let own = self.included.iter().filter(|one| one.sender == sender);
        own.map(|one| one.receipt.outcome.clone()).collect()
    }

    pub(super) fn next_block(&self) -> u64 {
        self.blocks.last().unwrap().time + BLOCK_MS
    }

    pub(super) fn make_block(&mut self) {
        let faults = self.faults;
        if self.random.percent(faults.fork) {
            let depth = usize::try_from(self.random.below(u64::try_from(LAG).unwrap() - 1)).unwrap() + 1;
            let gone = self.cut(depth);
            if self.random.percent(50) {
                self.mempool.extend(gone);
            }
            // The new branch is as long.
            for _ in 0..depth {
                self.append();
            }
        }
        self.append();
        self.now = self.now.max(self.blocks.last().unwrap().time);
    }

    /// A fork replaces the newest blocks by as many in which nothing happens.
    pub(super) fn drop_blocks(&mut self, depth: usize) {
        self.cut(depth);
        self.mempool.clear();
        for _ in 0..depth {
            self.append();
        }
    }

    /// Takes the newest blocks away; returns their transactions.
    fn cut(&mut self, depth: usize) -> Vec<TxId> {
        self.blocks.truncate(self.blocks.len() - depth);
        let head = self.blocks.last().unwrap().time;
        let n = self.included.partition_point(|one| one.receipt.block_time.get() <= head);
        self.included.drain(n..).map(|one| one.tx_id).collect()
    }

    fn append(&mut self) {
        let faults = self.faults;
        let parent = self.blocks.last().unwrap();
        let (time, mut vault) = (parent.time + BLOCK_MS, parent.vault.clone());
        for change in std::mem::take(&mut self.changes) {
            change(&mut vault);
        }
        if self.random.percent(faults.energy) {
            vault.item_energy = 20_000 + self.random.below(30_000);
        }
        if self.random.percent(faults.mischief) {
            vault.vex(self.random.next(), time / 1_000);
        }
        if self.random.percent(faults.stranger) {
            self.claim(&mut vault);
        }
        for tx_id in std::mem::take(&mut self.mempool) {
            let tx = &self.known[&tx_id];
            if self.receipt(&tx_id).is_some() || time >= tx.expiration {
                continue;
            }
            let before = vault.clone();
            let done = vault.call(tx.sender, &tx.data, time / 1_000);
            let cost = done.energy * ENERGY_PRICE;
            let outcome = match done.result {
                _ if cost > tx.fee_limit => {
                    vault = before;
                    Outcome::OutOfEnergy
                }
                Ok(()) => Outcome::Success,
                Err(revert) => Outcome::Reverted(revert),
            };
            let fee = Sun::new(cost.min(tx.fee_limit) + u64::try_from(tx.data.len()).unwrap() * 1_000);
            let receipt = Receipt { block_time: UnixMillis::new(time), fee, outcome };
            self.included.push(Included { tx_id, sender: tx.sender, receipt });
        }
        self.blocks.push(Block { time, vault });
        if self.blocks.len() > N_BLOCKS {
            self.blocks.remove(0);
        }
    }

    fn receipt(&self, tx_id: &TxId) -> Option<&Receipt> {
        self.included.iter().find(|one| one.tx_id == *tx_id).map(|one| &one.receipt)
    }

    /// A worker claims by itself.
    fn claim(&mut self, vault: &mut Vault) {
        let Some(root) = vault.state.root else { return };
        let Some(issued) = self.history.get(&(vault.state.settlement, root)) else { return };
        let at = usize::try_from(self.random.below(u64::try_from(issued.leaves.len()).unwrap())).unwrap();
        let proof = PayoutTree::new(&issued.leaves).unwrap().range_proof(at, 1).unwrap();
        let start = u64::try_from(at).unwrap();
        let data = crate::vault::pay_range(vault.state.settlement, start, &issued.leaves[at..=at], &proof);
        let now_s = self.now / 1_000;
        vault.call(address(0xcc), &data, now_s);
    }

    /// Executes a node's effect; the answer, if the effect has one.
    pub(super) fn execute(&mut self, node: &mut Disk, effect: Effect) -> Option<Input> {
        let faults = self.faults;
        let behind = if self.random.percent(faults.stale) { usize::try_from(self.random.below(4)).unwrap() } else { 0 };
        let head = self.blocks[self.blocks.len() - 1 - behind].clone();
        let solid = self.blocks[self.blocks.len() - 1 - LAG.max(behind)].clone();
        let sender = gas_address(node.number);
        match effect {
            Effect::RequestSignature { request, signer } => {
                let number = signer.as_bytes()[0];
                let root = self.assignment.as_ref().unwrap().root;
                let reply = match self.random.below(3) {
                    _ if !self.signing.contains(&signer) => None,
                    0 if self.random.percent(faults.signer) => Some(CosignReply::NotFinal),
                    1 if self.random.percent(faults.signer) => Some(CosignReply::Signed(sign(number % 3 + 1, &root))),
                    2 if self.random.percent(faults.signer) => Some(CosignReply::Refused("no\n watermark".into())),
                    _ => Some(CosignReply::Signed(sign(number, &root))),
                };
                Some(Input::Signature { request, signer, reply })
            }
            Effect::LoadLeaves { settlement, root } => {
                let loaded = match settlement < self.history_from {
                    true => Loaded::Unavailable,
                    false => Loaded::of(self.history.get(&(settlement, root)).cloned()),
                };
                Some(Input::Leaves { settlement, root, loaded })
            }
            Effect::ReadVault { view: View::Solid, accounts } => {
                let (time, snapshot) = (UnixMillis::new(solid.time), solid.vault.snapshot(&accounts));
                Some(Input::Solid(Some(Box::new(SolidView { time, snapshot }))))
            }
            Effect::ReadVault { view: View::Head, accounts } => Some(Input::Head(Some(Box::new(HeadView {
                time: UnixMillis::new(head.time),
                snapshot: head.vault.snapshot(&accounts),
                token: head.vault.token,
                gas: Sun::new(self.gas),
                energy_price: Sun::new(ENERGY_PRICE),
                byte_price: Sun::new(1_000),
            })))),
            Effect::Estimate { id, data } => {
                let done = head.vault.clone().call(sender, &data, head.time / 1_000);
                let outcome = match done.result {
                    Ok(()) => Estimated::Energy(done.energy * self.estimate_percent / 100),
                    Err(revert) => Estimated::Reverted(revert),
                };
                Some(Input::Estimated { id, outcome })
            }
            Effect::Prepare { id, work, data, fee_limit } => {
                let sequence = &mut self.n_sequence;
                let stored = node.stored.entry(id).or_insert_with(|| {
                    *sequence += 1;
                    let mut tx_id = [node.number; 32];
                    tx_id[..8].copy_from_slice(&sequence.to_be_bytes());
                    let (tx_id, expiration) = (TxId::from_bytes(tx_id), head.time + LIFETIME_MS);
                    self.known.insert(tx_id, Tx { sender, data, fee_limit: fee_limit.get(), expiration });
                    let bytes = tx_id.as_bytes().to_vec();
                    InFlight { id, work, tx_id, expiration: UnixMillis::new(expiration), fee_limit, bytes }
                });
                Some(Input::Prepared { id, transaction: Some(Box::new(stored.clone())) })
            }
            Effect::Broadcast { id, tx_id, bytes } => {
                assert_eq!(node.stored.get(&id).map(|stored| &stored.bytes), Some(&bytes), "what is sent is durable");
                let busy = Some(BroadcastOutcome::Retry(Answer { code: "SERVER_BUSY".into(), message: String::new() }));
                let outcome = match self.answers.pop_front() {
                    Some(answer) => answer,
                    None if !self.known.contains_key(&tx_id) => {
                        Some(BroadcastOutcome::Bug(Answer { code: "SIGERROR".into(), message: String::new() }))
                    }
                    None if self.random.percent(faults.broadcast) && self.random.percent(50) => busy,
                    None => {
                        if !self.random.percent(faults.broadcast) {
                            self.mempool.push(tx_id);
                        }
                        Some(BroadcastOutcome::Accepted)
                    }
                };
                Some(Input::Sent { id, outcome })
            }
            Effect::ReadReceipt { id, tx_id } => {
                let found = self.receipt(&tx_id).filter(|receipt| receipt.block_time.get() <= head.time);
                let found = found.map_or(Lookup::NotIncluded, |receipt| Lookup::Included(receipt.clone()));
                Some(Input::Receipt { id, found })
            }
            Effect::Forget { id, spent } => {
                node.stored.remove(&id);
                node.spent.extend(spent);
                None
            }
            Effect::Alert(alert) => {
                assert!(!alert.to_string().is_empty());
                None
            }
            Effect::Report(report) => {
                node.reports.push(report);
                None
            }
        }
    }
}

pub(super) const fn gas_address(node: u8) -> PayoutAddress {
    address(0x50 + node)
}

/// What survives a node's crash, and what its operator saw.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) number: u8,
    pub(super) stored: BTreeMap<JobId, InFlight>,
    pub(super) spent: Vec<Spent>,
    pub(super) reports: Vec<Report>,
}

/// A node: its pusher, its disk, and answers on their way.
pub(super) struct Node {
    pub(super) config: PusherConfig,
    pub(super) rank: Option<u32>,
    pub(super) pusher: Pusher,
    pub(super) disk: Disk,
    /// Whether it runs.
    pub(super) is_up: bool,
    /// Number of the effect before or after which it dies.
    pub(super) crash_at: Option<(usize, bool)>,
    pub(super) n_effects: usize,
    inbox: BTreeMap<(u64, u64), Input>,
    n_inbox: u64,
    /// The second that is under way, effects in it, and the most transactions at a time.
    in_second: (u64, usize, usize),
    /// Wakes in a row that came to nothing.
    n_idle_wakes: usize,
    series: Series,
    /// Transactions that were stored before the last restart.
    restored: BTreeSet<TxId>,
}

/// Failed transactions in a row, and the pause that follows.
#[derive(Default)]
struct Series {
    in_a_row: u32,
    paused_at: u64,
    quiet_until: u64,
    /// First broadcast of each transaction.
    sent_at: BTreeMap<TxId, u64>,
}

pub(super) const THRESHOLD: u64 = 1_000;

pub(super) fn config(node: u8) -> PusherConfig {
    let config = PusherConfig::new(DOMAIN, gas_address(node), usdt(THRESHOLD), Duration::from_secs(20));
    PusherConfig { max_items: 4, max_in_flight: 8, max_per_day: Sun::new(3_000_000_000), ..config }
}

impl Node {
    pub(super) fn start(world: &World, config: PusherConfig, number: u8, rank: Option<u32>) -> Self {
        let disk = Disk { number, ..Disk::default() };
        let pusher = Pusher::new(config, vec![], vec![], UnixMillis::new(world.now));
        Self {
            config,
            rank,
            pusher,
            disk,
            is_up: true,
            crash_at: None,
            n_effects: 0,
            inbox: BTreeMap::new(),
            n_inbox: 0,
            in_second: (0, 0, 0),
            n_idle_wakes: 0,
            series: Series::default(),
            restored: BTreeSet::new(),
        }
    }

    /// The ledger tells the node its newest root and election.
    pub(super) fn assign(&mut self, world: &mut World) {
        if let Some(assignment) = world.assignment.clone() {
            let sent_at = std::mem::take(&mut self.series.sent_at);
            self.series = Series { sent_at, ..Series::default() };
            self.feed(world, Input::Root(Box::new(Assignment { rank: self.rank, ..assignment })));
        }
    }

    pub(super) fn restart(&mut self, world: &mut World) {
        self.inbox.clear();
        self.series = Series::default();
        self.restored = self.disk.stored.values().map(|stored| stored.tx_id).collect();
        let stored = self.disk.stored.values().cloned().collect();
        self.pusher = Pusher::new(self.config, stored, self.disk.spent.clone(), UnixMillis::new(world.now));
        self.is_up = true;
        self.in_second = (0, 0, 0);
        self.assign(world);
    }

    pub(super) fn feed(&mut self, world: &mut World, input: Input) -> usize {
        let n_jobs = self.pusher.n_transactions();
        let effects = self.pusher.handle(UnixMillis::new(world.now), input);
        let wake = self.pusher.next_wake();
        assert!(wake.is_none_or(|at| at.get() > world.now), "no busy loop: {wake:?} at {}", world.now);
        let n = effects.len();
        let second = world.now / 1_000;
        if self.in_second.0 != second {
            self.in_second = (second, 0, 0);
        }
        self.in_second.1 += n;
        self.in_second.2 = n_jobs.max(self.pusher.n_transactions()).max(self.in_second.2);
        let most = 60 + 8 * self.in_second.2;
        assert!(self.in_second.1 <= most, "more than {most} effects in a second: {:#?}", world.last(60));
        for effect in effects {
            if self.is_up {
                self.carry_out(world, effect);
            }
        }
        n
    }

    fn carry_out(&mut self, world: &mut World, effect: Effect) {
        world.trace.push(format!("{} {} {effect:?}", world.now, self.disk.number));
        self.check_failures(world, &effect);
        let number = self.n_effects;
        self.n_effects += 1;
        let faults = world.faults;
        let dies_before = self.crash_at == Some((number, false)) || world.random.percent(faults.crash);
        if dies_before {
            self.is_up = false;
            return;
        }
        let is_durable = matches!(effect, Effect::Forget { .. } | Effect::Report(_) | Effect::Alert(_));
        if !is_durable && world.random.percent(faults.lost) {
            return;
        }
        let answer = world.execute(&mut self.disk, effect);
        if self.crash_at == Some((number, true)) || world.random.percent(faults.crash) {
            self.is_up = false;
            return;
        }
        let Some(answer) = answer.filter(|_| !world.random.percent(faults.lost)) else { return };
        let copies = if world.random.percent(faults.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let at = world.now + if faults.delay == 0 { 0 } else { world.random.below(faults.delay) };
            self.n_inbox += 1;
            self.inbox.insert((at, self.n_inbox), answer.clone());
        }
    }

    /// After three failed transactions in a row no new one begins before the pause is over.
    fn check_failures(&mut self, world: &World, effect: &Effect) {
        let series = &mut self.series;
        match effect {
            Effect::Report(Report::Transaction { tx_id, status: TransactionStatus::Failed { .. }, .. })
                if series.sent_at.get(tx_id).is_none_or(|at| *at >= series.paused_at) =>
            {
                series.in_a_row += 1;
                if series.in_a_row >= 3 {
                    let pause = u64::try_from(self.config.timing.failure_pause.as_millis()).unwrap();
                    (series.paused_at, series.quiet_until) = (world.now, world.now + pause);
                }
            }
            Effect::Report(Report::Transaction { status: TransactionStatus::Included { .. }, .. }) => {
                series.in_a_row = 0;
            }
            Effect::Broadcast { tx_id, .. } => {
                let is_new = !series.sent_at.contains_key(tx_id) && !self.restored.contains(tx_id);
                series.sent_at.entry(*tx_id).or_insert(world.now);
                let is_quiet = world.now < series.quiet_until;
                assert!(!is_new || !is_quiet, "{tx_id} is sent in the pause after failures: {:#?}", world.last(40));
            }
            _ => {}
        }
    }

    fn next_event(&self) -> Option<u64> {
        let inbox = self.inbox.keys().next().map(|(at, _)| *at);
        let wake = self.pusher.next_wake().map(UnixMillis::get);
        inbox.into_iter().chain(wake).min().filter(|_| self.is_up)
    }

    fn run(&mut self, world: &mut World) {
        while self.is_up {
            let due = self.inbox.first_key_value().filter(|((at, _), _)| *at <= world.now).map(|(key, _)| *key);
            let Some(input) = due.and_then(|key| self.inbox.remove(&key)) else { break };
            self.feed(world, input);
            self.n_idle_wakes = 0;
        }
        if self.is_up && self.pusher.next_wake().is_some_and(|at| at.get() <= world.now) {
            let n = self.feed(world, Input::Tick);
            self.n_idle_wakes = if n == 0 { self.n_idle_wakes + 1 } else { 0 };
            assert!(self.n_idle_wakes < 20, "woken again and again for nothing");
        }
    }
}

/// Lets time pass until `until`, or until `is_over` says so after a block.
pub(super) fn run(world: &mut World, nodes: &mut [Node], until: u64, is_over: impl Fn(&World, &[Node]) -> bool) {
    while world.now < until {
        for node in nodes.iter_mut() {
            node.run(world);
        }
        for node in nodes.iter_mut().filter(|node| !node.is_up) {
            if node.crash_at.is_some() || world.faults.crash > 0 {
                node.crash_at = None;
                node.restart(world);
            }
        }
        let block = world.next_block();
        let next = nodes.iter().filter_map(Node::next_event).min().unwrap_or(block);
        if next.min(block) > until {
            world.now = until;
        } else if next >= block {
            world.now = block.max(world.now);
            world.make_block();
            if is_over(world, nodes) {
                return;
            }
        } else {
            world.now = next.max(world.now);
        }
    }
}
