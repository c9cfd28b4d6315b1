//! Pools: how they form, begin, change and end.

use std::time::Duration;

use lucid_types::amount::MicroUsdt;
use lucid_types::command::{Action, Command, NodeAction, ValidatorAction};
use lucid_types::id::PoolId;
use lucid_types::key::NodeKey;
use lucid_types::payout::AccountKind;
use lucid_types::payout_tree::AccountId;
use lucid_types::pool::{JoinPolicy, NewPool, PoolAction, PoolTerms, SplitRule};
use lucid_types::ticket::Ticket;
use lucid_types::time::Epoch;

use super::chain::{
    BUDGET, Chain, VALIDATORS, address, all_good, start, start_with, validator, validator_key, worker, worker_key,
};
use super::entry::newcomer;
use crate::ledger::command::{CommandRefused, SignedCommand};
use crate::ledger::event::Event;
use crate::ledger::pool::{MAX_FORMING, MAX_FORMING_TIME, PoolState, PoolStatus, Standing};
use crate::ledger::state::Rows;
use crate::ledger::table::{Members, Pools};

fn new_pool(chain: &Chain, name: &str, vault: usize) -> NewPool {
    let mut contract = chain.start.pools[0].vault.clone();
    contract.address = address(vault);
    NewPool {
        name: name.into(),
        terms: PoolTerms {
            budget: MicroUsdt::new(BUDGET),
            split: SplitRule::Equal,
            commission: lucid_types::amount::Ppm::ZERO,
            commission_address: address(98),
        },
        join: JoinPolicy::Open,
        max_members: 10,
        vault: contract,
    }
}

fn create(chain: &Chain, owner: &NodeKey, pool: NewPool) -> SignedCommand {
    chain.give(owner, Action::CreatePool(pool), &[])
}

fn approve(chain: &Chain, i: usize, pool: PoolId) -> SignedCommand {
    chain.give(&validator_key(i), Action::Validator(ValidatorAction::ApprovePool(pool)), &[])
}

fn by(owner: &NodeKey, chain: &Chain, pool: PoolId, action: PoolAction) -> SignedCommand {
    chain.give(owner, Action::Pool { pool, action }, &[])
}

/// A chain in epoch 3 with a forming pool of this owner.
fn forming(min_members: u32) -> (Chain, NodeKey, PoolId) {
    let owner = newcomer(50);
    let mut chain = Chain::grown(start_with(|start| start.genesis.policy.min_pool_members = min_members), 2);
    chain.register(&owner);
    let id = PoolId::derive(chain.spec.id(), "new");
    let events = chain.take(create(&chain, &owner, new_pool(&chain, "new", 120))).unwrap();
    assert_eq!(events, [Event::PoolCreated { pool: id }]);
    (chain, owner, id)
}

/// A worker that leaves the first pool for this one.
fn moves(chain: &mut Chain, i: usize, pool: PoolId) {
    let leave = chain.give(&worker_key(i), Action::Node(NodeAction::Leave), &[]);
    chain.take(leave).unwrap();
    chain.reach(chain.state.closed().get() + 3);
    let ticket = Ticket::Stamp(chain.stamp(worker(i), Some(pool)));
    let join = chain.give(&worker_key(i), Action::Node(NodeAction::Join { pool, ticket }), &[]);
    chain.take(join).unwrap();
}

fn owed(chain: &Chain, pool: PoolId, key: &NodeKey) -> u64 {
    let id = AccountId::derive(chain.spec.id(), &pool, AccountKind::Worker, &key.account());
    chain.state.account(&pool, &id).map_or(0, |account| account.owed.get())
}

