//! The driver: the one task that owns the replica and the engine's log, and carries out its effects in order.
//!
//! Writes are synced before the next effect is looked at. A failed write stops the node: what it would do next could
//! contradict what it said.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::commands::CommandKey;
use lucid_consensus::ledger::command::CommandRefused;
use lucid_consensus::ledger::event::Event;
use lucid_consensus::replica::{Effect, Failure, FinalizedBlock, Gossip, Input, Replica};
use lucid_p2p::Topic;
use lucid_storage::{Store, Wal};
use lucid_types::codec::encode;
use lucid_types::id::{NodeId, StateRoot};
use lucid_types::sync::{CertifiedHeader, SyncRequest};
use lucid_types::time::{Height, UnixMillis};
use lucid_types::validator_sets::SetChange;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::chain::persist::{PersistError, put_block, put_commands, put_own, remove_commands};
use crate::chain::pin::{self, OtherBlock};
use crate::chain::snapshot::{Arrived, Snapshot, Snapshots};
use crate::chain::watermark::{Watermark, WatermarkError};
use crate::clock::Clock;
use crate::commands::{SUBMISSIONS, Submission};
use crate::config::Pin;

/// Inputs that wait for the driver. When it is full, gossip waits in the mesh's queue, which drops and counts.
pub const INPUTS: usize = 4_096;
/// The longest the driver sleeps: the clock may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Why the driver stopped.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A write failed.
    #[error("persist what the chain decided")]
    Persist(#[from] PersistError),
    /// What this validator signs could not be noted.
    #[error("note what this validator signs")]
    Watermark(#[from] WatermarkError),
    /// The chain is not the one that was meant.
    #[error(transparent)]
    Pinned(#[from] OtherBlock),
    /// A snapshot is not the state that its block leads to. It was checked page by page, so the memory or this program is at fault.
    #[error("the snapshot of block {height} has the root {found}, and the block {expected}")]
    Snapshot {
        /// The block.
        height: Height,
        /// The root of the rows.
        found: StateRoot,
        /// The root in the block's header.
        expected: StateRoot,
    },
    /// The replica must not go on.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<lucid_storage::StorageError> for DriverError {
    fn from(error: lucid_storage::StorageError) -> Self {
        Self::Persist(error.into())
    }
}

/// What the driver works with.
pub struct DriverParts {
    /// The replica as restored.
    pub replica: Replica,
    /// The store.
    pub store: Store,
    /// The engine's log.
    pub wal: Wal,
    /// Entries of the log of the next height.
    pub logged: u64,
    /// Notes what is signed; only on validators.
    pub watermark: Option<Watermark>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What others sent, as the gate and the fetcher admitted it.
    pub inbox: mpsc::Receiver<Box<Input>>,
    /// Commands of this node's users.
    pub submissions: mpsc::Receiver<Submission>,
    /// Those that were taken over before the node started.
    pub taken_over: BTreeSet<CommandKey>,
    /// Takes snapshots that have been fetched.
    pub fetched: mpsc::Receiver<Arrived>,
    /// Keeps states for others.
    pub snapshots: Arc<Snapshots>,
    /// Takes what is to be gossiped. When it is full, the message is dropped and counted in the log: rebroadcasts and
    /// the pull path make up for it.
    pub gossip: mpsc::Sender<(Topic, Vec<u8>)>,
    /// Takes what is to be asked of peers. When it is full the question is dropped: it is asked again.
    pub fetch: mpsc::Sender<(Option<NodeId>, SyncRequest)>,
    /// Why this node must sign nothing more, if somebody else has found out.
    pub halt: watch::Receiver<Option<Failure>>,
    /// A block that the chain must have.
    pub pinned: Option<Pin>,
    /// Takes the highest height that a certificate proves.
    pub target: watch::Sender<Height>,
    /// Shows the newest block to the rest of the node.
    pub head: watch::Sender<Head>,
}

/// The driver. [`Self::run`] it.
pub struct Driver {
    parts: DriverParts,
    /// When the replica was called last.
    handled_at: UnixMillis,
    /// The height of the newest entry of the log, and how many that height has.
    logged: (Height, u64),
    /// Who waits to hear whether a command is taken over, in the order of the answers.
    asking: BTreeMap<CommandKey, VecDeque<oneshot::Sender<Result<(), CommandRefused>>>>,
}

/// What the driver does next for others.
enum Work {
    Input(Box<Input>),
    Submissions(Vec<Submission>),
    Ended,
}

impl Driver {
    /// A driver that has not done anything yet.
    pub fn new(parts: DriverParts) -> Self {
        let logged = (parts.replica.state().height().next(), parts.logged);
        Self { parts, handled_at: UnixMillis::ZERO, logged, asking: BTreeMap::new() }
    }

    /// Runs until `stop`, or until a write fails.
    ///
    /// # Errors
    /// A write failed, or the network has decided on something that this node's state refuses.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), DriverError> {
        self.handle(Input::Tick)?;
        loop {
            // What became due while effects were carried out is due now.
            let now = self.parts.clock.now();
            let wakeup = self.parts.replica.next_wakeup(self.handled_at).map_or(LONGEST_SLEEP, |at| now.until(at));
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Ok(()) = self.parts.halt.changed() => self.check_halt()?,
                () = tokio::time::sleep(wakeup.min(LONGEST_SLEEP)) => self.handle(Input::Tick)?,
                Some(snapshot) = self.parts.fetched.recv() => self.take_over(snapshot)?,
                work = next_work(&mut self.parts.inbox, &mut self.parts.submissions) => match work {
                    Work::Input(input) => self.handle(*input)?,
                    Work::Submissions(submissions) => self.submit(submissions)?,
                    Work::Ended => return Ok(()),
                },
            }
        }
    }

    /// Takes commands over together: they share one sync.
    fn submit(&mut self, submissions: Vec<Submission>) -> Result<(), DriverError> {
        let mut inputs = Vec::with_capacity(submissions.len());
        for Submission { command, answer } in submissions {
            let key = (command.record.account, command.record.nonce);
            self.asking.entry(key).or_default().push_back(answer);
            inputs.push(Input::Submit(command));
        }
        self.handle_all(inputs)
    }

    fn check_halt(&self) -> Result<(), DriverError> {
        self.parts.halt.borrow().clone().map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// Makes a snapshot the newest state, unless blocks were quicker.
    fn take_over(&mut self, arrived: Arrived) -> Result<(), DriverError> {
        let Arrived { snapshot: Snapshot { block, state }, set_changes } = arrived;
        let (height, parts) = (state.height(), &mut self.parts);
        if height <= parts.replica.state().height() {
            return Ok(tokio::task::block_in_place(|| parts.store.abandon_restore())?);
        }
        pin::check(parts.pinned, height, state.block())?;
        let (found, expected) = (state.root(), block.header.state_root);
        if (height, found) != (block.header.height, expected) {
            return Err(DriverError::Snapshot { height: block.header.height, found, expected });
        }
        let (header, certificate) = (encode(&block.header), encode(&block.certificate));
        let set_changes: Vec<_> =
            set_changes.iter().map(|change| (change.block.header.height, encode::<SetChange>(change))).collect();
        tokio::task::block_in_place(|| {
            parts.store.finish_restore(height, state.block(), &header, &certificate, &set_changes)
        })?;
        if let Some(watermark) = parts.watermark.as_mut().filter(|watermark| watermark.mark().height <= height) {
            watermark.signs(height, u64::MAX)?;
        }
        tracing::info!(%height, block = %state.block().short(), "a snapshot is the newest state");
        let now = parts.clock.now();
        parts.snapshots.begin_anew(Snapshot { block: Arc::clone(&block), state: state.clone() });
        parts.head.send_modify(|head| {
            head.state = state.clone();
            head.block = Some(block);
            head.adopted_at = now;
        });
        self.handle(Input::Snapshot(Box::new(state)))
    }

    fn handle(&mut self, input: Input) -> Result<(), DriverError> {
        self.handle_all([input])
    }

    fn handle_all(&mut self, inputs: impl IntoIterator<Item = Input>) -> Result<(), DriverError> {
        let now = self.parts.clock.now();
        self.handled_at = now;
        let replica = &mut self.parts.replica;
        let effects: Vec<_> = inputs.into_iter().flat_map(|input| replica.handle(now, input)).collect();
        if !effects.is_empty() {
            // Syncing the disk takes milliseconds: other tasks of this thread move on elsewhere.
            tokio::task::block_in_place(|| {
                self.persist_commands(&effects)?;
                effects.into_iter().try_for_each(|effect| self.carry_out(now, effect))
            })?;
        }
        self.show();
        Ok(())
    }

    /// Before anything else is done, and so before anybody hears that one was taken over.
    fn persist_commands(&mut self, effects: &[Effect]) -> Result<(), DriverError> {
        let commands = effects.iter().filter_map(|effect| match effect {
            Effect::PersistCommand(command) => Some(&**command),
            _ => None,
        });
        put_commands(&self.parts.store, commands.clone())?;
        self.parts.taken_over.extend(commands.map(|command| (command.record.account, command.record.nonce)));
        Ok(())
    }

    /// Forgets commands that the replica keeps for no block any more.
    fn drop_commands(&mut self) -> Result<(), DriverError> {
        let parts = &mut self.parts;
        let offers = parts.replica.offers();
        let waits =
            |(account, nonce): &CommandKey| offers.commands(account).any(|command| command.record.nonce == *nonce);
        let over: Vec<_> = parts.taken_over.iter().filter(|key| !waits(key)).copied().collect();
        remove_commands(&parts.store, &over)?;
        parts.taken_over.retain(|key| !over.contains(key));
        Ok(())
    }

    fn carry_out(&mut self, now: UnixMillis, effect: Effect) -> Result<(), DriverError> {
        let parts = &mut self.parts;
        match effect {
            Effect::AppendLog { height, entry } => {
                parts.wal.append(height, entry.encode())?;
                self.logged = (height, if self.logged.0 == height { self.logged.1 + 1 } else { 1 });
            }
            Effect::SyncLog => {
                parts.wal.sync()?;
                if let Some(watermark) = &mut parts.watermark {
                    watermark.signs(self.logged.0, self.logged.1)?;
                }
            }
            Effect::PersistOwn(own) => put_own(&parts.store, &own)?,
            // It was, with all of them.
            Effect::PersistCommand(_) => {}
            Effect::Answer { account, nonce, outcome } => {
                let asking = self.asking.get_mut(&(account, nonce));
                if let Some(answer) = asking.and_then(VecDeque::pop_front) {
                    // Whoever asked may have gone.
                    let _gone = answer.send(outcome);
                }
                self.asking.retain(|_, asking| !asking.is_empty());
            }
            Effect::Store(stored) => {
                let FinalizedBlock { decided, applied } = *stored;
                let state = applied.state.clone();
                let (height, round) = (state.height(), decided.certificate.round);
                pin::check(parts.pinned, height, state.block())?;
                let changes = network_changes(&applied.events);
                put_block(&parts.store, &decided, applied)?;
                // A database without this block does not know all that was signed of it.
                if let Some(watermark) = parts.watermark.as_mut().filter(|watermark| watermark.mark().height == height)
                {
                    watermark.signs(height, u64::MAX)?;
                }
                let age_ms = decided.block.header.time.until(parts.clock.now()).as_millis();
                for evidence in &decided.block.evidence {
                    let (key, at) = (evidence.validator(), evidence.height().get());
                    tracing::error!(%key, height = at, "a block proves that a validator signed two different messages");
                }
                tracing::info!(height = height.get(), round, age_ms, block = %state.block().short(), "block decided");
                tell_changes(&changes);
                let block = Arc::new(CertifiedHeader::from(&decided));
                parts.snapshots.note(&block, &state);
                parts.head.send_modify(|head| {
                    (head.state, head.block, head.adopted_at) = (state, Some(block), now);
                });
                self.drop_commands()?;
            }
            Effect::Gossip(gossip) => {
                self.check_halt()?;
                let parts = &mut self.parts;
                if let Gossip::Evidence(evidence) = &gossip {
                    let (key, height, round) = (evidence.validator(), evidence.height(), evidence.round());
                    tracing::error!(%key, %height, round, "a validator signed two different messages for one step");
                }
                let (topic, bytes) = message(&gossip);
                if parts.gossip.try_send((topic, bytes)).is_err() {
                    tracing::warn!(topic = topic.kind(), "too much to gossip: a message was dropped");
                }
            }
            Effect::CatchUp { to } => {
                parts.target.send_if_modified(|target| {
                    let is_higher = to > *target;
                    *target = to.max(*target);
                    is_higher
                });
            }
            Effect::Fetch { peer, request } => {
                if parts.fetch.try_send((peer, request)).is_err() {
                    tracing::debug!("too much to fetch: a question was dropped");
                }
            }
            Effect::Fail(failure) => return Err(failure.into()),
        }
        Ok(())
    }

    /// Shows what changed beside the state.
    fn show(&self) {
        let replica = &self.parts.replica;
        let (round, unreported, offers) = (replica.round(), replica.epochs_to_report(), replica.offers());
        self.parts.head.send_if_modified(|head| {
            let changed = head.round != round || head.unreported != unreported;
            head.round = round;
            head.unreported = unreported;
            head.offers = offers;
            changed
        });
    }
}

/// What a block changes of the network as a whole.
fn network_changes(events: &[Event]) -> Vec<Event> {
    let is_one = |event: &&Event| {
        matches!(event, Event::Validator { .. } | Event::Policy { .. } | Event::PolicyOvertaken { .. })
    };
    events.iter().filter(is_one).cloned().collect()
}

fn tell_changes(changes: &[Event]) {
    for change in changes {
        match change {
            Event::Validator { node: validator, power: 0, from, .. } => {
                tracing::warn!(%validator, from = from.get(), "a validator is none any more");
            }
            Event::Validator { node: validator, key, power, from } => {
                let from = from.get();
                tracing::warn!(%validator, %key, power, from, "a validator is new, or has another power or another key");
            }
            Event::Policy { from, policy } => {
                tracing::warn!(from = from.get(), policy = %policy.hash(), "another policy of the network is decided");
            }
            Event::PolicyOvertaken { proposal } => {
                tracing::warn!(%proposal, "a proposed policy is gone: another one was decided");
            }
            _ => {}
        }
    }
}

/// Waits for an input or commands, whichever comes first: neither keeps the other waiting.
async fn next_work(inbox: &mut mpsc::Receiver<Box<Input>>, submissions: &mut mpsc::Receiver<Submission>) -> Work {
    let mut submitted = Vec::new();
    tokio::select! {
        input = inbox.recv() => input.map_or(Work::Ended, Work::Input),
        n = submissions.recv_many(&mut submitted, SUBMISSIONS) => {
            if n == 0 { Work::Ended } else { Work::Submissions(submitted) }
        }
    }
}

fn message(gossip: &Gossip) -> (Topic, Vec<u8>) {
    match gossip {
        Gossip::Commitment(commitment) => (Topic::Commitments, encode(commitment)),
        Gossip::Reveal(reveal) => (Topic::Reveals, encode(reveal)),
        Gossip::Consensus(message) => (Topic::Consensus, encode(message)),
        Gossip::Rebroadcast(message) => (Topic::Rebroadcasts, encode(message)),
        Gossip::Certificate(certificate) => (Topic::Certificates, encode(certificate)),
        Gossip::Evidence(evidence) => (Topic::Evidence, encode(evidence)),
        Gossip::Command(command) => (Topic::Commands, encode(command)),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
