use lucid_types::id::TxId;

use super::*;
use crate::fixtures::{epoch, leader, node, payout, scores, seen, status};

fn view() -> View {
    let names = (1..=9).map(|i| (node(i), format!("worker-{i}"))).collect();
    View::new(names, "local")
}

fn texts(view: &mut View, seconds: u64, snapshot: &Snapshot) -> Vec<String> {
    view.lines(Duration::from_secs(seconds), snapshot).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn peers_are_shown_when_they_change() {
    let mut view = view();
    let mut snapshot = seen(&[Some(0), Some(0)], None);
    assert_eq!(texts(&mut view, 1, &snapshot), ["peers      2 nodes, each connected to 9"]);
    assert!(texts(&mut view, 2, &snapshot).is_empty());
    snapshot.nodes[0] = Some(status(0, 4));
    assert_eq!(texts(&mut view, 3, &snapshot), ["peers      2 nodes, connected to 4 to 9"]);
    assert!(texts(&mut view, 4, &seen(&[None, None], None)).is_empty());
}

#[test]
fn an_epoch_its_leader_and_its_scores() {
    let mut view = view();
    let news = News {
        epochs: vec![epoch(3, vec![leader(1, 4, &[5, 6])])],
        scores: Some(scores(2, &[(4, 712_345), (5, 50_000)])),
        attestations: Some(60),
        ..News::default()
    };
    let lines = texts(&mut view, 12, &seen(&[], Some(news.clone())));
    assert!(
        lines[0].starts_with("epoch 3    final 12.0 s after start, 0.8 s after its end: block 9 020202020202"),
        "{}",
        lines[0]
    );
    assert!(lines[0].ends_with("3 signatures, 6 workers scored, 60 attestations seen"), "{}", lines[0]);
    assert_eq!(lines[1], "leader     settlement 1 of local: worker-4, then worker-5, worker-6");
    assert_eq!(lines[2], "scores     epoch 2: worker-4 71.23 (4 cr), worker-5 5.00 (4 cr)");
    assert_eq!(lines[3], "scores     not measured yet, so 0: utilisation");
    // What is not measured is told once.
    assert_eq!(texts(&mut view, 17, &seen(&[], Some(news))).len(), 3);
}

#[test]
fn what_keeps_a_leader_from_paying() {
    let alerts = vec![(node(4), "send it TRX".to_owned())];
    let news = News { alerts, ..News::default() };
    let lines = view().lines(Duration::ZERO, &seen(&[], Some(news)));
    assert_eq!(lines, [(Mark::Warning, "alert      worker-4: send it TRX".to_owned())]);
}

fn news(payouts: Vec<PayoutView>) -> Snapshot {
    seen(&[], Some(News { payouts, ..News::default() }))
}

#[test]
fn a_settlement_from_its_block_to_the_balances() {
    let mut view = view();
    let both = |status| news(vec![payout(1, 4, status), payout(1, 5, status)]);
    assert_eq!(texts(&mut view, 10, &both(PayoutStatus::Owed)), ["payouts    settlement 1: 41 USDT for 2"]);
    assert!(texts(&mut view, 11, &both(PayoutStatus::Owed)).is_empty());
    assert_eq!(texts(&mut view, 12, &both(PayoutStatus::Signed)), ["payouts    settlement 1: the root is signed"]);
    assert_eq!(texts(&mut view, 13, &both(PayoutStatus::Posted)), ["payouts    settlement 1: the root is posted"]);
    // Only what all of them have reached is shown.
    assert!(texts(&mut view, 14, &news(vec![payout(1, 4, PayoutStatus::Sent)])).is_empty());
    let lines = texts(&mut view, 15, &both(PayoutStatus::Sent));
    let ids = ["04".repeat(32), "05".repeat(32)].join(", ");
    assert_eq!(lines, [format!("payouts    settlement 1: pushed by transactions {ids}")]);
    let first = format!("transfer   first transfer included 16.0 s after start: transaction {}", "04".repeat(32));
    assert_eq!(texts(&mut view, 16, &both(PayoutStatus::Included)), [first]);
    assert!(texts(&mut view, 17, &both(PayoutStatus::Included)).is_empty());

    let paid = |worker| payout(1, worker, PayoutStatus::Paid);
    let balances = BTreeMap::from([(paid(5).address, MicroUsdt::new(20_500_000))]);
    let last = News { payouts: vec![paid(4), paid(5)], balances, ..News::default() };
    let lines = texts(&mut view, 18, &seen(&[], Some(last)));
    let line = format!("paid       settlement 1: 41 USDT to 2 by transactions {ids}, solidified 8.0 s after its block");
    assert_eq!(lines, [line, "USDT       on the chain: worker-5 20.5".to_owned()]);
}

#[test]
fn a_batch_is_named_once_and_many_are_counted() {
    let batch = |worker, tx: u8| PayoutView {
        tx_id: Some(TxId::from_bytes([tx; 32])),
        ..payout(1, worker, PayoutStatus::Sent)
    };
    let lines = texts(&mut view(), 1, &news(vec![batch(4, 7), batch(5, 7)]));
    assert!(lines[1].ends_with(&format!("pushed by transaction {}", "07".repeat(32))), "{lines:?}");
    let lines = texts(&mut view(), 1, &news((1..=5).map(|i| batch(i, i)).collect()));
    assert!(lines[1].ends_with(&format!("{} and 2 more", "03".repeat(32))), "{lines:?}");
}

#[test]
fn stages_that_were_not_seen_are_left_out() {
    let mut view = view();
    texts(&mut view, 1, &news(vec![payout(1, 4, PayoutStatus::Owed)]));
    let lines = texts(&mut view, 3, &news(vec![payout(1, 4, PayoutStatus::Paid)]));
    assert!(lines[0].starts_with("paid       settlement 1: 20.5 USDT to 1"), "{lines:?}");
    assert!(lines.len() == 2 && lines[1].starts_with("transfer   first transfer included 3.0 s"), "{lines:?}");
    // A node that has not read the chain so far takes nothing back.
    for status in [PayoutStatus::Posted, PayoutStatus::VaultPaused, PayoutStatus::Paid] {
        assert!(texts(&mut view, 4, &news(vec![payout(1, 4, status)])).is_empty(), "{status}");
    }
    let lines = texts(&mut view, 5, &news(vec![payout(2, 4, PayoutStatus::Included)]));
    assert!(lines[1].starts_with("payouts    settlement 2: pushed by transaction 04"), "{lines:?}");
}

#[test]
fn what_holds_payouts_up_is_a_warning() {
    let mut view = view();
    let paused = payout(1, 4, PayoutStatus::VaultPaused);
    let lines = view.lines(Duration::ZERO, &news(vec![paused, payout(1, 5, PayoutStatus::Posted)]));
    let text = "payouts    settlement 1 waits: 1 vault-paused".to_owned();
    assert_eq!(lines.last(), Some(&(Mark::Warning, text)));
    let lines = texts(&mut view, 2, &news(vec![payout(1, 4, PayoutStatus::Posted)]));
    assert_eq!(lines, ["payouts    settlement 1: the root is posted"]);
}
