//! Fetches a snapshot.
//!
//! A page that does not lead to the root is its sender's fault, who is asked no more. Whoever goes away or has nothing rests, and is
//! replaced by another peer with the same state; if there is none any more, a newer snapshot is begun. What was fetched survives a
//! crash: the pages are staged beside the state in force, and the next start goes on after the last of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::{StateBuilder, StateError};
use lucid_p2p::{Mesh, Protocol, RequestError};
use lucid_storage::{StorageError, Store};
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::id::{NodeId, StateRoot};
use lucid_types::proof::{KeyProof, ProofStep};
use lucid_types::sync::{CertifiedHeader, SnapshotRows, SyncRequest, SyncResponse};
use lucid_types::time::Height;
use serde::{Deserialize, Serialize};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, timeout};

use crate::chain::pin::{self, OtherBlock};
use crate::chain::snapshot::Snapshot;
use crate::config::Pin;

/// How long until peers are asked again when no snapshot can be fetched.
const PAUSE: Duration = Duration::from_secs(1);
/// How often in a row nobody may offer the snapshot that is being fetched, before another one is begun.
const MISSES: u32 = 3;
/// Peers that are asked for snapshots at a time.
const MAX_ASKED: usize = 16;
/// How long they have for answers that are no pages.
const ANSWER: Duration = Duration::from_secs(5);
/// Whoever takes longer for a page is asked for the next one after all others.
const SLOW: Duration = Duration::from_secs(5);
/// How long until a busy peer is asked again, and how often in a row.
const BUSY: Duration = Duration::from_millis(200);
const MAX_BUSY: u32 = 10;
/// For how long whoever gave nothing is not asked, unless there is nobody else.
const REST: Duration = Duration::from_secs(30);
/// Liars that are remembered.
const MAX_LIARS: usize = 1_024;
/// How often the log tells how far it is, and what is waited for.
const TELL_PROGRESS: Duration = Duration::from_secs(5);
const TELL_WAITING: Duration = Duration::from_secs(30);

