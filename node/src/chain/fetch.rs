//! Asks peers for what gossip has not brought: proposed bodies, commitments and reveals, and decided blocks.
//!
//! Everything that comes back is checked as strictly as gossip before the driver sees it.

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::network::Network;
use lucid_consensus::replica::Input;
use lucid_p2p::{Mesh, Protocol};
use lucid_types::codec::{decode, encode};
use lucid_types::id::NodeId;
use lucid_types::sync::{Decided, SyncRequest, SyncResponse};
use lucid_types::time::Height;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::chain::driver::ToDriver;
use crate::chain::head::Head;

/// Questions that wait to be asked.
pub const QUESTIONS: usize = 256;
/// Questions in flight; the mesh lets 8 of them wait for one peer, so that a slow one does not hold up all.
const IN_FLIGHT: usize = 64;
/// Peers that blocks are taken from at a time: a second one, should the first be slow. Further hints that there are
/// more blocks are dropped; the next one comes within half an epoch.
const CATCH_UPS: usize = 2;
/// Blocks asked for at a time; a peer answers with as many as fit.
const BLOCKS: u64 = 256;

/// What the fetcher works with.
pub struct FetcherParts {
    /// The network.
    pub network: Arc<Network>,
    /// The mesh.
    pub mesh: Mesh,
    /// Questions, with whom to ask; any peer if nobody is named.
    pub questions: mpsc::Receiver<(Option<NodeId>, SyncRequest)>,
    /// Takes what came back.
    pub driver: mpsc::Sender<ToDriver>,
    /// The newest block.
    pub head: watch::Receiver<Head>,
    /// Takes the highest block that a peer claims.
    pub best_seen: watch::Sender<Height>,
}

/// The fetcher. [`Self::run`] it.
pub struct Fetcher {
    parts: FetcherParts,
    catch_ups: Arc<Semaphore>,
}

/// One question's worker.
struct Question {
    network: Arc<Network>,
    mesh: Mesh,
    driver: mpsc::Sender<ToDriver>,
    head: watch::Receiver<Head>,
    best_seen: watch::Sender<Height>,
    catch_ups: Arc<Semaphore>,
}

impl Fetcher {
    /// A fetcher that has not asked anything yet.
    pub fn new(parts: FetcherParts) -> Self {
        Self { parts, catch_ups: Arc::new(Semaphore::new(CATCH_UPS)) }
    }

    /// Asks until `stop`. Beside the questions it gets, it asks a peer for its newest block every half epoch.
    pub async fn run(mut self, stop: CancellationToken) {
        let period =
            (self.parts.network.policy().epoch() / 2).clamp(Duration::from_millis(500), Duration::from_secs(15));
        let mut tips = tokio::time::interval(period);
        tips.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut in_flight = JoinSet::new();
        loop {
            let has_room = in_flight.len() < IN_FLIGHT;
            let (peer, request) = tokio::select! {
                () = stop.cancelled() => return,
                Some(_ended) = in_flight.join_next() => continue,
                _ = tips.tick(), if has_room => (None, SyncRequest::Tip),
                question = self.parts.questions.recv(), if has_room => match question {
                    Some(question) => question,
                    None => return,
                },
            };
            let named = peer.filter(|peer| *peer != self.parts.mesh.node_id());
            let mut peers: Vec<_> = named.into_iter().collect();
            // Whoever is named may be gone: somebody else is asked then.
            peers.extend(self.any_peer().filter(|peer| Some(*peer) != named));
            let question = Question {
                network: Arc::clone(&self.parts.network),
                mesh: self.parts.mesh.clone(),
                driver: self.parts.driver.clone(),
                head: self.parts.head.clone(),
                best_seen: self.parts.best_seen.clone(),
                catch_ups: Arc::clone(&self.catch_ups),
            };
            in_flight.spawn(async move {
                for peer in peers {
                    if question.ask(peer, &request).await {
                        return;
                    }
                }
            });
        }
    }

