use lucid_consensus::ledger::table::Nodes;
use lucid_types::policy::Policy;
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;
use crate::chain::fixture::peers;
use crate::commands::Submission;
use crate::payout::testing::start::Start;
use crate::payout::testing::{self, WORKERS, node};
use crate::utc;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// 2026-11-30, a Monday.
const MONDAY: u64 = 1_795_996_800_000;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

fn genesis(epoch: Duration) -> Genesis {
    // An epoch does not begin with a minute.
    let genesis_time = UnixMillis::new(MONDAY - 40 * DAY + 7_000);
    Genesis { genesis_time, policy: Policy::local(epoch, 2, None), ..testing::start().genesis }
}

fn row() -> Node {
    let spec = testing::network();
    testing::first(&spec).node(&node(WORKERS[0])).unwrap().clone()
}

fn schedule(items: &[&str]) -> LimitsConfig {
    LimitsConfig { schedule: items.iter().map(|item| (*item).to_owned()).collect(), ..LimitsConfig::default() }
}

fn month_bytes(month_bytes: u64) -> LimitsConfig {
    LimitsConfig { month_bytes, ..LimitsConfig::default() }
}

fn used(now: UnixMillis, bytes: u64) -> Month {
    Month { bytes, ..Month::at(now) }
}

/// A line that takes more in an hour than the last twentieth of the month's bytes.
#[test]
fn a_month_that_would_be_used_up_before_it_is_announced_is_announced_sooner() {
    let (limits, now) = (month_bytes(1_000), at("2026-11-29T12:00"));
    let closed = |bytes, lately| Month { bytes, lately, ..Month::at(now) }.closed_until(&limits).is_some();
    assert_eq!([closed(949, 50), closed(949, 51), closed(950, 0), closed(600, 400)], [false, true, true, true]);
    assert_eq!([used(now, 0), used(now, 999), used(now, 1_001)].map(|it| it.left(&limits)), [1_000, 1, 0]);
    assert_eq!(used(now, 1_001).left(&month_bytes(0)), u64::MAX);
}

fn at(text: &str) -> UnixMillis {
    UnixMillis::new(utc::parse(text).unwrap() * 1_000)
}

/// The ledger's rule for a command in a block of the open epoch.
fn apply(row: &mut Node, open: Epoch, action: &NodeAction) {
    let NodeAction::Maintenance { from, epochs, scope } = *action else { unreachable!("{action:?}") };
    let (earliest, latest) = (open.get() + 2, open.get() + u64::from(MAX_MAINTENANCE));
    assert!(from.get() <= latest && (1..=MAX_MAINTENANCE).contains(&epochs), "{action:?} in {open}");
    let from = from.max(Epoch::new(earliest));
    row.maintenance.retain_mut(|it| {
        it.until = it.until.min(from);
        it.from.get() < earliest && it.until > it.from.max(open)
    });
    row.maintenance.push(Maintenance { from, until: Epoch::new(from.get() + u64::from(epochs)), scope });
}

/// Scope, and the times between which it is announced.
fn announced(genesis: &Genesis, action: Option<NodeAction>) -> Option<(MaintenanceScope, String, String)> {
    let NodeAction::Maintenance { from, epochs, scope } = action? else { return None };
    let until = Epoch::new(from.get() + u64::from(epochs));
    let text = |epoch| utc::utc(genesis.epoch_start(epoch).get() / 1_000);
    Some((scope, text(from), text(until)))
}

