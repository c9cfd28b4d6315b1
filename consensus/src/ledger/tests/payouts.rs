//! Payout attempts: when they open, on what the validators saw, and how votes end them.

use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{AttemptId, PayoutId, SolidBlockId, TxId};
use lucid_types::payout::{PayoutAttempt, ReceiptVote, SolidBlock, TreasuryView, Verdict};
use lucid_types::time::UnixMillis;
use proptest::prelude::*;

use super::chain::{BUDGET, Chain, VALIDATORS, all_good, as_it_is, genesis, genesis_with, validator};
use crate::ledger::execute::Event;
use crate::ledger::payouts::max_open;
use crate::ledger::settle::MAX_UNENDED;
use crate::ledger::state::Payout;
use crate::replica::PaymentView;

/// Three workers and the owner's commission.
const PAYOUTS: usize = 4;

fn nothing(_: usize, _: PaymentView) -> PaymentView {
    PaymentView::default()
}

/// Four payouts wait; the payment network was not seen yet.
fn waiting() -> Chain {
    let mut chain = Chain::new(genesis());
    for _ in 0..3 {
        chain.step(all_good, nothing);
    }
    assert_eq!(chain.state.payouts.len(), PAYOUTS);
    chain
}

fn opened(events: &[Event]) -> Vec<PayoutAttempt> {
    let attempt = |event: &Event| match event {
        Event::AttemptOpened(attempt) => Some(attempt.clone()),
        _ => None,
    };
    events.iter().filter_map(attempt).collect()
}

fn ended(events: &[Event]) -> Vec<(u32, Verdict, bool)> {
    let end = |event: &Event| match event {
        Event::AttemptEnded { attempt, verdict, payout_ended } => Some((attempt.attempt, *verdict, *payout_ended)),
        _ => None,
    };
    events.iter().filter_map(end).collect()
}

/// How many attempts open when the validators see this.
fn opens(view: impl Fn(usize, PaymentView) -> PaymentView) -> usize {
    opened(&waiting().step(all_good, view)).len()
}

fn with_treasury(mut view: PaymentView, change: impl FnOnce(&mut TreasuryView)) -> PaymentView {
    change(&mut view.treasuries[0]);
    view
}

#[test]
fn no_more_attempts_are_open_than_a_commit_can_vote_on() {
    let (mut chain, most) = (waiting(), max_open(VALIDATORS));
    assert_eq!([most, max_open(50), max_open(1_000)], [1_000, 1_000, 50]);
    let payout = chain.state.payouts.values().next().unwrap().clone();
    for i in 0..most {
        let id = PayoutId::from_bytes(*blake3::hash(&i.to_le_bytes()).as_bytes());
        chain.state.payouts.insert(id, Payout { amount: MicroUsdt::ZERO, ..payout.clone() });
    }
    assert_eq!(opened(&chain.step(all_good, as_it_is)).len(), most);
    assert_eq!(opened(&chain.step(all_good, as_it_is)).len(), 0, "nothing has ended");
    assert_eq!(chain.state.payouts.values().filter(|payout| payout.open.is_some()).count(), most);
}

#[test]
fn a_treasury_without_funds_does_not_let_the_state_grow() {
    let mut chain = Chain::new(genesis());
    for _ in 0..21 {
        chain.step(all_good, nothing);
    }
    assert_eq!(chain.state.payouts.len(), MAX_UNENDED * PAYOUTS);
    let paid: u64 = chain.state.payouts.values().map(|payout| payout.amount.get()).sum();
    assert_eq!(paid, 3 * BUDGET, "the first three settlements");
    let waiting: u64 = chain.pool().balances.values().map(|sum| sum.get()).sum();
    assert_eq!(waiting, 7 * BUDGET, "the later ones wait as balances");
    // Funded at last, each recipient is owed all of it at once.
    chain.step(all_good, as_it_is);
    assert_eq!(chain.state.payouts.values().filter(|payout| payout.open.is_some()).count(), MAX_UNENDED * PAYOUTS);
}

