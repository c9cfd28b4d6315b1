//! Validators' duties, what they measured, and what they are paid for it.

use std::collections::BTreeMap;

use lucid_score::reward::split;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::id::{NodeId, PoolId};
use lucid_types::network_group::NetworkGroup;
use lucid_types::payout::AccountKind;
use lucid_types::policy::Policy;
use lucid_types::pool::SplitRule;
use lucid_types::time::Epoch;
use proptest::prelude::*;

use super::chain::{
    BUDGET, Chain, VALIDATORS, WORKERS, address, all_good, key_of, observation, start_with, validator, worker,
};
use crate::ledger::duties::{Duty, PoolValidations, Validation};
use crate::ledger::event::{Credited, Event, SharedPart};
use crate::ledger::registry::Node;
use crate::ledger::state::Rows;
use crate::ledger::table::{Equivocations, Nodes, Validations};
use crate::rules::{Rules, Standard};

/// Enters the first validators as commands of theirs would; each is paid at an address of its own.
pub(super) fn register_validators(chain: &mut Chain, count: usize) {
    chain.change(|rows| {
        for i in 0..count {
            let like = rows.get::<Nodes>(&worker(0)).unwrap().clone();
            let (key, operator, group) = (validator(i).first_key(), validator(i), NetworkGroup::NONE);
            let (membership, gas_address) = (None, None);
            let payout_address = address(170 + i);
            rows.put::<Nodes>(
                &validator(i),
                Node { key, operator, payout_address, gas_address, membership, group, ..like },
            );
        }
    });
}

/// A tenth for the validators, all of them registered.
fn chain() -> Chain {
    let mut chain = Chain::new(start_with(|start| start.genesis.policy.validation_ppm = Ppm::new(100_000)));
    register_validators(&mut chain, VALIDATORS);
    chain
}

/// What a validator was ever owed for validating.
fn owed(chain: &Chain, i: usize) -> u64 {
    chain.account(AccountKind::Validator, validator(i)).map_or(0, |account| account.owed.get())
}

fn all_owed(chain: &Chain) -> [u64; VALIDATORS] {
    std::array::from_fn(|i| owed(chain, i))
}

fn duty(chain: &Chain, i: usize) -> Duty {
    chain.state.duty(&validator(i)).copied().unwrap_or_default()
}

/// Sessions of the first pool's workers, by validator.
fn sessions(chain: &Chain) -> BTreeMap<NodeId, u32> {
    let row = chain.state.get::<Validations>(&chain.pool_id());
    row.into_iter().flat_map(PoolValidations::iter).map(|it| (it.validator, it.sessions)).collect()
}

/// The next block as it is decided in round 1: by the validator whose turn that is.
fn in_round_1(chain: &mut Chain) -> usize {
    let mut block = chain.draft(all_good);
    let first = chain.state.next_proposers().of(0).node;
    let height = block.header.height;
    block.header.round = 1;
    block.header.proposer = chain.state.next_proposers().of(1).keys.id;
    block.header.randao = key_of(&block.header.proposer).bls_key().sign_randao(chain.spec.id(), height);
    let block = chain.seal(block);
    chain.apply(block);
    (0..VALIDATORS).find(|i| validator(*i) == first).unwrap()
}

