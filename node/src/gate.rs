//! What may pass: every gossiped message is checked here, cheapest first, before it is forwarded or used.
//!
//! Size and network have been checked by the mesh (topic caps, network id in the topic's name). Here follow epoch or
//! height window, known signer, duplicates, and last the signature. Runs on the mesh's gate threads, never in its
//! event loop.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lucid_consensus::admission::{Refusal, View, parse};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::commands::{Invited, invite_of};
use lucid_consensus::engine::MAX_ROUNDS_AHEAD;
use lucid_consensus::ledger::command::SignedCommand;
use lucid_consensus::ledger::state::{Rows as _, State};
use lucid_consensus::replica::Input;
use lucid_p2p::{Admission, Gate, Topic};
use lucid_types::attestation::ResourceAttestation;
use lucid_types::certificate::Certificate;
use lucid_types::codec::encode;
use lucid_types::command::Action;
use lucid_types::evidence::Evidence;
use lucid_types::id::{Hash, NodeId, PublicKey, ValidatorId};
use lucid_types::message::ConsensusMessage;
use lucid_types::report::{ReportCommitment, Reveal};
use lucid_types::signed::{Signed, SignedRecord};
use lucid_types::sync::Rebroadcast;
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::vote::VoteKind;
use tokio::sync::watch;

use Refusal::{Ignore, Reject};

use crate::chain::head::Head;
use crate::clock::Clock;
use crate::history::metrics::Attestation;
use crate::probe::{AttestationTable, Recorded};

/// A message that passed.
#[derive(Debug)]
pub enum Passed {
    /// A worker's attestation; the table has it already.
    Attestation(Box<Attestation>),
    /// Something for the chain.
    Chain(Box<Input>),
}

impl Passed {
    fn chain(input: Input) -> Self {
        Self::Chain(Box::new(input))
    }
}

/// The gate of one node.
pub struct NodeGate {
    spec: Arc<ChainSpec>,
    clock: Arc<dyn Clock>,
    attestations: Arc<AttestationTable>,
    /// The newest state.
    head: watch::Receiver<Head>,
    seen: Mutex<Seen>,
}

/// What has been taken from validators; bounded by validators times open epochs and times rounds. Only what was verified leaves a
/// trace: what is refused can keep nothing out.
#[derive(Default)]
struct Seen {
    reports: BTreeSet<ReportKey>,
    /// What validators have sent of the heights under way.
    rounds: BTreeMap<(Height, ValidatorId), Sent>,
    rebroadcasts: BTreeMap<ValidatorId, Rebroadcasts>,
    /// Heights above the newest block's that a certificate has come for. Each proves the same, and anyone can make
    /// many out of one by leaving signatures out.
    certified: BTreeSet<Height>,
    /// Commands that no block holds yet.
    commands: BTreeMap<NotedCommand, Vec<SeenCommand>>,
    registrations: Registrations,
    /// When evidence against a validator was forwarded last.
    accused: BTreeMap<ValidatorId, UnixMillis>,
}

/// What a validator has sent of a height.
#[derive(Default)]
struct Sent {
    newest_round: u32,
    /// The hashes of what it said in a step of a round, signatures left out: its key makes any number of them for one record.
    said: BTreeMap<(u32, Step), Vec<Hash>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Wake,
    Propose,
    Prevote,
    Precommit,
}

/// Different messages of a validator for one step: the second proves that it lies.
const OF_A_STEP: usize = 2;

/// A validator's rebroadcasts: the newest number, which of the 64 up to it have come, and how many it may send.
#[derive(Default)]
struct Rebroadcasts {
    newest: u64,
    come: u64,
    rate: Rate,
}

/// How often something may come: at a steady rate, and how far ahead of that.
#[derive(Default)]
struct Rate {
    /// The time at which all that has come would have come at the steady rate.
    paid_until: UnixMillis,
}