#[test]
fn an_attempt_fixes_everything() {
    let mut chain = waiting();
    let reference = chain.view().solid[0];
    let attempts = opened(&chain.step(all_good, as_it_is));
    assert_eq!(attempts.len(), PAYOUTS);
    assert!(attempts.is_sorted_by_key(|attempt| attempt.payout));
    let pool = &chain.network.genesis().pools[0];
    for attempt in &attempts {
        let payout = &chain.state.payouts[&attempt.payout];
        assert_eq!(payout.open.as_ref().unwrap().attempt, *attempt);
        assert_eq!((attempt.attempt, payout.attempts, payout.failures), (1, 1, 0));
        let (network, pool_id) = (chain.network.id(), chain.pool_id());
        assert_eq!(attempt.payout, PayoutId::derive(network, &pool_id, 1, &attempt.worker));
        assert_eq!(attempt.id, AttemptId::derive(network, &pool_id, 1, &attempt.worker, 1));
        assert_eq!((attempt.to, attempt.amount), (payout.to, payout.amount));
        assert_eq!((attempt.treasury, attempt.token), (pool.treasury.address, chain.network.genesis().tron.usdt));
        assert_eq!(attempt.reference, reference);
        assert_eq!(attempt.expiration.get(), reference.time.get() + chain.network.policy().payout_expiry_ms);
    }
    assert_eq!(attempts.iter().map(|attempt| attempt.amount.get()).sum::<u64>(), BUDGET);
}

#[test]
fn the_reference_needs_more_than_a_third() {
    let blind = |view: PaymentView| PaymentView { solid: vec![], ..view };
    assert_eq!(opens(|i, view| if i < 1 { view } else { blind(view) }), 0);
    assert_eq!(opens(|i, view| if i < 2 { view } else { blind(view) }), PAYOUTS);
    // Two that differ in the id, or in the time, are not two that agree.
    let differ = |i: usize, mut view: PaymentView, change: fn(&mut SolidBlock)| {
        view.solid.truncate(1);
        if i == 1 {
            change(&mut view.solid[0]);
        }
        if i < 2 { view } else { blind(view) }
    };
    assert_eq!(opens(|i, view| differ(i, view, |_| ())), PAYOUTS);
    assert_eq!(opens(|i, view| differ(i, view, |solid| solid.id = SolidBlockId::from_bytes([1; 32]))), 0);
    assert_eq!(opens(|i, view| differ(i, view, |solid| solid.time = UnixMillis::new(solid.time.get() - 1))), 0);
}

#[test]
fn the_highest_agreed_reference_is_taken() {
    let mut chain = waiting();
    let [newest, older] = chain.view().solid[..] else { panic!("two solidified blocks") };
    // One liar names a higher block, one honest validator is ahead, two are behind.
    let view = |i: usize, mut view: PaymentView| {
        match i {
            0 => view.solid = vec![SolidBlock { number: newest.number + 100, ..newest }],
            1 => {}
            _ => view.solid = vec![older],
        }
        view
    };
    let attempts = opened(&chain.step(all_good, view));
    assert!(attempts.iter().all(|attempt| attempt.reference == older), "{attempts:?}");
    assert_eq!(attempts.len(), PAYOUTS);
}

#[test]
fn the_reference_must_be_young() {
    let most = genesis().policy.reference_max_age_ms;
    let mut chain = waiting();
    let time = chain.draft(all_good, as_it_is).time.get();
    for (age, expected) in [(0, PAYOUTS), (most, PAYOUTS), (most + 1, 0)] {
        let aged = |_: usize, mut view: PaymentView| {
            view.solid = vec![SolidBlock { time: UnixMillis::new(time.saturating_sub(age)), ..view.solid[0] }];
            view
        };
        // The genesis time is early enough for every age to be one.
        if time >= age {
            assert_eq!(opened(&chain.clone().step(all_good, aged)).len(), expected, "age {age}");
        }
    }
    assert!(time > most, "no age was too great");
    let future = |_: usize, mut view: PaymentView| {
        view.solid = vec![SolidBlock { time: UnixMillis::new(time + 1), ..view.solid[0] }];
        view
    };
    assert_eq!(opened(&chain.step(all_good, future)).len(), 0, "a reference later than the block");
}

#[test]
fn the_treasury_must_cover_all_that_is_open() {
    let usdt = |sum: u64| opens(move |_, view| with_treasury(view, |it| it.usdt = MicroUsdt::new(sum)));
    assert_eq!(usdt(BUDGET), PAYOUTS);
    assert_eq!(usdt(BUDGET - 1), PAYOUTS - 1);
    assert_eq!(usdt(0), 0);
    // The fee limit at the price of 100 sun, and 2 TRX each.
    let each = 14_331_350 + 2_000_000;
    let trx = |sum: u64| opens(move |_, view| with_treasury(view, |it| it.trx = Sun::new(sum)));
    assert_eq!([trx(4 * each), trx(4 * each - 1), trx(2 * each), trx(each - 1)], [4, 3, 2, 0]);
}

