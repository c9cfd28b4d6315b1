//! A validator measures workers over real meshes: an honest one, and liars of every kind, of whom nothing counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_node::clock::{Clock, SystemClock};
use lucid_node::config::ProbeConfig;
use lucid_node::probe::schedule::{Assigned, Assignment};
use lucid_node::probe::{
    AttestationTable, EchoGrant, EchoOutcome, PingOutcome, ProbeCounts, Prober, ProberParts, Recorded, Responder,
    ResponderParts, Served, StorageSecret,
};
use lucid_node::sampler::rings::Rings;
use lucid_node::sampler::{self, Attester, AttesterParts, Newest, Sampler};
use lucid_p2p::{Event, Events, Protocol};
use lucid_score::report::check_observation;
use lucid_types::attestation::Capacity;
use lucid_types::codec::{decode, encode};
use lucid_types::genesis::Genesis;
use lucid_types::id::NodeId;
use lucid_types::key::NodeKey;
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::Policy;
use lucid_types::report::{AssignedWorker, Observation, ProbeReply, ProbeRequest, ScoreReport};
use lucid_types::time::{Epoch, UnixMillis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::fixture::start::Start;
use crate::fixture::{genesis, node, policy_of, within, worker};
use crate::mesh::{Peer, dispatch, full_peer, peer};

const EPOCH: Duration = Duration::from_secs(3);
const VALIDATOR: u8 = 1;
const HONEST: u8 = 10;
/// Answers pings with a signature of another key.
const FORGER: u8 = 11;
/// Answers every ping with its answer to the first.
const REPLAYER: u8 = 12;
/// Answers nothing.
const MUTE: u8 = 13;
/// Returns the stream without its last byte.
const TRUNCATOR: u8 = 14;
/// Returns the stream with one bit changed.
const ALTERER: u8 = 15;
/// Returns the stream and one byte more.
const ADDER: u8 = 16;
/// Answers pings, and keeps the stream to itself.
const HOARDER: u8 = 17;
/// Is registered and not there.
const ABSENT: u8 = 18;
/// Answers when it is too late.
const LATE: u8 = 19;
/// Answers rightly, and says more.
const PADDER: u8 = 20;
/// Answers another ping.
const OTHER_PING: u8 = 21;
/// Has another node answer.
const STAND_IN: u8 = 22;
/// Workers that keep the stream, or are not there: the first of as many as the test has.
const SLOW: u8 = 100;
/// Those whose pings come to nothing, and those whose echoes do.
const PING_LIARS: [u8; 7] = [FORGER, REPLAYER, MUTE, LATE, PADDER, OTHER_PING, STAND_IN];
const ECHO_LIARS: [u8; 4] = [TRUNCATOR, ALTERER, ADDER, HOARDER];
/// Where the draw says that workers are. They are on loopback, which is nowhere.
const DRAWN: NetworkGroup = NetworkGroup::from_bytes([0, 0, 9, 9, 9, 9]);

/// A worker that does what its seed stands for.
async fn lie(seed: u8, genesis: Arc<Genesis>, mut events: Events<()>) {
    let (own, other) = (NodeKey::from_seed(&[seed; 32]), NodeKey::from_seed(&[99; 32]));
    let network = genesis.network_id();
    let (mut first, mut kept) = (None, Vec::new());
    while let Some(event) = events.next().await {
        match event {
            Event::Request { peer, bytes, reply, .. } => {
                let request: ProbeRequest = decode(&bytes).unwrap();
                let nonce = if seed == OTHER_PING { [7; 32] } else { request.nonce };
                let record = ProbeReply { validator: NodeId::from_first_key(peer), epoch: request.epoch, nonce };
                let key = if [FORGER, STAND_IN].contains(&seed) { &other } else { &own };
                let mut signed = key.sign_probe_reply(&network, record).into_inner();
                if seed != STAND_IN {
                    signed.signer = own.public_key();
                }
                let mut answer = encode(&signed);
                match seed {
                    MUTE => drop(reply),
                    LATE => {
                        tokio::spawn(async move {
                            tokio::time::sleep(Duration::from_millis(2_100)).await;
                            reply.respond(answer);
                        });
                    }
                    REPLAYER => reply.respond(first.get_or_insert(answer).clone()),
                    PADDER => {
                        answer.resize(Protocol::Probe.limits().response_bytes, 0);
                        reply.respond(answer);
                    }
                    _ => reply.respond(answer),
                }
            }
            Event::Echo { stream, .. } => {
                let (mut reader, mut writer) = tokio::io::split(stream);
                let mut all = Vec::new();
                if reader.read_to_end(&mut all).await.is_err() {
                    continue;
                }
                match seed {
                    TRUNCATOR => drop(all.pop()),
                    ALTERER => all[100_000] ^= 1,
                    ADDER => all.push(0),
                    HOARDER | SLOW.. => {
                        kept.push((reader, writer));
                        continue;
                    }
                    _ => {}
                }
                // The validator hangs up as soon as it has seen enough.
                let _ = writer.write_all(&all).await;
                let _ = writer.shutdown().await;
            }
            _ => {}
        }
    }
}

/// A sample of this machine, after which there is no other.
fn one_sample() -> Newest {
    let sample = Sampler::new(&std::env::temp_dir()).unwrap().sample(SystemClock.now()).unwrap();
    watch::channel(Some(Arc::new(sample))).1
}

/// An honest worker: the real responder, and the real attester that fills the validator's table.
fn serve_honestly(genesis: &Arc<Genesis>, events: Events<()>, table: &Arc<AttestationTable>, stop: &CancellationToken) {
    let (key, served, clock) = (NodeKey::from_seed(&[HONEST; 32]), Arc::<Served>::default(), Arc::new(SystemClock));
    let validators = genesis.validators.clone();
    let limits = ProbeConfig::default();
    let (handle, responder) = Responder::new(ResponderParts {
        key: key.clone(),
        genesis: Arc::clone(genesis),
        clock: Arc::<SystemClock>::clone(&clock),
        is_validator: Arc::new(move |id| validators.iter().any(|v| v.node == *id)),
        echo_grants: Arc::new(|_, _| EchoGrant::Bytes(BYTES.value())),
        policy_of: policy_of(genesis),
        limits: limits.clone(),
        served: Arc::clone(&served),
    });
    tokio::spawn(responder.run(stop.clone()));
    tokio::spawn(dispatch(events, handle));
    let worker = worker(node(HONEST), HONEST);
    let capacity = worker.capacity;
    let (out, mut attestations) = mpsc::channel(4);
    let mut sequence = 0;
    let sampler = sampler::spawn(&std::env::temp_dir(), Arc::<SystemClock>::clone(&clock), Rings::default()).unwrap();
    let attester = Attester::new(AttesterParts {
        key,
        genesis: Arc::clone(genesis),
        clock,
        newest: sampler.newest(),
        capacity: Arc::new(move || Some(capacity)),
        served,
        echo_slots: limits.echo_sessions,
        next_sequence: move || {
            sequence += 1;
            Ok::<_, std::convert::Infallible>(sequence)
        },
        out,
    });
    let stop = stop.clone();
    tokio::spawn(async move {
        let _sampler = sampler;
        attester.run(stop).await;
    });
    let start = Start { genesis: Genesis::clone(genesis), workers: vec![worker], pools: vec![] };
    let state = start.state(&ChainSpec::new(start.genesis.clone()).unwrap());
    let table = Arc::clone(table);
    tokio::spawn(async move {
        while let Some(attestation) = attestations.recv().await {
            assert_eq!(table.record(&state, &NodeId::from_first_key(attestation.signer), &attestation), Recorded::New);
        }
    });
}

struct Measured {
    reports: mpsc::Receiver<ScoreReport>,
    counts: Box<dyn Fn() -> ProbeCounts>,
}

/// Of an echo.
const BYTES: LogScale = LogScale::encode(256 << 10);

/// All workers, all with echo, in the order of their ids.
fn assigned(workers: &[u8]) -> Assignment {
    let of = |seed: &u8| Assigned { worker: node(*seed), echo_bytes: Some(BYTES), group: DRAWN };
    let mut workers: Vec<_> = workers.iter().map(of).collect();
    workers.sort_by_key(|assigned| assigned.worker);
    let policy = Arc::new(Policy::local(Duration::from_secs(5), 2, None));
    Assignment { workers, policy, stored: vec![] }
}

fn measure(validator: &Peer, genesis: &Arc<Genesis>, workers: &[u8], stop: &CancellationToken) -> Measured {
    let (reports, received) = mpsc::channel(8);
    let assigned = assigned(workers);
    let prober = Prober::new(ProberParts {
        mesh: validator.mesh.clone(),
        me: NodeId::from_first_key(validator.mesh.public_key()),
        key_of: Arc::new(|account| Some(account.first_key())),
        genesis: Arc::clone(genesis),
        clock: Arc::new(SystemClock),
        assignments: Arc::new(move |_| Box::pin(std::future::ready(Some(assigned.clone())))),
        secret: StorageSecret::new(Zeroizing::new([1; 32])),
        reports,
    });
    let counters = prober.counters();
    tokio::spawn(prober.run(stop.clone()));
    Measured { reports: received, counts: Box::new(move || counters.snapshot()) }
}

fn observations(workers: &[u8], report: &ScoreReport) -> Vec<Option<Observation>> {
    assert_eq!(report.proved(0).unwrap().count(), 0, "of nobody are chunks held");
    let worker = AssignedWorker { has_echo: true, group: DRAWN };
    report.observations(&vec![worker; workers.len()]).unwrap()
}

fn of(workers: &[u8], report: &ScoreReport, seed: u8) -> Option<Observation> {
    let place = assigned(workers).workers.iter().position(|assigned| assigned.worker == node(seed)).unwrap();
    observations(workers, report)[place]
}

/// Whether an echo was sent, and came back.
fn echo(o: &Observation) -> (bool, bool) {
    (o.echo_kbit_s.is_some(), o.echo_kbit_s > Some(LogScale::ZERO))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_worker_is_measured_and_of_a_liar_nothing_counts() {
    let liars = [&PING_LIARS[..], &ECHO_LIARS].concat();
    let all: Vec<u8> = [HONEST].into_iter().chain(liars.clone()).chain([ABSENT]).collect();
    let genesis = Arc::new(genesis(EPOCH, &[VALIDATOR]));
    let (network, stop) = (genesis.network_id(), CancellationToken::new());
    let _guard = stop.clone().drop_guard();
    let (validator, _unused) = peer(network, VALIDATOR, vec![]).await;
    let bootstrap = validator.mesh.listen_addresses();
    let table = Arc::new(AttestationTable::new(&genesis.policy.fixed()));

    let (honest, events) = peer(network, HONEST, bootstrap.clone()).await;
    serve_honestly(&genesis, events, &table, &stop);
    let mut peers = vec![honest];
    for seed in liars {
        let (liar, events) = peer(network, seed, bootstrap.clone()).await;
        tokio::spawn(lie(seed, Arc::clone(&genesis), events));
        peers.push(liar);
    }
    assert!(within(validator.mesh.wait_for_peers(|found| found.len() == peers.len())).await);

    let mut measured = measure(&validator, &genesis, &all, &stop);
    let of = |report: &ScoreReport, seed| of(&all, report, seed);
    let mut complete = false;
    for round in 0..6 {
        let report = within(measured.reports.recv()).await.unwrap();
        for o in observations(&all, &report).into_iter().flatten() {
            assert_eq!(check_observation(&genesis.policy, &o), Ok(()), "{o:?}");
        }
        for seed in PING_LIARS.into_iter().chain([ABSENT]) {
            // The replayer's first answer is right.
            let most = u8::from(seed == REPLAYER && round == 0);
            assert!(of(&report, seed).is_none_or(|o| o.pings_answered <= most), "{report:?}");
        }
        for seed in ECHO_LIARS.into_iter().chain([ABSENT]) {
            assert!(of(&report, seed).is_none_or(|o| !echo(&o).1), "{report:?}");
        }
        // The first epoch has begun before the prober; on a loaded machine one more may be incomplete.
        let whole = |seed: u8| of(&report, seed).is_some_and(|o| o.pings_sent == 4 && echo(&o).0);
        let Some(o) = of(&report, HONEST) else { continue };
        if all.iter().all(|seed| whole(*seed)) && o.pings_answered == 4 && echo(&o).1 {
            assert!(o.rtt_us.value() > 0, "{o:?}");
            assert_eq!(o.group, Some(NetworkGroup::NONE), "it was seen elsewhere than the draw says");
            assert!(of(&report, ABSENT).is_some_and(|o| o.pings_sent == 4 && o.rtt_us.value() == 0));
            complete = true;
            break;
        }
    }
    assert!(complete, "no epoch was measured in full");
    let counts = (measured.counts)();
    assert!(counts.pings(PingOutcome::Answered) >= 4);
    assert!(
        counts.pings(PingOutcome::Wrong) >= 4 * 5 - 1,
        "forger, replayer, padder, another ping's answer, another node's"
    );
    assert!(counts.pings(PingOutcome::Late) >= 4, "the late one");
    assert!(counts.pings(PingOutcome::Refused) >= 4, "the mute one");
    assert!(counts.echoes(EchoOutcome::Altered) >= 2, "altered, and one byte too many");
    assert!(counts.echoes(EchoOutcome::Broken) >= 1, "truncated");
    assert!(counts.echoes(EchoOutcome::Late) >= 1, "kept");
}

/// A dozen workers that keep their streams and twenty that are not there take as long as they may; the honest one is measured all the same, and
/// so is every one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_worker_delays_nobody() {
    let (slow, absent) = (SLOW..SLOW + 12, SLOW + 12..SLOW + 32);
    let all: Vec<u8> = [HONEST].into_iter().chain(slow.clone()).chain(absent.clone()).collect();
    let genesis = Arc::new(genesis(Duration::from_secs(6), &[VALIDATOR]));
    let (network, stop) = (genesis.network_id(), CancellationToken::new());
    let _guard = stop.clone().drop_guard();
    let (validator, _unused) = peer(network, VALIDATOR, vec![]).await;
    let bootstrap = validator.mesh.listen_addresses();
    let table = Arc::new(AttestationTable::new(&genesis.policy.fixed()));
    let (honest, events) = peer(network, HONEST, bootstrap.clone()).await;
    serve_honestly(&genesis, events, &table, &stop);
    let mut peers = vec![honest];
    for seed in slow.clone() {
        let (worker, events) = peer(network, seed, bootstrap.clone()).await;
        tokio::spawn(lie(seed, Arc::clone(&genesis), events));
        peers.push(worker);
    }
    assert!(within(validator.mesh.wait_for_peers(|found| found.len() == peers.len())).await);

    let mut measured = measure(&validator, &genesis, &all, &stop);
    // The first epoch has begun before the prober; on a loaded machine one more may be incomplete.
    let mut reports = Vec::new();
    for _ in 0..4 {
        let report = within(measured.reports.recv()).await.unwrap();
        let of = |seed: u8| echo(&of(&all, &report, seed).unwrap_or_default());
        let is_sent = all.iter().all(|seed| of(*seed).0);
        let verified: Vec<u8> = all.iter().copied().filter(|seed| of(*seed).1).collect();
        assert!(verified.iter().all(|seed| *seed == HONEST), "{verified:?}");
        if is_sent && verified == [HONEST] {
            return;
        }
        reports.push(report);
    }
    panic!("in no epoch was everyone sent an echo and the honest one's verified: {reports:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_without_peers_abstains() {
    let genesis = Arc::new(genesis(Duration::from_secs(2), &[VALIDATOR]));
    let stop = CancellationToken::new();
    let (validator, _events) = peer(genesis.network_id(), VALIDATOR, vec![]).await;
    let mut measured = measure(&validator, &genesis, &[HONEST], &stop);
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let report = within(measured.reports.recv()).await.unwrap();
        assert_eq!(report.n_measured(), 0, "{report:?}");
        epochs.push(report.epoch.get());
    }
    assert_eq!(epochs[1], epochs[0] + 1, "one report an epoch");
    assert!((measured.counts)().pings(PingOutcome::NotSent) >= 4);
    stop.cancel();
    assert!(within(measured.reports.recv()).await.is_none(), "a stopped prober reports nothing more");
}

/// Also a validator that starts within an epoch does not judge by less than half of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_that_is_half_over_at_the_start_is_not_measured() {
    let mut genesis = genesis(Duration::from_secs(4), &[VALIDATOR]);
    // Epoch 1 began 2.5 s ago.
    genesis.genesis_time = genesis.genesis_time.saturating_sub(UnixMillis::new(2_500));
    let genesis = Arc::new(genesis);
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    let (validator, _events) = peer(genesis.network_id(), VALIDATOR, vec![]).await;
    let mut measured = measure(&validator, &genesis, &[HONEST], &stop);
    let report = within(measured.reports.recv()).await.unwrap();
    assert!(report.epoch > Epoch::new(1), "{report:?}");
}

