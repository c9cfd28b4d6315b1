//! Commands of pools: who may give them, what they change, and what can never be undone.

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_types::amount::MicroUsdt;
use lucid_types::block::Block;
use lucid_types::command::{Action, Command, NodeAction};
use lucid_types::payout::{AccountKind, SettlementRoot, VaultLimits};
use lucid_types::payout_tree::AccountId;
use lucid_types::pool::PoolAction;
use lucid_types::time::UnixMillis;
use lucid_types::vault::Vault;

use super::chain::{
    BUDGET, Chain, address, all_good, observation, signers, start, start_with, validator, validator_key, worker,
    worker_key,
};
use super::start::Pool;
use crate::ledger::check::InvalidBlock;
use crate::ledger::command::SignedCommand;
use crate::ledger::event::Event;
use crate::ledger::pool::{Hold, KEPT_CHANGES, MAX_FORMER_VAULTS, VaultChange, VaultTerms};
use crate::ledger::settle::MAX_HOLD;

fn usdt(n: u64) -> MicroUsdt {
    MicroUsdt::new(n * 1_000_000)
}

fn refusal(chain: &Chain, command: SignedCommand) -> String {
    let mut chain = chain.clone();
    let block = Block { commands: vec![command], ..chain.draft(all_good) };
    let block = chain.seal(block);
    match chain.validate(block).unwrap_err() {
        InvalidBlock::Command { source, .. } => source.to_string(),
        other => panic!("{other}"),
    }
}

#[test]
fn who_may_command() {
    let chain = Chain::grown(start(), 2);
    let hold = || PoolAction::Hold(worker(0));
    let losses = || PoolAction::Losses(usdt(1));
    for (change, by, problem) in [
        (hold(), vec![1, 2], "has to sign the command"),
        (hold(), vec![0, 3], "has no say in it"),
        (hold(), vec![0, 1, 2], "has no say in it"),
        (losses(), vec![0], "1 of the pool's treasury signers have signed the command; it needs 2"),
        (losses(), vec![1, 2], "has to sign the command"),
        (losses(), vec![0, 1, 3], "has no say in it"),
    ] {
        let found = refusal(&chain, chain.command(change, &by));
        assert!(found.contains(problem), "{found}");
    }
    // The owner is a treasury signer here, and one more makes two of three.
    for (change, by) in [(hold(), vec![0]), (losses(), vec![0, 2])] {
        let mut chain = chain.clone();
        chain.step_with(vec![chain.command(change, &by)]);
        assert_eq!(chain.pool().commands, 1);
    }
    let mut foreign = chain.command(hold(), &[0]);
    foreign.record.nonce += 1;
    let block = Block { commands: vec![foreign], ..chain.clone().draft(all_good) };
    assert!(block.verify(chain.spec.id()).is_err(), "a signature holds for its command only");
}

#[test]
fn a_command_applies_once_and_in_order() {
    let mut chain = Chain::grown(start(), 2);
    let first = chain.command(PoolAction::Suspend(true), &[0]);
    chain.step_with(vec![first.clone()]);
    assert!(refusal(&chain, first).contains("has given its command 0 already; the next one has the number 1"));
    let ahead = chain.later_command(1, PoolAction::Suspend(false), &[0]);
    assert!(refusal(&chain, ahead).contains("the account's next command has the number 1, not 2"));

    // Two in one block stand in the order of their numbers.
    let one = chain.command(PoolAction::Suspend(false), &[0]);
    let two = chain.later_command(1, PoolAction::Hold(worker(1)), &[0]);
    let block = Block { commands: vec![two.clone(), one.clone()], ..chain.draft(all_good) };
    assert_eq!(chain.validate(block).unwrap_err(), InvalidBlock::Commands);
    let block = Block { commands: vec![one.clone(), one.clone()], ..chain.draft(all_good) };
    assert_eq!(chain.validate(block).unwrap_err(), InvalidBlock::Commands);
    chain.step_with(vec![one, two]);
    assert_eq!((chain.pool().commands, chain.state.nonce(&validator(0)).next), (3, 3));
}

