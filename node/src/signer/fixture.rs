//! A network with one pool, and states that its validators certify, for the signer's tests.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::{Election, KEPT_CHANGES, MAX_FORMER_VAULTS, PoolState, VaultChange, VaultTerms};
use lucid_consensus::ledger::state::State;
use lucid_consensus::ledger::table::Pools;
use lucid_score::leader::Elected;
use lucid_types::amount::MicroUsdt;
use lucid_types::block::{Header, items_hash};
use lucid_types::bls::BlsSignature;
use lucid_types::certificate::Certificate;
use lucid_types::genesis::Genesis;
use lucid_types::id::{BlockHash, Hash, NodeId, PayoutAddress, PoolId};
use lucid_types::payout::{SettlementRoot, VaultLimits};
use lucid_types::sync::CertifiedHeader;
use lucid_types::time::{Height, UnixMillis};
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vault::{SignerSet, TreasurySigner, Vault};
use lucid_types::vote::{Vote, VoteKind};

use crate::payout::testing::start::{Pool, Start};
pub(crate) use crate::payout::testing::tron_key;
use crate::payout::testing::{self, node};
use crate::signer::proof::PoolProof;

/// Validators, all of power 1.
pub(crate) const VALIDATORS: u8 = 4;

/// With what a validator signs.
pub(crate) fn validator(n: u8) -> ValidatorKey {
    testing::signing_key(n)
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

/// Four validators, and a pool without members that one of them owns.
pub(crate) fn start() -> Start {
    let Start { genesis, mut pools, .. } = testing::start();
    let pool = pools.remove(0);
    let validators = (1..=VALIDATORS).map(testing::validator).collect();
    Start {
        genesis: Genesis { name: "signer".to_owned(), validators, ..genesis },
        workers: Vec::new(),
        pools: vec![Pool {
            owner: node(4),
            members: Vec::new(),
            budget: MicroUsdt::new(1_000),
            vault: Vault { limits: limits(1 << 40), signers: signers(1, 2), ..pool.vault },
            ..pool
        }],
    }
}

/// A change of the vault's signers, or of its limits.
pub(crate) fn change(by: SignerSet, next: impl Into<Terms>) -> VaultChange {
    let Terms(next) = next.into();
    VaultChange { by, next }
}

/// What a change brings into force.
pub(crate) struct Terms(VaultTerms);

impl From<SignerSet> for Terms {
    fn from(next: SignerSet) -> Self {
        Self(VaultTerms::Signers(next))
    }
}

impl From<VaultLimits> for Terms {
    fn from(next: VaultLimits) -> Self {
        Self(VaultTerms::Limits(next))
    }
}

/// Makes a row hold a change as a command does: signers come into force at once.
pub(crate) fn put_change(row: &mut PoolState, nonce: u32, change: VaultChange) {
    if let VaultTerms::Signers(next) = &change.next {
        row.vault.signers = next.clone();
    }
    row.vault.nonce = nonce + 1;
    row.commands += 1;
    row.changes.insert(nonce, change);
}

/// Makes a row name another vault as a command does.
pub(crate) fn put_vault(row: &mut PoolState, address: PayoutAddress, signers: SignerSet) {
    row.former_vaults.push(row.vault.address);
    (row.vault.address, row.vault.nonce, row.vault.signers) = (address, 0, signers);
    if let Some(root) = &mut row.newest {
        (root.vault, root.era) = (address, row.vault.signers.era);
    }
    row.changes.clear();
    row.commands += 1;
}

/// A row with as many signers, changes and candidates to lead as there may be.
pub(crate) fn greatest_row(chain: &Chain) -> PoolState {
    let member =
        |n: u8| TreasurySigner { node: NodeId::from_bytes([n; 32]), key_address: PayoutAddress::from_hash20([n; 20]) };
    let members = (0..u8::try_from(SignerSet::MAX).unwrap()).map(member).collect();
    let set = SignerSet { era: 2, threshold: 16, members };
    let mut row = chain.row(Some(SettlementRoot { leader: Some(set.members[0].key_address), ..chain.root(1, 100) }));
    for nonce in 0..u32::try_from(KEPT_CHANGES).unwrap() {
        put_change(&mut row, nonce, change(set.clone(), set.clone()));
    }
    let elected = |n| {
        let (node, last_led) = (NodeId::from_bytes([n; 32]), Some(u64::MAX));
        Elected { node, live: u64::MAX, is_eligible: true, is_cooling: true, last_led }
    };
    let order = (0..=100).map(elected).collect();
    row.election = Some(Election { settlement: 1, height: Height::new(1), time: UnixMillis::new(1), order });
    row.suspended_from = Some(1);
    row.next_push_fee = Some((1, MicroUsdt::ZERO));
    row.former_vaults = vec![set.members[0].key_address; MAX_FORMER_VAULTS];
    row
}

/// The network, its validators, and the states that they decide on.
pub(crate) struct Chain {
    pub(crate) spec: Arc<ChainSpec>,
    pub(crate) pool: PoolId,
    /// The state before block 1.
    pub(crate) first: State,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self::of(&start())
    }

    pub(crate) fn of(start: &Start) -> Self {
        let spec = Arc::new(ChainSpec::new(start.genesis.clone()).unwrap());
        let pool = PoolId::derive(spec.id(), "pool");
        Self { first: start.state(&spec), spec, pool }
    }

    /// The root of a settlement, for the signers of era 1.
    pub(crate) fn root(&self, settlement: u64, total: u64) -> SettlementRoot {
        SettlementRoot { pool: self.pool, ..testing::root(&self.spec, settlement, total) }
    }

    /// The pool's row as it is at first, and this root in it.
    pub(crate) fn row(&self, root: Option<SettlementRoot>) -> PoolState {
        let mut row = self.first.pool(&self.pool).unwrap().clone();
        row.settled = root.map_or(0, |root| root.settlement);
        row.newest = root;
        row
    }

    /// A state after the block of this height in which the pool has this row.
    pub(crate) fn state(&self, height: u64, row: &PoolState) -> State {
        self.first.changed(|rows| {
            rows.head.height = Height::new(height);
            rows.put::<Pools>(&self.pool, row.clone());
        })
    }

    /// A header with the root of a state.
    pub(crate) fn header(&self, state: &State) -> Header {
        Header {
            height: state.height(),
            parent: BlockHash::from_bytes([3; 32]),
            round: 0,
            proposer: validator(1).id(),
            time: UnixMillis::new(state.height().get() * 1_000),
            randao: BlsSignature::from_bytes([6; 48]),
            items: items_hash(&[]),
            next_set: Hash::from_bytes([4; 32]),
            state_root: state.root(),
        }
    }

    /// A header with the certificate of these validators.
    pub(crate) fn certified(&self, header: Header, validators: &[u8]) -> CertifiedHeader {
        self.signed(header, validators, VoteKind::Precommit)
    }

    /// A header with a certificate of votes of this kind, by ascending validator, as often as each is named.
    pub(crate) fn signed(&self, header: Header, validators: &[u8], kind: VoteKind) -> CertifiedHeader {
        let mut certificate =
            Certificate { height: header.height, round: 0, block: header.hash(), signatures: Vec::new() };
        let vote = Vote { kind, ..certificate.vote() };
        let votes = validators.iter().map(|n| validator(*n).sign_vote(self.spec.id(), vote).into_inner());
        certificate.signatures = votes.map(|vote| (vote.signer, vote.signature)).collect();
        certificate.signatures.sort();
        CertifiedHeader { header, certificate }
    }

    /// This row with the proof that the state after the block of this height has it, certified by validators 1 to 3.
    pub(crate) fn proof(&self, height: u64, row: &PoolState) -> PoolProof {
        let state = self.state(height, row);
        PoolProof::new(&state, &self.certified(self.header(&state), &[1, 2, 3]), &self.pool).unwrap()
    }
}
