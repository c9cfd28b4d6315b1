//! Any value of every record, for property tests.

pub(crate) mod commands;

use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::attestation::{Capacity, ResourceAttestation};
use lucid_types::block::{Block, Header, Item, ItemId, items_hash};
use lucid_types::bls::{BlsPublicKey, BlsSignature};
use lucid_types::certificate::Certificate;
use lucid_types::evidence::Evidence;
use lucid_types::genesis::Genesis;
use lucid_types::id::{BlockHash, Hash, NodeId, PayoutAddress, PoolId, PublicKey, StateRoot, ValidatorId};
use lucid_types::log_scale::LogScale;
use lucid_types::message::{CompactProposal, ConsensusMessage};
use lucid_types::network_group::NetworkGroup;
use lucid_types::payout::{CosignReply, CosignRequest, SettlementRoot, TreasurySignature, VaultLimits};
use lucid_types::payout_tree::PayoutRoot;
use lucid_types::policy::Policy;
use lucid_types::pool::SplitRule;
use lucid_types::proof::{KeyProof, OtherLeaf, ProofStep};
use lucid_types::report::{
    AssignedWorker, Observation, ProbeReply, ProbeRequest, ReportCommitment, Reveal, ScoreReport,
};
use lucid_types::signed::{Signature, Signed, SignedRecord, Signer};
use lucid_types::storage::{ChunkRange, DepositId, StorageRefusal, StorageReply, StorageRequest};
use lucid_types::sync::{
    CertifiedBlock, CertifiedHeader, PolkaCertificate, Presence, Rebroadcast, RebroadcastItem, RoundCertificate,
    RoundEnd, RoundVote, SnapshotRow, SnapshotRows, SyncRequest, SyncResponse,
};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::validator::{Validator, ValidatorSet};
use lucid_types::validator_key::ValidatorKeys;
use lucid_types::validator_sets::SetChange;
use lucid_types::vault::{SignerSet, TreasurySigner};
use lucid_types::vote::{Proposal, Vote, VoteKind, Wake};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::samples;

fn bytes<T: std::fmt::Debug>(wrap: fn([u8; 32]) -> T) -> impl Strategy<Value = T> {
    any::<[u8; 32]>().prop_map(wrap)
}

fn bls_key() -> impl Strategy<Value = BlsPublicKey> {
    vec(any::<u8>(), 96).prop_map(|bytes| BlsPublicKey::from_bytes(bytes.try_into().unwrap()))
}

fn bls_signature() -> impl Strategy<Value = BlsSignature> {
    vec(any::<u8>(), 48).prop_map(|bytes| BlsSignature::from_bytes(bytes.try_into().unwrap()))
}

fn number<T: std::fmt::Debug>(wrap: fn(u64) -> T) -> impl Strategy<Value = T> {
    any::<u64>().prop_map(wrap)
}

fn node() -> impl Strategy<Value = NodeId> {
    bytes(NodeId::from_bytes)
}

fn public_key() -> impl Strategy<Value = PublicKey> {
    bytes(PublicKey::from_bytes)
}

fn validator_id() -> impl Strategy<Value = ValidatorId> {
    bytes(ValidatorId::from_bytes)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    number(Epoch::new)
}

fn ppm() -> impl Strategy<Value = Ppm> {
    any::<u32>().prop_map(Ppm::new)
}

fn address() -> impl Strategy<Value = PayoutAddress> {
    any::<[u8; 20]>().prop_map(PayoutAddress::from_hash20)
}

fn signature() -> impl Strategy<Value = Signature> {
    any::<([u8; 32], [u8; 32])>().prop_map(|(r, s)| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&r);
        bytes[32..].copy_from_slice(&s);
        Signature::from_bytes(bytes)
    })
}

pub(crate) fn signed<T: SignedRecord + std::fmt::Debug>(
    record: impl Strategy<Value = T>,
) -> impl Strategy<Value = Signed<T>> {
    (public_key(), record, signature()).prop_map(|(key, record, signature)| Signed {
        signer: T::Signer::of(key),
        record,
        signature,
    })
}

fn capacity() -> impl Strategy<Value = Capacity> {
    any::<(u32, u64, u64, u64)>().prop_map(|(cores, memory_bytes, disk_bytes, bandwidth_kbit_s)| Capacity {
        cores,
        memory_bytes,
        disk_bytes,
        bandwidth_kbit_s,
    })
}

