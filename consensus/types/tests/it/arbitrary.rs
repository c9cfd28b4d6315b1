//! Any value of every record, for property tests.

use lucid_types::amount::{MicroUsdt, Ppm, Sun};
use lucid_types::attestation::{Capacity, ResourceAttestation};
use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::commit::Commit;
use lucid_types::genesis::{Genesis, GenesisPool, GenesisWorker, SplitRule, Treasury, TreasurySigner};
use lucid_types::id::{
    AttemptId, BlockHash, Hash, NodeId, PayoutAddress, PayoutId, PoolId, SolidBlockId, StateRoot, TxId,
};
use lucid_types::payout::{
    CosignReply, CosignRequest, PayoutAttempt, ReceiptVote, SolidBlock, TokenFlags, TreasurySignature, TreasuryView,
    Verdict,
};
use lucid_types::policy::Policy;
use lucid_types::report::{Observation, ProbeReply, ProbeRequest, Reveal, ScoreReport};
use lucid_types::signed::{Signature, Signed};
use lucid_types::sync::{
    Decided, Liveness, LivenessMessage, PolkaCertificate, RoundCertificate, RoundEnd, RoundVote, SyncRequest,
    SyncResponse,
};
use lucid_types::time::{EpochNumber, UnixMillis};
use lucid_types::validator::Validator;
use lucid_types::vote::{ConsensusMessage, Proposal, Vote, VoteKind};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::samples;

fn bytes<T: std::fmt::Debug>(wrap: fn([u8; 32]) -> T) -> impl Strategy<Value = T> {
    any::<[u8; 32]>().prop_map(wrap)
}

fn number<T: std::fmt::Debug>(wrap: fn(u64) -> T) -> impl Strategy<Value = T> {
    any::<u64>().prop_map(wrap)
}

fn node() -> impl Strategy<Value = NodeId> {
    bytes(NodeId::from_bytes)
}

