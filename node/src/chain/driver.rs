//! The driver: the one task that owns the replica and the engine's log, and carries out its effects in order.
//!
//! Writes are synced before the next effect is looked at. A failed write stops the node: what it would do next could
//! contradict what it said.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lucid_consensus::network::Network;
use lucid_consensus::replica::{Effect, Gossip, Input, Replica};
use lucid_p2p::Topic;
use lucid_storage::{Store, Wal};
use lucid_types::block::Block;
use lucid_types::codec::{Wire, encode};
use lucid_types::id::{BlockHash, NodeId};
use lucid_types::report::ReportCommitment;
use lucid_types::report::Reveal;
use lucid_types::signed::{Signed, SignedRecord, Verified};
use lucid_types::sync::SyncRequest;
use lucid_types::time::{Epoch, Height, UnixMillis};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::chain::persist::{PersistError, put_block, put_own};
use crate::chain::serve::ANSWER_BYTES;
use crate::clock::Clock;

/// Inputs that wait for the driver. When it is full, gossip waits in the mesh's queue, which drops and counts.
pub const INPUTS: usize = 4_096;
/// The longest the driver sleeps: the clock may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// A question to the driver, or something that happened.
#[derive(Debug)]
pub enum ToDriver {
    /// Something happened.
    Input(Box<Input>),
    /// Which proposed block has this hash?
    Body(BlockHash, oneshot::Sender<Option<Block>>),
    /// Which commitments and reveals of this epoch are not among those that the asker has?
    Reports(ReportsQuery),
}

/// Commitments and reveals of one epoch.
pub type EpochReports = (Vec<Signed<ReportCommitment>>, Vec<Signed<Reveal>>);

/// See [`ToDriver::Reports`].
#[derive(Debug)]
pub struct ReportsQuery {
    /// The epoch.
    pub epoch: Epoch,
    /// Validators whose commitment the asker has.
    pub have_commitments: BTreeSet<NodeId>,
    /// Validators whose reveal the asker has.
    pub have_reveals: BTreeSet<NodeId>,
    /// Takes the answer.
    pub reply: oneshot::Sender<EpochReports>,
}

/// Why the driver stopped.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A write failed.
    #[error("persist what the chain decided")]
    Persist(#[from] PersistError),
    /// The network decided on what this node refuses.
    #[error(
        "block {height} is certified and does not follow from this node's state ({error}); the store is damaged or the \
         software differs from the other nodes': keep the home for a report, and start with a new one"
    )]
    Diverged {
        /// The block.
        height: Height,
        /// Why this node refuses it.
        error: String,
    },
}

impl From<lucid_storage::StorageError> for DriverError {
    fn from(error: lucid_storage::StorageError) -> Self {
        Self::Persist(error.into())
    }
}

/// What the driver works with.
pub struct DriverParts {
    /// The network.
    pub network: Arc<Network>,
    /// The replica as restored.
    pub replica: Replica,
    /// The store.
    pub store: Store,
    /// The engine's log.
    pub wal: Wal,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Inputs and questions.
    pub inbox: mpsc::Receiver<ToDriver>,
    /// Takes what is to be gossiped. When it is full, the message is dropped and counted in the log: repetitions and
    /// the pull path make up for it.
    pub gossip: mpsc::Sender<(Topic, Vec<u8>)>,
    /// Takes what is to be asked of peers. When it is full the question is dropped: it is asked again.
    pub fetch: mpsc::Sender<(Option<NodeId>, SyncRequest)>,
    /// Shows the newest block to the rest of the node.
    pub head: watch::Sender<Head>,
    /// The height for the gate.
    pub tip: Arc<AtomicU64>,
}

/// The driver. [`Self::run`] it.
pub struct Driver {
    parts: DriverParts,
    /// When the replica was called last.
    handled_at: UnixMillis,
}