impl Rate {
    /// Whether one more may come, and noted then.
    fn take(&mut self, now: UnixMillis, interval: Duration, burst: Duration) -> bool {
        let latest = now.after(burst);
        // Later still it can only be after the clock was set back.
        let paid_until = if self.paid_until > latest.after(interval) { now } else { self.paid_until.max(now) };
        if paid_until > latest {
            return false;
        }
        self.paid_until = paid_until.after(interval);
        true
    }
}

/// Rebroadcasts of a validator at a steady rate, and how far it may be ahead of that.
const REBROADCAST_INTERVAL: Duration = Duration::from_millis(125);
const REBROADCAST_BURST: Duration = Duration::from_secs(4);

/// Evidence against a validator is forwarded this often at most: one piece is enough, but it may be lost.
const ACCUSATION_INTERVAL: Duration = Duration::from_secs(10);

impl Rebroadcasts {
    /// Those of one peer may be judged in another order than they came.
    fn is_new(&self, sequence: u64) -> bool {
        match self.newest.checked_sub(sequence) {
            Some(back) => back < 64 && self.come & (1 << back) == 0,
            None => true,
        }
    }

    /// Whether it is within the rate, and noted then.
    fn note(&mut self, now: UnixMillis, sequence: u64) -> bool {
        if !self.rate.take(now, REBROADCAST_INTERVAL, REBROADCAST_BURST) {
            return false;
        }
        if let Some(ahead) = sequence.checked_sub(self.newest) {
            self.come = u32::try_from(ahead).ok().and_then(|ahead| self.come.checked_shl(ahead)).unwrap_or(0);
            self.newest = sequence;
        }
        self.come |= 1 << (self.newest - sequence).min(63);
        true
    }
}

