//! What a worker gives to whom, over real meshes.

use std::sync::Arc;
use std::time::Duration;

use lucid_node::clock::{Clock, SystemClock};
use lucid_node::config::{LimitsConfig, ProbeConfig};
use lucid_node::probe::{EchoGrant, Line, Responder, ResponderParts, Served, ServedCounts};
use lucid_p2p::{EchoStream, Protocol, RequestError};
use lucid_types::codec::encode;
use lucid_types::genesis::Genesis;
use lucid_types::key::NodeKey;
use lucid_types::report::ProbeRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::fixture::{becomes_true, genesis, node, policy_of, within};
use crate::mesh::{Peer, dispatch, peer};

const VALIDATOR: u8 = 1;
const OTHER_VALIDATOR: u8 = 2;
const STRANGER: u8 = 3;
/// A validator without a seat for the worker.
const SEATLESS: u8 = 4;
const WORKER: u8 = 10;
/// Of the echo that the draw gives the worker.
const ECHO_BYTES: u64 = 256 << 10;

struct Worker {
    genesis: Arc<Genesis>,
    served: Arc<Served>,
    line: Arc<Line>,
    bootstrap: Vec<String>,
    _peer: Peer,
    _stop: tokio_util::sync::DropGuard,
}

async fn worker(limits: ProbeConfig) -> Worker {
    worker_with(limits, &LimitsConfig::default()).await
}

async fn worker_with(limits: ProbeConfig, line: &LimitsConfig) -> Worker {
    // Long epochs: nothing here depends on their ends.
    let genesis = Arc::new(genesis(Duration::from_secs(60), &[VALIDATOR, OTHER_VALIDATOR, SEATLESS]));
    let (peer, events) = peer(genesis.network_id(), WORKER, vec![]).await;
    let (served, stop) = (Arc::<Served>::default(), CancellationToken::new());
    let line = Arc::new(Line::new(line));
    let validators = genesis.validators.clone();
    let (handle, responder) = Responder::new(ResponderParts {
        key: NodeKey::from_seed(&[WORKER; 32]),
        genesis: Arc::clone(&genesis),
        clock: Arc::new(SystemClock),
        is_validator: Arc::new(move |id| validators.iter().any(|v| v.node == *id)),
        echo_grants: Arc::new(|validator, _| {
            if *validator == node(SEATLESS) { EchoGrant::Nothing } else { EchoGrant::Bytes(ECHO_BYTES) }
        }),
        policy_of: policy_of(&genesis),
        limits,
        line: Arc::clone(&line),
        served: Arc::clone(&served),
    });
    tokio::spawn(responder.run(stop.clone()));
    tokio::spawn(dispatch(events, handle));
    let bootstrap = peer.mesh.listen_addresses();
    Worker { genesis, served, line, bootstrap, _peer: peer, _stop: stop.drop_guard() }
}

impl Worker {
    async fn caller(&self, seed: u8) -> Peer {
        let (peer, _events) = peer(self.genesis.network_id(), seed, self.bootstrap.clone()).await;
        assert!(
            within(peer.mesh.wait_for_peers(|peers| peers.iter().any(|p| p.key == node(WORKER).first_key()))).await
        );
        peer
    }

    fn request(&self) -> Vec<u8> {
        encode(&ProbeRequest { epoch: self.genesis.epoch_at(SystemClock.now()), nonce: [4; 32] })
    }
}

async fn open(caller: &Peer) -> EchoStream {
    within(caller.mesh.open_echo(node(WORKER).first_key())).await.unwrap()
}

