//! Members that nobody reaches: how they stop counting, come back, and are gone.

use lucid_types::command::{Action, NodeAction};
use lucid_types::payout::AccountKind;
use lucid_types::pool::{JoinPolicy, PoolAction};
use lucid_types::report::Observation;
use lucid_types::ticket::Ticket;
use lucid_types::time::Epoch;

use super::chain::{Chain, all_good, observation, start_with, worker, worker_key};
use crate::ledger::command::{CommandRefused, SignedCommand};
use crate::ledger::event::Event;
use crate::ledger::pool::{Member, Standing};
use crate::ledger::registry::Membership;
use crate::ledger::state::Rows;
use crate::ledger::table::Members;

/// Worker 0 answers nobody.
fn silent(_validator: usize, worker: usize) -> Option<Observation> {
    Some(if worker == 0 { observation(0, false) } else { observation(4, true) })
}

/// Nobody measures worker 0, so that no quorum says anything about it.
fn blind(_validator: usize, worker: usize) -> Option<Observation> {
    (worker != 0).then(|| observation(4, true))
}

/// Three epochs make inactive, and settlements are of two.
fn chain() -> Chain {
    Chain::grown(start_with(|start| start.genesis.policy.inactive_after = 3), 2)
}

/// A chain in epoch 7 whose settlement 3 has made worker 0 inactive, from epoch 9 on, and the events of that.
fn inactive() -> (Chain, Vec<Event>) {
    let mut chain = chain();
    for _ in 0..3 {
        assert!(no_news(&chain.step(silent)));
    }
    assert_eq!(chain.pool().members, 3, "only a settlement looks");
    let events = chain.step(silent);
    (chain, events)
}

/// Whether no membership has changed.
fn no_news(events: &[Event]) -> bool {
    !events.iter().any(|event| matches!(event, Event::Inactive { .. } | Event::Left { .. } | Event::Joined { .. }))
}

fn row(chain: &Chain) -> Option<Member> {
    chain.state.get::<Members>(&(chain.pool_id(), worker(0))).copied()
}

/// Nothing waits for it to come back; whoever has led the pool keeps a row that says when.
fn is_gone(row: Option<Member>) -> bool {
    row.is_none_or(|row| row.standing == Standing::Good && row.last_led.is_some() && row.share.is_none())
}

fn is_drawn(chain: &Chain) -> bool {
    chain.state.open().unwrap().scored.iter().any(|it| it.node == worker(0))
}

fn by_worker(chain: &Chain, action: NodeAction) -> SignedCommand {
    chain.give(&worker_key(0), Action::Node(action), &[])
}

fn comes_back(chain: &Chain) -> SignedCommand {
    by_worker(chain, NodeAction::Join { pool: chain.pool_id(), ticket: Ticket::Return })
}

#[test]
fn who_is_unreachable_for_long_stops_counting_and_keeps_what_it_earned() {
    let (mut chain, events) = inactive();
    let pool = chain.pool_id();
    assert!(events.contains(&Event::Inactive { pool, node: worker(0), until: Epoch::new(9) }), "{events:?}");
    assert_eq!((chain.pool().members, chain.pool().settled), (2, 3));
    assert_eq!(row(&chain).unwrap().standing, Standing::Inactive(Epoch::new(9)));
    let membership = Membership { pool, from: Epoch::new(1), until: Some(Epoch::new(9)) };
    assert_eq!(chain.state.node(&worker(0)).unwrap().membership, Some(membership));
    let owed = chain.account(AccountKind::Worker, worker(0)).unwrap().owed;
    assert!(owed.get() > 0, "of the first settlement");
    // As of who leaves: the draws that may be known keep it.
    let mut drawn = vec![is_drawn(&chain)];
    for _ in 0..5 {
        assert!(no_news(&chain.step(silent)));
        drawn.push(is_drawn(&chain));
    }
    assert_eq!(drawn, [true, true, false, false, false, false], "epochs 7 to 12");
    assert_eq!(chain.account(AccountKind::Worker, worker(0)).unwrap().owed, owed);
    assert_eq!((row(&chain).map(|row| row.unreached), chain.state.pool_of(&worker(0))), (Some(0), None));
}

/// The controls: what makes nobody inactive.
#[test]
fn who_is_reached_at_times_or_measured_by_nobody_stays() {
    let mut chain = chain();
    for _ in 0..6 {
        // One epoch short of it each time, across settlements.
        for observe in [silent, silent, all_good] {
            assert!(no_news(&chain.step(observe)));
        }
    }
    assert_eq!((chain.pool().members, row(&chain).unwrap().unreached), (3, 0));
    for _ in 0..12 {
        assert!(no_news(&chain.step(blind)));
    }
    assert_eq!((chain.pool().members, row(&chain).unwrap().unreached), (3, 0));
    // What validators did not measure neither counts nor makes good.
    for observe in [silent, silent, blind, blind, blind, blind] {
        assert!(no_news(&chain.step(observe)));
    }
    assert_eq!(row(&chain).unwrap().unreached, 2);
    let mut events = chain.step(silent);
    events.extend(chain.step(blind));
    assert!(!no_news(&events));
}

