//! The state: rows that its root commits to, from which it can be read again.

use std::collections::BTreeSet;
use std::ops::Bound;

use lucid_types::change::NetworkChange;
use lucid_types::command::ValidatorChange;
use lucid_types::id::{BlockHash, Hash, NodeId, PoolId, StateRoot};
use lucid_types::pool::PoolAction;
use lucid_types::time::{Epoch, Height};

use proptest::prelude::*;

use super::chain::{Chain, all_good, key_of, signers, start_with, validator, worker};
use crate::ledger::entry::{InviteUse, Request};
use crate::ledger::execute::validate;
use crate::ledger::pool::Member;
use crate::ledger::proposals::ProposedChange;
use crate::ledger::state::{Equivocation, Rows, State, StateBuilder, StateError};
use crate::ledger::table::{
    Equivocations, Heads, Invites, Members, NodeKeys, Policies, Pools, ProposedChanges, Requests, ScoreRoots, TABLES,
    Table, Workers,
};

/// Every table has a row: some of an epoch's reports are revealed, the first settlement made a root, and a validator has equivocated.
/// One asks to enter the pool, and an invite is in use.
fn rich() -> State {
    let mut chain = Chain::grown(start_with(|start| start.genesis.policy.report_window = 2), 3);
    let next = signers(2, 2);
    chain.step_with(vec![chain.command(PoolAction::Signers { nonce: 0, next }, &[0, 1])]);
    for _ in 0..4 {
        chain.block(all_good);
    }
    let proved = Equivocation { height: Height::new(2), proved_in: Height::new(3), removed: None };
    let entry = (chain.pool_id(), validator(3));
    let until = chain.state.time();
    let state = chain.state.changed(|rows| {
        rows.put::<Equivocations>(&validator(3), proved);
        rows.put::<Requests>(&entry, Request { node: None, until });
        rows.put::<Invites>(&(entry.0, entry.1.first_key()), InviteUse { used: 1, until });
        let (change, by) = (NetworkChange::from(ValidatorChange::Remove(validator(3))), validator(2));
        let id = change.id();
        let proposed = ProposedChange { change, by, from: Epoch::new(2), until, approvals: vec![by] };
        rows.put::<ProposedChanges>(&id, proposed);
        rows.put::<NodeKeys>(&validator(1).first_key(), validator(3));
    });
    let tags: BTreeSet<_> = rows(&state).iter().map(|(key, _)| key[0]).collect();
    assert!(tags.iter().eq(TABLES.iter().map(|table| &table.tag)), "{tags:?}");
    state
}

/// Keys and values, in order.
type Encoded = Vec<(Vec<u8>, Vec<u8>)>;

fn rows(state: &State) -> Encoded {
    state.encoded_from(Bound::Unbounded).map(|(key, value)| (key.to_vec(), value)).collect()
}

fn read(rows: &[(Vec<u8>, Vec<u8>)]) -> Result<State, StateError> {
    State::from_rows(BlockHash::from_bytes([7; 32]), rows.iter().map(|(key, value)| (key, value)))
}

#[test]
fn the_root_commits_to_every_byte_of_every_row() {
    let state = rich();
    let all = rows(&state);
    assert_eq!(read(&all).unwrap().root(), state.root());
    let mut n_refused = 0;
    let mut differs = |what: String, changed: &[(Vec<u8>, Vec<u8>)]| match read(changed) {
        Ok(read) => assert_ne!(read.root(), state.root(), "{what}"),
        Err(_) => n_refused += 1,
    };
    for (i, (key, value)) in all.iter().enumerate() {
        let mut without = all.clone();
        without.remove(i);
        differs(format!("row {key:?} removed"), &without);
        for at in 0..value.len() {
            let mut changed = all.clone();
            changed[i].1[at] ^= 1;
            differs(format!("byte {at} of row {key:?}"), &changed);
        }
        for at in 0..key.len() {
            let mut changed = all.clone();
            changed[i].0[at] ^= 1;
            changed.sort();
            differs(format!("byte {at} of key {key:?}"), &changed);
        }
    }
    assert!(n_refused < all.len() * 100, "most of what is changed is a state, another one: {n_refused} are none");
}

/// The block's hash depends on the root, so the root cannot depend on it.
#[test]
fn the_newest_blocks_hash_is_not_part_of_the_root() {
    let state = rich();
    let other = state.clone().after(BlockHash::from_bytes([1; 32]));
    assert_ne!(other, state);
    assert_eq!(other.root(), state.root());
}