#[test]
fn what_is_held_is_owed_later_and_never_lost() {
    // 38 USDT a settlement for each of three members.
    let mut chain = Chain::grown(start(), 2);
    chain.step_with(vec![chain.command(PoolAction::Hold(worker(0)), &[0])]);
    assert!(refusal(&chain, chain.command(PoolAction::Hold(worker(0)), &[0])).contains("held already"));
    assert!(refusal(&chain, chain.command(PoolAction::Hold(validator(1)), &[0])).contains("is no member"));
    assert!(refusal(&chain, chain.command(PoolAction::Resume(worker(1)), &[0])).contains("not held"));
    for _ in 0..4 {
        chain.step(all_good);
    }
    let account = chain.account(AccountKind::Worker, worker(0)).unwrap();
    let owed = usdt(2 * 38);
    assert_eq!((account.owed, account.held, account.hold), (owed, usdt(38), Hold::Since(3)), "not what was under way");
    chain.step_with(vec![chain.command(PoolAction::Resume(worker(0)), &[0])]);
    chain.step(all_good);
    chain.step(all_good);
    let account = chain.account(AccountKind::Worker, worker(0)).unwrap();
    assert_eq!((account.owed, account.held, account.hold), (usdt(4 * 38), MicroUsdt::ZERO, Hold::No));
    assert_eq!(chain.pool().settled, 4);
    // One that ends before it is in force sets nothing aside.
    chain.step_with(vec![chain.command(PoolAction::Hold(worker(0)), &[0])]);
    chain.step_with(vec![chain.command(PoolAction::Resume(worker(0)), &[0])]);
    for _ in 0..4 {
        chain.step(all_good);
    }
    let account = chain.account(AccountKind::Worker, worker(0)).unwrap();
    assert_eq!((account.owed, account.held), (usdt(chain.pool().settled * 38), MicroUsdt::ZERO));
}

#[test]
fn a_hold_lapses() {
    let mut chain = Chain::grown(start(), 2);
    chain.step_with(vec![chain.command(PoolAction::Hold(worker(0)), &[0])]);
    let held = |chain: &Chain| chain.account(AccountKind::Worker, worker(0)).unwrap().held;
    while chain.pool().settled < 2 + MAX_HOLD {
        chain.step(all_good);
    }
    assert_eq!(held(&chain), usdt(MAX_HOLD * 38), "settlements 3 to 9");
    while chain.pool().settled < 3 + MAX_HOLD {
        chain.step(all_good);
    }
    let account = chain.account(AccountKind::Worker, worker(0)).unwrap();
    assert_eq!((account.owed, account.held), (usdt((3 + MAX_HOLD) * 38), MicroUsdt::ZERO));
}

#[test]
fn a_suspended_pool_makes_no_root_and_still_owes() {
    let mut chain = Chain::grown(start(), 2);
    chain.step_with(vec![chain.command(PoolAction::Suspend(true), &[0])]);
    while chain.pool().settled < 4 {
        chain.step(all_good);
    }
    assert_eq!(chain.pool().newest.unwrap().settlement, 2, "what was under way has a root still");
    assert_eq!(chain.owed().get(), 4 * BUDGET);
    chain.step(all_good);
    chain.step_with(vec![chain.command(PoolAction::Suspend(false), &[0])]);
    let events = chain.step(all_good);
    let settled = events.into_iter().find_map(|e| if let Event::Settled(settled) = e { Some(settled) } else { None });
    let settled = settled.unwrap();
    assert_eq!((settled.root.settlement, settled.root.total.get()), (5, 5 * BUDGET));
    let of_worker = settled.requests.iter().find(|request| request.node == worker(0)).unwrap();
    assert_eq!(of_worker.amount, usdt(3 * 38), "one request for all that became due meanwhile");
}

/// The first root after a suspension is made by a settlement in which nobody earns: its requests bring their fees all the same, once.
#[test]
fn whatever_a_settlement_requests_brings_its_push_fee() {
    let fee = 1_000;
    let limits = VaultLimits { cap: MicroUsdt::new(1 << 40), push_fee: MicroUsdt::new(fee) };
    let mut chain = Chain::grown(start_with(|start| start.pools[0].vault.limits = limits), 2);
    let paid = chain.pool().fees;
    chain.step_with(vec![chain.command(PoolAction::Suspend(true), &[0])]);
    while chain.pool().settled < 4 {
        chain.step(all_good);
    }
    let before = chain.pool().clone();
    assert_eq!(before.newest.unwrap().fees, before.fees, "settlements without a root take no fee");
    assert!(before.fees > paid);
    let nothing = |_: usize, _: usize| Some(observation(4, false));
    chain.step(nothing);
    chain.step_with(vec![chain.command(PoolAction::Suspend(false), &[0])]);
    let events = chain.step(nothing);
    let settled = events.iter().find_map(|e| if let Event::Settled(settled) = e { Some(settled) } else { None });
    let settled = settled.unwrap();
    let n: u64 = settled.requests.len().try_into().unwrap();
    assert_eq!((settled.root.settlement, n), (5, 4), "three workers and the owner");
    assert_eq!(settled.root.fees.get(), before.fees.get() + n * fee);
    assert_eq!(chain.pool().carried.get(), before.carried.get() + BUDGET - n * fee);
    assert!(
        events.iter().any(|e| matches!(e, Event::Shared { fee, members: MicroUsdt::ZERO, .. } if fee.get() == 4_000))
    );
    for _ in 0..2 {
        chain.step(nothing);
    }
    assert_eq!(chain.pool().fees, settled.root.fees, "once");
}

