//! The network's policy: who changes it, from when on, and what is judged by which one.

use std::sync::Arc;

use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::change::{NetworkChange, PolicyChange};
use lucid_types::command::{Action, Entry, ValidatorAction, ValidatorChange};
use lucid_types::id::Hash;
use lucid_types::payout::VaultLimits;
use lucid_types::policy::{Policy, PolicyError, ScoreWeights};
use lucid_types::pool::SplitRule;
use lucid_types::report::Observation;
use lucid_types::stamp::{Stamp, StampTarget};
use lucid_types::time::Epoch;

use super::chain::{Chain, all_good, members, observation, start, start_with, validator_key, worker, worker_key};
use super::entry::newcomer;
use crate::ledger::check::InvalidBlock;
use crate::ledger::command::CommandRefused;
use crate::ledger::event::{Event, Settled};
use crate::ledger::policies::PolicyChangeError;
use crate::ledger::pool::MAX_FORMING_TIME;
use crate::ledger::proposals::MAX_PROPOSED;
use crate::ledger::state::Rows;
use crate::ledger::table::{Policies, ProposedChanges};

type Outcome = Result<Vec<Event>, CommandRefused>;

fn act(chain: &mut Chain, i: usize, action: ValidatorAction) -> Outcome {
    chain.take(chain.give(&validator_key(i), Action::Validator(action), &[]))
}

/// A change of the newest policy.
fn with(chain: &Chain, change: impl FnOnce(&mut Policy)) -> NetworkChange {
    let (_, newest) = chain.state.policies().newest();
    let mut policy = Policy::clone(newest);
    change(&mut policy);
    PolicyChange { base: newest.hash(), policy }.into()
}

fn propose(chain: &mut Chain, i: usize, change: &NetworkChange) -> Outcome {
    act(chain, i, ValidatorAction::Propose(change.clone()))
}

fn approve(chain: &mut Chain, i: usize, change: &NetworkChange) -> Outcome {
    act(chain, i, ValidatorAction::Approve(change.id()))
}

/// Three of four validators change the policy; the epoch from which it is in force.
fn decide(chain: &mut Chain, change: impl FnOnce(&mut Policy)) -> Epoch {
    let change = with(chain, change);
    propose(chain, 1, &change).unwrap();
    approve(chain, 2, &change).unwrap();
    let events = approve(chain, 3, &change).unwrap();
    let from = chain.spec.genesis().epoch_at(chain.state.time()).next().next();
    assert_eq!(events, [event(from, &change)]);
    from
}

fn event(from: Epoch, change: &NetworkChange) -> Event {
    Event::Policy { from, policy: Box::new(change.policy().unwrap().policy.clone()) }
}

fn refused(error: PolicyChangeError) -> Outcome {
    Err(CommandRefused::PolicyChange(error))
}

fn bits(chain: &Chain, epoch: u64) -> u8 {
    chain.state.policy(Epoch::new(epoch)).stamp_bits
}

