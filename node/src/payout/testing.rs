//! A pool with a vault, three treasury signers and two workers.

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::{Account, Hold};
use lucid_consensus::ledger::state::State;
use lucid_consensus::ledger::table::{Accounts, Pools};
use lucid_consensus::replica::Offers;
use lucid_score::leader::Elected;
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::vault::VaultSnapshot;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::genesis::{Genesis, PaymentNetwork};
use lucid_types::id::{NodeId, PayoutAddress, PoolId, SolidBlockId};
use lucid_types::key::NodeKey;
use lucid_types::payout::{AccountKind, SettlementRoot, VaultLimits};
use lucid_types::payout_tree::{AccountId, PayoutRoot};
use lucid_types::policy::Policy;
use lucid_types::pool::SplitRule;
use lucid_types::time::UnixMillis;
use lucid_types::validator::Validator;
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vault::{SignerSet, TreasurySigner, Vault};

use crate::chain::head::Head;
pub(crate) use lucid_sim::start;
use lucid_sim::start::{Pool, Start, Worker};

/// The first also validates; the others are nothing else.
pub(crate) const SIGNERS: [u8; 3] = [1, 2, 3];
pub(crate) const OWNER: u8 = 9;
pub(crate) const WORKERS: [u8; 2] = [11, 12];
pub(crate) const USDT: MicroUsdt = MicroUsdt::new(1_000_000);

pub(crate) fn node_key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

pub(crate) fn node(seed: u8) -> NodeId {
    node_key(seed).account()
}

/// A member that was elected.
pub(crate) const fn elected(node: NodeId) -> Elected {
    Elected { node, live: 7, is_eligible: true, is_cooling: false, last_led: None }
}

/// With what the validator signs whose node has the key of this seed.
pub(crate) fn signing_key(seed: u8) -> ValidatorKey {
    ValidatorKey::from_seed(&[seed ^ 0x80; 32])
}

/// A validator that runs itself.
pub(crate) fn validator(seed: u8) -> Validator {
    let node = node(seed);
    Validator { node, power: 1, operator: node, keys: signing_key(seed).keys(&node) }
}

pub(crate) fn tron_key(seed: u8) -> TronKey {
    TronKey::from_secret(&[seed; 32]).unwrap()
}

pub(crate) fn address(seed: u8) -> PayoutAddress {
    PayoutAddress::from_hash20([seed; 20])
}

/// Signers with the keys of these seeds, two of whom must sign.
pub(crate) fn signer_set(era: u32, seeds: [u8; 3]) -> SignerSet {
    let signer = |seed| TreasurySigner { node: node(seed), key_address: tron_key(seed).address() };
    SignerSet { era, threshold: 2, members: seeds.map(signer).to_vec() }
}

/// Two workers of which one is in a pool, whose vault has three signers; one of them validates.
pub(crate) fn start() -> Start {
    let worker = |seed: u8| Worker {
        node: node(seed),
        operator: node(seed),
        payout_address: address(seed),
        gas_address: Some(address(seed + 100)),
        capacity: Capacity::default(),
    };
    let genesis = Genesis {
        name: "payouts".to_owned(),
        genesis_time: UnixMillis::new(1_000_000),
        tron: PaymentNetwork {
            network: "local".to_owned(),
            genesis_block: SolidBlockId::from_bytes([7; 32]),
            usdt: address(200),
        },
        policy: Policy::local(Duration::from_secs(2), 2, None),
        validators: vec![validator(SIGNERS[0])],
    };
    let pool = Pool {
        name: "pool".to_owned(),
        owner: node(OWNER),
        members: vec![node(WORKERS[0])],
        budget: USDT,
        split: SplitRule::Credits,
        commission: Ppm::ZERO,
        commission_address: address(201),
        vault: Vault {
            address: address(202),
            nonce: 0,
            limits: VaultLimits { cap: MicroUsdt::new(1_000_000_000), push_fee: MicroUsdt::ZERO },
            signers: signer_set(1, SIGNERS),
        },
    };
    Start { genesis, workers: WORKERS.map(worker).to_vec(), pools: vec![pool] }
}

/// The network of [`start`].
pub(crate) fn network() -> Arc<ChainSpec> {
    Arc::new(ChainSpec::new(start().genesis).unwrap())
}

/// Its state before block 1.
pub(crate) fn first(spec: &ChainSpec) -> State {
    start().state(spec)
}

pub(crate) fn pool_id(spec: &ChainSpec) -> PoolId {
    PoolId::derive(spec.id(), "pool")
}

pub(crate) fn account_id(spec: &ChainSpec) -> AccountId {
    AccountId::derive(spec.id(), &pool_id(spec), AccountKind::Worker, &node(WORKERS[0]))
}

/// The first worker's account, which was owed this much and has asked for it.
pub(crate) fn account(owed: u64) -> Account {
    Account {
        kind: AccountKind::Worker,
        node: node(WORKERS[0]),
        to: address(WORKERS[0]),
        owed: MicroUsdt::new(owed),
        requested: MicroUsdt::new(owed),
        held: MicroUsdt::ZERO,
        hold: Hold::No,
        correction: MicroUsdt::ZERO,
    }
}

pub(crate) fn root(spec: &ChainSpec, settlement: u64, total: u64) -> SettlementRoot {
    SettlementRoot {
        pool: pool_id(spec),
        settlement,
        vault: address(202),
        era: 1,
        root: PayoutRoot::from_bytes([u8::try_from(settlement).unwrap(); 32]),
        total: MicroUsdt::new(total),
        fees: MicroUsdt::ZERO,
        promised: MicroUsdt::new(total),
        leader: None,
        until: 0,
    }
}

/// A state in which the first worker is owed the total of this root.
pub(crate) fn state(spec: &ChainSpec, root: SettlementRoot) -> State {
    first(spec).changed(|rows| {
        let id = pool_id(spec);
        rows.put::<Accounts>(&(id, account_id(spec)), account(root.total.get()));
        let pool = rows.get_mut::<Pools>(&id).unwrap();
        (pool.settled, pool.newest) = (root.settlement, Some(root));
    })
}

/// What a node shows of a state that no block has led to.
pub(crate) fn head(state: State) -> Head {
    let (offers, unreported) = (Offers::default(), Vec::new());
    Head { state, block: None, adopted_at: UnixMillis::new(1), offers, round: None, unreported }
}

/// A vault with this root, which has paid this much to the first worker and holds enough.
pub(crate) fn snapshot(spec: &ChainSpec, root: &SettlementRoot, paid: u64) -> VaultSnapshot {
    VaultSnapshot {
        settlement: root.settlement,
        total: root.total,
        fees: root.fees,
        era: root.era,
        nonce: 0,
        threshold: 2,
        root: Some(root.root),
        leader: root.leader,
        until: root.until,
        limits: VaultLimits { cap: MicroUsdt::new(1_000_000_000), push_fee: MicroUsdt::ZERO },
        owner_pause_from: 0,
        signer_pause_until: 0,
        close_from: 0,
        pauses_used: 0,
        pausing: 0,
        lifting: 0,
        withdrawal: None,
        paid_out: MicroUsdt::new(paid),
        fees_paid: MicroUsdt::ZERO,
        spent: MicroUsdt::ZERO,
        window: 0,
        funds: MicroUsdt::new(1_000_000_000),
        token: spec.genesis().tron.usdt,
        owner: address(203),
        previous: None,
        period: 3_600,
        delay: 100,
        paid: [(account_id(spec), MicroUsdt::new(paid))].into(),
    }
}
