//! The state's root commits to every part of it.

use lucid_score::worker_stats::WorkerStats;
use lucid_types::amount::{Credits, MicroUsdt, Ppm};
use lucid_types::codec::{decode, encode};
use lucid_types::id::{BlockHash, Hash, NodeId, PoolId};
use lucid_types::payout::PoolChange;
use lucid_types::time::{Epoch, Height, UnixMillis};

use super::chain::{Chain, address, all_good, genesis_with, key_of, signers, validator, worker};
use crate::ledger::state::{Account, Hold, PoolState, State};

/// Some of an epoch's reports are revealed; the first settlement made a root.
fn rich() -> State {
    let mut chain = Chain::grown(genesis_with(|genesis| genesis.policy.report_window = 2), 3);
    let next = signers(2, 2);
    chain.step_with(vec![chain.command(PoolChange::Signers { nonce: 0, next }, &[0, 1])]);
    for _ in 0..4 {
        chain.block(all_good);
    }
    let state = chain.state;
    assert!(state.pending.values().any(|pending| !pending.revealed.is_empty()));
    assert!(state.pools.values().all(|pool| pool.newest.is_some() && !pool.changes.is_empty()));
    state
}

fn pool(state: &mut State) -> &mut PoolState {
    state.pools.values_mut().next().unwrap()
}

fn account(state: &mut State) -> &mut Account {
    pool(state).accounts.values_mut().next().unwrap()
}

fn stats(state: &mut State) -> &mut WorkerStats {
    state.worker_stats.get_mut(&worker(1)).unwrap()
}

