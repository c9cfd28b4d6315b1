//! A pool of 1,000 workers, and what a validator reports of them. For the benchmarks of this crate and of whole paydays.

use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::build::{Pending, Turn, build};
use lucid_consensus::ledger::execute::Execution;
use lucid_consensus::ledger::state::{Rows, State};
use lucid_consensus::ledger::table::Draws;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::block::Block;
use lucid_types::genesis::{Genesis, PaymentNetwork};
use lucid_types::id::{Hash, NodeId, PayoutAddress, SolidBlockId};
use lucid_types::key::NodeKey;
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::payout::VaultLimits;
use lucid_types::policy::Policy;
use lucid_types::pool::SplitRule;
use lucid_types::report::{AssignedWorker, Observation, ReportCommitment, Reveal, ScoreReport};
use lucid_types::time::{Epoch, UnixMillis};
use lucid_types::validator::Validator;
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vault::{SignerSet, TreasurySigner, Vault};

pub(crate) use lucid_sim::start;
use lucid_sim::start::{Pool, Start, Worker};

pub(crate) const WORKERS: u16 = 1_000;

pub(crate) fn policy() -> Policy {
    Policy::local(Duration::from_secs(5), 2, None)
}

/// The key of worker 0; nobody needs those of the others.
pub(crate) fn leader() -> NodeKey {
    NodeKey::from_seed(&[200; 32])
}

/// With what a validator signs: of one seed with its node's key.
pub(crate) fn signer_of(node: &NodeKey) -> ValidatorKey {
    ValidatorKey::from_seed(node.seed())
}

/// A validator that runs itself.
pub(crate) fn validator_of(key: &NodeKey) -> Validator {
    let node = key.account();
    Validator { node, power: 1, operator: node, keys: signer_of(key).keys(&node) }
}

fn worker(i: u16) -> NodeId {
    match i {
        0 => leader().account(),
        _ => NodeId::from_bytes(*Hash::derive("lucid bench worker 1", &[&i.to_le_bytes()]).as_bytes()),
    }
}

pub(crate) fn address(i: u16) -> PayoutAddress {
    let mut hash = [7; 20];
    hash[..2].copy_from_slice(&i.to_le_bytes());
    PayoutAddress::from_hash20(hash)
}

/// A payment network and a vault of one signer, for benchmarks in which nothing is paid.
pub(crate) fn unpaid(signer: &NodeKey) -> (PaymentNetwork, Vault) {
    let tron = PaymentNetwork {
        network: "local".into(),
        genesis_block: SolidBlockId::from_bytes([1; 32]),
        usdt: address(60_000),
    };
    let signer = TreasurySigner { node: signer.account(), key_address: address(60_003) };
    let vault = Vault {
        address: address(60_002),
        nonce: 0,
        limits: VaultLimits { cap: MicroUsdt::new(1 << 40), push_fee: MicroUsdt::new(10_000) },
        signers: SignerSet { era: 1, threshold: 1, members: vec![signer] },
    };
    (tron, vault)
}

/// A pool of [`WORKERS`]: see [`start_with`].
pub(crate) fn start(validators: Vec<Validator>, tron: PaymentNetwork, vault: Vault) -> Start {
    start_with(WORKERS, validators, tron, vault)
}

/// A pool of so many workers. The first validator owns it; ten workers can lead.
pub(crate) fn start_with(workers: u16, validators: Vec<Validator>, tron: PaymentNetwork, vault: Vault) -> Start {
    let entry = |i: u16| Worker {
        node: worker(i),
        operator: worker(i),
        payout_address: address(i),
        gas_address: (i < 10).then(|| address(50_000 + i)),
        capacity: Capacity { disk_bytes: 48 << 30, ..Capacity::default() },
    };
    let pool = Pool {
        name: "pool".into(),
        owner: validators[0].node,
        members: (0..workers).map(worker).collect(),
        budget: MicroUsdt::new(20_000_000_000),
        split: SplitRule::CreditsTimesScore,
        commission: Ppm::new(50_000),
        commission_address: address(60_001),
        vault,
    };
    let genesis_time = UnixMillis::new(1_000_000_000);
    Start {
        genesis: Genesis { name: "bench".into(), genesis_time, tron, policy: policy(), validators },
        workers: (0..workers).map(entry).collect(),
        pools: vec![pool],
    }
}

/// What a validator measured of the workers that it was to measure: about the same of every worker, and not the same as another
/// validator. All of a worker's chunks were proved, and each is seen where it always is.
fn reveal(epoch: Epoch, number: u8, assigned: &[(NodeId, AssignedWorker)], quotas: &[u16]) -> Reveal {
    let observe = |(i, (node, worker)): (u16, &(NodeId, AssignedWorker))| {
        let seen = Observation {
            pings_sent: 4,
            pings_answered: 3 + u8::from(i % 2 == 1),
            rtt_us: LogScale::encode(500 + u64::from(i) + u64::from(number)),
            echo_kbit_s: Some(LogScale::encode(8_000 + u64::from(number))),
            group: Some(group_of(node)),
        };
        (*worker, Some(seen))
    };
    let seen: Vec<_> = (0..).zip(assigned).map(observe).collect();
    let stored: Vec<_> = quotas.iter().copied().map(Some).collect();
    Reveal { report: ScoreReport::new(epoch, &seen, &stored), salt: [number; 32] }
}

/// Where a worker is: one in ten with others.
pub(crate) fn group_of(worker: &NodeId) -> NetworkGroup {
    let [first, second, third, ..] = *worker.as_bytes();
    NetworkGroup::from_bytes(if first % 10 == 0 { [0, 0, 9, 9, 9, second] } else { [0, 0, 8, first, second, third] })
}

/// The next block of a chain in which all validators report: it closes an epoch, or carries their commitments or reveals.
pub(crate) fn next_block(spec: &ChainSpec, state: &State, validators: &[NodeKey]) -> (Block, Execution) {
    let mut pending = Pending::default();
    let reports = &mut pending.reports;
    for (epoch, _) in state.pending() {
        let draw = state.get::<Draws>(&epoch).unwrap();
        for (number, account) in (0..).zip(validators) {
            let key = signer_of(account);
            let id = key.id();
            let assigned = draw.assignment(&id).into_iter().flatten();
            let assigned: Vec<_> = assigned.map(|(worker, _)| (worker.node, worker.assigned())).collect();
            let stored = draw.storage_assignment(&id).into_iter().flatten();
            let quotas: Vec<_> = stored.map(|(worker, _)| worker.quota).collect();
            let reveal = reveal(epoch, number, &assigned, &quotas);
            let commitment = ReportCommitment { epoch, report: reveal.commitment(spec.id(), &account.account()) };
            reports.add_commitment(spec, state, key.sign_report_commitment(spec.id(), commitment));
            reports.add_reveal(spec, state, key.sign_report(spec.id(), reveal));
        }
    }
    let proposer = state.next_proposers().of(0).keys.id;
    let key = validators.iter().map(signer_of).find(|key| key.id() == proposer).unwrap();
    let end = spec.genesis().epoch_end(state.closed().next());
    let now = if state.pending().next().is_none() { end } else { state.time() };
    let turn = Turn { key: &key, round: 0, now };
    build(spec, state, &pending, turn).unwrap()
}
