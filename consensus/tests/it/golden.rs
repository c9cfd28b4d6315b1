//! One sample of everything that the replica stores against its committed bytes.

use std::collections::BTreeMap;

use lucid_consensus::engine::wal::{Step, WalEntry};
use lucid_consensus::ledger::duties::{Duty, PoolValidations};
use lucid_consensus::ledger::entry::{Close, InviteUse, Request};
use lucid_consensus::ledger::pool::{
    Account, Election, Hold, Member, PoolState, PoolStatus, Standing, VaultChange, VaultTerms,
};
use lucid_consensus::ledger::proof::RowProof;
use lucid_consensus::ledger::proposals::ProposedChange;
use lucid_consensus::ledger::registry::{Maintenance, Membership, Node, Nonce};
use lucid_consensus::ledger::state::{EpochScores, Equivocation, Head, PendingEpoch, Rows, State};
use lucid_consensus::ledger::table::{
    Accounts, Closes, Commitments, Draws, Duties, Equivocations, Heads, Invites, Members, NodeKeys, Nodes, Nonces,
    PendingEpochs, Policies, Pools, ProposedChanges, Requests, Reveals, ScoreRoots, StorageTerms, Table, UsedKeys,
    Validations, Validators, Workers,
};
use lucid_consensus::ledger::validators::UsedKey;
use lucid_consensus::replica::OwnReport;
use lucid_score::aggregate::{Aggregate, EchoMedian};
use lucid_score::credits::Earned;
use lucid_score::draw::{EpochDraw, ScoredWorker};
use lucid_score::leader::Elected;
use lucid_score::score::Components;
use lucid_score::seats::{Holder, Seats};
use lucid_score::storage::StorageTerm;
use lucid_score::worker_stats::{Measured, ScoreRow, WorkerStats};
use lucid_types::amount::{Credits, MicroUsdt, Ppm};
use lucid_types::attestation::Capacity;
use lucid_types::block::{Block, Header, items_hash};
use lucid_types::bls::BlsSignature;
use lucid_types::certificate::Certificate;
use lucid_types::change::NetworkChange;
use lucid_types::codec::{Wire, encode};
use lucid_types::command::{MaintenanceScope, ValidatorChange};
use lucid_types::evidence::Evidence;
use lucid_types::id::{BlockHash, Hash, NetworkId, NodeId, PayoutAddress, PoolId, StateRoot, ValidatorId};
use lucid_types::key::NodeKey;
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::payout::{AccountKind, SettlementRoot, VaultLimits};
use lucid_types::payout_tree::{AccountId, PayoutRoot};
use lucid_types::pool::{JoinPolicy, PoolAction, PoolTerms, SplitRule};
use lucid_types::report::{AssignedWorker, Observation, ReportCommitment, Reveal, ScoreReport};
use lucid_types::sync::{CertifiedHeader, PolkaCertificate};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vault::{SignerSet, TreasurySigner, Vault};
use lucid_types::vote::{Proposal, Vote, VoteKind};

use crate::harness::{Golden, HostileLengths, OneEncoding, Visitor};
use lucid_sim::pool::{by_owner, sign};

const HEIGHT: Height = Height::new(0x0706_0504_0302_0100);
const EPOCH: Epoch = Epoch::new(0x0605_0403_0201_0007);
const TIME: UnixMillis = UnixMillis::new(1_800_000_000_123);
const BLOCK: BlockHash = BlockHash::from_bytes([0x11; 32]);
const POOL: PoolId = PoolId::from_bytes([0x41; 32]);

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
    let (scores, state) = (epoch_scores(), state());
    visitor.visit("epoch_scores", &scores, &[("root", scores.root().as_bytes())]);
    visitor.visit("row_head", state.head(), &[("key", &Heads::key(&())), ("state_root", state.root().as_bytes())]);
    row::<Workers>(visitor, "row_worker", &state);
    row::<Pools>(visitor, "row_pool", &state);
    row::<Accounts>(visitor, "row_account", &state);
    row::<Members>(visitor, "row_member", &state);
    row::<Draws>(visitor, "row_draw", &state);
    row::<PendingEpochs>(visitor, "row_pending_epoch", &state);
    row::<Commitments>(visitor, "row_commitment", &state);
    row::<Reveals>(visitor, "row_reveal", &state);
    row::<StorageTerms>(visitor, "row_storage_term", &state);
    row::<Duties>(visitor, "row_duty", &state);
    row::<Validations>(visitor, "row_validations", &state);
    row::<ScoreRoots>(visitor, "row_score_root", &state);
    row::<Equivocations>(visitor, "row_equivocation", &state);
    row::<Nodes>(visitor, "row_node", &state);
    row::<Nonces>(visitor, "row_nonce", &state);
    row::<Closes>(visitor, "row_close", &state);
    row::<Requests>(visitor, "row_request", &state);
    row::<Invites>(visitor, "row_invite", &state);
    row::<Validators>(visitor, "row_validators", &state);
    row::<ProposedChanges>(visitor, "row_proposed_change", &state);
    row::<UsedKeys>(visitor, "row_used_key", &state);
    row::<Policies>(visitor, "row_policy", &state);
    let proof = RowProof::new::<Workers>(&state, header(), &node(0x22));
    visitor.visit("row_proof", &proof, &[]);
}

