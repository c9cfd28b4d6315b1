//! What 4 validators take that measure 1,000 workers: `make probes`, for minutes.
//!
//! All of them are in this process, each with a mesh of its own on loopback, the validators with the real prober, the workers with the real
//! responder. Of the workers 100 take connections and never say a word, and 100 answer after 1.5 s. The policy is the public one, but for the length of
//! the epoch. It fails beyond what is wanted.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "every task ends with the process")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lucid_node::clock::{Clock, SystemClock};
use lucid_node::config::ProbeConfig;
use lucid_node::probe::schedule::{Assigned, Assignment};
use lucid_node::probe::{
    EchoGrant, EchoOutcome, Offer, PingOutcome, PolicyOf, ProbeCounters, ProbeCounts, Prober, ProberParts, Responder,
    ResponderHandle, ResponderParts, StorageSecret,
};
use lucid_p2p::{Admission, Event, Events, Gate, Limits, Mesh, MeshConfig, Topic, peer_id_string, start};
use lucid_types::codec::{decode, encode};
use lucid_types::genesis::{Genesis, PaymentNetwork};
use lucid_types::id::{NetworkId, NodeId, PayoutAddress, PublicKey, SolidBlockId};
use lucid_types::key::NodeKey;
use lucid_types::log_scale::LogScale;
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::Policy;
use lucid_types::report::{AssignedWorker, ProbeReply, ProbeRequest, ScoreReport};
use lucid_types::time::Epoch;
use lucid_types::validator::Validator;
use lucid_types::validator_key::ValidatorKey;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

const VALIDATORS: u16 = 4;
const WORKERS: u16 = 1_000;
/// Of the workers, those that say nothing, and those that answer late.
const MUTE: u16 = 100;
const SLOW: u16 = 100;
/// How late.
const SLOW_ANSWER: Duration = Duration::from_millis(1_500);
/// Names the environment variable with the seconds of an epoch.
const EPOCH_S: &str = "LUCID_PROBE_EPOCH_S";
/// That are looked at, after one in which things settle.
const EPOCHS: usize = 2;
/// One worker in so many is given an echo.
const ECHO_EVERY: u64 = 12;
const ECHO_BYTES: LogScale = LogScale::encode(256 << 10);

/// How late 99 of 100 probes may leave.
const WANTED_LATENESS: Duration = Duration::from_millis(100);
/// What the process may hold beyond what its 900 nodes take before they are connected, in KiB for each descriptor, nearly all of which are ends of
/// connections: with the probes.
const WANTED_KIB_PER_END: u64 = 128;
/// Tasks for each validator and worker.
const WANTED_TASKS: usize = 8;

/// No gossip is expected.
struct Closed;

impl Gate for Closed {
    type Item = ();
    fn admit(&self, _: PublicKey, _: Topic, _: &[u8]) -> Admission<()> {
        Admission::Reject("unexpected")
    }
}

fn key(n: u16) -> NodeKey {
    let [high, low] = n.to_be_bytes();
    NodeKey::from_seed(&seed(high, low))
}

fn seed(high: u8, low: u8) -> [u8; 32] {
    std::array::from_fn(|i| [high, low].get(i).copied().unwrap_or(3))
}

/// The workers come after the validators.
fn workers() -> impl Iterator<Item = u16> {
    VALIDATORS..VALIDATORS + WORKERS
}

fn is_mute(n: u16) -> bool {
    (VALIDATORS..VALIDATORS + MUTE).contains(&n)
}

fn is_slow(n: u16) -> bool {
    (VALIDATORS + MUTE..VALIDATORS + MUTE + SLOW).contains(&n)
}

/// The public policy with epochs of another length.
fn policy(epoch: Duration) -> Policy {
    Policy { epoch_ms: u64::try_from(epoch.as_millis()).unwrap(), ..Policy::default() }
}

fn genesis(epoch: Duration) -> Genesis {
    let validator = |n: u16| {
        let node = key(n).account();
        let keys = ValidatorKey::from_seed(&seed(1, u8::try_from(n).unwrap())).keys(&node);
        Validator { node, power: 1, operator: node, keys }
    };
    Genesis {
        name: "bench".to_owned(),
        genesis_time: SystemClock.now(),
        tron: PaymentNetwork {
            network: "local".to_owned(),
            genesis_block: SolidBlockId::from_bytes([0; 32]),
            usdt: PayoutAddress::from_hash20([1; 20]),
        },
        policy: policy(epoch),
        validators: (0..VALIDATORS).map(validator).collect(),
    }
}