pub(crate) fn attestation() -> impl Strategy<Value = ResourceAttestation> {
    (any::<([u64; 7], [u32; 4])>(), capacity()).prop_map(|((n, p), capacity)| ResourceAttestation {
        epoch: Epoch::new(n[0]),
        sequence: n[1],
        time: UnixMillis::new(n[2]),
        uptime_s: n[3],
        cpu: Ppm::new(p[0]),
        memory: Ppm::new(p[1]),
        disk: Ppm::new(p[2]),
        network_rx_bytes_s: n[4],
        network_tx_bytes_s: n[5],
        sessions: n[6],
        capacity,
        allocation: Ppm::new(p[3]),
    })
}

pub(crate) fn probe_request() -> impl Strategy<Value = ProbeRequest> {
    (epoch(), any::<[u8; 32]>()).prop_map(|(epoch, nonce)| ProbeRequest { epoch, nonce })
}

fn deposit() -> impl Strategy<Value = DepositId> {
    (any::<u64>(), any::<[u8; 32]>()).prop_map(|(term, tag)| DepositId { term, tag: Hash::from_bytes(tag) })
}

pub(crate) fn storage_request() -> impl Strategy<Value = StorageRequest> {
    let range = (any::<u32>(), any::<u32>()).prop_map(|(index, offset)| ChunkRange { index, offset });
    let chunk = (deposit(), any::<u32>(), vec(any::<u8>(), 0..100));
    prop_oneof![
        deposit().prop_map(StorageRequest::Held),
        chunk.prop_map(|(deposit, index, chunk)| StorageRequest::Deposit { deposit, index, chunk }),
        (deposit(), vec(range, 0..70)).prop_map(|(deposit, ranges)| StorageRequest::Challenge { deposit, ranges }),
    ]
}

pub(crate) fn storage_reply() -> impl Strategy<Value = StorageReply> {
    let refusal = prop_oneof![
        Just(StorageRefusal::NotDrawn),
        Just(StorageRefusal::Full),
        Just(StorageRefusal::Busy),
        any::<u32>().prop_map(|next| StorageRefusal::OutOfOrder { next }),
        Just(StorageRefusal::Unknown),
        any::<u32>().prop_map(|index| StorageRefusal::Damaged { index }),
    ];
    prop_oneof![
        any::<u32>().prop_map(|chunks| StorageReply::Held { chunks }),
        any::<u32>().prop_map(|chunks| StorageReply::Stored { chunks }),
        vec(any::<u8>(), 0..100).prop_map(StorageReply::Ranges),
        refusal.prop_map(StorageReply::Refused),
    ]
}

pub(crate) fn probe_reply() -> impl Strategy<Value = ProbeReply> {
    (node(), probe_request()).prop_map(|(validator, ProbeRequest { epoch, nonce })| ProbeReply {
        validator,
        epoch,
        nonce,
    })
}

fn height() -> impl Strategy<Value = Height> {
    number(Height::new)
}

fn group() -> impl Strategy<Value = NetworkGroup> {
    any::<u32>().prop_map(|ip| NetworkGroup::of(std::net::Ipv4Addr::from(ip).into()))
}

fn observation() -> impl Strategy<Value = Observation> {
    (any::<([u8; 2], u16, Option<u16>)>(), option::of(group())).prop_map(|((counts, rtt, echo), group)| Observation {
        pings_sent: counts[0],
        pings_answered: counts[1],
        rtt_us: LogScale::from_code(rtt),
        echo_kbit_s: echo.map(LogScale::from_code),
        group,
    })
}

pub(crate) fn reveal() -> impl Strategy<Value = Reveal> {
    let worker = (any::<bool>(), group()).prop_map(|(has_echo, group)| AssignedWorker { has_echo, group });
    let assigned = vec((worker, option::of(observation())), 0..20);
    (epoch(), assigned, vec(option::of(any::<u16>()), 0..20), any::<[u8; 32]>()).prop_map(
        |(epoch, assigned, stored, salt)| Reveal { report: ScoreReport::new(epoch, &assigned, &stored), salt },
    )
}

