//! A validator deposits chunks with workers over real meshes and challenges them: an honest one, and liars, who prove nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lucid_node::chunks::{ChunkStore, Owner, Room};
use lucid_node::clock::SystemClock;
use lucid_node::config::LimitsConfig;
use lucid_node::probe::schedule::Assignment;
use lucid_node::probe::{
    Line, ProbeCounters, Prober, ProberParts, StorageGrants, StorageHandle, StorageOffer, StorageOutcome,
    StorageSecret, StorageServer, StorageServerParts, StoredAt,
};
use lucid_p2p::{Event, Events, Mesh, Protocol, RequestError};
use lucid_types::codec::{decode, encode};
use lucid_types::genesis::Genesis;
use lucid_types::id::{Hash, NodeId};
use lucid_types::report::ScoreReport;
use lucid_types::storage::{DepositId, StorageRefusal, StorageReply, StorageRequest};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use zeroize::Zeroizing;

use crate::fixture::{becomes_true, genesis, node, within};
use crate::mesh::{Peer, full_peer, peer};

const EPOCH: Duration = Duration::from_secs(4);
const TERM: u64 = 1;
const QUOTA: u16 = 2;
const VALIDATOR: u8 = 1;
/// Another one.
const SECOND: u8 = 2;
const HONEST: u8 = 10;
/// Answers challenges when it is too late.
const LATE: u8 = 11;
/// Returns one bit changed.
const ALTERER: u8 = 12;
/// Returns a byte too few.
const TRUNCATOR: u8 = 13;
/// Takes challenges and says nothing.
const DROPPER: u8 = 14;
/// Has no room for a chunk.
const FULL: u8 = 15;
/// Refuses challenges.
const REFUSER: u8 = 16;
/// Is registered and not there.
const ABSENT: u8 = 17;
/// Says that it has stored what it has thrown away.
const FORGETFUL: u8 = 18;
/// Is no node of storage at all.
const BYSTANDER: u8 = 19;
const LIARS: [u8; 7] = [LATE, ALTERER, TRUNCATOR, DROPPER, FULL, REFUSER, FORGETFUL];

/// Every validator may hold as many chunks as it has.
struct All;

impl StorageGrants for All {
    fn chunks(&self, _: &NodeId, term: u64) -> Option<u32> {
        (term == TERM).then_some(QUOTA.into())
    }

    fn may_stay(&self, validator: &NodeId, term: u64) -> Option<u32> {
        self.chunks(validator, term)
    }

    fn disk_bytes(&self) -> u64 {
        1 << 30
    }
}

fn open(dir: &Path, genesis: &Genesis, worker: u8) -> ChunkStore {
    ChunkStore::open(dir, Owner { network: genesis.network_id(), worker: node(worker) }).unwrap()
}

/// The real server of a worker with this folder, until the guard is dropped.
fn serve(dir: &Path, genesis: &Genesis) -> (StorageHandle, DropGuard) {
    serve_on(&Arc::default(), dir, genesis)
}

/// The same, over a line.
fn serve_on(line: &Arc<Line>, dir: &Path, genesis: &Genesis) -> (StorageHandle, DropGuard) {
    let (_settlements, settlement) = watch::channel(1);
    let (handle, server) = StorageServer::new(StorageServerParts {
        store: open(dir, genesis, HONEST),
        policy: genesis.policy.fixed(),
        is_validator: Arc::new(|it| [node(VALIDATOR), node(SECOND)].contains(it)),
        grants: Arc::new(All),
        settlement,
        min_free_bytes: 0,
        line: Arc::clone(line),
        served: Arc::default(),
    });
    let stop = CancellationToken::new();
    tokio::spawn(server.run(stop.clone()));
    (handle, stop.drop_guard())
}

/// Hands requests to whichever server there is.
async fn dispatch(mut events: Events<()>, server: watch::Receiver<StorageHandle>) {
    while let Some(event) = events.next().await {
        if let Event::Request { peer, protocol: Protocol::Storage, bytes, reply } = event {
            let handle = server.borrow().clone();
            handle.offer(StorageOffer { peer: NodeId::from_first_key(peer), bytes, reply });
        }
    }
}

