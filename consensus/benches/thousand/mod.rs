//! A pool of 1,000 workers, and what a validator reports of them. For the benchmarks of this crate and of whole paydays.

use std::time::Duration;

use lucid_consensus::commands::PendingCommands;
use lucid_consensus::ledger::archive::MemoryArchive;
use lucid_consensus::ledger::build::{Turn, build};
use lucid_consensus::ledger::execute::Applied;
use lucid_consensus::ledger::state::State;
use lucid_consensus::network::Network;
use lucid_consensus::reports::Reports;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::block::Block;
use lucid_types::genesis::{Genesis, GenesisPool, GenesisWorker, PaymentNetwork, SplitRule, Vault};
use lucid_types::id::{Hash, NodeId, PayoutAddress};
use lucid_types::key::NodeKey;
use lucid_types::policy::Policy;
use lucid_types::report::{Observation, ReportCommitment, Reveal, ScoreReport};
use lucid_types::time::{Epoch, UnixMillis};
use lucid_types::validator::Validator;

pub(crate) const WORKERS: u16 = 1_000;

pub(crate) fn policy() -> Policy {
    Policy::local(Duration::from_secs(5), 2, None)
}

/// The key of worker 0; nobody needs those of the others.
pub(crate) fn leader() -> NodeKey {
    NodeKey::from_seed(&[200; 32])
}

fn worker(i: u16) -> NodeId {
    match i {
        0 => leader().node_id(),
        _ => NodeId::from_bytes(*Hash::derive("lucid bench worker 1", &[&i.to_le_bytes()]).as_bytes()),
    }
}

pub(crate) fn address(i: u16) -> PayoutAddress {
    let mut hash = [7; 20];
    hash[..2].copy_from_slice(&i.to_le_bytes());
    PayoutAddress::from_hash20(hash)
}

/// The first validator owns the pool; ten workers can lead.
pub(crate) fn genesis(validators: Vec<Validator>, tron: PaymentNetwork, vault: Vault) -> Genesis {
    let entry = |i: u16| GenesisWorker {
        node: worker(i),
        operator: worker(i),
        payout_address: address(i),
        gas_address: (i < 10).then(|| address(50_000 + i)),
        capacity: Capacity::default(),
    };
    Genesis {
        name: "bench".into(),
        genesis_time: UnixMillis::new(1_000_000_000),
        tron,
        policy: policy(),
        workers: (0..WORKERS).map(entry).collect(),
        pools: vec![GenesisPool {
            name: "pool".into(),
            owner: validators[0].node,
            members: (0..WORKERS).map(worker).collect(),
            budget: MicroUsdt::new(20_000_000_000),
            split: SplitRule::CreditsTimesScore,
            commission: Ppm::new(50_000),
            commission_address: address(60_001),
            vault,
        }],
        validators,
    }
}

/// What a validator measured in an epoch: about the same of every worker, and not the same as another validator.
pub(crate) fn reveal(epoch: Epoch, validator: u8) -> Reveal {
    let observe = |i: u16| Observation {
        worker: worker(i),
        beacons_sent: 4,
        beacons_answered: 3 + u32::from(i % 2),
        rtt_us: 500 + u32::from(i) + u32::from(validator),
        relays_sent: 1,
        relays_verified: 1,
        relay_bytes: 256 << 10,
        relay_kbit_s: 80_000 + u64::from(validator),
        chunks_proved: 0,
        storage_bytes: 0,
        attestation: Some(Hash::from_bytes([9; 32])),
        capacity: Capacity { cores: 8, memory_bytes: 1 << 34, disk_bytes: 1 << 38, bandwidth_kbit_s: 1_000_000 },
        allocation: Ppm::new(500_000),
    };
    let mut observations: Vec<_> = (0..WORKERS).map(observe).collect();
    observations.sort_by_key(|observation| observation.worker);
    Reveal { report: ScoreReport { epoch, observations }, salt: [validator; 32] }
}

/// The next block of a chain in which all validators report: it closes an epoch, or carries their commitments or reveals.
pub(crate) fn next_block(
    network: &Network,
    state: &State,
    archive: &MemoryArchive,
    validators: &[NodeKey],
) -> (Block, Applied) {
    let mut reports = Reports::default();
    for epoch in state.pending.keys().copied() {
        for (number, key) in (0..).zip(validators) {
            let reveal = reveal(epoch, number);
            let commitment = ReportCommitment { epoch, report: reveal.commitment(network.id(), &key.node_id()) };
            reports.add_commitment(network, state, key.sign_report_commitment(network.id(), commitment));
            reports.add_reveal(network, state, key.sign_report(network.id(), reveal));
        }
    }
    let height = state.height.next();
    let proposer = network.validators(height).proposer(height, 0).node;
    let end = network.genesis().epoch_end(state.closed.next());
    let now = if state.pending.is_empty() { end } else { state.time };
    let turn = Turn { proposer, round: 0, now };
    build(network, state, &reports, &PendingCommands::default(), turn, archive).unwrap()
}
