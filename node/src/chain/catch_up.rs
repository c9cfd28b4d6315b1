//! Catches up with the chain: fetches decided blocks from several peers at once and hands them to the driver in order.
//!
//! ```text
//!  a certificate of a later height ──▶ target ─┐
//!                                       plan: which peer fetches which range ──▶ pages of at most 1 MiB, checked ──▶ driver
//! ```
//!
//! What is fetched is known to exist: the target has a certificate. Every block comes with its own. A peer that is slow at what is
//! needed first gets company; one that lies, is silent or has nothing loses its turn for a while.

mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use lucid_consensus::admission::{self, Refusal};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::replica::Input;
use lucid_p2p::{Mesh, Protocol, RequestError};
use lucid_types::codec::{decode, encode};
use lucid_types::id::NetworkId;
use lucid_types::signed::Verified;
use lucid_types::sync::{CertifiedBlock, SyncRequest, SyncResponse, take_frame};
use lucid_types::time::{Height, UnixMillis};
use lucid_types::validator_sets::ValidatorSets;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet, block_in_place};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::chain::catch_up::plan::{Ask, Download, Fault, Page, Peer, Plan};
use crate::chain::head::Head;
use crate::chain::sets::{KnownSets, NotShown, Refused};
use crate::chain::snapshot::{Arrived, Download as SnapshotDownload, SnapshotError};
use crate::config::SyncMode;

/// How often the plan is looked at when nothing happens: peers come and go, and slow ones get company.
const TICK: Duration = Duration::from_millis(500);
/// While no block comes, peers are asked this often whether they have the blocks that are missing.
const ASK_FOR_OLDEST_EVERY: Duration = Duration::from_secs(5);
/// How many of them, and how long they have.
const MAX_ASKED_FOR_OLDEST: usize = 16;
const OLDEST_ANSWER: Duration = Duration::from_secs(3);
/// For how long blocks are fetched after peers gave no snapshot, before they are asked for one again.
const BLOCKS_FOR: Duration = Duration::from_secs(60);
/// How often the log tells that nobody has them.
const TELL_GONE: Duration = Duration::from_secs(60);

/// What catching up works with.
pub struct CatchUpParts {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// The mesh.
    pub mesh: Mesh,
    /// Takes the blocks.
    pub driver: mpsc::Sender<Box<Input>>,
    /// The newest block.
    pub head: watch::Receiver<Head>,
    /// The highest height that a certificate proves.
    pub target: watch::Receiver<Height>,
    /// Fetches a snapshot instead of blocks.
    pub download: SnapshotDownload,
    /// Takes the snapshot.
    pub snapshots: mpsc::Sender<Arrived>,
    /// Whether snapshots are fetched at all.
    pub mode: SyncMode,
    /// The validators of later heights.
    pub sets: Arc<KnownSets>,
}

/// A page's task that has ended: whose, what it was about, and what has come.
type Ended = (u64, Download, Result<Page<Verified<CertifiedBlock>>, Fault>);

/// The task that catches up. [`Self::run`] it.
pub struct CatchUp {
    parts: CatchUpParts,
    plan: Plan<Verified<CertifiedBlock>>,
    pages: JoinSet<Ended>,
    running: HashMap<u64, AbortHandle>,
    /// Where the plan's time begins: the clock may be set.
    started: Instant,
    /// The newest block, and since when it is that, or since peers were asked whether they have those that are missing.
    stuck: (Height, Instant),
    /// When peers gave no snapshot.
    no_snapshot: Option<Instant>,
    /// When it was last said that nobody has the missing blocks.
    told_gone: Option<Instant>,
}

impl CatchUp {
    /// A task that has not fetched anything yet.
    pub fn new(parts: CatchUpParts) -> Self {
        let (head, now) = (parts.head.borrow().state.height(), Instant::now());
        let plan = Plan::new(UnixMillis::ZERO, head);
        Self {
            parts,
            plan,
            pages: JoinSet::new(),
            running: HashMap::new(),
            started: now,
            stuck: (head, now),
            no_snapshot: None,
            told_gone: None,
        }
    }

    fn now(&self) -> UnixMillis {
        UnixMillis::ZERO.after(self.started.elapsed())
    }

