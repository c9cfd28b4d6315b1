//! Asks peers for what gossip has not brought: proposed bodies, commits and reveals, and decided blocks.
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
use lucid_types::time::EpochNumber;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::chain::driver::ToDriver;
use crate::chain::head::Head;

/// Questions that wait to be asked.
pub const QUESTIONS: usize = 256;
/// Questions in flight.
const IN_FLIGHT: usize = 16;
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
    pub best_seen: watch::Sender<EpochNumber>,
}

/// The fetcher. [`Self::run`] it.
pub struct Fetcher {
    parts: FetcherParts,
    turn: usize,
}

/// One question's worker.
struct Question {
    network: Arc<Network>,
    mesh: Mesh,
    driver: mpsc::Sender<ToDriver>,
    head: watch::Receiver<Head>,
    best_seen: watch::Sender<EpochNumber>,
}

impl Fetcher {
    /// A fetcher that has not asked anything yet.
    pub const fn new(parts: FetcherParts) -> Self {
        Self { parts, turn: 0 }
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
            let Some(peer) = peer.filter(|p| *p != self.parts.mesh.node_id()).or_else(|| self.any_peer()) else {
                continue;
            };
            let question = Question {
                network: Arc::clone(&self.parts.network),
                mesh: self.parts.mesh.clone(),
                driver: self.parts.driver.clone(),
                head: self.parts.head.clone(),
                best_seen: self.parts.best_seen.clone(),
            };
            in_flight.spawn(async move { question.ask(peer, request).await });
        }
    }

    /// The connected validators in turn, or any connected peers in turn if no validator is connected.
    fn any_peer(&mut self) -> Option<NodeId> {
        let next = self.parts.head.borrow().state.height.next();
        let set = self.parts.network.validators(next);
        let peers: Vec<_> = self.parts.mesh.peers().into_iter().map(|peer| peer.node_id).collect();
        let validators: Vec<_> = peers.iter().copied().filter(|peer| set.get(peer).is_some()).collect();
        let choice = if validators.is_empty() { peers } else { validators };
        self.turn = self.turn.wrapping_add(1);
        choice.get(self.turn.checked_rem(choice.len())?).copied()
    }
}

impl Question {
    async fn ask(&self, peer: NodeId, request: SyncRequest) {
        match self.request(peer, &request).await {
            Some(SyncResponse::Tip { height, .. }) => self.catch_up(peer, height).await,
            Some(SyncResponse::Blocks(blocks)) => {
                self.adopt(blocks).await;
            }
            Some(SyncResponse::Body(Some(block))) => {
                if let Ok(block) = block.verify(self.network.id()) {
                    self.tell(Input::Body { round: 0, block }).await;
                }
            }
            Some(SyncResponse::Body(None)) | None => {}
            Some(SyncResponse::Reports { commits, reveals }) => {
                for commit in commits {
                    if let Ok(commit) = commit.verify(self.network.id()) {
                        self.tell(Input::Commit(commit)).await;
                    }
                }
                for reveal in reveals {
                    if let Ok(reveal) = reveal.verify(self.network.id()) {
                        self.tell(Input::Reveal(reveal)).await;
                    }
                }
            }
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

    fn height(&self) -> EpochNumber {
        self.head.borrow().state.height
    }

    /// Takes blocks from a peer that claims to have more, as long as they are right.
    async fn catch_up(&self, peer: NodeId, claimed: EpochNumber) {
        self.best_seen.send_if_modified(|best| {
            let is_higher = claimed > *best;
            *best = claimed.max(*best);
            is_higher
        });
        loop {
            let from = self.height().next();
            if claimed < from {
                return;
            }
            let to = EpochNumber::new(from.get().saturating_add(BLOCKS - 1)).min(claimed);
            let Some(SyncResponse::Blocks(blocks)) = self.request(peer, &SyncRequest::Blocks { from, to }).await else {
                return;
            };
            if !self.adopt(blocks).await {
                return;
            }
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