/// The first row of a table, with its key.
fn row<T: Table>(visitor: &mut impl Visitor, name: &'static str, state: &State)
where
    T::Value: Wire + PartialEq + std::fmt::Debug,
{
    let (key, value) = state.all::<T>().next().unwrap();
    visitor.visit(name, value, &[("key", &T::key(&key))]);
}

fn header() -> CertifiedHeader {
    let WalEntry::Block(block) = wal_entries()[6].1.clone() else { unreachable!("the seventh sample is a block") };
    let vote = Vote { kind: VoteKind::Precommit, height: HEIGHT, round: 2, block: Some(block.hash()) };
    let vote = signing_key().sign_vote(&network(), vote).into_inner();
    let signatures = vec![(vote.signer, vote.signature)];
    let certificate = Certificate { height: HEIGHT, round: 2, block: block.hash(), signatures };
    CertifiedHeader { header: block.header, certificate }
}

fn key() -> NodeKey {
    NodeKey::from_seed(&[1; 32])
}

fn signing_key() -> ValidatorKey {
    ValidatorKey::from_seed(&[0x81; 32])
}

fn id(byte: u8) -> ValidatorId {
    ValidatorId::from_bytes([byte; 32])
}

const HERE: NetworkGroup = NetworkGroup::from_bytes([0, 0, 9, 8, 7, 6]);
const THERE: NetworkGroup = NetworkGroup::from_bytes([0x2a, 0, 0x14, 0x50, 0x40, 0x01]);

fn node(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 32])
}

fn network() -> NetworkId {
    NetworkId::from_bytes([0xaa; 32])
}

fn own_report() -> OwnReport {
    let reveal =
        Reveal { report: ScoreReport::new(EPOCH, &[(AssignedWorker::default(), None)], &[None]), salt: [0x5a; 32] };
    let report = reveal.commitment(&network(), &key().account());
    let commitment = ReportCommitment { epoch: EPOCH, report };
    OwnReport {
        commitment: signing_key().sign_report_commitment(&network(), commitment).into_inner(),
        reveal: signing_key().sign_report(&network(), reveal).into_inner(),
    }
}

