//! Networks to test with.

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::network::Network;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::genesis::{Genesis, GenesisPool, GenesisWorker, PaymentNetwork, SplitRule, Treasury, TreasurySigner};
use lucid_types::id::{NodeId, PayoutAddress, SolidBlockId};
use lucid_types::key::NodeKey;
use lucid_types::policy::Policy;
use lucid_types::time::UnixMillis;
use lucid_types::validator::Validator;

pub(crate) const EPOCH: Duration = Duration::from_secs(5);
pub(crate) const START: UnixMillis = UnixMillis::new(1_000_000);

pub(crate) fn validator_key(i: usize) -> NodeKey {
    NodeKey::from_seed(&[u8::try_from(i).unwrap() + 1; 32])
}

pub(crate) fn worker_id(i: usize) -> NodeId {
    NodeKey::from_seed(&[u8::try_from(i).unwrap() + 101; 32]).node_id()
}

fn address(i: u8) -> PayoutAddress {
    PayoutAddress::from_hash20([i; 20])
}

/// `validators` of power 1, three workers in one pool.
pub(crate) fn network(validators: usize, commit_window: u64) -> Arc<Network> {
    let key = |i| validator_key(i).node_id();
    let workers: Vec<_> = (0..3).map(worker_id).collect();
    let policy = Policy { commit_window, ..Policy::local(EPOCH, 2, 0) };
    let genesis = Genesis {
        name: "simulated".into(),
        genesis_time: START,
        tron: PaymentNetwork {
            network: "local".into(),
            genesis_block: SolidBlockId::from_bytes([1; 32]),
            usdt: address(200),
        },
        policy,
        validators: (0..validators).map(|i| Validator { node: key(i), power: 1, operator: key(i) }).collect(),
        workers: (1..)
            .zip(&workers)
            .map(|(i, node)| GenesisWorker {
                node: *node,
                operator: *node,
                payout_address: address(i),
                can_lead: true,
                capacity: Capacity::default(),
            })
            .collect(),
        pools: vec![GenesisPool {
            name: "pool".into(),
            owner: key(0),
            members: workers,
            budget: MicroUsdt::new(120_000_000),
            split: SplitRule::CreditsTimesScore,
            commission: Ppm::new(50_000),
            commission_address: address(99),
            treasury: Treasury {
                address: address(100),
                permission_id: 0,
                threshold: 1,
                signers: vec![TreasurySigner { node: key(0), key_address: address(100) }],
            },
        }],
    };
    Arc::new(Network::new(genesis).unwrap())
}