#[test]
fn exactly_two_thirds_are_not_enough_and_it_counts_from_the_second_epoch_after() {
    let mut chain = Chain::grown(start_with(|start| start.genesis.validators = members(3)), 2);
    let change = with(&chain, |policy| policy.stamp_bits = 9);
    assert_eq!(propose(&mut chain, 0, &change), Ok(vec![]));
    assert_eq!(approve(&mut chain, 1, &change), Ok(vec![]));
    chain.reach(5);
    assert_eq!((chain.state.policies().iter().count(), bits(&chain, 99)), (1, 8), "two of three");
    assert_eq!(approve(&mut chain, 2, &change), Ok(vec![event(Epoch::new(7), &change)]));
    assert!(!chain.state.has::<ProposedChanges>(&change.id()));
    assert_eq!([1, 5, 6, 7, 8].map(|epoch| bits(&chain, epoch)), [8, 8, 8, 9, 9]);
    assert_eq!(chain.state.policy_in_force().stamp_bits, 8);
    chain.reach(6);
    assert_eq!(chain.state.policy_in_force().stamp_bits, 8);
    chain.reach(7);
    assert_eq!(chain.state.policy_in_force().stamp_bits, 9);
    // Rows stay, and a process that has only them knows the same.
    chain.crash();
    assert_eq!([6, 7].map(|epoch| bits(&chain, epoch)), [8, 9]);
    assert!([1, 7].iter().all(|from| chain.state.has::<Policies>(&Epoch::new(*from))));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let mut chain = Chain::grown(start(), 2);
    let newest = chain.state.policies().newest().1.hash();
    let same = with(&chain, |_| {});
    assert_eq!(propose(&mut chain, 0, &same), refused(PolicyChangeError::Same));
    let slower = with(&chain, |policy| (policy.epoch_ms, policy.stamp_bits) = (6_000, 9));
    assert_eq!(propose(&mut chain, 0, &slower), refused(PolicyChangeError::Fixed("epoch_ms")));
    let wild = with(&chain, |policy| policy.stamp_bits = 41);
    assert!(
        matches!(propose(&mut chain, 0, &wild), Err(CommandRefused::Malformed(told)) if told.contains("stamp_bits"))
    );
    let base = Hash::from_bytes([7; 32]);
    let apart = PolicyChange { base, policy: Policy { stamp_bits: 9, ..Policy::clone(chain.state.policy_in_force()) } };
    assert_eq!(propose(&mut chain, 0, &apart.into()), refused(PolicyChangeError::Base { base, newest }));
    let good = with(&chain, |policy| policy.stamp_bits = 9);
    let command = chain.give(&worker_key(0), Action::Validator(ValidatorAction::Propose(good.clone())), &[]);
    assert_eq!(chain.take(command), Err(CommandRefused::NotValidator));
    propose(&mut chain, 0, &good).unwrap();
    assert_eq!(propose(&mut chain, 1, &good), Err(CommandRefused::Proposed(good.id())));
    // Both kinds count together.
    for power in 0..MAX_PROPOSED as u64 - 1 {
        let change = ValidatorChange::Power { validator: validator_key(1).account(), power: 2 + power };
        propose(&mut chain, 0, &change.into()).unwrap();
        chain.reach(chain.state.closed().get() + 2);
    }
    let more = with(&chain, |policy| policy.stamp_bits = 10);
    assert_eq!(propose(&mut chain, 0, &more), Err(CommandRefused::TooManyProposals));
    act(&mut chain, 0, ValidatorAction::Withdraw(good.id())).unwrap();
    assert_eq!(approve(&mut chain, 1, &good), Err(CommandRefused::NoProposal(good.id())));
    propose(&mut chain, 0, &more).unwrap();
    let late = chain.state.time().after(2 * MAX_FORMING_TIME);
    let block = chain.at(late);
    chain.apply(block);
    assert_eq!(chain.state.proposals().count(), 0, "its time is over");
    assert_eq!(chain.state.policies().iter().count(), 1);
}

