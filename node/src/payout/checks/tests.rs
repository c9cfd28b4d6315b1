//! What is told of a vault, and what is not.

use lucid_storage::Store;
use lucid_tron_bridge::providers::{Contradiction, Difference};
use lucid_tron_bridge::transaction::Reference;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::SolidBlockId;
use lucid_types::time::Epoch;

use super::*;
use crate::history::ledger;
use crate::payout::testing::{address, network, pool_id, root, snapshot, state};

/// The alerts of a vault that is as the ledger wants it but for one change, and of a node that is so many epochs behind.
fn told(behind: u64, change: impl FnOnce(&mut VaultSnapshot)) -> Vec<String> {
    told_at(10, network().genesis().epoch_end(Epoch::new(10 + behind)), change)
}

/// The same of a node whose newest epoch is this one, at this time.
fn told_at(closed: u64, now: UnixMillis, change: impl FnOnce(&mut VaultSnapshot)) -> Vec<String> {
    let network = network();
    let newest = root(&network, 3, 100);
    let state = state(&network, newest).changed(|rows| rows.head.closed = Epoch::new(closed));
    let mut snapshot = snapshot(&network, &newest, 60);
    change(&mut snapshot);
    let id = pool_id(&network);
    let ledger = Ledger { spec: &network, state: &state, id, pool: state.pool(&id).unwrap(), now };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), *network.id()).unwrap();
    let issued = ledger::issued(&network, &store, (&id, ledger.pool), snapshot.settlement).unwrap();
    alerts(&ledger, &snapshot, &issued)
}

#[test]
fn a_vault_as_it_should_be_is_no_alert() {
    assert_eq!(told(0, |_| {}), [""; 0]);
    // Not posted yet, and before the first root of an era.
    assert_eq!(told(0, |snapshot| (snapshot.settlement, snapshot.root) = (0, None)), [""; 0]);
    // A pause of a signer that is over.
    assert_eq!(told(0, |snapshot| snapshot.signer_pause_until = 1), [""; 0]);
}

#[test]
fn whatever_differs_from_the_ledger_is_told() {
    let is_told = |words: &str, change: fn(&mut VaultSnapshot)| {
        let found = told(0, change);
        assert!(found.iter().any(|alert| alert.contains(words)), "{words}: {found:?}");
    };
    let thieves = "the root posted for settlement";
    is_told(thieves, |snapshot| snapshot.root = Some(lucid_types::payout_tree::PayoutRoot::from_bytes([9; 32])));
    is_told(thieves, |snapshot| snapshot.total = MicroUsdt::new(101));
    is_told(thieves, |snapshot| snapshot.settlement = 900);
    is_told("changed without a command", |snapshot| snapshot.era = 2);
    is_told("changed without a command", |snapshot| snapshot.nonce = 1);
    is_told("1 signers must sign", |snapshot| snapshot.threshold = 1);
    is_told("cap or push fee", |snapshot| snapshot.limits.cap = MicroUsdt::new(1));
    is_told("pays in the token", |snapshot| snapshot.token = address(77));
    is_told("holds less than is due", |snapshot| snapshot.funds = MicroUsdt::new(39));
}

#[test]
fn a_node_that_is_behind_calls_nobody_a_thief() {
    assert_eq!(told(2, |snapshot| snapshot.settlement = 4), [""; 0]);
    assert_eq!(told(2, |snapshot| snapshot.nonce = 1), [""; 0]);
    assert!(!told(1, |snapshot| snapshot.settlement = 4).is_empty());
    // What it knows it knows.
    assert!(!told(2, |snapshot| snapshot.total = MicroUsdt::new(101)).is_empty());
}

/// A node that began with a snapshot has no history, and the state names the newest root only.
#[test]
fn a_root_from_before_the_history_is_called_unknown_and_not_stolen() {
    let found = told(0, |snapshot| snapshot.settlement = 2);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("settlement 2 is from before this node's first block"), "{found:?}");
}

#[test]
fn a_root_of_a_settlement_that_is_due_and_not_here_yet_is_no_theft() {
    let network = network();
    let last = 4 * network.fixed().settle_every;
    let end = network.genesis().epoch_end(Epoch::new(last));
    let next = |snapshot: &mut VaultSnapshot| snapshot.settlement = 4;
    assert_eq!(told_at(last - 1, end, next), [""; 0]);
    assert!(
        !told_at(last - 1, end.before(std::time::Duration::from_millis(1)), next).is_empty(),
        "nobody can know it yet"
    );
    assert!(!told_at(last, end, next).is_empty(), "the ledger has no such root");
}

#[test]
fn what_owner_and_signers_announce_is_told() {
    let withdrawal = lucid_tron_bridge::vault::Withdrawal { to: address(8), amount: MicroUsdt::new(5), from: 77 };
    let found = told(0, |snapshot| {
        snapshot.withdrawal = Some(withdrawal);
        snapshot.close_from = u64::MAX - 1;
        snapshot.owner_pause_from = 1;
        snapshot.signer_pause_until = u64::MAX;
    });
    for words in
        ["withdrawal of 0.000005 USDT", "will be closed", "has been paused by its owner", "paused by its signers"]
    {
        assert!(found.iter().any(|alert| alert.contains(words)), "{words}: {found:?}");
    }
    let until = told(0, |snapshot| snapshot.signer_pause_until = u64::MAX - 1);
    assert!(until[0].contains("paused by a signer until"), "{until:?}");
}

#[test]
fn a_vault_takes_over_only_from_the_closed_one_that_it_names() {
    let network = network();
    let (vault, former) = (address(1), address(2));
    let seen = |change: fn(&mut VaultSnapshot)| {
        let mut snapshot = snapshot(&network, &root(&network, 3, 100), 60);
        change(&mut snapshot);
        let block = Reference { number: 5, id: SolidBlockId::from_bytes([5; 32]), time: UnixMillis::new(10_000) };
        WitnessedSnapshot { snapshot, block, groups: Vec::new(), contradictions: Vec::new() }
    };
    let next = seen(|snapshot| snapshot.previous = Some(address(2)));
    let closed = seen(|snapshot| snapshot.close_from = 10);
    let told = |next: &WitnessedSnapshot, code, closed| broken(vault, next, code, former, closed).unwrap_or_default();
    assert_eq!(told(&next, Some(code_hash()), &closed), "");
    let other = seen(|snapshot| snapshot.previous = Some(address(3)));
    let open = seen(|_| {});
    let ends_later = seen(|snapshot| snapshot.close_from = 11);
    for (next, code, closed, words) in [
        (&seen(|_| {}), Some(code_hash()), &closed, "its predecessor is none"),
        (&other, Some(code_hash()), &closed, "its predecessor is"),
        (&next, Some(code_hash()), &open, "is not closed"),
        (&next, Some(code_hash()), &ends_later, "is not closed"),
        (&next, Some([0; 32]), &closed, "is not the payout vault's"),
        (&next, None, &closed, "is not the payout vault's"),
    ] {
        let found = told(next, code, closed);
        assert!(found.contains(words), "{words}: {found}");
    }
    let about = Difference::Vault("predecessor");
    let groups = ["a".to_owned(), "b".to_owned()];
    let contradicted = WitnessedSnapshot { contradictions: vec![Contradiction { groups, about }], ..next };
    assert!(told(&contradicted, Some(code_hash()), &closed).contains("the TRON providers a and b contradict"));
}
