//! What a validator reports of the chain and of a pool's treasury, as pure functions over a client's answers.

use std::collections::BTreeSet;

use lucid_types::genesis::Treasury;
use lucid_types::payout::SolidBlock;

use crate::client::Account;
use lucid_tron_types::proto::ContractType;

/// Numbers of the two newest blocks, newest first, that are multiples of `stride` when `head` is the newest solidified
/// block. Block 0 is not among them: it is no reference for a payment. Empty for a stride of 0.
pub fn reference_numbers(head: u64, stride: u64) -> Vec<u64> {
    let newest = head.checked_rem(stride).and_then(|rest| head.checked_sub(rest));
    let older = newest.and_then(|n| n.checked_sub(stride));
    [newest, older].into_iter().flatten().filter(|&n| n > 0).collect()
}

/// The blocks that every provider reports alike, newest first, out of each provider's answer.
pub fn common_blocks(answers: &[Vec<SolidBlock>]) -> Vec<SolidBlock> {
    let Some((first, others)) = answers.split_first() else { return Vec::new() };
    first.iter().filter(|block| others.iter().all(|answer| answer.contains(block))).copied().collect()
}

/// Whether the account's permission is the one the pool declares: the same threshold, exactly the signers' keys with
/// weight 1 each, and contract calls allowed.
pub fn permission_matches(account: &Account, treasury: &Treasury) -> bool {
    let Some(permission) = account.permissions.iter().find(|p| p.id == treasury.permission_id) else { return false };
    let declared: BTreeSet<_> = treasury.signers.iter().map(|s| (s.key_address, 1)).collect();
    let found: BTreeSet<_> = permission.keys.iter().copied().collect();
    permission.threshold == u64::from(treasury.threshold)
        && found == declared
        && found.len() == permission.keys.len()
        && permission.operations.is_none_or(|bits| allows(&bits, ContractType::TriggerSmart))
}

/// Whether the bit of a contract type is set: bit n is bit n % 8 of byte n / 8.
fn allows(operations: &[u8; 32], contract: ContractType) -> bool {
    let bit = usize::try_from(i32::from(contract)).unwrap_or(usize::MAX);
    operations.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use lucid_types::amount::Sun;
    use lucid_types::genesis::TreasurySigner;
    use lucid_types::id::{NodeId, PayoutAddress};
    use proptest::prelude::*;

    use super::*;
    use crate::client::AccountPermission;
    use crate::testing::chain;

    fn key(n: u8) -> PayoutAddress {
        PayoutAddress::from_hash20([n; 20])
    }

    fn treasury(n_signers: u8, threshold: u32) -> Treasury {
        let signers = (1..=n_signers)
            .map(|n| TreasurySigner { node: NodeId::from_bytes([n; 32]), key_address: key(n) })
            .collect();
        Treasury { address: key(0xee), permission_id: 2, threshold, signers }
    }

    fn account(keys: Vec<(PayoutAddress, u64)>, threshold: u64, operations: Option<[u8; 32]>) -> Account {
        let owner = AccountPermission { id: 0, threshold: 1, operations: None, keys: vec![(key(0xee), 1)] };
        let active = AccountPermission { id: 2, threshold, operations, keys };
        Account { address: key(0xee), balance: Sun::ZERO, permissions: vec![owner, active] }
    }

    fn calls_only() -> [u8; 32] {
        let mut bits = [0; 32];
        bits[3] = 0x80;
        bits
    }

    #[test]
    fn only_the_declared_permission_matches() {
        let declared = treasury(3, 2);
        let keys = vec![(key(3), 1), (key(1), 1), (key(2), 1)];
        assert!(permission_matches(&account(keys.clone(), 2, Some(calls_only())), &declared));
        assert!(permission_matches(&account(keys.clone(), 2, None), &declared));
        assert!(!permission_matches(&account(keys.clone(), 1, None), &declared), "a lower threshold");
        assert!(!permission_matches(&account(keys[..2].to_vec(), 2, None), &declared), "a key less");
        assert!(!permission_matches(&account(keys.clone(), 2, Some([0; 32])), &declared), "no contract calls");
        let heavy = vec![(key(3), 2), (key(1), 1), (key(2), 1)];
        assert!(!permission_matches(&account(heavy, 2, None), &declared), "a heavier key");
        let more = [keys.clone(), vec![(key(4), 1)]].concat();
        assert!(!permission_matches(&account(more, 2, None), &declared), "a foreign key");
        let other = Treasury { permission_id: 3, ..declared };
        assert!(!permission_matches(&account(keys, 2, None), &other), "no such permission");
    }

    #[test]
    fn a_single_key_account_matches_under_its_owner_permission() {
        let signer = TreasurySigner { node: NodeId::from_bytes([1; 32]), key_address: key(0xee) };
        let declared = Treasury { address: key(0xee), permission_id: 0, threshold: 1, signers: vec![signer] };
        assert!(permission_matches(&account(vec![], 1, None), &declared));
    }

    #[test]
    fn only_blocks_that_all_providers_report_alike_count() {
        let a: Vec<_> = chain(3, |_| vec![]).iter().map(|b| b.solid()).collect();
        let b: Vec<_> = chain(2, |_| vec![]).iter().map(|b| b.solid()).collect();
        assert_eq!(common_blocks(&[a.clone(), b]), a[..2]);
        assert_eq!(common_blocks(std::slice::from_ref(&a)), a);
        assert_eq!(common_blocks(&[]), []);
    }

    proptest! {
        #[test]
        fn references_are_the_two_newest_multiples(head in 0_u64..1_000_000, stride in 1_u64..100) {
            let numbers = reference_numbers(head, stride);
            let expected: Vec<_> = (1..=head).rev().filter(|n| n % stride == 0).take(2).collect();
            prop_assert_eq!(numbers, expected);
            prop_assert_eq!(reference_numbers(head, 0), Vec::<u64>::new());
        }
    }
}