pub(crate) fn wal_entries() -> [(&'static str, WalEntry); 9] {
    let vote = Vote { kind: VoteKind::Prevote, height: HEIGHT, round: 2, block: Some(BLOCK) };
    let vote = signing_key().sign_vote(&network(), vote).into_inner();
    let proposal = Proposal { height: HEIGHT, round: 2, block: BLOCK, pol_round: Some(1) };
    let signatures = vec![(vote.signer, vote.signature)];
    let OwnReport { commitment, reveal } = own_report();
    let command = by_owner(&key(), 4, POOL, PoolAction::Suspend(true));
    let block = Block {
        header: Header {
            height: HEIGHT,
            parent: BLOCK,
            round: 2,
            proposer: id(0x12),
            time: TIME,
            randao: BlsSignature::from_bytes([0x15; 48]),
            next_set: Hash::from_bytes([0x13; 32]),
            state_root: StateRoot::from_bytes([0x14; 32]),
            items: items_hash(&[]),
        },
        commitments: vec![commitment],
        reveals: vec![reveal],
        commands: vec![sign(&network(), &command, &[key()])],
        evidence: vec![evidence()],
    }
    .sealed();
    let value = |valid_round, valid| WalEntry::Value { round: 2, valid_round, proposer: id(0x12), block: BLOCK, valid };
    [
        ("wal_vote", WalEntry::Vote(vote)),
        ("wal_proposal", WalEntry::Proposal(signing_key().sign_proposal(&network(), proposal).into_inner())),
        ("wal_value", value(Some(1), true)),
        ("wal_value_invalid", value(None, false)),
        ("wal_polka", WalEntry::Polka(PolkaCertificate { height: HEIGHT, round: 2, block: BLOCK, signatures })),
        ("wal_timeout", WalEntry::Timeout { step: Step::Precommit, round: 2 }),
        ("wal_block", WalEntry::Block(block)),
        ("wal_arrival", WalEntry::Arrival { round: 2, block: BLOCK, at: TIME }),
        ("wal_built", WalEntry::Built { round: 2, block: BLOCK }),
    ]
}

fn evidence() -> Evidence {
    let vote = |block| {
        let vote = Vote { kind: VoteKind::Prevote, height: HEIGHT, round: 2, block };
        signing_key().sign_vote(&network(), vote)
    };
    Evidence::of_votes(&vote(None), &vote(Some(BLOCK))).unwrap().into_inner()
}

pub(crate) fn epoch_scores() -> EpochScores {
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
        success: ppm(800_000),
        rtt_us: 1_234,
        echo: Some(EchoMedian { bytes: 262_144, kbit_s: 98_765 }),
        chunks: Some(21 * 1_560),
        group: Some(THERE),
    };
    let row = |worker, aggregate| ScoreRow {
        worker,
        earned: Earned { relay: Credits::new(21), storage: Credits::new(2) },
        sharers: 3,
        credits: Credits::new(7),
        reachable_ms: 4_998,
        components,
        score: ppm(568_500),
        aggregate,
    };
    EpochScores { epoch: EPOCH, rows: vec![row(node(0x21), aggregate), row(node(0x22), Aggregate::default())] }
}

fn address(byte: u8) -> PayoutAddress {
    PayoutAddress::from_hash20([byte; 20])
}

fn settlement_root() -> SettlementRoot {
    SettlementRoot {
        pool: POOL,
        settlement: 7,
        vault: address(0x42),
        era: 3,
        root: PayoutRoot::from_bytes([0x43; 32]),
        total: MicroUsdt::new(200_000_000),
        fees: MicroUsdt::new(20_000),
        promised: MicroUsdt::new(240_000_000),
        leader: Some(address(0x44)),
        until: 1_800_000_010,
    }
}

fn signer_set(era: u32) -> SignerSet {
    let signer = |byte| TreasurySigner { node: node(byte), key_address: address(byte + 1) };
    SignerSet { era, threshold: 2, members: vec![signer(0x71), signer(0x73), signer(0x75)] }
}

fn account(kind: AccountKind, hold: Hold) -> Account {
    Account {
        kind,
        node: node(0x21),
        to: address(0x45),
        owed: MicroUsdt::new(38_000_000),
        requested: MicroUsdt::new(37_000_000),
        held: MicroUsdt::new(9),
        hold,
        correction: MicroUsdt::new(10),
    }
}

fn pool() -> PoolState {
    let limits = VaultLimits { cap: MicroUsdt::new(1_000_000_000), push_fee: MicroUsdt::new(10_000) };
    let elected = |byte| Elected {
        node: node(byte),
        live: 9_120,
        is_eligible: byte == 0x21,
        is_cooling: byte == 0x22,
        last_led: (byte == 0x22).then_some(6),
    };
    let election = Election { settlement: 7, height: HEIGHT, time: TIME, order: vec![elected(0x21), elected(0x22)] };
    let terms = PoolTerms {
        budget: MicroUsdt::new(120_000_000),
        split: SplitRule::Credits,
        commission: Ppm::new(50_000),
        commission_address: address(0x49),
    };
    PoolState {
        name: "pool".into(),
        owner: node(0x18),
        status: PoolStatus::Active { from: Epoch::new(2) },
        terms,
        next_terms: Some((10, PoolTerms { split: SplitRule::Equal, ..terms })),
        join: JoinPolicy::Approval,
        max_members: 1_000,
        members: 2,
        joins: vec![(EPOCH.previous(), 3), (EPOCH, 1)],
        budgets: MicroUsdt::new(240_000_000),
        fees: MicroUsdt::new(20_000),
        carried: MicroUsdt::new(2),
        losses: MicroUsdt::new(3),
        settled: 7,
        election: Some(election),
        newest: Some(settlement_root()),
        rooted: MicroUsdt::new(199_980_000),
        suspended_from: Some(9),
        commands: 4,
        vault: Vault { address: address(0x42), nonce: 2, limits, signers: signer_set(3) },
        former_vaults: vec![address(0x4b), address(0x4c)],
        push_fee: MicroUsdt::new(5_000),
        next_push_fee: Some((9, MicroUsdt::new(10_000))),
        changes: BTreeMap::from([
            (0, VaultChange { by: signer_set(2), next: VaultTerms::Signers(signer_set(3)) }),
            (1, VaultChange { by: signer_set(3), next: VaultTerms::Limits(limits) }),
        ]),
    }
}