    /// Catches up until `stop`.
    ///
    /// # Errors
    /// The store failed, or the peers' chain is not the pinned one.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), SnapshotError> {
        // What is staged of a snapshot is of use only while one is wanted.
        let mut is_staged = true;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (head, target) =
                (self.parts.head.borrow_and_update().state.height(), *self.parts.target.borrow_and_update());
            let wants_snapshot = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                wants_snapshot = self.wants_snapshot(head, target) => wants_snapshot,
            };
            if wants_snapshot {
                is_staged = true;
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    snapshot = self.parts.download.run(head) => match snapshot? {
                        Some(snapshot) => self.hand_over_snapshot(snapshot).await,
                        None => {
                            tracing::warn!(%head, "no connected peer gives a snapshot: blocks are fetched for a while");
                            self.no_snapshot = Some(Instant::now());
                        }
                    },
                }
                continue;
            }
            let is_done = self.parts.mode == SyncMode::Full || (target > Height::ZERO && head >= target);
            if is_staged && is_done {
                block_in_place(|| self.parts.download.abandon())?;
                is_staged = false;
            }
            let now = self.now();
            self.plan.follow(now, head, target);
            self.hand_over().await;
            self.assign();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(ended) = self.pages.join_next() => self.ended(ended),
                changed = self.parts.head.changed() => if changed.is_err() { return Ok(()) },
                changed = self.parts.target.changed() => if changed.is_err() { return Ok(()) },
                _ = ticks.tick() => {}
            }
        }
    }

    /// Whether a snapshot is fetched instead of the blocks up to `target`: by a node that has none yet, where they are many, or where
    /// none comes and peers say that they have removed the next ones.
    async fn wants_snapshot(&mut self, head: Height, target: Height) -> bool {
        let gap = target.get().saturating_sub(head.get());
        if self.no_snapshot.is_some_and(|at| at.elapsed() < BLOCKS_FOR) {
            return false;
        }
        let by_snapshot = self.parts.mode == SyncMode::Snapshot;
        if by_snapshot && head == Height::ZERO && gap > self.parts.spec.fixed().snapshot_blocks.saturating_mul(2) {
            return true;
        }
        let (height, since) = self.stuck;
        if gap == 0 || height != head {
            self.stuck = (head, Instant::now());
            return false;
        }
        if since.elapsed() < ASK_FOR_OLDEST_EVERY {
            return false;
        }
        self.stuck = (head, Instant::now());
        let are_gone = self.are_gone(head.next()).await;
        if are_gone && !by_snapshot && self.told_gone.is_none_or(|told| told.elapsed() >= TELL_GONE) {
            self.told_gone = Some(Instant::now());
            tracing::warn!(
                next = %head.next(),
                "no connected peer has the next block any more, so this node cannot have every block: connect it to an archive node \
                 (p2p.bootstrap), or start it with --sync snapshot"
            );
        }
        are_gone && by_snapshot
    }

    /// Whether most of the peers that are ahead say that they have not this block any more. That need not be so: what a snapshot holds
    /// is proved, and if blocks come nobody is asked.
    async fn are_gone(&self, next: Height) -> bool {
        let mesh = &self.parts.mesh;
        let ask = |peer: Peer| async move {
            let answer = mesh.request(peer.key, Protocol::Sync, encode(&SyncRequest::Head));
            let answer = tokio::time::timeout(OLDEST_ANSWER, answer).await.ok()?.ok()?;
            match decode(&answer) {
                Ok(SyncResponse::Head { newest: Some(newest), oldest }) if newest.height >= next => Some(oldest > next),
                _ => None,
            }
        };
        let answers = join_all(self.peers().into_iter().take(MAX_ASKED_FOR_OLDEST).map(ask)).await;
        let answers: Vec<bool> = answers.into_iter().flatten().collect();
        let n_gone = answers.iter().filter(|is_gone| **is_gone).count();
        2 * n_gone > answers.len()
    }

    /// Hands the driver a snapshot, and waits until it is the newest state.
    async fn hand_over_snapshot(&mut self, arrived: Arrived) {
        let height = arrived.snapshot.state.height();
        // The driver has ended: so will this task.
        if self.parts.snapshots.send(arrived).await.is_ok() {
            let _ended = self.parts.head.wait_for(|head| head.state.height() >= height).await;
        }
    }

    /// Hands the driver what comes next, as far as it is here.
    async fn hand_over(&mut self) {
        while let Some(block) = self.plan.next_ready() {
            // The driver has ended: so will this task.
            let _ended = self.parts.driver.send(Box::new(Input::Decided(block))).await;
        }
    }

    fn assign(&mut self) {
        let (now, peers) = (self.now(), self.peers());
        let asks = self.plan.assign(now, &peers);
        for Ask { id, download } in asks {
            self.fetch(id, download);
        }
        let Self { plan, running, .. } = self;
        running.retain(|id, task| {
            let is_wanted = plan.is_running(*id);
            if !is_wanted {
                task.abort();
            }
            is_wanted
        });
    }

    /// The connected peers in a random order: whoever stands first is asked first.
    fn peers(&self) -> Vec<Peer> {
        let state = self.parts.head.borrow().state.clone();
        let peers = self.parts.mesh.peers().into_iter().map(|peer| peer.key);
        let drawn =
            peers.map(|key| (getrandom::u32().unwrap_or(0), Peer { key, is_validator: state.is_validator(&key) }));
        let mut drawn: Vec<_> = drawn.collect();
        drawn.sort_unstable_by_key(|(draw, _)| *draw);
        drawn.into_iter().map(|(_, peer)| peer).collect()
    }

    fn fetch(&mut self, id: u64, download: Download) {
        let (mesh, network, sets) = (self.parts.mesh.clone(), *self.parts.spec.id(), Arc::clone(&self.parts.sets));
        let task = self.pages.spawn(async move {
            let mut download = download;
            let page = page(&mesh, &network, &sets, &mut download).await;
            (id, download, page)
        });
        self.running.insert(id, task);
    }

    fn ended(&mut self, ended: Result<Ended, JoinError>) {
        let (id, download, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                // One that was aborted is known to be over; another has panicked.
                let failed = self.running.iter().find(|(_, task)| task.id() == error.id()).map(|(id, _)| *id);
                if let Some(id) = failed {
                    self.running.remove(&id);
                    self.plan.abandon(id);
                }
                return;
            }
        };
        self.running.remove(&id);
        if let Err(fault) = &outcome {
            tracing::debug!(peer = %download.peer, %fault, "a peer does not help to catch up");
        }
        let now = self.now();
        if let Some(download) = self.plan.ended(now, id, download, outcome) {
            self.fetch(id, download);
        }
    }
}

