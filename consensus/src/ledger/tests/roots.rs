//! Payout roots and requests: what a settlement makes due, and what treasury signers are given to sign.

use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutId;
use lucid_types::payout::AccountKind;
use lucid_types::payout_tree::PayoutTree;

use super::chain::{BUDGET, Chain, WORKERS, all_good, observation, start, start_with, validator, worker};
use crate::ledger::event::{Event, Settled};

fn usdt(n: u64) -> MicroUsdt {
    MicroUsdt::new(n * 1_000_000)
}

/// What the events of a block say about its settlement.
fn settled(events: Vec<Event>) -> Option<Settled> {
    events.into_iter().find_map(|event| if let Event::Settled(settled) = event { Some(*settled) } else { None })
}

#[test]
fn a_settlement_makes_a_root_of_all_that_is_owed() {
    let mut chain = Chain::grown(start(), 1);
    let made = settled(chain.step(all_good)).unwrap();
    let accounts = chain.accounts();
    assert_eq!(made.leaves.len(), WORKERS + 1, "the members and the owner's commission");
    for leaf in &made.leaves {
        assert_eq!((leaf.to, leaf.owed), (accounts[&leaf.id].to, accounts[&leaf.id].owed));
    }
    assert!(made.leaves.is_sorted_by_key(|leaf| leaf.id), "all are due for the first time");
    assert_eq!(made.root.root, PayoutTree::new(&made.leaves).unwrap().root());
    assert_eq!((made.root.settlement, made.root.era), (1, 1));
    assert_eq!((made.root.total.get(), made.root.promised.get()), (BUDGET, BUDGET));
    assert_eq!(chain.pool().newest, Some(made.root));
    assert_eq!(chain.pool().newest, Some(made.root));
    // The leader's turn: the block's time and the leader's time-out, in whole seconds, never less.
    let leader = chain.pool().election.as_ref().unwrap().leader().unwrap();
    assert_eq!(made.root.leader, chain.state.node(&leader).unwrap().gas_address);
    let turn = chain.state.time().get() + chain.spec.genesis().policy.leader_timeout_ms;
    assert!((turn..turn + 1_000).contains(&(made.root.until * 1_000)));
}

#[test]
fn requests_are_for_what_crosses_the_threshold_and_come_first() {
    // 38 USDT a settlement for each worker, 6 for the owner; every 100 are a payout.
    let mut chain = Chain::new(start_with(|start| start.genesis.policy.payout_threshold = usdt(100)));
    let mut of_worker = Vec::new();
    let mut of_owner = Vec::new();
    for _ in 0..36 {
        let Some(made) = settled(chain.step(all_good)) else { continue };
        let n_due = made.requests.len();
        for (leaf, request) in made.leaves.iter().zip(&made.requests) {
            assert_eq!((leaf.id, leaf.to, leaf.owed), (request.account, request.to, request.owed));
            assert_eq!(request.id, PayoutId::derive(&leaf.id, made.root.settlement));
        }
        assert!(made.leaves[..n_due].is_sorted_by_key(|leaf| leaf.id));
        assert!(made.leaves[n_due..].is_sorted_by_key(|leaf| leaf.id));
        let of = |kind, node| {
            let request = made.requests.iter().find(|request| (request.kind, request.node) == (kind, node));
            request.map(|request| (made.root.settlement, request.amount.get() / 1_000_000))
        };
        of_worker.extend(of(AccountKind::Worker, worker(0)));
        of_owner.extend(of(AccountKind::Commission, validator(0)));
    }
    let expected = [(3, 114), (6, 114), (8, 76), (11, 114), (14, 114), (16, 76)];
    assert_eq!(of_worker, expected);
    assert_eq!(of_owner, [(17, 102)]);
}

#[test]
fn nothing_earned_no_root() {
    let mut chain = Chain::grown(start(), 4);
    let before = chain.pool().newest.unwrap();
    let nothing = |_: usize, _: usize| Some(observation(4, false));
    for _ in 0..4 {
        chain.step(nothing);
    }
    let pool = chain.pool();
    assert_eq!(pool.settled, 4);
    assert_eq!(pool.newest.unwrap(), before);
    assert!(pool.carried.get() > 0);
    // Who was elected last carries what is unpaid, root or not.
    assert_eq!(pool.election.as_ref().unwrap().settlement, 4);
}

#[test]
fn a_settlement_that_nobody_measured_elects_nobody() {
    let mut chain = Chain::grown(start(), 6);
    for _ in 0..2 {
        chain.step(|validator, worker| all_good(validator, worker).filter(|_| validator < 2));
    }
    assert_eq!(chain.pool().settled, 4);
    assert_eq!(chain.pool().election.as_ref().unwrap().settlement, 3, "epochs 7 and 8 were not measured");
}

#[test]
fn push_fees_are_set_aside_before_anything_is_shared() {
    let fee = 10_000;
    let mut chain = Chain::grown(start_with(|g| g.pools[0].vault.limits.push_fee = MicroUsdt::new(fee)), 1);
    let made = settled(chain.step(all_good)).unwrap();
    // Three members and the owner are due for the first time.
    assert_eq!(chain.pool().fees.get(), 4 * fee);
    assert_eq!((made.root.fees.get(), made.root.total.get()), (4 * fee, BUDGET));
    let pot = BUDGET - 4 * fee;
    assert_eq!(chain.account(AccountKind::Commission, validator(0)).unwrap().owed.get(), pot / 20);
    // A fee that would eat the whole pot waits with it until something is left: nobody is paid before.
    let mut chain = Chain::grown(start_with(|g| g.pools[0].vault.limits.push_fee = MicroUsdt::new(BUDGET)), 1);
    assert_eq!(settled(chain.step(all_good)), None, "nothing is owed to anybody");
    assert_eq!((chain.pool().fees.get(), chain.pool().carried.get()), (0, BUDGET));
    let made = std::iter::repeat_with(|| settled(chain.step(all_good))).take(10).flatten().next().unwrap();
    assert_eq!((made.root.settlement, made.requests.len(), made.root.fees.get()), (5, 4, 4 * BUDGET));
}

#[test]
fn what_was_carried_is_shared_out_with_the_next_budget() {
    let mut chain = Chain::new(start());
    for _ in 0..2 {
        chain.step(|_, _| Some(observation(4, false)));
    }
    for _ in 0..2 {
        chain.step(all_good);
    }
    assert_eq!(chain.pool().carried, MicroUsdt::ZERO);
    assert_eq!(chain.owed().get(), 2 * BUDGET);
}

/// A budget that would outgrow all counting stops growing, and the chain goes on.
#[test]
fn invariant_7_budgets_beyond_all_counting_do_not_stop_the_chain() {
    let mut chain = Chain::new(start_with(|start| start.pools[0].budget = MicroUsdt::new(u64::MAX)));
    for _ in 0..8 {
        chain.step(all_good);
    }
    assert_eq!(chain.pool().budgets.get(), 1 << 62);
    assert_eq!(chain.pool().settled, 4);
}
