//! One fixed sample of every record. Bytes are chosen so that every field can be found again in the golden file.

use lucid_types::amount::{MicroUsdt, Ppm, Sun};
use lucid_types::attestation::{Capacity, ResourceAttestation};
use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::commit::Commit;
use lucid_types::genesis::{Genesis, GenesisPool, GenesisWorker, PaymentNetwork, SplitRule, Treasury, TreasurySigner};
use lucid_types::id::{
    AttemptId, BlockHash, Hash, NetworkId, NodeId, PayoutAddress, PayoutId, PoolId, SolidBlockId, StateRoot, TxId,
};
use lucid_types::key::NodeKey;
use lucid_types::payout::{
    CosignReply, CosignRequest, PayoutAttempt, ReceiptVote, SolidBlock, TokenFlags, TreasurySignature, TreasuryView,
    Verdict,
};
use lucid_types::policy::Policy;
use lucid_types::report::{Observation, ProbeReply, ProbeRequest, Reveal, ScoreReport};
use lucid_types::signed::Signed;
use lucid_types::sync::{
    Decided, Liveness, LivenessMessage, PolkaCertificate, RoundCertificate, RoundEnd, RoundVote, SyncRequest,
    SyncResponse,
};
use lucid_types::time::{EpochNumber, UnixMillis};
use lucid_types::validator::{Validator, ValidatorSet};
use lucid_types::vote::{ConsensusMessage, Proposal, Vote, VoteKind};

use crate::harness::Visitor;

/// Shows every sample to `visitor`.
pub(crate) fn each(visitor: &mut impl Visitor) {
    signed(visitor, "attestation", &attestation());
    visitor.visit("probe_request", &ProbeRequest { epoch: epoch(), nonce: [0x22; 32] }, &[]);
    signed(visitor, "probe_reply", &probe_reply());
    signed(visitor, "commit", &commit(1));
    let reveal = reveal(1);
    let commitment = reveal.record.commitment(&network(), &reveal.signer);
    visitor.visit("reveal", &reveal, &[("commitment", commitment.as_bytes()), signature(&reveal)]);
    payouts(visitor);
    votes(visitor);
    blocks(visitor);
    sync(visitor);
    let genesis = genesis();
    visitor.visit("genesis", &genesis, &[("network id", genesis.network_id().as_bytes())]);
}

fn signature<T>(record: &Signed<T>) -> (&'static str, &[u8]) {
    ("signature", record.signature.as_bytes())
}

fn signed<T>(visitor: &mut impl Visitor, name: &str, record: &Signed<T>)
where
    Signed<T>: lucid_types::codec::Wire + PartialEq,
    T: std::fmt::Debug,
{
    visitor.visit(name, record, &[signature(record)]);
}

fn payouts(visitor: &mut impl Visitor) {
    visitor.visit("payout_attempt", &attempt(), &[]);
    signed(visitor, "cosign_request", &cosign_request());
    let signed = CosignReply::Signed(TreasurySignature::from_bytes([0x65; 65]));
    visitor.visit("cosign_reply_signed", &signed, &[]);
    visitor.visit("cosign_reply_not_final", &CosignReply::NotFinal, &[]);
    visitor.visit("cosign_reply_refused", &CosignReply::Refused("over the daily cap".into()), &[]);
}

fn votes(visitor: &mut impl Visitor) {
    let vote = key(1).sign_vote(&network(), precommit()).into_inner();
    signed(visitor, "vote_precommit", &vote);
    let nil = Vote { kind: VoteKind::Prevote, block: None, ..precommit() };
    signed(visitor, "vote_prevote_nil", &key(1).sign_vote(&network(), nil).into_inner());
    signed(visitor, "proposal", &proposal());
    let first = Proposal { pol_round: None, ..proposal().record };
    signed(visitor, "proposal_first", &key(1).sign_proposal(&network(), first).into_inner());
    visitor.visit("consensus_message_proposal", &ConsensusMessage::Proposal(proposal()), &[]);
    visitor.visit("consensus_message_vote", &ConsensusMessage::Vote(vote), &[]);
    for (name, item) in ["liveness_vote", "liveness_polka", "liveness_round"].iter().zip(liveness_items()) {
        signed(visitor, name, &liveness(item));
    }
}

fn blocks(visitor: &mut impl Visitor) {
    visitor.visit("block", &block(), &[("hash", block().hash().as_bytes())]);
    visitor.visit("certificate", &decided().certificate, &[]);
    visitor.visit("decided", &decided(), &[]);
}

