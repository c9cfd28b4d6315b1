//! The payout tree: a Keccak-256 Merkle tree over all that a pool owes. Treasury signers sign its root, and the pool's
//! vault on TRON pays against proofs of it, so its hashes are those that contracts compute cheaply.
//!
//! ```text
//!   leaf     keccak(keccak(id (32 bytes) || 12 zero bytes || to (20) || 24 zero bytes || owed (8, big-endian)))
//!   padding  keccak("PayoutVault padding"), up to a power of two of leaves
//!   node     keccak(the lesser of two hashes || the greater one)
//! ```
//!
//! A leaf is hashed twice, so that no node can pass for one. Sorted pairs make a proof a list of hashes without sides. The
//! order of the leaves is the caller's; what is paid in one transaction should stand side by side, because a range of
//! neighbours needs one proof.

use std::collections::BTreeSet;

use sha3::{Digest, Keccak256};

use crate::amount::MicroUsdt;
use crate::bytes::hex_bytes;
use crate::id::PayoutAddress;

hex_bytes!(
    /// An account of a pool: a worker's, the owner's for its commission, or a validator's. The ledger's statistics and the
    /// vault's sums hang on it.
    AccountId, 32
);
hex_bytes!(
    /// The root of a payout tree.
    PayoutRoot, 32
);
hex_bytes!(
    /// A hash inside a payout tree: a leaf's or a node's.
    TreeHash, 32
);

/// All that an account was ever owed, and where it is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwedAccount {
    /// The account.
    pub id: AccountId,
    /// Where to.
    pub to: PayoutAddress,
    /// Never falls.
    pub owed: MicroUsdt,
}

impl OwedAccount {
    fn leaf(&self) -> TreeHash {
        let mut encoded = [0; 96];
        encoded[..32].copy_from_slice(self.id.as_bytes());
        encoded[44..64].copy_from_slice(&self.to.hash20());
        encoded[88..].copy_from_slice(&self.owed.get().to_be_bytes());
        TreeHash::from_bytes(keccak256(&keccak256(&encoded)))
    }
}

/// Why accounts make no tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayoutTreeError {
    /// There is nothing to sign.
    #[error("a payout tree needs an account")]
    Empty,
    /// The vault would pay the greater of the two, whichever is right.
    #[error("account {0} stands in the payout tree twice")]
    Twice(AccountId),
}

/// See the module. Holds all hashes, 64 bytes for each account or up to twice that.
#[derive(Clone, Debug)]
pub struct PayoutTree {
    n_accounts: usize,
    /// From the leaves up; the last level is the root.
    levels: Vec<Vec<TreeHash>>,
}

