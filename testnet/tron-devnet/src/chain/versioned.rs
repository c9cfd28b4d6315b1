//! A table that can look and go back: the newest values, and above them a stack of layers that remember what each
//! write replaced.
//!
//! One layer is open for every block that is not solidified yet, one for the pending transactions, and one for the
//! transaction being tried. Reading at layer `n` answers as of the moment that layer was opened, so the solidified view
//! costs no copy. Layers fold into the one below ([`Versioned::commit`]), roll back, or are forgotten at the old end.

use std::collections::VecDeque;
use std::hash::Hash;

use revm::primitives::HashMap;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Versioned<K, V> {
    live: HashMap<K, V>,
    layers: VecDeque<HashMap<K, Option<V>>>,
}

impl<K, V> Default for Versioned<K, V> {
    fn default() -> Self {
        Self { live: HashMap::default(), layers: VecDeque::new() }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Versioned<K, V> {
    /// The newest value.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.live.get(key)
    }

    /// The value when layer `layer` was opened; the newest if there is no such layer.
    pub(crate) fn get_at(&self, layer: usize, key: &K) -> Option<&V> {
        for replaced in self.layers.iter().skip(layer) {
            if let Some(old) = replaced.get(key) {
                return old.as_ref();
            }
        }
        self.live.get(key)
    }

    /// Writes or, with `None`, removes.
    pub(crate) fn set(&mut self, key: K, value: Option<V>) {
        let old = match value {
            Some(value) => self.live.insert(key.clone(), value),
            None => self.live.remove(&key),
        };
        if let Some(layer) = self.layers.back_mut() {
            layer.entry(key).or_insert(old);
        }
    }

    /// Opens a layer.
    pub(crate) fn begin(&mut self) {
        self.layers.push_back(HashMap::default());
    }

    /// Folds the newest layer into the one below it.
    pub(crate) fn commit(&mut self) {
        let Some(top) = self.layers.pop_back() else { return };
        let Some(below) = self.layers.back_mut() else { return };
        if below.is_empty() {
            *below = top;
            return;
        }
        for (key, old) in top {
            below.entry(key).or_insert(old);
        }
    }

    /// Undoes the newest layer.
    pub(crate) fn rollback(&mut self) {
        for (key, old) in self.layers.pop_back().unwrap_or_default() {
            match old {
                Some(value) => self.live.insert(key, value),
                None => self.live.remove(&key),
            };
        }
    }

    /// Forgets the oldest layer: what it remembered can no longer be read or undone.
    pub(crate) fn forget_oldest(&mut self) {
        self.layers.pop_front();
    }

    /// How many layers are open.
    pub(crate) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Entries and remembered replacements, about in bytes; what values point to is not counted.
    pub(crate) fn bytes(&self) -> usize {
        let remembered: usize = self.layers.iter().map(HashMap::len).sum();
        self.live.len().saturating_add(remembered).saturating_mul(size_of::<(K, Option<V>)>())
    }

    /// Keys that the newest layer wrote, in order, with their newest values.
    pub(crate) fn newest_changes(&self) -> Vec<(K, Option<V>)>
    where
        K: Ord,
    {
        let Some(layer) = self.layers.back() else { return Vec::new() };
        let mut keys: Vec<&K> = layer.keys().collect();
        keys.sort_unstable();
        keys.into_iter().map(|key| (key.clone(), self.live.get(key).cloned())).collect()
    }

    /// Every entry when layer `layer` was opened, in no order.
    pub(crate) fn entries_at(&self, layer: usize) -> Vec<(&K, &V)>
    where
        K: Ord,
    {
        let replaced =
            self.layers.iter().skip(layer).flat_map(HashMap::keys).filter(|key| !self.live.contains_key(*key));
        let mut gone: Vec<&K> = replaced.collect();
        gone.sort_unstable();
        gone.dedup();
        let keys = self.live.keys().chain(gone);
        keys.filter_map(|key| Some((key, self.get_at(layer, key)?))).collect()
    }

    /// Every newest entry, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.live.iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Set(u8, Option<u8>),
        Begin,
        Commit,
        Rollback,
        Forget,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..6u8, proptest::option::of(any::<u8>())).prop_map(|(k, v)| Step::Set(k, v)),
            2 => Just(Step::Begin),
            1 => Just(Step::Commit),
            1 => Just(Step::Rollback),
            1 => Just(Step::Forget),
        ]
    }

    proptest! {
        /// The model keeps a full copy of the table per layer.
        #[test]
        fn behaves_like_full_copies(steps in proptest::collection::vec(step(), 0..80)) {
            let mut table = Versioned::<u8, u8>::default();
            let mut live = BTreeMap::new();
            let mut copies: VecDeque<BTreeMap<u8, u8>> = VecDeque::new();
            for step in steps {
                match step {
                    Step::Set(k, v) => {
                        table.set(k, v);
                        match v { Some(v) => live.insert(k, v), None => live.remove(&k) };
                    }
                    Step::Begin => { table.begin(); copies.push_back(live.clone()); }
                    Step::Commit => { table.commit(); copies.pop_back(); }
                    Step::Rollback => {
                        table.rollback();
                        if let Some(copy) = copies.pop_back() { live = copy; }
                    }
                    Step::Forget => { table.forget_oldest(); copies.pop_front(); }
                }
                prop_assert_eq!(table.layers(), copies.len());
                for (layer, copy) in copies.iter().enumerate() {
                    let entries: BTreeMap<u8, u8> = table.entries_at(layer).into_iter().map(|(k, v)| (*k, *v)).collect();
                    prop_assert_eq!(&entries, copy);
                }
                for k in 0..6u8 {
                    prop_assert_eq!(table.get(&k), live.get(&k));
                    for (layer, copy) in copies.iter().enumerate() {
                        prop_assert_eq!(table.get_at(layer, &k), copy.get(&k));
                    }
                }
            }
        }
    }
}
