//! Carries out the core's effects: signs, verifies, keeps timers, and collects what must be done outside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lucid_types::id::NetworkId;
use lucid_types::time::{Height, UnixMillis};
use lucid_types::validator_key::ValidatorKey;
use malachitebft_core_consensus::{
    ConsensusMsg, Effect, Error, Input, LivenessMsg, Resumable, Resume, SignedConsensusMsg,
};
use malachitebft_core_types::{CertificateError, SignedMessage, Timeout, TimeoutKind, Timeouts};
use malachitebft_signing::{Verifier, VerifierExt};

use crate::chain_spec::ChainSpec;
use crate::engine::Output;
use crate::engine::context::{LucidContext, Proposal, StepTimeouts, Vote};
use crate::engine::convert::{
    EngineSigned, certificate, proposal_record, rebroadcast, signed_proposal, signed_vote, vote_record,
};
use crate::engine::signing::{NetworkVerifier, poll_once};
use crate::engine::wal::WalEntry;
use crate::rules::Rules;

/// Rounds and kinds: `Timeout` itself has no order.
type TimerKey = (u32, u8);

pub(crate) struct Host {
    key: ValidatorKey,
    network: NetworkId,
    verifier: NetworkVerifier,
    timeouts: StepTimeouts,
    rules: &'static dyn Rules,
    now: UnixMillis,
    height: Height,
    /// The entries that are in the log while it is replayed, by their bytes; `None` at other times.
    replayed: Option<BTreeSet<Vec<u8>>>,
    unsynced: bool,
    timers: BTreeMap<TimerKey, (UnixMillis, Timeout)>,
    outputs: Vec<Output>,
    failure: Option<String>,
}

impl Host {
    pub(crate) fn new(spec: &ChainSpec, key: ValidatorKey) -> Self {
        let network = *spec.id();
        Self {
            key,
            network,
            verifier: NetworkVerifier(network),
            timeouts: StepTimeouts::of(&spec.fixed()),
            rules: spec.rules(),
            now: UnixMillis::ZERO,
            height: Height::ZERO,
            replayed: None,
            unsynced: false,
            timers: BTreeMap::new(),
            outputs: Vec::new(),
            failure: None,
        }
    }

    pub(crate) const fn set_now(&mut self, now: UnixMillis) {
        self.now = now;
    }

    pub(crate) fn begin_height(&mut self, height: Height, log: &[WalEntry]) {
        self.height = height;
        self.replayed = Some(log.iter().map(WalEntry::encode).collect());
        self.unsynced = false;
    }

    pub(crate) fn end_replay(&mut self) {
        self.replayed = None;
    }

