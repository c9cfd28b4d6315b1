//! One fixed sample of every record. Bytes are chosen so that every field can be found again in the golden file.

pub(crate) mod commands;

use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::{Capacity, ResourceAttestation};
use lucid_types::block::{Block, Header, items_hash};
use lucid_types::certificate::Certificate;
use lucid_types::command::CommandReply;
use lucid_types::evidence::Evidence;
use lucid_types::genesis::{Genesis, PaymentNetwork};
use lucid_types::id::{BlockHash, Hash, NetworkId, NodeId, PayoutAddress, PoolId, SolidBlockId, StateRoot};
use lucid_types::key::NodeKey;
use lucid_types::log_scale::LogScale;
use lucid_types::message::{CompactProposal, ConsensusMessage};
use lucid_types::network_group::NetworkGroup;
use lucid_types::payout::{CosignReply, CosignRequest, SettlementRoot, TreasurySignature};
use lucid_types::payout_tree::PayoutRoot;
use lucid_types::policy::Policy;
use lucid_types::proof::{KeyProof, OtherLeaf, ProofStep};
use lucid_types::report::{
    AssignedWorker, Observation, ProbeReply, ProbeRequest, ReportCommitment, Reveal, ScoreReport,
};
use lucid_types::signed::{MultiSigned, Signed, SignedRecord};
use lucid_types::storage::{ChunkRange, DepositId, StorageRefusal, StorageReply, StorageRequest};
use lucid_types::sync::{
    CertifiedBlock, CertifiedHeader, PolkaCertificate, Presence, Rebroadcast, RebroadcastItem, RoundCertificate,
    RoundEnd, RoundVote, SnapshotRow, SnapshotRows, SyncRequest, SyncResponse,
};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::validator::{Validator, ValidatorSet};
use lucid_types::validator_key::ValidatorKey;
use lucid_types::validator_sets::SetChange;
use lucid_types::vault::{SignerSet, TreasurySigner};
use lucid_types::vote::{Proposal, Vote, VoteKind, Wake};

use crate::harness::Visitor;

/// Shows every sample to `visitor`.
pub(crate) fn each(visitor: &mut impl Visitor) {
    signed(visitor, "attestation", &attestation());
    visitor.visit("probe_request", &ProbeRequest { epoch: epoch(), nonce: [0x22; 32] }, &[]);
    signed(visitor, "probe_reply", &probe_reply());
    storage(visitor);
    signed(visitor, "commitment", &commitment(1));
    let reveal = reveal(1);
    let commitment = reveal.record.commitment(&network(), &key(1).account());
    visitor.visit("reveal", &reveal, &[("commitment", commitment.as_bytes()), signature(&reveal)]);
    payouts(visitor);
    entering(visitor);
    votes(visitor);
    blocks(visitor);
    sync(visitor);
    let genesis = genesis();
    visitor.visit("genesis", &genesis, &[("network id", genesis.network_id().as_bytes())]);
    visitor.visit("key_proof_value", &KeyProof { other: None, ..key_proof() }, &[]);
    visitor.visit("key_proof_absence", &key_proof(), &[]);
}

/// Chunks are a few bytes here, which no worker takes: the codec does not look at their length.
fn storage(visitor: &mut impl Visitor) {
    let deposit = DepositId { term: 0x23, tag: Hash::from_bytes([0x24; 32]) };
    let chunk = StorageRequest::Deposit { deposit, index: 0x25, chunk: vec![0x26; 9] };
    let ranges = vec![ChunkRange { index: 0x27, offset: 0x28 }, ChunkRange { index: 0x29, offset: 0x2a }];
    visitor.visit("storage_request_held", &StorageRequest::Held(deposit), &[]);
    visitor.visit("storage_request_deposit", &chunk, &[]);
    visitor.visit("storage_request_challenge", &StorageRequest::Challenge { deposit, ranges }, &[]);
    visitor.visit("storage_reply_held", &StorageReply::Held { chunks: 0x2b }, &[]);
    visitor.visit("storage_reply_stored", &StorageReply::Stored { chunks: 0x2c }, &[]);
    visitor.visit("storage_reply_ranges", &StorageReply::Ranges(vec![0x2d; 9]), &[]);
    for (name, refusal) in [
        ("not_drawn", StorageRefusal::NotDrawn),
        ("full", StorageRefusal::Full),
        ("busy", StorageRefusal::Busy),
        ("out_of_order", StorageRefusal::OutOfOrder { next: 0x2e }),
        ("unknown", StorageRefusal::Unknown),
        ("damaged", StorageRefusal::Damaged { index: 0x2f }),
    ] {
        visitor.visit(&format!("storage_reply_refused_{name}"), &StorageReply::Refused(refusal), &[]);
    }
}

