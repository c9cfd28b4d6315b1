use super::*;
use crate::fixtures::{block, leader, node, payout, scores, seen, status};

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
fn a_block_its_leader_and_its_scores() {
    let mut view = view();
    let mut first = block(3);
    first.leaders = vec![leader(1, 4, &[5, 6])];
    let news = News {
        epochs: vec![first],
        scores: Some(scores(2, &[(4, 712_345), (5, 50_000)])),
        attestations: Some(60),
        ..News::default()
    };
    let lines = texts(&mut view, 12, &seen(&[], Some(news.clone())));
    assert!(lines[0].starts_with("epoch 3    decided 12.0 s after start: block 020202020202"), "{}", lines[0]);
    assert!(
        lines[0].ends_with("3 signatures, 4 commits, 4 reveals, 6 workers scored, 60 attestations seen"),
        "{}",
        lines[0]
    );
    assert_eq!(lines[1], "leader     settlement 1 of local: worker-4, then worker-5, worker-6");
    assert_eq!(lines[2], "scores     epoch 2: worker-4 71.23 (4 cr), worker-5 5.00 (4 cr)");
    assert_eq!(lines[3], "scores     not measured yet, so 0: utilisation");
    // What is not measured is told once.
    assert_eq!(texts(&mut view, 17, &seen(&[], Some(news))).len(), 3);
}

#[test]
fn a_payout_from_its_block_to_the_balance() {
    let mut view = view();
    let open = vec![payout(1, 4, PayoutStatus::Scheduled), payout(1, 5, PayoutStatus::Scheduled)];
    let lines = texts(&mut view, 10, &seen(&[], Some(News { payouts: open.clone(), ..News::default() })));
    assert_eq!(lines[0], format!("payout     scheduled: 20.5 USDT to worker-4, transaction {}", "04".repeat(32)));
    assert_eq!(lines.len(), 2);
    assert!(texts(&mut view, 11, &seen(&[], Some(News { payouts: open, ..News::default() }))).is_empty());

    let paid = |worker| payout(1, worker, PayoutStatus::Paid);
    let lines = texts(&mut view, 15, &seen(&[], Some(News { payouts: vec![paid(4)], ..News::default() })));
    assert!(lines[0].ends_with("in TRON block 33") && lines.len() == 1, "{lines:?}");
    let balances = BTreeMap::from([(paid(5).address, MicroUsdt::new(20_500_000))]);
    let news = News { payouts: vec![paid(5)], balances, ..News::default() };
    let lines = texts(&mut view, 18, &seen(&[], Some(news)));
    assert_eq!(lines[1], "paid       settlement 1: all receipts final 8.0 s after its block");
    assert_eq!(lines[2], "USDT       on the chain: worker-5 20.5");
}

#[test]
fn a_new_attempt_is_shown() {
    let mut view = view();
    let news = |payout| News { payouts: vec![payout], ..News::default() };
    texts(&mut view, 1, &seen(&[], Some(news(payout(1, 4, PayoutStatus::Scheduled)))));
    let second = PayoutView { attempt: 2, ..payout(1, 4, PayoutStatus::Scheduled) };
    let lines = texts(&mut view, 2, &seen(&[], Some(news(second))));
    assert!(lines[0].contains("to worker-4 (attempt 2)"), "{lines:?}");
}
