//! Downloads over real meshes on loopback, into real stores: from peers that are honest, that lie in every way, that go away, and
//! with crashes in between.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lucid_consensus::ledger::state::State;
use lucid_consensus::ledger::table::Validators;
use lucid_p2p::Events;
use lucid_types::id::{BlockHash, Hash};
use lucid_types::time::UnixMillis;
use lucid_types::validator_sets::{SET_DELAY, SetChange};
use tokio::sync::Notify;
use tokio_util::sync::DropGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::chain::fixture::peers::{Answer, BUSY, LIMIT, Peer, mesh, node, within};
use crate::chain::fixture::{Network, Turnover, state, worker};
use crate::chain::persist::restore;
use crate::chain::snapshot::Snapshots;

/// Rows of the great state, and its pages.
const GREAT: u64 = 30_000;
const GREAT_PAGES: usize = 31;
/// Rows of one of five pages.
const SMALL: u64 = 4_500;
const SMALL_PAGES: usize = 5;
const HEIGHT: u64 = 40;

/// A node that downloads, and its peers.
struct Client {
    network: Network,
    mesh: Mesh,
    folder: tempfile::TempDir,
    _events: Events<()>,
    _stop: DropGuard,
}

impl Client {
    async fn new() -> Self {
        let network = Network::new();
        let (mesh, events, stop) = mesh(network.spec().id(), 200, Vec::new()).await;
        Self { network, mesh, folder: tempfile::tempdir().unwrap(), _events: events, _stop: stop }
    }

    fn store(&self) -> Store {
        Store::open(self.folder.path(), *self.network.spec().id()).unwrap()
    }

    fn download(&self, store: &Store) -> Download {
        self.pinned(store, None)
    }

    fn pinned(&self, store: &Store, pin: Option<Pin>) -> Download {
        let first = self.network.spec().first_sets();
        let sets = Arc::new(KnownSets::new(*self.network.spec().id(), move || first.clone()));
        Download::new(Arc::clone(self.network.spec()), self.mesh.clone(), store.clone(), sets, pin)
    }

    /// A connected peer that answers so.
    async fn peer(&self, seed: u8, answer: Answer) -> Peer {
        Peer::of(&self.mesh, self.network.spec().id(), seed, answer).await
    }

    /// What was staged, and then becomes the state of a node that starts.
    fn take_over(&self, store: Store, snapshot: &Snapshot) -> State {
        let (block, state) = (&snapshot.block, &snapshot.state);
        let (header, certificate) = (encode(&block.header), encode(&block.certificate));
        store.finish_restore(state.height(), state.block(), &header, &certificate, &[]).unwrap();
        drop(store);
        let store = self.store();
        let restored = restore(self.network.spec(), &store, &store.wal().unwrap(), UnixMillis::ZERO).unwrap();
        assert_eq!(restored.block.as_ref(), Some(&**block));
        assert_eq!((store.base(), store.restore_progress().unwrap()), (state.height().next(), None));
        restored.replica.state
    }
}

/// What an honest peer with this snapshot answers.
fn honest(snapshot: &Snapshot, request: &SyncRequest) -> Option<SyncResponse> {
    let snapshots = Snapshots::new(20, Some(snapshot.clone()));
    Some(match request {
        SyncRequest::Snapshots => SyncResponse::Snapshots(snapshots.offered()),
        SyncRequest::SnapshotRows { height, after } => SyncResponse::SnapshotRows(snapshots.rows(*height, after)),
        SyncRequest::Header(height) => {
            let block = (snapshot.state.height() == *height).then(|| Box::new((*snapshot.block).clone()));
            SyncResponse::Header(block)
        }
        SyncRequest::SetChanges { .. } => SyncResponse::SetChanges(Vec::new()),
        _ => return None,
    })
}

fn honest_peer(snapshot: &Snapshot) -> Answer {
    let snapshot = snapshot.clone();
    Box::new(move |request| honest(&snapshot, &request).map(|answer| encode(&answer)))
}

/// An honest peer that counts its pages.
fn counting_peer(snapshot: &Snapshot, pages: &Arc<AtomicUsize>) -> Answer {
    let (snapshot, pages) = (snapshot.clone(), Arc::clone(pages));
    Box::new(move |request| {
        if matches!(request, SyncRequest::SnapshotRows { .. }) {
            pages.fetch_add(1, Ordering::Relaxed);
        }
        honest(&snapshot, &request).map(|answer| encode(&answer))
    })
}

/// Lines of the log of whatever this thread polls.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn begin() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber =
            tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).with_max_level(tracing::Level::INFO);
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    fn lines(&self, with: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(with)).map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_state_is_downloaded_and_becomes_that_of_the_node() {
    let client = Client::new().await;
    let (snapshot, pages) = (client.network.snapshot(HEIGHT, GREAT), Arc::default());
    let _peer = client.peer(1, counting_peer(&snapshot, &pages)).await;
    let store = client.store();
    let fetched = within(client.download(&store).run(Height::ZERO)).await.unwrap().unwrap();
    assert_eq!(
        (fetched.snapshot.state.root(), fetched.snapshot.block.clone()),
        (snapshot.state.root(), snapshot.block.clone())
    );
    assert_eq!(fetched.snapshot.state, snapshot.state);
    assert_eq!(pages.load(Ordering::Relaxed), GREAT_PAGES);
    assert_eq!(store.head(), None, "it is staged only");
    assert_eq!(client.take_over(store, &fetched.snapshot), snapshot.state);
}

