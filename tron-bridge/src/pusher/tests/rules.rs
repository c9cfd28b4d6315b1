//! The rules, each in a world that breaks one thing.

use lucid_types::amount::Sun;
use lucid_types::payout::CosignReply;
use lucid_types::payout_tree::{OwedAccount, PayoutRoot};

use super::super::*;
use super::model::{TOKEN, Vault, address, usdt};
use super::world::{
    DOMAIN, Faults, LAG, Node, START, THRESHOLD, World, account, config, gas_address, leaf, node_id, run, signers,
};
use crate::client::{Answer, BroadcastOutcome};
use crate::trc20::TokenFlags;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;

/// Leaves that are all due, with 1,500 each.
fn due(n: u64) -> Vec<OwedAccount> {
    (0..n).map(|n| leaf(n, 1_500)).collect()
}

/// A world with one issued root, and nodes of these ranks that know of it.
fn world(leaves: &[OwedAccount], ranks: &[Option<u32>]) -> (World, Vec<Node>) {
    let mut world = World::new(1);
    world.issue(1, leaves, 0);
    let mut nodes = nodes(&world, ranks);
    assign(&mut world, &mut nodes);
    (world, nodes)
}

fn nodes(world: &World, ranks: &[Option<u32>]) -> Vec<Node> {
    let start = |(n, rank): (u8, &Option<u32>)| Node::start(world, config(n), n, *rank);
    (0..).zip(ranks).map(start).collect()
}

fn assign(world: &mut World, nodes: &mut [Node]) {
    for node in nodes {
        node.assign(world);
    }
}

fn alone(leaves: &[OwedAccount]) -> (World, Vec<Node>) {
    world(leaves, &[Some(0)])
}

/// A leader in a world to which something happens before it learns of the root.
fn alone_after(leaves: &[OwedAccount], happens: impl FnOnce(&mut World)) -> (World, Vec<Node>) {
    let mut world = World::new(1);
    world.issue(1, leaves, 0);
    happens(&mut world);
    let mut nodes = nodes(&world, &[Some(0)]);
    assign(&mut world, &mut nodes);
    (world, nodes)
}

fn run_for(world: &mut World, nodes: &mut [Node], ms: u64) {
    let until = world.now + ms;
    run(world, nodes, until, |_, _| false);
}

/// Runs until everything due is paid on the solid view; seconds that it took.
fn run_until_paid(world: &mut World, nodes: &mut [Node]) -> u64 {
    let from = world.now;
    run(world, nodes, from + 24 * 60 * MINUTE, |world, _| world.open().is_empty());
    assert!(world.open().is_empty(), "{:?}", nodes.iter().map(|n| n.pusher.alerts()).collect::<Vec<_>>());
    (world.now - from) / SECOND
}

fn has_alert(node: &Node, is_it: impl Fn(&Alert) -> bool) -> bool {
    node.pusher.alerts().iter().any(is_it)
}

fn n_effects(world: &World, words: &str) -> usize {
    world.trace.iter().filter(|line| line.contains(words)).count()
}

fn statuses(node: &Node) -> Vec<&TransactionStatus> {
    let mut found = Vec::new();
    for report in &node.disk.reports {
        if let Report::Transaction { status, .. } = report {
            found.push(status);
        }
    }
    found
}

#[test]
fn a_leader_posts_and_pays_and_comes_to_rest() {
    let (mut world, mut nodes) = alone(&due(10));
    let seconds = run_until_paid(&mut world, &mut nodes);
    assert!(seconds < 60, "{seconds}");
    run_for(&mut world, &mut nodes, MINUTE);
    let node = &nodes[0];
    assert_eq!(world.outcomes(gas_address(0)), vec![Outcome::Success; 4], "a root, and batches of 4, 4 and 2");
    assert_eq!((node.pusher.phase(), node.pusher.next_wake(), node.pusher.alerts()), (Phase::Idle, None, &[][..]));
    assert!(node.disk.stored.is_empty());
    assert_eq!(node.disk.spent.len(), 4);
    let reports = &node.disk.reports;
    assert!(matches!(reports[0], Report::Signatures { have: 1, needed: 2, .. }), "{:?}", reports[0]);
    assert!(reports.contains(&Report::Posted { settlement: 1 }));
    assert_eq!(reports.last(), Some(&Report::Finished { settlement: 1 }));
    let of_kind = |kind: fn(&TransactionStatus) -> bool| statuses(node).into_iter().filter(|s| kind(s)).count();
    assert_eq!(of_kind(|status| matches!(status, TransactionStatus::Sent)), 4);
    assert_eq!(of_kind(|status| matches!(status, TransactionStatus::Included { .. })), 4);
    assert_eq!(of_kind(|status| matches!(status, TransactionStatus::Solid { .. })), 4);
    // Nothing happens until the next root.
    let n = node.n_effects;
    run_for(&mut world, &mut nodes, 10 * MINUTE);
    assert_eq!(nodes[0].n_effects, n);
    world.issue(2, &due(12), 0);
    assign(&mut world, &mut nodes);
    run_until_paid(&mut world, &mut nodes);
    assert_eq!(world.outcomes(gas_address(0)), vec![Outcome::Success; 6]);
}

#[test]
fn only_what_is_due_is_paid() {
    // 999: below the threshold. Between them, batches break.
    let leaves: Vec<_> = [1_500, 999, 2_000, 1_000, 999].iter().zip(0..).map(|(owed, n)| leaf(n, *owed)).collect();
    let (mut world, mut nodes) = alone(&leaves);
    run_until_paid(&mut world, &mut nodes);
    run_for(&mut world, &mut nodes, MINUTE);
    let paid: Vec<_> = (0..5).map(|n| world.head().paid(&account(n)).get()).collect();
    assert_eq!(paid, [1_500, 0, 2_000, 1_000, 0]);
    assert_eq!(world.outcomes(gas_address(0)).len(), 3, "a root and two batches");
    // 2,400 of 2,000: the multiple was paid for. 999 and 999: now it is crossed.
    let leaves: Vec<_> = [1_500, 1_998, 2_400, 1_000, 999].iter().zip(0..).map(|(owed, n)| leaf(n, *owed)).collect();
    world.issue(2, &leaves, 0);
    assign(&mut world, &mut nodes);
    run_until_paid(&mut world, &mut nodes);
    run_for(&mut world, &mut nodes, MINUTE);
    let paid: Vec<_> = (0..5).map(|n| world.head().paid(&account(n)).get()).collect();
    assert_eq!(paid, [1_500, 1_998, 2_000, 1_000, 0]);
    assert_eq!(nodes[0].pusher.phase(), Phase::Idle);
}

