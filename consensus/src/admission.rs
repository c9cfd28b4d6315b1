//! Which messages of others may be used or passed on: pure functions of the message and the newest state, cheapest rules first,
//! signatures last. Gossip and answers to questions go through the same.
//!
//! A message is *rejected* if an honest node that follows these rules cannot have sent it: its sender is to blame. What may only be
//! late, early, or of a set or version that this node does not know is *ignored*.

use lucid_types::certificate::Certificate;
use lucid_types::codec::{DecodeError, Wire, decode, encode};
use lucid_types::evidence::{Evidence, EvidenceError};
use lucid_types::id::{NetworkId, NodeId, PublicKey, ValidatorId};
use lucid_types::message::{CompactProposal, ProposalError};
use lucid_types::report::{ReportCommitment, Reveal};
use lucid_types::signed::{Signed, SignedRecord, Verified};
use lucid_types::sync::{CertifiedBlock, Rebroadcast, RebroadcastItem};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::validator_sets::ValidatorSets;
use lucid_types::vote::{Proposal, Vote, Wake};

use crate::chain_spec::ChainSpec;
use crate::commands::admit;
use crate::ledger::check::check_evidence;
use crate::ledger::command::{CommandRefused, SignedCommand};
use crate::ledger::state::{Rows, State};
use crate::ledger::table::Draws;
use crate::replica::Input;
use crate::reports::{awaits_commitment, awaits_reveal, is_reporter};

/// How many heights beyond the newest block's messages of the rounds are taken of: the one under way, and one more for peers that
/// are a block ahead.
const HEIGHTS_AHEAD: u64 = 2;

/// Why a message does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody is to blame.
    Ignore(&'static str),
    /// Its sender is.
    Reject(&'static str),
}

use Refusal::{Ignore, Reject};

/// Reads a message. One of a kind that this version does not know, and a later one may have, is ignored: upgrades must not part
/// peers.
///
/// # Errors
/// The bytes are no message of this type.
pub fn parse<T: Wire>(bytes: &[u8]) -> Result<T, Refusal> {
    decode(bytes).map_err(|error| match error {
        DecodeError::UnknownVariant => Ignore("unknown-kind"),
        _ => Reject("malformed"),
    })
}

/// The decided block of this height, whose validators are among these.
///
/// # Errors
/// Why it does not pass.
pub fn decided(
    network: &NetworkId,
    sets: &ValidatorSets,
    height: Height,
    decided: CertifiedBlock,
) -> Result<Verified<CertifiedBlock>, Refusal> {
    if decided.block.header.height != height {
        return Err(Reject("height"));
    }
    let set = sets.at(height).ok_or(Ignore("unknown-set"))?;
    decided.verify(network, set).map_err(|_| Reject("certificate"))
}

/// What a message is judged by.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The network.
    pub spec: &'a ChainSpec,
    /// The state after the newest block.
    pub state: &'a State,
}

