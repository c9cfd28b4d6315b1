//! Asks peers for what gossip has not brought: proposals and their items, commitments and reveals, and decided blocks.
//!
//! Everything that comes back is checked as strictly as gossip before the driver sees it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::admission::{Refusal, View};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::replica::Input;
use lucid_p2p::{Mesh, Protocol};
use lucid_types::block::{Item, ItemId};
use lucid_types::codec::{decode, encode};
use lucid_types::id::NodeId;
use lucid_types::sync::{CertifiedBlock, SyncRequest, SyncResponse};
use lucid_types::time::{Height, UnixMillis};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::clock::Clock;

/// Questions that wait to be asked.
pub const QUESTIONS: usize = 256;
/// Questions in flight; the mesh lets 8 of them wait for one peer, so that a slow one does not hold up all.
const IN_FLIGHT: usize = 64;
/// Peers that blocks are taken from at a time: a second one, should the first be slow. Further hints that there are
/// more blocks are dropped; the next one comes within half an epoch.
const CATCH_UPS: usize = 2;
/// Blocks asked for at a time; a peer answers with as many as fit.
const BLOCKS: u64 = 256;
/// Until a block that is known to be decided is here, another peer is asked this often.
const BLOCKS_RETRY: Duration = Duration::from_millis(500);
/// A block that has been handed over is stored within this time, or not at all.
const STORING: Duration = Duration::from_secs(5);

/// What the fetcher works with.
pub struct FetcherParts {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// The mesh.
    pub mesh: Mesh,
    /// Questions, with whom to ask; any peer if nobody is named.
    pub questions: mpsc::Receiver<(Option<NodeId>, SyncRequest)>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Takes what came back.
    pub driver: mpsc::Sender<Box<Input>>,
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
    spec: Arc<ChainSpec>,
    mesh: Mesh,
    clock: Arc<dyn Clock>,
    driver: mpsc::Sender<Box<Input>>,
    head: watch::Receiver<Head>,
    best_seen: watch::Sender<Height>,
    catch_ups: Arc<Semaphore>,
}

impl Fetcher {
    /// A fetcher that has not asked anything yet.
    pub fn new(parts: FetcherParts) -> Self {
        Self { parts, catch_ups: Arc::new(Semaphore::new(CATCH_UPS)) }
    }

    /// Asks until `stop`. Beside the questions it gets, it asks a peer for its newest block every half epoch, and for blocks that
    /// are known to be decided until they are here.
    pub async fn run(mut self, stop: CancellationToken) {
        let period = (self.parts.spec.policy().epoch() / 2).clamp(Duration::from_millis(500), Duration::from_secs(15));
        let mut tips = tokio::time::interval(period);
        tips.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retries = tokio::time::interval(BLOCKS_RETRY);
        retries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut decided = Height::ZERO;
        let mut in_flight = JoinSet::new();
        // What a peer is being asked it is not asked again: its answer may be large and slow.
        let mut open = HashSet::new();
        loop {
            let has_room = in_flight.len() < IN_FLIGHT;
            let (peer, request) = tokio::select! {
                () = stop.cancelled() => return,
                Some(ended) = in_flight.join_next() => {
                    match ended {
                        Ok(asked) => drop(open.remove(&asked)),
                        // Whichever it was.
                        Err(_panicked) => open.clear(),
                    }
                    continue;
                }
                _ = tips.tick(), if has_room => (None, SyncRequest::Tip),
                _ = retries.tick(), if has_room && self.height() < decided => {
                    (None, SyncRequest::Blocks { from: self.height().next(), to: decided })
                }
                question = self.parts.questions.recv(), if has_room => match question {
                    Some(question) => question,
                    None => return,
                },
            };
            if let SyncRequest::Blocks { to, .. } = &request {
                decided = decided.max(*to);
            }
            let named = peer.filter(|peer| *peer != self.parts.mesh.node_id());
            let Some(first) = named.or_else(|| self.any_peer()) else { continue };
            if !open.insert((first, request.clone())) {
                continue;
            }
            // The first may be gone: somebody else is asked then.
            let second = self.any_peer().filter(|peer| *peer != first);
            let question = Question {
                spec: Arc::clone(&self.parts.spec),
                mesh: self.parts.mesh.clone(),
                clock: Arc::clone(&self.parts.clock),
                driver: self.parts.driver.clone(),
                head: self.parts.head.clone(),
                best_seen: self.parts.best_seen.clone(),
                catch_ups: Arc::clone(&self.catch_ups),
            };
            in_flight.spawn(async move {
                for peer in [Some(first), second].into_iter().flatten() {
                    if question.ask(peer, &request).await {
                        break;
                    }
                }
                (first, request)
            });
        }
    }

    fn height(&self) -> Height {
        self.parts.head.borrow().state.height
    }

    /// Any of the connected validators, or of the connected peers if no validator is connected. At random: taking turns
    /// would give every other question to the same peer, who may be the one that does not know.
    fn any_peer(&self) -> Option<NodeId> {
        let set = self.parts.spec.validators(self.height().next());
        let peers: Vec<_> = self.parts.mesh.peers().into_iter().map(|peer| peer.node_id).collect();
        let validators: Vec<_> = peers.iter().copied().filter(|peer| set.get(peer).is_some()).collect();
        let choice = if validators.is_empty() { peers } else { validators };
        let draw = usize::try_from(getrandom::u32().ok()?).ok()?;
        choice.get(draw.checked_rem(choice.len())?).copied()
    }
}

