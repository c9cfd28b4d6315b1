//! Asks peers for what gossip has not brought: proposals and their items, commitments and reveals, and the newest certificate.
//! Blocks are fetched by [`catch_up`](crate::chain::catch_up).
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
use lucid_types::certificate::Certificate;
use lucid_types::codec::{decode, encode};
use lucid_types::id::{NodeId, PublicKey};
use lucid_types::sync::{SyncRequest, SyncResponse};
use lucid_types::time::UnixMillis;
use lucid_types::validator_sets::ValidatorSets;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::chain::sets::KnownSets;
use crate::clock::Clock;

/// Questions that wait to be asked.
pub const QUESTIONS: usize = 256;
/// Questions in flight; the mesh lets 8 of them wait for one peer, so that a slow one does not hold up all.
const IN_FLIGHT: usize = 64;

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
    /// The validators of later heights.
    pub sets: Arc<KnownSets>,
}

/// The fetcher. [`Self::run`] it.
pub struct Fetcher {
    parts: FetcherParts,
}

/// One question's worker.
struct Question {
    spec: Arc<ChainSpec>,
    mesh: Mesh,
    clock: Arc<dyn Clock>,
    driver: mpsc::Sender<Box<Input>>,
    head: watch::Receiver<Head>,
    sets: Arc<KnownSets>,
}

impl Fetcher {
    /// A fetcher that has not asked anything yet.
    pub const fn new(parts: FetcherParts) -> Self {
        Self { parts }
    }

    /// Asks until `stop`. Beside the questions it gets, it asks a peer for its newest certificate every half epoch.
    pub async fn run(mut self, stop: CancellationToken) {
        let period = (self.parts.spec.fixed().epoch() / 2).clamp(Duration::from_millis(500), Duration::from_secs(15));
        let mut polls = tokio::time::interval(period);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                _ = polls.tick(), if has_room => (self.anybody(), SyncRequest::Head),
                question = self.parts.questions.recv(), if has_room => match question {
                    Some((peer, request)) => (peer.and_then(|account| self.key_of(&account)), request),
                    None => return,
                },
            };
            let named = peer.filter(|peer| *peer != self.parts.mesh.public_key());
            let Some(first) = named.or_else(|| self.a_validator()) else { continue };
            if !open.insert((first, request.clone())) {
                continue;
            }
            // The first may be gone: somebody else is asked then.
            let second = self.a_validator().filter(|peer| *peer != first);
            let question = Question {
                spec: Arc::clone(&self.parts.spec),
                mesh: self.parts.mesh.clone(),
                clock: Arc::clone(&self.parts.clock),
                driver: self.parts.driver.clone(),
                head: self.parts.head.clone(),
                sets: Arc::clone(&self.parts.sets),
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

    /// The node key of whom the replica wants to be asked.
    fn key_of(&self, account: &NodeId) -> Option<PublicKey> {
        self.parts.head.borrow().state.key_of(account)
    }

    /// Any of the connected validators, or of the connected peers if no validator is connected.
    fn a_validator(&self) -> Option<PublicKey> {
        let state = self.parts.head.borrow().state.clone();
        let peers = self.peers();
        let validators: Vec<_> = peers.iter().copied().filter(|peer| state.is_validator(peer)).collect();
        any_of(if validators.is_empty() { &peers } else { &validators })
    }

    /// Any of the connected peers: validators alone could agree to hide blocks.
    fn anybody(&self) -> Option<PublicKey> {
        any_of(&self.peers())
    }

    fn peers(&self) -> Vec<PublicKey> {
        self.parts.mesh.peers().into_iter().map(|peer| peer.key).collect()
    }
}

/// One of these at random: taking turns would give every other question to the same peer, who may be the one that does not know.
fn any_of(peers: &[PublicKey]) -> Option<PublicKey> {
    let draw = usize::try_from(getrandom::u32().ok()?).ok()?;
    peers.get(draw.checked_rem(peers.len())?).copied()
}

impl Question {
    /// False if this peer could not help. What answers another question than was asked is no help.
    async fn ask(&self, peer: PublicKey, request: &SyncRequest) -> bool {
        let Some(response) = self.request(peer, request).await else { return false };
        // That a peer knows no more is an answer too.
        if let (SyncRequest::Head, SyncResponse::Head { newest, .. }) = (request, &response) {
            if let Some(certificate) = newest {
                self.newest(peer, certificate).await;
            }
            return true;
        }
        let (spec, state) = (Arc::clone(&self.spec), self.head.borrow().state.clone());
        let (request, source) = (request.clone(), Source { peer, arrived: self.clock.now() });
        // Thousands of signatures may be in it.
        let judged = move || judge(&View { spec: &spec, state: &state }, &request, response, source);
        let Ok(inputs) = tokio::task::spawn_blocking(judged).await else { return false };
        let is_help = !inputs.is_empty();
        for input in inputs {
            // Waits for room: what a peer sends is taken no faster than it can be handled. Should the driver have ended, so will this.
            let _ended = self.driver.send(Box::new(input)).await;
        }
        is_help
    }

    /// Hands on a peer's newest certificate, if it proves what this node does not know. It may be of validators of whom only the peer knows.
    async fn newest(&self, peer: PublicKey, certificate: &Certificate) {
        let state = self.head.borrow().state.clone();
        if certificate.height <= state.height() {
            return;
        }
        let view = View { spec: &self.spec, state: &state };
        let admit = |sets: &ValidatorSets| block_in_place(|| view.certificate(sets, certificate.clone()));
        match self.sets.judge(&self.mesh, peer, admit).await {
            // Should the driver have ended, so will this.
            Ok(certificate) => drop(self.driver.send(Box::new(Input::Certificate(certificate))).await),
            Err(refusal) => tracing::debug!(%peer, ?refusal, "a peer's newest certificate was refused"),
        }
    }

    async fn request(&self, peer: PublicKey, request: &SyncRequest) -> Option<SyncResponse> {
        match self.mesh.request(peer, Protocol::Sync, encode(request)).await {
            Ok(bytes) => decode(&bytes).inspect_err(|error| tracing::debug!(%peer, %error, "malformed answer")).ok(),
            Err(error) => {
                tracing::debug!(%peer, %error, "a peer did not answer");
                None
            }
        }
    }
}

/// Where an answer came from, and when.
#[derive(Clone, Copy)]
struct Source {
    peer: PublicKey,
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
            let Source { peer, arrived } = source;
            let (record, asked) = (proposal.proposal.record, (*round, *block));
            let admit = || {
                let from = view.bearer(&peer, &proposal)?;
                view.proposal(*proposal).map(|proposal| Input::Proposal { proposal, from, arrived })
            };
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
