//! The greatest instance of every record fits its own limit and that of everything that carries it.

use lucid_types::block::{Block, Item};
use lucid_types::certificate::Certificate;
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::command::{Command, CommandReply};
use lucid_types::genesis::{Genesis, GenesisError};
use lucid_types::id::{BlockHash, Hash, NodeId, PayoutAddress, PoolId, PublicKey, ValidatorId};
use lucid_types::log_scale::LogScale;
use lucid_types::message::{CompactProposal, ConsensusMessage};
use lucid_types::network_group::NetworkGroup;
use lucid_types::payout::{CosignReply, CosignRequest, SettlementRoot, TreasurySignature};
use lucid_types::proof::{KeyProof, MAX_KEY_BYTES, ProofStep};
use lucid_types::report::{AssignedWorker, Observation, ReportCommitment, Reveal, ScoreReport};
use lucid_types::signed::{MultiSigned, Signature, Signed, SignedRecord, Signer};
use lucid_types::sync::{
    CertifiedBlock, CertifiedHeader, PolkaCertificate, Rebroadcast, RebroadcastItem, RoundCertificate, RoundEnd,
    RoundVote, SnapshotRow, SnapshotRows, SyncRequest, SyncResponse,
};
use lucid_types::time::{Epoch, Height};
use lucid_types::validator::{Validator, ValidatorSet, ValidatorSetError};
use lucid_types::validator_key::ValidatorKey;
use lucid_types::validator_sets::SetChange;
use lucid_types::vault::{SignerSet, TreasurySigner};
use lucid_types::vote::{Proposal, VoteKind};

use crate::{commands, samples};

/// [`ValidatorSet::MAX_MEMBERS`].
const MAX_VALIDATORS: u32 = 1_000;

const HUGE: Epoch = Epoch::new(u64::MAX);

