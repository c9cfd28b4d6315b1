//! The greatest instance of every record fits its own limit and that of everything that carries it.

use lucid_types::amount::{MicroUsdt, Ppm, Sun};
use lucid_types::attestation::Capacity;
use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::codec::{MAX_MESSAGE_BYTES, Wire, decode, encode};
use lucid_types::commit::Commit;
use lucid_types::id::{BlockHash, Hash, NodeId, PayoutId, PoolId, SolidBlockId, TxId};
use lucid_types::payout::{CosignReply, ReceiptVote, SolidBlock, TokenFlags, TreasuryView, Verdict};
use lucid_types::report::{Observation, Reveal, ScoreReport};
use lucid_types::signed::{Signature, Signed};
use lucid_types::sync::{
    Decided, Liveness, LivenessMessage, PolkaCertificate, RoundCertificate, RoundEnd, RoundVote, SyncRequest,
    SyncResponse,
};
use lucid_types::time::{EpochNumber, UnixMillis};
use lucid_types::validator::{Validator, ValidatorSet, ValidatorSetError};
use lucid_types::vote::VoteKind;

use crate::samples;

/// [`ValidatorSet::MAX_MEMBERS`].
const MAX_VALIDATORS: u32 = 1_000;
/// Workers that one report has room for (protocol: `max_scored`).
const MAX_WORKERS: u32 = 2_000;

const HUGE: EpochNumber = EpochNumber::new(u64::MAX);

fn fits<T: Wire + PartialEq + std::fmt::Debug>(value: &T) -> usize {
    let bytes = encode(value);
    assert!(bytes.len() <= T::MAX_BYTES, "{} bytes, the limit is {}", bytes.len(), T::MAX_BYTES);
    assert!(decode::<T>(&bytes).unwrap() == *value);
    bytes.len()
}

fn numbered(i: u32) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[..4].copy_from_slice(&i.to_be_bytes());
    bytes
}

fn nodes(n: u32) -> Vec<NodeId> {
    (0..n).map(|i| NodeId::from_bytes(numbered(i))).collect()
}

fn signature() -> Signature {
    Signature::from_bytes([0xff; 64])
}

fn signed<T>(record: T) -> Signed<T> {
    Signed { signer: NodeId::from_bytes([0xff; 32]), record, signature: signature() }
}

fn commit() -> Commit {
    let solid =
        |number| SolidBlock { number, id: SolidBlockId::from_bytes([0xff; 32]), time: UnixMillis::new(u64::MAX) };
    let (tx_id, block, fee) = (TxId::from_bytes([0xff; 32]), u64::MAX, Sun::new(u64::MAX));
    let verdict = Verdict::PaidUnexpected { tx_id, block, fee, received: MicroUsdt::new(u64::MAX) };
    let flags = TokenFlags { paused: true, deprecated: true, fee: true, treasury_blacklisted: true };
    let treasury = |i| TreasuryView {
        pool: PoolId::from_bytes(numbered(i)),
        usdt: MicroUsdt::new(u64::MAX),
        trx: Sun::new(u64::MAX),
        energy_price: Sun::new(u64::MAX),
        flags,
        permission_matches: true,
    };
    let receipt = |i| ReceiptVote { payout: PayoutId::from_bytes(numbered(i)), attempt: u32::MAX, verdict };
    let up_to = |n: usize| 0..u32::try_from(n).unwrap();
    Commit {
        epoch: HUGE,
        report: Hash::from_bytes([0xff; 32]),
        time: UnixMillis::new(u64::MAX),
        solid: (0..Commit::MAX_SOLID).map(|_| solid(u64::MAX)).collect(),
        treasuries: up_to(Commit::MAX_TREASURIES).map(treasury).collect(),
        receipts: up_to(Commit::MAX_RECEIPTS).map(receipt).collect(),
    }
}

fn reveal(observations: u32) -> Reveal {
    let observation = |worker| Observation {
        worker,
        beacons_sent: u32::MAX,
        beacons_answered: u32::MAX,
        rtt_us: u32::MAX,
        relays_sent: u32::MAX,
        relays_verified: u32::MAX,
        relay_bytes: u64::MAX,
        relay_kbit_s: u64::MAX,
        chunks_proved: u32::MAX,
        storage_bytes: u64::MAX,
        attestation: Some(Hash::from_bytes([0xff; 32])),
        capacity: Capacity {
            cores: u32::MAX,
            memory_bytes: u64::MAX,
            disk_bytes: u64::MAX,
            bandwidth_kbit_s: u64::MAX,
        },
        allocation: Ppm::new(u32::MAX),
    };
    let observations = nodes(observations).into_iter().map(observation).collect();
    Reveal { report: ScoreReport { epoch: HUGE, observations }, salt: [0xff; 32] }
}

