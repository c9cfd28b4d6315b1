//! Attacks on storage.

use std::time::Duration;

use super::{NO_MORE, NOTHING};
use crate::cheats::rules::{DeclaredCounts, MeanOfStorage};
use crate::cheats::world::{DISK, Disk, SETTLE_EVERY, World};
use crate::cheats::{Bound, Figure, Prevented, Row, Side};

/// A friend's machine 15 ms away.
const NEAR_FRIEND: Disk = Disk::AtFriend { round_trip: Duration::from_millis(30) };

/// One to whom it takes longer than the deadline.
const FAR_FRIEND: Disk = Disk::AtFriend { round_trip: Duration::from_millis(2_500) };

pub(super) const ROWS: &[Row] = &[
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