/// What is open already counts, in USDT and in TRX, until it ends.
#[test]
fn open_attempts_bind_the_treasury() {
    let mut chain = waiting();
    let exact = |_: usize, view: PaymentView| {
        with_treasury(view, |it| {
            it.usdt = MicroUsdt::new(BUDGET);
            it.trx = Sun::new(4 * (14_331_350 + 2_000_000));
        })
    };
    assert_eq!(opened(&chain.step(all_good, exact)).len(), PAYOUTS);
    assert_eq!(opened(&chain.step(all_good, exact)).len(), 0, "block 5 schedules four more");
    assert_eq!(chain.state.payouts.len(), 2 * PAYOUTS);
    // The first four are paid; the treasury is as full as before in this block's view, so the others open.
    let receipts = votes(&chain, paid(1));
    let events = chain.step(all_good, |i, view| PaymentView { receipts: receipts.clone(), ..exact(i, view) });
    assert_eq!(ended(&events).len(), PAYOUTS);
    assert_eq!(opened(&events).len(), PAYOUTS);
}

#[test]
fn flags_and_permission_must_be_clean() {
    let unclean: [fn(&mut TreasuryView); 5] = [
        |it| it.flags.paused = true,
        |it| it.flags.deprecated = true,
        |it| it.flags.fee = true,
        |it| it.flags.treasury_blacklisted = true,
        |it| it.permission_matches = false,
    ];
    for (i, change) in unclean.into_iter().enumerate() {
        // More than two thirds must see it clean.
        let seen_by = |n: usize| opens(|v, view| if v < n { with_treasury(view, change) } else { view });
        assert_eq!((seen_by(4), seen_by(2), seen_by(1)), (0, 0, PAYOUTS), "condition {i}");
    }
    let silent = |n: usize| opens(|v, view| if v < n { PaymentView { treasuries: vec![], ..view } } else { view });
    assert_eq!((silent(2), silent(1)), (0, PAYOUTS));
}

#[test]
fn medians_stand_for_the_treasury() {
    // Lower medians: two of four that see less are believed; one is not.
    let poor =
        |n: usize| opens(|v, view| if v < n { with_treasury(view, |it| it.usdt = MicroUsdt::ZERO) } else { view });
    assert_eq!((poor(1), poor(2)), (PAYOUTS, 0));
    let broke = |n: usize| opens(|v, view| if v < n { with_treasury(view, |it| it.trx = Sun::ZERO) } else { view });
    assert_eq!((broke(1), broke(2)), (PAYOUTS, 0));
}

/// The fee limit at these energy prices, one for each validator.
fn fee_limit(prices: [u64; VALIDATORS]) -> u64 {
    let view = |i: usize, view: PaymentView| with_treasury(view, |it| it.energy_price = Sun::new(prices[i]));
    let attempts = opened(&waiting().step(all_good, view));
    assert!(attempts.iter().all(|attempt| attempt.fee_limit == attempts[0].fee_limit), "never per recipient");
    attempts[0].fee_limit.get()
}

#[test]
fn fee_limits_by_hand() {
    assert_eq!(fee_limit([100; 4]), 14_331_350);
    assert_eq!(fee_limit([7; 4]), 1_003_195, "rounded up");
    assert_eq!(fee_limit([348; 4]), 49_873_098);
    assert_eq!(fee_limit([349; 4]), 50_000_000, "the cap");
    assert_eq!(fee_limit([u64::MAX; 4]), 50_000_000);
    assert_eq!(fee_limit([100, 100, 210, 210]), fee_limit([210; 4]), "the upper median");
    assert_eq!(fee_limit([100, 100, 100, 210]), fee_limit([100; 4]));
}

fn paid(tx: u8) -> Verdict {
    Verdict::Paid { tx_id: TxId::from_bytes([tx; 32]), block: 9, fee: Sun::new(1) }
}

fn failed() -> Verdict {
    Verdict::Failed { tx_id: TxId::from_bytes([8; 32]), block: 9, fee: Sun::new(1) }
}