fn draw(seed: u8) -> EpochDraw {
    let held = |reporter, count| Seats { reporter, count };
    let worker = |byte, echo_bytes, seats, storage| ScoredWorker {
        node: node(byte),
        pool: POOL,
        group: if byte == 0x21 { HERE } else { NetworkGroup::NONE },
        sharers: 3,
        quota: 1_560,
        echo_bytes,
        seats,
        storage,
    };
    EpochDraw {
        seed: Hash::from_bytes([seed; 32]),
        reporters: vec![id(0x12), id(0x15)],
        scored: vec![
            worker(0x21, Some(LogScale::encode(3_086_400)), vec![held(0, 12), held(1, 9)], vec![held(1, 9)]),
            worker(0x22, None, vec![], vec![]),
        ],
    }
}

fn registered() -> Node {
    Node {
        key: node(0x2a).first_key(),
        next_key: Some((EPOCH, node(0x2b).first_key())),
        operator: node(0x23),
        payout_address: address(0x45),
        next_payout: Some((9, address(0x4a))),
        payout_key: Some(node(0x24).first_key()),
        gas_address: Some(address(0x44)),
        capacity: Capacity { cores: 8, memory_bytes: 1 << 34, disk_bytes: 1 << 40, bandwidth_kbit_s: 1_000_000 },
        membership: Some(Membership { pool: POOL, from: Epoch::new(3), until: Some(EPOCH) }),
        request: Some(PoolId::from_bytes([0x91; 32])),
        is_retired: true,
        group: THERE,
        maintenance: vec![
            Maintenance { from: Epoch::new(7), until: EPOCH.next(), scope: MaintenanceScope::Traffic },
            Maintenance { from: Epoch::new(30), until: Epoch::new(270), scope: MaintenanceScope::All },
        ],
    }
}

/// Pools that share nothing out yet, or nothing more.
fn other_pools() -> [(PoolId, PoolState); 2] {
    let until = TIME.after(std::time::Duration::from_hours(1));
    let statuses = [
        PoolStatus::Forming { until, approvals: vec![node(0x12), node(0x15)] },
        PoolStatus::Disbanded { from: Epoch::new(2), until: EPOCH },
    ];
    let mut byte = 0x90;
    statuses.map(|status| {
        byte += 1;
        let bare = PoolState { next_terms: None, election: None, newest: None, suspended_from: None, ..pool() };
        (PoolId::from_bytes([byte; 32]), PoolState { status, next_push_fee: None, changes: BTreeMap::new(), ..bare })
    })
}

/// With something in every section.
fn report() -> ScoreReport {
    let seen = Observation {
        pings_sent: 12,
        pings_answered: 11,
        rtt_us: LogScale::encode(1_234),
        echo_kbit_s: Some(LogScale::encode(98_765)),
        group: Some(THERE),
    };
    let worker = |has_echo| AssignedWorker { has_echo, group: HERE };
    let assigned = [(worker(true), Some(seen)), (worker(false), None), (worker(true), Some(Observation::default()))];
    ScoreReport::new(EPOCH, &assigned, &[None, Some(1_560)])
}

fn term() -> StorageTerm {
    let holder = |byte, power| Holder { node: node(byte), operator: node(byte + 1), power };
    StorageTerm { seed: Hash::from_bytes([0x65; 32]), holders: vec![holder(0x12, 4), holder(0x15, 3)] }
}