impl Question {
    /// False if this peer could not help. What answers another question than was asked is no help.
    async fn ask(&self, peer: NodeId, request: &SyncRequest) -> bool {
        match request {
            SyncRequest::Blocks { to, .. } => self.catch_up(peer, *to).await,
            SyncRequest::Tip => {
                let Some(SyncResponse::Tip { height, .. }) = self.request(peer, request).await else { return false };
                self.best_seen.send_if_modified(|best| {
                    let is_higher = height > *best;
                    *best = height.max(*best);
                    is_higher
                });
                self.catch_up(peer, height).await;
                true
            }
            SyncRequest::Proposal { .. } | SyncRequest::Items(_) | SyncRequest::Reports { .. } => {
                let Some(response) = self.request(peer, request).await else { return false };
                let (spec, state) = (Arc::clone(&self.spec), Arc::clone(&self.head.borrow().state));
                let (request, source) = (request.clone(), Source { peer, arrived: self.clock.now() });
                // Thousands of signatures may be in it.
                let judged = move || judge(&View { spec: &spec, state: &state }, &request, response, source);
                let Ok(inputs) = tokio::task::spawn_blocking(judged).await else { return false };
                let is_help = !inputs.is_empty();
                for input in inputs {
                    self.tell(input).await;
                }
                is_help
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
            if !self.adopt(from, blocks).await {
                return is_progress;
            }
            is_progress = true;
        }
    }

    /// Hands consecutive decided blocks to the driver one by one; false if none was new and right.
    async fn adopt(&self, from: Height, blocks: Vec<CertifiedBlock>) -> bool {
        let mut is_progress = false;
        for (height, decided) in (from.get()..).map(Height::new).zip(blocks) {
            if height <= self.height() {
                continue;
            }
            let state = Arc::clone(&self.head.borrow().state);
            let admitted = View { spec: &self.spec, state: &state }.decided(height, decided);
            let Some(decided) = admitted.inspect_err(refused).ok() else { return false };
            self.tell(Input::Decided(decided)).await;
            // The next block follows only when this one has been stored.
            let mut head = self.head.clone();
            let stored = head.wait_for(|head| head.state.height >= height);
            if !matches!(tokio::time::timeout(STORING, stored).await, Ok(Ok(_))) {
                return false;
            }
            is_progress = true;
        }
        is_progress
    }

    /// Waits for room: what a peer sends is taken no faster than it can be handled.
    async fn tell(&self, input: Input) {
        // The driver has ended: so will this task.
        let _ended = self.driver.send(Box::new(input)).await;
    }
}

/// Where an answer came from, and when.
#[derive(Clone, Copy)]
struct Source {
    peer: NodeId,
    arrived: UnixMillis,
}

fn refused(refusal: &Refusal) {
    tracing::debug!(?refusal, "an answer was refused");
}

/// What of an answer may be used: what was asked for, each thing once, by the rules of gossip. Nothing is verified that was not
/// asked for.
fn judge(view: &View<'_>, request: &SyncRequest, response: SyncResponse, source: Source) -> Vec<Input> {
    let admitted: Vec<Result<Input, Refusal>> = match (request, response) {
        (SyncRequest::Proposal { round, block }, SyncResponse::Proposal(Some(proposal))) => {
            let Source { peer: from, arrived } = source;
            let (record, asked) = (proposal.proposal.record, (*round, *block));
            let admit = || view.proposal(*proposal).map(|proposal| Input::Proposal { proposal, from, arrived });
            ((record.round, record.block) == asked).then(admit).into_iter().collect()
        }
        (SyncRequest::Items(ids), SyncResponse::Items(items)) => {
            items_among(view, ids, items).map(Ok).into_iter().collect()
        }
        (SyncRequest::Reports { epoch, have_commitments, have_reveals }, SyncResponse::Items(items)) => {
            let mut commitments: BTreeSet<_> = have_commitments.iter().copied().collect();
            let mut reveals: BTreeSet<_> = have_reveals.iter().copied().collect();
            let admit = |item| match item {
                Item::Commitment(it) if it.record.epoch == *epoch && commitments.insert(it.signer) => {
                    Some(view.commitment(it).map(Input::Commitment))
                }
                Item::Reveal(it) if it.record.report.epoch == *epoch && reveals.insert(it.signer) => {
                    Some(view.reveal(it).map(Input::Reveal))
                }
                _ => None,
            };
            items.into_iter().filter_map(admit).collect()
        }
        _ => Vec::new(),
    };
    admitted.into_iter().filter_map(|admitted| admitted.inspect_err(refused).ok()).collect()
}

/// The items that were asked for, and which of the ids name no item.
fn items_among(view: &View<'_>, ids: &[ItemId], items: Vec<Item>) -> Option<Input> {
    let mut wanted: BTreeSet<_> = ids.iter().copied().collect();
    let (mut verified, mut broken) = (Vec::new(), Vec::new());
    for item in items {
        let id = item.reference().id;
        if wanted.remove(&id) {
            match item.verify(view.spec.id()) {
                Ok(item) => verified.push(item),
                Err(_) => broken.push(id),
            }
        }
    }
    let is_any = !verified.is_empty() || !broken.is_empty();
    is_any.then_some(Input::Items { items: verified, broken })
}

#[cfg(test)]
#[expect(clippy::panic, clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