/// A worker that does what its seed stands for, and else what it should.
async fn lie(seed: u8, store: ChunkStore, range_bytes: u32, mut events: Events<()>) {
    let room = Room { chunks: QUOTA.into(), bytes: u64::MAX, min_free_bytes: 0 };
    while let Some(event) = events.next().await {
        let Event::Request { peer, bytes, reply, .. } = event else { continue };
        let Ok(request) = decode::<StorageRequest>(&bytes) else { continue };
        let (validator, deposit) = (NodeId::from_first_key(peer), *request.deposit());
        let answer = match &request {
            StorageRequest::Held(_) => Ok(StorageReply::Held { chunks: store.held(&validator, &deposit) }),
            StorageRequest::Deposit { .. } if seed == FULL => Err(StorageRefusal::Full),
            StorageRequest::Deposit { index, .. } if seed == FORGETFUL => {
                Ok(StorageReply::Stored { chunks: index + 1 })
            }
            StorageRequest::Challenge { ranges, .. } if seed == FORGETFUL => {
                Ok(StorageReply::Ranges(vec![0; ranges.len() * usize::try_from(range_bytes).unwrap()]))
            }
            StorageRequest::Deposit { index, chunk, .. } => {
                store.deposit(&validator, &deposit, *index, chunk, room).map(|chunks| StorageReply::Stored { chunks })
            }
            StorageRequest::Challenge { .. } if seed == REFUSER => Err(StorageRefusal::Busy),
            StorageRequest::Challenge { .. } if seed == DROPPER => continue,
            StorageRequest::Challenge { ranges, .. } => {
                store.read(&validator, &deposit, ranges, range_bytes).map(|mut bytes| {
                    match seed {
                        ALTERER => bytes[5_000] ^= 1,
                        TRUNCATOR => bytes.truncate(bytes.len() - 1),
                        _ => {}
                    }
                    StorageReply::Ranges(bytes)
                })
            }
        };
        let answer = encode(&answer.unwrap_or_else(StorageReply::Refused));
        let wait = if seed == LATE && matches!(request, StorageRequest::Challenge { .. }) { 2_100 } else { 0 };
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            reply.respond(answer);
        });
    }
}

fn secret(byte: u8) -> StorageSecret {
    StorageSecret::new(Zeroizing::new([byte; 32]))
}

struct Measured {
    reports: mpsc::Receiver<ScoreReport>,
    counters: Arc<ProbeCounters>,
    n: usize,
    _stop: DropGuard,
}

impl Measured {
    /// What the workers have proved in the next epoch that is reported.
    async fn next(&mut self) -> Vec<Option<u16>> {
        let report = within(self.reports.recv()).await.unwrap();
        report.proved(self.n).unwrap().collect()
    }

    /// Waits for an epoch in which the only worker proves all.
    async fn wait_for_all(&mut self) {
        for _ in 0..6 {
            let proved = self.next().await;
            if proved == [Some(QUOTA)] {
                return;
            }
            assert_ne!(proved, [Some(0)], "it has not failed");
        }
        panic!("not everything was proved in six epochs: {:?}", self.counters.snapshot());
    }
}