#[test]
fn a_night_is_announced_two_hours_ahead_with_every_epoch_that_it_touches() {
    let (genesis, limits) = (genesis(Duration::from_secs(120)), schedule(&["07:00-22:00"]));
    let wanted = |now: &str, row: &Node| {
        announced(&genesis, next_maintenance(at(now), &genesis, &limits, &used(at(now), 0), &[], row))
    };
    let mut row = row();
    assert_eq!(wanted("2026-11-30T19:30", &row), None);
    // Epochs begin seven seconds after even minutes: that of 22:00 begins at 21:58:07, and the first one after 07:00 at 07:00:07.
    let night = (MaintenanceScope::All, "2026-11-30 21:58:07 UTC".to_owned(), "2026-12-01 07:00:07 UTC".to_owned());
    assert_eq!(wanted("2026-11-30T20:00", &row), Some(night.clone()));
    assert_eq!(wanted("2026-11-30T21:50", &row), Some(night.clone()));
    // Too late for that, and from the third epoch after on.
    let late = wanted("2026-11-30T23:00", &row).unwrap();
    assert_eq!((late.1.as_str(), &late.2), ("2026-11-30 23:04:07 UTC", &night.2));
    let now = at("2026-11-30T20:00");
    let action = next_maintenance(now, &genesis, &limits, &used(now, 0), &[], &row).unwrap();
    apply(&mut row, genesis.epoch_at(now), &action);
    for time in ["2026-11-30T20:01", "2026-11-30T22:00", "2026-12-01T06:59", "2026-12-01T07:01", "2026-12-01T19:30"] {
        assert_eq!(wanted(time, &row), None, "{time}");
    }
    assert!(wanted("2026-12-01T20:00", &row).is_some(), "the next night");
}

#[test]
fn a_month_that_is_used_up_is_announced_once_and_ends_with_it() {
    let (genesis, limits) = (genesis(Duration::from_secs(120)), month_bytes(1_000_000));
    let now = at("2026-11-29T12:00");
    let mut row = row();
    let wanted = |bytes, row: &Node| next_maintenance(now, &genesis, &limits, &used(now, bytes), &[], row);
    assert_eq!(wanted(949_999, &row), None);
    let action = wanted(950_000, &row).unwrap();
    let (scope, from, until) = announced(&genesis, Some(action.clone())).unwrap();
    assert_eq!((scope, from.as_str()), (MaintenanceScope::Traffic, "2026-11-29 12:04:07 UTC"));
    assert_eq!(until, "2026-12-01 00:00:07 UTC", "with the epoch in which the month ends");
    apply(&mut row, genesis.epoch_at(now), &action);
    for later in (0..400).map(|n| UnixMillis::new(now.get() + n * 10 * MINUTE)) {
        let used = if later < at("2026-12-01T00:00") { used(later, u64::MAX) } else { used(later, 0) };
        assert_eq!(next_maintenance(later, &genesis, &limits, &used, &[], &row), None, "{later}");
    }
    // What the owner has announced is more, and stays.
    let all = Maintenance { from: Epoch::new(1), until: Epoch::new(u64::MAX), scope: MaintenanceScope::All };
    let off = Node { maintenance: vec![all], ..row };
    assert_eq!(wanted(u64::MAX, &off), None);
}

/// A public network's month has more epochs than a command may announce.
#[test]
fn the_first_days_of_a_month_are_announced_a_week_at_a_time() {
    let (genesis, limits) = (genesis(Duration::from_secs(120)), month_bytes(1));
    let mut row = row();
    let (mut commands, mut now) = (0, at("2026-12-01T00:00"));
    let first = genesis.epoch_at(now).get() + LEAD;
    while now < at("2027-01-01T00:00") {
        if let Some(action) = next_maintenance(now, &genesis, &limits, &used(now, 1), &[], &row) {
            apply(&mut row, genesis.epoch_at(now), &action);
            commands += 1;
        }
        let open = genesis.epoch_at(now);
        let is_covered = row.maintenance_in(open) == Some(MaintenanceScope::Traffic);
        assert_eq!(is_covered, open.get() >= first, "{}", utc::utc(now.get() / 1_000));
        now = UnixMillis::new(now.get() + HOUR / 2);
    }
    assert_eq!(commands, 5, "31 days");
}