#[test]
fn it_comes_back_by_its_own_command_whatever_the_pool_asks_of_others() {
    let (mut chain, _) = inactive();
    let pool = chain.pool_id();
    let still_drawn = CommandRefused::MemberUntil { pool, until: Epoch::new(9) };
    assert_eq!(chain.take(comes_back(&chain)), Err(still_drawn));
    for _ in 0..2 {
        chain.step(silent);
    }
    let update = |max_members| PoolAction::Update { terms: chain.pool().terms, join: JoinPolicy::Invite, max_members };
    let [narrow, wide] = [update(2), update(3)];
    let command = chain.command(narrow, &[0]);
    chain.take(command).unwrap();
    assert_eq!(chain.take(comes_back(&chain)), Err(CommandRefused::Full(2)));
    let command = chain.command(wide, &[0]);
    chain.take(command).unwrap();
    let other = chain.give(&worker_key(1), Action::Node(NodeAction::Leave), &[]);
    let mut without = chain.clone();
    without.take(other).unwrap();
    without.step(silent);
    without.step(silent);
    let stranger = without.give(&worker_key(1), Action::Node(NodeAction::Join { pool, ticket: Ticket::Return }), &[]);
    assert_eq!(without.take(stranger), Err(CommandRefused::NotInactive), "who has left is not inactive");

    let open = chain.state.closed().next().get();
    let command = comes_back(&chain);
    let events = chain.take(command).unwrap();
    assert_eq!(events, [Event::Joined { pool, node: worker(0), from: Epoch::new(open + 2) }]);
    assert_eq!((chain.pool().members, row(&chain).unwrap().standing), (3, Standing::Good));
    chain.step(all_good);
    assert!(!is_drawn(&chain));
    chain.step(all_good);
    assert!(is_drawn(&chain));
    // With as much patience as before.
    let settled = |chain: &Chain| chain.pool().settled;
    let before = settled(&chain);
    while settled(&chain) < before + 1 {
        assert!(no_news(&chain.step(silent)));
    }
    assert_eq!(chain.pool().members, 3);
}

#[test]
fn after_four_times_as_long_it_is_gone_and_owed_all_the_same() {
    let (mut chain, _) = inactive();
    chain.step(silent);
    chain.step(silent);
    let pool = chain.pool_id();
    let (owed, nonce) =
        (chain.account(AccountKind::Worker, worker(0)).unwrap().owed, chain.state.nonce(&worker(0)).next);
    // Of epochs 9 to 20 it can come back. Settlement 10, in epoch 21, is the first that is not earlier than epoch 9 + 4 * 3.
    chain.reach(20);
    assert!(row(&chain).is_some() && chain.clone().take(comes_back(&chain)).is_ok());
    let events = chain.step(all_good);
    assert!(events.contains(&Event::Left { pool, node: worker(0), until: Epoch::new(9) }), "{events:?}");
    assert!(is_gone(row(&chain)));
    assert_eq!(chain.take(comes_back(&chain)), Err(CommandRefused::NotInactive));
    assert_eq!(chain.account(AccountKind::Worker, worker(0)).unwrap().owed, owed);
    assert_eq!(chain.state.nonce(&worker(0)).next, nonce);
    // Like everybody else it can enter anew.
    let ticket = Ticket::Stamp(chain.stamp(worker(0), Some(pool)));
    let command = by_worker(&chain, NodeAction::Join { pool, ticket });
    chain.take(command).unwrap();
    assert_eq!(chain.pool().members, 3);
}

#[test]
fn who_leaves_retires_or_is_banned_does_not_come_back_so() {
    let (mut chain, _) = inactive();
    chain.reach(9);
    let pool = chain.pool_id();
    let ends = |how: &str, command: SignedCommand| {
        let mut chain = chain.clone();
        chain.take(command).unwrap();
        assert_eq!(chain.pool().members, 2, "{how}: it was counted no more");
        let refused = chain.take(comes_back(&chain)).unwrap_err();
        chain.reach(12);
        (refused, row(&chain))
    };
    let (refused, left) = ends("leave", by_worker(&chain, NodeAction::Leave));
    assert!(refused == CommandRefused::NotInactive && is_gone(left));
    let (refused, retired) = ends("retire", by_worker(&chain, NodeAction::Retire));
    assert!(refused == CommandRefused::Retired && is_gone(retired));
    let (refused, banned) = ends("ban", chain.command(PoolAction::Ban(worker(0)), &[0]));
    assert_eq!((refused, banned.map(|row| row.standing)), (CommandRefused::Banned, Some(Standing::Banned)));
    let mut over = chain.clone();
    let disband = over.command(PoolAction::Disband, &[0]);
    let events = over.take(disband).unwrap();
    assert!(events.contains(&Event::Left { pool, node: worker(0), until: Epoch::new(9) }));
    assert_eq!(over.take(comes_back(&over)), Err(CommandRefused::Disbanded));
    assert_eq!(over.pool().members, 0);
}
