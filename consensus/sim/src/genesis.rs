//! Networks to test with.

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::keyring::Keyring;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::genesis::{Genesis, PaymentNetwork};
use lucid_types::id::{Hash, NodeId, PayoutAddress, SolidBlockId};
use lucid_types::key::NodeKey;
use lucid_types::payout::VaultLimits;
use lucid_types::policy::Policy;
use lucid_types::pool::SplitRule;
use lucid_types::time::UnixMillis;
use lucid_types::validator::Validator;
use lucid_types::validator_key::ValidatorKey;

use crate::start::{Pool, Start, Worker};
use lucid_types::vault::{SignerSet, TreasurySigner, Vault};

/// Length of an epoch.
pub const EPOCH: Duration = Duration::from_secs(5);
/// The genesis time.
pub const START: UnixMillis = UnixMillis::new(1_000_000);
/// When commands end whose end does not matter: some hours after the start.
pub const FAR: UnixMillis = UnixMillis::new(START.get() + 20 * 3_600_000);

/// The key of validator `i`'s node: of its account.
pub fn validator_key(i: usize) -> NodeKey {
    NodeKey::from_seed(&[u8::try_from(i).unwrap() + 1; 32])
}

/// With what validator `i` signs after so many rotations of its key.
pub fn nth_signing_key(i: usize, nth: u8) -> ValidatorKey {
    let account = validator_key(i);
    ValidatorKey::from_seed(Hash::derive("lucid test validator key 1", &[account.seed(), &[nth]]).as_bytes())
}

/// With what validator `i` signs, before it has rotated its key.
pub fn signing_key(i: usize) -> ValidatorKey {
    nth_signing_key(i, 0)
}

/// Validator `i`, which runs itself.
pub fn validator(i: usize, power: u64) -> Validator {
    let node = validator_key(i).account();
    Validator { node, power, operator: node, keys: signing_key(i).keys(&node) }
}

/// The keys that validator `i` begins with.
pub fn keyring(i: usize) -> Keyring {
    Keyring::new(validator_key(i).account(), [signing_key(i)])
}

/// The key of worker `i`.
pub fn worker_key(i: usize) -> NodeKey {
    NodeKey::from_seed(&[u8::try_from(i).unwrap() + 101; 32])
}

/// The account of worker `i`.
pub fn worker_id(i: usize) -> NodeId {
    worker_key(i).account()
}

/// A TRON address.
pub fn address(i: u8) -> PayoutAddress {
    PayoutAddress::from_hash20([i; 20])
}

/// Directs the pool.
pub fn owner_key() -> NodeKey {
    NodeKey::from_seed(&[201; 32])
}

/// One of an era's three treasury signers. Some of an era go on in the next.
pub fn signer_key(era: u32, i: u32) -> NodeKey {
    let mut seed = [210; 32];
    seed[..4].copy_from_slice(&(era + i).to_le_bytes());
    NodeKey::from_seed(&seed)
}

/// The signers of an era: two of three.
pub fn signer_set(era: u32) -> SignerSet {
    let signer = |i| {
        let node = signer_key(era, i).account();
        let mut hash = [0; 20];
        hash.copy_from_slice(&node.as_bytes()[..20]);
        TreasurySigner { node, key_address: PayoutAddress::from_hash20(hash) }
    };
    SignerSet { era, threshold: 2, members: (0..3).map(signer).collect() }
}

/// Of a local network with so many seats, in which workers at one place share one's credits, storage earns some, and validators are paid.
pub fn policy(seats: u32) -> Policy {
    let local = Policy::local(EPOCH, 2, None).local_with_seats(seats);
    Policy { one_per_network: true, storage_credits_per_gib: 2_000, validation_ppm: Ppm::new(50_000), ..local }
}

/// `validators` of power 1.
pub fn network(validators: usize, report_window: u64) -> Arc<ChainSpec> {
    let policy = Policy { report_window, ..policy(4) };
    Arc::new(ChainSpec::new(genesis(&vec![1; validators], policy)).unwrap())
}

/// Validators of these powers.
pub fn genesis(powers: &[u64], policy: Policy) -> Genesis {
    Genesis {
        name: "simulated".into(),
        genesis_time: START,
        tron: PaymentNetwork {
            network: "local".into(),
            genesis_block: SolidBlockId::from_bytes([1; 32]),
            usdt: address(200),
        },
        policy,
        validators: (0..).zip(powers).map(|(i, power)| validator(i, *power)).collect(),
    }
}

/// How a network begins in which nothing else is said: with three workers in one pool. The validators are registered, too, to be paid.
pub fn start(spec: &ChainSpec) -> Start {
    let workers: Vec<_> = (0..3).map(worker_id).collect();
    let worker = |(i, node): (u8, &NodeId)| Worker {
        node: *node,
        operator: *node,
        payout_address: address(i),
        gas_address: Some(address(50 + i)),
        capacity: Capacity { disk_bytes: 1 << 30, ..Capacity::default() },
    };
    let validators = spec.genesis().validators.iter().map(|validator| Worker {
        node: validator.node,
        operator: validator.operator,
        payout_address: address(150),
        gas_address: None,
        capacity: Capacity::default(),
    });
    Start {
        genesis: spec.genesis().clone(),
        workers: (1..).zip(&workers).map(worker).chain(validators).collect(),
        pools: vec![Pool {
            name: "pool".into(),
            owner: owner_key().account(),
            members: workers,
            budget: MicroUsdt::new(120_000_000),
            split: SplitRule::CreditsTimesScore,
            commission: Ppm::new(50_000),
            commission_address: address(99),
            vault: Vault {
                address: address(100),
                nonce: 0,
                limits: VaultLimits { cap: MicroUsdt::new(1_000_000_000), push_fee: MicroUsdt::new(10_000) },
                signers: signer_set(1),
            },
        }],
    }
}