/// Traffic that is announced late in the day does not cost the night; and both are announced in the end.
#[test]
fn a_month_waits_for_the_hours_that_come_soon() {
    let genesis = genesis(Duration::from_secs(120));
    let limits = LimitsConfig { month_bytes: 100, ..schedule(&["07:00-22:00"]) };
    let mut row = row();
    let mut step = |now: &str, bytes| {
        let now = at(now);
        let action = next_maintenance(now, &genesis, &limits, &used(now, bytes), &[], &row);
        action.iter().for_each(|action| apply(&mut row, genesis.epoch_at(now), action));
        announced(&genesis, action).map(|(scope, from, _)| (scope, from))
    };
    let of = |scope, from: &str| Some((scope, format!("{from} UTC")));
    assert_eq!(step("2026-12-02T20:30", 0), of(MaintenanceScope::All, "2026-12-02 21:58:07"));
    assert_eq!(step("2026-12-02T21:30", 100), None, "the night could not be announced again before it begins");
    assert_eq!(step("2026-12-02T21:57", 100), None, "the night covers what comes soon");
    assert_eq!(step("2026-12-03T04:00", 100), None);
    assert_eq!(step("2026-12-03T05:30", 100), of(MaintenanceScope::Traffic, "2026-12-03 07:00:07"));
    assert_eq!(step("2026-12-03T07:30", 100), None);
    assert_eq!(step("2026-12-03T20:00", 100), of(MaintenanceScope::All, "2026-12-03 21:58:07"));
    assert_eq!(row.maintenance_in(genesis.epoch_at(at("2026-12-03T21:00"))), Some(MaintenanceScope::Traffic));
    assert_eq!(row.maintenance_in(genesis.epoch_at(at("2026-12-04T01:00"))), Some(MaintenanceScope::All));
}

#[test]
fn a_month_goes_on_after_a_restart_and_ends_with_the_calendars() {
    let month = used(at("2026-11-30T23:59"), 7);
    assert_eq!(
        (month.name(), month.key(), month.end()),
        ("2026-11".to_owned(), b"month-202611".to_vec(), at("2026-12-01"))
    );
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), *testing::network().id()).unwrap();
    assert_eq!(recorded(&store, month).unwrap().bytes, 0);
    store.put(OwnKind::Counter, &month.key(), &9u64.to_be_bytes()).unwrap();
    assert_eq!(recorded(&store, month).unwrap(), Month { bytes: 9, ..month });
    assert_eq!(recorded(&store, Month::at(at("2026-12-01"))).unwrap().bytes, 0);
    store.put(OwnKind::Counter, &month.key(), b"no").unwrap();
    assert_eq!(recorded(&store, month).unwrap().bytes, 0);
}

#[test]
fn only_a_member_announces_that_knows_the_newest_state_and_has_the_key() {
    let spec = testing::network();
    let (state, limits) = (testing::first(&spec), month_bytes(1));
    let now = spec.genesis().genesis_time;
    let me = |seed| Identity::first(testing::node_key(seed));
    let of = |now, me: &Identity, state: &State| wanted(&spec, now, me, (&limits, &used(now, 1), None), state);
    let member = me(WORKERS[0]);
    assert!(of(now, &member, &state).is_some());
    assert_eq!(of(now, &me(WORKERS[1]), &state), None, "it is in no pool");
    assert_eq!(of(now, &me(99), &state), None, "it is not registered");
    let other_key = Identity { key: testing::node_key(99), ..member };
    assert_eq!(of(now, &other_key, &state), None);
    assert_eq!(of(now.after(Duration::from_hours(1)), &member, &state), None, "blocks are missing");
    let retired = state.changed(|rows| rows.get_mut::<Nodes>(&member.account).unwrap().is_retired = true);
    assert_eq!(of(now, &member, &retired), None);
}

struct Fixed(UnixMillis);

impl Clock for Fixed {
    fn now(&self) -> UnixMillis {
        self.0
    }
}

