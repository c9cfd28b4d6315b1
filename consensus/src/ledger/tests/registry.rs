//! Rows about who takes part, changed between blocks: who is drawn, who gets what, who leads, and where it is paid.

use std::collections::BTreeSet;

use lucid_score::leader::Elected;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::id::{NodeId, PoolId};
use lucid_types::payout::AccountKind;
use lucid_types::payout_tree::AccountId;
use lucid_types::pool::{PoolAction, SplitRule};
use lucid_types::time::Epoch;

use super::chain::{BUDGET, Chain, VALIDATORS, address, all_good, start, start_with, validator, worker};
use crate::chain_spec::ChainSpec;
use crate::ledger::command::check;
use crate::ledger::event::Event;
use crate::ledger::registry::Membership;
use crate::ledger::state::{Rows, State};
use crate::ledger::table::{Members, Nodes, Nonces, Workers};

/// Makes a worker a member of the pool in epochs `from..until`.
fn join(chain: &mut Chain, i: usize, pool: PoolId, from: u64, until: Option<u64>) {
    let membership = Membership { pool, from: Epoch::new(from), until: until.map(Epoch::new) };
    chain.change_node(worker(i), |node| node.membership = Some(membership));
}

/// The workers that are scored in the open epoch, with the pools for which they are.
fn drawn(chain: &Chain) -> BTreeSet<(NodeId, PoolId)> {
    chain.state.open().unwrap().scored.iter().map(|scored| (scored.node, scored.pool)).collect()
}

/// Two pools, the second of which has no members, and their ids.
fn two_pools() -> (Chain, PoolId, PoolId) {
    let chain = Chain::new(start_with(|start| {
        let mut other = start.pools[0].clone();
        (other.name, other.members, other.vault.address) = ("other".into(), vec![], address(101));
        start.pools.push(other);
    }));
    let id = |name| PoolId::derive(chain.spec.id(), name);
    let (first, other) = (id("pool"), id("other"));
    assert!(chain.state.pools().all(|(id, pool)| id == if pool.name == "pool" { first } else { other }));
    (chain, first, other)
}

fn nodes(order: &[Elected]) -> Vec<NodeId> {
    order.iter().map(|elected| elected.node).collect()
}

fn share(chain: &Chain, pool: &PoolId, i: usize) -> Option<u128> {
    chain.state.members(pool).find(|(node, _)| *node == worker(i)).and_then(|(_, member)| member.share)
}

fn owed(chain: &Chain, pool: &PoolId, i: usize) -> u64 {
    let id = AccountId::derive(chain.spec.id(), pool, AccountKind::Worker, &worker(i));
    chain.state.account(pool, &id).map_or(0, |account| account.owed.get())
}

#[test]
fn the_genesis_seeds_validators_and_nobody_else() {
    let spec = ChainSpec::new(start().genesis).unwrap();
    let state = State::genesis(&spec);
    assert_eq!((state.nodes().count(), state.pools().count(), state.all::<Workers>().count()), (0, 0, 0));
    assert_eq!((state.all::<Members>().count(), state.all::<Nonces>().count()), (0, 0));
    assert_eq!(state.next_validators(), &**spec.first_validators());
    let first = state.open().unwrap();
    assert_eq!((first.reporters.len(), first.scored.len()), (VALIDATORS, 0), "nobody is measured in epoch 1");
}

#[test]
fn members_are_drawn_while_they_count() {
    let mut chain = Chain::new(start());
    let pool = chain.pool_id();
    let all = |some: &[usize]| some.iter().map(|i| (worker(*i), pool)).collect::<BTreeSet<_>>();
    assert_eq!(drawn(&chain), all(&[0, 1, 2]));
    join(&mut chain, 1, pool, 3, None);
    join(&mut chain, 2, pool, 1, Some(3));
    let of = |chain: &Chain| [1, 2].map(|i| chain.state.pool_of(&worker(i)));
    chain.step(all_good);
    assert_eq!((drawn(&chain), of(&chain)), (all(&[0, 2]), [Some(pool); 2]), "epoch 2");
    chain.step(all_good);
    assert_eq!((drawn(&chain), of(&chain)), (all(&[0, 1]), [Some(pool), None]), "epoch 3");
    chain.change_node(worker(0), |node| node.membership = None);
    chain.step(all_good);
    assert_eq!(drawn(&chain), all(&[1]), "epoch 4");
}

/// Whoever leaves still gets what it was measured for, from the pool for which it was.
#[test]
fn shares_follow_the_draw() {
    let (mut chain, first, other) = two_pools();
    // Epoch 1 is drawn, for the first pool. In the second, worker 0 works for the other one, and worker 1 for none.
    join(&mut chain, 0, other, 2, None);
    join(&mut chain, 1, first, 1, Some(2));
    chain.step(all_good);
    assert_eq!(drawn(&chain), [(worker(0), other), (worker(2), first)].into());
    assert_eq!([0, 1, 2].map(|i| share(&chain, &first, i)), [Some(1); 3]);
    assert_eq!([0, 1, 2].map(|i| share(&chain, &other, i)), [None; 3]);
    chain.step(all_good);
    assert_eq!([0, 1, 2].map(|i| owed(&chain, &first, i)), [38_000_000; 3]);
    assert_eq!([0, 1, 2].map(|i| owed(&chain, &other, i)), [114_000_000, 0, 0]);
    // Rows of members stay, those of others while there is something in them.
    let members = |pool| chain.state.members(pool).map(|(node, _)| node).collect::<BTreeSet<_>>();
    assert_eq!((members(&first), members(&other)), ([worker(2)].into(), [worker(0)].into()));
    let hold = |i| {
        let command = chain.command(PoolAction::Hold(worker(i)), &[0]);
        check(&chain.spec, &chain.state, &command, chain.state.next_time(&chain.spec))
    };
    let held = [0, 1, 2].map(|i| hold(i).is_ok());
    let is_first = chain.pool_id() == first;
    assert_eq!(held, if is_first { [false, false, true] } else { [true, false, false] });
}

