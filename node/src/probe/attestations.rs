//! Which attestations of workers are new. They earn nothing, and so far only their number is shown.
//!
//! Checks what needs the newest state and memory: registered nodes, increasing sequences, not too many. Whether a signature is right
//! and an epoch is current is decided before.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lucid_consensus::ledger::state::State;
use lucid_types::amount::Ppm;
use lucid_types::attestation::ResourceAttestation;
use lucid_types::id::{NodeId, PublicKey};
use lucid_types::policy::FixedPolicy;
use lucid_types::signed::{ReadKey, Signed, Verified};
use lucid_types::time::Epoch;

/// Attestations come at most this often (protocol: "one per 10 s at most"), and at least one an epoch is taken.
const INTERVAL: Duration = Duration::from_secs(10);

/// What became of an attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is the worker's newest.
    New,
    /// The signer is not registered.
    Unknown,
    /// A field is out of its bounds.
    Implausible,
    /// Its sequence is not above the last one: a repetition, or overtaken.
    Stale,
    /// The worker sends more in an epoch than it may.
    TooMany,
}

/// The table.
#[derive(Debug)]
pub struct AttestationTable {
    per_epoch: u32,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Nodes that were registered when they attested.
    newest: BTreeMap<NodeId, Entry>,
    /// The newest closed epoch when those were removed that are not registered any more.
    pruned: Epoch,
}

/// A worker's newest attestation, and how many it has sent in that epoch.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// What it was signed with.
    key: ReadKey,
    sequence: u64,
    epoch: Epoch,
    taken: u32,
    allocation: Ppm,
}

/// A node's newest attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attested {
    /// Its epoch.
    pub epoch: Epoch,
    /// How much of what the node offers is in use.
    pub allocation: Ppm,
}