/// A validator that is a member takes its own command over.
#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_month_is_counted_announced_once_and_closes_the_line() {
    let me = testing::SIGNERS[0];
    let Start { genesis, mut workers, mut pools } = testing::start();
    workers.truncate(1);
    (workers[0].node, workers[0].operator) = (node(me), node(me));
    pools[0].members = vec![node(me)];
    let start = Start { genesis, workers, pools };
    let spec = Arc::new(ChainSpec::new(start.genesis.clone()).unwrap());
    let now = start.genesis.genesis_time;
    let (mesh, _events, _stop) = peers::mesh(spec.id(), me, vec![]).await;
    let (_head, seen) = watch::channel(testing::head(start.state(&spec)));
    let ((driver, _inputs), (sender, mut submissions)) = (mpsc::channel(4), mpsc::channel(4));
    let clock: Arc<dyn Clock> = Arc::new(Fixed(now));
    let desk = Arc::new(CommandDesk {
        spec: Arc::clone(&spec),
        clock: Arc::clone(&clock),
        me: node(me),
        may_vote: true,
        head: seen.clone(),
        mesh,
        driver,
        submissions: sender,
    });
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), *spec.id()).unwrap();
    let made = |line: &Arc<Line>| {
        let (month, told) = watch::channel(Month::at(now));
        let parts = CapsParts {
            spec: Arc::clone(&spec),
            clock: Arc::clone(&clock),
            store: store.clone(),
            me: Identity::first(testing::node_key(me)),
            limits: month_bytes(100),
            line: Arc::clone(line),
            commands: Arc::clone(&desk),
            head: seen.clone(),
            month,
        };
        (Caps::new(parts).unwrap(), told)
    };

    let line = Arc::<Line>::default();
    let (mut caps, month) = made(&line);
    caps.announce().await.unwrap();
    assert!(submissions.try_recv().is_err(), "there is nothing to announce");
    line.count(96);
    caps.count().unwrap();
    caps.count().unwrap();
    assert_eq!((*month.borrow(), line.is_used_up()), (Month { bytes: 96, lately: 0, ..Month::at(now) }, false));
    let taken = async {
        let Submission { command, answer } = submissions.recv().await.unwrap();
        answer.send(Ok(())).unwrap();
        command.record.action.clone()
    };
    let (announced, action) = tokio::join!(caps.announce(), taken);
    announced.unwrap();
    let wanted = MaintenanceScope::Traffic;
    assert!(matches!(action, Action::Node(NodeAction::Maintenance { scope, .. }) if scope == wanted), "{action:?}");
    // The state does not show it yet; for an hour it is not asked again.
    caps.announce().await.unwrap();
    assert!(submissions.try_recv().is_err());

    line.count(4);
    assert!(line.is_used_up(), "before it is looked at");
    caps.count().unwrap();
    assert_eq!((*month.borrow(), line.is_used_up()), (Month { bytes: 100, lately: 4, ..Month::at(now) }, true));
    // After a restart it goes on.
    let line = Arc::<Line>::default();
    let (mut caps, month) = made(&line);
    assert_eq!(month.borrow().bytes, 100);
    caps.count().unwrap();
    assert!(line.is_used_up());
    line.count(1);
    caps.count().unwrap();
    caps.count().unwrap();
    assert_eq!(recorded(&store, Month::at(now)).unwrap().bytes, 101);
}

/// Three hours each, of the whole week.
fn hours(blocks: &[bool]) -> LimitsConfig {
    let item = |(n, _): (usize, &bool)| format!("{} {:02}:00-{:02}:00", DAYS[n / 8], n % 8 * 3, n % 8 * 3 + 3);
    let schedule = blocks.iter().enumerate().filter(|(_, works)| **works).map(item).collect();
    LimitsConfig { schedule, ..LimitsConfig::default() }
}

/// Those of a node that works at some time.
fn blocks() -> impl Strategy<Value = Vec<bool>> {
    prop::collection::vec(any::<bool>(), 56).prop_filter("it works at some time", |it| it.contains(&true))
}

/// What a node announces, and remembers, as time goes on.
struct Announcer {
    genesis: Genesis,
    limits: LimitsConfig,
    row: Node,
    nonce: u64,
    kept: Option<Kept>,
}

impl Announcer {
    fn new(genesis: Genesis, limits: LimitsConfig) -> Self {
        Self { genesis, limits, row: Node { maintenance: vec![], ..row() }, nonce: 0, kept: None }
    }

