//! Which attestations of workers are new. They earn nothing, and so far only their number is shown.
//!
//! Checks what needs memory: known workers, increasing sequences, not too many. Whether a signature is right and an
//! epoch is current is decided before.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lucid_types::attestation::ResourceAttestation;
use lucid_types::id::NodeId;
use lucid_types::policy::Policy;
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::Epoch;

/// Attestations come at most this often (protocol: "one per 10 s at most"), and at least one an epoch is taken.
const INTERVAL: Duration = Duration::from_secs(10);

/// What became of an attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is the worker's newest.
    New,
    /// The signer is no worker.
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
    /// One entry for each known worker, so it cannot grow.
    workers: Mutex<BTreeMap<NodeId, Option<Entry>>>,
}

/// A worker's newest attestation, and how many it has sent in that epoch.
#[derive(Clone, Copy, Debug)]
struct Entry {
    sequence: u64,
    epoch: Epoch,
    taken: u32,
}

impl AttestationTable {
    /// A table for these workers.
    pub fn new(policy: &Policy, workers: impl IntoIterator<Item = NodeId>) -> Self {
        let periods = policy.epoch().as_millis() / INTERVAL.as_millis();
        // One more: a worker that restarts sends at once.
        let per_epoch = u32::try_from(periods).unwrap_or(u32::MAX).max(1).saturating_add(1);
        Self { per_epoch, workers: Mutex::new(workers.into_iter().map(|worker| (worker, None)).collect()) }
    }

    fn workers(&self) -> MutexGuard<'_, BTreeMap<NodeId, Option<Entry>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What [`Self::record`] would say, before the signature has been looked at.
    pub fn check(&self, signer: &NodeId, record: &ResourceAttestation) -> Recorded {
        match self.workers().get(signer) {
            None => Recorded::Unknown,
            Some(entry) => self.judge(entry.as_ref(), record),
        }
    }

    fn judge(&self, entry: Option<&Entry>, record: &ResourceAttestation) -> Recorded {
        if !record.is_plausible() {
            return Recorded::Implausible;
        }
        match entry {
            Some(entry) if record.sequence <= entry.sequence || record.epoch < entry.epoch => Recorded::Stale,
            Some(entry) if record.epoch == entry.epoch && entry.taken >= self.per_epoch => Recorded::TooMany,
            _ => Recorded::New,
        }
    }

    /// Takes an attestation if it is the worker's newest.
    pub fn record(&self, attestation: &Verified<Signed<ResourceAttestation>>) -> Recorded {
        let record = &attestation.record;
        let mut workers = self.workers();
        let Some(entry) = workers.get_mut(&attestation.signer) else { return Recorded::Unknown };
        let verdict = self.judge(entry.as_ref(), record);
        if verdict == Recorded::New {
            let taken = entry.filter(|entry| entry.epoch == record.epoch).map_or(0, |entry| entry.taken);
            *entry = Some(Entry { sequence: record.sequence, epoch: record.epoch, taken: taken.saturating_add(1) });
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use lucid_types::amount::Ppm;
    use lucid_types::attestation::Capacity;
    use lucid_types::id::NetworkId;
    use lucid_types::key::NodeKey;
    use lucid_types::time::UnixMillis;

    use super::*;

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
        NodeKey::from_seed(&[key; 32]).sign_attestation(&NetworkId::from_bytes([1; 32]), record)
    }

    fn table() -> (AttestationTable, NodeId) {
        let worker = NodeKey::from_seed(&[1; 32]).node_id();
        (AttestationTable::new(&Policy::local(Duration::from_secs(5), 2, None), [worker]), worker)
    }

    #[test]
    fn every_epoch_has_its_own_number() {
        let (table, _) = table();
        let mut sequence = 0;
        let mut record = |epoch| {
            sequence += 1;
            table.record(&attestation(1, epoch, sequence))
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
        let (table, worker) = table();
        assert_eq!(table.record(&attestation(2, 3, 1)), Recorded::Unknown);
        assert_eq!(table.record(&attestation(1, 3, 10)), Recorded::New);
        let stale = [(3, 10), (3, 9), (2, 11)];
        for (epoch, sequence) in stale {
            assert_eq!(table.record(&attestation(1, epoch, sequence)), Recorded::Stale);
        }
        assert_eq!(table.record(&attestation(1, 3, 11)), Recorded::New);
        let flood = attestation(1, 3, 12);
        assert_eq!(table.check(&worker, &flood.record), Recorded::TooMany);
        assert_eq!(table.record(&flood), Recorded::TooMany);
        let mut wild = attestation(1, 4, 13).record.clone();
        wild.allocation = Ppm::new(1_000_001);
        assert_eq!(table.check(&worker, &wild), Recorded::Implausible);
    }
}
