//! Data that several tests need.

use std::future::Future;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_node::clock::{Clock, SystemClock};
use lucid_node::probe::PolicyOf;
use lucid_storage::Store;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::block::{Header, items_hash};
use lucid_types::certificate::Certificate;
use lucid_types::codec::encode;
use lucid_types::genesis::{Genesis, PaymentNetwork};
use lucid_types::id::{BlockHash, NodeId, PayoutAddress, SolidBlockId};
use lucid_types::key::NodeKey;
use lucid_types::payout::VaultLimits;
use lucid_types::policy::Policy;
use lucid_types::pool::SplitRule;
use lucid_types::time::Height;
use lucid_types::validator::Validator;
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vault::{SignerSet, TreasurySigner, Vault};

pub(crate) use lucid_sim::start;
use lucid_sim::start::{Pool, Start, Worker};

/// What `lucid status --json` and `GET /api/v1/status` answer.
pub(crate) const STATUS_KEYS: [&str; 23] = [
    "alerts",
    "key",
    "node_id",
    "peer_id",
    "roles",
    "missing_key",
    "network_id",
    "peers",
    "height",
    "oldest_block",
    "epoch",
    "final_epoch",
    "block_hash",
    "state_root",
    "sync",
    "pool",
    "leader",
    "maintenance",
    "probe_traffic",
    "owed_micro_usdt",
    "paid_micro_usdt",
    "enrolment",
    "api",
];

/// Nothing here takes longer on a working machine; a test that waits this long has failed.
const LIMIT: Duration = Duration::from_secs(60);

/// Fails the test when `future` takes longer than anything should.
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(LIMIT, future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened within {LIMIT:?} at {caller}"),
        }
    }
}

/// Waits until what another task does is seen.
pub(crate) async fn becomes_true(condition: impl Fn() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(5));
    within(async {
        while !condition() {
            look.tick().await;
        }
    })
    .await;
}

/// The node of a seed.
pub(crate) fn node(seed: u8) -> NodeId {
    NodeKey::from_seed(&[seed; 32]).account()
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

/// A genesis that began a moment ago, with the validators of these seeds.
pub(crate) fn genesis(epoch: Duration, validators: &[u8]) -> Genesis {
    Genesis {
        name: "test".to_owned(),
        genesis_time: SystemClock.now(),
        tron: PaymentNetwork {
            network: "local".to_owned(),
            genesis_block: SolidBlockId::from_bytes([0; 32]),
            usdt: PayoutAddress::from_hash20([1; 20]),
        },
        policy: Policy::local(epoch, 2, None),
        validators: validators.iter().map(|seed| validator(*seed)).collect(),
    }
}

/// A network whose policy stays that of its genesis.
pub(crate) fn policy_of(genesis: &Genesis) -> PolicyOf {
    let policy = Arc::new(genesis.policy.clone());
    Arc::new(move |_| Arc::clone(&policy))
}

/// A registered node.
pub(crate) fn worker(node: NodeId, address: u8) -> Worker {
    Worker {
        node,
        operator: node,
        payout_address: PayoutAddress::from_hash20([address; 20]),
        gas_address: Some(PayoutAddress::from_hash20([address.wrapping_add(100); 20])),
        capacity: Capacity { cores: 2, ..Capacity::default() },
    }
}

/// A pool of these members, with a vault of these signers.
pub(crate) fn pool(owner: u8, members: Vec<NodeId>, threshold: u8, signers: Vec<TreasurySigner>) -> Pool {
    Pool {
        name: "pool".to_owned(),
        owner: node(owner),
        members,
        budget: MicroUsdt::new(1_000),
        split: SplitRule::Equal,
        commission: Ppm::ZERO,
        commission_address: PayoutAddress::from_hash20([201; 20]),
        vault: Vault {
            address: PayoutAddress::from_hash20([202; 20]),
            nonce: 0,
            limits: VaultLimits { cap: MicroUsdt::new(1 << 40), push_fee: MicroUsdt::ZERO },
            signers: SignerSet { era: 1, threshold, members: signers },
        },
    }
}

/// Makes the database of a node that has taken over a snapshot of a state in which nodes and pools are registered: that after block 1,
/// which the validators with these keys have signed.
pub(crate) fn take_over(db: &Path, start: &Start, keys: &[ValidatorKey]) {
    let spec = ChainSpec::new(start.genesis.clone()).unwrap();
    let state = start.state(&spec).changed(|rows| rows.head.height = Height::new(1));
    let proposer = &keys[0];
    let header = Header {
        height: state.height(),
        parent: BlockHash::from(*spec.id()),
        round: 0,
        proposer: proposer.id(),
        time: state.time(),
        randao: proposer.bls_key().sign_randao(spec.id(), state.height()),
        items: items_hash(&[]),
        next_set: spec.first_validators().hash(),
        state_root: state.root(),
    };
    let mut certificate = Certificate { height: header.height, round: 0, block: header.hash(), signatures: vec![] };
    let vote = certificate.vote();
    let votes = keys.iter().map(|key| key.sign_vote(spec.id(), vote).into_inner());
    certificate.signatures = votes.map(|vote| (vote.signer, vote.signature)).collect();
    certificate.signatures.sort();
    let store = Store::open(db, *spec.id()).unwrap();
    let rows: Vec<_> = state.encoded_from(Bound::Unbounded).map(|(key, value)| (key.to_vec(), value)).collect();
    store.begin_restore(&[]).unwrap();
    store.put_restored(&rows, &[]).unwrap();
    let (bytes, certificate) = (encode(&header), encode(&certificate));
    store.finish_restore(header.height, header.hash(), &bytes, &certificate, &[]).unwrap();
}