    /// A command of the owner.
    fn owner(&mut self, now: &str, from: &str, length: Duration, scope: MaintenanceScope) {
        let (open, from) = (self.genesis.epoch_at(at(now)), self.genesis.epoch_at(at(from)));
        let epochs = u32::try_from(epochs_of(length, &self.genesis)).unwrap();
        apply(&mut self.row, open, &NodeAction::Maintenance { from, epochs, scope });
        self.nonce += 1;
    }

    /// What it would announce.
    fn wanted(&self, now: UnixMillis) -> Option<(NodeAction, Kept)> {
        let kept = self.kept.as_ref().map_or_else(Vec::new, |kept| kept.items(self.nonce, &self.row));
        let action = next_maintenance(now, &self.genesis, &self.limits, &used(now, 0), &kept, &self.row)?;
        let kept = Kept::new(self.nonce, announced_by(&action).unwrap(), kept, &self.row);
        Some((action, kept))
    }

    /// A command of the node that is handed in, and is in a block of an epoch, or in none.
    fn give(&mut self, (action, kept): (NodeAction, Kept), block: Option<Epoch>) {
        // It is remembered in the store.
        self.kept = Some(decode(&encode(&kept)).unwrap());
        if let Some(open) = block {
            apply(&mut self.row, open, &action);
            self.nonce += 1;
        }
    }

    /// Looks once a minute; scopes of the epochs that begin in between.
    fn run(&mut self, from: &str, until: &str) -> Vec<(String, Option<MaintenanceScope>)> {
        let (mut free_at, mut scopes) = (UnixMillis::ZERO, Vec::<(String, _)>::new());
        for now in (at(from).get()..at(until).get()).step_by(60_000).map(UnixMillis::new) {
            let open = self.genesis.epoch_at(now);
            let scope = self.row.maintenance_in(open);
            if scopes.last().is_none_or(|(_, last)| *last != scope) {
                scopes.push((utc::utc(self.genesis.epoch_start(open).get() / 1_000), scope));
            }
            if let Some(wanted) = self.wanted(now).filter(|_| now >= free_at) {
                self.give(wanted, Some(open));
                free_at = now.after(PAUSE);
            }
        }
        scopes
    }
}

const ALL: Option<MaintenanceScope> = Some(MaintenanceScope::All);
const TRAFFIC: Option<MaintenanceScope> = Some(MaintenanceScope::Traffic);

/// What is in force from when on.
fn scopes(of: &[(&str, Option<MaintenanceScope>)]) -> Vec<(String, Option<MaintenanceScope>)> {
    of.iter().map(|(from, scope)| (format!("{from} UTC"), *scope)).collect()
}

#[test]
fn a_week_that_is_under_way_goes_on_after_each_night() {
    let mut node = Announcer::new(genesis(Duration::from_secs(120)), schedule(&["07:00-22:00"]));
    node.owner("2026-11-30T08:00", "2026-11-30T12:00", Duration::from_hours(48), MaintenanceScope::Traffic);
    let found = node.run("2026-11-30T12:00", "2026-12-03T08:00");
    let wanted = scopes(&[
        ("2026-11-30 11:58:07", TRAFFIC),
        ("2026-11-30 21:58:07", ALL),
        ("2026-12-01 07:00:07", TRAFFIC),
        ("2026-12-01 21:58:07", ALL),
        ("2026-12-02 07:00:07", TRAFFIC),
        ("2026-12-02 11:58:07", None),
        ("2026-12-02 21:58:07", ALL),
        ("2026-12-03 07:00:07", None),
    ]);
    assert_eq!(found, wanted);
}

