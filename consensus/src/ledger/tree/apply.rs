//! The tree after changes, in one descent over all of them.

use lucid_types::id::Hash;
use lucid_types::proof::MAX_KEY_BYTES;

use super::{Builder, NOWHERE, Node, Tree, first_difference, goes_right};
use crate::ledger::fork::{WORTH_A_THREAD, fork};

/// How often a descent may go on in two threads: at most 2^2 at a time.
const FORKS: u8 = 2;

/// A row's new value, or its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<V> {
    /// The row.
    pub key: Vec<u8>,
    /// The value and its [`value_hash`](lucid_types::proof::value_hash); `None` removes the row.
    pub value: Option<(V, Hash)>,
}

impl<V: Clone + Send + Sync> Tree<V> {
    /// The tree after these changes, one after the other. Where their keys grow, as they should, it takes one descent; each new
    /// branch is hashed once, and what did not change is shared with this tree. Removing an absent row changes nothing.
    ///
    /// A change is left out if its key is longer than [`MAX_KEY_BYTES`], or the key and that of a present row are not the same
    /// and one begins with the other.
    #[must_use]
    pub fn apply(&self, changes: &[Change<V>]) -> Self {
        // What follows needs keys that grow and none of which begins with another.
        let runs = changes
            .split(|change| change.key.len() > MAX_KEY_BYTES)
            .flat_map(|part| part.chunk_by(|a, b| a.key < b.key && !b.key.starts_with(&a.key)));
        let root = runs.fold(self.root.clone(), |root, run| match &root {
            Some(root) => changed(root, &Run { changes: run, partings: &partings(root, run), forks: FORKS }),
            None => built(run),
        });
        Self { root }
    }
}

/// The bit at which each change's key parts from all keys of the tree; [`NOWHERE`] if one begins with the other.
fn partings<V>(root: &Node<V>, changes: &[Change<V>]) -> Vec<u16> {
    // The lookups go down side by side, so that the processor fetches many nodes at a time.
    let mut nodes = vec![root; changes.len()];
    let mut is_moving = true;
    while is_moving {
        is_moving = false;
        for (node, change) in nodes.iter_mut().zip(changes) {
            if let Node::Branch(branch) = *node {
                *node = branch.towards(&change.key);
                is_moving = true;
            }
        }
    }
    let parting = |(node, change): (&Node<V>, &Change<V>)| match node {
        Node::Leaf(leaf) => first_difference(&leaf.key, &change.key).unwrap_or(NOWHERE),
        Node::Branch(_) => NOWHERE,
    };
    nodes.into_iter().zip(changes).map(parting).collect()
}

/// Changes with their [`partings`]. Their keys grow, and none begins with another.
struct Run<'a, V> {
    changes: &'a [Change<V>],
    partings: &'a [u16],
    /// How often its descent may still fork.
    forks: u8,
}

impl<V> Run<'_, V> {
    /// Those with 0 in this bit, and those with 1.
    fn split(&self, bit: u16) -> (Self, Self) {
        let n_left = self.changes.partition_point(|change| !goes_right(&change.key, bit));
        let (left, right) = self.changes.split_at(n_left);
        let (left_partings, right_partings) = self.partings.split_at(n_left);
        let is_fork = self.forks > 0 && left.len().min(right.len()) >= WORTH_A_THREAD;
        let forks = self.forks.saturating_sub(is_fork.into());
        let of = |changes, partings| Self { changes, partings, forks };
        (of(left, left_partings), of(right, right_partings))
    }
}

/// The subtree after changes whose lookups pass it.
fn changed<V: Clone + Send + Sync>(node: &Node<V>, run: &Run<'_, V>) -> Option<Node<V>> {
    let (Some(first), Some(last)) = (run.changes.first(), run.changes.last()) else { return Some(node.clone()) };
    // What stands between two keys begins with all that both begin with.
    let (&[first_parting, ..], &[.., last_parting]) = (run.partings, run.partings) else { return Some(node.clone()) };
    let parting = first_parting.min(last_parting);
    match node {
        Node::Branch(branch) if branch.bit <= parting => {
            let (left, right) = run.split(branch.bit);
            let (of_left, of_right) = (|| changed(&branch.left, &left), || changed(&branch.right, &right));
            let is_fork = left.forks < run.forks;
            match if is_fork { fork(of_left, of_right) } else { (of_left(), of_right()) } {
                (Some(left), Some(right)) if left.is(&branch.left) && right.is(&branch.right) => Some(node.clone()),
                (left, right) => Node::join(branch.bit, left, right),
            }
        }
        Node::Leaf(leaf) if parting == NOWHERE => match &first.value {
            // One begins with the other: the change is refused. It is the only one here, as what else begins so would, too.
            _ if *leaf.key != *first.key => Some(node.clone()),
            Some((_, hash)) if *hash == leaf.value_hash => Some(node.clone()),
            Some((value, hash)) => Some(Node::leaf(&first.key, value.clone(), *hash)),
            None => None,
        },
        Node::Leaf(_) | Node::Branch(_) => {
            // All keys below are on one side of a bit, and a change is on the other.
            let (left, right) = run.split(parting);
            let outside = if first_parting == parting { first } else { last };
            match goes_right(&outside.key, parting) {
                true => Node::join(parting, changed(node, &left), built(right.changes)),
                false => Node::join(parting, built(left.changes), changed(node, &right)),
            }
        }
    }
}

/// The tree of the rows that changes bring. Their keys are as those of [`changed`].
fn built<V: Clone>(changes: &[Change<V>]) -> Option<Node<V>> {
    let mut builder = Builder::default();
    for Change { key, value } in changes {
        if let Some((value, hash)) = value {
            builder.append(key, value.clone(), *hash);
        }
    }
    builder.finish().root
}