/// A validator that has no room for a connection to the worker has not measured it: it does not say that the worker failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validators_own_limits_are_not_the_workers_failure() {
    let genesis = Arc::new(genesis(Duration::from_secs(2), &[VALIDATOR]));
    let (network, stop) = (genesis.network_id(), CancellationToken::new());
    let _guard = stop.clone().drop_guard();
    let (hub, _hub_events) = peer(network, MUTE, vec![]).await;
    let bootstrap = hub.mesh.listen_addresses();
    let table = Arc::new(AttestationTable::new(&genesis.policy.fixed()));
    let (_honest, events) = peer(network, HONEST, bootstrap.clone()).await;
    serve_honestly(&genesis, events, &table, &stop);
    assert!(within(hub.mesh.wait_for_peers(|found| found.len() == 1)).await);
    let (validator, _events) = full_peer(network, VALIDATOR, bootstrap).await;
    assert!(within(validator.mesh.wait_for_peers(|found| found.len() == 1)).await);
    assert_eq!(validator.mesh.peers()[0].key, node(MUTE).first_key());
    assert!(within(hub.mesh.wait_for_peers(|found| found.len() == 2)).await);

    let mut measured = measure(&validator, &genesis, &[HONEST], &stop);
    for _ in 0..2 {
        let report = within(measured.reports.recv()).await.unwrap();
        assert_eq!(report.n_measured(), 0, "{report:?}");
    }
    let counts = (measured.counts)();
    assert!(counts.pings(PingOutcome::NotSent) >= 4 && counts.echoes(EchoOutcome::NotSent) >= 1, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attester_says_what_is_declared_and_skips_what_has_no_row_or_sequence() {
    let genesis = Arc::new(genesis(Duration::from_secs(2), &[VALIDATOR]));
    let (out, mut attestations) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    let mut calls = 0u64;
    // It declares more at each look, from the second on: before, it is not registered.
    let looks = AtomicU32::new(0);
    let capacity = move || {
        let look = looks.fetch_add(1, Ordering::Relaxed);
        (look > 0).then(|| Capacity { cores: look, ..Capacity::default() })
    };
    let attester = Attester::new(AttesterParts {
        key: NodeKey::from_seed(&[HONEST; 32]),
        genesis: Arc::clone(&genesis),
        clock: Arc::new(SystemClock),
        newest: one_sample(),
        capacity: Arc::new(capacity),
        served: Arc::default(),
        echo_slots: 8,
        next_sequence: move || {
            calls += 1;
            if calls == 1 { Err("the disk is full") } else { Ok(calls) }
        },
        out,
    });
    tokio::spawn(attester.run(stop));
    let first = within(attestations.recv()).await.unwrap();
    let second = within(attestations.recv()).await.unwrap();
    first.check(&genesis.network_id()).unwrap();
    assert_eq!((first.record.sequence, second.record.sequence), (2, 3));
    assert_eq!(second.record.epoch, first.record.epoch.next(), "one an epoch");
    assert!(first.record.is_plausible(), "{first:?}");
    assert_eq!([&first, &second].map(|it| it.record.capacity.cores), [2, 3], "as it is declared then");
    let signer = NodeId::from_first_key(first.signer);
    assert_eq!(signer, node(HONEST));
}