/// How a page is spoilt, of the state that is meant and of another one.
struct Trick {
    name: &'static str,
    /// Pages before that one are right.
    from: usize,
    spoil: fn(SnapshotRows, &Spoiler) -> Vec<u8>,
}

struct Spoiler {
    snapshot: Snapshot,
    other: Snapshot,
    after: Vec<u8>,
}

impl Spoiler {
    fn page(snapshot: &Snapshot, after: &[u8]) -> SnapshotRows {
        Snapshots::new(20, Some(snapshot.clone())).rows(snapshot.state.height(), after).unwrap()
    }
}

fn page(page: SnapshotRows) -> Vec<u8> {
    encode(&SyncResponse::SnapshotRows(Some(page)))
}

fn edited(mut rows: SnapshotRows, edit: impl FnOnce(&mut SnapshotRows)) -> Vec<u8> {
    edit(&mut rows);
    page(rows)
}

const TRICKS: [Trick; 19] = [
    Trick { name: "a row left out", from: 1, spoil: |rows, _| edited(rows, |it| drop(it.rows.remove(500))) },
    Trick { name: "the first row left out", from: 1, spoil: |rows, _| edited(rows, |it| drop(it.rows.remove(0))) },
    Trick { name: "the last row left out", from: 0, spoil: |rows, _| edited(rows, |it| drop(it.rows.pop())) },
    Trick {
        name: "a row added",
        from: 1,
        spoil: |rows, _| {
            edited(rows, |it| {
                let mut row = it.rows[7].clone();
                let last = row.key.last_mut().unwrap();
                *last = last.wrapping_add(1);
                it.rows.insert(8, row);
            })
        },
    },
    Trick {
        name: "a value changed",
        from: 2,
        spoil: |rows, _| {
            edited(rows, |it| {
                let at = it.rows[300].value.len() - 20;
                it.rows[300].value[at] ^= 1;
            })
        },
    },
    Trick { name: "a key changed", from: 0, spoil: |rows, _| edited(rows, |it| it.rows[300].key[32] ^= 1) },
    Trick { name: "a row that is none", from: 0, spoil: |rows, _| edited(rows, |it| it.rows[300].value.clear()) },
    Trick { name: "rows swapped", from: 1, spoil: |rows, _| edited(rows, |it| it.rows.swap(3, 4)) },
    Trick {
        name: "pages out of order",
        from: 1,
        spoil: |rows, it| page(Spoiler::page(&it.snapshot, &rows.rows.last().unwrap().key)),
    },
    Trick {
        name: "endless: the first page again and again",
        from: 1,
        spoil: |_, it| page(Spoiler::page(&it.snapshot, &[])),
    },
    Trick {
        name: "endless: a step more",
        from: 0,
        spoil: |rows, _| {
            edited(rows, |it| {
                it.right.push(ProofStep { bit: 260, sibling: Hash::from_bytes([7; 32]) });
            })
        },
    },
    Trick {
        name: "one row at a time",
        from: 0,
        spoil: |rows, it| {
            let row = rows.rows[0].clone();
            let right = it.snapshot.state.right_of(&row.key).unwrap();
            page(SnapshotRows { rows: vec![row], right })
        },
    },
    Trick { name: "an early end", from: 1, spoil: |rows, _| edited(rows, |it| it.right.clear()) },
    Trick {
        name: "no rows, and an end",
        from: 1,
        spoil: |_, _| page(SnapshotRows { rows: Vec::new(), right: Vec::new() }),
    },
    Trick { name: "no rows", from: 0, spoil: |rows, _| edited(rows, |it| it.rows.clear()) },
    Trick { name: "the page of another state", from: 1, spoil: |_, it| page(Spoiler::page(&it.other, &it.after)) },
    Trick { name: "another kind of answer", from: 1, spoil: |_, _| encode(&SyncResponse::Snapshots(Vec::new())) },
    Trick { name: "garbage", from: 1, spoil: |_, _| vec![0xff; 1_000] },
    Trick {
        name: "bytes after the page",
        from: 0,
        spoil: |rows, _| [edited(rows, |it| it.rows.truncate(9)), vec![0]].concat(),
    },
];

