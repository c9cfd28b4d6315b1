use lucid_types::amount::MicroUsdt;
use lucid_types::id::SolidBlockId;
use lucid_types::payout_tree::PayoutRoot;
use lucid_types::time::UnixMillis;
use std::collections::BTreeMap;

use super::*;
use crate::vault::testing::new_vault;

fn account(n: u8) -> PayoutAddress {
    PayoutAddress::from_hash20([n; 20])
}

fn id(n: u8) -> AccountId {
    AccountId::from_bytes([n; 32])
}

fn block(number: u64) -> Reference {
    let mut id = [0xcd; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Reference { number, id: SolidBlockId::from_bytes(id), time: UnixMillis::new(number * 3_000) }
}

fn snapshot(settlement: u64, paid: &[u64]) -> VaultSnapshot {
    let paid: BTreeMap<_, _> = (1..).zip(paid).map(|(n, paid)| (id(n), MicroUsdt::new(*paid))).collect();
    VaultSnapshot {
        settlement,
        total: MicroUsdt::new(1_000),
        root: Some(PayoutRoot::from_bytes([u8::try_from(settlement).unwrap_or(255); 32])),
        paid_out: MicroUsdt::sum(paid.values().copied()).unwrap_or_default(),
        paid,
        ..new_vault()
    }
}

fn seen(group: &str, before: u64, after: u64, snapshot: VaultSnapshot) -> Observation {
    Observation { group: group.into(), before: block(before), after: block(after), snapshot }
}

fn found(a: Observation, b: Observation) -> Vec<Difference> {
    let (ab, ba) = (differences(&a, &b), differences(&b, &a));
    assert_eq!(ab.len(), ba.len(), "the order of groups means nothing");
    let contradictions = contradictions(&[a, b]);
    assert_eq!(contradictions.len(), ab.len());
    ab
}

#[test]
fn the_least_paid_and_the_oldest_state_count() {
    let groups = vec![
        seen("a", 12, 12, snapshot(3, &[10, 20])),
        seen("b", 10, 10, snapshot(2, &[10, 15])),
        seen("c", 11, 12, snapshot(3, &[5, 20])),
    ];
    let (at, agreed) = agreed(groups).unwrap_or_else(|| (block(0), snapshot(0, &[])));
    assert_eq!(at, block(10));
    assert_eq!(
        (agreed.settlement, agreed.paid_of(&id(1)), agreed.paid_of(&id(2))),
        (2, Some(MicroUsdt::new(5)), Some(MicroUsdt::new(15)))
    );
    assert!(super::agreed(Vec::new()).is_none());
}

#[test]
fn a_view_that_lags_is_no_contradiction() {
    assert_eq!(found(seen("a", 10, 11, snapshot(2, &[1])), seen("b", 11, 12, snapshot(3, &[5]))), []);
    // Overlapping views of a state that changes meanwhile can differ either way.
    assert_eq!(found(seen("a", 10, 12, snapshot(3, &[5])), seen("b", 11, 12, snapshot(2, &[1]))), []);
    assert_eq!(found(seen("a", 10, 10, snapshot(2, &[1])), seen("b", 10, 10, snapshot(2, &[1]))), []);
}

#[test]
fn what_shrinks_is_a_contradiction() {
    let payments = Difference::Vault("payments");
    let less = found(seen("a", 10, 11, snapshot(2, &[5, 1])), seen("b", 11, 12, snapshot(2, &[4, 1])));
    assert_eq!(less, [payments, Difference::Paid(id(1))]);
    let older = found(seen("a", 10, 11, snapshot(3, &[1])), seen("b", 12, 12, snapshot(2, &[1])));
    assert_eq!(older, [Difference::Vault("newest settlement")]);
    let other_root = VaultSnapshot { root: Some(PayoutRoot::from_bytes([9; 32])), ..snapshot(2, &[1]) };
    let changed = found(seen("a", 10, 10, snapshot(2, &[1])), seen("b", 12, 12, other_root));
    assert_eq!(changed, [Difference::Vault("payout root")]);
    // A new era begins its settlements anew.
    let rotated = VaultSnapshot { era: 2, nonce: 1, ..snapshot(1, &[1]) };
    assert_eq!(found(seen("a", 10, 10, snapshot(9, &[1])), seen("b", 12, 12, rotated)), []);
}

#[test]
fn views_of_one_block_must_be_the_same() {
    let funds = VaultSnapshot { funds: MicroUsdt::new(1), ..snapshot(2, &[1]) };
    let differ = found(seen("a", 10, 10, snapshot(2, &[1])), seen("b", 10, 10, funds.clone()));
    assert_eq!(differ, [Difference::Vault("state")]);
    assert_eq!(found(seen("a", 10, 10, snapshot(2, &[1])), seen("b", 10, 11, funds)), []);
    // Either can be the later one, so a difference counts once.
    let less = found(seen("a", 10, 10, snapshot(2, &[1])), seen("b", 10, 10, snapshot(2, &[2])));
    assert_eq!(less, [Difference::Vault("payments"), Difference::Paid(id(1))]);
}

#[test]
fn forks_and_other_vaults_are_contradictions() {
    let mut forked = seen("b", 10, 12, snapshot(2, &[1]));
    forked.before.id = SolidBlockId::from_bytes([7; 32]);
    assert_eq!(found(seen("a", 10, 12, snapshot(2, &[1])), forked), [Difference::Block(10)]);
    let other = VaultSnapshot { owner: account(9), ..snapshot(2, &[1]) };
    assert_eq!(found(seen("a", 10, 12, snapshot(2, &[1])), seen("b", 11, 12, other)), [Difference::Vault("owner")]);
    let contradiction =
        Contradiction { groups: ["http://a".into(), "http://b".into()], about: Difference::Vault("owner") };
    assert!(contradiction.to_string().contains("http://a and http://b contradict each other on the vault's owner"));
}