/// A settlement is computed some blocks after its last epoch; whoever suspends the pool meanwhile has not announced it to those
/// who work in the next one.
#[test]
fn the_settlement_that_is_under_way_has_a_root_also_before_the_one_before_it_is_computed() {
    let mut chain = Chain::grown(start(), 3);
    chain.block(all_good);
    assert_eq!((chain.state.closed().get(), chain.pool().settled), (4, 1), "settlement 2 is over and not computed");
    let block = Block { commands: vec![chain.command(PoolAction::Suspend(true), &[0])], ..chain.draft(all_good) };
    let block = chain.seal(block);
    chain.apply(block);
    while chain.pool().settled < 5 {
        chain.block(all_good);
    }
    assert_eq!(chain.pool().newest.unwrap().settlement, 3);
}

/// After a theft: what was booked on a known account is owed again, what was taken beside the ledger raises the total.
#[test]
fn corrections_and_losses_make_everyone_whole() {
    let mut chain = Chain::grown(start(), 2);
    let robbed = chain.account_id(AccountKind::Worker, worker(2));
    let root = chain.pool().newest.unwrap();
    let correct = PoolAction::Correct { account: robbed, amount: usdt(38) };
    let first = chain.command(correct, &[0, 1]);
    let second = chain.later_command(1, PoolAction::Losses(usdt(7)), &[0, 1]);
    let events = chain.step_with(vec![first, second]);

    let reissued = chain.pool().newest.unwrap();
    assert_eq!(events, [Event::Reissued(reissued)]);
    assert_eq!((reissued.root, reissued.settlement, reissued.until), (root.root, root.settlement, root.until));
    assert_eq!(reissued.total, root.total.saturating_add(usdt(7)));
    assert_eq!(reissued.promised, root.promised.saturating_add(usdt(7)));
    assert_eq!(chain.pool().newest, Some(reissued));
    assert_eq!(chain.accounts()[&robbed].owed, usdt(38), "corrections wait for the next root");

    chain.step(all_good);
    chain.step(all_good);
    assert_eq!(chain.accounts()[&robbed].owed, usdt(3 * 38));
    let newest = chain.pool().newest.unwrap();
    assert_eq!(newest.total.get(), 2 * BUDGET + 45_000_000);
    assert_eq!(newest.promised, newest.total);

    let unknown = PoolAction::Correct { account: AccountId::from_bytes([1; 32]), amount: usdt(1) };
    assert!(refusal(&chain, chain.command(unknown, &[0, 1])).contains("no such account"));
    for action in [PoolAction::Losses(MicroUsdt::ZERO), PoolAction::Correct { account: robbed, amount: usdt(0) }] {
        assert!(refusal(&chain, chain.command(action, &[0, 1])).contains("zero"));
    }
}

/// An owner and its signers can promise nothing that would later stop the chain.
#[test]
fn invariant_7_no_promise_is_too_great_to_count() {
    let mut chain = Chain::grown(start(), 2);
    let most = MicroUsdt::new(1 << 62);
    let accounts: Vec<_> = chain.accounts().into_keys().collect();
    let great = |account, amount| PoolAction::Correct { account, amount };
    assert!(refusal(&chain, chain.command(great(accounts[0], most), &[0, 1])).contains("too great"));
    let fits = MicroUsdt::new((1 << 62) - BUDGET - 1);
    chain.step_with(vec![chain.command(great(accounts[0], fits), &[0, 1])]);
    let two = MicroUsdt::new(2);
    assert!(refusal(&chain, chain.command(great(accounts[1], two), &[0, 1])).contains("too great"));
    chain.step_with(vec![chain.command(PoolAction::Losses(most), &[0, 1])]);
    assert!(refusal(&chain, chain.command(PoolAction::Losses(two), &[0, 1])).contains("too great"));
    for _ in 0..4 {
        chain.step(all_good);
    }
    assert_eq!(chain.pool().budgets, most);
}

