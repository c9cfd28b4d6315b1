//! Fetches a snapshot.
//!
//! A page that does not lead to the root is its sender's fault, who is asked no more. Whoever goes away, has nothing, stays busy or is
//! slow again and again rests, and is replaced by another peer with the same state; if there is none any more, another snapshot is
//! begun. While no page comes at all, the search ends: peers may have said that there is a snapshot only to keep this node from
//! fetching blocks. What was fetched survives a crash: the pages are staged beside the state in force, and the next start goes on
//! after the last of them.
//!
//! The validators of a snapshot's block may have nothing in common with those that this node knows. Whoever offers it is asked for the
//! changes between, and they are stored with the snapshot.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::{Rows as _, StateBuilder, StateError};
use lucid_p2p::{Mesh, Protocol, RequestError};
use lucid_storage::{StorageError, Store};
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::id::{PublicKey, StateRoot};
use lucid_types::proof::{KeyProof, ProofStep};
use lucid_types::sync::{CertifiedHeader, SnapshotRows, SyncRequest, SyncResponse};
use lucid_types::time::Height;
use lucid_types::validator_sets::ValidatorSets;
use serde::{Deserialize, Serialize};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, timeout};

use crate::chain::persist;
use crate::chain::pin::{self, OtherBlock};
use crate::chain::sets::{KnownSets, NotShown, Refused, agree};
use crate::chain::snapshot::{Arrived, Snapshot};
use crate::config::Pin;

/// How long until peers are asked again when no snapshot can be fetched.
const PAUSE: Duration = Duration::from_secs(1);
/// How often in a row nobody may offer the snapshot that is being fetched, before another one is begun.
const MISSES: u32 = 3;
/// Peers that are asked for snapshots at a time.
const MAX_ASKED: usize = 16;
/// How long they have for answers that are no pages.
const ANSWER: Duration = Duration::from_secs(5);
/// Whoever takes longer for a page is asked for the next one after all others, and rests after so many such pages in a row. For each
/// snapshot that was given up for another the time doubles: this node's own line may be the slow one.
const SLOW: Duration = Duration::from_secs(5);
const MAX_SLOW: u32 = 3;
/// How long until busy peers are asked again, and how often in a row before the one that says so rests.
const BUSY: Duration = Duration::from_millis(200);
const MAX_BUSY: u32 = 10;
/// For how long whoever gave nothing is not asked, unless there is nobody else.
const REST: Duration = Duration::from_secs(30);
/// How often in a row those that have a snapshot may all give no page of it, before another one is begun that is offered.
const MAX_FAILURES: u32 = 2;
/// For how long peers may be connected and no page come. Longer than a peer has for a page, and than it rests.
const GIVE_UP: Duration = Duration::from_secs(60);
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
    sets: Arc<KnownSets>,
    pinned: Option<Pin>,
    check: Check,
    patience: Patience,
}

/// How long it is waited for peers; other values than these are for tests.
#[derive(Clone, Copy)]
struct Patience {
    slow: Duration,
    give_up: Duration,
}