/// A mesh without gossip.
async fn mesh(n: u16, limits: Limits, known: Vec<String>) -> (Mesh, Events<()>) {
    let [high, low] = n.to_be_bytes();
    let config = MeshConfig {
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
        bootstrap: known,
        kad_server: n < VALIDATORS,
        // All of them share an address.
        local: true,
        limits: Limits { gate_threads: 1, gate_bytes: 1, events: 64, ..limits },
        topics: std::collections::BTreeSet::new(),
        ..MeshConfig::new(NetworkId::from_bytes([7; 32]))
    };
    let (mesh, events, task) = start(config, &seed(high, low), Arc::new(Closed)).unwrap();
    tokio::spawn(task.run(CancellationToken::new()));
    mesh.wait_for_listeners(1).await;
    (mesh, events)
}

/// Hands what comes to the responder, as the node does.
async fn serve(mut events: Events<()>, responder: ResponderHandle) {
    while let Some(event) = events.next().await {
        match event {
            Event::Request { peer, bytes, reply, .. } => {
                responder.offer(Offer::Ping { peer: NodeId::from_first_key(peer), bytes, reply });
            }
            Event::Echo { peer, stream } => responder.offer(Offer::Echo { peer: NodeId::from_first_key(peer), stream }),
            _ => {}
        }
    }
}

/// Answers pings rightly and late, and keeps echoes.
async fn serve_late(n: u16, network: NetworkId, mut events: Events<()>) {
    let (key, mut kept) = (key(n), Vec::new());
    while let Some(event) = events.next().await {
        match event {
            Event::Request { peer, bytes, reply, .. } => {
                let ProbeRequest { epoch, nonce } = decode(&bytes).unwrap();
                let record = ProbeReply { validator: NodeId::from_first_key(peer), epoch, nonce };
                let answer = encode(&*key.sign_probe_reply(&network, record));
                tokio::spawn(async move {
                    tokio::time::sleep(SLOW_ANSWER).await;
                    reply.respond(answer);
                });
            }
            Event::Echo { stream, .. } => kept.push(stream),
            _ => {}
        }
    }
}

/// Takes connections and never says a word. Returns its address.
async fn mute(n: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = std::collections::VecDeque::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push_back(stream);
            // One of each validator; it has given up on those before.
            if held.len() > usize::from(VALIDATORS) {
                held.pop_front();
            }
        }
    });
    format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", peer_id_string(&key(n).public_key()).unwrap())
}

/// Connects with every worker that is there, some at a time: all of them at once would be more than two cores can do in their time.
async fn connect(mesh: &Mesh) {
    let there: Vec<_> = workers().filter(|n| !is_mute(*n)).collect();
    for some in there.chunks(32) {
        let all = some.iter().map(|n| mesh.connect(key(*n).public_key(), Duration::from_secs(10)));
        for connected in futures::future::join_all(all).await {
            connected.unwrap();
        }
    }
}

/// A validator that measures all workers.
struct Measuring {
    reports: mpsc::Receiver<ScoreReport>,
    counters: Arc<ProbeCounters>,
}

fn assignment(policy: &Policy, epoch: Epoch, has_echoes: bool) -> Assignment {
    let of = |n: u16| Assigned {
        worker: key(n).account(),
        echo_bytes: (has_echoes && u64::from(n) % ECHO_EVERY == epoch.get() % ECHO_EVERY).then_some(ECHO_BYTES),
        group: NetworkGroup::NONE,
    };
    let mut workers: Vec<_> = workers().map(of).collect();
    workers.sort_by_key(|it| it.worker);
    Assignment { workers, policy: Arc::new(policy.clone()), stored: Vec::new() }
}

/// It stays as it is.
fn policy_of(genesis: &Genesis) -> PolicyOf {
    let policy = Arc::new(genesis.policy.clone());
    Arc::new(move |_| Arc::clone(&policy))
}

fn measure(n: u16, mesh: &Mesh, genesis: &Arc<Genesis>, has_echoes: &Arc<AtomicBool>) -> Measuring {
    let (sender, reports) = mpsc::channel(8);
    let prober = Prober::new(ProberParts {
        mesh: mesh.clone(),
        me: key(n).account(),
        key_of: Arc::new(|account| Some(account.first_key())),
        genesis: Arc::clone(genesis),
        clock: Arc::new(SystemClock),
        assignments: {
            let (genesis, has_echoes) = (Arc::clone(genesis), Arc::clone(has_echoes));
            Arc::new(move |epoch| {
                let assignment = assignment(&genesis.policy, epoch, has_echoes.load(Ordering::Relaxed));
                Box::pin(std::future::ready(Some(assignment)))
            })
        },
        secret: StorageSecret::new(Zeroizing::new([1; 32])),
        reports: sender,
    });
    let counters = prober.counters();
    tokio::spawn(prober.run(CancellationToken::new()));
    Measuring { reports, counters }
}