#[test]
fn the_validators_of_a_pool_share_their_part_of_its_pot() {
    let mut chain = chain();
    // Validator 3 measures only worker 0 in epoch 1, and validator 2 only worker 1 in epoch 2.
    let observe = |epoch: u64| {
        move |i: usize, worker: usize| {
            let measures = (i, epoch) != (3, 1) || worker == 0;
            let measures = measures && ((i, epoch) != (2, 2) || worker == 1);
            measures.then(|| observation(4, true))
        }
    };
    chain.step(observe(1));
    assert_eq!(sessions(&chain), [(0, 3), (1, 3), (2, 3), (3, 1)].map(|(i, n)| (validator(i), n)).into());
    let events = chain.step(observe(2));
    assert!(sessions(&chain).is_empty(), "the settlement has taken them");
    // 120 USDT less 5 % commission and 10 % for the validators, which is 12: of 6 + 6 + 4 + 4 sessions.
    assert_eq!(all_owed(&chain), [3_600_000, 3_600_000, 2_400_000, 2_400_000]);
    let pool = chain.pool_id();
    let [pot, members] = [120_000_000, 102_000_000].map(MicroUsdt::new);
    let [fee, commission, validators] = [0, 6_000_000, 12_000_000].map(MicroUsdt::new);
    let of = |kind, node, weight, amount| SharedPart {
        kind,
        node,
        weight,
        amount: MicroUsdt::new(amount),
        credited: Credited::Owed,
    };
    let mut of_members: Vec<_> = (0..WORKERS).map(|i| of(AccountKind::Worker, worker(i), 1, 34_000_000)).collect();
    let measured = [(0, 30, 3_600_000), (1, 30, 3_600_000), (2, 20, 2_400_000), (3, 20, 2_400_000)];
    let of_validator = |(i, credits, amount)| of(AccountKind::Validator, validator(i), credits, amount);
    let mut of_validators: Vec<_> = measured.into_iter().map(of_validator).collect();
    of_members.sort_by_key(|part| part.node);
    of_validators.sort_by_key(|part| part.node);
    let of_owner = vec![of(AccountKind::Commission, validator(0), 0, 6_000_000)];
    let (split, parts) = (SplitRule::Equal, [of_members, of_owner, of_validators].concat());
    let shared = Event::Shared { pool, settlement: 1, pot, fee, commission, validators, members, split, parts };
    assert!(events.contains(&shared), "{events:?}");
    let account = chain.account(AccountKind::Validator, validator(1)).unwrap();
    assert_eq!((account.node, account.to), (validator(1), address(171)));
    let of_members: u64 = (0..WORKERS).map(|i| chain.account(AccountKind::Worker, worker(i)).unwrap().owed.get()).sum();
    assert_eq!(of_members, 102_000_000);
    assert_eq!(chain.owed().get(), BUDGET);
    assert_eq!(chain.pool().newest.unwrap().total.get(), BUDGET, "all of it is in the root");
}

/// A worker that too few validators measured has no row: nobody is paid for it.
#[test]
fn what_does_not_count_is_not_paid() {
    let mut chain = chain();
    chain.step(|i, worker| (worker > 0 || i < 2).then(|| observation(4, true)));
    assert_eq!(sessions(&chain), (0..VALIDATORS).map(|i| (validator(i), 2)).collect());
}

#[test]
fn whoever_is_not_registered_leaves_its_part_to_be_carried() {
    let mut chain = Chain::new(start_with(|start| start.genesis.policy.validation_ppm = Ppm::new(100_000)));
    register_validators(&mut chain, 3);
    let mut events = Vec::new();
    for _ in 0..2 {
        events = chain.step(all_good);
    }
    assert_eq!(all_owed(&chain), [3_000_000, 3_000_000, 3_000_000, 0]);
    assert_eq!(chain.pool().carried.get(), 3_000_000);
    let parts = events.into_iter().find_map(|event| match event {
        Event::Shared { parts, .. } => Some(parts),
        _ => None,
    });
    let carried: Vec<_> = parts.unwrap().into_iter().filter(|part| part.credited == Credited::Carried).collect();
    let (kind, node, amount) = (AccountKind::Validator, validator(3), MicroUsdt::new(3_000_000));
    assert_eq!(carried, [SharedPart { kind, node, weight: 30, amount, credited: Credited::Carried }]);
    // It goes into the next pot. Once registered it earns.
    register_validators(&mut chain, 4);
    for _ in 0..2 {
        chain.step(all_good);
    }
    assert_eq!(all_owed(&chain), [6_075_000, 6_075_000, 6_075_000, 3_075_000]);
    assert_eq!((chain.pool().carried, chain.owed().get()), (MicroUsdt::ZERO, 2 * BUDGET));
}