#[test]
fn what_the_owner_ends_or_announces_in_the_night_is_what_goes_on() {
    let start = || {
        let mut node = Announcer::new(genesis(Duration::from_secs(120)), schedule(&["07:00-22:00"]));
        node.owner("2026-11-30T08:00", "2026-11-30T12:00", Duration::from_hours(100), MaintenanceScope::Traffic);
        node.run("2026-11-30T12:00", "2026-12-01T01:00");
        node
    };
    // Ended: of the night what is left is announced again.
    let mut ended = start();
    let open = ended.genesis.epoch_at(at("2026-12-01T01:00"));
    ended.row.maintenance.last_mut().unwrap().until = Epoch::new(open.get() + 2);
    ended.nonce += 1;
    let found = ended.run("2026-12-01T01:00", "2026-12-01T12:00");
    assert_eq!(found.last().unwrap(), &("2026-12-01 07:00:07 UTC".to_owned(), None));
    // Others from a time on: the first one goes until then.
    let mut other = start();
    other.owner("2026-12-01T01:00", "2026-12-01T10:00", Duration::from_hours(1), MaintenanceScope::All);
    let found = other.run("2026-12-01T01:00", "2026-12-01T12:00");
    let wanted = [("2026-12-01 07:00:07", TRAFFIC), ("2026-12-01 09:58:07", ALL), ("2026-12-01 10:58:07", None)];
    assert!(found.ends_with(&scopes(&wanted)), "{found:?}");
}

#[test]
fn an_announcement_that_begins_in_the_night_is_kept() {
    // The night runs on into what follows.
    let mut all = Announcer::new(genesis(Duration::from_secs(120)), schedule(&["07:00-22:00"]));
    all.owner("2026-11-30T12:00", "2026-11-30T23:00", Duration::from_hours(160), MaintenanceScope::All);
    let found = all.run("2026-11-30T12:00", "2026-12-07T21:00");
    let wanted = scopes(&[("2026-11-30 11:58:07", None), ("2026-11-30 21:58:07", ALL), ("2026-12-07 14:58:07", None)]);
    assert_eq!(found, wanted);
    // Traffic that begins in it goes on afterwards, and what begins later still, too.
    for (from, wanted) in [("2026-12-01T03:00", "2026-12-01 07:00:07"), ("2026-12-01T09:00", "2026-12-01 08:58:07")] {
        let mut traffic = Announcer::new(genesis(Duration::from_secs(120)), schedule(&["07:00-22:00"]));
        traffic.owner("2026-11-30T12:00", from, Duration::from_hours(9), MaintenanceScope::Traffic);
        let found = traffic.run("2026-11-30T12:00", "2026-12-01T11:00");
        assert_eq!(found.last().unwrap(), &(format!("{wanted} UTC"), TRAFFIC), "{found:?}");
    }
}

