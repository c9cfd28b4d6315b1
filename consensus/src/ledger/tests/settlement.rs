//! Settlements: what is earned, split, carried and promised, and who leads.

use std::collections::BTreeMap;

use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::id::NodeId;
use lucid_types::payout::VaultLimits;
use lucid_types::pool::SplitRule;
use lucid_types::report::Observation;
use lucid_types::time::Epoch;
use proptest::prelude::*;

use super::chain::{BUDGET, Chain, WORKERS, all_good, observation, start, start_with, validator, worker};
use super::duties::register_validators;
use crate::ledger::event::Event;
use crate::ledger::state::Rows;

/// Who was ever owed how much.
fn owed(chain: &Chain) -> BTreeMap<NodeId, u64> {
    chain.accounts().values().map(|account| (account.node, account.owed.get())).collect()
}

/// The first settlement, of epochs 1 and 2.
fn settled(split: SplitRule, observe: impl Fn(u64, usize) -> Option<Observation>) -> Chain {
    let mut chain = Chain::new(start_with(|start| start.pools[0].split = split));
    for epoch in 1..=2 {
        chain.step(|_, worker| observe(epoch, worker));
    }
    chain
}

/// Worker 0 echoes in both epochs of a settlement, worker 1 in one, worker 2 in none.
fn two_one_none(epoch: u64, i: usize) -> Option<Observation> {
    Some(observation(4, [true, epoch % 2 == 1, false][i]))
}

#[test]
fn equal_parts_for_all_who_earned() {
    let chain = settled(SplitRule::Equal, two_one_none);
    let expected = [(validator(0), 6_000_000), (worker(0), 57_000_000), (worker(1), 57_000_000)];
    assert_eq!(owed(&chain), expected.into());
    assert_eq!(chain.pool().budgets.get(), BUDGET);
    assert_eq!(chain.pool().carried, MicroUsdt::ZERO);
    let to: BTreeMap<_, _> = chain.accounts().values().map(|account| (account.node, account.to)).collect();
    assert_eq!(to[&worker(1)], chain.state.node(&worker(1)).unwrap().payout_address);
    assert_eq!(to[&validator(0)], chain.start.pools[0].commission_address);
}

#[test]
fn parts_by_credits() {
    let chain = settled(SplitRule::Credits, two_one_none);
    let expected = [(validator(0), 6_000_000), (worker(0), 76_000_000), (worker(1), 38_000_000)];
    assert_eq!(owed(&chain), expected.into());
}

#[test]
fn parts_by_credits_times_score() {
    let chain = settled(SplitRule::CreditsTimesScore, two_one_none);
    let share = |i: usize| -> u64 {
        let rows = [1, 2].map(|epoch| chain.finalised[&Epoch::new(epoch)].scores.rows.clone());
        let of_worker = rows.iter().flatten().filter(|row| row.worker == worker(i));
        of_worker.map(|row| row.credits.get() * u64::from(row.score.get())).sum()
    };
    let (first, second) = (share(0), share(1));
    assert!(first > second && second > 0 && share(2) == 0);
    let exact = |share: u64| 114_000_000 * share / (first + second);
    let owed = owed(&chain);
    assert!([0, 1].contains(&(owed[&worker(0)] - exact(first))));
    assert!([0, 1].contains(&(owed[&worker(1)] - exact(second))));
    assert_eq!(owed[&worker(0)] + owed[&worker(1)], 114_000_000);
    assert_eq!(owed[&validator(0)], 6_000_000);
}

#[test]
fn what_nobody_earned_is_carried_commission_included() {
    let chain = settled(SplitRule::CreditsTimesScore, |_, _| Some(observation(4, false)));
    assert_eq!(chain.pool().carried.get(), BUDGET);
    assert_eq!(owed(&chain), BTreeMap::new());
    // Nor does anybody earn where too few validators report.
    let mut chain = Chain::new(start());
    for _ in 0..2 {
        chain.step(|validator, worker| all_good(validator, worker).filter(|_| validator < 2));
    }
    assert_eq!(chain.pool().carried.get(), BUDGET);
    assert!(chain.finalised.values().all(|it| it.scores.rows.is_empty()), "no epoch was measured");
}

#[test]
fn one_settlement_does_not_pay_for_another() {
    let mut chain = settled(SplitRule::Credits, two_one_none);
    chain.step(|_, worker| two_one_none(3, worker));
    chain.step(|_, i| Some(observation(4, i == 2)));
    // Epoch 3: workers 0 and 1; epoch 4: worker 2. Three credits for 114 USDT.
    let expected = [
        (validator(0), 12_000_000),
        (worker(0), 76_000_000 + 38_000_000),
        (worker(1), 38_000_000 + 38_000_000),
        (worker(2), 38_000_000),
    ];
    assert_eq!(owed(&chain), expected.into());
}

#[test]
fn settlements_stop_after_the_last() {
    for (last, settlements) in [(None, 4), (Some(0), 0), (Some(3), 3), (Some(4), 4), (Some(5), 4)] {
        let chain = Chain::grown(start_with(|start| start.genesis.policy.last_settlement = last), 8);
        assert_eq!(chain.pool().budgets.get(), settlements * BUDGET, "last settlement {last:?}");
    }
}