/// A row that no command can have made: what is demanded of a proposal is demanded when it is carried out, too.
#[test]
fn a_change_is_checked_again_when_it_is_carried_out() {
    for (spoil, is_bound) in [(|policy: &mut Policy| policy.seats = 5) as fn(&mut Policy), |policy| policy.pings = 0]
        .into_iter()
        .zip([false, true])
    {
        let mut chain = Chain::grown(start(), 2);
        let mut change = with(&chain, |policy| policy.stamp_bits = 9);
        propose(&mut chain, 0, &change).unwrap();
        approve(&mut chain, 1, &change).unwrap();
        let good = change.id();
        let row = chain.state.proposals().next().unwrap().1.clone();
        change = with(&chain, spoil);
        let id = change.id();
        chain.change(|rows| {
            rows.remove::<ProposedChanges>(&good);
            let approvals = (0..3).map(|i| validator_key(i).account());
            let mut approvals: Vec<_> = approvals.collect();
            approvals.sort_unstable();
            rows.put::<ProposedChanges>(
                &id,
                crate::ledger::proposals::ProposedChange { change: change.clone(), approvals, ..row },
            );
        });
        let told = approve(&mut chain, 3, &change);
        let expected = if is_bound {
            PolicyChangeError::Bounds(PolicyError::Range { key: "pings", value: 0, low: 1, high: 100 })
        } else {
            PolicyChangeError::Fixed("seats")
        };
        assert_eq!(told, refused(expected));
        // With the approvals that it has its turn comes with the next epoch.
        let end = chain.spec.genesis().epoch_end(chain.state.closed().next());
        let block = chain.at(end);
        assert!(chain.apply(block).contains(&Event::PolicyOvertaken { proposal: id }));
        assert_eq!((chain.state.proposals().count(), chain.state.policies().iter().count()), (0, 1));
    }
}

#[test]
fn of_two_changes_of_one_policy_one_is_carried_out_and_the_other_dropped() {
    let mut chain = Chain::grown(start(), 2);
    let first = with(&chain, |policy| policy.stamp_bits = 9);
    let second = with(&chain, |policy| policy.free_joins = 5);
    let power = ValidatorChange::Power { validator: validator_key(1).account(), power: 2 }.into();
    propose(&mut chain, 0, &first).unwrap();
    propose(&mut chain, 1, &second).unwrap();
    propose(&mut chain, 1, &power).unwrap();
    approve(&mut chain, 1, &first).unwrap();
    approve(&mut chain, 2, &second).unwrap();
    let events = approve(&mut chain, 2, &first).unwrap();
    let expected = [event(Epoch::new(5), &first), Event::PolicyOvertaken { proposal: second.id() }];
    assert_eq!(events, expected);
    assert_eq!(approve(&mut chain, 3, &second), Err(CommandRefused::NoProposal(second.id())));
    let newest = chain.state.policies().newest().1.hash();
    let base = second.policy().unwrap().base;
    assert_eq!(propose(&mut chain, 3, &second), refused(PolicyChangeError::Base { base, newest }));
    assert_eq!(chain.state.proposals().map(|(id, _)| id).collect::<Vec<_>>(), [power.id()], "of validators it is none");
}

#[test]
fn one_change_comes_into_force_an_epoch() {
    let mut chain = Chain::grown(start(), 2);
    assert_eq!(decide(&mut chain, |policy| policy.stamp_bits = 9), Epoch::new(5));
    // It starts from the one that is to come, and waits for the next epoch.
    let next = with(&chain, |policy| policy.stamp_bits = 10);
    propose(&mut chain, 0, &next).unwrap();
    assert_eq!(approve(&mut chain, 1, &next), Ok(vec![]));
    assert_eq!(approve(&mut chain, 2, &next), Ok(vec![]));
    assert_eq!((bits(&chain, 99), chain.state.proposals().count()), (9, 1));
    assert_eq!(chain.state.closed(), Epoch::new(2));
    let events = chain.block(all_good);
    assert!(events.contains(&event(Epoch::new(6), &next)), "{events:?}");
    assert_eq!([4, 5, 6].map(|epoch| bits(&chain, epoch)), [8, 9, 10]);
    assert_eq!(chain.state.proposals().count(), 0);
}