#[test]
fn the_root_changes_with_every_part() {
    type Change = (&'static str, fn(&mut State));
    let changes: [Change; 51] = [
        ("height", |s| s.height = s.height.next()),
        ("time", |s| s.time = UnixMillis::new(1)),
        ("the beacon", |s| s.beacon = Hash::from_bytes([1; 32])),
        ("the beacon before", |s| s.previous_beacon = Hash::from_bytes([1; 32])),
        ("the closed epoch", |s| s.closed = s.closed.next()),
        ("the open epoch's seed", |s| s.open.as_mut().unwrap().seed = Hash::from_bytes([1; 32])),
        ("its seats", |s| s.open.as_mut().unwrap().scored[1].seats[0].count += 1),
        ("whether it is measured", |s| s.open = None),
        ("the epoch scored last", |s| s.scored = s.scored.next()),
        ("a row root", |s| *s.row_roots.values_mut().next().unwrap() = Hash::from_bytes([1; 32])),
        ("a commitment", |s| {
            let pending = s.pending.values_mut().next().unwrap();
            *pending.commitments.values_mut().next().unwrap() = Hash::from_bytes([1; 32]);
        }),
        ("who committed", |s| {
            s.pending.values_mut().next().unwrap().commitments.pop_first();
        }),
        ("who revealed", |s| {
            let pending = s.pending.values_mut().find(|pending| !pending.revealed.is_empty()).unwrap();
            pending.revealed.pop_first();
        }),
        ("where an epoch was closed", |s| s.pending.values_mut().next().unwrap().closed_in = Height::new(1)),
        ("a scored worker", |s| drop(s.pending.values_mut().next().unwrap().draw.scored.pop())),
        ("who reports", |s| s.pending.values_mut().next().unwrap().draw.reporters.truncate(3)),
        ("an echo epoch", |s| s.pending.values_mut().next().unwrap().draw.scored[0].echo_bytes = None),
        ("a pending epoch", |s| {
            let (epoch, pending) = s.pending.pop_last().unwrap();
            s.pending.insert(epoch.next(), pending);
        }),
        ("credits", |s| stats(s).credits = Credits::new(77)),
        ("reachable time", |s| stats(s).reachable_ms += 1),
        ("epochs", |s| stats(s).epochs += 1),
        ("session time", |s| stats(s).session_ms += 1),
        ("bandwidth", |s| stats(s).kbit_s += 1),
        ("quality", |s| stats(s).quality = Ppm::new(1)),
        ("trust", |s| stats(s).trust = Ppm::new(1)),
        ("a score", |s| stats(s).score = Ppm::new(1)),
        ("whose stats", |s| {
            let stats = s.worker_stats.remove(&worker(1)).unwrap();
            s.worker_stats.insert(validator(1), stats);
        }),
        ("budgets", |s| pool(s).budgets = MicroUsdt::new(1)),
        ("fees", |s| pool(s).fees = MicroUsdt::new(1)),
        ("carried", |s| pool(s).carried = MicroUsdt::new(1)),
        ("losses", |s| pool(s).losses = MicroUsdt::new(1)),
        ("an account", |s| {
            pool(s).accounts.pop_first();
        }),
        ("whose account", |s| account(s).node = validator(3)),
        ("where it is paid", |s| account(s).to = address(77)),
        ("what it is owed", |s| account(s).owed = MicroUsdt::new(1)),
        ("what was requested", |s| account(s).requested = MicroUsdt::new(1)),
        ("what is held", |s| account(s).held = MicroUsdt::new(1)),
        ("a hold", |s| account(s).hold = Hold::Since(1)),
        ("a correction", |s| account(s).correction = MicroUsdt::new(1)),
        ("a share", |s| {
            pool(s).shares.insert(NodeId::from_bytes([1; 32]), 1);
        }),
        ("settled", |s| pool(s).settled += 1),
        ("an election", |s| pool(s).election.as_mut().unwrap().order.reverse()),
        ("who led", |s| {
            pool(s).last_led.pop_first();
        }),
        ("the newest root", |s| pool(s).newest.as_mut().unwrap().until += 1),
        ("what is in it", |s| pool(s).rooted = MicroUsdt::new(1)),
        ("suspended", |s| pool(s).suspended_from = Some(9)),
        ("commands", |s| pool(s).commands += 1),
        ("the vault", |s| pool(s).vault.nonce += 1),
        ("a change of the vault", |s| {
            pool(s).changes.pop_first();
        }),
        ("the push fee", |s| pool(s).push_fee = MicroUsdt::new(1)),
        ("the next push fee", |s| pool(s).next_push_fee = Some((9, MicroUsdt::new(1)))),
    ];
    let state = rich();
    let mut roots = std::collections::BTreeSet::from([state.root()]);
    for (part, change) in changes {
        let mut changed = state.clone();
        change(&mut changed);
        assert!(roots.insert(changed.root()), "{part} does not count");
    }
}

/// Values under another key, or moved from one map to another, are another state.
#[test]
fn the_root_tells_keys_and_maps_apart() {
    let state = rich();
    let mut moved = state.clone();
    let (id, accounts) = moved.pools.pop_first().unwrap();
    moved.pools.insert(PoolId::from_bytes([1; 32]), accounts);
    assert_ne!(moved.root(), state.root());
    assert_ne!(id, PoolId::from_bytes([1; 32]));
}

/// The block's hash depends on the root, so the root cannot depend on it.
#[test]
fn the_newest_blocks_hash_is_not_part_of_the_root() {
    let state = rich();
    let other = State { block: BlockHash::from_bytes([1; 32]), ..state.clone() };
    assert_eq!(other.root(), state.root());
}

#[test]
fn the_codec_keeps_the_whole_state() {
    let state = rich();
    let bytes = encode(&state);
    assert_eq!(decode::<State>(&bytes).unwrap(), state);
    assert!(decode::<State>(&[bytes.as_slice(), &[0]].concat()).is_err());
    // Maps have one encoding: the same entries in another order are refused.
    let root = state.row_roots.values().next().unwrap();
    let entries = |bytes: &[u8]| bytes.windows(32).position(|at| at == root.as_bytes());
    let first = entries(&bytes).unwrap() - 8;
    let mut swapped = bytes.clone();
    let (a, b) = (bytes[first..first + 40].to_vec(), bytes[first + 40..first + 80].to_vec());
    swapped[first..first + 40].copy_from_slice(&b);
    swapped[first + 40..first + 80].copy_from_slice(&a);
    assert!(decode::<State>(&swapped).is_err());
}

#[test]
fn row_roots_are_kept_no_longer_than_needed() {
    let chain = Chain::grown(genesis_with(|genesis| genesis.policy.report_window = 2), 20);
    let epochs = |range: std::ops::RangeInclusive<u64>| range.map(Epoch::new).collect::<Vec<_>>();
    assert_eq!(chain.state.row_roots.keys().copied().collect::<Vec<_>>(), epochs(17..=20));
    assert!(chain.state.pending.is_empty());
}

/// Every block's proposer contributes what nobody else can and it cannot choose; an epoch's seed follows from the block that closes the
/// one before.
#[test]
fn proposers_make_the_beacon_and_it_the_seeds() {
    let mut chain = Chain::grown(genesis_with(|_| ()), 2);
    let mut seeds = std::collections::BTreeSet::from([chain.state.open.as_ref().unwrap().seed]);
    for _ in 0..5 {
        chain.step(all_good);
        assert!(seeds.insert(chain.state.open.as_ref().unwrap().seed));
    }
    // What a block carries beside its proposer's contribution makes no difference.
    let before = chain.state.beacon;
    chain.block(all_good);
    assert!(!chain.state.pending.is_empty());
    let mut other = chain.clone();
    let full = chain.draft(all_good);
    assert!(!full.commitments.is_empty());
    let empty = other.seal(other.at(full.header.time));
    chain.apply(chain.seal(full));
    other.apply(empty);
    assert_ne!(chain.state.beacon, before);
    assert_eq!(chain.state.beacon, other.state.beacon);
    // Another proposer, whose turn it is in the next round, makes another.
    let mut late = other.clone();
    let mut block = late.at(late.state.next_time(&late.spec));
    block.header.round = 1;
    block.header.proposer = late.state.next_proposers(&late.spec).of(1).node;
    block.header.randao = key_of(&block.header.proposer).bls_key().sign_randao(late.spec.id(), block.header.height);
    let block = late.seal(block);
    late.apply(block);
    other.apply(other.seal(other.at(other.state.next_time(&other.spec))));
    assert_ne!(late.state.beacon, other.state.beacon);
}