#[test]
fn only_members_that_count_lead() {
    let (mut chain, first, other) = two_pools();
    join(&mut chain, 0, other, 2, None);
    join(&mut chain, 1, first, 4, None);
    let mut events = chain.step(all_good);
    events.extend(chain.step(all_good));
    let elected = |pool| {
        let order = |event: &Event| match event {
            Event::Elected { pool: of, order, .. } if *of == pool => Some(nodes(order)),
            _ => None,
        };
        events.iter().find_map(order).unwrap()
    };
    // Settlement 1 is computed in epoch 3, with the scores of epoch 2.
    assert_eq!((elected(first), elected(other)), (vec![worker(2)], vec![worker(0)]));
    // Whoever has led stays in the rows of the pool, and leads it no more.
    join(&mut chain, 2, other, 4, None);
    chain.step(all_good);
    chain.step(all_good);
    let row = chain.state.members(&first).find(|(node, _)| *node == worker(2)).unwrap().1;
    assert_eq!((row.share, row.last_led), (None, Some(1)));
    let order = chain.state.pool(&first).unwrap().election.clone().unwrap().order;
    assert_eq!(nodes(&order), [worker(1)]);
}

#[test]
fn accounts_are_paid_where_their_nodes_say_at_the_next_settlement() {
    let mut chain = Chain::grown(start(), 2);
    let to = |chain: &Chain| {
        let of = |kind, node| chain.account(kind, node).map(|account| account.to);
        [0, 1, 2]
            .map(|i| of(AccountKind::Worker, worker(i)).unwrap())
            .into_iter()
            .chain(of(AccountKind::Commission, validator(0)))
            .collect::<Vec<_>>()
    };
    let before = [address(1), address(2), address(3), address(99)];
    assert_eq!(to(&chain), before);
    chain.change_node(worker(1), |node| node.payout_address = address(71));
    chain.change_pool(|pool| pool.terms.commission_address = address(72));
    chain.change(|rows| rows.remove::<Nodes>(&worker(2)));
    chain.step(all_good);
    assert_eq!(to(&chain), before, "no settlement yet");
    let events = chain.step(all_good);
    let after = [address(1), address(71), address(3), address(72)];
    assert_eq!(to(&chain), after, "worker 2 is gone, and is paid where it was");
    let is_settled = |event: &Event| matches!(event, Event::Settled(made) if made.leaves.iter().all(|leaf| after.contains(&leaf.to)));
    assert!(events.iter().any(is_settled), "{events:?}");
    // Another owner gets its own account; what the first one earned stays where it was.
    chain.change_pool(|pool| (pool.owner, pool.terms.commission_address) = (validator(1), address(73)));
    chain.step(all_good);
    chain.step(all_good);
    assert_eq!(to(&chain), after);
    assert_eq!(chain.account(AccountKind::Commission, validator(1)).unwrap().to, address(73));
}

/// Nobody knows where to pay whoever is gone before it was ever owed anything: its part waits for those who stay.
#[test]
fn the_part_of_who_is_gone_is_carried() {
    let mut chain = Chain::grown(start(), 1);
    chain.change(|rows| rows.remove::<Nodes>(&worker(2)));
    chain.step(all_good);
    let pool = chain.pool_id();
    assert_eq!([0, 1, 2].map(|i| owed(&chain, &pool, i)), [38_000_000, 38_000_000, 0]);
    assert_eq!(chain.pool().carried.get(), 38_000_000);
    chain.step(all_good);
    chain.step(all_good);
    assert_eq!([0, 1, 2].map(|i| owed(&chain, &pool, i)), [113_050_000, 113_050_000, 0]);
    assert_eq!(chain.pool().carried, MicroUsdt::ZERO);
}

#[test]
fn terms_are_those_of_the_state() {
    let mut chain = Chain::grown(start(), 2);
    let before = chain.owed().get();
    chain.change_pool(|pool| {
        pool.terms.budget = MicroUsdt::new(2 * BUDGET);
        (pool.terms.split, pool.terms.commission) = (SplitRule::Credits, Ppm::new(500_000));
    });
    chain.step(all_good);
    let pool = chain.pool_id();
    assert_eq!(share(&chain, &pool, 0), Some(4), "a credit for each seat");
    chain.step(|validator, worker| all_good(validator, worker).filter(|_| worker == 0));
    assert_eq!(chain.owed().get() - before, 2 * BUDGET);
    // Eight credits of sixteen, of half the budget.
    assert_eq!([0, 1, 2].map(|i| owed(&chain, &pool, i)), [98_000_000, 68_000_000, 68_000_000]);
}