/// A snapshot that peers offer.
struct Offer {
    block: CertifiedHeader,
    peers: Vec<PublicKey>,
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

/// Whether this is what is noted of a snapshot that is being fetched.
pub(crate) fn is_sound(progress: &[u8]) -> bool {
    decode::<Progress>(progress).is_ok()
}

/// What is noted when all of a snapshot is there.
#[cfg(test)]
pub(crate) fn progress(block: CertifiedHeader) -> Vec<u8> {
    encode(&Progress { block, right: Vec::new() })
}

/// What has been fetched of a snapshot.
struct Fetched {
    progress: Progress,
    builder: StateBuilder,
    n_rows: u64,
    bytes: u64,
    /// Peers that have offered it, without those that were too slow.
    holders: BTreeSet<PublicKey>,
    /// How often in a row all of them gave no page.
    failures: u32,
    /// Whether the block is known to be certified. Before a restart it was; the validators who did so are to be learned again.
    is_certified: bool,
}

impl Fetched {
    fn new(progress: Progress, is_certified: bool) -> Self {
        let (builder, holders) = (StateBuilder::default(), BTreeSet::new());
        Self { progress, builder, n_rows: 0, bytes: 0, holders, failures: 0, is_certified }
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

    fn finish(&self) -> Result<Snapshot, SnapshotError> {
        let (block, height) = (self.block().clone(), self.block().header.height);
        tracing::info!(%height, rows = self.n_rows, bytes = self.bytes, "the snapshot is whole");
        let state = self
            .builder
            .clone()
            .finish(block.header.hash())
            .map_err(|source| SnapshotError::State { height, source })?;
        Ok(Snapshot { block: Arc::new(block), state })
    }
}

impl Download {
    /// A download that stages rows in `store`, of a chain that has the `pinned` block.
    pub fn new(spec: Arc<ChainSpec>, mesh: Mesh, store: Store, sets: Arc<KnownSets>, pinned: Option<Pin>) -> Self {
        let patience = Patience { slow: SLOW, give_up: GIVE_UP };
        Self { spec, mesh, store, sets, pinned, check: checked, patience }
    }

    /// The same, which gives up sooner.
    #[cfg(test)]
    pub(crate) fn impatient(self, give_up: Duration) -> Self {
        Self { patience: Patience { give_up, ..self.patience }, ..self }
    }

    /// Gives up what is staged, if anything is.
    ///
    /// # Errors
    /// The store failed.
    pub fn abandon(&self) -> Result<(), StorageError> {
        if self.store.restore_progress()?.is_some() { self.store.abandon_restore() } else { Ok(()) }
    }

    /// Fetches a snapshot above a height and stages it, however long it takes; gives it with the changes of the validators up to it that
    /// are not stored. `None` if the connected peers give no page of any for
    /// [`GIVE_UP`]; what is staged stays.
    ///
    /// # Errors
    /// The store failed, or the chain is not the pinned one.
    pub async fn run(&self, above: Height) -> Result<Option<Arrived>, SnapshotError> {
        self.search(above, &mut Search::new(self.patience)).await
    }

