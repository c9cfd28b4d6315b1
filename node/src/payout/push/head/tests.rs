//! What is told of blocks, and what is asked. Reading blocks is tested against the local TRON network, by the test network.

use lucid_tron_bridge::client::{ContractResult, Log};
use lucid_tron_bridge::pusher::{Outcome, Work};
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::SolidBlockId;

use super::*;
use crate::payout::testing::{address, network, root, snapshot};

const EVERY: Duration = Duration::from_secs(1);

fn time(number: u64) -> UnixMillis {
    UnixMillis::new(number * 1_000)
}

fn id(number: u64) -> SolidBlockId {
    SolidBlockId::from_bytes([u8::try_from(number).unwrap(); 32])
}

fn header(number: u64) -> Header {
    Header {
        reference: Reference { number, id: id(number), time: time(number) },
        parent: id(number - 1),
        is_empty: false,
    }
}

fn tx(n: u8) -> TxId {
    TxId::from_bytes([n; 32])
}

/// A transaction that can be included before block 60.
fn stored(n: u8) -> InFlight {
    InFlight {
        id: n.into(),
        work: Work::Batch { settlement: 3, start: 0, accounts: vec![], amount: MicroUsdt::new(1) },
        tx_id: tx(n),
        expiration: time(60),
        fee_limit: Sun::new(1),
        bytes: vec![],
    }
}

fn info(n: u8, block: u64, logs: Vec<Log>) -> TransactionInfo {
    TransactionInfo {
        id: tx(n),
        block,
        block_time: time(block),
        fee: Sun::new(5),
        result: ContractResult::Success,
        energy: 0,
        output: vec![],
        message: String::new(),
        logs,
    }
}

fn found(number: u64, infos: Vec<TransactionInfo>) -> Found {
    Found { header: header(number), has_polled: true, infos, is_gap: false, vault: None }
}

/// A follower that has seen block 1.
fn follower() -> HeadFollower {
    let mut follower = HeadFollower::new(EVERY, &[]);
    follower.wanted = Some(vec![]);
    assert!(follower.look(time(1)).unwrap().polls, "nothing is known yet");
    assert_eq!(follower.found(time(1), &found(1, vec![])), []);
    follower.wanted = None;
    follower
}

#[test]
fn blocks_are_asked_for_while_something_waits_for_one() {
    let mut follower = follower();
    assert!(follower.look(time(30)).is_none(), "nobody waits");
    follower.opened(&stored(1), true);
    assert!(follower.has_open());
    assert!(follower.look(time(1)).is_none(), "the next block is not due");
    let look = follower.look(time(3)).unwrap();
    assert!(look.polls && look.reads_receipts && look.wanted.is_none());
    follower.is_looking = true;
    assert!(follower.look(time(3)).is_none(), "one look at a time");
    follower.is_looking = false;
    let told = follower.found(time(3), &found(2, vec![info(9, 2, vec![]), info(1, 2, vec![])]));
    let receipt = Receipt { block_time: time(2), fee: Sun::new(5), outcome: Outcome::Success };
    assert_eq!(told, [(1, receipt)]);
    assert!(!follower.has_open() && follower.look(time(30)).is_none(), "a block includes it");
    assert_eq!(follower.found(time(4), &found(3, vec![info(1, 3, vec![])])), [], "it is told once");
    // A second one that is forgotten.
    follower.opened(&stored(2), true);
    follower.closed(2);
    assert!(!follower.has_open());
}

#[test]
fn a_look_at_the_vault_asks_for_a_block_only_when_one_is_due() {
    let mut follower = follower();
    follower.wanted = Some(vec![]);
    let look = follower.look(time(1)).unwrap();
    assert!(!look.polls && !look.reads_receipts && look.known == Some(header(1)));
    assert!(follower.look(follower.pace.next_at()).unwrap().polls);
}

#[test]
fn what_was_looked_through_answers_for_transactions_without_a_request() {
    let mut follower = follower();
    follower.opened(&stored(1), true);
    assert_eq!(follower.lookup(1, tx(1), None), Some(Lookup::NotIncluded), "all blocks since were looked through");
    // One that was stored by an earlier process may be in a block before.
    follower.opened(&stored(2), false);
    assert_eq!(follower.lookup(2, tx(2), None), None);
    assert_eq!(follower.lookup(7, tx(7), None), None, "one that is unknown");
    // It was asked for: from now on blocks tell.
    follower.looked_up(2, &Lookup::Unavailable);
    assert_eq!(follower.lookup(2, tx(2), None), None);
    follower.looked_up(2, &Lookup::NotIncluded);
    assert_eq!(follower.lookup(2, tx(2), None), Some(Lookup::NotIncluded));
    // Past its expiration the head's word is not enough to give it up.
    follower.found(time(60), &found(60, vec![]));
    assert_eq!(follower.lookup(2, tx(2), None), None);
    // The solidified view is.
    let receipt = Receipt::from(&info(2, 59, vec![]));
    assert_eq!(follower.lookup(2, tx(2), Some(receipt.clone())), Some(Lookup::Included(receipt)));
    assert!(follower.open.get(&2).is_some_and(|open| open.is_told));
}

#[test]
fn after_a_gap_transactions_are_asked_for() {
    let mut follower = follower();
    follower.opened(&stored(1), true);
    follower.found(time(3), &Found { is_gap: true, ..found(2, vec![]) });
    assert_eq!(follower.lookup(1, tx(1), None), None);
    // What came after the gap is watched.
    follower.opened(&stored(2), true);
    assert_eq!(follower.lookup(2, tx(2), None), Some(Lookup::NotIncluded));
}