fn certificate() -> Certificate {
    let signatures = nodes(MAX_VALIDATORS).into_iter().map(|node| (node, signature())).collect();
    Certificate { height: HUGE, round: u32::MAX, block: BlockHash::from_bytes([0xff; 32]), signatures }
}

/// A block of exactly [`Block::MAX_BYTES`]: full reveals, and in the last commits as many verdicts as still fit.
fn block() -> Block {
    let mut block = Block { commits: vec![], reveals: vec![], ..samples::block() };
    let full = signed(reveal(MAX_WORKERS));
    let room = |block: &Block| Block::MAX_BYTES - encode(block).len();
    let count = room(&block) / encode(&full).len();
    block.reveals = vec![full; count];
    let bare = signed(Commit { solid: vec![], treasuries: vec![], receipts: vec![], ..commit() });
    let (bare_bytes, receipt_bytes) = (encode(&bare).len(), encode(&commit().receipts[0]).len());
    while room(&block) >= bare_bytes {
        let receipts = ((room(&block) - bare_bytes) / receipt_bytes).min(Commit::MAX_RECEIPTS);
        let mut next = bare.clone();
        next.record.receipts = commit().receipts[..receipts].to_vec();
        block.commits.push(next);
    }
    block
}

#[test]
fn reports_and_commits_at_their_caps() {
    fits(&commit());
    fits(&signed(commit()));
    fits(&reveal(MAX_WORKERS));
    fits(&signed(reveal(MAX_WORKERS)));
    let bytes = encode(&reveal(MAX_WORKERS).report).len();
    assert!(bytes <= Reveal::MAX_REPORT_BYTES);
    const { assert!(Reveal::MAX_REPORT_BYTES + 32 <= Reveal::MAX_BYTES) };
}

#[test]
fn proofs_of_the_largest_validator_set() {
    let set = |n| {
        let members = nodes(n).into_iter().map(|node| Validator { node, power: 1, operator: node });
        ValidatorSet::new(members.collect())
    };
    assert_eq!(set(MAX_VALIDATORS).unwrap().members().len(), ValidatorSet::MAX_MEMBERS);
    assert_eq!(set(MAX_VALIDATORS + 1).unwrap_err(), ValidatorSetError::TooMany(1_001));
    fits(&certificate());
    let Certificate { height, round, block, signatures } = certificate();
    let polka = Liveness::Polka(PolkaCertificate { height, round, block, signatures });
    fits(&signed(LivenessMessage { sequence: u64::MAX, item: polka }));
    let vote = |voter| RoundVote { kind: VoteKind::Precommit, block: Some(block), voter, signature: signature() };
    let votes = nodes(MAX_VALIDATORS).into_iter().map(vote).collect();
    let end = Liveness::Round(RoundCertificate { height, round, end: RoundEnd::Skip, votes });
    fits(&signed(LivenessMessage { sequence: u64::MAX, item: end }));
    let (have_commits, have_reveals) = (nodes(MAX_VALIDATORS), nodes(MAX_VALIDATORS));
    fits(&SyncRequest::Reports { epoch: HUGE, have_commits, have_reveals });
}

/// A block that its proposer may build can also be proposed, decided and served.
#[test]
fn the_largest_block_fits_everything_that_carries_it() {
    let block = block();
    let bytes = fits(&block);
    assert!(Block::MAX_BYTES - bytes < 256, "{bytes} bytes are not the largest block");
    fits(&SyncResponse::Body(Some(block.clone())));
    let decided = Decided { block, certificate: certificate() };
    fits(&decided);
    let answer = SyncResponse::Blocks(vec![decided]);
    assert!(fits(&answer) <= MAX_MESSAGE_BYTES);
}

/// One answer has room for the reports that one validator can be missing: a commit and a reveal.
#[test]
fn reports_fit_an_answer() {
    fits(&SyncResponse::Reports {
        commits: vec![signed(commit()); 20],
        reveals: vec![signed(reveal(MAX_WORKERS)); 20],
    });
}

#[test]
fn a_refusal_has_room_for_a_sentence() {
    fits(&CosignReply::Refused("x".repeat(1_000)));
    assert!(decode::<CosignReply>(&encode(&CosignReply::Refused("x".repeat(2_000)))).is_err());
}

#[test]
fn a_public_networks_genesis_fits() {
    let mut genesis = samples::genesis();
    let worker = genesis.workers[0].clone();
    genesis.workers =
        nodes(20_000).into_iter().map(|node| lucid_types::genesis::GenesisWorker { node, ..worker.clone() }).collect();
    genesis.pools[0].members = nodes(20_000);
    genesis.validators =
        nodes(MAX_VALIDATORS).into_iter().map(|node| Validator { node, power: 1, operator: node }).collect();
    fits(&genesis);
}
