//! Attacks of validators, alone and together.

use super::{NO_MORE, NOTHING};
use crate::cheats::rules::{AnyContribution, AnyReveal, ForfeitsCostNothing, MeanOfSeats, PowerCountsTwice};
use crate::cheats::world::{CHEAT, Plot, Presence, Validator, World};
use crate::cheats::{Bound, Figure, Prevented, Row, Side};

/// Medians of a network whose third lies are the honest ones' in another order.
const HONEST_RANGE: Bound =
    Bound::AtMost(1_100_000, "the best that an honest validator measured: round trips weigh a tenth");

pub(super) const ROWS: &[Row] = &[
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
];
