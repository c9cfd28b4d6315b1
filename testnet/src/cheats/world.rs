//! What a row simulates: validators, machines, the workers on them, and how each of them behaves.

use std::time::Duration;

use lucid_consensus::rules::{Rules, Standard};
use lucid_types::amount::MicroUsdt;
use lucid_types::network_group::NetworkGroup;
use lucid_types::policy::Policy;
use lucid_types::pool::SplitRule;
use lucid_types::time::{Epoch, UnixMillis};

use super::Side;

/// The number of the cheat's machine, and of its first worker.
pub(super) const CHEAT: usize = 0;
/// Epochs of a settlement.
pub(super) const SETTLE_EVERY: u64 = 12;
/// Settlements of a row. The first one fills the windows and is not counted.
pub(super) const SETTLEMENTS: u64 = 3;

/// Where a machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Europe,
    America,
    Asia,
}

impl Place {
    /// Of a packet between two machines: as between data centres and homes of these continents.
    const fn one_way(self, other: Self) -> Duration {
        Duration::from_millis(match (self, other) {
            (Self::Europe, Self::Europe) => 8,
            (Self::America, Self::America) => 12,
            (Self::Asia, Self::Asia) => 15,
            (Self::Europe, Self::America) | (Self::America, Self::Europe) => 45,
            (Self::Europe, Self::Asia) | (Self::Asia, Self::Europe) => 90,
            (Self::America, Self::Asia) | (Self::Asia, Self::America) => 80,
        })
    }

    /// There and back.
    pub(super) fn round_trip(self, other: Self) -> Duration {
        2 * self.one_way(other)
    }
}

/// When a machine is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Always,
    /// In every other epoch, from its first to its last millisecond.
    EveryOtherEpoch,
    /// In half of all stretches of ten seconds, whichever chance takes.
    HalfOfTheTime,
    /// In all epochs but the first two of every six.
    Outages,
    /// For a second before and after each time at which it expects a probe.
    AtExpectedProbes,
}

/// Whom a machine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    All,
    /// The nearest validators, so many.
    Nearest(usize),
    /// All, through machines beside them that hold its key.
    ThroughProxies,
}

/// What a machine sends and takes, in kbit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Own(u64),
    /// Its own, and a rented one for the epochs of which it thinks that they are of echo: one of `echo_every`.
    Rented {
        own: u64,
        rented: u64,
        has_time: bool,
    },
}

/// Where a machine has the chunks that are deposited with it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Disk {
    /// Nowhere: it says that it takes them, and throws them away.
    None,
    /// On a disk with room for so many, of them so many of each validator for a term, on which `keeps` of a hundred of a chunk's blocks are kept.
    Real { room: u32, of_each: u32, keeps: u8 },
    /// On a disk on which it keeps those of some validators, and throws the others' away.
    Of { keeps: fn(usize) -> bool },
    /// At a friend's, of whom it fetches what it is asked for.
    AtFriend { round_trip: Duration },
    /// Nowhere: it makes them anew, of the secrets of those validators that have given it theirs, and of the others' as they would be if they followed
    /// from what everybody knows.
    Regenerated { knows: fn(usize) -> bool },
}

/// A machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    pub(super) place: Place,
    pub(super) link: Link,
    pub(super) presence: Presence,
    pub(super) answers: Answers,
    pub(super) group: NetworkGroup,
    pub(super) disk: Disk,
    /// Bytes of disk that its worker declares.
    pub(super) declared: u64,
}

/// What a machine offers in a world with disks.
pub(super) const DISK: u64 = 2 * 4 * 21 * Policy::CHUNK_BYTES;

/// A worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Worker {
    pub(super) machine: usize,
    pub(super) pool: usize,
    /// The validator whose operator runs it, if that is known.
    pub(super) operator: Option<usize>,
    /// The first epoch of its membership.
    pub(super) from: Epoch,
    /// Whether it announces maintenance when an outage begins.
    pub(super) dodges: bool,
}

/// A validator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validator {
    pub(super) power: u64,
    pub(super) place: Place,
    /// Whether it is one of those that act together, or the one that cheats.
    pub(super) is_bad: bool,
}