/// Of a line of `/proc/self/status`, in MiB.
fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().split(' ').next().unwrap().parse::<u64>().unwrap() / 1_024
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// CPU time of the process.
fn cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let of = |time: nix::sys::time::TimeVal| {
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec()).unwrap());
        seconds + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap())
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// Pings that should have been answered and were not, by a worker that is there or that is slow; pings that were not sent, of anybody.
fn misses(report: &ScoreReport, policy: &Policy) -> (usize, usize) {
    let Assignment { workers: assigned, .. } = assignment(policy, report.epoch, true);
    let shapes: Vec<_> =
        assigned.iter().map(|it| AssignedWorker { has_echo: it.echo_bytes.is_some(), group: it.group }).collect();
    let muted: Vec<_> = workers().filter(|n| is_mute(*n)).map(|n| key(n).account()).collect();
    let (mut unanswered, mut unsent) = (0, 0);
    for (it, seen) in assigned.iter().zip(report.observations(&shapes).unwrap()) {
        let seen = seen.unwrap_or_default();
        unsent += usize::try_from(policy.pings).unwrap() - usize::from(seen.pings_sent);
        if !muted.contains(&it.worker) {
            unanswered += usize::from(seen.pings_sent - seen.pings_answered);
        }
    }
    (unanswered, unsent)
}

struct Verdict {
    is_met: bool,
}

impl Verdict {
    fn say(&mut self, what: &str, is_met: bool) {
        println!("{what}: {}", if is_met { "met" } else { "MISSED" });
        self.is_met &= is_met;
    }
}

async fn bench(epoch: Duration) -> bool {
    let mut addresses = Vec::new();
    let mut inboxes = Vec::new();
    // They are heard when the network has begun.
    for n in workers() {
        if is_mute(n) {
            addresses.push(mute(n).await);
            continue;
        }
        let (mesh, events) = mesh(n, Limits::default(), vec![]).await;
        addresses.extend(mesh.listen_addresses());
        inboxes.push((n, mesh, events));
    }
    let started = rss_mib();
    let mut validators = Vec::new();
    for n in 0..VALIDATORS {
        let (mesh, mut events) = mesh(n, Limits::for_validator(), addresses.clone()).await;
        tokio::spawn(async move { while events.next().await.is_some() {} });
        connect(&mesh).await;
        validators.push((n, mesh));
    }
    println!(
        "{VALIDATORS} validators are connected with {} workers each: {started} MiB before, {} MiB now, {} descriptors",
        WORKERS - MUTE,
        rss_mib(),
        descriptors()
    );
    let genesis = Arc::new(genesis(epoch));
    let ids: Vec<_> = (0..VALIDATORS).map(|n| key(n).account()).collect();
    let mut held = Vec::new();
    for (n, mesh, events) in inboxes {
        held.push(mesh);
        if is_slow(n) {
            tokio::spawn(serve_late(n, genesis.network_id(), events));
            continue;
        }
        let ids = ids.clone();
        let (handle, responder) = Responder::new(ResponderParts {
            key: key(n),
            genesis: Arc::clone(&genesis),
            clock: Arc::new(SystemClock),
            is_validator: Arc::new(move |id| ids.contains(id)),
            echo_grants: Arc::new(|_, _| EchoGrant::Bytes(ECHO_BYTES.value())),
            policy_of: policy_of(&genesis),
            limits: ProbeConfig::default(),
            line: Arc::default(),
            served: Arc::default(),
        });
        tokio::spawn(responder.run(CancellationToken::new()));
        tokio::spawn(serve(events, handle));
    }
    let has_echoes = Arc::new(AtomicBool::new(true));
    let mut measuring: Vec<_> = validators.iter().map(|(n, mesh)| measure(*n, mesh, &genesis, &has_echoes)).collect();
    let counts =
        |measuring: &[Measuring]| -> Vec<ProbeCounts> { measuring.iter().map(|it| it.counters.snapshot()).collect() };
    let (mut before, mut used) = (Vec::new(), Duration::ZERO);
    let (mut unanswered, mut unsent, mut open) = (0, 0, Vec::new());
    for n in 0..=EPOCHS {
        for it in &mut measuring {
            let report = it.reports.recv().await.unwrap();
            let missed = misses(&report, &genesis.policy);
            println!("epoch {}: {} measured, unanswered and unsent {missed:?}", report.epoch, report.n_measured());
            if n > 0 {
                (unanswered, unsent) = (unanswered + missed.0, unsent + missed.1);
            }
        }
        open.push(descriptors());
        if n == 0 {
            (before, used) = (counts(&measuring), cpu());
        }
    }
    let used = cpu() - used;
    let after = counts(&measuring);
    let sum = |of: &dyn Fn(&ProbeCounts) -> u64| -> u64 {
        after.iter().map(of).sum::<u64>() - before.iter().map(of).sum::<u64>()
    };
    let pings = sum(&|it| PingOutcome::ALL.map(|outcome| it.pings(outcome)).iter().sum());
    let echoes = sum(&|it| EchoOutcome::ALL.map(|outcome| it.echoes(outcome)).iter().sum());
    let not_sent = sum(&|it| it.pings(PingOutcome::NotSent) + it.echoes(EchoOutcome::NotSent));
    let span = epoch * u32::try_from(EPOCHS).unwrap();
    let (seconds, probes) = (span.as_secs(), pings + echoes);
    println!(
        "{probes} probes in {seconds} s, {} a second, of them {echoes} echoes; {} us of CPU a probe, {}.{:02} cores",
        probes / seconds,
        used.as_micros() / u128::from(probes),
        used.as_millis() / span.as_millis(),
        used.as_millis() % span.as_millis() * 100 / span.as_millis()
    );
    let pings = PingOutcome::ALL.map(|outcome| (outcome.label(), sum(&|it| it.pings(outcome))));
    let echoes = EchoOutcome::ALL.map(|outcome| (outcome.label(), sum(&|it| it.echoes(outcome))));
    println!("pings {pings:?}; echoes {echoes:?}");
    let mut verdict = Verdict { is_met: true };
    let lateness = after.iter().map(|it| it.lateness(10)).max().unwrap();
    verdict.say(
        &format!("99 of 100 probes left within {lateness:?} of their time; wanted {WANTED_LATENESS:?}"),
        lateness <= WANTED_LATENESS,
    );
    verdict
        .say(&format!("{not_sent} probes, {unsent} pings of reports not sent; wanted 0"), not_sent == 0 && unsent == 0);
    verdict.say(&format!("{unanswered} pings unanswered by workers that answer; wanted 0"), unanswered == 0);
    let rss = rss_mib();
    let grown = rss.saturating_sub(started);
    let last = open.last_chunk::<3>().unwrap();
    let per_end = grown * 1_024 / u64::try_from(last[2]).unwrap();
    verdict.say(
        &format!("RSS {rss} MiB, {grown} more than before, {per_end} KiB a descriptor; wanted {WANTED_KIB_PER_END}"),
        per_end <= WANTED_KIB_PER_END,
    );
    let (least, most) = (last.iter().min().unwrap(), last.iter().max().unwrap());
    verdict
        .say(&format!("descriptors after the last epochs {last:?}; wanted flat within 2 %"), most - least <= most / 50);
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let pairs = usize::from(VALIDATORS) * usize::from(WORKERS);
    verdict.say(&format!("{tasks} tasks for {pairs} pairs; wanted {WANTED_TASKS} each"), tasks <= WANTED_TASKS * pairs);
    let per_ping = bytes_of_a_ping(&mut measuring, &has_echoes).await;
    println!(
        "{per_ping} bytes a ping on loopback: request, answer and all that carries them, if nothing else is sent there"
    );
    verdict.is_met
}