fn sync(visitor: &mut impl Visitor) {
    visitor.visit("sync_request_tip", &SyncRequest::Tip, &[]);
    visitor.visit("sync_request_blocks", &SyncRequest::Blocks { from: epoch(), to: epoch().next() }, &[]);
    visitor.visit("sync_request_body", &SyncRequest::Body { height: epoch(), block: block().hash() }, &[]);
    let reports = SyncRequest::Reports {
        epoch: epoch(),
        have_commits: vec![key(1).node_id(), key(2).node_id()],
        have_reveals: vec![key(3).node_id()],
    };
    visitor.visit("sync_request_reports", &reports, &[]);
    let tip = SyncResponse::Tip { height: epoch(), block: block().hash() };
    visitor.visit("sync_response_tip", &tip, &[]);
    visitor.visit("sync_response_blocks", &SyncResponse::Blocks(vec![decided()]), &[]);
    visitor.visit("sync_response_body", &SyncResponse::Body(Some(block())), &[]);
    visitor.visit("sync_response_body_none", &SyncResponse::Body(None), &[]);
    let reports = SyncResponse::Reports { commits: vec![commit(1)], reveals: vec![reveal(1)] };
    visitor.visit("sync_response_reports", &reports, &[]);
}

pub(crate) fn network() -> NetworkId {
    NetworkId::from_bytes([0xaa; 32])
}

pub(crate) fn key(byte: u8) -> NodeKey {
    NodeKey::from_seed(&[byte; 32])
}

fn epoch() -> EpochNumber {
    EpochNumber::new(0x0706_0504_0302_0100)
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
    let validator = |i: u8| Validator { node: key(i).node_id(), power: u64::from(i), operator: key(i + 10).node_id() };
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
    let record = ProbeReply { validator: key(1).node_id(), epoch: epoch(), nonce: [0x22; 32] };
    key(4).sign_probe_reply(&network(), record).into_inner()
}

fn observation(worker: u8) -> Observation {
    Observation {
        worker: NodeId::from_bytes([worker; 32]),
        beacons_sent: 12,
        beacons_answered: 11,
        rtt_us: 1_234,
        relays_sent: 2,
        relays_verified: 1,
        relay_bytes: 5 << 20,
        relay_kbit_s: 98_765,
        chunks_proved: 3,
        storage_bytes: 3 << 20,
        attestation: Some(Hash::from_bytes([0x33; 32])),
        capacity: capacity(),
        allocation: Ppm::new(500_000),
    }
}

pub(crate) fn reveal(signer: u8) -> Signed<Reveal> {
    let unseen = Observation { attestation: None, ..observation(0x45) };
    let report = ScoreReport { epoch: epoch(), observations: vec![observation(0x44), unseen] };
    key(signer).sign_report(&network(), Reveal { report, salt: [0x5a; 32] }).into_inner()
}

fn receipts() -> Vec<ReceiptVote> {
    let (tx_id, block, fee) = (TxId::from_bytes([0x77; 32]), 54_321, Sun::new(27_600_000));
    let verdicts = [
        Verdict::Paid { tx_id, block, fee },
        Verdict::PaidUnexpected { tx_id, block, fee, received: MicroUsdt::new(99) },
        Verdict::Failed { tx_id, block, fee },
        Verdict::Dead,
    ];
    let vote = |(i, verdict)| ReceiptVote { payout: PayoutId::from_bytes([i; 32]), attempt: 2, verdict };
    (0x80..).zip(verdicts).map(vote).collect()
}

pub(crate) fn solid() -> SolidBlock {
    SolidBlock { number: 54_300, id: SolidBlockId::from_bytes([0x66; 32]), time: time() }
}

pub(crate) fn commit(signer: u8) -> Signed<Commit> {
    let view = TreasuryView {
        pool: PoolId::from_bytes([0x70; 32]),
        usdt: MicroUsdt::new(5_000_000_000),
        trx: Sun::new(900_000_000),
        energy_price: Sun::new(100),
        flags: TokenFlags { paused: false, deprecated: true, fee: false, treasury_blacklisted: true },
        permission_matches: true,
    };
    let reveal = reveal(signer);
    let commit = Commit {
        epoch: epoch(),
        report: reveal.record.commitment(&network(), &reveal.signer),
        time: time(),
        solid: vec![solid(), SolidBlock { number: 54_280, ..solid() }],
        treasuries: vec![view],
        receipts: receipts(),
    };
    key(signer).sign_commit(&network(), commit).into_inner()
}

