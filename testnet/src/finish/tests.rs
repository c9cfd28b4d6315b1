use lucid_node::api::model::PayoutStatus;

use super::*;
use crate::fixtures::{node, payout, seen};
use crate::watch::News;

fn paid(settlement: u64) -> PayoutView {
    payout(settlement, 7, PayoutStatus::Paid)
}

/// Two nodes, epoch 6, two settlements.
fn finish() -> Finish {
    Finish::new(vec!["validator-1".into(), "worker-1".into()], 6, 2, vec![(node(7), "worker-1".into())])
}

fn news(payouts: Vec<PayoutView>) -> Option<News> {
    Some(News { epoch: 6, payouts, ..News::default() })
}

fn with(heights: [Option<u64>; 2], payouts: Vec<PayoutView>) -> Finish {
    let mut finish = finish();
    finish.update(&seen(&heights, news(payouts)));
    finish
}

const NONE_DOWN: fn(&str) -> bool = |_| false;

#[test]
fn over_when_every_node_has_the_block_and_every_payout_is_paid() {
    assert_eq!(with([Some(6), Some(7)], vec![paid(1), paid(2)]).missing(NONE_DOWN), Vec::<String>::new());
}

#[test]
fn each_missing_thing_is_named() {
    let fresh = finish().missing(NONE_DOWN);
    assert_eq!(fresh, ["validator-1 does not answer", "worker-1 does not answer"]);
    let behind = with([Some(6), Some(5)], vec![paid(1), paid(2)]).missing(NONE_DOWN);
    assert_eq!(behind, ["worker-1 has final scores up to epoch 5 of 6"]);
    let open = with([Some(6), Some(6)], vec![paid(1), payout(2, 7, PayoutStatus::Posted)]).missing(NONE_DOWN);
    assert!(open[0].ends_with("of 20.5 USDT for settlement 2 is posted") && open.len() == 1, "{open:?}");
}

#[test]
fn a_settlement_may_carry_its_budget_but_not_all_of_them() {
    let one = with([Some(6), Some(6)], vec![paid(1)]);
    assert!(one.missing(NONE_DOWN).is_empty() && one.unproven().is_empty());
    let none = with([Some(6), Some(6)], vec![]);
    assert_eq!(none.unproven(), ["none of the 2 settlements that were due has a payout"]);
    assert!(Finish::new(vec![], 2, 0, vec![]).unproven().is_empty());
    let other = with([Some(6), Some(6)], vec![payout(1, 8, PayoutStatus::Paid)]);
    assert_eq!(other.unproven(), ["worker-1, which joined late, has no payout"]);
}

#[test]
fn payouts_are_asked_for_only_once_all_of_them_are_due() {
    let early = with([Some(2), Some(2)], vec![]).missing(NONE_DOWN);
    assert_eq!(
        early,
        ["validator-1 has final scores up to epoch 2 of 6", "worker-1 has final scores up to epoch 2 of 6"]
    );
}

#[test]
fn a_ledger_that_was_not_read_up_to_the_end_is_no_end() {
    let mut finish = finish();
    finish.update(&seen(&[Some(5), Some(5)], Some(News { epoch: 5, payouts: vec![paid(1)], ..News::default() })));
    finish.update(&seen(&[Some(6), Some(6)], None));
    assert_eq!(finish.missing(NONE_DOWN), ["the payouts up to epoch 6 were not read"]);
    finish.update(&seen(&[Some(6), Some(6)], news(vec![paid(2)])));
    assert!(finish.missing(NONE_DOWN).is_empty());
}

#[test]
fn a_node_that_is_down_is_not_waited_for_but_somebody_must_run() {
    let finish = with([Some(6), None], vec![paid(1), paid(2)]);
    assert!(finish.missing(|name| name == "worker-1").is_empty());
    assert_eq!(finish.missing(NONE_DOWN), ["worker-1 does not answer"]);
    assert_eq!(with([None, None], vec![]).missing(|_| true), ["no node runs"]);
}

#[test]
fn a_payout_that_becomes_paid_counts() {
    let mut finish = with([Some(6), Some(6)], vec![paid(1), payout(2, 7, PayoutStatus::Sent)]);
    assert_eq!(finish.missing(NONE_DOWN).len(), 1);
    finish.update(&seen(&[Some(8), Some(8)], Some(News { epoch: 8, payouts: vec![paid(2)], ..News::default() })));
    assert!(finish.missing(NONE_DOWN).is_empty());
}
