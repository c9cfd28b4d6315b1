//! Between the engine's types and the wire.

use lucid_types::certificate::Certificate;
use lucid_types::signed::{Signature, Signed};
use lucid_types::sync::{PolkaCertificate, RebroadcastItem, RoundCertificate, RoundEnd, RoundVote};
use lucid_types::vote::{self as wire, VoteKind};
use malachitebft_core_consensus::LivenessMsg;
use malachitebft_core_types::{
    CommitCertificate, NilOrVal, PolkaCertificate as EnginePolka, PolkaSignature, Round,
    RoundCertificate as EngineRoundCertificate, RoundCertificateType, RoundSignature, SignedMessage, VoteType,
};

use crate::engine::context::{Address, Height, LucidContext, Proposal, ValueId, Vote, vote_type};

pub(crate) type EngineSigned<T> = SignedMessage<LucidContext, T>;

pub(crate) const fn engine_kind(kind: VoteKind) -> VoteType {
    match kind {
        VoteKind::Prevote => VoteType::Prevote,
        VoteKind::Precommit => VoteType::Precommit,
    }
}

const fn vote_kind(kind: VoteType) -> VoteKind {
    match kind {
        VoteType::Prevote => VoteKind::Prevote,
        VoteType::Precommit => VoteKind::Precommit,
    }
}

fn block(value: NilOrVal<ValueId>) -> Option<lucid_types::id::BlockHash> {
    match value {
        NilOrVal::Nil => None,
        NilOrVal::Val(id) => Some(id.0),
    }
}

fn value(block: Option<lucid_types::id::BlockHash>) -> NilOrVal<ValueId> {
    block.map_or(NilOrVal::Nil, |hash| NilOrVal::Val(ValueId(hash)))
}

/// The record that a vote's signature covers; `None` for a vote without a round, which nobody signs.
pub(crate) fn vote_record(vote: &Vote) -> Option<wire::Vote> {
    Some(wire::Vote {
        kind: vote_kind(vote.kind),
        height: vote.height.0,
        round: vote.round.as_u32()?,
        block: block(vote.value),
    })
}

/// The record that a proposal's signature covers; `None` for a proposal without a round.
pub(crate) fn proposal_record(proposal: &Proposal) -> Option<wire::Proposal> {
    Some(wire::Proposal {
        height: proposal.height.0,
        round: proposal.round.as_u32()?,
        block: proposal.value.0,
        pol_round: proposal.pol_round.as_u32(),
    })
}

pub(crate) fn signed_vote(vote: &Vote, signature: Signature) -> Option<Signed<wire::Vote>> {
    Some(Signed { signer: vote.voter.0, record: vote_record(vote)?, signature })
}

pub(crate) fn signed_proposal(proposal: &Proposal, signature: Signature) -> Option<Signed<wire::Proposal>> {
    Some(Signed { signer: proposal.proposer.0, record: proposal_record(proposal)?, signature })
}

pub(crate) fn engine_vote(signed: &Signed<wire::Vote>) -> EngineSigned<Vote> {
    let wire::Vote { kind, height, round, block } = signed.record;
    let vote = Vote {
        kind: vote_type(kind),
        height: Height(height),
        round: Round::new(round),
        value: value(block),
        voter: Address(signed.signer),
    };
    SignedMessage::new(vote, signed.signature)
}

pub(crate) fn engine_proposal(signed: &Signed<wire::Proposal>) -> EngineSigned<Proposal> {
    let wire::Proposal { height, round, block, pol_round } = signed.record;
    let proposal = Proposal {
        height: Height(height),
        round: Round::new(round),
        value: ValueId(block),
        pol_round: Round::from(pol_round),
        proposer: Address(signed.signer),
    };
    SignedMessage::new(proposal, signed.signature)
}

pub(crate) fn certificate(from: &CommitCertificate<LucidContext>) -> Option<Certificate> {
    let signatures = from.commit_signatures.iter().map(|commitment| (commitment.address.0, commitment.signature));
    let mut signatures: Vec<_> = signatures.collect();
    signatures.sort_unstable();
    Some(Certificate { height: from.height.0, round: from.round.as_u32()?, block: from.value_id.0, signatures })
}

pub(crate) fn polka(from: &EnginePolka<LucidContext>) -> Option<PolkaCertificate> {
    let signatures = from.polka_signatures.iter().map(|prevote| (prevote.address.0, prevote.signature)).collect();
    Some(PolkaCertificate { height: from.height.0, round: from.round.as_u32()?, block: from.value_id.0, signatures })
}

pub(crate) fn engine_polka(from: &PolkaCertificate) -> EnginePolka<LucidContext> {
    let signature = |(node, signature): &(_, _)| PolkaSignature::new(Address(*node), *signature);
    EnginePolka {
        height: Height(from.height),
        round: Round::new(from.round),
        value_id: ValueId(from.block),
        polka_signatures: from.signatures.iter().map(signature).collect(),
    }
}

pub(crate) fn round_certificate(from: &EngineRoundCertificate<LucidContext>) -> Option<RoundCertificate> {
    let end = match from.cert_type {
        RoundCertificateType::Skip => RoundEnd::Skip,
        RoundCertificateType::Precommit => RoundEnd::Precommit,
    };
    let vote = |vote: &RoundSignature<LucidContext>| RoundVote {
        kind: vote_kind(vote.vote_type),
        block: block(vote.value_id),
        voter: vote.address.0,
        signature: vote.signature,
    };
    let votes = from.round_signatures.iter().map(vote).collect();
    Some(RoundCertificate { height: from.height.0, round: from.round.as_u32()?, end, votes })
}

pub(crate) fn engine_round_certificate(from: &RoundCertificate) -> EngineRoundCertificate<LucidContext> {
    let cert_type = match from.end {
        RoundEnd::Skip => RoundCertificateType::Skip,
        RoundEnd::Precommit => RoundCertificateType::Precommit,
    };
    let signature = |vote: &RoundVote| {
        RoundSignature::new(vote_type(vote.kind), value(vote.block), Address(vote.voter), vote.signature)
    };
    EngineRoundCertificate {
        height: Height(from.height),
        round: Round::new(from.round),
        cert_type,
        round_signatures: from.votes.iter().map(signature).collect(),
    }
}

pub(crate) fn rebroadcast(from: &LivenessMsg<LucidContext>) -> Option<RebroadcastItem> {
    Some(match from {
        LivenessMsg::Vote(vote) => RebroadcastItem::Vote(signed_vote(&vote.message, vote.signature)?),
        LivenessMsg::PolkaCertificate(certificate) => RebroadcastItem::Polka(polka(certificate)?),
        LivenessMsg::SkipRoundCertificate(certificate) => RebroadcastItem::Round(round_certificate(certificate)?),
    })
}
