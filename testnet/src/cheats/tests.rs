//! Every row of the table, once.

mod bounds;

use std::collections::BTreeMap;
use std::sync::{LazyLock, OnceLock};

use super::command::cheats;
use super::*;
use crate::cheats::command::CheatsOptions;
use crate::cheats::table::{markdown, replaced};

static FOUND: LazyLock<BTreeMap<&str, (&Row, OnceLock<Found>)>> =
    LazyLock::new(|| rows().map(|row| (row.name, (row, OnceLock::new()))).collect());

/// What a row came to, which is simulated once for all tests.
fn found(name: &str) -> &'static Found {
    let (row, found) = &FOUND[name];
    found.get_or_init(|| row.run())
}

/// A test for each row: it stays within its bound, without its defence it does not come to the same, and its attack does something.
macro_rules! rows {
    ($($test:ident: $name:literal,)*) => {
        $(#[test]
        fn $test() {
            let found = found($name);
            assert!(found.holds, "{found:?}");
            assert!(found.changes, "without its defence it is the same: {found:?}");
            assert!(found.acted, "no attack: {found:?}");
        })*

        #[test]
        fn every_row_has_a_test() {
            assert!(rows().map(|row| row.name).eq([$($name),*]));
        }
    };
}

rows! {
    praise: "praise",
    praise_half: "praise-half",
    praise_half_gain: "praise-half-gain",
    smear: "smear",
    two_of_16_percent: "two-of-16-percent",
    exaggerate: "exaggerate",
    own_worker: "own-worker",
    copy: "copy",
    repeat: "repeat",
    withhold: "withhold",
    withhold_for_nothing: "withhold-for-nothing",
    leave_out: "leave-out",
    choose_seeds: "choose-seeds",
    censor: "censor",
    ten_identities: "ten-identities",
    answer_two_thirds: "answer-two-thirds",
    answer_eight: "answer-eight",
    expected_probes: "expected-probes",
    rented_link: "rented-link",
    late_join: "late-join",
    late_join_equal: "late-join-equal",
    late_join_to_lead: "late-join-to-lead",
    dodge: "dodge",
    proxies: "proxies",
    overclaim: "overclaim",
    overclaim_credits: "overclaim-credits",
    double_disk: "double-disk",
    half_the_seats: "half-the-seats",
    tiny_disk: "tiny-disk",
    near_friend: "near-friend",
    far_friend: "far-friend",
    regenerate: "regenerate",
    leaked_seeds: "leaked-seeds",
    holes: "holes",
}

/// What does not pay is not called prevented where it pays, and the other way round.
#[test]
fn what_is_not_prevented_is_said() {
    for row in rows() {
        let found = found(row.name);
        let pays = if found.is_harm { found.ratio_ppm < 970_000 } else { found.ratio_ppm > 1_030_000 };
        assert!(!pays || row.prevented != Prevented::Yes, "{found:?}");
        assert!(row.prevented == Prevented::Yes || !row.says.is_empty(), "{}", row.name);
        assert_eq!(row.defence.is_none(), row.prevented == Prevented::No, "{}", row.name);
    }
}

/// What does not lower a validator's pay can be seen at least.
#[test]
fn a_validator_that_repeats_others_is_shown() {
    assert!(found("repeat").repeated_ppm > 900_000, "{:?}", found("repeat"));
    assert!(found("exaggerate").repeated_ppm < 100_000, "{:?}", found("exaggerate"));
}

#[test]
fn the_same_seed_gives_the_same_row() {
    let row = FOUND["smear"].0;
    assert_eq!(row.run(), *found("smear"));
}

/// The book's page holds the table of this tree: `lucid-testnet cheats --page docs/src/cheating.md --write`.
#[test]
fn the_table_is_that_of_the_book() {
    let page = include_str!("../../../docs/src/cheating.md");
    let all: Vec<_> = rows().map(|row| found(row.name).clone()).collect();
    assert_eq!(replaced(page, &markdown(&all)).as_deref(), Some(page));
}

#[test]
fn a_row_that_there_is_not_is_an_error() {
    let only = Some("perpetual-motion".to_owned());
    let error = cheats(&CheatsOptions { only, jobs: 1, json: false, page: None, write: false }).err();
    assert!(error.is_some_and(|it| it.to_string().contains("praise-half")));
}