/// The leaders of the first settlements where all workers are equal.
fn leaders(cooldown: u64, settlements: usize) -> Vec<NodeId> {
    let mut chain = Chain::new(start_with(|start| start.genesis.policy.leader_cooldown = cooldown));
    let mut leaders = Vec::new();
    while leaders.len() < settlements {
        for event in chain.step(all_good) {
            if let Event::Elected { settlement, order, .. } = event {
                assert_eq!(settlement, leaders.len() as u64 + 1);
                assert_eq!(order.len(), WORKERS);
                assert_eq!(chain.pool().election.as_ref().unwrap().order, order);
                leaders.push(order[0].node);
            }
        }
    }
    leaders
}

#[test]
fn leaders_cool_down() {
    let taking_turns = leaders(3, 9);
    for s in 3..9 {
        assert_eq!(taking_turns[s], taking_turns[s - 3], "settlement {}: who cooled longest", s + 1);
    }
    assert!(leaders(1, 12).windows(2).all(|pair| pair[0] != pair[1]));
    let no_cooldown = leaders(0, 12);
    assert!(no_cooldown.windows(2).any(|pair| pair[0] == pair[1]), "a check that could not fail: {no_cooldown:?}");
}

#[test]
fn only_who_can_lead_leads() {
    let mut chain = Chain::new(start_with(|start| {
        start.workers.iter_mut().for_each(|it| it.gas_address = it.gas_address.filter(|_| it.node == worker(1)));
    }));
    for _ in 0..2 {
        chain.step(all_good);
    }
    let election = chain.pool().election.as_ref().unwrap();
    assert_eq!((election.leader(), election.order.len()), (Some(worker(1)), 1));
}

#[derive(Clone, Debug)]
struct World {
    split: SplitRule,
    commission: u32,
    budget: u64,
    threshold: u64,
    push_fee: u64,
    window: u64,
    settle_every: u64,
    validation: u32,
    max_forfeits: u32,
    /// For each epoch, which validators reveal what they committed to.
    reveals: Vec<[bool; 4]>,
    /// For each epoch, validator and worker: pings answered, an echo verified, observed at all.
    seen: Vec<[[(u8, bool, bool); WORKERS]; 4]>,
}

fn world() -> impl Strategy<Value = World> {
    let split = prop_oneof![Just(SplitRule::CreditsTimesScore), Just(SplitRule::Credits), Just(SplitRule::Equal)];
    let one = (0..5u8, any::<bool>(), prop::bool::weighted(0.9));
    let seen = prop::collection::vec(
        prop::collection::vec(one, 4 * WORKERS).prop_map(|flat| {
            std::array::from_fn(|validator| std::array::from_fn(|worker| flat[validator * WORKERS + worker]))
        }),
        3..16,
    );
    let reveals = prop::collection::vec(any::<[bool; 4]>(), 16);
    let money = (0..=1_000_000u32, 0..1u64 << 40, 0..1u64 << 40, 0..1u64 << 41);
    let validators = (0..=1_000_000u32, 0..=1_000_000u32, reveals);
    (split, money, 1..=3u64, 1..=3u64, validators, seen).prop_map(
        |(split, money, window, settle_every, (validation, max_forfeits, reveals), seen)| {
            let (commission, budget, threshold, push_fee) = money;
            World {
                split,
                commission,
                budget,
                threshold,
                push_fee,
                window,
                settle_every,
                validation,
                max_forfeits,
                reveals,
                seen,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is measured and however it is split, every micro-USDT of every budget is somewhere.
    #[test]
    fn invariant_4_accounts_balance_after_every_block(world in world()) {
        let mut chain = Chain::new(start_with(|start| {
            let pool = &mut start.pools[0];
            (pool.split, pool.commission) = (world.split, Ppm::new(world.commission));
            pool.budget = MicroUsdt::new(world.budget);
            pool.vault.limits = VaultLimits { cap: MicroUsdt::new(u64::MAX), push_fee: MicroUsdt::new(world.push_fee) };
            start.genesis.policy.payout_threshold = MicroUsdt::new(world.threshold);
            start.genesis.policy.report_window = world.window;
            start.genesis.policy.settle_every = world.settle_every;
            start.genesis.policy.validation_ppm = Ppm::new(world.validation);
            start.genesis.policy.max_forfeits = Ppm::new(world.max_forfeits);
        }));
        // The others are unregistered: their parts are carried.
        register_validators(&mut chain, 2);
        for (seen, reveals) in world.seen.iter().zip(&world.reveals) {
            let observe = |i: usize, node: usize| {
                let (answered, echoed, observed) = seen[i][node];
                observed.then(|| observation(answered, echoed))
            };
            // `apply` checks the accounts against each other; here they are checked against the budgets.
            chain.step_revealing(observe, |i| reveals[i]);
            let settlements = chain.state.final_through().get() / world.settle_every;
            prop_assert_eq!(chain.pool().budgets.get(), settlements * world.budget);
            let pool = chain.pool();
            prop_assert!(pool.fees.get() <= settlements * 6 * world.push_fee);
            if let Some(root) = pool.newest {
                // A settlement whose fees take the whole pot makes no root.
                prop_assert_eq!(root.total.get() - root.fees.get(), chain.owed().get());
                prop_assert!(root.total <= root.promised);
            }
        }
    }
}