#[test]
fn what_was_requested_is_paid_whatever_the_threshold_has_become() {
    let (mut world, mut nodes) = alone(&[leaf(0, 1_500), leaf(1, 999)]);
    nodes[0].pusher.follow_policy(usdt(1_000_000), Duration::from_secs(20));
    run_until_paid(&mut world, &mut nodes);
    nodes[0].pusher.follow_policy(usdt(1), Duration::from_secs(20));
    run_for(&mut world, &mut nodes, MINUTE);
    let paid: Vec<_> = (0..2).map(|n| world.head().paid(&account(n)).get()).collect();
    assert_eq!(paid, [1_500, 0], "the other was not requested");
}

#[test]
fn a_successor_waits_its_turn_and_stays_quiet_while_the_leader_gets_on() {
    let (mut world, mut nodes) = world(&due(30), &[Some(0), Some(1), None]);
    run_until_paid(&mut world, &mut nodes);
    run_for(&mut world, &mut nodes, 10 * MINUTE);
    assert_eq!(world.outcomes(gas_address(1)), []);
    assert_eq!(world.outcomes(gas_address(2)), []);
    assert!(nodes.iter().all(|node| node.pusher.phase() == Phase::Idle && node.pusher.next_wake().is_none()));
}

#[test]
fn without_a_leader_the_next_in_line_begins_when_its_turn_comes() {
    for (rank, wait) in [(Some(1), 20), (Some(2), 40), (None, 20 * 3)] {
        let (mut world, mut nodes) = world(&due(3), &[rank]);
        run_for(&mut world, &mut nodes, wait * SECOND - 100);
        assert_eq!(n_effects(&world, "RequestSignature"), 0, "{rank:?}");
        assert!(matches!(nodes[0].pusher.phase(), Phase::Waiting { .. }));
        run_until_paid(&mut world, &mut nodes);
        if rank.is_some() {
            assert!(world.now - START < (wait + 60) * SECOND, "{rank:?}");
        }
    }
}

#[test]
fn a_successor_goes_on_where_a_dead_leader_stopped() {
    let (mut world, mut nodes) = world(&due(80), &[Some(0), Some(1)]);
    run_for(&mut world, &mut nodes, 7 * SECOND);
    assert!(!world.outcomes(gas_address(0)).is_empty());
    nodes[0].is_up = false;
    run_until_paid(&mut world, &mut nodes);
    assert!(!world.outcomes(gas_address(1)).is_empty());
    // Its own progress does not send it back to wait: the whole rest takes about as long as it would take a leader.
    assert!(world.now - START < 2 * MINUTE, "{}", world.now - START);
}

#[test]
fn signatures_are_checked_and_asked_for_again() {
    let (mut world, mut nodes) = alone_after(&due(2), |world| world.signing.clear());
    let root = world.assignment.as_ref().unwrap().root;
    run_for(&mut world, &mut nodes, 30 * SECOND);
    let asked = n_effects(&world, "RequestSignature");
    assert!((9..30).contains(&asked), "with a back-off: {asked}");
    let request = lucid_types::payout::CosignRequest::Root { pool: root.pool, settlement: 1 };
    let mut answer =
        |signer, reply| nodes[0].feed(&mut world, Input::Signature { request, signer, reply: Some(reply) });
    let stranger = crate::key::TronKey::from_secret(&[9; 32]).unwrap().sign_root(&DOMAIN, &root).unwrap();
    answer(node_id(1), CosignReply::Signed(stranger));
    answer(node_id(9), CosignReply::Signed(stranger));
    answer(node_id(2), CosignReply::Refused("the\n watermark".into()));
    let alerts = nodes[0].pusher.alerts();
    let is_wrong =
        |alert: &Alert| alert.to_string().contains(&format!("{} sent a signature that is not its own", node_id(1)));
    assert!(alerts.iter().any(is_wrong), "{alerts:?}");
    assert!(alerts.iter().any(|alert| alert.to_string().contains("refuses: the watermark")), "{alerts:?}");
    let Some(Report::Signatures { have: 0, problems, .. }) = nodes[0].disk.reports.last() else {
        panic!("{:?}", nodes[0].disk.reports)
    };
    assert_eq!(problems.len(), 3);
    world.signing = [node_id(1), node_id(3)].into();
    run_until_paid(&mut world, &mut nodes);
    run_for(&mut world, &mut nodes, MINUTE);
    assert_eq!(nodes[0].pusher.alerts(), [], "signer 1 has signed, and signer 2 only cannot be reached");
}

#[test]
fn a_signer_that_lacks_a_moment_is_asked_again_in_a_moment() {
    let (mut world, mut nodes) = alone_after(&due(2), |world| world.signing.clear());
    let request =
        lucid_types::payout::CosignRequest::Root { pool: world.assignment.as_ref().unwrap().root.pool, settlement: 1 };
    let (signer, reply) = (node_id(1), Some(CosignReply::NotFinal));
    let mut waits = vec![];
    for _ in 0..6 {
        nodes[0].feed(&mut world, Input::Signature { request, signer, reply: reply.clone() });
        let (start, asked) = (world.now, n_effects(&world, "RequestSignature"));
        while n_effects(&world, "RequestSignature") == asked {
            world.now = nodes[0].pusher.next_wake().unwrap().get();
            nodes[0].feed(&mut world, Input::Tick);
        }
        waits.push(world.now - start);
    }
    assert_eq!(waits[..4], [125, 250, 500, 1_000], "{waits:?}");
    let most = u64::try_from(nodes[0].config.timing.retry.as_millis()).unwrap();
    assert!(waits.iter().all(|wait| *wait <= most), "{waits:?}");
}

#[test]
fn leaves_are_loaded_while_signatures_are_gathered() {
    let (mut world, mut nodes) = alone_after(&due(20), |world| world.signing.clear());
    run_for(&mut world, &mut nodes, 5 * SECOND);
    assert_eq!(n_effects(&world, "LoadLeaves"), 1, "before anything is signed");
    assert_eq!(world.outcomes(gas_address(0)), []);
    world.signing = [node_id(1), node_id(2)].into();
    run_until_paid(&mut world, &mut nodes);
    assert_eq!(n_effects(&world, "LoadLeaves"), 1, "and not again when the head shows the root");
}

#[test]
fn what_is_due_under_the_posted_root_is_paid_while_the_next_lacks_signatures() {
    let late: Vec<_> = (700..710).map(|n| leaf(n, 1_500)).collect();
    let (mut world, mut nodes) =
        alone_after(&late, |world| world.changes.push(|vault| vault.state.owner_pause_from = 1));
    let until = world.now + 5 * MINUTE;
    run(&mut world, &mut nodes, until, |world, _| world.head().state.settlement == 1);
    world.signing.clear();
    // More than the head is asked for at once, and all before the others.
    let all: Vec<_> = (0..700).map(|n| leaf(n, 1_500)).chain(late).collect();
    world.issue(2, &all, 0);
    assign(&mut world, &mut nodes);
    world.changes.push(|vault| vault.state.owner_pause_from = 0);
    run_for(&mut world, &mut nodes, 2 * MINUTE);
    assert!((700..710).all(|n| world.head().paid(&account(n)).get() >= THRESHOLD));
    assert_eq!(world.head().state.settlement, 1);
}