#[test]
fn a_pool_begins_with_members_and_the_approval_of_a_third() {
    let (mut chain, owner, pool) = forming(2);
    let status = |chain: &Chain| chain.state.pool(&pool).unwrap().status.clone();
    assert!(matches!(status(&chain), PoolStatus::Forming { .. }));
    assert_eq!(chain.take(approve(&chain, 9, pool)), Err(CommandRefused::NotValidator));
    for i in [3, 1] {
        let command = approve(&chain, i, pool);
        chain.take(command).unwrap();
    }
    let PoolStatus::Forming { approvals, .. } = status(&chain) else { panic!("no members yet") };
    let mut expected = vec![validator(1), validator(3)];
    expected.sort_unstable();
    assert_eq!(approvals, expected);
    assert_eq!(chain.take(approve(&chain, 1, pool)), Err(CommandRefused::Approved));
    let suspend = by(&owner, &chain, pool, PoolAction::Suspend(true));
    assert_eq!(chain.take(suspend), Err(CommandRefused::Forming));
    let (first, second) = (newcomer(51), newcomer(52));
    chain.enlist(&first, pool);
    assert!(matches!(status(&chain), PoolStatus::Forming { .. }));
    let open = chain.state.closed().next().get();
    chain.enlist(&second, pool);
    assert_eq!(status(&chain), PoolStatus::Active { from: Epoch::new(open + 2) });
    assert_eq!(chain.take(approve(&chain, 2, pool)), Err(CommandRefused::NotForming));

    // Nothing before the settlement of its first epoch.
    assert_eq!(open, 3);
    let mut drawn = Vec::new();
    while chain.state.pool(&pool).unwrap().settled < 3 {
        chain.step(all_good);
        let scored = &chain.state.open().unwrap().scored;
        drawn.push(scored.iter().filter(|it| it.pool == pool).count());
        if chain.state.pool(&pool).unwrap().settled < 3 {
            assert_eq!(chain.state.pool(&pool).unwrap().budgets, MicroUsdt::ZERO);
        }
    }
    assert_eq!(drawn[..3], [0, 2, 2], "epochs 4, 5 and 6");
    assert_eq!([&first, &second].map(|key| owed(&chain, pool, key)), [BUDGET / 2; 2]);
    assert_eq!(chain.state.pool(&pool).unwrap().settled, chain.pool().settled, "settlements are numbered alike");
    let root = chain.state.pool(&pool).unwrap().newest.unwrap();
    assert_eq!((root.settlement, root.vault), (3, address(120)));
}

#[test]
fn members_before_the_approval_are_drawn_when_the_pool_is_active() {
    let (mut chain, _, pool) = forming(1);
    let member = newcomer(51);
    chain.enlist(&member, pool);
    chain.reach(6);
    assert!(chain.state.open().unwrap().scored.iter().all(|it| it.pool != pool));
    for i in 0..2 {
        let command = approve(&chain, i, pool);
        chain.take(command).unwrap();
    }
    assert_eq!(chain.state.pool(&pool).unwrap().status, PoolStatus::Active { from: Epoch::new(8) });
    let is_drawn = |chain: &Chain| chain.state.open().unwrap().scored.iter().any(|it| it.pool == pool);
    chain.reach(7);
    assert!(!is_drawn(&chain));
    chain.reach(8);
    assert!(is_drawn(&chain));
    assert_eq!(VALIDATORS, 4, "two of four are more than a third, one is not");
}

#[test]
fn what_a_new_pool_may_not_be() {
    let (mut chain, owner, pool) = forming(1);
    let other = newcomer(60);
    let stranger = create(&chain, &other, new_pool(&chain, "other", 121));
    assert_eq!(chain.take(stranger), Err(CommandRefused::NotRegistered(other.account())));
    chain.register(&other);
    let refused = |owner: &NodeKey, change: fn(&mut NewPool)| {
        let mut new = new_pool(&chain, "other", 121);
        change(&mut new);
        chain.clone().take(create(&chain, owner, new)).unwrap_err()
    };
    assert_eq!(refused(&owner, |_| ()), CommandRefused::FormsPool(pool));
    assert_eq!(refused(&other, |it| it.name = "new".into()), CommandRefused::NameTaken);
    assert_eq!(refused(&other, |it| it.vault.address = address(100)), CommandRefused::VaultTaken);
    assert_eq!(refused(&other, |it| it.vault.address = address(120)), CommandRefused::VaultTaken);
    for (change, told) in [
        ((|it| it.vault.address = address(200)) as fn(&mut NewPool), "vault.address is the USDT contract"),
        (|it| it.terms.commission_address = address(100), "commission_address is a pool's vault"),
        (|it| it.terms.commission_address = address(121), "commission_address is the pool's vault"),
        (|it| it.vault.signers.threshold = 1, "vault: threshold 1 of 3"),
        (|it| it.max_members = 0, "max_members 0"),
    ] {
        let error = refused(&other, change).to_string();
        assert!(error.contains(told), "{error}");
    }
    // As many as may form.
    let sample = chain.state.pool(&pool).unwrap().clone();
    let mut full = chain.clone();
    full.change(|rows| {
        for i in 1..u8::try_from(MAX_FORMING).unwrap() {
            rows.put::<Pools>(&PoolId::from_bytes([i; 32]), PoolState { owner: worker(0), ..sample.clone() });
        }
    });
    let command = create(&full, &other, new_pool(&full, "other", 121));
    assert_eq!(full.take(command), Err(CommandRefused::TooManyForming));
    let command = create(&chain, &other, new_pool(&chain, "other", 121));
    chain.take(command).unwrap();
}