impl View<'_> {
    /// Whether a height is one of those that are being decided.
    fn near(&self, height: Height) -> Result<(), Refusal> {
        match height.get().checked_sub(self.state.height().get()) {
            None | Some(0) => Err(Ignore("stale")),
            Some(distance) if distance > HEIGHTS_AHEAD => Err(Ignore("future")),
            Some(_) => Ok(()),
        }
    }

    fn member(&self, height: Height, key: &ValidatorId) -> Result<(), Refusal> {
        self.state.validators(height).and_then(|set| set.get(key)).map(|_| ()).ok_or(Ignore("unknown-signer"))
    }

    fn signature<T: SignedRecord>(&self, signed: Signed<T>) -> Result<Verified<Signed<T>>, Refusal> {
        signed.verify(self.spec.id()).map_err(|_| Reject("signature"))
    }

    /// A proposal: of its round's proposer, of a block that was built in that round, or before the proof-of-lock under which it is
    /// proposed again.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn proposal(&self, compact: CompactProposal) -> Result<Verified<CompactProposal>, Refusal> {
        let Proposal { height, round, pol_round, .. } = compact.proposal.record;
        self.near(height)?;
        self.member(height, &compact.proposal.signer)?;
        let proposers = self.state.proposers(height).ok_or(Ignore("future"))?;
        let rules = self.spec.rules();
        if !rules.is_turn(proposers, round, &compact.proposal.signer) {
            return Err(Reject("proposer"));
        }
        let built = compact.header.round;
        let is_possible = pol_round.map_or(built == round, |pol| pol < round && built <= pol);
        if !is_possible {
            return Err(Reject("proof-of-lock"));
        }
        if compact.header.height != height || !rules.is_turn(proposers, built, &compact.header.proposer) {
            return Err(Reject("header"));
        }
        compact.verify(self.spec.id()).map_err(|error| match error {
            ProposalError::Signature(_) => Reject("signature"),
            _ => Reject("proposal"),
        })
    }

    /// Whom to ask for what a proposal names: the account of the peer that brought it, or its proposer's if that peer has none.
    ///
    /// # Errors
    /// Neither has an account.
    pub fn bearer(&self, peer: &PublicKey, proposal: &CompactProposal) -> Result<NodeId, Refusal> {
        let proposer = || self.state.validator_account(&proposal.proposal.signer);
        self.state.account_of(peer).or_else(proposer).ok_or(Ignore("not-a-validator"))
    }

    /// A vote of a validator.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn vote(&self, vote: Signed<Vote>) -> Result<Verified<Signed<Vote>>, Refusal> {
        self.near(vote.record.height)?;
        self.member(vote.record.height, &vote.signer)?;
        self.signature(vote)
    }

    /// A validator's reason to start a height.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn wake(&self, wake: Signed<Wake>) -> Result<Verified<Signed<Wake>>, Refusal> {
        self.near(wake.record.height)?;
        self.member(wake.record.height, &wake.signer)?;
        self.signature(wake)
    }

    /// A validator's rebroadcast of something of the height under way. A repeated vote is a vote.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn rebroadcast(&self, message: Signed<Rebroadcast>) -> Result<Input, Refusal> {
        let height = message.record.item.height();
        self.near(height)?;
        if height != self.state.height().next() {
            return Err(Ignore("future"));
        }
        self.member(height, &message.signer)?;
        let verified = self.signature(message)?;
        match &verified.record.item {
            RebroadcastItem::Vote(vote) => self.vote(vote.clone()).map(Input::Vote),
            RebroadcastItem::Polka(_) | RebroadcastItem::Round(_) => Ok(Input::Proof(verified)),
        }
    }

    /// Proof of a decision that this node does not know. `sets` are the validators as far as they are known: those of a height that is far
    /// ahead may be others, so a certificate of strangers is nobody's fault.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn certificate(
        &self,
        sets: &ValidatorSets,
        certificate: Certificate,
    ) -> Result<Verified<Certificate>, Refusal> {
        let height = certificate.height;
        if height <= self.state.height() {
            return Err(Ignore("stale"));
        }
        let (set, refusal) = match self.state.validators(height) {
            Some(set) => (set, Reject("certificate")),
            // They may be others by then.
            None => (&**sets.at(height).ok_or(Ignore("unknown-set"))?, Ignore("unknown-set")),
        };
        certificate.verify(self.spec.id(), set).map_err(|_| refusal)
    }

    /// Evidence of equivocation against a validator against whom no block holds any.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn evidence(&self, evidence: Evidence) -> Result<Verified<Evidence>, Refusal> {
        if evidence.height() > self.state.height().next() {
            return Err(Ignore("future"));
        }
        self.member(evidence.height(), &evidence.validator())?;
        check_evidence(self.spec, self.state, &evidence).map_err(|_| Ignore("stale"))?;
        evidence.verify(self.spec.id()).map_err(|error| match error {
            EvidenceError::Signature(_) => Reject("signature"),
            EvidenceError::OtherStep | EvidenceError::Order => Reject("evidence"),
        })
    }

    /// A validator's commitment to its report of an epoch whose window is open, or may be on a peer.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn commitment(&self, signed: Signed<ReportCommitment>) -> Result<Verified<Signed<ReportCommitment>>, Refusal> {
        self.report(signed.record.epoch, &signed.signer, awaits_commitment)?;
        self.signature(signed)
    }

    /// A validator's reveal that is due.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn reveal(&self, signed: Signed<Reveal>) -> Result<Verified<Signed<Reveal>>, Refusal> {
        self.report(signed.record.report.epoch, &signed.signer, awaits_reveal)?;
        // Inside another message, only that one's limit has bounded it.
        if encode(&signed).len() > Signed::<Reveal>::MAX_BYTES {
            return Err(Reject("malformed"));
        }
        self.signature(signed)
    }

    fn report(
        &self,
        epoch: Epoch,
        signer: &ValidatorId,
        is_awaited: fn(&ChainSpec, &State, (Epoch, ValidatorId)) -> bool,
    ) -> Result<(), Refusal> {
        // A peer may have closed the open epoch already.
        if epoch > self.state.closed().next() {
            return Err(Ignore("future"));
        }
        if is_awaited(self.spec, self.state, (epoch, *signer)) {
            return Ok(());
        }
        let is_drawn = self.state.has::<Draws>(&epoch);
        Err(Ignore(match (is_drawn && !is_reporter(self.state, epoch, signer), epoch > self.state.closed()) {
            (true, _) => "unknown-signer",
            (false, true) => "future",
            (false, false) => "stale",
        }))
    }

    /// A command that applies to the newest state, or comes after others of an account that is known.
    ///
    /// # Errors
    /// Why it does not pass.
    pub fn command(&self, command: SignedCommand, now: UnixMillis) -> Result<Verified<SignedCommand>, Refusal> {
        let time = now.max(self.state.next_time(self.spec));
        // Another node's state may be ahead of this one's, and know other accounts and pools.
        admit(self.spec, self.state, &command, time).map_err(|refused| match refused {
            CommandRefused::Malformed(_) => Reject("malformed"),
            // What stamps for a closed epoch must be worth never changes.
            CommandRefused::StampBits { .. } => Reject(refused.label()),
            refused => Ignore(refused.label()),
        })?;
        // Inside another message, only that one's limit has bounded it.
        if encode(&command).len() > SignedCommand::MAX_BYTES {
            return Err(Reject("malformed"));
        }
        command.verify(self.spec.id()).map_err(|_| Reject("signature"))
    }
}