#[test]
fn rows_that_are_no_state_are_refused() {
    let all = rows(&rich());
    let refused = |change: &dyn Fn(&mut Encoded)| {
        let mut rows = all.clone();
        change(&mut rows);
        read(&rows).unwrap_err()
    };
    assert!(matches!(refused(&|rows| rows.swap(3, 4)), StateError::Order));
    assert!(matches!(refused(&|rows| rows[4] = rows[3].clone()), StateError::Order));
    assert!(matches!(refused(&|rows| drop(rows.remove(0))), StateError::NoHead));
    assert!(matches!(refused(&|rows| rows.clear()), StateError::NoHead));
    let is_policy = |(key, _): &(Vec<u8>, Vec<u8>)| key[0] == Policies::TAG;
    assert!(matches!(refused(&|rows| rows.retain(|row| !is_policy(row))), StateError::NoPolicy));
    assert!(matches!(refused(&|rows| rows[1].0.push(0)), StateError::Row(_)), "a longer key");
    assert!(matches!(refused(&|rows| rows[1].0[0] = 99), StateError::Row(_)), "no table");
    assert!(matches!(refused(&|rows| rows[1].1.push(0)), StateError::Row(_)), "a longer value");
    assert!(matches!(refused(&|rows| rows[1].1.clear()), StateError::Row(_)), "no value");
}

/// A run of rows from the first one on, and what is right of it, lead to the root.
#[test]
fn runs_of_rows_prove_themselves() {
    let state = rich();
    let mut builder = StateBuilder::default();
    for (key, value) in rows(&state) {
        builder.push(&key, &value).unwrap();
        let right = state.right_of(&key).unwrap();
        assert_eq!(builder.root_with(&right), Some(state.root()));
    }
    assert_eq!(builder.finish(state.block()).unwrap(), state);
}

#[test]
fn rows_prove_what_they_say_and_that_others_are_absent() {
    let state = rich();
    let root = Hash::from_bytes(*state.root().as_bytes());
    for (key, value) in rows(&state) {
        if let Some(key) = Workers::parse_key(&key) {
            state.prove::<Workers>(&key).check_value(&root, &Workers::key(&key), &value).unwrap();
        }
    }
    state.prove::<Workers>(&validator(1)).check_absence(&root, &Workers::key(&validator(1))).unwrap();
    state.prove::<Workers>(&worker(1)).check_absence(&root, &Workers::key(&worker(1))).unwrap_err();
    assert_eq!(StateRoot::from_bytes(*root.as_bytes()), state.root());
}

/// Scores' roots are kept for ever, all else of an epoch until its scores are final.
#[test]
fn nothing_of_final_epochs_is_kept_but_their_roots() {
    let start = || start_with(|start| (start.genesis.policy.report_window, start.genesis.policy.storage_term) = (2, 1));
    let chain = Chain::grown(start(), 20);
    let roots: Vec<_> = chain.state.all::<ScoreRoots>().map(|(epoch, _)| epoch.get()).collect();
    assert_eq!(roots, (1..=20).collect::<Vec<_>>());
    let early = Chain::grown(start(), 12);
    let count = |state: &State, tag| rows(state).iter().filter(|(key, _)| key[0] == tag).count();
    for table in TABLES.iter().filter(|table| table.tag != ScoreRoots::TAG) {
        assert_eq!(count(&chain.state, table.tag), count(&early.state, table.tag), "{}", table.name);
    }
}

/// What is done on a state leaves it, and what was made of it before, as it was.
#[test]
fn states_do_not_change() {
    let state = rich();
    let before = rows(&state);
    let id = state.pools().next().unwrap().0;
    let other = state.changed(|rows| {
        rows.get_mut::<Pools>(&id).unwrap().commands += 1;
        rows.remove::<Workers>(&worker(1));
        rows.head.closed = Epoch::new(99);
    });
    assert_eq!(rows(&state), before);
    assert_eq!(other.len() + 1, state.len());
    assert_eq!((other.closed(), other.get::<Heads>(&()).unwrap().closed), (Epoch::new(99), Epoch::new(99)));
    assert_eq!(
        other.changed(|rows| {
            rows.get_mut::<Pools>(&id).unwrap().commands -= 1;
            rows.put::<Workers>(&worker(1), state.get::<Workers>(&worker(1)).unwrap().clone());
            rows.head.closed = state.closed();
        }),
        state
    );
}