#[test]
fn a_pool_that_does_not_begin_in_time_is_gone() {
    let (mut chain, owner, pool) = forming(2);
    let member = newcomer(51);
    chain.enlist(&member, pool);
    let end = chain.state.time().after(MAX_FORMING_TIME);
    // In the block that is too late, its approval does not count, and with it the pool goes.
    let late = chain.at(end.after(Duration::from_secs(10)));
    let too_late = Command {
        until: late.header.time,
        ..chain.draft_of(validator(1), Action::Validator(ValidatorAction::ApprovePool(pool)))
    };
    let too_late = chain.sign(too_late, &[validator_key(1)]);
    let error = crate::ledger::command::check(&chain.spec, &chain.state, &too_late, late.header.time);
    assert_eq!(error, Err(CommandRefused::FormedTooLate));
    let events = chain.apply(late);
    assert!(events.contains(&Event::PoolDisbanded { pool }));
    assert!(chain.state.pool(&pool).is_none() && !chain.state.has::<Members>(&(pool, member.account())));
    assert_eq!(chain.state.node(&member.account()).unwrap().membership, None);
    let again = create(&chain, &owner, new_pool(&chain, "new", 120));
    chain.take(again).unwrap();
    let disband = by(&owner, &chain, pool, PoolAction::Disband);
    assert_eq!(chain.take(disband).unwrap(), [Event::PoolDisbanded { pool }]);
    assert!(chain.state.pool(&pool).is_none());
}

#[test]
fn other_terms_count_from_the_second_settlement_after() {
    let mut chain = Chain::grown(start(), 2);
    let terms = PoolTerms { budget: MicroUsdt::new(2 * BUDGET), split: SplitRule::Credits, ..chain.pool().terms };
    let update = |chain: &Chain, terms, max_members| {
        chain.command(PoolAction::Update { terms, join: JoinPolicy::Invite, max_members }, &[0])
    };
    let bad = PoolTerms { commission_address: address(100), ..terms };
    assert!(matches!(chain.take(update(&chain, bad, 9)), Err(CommandRefused::Address { .. })));
    let command = update(&chain, terms, 2);
    chain.take(command).unwrap();
    assert_eq!((chain.pool().join, chain.pool().max_members, chain.pool().members), (JoinPolicy::Invite, 2, 3));
    assert_eq!((chain.pool().terms.budget.get(), chain.pool().next_terms), (BUDGET, Some((3, terms))));
    let mut budgets = Vec::new();
    for settlement in 2..=4 {
        let before = chain.pool().budgets;
        while chain.pool().settled < settlement {
            chain.step(all_good);
        }
        budgets.push(chain.pool().budgets.get() - before.get());
    }
    assert_eq!(budgets, [BUDGET, 2 * BUDGET, 2 * BUDGET]);
    assert_eq!((chain.pool().terms, chain.pool().next_terms), (terms, None));
    // One epoch, a credit for each seat, by the rule that counts now.
    chain.step(all_good);
    let share = |chain: &Chain| chain.state.members(&chain.pool_id()).next().unwrap().1.share;
    chain.block(all_good);
    assert_eq!(share(&chain), Some(4));

    // By terms that are under way members earn already: they are not replaced before their settlement is computed.
    let mut chain = Chain::grown(start(), 3);
    let command = update(&chain, terms, 9);
    chain.take(command).unwrap();
    assert_eq!(chain.pool().next_terms.unwrap().0, 3);
    chain.block(all_good);
    assert_eq!((chain.state.closed().get(), chain.pool().settled), (4, 1));
    assert_eq!(chain.take(update(&chain, terms, 8)), Err(CommandRefused::TermsUnderWay));
    while chain.pool().settled < 2 {
        chain.block(all_good);
    }
    let command = update(&chain, terms, 8);
    chain.take(command).unwrap();
    assert_eq!((chain.pool().terms, chain.pool().next_terms), (terms, Some((4, terms))));
}