pub(crate) fn attempt() -> PayoutAttempt {
    PayoutAttempt {
        payout: PayoutId::from_bytes([0x81; 32]),
        attempt: 2,
        id: AttemptId::from_bytes([0x82; 32]),
        pool: PoolId::from_bytes([0x83; 32]),
        settlement: 9,
        worker: NodeId::from_bytes([0x84; 32]),
        to: address(0x85),
        amount: MicroUsdt::new(123_456_789),
        treasury: address(0x86),
        token: address(0x87),
        permission_id: 2,
        reference: solid(),
        expiration: time(),
        fee_limit: Sun::new(14_331_350),
    }
}

pub(crate) fn cosign_request() -> Signed<CosignRequest> {
    let record = CosignRequest { payout: PayoutId::from_bytes([0x81; 32]), attempt: 2 };
    key(4).sign_cosign(&network(), record).into_inner()
}

fn precommit() -> Vote {
    Vote { kind: VoteKind::Precommit, height: epoch(), round: 3, block: Some(block().hash()) }
}

pub(crate) fn proposal() -> Signed<Proposal> {
    let record = Proposal { height: epoch(), round: 3, block: block().hash(), pol_round: Some(1) };
    key(1).sign_proposal(&network(), record).into_inner()
}

pub(crate) fn liveness_items() -> [Liveness; 3] {
    let vote = |i, vote: Vote| key(i).sign_vote(&network(), vote).into_inner();
    let prevote = Vote { kind: VoteKind::Prevote, ..precommit() };
    let signatures = (1..=2).map(|i| vote(i, prevote)).map(|vote| (vote.signer, vote.signature)).collect();
    let polka = PolkaCertificate { height: epoch(), round: 3, block: block().hash(), signatures };
    let round_vote = |vote: Signed<Vote>| {
        let Vote { kind, block, .. } = vote.record;
        RoundVote { kind, block, voter: vote.signer, signature: vote.signature }
    };
    let nil = Vote { block: None, ..precommit() };
    let votes = vec![round_vote(vote(1, nil)), round_vote(vote(2, prevote))];
    let round = RoundCertificate { height: epoch(), round: 3, end: RoundEnd::Skip, votes };
    [Liveness::Vote(vote(1, precommit())), Liveness::Polka(polka), Liveness::Round(round)]
}

pub(crate) fn liveness(item: Liveness) -> Signed<LivenessMessage> {
    key(1).sign_liveness(&network(), LivenessMessage { sequence: 77, item }).into_inner()
}

pub(crate) fn block() -> Block {
    Block {
        height: epoch(),
        parent: BlockHash::from_bytes([0x91; 32]),
        proposer: key(2).node_id(),
        time: time(),
        commits: vec![commit(1), commit(2)],
        reveals: vec![reveal(3)],
        next_set: validators().hash(),
        state_root: StateRoot::from_bytes([0x92; 32]),
    }
}

pub(crate) fn decided() -> Decided {
    let vote = |i| key(i).sign_vote(&network(), precommit()).into_inner();
    let mut signatures: Vec<_> = (1..=3).map(vote).map(|vote| (vote.signer, vote.signature)).collect();
    signatures.sort();
    let certificate = Certificate { height: epoch(), round: 3, block: block().hash(), signatures };
    Decided { block: block(), certificate }
}

pub(crate) fn genesis() -> Genesis {
    let worker = |i| GenesisWorker {
        node: key(i).node_id(),
        operator: key(i + 10).node_id(),
        payout_address: address(i),
        can_lead: i == 5,
        capacity: capacity(),
    };
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
        workers: vec![worker(5), worker(6)],
        pools: vec![GenesisPool {
            name: "pool".into(),
            owner: key(1).node_id(),
            members: vec![key(5).node_id(), key(6).node_id()],
            budget: MicroUsdt::new(120_000_000),
            split: SplitRule::Equal,
            commission: Ppm::new(50_000),
            commission_address: address(0xa3),
            treasury: Treasury {
                address: address(0xa4),
                permission_id: 2,
                threshold: 2,
                signers: (1..=3).map(|i| TreasurySigner { node: key(i).node_id(), key_address: address(i) }).collect(),
            },
        }],
    }
}
