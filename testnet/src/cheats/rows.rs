//! The attacks.

use std::time::Duration;

use lucid_types::pool::SplitRule;
use lucid_types::time::Epoch;

use super::rules::{
    AnyContribution, AnyReveal, DeclaredCounts, FailureAbstains, ForfeitsCostNothing, MaintenanceAtOnce, MeanOfSeats,
    MeanOfStorage, PowerCountsTwice,
};
use super::world::{
    Answers, CHEAT, DISK, Disk, Link, Place, Plot, Presence, SETTLE_EVERY, SETTLEMENTS, Validator, World, home, worker,
};
use super::{Bound, Figure, Prevented, Row, Side};

/// A friend's machine 15 ms away.
const NEAR_FRIEND: Disk = Disk::AtFriend { round_trip: Duration::from_millis(30) };
/// One to whom it takes longer than the deadline.
const FAR_FRIEND: Disk = Disk::AtFriend { round_trip: Duration::from_millis(2_500) };

const NOTHING: Bound = Bound::AtMost(0, "nothing");
const NO_MORE: Bound = Bound::AtMost(1_010_000, "what honesty earns; chance in what is measured");
/// Medians of a network whose third lies are the honest ones' in another order.
const HONEST_RANGE: Bound =
    Bound::AtMost(1_100_000, "the best that an honest validator measured: round trips weigh a tenth");

