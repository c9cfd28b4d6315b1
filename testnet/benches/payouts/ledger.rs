//! A ledger that settles with 1,000 workers of one pool, of whom one can lead.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lucid_consensus::commands::PendingCommands;
use lucid_consensus::ledger::archive::MemoryArchive;
use lucid_consensus::ledger::build::build;
use lucid_consensus::ledger::execute::{Applied, Event};
use lucid_consensus::ledger::state::State;
use lucid_consensus::network::Network;
use lucid_consensus::reports::Reports;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::commit::Commit;
use lucid_types::genesis::{Genesis, GenesisPool, GenesisWorker, PaymentNetwork, SplitRule, Vault};
use lucid_types::id::{Hash, NodeId, PayoutAddress, PoolId, SolidBlockId};
use lucid_types::key::NodeKey;
use lucid_types::payout_tree::{AccountId, OwedAccount};
use lucid_types::policy::Policy;
use lucid_types::report::{Observation, Reveal, ScoreReport};
use lucid_types::time::{EpochNumber, UnixMillis};
use lucid_types::validator::Validator;

pub(crate) const WORKERS: u16 = 1_000;
const EPOCH: Duration = Duration::from_secs(5);
/// The block that makes the first settlement.
const SETTLES: u64 = 3;

pub(crate) fn policy() -> Policy {
    Policy::local(EPOCH, 2, 0)
}

/// The key of the worker that leads.
pub(crate) fn leader() -> NodeKey {
    NodeKey::from_seed(&[200; 32])
}

fn worker(i: u16) -> NodeId {
    match i {
        0 => leader().node_id(),
        _ => NodeId::from_bytes(*Hash::derive("lucid bench worker 1", &[&i.to_le_bytes()]).as_bytes()),
    }
}

fn address(i: u16) -> PayoutAddress {
    let mut hash = [7; 20];
    hash[..2].copy_from_slice(&i.to_le_bytes());
    PayoutAddress::from_hash20(hash)
}

/// What the payment network gives.
pub(crate) struct Parts {
    pub(crate) genesis_block: SolidBlockId,
    pub(crate) usdt: PayoutAddress,
    pub(crate) vault: Vault,
    pub(crate) gas: PayoutAddress,
    /// The only validator.
    pub(crate) validator: NodeKey,
}

/// The state before the first settlement's block, and what that block does.
pub(crate) struct Payday {
    pub(crate) network: Arc<Network>,
    pub(crate) pool: PoolId,
    pub(crate) before: Arc<State>,
    pub(crate) after: Arc<State>,
    pub(crate) events: Vec<Event>,
    pub(crate) settlement: u64,
    pub(crate) leaves: Vec<OwedAccount>,
}

fn network(parts: &Parts) -> Network {
    let entry = |i: u16| GenesisWorker {
        node: worker(i),
        operator: worker(i),
        payout_address: address(i),
        gas_address: (i == 0).then_some(parts.gas),
        capacity: Capacity::default(),
    };
    let validator = parts.validator.node_id();
    // The settlement's block is of about now.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let begun = now.checked_sub(EPOCH * u32::try_from(SETTLES).unwrap()).unwrap();
    let genesis = Genesis {
        name: "payday".into(),
        genesis_time: UnixMillis::new(u64::try_from(begun.as_millis()).unwrap()),
        tron: PaymentNetwork { network: "local".into(), genesis_block: parts.genesis_block, usdt: parts.usdt },
        policy: policy(),
        validators: vec![Validator { node: validator, power: 1, operator: validator }],
        workers: (0..WORKERS).map(entry).collect(),
        pools: vec![GenesisPool {
            name: "pool".into(),
            owner: validator,
            members: (0..WORKERS).map(worker).collect(),
            budget: MicroUsdt::new(20_000_000_000),
            split: SplitRule::CreditsTimesScore,
            commission: Ppm::ZERO,
            commission_address: address(60_001),
            vault: parts.vault.clone(),
        }],
    };
    Network::new(genesis).unwrap()
}

fn reveal(epoch: EpochNumber) -> Reveal {
    let observe = |i: u16| Observation {
        worker: worker(i),
        beacons_sent: 4,
        beacons_answered: 3 + u32::from(i % 2),
        rtt_us: 500 + u32::from(i),
        relays_sent: 1,
        relays_verified: 1,
        relay_bytes: 256 << 10,
        relay_kbit_s: 80_000,
        chunks_proved: 0,
        storage_bytes: 0,
        attestation: Some(Hash::from_bytes([9; 32])),
        capacity: Capacity { cores: 8, memory_bytes: 1 << 34, disk_bytes: 1 << 38, bandwidth_kbit_s: 1_000_000 },
        allocation: Ppm::new(500_000),
    };
    let mut observations: Vec<_> = (0..WORKERS).map(observe).collect();
    observations.sort_by_key(|observation| observation.worker);
    Reveal { report: ScoreReport { epoch, observations }, salt: [1; 32] }
}

impl Payday {
    pub(crate) fn new(parts: Parts) -> Self {
        let network = network(&parts);
        let Parts { validator: key, vault, .. } = parts;
        let (mut state, mut archive) = (State::genesis(&network), MemoryArchive::default());
        loop {
            let epoch = state.height.next();
            assert!(epoch.get() <= SETTLES, "no settlement by block {SETTLES}");
            let mut reports = Reports::default();
            let report = reveal(epoch).commitment(network.id(), &key.node_id());
            let commit = Commit { epoch, report, time: network.genesis().epoch_end(epoch) };
            reports.add_commit(&network, &state, key.sign_commit(network.id(), commit));
            if state.height > EpochNumber::ZERO {
                reports.add_reveal(&network, &state, key.sign_report(network.id(), reveal(state.height)));
            }
            let commands = PendingCommands::default();
            let (block, applied) = build(&network, &state, &reports, &commands, key.node_id(), &archive).unwrap();
            let Applied { state: next, rows, events, .. } = applied;
            let settled = events.iter().find_map(|event| match event {
                Event::Settled(settled) => Some((settled.root.settlement, settled.leaves.clone())),
                Event::Elected { .. } | Event::Reissued(_) => None,
            });
            if let Some((settlement, leaves)) = settled {
                let (pool, _) = next.pools.iter().find(|(_, pool)| pool.vault.address == vault.address).unwrap();
                let (pool, before, after) = (*pool, Arc::new(state), Arc::new(next));
                return Self { network: Arc::new(network), pool, before, after, events, settlement, leaves };
            }
            archive.keep(block, rows);
            state = next;
        }
    }

    /// Accounts that are owed the threshold or more.
    pub(crate) fn due(&self) -> Vec<AccountId> {
        let threshold = policy().payout_threshold;
        self.leaves.iter().filter(|leaf| leaf.owed >= threshold).map(|leaf| leaf.id).collect()
    }
}