fn key_proof() -> KeyProof {
    let steps = [(3, 0x71), (260, 0x72)].map(|(bit, byte)| ProofStep { bit, sibling: Hash::from_bytes([byte; 32]) });
    KeyProof {
        steps: steps.into(),
        other: Some(OtherLeaf { key: vec![0x73; 33], value: Hash::from_bytes([0x74; 32]) }),
    }
}

fn signature<T: SignedRecord>(record: &Signed<T>) -> (&'static str, &[u8]) {
    ("signature", record.signature.as_bytes())
}

fn signed<T>(visitor: &mut impl Visitor, name: &str, record: &Signed<T>)
where
    T: SignedRecord + PartialEq + std::fmt::Debug,
{
    visitor.visit(name, record, &[signature(record)]);
}

fn multi_signed<T>(visitor: &mut impl Visitor, name: &str, command: &MultiSigned<T>)
where
    T: SignedRecord + PartialEq + std::fmt::Debug,
{
    let signatures: Vec<_> =
        command.signatures.iter().map(|(_, signature)| ("signature", signature.as_bytes().as_slice())).collect();
    visitor.visit(name, command, &signatures);
}

fn payouts(visitor: &mut impl Visitor) {
    let root = settlement_root();
    visitor.visit("settlement_root", &root, &[]);
    visitor.visit("settlement_root_without_leader", &SettlementRoot { leader: None, until: 0, ..root }, &[]);
    for (name, request) in cosign_requests() {
        signed(visitor, name, &request);
    }
    let signed = CosignReply::Signed(TreasurySignature::from_bytes([0x65; 65]));
    visitor.visit("command_reply_accepted", &CommandReply::Accepted, &[]);
    visitor.visit("command_reply_refused", &CommandReply::Refused("the account has retired".into()), &[]);
    visitor.visit("cosign_reply_signed", &signed, &[]);
    visitor.visit("cosign_reply_not_final", &CosignReply::NotFinal, &[]);
    visitor.visit("cosign_reply_refused", &CosignReply::Refused("the pool is suspended".into()), &[]);
}

fn entering(visitor: &mut impl Visitor) {
    for (name, command) in commands::commands() {
        multi_signed(visitor, &name, &command);
    }
    signed(visitor, "invite", &commands::invite());
    for (name, join) in commands::join_strings() {
        visitor.visit(name, &join, &[("text", join.to_string().as_bytes())]);
    }
}

fn votes(visitor: &mut impl Visitor) {
    let vote = validator_key(1).sign_vote(&network(), precommit()).into_inner();
    signed(visitor, "vote_precommit", &vote);
    let nil = Vote { kind: VoteKind::Prevote, block: None, ..precommit() };
    signed(visitor, "vote_prevote_nil", &validator_key(1).sign_vote(&network(), nil).into_inner());
    signed(visitor, "proposal", &proposal());
    let first = Proposal { pol_round: None, ..proposal().record };
    signed(visitor, "proposal_first", &validator_key(1).sign_proposal(&network(), first).into_inner());
    visitor.visit("consensus_message_proposal", &ConsensusMessage::Proposal(Box::new(compact())), &[]);
    visitor.visit("consensus_message_vote", &ConsensusMessage::Vote(vote), &[]);
    let wake = validator_key(1).sign_wake(&network(), Wake { height: height() }).into_inner();
    visitor.visit("consensus_message_wake", &ConsensusMessage::Wake(wake.clone()), &[signature(&wake)]);
    for (name, item) in ["rebroadcast_vote", "rebroadcast_polka", "rebroadcast_round"].iter().zip(rebroadcast_items()) {
        signed(visitor, name, &rebroadcast(item));
    }
}

fn blocks(visitor: &mut impl Visitor) {
    for (name, evidence) in ["evidence_votes", "evidence_proposals"].iter().zip(evidence()) {
        visitor.visit(name, &evidence, &[]);
    }
    visitor.visit("block", &block(), &[("hash", block().hash().as_bytes())]);
    visitor.visit("certificate", &decided().certificate, &[]);
    visitor.visit("decided", &decided(), &[]);
}

