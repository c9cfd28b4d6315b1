//! Attacks on storage.

use std::time::Duration;

use super::{NO_MORE, NOTHING};
use crate::cheats::rules::{DeclaredCounts, MeanOfStorage, MedianOfStorage};
use crate::cheats::world::{DISK, Disk, SETTLE_EVERY, World};
use crate::cheats::{Bound, Figure, Prevented, Row, Side};

/// A friend's machine 15 ms away.
const NEAR_FRIEND: Disk = Disk::AtFriend { round_trip: Duration::from_millis(30) };

/// One to whom it takes longer than the deadline.
const FAR_FRIEND: Disk = Disk::AtFriend { round_trip: Duration::from_millis(2_500) };

/// Half of the disk for each term, whatever is declared.
fn overclaim(side: Side) -> World {
    World::with_disks(|it| {
        if side != Side::Honest {
            it.cheat().declared = 100 * DISK;
            it.cheat().disk = Disk::Real { room: 2 * 4 * 21, of_each: 4, keeps: 100 };
        }
        if side == Side::Undefended {
            it.rules = &DeclaredCounts;
        }
    })
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "overclaim",
        attack: "a worker declares a hundred times its disk, and takes as many chunks of each validator for each term as it has room for",
        defence: Some("what counts was proved (what is declared counts)"),
        seed: 1,
        figure: Figure::Earned,
        bound: Bound::AtMost(
            900_000,
            "the same credits, and a twentieth of the utilisation, which weighs 15 % of the score",
        ),
        prevented: Prevented::Yes,
        says: "What is declared and not proved lowers its utilisation and earns nothing, as `overclaim-credits` shows; what one term's chunks in the room of \
               two gain is in `double-disk`.",
        world: overclaim,
    },
    Row {
        name: "overclaim-credits",
        attack: "the same; its credits for storage",
        defence: Some("what counts was proved (what is declared counts)"),
        seed: 1,
        figure: Figure::StorageCredits,
        bound: NO_MORE,
        prevented: Prevented::Yes,
        says: "",
        world: overclaim,
    },
    Row {
        name: "double-disk",
        attack: "a worker declares twice its disk, which is full of one term's chunks then: those of the next have no room until it begins",
        defence: Some("what a worker did not take before a term is not deposited in it, but for an eighth (it is)"),
        seed: 1,
        figure: Figure::StorageCredits,
        bound: Bound::AtMost(
            1_150_000,
            "two terms together have all of the disk and an eighth of it, in place of half of it each: 112.5 %, and what the end of a term leaves",
        ),
        prevented: Prevented::Partly,
        says: "Every other term's chunks find no room. Not stopped is who declares less in the settlement in which the next term's chunks are deposited, \
               and more in that term: it loses the difference for one settlement of each term. Nor is who takes a chunk or more in most of the epochs in \
               which it is offered any, as a slow machine does: it needs the room for these. A validator that was restarted does not know what was refused.",
        world: |side| {
            World::with_disks(|it| {
                it.epochs = 9 * SETTLE_EVERY;
                it.policy.storage_term = 2;
                if side != Side::Honest {
                    it.cheat().declared = 2 * DISK;
                }
                it.again_part = (side == Side::Undefended).then_some(1);
            })
        },
    },
    Row {
        name: "half-the-seats",
        attack: "a worker keeps the chunks of 11 of 21 storage seats and throws the others away",
        defence: Some("chunks of all seats are what they found, up to the median (the median counts for all)"),
        seed: 32,
        figure: Figure::StorageCredits,
        bound: Bound::AtMost(524_000, "the part that it keeps: 11 of 21"),
        prevented: Prevented::Yes,
        says: "",
        world: |side| {
            World::with_disks(|it| {
                if side != Side::Honest {
                    it.cheat().disk = Disk::Of { keeps: |validator| validator < 11 };
                }
                if side == Side::Undefended {
                    it.rules = &MedianOfStorage;
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
                if side != Side::Honest {
                    it.cheat().disk = Disk::Regenerated { knows: |_| false };
                }
                it.has_public_secrets = side == Side::Undefended;
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
            220_000,
            "11 of 21 challenges must pass, each with a chance of 0.9^8, and those that pass are paid: 14.7 %, and three standard deviations",
        ),
        prevented: Prevented::Partly,
        says: "Who keeps a little less than all is found out in most epochs, not in all of them.",
        world: |side| {
            World::with_disks(|it| {
                it.epochs = 11 * SETTLE_EVERY;
                if side != Side::Honest {
                    it.cheat().disk = Disk::Real { room: 2 * 4 * 21, of_each: u32::MAX, keeps: 90 };
                }
                if side == Side::Undefended {
                    it.policy.storage_ranges = 1;
                }
            })
        },
    },
];