#[test]
fn the_head_is_not_read_while_all_wait_for_the_solid_view() {
    let (mut world, mut nodes) = alone(&due(8));
    let until = world.now + 10 * MINUTE;
    let is_paid = |world: &World, n| world.head().paid(&account(n)).get() >= THRESHOLD;
    run(&mut world, &mut nodes, until, |world, _| (0..8).all(|n| is_paid(world, n)));
    // The last block's receipt is looked for, and the head once more for what it left.
    run_for(&mut world, &mut nodes, 3 * SECOND);
    assert_eq!(nodes[0].pusher.phase(), Phase::Active, "the last batch is not solid yet");
    let (heads, solid) = (n_effects(&world, "view: Head"), n_effects(&world, "view: Solid"));
    run_for(&mut world, &mut nodes, 4 * SECOND);
    assert_eq!(nodes[0].pusher.phase(), Phase::Active, "the last batch is not solid yet");
    assert_eq!(n_effects(&world, "view: Head"), heads);
    assert!(n_effects(&world, "view: Solid") > solid);
    run_for(&mut world, &mut nodes, 5 * MINUTE);
    assert_eq!(nodes[0].pusher.phase(), Phase::Idle);
}

#[test]
fn a_root_that_is_posted_when_signers_change_is_posted_for_the_next_ones() {
    let (mut world, mut nodes) = alone(&due(3));
    let until = world.now + 10 * MINUTE;
    run(&mut world, &mut nodes, until, |world, _| (0..3).all(|n| world.head().paid(&account(n)) == usdt(1_500)));
    run_for(&mut world, &mut nodes, 3 * SECOND);
    assert_eq!(nodes[0].pusher.phase(), Phase::Active, "the last batch is not solid yet");
    let assignment = world.assignment.as_mut().unwrap();
    (assignment.root.era, assignment.nonce, assignment.signers) = (2, 1, signers(2));
    assign(&mut world, &mut nodes);
    run_for(&mut world, &mut nodes, SECOND);
    assert!(has_alert(&nodes[0], |alert| matches!(alert, Alert::SignersDiffer { .. })), "at once");
    run_for(&mut world, &mut nodes, 5 * MINUTE);
    let n = world.outcomes(gas_address(0)).len();
    // The owner carries out the change; the vault has no root of the new era yet.
    world.changes.push(|vault| {
        (vault.state.era, vault.state.nonce) = (2, 1);
        (vault.state.settlement, vault.state.root) = (0, None);
        (vault.state.total, vault.state.fees) = (usdt(0), usdt(0));
    });
    run_for(&mut world, &mut nodes, 2 * MINUTE);
    assert_eq!((world.solid().state.settlement, world.outcomes(gas_address(0)).len()), (1, n + 1));
    assert_eq!((nodes[0].pusher.phase(), nodes[0].pusher.alerts()), (Phase::Idle, &[][..]));
}

#[test]
fn a_root_of_anothers_is_posted_again_when_a_fork_drops_it() {
    let (mut world, mut nodes) = world(&due(3), &[Some(0), Some(0)]);
    nodes[1].is_up = false;
    run_until_paid(&mut world, &mut nodes);
    run_for(&mut world, &mut nodes, MINUTE);
    // Nothing is due under the next root.
    world.issue(2, &(0..3).map(|n| leaf(n, 1_900)).collect::<Vec<_>>(), 0);
    nodes[0].assign(&mut world);
    let until = world.now + MINUTE;
    run(&mut world, &mut nodes, until, |world, _| world.head().state.settlement == 2);
    nodes[0].is_up = false;
    nodes[1].restart(&mut world);
    run_for(&mut world, &mut nodes, 3 * SECOND);
    assert_eq!(nodes[1].pusher.phase(), Phase::Active, "the root is not solid yet");
    world.drop_blocks(LAG - 1);
    assert_eq!(world.head().state.settlement, 1);
    run_for(&mut world, &mut nodes, 3 * MINUTE);
    assert_eq!(world.solid().state.settlement, 2);
    assert_eq!((world.outcomes(gas_address(1)).len(), nodes[1].pusher.phase()), (1, Phase::Idle));
}

#[test]
fn other_signers_than_the_ledgers_stop_posting() {
    let changes: [fn(&mut Vault); 2] = [|v| v.state.era = 2, |v| v.state.threshold = 3];
    let undo: [fn(&mut Vault); 2] = [|v| v.state.era = 1, |v| v.state.threshold = 2];
    for (change, undo) in changes.into_iter().zip(undo) {
        let mut world = World::new(1);
        world.issue(1, &due(3), 0);
        world.changes.push(change);
        world.make_block();
        let mut nodes = nodes(&world, &[Some(0)]);
        assign(&mut world, &mut nodes);
        run_for(&mut world, &mut nodes, 5 * MINUTE);
        assert!(has_alert(&nodes[0], |alert| matches!(alert, Alert::SignersDiffer { .. })));
        assert_eq!(world.outcomes(gas_address(0)), []);
        world.changes.push(undo);
        run_until_paid(&mut world, &mut nodes);
        assert_eq!(nodes[0].pusher.alerts(), []);
    }
}

#[test]
fn a_change_of_limits_that_waits_for_the_owner_stops_nothing() {
    let (mut world, mut nodes) = alone(&due(3));
    world.changes.push(|vault| vault.state.nonce = 1);
    world.make_block();
    run_until_paid(&mut world, &mut nodes);
    assert_eq!(n_effects(&world, "SignersDiffer"), 1, "it is told");
}

#[test]
fn signatures_that_the_vault_refuses_are_not_sent() {
    let (mut world, mut nodes) = alone(&due(3));
    world.changes.push(|vault| vault.signers = [address(1), address(2), address(3)].into());
    world.make_block();
    run_for(&mut world, &mut nodes, 5 * MINUTE);
    assert!(has_alert(&nodes[0], |alert| matches!(alert, Alert::SignaturesRefused { settlement: 1 })));
    assert_eq!((world.outcomes(gas_address(0)).len(), n_effects(&world, "Estimate")), (0, 1), "one try");
    world.changes.push(|vault| {
        vault.signers = signers(1).members.iter().map(|signer| signer.key_address).collect();
        vault.state.limits.cap = usdt(1 << 49);
    });
    run_until_paid(&mut world, &mut nodes);
}