fn measure(validator: &Peer, genesis: &Arc<Genesis>, workers: &[u8], secret: &StorageSecret) -> Measured {
    let (reports, received) = mpsc::channel(8);
    let network = genesis.network_id();
    let stored_at = |seed: &u8| StoredAt {
        worker: node(*seed),
        seats: 1,
        quota: QUOTA,
        deposit: secret.deposit(&network, &node(VALIDATOR), &node(*seed), TERM),
        is_challenged: true,
    };
    let stored = workers.iter().map(stored_at).collect();
    let assigned = Assignment { workers: vec![], policy: Arc::new(genesis.policy.clone()), stored };
    let prober = Prober::new(ProberParts {
        mesh: validator.mesh.clone(),
        me: node(VALIDATOR),
        key_of: Arc::new(|account| Some(account.first_key())),
        genesis: Arc::clone(genesis),
        clock: Arc::new(SystemClock),
        assignments: Arc::new(move |_| Box::pin(std::future::ready(Some(assigned.clone())))),
        secret: secret.clone(),
        reports,
    });
    let (counters, stop) = (prober.counters(), CancellationToken::new());
    tokio::spawn(prober.run(stop.clone()));
    Measured { reports: received, counters, n: workers.len(), _stop: stop.drop_guard() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_worker_proves_its_chunks_and_a_liar_none() {
    let genesis = Arc::new(genesis(EPOCH, &[VALIDATOR]));
    let network = genesis.network_id();
    let (validator, _unused) = peer(network, VALIDATOR, vec![]).await;
    let bootstrap = validator.mesh.listen_addresses();
    let dir = tempfile::tempdir().unwrap();
    let (handle, _serving) = serve(&dir.path().join("honest"), &genesis);
    let (honest, events) = peer(network, HONEST, bootstrap.clone()).await;
    let (_server, server) = watch::channel(handle);
    tokio::spawn(dispatch(events, server));
    let mut peers = vec![honest];
    for seed in LIARS {
        let (liar, events) = peer(network, seed, bootstrap.clone()).await;
        let store = open(&dir.path().join(seed.to_string()), &genesis, seed);
        tokio::spawn(lie(seed, store, genesis.policy.storage_range_bytes, events));
        peers.push(liar);
    }
    assert!(within(validator.mesh.wait_for_peers(|found| found.len() == peers.len())).await);

    let all = [&[HONEST][..], &LIARS, &[ABSENT]].concat();
    let mut measured = measure(&validator, &genesis, &all, &secret(1));
    for _ in 0..8 {
        let proved = measured.next().await;
        assert!(proved[1..].iter().all(|it| it.unwrap_or(0) == 0), "{proved:?}");
        assert_ne!(proved[0], Some(0), "the honest one has not failed");
        // In the first epochs chunks are still being deposited.
        if proved[0] == Some(QUOTA) && proved[1..].iter().all(|it| *it == Some(0)) {
            let counts = measured.counters.snapshot();
            assert!(counts.challenges(StorageOutcome::Wrong) >= 3, "altered, truncated, forgotten: {counts:?}");
            assert!(counts.challenges(StorageOutcome::Refused) >= 3, "dropped, full and refused: {counts:?}");
            assert!(
                counts.challenges(StorageOutcome::Late) >= 1 && counts.challenges(StorageOutcome::Unreachable) >= 1
            );
            return;
        }
    }
    panic!("in no epoch was the honest one right and everyone else wrong: {:?}", measured.counters.snapshot());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_outlast_restarts_of_both_sides_and_give_way_to_those_of_another_secret() {
    let genesis = Arc::new(genesis(EPOCH, &[VALIDATOR]));
    let network = genesis.network_id();
    let (validator, _unused) = peer(network, VALIDATOR, vec![]).await;
    let dir = tempfile::tempdir().unwrap();
    let (handle, serving) = serve(dir.path(), &genesis);
    let (_worker, events) = peer(network, HONEST, validator.mesh.listen_addresses()).await;
    let (server, servers) = watch::channel(handle);
    tokio::spawn(dispatch(events, servers));
    assert!(within(validator.mesh.wait_for_peers(|found| found.len() == 1)).await);

    let mut measured = measure(&validator, &genesis, &[HONEST], &secret(1));
    measured.wait_for_all().await;
    // The worker starts again, with what is on its disk.
    drop(serving);
    let (handle, _serving) = serve(dir.path(), &genesis);
    server.send_replace(handle);
    measured.wait_for_all().await;
    assert_eq!(measured.counters.snapshot().deposits(StorageOutcome::Done), u64::from(QUOTA));
    // And the validator, which has remembered nothing.
    drop(measured);
    let mut measured = measure(&validator, &genesis, &[HONEST], &secret(1));
    measured.wait_for_all().await;
    assert_eq!(measured.counters.snapshot().deposits(StorageOutcome::Done), 0);
    drop(measured);
    let mut measured = measure(&validator, &genesis, &[HONEST], &secret(2));
    measured.wait_for_all().await;
    assert_eq!(measured.counters.snapshot().deposits(StorageOutcome::Done), u64::from(QUOTA));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_holds_no_seat_and_whoever_is_no_validator_deposits_nothing() {
    let genesis = genesis(EPOCH, &[VALIDATOR]);
    let network = genesis.network_id();
    let dir = tempfile::tempdir().unwrap();
    let (handle, _serving) = serve(dir.path(), &genesis);
    let (worker, events) = peer(network, HONEST, vec![]).await;
    let (_server, servers) = watch::channel(handle);
    tokio::spawn(dispatch(events, servers));
    let bootstrap = worker.mesh.listen_addresses();
    let deposit = |term| secret(1).deposit(&network, &node(VALIDATOR), &node(HONEST), term);
    let chunk = secret(1).seed(&network, &node(VALIDATOR), &node(HONEST), TERM).chunk(0);
    let request = |term, chunk: &[u8]| {
        encode(&StorageRequest::Deposit { deposit: deposit(term), index: 0, chunk: chunk.to_vec() })
    };
    let (validator, _unused) = peer(network, VALIDATOR, bootstrap.clone()).await;
    let (stranger, _unheard) = peer(network, BYSTANDER, bootstrap).await;
    for (who, caller, term, chunk, is_answered) in [
        ("a validator", &validator, TERM, &chunk[..], true),
        ("one without a seat", &validator, TERM + 1, &chunk[..], true),
        ("one with less than a chunk", &validator, TERM, &chunk[1..], false),
        ("a stranger", &stranger, TERM, &chunk[..], false),
    ] {
        assert!(within(caller.mesh.wait_for_peers(|found| !found.is_empty())).await);
        let answer =
            within(caller.mesh.request(node(HONEST).first_key(), Protocol::Storage, request(term, chunk))).await;
        let answer = answer.ok().map(|bytes| decode::<StorageReply>(&bytes).unwrap());
        let expected = if term == TERM {
            StorageReply::Stored { chunks: 1 }
        } else {
            StorageReply::Refused(StorageRefusal::NotDrawn)
        };
        assert_eq!(answer, is_answered.then_some(expected), "{who}");
    }
}

/// Nobody looks at what is in the inbox, which strangers do not fill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_keep_no_validator_from_being_heard() {
    let genesis = genesis(EPOCH, &[VALIDATOR]);
    let network = genesis.network_id();
    let dir = tempfile::tempdir().unwrap();
    let (_settlements, settlement) = watch::channel(1);
    let (handle, server) = StorageServer::new(StorageServerParts {
        store: open(dir.path(), &genesis, HONEST),
        policy: genesis.policy.fixed(),
        is_validator: Arc::new(|it| *it == node(VALIDATOR)),
        grants: Arc::new(All),
        settlement,
        min_free_bytes: 0,
        line: Arc::default(),
        served: Arc::default(),
    });
    let (worker, events) = peer(network, HONEST, vec![]).await;
    let (_server, servers) = watch::channel(handle);
    tokio::spawn(dispatch(events, servers));
    let bootstrap = worker.mesh.listen_addresses();
    let (validator, _unused) = peer(network, VALIDATOR, bootstrap.clone()).await;
    let (stranger, _unheard) = peer(network, BYSTANDER, bootstrap).await;
    assert!(within(worker.mesh.wait_for_peers(|found| found.len() == 2)).await);
    let held = encode(&StorageRequest::Held(secret(1).deposit(&network, &node(VALIDATOR), &node(HONEST), TERM)));
    let ask = async |caller: &Peer| {
        within(caller.mesh.request(node(HONEST).first_key(), Protocol::Storage, held.clone())).await
    };
    for _ in 0..8 {
        assert!(matches!(ask(&stranger).await, Err(RequestError::NoAnswer)));
    }
    tokio::spawn(server.run(CancellationToken::new()));
    assert_eq!(ask(&validator).await.unwrap(), encode(&StorageReply::Held { chunks: 0 }));
}

/// At this pace a chunk takes 84 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_waits_for_no_pace_and_is_counted() {
    let genesis = genesis(EPOCH, &[VALIDATOR]);
    let network = genesis.network_id();
    let dir = tempfile::tempdir().unwrap();
    let line = Arc::new(Line::new(&LimitsConfig { down_kbps: 100, ..LimitsConfig::default() }));
    let (handle, _serving) = serve_on(&line, dir.path(), &genesis);
    let (worker, events) = peer(network, HONEST, vec![]).await;
    let (_server, servers) = watch::channel(handle);
    tokio::spawn(dispatch(events, servers));
    let bootstrap = worker.mesh.listen_addresses();
    let (validator, _unused) = peer(network, VALIDATOR, bootstrap.clone()).await;
    let (stranger, _unheard) = peer(network, BYSTANDER, bootstrap).await;
    for caller in [&validator, &stranger] {
        assert!(within(caller.mesh.wait_for_peers(|found| !found.is_empty())).await);
    }
    let request = |term, index| {
        let deposit = secret(1).deposit(&network, &node(VALIDATOR), &node(HONEST), term);
        encode(&StorageRequest::Deposit { deposit, index, chunk: vec![7; 1 << 20] })
    };
    let ask = async |caller: &Peer, term, index| {
        let sent = caller.mesh.request(node(HONEST).first_key(), Protocol::Storage, request(term, index));
        within(sent).await.ok().map(|bytes| decode::<StorageReply>(&bytes).unwrap())
    };
    let refused = |refusal| Some(StorageReply::Refused(refusal));
    assert_eq!(ask(&validator, TERM + 1, 0).await, refused(StorageRefusal::NotDrawn));
    assert_eq!(ask(&validator, TERM, 1).await, refused(StorageRefusal::OutOfOrder { next: 0 }));
    // One that may be stored waits for the pace, and another one of the same peer not even for that.
    let mesh = validator.mesh.clone();
    let (first, before) = (request(TERM, 0), line.bytes());
    let waiting = tokio::spawn(async move { mesh.request(node(HONEST).first_key(), Protocol::Storage, first).await });
    becomes_true(|| line.bytes() > before).await;
    assert_eq!(ask(&validator, TERM, 0).await, refused(StorageRefusal::Busy));
    assert_eq!(ask(&stranger, TERM, 0).await, None);
    assert!(!waiting.is_finished());
    assert!(line.bytes() > 5 << 20, "{}", line.bytes());
}

/// Asks for what is held as fast as it can; how many answers it got, and how many refusals.
async fn flood(mesh: Mesh, stop: CancellationToken) -> (u64, u64) {
    let held = encode(&StorageRequest::Held(DepositId { term: TERM, tag: Hash::from_bytes([7; 32]) }));
    let (mut n_answered, mut n_refused) = (0, 0);
    while !stop.is_cancelled() {
        match mesh.request(node(HONEST).first_key(), Protocol::Storage, held.clone()).await {
            Ok(_) => n_answered += 1,
            Err(_) => n_refused += 1,
        }
        tokio::task::yield_now().await;
    }
    (n_answered, n_refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_requests_keeps_no_other_validator_waiting() {
    let genesis = Arc::new(genesis(EPOCH, &[VALIDATOR]));
    let network = genesis.network_id();
    let dir = tempfile::tempdir().unwrap();
    let (handle, _serving) = serve(dir.path(), &genesis);
    let (worker, events) = peer(network, HONEST, vec![]).await;
    let (_server, servers) = watch::channel(handle);
    tokio::spawn(dispatch(events, servers));
    let bootstrap = worker.mesh.listen_addresses();
    let (validator, _unused) = peer(network, VALIDATOR, bootstrap.clone()).await;
    let (flooder, _unheard) = peer(network, SECOND, bootstrap).await;
    assert!(within(worker.mesh.wait_for_peers(|found| found.len() == 2)).await);

    let (begun, stop) = (Instant::now(), CancellationToken::new());
    let flooding = tokio::spawn(flood(flooder.mesh.clone(), stop.clone()));
    measure(&validator, &genesis, &[HONEST], &secret(1)).wait_for_all().await;
    stop.cancel();
    let (n_answered, n_refused) = within(flooding).await.unwrap();
    let limits = Protocol::Storage.limits();
    let most = u64::from(limits.burst) + u64::from(limits.per_second) * (begun.elapsed().as_secs() + 1);
    assert!((1..=most).contains(&n_answered) && n_refused > 100, "{n_answered} of {most}, {n_refused} refused");
}

/// It has no room for a connection to the worker: that is not the worker's fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_that_can_connect_no_more_abstains() {
    let genesis = Arc::new(genesis(EPOCH, &[VALIDATOR]));
    let network = genesis.network_id();
    let (hub, _hub_events) = peer(network, BYSTANDER, vec![]).await;
    let bootstrap = hub.mesh.listen_addresses();
    let dir = tempfile::tempdir().unwrap();
    let (handle, _serving) = serve(dir.path(), &genesis);
    let (_worker, events) = peer(network, HONEST, bootstrap.clone()).await;
    let (_server, servers) = watch::channel(handle);
    tokio::spawn(dispatch(events, servers));
    assert!(within(hub.mesh.wait_for_peers(|found| found.len() == 1)).await);
    let (validator, _unused) = full_peer(network, VALIDATOR, bootstrap).await;
    assert!(within(validator.mesh.wait_for_peers(|found| found.len() == 1)).await);
    assert_eq!(validator.mesh.peers()[0].key, node(BYSTANDER).first_key());

    let mut measured = measure(&validator, &genesis, &[HONEST], &secret(1));
    for _ in 0..2 {
        assert_eq!(measured.next().await, [None]);
    }
    assert_eq!(measured.counters.snapshot().challenges(StorageOutcome::NotSent), 2);
}