#[test]
fn reports_are_judged_by_the_policy_of_their_epoch() {
    let pinged = |sent: u8| move |_: usize, _: usize| Some(Observation { pings_sent: sent, ..observation(2, true) });
    let mut chain = Chain::grown(start(), 2);
    let from = decide(&mut chain, |policy| policy.pings = 2);
    chain.reach(from.get() - 1);
    // Epoch 5 is open when reports on epoch 4 come: of four pings.
    chain.step(pinged(4));
    assert_eq!(chain.state.closed().next(), from);
    assert_eq!(chain.finalised[&from.previous()].scores.rows.len(), 3);
    let mut other = chain.clone();
    chain.step(pinged(2));
    assert_eq!(chain.finalised[&from].scores.rows.len(), 3);
    other.block(pinged(4));
    other.block(pinged(4));
    let block = other.draft(pinged(4));
    assert!(block.reveals.is_empty(), "no block can hold such a report");
    let mut block = other.at(other.state.next_time(&other.spec));
    block.reveals = vec![other.reveal(0, from.get())];
    assert!(matches!(other.validate(block), Err(InvalidBlock::Report { .. })));
}

#[test]
fn scores_are_weighted_by_the_policy_of_their_epoch() {
    let mut chain = Chain::grown(start(), 2);
    let old = chain.state.policy_in_force().weights;
    let (trust, session_time) = (Ppm::new(250_000), Ppm::new(50_000));
    let weights = ScoreWeights { trust, session_time, ..old };
    let from = decide(&mut chain, |policy| (policy.weights, policy.full_credits) = (weights, 1_000));
    chain.reach(from.get() + 2);
    for (epoch, it) in &chain.finalised {
        let (weights, full) = if *epoch < from { (old, 16) } else { (weights, 1_000) };
        assert_eq!(it.scores.rows.len(), 3);
        for row in &it.scores.rows {
            assert_eq!(row.score, row.components.score(&weights), "epoch {epoch}");
            // Four seats verify an echo in every epoch, of which the window has four.
            let credits = 4 * epoch.get().min(4);
            assert_eq!(row.components.work_credits, Ppm::ratio(credits, full), "epoch {epoch}");
        }
    }
}

/// Worker 2 earns in the first settlement only, and has become due by a lower threshold without earning any more.
#[test]
fn a_settlement_takes_the_policy_of_its_last_epoch_and_allows_for_whom_it_makes_due() {
    let fee = 1_000;
    let mut chain = Chain::new(start_with(|start| {
        start.genesis.policy.payout_threshold = MicroUsdt::new(1 << 50);
        start.pools[0].vault.limits = VaultLimits { cap: MicroUsdt::new(1 << 40), push_fee: MicroUsdt::new(fee) };
        start.pools[0].split = SplitRule::Credits;
    }));
    let seen = |epoch: u64| move |_: usize, worker: usize| (worker < 2 || epoch <= 2).then(|| observation(4, true));
    let settled = |events: &[Event]| -> Vec<Settled> {
        events
            .iter()
            .filter_map(|it| if let Event::Settled(made) = it { Some((**made).clone()) } else { None })
            .collect()
    };
    let mut roots = Vec::new();
    for epoch in 1..=8 {
        if epoch == 4 {
            // In force from epoch 6 on, the last of settlement 3.
            assert_eq!(decide(&mut chain, |policy| policy.payout_threshold = MicroUsdt::new(1_000)), Epoch::new(6));
        }
        if epoch == 5 {
            // From epoch 7 on: when settlement 3 is computed it is the policy in force.
            assert_eq!(decide(&mut chain, |policy| policy.payout_threshold = MicroUsdt::new(1 << 50)), Epoch::new(7));
        }
        let events = chain.step(seen(epoch));
        roots.extend(settled(&events));
    }
    let due: Vec<_> = roots.iter().map(|made| (made.root.settlement, made.requests.len())).collect();
    assert_eq!(due, [(1, 0), (2, 0), (3, 4), (4, 0)], "three workers and the owner");
    assert!(roots[2].requests.iter().any(|request| request.node == worker(2)), "it has not grown since settlement 1");
    let fees: Vec<_> = roots.iter().map(|made| made.root.fees.get()).collect();
    assert_eq!(fees, [0, 0, 4 * fee, 4 * fee], "a push fee for each request");
}