#[test]
fn a_pause_stops_payments_and_not_the_root() {
    let (mut world, mut nodes) = alone(&due(3));
    world.changes.push(|vault| vault.state.signer_pause_until = START / 1_000 + 120);
    world.make_block();
    run_for(&mut world, &mut nodes, 100 * SECOND);
    assert_eq!(world.head().state.settlement, 1);
    let until = Some(START / 1_000 + 120);
    assert!(has_alert(&nodes[0], |alert| *alert == Alert::Paused { until }));
    assert_eq!((world.outcomes(gas_address(0)).len(), world.open().len()), (1, 3));
    run_until_paid(&mut world, &mut nodes);
    assert_eq!(nodes[0].pusher.alerts(), []);
}

#[test]
fn a_closed_vault_and_a_token_with_a_fee_get_nothing() {
    type Case = (fn(&mut Vault), fn(&Alert) -> bool);
    let cases: [Case; 3] = [
        (|v| v.state.close_from = 1, |alert| *alert == Alert::Closed),
        (|v| v.token.fee = true, |alert| matches!(alert, Alert::Token(flags) if flags.fee)),
        (|v| v.token.blacklisted = true, |alert| alert.to_string().contains("frozen the vault")),
    ];
    for (change, is_it) in cases {
        let mut world = World::new(1);
        world.issue(1, &due(3), 0);
        world.changes.push(change);
        world.make_block();
        let mut nodes = nodes(&world, &[Some(0)]);
        assign(&mut world, &mut nodes);
        run_for(&mut world, &mut nodes, 5 * MINUTE);
        assert!(has_alert(&nodes[0], is_it), "{:?}", nodes[0].pusher.alerts());
        assert_eq!(world.outcomes(gas_address(0)), []);
        let quiet = nodes[0].n_effects;
        run_for(&mut world, &mut nodes, 10 * MINUTE);
        assert!(nodes[0].n_effects - quiet < 200, "{}", nodes[0].n_effects - quiet);
    }
}

#[test]
fn what_the_cap_leaves_is_paid_and_the_rest_in_the_next_periods() {
    let (mut world, mut nodes) = alone(&due(10));
    world.changes.push(|vault| vault.state.limits.cap = usdt(4_700));
    world.make_block();
    run_for(&mut world, &mut nodes, MINUTE);
    assert_eq!(world.head().state.paid_out, usdt(4_500), "three whole payouts");
    assert!(has_alert(&nodes[0], |alert| matches!(alert, Alert::OverCap { left, .. } if *left < usdt(4_700))));
    let n = world.outcomes(gas_address(0)).len();
    run_for(&mut world, &mut nodes, 2 * MINUTE);
    assert_eq!(world.outcomes(gas_address(0)).len(), n, "nothing is sent in vain");
    run_until_paid(&mut world, &mut nodes);
    assert!(world.outcomes(gas_address(0)).iter().all(|outcome| *outcome == Outcome::Success));
    assert!(world.now - START > 25 * MINUTE, "four periods of 10 minutes");
}

#[test]
fn an_account_larger_than_the_cap_is_paid_in_parts() {
    let (mut world, mut nodes) = alone(&[leaf(0, 1_200), leaf(1, 7_000)]);
    world.changes.push(|vault| vault.state.limits.cap = usdt(3_000));
    world.make_block();
    run_for(&mut world, &mut nodes, MINUTE);
    assert_eq!(world.head().paid(&account(0)), usdt(1_200), "whole payouts first");
    run_until_paid(&mut world, &mut nodes);
    assert_eq!(world.head().paid(&account(1)), usdt(7_000));
}

#[test]
fn a_cap_below_the_threshold_pays_in_parts_of_the_cap() {
    let (mut world, mut nodes) = alone(&due(2));
    world.changes.push(|vault| vault.state.limits.cap = usdt(THRESHOLD / 4));
    world.make_block();
    run_until_paid(&mut world, &mut nodes);
    assert!(world.outcomes(gas_address(0)).iter().all(|outcome| *outcome == Outcome::Success));
    assert!(world.now - START > 60 * MINUTE, "parts of 250 in periods of 10 minutes");
}

#[test]
fn an_empty_vault_is_told_and_paid_from_once_it_is_filled() {
    let (mut world, mut nodes) = alone(&due(6));
    world.changes.push(|vault| vault.state.funds = usdt(3_100));
    world.make_block();
    run_for(&mut world, &mut nodes, 5 * MINUTE);
    assert!(has_alert(&nodes[0], |alert| matches!(alert, Alert::Uncovered { due, .. } if *due == usdt(6_000))));
    let n = world.outcomes(gas_address(0)).len();
    run_for(&mut world, &mut nodes, 5 * MINUTE);
    assert_eq!(world.outcomes(gas_address(0)).len(), n);
    world.changes.push(|vault| vault.state.funds = usdt(100_000));
    run_until_paid(&mut world, &mut nodes);
    run_for(&mut world, &mut nodes, MINUTE);
    assert_eq!(nodes[0].pusher.alerts(), []);
}

#[test]
fn a_total_that_is_used_up_is_told() {
    let (mut world, mut nodes) = alone(&due(4));
    // A thief took 6,500 of the 7,000 under an account of its own.
    world.changes.push(|vault| vault.state.paid_out = usdt(6_500));
    world.make_block();
    run_for(&mut world, &mut nodes, 5 * MINUTE);
    assert!(has_alert(&nodes[0], |alert| matches!(alert, Alert::OverTotal { .. })), "{:?}", nodes[0].pusher.alerts());
    // The loss is booked: the same root is issued again.
    world.issue(1, &due(4), 6_500);
    assign(&mut world, &mut nodes);
    run_until_paid(&mut world, &mut nodes);
    run_for(&mut world, &mut nodes, MINUTE);
    assert_eq!((world.head().state.total, nodes[0].pusher.alerts()), (usdt(13_500), &[][..]));
}

#[test]
fn what_was_paid_since_it_was_looked_at_is_no_loss() {
    let (mut world, mut nodes) = alone(&due(4));
    run_until_paid(&mut world, &mut nodes);
    // Whoever waits for others asks for the vault's sums alone, and knows the accounts from before.
    let (time, snapshot) = (UnixMillis::new(world.now), world.solid().snapshot(&[]));
    assert!(snapshot.left_of_total() < usdt(6_000));
    nodes[0].feed(&mut world, Input::Solid(Some(Box::new(SolidView { time, snapshot }))));
    assert_eq!(nodes[0].pusher.alerts(), []);
}

#[test]
fn a_receipt_from_after_the_expiration_is_not_believed() {
    let (mut world, mut nodes) = alone(&due(4));
    let is_sent = |nodes: &[Node]| !nodes[0].disk.stored.is_empty();
    while !is_sent(&nodes) {
        run_for(&mut world, &mut nodes, SECOND);
    }
    let (id, expiration) = nodes[0].disk.stored.values().map(|stored| (stored.id, stored.expiration)).next().unwrap();
    let block_time = UnixMillis::new(expiration.get() + 24 * 60 * MINUTE);
    let receipt = Receipt { block_time, fee: Sun::new(1), outcome: Outcome::Success };
    nodes[0].feed(&mut world, Input::Receipt { id, found: Lookup::Included(receipt) });
    run_for(&mut world, &mut nodes, 5 * MINUTE);
    assert!(world.open().is_empty());
    assert_eq!((nodes[0].pusher.phase(), nodes[0].pusher.n_transactions()), (Phase::Idle, 0));
}

