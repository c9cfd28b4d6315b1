//! The core in virtual time: a world of workers of every kind, in which nothing takes longer than it says.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use lucid_score::draw::{EpochDraw, ScoredWorker};
use lucid_score::report::check_report;
use lucid_score::seats::Seats;
use lucid_types::id::{Hash, PoolId, ValidatorId};
use lucid_types::storage::StorageRefusal;
use lucid_types::time::Epoch;
use proptest::prelude::*;

use super::*;
use crate::probe::counts::StorageOutcome;
use crate::probe::limits::ping_slack;
use crate::probe::storage::StoredAt;

const ECHO_BYTES: LogScale = LogScale::encode(256 << 10);
const THERE: NetworkGroup = NetworkGroup::from_bytes([0, 0, 9, 9, 9, 9]);
/// How late a probe of a worker that is there may leave, in milliseconds: what it takes to connect to it, and a little.
const SOON: u64 = 50;

/// What becomes of what is sent to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Connected in 20 ms, answers in 5 ms.
    Live,
    /// Connected at once, never answers.
    Mute,
    /// Answers after 1.9 s.
    Slow,
    /// Whoever dials it hears nothing.
    Gone,
    /// Whoever dials it is refused at once.
    Refusing,
    /// Takes every connection, and closes it.
    HangsUp,
    /// Connected for 700 ms after each dial.
    Flapping,
    /// Our own limits refuse three of four dials, and every other ping.
    Crowded,
}

impl Kind {
    const OTHERS: [Self; 6] = [Self::Mute, Self::Slow, Self::Gone, Self::Refusing, Self::HangsUp, Self::Flapping];
}

/// As [`Kind::Live`] with the wrong map of faults, for the negative control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shell {
    Right,
    /// Says of the dials that its own limits refuse that the worker cannot be reached.
    BlamesWorkers,
}

fn policy() -> Policy {
    // 12 pings in 14 s: of 1,000 workers, near 1,000 a second.
    Policy { epoch_ms: 14_000, ..Policy::default() }
}

fn bounds(policy: &Policy) -> Bounds {
    let start = UnixMillis::new(5_000_000);
    Bounds { epoch: Epoch::new(9), start, end: start.after(policy.epoch()) }
}

fn id(n: u16) -> NodeId {
    let [high, low] = n.to_be_bytes();
    NodeId::from_bytes(std::array::from_fn(|i| [high, low].get(i).copied().unwrap_or(7)))
}

/// So many, of which one in so many is given an echo.
fn assignment(n: u16, echo_every: u16) -> Assignment {
    let of = |n: u16| Assigned {
        worker: id(n),
        echo_bytes: n.is_multiple_of(echo_every).then_some(ECHO_BYTES),
        group: NetworkGroup::NONE,
    };
    Assignment { workers: (0..n).map(of).collect(), policy: Arc::new(policy()), stored: Vec::new() }
}

/// Of each of so many workers chunks for the term that is under way, and for one that begins in the next settlement.
fn stored(n: u16) -> Vec<StoredAt> {
    let at = |n, term| StoredAt {
        worker: id(n),
        seats: 1,
        quota: 2,
        deposit: DepositId { term, tag: Hash::from_bytes([3; 32]) },
        is_challenged: term == 7,
    };
    (0..n).map(|n| at(n, 7)).chain((0..n).map(|n| at(n, 14))).collect()
}

/// The draw of which that is the assignment of its only validator.
fn draw(assignment: &Assignment) -> EpochDraw {
    let seat = || vec![Seats { reporter: 0, count: 1 }];
    let is_stored = |worker| assignment.stored.iter().any(|it| it.worker == worker && it.is_challenged);
    let scored = |it: &Assigned| ScoredWorker {
        node: it.worker,
        pool: PoolId::from_bytes([9; 32]),
        group: it.group,
        sharers: 1,
        quota: 2,
        echo_bytes: it.echo_bytes,
        seats: seat(),
        storage: if is_stored(it.worker) { seat() } else { vec![] },
    };
    let scored = assignment.workers.iter().map(scored).collect();
    EpochDraw { seed: Hash::from_bytes([0; 32]), reporters: vec![validator()], scored }
}

fn validator() -> ValidatorId {
    ValidatorId::from_bytes([1; 32])
}

fn begin(policy: &Policy, limits: CoreLimits, assignment: Assignment, seed: &[u8; 32], kept: &Kept) -> Core {
    Core::begin(limits, bounds(policy), assignment, seed, kept, ProbeCounts::default())
}