    /// Nothing after a failure: what leaves then may contradict what has left.
    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        let outputs = std::mem::take(&mut self.outputs);
        if self.failure.is_none() { outputs } else { Vec::new() }
    }

    pub(crate) fn failed(&mut self, error: String) {
        self.failure.get_or_insert(error);
    }

    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(crate) fn next_timeout(&self) -> Option<UnixMillis> {
        self.timers.values().map(|(at, _)| *at).min()
    }

    pub(crate) fn shift_timeouts(&mut self, back: Duration) {
        self.timers.values_mut().for_each(|(at, _)| *at = at.before(back));
    }

    /// Whether the proposal of a round is waited for.
    pub(crate) fn awaits_proposal(&self, round: u32) -> bool {
        let is_it = |timeout: &Timeout| timeout.kind == TimeoutKind::Propose && timeout.round.as_u32() == Some(round);
        self.timers.values().any(|(_, timeout)| is_it(timeout))
    }

    /// Removes and returns a timer that is due.
    pub(crate) fn take_due(&mut self, now: UnixMillis) -> Option<Timeout> {
        let (key, _) = self.timers.iter().find(|(_, (at, _))| *at <= now)?;
        let key = *key;
        self.timers.remove(&key).map(|(_, timeout)| timeout)
    }

    /// Never an error: an error would end the core's handling of its input half-way.
    #[expect(clippy::unnecessary_wraps, clippy::result_large_err, reason = "the core's macro wants this Result")]
    pub(crate) fn handle(&mut self, effect: Effect<LucidContext>) -> Result<Resume<LucidContext>, Error<LucidContext>> {
        Ok(match effect {
            Effect::CancelAllTimeouts(r) => {
                self.timers.clear();
                r.resume_with(())
            }
            Effect::CancelTimeout(timeout, r) => {
                self.timers.retain(|_, (_, other)| *other != timeout);
                r.resume_with(())
            }
            Effect::ScheduleTimeout(timeout, r) => {
                self.schedule(timeout);
                r.resume_with(())
            }
            Effect::StartRound(_, _, _, _, r) => {
                self.sync();
                r.resume_with(())
            }
            Effect::PublishConsensusMsg(message, r) => {
                self.publish(&message);
                r.resume_with(())
            }
            Effect::PublishLivenessMsg(message, r) => {
                self.rebroadcast(&message);
                r.resume_with(())
            }
            Effect::RepublishVote(vote, r) => {
                self.rebroadcast(&LivenessMsg::Vote(vote));
                r.resume_with(())
            }
            Effect::RepublishRoundCertificate(certificate, r) => {
                self.rebroadcast(&LivenessMsg::SkipRoundCertificate(certificate));
                r.resume_with(())
            }
            Effect::GetValue(_, round, _, r) => {
                self.outputs.extend(round.as_u32().map(|round| Output::Build { round }));
                r.resume_with(())
            }
            // A proposal is always sent with the header and the items of its block.
            Effect::RestreamProposal(_, _, _, _, _, r) => r.resume_with(()),
            Effect::SignVote(vote, r) => r.resume_with(self.sign_vote(vote)),
            Effect::SignProposal(proposal, r) => r.resume_with(self.sign_proposal(proposal)),
            Effect::VerifySignature(message, key, r) => {
                let valid = poll_once(async {
                    match &message.message {
                        ConsensusMsg::Vote(vote) => {
                            self.verifier.verify_signed_vote(vote, &message.signature, &key).await
                        }
                        ConsensusMsg::Proposal(proposal) => {
                            self.verifier.verify_signed_proposal(proposal, &message.signature, &key).await
                        }
                    }
                });
                r.resume_with(valid.is_some_and(|result| result.is_ok_and(|valid| valid.is_valid())))
            }
            Effect::VerifyCommitCertificate(c, set, thresholds, r) => {
                r.resume_with(verdict(self.verifier.verify_commit_certificate(&LucidContext, &c, &set, thresholds)))
            }
            Effect::VerifyExtendedCommitCertificate(c, set, thresholds, policy, r) => r.resume_with(verdict(
                self.verifier.verify_extended_commit_certificate(&LucidContext, &c, &set, thresholds, policy),
            )),
            Effect::VerifyPolkaCertificate(c, set, thresholds, r) => {
                r.resume_with(verdict(self.verifier.verify_polka_certificate(&LucidContext, &c, &set, thresholds)))
            }
            Effect::VerifyRoundCertificate(c, set, thresholds, r) => {
                r.resume_with(verdict(self.verifier.verify_round_certificate(&LucidContext, &c, &set, thresholds)))
            }
            Effect::WalAppend(height, input, r) => {
                self.append(height.0, &input);
                r.resume_with(())
            }
            Effect::Decide(decided, _, r) => {
                self.outputs.extend(certificate(&decided).map(Output::Decided));
                r.resume_with(())
            }
            // Evidence is made from signed messages as they come, not from what the core happens to keep.
            Effect::Finalize(_, _, _, r) => r.resume_with(()),
            // The replica adopts certified blocks itself: the core is never given a sync value.
            Effect::CertVerifiedSyncValue(_, _, r) | Effect::CertRejectedSyncValue(_, _, _, r) => r.resume_with(()),
            Effect::ExtendVote(_, _, _, _, r) => r.resume_with(None),
            Effect::VerifyVoteExtension(_, _, _, _, _, _, r) => r.resume_with(Ok(())),
        })
    }

    /// Logs an input. In a replay, only what the log does not hold: what the node was about to do when it crashed is
    /// done now, and must not be forgotten if it crashes again.
    fn append(&mut self, height: Height, input: &Input<LucidContext>) {
        let Some(entry) = WalEntry::from_input(input).filter(|_| height == self.height) else { return };
        if self.replayed.as_ref().is_some_and(|log| log.contains(&entry.encode())) {
            return;
        }
        self.outputs.push(Output::Append(entry));
        self.unsynced = true;
    }

    fn schedule(&mut self, timeout: Timeout) {
        let Some(round) = timeout.round.as_u32() else { return };
        let kind = match timeout.kind {
            TimeoutKind::Propose => 0,
            TimeoutKind::Prevote => 1,
            TimeoutKind::Precommit => 2,
            TimeoutKind::Rebroadcast => 3,
            TimeoutKind::FinalizeHeight(_) => 4,
        };
        let at = self.now.after(Timeouts::<LucidContext>::duration_for(&self.timeouts, timeout));
        self.timers.insert((round, kind), (at, timeout));
    }

    /// The log must be durable before a new signature leaves.
    fn sync(&mut self) {
        if self.unsynced && self.rules.syncs_before_signing() {
            self.unsynced = false;
            self.outputs.push(Output::Sync);
        }
    }

    fn publish(&mut self, message: &SignedConsensusMsg<LucidContext>) {
        self.sync();
        self.outputs.extend(match message {
            SignedConsensusMsg::Vote(vote) => signed_vote(&vote.message, vote.signature).map(Output::Vote),
            SignedConsensusMsg::Proposal(proposal) => {
                signed_proposal(&proposal.message, proposal.signature).map(Output::Proposal)
            }
        });
    }

    fn rebroadcast(&mut self, message: &LivenessMsg<LucidContext>) {
        self.sync();
        self.outputs.extend(rebroadcast(message).map(Output::Rebroadcast));
    }

    fn sign_vote(&self, vote: Vote) -> EngineSigned<Vote> {
        match vote_record(&vote) {
            Some(record) => {
                let signature = self.key.sign_vote(&self.network, record).signature;
                SignedMessage::new(vote, signature)
            }
            // The core signs only votes with a round; a signature of zeros is valid for nothing.
            None => SignedMessage::new(vote, lucid_types::signed::Signature::from_bytes([0; 64])),
        }
    }

    fn sign_proposal(&self, proposal: Proposal) -> EngineSigned<Proposal> {
        match proposal_record(&proposal) {
            Some(record) => {
                let signature = self.key.sign_proposal(&self.network, record).signature;
                SignedMessage::new(proposal, signature)
            }
            None => SignedMessage::new(proposal, lucid_types::signed::Signature::from_bytes([0; 64])),
        }
    }
}

#[expect(clippy::result_large_err, reason = "the core's own type")]
fn verdict(
    check: impl Future<Output = Result<(), CertificateError<LucidContext>>>,
) -> Result<(), CertificateError<LucidContext>> {
    poll_once(check).unwrap_or(Err(CertificateError::VerificationError(None)))
}
