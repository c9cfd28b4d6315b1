//! A node that pushes: the bridge's pusher, a disk that survives crashes, and what the node asks its provider groups, as
//! `lucid_node::payout::push` does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lucid_tron_bridge::client::BroadcastOutcome;
use lucid_tron_bridge::key::{KeyError, TronKey};
use lucid_tron_bridge::pusher::{
    HeadView, InFlight, JobId, Lookup, Pusher, PusherConfig, Report, SolidView, Spent, TransactionStatus, View, Work,
};
use lucid_tron_bridge::transaction::ContractCall;
use lucid_tron_bridge::vault::VaultSnapshot;
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::TxId;
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;

use super::plan::Defect;
use super::provider::{Asking, Conditions, Group, Seen, Topic};
use super::tron::LIFETIME;
use super::violation::{Rule, Violation};

/// How old prices, the token's flags and what the gas account holds may be.
const CONDITIONS_MS: u64 = 30_000;
/// Most requests to a provider group in a second, which the node spreads out, and in a minute: TronGrid allows a key 15 a second.
const MAX_PER_SECOND: u64 = 150;
const MAX_PER_MINUTE: u64 = 900;

/// What survives a crash.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) stored: BTreeMap<JobId, InFlight>,
    pub(super) spent: Vec<Spent>,
    /// What it sent to accounts: only a broken shell reads it.
    sent: BTreeMap<AccountId, MicroUsdt>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) config: PusherConfig,
    key: TronKey,
    pub(super) groups: Vec<Group>,
    pub(super) pusher: Pusher,
    pub(super) disk: Disk,
    /// It believes that it leads whatever the election says.
    pub(super) is_twin: bool,
    /// Its clock less the world's, in milliseconds.
    skew: i64,
    pub(super) is_up: bool,
    /// Counts restarts: what an earlier life began does not end.
    pub(super) life: u64,
    /// Number of the ledger's state that it has finalized.
    pub(super) known: usize,
    pub(super) wake: Option<u64>,
    pub(super) reading: BTreeSet<View>,
    pub(super) conditions: Option<(u64, Conditions)>,
    /// Requests to the busiest provider group: second and number.
    requests: VecDeque<(u64, u64)>,
    pub(super) n_idle_wakes: u32,
    /// It lost its disk: what it spent before does not count.
    pub(super) burnt_before: u64,
    /// What it was told that its transactions cost, if a provider group of its lies about receipts or times.
    pub(super) told_fees: BTreeMap<TxId, u64>,
    /// It ran out of its day's budget.
    pub(super) is_out_of_budget: bool,
    /// It never starts again.
    pub(super) is_gone: bool,
}

impl Node {
    pub(super) fn new(config: PusherConfig, key: TronKey, groups: Vec<Group>, skew: i64, now: u64) -> Self {
        let clock = UnixMillis::new(now.saturating_add_signed(skew));
        Self {
            config,
            key,
            groups,
            pusher: Pusher::new(config, Vec::new(), Vec::new(), clock),
            disk: Disk::default(),
            is_twin: false,
            skew,
            is_up: true,
            life: 0,
            known: 0,
            wake: None,
            reading: BTreeSet::new(),
            conditions: None,
            requests: VecDeque::new(),
            n_idle_wakes: 0,
            burnt_before: 0,
            told_fees: BTreeMap::new(),
            is_out_of_budget: false,
            is_gone: false,
        }
    }

    /// What its clock says.
    pub(super) fn clock(&self, now: u64) -> UnixMillis {
        UnixMillis::new(now.saturating_add_signed(self.skew))
    }

    /// Remembers what a transaction cost by its word, if that may be a lie: a false receipt, or none for one that is said to have
    /// expired.
    pub(super) fn note_told(&mut self, report: &Report) {
        let lies = |group: &Group| group.topics.contains(&Topic::Receipt) || group.topics.contains(&Topic::Time);
        let Report::Transaction { tx_id, status, .. } = report else { return };
        let fee = match status {
            TransactionStatus::Included { fee, .. } | TransactionStatus::Failed { fee, .. } => fee.get(),
            TransactionStatus::Expired => 0,
            TransactionStatus::Sent | TransactionStatus::Solid { .. } => return,
        };
        if self.groups.iter().any(lies) {
            self.told_fees.insert(*tx_id, fee);
        }
    }

    /// Counts requests to the provider group that is asked most.
    pub(super) fn count(&mut self, now: u64, n: u64) -> Result<(u64, u64), Violation> {
        let second = now / 1_000;
        match self.requests.back_mut() {
            Some((last, count)) if *last == second => *count += n,
            _ => self.requests.push_back((second, n)),
        }
        while self.requests.front().is_some_and(|(first, _)| first + 60 <= second) {
            self.requests.pop_front();
        }
        let in_second = self.requests.back().map_or(0, |(_, count)| *count);
        let in_minute: u64 = self.requests.iter().map(|(_, count)| count).sum();
        if in_second > MAX_PER_SECOND || in_minute > MAX_PER_MINUTE {
            return Err(Rule::Requests.broken(format!("{in_second} in a second, {in_minute} in a minute")));
        }
        Ok((in_second, in_minute))
    }
}

