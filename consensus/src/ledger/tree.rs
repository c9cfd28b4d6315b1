//! The Merkle tree of the state's rows, in memory: a persistent binary Patricia tree over the keys' bytes, whose hashes
//! [`lucid_types::proof`] defines.
//!
//! Nodes are shared and never change: a clone costs nothing, and a change copies the branches above the changed leaves. The tree
//! is ordered as its keys are, so that it also serves lookups, scans, and runs of rows that prove themselves ([`Builder`]). What
//! a value is, and how it becomes the bytes of its hash, is the caller's.
//!
//! No key is the beginning of another, and none is longer than [`MAX_KEY_BYTES`](lucid_types::proof::MAX_KEY_BYTES): tables see
//! to that. Other keys have no tree by the definition, and are refused: by [`Builder::push`] with an error, by [`Tree::apply`] in
//! that it leaves the change out. Hence no path has more branches than the longest key has bits, which bounds every recursion,
//! that of `drop` too.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use lucid_types::id::Hash;
use lucid_types::proof::{EMPTY_ROOT, KeyProof, OtherLeaf, ProofStep, branch_hash, key_bit, leaf_hash};

pub use self::apply::Change;
pub use self::builder::{Builder, OutOfOrder};

mod apply;
mod builder;

/// Not a bit of any key.
const NOWHERE: u16 = u16::MAX;

/// See the module.
pub struct Tree<V> {
    root: Option<Node<V>>,
}

/// A subtree with at least one leaf.
enum Node<V> {
    Leaf(Arc<Leaf<V>>),
    Branch(Arc<Branch<V>>),
}

/// The hash of a leaf is not kept: only its parent's needs it.
struct Leaf<V> {
    key: Box<[u8]>,
    value: V,
    value_hash: Hash,
}

struct Branch<V> {
    left: Node<V>,
    right: Node<V>,
    hash: Hash,
    /// Leaves below.
    len: u32,
    bit: u16,
}

impl<V> Clone for Node<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Leaf(Arc::clone(leaf)),
            Self::Branch(branch) => Self::Branch(Arc::clone(branch)),
        }
    }
}

impl<V> Node<V> {
    fn leaf(key: &[u8], value: V, value_hash: Hash) -> Self {
        Self::Leaf(Arc::new(Leaf { key: key.into(), value, value_hash }))
    }

    fn branch(bit: u16, left: Self, right: Self) -> Self {
        let hash = branch_hash(bit, &left.hash(), &right.hash());
        let len = left.len().saturating_add(right.len());
        Self::Branch(Arc::new(Branch { left, right, hash, len, bit }))
    }

    /// The tree of two sides that may have become empty.
    fn join(bit: u16, left: Option<Self>, right: Option<Self>) -> Option<Self> {
        match (left, right) {
            (Some(left), Some(right)) => Some(Self::branch(bit, left, right)),
            (left, right) => left.or(right),
        }
    }

    fn hash(&self) -> Hash {
        match self {
            Self::Leaf(leaf) => leaf_hash(&leaf.key, &leaf.value_hash),
            Self::Branch(branch) => branch.hash,
        }
    }

    fn len(&self) -> u32 {
        match self {
            Self::Leaf(_) => 1,
            Self::Branch(branch) => branch.len,
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(a), Self::Leaf(b)) => Arc::ptr_eq(a, b),
            (Self::Branch(a), Self::Branch(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Where the lookup of `key` ends. If any key below begins with certain bits of `key`, this one does.
    fn nearest(&self, key: &[u8]) -> &Leaf<V> {
        walk(self, key, |_, _, _| {})
    }
}

impl<V> Branch<V> {
    fn towards(&self, key: &[u8]) -> &Node<V> {
        if goes_right(key, self.bit) { &self.right } else { &self.left }
    }
}

/// Beyond its end a key goes left.
fn goes_right(key: &[u8], bit: u16) -> bool {
    key_bit(key, bit).unwrap_or(false)
}

/// The first bit in which two keys differ; `None` if one of them begins with the other.
fn first_difference(a: &[u8], b: &[u8]) -> Option<u16> {
    let (byte, differing) = a.iter().zip(b).map(|(a, b)| a ^ b).enumerate().find(|(_, differing)| *differing != 0)?;
    u16::try_from(8 * byte).ok()?.checked_add(u16::try_from(differing.leading_zeros()).ok()?)
}

impl<V> Clone for Tree<V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone() }
    }
}

impl<V> Default for Tree<V> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<V> fmt::Debug for Tree<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("len", &self.len()).field("root", &self.root()).finish()
    }
}