/// A command that came into no block has taken nothing away, and is given once more.
#[test]
fn what_was_handed_in_and_lost_leaves_nothing_behind() {
    let mut node = Announcer::new(genesis(Duration::from_secs(120)), schedule(&["07:00-22:00"]));
    node.owner("2026-11-30T08:00", "2026-11-30T12:00", Duration::from_hours(48), MaintenanceScope::Traffic);
    let first = node.wanted(at("2026-11-30T20:00")).unwrap();
    node.give(first.clone(), None);
    assert_eq!(node.wanted(at("2026-11-30T20:00")), Some(first.clone()));
    // The owner ends all of it, with the number of the one that was lost.
    node.row.maintenance.clear();
    node.nonce += 1;
    let (action, kept) = node.wanted(at("2026-11-30T20:00")).unwrap();
    assert_eq!((action, kept.items(node.nonce, &node.row)), (first.0, vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// With a command an hour at most, of which every other one fails, and something that the owner has announced: whenever the node does not
    /// work, maintenance is in force, and whenever the owner's goes, at least that. It is in no other epochs, but for those right before hours.
    #[test]
    fn hours_are_announced_in_time_and_nothing_is_lost(
        blocks in blocks(),
        epoch in prop::sample::select(vec![20u64, 60, 120, 600]),
        phase in 0..HOUR,
        owners in (0..7 * DAY, HOUR / 10..7 * DAY, any::<bool>()),
    ) {
        let (genesis, limits) = (genesis(Duration::from_secs(epoch)), hours(&blocks));
        let (hours, start) = (limits.hours(), MONDAY + phase);
        let first = genesis.epoch_at(UnixMillis::new(start));
        let mut node = Announcer::new(genesis, limits);
        let genesis = node.genesis.clone();
        let (from, length, is_all) = owners;
        let scope = if is_all { MaintenanceScope::All } else { MaintenanceScope::Traffic };
        let from = Epoch::new((first.get() + from / 1_000 / epoch).min(first.get() + 5_000));
        let length = u32::try_from(length / 1_000 / epoch).unwrap().clamp(1, MAX_MAINTENANCE);
        // Given long enough ago.
        apply(&mut node.row, Epoch::new(first.get() - 2), &NodeAction::Maintenance { from, epochs: length, scope });
        let owners = *node.row.maintenance.last().unwrap();
        let (mut free_at, mut fails) = (start, false);
        let mut unseen = first.get() + LEAD;
        let off = |epoch: Epoch| !hours.works_throughout(genesis.epoch_start(epoch), genesis.epoch_end(epoch));
        let wanted = |epoch: Epoch| {
            let owners = (owners.from <= epoch && epoch < owners.until).then_some(scope);
            if off(epoch) { ALL } else { owners }
        };
        let gap = LEAD + epochs_of(RETRY * 2, &genesis);
        for now in (start..start + 8 * DAY).step_by(usize::try_from(2 * MINUTE).unwrap()) {
            let time = UnixMillis::new(now);
            let open = genesis.epoch_at(time);
            for epoch in (unseen..=open.get()).map(Epoch::new) {
                let (found, wanted_here) = (node.row.maintenance_in(epoch), wanted(epoch));
                if found == ALL && wanted_here != ALL {
                    let is_before = (1..=gap).any(|n| wanted(Epoch::new(epoch.get() + n)) == ALL);
                    prop_assert!(is_before, "epoch {}: too much: {:?}", epoch, owners);
                } else {
                    prop_assert_eq!(found, wanted_here, "epoch {}: {:?}, open at first {}", epoch, owners, first);
                }
            }
            unseen = unseen.max(open.get() + 1);
            let Some(action) = node.wanted(time).filter(|_| now >= free_at) else { continue };
            // At the start there is no time for a failure.
            fails = !fails && now > start;
            // It is in a block of the next epoch.
            node.give(action, (!fails).then_some(open.next()));
            free_at = now + if fails { 5 * MINUTE } else { HOUR };
        }
    }

    /// Whatever the limits and the row say, what is announced is a command that the ledger takes.
    #[test]
    fn what_is_announced_is_possible(
        minutes in prop::collection::vec((0usize..7, 0u64..1_440, 1u64..1_440), 0..5),
        (most, taken) in (any::<u64>(), any::<u64>()),
        epoch_ms in prop::sample::select(vec![1_000u64, 7_001, 120_000, DAY, 30 * DAY]),
        now in any::<u64>(),
        row_of in prop::collection::vec((any::<u32>(), any::<u32>(), any::<bool>()), 0..4),
    ) {
        let time = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
        let item = |(day, from, more): &(usize, u64, u64)| {
            format!("{} {}-{}", DAYS[*day], time(*from), time((from + more) % 1_440))
        };
        let schedule = minutes.iter().map(item).collect();
        let limits = LimitsConfig { schedule, month_bytes: most, ..LimitsConfig::default() };
        let genesis = genesis(Duration::from_millis(epoch_ms));
        // Up to the year 10,000.
        let now = UnixMillis::new(now % 253_402_300_800_000);
        let open = genesis.epoch_at(now);
        let scope = |all| if all { MaintenanceScope::All } else { MaintenanceScope::Traffic };
        let maintenance = row_of.iter().map(|(from, more, all)| {
            let from = Epoch::new((open.get() + u64::from(from % 200)).saturating_sub(100));
            Maintenance { from, until: Epoch::new(from.get() + 1 + u64::from(*more)), scope: scope(*all) }
        });
        let (kept, announced): (Vec<_>, Vec<_>) = maintenance.partition(|it| it.from.get() % 2 == 0);
        let mut row = Node { maintenance: announced, ..row() };
        if let Some(action) = next_maintenance(now, &genesis, &limits, &used(now, taken), &kept, &row) {
            apply(&mut row, open, &action);
        }
    }
}