/// Also where nobody was measured, and many settlements are computed at once.
#[test]
fn settlements_without_a_measured_epoch_count_what_was_promised_for_them() {
    let mut chain = Chain::grown(start(), 2);
    let terms = PoolTerms { budget: MicroUsdt::new(7), ..chain.pool().terms };
    let command = chain.command(PoolAction::Update { terms, join: JoinPolicy::Open, max_members: 9 }, &[0]);
    chain.take(command).unwrap();
    // Settlements 2 to 10 are over: one by the old terms, eight by the new ones.
    let block = chain.at(chain.spec.genesis().epoch_end(Epoch::new(20)));
    chain.apply(block);
    while chain.pool().settled < 10 {
        chain.block(|_, _| None);
    }
    assert_eq!(chain.pool().settled, 10);
    assert_eq!(chain.pool().budgets.get(), 2 * BUDGET + 8 * 7);
}

#[test]
fn who_is_banned_leaves_keeps_what_it_earned_and_does_not_come_back() {
    let mut chain = Chain::grown(start(), 2);
    let pool = chain.pool_id();
    let ban = |chain: &Chain, node| chain.command(PoolAction::Ban(node), &[0]);
    let unban = |chain: &Chain, node| chain.command(PoolAction::Unban(node), &[0]);
    let stranger = newcomer(1).account();
    assert_eq!(chain.take(ban(&chain, stranger)), Err(CommandRefused::NotRegistered(stranger)));
    assert_eq!(chain.take(unban(&chain, worker(0))), Err(CommandRefused::NotBanned));
    let command = ban(&chain, worker(0));
    let events = chain.take(command).unwrap();
    let left = Event::Left { pool, node: worker(0), until: Epoch::new(5) };
    assert_eq!(events, [left, Event::Banned { pool, node: worker(0) }]);
    assert_eq!((chain.pool().members, chain.take(ban(&chain, worker(0)))), (2, Err(CommandRefused::BannedAlready)));
    let before = owed(&chain, pool, &worker_key(0));
    chain.reach(7);
    assert_eq!(owed(&chain, pool, &worker_key(0)), before + 38_000_000, "of epochs 3 and 4");
    let join = |chain: &Chain| {
        let ticket = Ticket::Stamp(chain.stamp(worker(0), Some(pool)));
        chain.give(&worker_key(0), Action::Node(NodeAction::Join { pool, ticket }), &[])
    };
    assert_eq!(chain.take(join(&chain)), Err(CommandRefused::Banned));
    assert_eq!(chain.state.get::<Members>(&(pool, worker(0))).unwrap().standing, Standing::Banned);
    let command = unban(&chain, worker(0));
    chain.take(command).unwrap();
    chain.take(join(&chain)).unwrap();
    assert_eq!(chain.pool().members, 3);
    // Whoever is no member can be banned, too; with the ban its row goes.
    let outsider = newcomer(2);
    chain.register(&outsider);
    let commands = [ban(&chain, outsider.account())];
    chain.take(commands[0].clone()).unwrap();
    let command = unban(&chain, outsider.account());
    chain.take(command).unwrap();
    assert!(!chain.state.has::<Members>(&(pool, outsider.account())));
}