impl Node {
    /// The solidified view as all groups agree: what was paid is the least that any of them says, all else is the one's that is
    /// furthest behind.
    pub(super) fn solid(
        &self,
        asking: &mut Asking<'_>,
        accounts: &[AccountId],
        defect: Option<Defect>,
    ) -> Option<SolidView> {
        let groups = if defect == Some(Defect::OneProvider) { self.groups.get(..1)? } else { &self.groups };
        let seen: Vec<Seen> = groups.iter().filter_map(|group| group.solid(asking, accounts)).collect();
        let oldest = seen.iter().min_by_key(|seen| seen.number)?;
        let mut snapshot = oldest.snapshot.clone();
        for (id, paid) in &mut snapshot.paid {
            let least = seen.iter().filter_map(|seen| seen.snapshot.paid_of(id)).min();
            *paid = least.unwrap_or(*paid);
        }
        self.believe_own_records(&mut snapshot, defect);
        Some(SolidView { time: oldest.time, snapshot })
    }

    pub(super) fn head(
        &mut self,
        asking: &mut Asking<'_>,
        now: u64,
        accounts: &[AccountId],
        defect: Option<Defect>,
    ) -> Result<Option<HeadView>, Violation> {
        for group in &self.groups {
            let conditions = self.conditions.filter(|(read, _)| now < read + CONDITIONS_MS);
            let Some((read, conditions)) = conditions.or_else(|| Some((now, group.conditions(asking)?))) else {
                continue;
            };
            self.conditions = Some((read, conditions));
            let Some(mut seen) = group.head(asking, accounts)? else { continue };
            self.believe_own_records(&mut seen.snapshot, defect);
            let Conditions { token, gas, energy_price, byte_price } = conditions;
            return Ok(Some(HeadView {
                time: seen.time,
                snapshot: seen.snapshot,
                token,
                gas,
                energy_price,
                byte_price,
            }));
        }
        Ok(None)
    }

    /// A broken shell: what it sent is paid, it thinks.
    fn believe_own_records(&self, snapshot: &mut VaultSnapshot, defect: Option<Defect>) {
        if defect == Some(Defect::OwnRecords) {
            for (id, paid) in &mut snapshot.paid {
                *paid = self.disk.sent.get(id).copied().unwrap_or_default();
            }
        }
    }

    /// What became of a transaction, as any group that answers says.
    pub(super) fn receipt(&self, asking: &mut Asking<'_>, tx_id: &TxId) -> Lookup {
        let mut found = Lookup::Unavailable;
        for group in &self.groups {
            match group.receipt(asking, tx_id) {
                Lookup::Included(receipt) => return Lookup::Included(receipt),
                Lookup::NotIncluded => found = Lookup::NotIncluded,
                Lookup::Unavailable => {}
            }
        }
        found
    }

    /// Builds, signs and stores a transaction, or takes the one that is stored.
    pub(super) fn prepare(
        &mut self,
        asking: &mut Asking<'_>,
        id: JobId,
        work: Work,
        data: Vec<u8>,
        fee_limit: Sun,
    ) -> Result<Option<InFlight>, Violation> {
        if let Some(stored) = self.disk.stored.get(&id) {
            return Ok(Some(stored.clone()));
        }
        let Some(head) = self.groups.iter().find_map(|group| group.reference(asking)) else { return Ok(None) };
        let vault = self.config.domain.vault;
        let call = ContractCall::new(self.config.gas_address, vault, data, &head, LIFETIME, fee_limit);
        let Ok(transaction) = call.build() else { return Ok(None) };
        let broken = |e: KeyError| Rule::Setup.broken(e.to_string());
        let signature = self.key.sign_transaction(&transaction).map_err(broken)?;
        let (tx_id, bytes) = (transaction.tx_id(), transaction.with_signatures(&[signature]));
        let in_flight = InFlight { id, work, tx_id, expiration: call.expiration, fee_limit, bytes };
        self.disk.stored.insert(id, in_flight.clone());
        Ok(Some(in_flight))
    }

    /// Sends to every group; the best news counts.
    pub(super) fn broadcast(
        &mut self,
        asking: &mut Asking<'_>,
        id: JobId,
        tx_id: TxId,
        bytes: &[u8],
    ) -> Option<BroadcastOutcome> {
        let answers = self.groups.iter().filter_map(|group| group.broadcast(asking, tx_id, bytes));
        let outcome = answers.min();
        let work = self.disk.stored.get(&id).map(|stored| &stored.work);
        if let (Some(BroadcastOutcome::Accepted), Some(Work::Batch { accounts, .. })) = (&outcome, work) {
            // As if it had paid them in full.
            self.disk.sent.extend(accounts.iter().map(|account| (*account, MicroUsdt::new(1 << 50))));
        }
        outcome
    }

    /// What is sent is on the disk.
    pub(super) fn check_is_stored(&self, id: JobId, tx_id: &TxId, bytes: &[u8]) -> Result<(), Violation> {
        let is_stored = self.disk.stored.get(&id).is_some_and(|stored| stored.tx_id == *tx_id && stored.bytes == bytes);
        if is_stored { Ok(()) } else { Err(Rule::Durability.broken(format!("{tx_id} is sent and not stored"))) }
    }
}
