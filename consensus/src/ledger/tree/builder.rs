//! Trees of rows that come in order, and runs of rows that prove themselves.

use std::fmt;
use std::sync::Arc;

use lucid_types::id::Hash;
use lucid_types::proof::{EMPTY_ROOT, MAX_KEY_BYTES, ProofStep, branch_hash, key_bit, leaf_hash};

use super::{Leaf, NOWHERE, Node, Tree, first_difference};

/// Makes a tree of rows that come in the order of their keys, in one pass, and tells on the way whether they are the first rows
/// of a tree whose root is known.
pub struct Builder<V> {
    /// Subtrees to the left of the last row, each with the bit of the branch at which the row goes right; the bits grow.
    left: Vec<(u16, Node<V>)>,
    last: Option<Arc<Leaf<V>>>,
}

/// A row that cannot follow those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row whose key is not above the one before, begins with it, or is longer than {MAX_KEY_BYTES} bytes")]
pub struct OutOfOrder;

impl<V> Clone for Builder<V> {
    fn clone(&self) -> Self {
        Self { left: self.left.clone(), last: self.last.clone() }
    }
}

impl<V> Default for Builder<V> {
    fn default() -> Self {
        Self { left: Vec::new(), last: None }
    }
}

impl<V> fmt::Debug for Builder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").finish_non_exhaustive()
    }
}

impl<V> Builder<V> {
    /// Adds the next row.
    ///
    /// # Errors
    /// The key is not above the last one, begins with it, or is longer than [`MAX_KEY_BYTES`]. The row is not added.
    pub fn push(&mut self, key: &[u8], value: V, value_hash: Hash) -> Result<(), OutOfOrder> {
        let follows = self.last_key().is_none_or(|last| last < key && !key.starts_with(last));
        if !follows || key.len() > MAX_KEY_BYTES {
            return Err(OutOfOrder);
        }
        self.append(key, value, value_hash);
        Ok(())
    }

    /// Adds a row whose key can follow the last one.
    pub(super) fn append(&mut self, key: &[u8], value: V, value_hash: Hash) {
        let leaf = Arc::new(Leaf { key: key.into(), value, value_hash });
        if let Some(last) = self.last.replace(leaf) {
            // The new row leaves the way to the last one at this bit. What is below is complete.
            let parting = first_difference(&last.key, key).unwrap_or(NOWHERE);
            let mut node = Node::Leaf(last);
            while let Some((bit, left)) = self.left.pop_if(|(bit, _)| *bit > parting) {
                node = Node::branch(bit, left, node);
            }
            self.left.push((parting, node));
        }
    }

    /// The last row's key.
    pub fn last_key(&self) -> Option<&[u8]> {
        self.last.as_ref().map(|last| &*last.key)
    }

    /// The root of a tree whose first rows are these, and in which `right` is [`Tree::right_of`] the last of them. If this is a
    /// tree's root, then these are its first rows without a gap; with an empty `right` they are all.
    ///
    /// `None` if no tree has such steps: their bits do not grow, or the last row does not go left at them.
    pub fn root_with(&self, right: &[ProofStep]) -> Option<Hash> {
        let Some(last) = &self.last else { return right.is_empty().then_some(EMPTY_ROOT) };
        // At the bits of the subtrees on the left the row goes right, so no step can have one of them.
        let goes_left = |step: &ProofStep| key_bit(&last.key, step.bit) == Some(false);
        if !right.is_sorted_by(|above, below| above.bit < below.bit) || !right.iter().all(goes_left) {
            return None;
        }
        let mut hash = leaf_hash(&last.key, &last.value_hash);
        let mut left = self.left.iter().rev().peekable();
        let mut join_left = |hash, down_to: Option<u16>| {
            let mut hash = hash;
            while let Some((bit, node)) = left.next_if(|(bit, _)| down_to.is_none_or(|down_to| *bit > down_to)) {
                hash = branch_hash(*bit, &node.hash(), &hash);
            }
            hash
        };
        for ProofStep { bit, sibling } in right.iter().rev() {
            hash = branch_hash(*bit, &join_left(hash, Some(*bit)), sibling);
        }
        Some(join_left(hash, None))
    }

    /// The tree of all rows.
    pub fn finish(self) -> Tree<V> {
        let join = |node, (bit, left)| Node::branch(bit, left, node);
        Tree { root: self.last.map(|last| self.left.into_iter().rev().fold(Node::Leaf(last), join)) }
    }
}