impl PayoutTree {
    /// The tree over these accounts, in this order.
    ///
    /// # Errors
    /// There is no account, or one twice.
    pub fn new(accounts: &[OwedAccount]) -> Result<Self, PayoutTreeError> {
        if accounts.is_empty() {
            return Err(PayoutTreeError::Empty);
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = accounts.iter().find(|account| !seen.insert(account.id)) {
            return Err(PayoutTreeError::Twice(twice.id));
        }
        let mut level: Vec<_> = accounts.iter().map(OwedAccount::leaf).collect();
        level.resize(accounts.len().next_power_of_two(), padding());
        let mut levels = vec![level];
        while let Some(pairs) = levels.last().filter(|level| level.len() > 1) {
            let above = pairs.chunks(2).filter_map(|pair| Some(node(pair.first()?, pair.last()?))).collect();
            levels.push(above);
        }
        Ok(Self { n_accounts: accounts.len(), levels })
    }

    /// The root.
    pub fn root(&self) -> PayoutRoot {
        let root = self.levels.last().and_then(|level| level.first());
        PayoutRoot::from_bytes(root.map_or([0; 32], |hash| *hash.as_bytes()))
    }

    /// The hashes that lead from `n` neighbouring accounts, the first of them at index `start`, to the root: from the bottom
    /// up, and on each level the left one before the right one. `None` if there are no such accounts.
    pub fn range_proof(&self, start: usize, n: usize) -> Option<Vec<TreeHash>> {
        let end = start.checked_add(n).filter(|end| n > 0 && *end <= self.n_accounts)?;
        let (mut first, mut last) = (start, end.checked_sub(1)?);
        let mut proof = Vec::new();
        for level in self.levels.split_last().map_or(&[][..], |(_, below)| below) {
            if first % 2 == 1 {
                proof.extend(level.get(first.checked_sub(1)?));
            }
            if last % 2 == 0 {
                proof.extend(level.get(last.checked_add(1)?));
            }
            (first, last) = (first / 2, last / 2);
        }
        Some(proof)
    }
}

/// The root that a range and its proof lead to, as the vault computes it. `None` if the proof does not fit the range: too
/// short, or longer than a tree is high.
pub fn range_root(start: u64, accounts: &[OwedAccount], proof: &[TreeHash]) -> Option<PayoutRoot> {
    let mut start = start;
    let mut hashes: Vec<_> = accounts.iter().map(OwedAccount::leaf).collect();
    let mut proof = proof.iter();
    while hashes.len() > 1 || proof.len() > 0 {
        let mut row = Vec::with_capacity(hashes.len().saturating_add(2));
        if start % 2 == 1 {
            row.push(*proof.next()?);
        }
        row.append(&mut hashes);
        if row.len() % 2 == 1 {
            row.push(*proof.next()?);
        }
        hashes = row.chunks(2).filter_map(|pair| Some(node(pair.first()?, pair.last()?))).collect();
        start /= 2;
    }
    hashes.first().map(|root| PayoutRoot::from_bytes(*root.as_bytes()))
}

fn keccak256(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}

/// What fills the leaves up to a power of two. Nobody knows an account whose leaf this is.
fn padding() -> TreeHash {
    TreeHash::from_bytes(keccak256(b"PayoutVault padding"))
}

fn node(a: &TreeHash, b: &TreeHash) -> TreeHash {
    let mut pair = [0; 64];
    pair[..32].copy_from_slice(a.min(b).as_bytes());
    pair[32..].copy_from_slice(a.max(b).as_bytes());
    TreeHash::from_bytes(keccak256(&pair))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(n: u64) -> OwedAccount {
        let mut id = [0; 32];
        id[24..].copy_from_slice(&n.to_be_bytes());
        let to = PayoutAddress::from_hash20([u8::try_from(n % 251).unwrap(); 20]);
        OwedAccount { id: AccountId::from_bytes(id), to, owed: MicroUsdt::new(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) }
    }

    fn accounts(n: u64) -> Vec<OwedAccount> {
        (0..n).map(account).collect()
    }

    #[test]
    fn what_makes_no_tree() {
        assert_eq!(PayoutTree::new(&[]).unwrap_err(), PayoutTreeError::Empty);
        let richer = OwedAccount { owed: MicroUsdt::new(u64::MAX), ..account(3) };
        let twice = [account(3), account(4), richer];
        assert_eq!(PayoutTree::new(&twice).unwrap_err(), PayoutTreeError::Twice(account(3).id));
        let tree = PayoutTree::new(&accounts(5)).unwrap();
        for (start, n) in [(0, 0), (0, 6), (5, 1), (4, 2), (usize::MAX, 1), (1, usize::MAX)] {
            assert_eq!(tree.range_proof(start, n), None, "{start} {n}");
        }
    }

    #[test]
    fn padding_is_no_account_that_could_be_claimed() {
        let tree = PayoutTree::new(&accounts(5)).unwrap();
        assert_eq!(tree.levels[0].len(), 8);
        assert!(tree.levels[0][5..].iter().all(|hash| *hash == padding()));
        assert_ne!(PayoutTree::new(&accounts(5)).unwrap().root(), PayoutTree::new(&accounts(6)).unwrap().root());
    }

    proptest! {
        #[test]
        fn every_range_leads_to_the_root_and_nothing_else_does(
            n in 1..70u64, start in 0..70usize, length in 1..70usize, at in any::<prop::sample::Index>(),
        ) {
            let all = accounts(n);
            let tree = PayoutTree::new(&all).unwrap();
            let start = start % all.len();
            let range = &all[start..(start + length).min(all.len())];
            let proof = tree.range_proof(start, range.len()).unwrap();
            let from = u64::try_from(start).unwrap();
            let root = Some(tree.root());
            prop_assert_eq!(range_root(from, range, &proof), root);
            let changed = at.index(range.len());
            for other in [
                OwedAccount { owed: MicroUsdt::new(range[changed].owed.get() ^ 1), ..range[changed] },
                OwedAccount { to: PayoutAddress::from_hash20([255; 20]), ..range[changed] },
                OwedAccount { id: AccountId::from_bytes([255; 32]), ..range[changed] },
            ] {
                let mut range = range.to_vec();
                range[changed] = other;
                prop_assert_ne!(range_root(from, &range, &proof), root);
            }
            let mut longer = proof.clone();
            longer.push(padding());
            prop_assert_ne!(range_root(from, range, &longer), root);
            if let Some((_, shorter)) = proof.split_last() {
                prop_assert_ne!(range_root(from, range, shorter), root);
            }
        }
    }
}