/// Why no snapshot can be fetched.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The store failed.
    #[error("stage a snapshot")]
    Storage(#[from] StorageError),
    /// The peers' chain is not the one that was meant.
    #[error(transparent)]
    Pinned(#[from] OtherBlock),
    /// The validators have certified rows that are no state.
    #[error("the rows that the validators have certified with block {height} are no state of this version")]
    State {
        /// The block.
        height: Height,
        /// Why they are none.
        #[source]
        source: StateError,
    },
}

/// What decides whether a page's rows follow the rows before: gives the rows with those of the page.
type Check = fn(&StateBuilder, &SnapshotRows, &StateRoot) -> Option<StateBuilder>;

/// Fetches a snapshot. [`Self::run`] it.
pub struct Download {
    spec: Arc<ChainSpec>,
    mesh: Mesh,
    store: Store,
    pinned: Option<Pin>,
    check: Check,
}

/// A snapshot that peers offer.
struct Offer {
    block: CertifiedHeader,
    peers: Vec<NodeId>,
}

/// Why a peer brought nothing.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It has too much to do, or we have asked too often.
    Busy,
    /// It does not answer, or does not have it.
    Nothing,
    /// It said something that is not so.
    Lie(&'static str),
}

/// What is noted of a download beside its rows.
#[derive(Serialize, Deserialize)]
struct Progress {
    block: CertifiedHeader,
    /// The steps to the right of the last row.
    right: Vec<ProofStep>,
}

impl Wire for Progress {
    const MAX_BYTES: usize = CertifiedHeader::MAX_BYTES + 8 + KeyProof::MAX_STEPS * 34;
}

/// What has been fetched of a snapshot.
struct Fetched {
    progress: Progress,
    builder: StateBuilder,
    n_rows: u64,
    bytes: u64,
}

impl Fetched {
    fn new(block: CertifiedHeader) -> Self {
        let progress = Progress { block, right: Vec::new() };
        Self { progress, builder: StateBuilder::default(), n_rows: 0, bytes: 0 }
    }

    const fn block(&self) -> &CertifiedHeader {
        &self.progress.block
    }

    fn count(&mut self, bytes: usize) {
        self.n_rows += 1;
        self.bytes += u64::try_from(bytes).unwrap_or(0);
    }

    /// Whether the last row of the state is there.
    fn is_whole(&self) -> bool {
        self.builder.last_key().is_some() && self.progress.right.is_empty()
    }

    fn finish(self) -> Result<Snapshot, SnapshotError> {
        let Self { progress: Progress { block, .. }, builder, n_rows, bytes } = self;
        let height = block.header.height;
        tracing::info!(%height, rows = n_rows, bytes, "the snapshot is whole");
        let state = builder.finish(block.header.hash()).map_err(|source| SnapshotError::State { height, source })?;
        Ok(Snapshot { block: Arc::new(block), state })
    }
}

impl Download {
    /// A download that stages rows in `store`, of a chain that has the `pinned` block.
    pub fn new(spec: Arc<ChainSpec>, mesh: Mesh, store: Store, pinned: Option<Pin>) -> Self {
        Self { spec, mesh, store, pinned, check: checked }
    }

    /// Gives up what is staged, if anything is.
    ///
    /// # Errors
    /// The store failed.
    pub fn abandon(&self) -> Result<(), StorageError> {
        if self.store.restore_progress()?.is_some() { self.store.abandon_restore() } else { Ok(()) }
    }

    /// Fetches the newest snapshot above a height and stages it, however long it takes.
    ///
    /// # Errors
    /// The store failed, or the chain is not the pinned one.
    pub async fn run(&self, above: Height) -> Result<Snapshot, SnapshotError> {
        self.search(above, &mut Search::default()).await
    }

    async fn search(&self, above: Height, search: &mut Search) -> Result<Snapshot, SnapshotError> {
        let mut begun = block_in_place(|| self.resume(above))?;
        loop {
            let peers = search.peers(&self.mesh);
            let lack = if peers.is_empty() { Lack::Peers } else { Lack::Snapshot };
            if let Some(pin) = self.pinned.filter(|_| !search.is_pin_shown) {
                search.is_pin_shown = self.has_pinned(pin, &peers, search).await?;
                if !search.is_pin_shown {
                    search.wait(if peers.is_empty() { Lack::Peers } else { Lack::Pin(pin.height) }).await;
                    continue;
                }
            }
            if let Some(whole) = begun.take_if(|begun| begun.is_whole()) {
                return whole.finish();
            }
            let offers = self.offers(above, &peers, search).await?;
            let Some((mut fetched, peers)) = self.choose(begun.take(), offers, search)? else {
                search.wait(lack).await;
                continue;
            };
            let is_offered = !peers.is_empty();
            self.fetch(&mut fetched, peers, search).await?;
            if fetched.is_whole() {
                return fetched.finish();
            }
            begun = Some(fetched);
            if is_offered {
                sleep(PAUSE).await;
            } else {
                search.wait(lack).await;
            }
        }
    }

    /// What was staged before a crash, if it still is of use.
    fn resume(&self, above: Height) -> Result<Option<Fetched>, StorageError> {
        let Some(progress) = self.store.restore_progress()? else { return Ok(None) };
        let Ok(progress) = decode::<Progress>(&progress) else { return Ok(None) };
        let height = progress.block.header.height;
        if height <= above || progress.block.clone().verify(self.spec.id(), self.spec.validators(height)).is_err() {
            return Ok(None);
        }
        let mut fetched = Fetched { progress, builder: StateBuilder::default(), n_rows: 0, bytes: 0 };
        for row in self.store.restored_rows() {
            let (key, value) = row?;
            if fetched.builder.push(&key, &value).is_err() {
                return Ok(None);
            }
            fetched.count(16 + key.len() + value.len());
        }
        if fetched.n_rows == 0 {
            return Ok(None);
        }
        // What is damaged on disk is begun anew: it must not be the next peer's fault.
        let root = fetched.builder.root_with(&fetched.progress.right);
        if root != Some(fetched.block().header.state_root) {
            tracing::warn!(%height, "what was fetched of a snapshot is damaged on disk: it is begun anew");
            return Ok(None);
        }
        tracing::info!(%height, rows = fetched.n_rows, "going on with a snapshot");
        Ok(Some(fetched))
    }

    /// Which snapshot is fetched from whom: the one that was begun, as long as somebody offers it. Else the newest, if possible one that
    /// several peers have.
    fn choose(
        &self,
        begun: Option<Fetched>,
        offers: BTreeMap<Height, Offer>,
        search: &mut Search,
    ) -> Result<Option<(Fetched, Vec<NodeId>)>, StorageError> {
        if let Some(begun) = begun.filter(|begun| begun.n_rows > 0) {
            let header = &begun.block().header;
            let is_it = |offer: &&Offer| offer.block.header == *header;
            if let Some(offer) = offers.get(&header.height).filter(is_it) {
                search.misses = 0;
                return Ok(Some((begun, offer.peers.clone())));
            }
            if search.misses < MISSES || offers.is_empty() {
                search.misses += 1;
                return Ok(Some((begun, Vec::new())));
            }
            tracing::info!(height = %header.height, "no peer has the snapshot any more");
        }
        search.misses = 0;
        let newest = offers.into_iter().max_by_key(|(height, offer)| (offer.peers.len().min(2), *height));
        let Some((height, Offer { block, peers })) = newest else { return Ok(None) };
        tracing::info!(%height, root = %block.header.state_root, peers = peers.len(), "fetching a snapshot");
        let fetched = Fetched::new(block);
        block_in_place(|| self.store.begin_restore(&encode(&fetched.progress)))?;
        Ok(Some((fetched, peers)))
    }

    /// Fetches pages from these peers until the state is whole, or none of them helps any more.
    async fn fetch(&self, fetched: &mut Fetched, peers: Vec<NodeId>, search: &mut Search) -> Result<(), SnapshotError> {
        let height = fetched.block().header.height;
        let (mut peers, mut busy, mut told) = (VecDeque::from(peers), 0, Instant::now());
        while let Some(peer) = peers.front().copied() {
            let asked = Instant::now();
            match self.page(peer, fetched).await {
                Ok((builder, page)) => {
                    self.stage(fetched, builder, page)?;
                    if fetched.is_whole() {
                        return Ok(());
                    }
                    busy = 0;
                    if asked.elapsed() > SLOW {
                        peers.rotate_left(1);
                    }
                    if told.elapsed() >= TELL_PROGRESS {
                        told = Instant::now();
                        tracing::info!(%height, rows = fetched.n_rows, bytes = fetched.bytes, "fetching a snapshot");
                    }
                }
                Err(Fault::Busy) if busy < MAX_BUSY => {
                    busy += 1;
                    peers.rotate_left(1);
                    sleep(BUSY).await;
                }
                Err(fault) => {
                    search.blame(peer, fault);
                    peers.pop_front();
                }
            }
        }
        Ok(())
    }

    /// The next page from a peer, checked, and the rows so far with its own.
    async fn page(&self, peer: NodeId, fetched: &Fetched) -> Result<(StateBuilder, SnapshotRows), Fault> {
        let header = &fetched.block().header;
        let after = fetched.builder.last_key().map(<[u8]>::to_vec).unwrap_or_default();
        let request = SyncRequest::SnapshotRows { height: header.height, after };
        let page = match self.ask(peer, &request).await? {
            SyncResponse::SnapshotRows(page) => page.ok_or(Fault::Nothing)?,
            _ => return Err(Fault::Lie("an answer to another question")),
        };
        if !page.right.is_empty() && page.rows_len() < SnapshotRows::LEAST_BYTES {
            return Err(Fault::Lie("a page of a snapshot that is not full"));
        }
        match block_in_place(|| (self.check)(&fetched.builder, &page, &header.state_root)) {
            Some(builder) => Ok((builder, page)),
            None => Err(Fault::Lie("rows that are not the next ones of the snapshot")),
        }
    }

    fn stage(&self, fetched: &mut Fetched, builder: StateBuilder, page: SnapshotRows) -> Result<(), StorageError> {
        fetched.builder = builder;
        fetched.progress.right = page.right;
        page.rows.iter().for_each(|row| fetched.count(row.encoded_len()));
        let rows: Vec<_> = page.rows.into_iter().map(|row| (row.key, row.value)).collect();
        block_in_place(|| self.store.put_restored(&rows, &encode(&fetched.progress)))
    }

    /// What these peers offer above a height, by height.
    async fn offers(
        &self,
        above: Height,
        peers: &[NodeId],
        search: &mut Search,
    ) -> Result<BTreeMap<Height, Offer>, SnapshotError> {
        let answers = join_all(peers.iter().map(|peer| self.ask_soon(*peer, &SyncRequest::Snapshots))).await;
        let mut offers = BTreeMap::<Height, Offer>::new();
        for (peer, answer) in peers.iter().copied().zip(answers) {
            let blocks = match answer {
                Ok(SyncResponse::Snapshots(blocks)) if blocks.len() <= SyncResponse::MAX_SNAPSHOTS => blocks,
                Ok(_) => {
                    search.blame(peer, Fault::Lie("no list of snapshots"));
                    continue;
                }
                Err(fault) => {
                    search.blame(peer, fault);
                    continue;
                }
            };
            for block in blocks.into_iter().filter(|block| block.header.height > above) {
                let height = block.header.height;
                if let Some(offer) = offers.get_mut(&height).filter(|offer| offer.block.header == block.header) {
                    if !offer.peers.contains(&peer) {
                        offer.peers.push(peer);
                    }
                    continue;
                }
                let Ok(block) = block_in_place(|| block.verify(self.spec.id(), self.spec.validators(height))) else {
                    search.blame(peer, Fault::Lie("a snapshot without a certificate"));
                    break;
                };
                pin::check(self.pinned, height, block.header.hash())?;
                offers.entry(height).or_insert_with(|| Offer { block: block.into_inner(), peers: vec![peer] });
            }
        }
        offers.retain(|_, offer| {
            offer.peers.retain(|peer| !search.liars.contains(peer));
            !offer.peers.is_empty()
        });
        Ok(offers)
    }

    /// Whether a peer shows that the chain has the pinned block.
    async fn has_pinned(&self, pin: Pin, peers: &[NodeId], search: &mut Search) -> Result<bool, SnapshotError> {
        let height = pin.height;
        let request = SyncRequest::Header(height);
        let answers = join_all(peers.iter().map(|peer| self.ask_soon(*peer, &request))).await;
        for (peer, answer) in peers.iter().copied().zip(answers) {
            let block = match answer {
                Ok(SyncResponse::Header(block)) => block,
                Ok(_) => {
                    search.blame(peer, Fault::Lie("an answer to another question"));
                    continue;
                }
                Err(fault) => {
                    search.blame(peer, fault);
                    continue;
                }
            };
            // It may have removed the block, or have begun after it.
            let Some(block) = block else { continue };
            let verified = block_in_place(|| block.verify(self.spec.id(), self.spec.validators(height)));
            let Some(block) = verified.ok().filter(|block| block.header.height == height) else {
                search.blame(peer, Fault::Lie("a header without a certificate"));
                continue;
            };
            pin::check(Some(pin), height, block.header.hash())?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Asks for something short.
    async fn ask_soon(&self, peer: NodeId, request: &SyncRequest) -> Result<SyncResponse, Fault> {
        let answer = timeout(ANSWER, self.ask(peer, request)).await;
        answer.unwrap_or(Err(Fault::Nothing))
    }

    async fn ask(&self, peer: NodeId, request: &SyncRequest) -> Result<SyncResponse, Fault> {
        let answer = self.mesh.request(peer, Protocol::Sync, encode(request)).await.map_err(|error| {
            tracing::debug!(%peer, %error, "a peer does not answer");
            match error {
                RequestError::Busy | RequestError::TooManyPending | RequestError::Denied(_) => Fault::Busy,
                RequestError::Malformed(_) => Fault::Lie("malformed"),
                _ => Fault::Nothing,
            }
        })?;
        decode(&answer).map_err(|_| Fault::Lie("malformed"))
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Peers,
    Snapshot,
    Pin(Height),
}

/// Whom to ask, and what has been found out about it.
#[derive(Default)]
struct Search {
    liars: BTreeSet<NodeId>,
    /// Who gave nothing, and until when they are not asked.
    resting: BTreeMap<NodeId, Instant>,
    is_pin_shown: bool,
    /// How often in a row nobody has offered what is being fetched.
    misses: u32,
    told: Option<(Lack, Instant)>,
}

impl Search {
    /// The connected peers that can be asked, in a random order. While all rest, none does.
    fn peers(&mut self, mesh: &Mesh) -> Vec<NodeId> {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let honest = mesh.peers().into_iter().map(|peer| peer.node_id).filter(|peer| !self.liars.contains(peer));
        let mut drawn: Vec<_> =
            honest.map(|peer| (self.resting.contains_key(&peer), getrandom::u32().unwrap_or(0), peer)).collect();
        drawn.sort_unstable();
        let n_awake = drawn.partition_point(|(is_resting, ..)| !is_resting);
        let asked = if n_awake == 0 { drawn.len() } else { n_awake };
        drawn.into_iter().take(asked.min(MAX_ASKED)).map(|(.., peer)| peer).collect()
    }

    fn blame(&mut self, peer: NodeId, fault: Fault) {
        match fault {
            Fault::Busy => {}
            Fault::Nothing => {
                self.resting.insert(peer, Instant::now() + REST);
            }
            Fault::Lie(what) => {
                tracing::warn!(%peer, what, "a peer lies about a snapshot: it is asked no more");
                if self.liars.len() >= MAX_LIARS {
                    self.liars.pop_first();
                }
                self.liars.insert(peer);
            }
        }
    }

    /// Waits a little, and says what for.
    async fn wait(&mut self, lack: Lack) {
        if self.told.is_none_or(|(told, at)| told != lack || at.elapsed() >= TELL_WAITING) {
            self.told = Some((lack, Instant::now()));
            match lack {
                Lack::Peers => tracing::warn!("waiting for a peer that has a snapshot: none is connected"),
                Lack::Snapshot => tracing::warn!("waiting for a peer that has a snapshot: no connected one has any"),
                Lack::Pin(height) => tracing::warn!(
                    %height,
                    "waiting for a peer that shows the block that sync.pinned names: it may not be final yet, or removed \
                     everywhere, or the pin may be wrong. Take a newer one, or connect to an archive node"
                ),
            }
        }
        sleep(PAUSE).await;
    }
}

/// The rows so far with those of a page, if they lead to the root.
fn checked(builder: &StateBuilder, page: &SnapshotRows, root: &StateRoot) -> Option<StateBuilder> {
    let builder = appended(builder, page)?;
    (builder.root_with(&page.right).as_ref() == Some(root)).then_some(builder)
}

/// The rows so far with those of a page, if they are rows and in order.
fn appended(builder: &StateBuilder, page: &SnapshotRows) -> Option<StateBuilder> {
    let mut builder = builder.clone();
    page.rows.iter().try_for_each(|row| builder.push(&row.key, &row.value)).ok()?;
    Some(builder)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