#[test]
fn a_pool_has_the_owner_that_agrees_to_be() {
    let mut chain = Chain::grown(start(), 2);
    let (pool, next) = (chain.pool_id(), newcomer(70));
    let transfer = || Action::Pool { pool, action: PoolAction::Transfer(next.account()) };
    let command = chain.give(&validator_key(0), transfer(), &[&next]);
    assert_eq!(chain.take(command), Err(CommandRefused::NotRegistered(next.account())));
    chain.register(&next);
    let alone = chain.give(&validator_key(0), transfer(), &[]);
    assert_eq!(chain.take(alone), Err(CommandRefused::Unsigned(next.public_key())));
    let both = chain.give(&validator_key(0), transfer(), &[&next]);
    chain.take(both).unwrap();
    assert_eq!(chain.pool().owner, next.account());
    let suspend = chain.command(PoolAction::Suspend(true), &[0]);
    assert_eq!(chain.take(suspend), Err(CommandRefused::NotOwner(next.account())));
    let suspend = by(&next, &chain, pool, PoolAction::Suspend(true));
    chain.take(suspend).unwrap();
}

#[test]
fn a_disbanded_pool_pays_what_was_earned_and_promises_no_more() {
    let mut chain = Chain::grown(start(), 3);
    let pool = chain.pool_id();
    let command = chain.command(PoolAction::Disband, &[0]);
    let events = chain.take(command).unwrap();
    assert_eq!(events.len(), 4, "the pool, and three members that leave: {events:?}");
    let status = PoolStatus::Disbanded { from: Epoch::new(1), until: Epoch::new(6) };
    assert_eq!((chain.pool().status.clone(), chain.pool().members), (status, 0));
    let update = PoolAction::Update { terms: chain.pool().terms, join: JoinPolicy::Open, max_members: 1 };
    for action in [update, PoolAction::Disband, PoolAction::Ban(worker(0)), PoolAction::Approve(worker(0))] {
        assert_eq!(chain.take(chain.command(action, &[0])), Err(CommandRefused::Disbanded));
    }
    let newcomer = newcomer(1);
    let ticket = Ticket::Stamp(chain.stamp(newcomer.account(), Some(pool)));
    let entry = lucid_types::command::Entry::Pool { pool, ticket };
    let join = chain.give(&newcomer, Chain::registration(&newcomer, 150, entry), &[]);
    assert_eq!(chain.take(join), Err(CommandRefused::Disbanded));
    // Settlement 3, of epochs 5 and 6, is the last one: its members worked in epoch 5.
    chain.reach(13);
    assert_eq!(chain.pool().budgets.get(), 3 * BUDGET);
    assert_eq!((chain.owed().get(), chain.pool().newest.unwrap().settlement), (3 * BUDGET, 3));
    assert!(chain.state.open().unwrap().scored.is_empty());
    // What was lost can be booked still, and the owner's account goes on.
    let losses = chain.command(PoolAction::Losses(MicroUsdt::new(5)), &[0, 1]);
    chain.take(losses).unwrap();
    assert_eq!(chain.pool().newest.unwrap().total.get(), 3 * BUDGET + 5);
    // Its members enter another pool.
    let owner = newcomer_owner();
    chain.register(&owner);
    let command = create(&chain, &owner, new_pool(&chain, "next", 130));
    chain.take(command).unwrap();
    let next = PoolId::derive(chain.spec.id(), "next");
    let ticket = Ticket::Stamp(chain.stamp(worker(0), Some(next)));
    let join = chain.give(&worker_key(0), Action::Node(NodeAction::Join { pool: next, ticket }), &[]);
    chain.take(join).unwrap();
}

fn newcomer_owner() -> NodeKey {
    newcomer(80)
}

#[test]
fn a_worker_that_moves_is_drawn_for_one_pool_at_a_time() {
    let (mut chain, _, pool) = forming(1);
    moves(&mut chain, 0, pool);
    for i in 0..2 {
        let command = approve(&chain, i, pool);
        chain.take(command).unwrap();
    }
    let mut pools = Vec::new();
    for _ in 0..4 {
        let scored = &chain.state.open().unwrap().scored;
        let of: Vec<_> = scored.iter().filter(|it| it.node == worker(0)).map(|it| it.pool == pool).collect();
        pools.push(of);
        chain.step(all_good);
    }
    assert_eq!(pools, [vec![], vec![], vec![true], vec![true]]);
}