/// An epoch's commitment or reveal of a validator.
type ReportKey = (Epoch, &'static str, ValidatorId);

/// A command's account and number, and whether it is a veto: others must not be able to keep one away.
type NotedCommand = (NodeId, u64, bool);

/// A command's hash, and until when it is good. Signatures do not count: who leaves some
/// out or adds some makes no other command.
type SeenCommand = (Hash, UnixMillis);

/// Different commands that may have the same number: whoever gives them may think again.
const COMMANDS_OF_A_NUMBER: usize = 4;
/// Numbers of accounts of which is noted what has come: twice what can wait. Beyond, all may come again.
const NOTED_COMMANDS: usize = 8_192;

/// Registrations pass at this rate, and so many at once: far below what the mesh takes of one peer. Keys cost nothing, invites neither, and
/// honest nodes must not look like floods to each other for passing on what others flood them with. Validators hear of the rest by
/// `/command/1`.
const REGISTRATION_INTERVAL: Duration = Duration::from_millis(3);
const REGISTRATION_BURST: Duration = Duration::from_secs(5);

/// What has passed of registrations.
#[derive(Default)]
struct Registrations {
    /// Those by invites since the newest block: no node keeps more for the next one.
    invited: (Height, Invited),
    rate: Rate,
}

impl Registrations {
    /// Those by invites since this block.
    fn invited_since(&mut self, height: Height) -> &mut Invited {
        if self.invited.0 != height {
            self.invited = (height, Invited::default());
        }
        &mut self.invited.1
    }
}

impl Seen {
    fn is_far(&self, view: &View<'_>, height: Height, round: u32) -> bool {
        round > MAX_ROUNDS_AHEAD && round > self.round_of_a_third(view, height).saturating_add(MAX_ROUNDS_AHEAD)
    }

    /// The highest round of a height that more than a third of the power have reached: at least one honest validator has.
    fn round_of_a_third(&self, view: &View<'_>, height: Height) -> u32 {
        let Some(set) = view.state.validators(height) else { return 0 };
        let of_height = (height, ValidatorId::from_bytes([0; 32]))..=(height, ValidatorId::from_bytes([0xff; 32]));
        let reached = self.rounds.range(of_height).map(|((_, key), sent)| (sent.newest_round, set.power(key)));
        let mut reached: Vec<_> = reached.collect();
        reached.sort_unstable_by_key(|(round, _)| Reverse(*round));
        let mut power = 0;
        let third = reached.into_iter().find(|(_, of_one)| {
            power += of_one;
            set.is_third(power)
        });
        third.map_or(0, |(round, _)| round)
    }
}

/// What a message of a round says, and who says it.
struct Said {
    signer: ValidatorId,
    height: Height,
    round: u32,
    step: Step,
    hash: Hash,
}

impl Said {
    fn of<T: SignedRecord<Signer = ValidatorId>>(signed: &Signed<T>, height: Height, round: u32, step: Step) -> Self {
        let hash = Hash::from_bytes(*blake3::hash(&encode(&signed.record)).as_bytes());
        Self { signer: signed.signer, height, round, step, hash }
    }
}

impl NodeGate {
    /// A gate that judges by the newest state.
    pub fn new(
        spec: Arc<ChainSpec>,
        clock: Arc<dyn Clock>,
        attestations: Arc<AttestationTable>,
        head: watch::Receiver<Head>,
    ) -> Self {
        Self { spec, clock, attestations, head, seen: Mutex::default() }
    }

    /// The clock's epoch, and one more for peers whose clock is ahead.
    fn newest_epoch(&self) -> u64 {
        self.spec.genesis().epoch_at(self.clock.now()).get().saturating_add(1)
    }

    fn attestation(&self, state: &State, bytes: &[u8]) -> Result<Attestation, Refusal> {
        let signed: Signed<ResourceAttestation> = parse(bytes)?;
        let account = state.account_of(&signed.signer).ok_or(Ignore("unknown-signer"))?;
        let refuse = |recorded| match recorded {
            Recorded::New => Ok(()),
            Recorded::Stale => Err(Ignore("stale")),
            Recorded::Unknown => Err(Ignore("unknown-signer")),
            Recorded::Implausible => Err(Reject("implausible")),
            Recorded::TooMany => Err(Ignore("rate")),
        };
        if signed.record.epoch.get() > self.newest_epoch() {
            return Err(Ignore("future"));
        }
        refuse(self.attestations.check(state, &account, &signed.record))?;
        let verified = match self.attestations.key(&account, &signed.signer) {
            Some(key) => signed.verify_with(&key, self.spec.id()),
            None => signed.verify(self.spec.id()),
        };
        let verified = verified.map_err(|_| Reject("signature"))?;
        refuse(self.attestations.record(state, &account, &verified))?;
        Ok(Attestation { account, signed: verified })
    }

    /// Duplicates, and the rules of what validators send for an epoch.
    fn report<T>(
        &self,
        view: &View<'_>,
        key: ReportKey,
        admitted: impl FnOnce(&View<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        if self.seen(|seen| seen.reports.contains(&key)) {
            return Err(Ignore("duplicate"));
        }
        let admitted = admitted(view)?;
        let oldest = view.state.final_through();
        self.seen(|seen| {
            seen.reports.retain(|(epoch, _, _)| *epoch > oldest);
            seen.reports.insert(key);
        });
        Ok(admitted)
    }

    fn round_message(&self, view: &View<'_>, from: PublicKey, bytes: &[u8]) -> Result<Input, Refusal> {
        let arrived = self.clock.now();
        match parse::<ConsensusMessage>(bytes)? {
            ConsensusMessage::Proposal(proposal) => {
                let record = proposal.proposal.record;
                let said = Said::of(&proposal.proposal, record.height, record.round, Step::Propose);
                let admit = || {
                    let from = view.bearer(&from, &proposal)?;
                    view.proposal(*proposal).map(|proposal| Input::Proposal { proposal, from, arrived })
                };
                self.once(view, said, admit)
            }
            ConsensusMessage::Vote(vote) => {
                let step = match vote.record.kind {
                    VoteKind::Prevote => Step::Prevote,
                    VoteKind::Precommit => Step::Precommit,
                };
                let said = Said::of(&vote, vote.record.height, vote.record.round, step);
                self.once(view, said, || view.vote(vote).map(Input::Vote))
            }
            ConsensusMessage::Wake(wake) => {
                let said = Said::of(&wake, wake.record.height, 0, Step::Wake);
                self.once(view, said, || view.wake(wake).map(Input::Wake))
            }
        }
    }

    /// A message of a round, if its signer has not said it yet, nor too much: whatever passes is forwarded by everybody.
    fn once(
        &self,
        view: &View<'_>,
        said: Said,
        admit: impl FnOnce() -> Result<Input, Refusal>,
    ) -> Result<Input, Refusal> {
        let Said { signer, height, round, step, hash } = said;
        let before = self.seen(|seen| {
            let sent = seen.rounds.get(&(height, signer));
            let of_step = sent.and_then(|sent| sent.said.get(&(round, step)));
            of_step.map(|of_step| (of_step.contains(&hash), of_step.len()))
        });
        match before {
            Some((true, _)) => return Err(Ignore("duplicate")),
            Some((_, count)) if count >= OF_A_STEP => return Err(Ignore("rate")),
            _ => {}
        }
        // Votes say how far their signer is; a proposal of a far round would cost the drawing of all turns before it.
        if step == Step::Propose && self.seen(|seen| seen.is_far(view, height, round)) {
            return Err(Ignore("future"));
        }
        let input = admit()?;
        let newest = view.state.height();
        self.seen(|seen| {
            seen.rounds.retain(|(height, _), _| *height > newest);
            let sent = seen.rounds.entry((height, signer)).or_default();
            sent.newest_round = sent.newest_round.max(round);
            if seen.is_far(view, height, round) {
                return Err(Ignore("future"));
            }
            seen.rounds.entry((height, signer)).or_default().said.entry((round, step)).or_default().push(hash);
            Ok(())
        })?;
        Ok(input)
    }

    fn rebroadcast(&self, view: &View<'_>, bytes: &[u8]) -> Result<Input, Refusal> {
        let signed: Signed<Rebroadcast> = parse(bytes)?;
        let (signer, sequence) = (signed.signer, signed.record.sequence);
        if self.seen(|seen| seen.rebroadcasts.get(&signer).is_some_and(|known| !known.is_new(sequence))) {
            return Err(Ignore("duplicate"));
        }
        let input = view.rebroadcast(signed)?;
        let now = self.clock.now();
        let is_within_rate = self.seen(|seen| seen.rebroadcasts.entry(signer).or_default().note(now, sequence));
        if is_within_rate { Ok(input) } else { Err(Ignore("rate")) }
    }

    fn certificate(&self, view: &View<'_>, bytes: &[u8]) -> Result<Input, Refusal> {
        let certificate: Certificate = parse(bytes)?;
        let (height, newest) = (certificate.height, view.state.height());
        if height > newest && self.seen(|seen| seen.certified.contains(&height)) {
            return Err(Ignore("duplicate"));
        }
        let certificate = view.certificate(view.state.sets(), certificate)?;
        self.seen(|seen| {
            seen.certified.retain(|height| *height > newest);
            seen.certified.insert(height);
            // Of keys that were given up nothing can come any more.
            let sets = view.state.sets();
            seen.rebroadcasts.retain(|key, _| sets.iter().any(|(_, set)| set.get(key).is_some()));
        });
        Ok(Input::Certificate(certificate))
    }

    fn command(&self, view: &View<'_>, bytes: &[u8]) -> Result<Input, Refusal> {
        let command: SignedCommand = parse(bytes)?;
        let key = (command.record.account, command.record.nonce, command.record.action.is_veto());
        let hash = Hash::from_bytes(*blake3::hash(&encode(&command.record)).as_bytes());
        // Those that no block took in time give way.
        let time = view.state.time();
        let is_good = |(_, until): &SeenCommand| *until >= time;
        let (is_known, count) = self.seen(|seen| {
            let of_number = seen.commands.get(&key).map_or(&[][..], Vec::as_slice);
            let is_known = of_number.iter().any(|(known, _)| *known == hash);
            (is_known, of_number.iter().filter(|seen| is_good(seen)).count())
        });
        if is_known {
            return Err(Ignore("duplicate"));
        }
        if count >= COMMANDS_OF_A_NUMBER {
            return Err(Ignore("rate"));
        }
        let invite = invite_of(&command.record).copied();
        let has_room = |seen: &mut Seen| {
            invite.is_none_or(|it| seen.registrations.invited_since(view.state.height()).has_room(view.state, &it))
        };
        if !self.seen(has_room) {
            return Err(Ignore("busy"));
        }
        let now = self.clock.now();
        let command = view.command(command, now)?;
        self.seen(|seen| {
            // Others may have come while its signatures were checked.
            if !has_room(seen) {
                return Err(Ignore("busy"));
            }
            let is_registration = matches!(command.record.action, Action::Register(_));
            if is_registration && !seen.registrations.rate.take(now, REGISTRATION_INTERVAL, REGISTRATION_BURST) {
                return Err(Ignore("rate"));
            }
            if let Some(invite) = &invite {
                seen.registrations.invited_since(view.state.height()).add(invite);
            }
            if seen.commands.len() >= NOTED_COMMANDS {
                let is_open = |(account, nonce, _): &NotedCommand| *nonce >= view.state.nonce(account).next;
                seen.commands.retain(|key, of_number| is_open(key) && of_number.iter().any(is_good));
            }
            if seen.commands.len() >= NOTED_COMMANDS {
                seen.commands.clear();
            }
            let of_number = seen.commands.entry(key).or_default();
            of_number.retain(is_good);
            of_number.push((hash, command.record.until));
            Ok(())
        })?;
        Ok(Input::Command(command))
    }

    fn evidence(&self, view: &View<'_>, bytes: &[u8]) -> Result<Input, Refusal> {
        let evidence: Evidence = parse(bytes)?;
        let (validator, now) = (evidence.validator(), self.clock.now());
        self.seen(|seen| seen.accused.retain(|_, at| now.until(at.after(ACCUSATION_INTERVAL)) > Duration::ZERO));
        if self.seen(|seen| seen.accused.contains_key(&validator)) {
            return Err(Ignore("duplicate"));
        }
        let evidence = view.evidence(evidence)?;
        self.seen(|seen| seen.accused.insert(validator, now));
        Ok(Input::Evidence(evidence))
    }

    fn seen<R>(&self, act: impl FnOnce(&mut Seen) -> R) -> R {
        act(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Gate for NodeGate {
    type Item = Passed;

    fn admit(&self, from: PublicKey, topic: Topic, bytes: &[u8]) -> Admission<Passed> {
        let state = self.head.borrow().state.clone();
        let view = View { spec: &self.spec, state: &state };
        let passed = match topic {
            Topic::Attestations(_) => self.attestation(&state, bytes).map(Box::new).map(Passed::Attestation),
            Topic::Commitments => parse::<Signed<ReportCommitment>>(bytes).and_then(|signed| {
                let key = (signed.record.epoch, "commitment", signed.signer);
                self.report(&view, key, |view| view.commitment(signed)).map(Input::Commitment).map(Passed::chain)
            }),
            Topic::Reveals => parse::<Signed<Reveal>>(bytes).and_then(|signed| {
                let key = (signed.record.report.epoch, "reveal", signed.signer);
                self.report(&view, key, |view| view.reveal(signed)).map(Input::Reveal).map(Passed::chain)
            }),
            Topic::Consensus => self.round_message(&view, from, bytes).map(Passed::chain),
            Topic::Rebroadcasts => self.rebroadcast(&view, bytes).map(Passed::chain),
            Topic::Evidence => self.evidence(&view, bytes).map(Passed::chain),
            Topic::Certificates => self.certificate(&view, bytes).map(Passed::chain),
            Topic::Commands => self.command(&view, bytes).map(Passed::chain),
        };
        match passed {
            Ok(item) => Admission::Accept(item),
            Err(Ignore(reason)) => Admission::Ignore(reason),
            Err(Reject(reason)) => Admission::Reject(reason),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