/// Nobody is paid who forfeits: then the members share everything.
#[test]
fn forfeits_void_the_part() {
    let mut chain = chain();
    chain.step(all_good);
    // Validators 2 and 3 do not reveal their reports of epoch 2: 1 duty of 2, and some turns.
    chain.step_revealing(all_good, |i| i < 2);
    assert_eq!([0, 2].map(|i| (duty(&chain, i).committed, duty(&chain, i).forfeited)), [(2, 0), (2, 1)]);
    assert_eq!(all_owed(&chain), [6_000_000, 6_000_000, 0, 0]);
    chain.step_revealing(all_good, |i| i > 2);
    let events = chain.step_revealing(all_good, |i| i < 2);
    let of_validators = |event: &Event| match event {
        Event::Shared { validators, members, .. } => Some((validators.get(), members.get())),
        _ => None,
    };
    // The reports of one validator are no quorum: nobody got a row in epoch 3, so only those of epoch 4 count.
    assert_eq!(events.iter().find_map(of_validators), None, "two of four seats are no quorum either");
    assert_eq!(chain.pool().carried.get(), BUDGET);
    assert!(sessions(&chain).is_empty(), "what was counted does not stay for the next settlement");
    // Everybody forfeits one of two in the next settlement: each pair of epochs has a quorum.
    chain.step_revealing(all_good, |i| i > 0);
    let events = chain.step_revealing(all_good, |i| i < 3);
    assert_eq!([0, 1, 2, 3].map(|i| duty(&chain, i).forfeited), [1, 0, 0, 1]);
    // Only 1 and 2 are paid, half of 24 USDT each.
    assert_eq!(events.iter().find_map(of_validators), Some((24_000_000, 204_000_000)));
    assert_eq!(all_owed(&chain), [6_000_000, 18_000_000, 12_000_000, 0]);
}

/// Members get the whole if no validator is paid.
#[test]
fn without_paid_validators_the_members_share_all() {
    let mut chain = chain();
    chain.step_revealing(all_good, |i| i != 0);
    for i in 0..VALIDATORS {
        chain.change(|rows| {
            let committed = 10;
            let row = Duty { settlement: 1, committed, forfeited: 5, ..Duty::default() };
            rows.put::<crate::ledger::table::Duties>(&validator(i), row);
        });
    }
    chain.step(all_good);
    assert_eq!(all_owed(&chain), [0; VALIDATORS]);
    let of_members: u64 = (0..WORKERS).map(|i| chain.account(AccountKind::Worker, worker(i)).unwrap().owed.get()).sum();
    assert_eq!((of_members, chain.pool().carried), (114_000_000, MicroUsdt::ZERO));
}

#[test]
fn five_per_cent_are_forgiven_and_no_more() {
    let policy = Policy::default();
    let loses = |committed, forfeited, turns, missed_turns| {
        Standard.loses_validation_pay(&policy, &Duty { settlement: 1, committed, forfeited, turns, missed_turns })
    };
    assert!(!loses(0, 0, 0, 0), "no duties, no failures");
    assert!(!loses(720, 36, 0, 0) && loses(720, 37, 0, 0));
    assert!(!loses(0, 0, 100, 5) && loses(0, 0, 100, 6));
    // Both duties together: 37 + 3 of 720 + 80 are exactly 5 %.
    assert!(!loses(720, 37, 80, 3) && loses(720, 37, 80, 4) && loses(720, 38, 80, 3));
    assert!(loses(1, 1, 18, 0) && !loses(1, 1, 19, 0));
    assert!(!loses(u32::MAX, 0, u32::MAX, 0) && loses(u32::MAX, u32::MAX, u32::MAX, u32::MAX));
    let none = Policy { max_forfeits: Ppm::ZERO, ..policy.clone() };
    assert!(Standard.loses_validation_pay(&none, &Duty { forfeited: 1, committed: 1_000_000, ..Duty::default() }));
    let all = Policy { max_forfeits: Ppm::ONE, ..policy };
    assert!(!Standard.loses_validation_pay(&all, &Duty { forfeited: 9, committed: 9, ..Duty::default() }));
}