/// What the bad validators do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plot {
    Nothing,
    /// They report the cheat's machine up at all times, near and fast.
    Praise,
    /// They report that machine down.
    Smear,
    /// They report nothing of that machine, as if they had not measured it.
    LeaveOut,
    /// They report the greatest throughput that there is of the cheat's machine, if it answered an echo.
    Exaggerate,
    /// They report what another validator revealed of the epoch before.
    RepeatOthers,
    /// They reveal what another validator has revealed of the epoch.
    CopyOthers,
    /// They withhold every other reveal.
    Withhold,
    /// They withhold as many reveals as cost them nothing.
    WithholdForNothing,
    /// They choose the contribution to the beacon that gives them most seats at the cheat's worker, and propose no block if those are fewer than
    /// they hold on average.
    ChooseSeeds,
    /// They leave the others' commitments and reveals out of their blocks.
    Censor,
}

/// A network, and what goes on in it.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) policy: Policy,
    pub(super) rules: &'static dyn Rules,
    pub(super) validators: Vec<Validator>,
    pub(super) machines: Vec<Machine>,
    pub(super) workers: Vec<Worker>,
    pub(super) pools: usize,
    pub(super) split: SplitRule,
    pub(super) plot: Plot,
    /// Whether all validators ping at times that follow from the epoch's public seed, as nobody's real validator does.
    pub(super) has_public_schedule: bool,
    /// Whether the secrets of which chunks follow are none: they follow from what everybody knows.
    pub(super) has_public_secrets: bool,
    /// Which part of a worker's chunks is deposited again in a term, if not the usual one: one in so many.
    pub(super) again_part: Option<u32>,
    /// Whether anything is measured at all, beside who would measure whom.
    pub(super) measures: bool,
    /// How long validators wait for the answer to a challenge, if not as long as they do.
    pub(super) patience: Option<Duration>,
    pub(super) epochs: u64,
}

/// The public policy with windows of minutes in place of days, and an echo in every epoch, so that chance decides little in so few of them.
/// Full marks are such that an honest worker of 40 Mbit/s has about as many of each factor as on the public mesh.
fn policy() -> Policy {
    let credits_window = 2 * SETTLE_EVERY;
    Policy {
        settle_every: SETTLE_EVERY,
        report_window: 1,
        credits_window,
        history_window: SETTLE_EVERY,
        min_denominator: 6,
        echo_every: 1,
        // Five of twelve epochs, as ten hours are of a day.
        full_session_s: 120 * SETTLE_EVERY * 5 / 12,
        full_credits: 21 * credits_window,
        full_kbit_s: 400_000,
        ..Policy::default()
    }
}

/// The address of a machine.
pub(super) fn group_of(machine: usize) -> NetworkGroup {
    NetworkGroup::from_bytes([0, 0, 9, 9, 9, u8::try_from(machine + 1).unwrap_or(u8::MAX)])
}

/// At home, 40 Mbit/s, always there.
pub(super) fn home(machine: usize) -> Machine {
    Machine {
        place: Place::Europe,
        link: Link::Own(40_000),
        presence: Presence::Always,
        answers: Answers::All,
        group: group_of(machine),
        disk: Disk::None,
        declared: 0,
    }
}

pub(super) const fn worker(machine: usize) -> Worker {
    Worker { machine, pool: 0, operator: None, from: Epoch::new(1), dodges: false }
}

impl World {
    /// 21 validators of equal power, seven on each continent, the nearest first, and one pool of six equal workers at home in Europe, of
    /// which the first is the cheat: honest as long as nobody changes it.
    pub(super) fn new() -> Self {
        let place = |i: usize| [Place::Europe, Place::America, Place::Asia][i / 7];
        Self {
            policy: policy(),
            rules: &Standard,
            validators: (0..21).map(|i| Validator { power: 1, place: place(i), is_bad: false }).collect(),
            machines: (0..6).map(home).collect(),
            workers: (0..6).map(worker).collect(),
            pools: 1,
            split: SplitRule::CreditsTimesScore,
            plot: Plot::Nothing,
            has_public_schedule: false,
            has_public_secrets: false,
            again_part: None,
            measures: true,
            patience: None,
            epochs: SETTLE_EVERY * SETTLEMENTS,
        }
    }