/// Asks for the next page of a download and checks the blocks that it completes.
async fn page(
    mesh: &Mesh,
    network: &NetworkId,
    sets: &KnownSets,
    download: &mut Download,
) -> Result<Page<Verified<CertifiedBlock>>, Fault> {
    let skip = u64::try_from(download.buffer.len()).unwrap_or(u64::MAX);
    let request = SyncRequest::Blocks { from: download.next, to: download.to, skip };
    let answer = mesh.request(download.peer, Protocol::Sync, encode(&request)).await;
    let answer = answer.map_err(|error| match error {
        // Others keep it busy, or we do.
        RequestError::Busy | RequestError::NoAnswer | RequestError::TooManyPending | RequestError::Denied(_) => {
            Fault::Nothing
        }
        error => Fault::Silent(error.to_string()),
    })?;
    let Ok(SyncResponse::Blocks(bytes)) = decode(&answer) else { return Err(Fault::Lie("malformed")) };
    if bytes.is_empty() {
        return Err(Fault::Nothing);
    }
    download.buffer.extend_from_slice(&bytes);
    let bytes = bytes.len();
    let (blocks, read) = frames(download)?;
    // A page ends within a block only where it is full.
    if read < download.buffer.len() && bytes < SyncResponse::PAGE_BYTES {
        return Err(Fault::Lie("a page that is not full"));
    }
    // Hundreds of certificates may be in it.
    let judge = |sets: &ValidatorSets| block_in_place(|| decided(network, sets, download.next, &blocks));
    let blocks = sets.judge(mesh, download.peer, judge).await.map_err(|refused| match refused {
        Refused::Judged(_) => Fault::Lie("not decided"),
        Refused::NotShown(NotShown::Busy) => Fault::Nothing,
        Refused::NotShown(NotShown::Silent(why)) => Fault::Silent(why),
        Refused::NotShown(NotShown::Lie(what)) => Fault::Lie(what),
    })?;
    download.buffer.drain(..read);
    Ok(Page { blocks, bytes })
}

/// A block and its length in a page.
type Framed<B> = (B, usize);

/// The whole blocks in what has come, and how many bytes they take.
fn frames(download: &Download) -> Result<(Vec<Framed<CertifiedBlock>>, usize), Fault> {
    let (mut blocks, mut read, mut height) = (Vec::new(), 0, download.next);
    while let Some((block, length)) = take_frame(&download.buffer[read..]).map_err(|_| Fault::Lie("malformed"))? {
        if height > download.to {
            return Err(Fault::Lie("not asked for"));
        }
        blocks.push((block, length));
        read += length;
        height = height.next();
    }
    Ok((blocks, read))
}

/// These blocks, if the validators of their heights, which begin with `next`, have decided on them.
fn decided(
    network: &NetworkId,
    sets: &ValidatorSets,
    next: Height,
    blocks: &[Framed<CertifiedBlock>],
) -> Result<Vec<Framed<Verified<CertifiedBlock>>>, Refusal> {
    let heights = (next.get()..).map(Height::new);
    let of = |((block, length), height): (&Framed<CertifiedBlock>, Height)| {
        Ok((admission::decided(network, sets, height, block.clone())?, *length))
    };
    blocks.iter().zip(heights).map(of).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests;