proptest! {
    /// What an overlay lists is what the state after it lists, whatever was written and removed.
    #[test]
    fn overlays_list_rows_as_the_states_that_they_become(
        before in prop::collection::vec((0u8..4, 0u8..8), 0..20),
        changes in prop::collection::vec((0u8..4, 0u8..8, any::<bool>()), 0..30),
    ) {
        let key = |pool, node| (PoolId::from_bytes([pool; 32]), NodeId::from_bytes([node; 32]));
        let member = |last_led| Member { last_led: Some(last_led), ..Member::default() };
        let state = Chain::new(start_with(|_| ())).state;
        let state = state.changed(|rows| {
            before.iter().for_each(|(pool, node)| rows.put::<Members>(&key(*pool, *node), member(0)));
        });
        let mut listed = Vec::new();
        let after = state.changed(|rows| {
            for (i, (pool, node, is_put)) in (1..).zip(&changes) {
                match is_put {
                    true => rows.put::<Members>(&key(*pool, *node), member(i)),
                    false => rows.remove::<Members>(&key(*pool, *node)),
                }
            }
            let pools = (0..4).flat_map(|pool| rows.all_of::<Members, _>(&key(pool, 0).0));
            listed = pools.map(|(key, member)| (key, *member)).collect();
        });
        let pools = (0..4).flat_map(|pool| after.all_of::<Members, _>(&key(pool, 0).0));
        prop_assert_eq!(listed, pools.map(|(key, member)| (key, *member)).collect::<Vec<_>>());
    }
}

/// What happens to a node between two blocks.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next block: full, or with nothing in it.
    Apply { is_full: bool },
    /// A candidate for it, built and executed, that is not decided.
    Drop { is_full: bool },
    /// Its process ends.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|is_full| Step::Apply { is_full }),
        2 => any::<bool>().prop_map(|is_full| Step::Drop { is_full }),
        1 => Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// However blocks, candidates that come to nothing and crashes follow each other: the state is that of the blocks alone.
    #[test]
    fn any_history_leads_to_the_state_of_its_blocks(steps in prop::collection::vec(step(), 1..40)) {
        let mut chain = Chain::grown(start_with(|start| start.genesis.policy.report_window = 2), 1);
        for step in steps {
            match step {
                Step::Apply { is_full: true } => drop(chain.block(all_good)),
                Step::Apply { is_full: false } => drop(chain.apply(chain.at(chain.state.next_time(&chain.spec)))),
                Step::Drop { is_full } => {
                    let (before, mut other) = (chain.state.clone(), chain.clone());
                    let block = if is_full { other.draft(all_good) } else { other.at(other.state.next_time(&other.spec)) };
                    let candidate = chain.validate(block).unwrap();
                    prop_assert_ne!(candidate.state.root(), before.root());
                    drop(candidate);
                    prop_assert_eq!(&chain.state, &before);
                }
                Step::Crash => chain.crash(),
            }
        }
        let mut fresh = chain.start.state(&chain.spec);
        for block in chain.blocks.values() {
            let block = block.clone().verify(chain.spec.id()).unwrap();
            fresh = validate(&chain.spec, &fresh, &block).unwrap().state;
        }
        prop_assert_eq!(&fresh, &chain.state);
        prop_assert_eq!(rows(&fresh), rows(&chain.state));
    }
}

/// Every block's proposer contributes what nobody else can and it cannot choose; an epoch's seed follows from the block that closes the
/// one before.
#[test]
fn proposers_make_the_beacon_and_it_the_seeds() {
    let mut chain = Chain::grown(start_with(|_| ()), 2);
    let mut seeds = BTreeSet::from([chain.state.open().unwrap().seed]);
    for _ in 0..5 {
        chain.step(all_good);
        assert!(seeds.insert(chain.state.open().unwrap().seed));
    }
    // What a block carries beside its proposer's contribution makes no difference.
    let before = chain.state.head().beacon;
    chain.block(all_good);
    assert!(chain.state.pending().next().is_some());
    let mut other = chain.clone();
    let full = chain.draft(all_good);
    assert!(!full.commitments.is_empty());
    let empty = other.seal(other.at(full.header.time));
    chain.apply(chain.seal(full));
    other.apply(empty);
    assert_ne!(chain.state.head().beacon, before);
    assert_eq!(chain.state.head().beacon, other.state.head().beacon);
    // Another proposer, whose turn it is in the next round, makes another.
    let mut late = other.clone();
    let mut block = late.at(late.state.next_time(&late.spec));
    block.header.round = 1;
    block.header.proposer = late.state.next_proposers().of(1).keys.id;
    block.header.randao = key_of(&block.header.proposer).bls_key().sign_randao(late.spec.id(), block.header.height);
    let block = late.seal(block);
    late.apply(block);
    other.apply(other.seal(other.at(other.state.next_time(&other.spec))));
    assert_ne!(late.state.head().beacon, other.state.head().beacon);
}