#[test]
fn a_receipt_with_an_impossible_fee_does_not_use_up_the_day() {
    let (mut world, mut nodes) = alone(&due(100));
    while nodes[0].disk.stored.is_empty() {
        run_for(&mut world, &mut nodes, SECOND / 10);
    }
    let id = nodes[0].disk.stored.values().map(|stored| stored.id).next().unwrap();
    // The block that will include it is told of by a liar.
    let block_time = UnixMillis::new(world.next_block());
    let receipt = Receipt { block_time, fee: Sun::new(1 << 60), outcome: Outcome::Success };
    nodes[0].feed(&mut world, Input::Receipt { id, found: Lookup::Included(receipt) });
    let seconds = run_until_paid(&mut world, &mut nodes);
    assert!(seconds < 60 * 60, "{seconds}");
    assert!(nodes[0].disk.spent.iter().all(|spent| spent.fee < Sun::new(200_000_000)), "{:?}", nodes[0].disk.spent);
}

#[test]
fn what_was_short_is_not_told_once_everything_is_paid() {
    // What it learns last of the root that others have posted and paid: its leaves, or that the vault has it.
    for are_leaves_last in [true, false] {
        let empty = |world: &mut World| world.changes.push(|vault| vault.state.funds = usdt(0));
        let (mut world, mut nodes) = alone_after(&due(4), empty);
        run_for(&mut world, &mut nodes, MINUTE);
        let is_told = has_alert(&nodes[0], |alert| matches!(alert, Alert::Uncovered { .. }));
        assert!(is_told, "{:?}", nodes[0].pusher.alerts());
        let paid: Vec<_> = (0..5).map(account).collect();
        let empty = SolidView { time: UnixMillis::new(world.now), snapshot: world.solid().snapshot(&paid) };
        // While this node sees nothing, the vault is filled and others post and pay the next root.
        world.changes.push(Vault::mend);
        let root = world.issue(2, &due(5), 0);
        let mut others = vec![Node::start(&world, config(1), 1, Some(0))];
        assign(&mut world, &mut others);
        run_until_paid(&mut world, &mut others);
        assign(&mut world, &mut nodes);
        let time = UnixMillis::new(world.now);
        let (gas, energy_price, byte_price) = (Sun::new(1 << 40), Sun::new(100), Sun::new(1_000));
        let (snapshot, token) = (world.head().snapshot(&paid), TokenFlags::default());
        let head = HeadView { time, snapshot: snapshot.clone(), token, gas, energy_price, byte_price };
        let loaded = Loaded::of(world.history.get(&(2, root.root)).cloned());
        let [empty, solid] = [empty, SolidView { time, snapshot }].map(|view| Input::Solid(Some(Box::new(view))));
        let head = Input::Head(Some(Box::new(head)));
        let leaves = Input::Leaves { settlement: 2, root: root.root, loaded };
        let mut pusher = std::mem::replace(&mut nodes[0].pusher, Pusher::new(config(0), vec![], vec![], time));
        let inputs = if are_leaves_last { [empty, solid, head, leaves] } else { [leaves, empty, solid, head] };
        for input in inputs {
            assert_ne!(pusher.phase(), Phase::Idle);
            pusher.handle(time, input);
        }
        assert_eq!((pusher.phase(), pusher.alerts()), (Phase::Idle, &[][..]), "{are_leaves_last}");
    }
}

#[test]
fn a_fast_clock_gives_up_no_transaction_that_can_still_be_included() {
    let (mut world, mut nodes) = alone(&due(4));
    while nodes[0].disk.stored.is_empty() {
        run_for(&mut world, &mut nodes, SECOND);
    }
    let stored: Vec<_> = nodes[0].disk.stored.values().cloned().collect();
    let now = |minutes: u64| UnixMillis::new(stored[0].expiration.get() + minutes * MINUTE);
    let mut pusher = Pusher::new(config(0), stored.clone(), vec![], now(15));
    let not_included = || Input::Receipt { id: stored[0].id, found: Lookup::NotIncluded };
    for minutes in [15, 24] {
        pusher.handle(now(minutes), not_included());
        assert_eq!(pusher.n_transactions(), 1, "after {minutes} minutes");
    }
    pusher.handle(now(26), not_included());
    assert_eq!(pusher.n_transactions(), 0);
}

#[test]
fn a_head_that_comes_late_alarms_nobody_who_rests() {
    let (mut world, mut nodes) = alone(&due(4));
    run_until_paid(&mut world, &mut nodes);
    run_for(&mut world, &mut nodes, MINUTE);
    assert_eq!(nodes[0].pusher.phase(), Phase::Idle);
    let mut snapshot = world.head().snapshot(&[]);
    (snapshot.signer_pause_until, snapshot.nonce) = (u64::MAX, snapshot.nonce + 1);
    let token = TokenFlags { paused: true, ..TokenFlags::default() };
    let (gas, energy_price, byte_price) = (Sun::new(1 << 40), Sun::new(100), Sun::new(1_000));
    let head = HeadView { time: UnixMillis::new(world.now), snapshot, token, gas, energy_price, byte_price };
    nodes[0].feed(&mut world, Input::Head(Some(Box::new(head))));
    assert_eq!(nodes[0].pusher.alerts(), []);
}

#[test]
fn a_root_that_was_issued_again_with_a_greater_total_is_not_foreign() {
    let (mut world, mut nodes) = alone(&due(4));
    run_until_paid(&mut world, &mut nodes);
    // The pool books a loss.
    world.issue(1, &due(4), 5_000);
    assign(&mut world, &mut nodes);
    run_for(&mut world, &mut nodes, MINUTE);
    assert_eq!(world.solid().state.total, usdt(12_000));
    // The next root cannot be posted yet.
    world.signing.clear();
    world.issue(2, &due(5), 5_000);
    assign(&mut world, &mut nodes);
    run_for(&mut world, &mut nodes, MINUTE);
    assert_eq!(world.head().state.settlement, 1);
    assert!(
        !has_alert(&nodes[0], |alert| matches!(alert, Alert::ForeignRoot { .. })),
        "{:?}",
        nodes[0].pusher.alerts()
    );
}