pub(crate) fn commitment() -> impl Strategy<Value = ReportCommitment> {
    (epoch(), bytes(Hash::from_bytes)).prop_map(|(epoch, report)| ReportCommitment { epoch, report })
}

fn pool_id() -> impl Strategy<Value = PoolId> {
    bytes(PoolId::from_bytes)
}

fn amount() -> impl Strategy<Value = MicroUsdt> {
    number(MicroUsdt::new)
}

pub(crate) fn settlement_root() -> impl Strategy<Value = SettlementRoot> {
    let ids = (pool_id(), address(), bytes(PayoutRoot::from_bytes), option::of(address()));
    (ids, any::<([u64; 5], u32)>()).prop_map(|((pool, vault, root, leader), (n, era))| SettlementRoot {
        pool,
        settlement: n[0],
        vault,
        era,
        root,
        total: MicroUsdt::new(n[1]),
        fees: MicroUsdt::new(n[2]),
        promised: MicroUsdt::new(n[3]),
        leader,
        until: n[4],
    })
}

fn signer_set() -> impl Strategy<Value = SignerSet> {
    let signer = (node(), address()).prop_map(|(node, key_address)| TreasurySigner { node, key_address });
    (any::<u32>(), any::<u8>(), vec(signer, 0..=SignerSet::MAX)).prop_map(|(era, threshold, members)| SignerSet {
        era,
        threshold,
        members,
    })
}

fn vault_limits() -> impl Strategy<Value = VaultLimits> {
    (amount(), amount()).prop_map(|(cap, push_fee)| VaultLimits { cap, push_fee })
}

pub(crate) fn cosign_request() -> impl Strategy<Value = CosignRequest> {
    prop_oneof![
        (pool_id(), any::<u64>()).prop_map(|(pool, settlement)| CosignRequest::Root { pool, settlement }),
        (pool_id(), any::<u32>()).prop_map(|(pool, nonce)| CosignRequest::Signers { pool, nonce }),
        (pool_id(), any::<u32>()).prop_map(|(pool, nonce)| CosignRequest::Limits { pool, nonce }),
    ]
}

pub(crate) fn cosign_reply() -> impl Strategy<Value = CosignReply> {
    prop_oneof![
        Just(CosignReply::NotFinal),
        ".{0,60}".prop_map(CosignReply::Refused),
        vec(any::<u8>(), 65)
            .prop_map(|bytes| CosignReply::Signed(TreasurySignature::from_bytes(bytes.try_into().unwrap()))),
    ]
}

fn kind() -> impl Strategy<Value = VoteKind> {
    prop_oneof![Just(VoteKind::Prevote), Just(VoteKind::Precommit)]
}

fn block_hash() -> impl Strategy<Value = BlockHash> {
    bytes(BlockHash::from_bytes)
}

pub(crate) fn vote() -> impl Strategy<Value = Vote> {
    (kind(), height(), any::<u32>(), option::of(block_hash())).prop_map(|(kind, height, round, block)| Vote {
        kind,
        height,
        round,
        block,
    })
}

pub(crate) fn proposal() -> impl Strategy<Value = Proposal> {
    (height(), any::<u32>(), block_hash(), any::<Option<u32>>())
        .prop_map(|(height, round, block, pol_round)| Proposal { height, round, block, pol_round })
}

pub(crate) fn compact_proposal() -> impl Strategy<Value = CompactProposal> {
    (signed(proposal()), block()).prop_map(|(proposal, block)| CompactProposal::new(proposal, &block))
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        signed(commitment()).prop_map(Item::Commitment),
        signed(reveal()).prop_map(Item::Reveal),
        commands::command().prop_map(Item::Command),
        evidence().prop_map(Item::Evidence),
    ]
}

pub(crate) fn consensus_message() -> impl Strategy<Value = ConsensusMessage> {
    prop_oneof![
        compact_proposal().prop_map(|compact| ConsensusMessage::Proposal(Box::new(compact))),
        signed(vote()).prop_map(ConsensusMessage::Vote),
        signed(height().prop_map(|height| Wake { height })).prop_map(ConsensusMessage::Wake),
    ]
}