#[test]
fn a_transaction_that_a_fork_dropped_is_asked_for_and_watched_again() {
    let mut follower = follower();
    follower.opened(&stored(1), true);
    assert_eq!(follower.found(time(2), &found(2, vec![info(1, 2, vec![])])).len(), 1);
    // The solidified block does not have it: only then the pusher asks again.
    assert_eq!(follower.lookup(1, tx(1), None), None);
    follower.looked_up(1, &Lookup::NotIncluded);
    assert!(follower.has_open());
    assert_eq!(follower.found(time(5), &found(5, vec![info(1, 5, vec![])])).len(), 1, "it was included anew");
}

#[test]
fn transactions_are_asked_for_one_after_the_other() {
    let mut follower = follower();
    (1..4).for_each(|n| follower.opened(&stored(n), false));
    for _ in 0..2 {
        (1..4).for_each(|n| assert_eq!(follower.lookup(n.into(), tx(n), None), None));
    }
    assert_eq!(follower.next_lookup(Duration::ZERO), Some((1, tx(1))));
    assert_eq!(follower.next_lookup(Duration::ZERO), None, "it is under way");
    follower.looked_up(1, &Lookup::Unavailable);
    assert_eq!(follower.next_lookup(Duration::from_secs(3_600)), None, "the interval is not over");
    follower.closed(2);
    assert_eq!(
        follower.next_lookup(Duration::ZERO),
        Some((3, tx(3))),
        "nobody waits for the second, and none waits twice"
    );
    follower.looked_up(3, &Lookup::NotIncluded);
    assert_eq!(follower.next_lookup(Duration::ZERO), None);
}

#[test]
fn an_older_block_is_believed_when_it_is_shown_again_and_again() {
    let mut follower = follower();
    follower.opened(&stored(1), true);
    follower.found(time(9), &found(9, vec![]));
    for _ in 0..MAX_BEHIND {
        assert_eq!(follower.found(time(9), &found(8, vec![info(1, 8, vec![])])), []);
        assert_eq!(follower.fresh().unwrap().number, 9);
    }
    assert_eq!(follower.found(time(9), &found(8, vec![info(1, 8, vec![])])).len(), 1, "the others were forked away");
    assert_eq!(follower.fresh().unwrap().number, 8);
}

#[test]
fn nobody_answering_is_not_asked_without_pause() {
    let mut follower = follower();
    follower.opened(&stored(1), true);
    for _ in 0..20 {
        let now = follower.pace.next_at();
        assert!(follower.look(now).is_some());
        follower.not_found(now);
        assert!(follower.pace.next_at() >= now.after(EVERY / 8));
    }
}

#[test]
fn a_block_follows_if_it_names_the_other_or_if_few_are_between() {
    let foreign = Header { parent: id(77), ..header(11) };
    for (block, is_next) in
        [(header(11), true), (foreign, false), (header(12), true), (header(10), false), (header(9), false)]
    {
        assert_eq!(follows(&header(10), &block), is_next, "{block:?}");
    }
    assert!(follows(&header(10), &header(10 + MAX_BLOCKS)) && !follows(&header(10), &header(11 + MAX_BLOCKS)));
}

#[test]
fn a_vault_may_have_changed_if_it_said_something_or_its_tokens_moved() {
    let network = network();
    let (vault, token) = (root(&network, 3, 1).vault, network.genesis().tron.usdt);
    let named = |of: PayoutAddress| {
        let mut word = [0; 32];
        word[12..].copy_from_slice(&of.hash20());
        word
    };
    let log = |address, topics: &[[u8; 32]]| Log { address, topics: topics.to_vec(), data: vec![] };
    for (logs, does) in [
        (vec![], false),
        (vec![log(vault, &[])], true),
        (vec![log(token, &[[1; 32], named(address(1)), named(address(2))])], false),
        (vec![log(token, &[[1; 32], named(address(1)), named(vault)])], true),
        (vec![log(address(9), &[[1; 32], named(vault)])], false),
    ] {
        assert_eq!(concerns(&info(1, 1, logs.clone()), &vault, &token), does, "{logs:?}");
    }
}

#[test]
fn the_vault_of_the_newest_block_is_handed_to_the_next_look() {
    let (mut follower, network) = (follower(), network());
    let vault = Arc::new(snapshot(&network, &root(&network, 3, 100), 40));
    follower.found(time(2), &Found { vault: Some(Arc::clone(&vault)), ..found(2, vec![]) });
    follower.wanted = Some(vec![]);
    assert_eq!(follower.look(time(2)).unwrap().vault.as_deref(), Some(&*vault));
    let read = follower.vault.as_ref().unwrap().1;
    follower.found(time(3), &Found { vault: Some(vault), ..found(3, vec![]) });
    let (held, since) = follower.vault.as_mut().unwrap();
    assert_eq!(*since, read, "it is as old as it was");
    *since = since.checked_sub(MAX_VAULT_AGE).unwrap();
    let held = Arc::clone(held);
    assert_eq!(follower.look(time(3)).unwrap().vault, None, "a node that was behind may have told it");
    follower.found(time(4), &Found { vault: Some(Arc::new((*held).clone())), ..found(4, vec![]) });
    assert_eq!(follower.look(time(4)).unwrap().vault, Some(held), "it was read anew");
    follower.found(time(5), &found(5, vec![]));
    assert_eq!(follower.look(time(5)).unwrap().vault, None, "it may have changed");
}