/// The same verdict on every open attempt.
fn votes(chain: &Chain, verdict: Verdict) -> Vec<ReceiptVote> {
    let open = chain.state.payouts.iter().filter_map(|(id, payout)| Some((*id, payout.open.as_ref()?.attempt.attempt)));
    open.map(|(payout, attempt)| ReceiptVote { payout, attempt, verdict }).collect()
}

/// Validators vote on every open attempt as told; then what ended.
fn vote(chain: &mut Chain, verdict: impl Fn(usize) -> Option<Verdict>) -> Vec<Event> {
    let receipts: Vec<_> =
        (0..VALIDATORS).map(|i| verdict(i).map(|verdict| votes(chain, verdict)).unwrap_or_default()).collect();
    chain.step(all_good, |i, view| PaymentView { receipts: receipts[i].clone(), ..view })
}

/// A chain with four open attempts and no further settlements.
fn open_attempts() -> Chain {
    Chain::grown(genesis_with(|genesis| genesis.policy.last_settlement = 3), 3)
}

#[test]
fn a_receipt_needs_more_than_two_thirds() {
    let mut chain = open_attempts();
    assert_eq!(ended(&vote(&mut chain, |i| (i < 2).then(|| paid(1)))), []);
    assert_eq!(chain.pool().paid, MicroUsdt::ZERO);
    // A third vote a block later: votes are kept.
    let events = vote(&mut chain, |i| (i == 3).then(|| paid(1)));
    assert_eq!(ended(&events), [(1, paid(1), true); PAYOUTS]);
    assert_eq!(chain.pool().paid.get(), BUDGET);
    assert!(chain.state.payouts.is_empty());
}

#[test]
fn votes_that_differ_do_not_add_up() {
    let mut chain = open_attempts();
    let other_fee = Verdict::Paid { tx_id: TxId::from_bytes([1; 32]), block: 9, fee: Sun::new(2) };
    let verdicts = [paid(1), paid(1), paid(2), other_fee];
    assert_eq!(ended(&vote(&mut chain, |i| Some(verdicts[i]))), []);
    assert_eq!(ended(&vote(&mut chain, |_| Some(paid(1)))), [], "a vote cannot be changed");
}

#[test]
fn the_first_vote_of_a_validator_stands() {
    let mut chain = open_attempts();
    assert_eq!(ended(&vote(&mut chain, |i| (i == 0).then_some(Verdict::Dead))), []);
    assert_eq!(ended(&vote(&mut chain, |i| (i < 3).then(|| paid(1)))), [], "validator 0 has said dead");
    let open = chain.state.payouts.values().next().unwrap().open.as_ref().unwrap();
    assert_eq!(open.votes[&validator(0)], Verdict::Dead);
    let events = vote(&mut chain, |i| (i == 3).then(|| paid(1)));
    assert_eq!(ended(&events), [(1, paid(1), true); PAYOUTS]);
}

#[test]
fn votes_on_another_attempt_or_payout_are_ignored() {
    let mut chain = open_attempts();
    let mut receipts = votes(&chain, paid(1));
    for vote in &mut receipts {
        vote.attempt = 2;
    }
    receipts[0] = ReceiptVote { payout: PayoutId::from_bytes([0; 32]), attempt: 1, verdict: paid(1) };
    let events = chain.step(all_good, |_, view| PaymentView { receipts: receipts.clone(), ..view });
    assert_eq!(ended(&events), []);
    assert!(chain.state.payouts.values().all(|payout| payout.open.as_ref().unwrap().votes.is_empty()));
    // Votes from before an attempt is open are not kept for it.
    let mut chain = waiting();
    let early: Vec<_> =
        chain.state.payouts.keys().map(|id| ReceiptVote { payout: *id, attempt: 1, verdict: paid(1) }).collect();
    let events = chain.step(all_good, |_, view| PaymentView { receipts: early.clone(), ..view });
    assert_eq!((ended(&events).len(), opened(&events).len()), (0, PAYOUTS));
}