/// A peer that offers the snapshot as an honest one and spoils its pages from one on; counts how often it was asked for a spoilt one.
fn trickster(trick: &'static Trick, snapshot: &Snapshot, other: &Snapshot, spoilt: &Arc<AtomicUsize>) -> Answer {
    let (snapshot, other, spoilt) = (snapshot.clone(), other.clone(), Arc::clone(spoilt));
    let mut served = 0;
    Box::new(move |request| {
        let answer = honest(&snapshot, &request)?;
        let (SyncResponse::SnapshotRows(Some(rows)), SyncRequest::SnapshotRows { after, .. }) = (&answer, &request)
        else {
            return Some(encode(&answer));
        };
        served += 1;
        if served <= trick.from {
            return Some(encode(&answer));
        }
        spoilt.fetch_add(1, Ordering::Relaxed);
        let spoiler = Spoiler { snapshot: snapshot.clone(), other: other.clone(), after: after.clone() };
        Some((trick.spoil)(rows.clone(), &spoiler))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_page_is_found_and_its_sender_named_and_an_honest_peer_makes_up_for_all() {
    let (log, _guard) = Log::begin();
    let client = Client::new().await;
    let snapshot = client.network.snapshot(HEIGHT, SMALL);
    let other = client.network.certify(&state(client.network.spec(), HEIGHT, SMALL).changed(|rows| {
        rows.remove::<lucid_consensus::ledger::table::Workers>(&worker(17));
        rows.remove::<lucid_consensus::ledger::table::Workers>(&worker(18));
    }));
    for trick in &TRICKS {
        // Alone at first, so that it is the one that is asked.
        let spoilt = Arc::default();
        let liar = client.peer(50, trickster(trick, &snapshot, &other, &spoilt)).await;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), *client.network.spec().id()).unwrap();
        let download = client.download(&store);
        let mut search = Search::new(Patience { slow: SLOW, give_up: LIMIT });
        {
            let mut running = std::pin::pin!(download.search(Height::ZERO, &mut search));
            let named = async {
                while log.lines(&node(50).to_string()).is_empty() {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::select! {
                found = &mut running => panic!("{}: {:?}", trick.name, found.map(|found| found.unwrap().snapshot.state)),
                () = within(named) => {}
            }
            let honest = client.peer(51, honest_peer(&snapshot)).await;
            let found = within(running).await.unwrap();
            assert_eq!(found.unwrap().snapshot.state, snapshot.state, "{}", trick.name);
            drop(honest);
        }
        assert_eq!(search.liars, BTreeSet::from([node(50)]), "{}", trick.name);
        assert_eq!(spoilt.load(Ordering::Relaxed), 1, "{}: it was asked again", trick.name);
        assert_eq!(store.restored_rows().count(), snapshot.state.len(), "{}", trick.name);
        drop(liar);
        let gone = |peers: &[lucid_p2p::PeerInfo]| peers.is_empty();
        assert!(within(client.mesh.wait_for_peers(gone)).await);
        log.0.lock().unwrap().clear();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_check_of_pages_a_liar_gets_another_state_through() {
    let client = Client::new().await;
    let snapshot = client.network.snapshot(HEIGHT, SMALL);
    for name in ["a row left out", "a row added", "a value changed"] {
        let trick = TRICKS.iter().find(|trick| trick.name == name).unwrap();
        let liar = client.peer(50, trickster(trick, &snapshot, &snapshot, &Arc::default())).await;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), *client.network.spec().id()).unwrap();
        let unchecked = Download { check: |rows, page, _| appended(rows, page), ..client.download(&store) };
        let found = within(unchecked.run(Height::ZERO)).await.unwrap().unwrap();
        assert_eq!(found.snapshot.block, snapshot.block);
        assert_ne!(found.snapshot.state.root(), snapshot.block.header.state_root, "{name}");
        drop(liar);
        assert!(within(client.mesh.wait_for_peers(<[_]>::is_empty)).await);
    }
}

/// Spoils the list of snapshots.
type Forge = fn(&Network, &Snapshot) -> Vec<u8>;

fn offer(blocks: impl IntoIterator<Item = CertifiedHeader>) -> Vec<u8> {
    encode(&SyncResponse::Snapshots(blocks.into_iter().collect()))
}

fn forged(snapshot: &Snapshot, edit: impl FnOnce(&mut CertifiedHeader)) -> CertifiedHeader {
    let mut block = (*snapshot.block).clone();
    edit(&mut block);
    block
}

/// A header that these have signed. Of one that a quorum has signed, as another peer shows, it does not matter who else has.
fn signed(network: &Network, height: u64, by: &[u8]) -> Vec<u8> {
    let header = network.snapshot(height, 0).block.header.clone();
    offer([network.chain.certified(header, by)])
}

const FORGERIES: [(&str, Forge); 9] = [
    ("another state's root", |_, it| {
        offer([forged(it, |block| block.header.state_root = StateRoot::from_bytes([9; 32]))])
    }),
    ("a greater height", |_, it| offer([forged(it, |block| block.header.height = Height::new(HEIGHT + 20))])),
    ("a greater height in both", |_, it| {
        offer([forged(it, |block| {
            block.header.height = Height::new(u64::MAX);
            block.certificate.height = Height::new(u64::MAX);
            block.certificate.block = block.header.hash();
        })])
    }),
    ("too few signatures", |network, _| signed(network, HEIGHT + 40, &[1, 2])),
    ("one signature twice", |network, _| signed(network, HEIGHT + 60, &[1, 2, 2])),
    ("the signature of a stranger", |network, _| signed(network, HEIGHT + 80, &[1, 2, 9])),
    ("another block's certificate", |network, it| {
        let certificate = network.snapshot(HEIGHT, 1).block.certificate.clone();
        offer([forged(it, |block| block.certificate = certificate)])
    }),
    ("a good one after a bad one", |_, it| {
        let bad = forged(it, |block| block.header.state_root = StateRoot::from_bytes([9; 32]));
        offer([bad, (*it.block).clone()])
    }),
    ("more than may be", |_, it| offer(vec![(*it.block).clone(); SyncResponse::MAX_SNAPSHOTS + 1])),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_snapshots_are_found_and_their_senders_asked_no_more() {
    let client = Client::new().await;
    let snapshot = client.network.snapshot(HEIGHT, 1_500);
    let network = Arc::new(Network::new());
    let asked = Arc::new(AtomicUsize::new(0));
    let mut peers = Vec::new();
    for (seed, (_, forge)) in (50..).zip(&FORGERIES) {
        let (network, snapshot, forge, asked) = (Arc::clone(&network), snapshot.clone(), *forge, Arc::clone(&asked));
        let answer: Answer = Box::new(move |request| match request {
            SyncRequest::Snapshots => {
                asked.fetch_add(1, Ordering::Relaxed);
                Some(forge(&network, &snapshot))
            }
            request => honest(&snapshot, &request).map(|answer| encode(&answer)),
        });
        peers.push(client.peer(seed, answer).await);
    }
    // Has nothing until the others have been asked.
    let (snapshot_then, asked_then) = (snapshot.clone(), Arc::clone(&asked));
    let answer: Answer = Box::new(move |request| {
        if asked_then.load(Ordering::Relaxed) < FORGERIES.len() {
            return Some(offer([]));
        }
        honest(&snapshot_then, &request).map(|answer| encode(&answer))
    });
    peers.push(client.peer(49, answer).await);
    let store = client.store();
    let mut search = Search::new(Patience { slow: SLOW, give_up: LIMIT });
    let found = within(client.download(&store).search(Height::ZERO, &mut search)).await.unwrap().unwrap();
    assert_eq!(found.snapshot.state, snapshot.state);
    let expected: BTreeSet<_> = (50..).zip(&FORGERIES).map(|(seed, _)| node(seed)).collect();
    assert_eq!(search.liars, expected);
    assert_eq!(asked.load(Ordering::Relaxed), FORGERIES.len(), "each was asked once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_goes_away_is_replaced_and_nothing_is_fetched_twice() {
    let client = Client::new().await;
    let (snapshot, pages) = (client.network.snapshot(HEIGHT, SMALL), Arc::new(AtomicUsize::new(0)));
    // Its third page never comes: it is gone when it should.
    let (mut served, gone, goes) = (0, Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let (snapshot_first, pages_first, notify, has_gone) =
        (snapshot.clone(), Arc::clone(&pages), Arc::clone(&gone), Arc::clone(&goes));
    let mut unanswered = Vec::new();
    let first: Answer = Box::new(move |request| {
        if matches!(request, SyncRequest::SnapshotRows { .. }) {
            served += 1;
            if served == 3 {
                has_gone.store(true, Ordering::Relaxed);
                notify.notify_one();
                unanswered.push(request);
                return None;
            }
            pages_first.fetch_add(1, Ordering::Relaxed);
        }
        honest(&snapshot_first, &request).map(|answer| encode(&answer))
    });
    let first = client.peer(50, first).await;
    // The second has nothing to say before.
    let (snapshot_second, pages_second) = (snapshot.clone(), Arc::clone(&pages));
    let second: Answer = Box::new(move |request| {
        if !goes.load(Ordering::Relaxed) {
            return Some(offer([]));
        }
        if matches!(request, SyncRequest::SnapshotRows { .. }) {
            pages_second.fetch_add(1, Ordering::Relaxed);
        }
        honest(&snapshot_second, &request).map(|answer| encode(&answer))
    });
    let _second = client.peer(51, second).await;
    let store = client.store();
    let download = client.download(&store);
    let mut search = Search::new(Patience { slow: SLOW, give_up: LIMIT });
    let leave = async {
        gone.notified().await;
        drop(first);
    };
    let (found, ()) = within(async { tokio::join!(download.search(Height::ZERO, &mut search), leave) }).await;
    assert_eq!(found.unwrap().unwrap().snapshot.state, snapshot.state);
    assert!(search.liars.is_empty(), "to go away is no lie");
    assert_eq!(pages.load(Ordering::Relaxed), SMALL_PAGES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_snapshot_is_begun_when_the_peers_have_dropped_the_first() {
    let client = Client::new().await;
    let (old, new) = (client.network.snapshot(HEIGHT, SMALL), client.network.snapshot(HEIGHT + 20, SMALL - 2_000));
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut peers = Vec::new();
    for seed in [50, 51] {
        let (old, new, dropped) = (old.clone(), new.clone(), Arc::clone(&dropped));
        let answer: Answer = Box::new(move |request| {
            let pages = match request {
                SyncRequest::SnapshotRows { .. } => dropped.fetch_add(1, Ordering::Relaxed) + 1,
                _ => dropped.load(Ordering::Relaxed),
            };
            honest(if pages > 3 { &new } else { &old }, &request).map(|answer| encode(&answer))
        });
        peers.push(client.peer(seed, answer).await);
    }
    let store = client.store();
    let found = within(client.download(&store).run(Height::ZERO)).await.unwrap().unwrap();
    assert_eq!(found.snapshot.state, new.state);
    assert_eq!(store.restored_rows().count(), new.state.len(), "nothing is left of the first");
    assert_eq!(client.take_over(store, &found.snapshot), new.state);
}

/// A peer that offers the newest state of all and gives no row of it must not keep others from giving theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_promises_and_gives_nothing_is_passed_over() {
    let client = Client::new().await;
    let (old, new) = (client.network.snapshot(HEIGHT, 1_500), client.network.snapshot(HEIGHT + 20, 1_500));
    let mut peers = Vec::new();
    for seed in [50, 51] {
        let (new, is_silent) = (new.clone(), seed == 50);
        let answer: Answer = Box::new(move |request| match request {
            SyncRequest::SnapshotRows { .. } if is_silent => None,
            SyncRequest::SnapshotRows { .. } => Some(encode(&SyncResponse::SnapshotRows(None))),
            request => honest(&new, &request).map(|answer| encode(&answer)),
        });
        peers.push(client.peer(seed, answer).await);
    }
    peers.push(client.peer(52, honest_peer(&old)).await);
    let store = client.store();
    let mut search = Search::new(Patience { slow: SLOW, give_up: LIMIT });
    let found = within(client.download(&store).search(Height::ZERO, &mut search)).await.unwrap().unwrap();
    assert_eq!(found.snapshot.state, old.state);
    assert!(search.liars.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_goes_on_after_a_crash_at_every_page() {
    let client = Client::new().await;
    let snapshot = client.network.snapshot(HEIGHT, GREAT);
    // Answers one page of each life; the question for the next is the moment of the crash.
    let (allowed, pages, crash) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (snapshot_of, allowed_of, pages_of, crash_of) =
        (snapshot.clone(), Arc::clone(&allowed), Arc::clone(&pages), Arc::clone(&crash));
    let mut afters = Vec::new();
    let answer: Answer = Box::new(move |request| {
        if let SyncRequest::SnapshotRows { after, .. } = &request {
            if allowed_of.load(Ordering::Relaxed) == 0 {
                crash_of.notify_one();
                return Some(encode(&SyncResponse::SnapshotRows(None)));
            }
            allowed_of.fetch_sub(1, Ordering::Relaxed);
            assert!(!afters.contains(after), "a page is fetched twice");
            afters.push(after.clone());
            pages_of.fetch_add(1, Ordering::Relaxed);
        }
        honest(&snapshot_of, &request).map(|answer| encode(&answer))
    });
    let _peer = client.peer(50, answer).await;
    let mut lives = 0;
    let found = loop {
        lives += 1;
        let store = client.store();
        assert_eq!(store.restored_rows().count() > 0, pages.load(Ordering::Relaxed) > 0);
        allowed.store(1, Ordering::Relaxed);
        let download = client.download(&store);
        tokio::select! {
            found = within(download.run(Height::ZERO)) => break found.unwrap(),
            () = crash.notified() => {}
        }
    };
    assert_eq!((lives, pages.load(Ordering::Relaxed)), (GREAT_PAGES, GREAT_PAGES));
    assert_eq!(found.unwrap().snapshot.state, snapshot.state);

    // A crash after the last page, before it is taken over: it is whole, and no peer is asked for anything.
    let before = pages.load(Ordering::Relaxed);
    let store = client.store();
    let found = within(client.download(&store).run(Height::ZERO)).await.unwrap().unwrap();
    assert_eq!((found.snapshot.state.clone(), pages.load(Ordering::Relaxed)), (snapshot.state.clone(), before));
    // A crash while it is taken over leaves the one or the other; after it, nothing is staged.
    assert_eq!(client.take_over(store, &found.snapshot), snapshot.state);
    let store = client.store();
    assert!(client.download(&store).resume(Height::ZERO).unwrap().is_none());
    assert_eq!(store.restored_rows().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_on_disk_is_fetched_again_and_blamed_on_nobody() {
    let client = Client::new().await;
    let snapshot = client.network.snapshot(HEIGHT, SMALL);
    let _peer = client.peer(50, honest_peer(&snapshot)).await;
    let progress = |right| encode(&Progress { block: (*snapshot.block).clone(), right });
    let first = Spoiler::page(&snapshot, &[]);
    let rows: Vec<_> = first.rows.iter().map(|row| (row.key.clone(), row.value.clone())).collect();
    type Rows = Vec<(Vec<u8>, Vec<u8>)>;
    let staged = |edit: fn(&mut Rows), note: Vec<u8>| {
        let mut rows = rows.clone();
        edit(&mut rows);
        (rows, note)
    };
    let flip = |rows: &mut Rows| {
        let at = rows[300].1.len() - 20;
        rows[300].1[at] ^= 1;
    };
    let wrong_block = {
        let block = client.network.chain.certified(snapshot.block.header.clone(), &[1, 2]);
        encode(&Progress { block, right: first.right.clone() })
    };
    for (rows, note) in [
        staged(flip, progress(first.right.clone())),
        staged(|rows| drop(rows.remove(5)), progress(first.right.clone())),
        staged(|rows| rows[300].1.clear(), progress(first.right.clone())),
        staged(|_| {}, progress(Vec::new())),
        staged(|_| {}, vec![1, 2, 3]),
        staged(|_| {}, wrong_block),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), *client.network.spec().id()).unwrap();
        store.begin_restore(&note).unwrap();
        store.put_restored(&rows, &note).unwrap();
        let mut search = Search::new(Patience { slow: SLOW, give_up: LIMIT });
        let found = within(client.download(&store).search(Height::ZERO, &mut search)).await.unwrap().unwrap();
        assert_eq!(found.snapshot.state, snapshot.state);
        assert!(search.liars.is_empty());
        assert_eq!(store.restored_rows().count(), snapshot.state.len());
    }
    // What is whole on disk is gone on with, but not if the chain has come further.
    let store = client.store();
    store.begin_restore(&progress(Vec::new())).unwrap();
    store.put_restored(&rows, &progress(first.right.clone())).unwrap();
    let download = client.download(&store);
    assert_eq!(download.resume(Height::new(HEIGHT - 1)).unwrap().unwrap().n_rows, first.rows.len() as u64);
    assert!(download.resume(Height::new(HEIGHT)).unwrap().is_none());
    download.abandon().unwrap();
    assert_eq!((store.restore_progress().unwrap(), store.restored_rows().count()), (None, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_that_holds_lets_the_snapshot_in_and_one_of_another_block_says_so() {
    let client = Client::new().await;
    let snapshot = client.network.snapshot(HEIGHT, 1_500);
    let before = client.network.snapshot(HEIGHT - 5, 0).block;
    let (snapshot_of, before_of) = (snapshot.clone(), Arc::clone(&before));
    let answer: Answer = Box::new(move |request| {
        let answer = match request {
            SyncRequest::Header(height) if height == before_of.header.height => {
                SyncResponse::Header(Some(Box::new((*before_of).clone())))
            }
            request => honest(&snapshot_of, &request)?,
        };
        Some(encode(&answer))
    });
    let _peer = client.peer(50, answer).await;
    // Lies about the pinned block, and is not believed.
    let mut lie = (*before).clone();
    lie.header.state_root = StateRoot::from_bytes([1; 32]);
    let liar: Answer = Box::new(move |request| match request {
        SyncRequest::Header(_) => Some(encode(&SyncResponse::Header(Some(Box::new(lie.clone()))))),
        _ => None,
    });
    let _liar = client.peer(51, liar).await;
    let pin = |block: &CertifiedHeader| Pin { height: block.header.height, block: block.header.hash() };
    let wrong = |pin: Pin| Pin { block: BlockHash::from_bytes([7; 32]), ..pin };
    for right in [pin(&snapshot.block), pin(&before)] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), *client.network.spec().id()).unwrap();
        let mut search = Search::new(Patience { slow: SLOW, give_up: LIMIT });
        let found =
            within(client.pinned(&store, Some(right)).search(Height::ZERO, &mut search)).await.unwrap().unwrap();
        assert_eq!(found.snapshot.state, snapshot.state);
        assert!(!search.liars.contains(&node(50)));

        // Also if all of it is here already.
        for (pin, is_wrong) in [(right, false), (wrong(right), true)] {
            let again = within(client.pinned(&store, Some(pin)).run(Height::ZERO)).await;
            assert_eq!(again.is_err(), is_wrong);
        }
        store.abandon_restore().unwrap();
        let error = within(client.pinned(&store, Some(wrong(right))).run(Height::ZERO)).await.unwrap_err();
        let (found, expected) = (right.block.to_string(), wrong(right).block.to_string());
        let told = error.to_string();
        assert!(told.contains(&format!("block {} of this network is {found}", right.height)), "{told}");
        assert!(told.contains(&format!("sync.pinned says {expected}")) && told.contains("Ask whoever"), "{told}");
        assert_eq!(store.restore_progress().unwrap(), None, "nothing was staged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nobody_shows_the_pin_or_has_a_snapshot_it_waits_and_says_for_what() {
    const WAITING: Duration = Duration::from_millis(2_500);
    let (log, _guard) = Log::begin();
    let client = Client::new().await;
    let store = client.store();
    let waits = async |pin: Option<Pin>, above: u64, what: &str| {
        log.0.lock().unwrap().clear();
        let download = client.pinned(&store, pin);
        let ended = timeout(WAITING, download.run(Height::new(above))).await;
        assert!(ended.is_err(), "{what}");
        let told = log.lines("waiting for a peer");
        assert_eq!(told.len(), 1, "said once: {told:?}");
        assert!(told[0].contains(what), "{told:?}");
    };
    let far = Pin { height: Height::new(7), block: BlockHash::from_bytes([7; 32]) };
    waits(None, 0, "none is connected").await;
    waits(Some(far), 0, "none is connected").await;
    let snapshot = client.network.snapshot(HEIGHT, 1_500);
    let peer = client.peer(50, honest_peer(&snapshot)).await;
    waits(None, HEIGHT, "no connected one has any").await;
    waits(Some(far), 0, "shows the block that sync.pinned names").await;
    assert_eq!(store.restore_progress().unwrap(), None, "nothing is fetched before the pin is shown");
    drop(peer);
    assert!(within(client.mesh.wait_for_peers(<[_]>::is_empty)).await);

    // When a peer comes that has one, it goes on by itself.
    let download = client.download(&store);
    let mut running = std::pin::pin!(download.run(Height::ZERO));
    assert!(timeout(Duration::from_millis(200), &mut running).await.is_err());
    let _peer = client.peer(51, honest_peer(&snapshot)).await;
    assert_eq!(within(running).await.unwrap().unwrap().snapshot.state, snapshot.state);
}

/// Two peers that have the newest state and are always too busy to give it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_stay_busy_are_passed_over() {
    let client = Client::new().await;
    let (old, new) = (client.network.snapshot(HEIGHT, 1_500), client.network.snapshot(HEIGHT + 20, 1_500));
    let mut peers = Vec::new();
    for seed in [50, 51] {
        let new = new.clone();
        let answer: Answer = Box::new(move |request| match request {
            SyncRequest::SnapshotRows { .. } => Some(BUSY.to_vec()),
            request => honest(&new, &request).map(|answer| encode(&answer)),
        });
        peers.push(client.peer(seed, answer).await);
    }
    peers.push(client.peer(52, honest_peer(&old)).await);
    let store = client.store();
    let found = within(client.download(&store).run(Height::ZERO)).await.unwrap().unwrap();
    assert_eq!(found.snapshot.state, old.state);
}

/// The same after a first page, which makes the download one that is gone on with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_offered_and_not_given_any_more_is_given_up_for_another() {
    let client = Client::new().await;
    let (old, new) = (client.network.snapshot(HEIGHT, 1_500), client.network.snapshot(HEIGHT + 20, SMALL));
    let (new_of, mut is_first) = (new.clone(), true);
    let answer: Answer = Box::new(move |request| match request {
        SyncRequest::SnapshotRows { .. } if !std::mem::take(&mut is_first) => Some(BUSY.to_vec()),
        request => honest(&new_of, &request).map(|answer| encode(&answer)),
    });
    let _promises = client.peer(50, answer).await;
    let _gives = client.peer(51, honest_peer(&old)).await;
    let store = client.store();
    let found = within(client.download(&store).run(Height::ZERO)).await.unwrap().unwrap();
    assert_eq!(found.snapshot.state, old.state);
}

/// What was fetched is not thrown away for the time that the only peer who has it rests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_waits_for_a_resting_peer_that_has_it() {
    let client = Client::new().await;
    let (old, new) = (client.network.snapshot(HEIGHT, 1_500), client.network.snapshot(HEIGHT + 20, SMALL));
    let (new_of, pages) = (new.clone(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&pages);
    let answer: Answer = Box::new(move |request| match request {
        SyncRequest::SnapshotRows { .. } if counted.fetch_add(1, Ordering::Relaxed) == 3 => None,
        request => honest(&new_of, &request).map(|answer| encode(&answer)),
    });
    let _has = client.peer(50, answer).await;
    let _has_another = client.peer(51, honest_peer(&old)).await;
    let store = client.store();
    let found = within(client.download(&store).run(Height::ZERO)).await.unwrap().unwrap();
    assert_eq!(found.snapshot.state, new.state);
    assert_eq!(pages.load(Ordering::Relaxed), SMALL_PAGES + 1, "nothing was fetched twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_slow_again_and_again_is_left_for_one_with_another_snapshot() {
    let client = Client::new().await;
    let (old, new) = (client.network.snapshot(HEIGHT, SMALL), client.network.snapshot(HEIGHT + 20, SMALL));
    let (pages_of_old, pages_of_new) = (Arc::default(), Arc::default());
    let _slow = client.peer(50, counting_peer(&new, &pages_of_new)).await;
    let _other = client.peer(51, counting_peer(&old, &pages_of_old)).await;
    let store = client.store();
    // Every page is slow. The second peer is no faster, and is not left for the first one again.
    let patience = Patience { slow: Duration::ZERO, give_up: LIMIT };
    let found = within(Download { patience, ..client.download(&store) }.run(Height::ZERO)).await.unwrap().unwrap();
    assert_eq!(found.snapshot.state, old.state);
    assert_eq!((pages_of_new.load(Ordering::Relaxed), pages_of_old.load(Ordering::Relaxed)), (3, SMALL_PAGES));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_leads_to_the_pin_is_best_then_one_that_all_nodes_have_then_the_newest() {
    let client = Client::new().await;
    let distance = client.network.spec().fixed().snapshot_blocks;
    let [pinned, common, newest] =
        [HEIGHT + 1, HEIGHT + distance, HEIGHT + 2 * distance + 1].map(|height| client.network.snapshot(height, 1_500));
    let (before_pin, after_pin) = (pinned.clone(), newest.clone());
    let mut peers = vec![client.peer(50, honest_peer(&common)).await];
    // Two have the newest of all.
    for seed in [51, 52] {
        peers.push(client.peer(seed, honest_peer(&after_pin)).await);
    }
    let fetched = async |pin: Option<Pin>| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), *client.network.spec().id()).unwrap();
        let found = within(client.pinned(&store, pin).run(Height::ZERO)).await.unwrap().unwrap();
        found.snapshot.state.height()
    };
    assert_eq!(fetched(None).await, common.state.height());
    let peer = client.peer(53, honest_peer(&before_pin)).await;
    let pin = |it: &Snapshot| Some(Pin { height: it.state.height(), block: it.block.header.hash() });
    assert_eq!(fetched(pin(&pinned)).await, pinned.state.height());
    assert_eq!(fetched(pin(&newest)).await, common.state.height(), "the best of all that lead to it");
    drop((peers, peer));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_no_page_comes_the_search_ends_and_what_is_staged_stays() {
    let client = Client::new().await;
    let (snapshot, store) = (client.network.snapshot(HEIGHT, SMALL), client.store());
    let brief = |store: &Store| client.download(store).impatient(Duration::from_millis(1_500));
    let ended = timeout(Duration::from_secs(3), brief(&store).run(Height::ZERO)).await;
    assert!(ended.is_err(), "while nobody is connected there is nothing else to do");
    let nothing = client.peer(50, Box::new(|_| Some(offer([])))).await;
    assert!(within(brief(&store).run(Height::ZERO)).await.unwrap().is_none());
    drop(nothing);
    let (of, mut n) = (snapshot.clone(), 0);
    let answer: Answer = Box::new(move |request| {
        n += usize::from(matches!(request, SyncRequest::SnapshotRows { .. }));
        let is_given = n <= 2 || matches!(request, SyncRequest::Snapshots);
        is_given.then(|| honest(&of, &request).map(|answer| encode(&answer))).flatten()
    });
    let promises = client.peer(51, answer).await;
    assert!(within(brief(&store).run(Height::ZERO)).await.unwrap().is_none());
    assert!(store.restored_rows().count() > 0);
    drop(promises);
    let pages = Arc::default();
    let _peer = client.peer(52, counting_peer(&snapshot, &pages)).await;
    let found = within(brief(&store).run(Height::ZERO)).await.unwrap().unwrap();
    assert_eq!((found.snapshot.state, pages.load(Ordering::Relaxed)), (snapshot.state, SMALL_PAGES - 2));
}

/// A state after the last block of a chain whose validators are others than those of the genesis, which they certify.
fn after_turnover(chain: &Turnover, n_workers: u64) -> Snapshot {
    let height = u64::try_from(chain.blocks.len()).unwrap();
    let state = state(&chain.chain.spec, height, n_workers).changed(|rows| {
        for change in &chain.changes {
            rows.put::<Validators>(&change.block.header.height.plus(SET_DELAY), change.set.clone());
        }
    });
    let mut header = chain.chain.header(&state);
    header.next_set = Turnover::set(u64::try_from(chain.changes.len()).unwrap()).hash();
    let block = chain.chain.certified(header, &Turnover::signers(height));
    Snapshot { state: state.after(block.header.hash()), block: Arc::new(block) }
}

/// What a peer answers that has a snapshot and shows these changes.
fn showing(snapshot: &Snapshot, changes: Vec<SetChange>, pages: &Arc<AtomicUsize>) -> Answer {
    let (snapshot, pages) = (snapshot.clone(), Arc::clone(pages));
    Box::new(move |request| match request {
        SyncRequest::SetChanges { above } => {
            let later = changes.iter().filter(|change| change.block.header.height > above);
            Some(encode(&SyncResponse::SetChanges(later.cloned().collect())))
        }
        request => {
            pages.fetch_add(usize::from(matches!(request, SyncRequest::SnapshotRows { .. })), Ordering::Relaxed);
            honest(&snapshot, &request).map(|answer| encode(&answer))
        }
    })
}

/// Nobody of the genesis is left. The peer that shows nothing of who came after them is not believed, nor the one that leaves some out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_other_validators_is_taken_with_the_changes_that_lead_to_them() {
    let (client, chain, pages) = (Client::new().await, Turnover::new(30), Arc::default());
    let snapshot = after_turnover(&chain, 50);
    let (lied, store) = (Arc::default(), client.store());
    let silent = client.peer(1, showing(&snapshot, Vec::new(), &lied)).await;
    let out_of_order = chain.changes.iter().rev().cloned().collect();
    let other = client.peer(3, showing(&snapshot, out_of_order, &lied)).await;
    let _honest = client.peer(2, showing(&snapshot, chain.changes.clone(), &pages)).await;
    let found = within(client.download(&store).run(Height::ZERO)).await.unwrap().unwrap();
    let changes: Vec<_> = found.set_changes.iter().map(|change| SetChange::clone(change)).collect();
    assert_eq!((&found.snapshot.state, &changes), (&snapshot.state, &chain.changes));
    assert_eq!(lied.load(Ordering::Relaxed), 0, "nothing is fetched from whoever does not show whose snapshot it is");
    drop((silent, other));
    // After a crash before it was taken over, who certified it is learned again, and no row.
    let before = pages.load(Ordering::Relaxed);
    let again = within(client.download(&store).run(Height::ZERO)).await.unwrap().unwrap();
    assert_eq!((again.set_changes.len(), pages.load(Ordering::Relaxed)), (changes.len(), before));
}

/// The block that changes the validators is the snapshot's: those before certify it, and only its state tells of the change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_the_snapshot_remembers_and_nobody_shows_is_waited_for() {
    let (client, chain, pages) = (Client::new().await, Turnover::new(4), Arc::default());
    let snapshot = after_turnover(&chain, 50);
    let liar = client.peer(1, showing(&snapshot, Vec::new(), &pages)).await;
    let store = client.store();
    let download = client.download(&store).impatient(Duration::from_secs(2));
    assert!(within(download.run(Height::ZERO)).await.unwrap().is_none());
    drop(liar);
    let _honest = client.peer(2, showing(&snapshot, chain.changes.clone(), &pages)).await;
    let found = within(client.download(&store).run(Height::ZERO)).await.unwrap().unwrap();
    assert_eq!(found.set_changes.iter().map(|it| SetChange::clone(it)).collect::<Vec<_>>(), chain.changes);
}