    async fn search(&self, above: Height, search: &mut Search) -> Result<Option<Arrived>, SnapshotError> {
        let mut begun = block_in_place(|| self.resume(above))?;
        loop {
            let peers = search.peers(&self.mesh);
            if peers.is_empty() {
                search.has_moved();
            }
            if search.is_over() {
                return Ok(None);
            }
            let lack = if peers.is_empty() { Lack::Peers } else { Lack::Snapshot };
            if let Some(pin) = self.pinned.filter(|_| !search.is_pin_shown) {
                search.is_pin_shown = self.has_pinned(pin, &peers, search).await?;
                if !search.is_pin_shown {
                    search.wait(if peers.is_empty() { Lack::Peers } else { Lack::Pin(pin.height) }).await;
                    continue;
                }
            }
            if let Some(resumed) = begun.as_mut().filter(|begun| !begun.is_certified) {
                match self.certify(resumed.block(), &peers, search).await {
                    Some(true) => resumed.is_certified = true,
                    Some(false) => begun = None,
                    None => {
                        search.wait(lack).await;
                        continue;
                    }
                }
            }
            if let Some(whole) = begun.take_if(|begun| begun.is_whole()) {
                let snapshot = whole.finish()?;
                if self.is_explained(&snapshot, &peers, search).await {
                    let set_changes = self.sets.known().changes_through(snapshot.block.header.height);
                    return Ok(Some(Arrived { snapshot, set_changes }));
                }
                begun = Some(whole);
                search.wait(lack).await;
                continue;
            }
            let offers = self.offers(above, &peers, search).await?;
            let Some((mut fetched, peers)) = self.choose(begun.take(), offers, &peers, search)? else {
                search.wait(lack).await;
                continue;
            };
            let is_offered = !peers.is_empty();
            self.fetch(&mut fetched, peers, search).await?;
            if fetched.is_whole() {
                begun = Some(fetched);
                continue;
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
        if height <= above {
            return Ok(None);
        }
        let mut fetched = Fetched::new(progress, false);
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

    /// Which snapshot is fetched from whom: the one that was begun, as long as somebody offers it and gives it. Else the best of what
    /// `asked` peers offer.
    fn choose(
        &self,
        begun: Option<Fetched>,
        offers: BTreeMap<Height, Offer>,
        asked: &[PublicKey],
        search: &mut Search,
    ) -> Result<Option<(Fetched, Vec<PublicKey>)>, StorageError> {
        if let Some(mut begun) = begun.filter(|begun| begun.n_rows > 0) {
            let header = &begun.block().header;
            let height = header.height;
            let peers = offers.get(&height).filter(|offer| offer.block.header == *header).map(|offer| &offer.peers);
            let has_others = offers.len() > usize::from(peers.is_some());
            let is_given = begun.failures < MAX_FAILURES;
            match peers {
                Some(peers) if is_given || !has_others => {
                    search.misses = 0;
                    begun.holders.extend(peers);
                    return Ok(Some((begun, peers.clone())));
                }
                Some(_) => tracing::info!(%height, "peers offer the snapshot and give nothing of it"),
                None if !has_others || (is_given && self.is_held(&begun, asked)) => {
                    return Ok(Some((begun, Vec::new())));
                }
                None if search.misses < MISSES => {
                    search.misses += 1;
                    return Ok(Some((begun, Vec::new())));
                }
                None => tracing::info!(%height, "no peer has the snapshot any more"),
            }
            search.slow = search.slow.saturating_mul(2);
        }
        search.misses = 0;
        let best = offers.into_iter().max_by_key(|(height, offer)| self.rank(*height, offer));
        let Some((height, Offer { block, peers })) = best else { return Ok(None) };
        tracing::info!(%height, root = %block.header.state_root, peers = peers.len(), "fetching a snapshot");
        let mut fetched = Fetched::new(Progress { block, right: Vec::new() }, true);
        fetched.holders.extend(&peers);
        block_in_place(|| self.store.begin_restore(&encode(&fetched.progress)))?;
        Ok(Some((fetched, peers)))
    }

    /// How good an offer is: one from which the blocks up to the pinned one are executed, one that all nodes have which have executed
    /// its block, one that several peers have, and the newest.
    fn rank(&self, height: Height, offer: &Offer) -> impl Ord + use<> {
        let leads_to_pin = self.pinned.is_some_and(|pin| height <= pin.height);
        let is_common = height.get().is_multiple_of(self.spec.fixed().snapshot_blocks);
        (leads_to_pin, is_common, offer.peers.len().min(2), height)
    }

    /// Whether a connected peer that has offered a snapshot was not asked now: it rests, or others were drawn.
    fn is_held(&self, fetched: &Fetched, asked: &[PublicKey]) -> bool {
        let connected = self.mesh.peers().into_iter().map(|peer| peer.key);
        connected.into_iter().any(|peer| fetched.holders.contains(&peer) && !asked.contains(&peer))
    }

    /// Fetches pages from these peers until the state is whole, or none of them helps any more.
    async fn fetch(
        &self,
        fetched: &mut Fetched,
        peers: Vec<PublicKey>,
        search: &mut Search,
    ) -> Result<(), SnapshotError> {
        let height = fetched.block().header.height;
        let has_peers = !peers.is_empty();
        let (mut peers, mut busy, mut told) = (VecDeque::from(peers), 0, Instant::now());
        let mut slow = BTreeMap::<PublicKey, u32>::new();
        while let Some(peer) = peers.front().copied().filter(|_| !search.is_over()) {
            let asked = Instant::now();
            match self.page(peer, fetched).await {
                Ok((builder, page)) => {
                    self.stage(fetched, builder, page)?;
                    if fetched.is_whole() {
                        return Ok(());
                    }
                    (busy, fetched.failures) = (0, 0);
                    search.has_moved();
                    if asked.elapsed() > search.slow {
                        peers.rotate_left(1);
                        let in_a_row = slow.entry(peer).or_default();
                        *in_a_row += 1;
                        if *in_a_row >= MAX_SLOW {
                            search.blame(peer, Fault::Nothing);
                            fetched.holders.remove(&peer);
                            peers.pop_back();
                        }
                    } else {
                        slow.remove(&peer);
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
                    // Whoever stays busy does not help either.
                    let fault = if matches!(fault, Fault::Busy) { Fault::Nothing } else { fault };
                    search.blame(peer, fault);
                    peers.pop_front();
                }
            }
        }
        if has_peers {
            fetched.failures += 1;
        }
        Ok(())
    }

    /// The next page from a peer, checked, and the rows so far with its own.
    async fn page(&self, peer: PublicKey, fetched: &Fetched) -> Result<(StateBuilder, SnapshotRows), Fault> {
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
        peers: &[PublicKey],
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
                if let Err(fault) = self.is_certified(peer, &block).await {
                    search.blame(peer, fault.or("a snapshot without a certificate"));
                    break;
                }
                pin::check(self.pinned, height, block.header.hash())?;
                offers.entry(height).or_insert_with(|| Offer { block, peers: vec![peer] });
            }
        }
        offers.retain(|_, offer| {
            offer.peers.retain(|peer| !search.liars.contains(peer));
            !offer.peers.is_empty()
        });
        Ok(offers)
    }

    /// Whether a peer shows that the chain has the pinned block.
    async fn has_pinned(&self, pin: Pin, peers: &[PublicKey], search: &mut Search) -> Result<bool, SnapshotError> {
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
            let is_its = block.header.height == height;
            let certified = if is_its { self.is_certified(peer, &block).await } else { Err(Uncertified::Block) };
            if let Err(fault) = certified {
                search.blame(peer, fault.or("a header without a certificate"));
                continue;
            }
            pin::check(Some(pin), height, block.header.hash())?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether the validators of its height have decided on a peer's block, by what is known and by what the peer shows.
    async fn is_certified(&self, peer: PublicKey, block: &CertifiedHeader) -> Result<(), Uncertified> {
        let judge = |sets: &ValidatorSets| self.verify(sets, block);
        // A pinned block may be older than the validators that the state remembers.
        if block.header.height < self.sets.known().sets().oldest().0 {
            let stored = persist::sets(&self.spec, &self.store).map_err(|_| Uncertified::NotShown(NotShown::Busy))?;
            return judge(&stored).map_err(|()| Uncertified::Block);
        }
        self.sets.judge(&self.mesh, peer, judge).await.map_err(|refused| match refused {
            Refused::Judged(()) => Uncertified::Block,
            Refused::NotShown(not_shown) => Uncertified::NotShown(not_shown),
        })
    }

    fn verify(&self, sets: &ValidatorSets, block: &CertifiedHeader) -> Result<(), ()> {
        let set = sets.at(block.header.height).ok_or(())?;
        block_in_place(|| block.clone().verify(self.spec.id(), set)).map(drop).map_err(drop)
    }

    /// Whether the block of a snapshot that was begun before a restart is certified, by what these peers show; `None` while they
    /// may still show it.
    async fn certify(&self, block: &CertifiedHeader, peers: &[PublicKey], search: &mut Search) -> Option<bool> {
        if self.verify(self.sets.known().sets(), block).is_ok() {
            return Some(true);
        }
        let mut n_refused = 0;
        for peer in peers {
            match self.is_certified(*peer, block).await {
                Ok(()) => return Some(true),
                Err(Uncertified::Block) => n_refused += 1,
                Err(Uncertified::NotShown(not_shown)) => search.blame(*peer, not_shown.into()),
            }
        }
        (!peers.is_empty() && n_refused == peers.len()).then_some(false)
    }

    /// Whether it is known how the validators in a snapshot's state have come about; peers that have not shown it yet are asked.
    async fn is_explained(&self, snapshot: &Snapshot, peers: &[PublicKey], search: &mut Search) -> bool {
        let judge = |sets: &ValidatorSets| agree(sets, snapshot.state.sets()).then_some(()).ok_or(());
        if judge(self.sets.known().sets()).is_ok() {
            return true;
        }
        for peer in peers {
            let fault = match self.sets.judge(&self.mesh, *peer, judge).await {
                Ok(()) => return true,
                // It may only be behind.
                Err(Refused::Judged(())) => Fault::Nothing,
                Err(Refused::NotShown(not_shown)) => not_shown.into(),
            };
            search.blame(*peer, fault);
        }
        false
    }

    /// Asks for something short.
    async fn ask_soon(&self, peer: PublicKey, request: &SyncRequest) -> Result<SyncResponse, Fault> {
        let answer = timeout(ANSWER, self.ask(peer, request)).await;
        answer.unwrap_or(Err(Fault::Nothing))
    }

    async fn ask(&self, peer: PublicKey, request: &SyncRequest) -> Result<SyncResponse, Fault> {
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

/// Why a block is not known to be certified.
enum Uncertified {
    /// Its certificate proves nothing.
    Block,
    /// The peer does not show who its validators are.
    NotShown(NotShown),
}

impl Uncertified {
    /// What the peer is blamed for.
    fn or(self, lie: &'static str) -> Fault {
        match self {
            Self::Block => Fault::Lie(lie),
            Self::NotShown(not_shown) => not_shown.into(),
        }
    }
}

impl From<NotShown> for Fault {
    fn from(not_shown: NotShown) -> Self {
        match not_shown {
            NotShown::Busy => Self::Busy,
            NotShown::Silent(_) => Self::Nothing,
            NotShown::Lie(what) => Self::Lie(what),
        }
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
struct Search {
    give_up: Duration,
    /// Whoever takes longer for a page is slow.
    slow: Duration,
    /// When the last page came, or the search began, or nobody was connected.
    moved: Instant,
    liars: BTreeSet<PublicKey>,
    /// Who gave nothing, and until when they are not asked.
    resting: BTreeMap<PublicKey, Instant>,
    is_pin_shown: bool,
    /// How often in a row nobody has offered what is being fetched.
    misses: u32,
    told: Option<(Lack, Instant)>,
}

impl Search {
    fn new(patience: Patience) -> Self {
        Self {
            give_up: patience.give_up,
            slow: patience.slow,
            moved: Instant::now(),
            liars: BTreeSet::new(),
            resting: BTreeMap::new(),
            is_pin_shown: false,
            misses: 0,
            told: None,
        }
    }

    fn has_moved(&mut self) {
        self.moved = Instant::now();
    }

    /// Whether no page has come for too long.
    fn is_over(&self) -> bool {
        self.moved.elapsed() >= self.give_up
    }

    /// The connected peers that can be asked, in a random order. While all rest, none does.
    fn peers(&mut self, mesh: &Mesh) -> Vec<PublicKey> {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        let honest = mesh.peers().into_iter().map(|peer| peer.key).filter(|peer| !self.liars.contains(peer));
        let mut drawn: Vec<_> =
            honest.map(|peer| (self.resting.contains_key(&peer), getrandom::u32().unwrap_or(0), peer)).collect();
        drawn.sort_unstable();
        let n_awake = drawn.partition_point(|(is_resting, ..)| !is_resting);
        let asked = if n_awake == 0 { drawn.len() } else { n_awake };
        drawn.into_iter().take(asked.min(MAX_ASKED)).map(|(.., peer)| peer).collect()
    }

    fn blame(&mut self, peer: PublicKey, fault: Fault) {
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