fn epoch() -> impl Strategy<Value = EpochNumber> {
    number(EpochNumber::new)
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

pub(crate) fn signed<T: std::fmt::Debug>(record: impl Strategy<Value = T>) -> impl Strategy<Value = Signed<T>> {
    (node(), record, signature()).prop_map(|(signer, record, signature)| Signed { signer, record, signature })
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
        epoch: EpochNumber::new(n[0]),
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

pub(crate) fn probe_reply() -> impl Strategy<Value = ProbeReply> {
    (node(), probe_request()).prop_map(|(validator, ProbeRequest { epoch, nonce })| ProbeReply {
        validator,
        epoch,
        nonce,
    })
}

fn observation() -> impl Strategy<Value = Observation> {
    (node(), any::<([u32; 6], [u64; 3])>(), option::of(bytes(Hash::from_bytes)), capacity(), ppm()).prop_map(
        |(worker, (a, b), attestation, capacity, allocation)| Observation {
            worker,
            beacons_sent: a[0],
            beacons_answered: a[1],
            rtt_us: a[2],
            relays_sent: a[3],
            relays_verified: a[4],
            relay_bytes: b[0],
            relay_kbit_s: b[1],
            chunks_proved: a[5],
            storage_bytes: b[2],
            attestation,
            capacity,
            allocation,
        },
    )
}

pub(crate) fn reveal() -> impl Strategy<Value = Reveal> {
    (epoch(), vec(observation(), 0..5), any::<[u8; 32]>())
        .prop_map(|(epoch, observations, salt)| Reveal { report: ScoreReport { epoch, observations }, salt })
}

fn solid() -> impl Strategy<Value = SolidBlock> {
    (any::<u64>(), bytes(SolidBlockId::from_bytes), number(UnixMillis::new)).prop_map(|(number, id, time)| SolidBlock {
        number,
        id,
        time,
    })
}

fn treasury_view() -> impl Strategy<Value = TreasuryView> {
    (bytes(PoolId::from_bytes), any::<([u64; 3], [bool; 5])>()).prop_map(|(pool, (n, f))| TreasuryView {
        pool,
        usdt: MicroUsdt::new(n[0]),
        trx: Sun::new(n[1]),
        energy_price: Sun::new(n[2]),
        flags: TokenFlags { paused: f[0], deprecated: f[1], fee: f[2], treasury_blacklisted: f[3] },
        permission_matches: f[4],
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    (0..4u8, any::<([u8; 32], [u64; 3])>()).prop_map(|(kind, (id, n))| {
        let (tx_id, block, fee) = (TxId::from_bytes(id), n[0], Sun::new(n[1]));
        match kind {
            0 => Verdict::Paid { tx_id, block, fee },
            1 => Verdict::PaidUnexpected { tx_id, block, fee, received: MicroUsdt::new(n[2]) },
            2 => Verdict::Failed { tx_id, block, fee },
            _ => Verdict::Dead,
        }
    })
}

fn receipt() -> impl Strategy<Value = ReceiptVote> {
    (bytes(PayoutId::from_bytes), any::<u32>(), verdict()).prop_map(|(payout, attempt, verdict)| ReceiptVote {
        payout,
        attempt,
        verdict,
    })
}

pub(crate) fn commit() -> impl Strategy<Value = Commit> {
    let lists = (vec(solid(), 0..3), vec(treasury_view(), 0..3), vec(receipt(), 0..5));
    (epoch(), bytes(Hash::from_bytes), number(UnixMillis::new), lists).prop_map(
        |(epoch, report, time, (solid, treasuries, receipts))| Commit {
            epoch,
            report,
            time,
            solid,
            treasuries,
            receipts,
        },
    )
}

pub(crate) fn attempt() -> impl Strategy<Value = PayoutAttempt> {
    (any::<([[u8; 32]; 4], [u64; 4], [u32; 2])>(), [address(), address(), address()], solid()).prop_map(
        |((ids, n, m), [to, treasury, token], reference)| PayoutAttempt {
            payout: PayoutId::from_bytes(ids[0]),
            attempt: m[0],
            id: AttemptId::from_bytes(ids[1]),
            pool: PoolId::from_bytes(ids[2]),
            settlement: n[0],
            worker: NodeId::from_bytes(ids[3]),
            to,
            amount: MicroUsdt::new(n[1]),
            treasury,
            token,
            permission_id: m[1],
            reference,
            expiration: UnixMillis::new(n[2]),
            fee_limit: Sun::new(n[3]),
        },
    )
}

pub(crate) fn cosign_request() -> impl Strategy<Value = CosignRequest> {
    (bytes(PayoutId::from_bytes), any::<u32>()).prop_map(|(payout, attempt)| CosignRequest { payout, attempt })
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
    (kind(), epoch(), any::<u32>(), option::of(block_hash())).prop_map(|(kind, height, round, block)| Vote {
        kind,
        height,
        round,
        block,
    })
}

pub(crate) fn proposal() -> impl Strategy<Value = Proposal> {
    (epoch(), any::<u32>(), block_hash(), any::<Option<u32>>()).prop_map(|(height, round, block, pol_round)| Proposal {
        height,
        round,
        block,
        pol_round,
    })
}

pub(crate) fn consensus_message() -> impl Strategy<Value = ConsensusMessage> {
    prop_oneof![
        signed(proposal()).prop_map(ConsensusMessage::Proposal),
        signed(vote()).prop_map(ConsensusMessage::Vote),
    ]
}

pub(crate) fn certificate() -> impl Strategy<Value = Certificate> {
    (epoch(), any::<u32>(), block_hash(), vec((node(), signature()), 0..5))
        .prop_map(|(height, round, block, signatures)| Certificate { height, round, block, signatures })
}

fn round_certificate() -> impl Strategy<Value = RoundCertificate> {
    let vote = (kind(), option::of(block_hash()), node(), signature())
        .prop_map(|(kind, block, voter, signature)| RoundVote { kind, block, voter, signature });
    let end = prop_oneof![Just(RoundEnd::Precommit), Just(RoundEnd::Skip)];
    (epoch(), any::<u32>(), end, vec(vote, 0..5)).prop_map(|(height, round, end, votes)| RoundCertificate {
        height,
        round,
        end,
        votes,
    })
}

pub(crate) fn liveness() -> impl Strategy<Value = LivenessMessage> {
    let polka = certificate().prop_map(|c| PolkaCertificate {
        height: c.height,
        round: c.round,
        block: c.block,
        signatures: c.signatures,
    });
    let item = prop_oneof![
        signed(vote()).prop_map(Liveness::Vote),
        polka.prop_map(Liveness::Polka),
        round_certificate().prop_map(Liveness::Round),
    ];
    (any::<u64>(), item).prop_map(|(sequence, item)| LivenessMessage { sequence, item })
}

pub(crate) fn block() -> impl Strategy<Value = Block> {
    let head = (epoch(), block_hash(), node(), number(UnixMillis::new));
    let lists = (vec(signed(commit()), 0..4), vec(signed(reveal()), 0..4));
    (head, lists, bytes(Hash::from_bytes), bytes(StateRoot::from_bytes)).prop_map(
        |((height, parent, proposer, time), (commits, reveals), next_set, state_root)| Block {
            height,
            parent,
            proposer,
            time,
            commits,
            reveals,
            next_set,
            state_root,
        },
    )
}

pub(crate) fn decided() -> impl Strategy<Value = Decided> {
    (block(), certificate()).prop_map(|(block, certificate)| Decided { block, certificate })
}

pub(crate) fn sync_request() -> impl Strategy<Value = SyncRequest> {
    prop_oneof![
        Just(SyncRequest::Tip),
        (epoch(), epoch()).prop_map(|(from, to)| SyncRequest::Blocks { from, to }),
        (epoch(), block_hash()).prop_map(|(height, block)| SyncRequest::Body { height, block }),
        (epoch(), vec(node(), 0..5), vec(node(), 0..5)).prop_map(|(epoch, have_commits, have_reveals)| {
            SyncRequest::Reports { epoch, have_commits, have_reveals }
        }),
    ]
}

pub(crate) fn sync_response() -> impl Strategy<Value = SyncResponse> {
    prop_oneof![
        (epoch(), block_hash()).prop_map(|(height, block)| SyncResponse::Tip { height, block }),
        vec(decided(), 0..3).prop_map(SyncResponse::Blocks),
        option::of(block()).prop_map(SyncResponse::Body),
        (vec(signed(commit()), 0..3), vec(signed(reveal()), 0..3))
            .prop_map(|(commits, reveals)| SyncResponse::Reports { commits, reveals }),
    ]
}

fn worker() -> impl Strategy<Value = GenesisWorker> {
    (node(), node(), address(), any::<bool>(), capacity()).prop_map(
        |(node, operator, payout_address, can_lead, capacity)| GenesisWorker {
            node,
            operator,
            payout_address,
            can_lead,
            capacity,
        },
    )
}

fn pool() -> impl Strategy<Value = GenesisPool> {
    let split = prop_oneof![Just(SplitRule::CreditsTimesScore), Just(SplitRule::Credits), Just(SplitRule::Equal)];
    let signer = (node(), address()).prop_map(|(node, key_address)| TreasurySigner { node, key_address });
    let treasury = (address(), any::<u32>(), any::<u32>(), vec(signer, 0..5)).prop_map(
        |(address, permission_id, threshold, signers)| Treasury { address, permission_id, threshold, signers },
    );
    let people = (".{0,20}", node(), vec(node(), 0..5));
    (people, number(MicroUsdt::new), split, ppm(), address(), treasury).prop_map(
        |((name, owner, members), budget, split, commission, commission_address, treasury)| GenesisPool {
            name,
            owner,
            members,
            budget,
            split,
            commission,
            commission_address,
            treasury,
        },
    )
}

pub(crate) fn genesis() -> impl Strategy<Value = Genesis> {
    let validator =
        (node(), any::<u64>(), node()).prop_map(|(node, power, operator)| Validator { node, power, operator });
    let policy = any::<[u64; 4]>().prop_map(|n| Policy {
        epoch_ms: n[0],
        settle_every: n[1],
        payout_threshold: MicroUsdt::new(n[2]),
        fee_limit_cap: Sun::new(n[3]),
        ..Policy::default()
    });
    (".{0,20}", policy, vec(validator, 0..4), vec(worker(), 0..4), vec(pool(), 0..3)).prop_map(
        |(name, policy, validators, workers, pools)| Genesis {
            name,
            policy,
            validators,
            workers,
            pools,
            ..samples::genesis()
        },
    )
}
