//! One sample of everything that the replica stores against its committed bytes.

use std::collections::{BTreeMap, BTreeSet};

use lucid_consensus::engine::wal::{Step, WalEntry};
use lucid_consensus::ledger::state::{Election, EpochRows, OpenAttempt, Payout, PendingEpoch, PoolState, State};
use lucid_consensus::replica::OwnReport;
use lucid_score::aggregate::Aggregate;
use lucid_score::score::Components;
use lucid_score::standing::{ScoreRow, Standing};
use lucid_types::amount::{Credits, MicroUsdt, Ppm, Sun};
use lucid_types::block::Block;
use lucid_types::commit::Commit;
use lucid_types::id::{
    AttemptId, BlockHash, Hash, NetworkId, NodeId, PayoutAddress, PayoutId, PoolId, SolidBlockId, StateRoot, TxId,
};
use lucid_types::key::NodeKey;
use lucid_types::payout::{PayoutAttempt, SolidBlock, Verdict};
use lucid_types::report::{Reveal, ScoreReport};
use lucid_types::sync::PolkaCertificate;
use lucid_types::time::{EpochNumber, UnixMillis};
use lucid_types::vote::{Proposal, Vote, VoteKind};

use crate::harness::{Golden, HostileLengths, OneEncoding, Visitor};

const HEIGHT: EpochNumber = EpochNumber::new(0x0706_0504_0302_0100);
const TIME: UnixMillis = UnixMillis::new(1_800_000_000_123);
const BLOCK: BlockHash = BlockHash::from_bytes([0x11; 32]);

#[test]
fn every_stored_record_has_the_committed_bytes() {
    let mut golden = Golden::default();
    each(&mut golden);
    golden.finish();
}

#[test]
fn every_stored_record_has_one_encoding() {
    each(&mut OneEncoding);
}

#[test]
fn invariant_7_a_damaged_store_allocates_nothing() {
    each(&mut HostileLengths);
}

fn each(visitor: &mut impl Visitor) {
    for (name, entry) in wal_entries() {
        visitor.visit(name, &entry, &[]);
    }
    visitor.visit("own_report", &own_report(), &[]);
    let (rows, state) = (epoch_rows(), state());
    visitor.visit("epoch_rows", &rows, &[("root", rows.root().as_bytes())]);
    visitor.visit("state", &state, &[("root", state.root().as_bytes())]);
}

fn key() -> NodeKey {
    NodeKey::from_seed(&[1; 32])
}

fn node(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 32])
}

fn network() -> NetworkId {
    NetworkId::from_bytes([0xaa; 32])
}

fn own_report() -> OwnReport {
    let reveal = Reveal { report: ScoreReport::empty(HEIGHT), salt: [0x5a; 32] };
    let report = reveal.commitment(&network(), &key().node_id());
    let commit =
        Commit { epoch: HEIGHT, report, time: TIME, solid: vec![solid()], treasuries: vec![], receipts: vec![] };
    OwnReport {
        commit: key().sign_commit(&network(), commit).into_inner(),
        reveal: key().sign_report(&network(), reveal).into_inner(),
    }
}