/// All of them.
pub const ROWS: &[Row] = &[
    Row {
        name: "praise",
        attack: "a third of the validators reports a worker as perfect that is down in every other epoch",
        defence: Some("medians by seats (mean)"),
        seed: 7,
        figure: Figure::Earned,
        bound: HONEST_RANGE,
        prevented: Prevented::Partly,
        says: "The median moves within what honest validators measured: to a shorter round trip, never to an epoch that they did not see.",
        world: |side| {
            World::with(|it| {
                it.cheat().presence = Presence::EveryOtherEpoch;
                it.plot_of_a_third(if side == Side::Honest { Plot::Nothing } else { Plot::Praise });
                if side == Side::Undefended {
                    it.rules = &MeanOfSeats;
                }
            })
        },
    },
    Row {
        name: "praise-half",
        attack: "the same of a worker that is down in half of all stretches of ten seconds, beside one that is always up",
        defence: Some("medians by seats (mean)"),
        seed: 71,
        figure: Figure::Earned,
        bound: Bound::AtMost(1_000_000, "what an equal machine earns that is always up"),
        prevented: Prevented::Partly,
        says: "Where honest validators disagree, a third of the seats chooses among what they measured: of a worker that is up half of the time, \
               some found it up for more than that, and an echo that most of them saw fail counts as verified.",
        world: |side| {
            World::with(|it| {
                if side == Side::Honest {
                    return;
                }
                it.cheat().presence = Presence::HalfOfTheTime;
                it.plot_of_a_third(Plot::Praise);
                if side == Side::Undefended {
                    it.rules = &MeanOfSeats;
                }
            })
        },
    },
    Row {
        name: "praise-half-gain",
        attack: "the same, beside the same machine without the lies",
        defence: Some("medians by seats (mean)"),
        seed: 71,
        figure: Figure::Earned,
        bound: Bound::AtMost(2_600_000, "an equal machine that is always up: the row above"),
        prevented: Prevented::Partly,
        says: "A third of the seats can nearly double what an unreliable machine earns. It never brings it to what a reliable one earns.",
        world: |side| {
            World::with(|it| {
                it.cheat().presence = Presence::HalfOfTheTime;
                it.plot_of_a_third(if side == Side::Honest { Plot::Nothing } else { Plot::Praise });
                if side == Side::Undefended {
                    it.rules = &MeanOfSeats;
                }
            })
        },
    },
    Row {
        name: "smear",
        attack: "a third of the validators reports a rival as down; the figure is the rival's",
        defence: Some("medians by seats (mean)"),
        seed: 8,
        figure: Figure::Earned,
        bound: Bound::AtLeast(950_000, "the worst that an honest validator measured: round trips weigh a tenth"),
        prevented: Prevented::Partly,
        says: "The median moves to a longer round trip that an honest validator measured.",
        world: |side| {
            World::with(|it| {
                it.plot_of_a_third(if side == Side::Honest { Plot::Nothing } else { Plot::Smear });
                if side == Side::Undefended {
                    it.rules = &MeanOfSeats;
                }
            })
        },
    },
    Row {
        name: "two-of-16-percent",
        attack: "two validators of 16 % of the power each report a worker as perfect that is down in every other epoch",
        defence: Some("a seat weighs the same whoever holds it (power counts twice)"),
        seed: 19,
        figure: Figure::Earned,
        bound: HONEST_RANGE,
        prevented: Prevented::Yes,
        says: "They hold a third of the seats, and no more weight: what a third can do, they can.",
        world: |side| {
            World::with(|it| {
                it.cheat().presence = Presence::EveryOtherEpoch;
                let of = |i: usize| Validator { power: if i < 2 { 16 } else { 4 }, is_bad: i < 2, ..it.validators[i] };
                it.validators = (0..19).map(of).collect();
                if side != Side::Honest {
                    it.plot = Plot::Praise;
                }
                if side == Side::Undefended {
                    it.rules = &PowerCountsTwice;
                }
            })
        },
    },
    Row {
        name: "exaggerate",
        attack: "one validator reports a throughput of 2 Tbit/s of a friend's worker",
        defence: Some("medians by seats (mean)"),
        seed: 20,
        figure: Figure::Earned,
        bound: NO_MORE,
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with(|it| {
                it.validators[20].is_bad = true;
                if side != Side::Honest {
                    it.plot = Plot::Exaggerate;
                }
                if side == Side::Undefended {
                    it.rules = &MeanOfSeats;
                }
            })
        },
    },
    Row {
        name: "own-worker",
        attack: "an operator of 8 of 21 validators reports its own worker as perfect, which is down half of the time",
        defence: Some("no seats at workers of the own operator (it is not known whose the worker is)"),
        seed: 18,
        figure: Figure::Earned,
        bound: NO_MORE,
        prevented: Prevented::Partly,
        says: "Whoever runs the worker under another name is not known as its operator. Then it holds as many seats as its power, \
               and the medians stand against it alone: the column without the defence.",
        world: |side| {
            World::with(|it| {
                it.cheat().presence = Presence::HalfOfTheTime;
                it.plot_of_a_third(if side == Side::Honest { Plot::Nothing } else { Plot::Praise });
                it.validators[20].is_bad = true;
                it.workers[CHEAT].operator = (side != Side::Undefended).then_some(0);
            })
        },
    },
    Row {
        name: "copy",
        attack: "a validator reveals what another one has revealed, in place of measuring; its pay for validating",
        defence: Some("reports are committed to before any is revealed (any report may be revealed)"),
        seed: 9,
        figure: Figure::Validating,
        bound: NOTHING,
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with(|it| {
                it.validators[20].is_bad = true;
                if side != Side::Honest {
                    it.plot = Plot::CopyOthers;
                }
                if side == Side::Undefended {
                    it.rules = &AnyReveal;
                }
            })
        },
    },
    Row {
        name: "repeat",
        attack: "a validator reports what another one revealed an epoch ago, in place of measuring; its pay for validating",
        defence: None,
        seed: 91,
        figure: Figure::Validating,
        bound: NO_MORE,
        prevented: Prevented::No,
        says: "An old report is a report. `lucid score agreement` shows who repeats whom: honest validators hardly ever measure the same twice.",
        world: |side| {
            World::with(|it| {
                it.validators[20].is_bad = true;
                if side != Side::Honest {
                    it.plot = Plot::RepeatOthers;
                }
            })
        },
    },
    Row {
        name: "withhold",
        attack: "a third of the validators withholds its reveals in every other epoch; its pay for validating",
        defence: Some("forfeits cost the pay (they cost nothing)"),
        seed: 10,
        figure: Figure::Validating,
        bound: NOTHING,
        prevented: Prevented::Partly,
        says: "Up to `max_forfeits` of a settlement's duties, 5 % on the public mesh, may fail and cost nothing, so that nobody loses its pay by \
               others' censorship. A third of the power can void some of the committees that it sits on: the seats' figures say how many.",
        world: |side| {
            World::with(|it| {
                it.plot_of_a_third(if side == Side::Honest { Plot::Nothing } else { Plot::Withhold });
                if side == Side::Undefended {
                    it.rules = &ForfeitsCostNothing;
                }
            })
        },
    },
    Row {
        name: "choose-seeds",
        attack: "a third of 96 validators proposes no block that gives it fewer seats at its worker than its power; its seats there",
        defence: Some("one contribution to the beacon for each proposer and height (the best of 16)"),
        seed: 11,
        figure: Figure::Seats,
        bound: Bound::AtMost(1_150_000, "the better of two draws, in a third of all epochs"),
        prevented: Prevented::Partly,
        says: "Who has the turn can pass it on, and loses its pay for validating if it does so more often than `max_forfeits` allows.",
        world: |side| {
            World::with(|it| {
                let place = it.validators[0].place;
                it.validators = (0..96).map(|i| Validator { power: 1, place, is_bad: i % 3 == 0 }).collect();
                it.measures = false;
                it.epochs = 252;
                it.plot = match side {
                    Side::Honest => Plot::Nothing,
                    Side::Attack => Plot::ChooseSeeds,
                    Side::Undefended => Plot::GrindSeeds(16),
                };
                if side == Side::Undefended {
                    it.rules = &AnyContribution;
                }
            })
        },
    },
    Row {
        name: "censor",
        attack: "a third of the validators leaves all others' reports out of its blocks; epochs of workers that are measured",
        defence: Some("windows of five blocks (one)"),
        seed: 12,
        figure: Figure::Measured,
        bound: Bound::AtLeast(
            980_000,
            "all five blocks of one of two windows are theirs in (1/3)^5 of the epochs each",
        ),
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with(|it| {
                it.policy.report_window = if side == Side::Undefended { 1 } else { 5 };
                it.plot_of_a_third(if side == Side::Honest { Plot::Nothing } else { Plot::Censor });
            })
        },
    },
    Row {
        name: "ten-identities",
        attack: "one machine as ten workers in three pools",
        defence: Some("workers at one address share one worker's credits (`one_per_network` off)"),
        seed: 13,
        figure: Figure::Earned,
        bound: Bound::AtMost(
            1_050_000,
            "one worker's credits; three pools pay a little more for parts of it than one for all",
        ),
        prevented: Prevented::Partly,
        says: "Addresses can be rented, and a machine with an IPv4 address and an IPv6 network has two.",
        world: |side| {
            World::with(|it| {
                let identities = if side == Side::Honest { 1 } else { 10 };
                it.pools = 3;
                it.machines = (0..19).map(home).collect();
                let cheats = (0..identities).map(|i| (CHEAT, i % 3));
                let others = (1..19).map(|machine| (machine, machine % 3));
                let of = |(machine, pool)| super::world::Worker { pool, ..worker(machine) };
                it.workers = cheats.chain(others).map(of).collect();
                it.policy.one_per_network = side != Side::Undefended;
            })
        },
    },
    Row {
        name: "answer-two-thirds",
        attack: "a worker answers only the nearest two thirds of the validators",
        defence: Some("what was sent and failed is the worst value (it abstains)"),
        seed: 14,
        figure: Figure::Earned,
        bound: NO_MORE,
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with(|it| {
                it.cheat().answers = if side == Side::Honest { Answers::All } else { Answers::Nearest(14) };
                if side == Side::Undefended {
                    it.rules = &FailureAbstains;
                }
            })
        },
    },
    Row {
        name: "answer-eight",
        attack: "a worker answers only the nearest 8 of 21 validators",
        defence: Some("medians by seats (mean)"),
        seed: 141,
        figure: Figure::Earned,
        bound: NOTHING,
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with(|it| {
                it.cheat().answers = if side == Side::Honest { Answers::All } else { Answers::Nearest(8) };
                if side == Side::Undefended {
                    it.rules = &MeanOfSeats;
                }
            })
        },
    },
    Row {
        name: "expected-probes",
        attack: "a worker is up only for a second before and after each time at which it expects a probe",
        defence: Some("every validator probes at random times of its own (at times that follow from the epoch's seed)"),
        seed: 15,
        figure: Figure::Earned,
        bound: Bound::AtMost(250_000, "the part of the time that it is up, and a twentieth"),
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with(|it| {
                if side != Side::Honest {
                    it.cheat().presence = Presence::AtExpectedProbes;
                }
                it.has_public_schedule = side == Side::Undefended;
            })
        },
    },
    Row {
        name: "rented-link",
        attack: "a worker of 40 Mbit/s rents 400 Mbit/s for one epoch in four, the epochs of echo as it thinks",
        defence: Some("epochs of echo are drawn when they begin (there is time to rent a link then)"),
        seed: 16,
        figure: Figure::Earned,
        bound: Bound::AtMost(
            1_050_000,
            "what its own link earns: three of four guesses are wrong, and so is the next echo's size",
        ),
        prevented: Prevented::Partly,
        says: "Whoever can rent a link within an epoch has it for the epochs of echo alone: the column without the defence.",
        world: |side| {
            World::with(|it| {
                it.policy.echo_every = 4;
                it.epochs = 10 * SETTLE_EVERY;
                it.policy.full_credits /= 4;
                if side != Side::Honest {
                    let has_time = side == Side::Undefended;
                    it.cheat().link = Link::Rented { own: 40_000, rented: 400_000, has_time };
                }
            })
        },
    },
    Row {
        name: "late-join",
        attack: "a worker joins for the last epoch of a settlement",
        defence: Some("uptime is of `min_denominator` epochs at least (of one)"),
        seed: 17,
        figure: Figure::Earned,
        bound: Bound::AtMost(1_000_000 / (2 * SETTLE_EVERY), "one epoch of the two settlements that are counted"),
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with(|it| {
                if side != Side::Honest {
                    it.workers[CHEAT].from = Epoch::new(SETTLE_EVERY * SETTLEMENTS);
                }
                if side == Side::Undefended {
                    it.policy.min_denominator = 1;
                }
            })
        },
    },
    Row {
        name: "late-join-equal",
        attack: "the same in a pool that pays all who earned anything alike",
        defence: None,
        seed: 171,
        figure: Figure::Earned,
        bound: Bound::AtMost(500_000, "one of the two settlements that are counted"),
        prevented: Prevented::No,
        says: "A pool with the split `equal` pays a whole part for one epoch. Its owner should know its members, or choose another split.",
        world: |side| {
            World::with(|it| {
                it.split = SplitRule::Equal;
                if side != Side::Honest {
                    it.workers[CHEAT].from = Epoch::new(SETTLE_EVERY * SETTLEMENTS);
                }
            })
        },
    },
    Row {
        name: "dodge",
        attack: "a worker announces maintenance when an outage of two epochs begins",
        defence: Some("maintenance counts from the second epoch after its command (from the next draw)"),
        seed: 21,
        figure: Figure::Earned,
        bound: Bound::AtMost(1_000_000, "what the same outages cost who announces nothing"),
        prevented: Prevented::Yes,
        says: "An outage that is known two epochs ahead may be announced: that is what maintenance is for.",
        world: |side| {
            World::with(|it| {
                it.cheat().presence = Presence::Outages;
                it.workers[CHEAT].dodges = side != Side::Honest;
                if side == Side::Undefended {
                    it.rules = &MaintenanceAtOnce;
                }
            })
        },
    },
    Row {
        name: "proxies",
        attack: "a worker in Asia answers through rented machines beside the validators, which hold its key",
        defence: None,
        seed: 22,
        figure: Figure::Earned,
        bound: Bound::AtMost(1_200_000, "round trips weigh a tenth of the score"),
        prevented: Prevented::No,
        says: "What answers is what is measured: a worker with machines in many places is a fast worker.",
        world: |side| {
            World::with(|it| {
                it.cheat().place = Place::Asia;
                if side != Side::Honest {
                    it.cheat().answers = Answers::ThroughProxies;
                }
            })
        },
    },
    Row {
        name: "overclaim",
        attack: "a worker declares a hundred times its disk",
        defence: Some("what counts was proved (what is declared counts)"),
        seed: 1,
        figure: Figure::Earned,
        bound: NO_MORE,
        prevented: Prevented::Partly,
        says: "What is declared and not proved lowers its utilisation; what it gains beside is in `double-disk`.",
        world: |side| {
            World::with_disks(|it| {
                if side != Side::Honest {
                    it.cheat().declared = 100 * DISK;
                }
                if side == Side::Undefended {
                    it.rules = &DeclaredCounts;
                }
            })
        },
    },
    Row {
        name: "double-disk",
        attack: "a worker declares twice its disk, which is full of one term's chunks then: those of the next have no room until it begins",
        defence: None,
        seed: 1,
        figure: Figure::StorageCredits,
        bound: Bound::AtMost(2_000_000, "all of the disk in place of half of it"),
        prevented: Prevented::No,
        says: "Half of what is declared is kept for the next term's chunks, and that they find it costs nothing if they do not: only the first \
               epochs of a term, until they are deposited.",
        world: |side| {
            World::with_disks(|it| {
                it.epochs = 10 * SETTLE_EVERY;
                if side != Side::Honest {
                    it.cheat().declared = 2 * DISK;
                }
            })
        },
    },
    Row {
        name: "tiny-disk",
        attack: "a worker declares a quarter of its disk, so that its utilisation is whole without much storage",
        defence: Some("utilisation is of `storage_floor_bytes` at least (of nothing)"),
        seed: 2,
        figure: Figure::Earned,
        bound: Bound::AtMost(950_000, "what it earns that offers all of it"),
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with_disks(|it| {
                if side != Side::Honest {
                    it.cheat().declared = DISK / 4;
                }
                if side == Side::Undefended {
                    it.policy.storage_floor_bytes = 1;
                }
            })
        },
    },
    Row {
        name: "near-friend",
        attack: "a worker without a disk fetches what it is asked for from a friend 15 ms away",
        defence: None,
        seed: 3,
        figure: Figure::StorageCredits,
        bound: NO_MORE,
        prevented: Prevented::No,
        says: "Timely retrieval is proved, not whose the disk is. It is no two for one: each worker's chunks are its own, and the friend's disk \
               holds both.",
        world: |side| {
            World::with_disks(|it| {
                if side != Side::Honest {
                    it.cheat().disk = NEAR_FRIEND;
                }
            })
        },
    },
    Row {
        name: "far-friend",
        attack: "the same from one to whom it takes 2.5 s",
        defence: Some("an answer has two seconds (a minute)"),
        seed: 31,
        figure: Figure::StorageCredits,
        bound: NOTHING,
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with_disks(|it| {
                if side != Side::Honest {
                    it.cheat().disk = FAR_FRIEND;
                }
                it.patience = (side == Side::Undefended).then_some(Duration::from_mins(1));
            })
        },
    },
    Row {
        name: "regenerate",
        attack: "a worker throws chunks away and makes them anew when it is asked",
        defence: Some("chunks follow from a secret of the validator (from what everybody knows)"),
        seed: 4,
        figure: Figure::StorageCredits,
        bound: NOTHING,
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with_disks(|it| {
                it.cheat().disk = match side {
                    Side::Honest => return,
                    Side::Attack => Disk::None,
                    Side::Undefended => Disk::Regenerated { knows: |_| true },
                };
            })
        },
    },
    Row {
        name: "leaked-seeds",
        attack: "a third of the validators gives its seeds to a worker that throws chunks away",
        defence: Some("medians by storage seats (mean)"),
        seed: 5,
        figure: Figure::StorageCredits,
        bound: NOTHING,
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with_disks(|it| {
                if side != Side::Honest {
                    it.cheat().disk = Disk::Regenerated { knows: |validator| validator % 3 == 0 };
                }
                if side == Side::Undefended {
                    it.rules = &MeanOfStorage;
                }
            })
        },
    },
    Row {
        name: "holes",
        attack: "a worker keeps nine tenths of each chunk",
        defence: Some("a challenge is eight ranges, and all must be right (one)"),
        seed: 6,
        figure: Figure::StorageCredits,
        bound: Bound::AtMost(
            400_000,
            "11 of 21 challenges must pass, each with a chance of 0.9^8: 26 % of epochs, and three standard deviations",
        ),
        prevented: Prevented::Partly,
        says: "Who keeps a little less than all is found out in most epochs, not in all of them.",
        world: |side| {
            World::with_disks(|it| {
                it.epochs = 11 * SETTLE_EVERY;
                if side != Side::Honest {
                    it.cheat().disk = Disk::Real { room: 2 * 4 * 21, keeps: 90 };
                }
                if side == Side::Undefended {
                    it.policy.storage_ranges = 1;
                }
            })
        },
    },
];