#[test]
fn failures_get_new_attempts_up_to_the_most() {
    let mut chain = open_attempts();
    let mut ids: Vec<_> = chain.state.payouts.values().map(|p| p.open.as_ref().unwrap().attempt.id).collect();
    for n in 1..=3 {
        let events = vote(&mut chain, |_| Some(failed()));
        assert_eq!(ended(&events), [(n, failed(), false); PAYOUTS]);
        let next = opened(&events);
        assert_eq!(next.len(), if n < 3 { PAYOUTS } else { 0 }, "after failure {n}");
        assert!(next.iter().all(|attempt| attempt.attempt == n + 1));
        ids.extend(next.iter().map(|attempt| attempt.id));
    }
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (3 * PAYOUTS, 3 * PAYOUTS), "no two attempts share an id");
    for _ in 0..3 {
        assert_eq!(opened(&chain.step(all_good, as_it_is)), [], "held for a person");
    }
    assert!(chain.state.payouts.values().all(|payout| (payout.attempts, payout.failures) == (3, 3)));
}

#[test]
fn death_is_no_failure() {
    let mut chain = open_attempts();
    for n in 1..=6 {
        let events = vote(&mut chain, |_| Some(Verdict::Dead));
        assert_eq!(ended(&events), [(n, Verdict::Dead, false); PAYOUTS]);
        assert!(opened(&events).iter().all(|attempt| attempt.attempt == n + 1));
        assert_eq!(opened(&events).len(), PAYOUTS);
    }
    assert!(chain.state.payouts.values().all(|payout| payout.failures == 0));
}

#[test]
fn the_unexpected_ends_the_payout_and_pauses_the_pool() {
    let mut chain = Chain::grown(genesis(), 3);
    let payout = *chain.state.payouts.keys().next().unwrap();
    let (tx_id, received) = (TxId::from_bytes([8; 32]), MicroUsdt::new(5));
    let verdict = Verdict::PaidUnexpected { tx_id, block: 9, fee: Sun::ZERO, received };
    let events = chain
        .step(all_good, |_, view| PaymentView { receipts: vec![ReceiptVote { payout, attempt: 1, verdict }], ..view });
    assert_eq!(ended(&events), [(1, verdict, true)]);
    assert!(chain.pool().paused && !chain.state.payouts.contains_key(&payout));
    // Scores and settlements go on; open attempts end; none opens.
    let events = vote(&mut chain, |_| Some(Verdict::Dead));
    assert_eq!(ended(&events).len(), PAYOUTS - 1);
    assert_eq!(opened(&events), []);
    assert_eq!(chain.pool().budgets.get(), 2 * BUDGET);
    assert_eq!(opened(&chain.step(all_good, as_it_is)), []);
}

fn any_verdict() -> impl Strategy<Value = Option<Verdict>> {
    let received = MicroUsdt::new(1);
    let unexpected = Verdict::PaidUnexpected { tx_id: TxId::from_bytes([4; 32]), block: 9, fee: Sun::ZERO, received };
    prop_oneof![
        2 => Just(None),
        4 => Just(Some(paid(1))),
        2 => Just(Some(failed())),
        2 => Just(Some(Verdict::Dead)),
        1 => Just(Some(unexpected)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However the votes fall, nothing is paid twice or lost (`apply` checks the accounts), attempts count up one by
    /// one, and a payout never has two.
    #[test]
    fn invariant_4_holds_however_attempts_end(
        verdicts in prop::collection::vec((any_verdict(), prop::collection::vec(any_verdict(), VALIDATORS), any::<bool>()), 4..14),
        usdt in 0..3 * BUDGET,
    ) {
        let mut chain = Chain::new(genesis());
        let mut last = std::collections::BTreeMap::<PayoutId, u32>::new();
        for (all, each, agree) in verdicts {
            let receipts: Vec<Vec<ReceiptVote>> = (0..VALIDATORS)
                .map(|i| if agree { all } else { each[i] })
                .map(|verdict| verdict.map(|verdict| votes(&chain, verdict)).unwrap_or_default())
                .collect();
            let view = |i: usize, view: PaymentView| {
                let view = with_treasury(view, |it| it.usdt = MicroUsdt::new(usdt));
                PaymentView { receipts: receipts[i].clone(), ..view }
            };
            for attempt in opened(&chain.step(all_good, view)) {
                let before = last.insert(attempt.payout, attempt.attempt).unwrap_or(0);
                prop_assert_eq!(attempt.attempt, before + 1);
            }
            let open = chain.state.payouts.values().filter_map(|payout| payout.open.as_ref());
            prop_assert!(open.map(|open| open.attempt.amount.get()).sum::<u64>() <= usdt);
        }
    }
}