    /// The same, changed.
    pub(super) fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut world = Self::new();
        change(&mut world);
        world
    }

    /// Every machine offers as much disk as four chunks for each of 21 storage seats take, now and in the next term, and a chunk earns a credit.
    pub(super) fn with_disks(change: impl FnOnce(&mut Self)) -> Self {
        let mut world = Self::new();
        for machine in &mut world.machines {
            machine.disk = Disk::Real { room: 2 * 4 * 21, of_each: u32::MAX, keeps: 100 };
            machine.declared = DISK;
        }
        world.policy.storage_credits_per_gib = 1_024;
        world.policy.storage_max_bytes = 2 << 30;
        world.policy.storage_floor_bytes = DISK / 2;
        change(&mut world);
        world
    }

    /// Every third validator is of one party, which plots unless the side is the honest one.
    pub(super) fn a_third_plots(&mut self, side: Side, plot: Plot) {
        self.validators.iter_mut().step_by(3).for_each(|it| it.is_bad = true);
        self.plots(side, plot);
    }

    /// The last validator plots alone, unless the side is the honest one.
    pub(super) fn one_plots(&mut self, side: Side, plot: Plot) {
        self.validators.iter_mut().next_back().into_iter().for_each(|it| it.is_bad = true);
        self.plots(side, plot);
    }

    /// The bad validators plot, unless the side is the honest one.
    pub(super) fn plots(&mut self, side: Side, plot: Plot) {
        if side != Side::Honest {
            self.plot = plot;
        }
    }

    /// The network has these rules in place of the specification's on the side that lacks the row's defence.
    pub(super) fn lacks(&mut self, side: Side, rules: &'static dyn Rules) {
        if side == Side::Undefended {
            self.rules = rules;
        }
    }

    /// The same of 96 validators, 32 on each continent: of 21 seats each holds one or none, and chance decides how many a third of them hold
    /// at a worker.
    pub(super) fn with_96_validators(change: impl FnOnce(&mut Self)) -> Self {
        Self::with(|world| {
            let of = |i: usize| Validator { place: world.validators[i / 32 * 7].place, ..world.validators[0] };
            world.validators = (0..96).map(of).collect();
            change(world);
        })
    }

    /// There is no worker but the cheat's: of rows about what happens to epochs.
    pub(super) fn of_one_worker(&mut self) {
        self.machines.truncate(1);
        self.workers.truncate(1);
    }

    pub(super) fn cheat(&mut self) -> &mut Machine {
        &mut self.machines[CHEAT]
    }

    /// Changes the cheat's machine, unless the side is the honest one.
    pub(super) fn cheats(&mut self, side: Side, change: impl FnOnce(&mut Machine)) {
        if side != Side::Honest {
            change(self.cheat());
        }
    }

    /// The cheat's first worker is a member in the last epoch only, unless the side is the honest one.
    pub(super) fn joins_late(&mut self, side: Side) {
        if side != Side::Honest {
            self.workers[CHEAT].from = Epoch::new(self.epochs);
        }
    }

    /// Whether a worker is not what it would be if its machine were honest: a second one on it, a member since lately, or one that declares another
    /// disk than there is.
    pub(super) fn is_pretence(&self, worker: usize) -> bool {
        let Worker { machine, from, .. } = self.workers[worker];
        let is_second = self.workers[..worker].iter().any(|it| it.machine == machine);
        let Machine { declared, disk, .. } = self.machines[machine];
        let has = match disk {
            Disk::Real { room, .. } => u64::from(room) * Policy::CHUNK_BYTES,
            _ => declared,
        };
        is_second || from > Epoch::new(1) || declared != has
    }

    /// The budget of each pool for a settlement.
    pub(super) const BUDGET: MicroUsdt = MicroUsdt::new(1_000_000_000);
}

impl Presence {
    /// Whether a machine is up; `expected` are the times at which it expects probes, in order.
    pub(super) fn is_up(self, seed: u64, epoch: Epoch, now: UnixMillis, expected: &[UnixMillis]) -> bool {
        match self {
            Self::Always => true,
            Self::EveryOtherEpoch => epoch.get().is_multiple_of(2),
            Self::HalfOfTheTime => {
                let stretch = now.get() / 10_000;
                blake3::hash(&[seed.to_le_bytes(), stretch.to_le_bytes()].concat()).as_bytes()[0] & 1 == 1
            }
            Self::Outages => !(1..=2).contains(&(epoch.get() % 6)),
            Self::AtExpectedProbes => {
                let second = Duration::from_secs(1);
                let next = expected.partition_point(|at| at.after(second) < now);
                expected.get(next).is_some_and(|at| at.before(second) <= now)
            }
        }
    }
}