pub(crate) fn certificate() -> impl Strategy<Value = Certificate> {
    (height(), any::<u32>(), block_hash(), vec((validator_id(), signature()), 0..5))
        .prop_map(|(height, round, block, signatures)| Certificate { height, round, block, signatures })
}

fn round_certificate() -> impl Strategy<Value = RoundCertificate> {
    let vote = (kind(), option::of(block_hash()), validator_id(), signature())
        .prop_map(|(kind, block, voter, signature)| RoundVote { kind, block, voter, signature });
    let end = prop_oneof![Just(RoundEnd::Precommit), Just(RoundEnd::Skip)];
    (height(), any::<u32>(), end, vec(vote, 0..5)).prop_map(|(height, round, end, votes)| RoundCertificate {
        height,
        round,
        end,
        votes,
    })
}

pub(crate) fn rebroadcast() -> impl Strategy<Value = Rebroadcast> {
    let polka = certificate().prop_map(|c| PolkaCertificate {
        height: c.height,
        round: c.round,
        block: c.block,
        signatures: c.signatures,
    });
    let item = prop_oneof![
        signed(vote()).prop_map(RebroadcastItem::Vote),
        polka.prop_map(RebroadcastItem::Polka),
        round_certificate().prop_map(RebroadcastItem::Round),
    ];
    (any::<u64>(), item).prop_map(|(sequence, item)| Rebroadcast { sequence, item })
}

pub(crate) fn block() -> impl Strategy<Value = Block> {
    let head = (height(), block_hash(), any::<u32>(), validator_id(), number(UnixMillis::new), bls_signature());
    let reports = (vec(signed(commitment()), 0..4), vec(signed(reveal()), 0..4));
    let pools = (vec(commands::command(), 0..3), vec(evidence(), 0..3));
    (head, reports, pools, bytes(Hash::from_bytes), bytes(StateRoot::from_bytes)).prop_map(
        |(
            (height, parent, round, proposer, time, randao),
            (commitments, reveals),
            (commands, evidence),
            next_set,
            state_root,
        )| {
            Block {
                header: Header {
                    height,
                    parent,
                    round,
                    proposer,
                    time,
                    randao,
                    next_set,
                    state_root,
                    items: items_hash(&[]),
                },
                commitments,
                reveals,
                commands,
                evidence,
            }
            .sealed()
        },
    )
}

pub(crate) fn decided() -> impl Strategy<Value = CertifiedBlock> {
    (block(), certificate()).prop_map(|(block, certificate)| CertifiedBlock { block, certificate })
}

fn presence() -> impl Strategy<Value = Presence> {
    (any::<u64>(), any::<[u8; 16]>(), number(UnixMillis::new)).prop_map(|(boot, instance, time)| Presence {
        boot,
        instance,
        time,
    })
}

pub(crate) fn evidence() -> impl Strategy<Value = Evidence> {
    prop_oneof![
        (signed(vote()), signed(vote())).prop_map(|(first, second)| Evidence::Votes([first, second])),
        (signed(proposal()), signed(proposal())).prop_map(|(first, second)| Evidence::Proposals([first, second])),
    ]
}

pub(crate) fn sync_request() -> impl Strategy<Value = SyncRequest> {
    prop_oneof![
        Just(SyncRequest::Head),
        (height(), height(), any::<u64>()).prop_map(|(from, to, skip)| SyncRequest::Blocks { from, to, skip }),
        signed(presence()).prop_map(SyncRequest::Presence),
        (any::<u32>(), block_hash()).prop_map(|(round, block)| SyncRequest::Proposal { round, block }),
        vec(bytes(ItemId::from_bytes), 0..5).prop_map(SyncRequest::Items),
        (epoch(), vec(validator_id(), 0..5), vec(validator_id(), 0..5)).prop_map(
            |(epoch, have_commitments, have_reveals)| {
                SyncRequest::Reports { epoch, have_commitments, have_reveals }
            }
        ),
        height().prop_map(SyncRequest::Header),
        Just(SyncRequest::Snapshots),
        (height(), vec(any::<u8>(), 0..40)).prop_map(|(height, after)| SyncRequest::SnapshotRows { height, after }),
        Just(SyncRequest::Genesis),
        height().prop_map(|above| SyncRequest::SetChanges { above }),
    ]
}