pub(crate) fn wal_entries() -> [(&'static str, WalEntry); 8] {
    let vote = Vote { kind: VoteKind::Prevote, height: HEIGHT, round: 2, block: Some(BLOCK) };
    let vote = key().sign_vote(&network(), vote).into_inner();
    let proposal = Proposal { height: HEIGHT, round: 2, block: BLOCK, pol_round: Some(1) };
    let signatures = vec![(vote.signer, vote.signature)];
    let OwnReport { commit, reveal } = own_report();
    let block = Block {
        height: HEIGHT,
        parent: BLOCK,
        proposer: node(0x12),
        time: TIME,
        commits: vec![commit],
        reveals: vec![reveal],
        next_set: Hash::from_bytes([0x13; 32]),
        state_root: StateRoot::from_bytes([0x14; 32]),
    };
    let value =
        |valid_round, valid| WalEntry::Value { round: 2, valid_round, proposer: node(0x12), block: BLOCK, valid };
    [
        ("wal_vote", WalEntry::Vote(vote)),
        ("wal_proposal", WalEntry::Proposal(key().sign_proposal(&network(), proposal).into_inner())),
        ("wal_value", value(Some(1), true)),
        ("wal_value_invalid", value(None, false)),
        ("wal_polka", WalEntry::Polka(PolkaCertificate { height: HEIGHT, round: 2, block: BLOCK, signatures })),
        ("wal_timeout", WalEntry::Timeout { step: Step::Precommit, round: 2 }),
        ("wal_body", WalEntry::Body(block)),
        ("wal_built", WalEntry::Built { round: 2, block: BLOCK }),
    ]
}

pub(crate) fn epoch_rows() -> EpochRows {
    let ppm = |value| Ppm::new(value);
    let components = Components {
        session_time: ppm(1),
        work_credits: ppm(2),
        utilisation: ppm(3),
        bandwidth: ppm(4),
        uptime: ppm(5),
        quality: ppm(6),
        trust: ppm(7),
    };
    let aggregate = Aggregate {
        reachable_ms: 4_999,
        success: Some(ppm(800_000)),
        rtt_us: Some(1_234),
        relay_sessions: 1,
        relay_bytes: 262_144,
        relay_kbit_s: Some(98_765),
    };
    let row = |worker, aggregate| ScoreRow {
        worker,
        credits: Credits::new(9),
        reachable_ms: 4_998,
        components,
        score: ppm(568_500),
        aggregate,
    };
    EpochRows { epoch: HEIGHT, rows: vec![row(node(0x21), aggregate), row(node(0x22), Aggregate::default())] }
}

fn solid() -> SolidBlock {
    SolidBlock { number: 54_300, id: SolidBlockId::from_bytes([0x31; 32]), time: TIME }
}

fn address(byte: u8) -> PayoutAddress {
    PayoutAddress::from_hash20([byte; 20])
}

fn payout(open: bool) -> Payout {
    let (pool, worker, amount) = (PoolId::from_bytes([0x41; 32]), node(0x21), MicroUsdt::new(38_000_000));
    let attempt = PayoutAttempt {
        payout: PayoutId::from_bytes([0x42; 32]),
        attempt: 2,
        id: AttemptId::from_bytes([0x43; 32]),
        pool,
        settlement: 7,
        worker,
        to: address(0x44),
        amount,
        treasury: address(0x45),
        token: address(0x46),
        permission_id: 2,
        reference: solid(),
        expiration: TIME,
        fee_limit: Sun::new(14_331_350),
    };
    let paid = Verdict::Paid { tx_id: TxId::from_bytes([0x47; 32]), block: 54_321, fee: Sun::new(1) };
    let votes = BTreeMap::from([(node(0x12), paid), (node(0x15), Verdict::Dead)]);
    let open = open.then_some(OpenAttempt { attempt, height: HEIGHT, time: TIME, votes });
    Payout { pool, settlement: 7, worker, to: address(0x44), amount, attempts: 2, failures: 1, open }
}

pub(crate) fn state() -> State {
    let hash = |byte| Hash::from_bytes([byte; 32]);
    let pending = PendingEpoch {
        commits: BTreeMap::from([(node(0x12), hash(0x51)), (node(0x15), hash(0x52))]),
        revealed: BTreeSet::from([node(0x12)]),
    };
    let standing = Standing {
        credits: Credits::new(1),
        reachable_ms: 2,
        epochs: 3,
        session_ms: 4,
        kbit_s: 5,
        quality: Ppm::new(6),
        trust: Ppm::new(7),
        score: Ppm::new(8),
    };
    let pool = PoolState {
        budgets: MicroUsdt::new(240_000_000),
        paid: MicroUsdt::new(1),
        carried: MicroUsdt::new(2),
        balances: BTreeMap::from([(node(0x12), MicroUsdt::new(3))]),
        shares: BTreeMap::from([(node(0x21), u128::MAX - 4)]),
        elections: BTreeMap::from([(7, Election { height: HEIGHT, order: vec![node(0x21), node(0x22)] })]),
        last_led: BTreeMap::from([(node(0x21), 7)]),
        paused: true,
    };
    State {
        height: HEIGHT,
        block: BLOCK,
        time: TIME,
        beacons: BTreeMap::from([(HEIGHT, hash(0x61)), (HEIGHT.next(), hash(0x62))]),
        pending: BTreeMap::from([(HEIGHT, pending)]),
        standings: BTreeMap::from([(node(0x21), standing), (node(0x22), Standing::default())]),
        row_roots: BTreeMap::from([(HEIGHT.previous(), hash(0x63))]),
        pools: BTreeMap::from([(PoolId::from_bytes([0x41; 32]), pool)]),
        payouts: BTreeMap::from([
            (PayoutId::from_bytes([0x42; 32]), payout(true)),
            (PayoutId::from_bytes([0x48; 32]), payout(false)),
        ]),
    }
}