impl Driver {
    /// A driver that has not done anything yet.
    pub const fn new(parts: DriverParts) -> Self {
        Self { parts, handled_at: UnixMillis::ZERO }
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
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(wakeup.min(LONGEST_SLEEP)) => self.handle(Input::Tick)?,
                message = self.parts.inbox.recv() => match message {
                    Some(message) => self.take(message)?,
                    None => return Ok(()),
                },
            }
        }
    }

    fn take(&mut self, message: ToDriver) -> Result<(), DriverError> {
        let replica = &self.parts.replica;
        match message {
            ToDriver::Input(input) => return self.handle(*input),
            // Whoever asked may have gone.
            ToDriver::Body(hash, reply) => drop(reply.send(replica.candidate(&hash).cloned())),
            ToDriver::Reports(ReportsQuery { epoch, have_commitments, have_reveals, reply }) => {
                let reports = replica.reports();
                let commitments =
                    reports.commitments_of(epoch).filter(|commitment| !have_commitments.contains(&commitment.signer));
                let reveals = reports.reveals_of(epoch).filter(|reveal| !have_reveals.contains(&reveal.signer));
                let mut room = ANSWER_BYTES;
                let answer = (as_fits(&mut room, commitments), as_fits(&mut room, reveals));
                drop(reply.send(answer));
            }
        }
        Ok(())
    }

    fn handle(&mut self, input: Input) -> Result<(), DriverError> {
        let now = self.parts.clock.now();
        self.handled_at = now;
        let effects = self.parts.replica.handle(now, input);
        if let Some(error) = self.parts.replica.take_failure() {
            tracing::error!(error, "the BFT engine failed on an input");
        }
        if !effects.is_empty() {
            // Syncing the disk takes milliseconds: other tasks of this thread move on elsewhere.
            tokio::task::block_in_place(|| effects.into_iter().try_for_each(|effect| self.carry_out(now, effect)))?;
        }
        self.show();
        Ok(())
    }

    fn carry_out(&mut self, now: UnixMillis, effect: Effect) -> Result<(), DriverError> {
        let Self { parts, .. } = self;
        match effect {
            Effect::AppendLog { height, entry } => parts.wal.append(height, entry.encode())?,
            Effect::SyncLog => parts.wal.sync()?,
            Effect::PersistOwn(own) => put_own(&parts.store, &own)?,
            Effect::Store(stored) => {
                put_block(&parts.store, &stored)?;
                let state = &stored.applied.state;
                let height = state.height;
                parts.tip.store(height.get(), Ordering::Release);
                let round = stored.decided.certificate.round;
                tracing::info!(height = height.get(), round, block = %state.block.short(), "block decided");
                let root = stored.decided.block.state_root;
                let state = Arc::new(state.clone());
                parts.head.send_modify(|head| {
                    head.state = state;
                    head.root = root;
                    head.adopted_at = now;
                });
            }
            Effect::Gossip(gossip) => {
                let (topic, bytes) = message(&gossip);
                if parts.gossip.try_send((topic, bytes)).is_err() {
                    tracing::warn!(topic = topic.kind(), "too much to gossip: a message was dropped");
                }
            }
            Effect::Fetch { peer, request } => {
                if parts.fetch.try_send((peer, request)).is_err() {
                    tracing::debug!("too much to fetch: a question was dropped");
                }
            }
            Effect::Equivocation(nodes) => {
                for node in nodes {
                    tracing::error!(%node, "a validator signed two different messages for one step");
                }
            }
            Effect::Diverged { height, error } => {
                return Err(DriverError::Diverged { height, error: error.to_string() });
            }
        }
        Ok(())
    }

    /// Shows what changed beside the state.
    fn show(&self) {
        let (round, unreported) = (self.parts.replica.round(), self.parts.replica.epochs_to_report());
        self.parts.head.send_if_modified(|head| {
            let changed = head.round != round || head.unreported != unreported;
            head.round = round;
            head.unreported = unreported;
            changed
        });
    }
}

/// The first of these records that fit into `room` together. Whoever lacks more asks again.
fn as_fits<'a, T>(room: &mut usize, records: impl Iterator<Item = &'a Verified<Signed<T>>>) -> Vec<Signed<T>>
where
    T: SignedRecord + Clone + 'a,
    Signed<T>: Wire,
{
    let fits = |record: &&Verified<Signed<T>>| {
        let rest = room.checked_sub(encode(&***record).len());
        *room = rest.unwrap_or(*room);
        rest.is_some()
    };
    records.take_while(fits).map(|record| (**record).clone()).collect()
}

fn message(gossip: &Gossip) -> (Topic, Vec<u8>) {
    match gossip {
        Gossip::Commitment(commitment) => (Topic::Commitments, encode(commitment)),
        Gossip::Reveal(reveal) => (Topic::Reveals, encode(reveal)),
        Gossip::Consensus(message) => (Topic::Consensus, encode(message)),
        Gossip::Liveness(message) => (Topic::Liveness, encode(message)),
        Gossip::Body(body) => (Topic::Bodies, encode(body)),
        Gossip::Certificate(certificate) => (Topic::Certificates, encode(certificate)),
    }
}