pub(crate) fn sync_response() -> impl Strategy<Value = SyncResponse> {
    prop_oneof![
        (option::of(certificate()), height()).prop_map(|(newest, oldest)| SyncResponse::Head { newest, oldest }),
        vec(any::<u8>(), 0..30).prop_map(SyncResponse::Blocks),
        option::of(signed(presence())).prop_map(SyncResponse::Presence),
        option::of(compact_proposal()).prop_map(|compact| SyncResponse::Proposal(compact.map(Box::new))),
        vec(item(), 0..3).prop_map(SyncResponse::Items),
        option::of(certified_header()).prop_map(|header| SyncResponse::Header(header.map(Box::new))),
        vec(certified_header(), 0..3).prop_map(SyncResponse::Snapshots),
        option::of(snapshot_rows()).prop_map(SyncResponse::SnapshotRows),
        vec(any::<u8>(), 0..30).prop_map(SyncResponse::Genesis),
        vec(set_change(), 0..3).prop_map(SyncResponse::SetChanges),
    ]
}

fn certified_header() -> impl Strategy<Value = CertifiedHeader> {
    decided().prop_map(|decided| CertifiedHeader::from(&decided))
}

fn snapshot_rows() -> impl Strategy<Value = SnapshotRows> {
    let row = (vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..40)).prop_map(|(key, value)| SnapshotRow { key, value });
    let step = (any::<u16>(), bytes(Hash::from_bytes)).prop_map(|(bit, sibling)| ProofStep { bit, sibling });
    (vec(row, 0..4), vec(step, 0..4)).prop_map(|(rows, right)| SnapshotRows { rows, right })
}

fn split_rule() -> impl Strategy<Value = SplitRule> {
    prop_oneof![Just(SplitRule::CreditsTimesScore), Just(SplitRule::Credits), Just(SplitRule::Equal)]
}

fn set_change() -> impl Strategy<Value = SetChange> {
    let set = btree_map(node(), validator(), 1..4).prop_map(|members| {
        let member =
            |(node, validator): (NodeId, Validator)| Validator { node, power: 1 + validator.power % 9, ..validator };
        ValidatorSet::new(members.into_iter().map(member).collect()).unwrap()
    });
    (certified_header(), set).prop_map(|(block, set)| SetChange { block, set })
}

pub(crate) fn validator() -> impl Strategy<Value = Validator> {
    (node(), any::<u64>(), node(), validator_keys()).prop_map(|(node, power, operator, keys)| Validator {
        node,
        power,
        operator,
        keys,
    })
}

pub(crate) fn validator_keys() -> impl Strategy<Value = ValidatorKeys> {
    (validator_id(), signature(), bls_key(), bls_signature())
        .prop_map(|(id, proof, bls_key, bls_proof)| ValidatorKeys { id, proof, bls_key, bls_proof })
}

/// Any values, whether they can be or not.
pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    any::<[u64; 4]>().prop_map(|n| Policy {
        epoch_ms: n[0],
        settle_every: n[1],
        payout_threshold: MicroUsdt::new(n[2]),
        stamp_bits: n[3].to_le_bytes()[0],
        free_joins: u32::from(n[1].to_le_bytes()[0]),
        min_pool_members: u32::from(n[0].to_le_bytes()[0]),
        inactive_after: u32::from(n[2].to_le_bytes()[0]),
        leader_timeout_ms: n[3],
        last_settlement: (n[0] % 2 == 0).then_some(n[1]),
        one_per_network: n[2] % 2 == 0,
        ..Policy::default()
    })
}

pub(crate) fn genesis() -> impl Strategy<Value = Genesis> {
    (".{0,20}", policy(), vec(validator(), 0..4)).prop_map(|(name, policy, validators)| Genesis {
        name,
        policy,
        validators,
        ..samples::genesis()
    })
}

pub(crate) fn key_proof() -> impl Strategy<Value = KeyProof> {
    let step = (any::<u16>(), bytes(Hash::from_bytes)).prop_map(|(bit, sibling)| ProofStep { bit, sibling });
    let other = (vec(any::<u8>(), 0..80), bytes(Hash::from_bytes)).prop_map(|(key, value)| OtherLeaf { key, value });
    (vec(step, 0..30), option::of(other)).prop_map(|(steps, other)| KeyProof { steps, other })
}