pub(crate) fn fits<T: Wire + PartialEq + std::fmt::Debug>(value: &T) -> usize {
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

pub(crate) fn nodes(n: u32) -> Vec<NodeId> {
    (0..n).map(|i| NodeId::from_bytes(numbered(i))).collect()
}

fn ids(n: u32) -> Vec<ValidatorId> {
    (0..n).map(|i| ValidatorId::from_bytes(numbered(i))).collect()
}

/// A validator whose node and key have one seed.
fn validator(node: NodeId) -> Validator {
    Validator { node, power: 1, operator: node, keys: ValidatorKey::from_seed(node.as_bytes()).keys(&node) }
}

pub(crate) fn signature() -> Signature {
    Signature::from_bytes([0xff; 64])
}

pub(crate) fn signed<T: SignedRecord>(record: T) -> Signed<T> {
    Signed { signer: T::Signer::of(PublicKey::from_bytes([0xff; 32])), record, signature: signature() }
}

fn commitment() -> ReportCommitment {
    ReportCommitment { epoch: HUGE, report: Hash::from_bytes([0xff; 32]) }
}

pub(crate) fn signer_set() -> SignerSet {
    let signer = |i| TreasurySigner {
        node: NodeId::from_bytes(numbered(i)),
        key_address: PayoutAddress::from_hash20([u8::try_from(i + 1).unwrap(); 20]),
    };
    let set = SignerSet {
        era: u32::MAX,
        threshold: u8::try_from(SignerSet::MAX).unwrap(),
        members: (0..u32::try_from(SignerSet::MAX).unwrap()).map(signer).collect(),
    };
    set.check().unwrap();
    set
}

/// The longest command, with as many signatures as there may be.
fn command() -> MultiSigned<Command> {
    commands::crowded(commands::greatest().remove(0))
}

fn root(i: u32) -> SettlementRoot {
    SettlementRoot { pool: PoolId::from_bytes(numbered(i)), ..samples::settlement_root() }
}

/// On as many workers as may be scored, all of them measured, and as many seen elsewhere as may be.
fn reveal() -> Reveal {
    let most = LogScale::from_code(u16::MAX);
    let observation = Observation {
        pings_sent: u8::MAX,
        pings_answered: u8::MAX,
        rtt_us: most,
        echo_kbit_s: Some(most),
        group: Some(NetworkGroup::from_bytes([0, 0, 9, 9, 9, 9])),
    };
    let worker = AssignedWorker { has_echo: true, group: NetworkGroup::NONE };
    let n = ScoreReport::MAX_WORKERS;
    let report = ScoreReport::new(HUGE, &vec![(worker, Some(observation)); n], &vec![Some(u16::MAX); n]);
    Reveal { report, salt: [0xff; 32] }
}

fn certificate() -> Certificate {
    let signatures = ids(MAX_VALIDATORS).into_iter().map(|id| (id, signature())).collect();
    Certificate { height: Height::new(u64::MAX), round: u32::MAX, block: BlockHash::from_bytes([0xff; 32]), signatures }
}

/// A block of nearly [`Block::MAX_BYTES`]: as many commands as it may carry, full reveals, and
/// commitments in what room is left.
fn block() -> Block {
    let n_commands = Block::MAX_COMMAND_BYTES / encode(&command()).len();
    let mut block = Block {
        header: samples::block().header,
        commitments: vec![],
        reveals: vec![],
        commands: vec![command(); n_commands],
        evidence: vec![],
    };
    let room = |block: &Block| Block::MAX_BYTES - encode(block).len();
    let full = signed(reveal());
    block.reveals = vec![full.clone(); room(&block) / encode(&full).len()];
    let bare = signed(commitment());
    block.commitments = vec![bare.clone(); room(&block) / encode(&bare).len()];
    block
}

/// The limit of a record of fixed length, or of one that has a greatest length, is that length.
#[test]
fn limits_of_small_records_are_their_greatest_lengths() {
    fn exact<T: Wire + PartialEq + std::fmt::Debug>(value: &T) {
        assert_eq!(fits(value), T::MAX_BYTES, "{value:?}");
    }
    let pool = PoolId::from_bytes([0xff; 32]);
    exact(&commitment());
    exact(&reveal());
    exact(&signed(reveal()));
    exact(&root(0));
    exact(&CosignRequest::Root { pool, settlement: u64::MAX });
    exact(&signed(CosignRequest::Root { pool, settlement: u64::MAX }));
}

#[test]
fn requests_to_signers_and_their_answers_fit() {
    let pool = PoolId::from_bytes([0xff; 32]);
    fits(&CosignRequest::Signers { pool, nonce: u32::MAX });
    fits(&CosignRequest::Limits { pool, nonce: u32::MAX });
    fits(&CosignReply::Signed(TreasurySignature::from_bytes([0xff; 65])));
}

#[test]
fn proofs_of_the_largest_validator_set() {
    let set = |n| {
        let members = nodes(n).into_iter().map(validator);
        ValidatorSet::new(members.collect())
    };
    assert_eq!(set(MAX_VALIDATORS).unwrap().members().len(), ValidatorSet::MAX_MEMBERS);
    assert_eq!(set(MAX_VALIDATORS + 1).unwrap_err(), ValidatorSetError::TooMany(1_001));
    fits(&certificate());
    let Certificate { height, round, block, signatures } = certificate();
    let polka = RebroadcastItem::Polka(PolkaCertificate { height, round, block, signatures });
    fits(&signed(Rebroadcast { sequence: u64::MAX, item: polka }));
    let vote = |voter| RoundVote { kind: VoteKind::Precommit, block: Some(block), voter, signature: signature() };
    let votes = ids(MAX_VALIDATORS).into_iter().map(vote).collect();
    let end = RebroadcastItem::Round(RoundCertificate { height, round, end: RoundEnd::Skip, votes });
    fits(&signed(Rebroadcast { sequence: u64::MAX, item: end }));
    let (have_commitments, have_reveals) = (ids(MAX_VALIDATORS), ids(MAX_VALIDATORS));
    fits(&SyncRequest::Reports { epoch: HUGE, have_commitments, have_reveals });
}

/// A block that its proposer may build can also be proposed, decided and served.
#[test]
fn the_largest_block_fits_everything_that_carries_it() {
    let block = block();
    let bytes = fits(&block);
    assert!(Block::MAX_BYTES - bytes < 256, "{bytes} bytes are not the largest block");
    fits(&block.header);
    block.items().for_each(|item| assert!(fits(&item) <= Item::MAX_BYTES));
    let decided = CertifiedBlock { block, certificate: certificate() };
    fits(&decided);
    fits(&SyncResponse::Blocks(vec![0; SyncResponse::PAGE_BYTES]));
    let header = CertifiedHeader { header: samples::block().header, certificate: certificate() };
    fits(&SyncResponse::Snapshots(vec![header.clone(); SyncResponse::MAX_SNAPSHOTS]));
    let members = nodes(MAX_VALIDATORS).into_iter().map(validator);
    let change = SetChange { block: header, set: ValidatorSet::new(members.collect()).unwrap() };
    assert!(fits(&change) + 8_192 > SetChange::MAX_BYTES);
    fits(&SyncResponse::SetChanges(vec![change; SyncResponse::PAGE_BYTES / SetChange::MAX_BYTES]));
    let right = vec![ProofStep { bit: u16::MAX, sibling: Hash::from_bytes([1; 32]) }; KeyProof::MAX_STEPS];
    let mut row = SnapshotRow { key: vec![1; MAX_KEY_BYTES], value: Vec::new() };
    row.value = vec![2; SyncResponse::PAGE_BYTES - 16 - right.len() * 34 - row.encoded_len()];
    assert!(row.value.len() > 1_000_000);
    fits(&SyncResponse::SnapshotRows(Some(SnapshotRows { rows: vec![row], right })));
}

/// A proposal of as many items as a block may have, and of a root of every pool, can be gossiped; so can one that names a
/// commitment and a reveal of every validator, and commands of every pool.
#[test]
fn the_largest_proposal_fits() {
    let block = block();
    let record =
        Proposal { height: block.header.height, round: u32::MAX, block: block.hash(), pol_round: Some(u32::MAX) };
    let proposal = signed(record);
    let item = samples::block().references()[0];
    let compact = CompactProposal { proposal, header: block.header, items: vec![item; Block::MAX_ITEMS] };
    let bytes = fits(&compact);
    assert!(CompactProposal::MAX_BYTES - bytes < 64, "{bytes} bytes are not the largest proposal");
    fits(&ConsensusMessage::Proposal(Box::new(compact.clone())));
    fits(&SyncResponse::Proposal(Some(Box::new(compact))));
    let commands = Block::MAX_COMMAND_BYTES / encode(&samples::commands::named("node_leave")).len();
    assert!(4 * ValidatorSet::MAX_MEMBERS + commands <= Block::MAX_ITEMS, "{commands} commands");
    fits(&SyncRequest::Items(vec![item.id; SyncRequest::MAX_ITEMS]));
}

/// One answer has room for everyone's commitment, and for reveals that are worth the question: whoever lacks more asks again.
#[test]
fn reports_fit_an_answer() {
    let mut items = vec![Item::Commitment(signed(commitment())); ValidatorSet::MAX_MEMBERS];
    let largest = Item::Reveal(signed(reveal()));
    let mut room = SyncResponse::PAGE_BYTES - items.iter().map(|item| encode(item).len()).sum::<usize>();
    while let Some(rest) = room.checked_sub(encode(&largest).len()) {
        room = rest;
        items.push(largest.clone());
    }
    assert!(items.len() > ValidatorSet::MAX_MEMBERS + 5);
    fits(&SyncResponse::Items(items));
}

#[test]
fn a_refusal_has_room_for_a_sentence() {
    fits(&CommandReply::Refused("x".repeat(1_000)));
    assert!(decode::<CommandReply>(&encode(&CommandReply::Refused("x".repeat(2_000)))).is_err());
    fits(&CosignReply::Refused("x".repeat(1_000)));
    assert!(decode::<CosignReply>(&encode(&CosignReply::Refused("x".repeat(2_000)))).is_err());
}

/// As many validators as there may be, and names of 64 letters.
#[test]
fn the_fullest_genesis_fits() {
    let mut genesis = samples::genesis();
    (genesis.name, genesis.tron.network) = ("n".repeat(64), "n".repeat(64));
    genesis.validators = nodes(MAX_VALIDATORS).into_iter().map(validator).collect();
    assert_eq!(genesis.check().unwrap().members().len(), ValidatorSet::MAX_MEMBERS);
    assert!(2 * fits(&genesis) > Genesis::MAX_BYTES);
    fits(&SyncResponse::Genesis(vec![0; Genesis::MAX_BYTES]));
}

#[test]
fn a_genesis_that_no_peer_could_give_is_refused() {
    let mut genesis = samples::genesis();
    let room = Genesis::MAX_BYTES - encode(&genesis).len();
    genesis.name.push_str(&"n".repeat(room));
    genesis.check().unwrap();
    fits(&genesis);
    genesis.name.push('n');
    assert_eq!(genesis.check(), Err(GenesisError::TooLong(Genesis::MAX_BYTES + 1)));
    genesis.validators = nodes(MAX_VALIDATORS + 1).into_iter().map(validator).collect();
    let refused = ValidatorSetError::TooMany(ValidatorSet::MAX_MEMBERS + 1);
    assert_eq!(Genesis { name: String::new(), ..genesis }.check(), Err(GenesisError::Validators(refused)));
}