#[test]
fn a_batch_over_the_fee_cap_is_halved_and_an_account_over_it_set_aside() {
    let start = |max_fee| {
        let mut world = World::new(1);
        world.issue(1, &due(8), 0);
        let mut node = Node::start(&world, PusherConfig { max_fee, ..config(0) }, 0, Some(0));
        node.assign(&mut world);
        (world, vec![node])
    };
    // 80,000 energy of two items are 8.8 TRX with the margin; those of four 14.3.
    let (mut world, mut nodes) = start(Sun::new(9_000_000));
    run_until_paid(&mut world, &mut nodes);
    assert_eq!(world.outcomes(gas_address(0)), vec![Outcome::Success; 5]);
    // One item needs 6.05 TRX, the root 6.6.
    let (mut world, mut nodes) = start(Sun::new(6_600_000));
    world.changes.push(|vault| vault.item_energy = 35_000);
    world.make_block();
    run_for(&mut world, &mut nodes, 5 * MINUTE);
    assert_eq!(world.outcomes(gas_address(0)).len(), 1, "the root");
    let set_aside = |alert: &Alert| matches!(alert, Alert::SetAside { problem, .. } if problem.contains("6600000"));
    assert!(has_alert(&nodes[0], set_aside), "{:?}", nodes[0].pusher.alerts());
    world.changes.push(Vault::mend);
    world.changes.push(|vault| vault.item_energy = 20_000);
    run_until_paid(&mut world, &mut nodes);
}

#[test]
fn what_runs_out_of_energy_burns_little_and_slows_down() {
    let (mut world, mut nodes) = alone(&due(40));
    run_for(&mut world, &mut nodes, SECOND);
    world.estimate_percent = 50;
    run_for(&mut world, &mut nodes, 20 * SECOND);
    let n_failed =
        |world: &World| world.outcomes(gas_address(0)).iter().filter(|o| **o == Outcome::OutOfEnergy).count();
    assert_eq!(n_failed(&world), 4, "three, and one more after the first pause");
    assert!(has_alert(&nodes[0], |alert| matches!(alert, Alert::Failing { in_a_row: 3.., .. })));
    run_for(&mut world, &mut nodes, 10 * MINUTE);
    assert!((5..=12).contains(&n_failed(&world)), "{}", n_failed(&world));
    world.estimate_percent = 100;
    run_until_paid(&mut world, &mut nodes);
    assert!(!has_alert(&nodes[0], |alert| matches!(alert, Alert::Failing { .. })));
}

#[test]
fn who_pushes_around_the_end_of_the_leaders_turn_has_energy_for_the_fee() {
    // Node 0 leads until 100 s; its successor begins at some moment before or after.
    for begin in 76..104 {
        let mut world = World::new(begin);
        world.issue(1, &due(4), 0);
        world.changes.push(|vault| vault.fee_energy = 40_000);
        run_for(&mut world, &mut [], begin * SECOND);
        let mut nodes = vec![Node::start(&world, config(1), 1, Some(0))];
        assign(&mut world, &mut nodes);
        run_until_paid(&mut world, &mut nodes);
        assert_eq!(world.outcomes(gas_address(1)), vec![Outcome::Success; 2], "begin at {begin} s");
    }
}

#[test]
fn nobody_waits_for_a_turn_that_is_longer_than_a_leader_has() {
    let mut world = World::new(1);
    let root = world.issue(1, &due(4), 0);
    let mut nodes = vec![Node::start(&world, config(1), 1, Some(0))];
    assign(&mut world, &mut nodes);
    assert!(run_until_paid(&mut world, &mut nodes) < root.until - START / SECOND - 20);
    assert_eq!(world.head().state.fees_paid, usdt(0));
}

#[test]
fn an_account_that_once_ran_out_of_energy_is_told_when_it_happens_again() {
    let (mut world, mut nodes) = alone(&due(1));
    run_for(&mut world, &mut nodes, SECOND);
    world.estimate_percent = 50;
    let n_failed =
        |world: &World| world.outcomes(gas_address(0)).iter().filter(|o| **o == Outcome::OutOfEnergy).count();
    let is_set_aside = |alert: &Alert| matches!(alert, Alert::SetAside { .. });
    let mut told_after = Vec::new();
    for _ in 0..120 {
        run_for(&mut world, &mut nodes, SECOND);
        if has_alert(&nodes[0], is_set_aside) {
            told_after.push(n_failed(&world));
        }
    }
    assert_eq!(told_after.first(), Some(&2));
    world.estimate_percent = 100;
    run_until_paid(&mut world, &mut nodes);
}

#[test]
fn batches_are_halved_when_they_run_out_of_energy() {
    let (mut world, mut nodes) = alone(&due(4));
    run_for(&mut world, &mut nodes, SECOND);
    world.estimate_percent = 50;
    run_for(&mut world, &mut nodes, 5 * SECOND);
    world.estimate_percent = 100;
    run_until_paid(&mut world, &mut nodes);
    let sizes: Vec<_> = nodes[0]
        .disk
        .reports
        .iter()
        .filter_map(|report| match report {
            Report::Transaction { work: Work::Batch { accounts, .. }, status: TransactionStatus::Sent, .. } => {
                Some(accounts.len())
            }
            _ => None,
        })
        .collect();
    assert_eq!(sizes[..1], [4]);
    assert!(sizes[1..].iter().all(|n| *n <= 2), "{sizes:?}");
}

#[test]
fn the_budget_of_a_day_is_kept_across_restarts() {
    let mut world = World::new(1);
    world.issue(1, &due(40), 0);
    let max_per_day = Sun::new(60_000_000);
    let mut nodes = vec![Node::start(&world, PusherConfig { max_per_day, ..config(0) }, 0, Some(0))];
    assign(&mut world, &mut nodes);
    for _ in 0..10 {
        run_for(&mut world, &mut nodes, 2 * MINUTE);
        nodes[0].restart(&mut world);
    }
    let spent = world.fees_of(gas_address(0));
    assert!((30_000_000..=max_per_day.get()).contains(&spent), "{spent}");
    run_for(&mut world, &mut nodes, 2 * MINUTE);
    assert!(has_alert(&nodes[0], |alert| matches!(alert, Alert::DayBudget { .. })), "{:?}", nodes[0].pusher.alerts());
    assert!(!world.open().is_empty());
    // The next days.
    let seconds = run_until_paid_in(&mut world, &mut nodes, 5);
    assert!(seconds > 23 * 60 * 60, "{seconds}");
}

fn run_until_paid_in(world: &mut World, nodes: &mut [Node], days: u64) -> u64 {
    let from = world.now;
    run(world, nodes, from + days * 24 * 60 * MINUTE, |world, _| world.open().is_empty());
    assert!(world.open().is_empty());
    (world.now - from) / SECOND
}

#[test]
fn a_gas_account_that_is_short_is_told() {
    let (mut world, mut nodes) = alone_after(&due(4), |world| world.gas = 5_000_000);
    run_for(&mut world, &mut nodes, 2 * MINUTE);
    let short = |alert: &Alert| matches!(alert, Alert::GasShort { has, .. } if *has == Sun::new(5_000_000));
    assert!(has_alert(&nodes[0], short));
    assert_eq!(world.outcomes(gas_address(0)), []);
    world.gas = 100_000_000;
    run_until_paid(&mut world, &mut nodes);
    assert_eq!(nodes[0].pusher.alerts(), []);
}

