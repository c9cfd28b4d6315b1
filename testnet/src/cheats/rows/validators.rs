//! Attacks of validators, alone and together.

use lucid_types::amount::Ppm;

use super::{NO_MORE, NOTHING};
use crate::cheats::rules::{AnyContribution, AnyReveal, ForfeitsCostNothing, MeanOfSeats, PowerCountsTwice};
use crate::cheats::world::{CHEAT, Plot, Presence, SETTLE_EVERY, World};
use crate::cheats::{Bound, Figure, Prevented, Row, Side};

/// Medians of a network whose third lies are the honest ones' in another order.
const HONEST_RANGE: Bound = Bound::AtMost(
    1_100_000,
    "the best that honest validators measured: 18 ms, not 92 ms, and 40 Mbit/s, not 25, are 5 points of a score of 50",
);

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
                it.a_third_plots(side, Plot::Praise);
                it.lacks(side, &MeanOfSeats);
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
                it.a_third_plots(side, Plot::Praise);
                it.lacks(side, &MeanOfSeats);
            })
        },
    },
    Row {
        name: "praise-half-gain",
        attack: "the same, beside the same machine without the lies",
        defence: Some("medians by seats (mean)"),
        seed: 71,
        figure: Figure::Earned,
        bound: Bound::AtMost(
            1_954_000,
            "what an equal machine earns that is always up: the honest figure of the row above",
        ),
        prevented: Prevented::Partly,
        says: "A third of the seats can add more than half to what an unreliable machine earns. It never brings it to what a reliable one earns.",
        world: |side| {
            World::with(|it| {
                it.cheat().presence = Presence::HalfOfTheTime;
                it.a_third_plots(side, Plot::Praise);
                it.lacks(side, &MeanOfSeats);
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
                it.a_third_plots(side, Plot::Smear);
                it.lacks(side, &MeanOfSeats);
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
        prevented: Prevented::Partly,
        says: "They hold a third of the seats, and no more weight: what a third can do, they can, as in `praise`.",
        world: |side| {
            World::with(|it| {
                it.cheat().presence = Presence::EveryOtherEpoch;
                // Seven in Europe and six on the other continents, whose last are the strong ones.
                it.validators.remove(20);
                it.validators.remove(13);
                for (i, validator) in it.validators.iter_mut().enumerate() {
                    validator.is_bad = [12, 18].contains(&i);
                    validator.power = if validator.is_bad { 16 } else { 4 };
                }
                it.plots(side, Plot::Praise);
                it.lacks(side, &PowerCountsTwice);
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
                it.one_plots(side, Plot::Exaggerate);
                it.lacks(side, &MeanOfSeats);
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
                it.a_third_plots(side, Plot::Praise);
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
                it.one_plots(side, Plot::CopyOthers);
                it.lacks(side, &AnyReveal);
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
                it.one_plots(side, Plot::RepeatOthers);
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
        says: "What is not revealed is not paid anyway: half of the reveals of a third of the validators are 20 % of all that remain, or 60 % of \
               their pay; the defence takes the rest. It brings them nothing here: 14 of 21 validators with a seat each are a quorum.",
        world: |side| {
            World::with(|it| {
                it.a_third_plots(side, Plot::Withhold);
                it.lacks(side, &ForfeitsCostNothing);
            })
        },
    },
    Row {
        name: "withhold-for-nothing",
        attack: "a third of 96 validators withholds as many reveals as cost it nothing; epochs of workers that are measured",
        defence: Some("more than `max_forfeits` of its duties cost a validator its pay (they cost nothing)"),
        seed: 101,
        figure: Figure::Measured,
        bound: Bound::AtLeast(
            916_666,
            "`max_forfeits` is 10 % here, which one of twelve epochs does not exceed: at worst nobody is measured in it",
        ),
        prevented: Prevented::Partly,
        says: "Up to `max_forfeits` of a settlement's duties, 5 % on the public mesh or 36 reports of 720, may fail and cost nothing but the pay for \
               them, so that nobody loses all of it by others' censorship. Whoever does not mind the loss has the column without the defence: \
               in two of five epochs a third of 96 validators holds eight of a worker's 21 seats or more, and the others make no quorum.",
        world: |side| {
            World::with_96_validators(|it| {
                it.policy.max_forfeits = Ppm::new(100_000);
                it.a_third_plots(side, Plot::WithholdForNothing);
                it.lacks(side, &ForfeitsCostNothing);
            })
        },
    },
    Row {
        name: "leave-out",
        attack: "a third of 96 validators reports all workers but a rival, as if it had not measured that; the figure is the rival's",
        defence: None,
        seed: 102,
        figure: Figure::Earned,
        bound: Bound::AtLeast(
            394_000,
            "39 % of its epochs are void, 58 % with four standard deviations of 108, and its score lacks the same part of its credits",
        ),
        prevented: Prevented::No,
        says: "What was not sent abstains, and nobody can tell whether a validator could have sent it: it is no forfeit, and costs no more than the \
               pay for that worker. `lucid score agreement` compares what was measured, not what is missing. Uptime does not suffer.",
        world: |side| {
            World::with_96_validators(|it| {
                it.epochs = 10 * SETTLE_EVERY;
                it.a_third_plots(side, Plot::LeaveOut);
            })
        },
    },
    Row {
        name: "choose-seeds",
        attack: "a third of 96 validators makes the contribution to the beacon that gives it most seats at its worker, and passes its turn on if \
                 they are fewer than its share; its seats there",
        defence: Some("one contribution for each proposer and height (any of 16)"),
        seed: 11,
        figure: Figure::Seats,
        bound: Bound::AtMost(
            1_091_000,
            "104.1 % by passing on what is below the average; four standard deviations of 1,008 draws in each simulation are 5.0 %",
        ),
        prevented: Prevented::Partly,
        says: "Of 96 validators each has about eight turns at the ends of epochs in a settlement of 720, and passes three of them on: of more than \
               720 duties that is far below `max_forfeits`, and costs nothing.",
        world: |side| {
            World::with_96_validators(|it| {
                it.of_one_worker();
                it.measures = false;
                it.epochs = 85 * SETTLE_EVERY;
                it.a_third_plots(side, Plot::ChooseSeeds);
                it.lacks(side, &AnyContribution);
            })
        },
    },
    Row {
        name: "censor",
        attack: "a third of the validators leaves all others' reports out of its blocks; epochs of a worker that are measured",
        defence: Some("windows of five blocks (one)"),
        seed: 12,
        figure: Figure::Measured,
        bound: Bound::AtLeast(
            958_000,
            "all five blocks of one of two windows are theirs in 2 * (1/3)^5 = 0.8 % of the epochs; four standard deviations of 120 are 3.3 %",
        ),
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with(|it| {
                it.of_one_worker();
                it.epochs = 11 * SETTLE_EVERY;
                it.policy.report_window = if side == Side::Undefended { 1 } else { 5 };
                it.a_third_plots(side, Plot::Censor);
            })
        },
    },
];
