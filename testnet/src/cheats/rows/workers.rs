//! Attacks of workers.

use lucid_types::pool::SplitRule;

use super::{NO_MORE, NOTHING};
use crate::cheats::rules::{FailureAbstains, MaintenanceAtOnce, MeanOfSeats};
use crate::cheats::world::{Answers, CHEAT, Link, Place, Presence, SETTLE_EVERY, Worker, World, home, worker};
use crate::cheats::{Bound, Figure, Prevented, Row, Side};

pub(super) const ROWS: &[Row] = &[
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
                let of = |(machine, pool)| Worker { pool, ..worker(machine) };
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
                it.cheats(side, |it| it.answers = Answers::Nearest(14));
                it.lacks(side, &FailureAbstains);
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
                it.cheats(side, |it| it.answers = Answers::Nearest(8));
                it.lacks(side, &MeanOfSeats);
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
                it.cheats(side, |it| it.presence = Presence::AtExpectedProbes);
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
                let has_time = side == Side::Undefended;
                it.cheats(side, |it| it.link = Link::Rented { own: 40_000, rented: 400_000, has_time });
            })
        },
    },
    Row {
        name: "late-join",
        attack: "a worker joins for the last epoch of a settlement",
        defence: Some(
            "the pool pays for credits of the settlement's own epochs, times the score (all who earned anything alike)",
        ),
        seed: 17,
        figure: Figure::Earned,
        bound: Bound::AtMost(1_000_000 / (2 * SETTLE_EVERY), "one epoch of the two settlements that are counted"),
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with(|it| {
                it.joins_late(side);
                if side == Side::Undefended {
                    it.split = SplitRule::Equal;
                }
            })
        },
    },
    Row {
        name: "late-join-equal",
        attack: "the same in a pool that pays all who earned anything alike; for each epoch in which it was measured",
        defence: None,
        seed: 171,
        figure: Figure::EarnedAnEpoch,
        bound: Bound::AtMost(12_000_000, "one epoch is paid as twelve are: that is what the split says"),
        prevented: Prevented::No,
        says: "A pool with the split `equal` pays a whole part for one epoch, whatever was measured. Its owner should know its members, or choose \
               another split.",
        world: |side| {
            World::with(|it| {
                it.split = SplitRule::Equal;
                it.joins_late(side);
            })
        },
    },
    Row {
        name: "late-join-to-lead",
        attack: "the same, to lead the pool when the settlement ends; settlements at whose end it is eligible",
        defence: Some("uptime is of `min_denominator` epochs at least (of one)"),
        seed: 172,
        figure: Figure::Eligible,
        bound: NOTHING,
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with(|it| {
                it.joins_late(side);
                if side == Side::Undefended {
                    it.policy.min_denominator = 1;
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
                it.lacks(side, &MaintenanceAtOnce);
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
                it.cheats(side, |it| it.answers = Answers::ThroughProxies);
            })
        },
    },
];