fn sync(visitor: &mut impl Visitor) {
    visitor.visit("sync_request_head", &SyncRequest::Head, &[]);
    visitor.visit("sync_request_blocks", &SyncRequest::Blocks { from: height(), to: height().next(), skip: 9 }, &[]);
    let presence = validator_key(1)
        .sign_presence(&network(), Presence { boot: 3, instance: [0x94; 16], time: time() })
        .into_inner();
    visitor.visit("sync_request_presence", &SyncRequest::Presence(presence.clone()), &[signature(&presence)]);
    visitor.visit("sync_response_presence", &SyncResponse::Presence(Some(presence)), &[]);
    visitor.visit("sync_response_presence_none", &SyncResponse::Presence(None), &[]);
    visitor.visit("sync_request_proposal", &SyncRequest::Proposal { round: 3, block: block().hash() }, &[]);
    let ids = block().references().iter().map(|item| item.id).collect();
    visitor.visit("sync_request_items", &SyncRequest::Items(ids), &[]);
    let reports = SyncRequest::Reports {
        epoch: epoch(),
        have_commitments: vec![validator_key(1).id(), validator_key(2).id()],
        have_reveals: vec![validator_key(3).id()],
    };
    visitor.visit("sync_request_reports", &reports, &[]);
    let head = |newest| SyncResponse::Head { newest, oldest: height() };
    visitor.visit("sync_response_head", &head(Some(decided().certificate)), &[]);
    visitor.visit("sync_response_head_none", &head(None), &[]);
    visitor.visit("sync_request_header", &SyncRequest::Header(height()), &[]);
    visitor.visit("sync_request_snapshots", &SyncRequest::Snapshots, &[]);
    let after = SyncRequest::SnapshotRows { height: height(), after: vec![0x96; 3] };
    visitor.visit("sync_request_snapshot_rows", &after, &[]);
    visitor.visit("sync_request_genesis", &SyncRequest::Genesis, &[]);
    visitor.visit("sync_request_set_changes", &SyncRequest::SetChanges { above: height() }, &[]);
    let change = SetChange { block: CertifiedHeader::from(&decided()), set: validators() };
    visitor.visit("sync_response_set_changes", &SyncResponse::SetChanges(vec![change]), &[]);
    visitor.visit("sync_response_genesis", &SyncResponse::Genesis(vec![0x9c; 3]), &[]);
    let header = CertifiedHeader::from(&decided());
    visitor.visit("sync_response_header", &SyncResponse::Header(Some(Box::new(header.clone()))), &[]);
    visitor.visit("sync_response_snapshots", &SyncResponse::Snapshots(vec![header]), &[]);
    let row = SnapshotRow { key: vec![0x97; 2], value: vec![0x98; 4] };
    let right = vec![ProofStep { bit: 260, sibling: Hash::from_bytes([0x99; 32]) }];
    let rows = SnapshotRows { rows: vec![row], right };
    visitor.visit("sync_response_snapshot_rows", &SyncResponse::SnapshotRows(Some(rows)), &[]);
    visitor.visit("sync_response_snapshot_rows_none", &SyncResponse::SnapshotRows(None), &[]);
    visitor.visit("sync_response_blocks", &SyncResponse::Blocks(vec![0x95; 5]), &[]);
    visitor.visit("sync_response_proposal", &SyncResponse::Proposal(Some(Box::new(compact()))), &[]);
    visitor.visit("sync_response_proposal_none", &SyncResponse::Proposal(None), &[]);
    visitor.visit("sync_response_items", &SyncResponse::Items(block().items().collect()), &[]);
}

/// A proposal with the header and items of its block.
fn compact() -> CompactProposal {
    let (block, record) = (block(), proposal().record);
    let record = Proposal { height: block.header.height, block: block.hash(), ..record };
    CompactProposal::new(validator_key(1).sign_proposal(&network(), record).into_inner(), &block)
}

pub(crate) fn network() -> NetworkId {
    NetworkId::from_bytes([0xaa; 32])
}

pub(crate) fn key(byte: u8) -> NodeKey {
    NodeKey::from_seed(&[byte; 32])
}