impl AttestationTable {
    /// A table in which nothing is recorded.
    pub fn new(policy: &FixedPolicy) -> Self {
        let periods = policy.epoch().as_millis() / INTERVAL.as_millis();
        // One more: a worker that restarts sends at once.
        let per_epoch = u32::try_from(periods).unwrap_or(u32::MAX).max(1).saturating_add(1);
        Self { per_epoch, inner: Mutex::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest attestation of a node, if one was taken.
    pub fn newest(&self, node: &NodeId) -> Option<Attested> {
        self.inner().newest.get(node).map(|entry| Attested { epoch: entry.epoch, allocation: entry.allocation })
    }

    /// What [`Self::record`] would say, before the signature has been looked at.
    pub fn check(&self, state: &State, account: &NodeId, record: &ResourceAttestation) -> Recorded {
        self.judge(state, account, self.inner().newest.get(account), record)
    }

    /// The key, ready for use, if the account's newest attestation was signed with it.
    pub fn key(&self, account: &NodeId, key: &PublicKey) -> Option<ReadKey> {
        self.inner().newest.get(account).map(|entry| entry.key).filter(|known| known.is(key))
    }

    fn judge(&self, state: &State, account: &NodeId, entry: Option<&Entry>, record: &ResourceAttestation) -> Recorded {
        if state.node(account).is_none() {
            return Recorded::Unknown;
        }
        if !record.is_plausible() {
            return Recorded::Implausible;
        }
        match entry {
            Some(entry) if record.sequence <= entry.sequence || record.epoch < entry.epoch => Recorded::Stale,
            Some(entry) if record.epoch == entry.epoch && entry.taken >= self.per_epoch => Recorded::TooMany,
            _ => Recorded::New,
        }
    }

    /// Takes an attestation of an account if it is registered in the newest state and this is its newest.
    pub fn record(
        &self,
        state: &State,
        account: &NodeId,
        attestation: &Verified<Signed<ResourceAttestation>>,
    ) -> Recorded {
        let record = &attestation.record;
        let mut inner = self.inner();
        let entry = inner.newest.get(account);
        let verdict = self.judge(state, account, entry, record);
        if verdict == Recorded::New {
            let taken = entry.filter(|entry| entry.epoch == record.epoch).map_or(0, |entry| entry.taken);
            let taken = taken.saturating_add(1);
            let ResourceAttestation { sequence, epoch, allocation, .. } = *record;
            let known = entry.map(|entry| entry.key).filter(|known| known.is(&attestation.signer));
            // It has checked a signature.
            if let Some(key) = known.or_else(|| ReadKey::of(&attestation.signer)) {
                inner.newest.insert(*account, Entry { key, sequence, epoch, taken, allocation });
            }
            inner.prune(state);
        }
        verdict
    }
}

impl Inner {
    /// Once an epoch: what is kept is bounded by the nodes that were registered within one.
    fn prune(&mut self, state: &State) {
        if self.pruned < state.closed() {
            self.pruned = state.closed();
            self.newest.retain(|node, _| state.node(node).is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use lucid_consensus::ledger::state::Overlay;
    use lucid_consensus::ledger::table::Nodes;
    use lucid_types::attestation::Capacity;
    use lucid_types::time::UnixMillis;

    use super::*;
    use crate::payout::testing::{self, WORKERS, node, node_key};

    fn attestation(key: u8, epoch: u64, sequence: u64) -> Verified<Signed<ResourceAttestation>> {
        let record = ResourceAttestation {
            epoch: Epoch::new(epoch),
            sequence,
            time: UnixMillis::ZERO,
            uptime_s: 1,
            cpu: Ppm::ZERO,
            memory: Ppm::ZERO,
            disk: Ppm::ZERO,
            network_rx_bytes_s: 0,
            network_tx_bytes_s: 0,
            sessions: 0,
            capacity: Capacity::default(),
            allocation: Ppm::new(7),
        };
        node_key(key).sign_attestation(testing::network().id(), record)
    }

    /// Nothing is recorded yet, and the workers are registered.
    fn table() -> (AttestationTable, State) {
        let policy = lucid_types::policy::Policy::local(Duration::from_secs(5), 2, None).fixed();
        (AttestationTable::new(&policy), testing::first(&testing::network()))
    }

    #[test]
    fn every_epoch_has_its_own_number() {
        let (table, state) = table();
        let mut sequence = 0;
        let mut record = |epoch| {
            sequence += 1;
            table.record(&state, &node(WORKERS[0]), &attestation(WORKERS[0], epoch, sequence))
        };
        for epoch in 3..6 {
            assert_eq!(
                [record(epoch), record(epoch), record(epoch)],
                [Recorded::New, Recorded::New, Recorded::TooMany]
            );
        }
    }

    #[test]
    fn strangers_repetitions_and_floods_change_nothing() {
        let (table, state) = table();
        let [worker, _] = WORKERS;
        let record = |key, epoch, sequence| table.record(&state, &node(key), &attestation(key, epoch, sequence));
        assert_eq!(record(2, 3, 1), Recorded::Unknown);
        assert_eq!(record(worker, 3, 10), Recorded::New);
        for (epoch, sequence) in [(3, 10), (3, 9), (2, 11)] {
            assert_eq!(record(worker, epoch, sequence), Recorded::Stale);
        }
        assert_eq!(record(worker, 3, 11), Recorded::New);
        let flood = attestation(worker, 3, 12);
        assert_eq!(table.check(&state, &node(worker), &flood.record), Recorded::TooMany);
        assert_eq!(table.record(&state, &node(worker), &flood), Recorded::TooMany);
        let mut wild = attestation(worker, 4, 13).record.clone();
        wild.allocation = Ppm::new(1_000_001);
        assert_eq!(table.check(&state, &node(worker), &wild), Recorded::Implausible);
    }

    #[test]
    fn the_table_follows_who_is_registered_in_the_newest_state() {
        let (table, state) = table();
        let [first, second] = WORKERS;
        let row = state.node(&node(second)).cloned();
        let kept = |table: &AttestationTable| table.inner().newest.keys().copied().collect::<Vec<_>>();
        assert_eq!(table.record(&state, &node(first), &attestation(first, 3, 1)), Recorded::New);
        assert_eq!(table.record(&state, &node(5), &attestation(5, 3, 1)), Recorded::Unknown);

        // Somebody comes, and somebody goes.
        let next = |rows: &mut Overlay<'_>| {
            row.iter().for_each(|row| rows.put::<Nodes>(&node(5), row.clone()));
            rows.remove::<Nodes>(&node(first));
            rows.head.closed = Epoch::new(1);
        };
        let state = state.changed(next);
        assert_eq!(table.record(&state, &node(first), &attestation(first, 3, 2)), Recorded::Unknown);
        assert_eq!(kept(&table), [node(first)], "what is refused prunes nothing");
        assert_eq!(table.record(&state, &node(5), &attestation(5, 3, 1)), Recorded::New);
        assert_eq!(kept(&table), [node(5)], "nothing is kept of who is registered no more");
    }
}