    /// Any of the connected validators, or of the connected peers if no validator is connected. At random: taking turns
    /// would give every other question to the same peer, who may be the one that does not know.
    fn any_peer(&self) -> Option<NodeId> {
        let next = self.parts.head.borrow().state.height.next();
        let set = self.parts.network.validators(next);
        let peers: Vec<_> = self.parts.mesh.peers().into_iter().map(|peer| peer.node_id).collect();
        let validators: Vec<_> = peers.iter().copied().filter(|peer| set.get(peer).is_some()).collect();
        let choice = if validators.is_empty() { peers } else { validators };
        let draw = usize::try_from(getrandom::u32().ok()?).ok()?;
        choice.get(draw.checked_rem(choice.len())?).copied()
    }
}

impl Question {
    /// False if this peer could not help.
    async fn ask(&self, peer: NodeId, request: &SyncRequest) -> bool {
        if let SyncRequest::Blocks { to, .. } = request {
            return self.catch_up(peer, *to).await;
        }
        match self.request(peer, request).await {
            Some(SyncResponse::Tip { height, .. }) => {
                self.best_seen.send_if_modified(|best| {
                    let is_higher = height > *best;
                    *best = height.max(*best);
                    is_higher
                });
                self.catch_up(peer, height).await;
                true
            }
            Some(SyncResponse::Body(Some(block))) => match block.verify(self.network.id()) {
                Ok(block) => {
                    self.tell(Input::Body(block)).await;
                    true
                }
                Err(_) => false,
            },
            Some(SyncResponse::Reports { commitments, reveals }) => {
                for commitment in commitments {
                    if let Ok(commitment) = commitment.verify(self.network.id()) {
                        self.tell(Input::Commitment(commitment)).await;
                    }
                }
                for reveal in reveals {
                    if let Ok(reveal) = reveal.verify(self.network.id()) {
                        self.tell(Input::Reveal(reveal)).await;
                    }
                }
                true
            }
            Some(SyncResponse::Blocks(_) | SyncResponse::Body(None)) | None => false,
        }
    }

    async fn request(&self, peer: NodeId, request: &SyncRequest) -> Option<SyncResponse> {
        match self.mesh.request(peer, Protocol::Sync, encode(request)).await {
            Ok(bytes) => decode(&bytes).inspect_err(|error| tracing::debug!(%peer, %error, "malformed answer")).ok(),
            Err(error) => {
                tracing::debug!(%peer, %error, "a peer did not answer");
                None
            }
        }
    }

    fn height(&self) -> Height {
        self.head.borrow().state.height
    }

    /// Takes blocks from a peer that claims to have more, as long as they are right; false if none was. Does nothing
    /// while enough others are at it.
    async fn catch_up(&self, peer: NodeId, claimed: Height) -> bool {
        let Ok(_permit) = self.catch_ups.try_acquire() else { return true };
        let mut is_progress = false;
        loop {
            let from = self.height().next();
            if claimed < from {
                return true;
            }
            let to = Height::new(from.get().saturating_add(BLOCKS - 1)).min(claimed);
            let Some(SyncResponse::Blocks(blocks)) = self.request(peer, &SyncRequest::Blocks { from, to }).await else {
                return is_progress;
            };
            if !self.adopt(blocks).await {
                return is_progress;
            }
            is_progress = true;
        }
    }

    /// Hands decided blocks to the driver one by one; false if none was new and right.
    async fn adopt(&self, blocks: Vec<Decided>) -> bool {
        let mut is_progress = false;
        for decided in blocks {
            let height = decided.block.height;
            if height <= self.height() {
                continue;
            }
            let set = self.network.validators(height);
            let Ok(decided) = decided.verify(self.network.id(), set) else { return false };
            self.tell(Input::Decided(decided)).await;
            // The next block follows only when this one has been stored.
            let mut head = self.head.clone();
            let stored = head.wait_for(|head| head.state.height >= height);
            if !matches!(tokio::time::timeout(Duration::from_secs(5), stored).await, Ok(Ok(_))) {
                return false;
            }
            is_progress = true;
        }
        is_progress
    }

    /// Waits for room: what a peer sends is taken no faster than it can be handled.
    async fn tell(&self, input: Input) {
        // The driver has ended: so will this task.
        let _ended = self.driver.send(ToDriver::Input(Box::new(input))).await;
    }
}