/// The key with which a validator signs whose node has the key of the same number.
pub(crate) fn validator_key(byte: u8) -> ValidatorKey {
    ValidatorKey::from_seed(&[0x80 + byte; 32])
}

pub(crate) fn validator(byte: u8, power: u64, operator: NodeId) -> Validator {
    let node = key(byte).account();
    Validator { node, power, operator, keys: validator_key(byte).keys(&node) }
}

fn height() -> Height {
    Height::new(0x0706_0504_0302_0100)
}

fn epoch() -> Epoch {
    Epoch::new(0x0706_0504_0302_0100)
}

fn time() -> UnixMillis {
    UnixMillis::new(1_800_000_000_123)
}

fn address(byte: u8) -> PayoutAddress {
    PayoutAddress::from_hash20([byte; 20])
}

fn capacity() -> Capacity {
    Capacity { cores: 16, memory_bytes: 64 << 30, disk_bytes: 1 << 40, bandwidth_kbit_s: 1_000_000 }
}

pub(crate) fn validators() -> ValidatorSet {
    let validator = |i: u8| validator(i, u64::from(i), key(i + 10).account());
    ValidatorSet::new((1..=3).map(validator).collect()).unwrap()
}

pub(crate) fn attestation() -> Signed<ResourceAttestation> {
    let record = ResourceAttestation {
        epoch: epoch(),
        sequence: 11,
        time: time(),
        uptime_s: 86_400,
        cpu: Ppm::new(123_456),
        memory: Ppm::new(234_567),
        disk: Ppm::new(345_678),
        network_rx_bytes_s: 1_000_001,
        network_tx_bytes_s: 1_000_002,
        sessions: 42,
        capacity: capacity(),
        allocation: Ppm::new(456_789),
    };
    key(4).sign_attestation(&network(), record).into_inner()
}

pub(crate) fn probe_reply() -> Signed<ProbeReply> {
    let record = ProbeReply { validator: key(1).account(), epoch: epoch(), nonce: [0x22; 32] };
    key(4).sign_probe_reply(&network(), record).into_inner()
}

pub(crate) fn reveal(signer: u8) -> Signed<Reveal> {
    let [here, there] = [[0, 0, 9, 8, 7, 6], [0x2a, 0, 0x14, 0x50, 0x40, 0x01]].map(NetworkGroup::from_bytes);
    let seen = Observation {
        pings_sent: 12,
        pings_answered: 11,
        rtt_us: LogScale::encode(1_234),
        echo_kbit_s: Some(LogScale::encode(98_765)),
        group: Some(there),
    };
    let failed = Observation { pings_sent: 12, echo_kbit_s: Some(LogScale::ZERO), ..Observation::default() };
    let worker = |has_echo| AssignedWorker { has_echo, group: here };
    let assigned = [(worker(true), Some(seen)), (worker(false), None), (worker(true), Some(failed))];
    let report = ScoreReport::new(epoch(), &assigned, &[Some(1_560), None, Some(0)]);
    validator_key(signer).sign_report(&network(), Reveal { report, salt: [0x5a; 32] }).into_inner()
}

pub(crate) fn commitment(signer: u8) -> Signed<ReportCommitment> {
    let report = reveal(signer).record.commitment(&network(), &key(signer).account());
    let commitment = ReportCommitment { epoch: epoch(), report };
    validator_key(signer).sign_report_commitment(&network(), commitment).into_inner()
}

pub(crate) fn settlement_root() -> SettlementRoot {
    SettlementRoot {
        pool: pool(),
        settlement: 9,
        vault: address(0x82),
        era: 2,
        root: PayoutRoot::from_bytes([0x83; 32]),
        total: MicroUsdt::new(123_456_789),
        fees: MicroUsdt::new(30_000),
        promised: MicroUsdt::new(240_000_000),
        leader: Some(address(0x84)),
        until: 1_800_000_010,
    }
}

fn pool() -> PoolId {
    PoolId::from_bytes([0x81; 32])
}

/// Two of three signers, whose keys on the payment network are told apart by `key_address`.
fn signer_set(era: u32, key_address: u8) -> SignerSet {
    let signer = |i| TreasurySigner { node: key(i).account(), key_address: address(key_address + i) };
    SignerSet { era, threshold: 2, members: (1..=3).map(signer).collect() }
}