/// Bytes that loopback carries for each ping in an epoch without echoes.
async fn bytes_of_a_ping(measuring: &mut [Measuring], has_echoes: &AtomicBool) -> u64 {
    has_echoes.store(false, Ordering::Relaxed);
    let pings = |measuring: &[Measuring]| -> u64 {
        let of_one = |counts: ProbeCounts| PingOutcome::ALL.map(|outcome| counts.pings(outcome)).iter().sum::<u64>();
        measuring.iter().map(|it| of_one(it.counters.snapshot())).sum()
    };
    // The epoch that has begun still has echoes.
    let mut marks = Vec::new();
    for _ in 0..2 {
        for it in &mut *measuring {
            it.reports.recv().await.unwrap();
        }
        marks.push((pings(measuring), loopback_bytes()));
    }
    (marks[1].1 - marks[0].1) / (marks[1].0 - marks[0].0)
}

/// Bytes that loopback has carried so far.
fn loopback_bytes() -> u64 {
    let interfaces = std::fs::read_to_string("/proc/self/net/dev").unwrap();
    let line = interfaces.lines().find_map(|line| line.trim().strip_prefix("lo:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn main() {
    let Some(epoch) = std::env::var(EPOCH_S).ok().and_then(|text| text.parse().ok()).map(Duration::from_secs) else {
        println!("skipped: it takes five epochs of {EPOCH_S} seconds, see `make probes`");
        return;
    };
    // Two for each connection, whose ends are both here.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let is_met = runtime.block_on(bench(epoch));
    runtime.shutdown_background();
    assert!(is_met, "beyond what is wanted");
}