/// A turn that is missed counts in the settlement that is computed next, whatever epoch is open.
#[test]
fn missed_turns_count_like_forfeits() {
    let mut chain = chain();
    let late = in_round_1(&mut chain);
    assert_eq!((duty(&chain, late).settlement, duty(&chain, late).missed_turns), (1, 1));
    while chain.state.pending().next().is_some() {
        chain.block(all_good);
    }
    chain.step(all_good);
    // The blocks that make epoch 2 final are past the end of it: they count for settlement 1, the next one for the second.
    let turns: u32 = (0..VALIDATORS).map(|i| duty(&chain, i).turns).sum();
    let all: Vec<_> = (0..VALIDATORS).map(|i| duty(&chain, i)).collect();
    assert_eq!((u64::from(turns), chain.state.height().get()), (6, 6), "{all:?}");
    assert!(all.iter().all(|duty| duty.settlement == 1));
    let failed = u64::from(duty(&chain, late).missed_turns);
    let loses = failed * 1_000_000 > 50_000 * u64::from(duty(&chain, late).committed + duty(&chain, late).turns);
    assert!(loses && owed(&chain, late) == 0);
    assert_eq!(all_owed(&chain).iter().sum::<u64>(), 12_000_000, "the others share the part");
    let late = in_round_1(&mut chain);
    let next = Duty { settlement: 2, turns: 1, missed_turns: 1, ..Duty::default() };
    assert_eq!(duty(&chain, late), next, "a row of an earlier settlement starts anew");
}

/// Whoever is removed keeps what it is owed, and is paid for what it measured in the settlement.
#[test]
fn who_is_no_validator_any_more_keeps_its_account() {
    let mut chain = chain();
    for _ in 0..3 {
        chain.step(all_good);
    }
    let before = owed(&chain, 3);
    assert_eq!(before, 3_000_000);
    let height = chain.state.height();
    chain.change(|rows| {
        let equivocation = crate::ledger::state::Equivocation { height, proved_in: height, removed: None };
        rows.put::<Equivocations>(&validator(3), equivocation);
    });
    for _ in 0..5 {
        chain.step(all_good);
        assert!(owed(&chain, 3) >= before);
    }
    assert!(chain.state.next_validators().of(&validator(3)).is_none());
    let last = owed(&chain, 3);
    for _ in 0..4 {
        chain.step(all_good);
    }
    assert_eq!(owed(&chain, 3), last, "it earns no more");
    assert!(last > before, "what it measured before it was removed is paid");
}

#[test]
fn validations_are_bounded() {
    let id = |i: usize| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&u64::try_from(i).unwrap().to_be_bytes());
        NodeId::from_bytes(bytes)
    };
    let mut row = PoolValidations::default();
    (1..=PoolValidations::MAX).rev().for_each(|i| row.add(id(i), 1));
    row.add(id(0), 7);
    row.add(id(5), u32::MAX);
    row.add(id(PoolValidations::MAX), 2);
    assert_eq!(row.iter().len(), PoolValidations::MAX);
    assert!(row.iter().is_sorted_by_key(|it| it.validator));
    let of = |i| row.iter().find(|it| it.validator == id(i)).map(|it| it.sessions);
    assert_eq!([0, 1, 5, PoolValidations::MAX].map(of), [None, Some(1), Some(u32::MAX), Some(3)]);
    let bytes = lucid_types::codec::encode(&row);
    assert_eq!(bytes.len(), <PoolValidations as lucid_types::codec::Wire>::MAX_BYTES);
}

/// What a worker's stats were before the settlement is told once, with its first row in it.
#[test]
fn final_epochs_tell_the_stats_before_their_settlement() {
    let mut chain = Chain::new(start_with(|start| start.genesis.policy.settle_every = 3));
    let mut newest = BTreeMap::new();
    for epoch in 1..=7u64 {
        // Worker 0 is not measured in the first epoch of a settlement.
        chain.step(|_, worker| (worker > 0 || epoch % 3 != 1).then(|| observation(4, true)));
        let told: Vec<_> = chain.finalised[&Epoch::new(epoch)].before.clone();
        let of: Vec<_> = (0..WORKERS).filter(|i| told.iter().any(|(node, _)| *node == worker(*i))).collect();
        match epoch % 3 {
            1 => assert_eq!(of, [1, 2]),
            2 => assert_eq!(of, [0]),
            _ => assert!(of.is_empty()),
        }
        for (node, before) in &told {
            assert_eq!(**before, newest.get(node).cloned().unwrap_or_default(), "epoch {epoch}");
        }
        newest = chain.state.all::<crate::ledger::table::Workers>().map(|(id, stats)| (id, stats.clone())).collect();
    }
}

