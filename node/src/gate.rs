//! What may pass: every gossiped message is checked here, cheapest first, before it is forwarded or used.
//!
//! Size and network have been checked by the mesh (topic caps, network id in the topic's name). Here follow epoch or
//! height window, known signer, duplicates, and last the signature. Runs on the mesh's gate threads, never in its
//! event loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lucid_consensus::ledger::command::check_authority;
use lucid_consensus::ledger::state::State;
use lucid_consensus::network::Network;
use lucid_consensus::replica::RoundMessage;
use lucid_consensus::reports::{awaits_commitment, awaits_reveal};
use lucid_p2p::{Admission, Gate, Topic};
use lucid_types::attestation::ResourceAttestation;
use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::id::{Hash, NodeId, PoolId};
use lucid_types::payout::PoolCommand;
use lucid_types::report::ReportCommitment;
use lucid_types::report::Reveal;
use lucid_types::signed::{MultiSigned, Signed, SignedRecord, Verified};
use lucid_types::sync::{Liveness, LivenessMessage};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::vote::{ConsensusMessage, Proposal};
use tokio::sync::watch;

use crate::chain::head::Head;
use crate::clock::Clock;
use crate::probe::{AttestationTable, Recorded};

/// A message that passed.
#[derive(Debug)]
pub enum Passed {
    /// A worker's attestation; the table has it already.
    Attestation(Verified<Signed<ResourceAttestation>>),
    /// A validator's commitment.
    Commitment(Verified<Signed<ReportCommitment>>),
    /// A validator's reveal.
    Reveal(Verified<Signed<Reveal>>),
    /// A vote, a proposal, or a wake.
    Round(RoundMessage),
    /// A repetition.
    Liveness(Verified<Signed<LivenessMessage>>),
    /// A proposed block.
    Body(Verified<Block>),
    /// Proof of a decision.
    Certificate(Verified<Certificate>),
    /// A pool's command.
    Command(Verified<MultiSigned<PoolCommand>>),
}

/// The gate of one node.
pub struct NodeGate {
    network: Arc<Network>,
    clock: Arc<dyn Clock>,
    attestations: Arc<AttestationTable>,
    /// Height of the newest block.
    tip: Arc<AtomicU64>,
    /// The newest state, for what pools have commanded.
    head: watch::Receiver<Head>,
    seen: Mutex<Seen>,
}