impl<V> Tree<V> {
    /// The value of a row.
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        let leaf = self.root.as_ref()?.nearest(key);
        (*leaf.key == *key).then_some(&leaf.value)
    }

    /// The number of rows, up to `u32::MAX`.
    pub fn len(&self) -> usize {
        self.root.as_ref().map_or(0, |root| usize::try_from(root.len()).unwrap_or(usize::MAX))
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// What commits to all rows.
    pub fn root(&self) -> Hash {
        self.root.as_ref().map_or(EMPTY_ROOT, Node::hash)
    }

    /// All rows, their keys ascending.
    pub fn iter(&self) -> Iter<'_, V> {
        Iter { stack: self.root.iter().collect() }
    }

    /// The rows from a key on, ascending.
    pub fn range(&self, from: Bound<&[u8]>) -> Iter<'_, V> {
        let (key, is_key_in) = match from {
            Bound::Included(key) => (key, true),
            Bound::Excluded(key) => (key, false),
            Bound::Unbounded => return self.iter(),
        };
        let mut stack = Vec::new();
        if let Some(mut node) = self.root.as_ref() {
            // The subtree of all keys that share as many bits with the bound as any does: all above it, or all below.
            let near = node.nearest(key);
            let parting = first_difference(key, &near.key).unwrap_or_else(|| end(key).min(end(&near.key)));
            while let Node::Branch(branch) = node
                && branch.bit < parting
            {
                if !goes_right(key, branch.bit) {
                    stack.push(&branch.right);
                }
                node = branch.towards(key);
            }
            match (*near.key).cmp(key) {
                Ordering::Greater => stack.push(node),
                Ordering::Equal if is_key_in => stack.push(node),
                Ordering::Equal | Ordering::Less => {}
            }
        }
        Iter { stack }
    }

    /// The rows whose keys begin with `prefix`, ascending.
    pub fn prefix(&self, prefix: &[u8]) -> Iter<'_, V> {
        let mut node = self.root.as_ref();
        while let Some(Node::Branch(branch)) = node
            && branch.bit < end(prefix)
        {
            node = Some(branch.towards(prefix));
        }
        Iter { stack: node.into_iter().filter(|node| node.nearest(prefix).key.starts_with(prefix)).collect() }
    }

    /// The proof of the row's value, or that there is no such row.
    pub fn prove(&self, key: &[u8]) -> KeyProof {
        let (mut steps, mut other) = (Vec::new(), None);
        if let Some(root) = &self.root {
            let leaf = walk(root, key, |bit, sibling, _| steps.push(ProofStep { bit, sibling: sibling.hash() }));
            if *leaf.key != *key {
                other = Some(OtherLeaf { key: leaf.key.to_vec(), value: leaf.value_hash });
            }
        }
        KeyProof { steps, other }
    }

    /// The branches on the way to a row at which it goes left, with the hashes of what is to their right, from the root down:
    /// with the rows up to this one, they give the root ([`Builder::root_with`]). `None` if there is no such row.
    pub fn right_of(&self, key: &[u8]) -> Option<Vec<ProofStep>> {
        let mut steps = Vec::new();
        let leaf = walk(self.root.as_ref()?, key, |bit, sibling, is_right| {
            if is_right {
                steps.push(ProofStep { bit, sibling: sibling.hash() });
            }
        });
        (*leaf.key == *key).then_some(steps)
    }
}

impl<'a, V> IntoIterator for &'a Tree<V> {
    type Item = (&'a [u8], &'a V);
    type IntoIter = Iter<'a, V>;
    fn into_iter(self) -> Iter<'a, V> {
        self.iter()
    }
}

/// Follows a key to a leaf, and tells of each branch its bit, the side not taken, and whether that is the right one.
fn walk<'a, V>(root: &'a Node<V>, key: &[u8], mut on_branch: impl FnMut(u16, &Node<V>, bool)) -> &'a Leaf<V> {
    let mut node = root;
    loop {
        match node {
            Node::Leaf(leaf) => return leaf,
            Node::Branch(branch) => {
                let goes_right = goes_right(key, branch.bit);
                on_branch(branch.bit, if goes_right { &branch.left } else { &branch.right }, !goes_right);
                node = branch.towards(key);
            }
        }
    }
}

/// The bit after a key's last.
fn end(key: &[u8]) -> u16 {
    u16::try_from(key.len().saturating_mul(8)).unwrap_or(NOWHERE)
}

/// Rows in the order of their keys. See [`Tree::iter`].
pub struct Iter<'a, V> {
    /// Subtrees still to come, the next one last.
    stack: Vec<&'a Node<V>>,
}

impl<V> Clone for Iter<'_, V> {
    fn clone(&self) -> Self {
        Self { stack: self.stack.clone() }
    }
}

impl<V> fmt::Debug for Iter<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").finish_non_exhaustive()
    }
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (&'a [u8], &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let mut node = self.stack.pop()?;
        loop {
            match node {
                Node::Leaf(leaf) => return Some((&leaf.key, &leaf.value)),
                Node::Branch(branch) => {
                    self.stack.push(&branch.right);
                    node = &branch.left;
                }
            }
        }
    }
}

impl<V> std::iter::FusedIterator for Iter<'_, V> {}

#[cfg(test)]
mod tests;
