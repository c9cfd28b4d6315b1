//! A validator measures workers over real meshes: an honest one, and liars of every kind, of whom nothing counts.

use std::sync::Arc;
use std::time::Duration;

use lucid_node::clock::SystemClock;
use lucid_node::config::ProbeConfig;
use lucid_node::probe::{
    AttestationTable, BeaconOutcome, ProbeCounts, Prober, ProberParts, Recorded, RelayOutcome, Responder,
    ResponderParts, Served,
};
use lucid_node::sampler::{Attester, AttesterParts, Sampler};
use lucid_p2p::{Event, Events};
use lucid_score::aggregate::check_observation;
use lucid_types::codec::{decode, encode};
use lucid_types::genesis::Genesis;
use lucid_types::id::NodeId;
use lucid_types::key::NodeKey;
use lucid_types::report::{Observation, ProbeReply, ProbeRequest, ScoreReport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::fixture::{genesis, node, within};
use crate::mesh::{Peer, dispatch, peer};

const EPOCH: Duration = Duration::from_secs(3);
const VALIDATOR: u8 = 1;
const HONEST: u8 = 10;
/// Answers beacons with a signature of another key.
const FORGER: u8 = 11;
/// Answers every beacon with its answer to the first.
const REPLAYER: u8 = 12;
/// Answers nothing.
const MUTE: u8 = 13;
/// Returns the stream without its last byte.
const TRUNCATOR: u8 = 14;
/// Returns the stream with one bit changed.
const ALTERER: u8 = 15;
/// Returns the stream and one byte more.
const ADDER: u8 = 16;
/// Answers beacons, and keeps the stream to itself.
const HOARDER: u8 = 17;
/// Is registered and not there.
const ABSENT: u8 = 18;
const LIARS: [u8; 7] = [FORGER, REPLAYER, MUTE, TRUNCATOR, ALTERER, ADDER, HOARDER];

/// A worker that does what its seed stands for.
async fn lie(seed: u8, genesis: Arc<Genesis>, mut events: Events<()>) {
    let (own, other) = (NodeKey::from_seed(&[seed; 32]), NodeKey::from_seed(&[99; 32]));
    let network = genesis.network_id();
    let (mut first, mut kept) = (None, Vec::new());
    while let Some(event) = events.next().await {
        match event {
            Event::Request { peer, bytes, reply, .. } => {
                let request: ProbeRequest = decode(&bytes).unwrap();
                let record = ProbeReply { validator: peer, epoch: request.epoch, nonce: request.nonce };
                let key = if seed == FORGER { &other } else { &own };
                let mut signed = key.sign_probe_reply(&network, record).into_inner();
                signed.signer = own.node_id();
                let answer = encode(&signed);
                match seed {
                    MUTE => drop(reply),
                    REPLAYER => reply.respond(first.get_or_insert(answer).clone()),
                    _ => reply.respond(answer),
                }
            }
            Event::Relay { stream, .. } => {
                let (mut reader, mut writer) = tokio::io::split(stream);
                let mut all = Vec::new();
                if reader.read_to_end(&mut all).await.is_err() {
                    continue;
                }
                match seed {
                    TRUNCATOR => drop(all.pop()),
                    ALTERER => all[100_000] ^= 1,
                    ADDER => all.push(0),
                    HOARDER => {
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
        limits: limits.clone(),
        served: Arc::clone(&served),
    });
    tokio::spawn(responder.run(stop.clone()));
    tokio::spawn(dispatch(events, handle));
    let (out, mut attestations) = mpsc::channel(4);
    let mut sequence = 0;
    let attester = Attester::new(AttesterParts {
        key,
        genesis: Arc::clone(genesis),
        clock,
        sampler: Sampler::new(&std::env::temp_dir()).unwrap(),
        capacity: genesis.workers.first().map(|worker| worker.capacity),
        served,
        relay_slots: limits.relay_sessions,
        next_sequence: move || {
            sequence += 1;
            Ok::<_, std::convert::Infallible>(sequence)
        },
        out,
    });
    tokio::spawn(attester.run(stop.clone()));
    let table = Arc::clone(table);
    tokio::spawn(async move {
        while let Some(attestation) = attestations.recv().await {
            assert_eq!(table.record(&attestation), Recorded::New);
        }
    });
}

struct Measured {
    reports: mpsc::Receiver<ScoreReport>,
    counts: Box<dyn Fn() -> ProbeCounts>,
}

fn measure(
    validator: &Peer,
    genesis: &Arc<Genesis>,
    table: Arc<AttestationTable>,
    stop: &CancellationToken,
) -> Measured {
    let (reports, received) = mpsc::channel(8);
    let workers = genesis.workers.clone();
    let prober = Prober::new(ProberParts {
        mesh: validator.mesh.clone(),
        genesis: Arc::clone(genesis),
        clock: Arc::new(SystemClock),
        assignments: Arc::new(move |_| Box::pin(std::future::ready(Some(workers.clone())))),
        attestations: table,
        reports,
    });
    let counters = prober.counters();
    tokio::spawn(prober.run(stop.clone()));
    Measured { reports: received, counts: Box::new(move || counters.snapshot()) }
}

fn of(report: &ScoreReport, seed: u8) -> Option<&Observation> {
    report.observations.iter().find(|o| o.worker == node(seed))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_worker_is_measured_and_of_a_liar_nothing_counts() {
    let all: Vec<u8> = [HONEST].into_iter().chain(LIARS).chain([ABSENT]).collect();
    let genesis = Arc::new(genesis(EPOCH, &[VALIDATOR], &all));
    let (network, stop) = (genesis.network_id(), CancellationToken::new());
    let _guard = stop.clone().drop_guard();
    let (validator, _unused) = peer(network, VALIDATOR, vec![]).await;
    let bootstrap = validator.mesh.listen_addresses();
    let table = Arc::new(AttestationTable::new(&genesis.policy, genesis.workers.iter().map(|w| w.node)));

    let (honest, events) = peer(network, HONEST, bootstrap.clone()).await;
    serve_honestly(&genesis, events, &table, &stop);
    let mut peers = vec![honest];
    for seed in LIARS {
        let (liar, events) = peer(network, seed, bootstrap.clone()).await;
        tokio::spawn(lie(seed, Arc::clone(&genesis), events));
        peers.push(liar);
    }
    assert!(within(validator.mesh.wait_for_peers(|found| found.len() == peers.len())).await);

    let mut measured = measure(&validator, &genesis, table, &stop);
    let mut complete = false;
    for round in 0..6 {
        let report = within(measured.reports.recv()).await.unwrap();
        assert!(report.observations.is_sorted_by(|a, b| a.worker < b.worker));
        for o in &report.observations {
            assert_eq!(check_observation(&genesis.policy, o), Ok(()), "{o:?}");
        }
        for seed in [FORGER, REPLAYER, MUTE, ABSENT] {
            // The replayer's first answer is right.
            let most = u32::from(seed == REPLAYER && round == 0);
            assert!(of(&report, seed).is_none_or(|o| o.beacons_answered <= most), "{report:?}");
        }
        for seed in LIARS.into_iter().chain([ABSENT]).filter(|seed| ![FORGER, REPLAYER, MUTE].contains(seed)) {
            assert!(of(&report, seed).is_none_or(|o| o.relays_verified == 0 && o.relay_bytes == 0), "{report:?}");
        }
        // The first epoch has begun before the prober; on a loaded machine one more may be incomplete.
        let whole = |seed: u8| of(&report, seed).is_some_and(|o| o.beacons_sent == 4 && o.relays_sent == 1);
        let Some(o) = of(&report, HONEST) else { continue };
        if all.iter().all(|seed| whole(*seed)) && o.beacons_answered == 4 && o.relays_verified == 1 {
            assert!(o.rtt_us > 0 && o.relay_kbit_s > 0, "{o:?}");
            assert_eq!(o.relay_bytes, genesis.policy.relay_bytes);
            assert!(o.attestation.is_some() && o.capacity.cores == 2, "{o:?}");
            assert!(of(&report, ABSENT).is_some_and(|o| o.beacons_sent == 4 && o.rtt_us == 0));
            complete = true;
            break;
        }
    }
    assert!(complete, "no epoch was measured in full");
    let counts = (measured.counts)();
    assert!(counts.beacons(BeaconOutcome::Answered) >= 4);
    assert!(counts.beacons(BeaconOutcome::Wrong) >= 7, "forger and replayer");
    assert!(counts.beacons(BeaconOutcome::Refused) >= 4, "the mute one");
    assert!(counts.relays(RelayOutcome::Altered) >= 2, "altered, and one byte too many");
    assert!(counts.relays(RelayOutcome::Broken) >= 1, "truncated");
    assert!(counts.relays(RelayOutcome::Late) >= 1, "kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_without_peers_abstains() {
    let genesis = Arc::new(genesis(Duration::from_secs(2), &[VALIDATOR], &[HONEST]));
    let stop = CancellationToken::new();
    let (validator, _events) = peer(genesis.network_id(), VALIDATOR, vec![]).await;
    let table = Arc::new(AttestationTable::new(&genesis.policy, []));
    let mut measured = measure(&validator, &genesis, table, &stop);
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let report = within(measured.reports.recv()).await.unwrap();
        assert!(report.observations.is_empty(), "{report:?}");
        epochs.push(report.epoch.get());
    }
    assert_eq!(epochs[1], epochs[0] + 1, "one report an epoch");
    assert!((measured.counts)().beacons(BeaconOutcome::NotSent) >= 4);
    stop.cancel();
    assert!(within(measured.reports.recv()).await.is_none(), "a stopped prober reports nothing more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attester_skips_what_has_no_sequence() {
    let genesis = Arc::new(genesis(Duration::from_secs(2), &[VALIDATOR], &[HONEST]));
    let (out, mut attestations) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    let mut calls = 0u64;
    let attester = Attester::new(AttesterParts {
        key: NodeKey::from_seed(&[HONEST; 32]),
        genesis: Arc::clone(&genesis),
        clock: Arc::new(SystemClock),
        sampler: Sampler::new(&std::env::temp_dir()).unwrap(),
        capacity: None,
        served: Arc::default(),
        relay_slots: 8,
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
    assert!(first.record.is_plausible() && first.record.capacity.cores > 0, "{first:?}");
    let signer: NodeId = first.signer;
    assert_eq!(signer, node(HONEST));
}