/// What has been taken from validators; bounded by validators times open epochs. Only what passed leaves a trace: what
/// is refused can keep nothing out.
#[derive(Default)]
struct Seen {
    reports: BTreeSet<(Epoch, &'static str, NodeId)>,
    liveness: BTreeMap<NodeId, u64>,
    /// Heights above the newest block's that a certificate has come for. Each proves the same, and anyone can make
    /// many out of one by leaving signatures out.
    certified: BTreeSet<Height>,
    /// Commands that no block holds yet.
    commands: BTreeSet<CommandKey>,
}

/// A command of a pool: its number, the era of the signers who may sign it, its hash, and until when it is good. Signatures do
/// not count: who leaves some out or adds some makes no other command.
type CommandKey = (PoolId, u64, u32, Hash, UnixMillis);

/// How far the number of a command may be ahead of the pool's newest.
const COMMANDS_AHEAD: u64 = 8;
/// Different commands that may have the same number: an owner may think again.
const COMMANDS_OF_A_NUMBER: usize = 4;

/// Why a message does not pass, and whether its sender is to blame.
enum Refusal {
    Ignore(&'static str),
    Reject(&'static str),
}

use Refusal::{Ignore, Reject};

impl NodeGate {
    /// A gate; `tip` is kept up to date by the chain.
    pub fn new(
        network: Arc<Network>,
        clock: Arc<dyn Clock>,
        attestations: Arc<AttestationTable>,
        tip: Arc<AtomicU64>,
        head: watch::Receiver<Head>,
    ) -> Self {
        Self { network, clock, attestations, tip, head, seen: Mutex::default() }
    }

    fn tip(&self) -> u64 {
        self.tip.load(Ordering::Acquire)
    }

    /// The clock's epoch, and one more for peers whose clock is ahead.
    fn newest_epoch(&self) -> u64 {
        self.network.genesis().epoch_at(self.clock.now()).get().saturating_add(1)
    }

    fn attestation(&self, bytes: &[u8]) -> Result<Passed, Refusal> {
        let signed: Signed<ResourceAttestation> = parse(bytes)?;
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
        refuse(self.attestations.check(&signed.signer, &signed.record))?;
        let verified = self.verify(signed)?;
        refuse(self.attestations.record(&verified))?;
        Ok(Passed::Attestation(verified))
    }

    /// Window, membership and duplicates of what validators send for an epoch.
    fn report<T: SignedRecord>(
        &self,
        kind: &'static str,
        epoch: Epoch,
        is_awaited: fn(&Network, &State, (Epoch, NodeId)) -> bool,
        signed: Signed<T>,
    ) -> Result<Verified<Signed<T>>, Refusal> {
        let state = Arc::clone(&self.head.borrow().state);
        // A peer may have closed the open epoch already.
        if epoch > state.closed.next() {
            return Err(Ignore("future"));
        }
        self.member(&signed.signer)?;
        let key = (epoch, kind, signed.signer);
        if self.seen(|seen| seen.reports.contains(&key)) {
            return Err(Ignore("duplicate"));
        }
        if !is_awaited(&self.network, &state, (epoch, signed.signer)) {
            return Err(Ignore(if epoch > state.closed { "future" } else { "stale" }));
        }
        let verified = self.verify(signed)?;
        let oldest = state.final_through();
        self.seen(|seen| {
            seen.reports.retain(|(epoch, _, _)| *epoch > oldest);
            seen.reports.insert(key);
        });
        Ok(verified)
    }

    fn round_message(&self, bytes: &[u8]) -> Result<Passed, Refusal> {
        Ok(Passed::Round(match parse::<ConsensusMessage>(bytes)? {
            ConsensusMessage::Proposal(proposal) => {
                self.height(proposal.record.height, 2)?;
                self.member(&proposal.signer)?;
                let Proposal { height, round, pol_round, .. } = proposal.record;
                if pol_round.is_some_and(|pol| pol >= round) {
                    return Err(Reject("proof-of-lock"));
                }
                if self.network.validators(height).proposer(height, round).node != proposal.signer {
                    return Err(Reject("proposer"));
                }
                RoundMessage::Proposal(self.verify(proposal)?)
            }
            ConsensusMessage::Vote(vote) => {
                self.height(vote.record.height, 2)?;
                self.member(&vote.signer)?;
                RoundMessage::Vote(self.verify(vote)?)
            }
            ConsensusMessage::Wake(wake) => {
                self.height(wake.record.height, 2)?;
                self.member(&wake.signer)?;
                RoundMessage::Wake(self.verify(wake)?)
            }
        }))
    }

    fn liveness(&self, bytes: &[u8]) -> Result<Passed, Refusal> {
        let signed: Signed<LivenessMessage> = parse(bytes)?;
        let height = match &signed.record.item {
            Liveness::Vote(vote) => vote.record.height,
            Liveness::Polka(certificate) => certificate.height,
            Liveness::Round(certificate) => certificate.height,
        };
        self.height(height, 1)?;
        self.member(&signed.signer)?;
        let (signer, sequence) = (signed.signer, signed.record.sequence);
        if self.seen(|seen| seen.liveness.get(&signer).is_some_and(|last| sequence <= *last)) {
            return Err(Ignore("duplicate"));
        }
        let verified = self.verify(signed)?;
        // The engine checks certificates itself, but would keep a vote for later unchecked.
        if let Liveness::Vote(vote) = &verified.record.item {
            self.member(&vote.signer)?;
            vote.check(self.network.id()).map_err(|_| Reject("signature"))?;
        }
        self.seen(|seen| {
            let last = seen.liveness.entry(signer).or_default();
            *last = sequence.max(*last);
        });
        Ok(Passed::Liveness(verified))
    }

    fn body(&self, bytes: &[u8]) -> Result<Passed, Refusal> {
        let block: Block = parse(bytes)?;
        self.height(block.height, 2)?;
        self.member(&block.proposer)?;
        let block = block.verify(self.network.id()).map_err(|_| Reject("signature"))?;
        Ok(Passed::Body(block))
    }

    fn certificate(&self, bytes: &[u8]) -> Result<Passed, Refusal> {
        let certificate: Certificate = parse(bytes)?;
        let (height, tip) = (certificate.height, self.tip());
        if height.get() <= tip {
            return Err(Ignore("stale"));
        }
        if self.seen(|seen| seen.certified.contains(&height)) {
            return Err(Ignore("duplicate"));
        }
        let set = self.network.validators(height);
        let certificate = certificate.verify(self.network.id(), set).map_err(|_| Reject("certificate"))?;
        self.seen(|seen| {
            seen.certified.retain(|height| height.get() > tip);
            seen.certified.insert(height);
        });
        Ok(Passed::Certificate(certificate))
    }

    /// A command that its pool's owner and, where they must, its treasury signers have signed.
    fn command(&self, bytes: &[u8]) -> Result<Passed, Refusal> {
        let command: MultiSigned<PoolCommand> = parse(bytes)?;
        let PoolCommand { pool, number, until, .. } = command.record;
        let owner = self.network.pool(&pool).ok_or(Reject("unknown-pool"))?.owner;
        if !command.is_signed_by(&owner) {
            return Err(Reject("unknown-signer"));
        }
        let state = Arc::clone(&self.head.borrow().state);
        let accounts = state.pools.get(&pool).ok_or(Reject("unknown-pool"))?;
        let newest = accounts.commands;
        if number <= newest {
            return Err(Ignore("stale"));
        }
        if number > newest.saturating_add(COMMANDS_AHEAD) {
            return Err(Ignore("future"));
        }
        if until < state.time {
            return Err(Ignore("expired"));
        }
        // Another node's state may be ahead of this one's.
        check_authority(&self.network, &state, &command).map_err(|_| Ignore("authority"))?;
        let hash = Hash::from_bytes(*blake3::hash(&encode(&command.record)).as_bytes());
        let key = (pool, number, accounts.vault.signers.era, hash, until);
        // Those that no block took in time give way.
        let of_number =
            |known: &&CommandKey| (known.0, known.1, known.2) == (key.0, key.1, key.2) && known.4 >= state.time;
        let (is_known, count) =
            self.seen(|seen| (seen.commands.contains(&key), seen.commands.iter().filter(of_number).count()));
        if is_known {
            return Err(Ignore("duplicate"));
        }
        if count >= COMMANDS_OF_A_NUMBER {
            return Err(Ignore("rate"));
        }
        let command = command.verify(self.network.id()).map_err(|_| Reject("signature"))?;
        self.seen(|seen| {
            seen.commands.retain(|known| (known.0 != pool || known.1 > newest) && known.4 >= state.time);
            seen.commands.insert(key);
        });
        Ok(Passed::Command(command))
    }

    /// Whether a height is one of the `ahead` next ones.
    fn height(&self, height: Height, ahead: u64) -> Result<(), Refusal> {
        match height.get().checked_sub(self.tip()) {
            None | Some(0) => Err(Ignore("stale")),
            Some(distance) if distance > ahead => Err(Ignore("future")),
            Some(_) => Ok(()),
        }
    }

    fn member(&self, node: &NodeId) -> Result<(), Refusal> {
        let next = Height::new(self.tip()).next();
        self.network.validators(next).get(node).map(|_| ()).ok_or(Reject("unknown-signer"))
    }

    fn verify<T: SignedRecord>(&self, signed: Signed<T>) -> Result<Verified<Signed<T>>, Refusal> {
        signed.verify(self.network.id()).map_err(|_| Reject("signature"))
    }

    fn seen<R>(&self, act: impl FnOnce(&mut Seen) -> R) -> R {
        act(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn parse<T: Wire>(bytes: &[u8]) -> Result<T, Refusal> {
    decode(bytes).map_err(|_| Reject("malformed"))
}

impl Gate for NodeGate {
    type Item = Passed;

    fn admit(&self, _from: NodeId, topic: Topic, bytes: &[u8]) -> Admission<Passed> {
        let passed = match topic {
            Topic::Attestations(_) => self.attestation(bytes),
            Topic::Commitments => parse::<Signed<ReportCommitment>>(bytes)
                .and_then(|signed| self.report("commitment", signed.record.epoch, awaits_commitment, signed))
                .map(Passed::Commitment),
            Topic::Reveals => parse::<Signed<Reveal>>(bytes)
                .and_then(|signed| self.report("reveal", signed.record.report.epoch, awaits_reveal, signed))
                .map(Passed::Reveal),
            Topic::Consensus => self.round_message(bytes),
            Topic::Liveness => self.liveness(bytes),
            Topic::Bodies => self.body(bytes),
            Topic::Certificates => self.certificate(bytes),
            Topic::Commands => self.command(bytes),
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