#[test]
fn a_rotation_starts_an_era_and_issues_the_newest_root_again() {
    let mut chain = Chain::grown(start(), 2);
    let (root, old) = (chain.pool().newest.unwrap(), chain.pool().vault.signers.clone());
    for (nonce, next, problem) in [
        (0, signers(3, 2), "era"),
        (0, signers(1, 2), "era"),
        (0, signers(2, 1), "threshold 1 of 3"),
        (1, signers(2, 2), "nonce"),
    ] {
        let found = refusal(&chain, chain.command(PoolAction::Signers { nonce, next }, &[0, 1]));
        assert!(found.contains(problem), "{found}");
    }
    let mut next = signers(2, 1);
    next.members.truncate(1);
    next.members[0].node = validator(3);
    chain.step_with(vec![chain.command(PoolAction::Signers { nonce: 0, next: next.clone() }, &[0, 1])]);
    let pool = chain.pool();
    assert_eq!((pool.vault.signers.clone(), pool.vault.nonce), (next.clone(), 1));
    let change = VaultChange { by: old, next: VaultTerms::Signers(next) };
    assert_eq!(pool.changes, BTreeMap::from([(0, change)]));
    assert_eq!(pool.newest.unwrap(), SettlementRoot { era: 2, ..root });
    // The old ones have no say any more.
    assert!(refusal(&chain, chain.command(PoolAction::Losses(usdt(1)), &[0, 1, 2])).contains("it needs 1"));
    chain.step_with(vec![chain.command(PoolAction::Losses(usdt(1)), &[0, 3])]);
}

#[test]
fn a_new_push_fee_counts_from_the_second_settlement_after() {
    let mut chain = Chain::grown(start(), 2);
    let limits = VaultLimits { cap: usdt(5), push_fee: MicroUsdt::new(1_000) };
    let change = |era, nonce| PoolAction::Limits { era, nonce, next: limits };
    assert!(refusal(&chain, chain.command(change(2, 0), &[0, 1])).contains("era"));
    assert!(refusal(&chain, chain.command(change(1, 1), &[0, 1])).contains("nonce"));
    chain.step_with(vec![chain.command(change(1, 0), &[0, 1])]);
    assert_eq!((chain.pool().vault.limits, chain.pool().vault.nonce), (limits, 1));
    let fees: Vec<_> = (0..4)
        .map(|_| {
            chain.step(all_good);
            (chain.pool().settled, chain.pool().fees.get())
        })
        .collect();
    assert_eq!(fees, [(1, 0), (2, 0), (2, 0), (3, 4_000)]);
}

#[test]
fn the_vault_can_take_its_newest_changes_in_their_order() {
    let mut chain = Chain::grown(start(), 2);
    let cap = |nonce: u32| VaultLimits { cap: usdt(5 + u64::from(nonce)), push_fee: MicroUsdt::ZERO };
    let kept = u32::try_from(KEPT_CHANGES).unwrap();
    for nonce in 0..=kept {
        let change = PoolAction::Limits { era: 1, nonce, next: cap(nonce) };
        chain.step_with(vec![chain.command(change, &[0, 1])]);
        let changes = &chain.pool().changes;
        let oldest = (nonce + 1).saturating_sub(kept);
        assert!(changes.keys().copied().eq(oldest..=nonce), "{changes:?}");
        assert!(changes.iter().all(|(nonce, change)| change.next == VaultTerms::Limits(cap(*nonce))));
    }
}

/// Another vault with signers of its own, two of whom must sign.
fn vault(chain: &Chain, at: usize) -> Vault {
    Vault { address: address(at), nonce: 0, signers: signers(1, 2), ..chain.pool().vault.clone() }
}

#[test]
fn another_vault_owes_at_once_what_the_newest_root_owes() {
    let mut chain = Chain::grown(start(), 2);
    let change = PoolAction::Limits { era: 1, nonce: 0, next: VaultLimits { cap: usdt(5), push_fee: usdt(0) } };
    chain.step_with(vec![chain.command(change, &[0, 1])]);
    let before = chain.pool().clone();
    let root = before.newest.unwrap();
    let mut next = vault(&chain, 101);
    (next.signers.members, next.signers.threshold) = (vec![next.signers.members[1], next.signers.members[2]], 2);
    next.signers.era = 4;
    next.limits.push_fee = MicroUsdt::new(1_000);
    let taken_over = PoolAction::Vault { former: before.vault.address, next: next.clone() };
    let command = chain.command(taken_over, &[0, 1]);
    chain.step_with(vec![command.clone()]);
    let pool = chain.pool().clone();
    assert_eq!((&pool.vault, pool.former_vaults.as_slice()), (&next, &[before.vault.address][..]));
    assert!(pool.changes.is_empty(), "they were for the former vault");
    // Nothing but vault and era: what is owed, to whom, the sums, and whose turn it is.
    assert_eq!(pool.newest, Some(SettlementRoot { vault: next.address, era: 4, ..root }));
    assert_eq!((pool.rooted, pool.budgets, pool.push_fee), (before.rooted, before.budgets, before.push_fee));
    assert!(refusal(&chain, command).contains("command"), "its number is used up");

    // Then on as before, with the new push fee from the second settlement after.
    let settled = chain.pool().settled;
    while chain.pool().settled < settled + 3 {
        chain.step(all_good);
    }
    let pool = chain.pool();
    let newest = pool.newest.unwrap();
    assert_eq!((newest.vault, newest.era, newest.settlement), (next.address, 4, settled + 3));
    assert!(newest.total > root.total && chain.state.accounts_balance());
    assert_eq!((pool.push_fee, pool.next_push_fee), (MicroUsdt::new(1_000), None));
    // Who signed for the former vault alone has no say any more.
    let third = PoolAction::Vault { former: next.address, next: vault(&chain, 102) };
    assert!(refusal(&chain, chain.command(third.clone(), &[0, 1])).contains("1 of the pool's treasury signers"));
    chain.step_with(vec![chain.command(third, &[0, 1, 2])]);
    assert_eq!(chain.pool().former_vaults, [before.vault.address, next.address]);
}