/// A worker of the world.
#[derive(Clone, Copy, Debug)]
struct Far {
    kind: Kind,
    connected_until: Option<UnixMillis>,
    n_dials: u32,
    n_sent: u32,
}

/// What the world saw.
struct Seen {
    finished: Finished,
    /// When pings and echoes left over a connection, by worker.
    pings: BTreeMap<NodeId, Vec<UnixMillis>>,
    echoes: BTreeMap<NodeId, UnixMillis>,
    most: Gauges,
    n_dials: u32,
}

impl Seen {
    /// How late the latest probe of a worker left, in milliseconds; `None` if one did not.
    fn lateness(&self, planned: &Plan, worker: NodeId) -> Option<u64> {
        let due: Vec<_> = planned.pings.iter().filter(|task| task.worker == worker).map(|task| task.at).collect();
        let left = self.pings.get(&worker).cloned().unwrap_or_default();
        let echo = planned.echoes.iter().find(|echo| echo.task.worker == worker);
        let echo_late = match (echo, self.echoes.get(&worker)) {
            (Some(echo), Some(left)) => echo.task.at.until(*left),
            (Some(_), None) => return None,
            (None, _) => Duration::ZERO,
        };
        let late = due.iter().zip(&left).map(|(due, left)| due.until(*left)).chain([echo_late]).max()?;
        (due.len() == left.len()).then(|| u64::try_from(late.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Runs an epoch with workers of these kinds, by id.
fn run(mut core: Core, kinds: &[Kind], shell: Shell) -> Seen {
    let Bounds { start, end, .. } = core.bounds;
    let far = |kind: &Kind| Far { kind: *kind, connected_until: None, n_dials: 0, n_sent: 0 };
    let mut workers: BTreeMap<NodeId, Far> = (0..).zip(kinds).map(|(n, kind)| (id(n), far(kind))).collect();
    let mut events = BinaryHeap::new();
    let mut inputs: Vec<Input> = Vec::new();
    let (mut pings, mut echoes) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
    let (mut now, mut next, mut most) = (start, Some(Input::Peers(7)), Gauges::default());
    loop {
        let mut will = |after: Duration, input| {
            events.push(Reverse((now.after(after), inputs.len())));
            inputs.push(input);
        };
        let millis = Duration::from_millis;
        for effect in core.handle(now, next.unwrap_or(Input::Tick)) {
            match effect {
                Effect::Connect { worker, timeout } => {
                    let far = workers.get_mut(&worker).unwrap();
                    far.n_dials += 1;
                    let (after, outcome) = match far.kind {
                        Kind::Gone => (timeout, Err(ConnectFault::Unreachable)),
                        Kind::Refusing => (millis(3), Err(ConnectFault::Unreachable)),
                        Kind::Crowded if !far.n_dials.is_multiple_of(4) => match shell {
                            Shell::Right => (millis(1), Err(ConnectFault::Own)),
                            Shell::BlamesWorkers => (millis(1), Err(ConnectFault::Unreachable)),
                        },
                        Kind::HangsUp => (millis(20), Ok(())),
                        _ => {
                            let lasts =
                                if far.kind == Kind::Flapping { millis(700) } else { Duration::from_secs(9_999) };
                            far.connected_until = Some(now.after(lasts));
                            (millis(20), Ok(()))
                        }
                    };
                    will(after, Input::Connected { worker, outcome });
                }
                Effect::Ping { worker, timeout, .. } => {
                    let far = workers.get_mut(&worker).unwrap();
                    if far.connected_until.is_none_or(|until| until <= now) {
                        will(millis(1), Input::NotConnected { worker, probe: Probe::Ping });
                        continue;
                    }
                    far.n_sent += 1;
                    pings.entry(worker).or_default().push(now);
                    let ended = |outcome, rtt| Input::PingEnded { worker, outcome, rtt, group: Some(THERE) };
                    match far.kind {
                        Kind::Crowded if far.n_sent.is_multiple_of(2) => {
                            will(millis(1), ended(PingOutcome::NotSent, Duration::ZERO));
                        }
                        Kind::Slow if timeout > millis(1_900) => {
                            will(millis(1_900), ended(PingOutcome::Answered, millis(1_900)));
                        }
                        Kind::Mute | Kind::Slow => will(timeout, ended(PingOutcome::Late, Duration::ZERO)),
                        _ => will(millis(5), ended(PingOutcome::Answered, millis(5))),
                    }
                }
                Effect::Storage { worker, .. } => {
                    assert!(!workers.contains_key(&worker), "of nobody here are chunks held");
                }
                Effect::Echo { worker, bytes, timeout, .. } => {
                    assert_eq!(bytes, ECHO_BYTES.value());
                    let far = workers[&worker];
                    if far.connected_until.is_none_or(|until| until <= now) {
                        will(millis(1), Input::NotConnected { worker, probe: Probe::Echo });
                        continue;
                    }
                    echoes.insert(worker, now);
                    let ended = |outcome, time| Input::EchoEnded { worker, outcome, time };
                    match far.kind {
                        Kind::Mute | Kind::Slow => will(timeout, ended(EchoOutcome::Late, Duration::ZERO)),
                        _ => will(millis(250), ended(EchoOutcome::Verified, millis(250))),
                    }
                }
            }
        }
        let Gauges { pings: p, dials, echoes: e, echo_bytes, .. } = core.gauges();
        most = Gauges {
            pings: most.pings.max(p),
            dials: most.dials.max(dials),
            echoes: most.echoes.max(e),
            echo_bytes: most.echo_bytes.max(echo_bytes),
            ..most
        };
        let event = events.peek().map(|Reverse((at, _))| *at);
        let at = [event, core.next_due()].into_iter().flatten().min().unwrap_or(end).max(now);
        if at >= end {
            break;
        }
        now = at;
        next = if event == Some(at) { events.pop().map(|Reverse((_, n))| inputs[n]) } else { None };
    }
    let n_dials = workers.values().map(|far| far.n_dials).sum();
    Seen { finished: core.finish(), pings, echoes, most, n_dials }
}

fn planned(policy: &Policy, assignment: &Assignment, seed: &[u8; 32]) -> Plan {
    schedule::plan(policy, bounds(policy), &assignment.workers, &mut Draws::from_seed(seed))
}

fn observations(assignment: &Assignment, seen: &Seen) -> Vec<Option<Observation>> {
    let of = |it: &Assigned| AssignedWorker { has_echo: it.echo_bytes.is_some(), group: it.group };
    let assigned: Vec<_> = assignment.workers.iter().map(of).collect();
    seen.finished.report.observations(&assigned).unwrap()
}

/// How late the latest probe left of those workers that are there; `None` if one did not.
fn worst(policy: &Policy, limits: CoreLimits, kinds: &[Kind], seed: [u8; 32]) -> Option<u64> {
    let assignment = assignment(u16::try_from(kinds.len()).unwrap(), 12);
    let core = begin(policy, limits, assignment.clone(), &seed, &Kept::default());
    let (seen, plan) = (run(core, kinds, Shell::Right), planned(policy, &assignment, &seed));
    assert_eq!(check_report(policy, &draw(&assignment), &validator(), &seen.finished.report), Ok(()));
    let live = assignment.workers.iter().zip(kinds).filter(|(_, kind)| **kind == Kind::Live);
    live.map(|(it, _)| seen.lateness(&plan, it.worker)).try_fold(0, |worst, late| Some(worst.max(late?)))
}

/// 1,000 workers: of which a part are there, and the others of one kind or of all.
fn kinds(n_live: usize, of: Option<usize>) -> Vec<Kind> {
    let other = |n: usize| Kind::OTHERS[of.unwrap_or(n) % Kind::OTHERS.len()];
    (0..1_000).map(|n| if n * n_live % 1_000 < n_live { Kind::Live } else { other(n) }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever the others are, near 1,000 probes a second: none of a worker that is there is late, though none was connected before.
    #[test]
    fn a_worker_that_is_there_waits_for_nobody(seed: [u8; 32], n_live in 1usize..1_000, of in prop::option::of(0usize..6)) {
        let policy = policy();
        let late = worst(&policy, CoreLimits::new(&policy), &kinds(n_live, of), seed);
        prop_assert!(late.is_some_and(|late| late <= SOON), "{late:?} ms");
    }

    /// What our own limits refuse or delay is no worker's failure.
    #[test]
    fn our_own_limits_never_count_against_a_worker(seed: [u8; 32], pings in 1usize..4, dials in 1usize..4, echoes in 1usize..4) {
        let policy = policy();
        let enough = CoreLimits::new(&policy);
        let limits = CoreLimits { pings, pings_per_worker: 1, dials, echoes, echo_bytes: ECHO_BYTES.value(), ..enough };
        let kinds: Vec<_> = (0..300).map(|n| if n % 3 == 0 { Kind::Crowded } else { Kind::Live }).collect();
        let assignment = assignment(300, 2);
        let seen = run(begin(&policy, limits, assignment.clone(), &seed, &Kept::default()), &kinds, Shell::Right);
        for o in observations(&assignment, &seen).into_iter().flatten() {
            prop_assert_eq!(o.pings_sent, o.pings_answered);
            prop_assert_ne!(o.echo_kbit_s, Some(LogScale::ZERO));
        }
        let counts = seen.finished.counts;
        prop_assert!(counts.pings(PingOutcome::NotSent) > 0);
        prop_assert_eq!(PingOutcome::ALL.map(|it| counts.pings(it)).iter().sum::<u64>(), 300 * 12, "each is counted once");
        prop_assert_eq!(EchoOutcome::ALL.map(|it| counts.echoes(it)).iter().sum::<u64>(), 150);
        let most = seen.most;
        prop_assert!(most.pings <= pings && most.dials <= dials && most.echoes <= echoes, "{most:?}");
    }

    /// Whatever comes in, whenever: also what nobody asked for, twice, and while the clock is set back and forth.
    #[test]
    fn every_report_fits_the_draw(
        seed: [u8; 32],
        steps in prop::collection::vec((0u64..16_000, 0u16..6, 0u8..12, any::<u32>()), 0..400),
    ) {
        let policy = policy();
        let assignment = Assignment { stored: stored(5), ..assignment(5, 2) };
        let limits = CoreLimits { dials: 2, pings: 5, questions: 2, ..CoreLimits::new(&policy) };
        let mut core = begin(&policy, limits, assignment.clone(), &seed, &Kept::default());
        let mut asked: Vec<Effect> = core.handle(bounds(&policy).start, Input::Peers(3));
        for (millis, n, what, micros) in steps {
            let (worker, time) = (id(n), Duration::from_micros(micros.into()));
            let n = usize::from(n);
            let ping = |worker| {
                let outcome = PingOutcome::ALL[n % 6];
                Input::PingEnded { worker, outcome, rtt: time, group: (n > 2).then_some(THERE) }
            };
            let echo = |worker| Input::EchoEnded { worker, outcome: EchoOutcome::ALL[n % 6], time };
            let connect = |worker| {
                let outcome = [Ok(()), Err(ConnectFault::Own), Err(ConnectFault::Unreachable)][n % 3];
                Input::Connected { worker, outcome }
            };
            let chunks = |worker, term| {
                let faults = [
                    StorageFault::Own,
                    StorageFault::Unanswered,
                    StorageFault::Late,
                    StorageFault::Refused(Some(StorageRefusal::Damaged { index: micros })),
                    StorageFault::Wrong,
                ];
                let outcome = faults.get(n).copied().map_or(Ok(micros % 3), Err);
                Input::StorageEnded { worker, term, outcome }
            };
            let input = match (what, asked.pop()) {
                (7, _) if n > 3 => chunks(worker, 7),
                (6, Some(Effect::Storage { worker, deposit, .. })) => {
                    Input::NotConnected { worker, probe: Probe::Storage { term: deposit.term } }
                }
                (_, Some(Effect::Storage { worker, deposit, .. })) => chunks(worker, deposit.term),
                (0, _) => Input::Tick,
                (1, _) => Input::Peers(n),
                (2, _) => Input::NotConnected { worker, probe: if n > 2 { Probe::Ping } else { Probe::Echo } },
                (3, _) => ping(worker),
                (4, _) => echo(worker),
                (5, _) => connect(worker),
                (6, Some(Effect::Ping { worker, .. })) => Input::NotConnected { worker, probe: Probe::Ping },
                (6, Some(Effect::Echo { worker, .. })) => Input::NotConnected { worker, probe: Probe::Echo },
                (_, Some(Effect::Ping { worker, .. })) => ping(worker),
                (_, Some(Effect::Echo { worker, .. })) => echo(worker),
                (_, Some(Effect::Connect { worker, .. })) => connect(worker),
                (_, None) => Input::Tick,
            };
            // 1 s before the start to 1 s after the end.
            asked.extend(core.handle(UnixMillis::new(4_999_000 + millis), input));
        }
        let n_peers_counts = core.counts();
        let Finished { report, counts, .. } = core.finish();
        prop_assert_eq!(check_report(&policy, &draw(&assignment), &validator(), &report), Ok(()));
        prop_assert_eq!(PingOutcome::ALL.map(|it| counts.pings(it)).iter().sum::<u64>(), 5 * 12, "each is counted once");
        let challenges = StorageOutcome::ALL.map(|it| counts.challenges(it));
        prop_assert_eq!(challenges.iter().sum::<u64>(), 5, "of the term that is under way");
        prop_assert!(PingOutcome::ALL.iter().all(|it| counts.pings(*it) >= n_peers_counts.pings(*it)));
    }
}

/// Negative controls: with the bounds of few workers, and with the dials of one, others do keep them waiting.
#[test]
fn without_room_for_all_some_would_wait() {
    let policy = policy();
    let enough = CoreLimits::new(&policy);
    let late = |limits, of| worst(&policy, limits, &kinds(100, Some(of)), [3; 32]).is_none_or(|late| late > SOON);
    assert!(late(CoreLimits { pings: 64, ..enough }, 0), "those that do not answer hold all slots");
    assert!(late(CoreLimits { dials: 64, ..enough }, 2), "those that are gone are dialled in front");
    assert!(late(CoreLimits { echoes: 4, ..enough }, 0), "echoes that do not come back hold all slots");
    assert!(!late(enough, 0) && !late(enough, 2));
}

/// Negative control: a shell that blames workers for its own limits is noticed.
#[test]
fn a_refusal_of_our_own_that_is_called_unreachable_is_noticed() {
    let policy = policy();
    let assignment = assignment(20, 2);
    let failed = |shell| {
        let core = begin(&policy, CoreLimits::new(&policy), assignment.clone(), &[4; 32], &Kept::default());
        let seen = run(core, &[Kind::Crowded; 20], shell);
        let seen = observations(&assignment, &seen);
        seen.iter()
            .flatten()
            .filter(|o| o.pings_sent > o.pings_answered || o.echo_kbit_s == Some(LogScale::ZERO))
            .count()
    };
    assert_eq!(failed(Shell::Right), 0);
    assert!(failed(Shell::BlamesWorkers) > 10);
}

#[test]
fn each_kind_of_worker_is_seen_for_what_it_is() {
    let policy = policy();
    let kinds = [&[Kind::Live, Kind::Crowded][..], &Kind::OTHERS].concat();
    let assignment = assignment(8, 1);
    let core = begin(&policy, CoreLimits::new(&policy), assignment.clone(), &[4; 32], &Kept::default());
    let seen = run(core, &kinds, Shell::Right);
    let seen = observations(&assignment, &seen).into_iter().map(Option::unwrap_or_default);
    let shown: Vec<_> = seen
        .map(|o| {
            let verified = o.echo_kbit_s.map(|it| it > LogScale::ZERO);
            (o.pings_sent, o.pings_answered > 0, o.rtt_us.value() / 1_000, verified, o.group)
        })
        .collect();
    let there = Some(THERE);
    assert_eq!(shown[0], (12, true, 5, Some(true), there), "live");
    assert!(shown[1].0 < 12 && shown[1].1 && shown[1].3 != Some(false), "our own doing: {:?}", shown[1]);
    assert_eq!(shown[2], (12, false, 0, Some(false), None), "mute");
    assert_eq!((shown[3].0, shown[3].1, shown[3].3), (12, true, Some(false)), "slow");
    for (place, kind) in [(4, "gone"), (5, "refusing"), (6, "hangs up")] {
        assert_eq!(shown[place], (12, false, 0, Some(false), None), "{kind}");
    }
    assert_eq!(shown[7], (12, true, 5, Some(true), there), "flapping: it can be had whenever it is dialled");
}

/// A worker that is not there is dialled now and then, however much is due to it, and in the next epoch after those that are.
#[test]
fn who_is_not_there_costs_few_dials() {
    let policy = policy();
    let assignment = assignment(100, 200);
    let core = begin(&policy, CoreLimits::new(&policy), assignment.clone(), &[5; 32], &Kept::default());
    let seen = run(core, &[Kind::Refusing; 100], Shell::Right);
    // Twelve pings and an echo each; it is left alone for a twelfth of the epoch after each dial.
    assert!((300..=1_200).contains(&seen.n_dials), "{}", seen.n_dials);
    let limits = CoreLimits { dials: 1, ..CoreLimits::new(&policy) };
    let mut next = begin(&policy, limits, assignment, &[6; 32], &seen.finished.kept);
    // All of them are due at once, the live one last: it is dialled first.
    let start = bounds(&policy).start;
    next.workers.insert(id(999), Worker::default());
    let mut dialled = Vec::new();
    for n in (0..5).chain([999]) {
        let worker = next.workers.get_mut(&id(n)).unwrap();
        worker.waiting.push(start.after(PING_TIMEOUT));
        next.dials.ask(id(n), &mut worker.reach, start);
    }
    next.dial(start, &mut dialled);
    assert!(matches!(dialled[..], [Effect::Connect { worker, .. }] if worker == id(999)), "{dialled:?}");
}

#[test]
fn without_peers_nothing_is_said_of_anybody() {
    let policy = policy();
    let assignment = assignment(10, 1);
    let core = begin(&policy, CoreLimits::new(&policy), assignment, &[5; 32], &Kept::default());
    let (end, mut core) = (core.bounds.end, core);
    while let Some(at) = core.next_due().filter(|at| *at < end) {
        assert_eq!(core.handle(at, Input::Tick), []);
    }
    let Finished { report, counts, .. } = core.finish();
    assert_eq!(
        (report.n_measured(), counts.pings(PingOutcome::NotSent), counts.echoes(EchoOutcome::NotSent)),
        (0, 120, 10)
    );
}

/// A busy machine wakes the validator late, at the end of the pings' time, too.
#[test]
fn pings_leave_though_the_validator_wakes_late() {
    let policy = policy();
    let assignment = assignment(1_000, 200);
    let not_sent = |late: Duration| {
        let mut core = begin(&policy, CoreLimits::new(&policy), assignment.clone(), &[5; 32], &Kept::default());
        core.handle(core.bounds.start, Input::Peers(1));
        while let Some(due) = core.next_due().filter(|due| *due <= core.last_ping) {
            let now = due.after(late);
            let rtt = Duration::from_millis(5);
            for effect in core.handle(now, Input::Tick) {
                if let Effect::Ping { worker, .. } = effect {
                    let outcome = PingOutcome::Answered;
                    core.handle(now, Input::PingEnded { worker, outcome, rtt, group: Some(THERE) });
                }
            }
        }
        core.finish().counts.pings(PingOutcome::NotSent)
    };
    let slack = ping_slack(&policy.fixed());
    assert_eq!([Duration::ZERO, Duration::from_millis(15), slack].map(not_sent), [0; 3]);
    assert!(not_sent(slack * 8) > 0, "the control: later than that, some have no time left");
}

/// What is in flight when the epoch ends has failed, and so has what waited for a dial that was under way.
#[test]
fn the_end_of_the_epoch_ends_what_is_under_way() {
    let policy = policy();
    let assignment = assignment(2, 1);
    let mut core = begin(
        &policy,
        CoreLimits { dials: 1, ..CoreLimits::new(&policy) },
        assignment.clone(),
        &[5; 32],
        &Kept::default(),
    );
    core.handle(core.bounds.start, Input::Peers(1));
    let mut asked = Vec::new();
    while let Some(at) = core.next_due().filter(|at| *at <= core.last_echo) {
        asked.extend(core.handle(at, Input::Tick));
    }
    let sent =
        |worker| asked.iter().filter(|it| matches!(it, Effect::Ping { worker: to, .. } if *to == worker)).count();
    let n_sent = [sent(id(0)), sent(id(1))];
    // The first one's last ping finds no connection: it is dialled. Of the second nothing is heard.
    let effects = core.handle(core.last_ping, Input::NotConnected { worker: id(0), probe: Probe::Ping });
    assert!(matches!(effects.last(), Some(Effect::Connect { worker, .. }) if *worker == id(0)), "{effects:?}");
    // Its dial has the only slot; the other one's ping waits for none that is under way.
    core.handle(core.last_ping, Input::NotConnected { worker: id(1), probe: Probe::Ping });
    let n_late: Vec<_> = core.workers.values().map(|worker| worker.pings_in_flight).collect();
    let seen = Seen {
        finished: core.finish(),
        pings: BTreeMap::new(),
        echoes: BTreeMap::new(),
        most: Gauges::default(),
        n_dials: 0,
    };
    let seen: Vec<_> =
        observations(&assignment, &seen).into_iter().map(|o| usize::from(o.unwrap_or_default().pings_sent)).collect();
    assert!(n_sent.iter().all(|n| *n > 0));
    assert_eq!(seen, [n_late[0] + 1, n_late[1]]);
}