fn refused(code: &str) -> Answer {
    Answer { code: code.into(), message: String::new() }
}

#[test]
fn the_same_bytes_are_sent_again_until_a_block_has_them() {
    let (mut world, mut nodes) = alone(&due(1));
    world.answers = [
        None,
        Some(BroadcastOutcome::Retry(refused("SERVER_BUSY"))),
        Some(BroadcastOutcome::Duplicate),
        Some(BroadcastOutcome::Rebuild(refused("TAPOS_ERROR"))),
    ]
    .into();
    run_until_paid(&mut world, &mut nodes);
    assert_eq!(world.outcomes(gas_address(0)), vec![Outcome::Success; 2]);
    assert_eq!((n_effects(&world, "Prepare"), n_effects(&world, "Broadcast")), (2, 6));
}

#[test]
fn a_new_transaction_takes_the_place_of_one_that_has_expired_and_not_before() {
    let (mut world, mut nodes) = alone(&due(1));
    world.faults = Faults { broadcast: 100, ..Faults::default() };
    run_for(&mut world, &mut nodes, 65 * SECOND);
    assert_eq!(n_effects(&world, "Prepare"), 1);
    let n_sent = n_effects(&world, "Broadcast");
    assert!((4..10).contains(&n_sent), "with a back-off: {n_sent}");
    world.faults = Faults::default();
    run_for(&mut world, &mut nodes, 20 * SECOND);
    assert!(statuses(&nodes[0]).contains(&&TransactionStatus::Expired));
    run_until_paid(&mut world, &mut nodes);
    assert_eq!(world.outcomes(gas_address(0)), vec![Outcome::Success; 2]);
}

/// A network that says of a new transaction that it has expired has another clock; of one that was sent again, that is its
/// ordinary end.
#[test]
fn a_transaction_that_no_block_took_in_time_is_no_alarm() {
    for is_over in [false, true] {
        let (mut world, mut nodes) = alone(&due(1));
        world.faults = Faults { broadcast: 100, ..Faults::default() };
        while nodes[0].disk.stored.is_empty() {
            run_for(&mut world, &mut nodes, SECOND);
        }
        let id = nodes[0].disk.stored.values().next().unwrap().id;
        while n_effects(&world, "Broadcast") < if is_over { 2 } else { 1 } {
            run_for(&mut world, &mut nodes, SECOND);
        }
        assert_eq!(nodes[0].pusher.n_transactions(), 1);
        let outcome = Some(BroadcastOutcome::Rebuild(refused("TRANSACTION_EXPIRATION_ERROR")));
        nodes[0].feed(&mut world, Input::Sent { id, outcome: outcome.clone() });
        assert_eq!(has_alert(&nodes[0], |alert| matches!(alert, Alert::Rejected { .. })), !is_over);
        // A process that was restarted does not know how often it was sent.
        let n_sent = n_effects(&world, "Broadcast");
        nodes[0].restart(&mut world);
        while n_effects(&world, "Broadcast") == n_sent {
            run_for(&mut world, &mut nodes, SECOND);
        }
        nodes[0].feed(&mut world, Input::Sent { id, outcome });
        assert!(!has_alert(&nodes[0], |alert| matches!(alert, Alert::Rejected { .. })));
    }
}

#[test]
fn a_signature_error_stops_the_transaction_and_is_told() {
    let (mut world, mut nodes) = alone(&due(1));
    world.answers = [Some(BroadcastOutcome::Bug(refused("SIGERROR")))].into();
    run_for(&mut world, &mut nodes, 60 * SECOND);
    assert_eq!(n_effects(&world, "Broadcast"), 1);
    assert!(has_alert(&nodes[0], |alert| matches!(alert, Alert::Rejected { problem, .. } if problem == "SIGERROR")));
    // Once it has expired, a new one is tried.
    run_until_paid(&mut world, &mut nodes);
    assert_eq!(nodes[0].pusher.alerts(), []);
}

#[test]
fn invariant_a_crash_at_any_effect_pays_everybody_once() {
    let leaves = due(6);
    let (mut world, mut nodes) = alone(&leaves);
    run_until_paid(&mut world, &mut nodes);
    let n = nodes[0].n_effects;
    assert!(n > 40, "{n}");
    for at in 0..n {
        for is_after in [false, true] {
            let mut world = World::new(1);
            world.issue(1, &leaves, 0);
            let mut node = Node::start(&world, config(0), 0, Some(0));
            node.crash_at = Some((at, is_after));
            let mut nodes = vec![node];
            assign(&mut world, &mut nodes);
            run_until_paid(&mut world, &mut nodes);
            assert_eq!(world.head().state.paid_out, usdt(9_000), "{at} {is_after}");
            let outcomes = world.outcomes(gas_address(0));
            assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Success), "{at} {is_after}: {outcomes:?}");
            run_for(&mut world, &mut nodes, 3 * MINUTE);
            assert!(nodes[0].disk.stored.is_empty(), "{at} {is_after}");
            assert_eq!(nodes[0].pusher.phase(), Phase::Idle);
        }
    }
}

#[test]
fn a_fork_that_drops_a_transaction_makes_its_bytes_be_sent_again() {
    let (mut world, mut nodes) = alone(&due(1));
    run_for(&mut world, &mut nodes, 9 * SECOND);
    assert_eq!(world.outcomes(gas_address(0)).len(), 2, "root and batch are included");
    world.drop_blocks(3);
    assert_eq!(world.outcomes(gas_address(0)), []);
    run_until_paid(&mut world, &mut nodes);
    assert_eq!((n_effects(&world, "Prepare"), world.outcomes(gas_address(0)).len()), (2, 2), "no third transaction");
}

#[test]
fn a_root_that_the_ledger_never_issued_is_told() {
    type Theft = (fn(&mut Vault), bool);
    let thieves: [Theft; 3] = [
        (|v| (v.state.settlement, v.state.root) = (1, Some(PayoutRoot::from_bytes([9; 32]))), false),
        (|v| (v.state.settlement, v.state.root) = (99, Some(PayoutRoot::from_bytes([9; 32]))), false),
        (|v| v.state.total = usdt(1 << 40), true),
    ];
    for (theft, is_known) in thieves {
        let (mut world, mut nodes) = alone(&due(60));
        if is_known {
            run_for(&mut world, &mut nodes, 5 * SECOND);
        }
        world.changes.push(theft);
        world.make_block();
        run_for(&mut world, &mut nodes, MINUTE);
        let is_it =
            |alert: &Alert| matches!(alert, Alert::ForeignRoot { allowed, .. } if allowed.is_some() == is_known);
        assert!(has_alert(&nodes[0], is_it), "{:?}", nodes[0].pusher.alerts());
        assert!(world.outcomes(gas_address(0)).iter().all(|outcome| *outcome == Outcome::Success));
    }
}