#[test]
fn a_vault_follows_only_the_one_in_force_and_none_comes_back() {
    let other = Pool { name: "other".into(), members: vec![], ..start().pools.remove(0) };
    let mut chain = Chain::grown(
        start_with(|start| {
            start.pools.push(other);
            start.pools[1].vault.address = address(150);
        }),
        2,
    );
    // Which of the pools has the smaller id is a matter of the genesis' hash.
    let first = chain.pool().vault.address;
    let (own, others) = if first == address(100) { (100, 150) } else { (150, 100) };
    let follow = |former, next: Vault| PoolAction::Vault { former, next };
    let tried = |chain: &Chain, action| refusal(chain, chain.command(action, &[0, 1]));
    for (former, next, problem) in [
        (address(102), vault(&chain, 101), "the pool's vault is"),
        (first, vault(&chain, own), "the next vault is the former one"),
        (first, vault(&chain, others), "is or was a pool's already"),
        (first, vault(&chain, 200), "vault.address is the USDT contract"),
        (first, vault(&chain, 99), "commission_address is the pool's vault"),
    ] {
        let found = tried(&chain, follow(former, next));
        assert!(found.contains(problem), "{found}");
    }
    let found = refusal(&chain, chain.command(follow(first, vault(&chain, 101)), &[0]));
    assert!(found.contains("1 of the pool's treasury signers") && found.contains("it needs 2"), "{found}");

    // A replay of a command that named the vault before is refused, and so is a vault that a pool has had.
    chain.step_with(vec![chain.command(follow(first, vault(&chain, 101)), &[0, 1])]);
    assert!(tried(&chain, follow(first, vault(&chain, 102))).contains("the pool's vault is"));
    assert!(tried(&chain, follow(address(101), vault(&chain, own))).contains("is or was a pool's already"));
    let paid_to_it = chain.give(&worker_key(0), Action::Node(NodeAction::PayoutAddress(first)), &[]);
    assert!(refusal(&chain, paid_to_it).contains("payout_address is a pool's vault"));
    for at in 2..=MAX_FORMER_VAULTS {
        let former = chain.pool().vault.address;
        chain.step(all_good);
        chain.step_with(vec![chain.command(follow(former, vault(&chain, 210 + at)), &[0, 1])]);
    }
    let last = chain.pool().vault.address;
    assert_eq!(chain.pool().former_vaults.len(), MAX_FORMER_VAULTS);
    assert!(tried(&chain, follow(last, vault(&chain, 101 + 80))).contains("16 times"));
}

#[test]
fn a_command_has_its_time() {
    let mut chain = Chain::grown(start(), 2);
    let until = |chain: &Chain, until: UnixMillis| {
        let draft = chain.command(PoolAction::Suspend(true), &[]).record;
        chain.sign(Command { until, ..draft }, &[validator_key(0)])
    };
    let next = chain.draft(all_good).header.time;
    assert!(refusal(&chain, until(&chain, next.before(Duration::from_millis(1)))).contains("time is over"));
    let latest = next.after(Command::MAX_AHEAD);
    assert!(refusal(&chain, until(&chain, latest.after(Duration::from_millis(1)))).contains("more than a day ahead"));
    for until in [next, latest].map(|at| until(&chain, at)) {
        let mut chain = chain.clone();
        let block = Block { commands: vec![until], ..chain.draft(all_good) };
        let block = chain.seal(block);
        chain.apply(block);
        assert_eq!(chain.pool().commands, 1);
    }
}