/// What comes back of `bytes`; as much as did when the worker breaks off.
async fn returned(mut stream: EchoStream, bytes: &[u8]) -> Vec<u8> {
    let mut back = Vec::new();
    {
        let (mut reader, mut writer) = tokio::io::split(&mut stream);
        let write = async {
            // The worker may break off.
            let _ = writer.write_all(bytes).await;
            let _ = writer.shutdown().await;
        };
        let read = async {
            let _ = reader.read_to_end(&mut back).await;
        };
        within(async { tokio::join!(write, read) }).await;
    }
    back
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validators_are_served_and_strangers_are_not() {
    let worker = worker(ProbeConfig::default()).await;
    let (validator, stranger) = (worker.caller(VALIDATOR).await, worker.caller(STRANGER).await);
    let ask = async |caller: &Peer, bytes| caller.mesh.request(node(WORKER).first_key(), Protocol::Probe, bytes).await;
    assert!(within(ask(&validator, worker.request())).await.is_ok());
    assert_eq!(within(ask(&stranger, worker.request())).await, Err(RequestError::NoAnswer));
    assert_eq!(within(ask(&validator, b"what?".to_vec())).await, Err(RequestError::NoAnswer));
    let data = vec![7; 100_000];
    assert_eq!(returned(open(&validator).await, &data).await, data);
    assert!(returned(open(&stranger).await, &data).await.is_empty());
    let wanted = ServedCounts { pings: 1, echoes: 1, echo_bytes: 100_000, refused: 3, ..ServedCounts::default() };
    becomes_true(|| worker.served.snapshot() == wanted).await;
    assert_eq!(wanted.sessions(), 2);
    assert!(worker.served.busy_time() > Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_when_it_brings_more_than_the_task_has() {
    let worker = worker(ProbeConfig::default()).await;
    let validator = worker.caller(VALIDATOR).await;
    let most = usize::try_from(ECHO_BYTES).unwrap();
    let back = returned(open(&validator).await, &vec![1; 4 * most]).await;
    assert!(back.len() <= most, "{} bytes", back.len());
    assert_eq!(worker.served.snapshot().echoes, 0, "it was not served to the end");
}

/// Validators without a seat are pinged as all, and get no echo; those with one get one at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echoes_are_for_holders_of_seats_one_at_a_time() {
    let worker = worker(ProbeConfig::default()).await;
    let (validator, seatless) = (worker.caller(VALIDATOR).await, worker.caller(SEATLESS).await);
    assert!(within(seatless.mesh.request(node(WORKER).first_key(), Protocol::Probe, worker.request())).await.is_ok());
    assert!(returned(open(&seatless).await, &[1; 1_000]).await.is_empty());
    becomes_true(|| worker.served.snapshot().refused == 1).await;
    // One session is open and has been seen by the worker; there are slots left, and none for the same validator.
    let mut first = open(&validator).await;
    first.write_all(b"x").await.unwrap();
    first.flush().await.unwrap();
    within(first.read_exact(&mut [0])).await.unwrap();
    assert!(returned(open(&validator).await, &[1; 1_000]).await.is_empty());
    becomes_true(|| worker.served.snapshot().refused == 2).await;
    assert!(returned(first, &[]).await.is_empty());
    becomes_true(|| worker.served.snapshot().echoes == 1).await;
}

/// A validator that opens a session and sends nothing holds its slot for a few seconds, however long the epoch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_lasts_as_long_as_its_bytes_may_take() {
    let worker = worker(ProbeConfig::default()).await;
    let validator = worker.caller(VALIDATOR).await;
    let start = std::time::Instant::now();
    let mut idle = open(&validator).await;
    idle.write_all(b"x").await.unwrap();
    idle.flush().await.unwrap();
    within(idle.read_exact(&mut [0])).await.unwrap();
    let ended = within(idle.read(&mut [0])).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

/// An echo that comes while all slots are taken waits for a moment. One that gets none is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_waits_a_moment_for_a_slot() {
    let worker = worker(ProbeConfig { echo_sessions: 1 }).await;
    let (one, two) = (worker.caller(VALIDATOR).await, worker.caller(OTHER_VALIDATOR).await);
    let mut first = open(&one).await;
    first.write_all(b"x").await.unwrap();
    first.flush().await.unwrap();
    within(first.read_exact(&mut [0])).await.unwrap();
    let mut second = open(&two).await;
    second.write_all(b"y").await.unwrap();
    second.flush().await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(200), second.read_exact(&mut byte)).await;
    assert!(early.is_err(), "it has no slot: {early:?}");
    assert!(returned(first, &[]).await.is_empty());
    within(second.read_exact(&mut byte)).await.unwrap();
    assert_eq!((&byte, worker.served.snapshot().refused), (b"y", 0));
    // Now that one keeps the slot.
    let start = std::time::Instant::now();
    assert!(returned(open(&one).await, b"z").await.is_empty());
    becomes_true(|| worker.served.snapshot().refused == 1).await;
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owners_caps_hold() {
    // 200,000 bytes a second out.
    let line = LimitsConfig { up_kbps: 1_600, ..LimitsConfig::default() };
    let worker = worker_with(ProbeConfig { echo_sessions: 1 }, &line).await;
    let (one, two) = (worker.caller(VALIDATOR).await, worker.caller(OTHER_VALIDATOR).await);
    // One session is open and has been seen by the worker; the other validator's is refused.
    let mut first = open(&one).await;
    first.write_all(b"x").await.unwrap();
    first.flush().await.unwrap();
    let mut byte = [0];
    within(first.read_exact(&mut byte)).await.unwrap();
    assert!(returned(open(&two).await, &[1; 1_000]).await.is_empty());
    becomes_true(|| worker.served.snapshot().refused == 1).await;
    assert!(returned(first, &[]).await.is_empty());
    // 100,000 bytes at 200,000 a second; the last chunk need not wait for itself.
    let time = within(async {
        loop {
            let start = std::time::Instant::now();
            // The slot comes back a moment after the session's last byte.
            if returned(open(&one).await, &vec![1; 100_000]).await.len() == 100_000 {
                return start.elapsed();
            }
        }
    });
    let time = time.await;
    assert!(time >= Duration::from_millis(400), "{time:?}");
}

/// What comes in has a pace of its own; all of it is counted, and when the month is used up there is no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_in_is_paced_and_both_ways_are_counted() {
    let line = LimitsConfig { down_kbps: 1_600, ..LimitsConfig::default() };
    let worker = worker_with(ProbeConfig::default(), &line).await;
    let validator = worker.caller(VALIDATOR).await;
    let start = std::time::Instant::now();
    assert_eq!(returned(open(&validator).await, &vec![1; 100_000]).await.len(), 100_000);
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
    assert_eq!(worker.line.bytes(), 200_000);
    becomes_true(|| worker.served.snapshot().echoes == 1).await;
    worker.line.set_left(0);
    assert!(returned(open(&validator).await, &[1; 1_000]).await.is_empty());
    becomes_true(|| worker.served.snapshot().refused == 1).await;
    assert!(within(validator.mesh.request(node(WORKER).first_key(), Protocol::Probe, worker.request())).await.is_ok());
}