/// The threshold falls with settlement 2, in which nobody earns, so that no root is made; settlement 3 makes the requests.
#[test]
fn a_lower_threshold_counts_for_the_fee_when_its_requests_are_made() {
    let fee = 1_000;
    let mut chain = Chain::new(start_with(|start| {
        start.genesis.policy.payout_threshold = MicroUsdt::new(1 << 50);
        start.pools[0].vault.limits = VaultLimits { cap: MicroUsdt::new(1 << 40), push_fee: MicroUsdt::new(fee) };
    }));
    let mut made = Vec::new();
    for epoch in 1..=6 {
        if epoch == 2 {
            assert_eq!(decide(&mut chain, |policy| policy.payout_threshold = MicroUsdt::new(1_000)), Epoch::new(4));
        }
        let events = chain.step(|_, worker| (epoch <= 2 || epoch > 4 && worker == 0).then(|| observation(4, true)));
        for event in events {
            if let Event::Settled(settled) = event {
                made.push((settled.root.settlement, settled.requests.len(), settled.root.fees.get()));
            }
        }
    }
    assert_eq!(made, [(1, 0, 0), (3, 4, 4 * fee)], "three workers and the owner");
}

#[test]
fn stamps_are_judged_by_the_policy_in_force() {
    let mut chain = Chain::grown(start(), 2);
    let from = decide(&mut chain, |policy| policy.stamp_bits = 12);
    chain.reach(from.get() - 1);
    // For the newest close, of as many bits.
    let stamped = |chain: &Chain, i, bits: std::ops::Range<u32>| {
        let (key, network) = (newcomer(i), *chain.spec.id());
        let (epoch, beacon) = chain.state.newest_close().map(|(epoch, close)| (epoch, close.beacon)).unwrap();
        let target = StampTarget { network, account: key.account(), pool: None, beacon };
        let mut stamps = (0..).map(|nonce| Stamp { epoch, nonce });
        let stamp = stamps.find(|stamp| bits.contains(&stamp.bits(&target))).unwrap();
        chain.give(&key, Chain::registration(&key, 5, Entry::Network(stamp)), &[])
    };
    chain.take(stamped(&chain, 1, 8..12)).unwrap();
    let kept = stamped(&chain, 2, 8..12);
    chain.block(all_good);
    assert_eq!(chain.state.closed().next(), from);
    assert!(matches!(chain.take(kept), Err(CommandRefused::StampBits { needed: 12, .. })), "the epoch has begun");
    chain.take(stamped(&chain, 2, 12..40)).unwrap();
}

#[test]
fn draws_are_made_by_the_policy_of_their_epoch() {
    let mut chain = Chain::grown(start(), 2);
    let from = decide(&mut chain, |policy| policy.max_scored = 2);
    let mut drawn = Vec::new();
    while chain.state.closed() < from {
        drawn.push((chain.state.closed().next(), chain.state.open().unwrap().scored.len()));
        chain.step(all_good);
    }
    assert_eq!(drawn, [(Epoch::new(3), 3), (Epoch::new(4), 3), (from, 2)]);
    assert_eq!(chain.finalised[&from].scores.rows.len(), 2);
}

/// What a policy says of the open epoch stays said, whoever looks at it with the state of a later block.
#[test]
fn a_schedule_answers_for_every_epoch() {
    let mut chain = Chain::grown(start(), 2);
    decide(&mut chain, |policy| policy.stamp_bits = 9);
    chain.reach(5);
    decide(&mut chain, |policy| policy.stamp_bits = 10);
    chain.reach(8);
    let all = chain.state.policies();
    assert_eq!(all.iter().map(|(from, it)| (from.get(), it.stamp_bits)).collect::<Vec<_>>(), [(1, 8), (5, 9), (7, 10)]);
    assert_eq!([0, 1, 4, 5, 6, 7, u64::MAX].map(|epoch| bits(&chain, epoch)), [8, 8, 8, 9, 9, 10, 10]);
    assert!(Arc::ptr_eq(chain.state.policy_in_force(), all.newest().1));
}
