//! A network with one pool, and blocks that its validators certify, for the signer's tests.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_storage::{BlockCommit, Store};
use lucid_types::amount::MicroUsdt;
use lucid_types::block::{Block, Header, items_hash};
use lucid_types::bls::BlsSignature;
use lucid_types::certificate::Certificate;
use lucid_types::codec::encode;
use lucid_types::genesis::{Genesis, GenesisPool, SignerSet, TreasurySigner, Vault};
use lucid_types::id::{BlockHash, Hash, PoolId, StateRoot};
use lucid_types::key::NodeKey;
use lucid_types::payout::{PoolChange, PoolCommand, SettlementRoot, VaultLimits};
use lucid_types::signed::MultiSigned;
use lucid_types::sync::CertifiedBlock;
use lucid_types::time::{Height, UnixMillis};

pub(crate) use crate::payout::testing::tron_key;
use crate::payout::testing::{self, node, node_key};

/// Validators, all of power 1.
pub(crate) const VALIDATORS: u8 = 4;

pub(crate) fn validator(n: u8) -> NodeKey {
    node_key(n)
}

/// Validators 1 to 3 sign.
pub(crate) fn signers(era: u32, threshold: u8) -> SignerSet {
    set_of(era, threshold, &[1, 2, 3])
}

pub(crate) fn set_of(era: u32, threshold: u8, keys: &[u8]) -> SignerSet {
    let signer = |n: &u8| TreasurySigner { node: node(*n), key_address: tron_key(*n).address() };
    SignerSet { era, threshold, members: keys.iter().map(signer).collect() }
}

pub(crate) fn limits(cap: u64) -> VaultLimits {
    VaultLimits { cap: MicroUsdt::new(cap), push_fee: MicroUsdt::ZERO }
}

pub(crate) fn command(pool: PoolId, change: PoolChange) -> PoolCommand {
    PoolCommand { pool, number: 1, until: UnixMillis::new(u64::MAX), change }
}

pub(crate) fn genesis() -> Genesis {
    let spec = testing::network();
    let base = spec.genesis();
    let pool = &base.pools[0];
    Genesis {
        name: "signer".to_owned(),
        validators: (1..=VALIDATORS).map(|n| validator(n).validator(1, node(n))).collect(),
        workers: Vec::new(),
        pools: vec![GenesisPool {
            owner: node(4),
            members: Vec::new(),
            budget: MicroUsdt::new(1_000),
            vault: Vault { limits: limits(1 << 40), signers: signers(1, 2), ..pool.vault.clone() },
            ..pool.clone()
        }],
        ..base.clone()
    }
}

/// The network, its validators, and the blocks that they decide on.
pub(crate) struct Chain {
    pub(crate) spec: Arc<ChainSpec>,
    pub(crate) pool: PoolId,
}

impl Chain {
    pub(crate) fn new() -> Self {
        let spec = Arc::new(ChainSpec::new(genesis()).unwrap());
        let pool = *spec.pools().next().unwrap().0;
        Self { spec, pool }
    }

    /// The root of a settlement, for the signers of era 1.
    pub(crate) fn root(&self, settlement: u64, total: u64) -> SettlementRoot {
        testing::root(&self.spec, settlement, total)
    }

    pub(crate) fn block(&self, height: u64, roots: Vec<SettlementRoot>, changes: Vec<PoolCommand>) -> Block {
        let height = Height::new(height);
        let sign = |record: PoolCommand| {
            let signed = validator(4).sign_pool_command(self.spec.id(), record.clone()).into_inner();
            MultiSigned::collect(record, [(signed.signer, signed.signature)])
        };
        Block {
            header: Header {
                height,
                round: 0,
                parent: BlockHash::from_bytes([3; 32]),
                proposer: validator(1).node_id(),
                time: UnixMillis::new(height.get() * 1_000),
                payout_roots: roots,
                randao: BlsSignature::from_bytes([6; 48]),
                next_set: Hash::from_bytes([4; 32]),
                state_root: StateRoot::from_bytes([5; 32]),
                items: items_hash(&[]),
            },
            commitments: Vec::new(),
            reveals: Vec::new(),
            commands: changes.into_iter().map(sign).collect(),
            evidence: Vec::new(),
        }
        .sealed()
    }

    /// A block with the certificate of validators 1 to 3.
    pub(crate) fn certified(
        &self,
        height: u64,
        roots: Vec<SettlementRoot>,
        changes: Vec<PoolCommand>,
    ) -> CertifiedBlock {
        self.certified_by(self.block(height, roots, changes), &[1, 2, 3])
    }

    pub(crate) fn certified_by(&self, block: Block, validators: &[u8]) -> CertifiedBlock {
        let mut certificate =
            Certificate { height: block.header.height, round: 0, block: block.hash(), signatures: Vec::new() };
        let vote = certificate.vote();
        certificate.signatures = validators
            .iter()
            .map(|n| validator(*n).sign_vote(self.spec.id(), vote).into_inner())
            .map(|vote| (vote.signer, vote.signature))
            .collect();
        certificate.signatures.sort();
        CertifiedBlock { block, certificate }
    }
}

/// A store that holds these blocks, from height 1 on, and the records of their changes.
pub(crate) fn store_with(chain: &Chain, blocks: &[CertifiedBlock]) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), *chain.spec.id()).unwrap();
    for CertifiedBlock { block, certificate } in blocks {
        let commitment = BlockCommit {
            height: block.header.height,
            block_hash: block.hash(),
            block: encode(block),
            certificate: encode(certificate),
            state: Vec::new(),
            rows: Vec::new(),
            keep_rows_from: None,
            history: super::blocks::records(block),
        };
        store.commit_block(commitment).unwrap();
    }
    (folder, store)
}