/// A node whose history begins after the root that the vault shows cannot tell whether the ledger issued it.
#[test]
fn a_root_from_before_the_history_of_a_node_is_not_told() {
    for (is_known, is_told) in [(false, false), (true, true)] {
        let (mut world, mut nodes) = alone(&due(3));
        run_until_paid(&mut world, &mut nodes);
        world.signing.clear();
        world.issue(2, &due(5), 0);
        if is_known {
            world.history.retain(|(settlement, _), _| *settlement > 1);
        } else {
            world.history_from = 2;
        }
        let mut nodes = vec![Node::start(&world, config(1), 1, Some(0))];
        assign(&mut world, &mut nodes);
        run_for(&mut world, &mut nodes, MINUTE);
        assert!(n_effects(&world, "LoadLeaves { settlement: 1") > 1, "it asks again");
        assert_eq!(has_alert(&nodes[0], |alert| matches!(alert, Alert::ForeignRoot { .. })), is_told);
    }
}

#[test]
fn what_is_open_under_an_older_root_is_paid_while_signers_are_silent() {
    let (mut world, mut nodes) = alone(&due(3));
    run_for(&mut world, &mut nodes, 7 * SECOND);
    assert_eq!(world.head().state.settlement, 1);
    world.signing.clear();
    world.issue(2, &due(5), 0);
    assign(&mut world, &mut nodes);
    run_for(&mut world, &mut nodes, MINUTE);
    assert_eq!((world.head().state.settlement, world.head().state.paid_out), (1, usdt(4_500)));
    world.signing.insert(node_id(1));
    world.signing.insert(node_id(2));
    run_until_paid(&mut world, &mut nodes);
}

#[test]
fn few_transactions_are_open_at_first_and_more_with_success() {
    let mut world = World::new(1);
    world.issue(1, &due(60), 0);
    let mut nodes = vec![Node::start(&world, PusherConfig { max_items: 1, ..config(0) }, 0, Some(0))];
    assign(&mut world, &mut nodes);
    let mut most = vec![];
    while !world.open().is_empty() {
        run_for(&mut world, &mut nodes, SECOND);
        let open = nodes[0].pusher.jobs.values().filter(|job| job.included().is_none()).count();
        most.push(open);
    }
    let first = most.iter().position(|open| *open > 1).unwrap();
    assert!(most[first] <= 4, "{most:?}");
    assert_eq!(most.iter().max(), Some(&8), "{most:?}");
}

#[test]
fn accounts_that_cannot_be_paid_hold_up_nobody() {
    let mut leaves = due(8);
    leaves[1].to = TOKEN;
    leaves[2].to = DOMAIN.vault;
    let (mut world, mut nodes) = alone(&leaves);
    world.changes.push(|vault| vault.refused = [leaf(5, 0).to].into());
    world.make_block();
    run_for(&mut world, &mut nodes, 10 * MINUTE);
    let paid: Vec<_> = (0..8).map(|n| world.head().paid(&account(n)).get()).collect();
    assert_eq!(paid, [1_500, 0, 0, 1_500, 1_500, 0, 1_500, 1_500]);
    let aside: Vec<_> = nodes[0]
        .pusher
        .alerts()
        .iter()
        .filter_map(|alert| match alert {
            Alert::SetAside { account, .. } => Some(*account),
            _ => None,
        })
        .collect();
    assert_eq!(aside.len(), 3, "{:?}", nodes[0].pusher.alerts());
    assert!(world.outcomes(gas_address(0)).iter().all(|outcome| *outcome == Outcome::Success));
}

#[test]
fn stored_transactions_avoid_new_ones_and_can_stop_nothing() {
    let (mut world, mut nodes) = alone(&due(4));
    let lie = InFlight {
        id: 900,
        work: Work::Batch { settlement: 1, start: 0, accounts: (0..4).map(account).collect(), amount: usdt(6_000) },
        tx_id: lucid_types::id::TxId::from_bytes([7; 32]),
        expiration: UnixMillis::new(u64::MAX),
        fee_limit: Sun::new(1),
        bytes: vec![1, 2, 3],
    };
    nodes[0].disk.stored.insert(900, lie);
    nodes[0].restart(&mut world);
    run_for(&mut world, &mut nodes, 10 * MINUTE);
    assert_eq!(world.head().state.paid_out, usdt(0), "it might still be included");
    run_until_paid_in(&mut world, &mut nodes, 2);
    assert_eq!(world.head().state.paid_out, usdt(6_000));
}

#[test]
fn inputs_about_what_is_unknown_change_nothing() {
    let (mut world, mut nodes) = alone(&due(2));
    run_until_paid(&mut world, &mut nodes);
    run_for(&mut world, &mut nodes, MINUTE);
    let request = lucid_types::payout::CosignRequest::Root { pool: super::world::POOL, settlement: 1 };
    let root = PayoutRoot::from_bytes([1; 32]);
    for input in [
        Input::Tick,
        Input::Estimated { id: 0, outcome: Estimated::Energy(1) },
        Input::Prepared { id: 0, transaction: None },
        Input::Sent { id: 0, outcome: None },
        Input::Receipt { id: 0, found: Lookup::NotIncluded },
        Input::Leaves { settlement: 9, root, loaded: Loaded::NeverIssued },
        Input::Signature { request, signer: node_id(1), reply: None },
        Input::Solid(None),
        Input::Head(None),
    ] {
        assert_eq!(nodes[0].feed(&mut world, input.clone()), 0, "{input:?}");
        assert_eq!(nodes[0].pusher.next_wake(), None);
    }
    // Another vault's root is not ours.
    let mut foreign = world.assignment.clone().unwrap();
    foreign.root.vault = address(1);
    assert_eq!(nodes[0].feed(&mut world, Input::Root(Box::new(foreign))), 0);
}

#[test]
fn a_vault_with_thousands_of_accounts_is_read_in_parts() {
    let leaves: Vec<_> = (0..1_300).map(|n| leaf(n, 1_500)).collect();
    let mut world = World::new(1);
    world.issue(1, &leaves, 0);
    let big = PusherConfig { max_items: 20, max_in_flight: 64, max_per_day: Sun::new(u64::MAX), ..config(0) };
    let mut nodes = vec![Node::start(&world, big, 0, Some(0))];
    assign(&mut world, &mut nodes);
    let seconds = run_until_paid(&mut world, &mut nodes);
    assert!(seconds < 180, "{seconds}");
    let outcomes = world.outcomes(gas_address(0));
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Success));
    assert!((66..=72).contains(&outcomes.len()), "{}", outcomes.len());
}
