//! The newest accepted attestation of every worker, epoch by epoch: what goes into the observations.
//!
//! Checks what needs memory: known workers, increasing sequences, not too many. Whether a signature is right and an
//! epoch is current is decided before.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lucid_types::amount::Ppm;
use lucid_types::attestation::{Capacity, ResourceAttestation};
use lucid_types::codec::encode;
use lucid_types::id::{Hash, NodeId};
use lucid_types::policy::Policy;
use lucid_types::signed::{Signed, Verified};
use lucid_types::time::Epoch;

/// Attestations come at most this often (protocol: "one per 10 s at most"), and at least one an epoch is taken.
const INTERVAL: Duration = Duration::from_secs(10);

/// What an observation needs of an attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attested {
    /// Hash of the signed attestation.
    pub hash: Hash,
    /// What is offered.
    pub capacity: Capacity,
    /// How much of it is in use.
    pub allocation: Ppm,
}

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

/// The table. Shared by the gate, which fills it, and the prober, which reads it.
#[derive(Debug)]
pub struct AttestationTable {
    per_epoch: u32,
    /// One entry for each known worker, so it cannot grow.
    workers: Mutex<BTreeMap<NodeId, Option<Entry>>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    sequence: u64,
    newest: OfEpoch,
    /// The epoch is over when its report is made; by then the next epoch's attestation may be here.
    before: Option<OfEpoch>,
}

#[derive(Clone, Copy, Debug)]
struct OfEpoch {
    epoch: Epoch,
    attested: Attested,
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
            Some(entry) if record.sequence <= entry.sequence || record.epoch < entry.newest.epoch => Recorded::Stale,
            Some(entry) if record.epoch == entry.newest.epoch && entry.newest.taken >= self.per_epoch => {
                Recorded::TooMany
            }
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
            let hash = Hash::derive("lucid attestation 1", &[&encode(&**attestation)]);
            let attested = Attested { hash, capacity: record.capacity, allocation: record.allocation };
            let old = entry.map(|entry| entry.newest);
            let (taken, before) = match old {
                Some(old) if old.epoch == record.epoch => {
                    (old.taken.saturating_add(1), entry.and_then(|entry| entry.before))
                }
                other => (1, other),
            };
            let newest = OfEpoch { epoch: record.epoch, attested, taken };
            *entry = Some(Entry { sequence: record.sequence, newest, before });
        }
        verdict
    }

    /// A worker's newest attestation of an epoch, of the last two in which it sent any.
    pub fn newest(&self, worker: &NodeId, epoch: Epoch) -> Option<Attested> {
        let entry = (*self.workers().get(worker)?)?;
        let found = [Some(entry.newest), entry.before].into_iter().flatten().find(|of| of.epoch == epoch);
        found.map(|of| of.attested)
    }
}

#[cfg(test)]
mod tests {
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
            capacity: Capacity { cores: u32::try_from(sequence).unwrap_or(0), ..Capacity::default() },
            allocation: Ppm::new(7),
        };
        NodeKey::from_seed(&[key; 32]).sign_attestation(&NetworkId::from_bytes([1; 32]), record)
    }

    fn table() -> (AttestationTable, NodeId) {
        let worker = NodeKey::from_seed(&[1; 32]).node_id();
        (AttestationTable::new(&Policy::local(Duration::from_secs(5), 2, None), [worker]), worker)
    }

    #[test]
    fn each_epoch_keeps_its_newest_also_when_the_next_has_begun() {
        let (table, worker) = table();
        let cores = |epoch| table.newest(&worker, Epoch::new(epoch)).map(|a| a.capacity.cores);
        assert_eq!(cores(3), None);
        for (epoch, sequence) in [(3, 10), (3, 11), (4, 12)] {
            assert_eq!(table.record(&attestation(1, epoch, sequence)), Recorded::New);
        }
        assert_eq!((cores(3), cores(4), cores(5)), (Some(11), Some(12), None));
        assert_eq!(table.record(&attestation(1, 5, 13)), Recorded::New);
        assert_eq!((cores(3), cores(4), cores(5)), (None, Some(12), Some(13)));
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
        assert_eq!(table.newest(&worker, Epoch::new(3)).map(|a| a.capacity.cores), Some(11));
        let mut wild = attestation(1, 4, 13).record.clone();
        wild.allocation = Ppm::new(1_000_001);
        assert_eq!(table.check(&worker, &wild), Recorded::Implausible);
    }

    #[test]
    fn the_hash_names_the_signed_attestation() {
        let (one, worker) = table();
        let (other, _) = table();
        one.record(&attestation(1, 3, 1));
        other.record(&attestation(1, 3, 2));
        let epoch = Epoch::new(3);
        assert_ne!(one.newest(&worker, epoch).map(|a| a.hash), other.newest(&worker, epoch).map(|a| a.hash));
    }
}