/// Rows in every table.
pub(crate) fn state() -> State {
    let hash = |byte| Hash::from_bytes([byte; 32]);
    let spec = lucid_sim::genesis::network(4, 1);
    let mut stats = WorkerStats::default();
    let row = epoch_scores().rows[0];
    let worker = &draw(0x53).scored[0];
    let measured = Measured { worker, medians: row.aggregate, earned: row.earned, sharers: row.sharers };
    stats.add(&spec.genesis().policy, Epoch::new(7), &measured);
    let head = Head {
        height: HEIGHT,
        time: TIME,
        beacon: hash(0x61),
        previous_beacon: hash(0x16),
        closed: EPOCH,
        scored: EPOCH.previous(),
    };
    let account_id = |byte| (POOL, AccountId::from_bytes([byte; 32]));
    let key = |byte| (EPOCH, id(byte));
    let validators = encode::<ValidatorSet>(spec.first_validators());
    let policy = (Policies::key(&EPOCH.previous()), encode(&spec.genesis().policy));
    let rows = [(Heads::key(&()), encode(&head)), (Validators::key(&HEIGHT.previous()), validators), policy];
    let empty = State::from_rows(BLOCK, rows).unwrap();
    empty.changed(|rows| {
        rows.put::<Workers>(&node(0x21), stats);
        rows.put::<Workers>(&node(0x22), WorkerStats::default());
        rows.put::<Pools>(&POOL, pool());
        rows.put::<Accounts>(&account_id(0x46), account(AccountKind::Worker, Hold::No));
        rows.put::<Accounts>(&account_id(0x47), account(AccountKind::Worker, Hold::Since(5)));
        rows.put::<Accounts>(&account_id(0x48), account(AccountKind::Commission, Hold::Ends));
        rows.put::<Members>(
            &(POOL, node(0x21)),
            Member { share: Some(u128::MAX - 4), last_led: Some(7), standing: Standing::Good, unreached: 9 },
        );
        rows.put::<Members>(&(POOL, node(0x22)), Member { standing: Standing::Banned, ..Member::default() });
        let inactive = Member { standing: Standing::Inactive(EPOCH), ..Member::default() };
        rows.put::<Members>(&(POOL, node(0x23)), inactive);
        for (id, pool) in other_pools() {
            rows.put::<Pools>(&id, pool);
        }
        rows.put::<Draws>(&EPOCH, draw(0x53));
        rows.put::<Draws>(&EPOCH.next(), draw(0x62));
        rows.put::<PendingEpochs>(&EPOCH, PendingEpoch { closed_in: HEIGHT.previous() });
        rows.put::<Commitments>(&key(0x12), hash(0x51));
        rows.put::<Commitments>(&key(0x15), hash(0x52));
        rows.put::<Reveals>(&key(0x12), report());
        rows.put::<StorageTerms>(&9, term());
        let duty = Duty { settlement: 7, committed: 700, forfeited: 20, turns: 31, missed_turns: 2 };
        rows.put::<Duties>(&node(0x12), duty);
        let mut validations = PoolValidations::default();
        validations.add(node(0x15), 9);
        validations.add(node(0x12), 1_400);
        rows.put::<Validations>(&POOL, validations);
        rows.put::<ScoreRoots>(&EPOCH.previous(), hash(0x63));
        rows.put::<Equivocations>(
            &node(0x17),
            Equivocation { height: HEIGHT.previous(), proved_in: HEIGHT, removed: Some((EPOCH, 5)) },
        );
        let change = NetworkChange::from(ValidatorChange::Power { validator: node(0x27), power: 6 });
        let (from, until, approvals) = (EPOCH.next(), TIME, vec![node(0x28), node(0x29)]);
        rows.put::<ProposedChanges>(&change.id(), ProposedChange { change, by: node(0x28), from, until, approvals });
        rows.put::<UsedKeys>(&id(0x2a), UsedKey { account: node(0x28), is_given_up: true });
        rows.put::<Nodes>(&node(0x21), registered());
        rows.put::<NodeKeys>(&node(0x2a).first_key(), node(0x21));
        rows.put::<Nonces>(&node(0x21), Nonce { next: 12, allowance: 7, filled: EPOCH });
        rows.put::<Closes>(&EPOCH, Close { beacon: hash(0x64), joins: 5 });
        let applicant = Node { membership: None, request: None, is_retired: false, ..registered() };
        let until = TIME.after(std::time::Duration::from_hours(2));
        rows.put::<Requests>(&(POOL, node(0x25)), Request { node: Some(applicant), until });
        rows.put::<Requests>(&(other_pools()[0].0, node(0x21)), Request { node: None, until });
        rows.put::<Invites>(&(POOL, node(0x26).first_key()), InviteUse { used: 3, until });
    })
}