proptest! {
    /// Guarantee: of any pot, with any rates and sessions, nothing is lost or made.
    #[test]
    fn the_parts_of_a_pot_sum_to_it(
        budget in 0u64..1 << 50,
        commission in 0u32..=1_000_000,
        validation in 0u32..=1_000_000,
        counts in prop::collection::vec(prop::option::of(0u32..100_000), VALIDATORS),
    ) {
        let mut chain = Chain::new(start_with(|start| {
            start.genesis.policy.validation_ppm = Ppm::new(validation);
            start.pools[0].commission = Ppm::new(commission);
            start.pools[0].budget = MicroUsdt::new(budget);
        }));
        register_validators(&mut chain, VALIDATORS);
        chain.step(|_, _| None);
        // As if epoch 1 had been measured by these.
        let pool: PoolId = chain.pool_id();
        let mut row = PoolValidations::default();
        for (i, sessions) in counts.iter().enumerate() {
            sessions.iter().for_each(|sessions| row.add(validator(i), *sessions));
        }
        chain.change(|rows| rows.put::<Validations>(&pool, row));
        let before = sessions(&chain);
        let events = chain.step(all_good);
        let Some(Event::Shared { pot, fee, commission: of_owner, validators, members, parts, .. }) =
            events.into_iter().find(|event| matches!(event, Event::Shared { .. })) else {
            return Err(TestCaseError::fail("nothing was shared out"));
        };
        prop_assert_eq!(pot.get(), budget);
        let sum = MicroUsdt::sum([fee, of_owner, validators, members]);
        prop_assert_eq!(sum, Some(pot));
        let of_kind = |kind| MicroUsdt::sum(parts.iter().filter(|part| part.kind == kind).map(|part| part.amount));
        let kinds = [AccountKind::Worker, AccountKind::Validator, AccountKind::Commission];
        prop_assert_eq!(kinds.map(of_kind), [members, validators, of_owner].map(Some));
        let part = u128::from(budget) * u128::from(validation) / 1_000_000;
        let left = u128::from(budget - of_owner.get());
        prop_assert_eq!(u128::from(validators.get()), part.min(left));
        // Everybody measured three workers in epoch 2.
        let weights: Vec<_> = (0..VALIDATORS)
            .map(|i| (validator(i), 5 * (3 + u128::from(before.get(&validator(i)).copied().unwrap_or(0)))))
            .collect();
        let parts = split(validators, &weights);
        prop_assert_eq!(all_owed(&chain).to_vec(), parts.into_iter().map(MicroUsdt::get).collect::<Vec<_>>());
        prop_assert_eq!((chain.owed().get(), chain.pool().carried.get()), (budget, 0));
    }
}

/// Two validators' sessions by pools are apart.
#[test]
fn each_pool_pays_for_its_own_workers() {
    let mut chain = Chain::new(start_with(|start| {
        start.genesis.policy.validation_ppm = Ppm::new(100_000);
        let mut other = start.pools[0].clone();
        (other.name, other.vault.address) = ("other".into(), address(101));
        other.members = vec![worker(2)];
        start.pools[0].members = vec![worker(0), worker(1)];
        start.pools.push(other);
    }));
    register_validators(&mut chain, VALIDATORS);
    let pools = ["pool", "other"].map(|name| PoolId::derive(chain.spec.id(), name));
    chain.step(|i, worker| (i != 3 || worker == 2).then(|| observation(4, true)));
    let sessions = |pool: &PoolId| {
        let row = chain.state.get::<Validations>(pool).unwrap();
        row.iter().map(|Validation { validator, sessions }| (*validator, *sessions)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(sessions(&pools[0]), (0..3).map(|i| (validator(i), 2)).collect());
    assert_eq!(sessions(&pools[1]), (0..4).map(|i| (validator(i), 1)).collect());
}