pub(crate) fn cosign_requests() -> [(&'static str, Signed<CosignRequest>); 3] {
    [
        ("cosign_request_root", CosignRequest::Root { pool: pool(), settlement: 9 }),
        ("cosign_request_signers", CosignRequest::Signers { pool: pool(), nonce: 1 }),
        ("cosign_request_limits", CosignRequest::Limits { pool: pool(), nonce: 2 }),
    ]
    .map(|(name, record)| (name, key(4).sign_cosign(&network(), record).into_inner()))
}

fn precommit() -> Vote {
    Vote { kind: VoteKind::Precommit, height: height(), round: 3, block: Some(block().hash()) }
}

pub(crate) fn proposal() -> Signed<Proposal> {
    let record = Proposal { height: height(), round: 3, block: block().hash(), pol_round: Some(1) };
    validator_key(1).sign_proposal(&network(), record).into_inner()
}

pub(crate) fn rebroadcast_items() -> [RebroadcastItem; 3] {
    let vote = |i, vote: Vote| validator_key(i).sign_vote(&network(), vote).into_inner();
    let prevote = Vote { kind: VoteKind::Prevote, ..precommit() };
    let signatures = (1..=2).map(|i| vote(i, prevote)).map(|vote| (vote.signer, vote.signature)).collect();
    let polka = PolkaCertificate { height: height(), round: 3, block: block().hash(), signatures };
    let round_vote = |vote: Signed<Vote>| {
        let Vote { kind, block, .. } = vote.record;
        RoundVote { kind, block, voter: vote.signer, signature: vote.signature }
    };
    let nil = Vote { block: None, ..precommit() };
    let votes = vec![round_vote(vote(1, nil)), round_vote(vote(2, prevote))];
    let round = RoundCertificate { height: height(), round: 3, end: RoundEnd::Skip, votes };
    [RebroadcastItem::Vote(vote(1, precommit())), RebroadcastItem::Polka(polka), RebroadcastItem::Round(round)]
}

pub(crate) fn rebroadcast(item: RebroadcastItem) -> Signed<Rebroadcast> {
    validator_key(1).sign_rebroadcast(&network(), Rebroadcast { sequence: 77, item }).into_inner()
}

pub(crate) fn block() -> Block {
    Block {
        header: Header {
            height: height(),
            parent: BlockHash::from_bytes([0x91; 32]),
            round: 3,
            proposer: validator_key(2).id(),
            time: time(),
            randao: validator_key(2).bls_key().sign_randao(&network(), height()),
            next_set: validators().hash(),
            state_root: StateRoot::from_bytes([0x92; 32]),
            items: items_hash(&[]),
        },
        commitments: vec![commitment(1), commitment(2)],
        reveals: vec![reveal(3)],
        commands: ["pool_losses", "pool_signers"].map(commands::named).into(),
        evidence: evidence().into(),
    }
    .sealed()
}

/// Of both kinds, against different validators.
pub(crate) fn evidence() -> [Evidence; 2] {
    let block = BlockHash::from_bytes([0x93; 32]);
    let vote = |block| {
        validator_key(1).sign_vote(&network(), Vote { kind: VoteKind::Precommit, height: height(), round: 3, block })
    };
    let proposal = |pol_round| {
        validator_key(2).sign_proposal(&network(), Proposal { height: height(), round: 3, block, pol_round })
    };
    let votes = Evidence::of_votes(&vote(None), &vote(Some(block))).unwrap();
    let proposals = Evidence::of_proposals(&proposal(None), &proposal(Some(1))).unwrap();
    [votes.into_inner(), proposals.into_inner()]
}

pub(crate) fn decided() -> CertifiedBlock {
    let vote = |i| validator_key(i).sign_vote(&network(), precommit()).into_inner();
    let mut signatures: Vec<_> = (1..=3).map(vote).map(|vote| (vote.signer, vote.signature)).collect();
    signatures.sort();
    let certificate = Certificate { height: height(), round: 3, block: block().hash(), signatures };
    CertifiedBlock { block: block(), certificate }
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        name: "golden".into(),
        genesis_time: time(),
        tron: PaymentNetwork {
            network: "local".into(),
            genesis_block: SolidBlockId::from_bytes([0xa1; 32]),
            usdt: address(0xa2),
        },
        policy: Policy::default(),
        validators: validators().members().to_vec(),
    }
}
