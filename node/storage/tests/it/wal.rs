//! The engine's log against a model of it.

use std::collections::BTreeMap;

use lucid_storage::{StorageError, Store, Wal};
use proptest::prelude::*;

use crate::support::{commit, height, open};

#[derive(Clone, Debug)]
enum Step {
    Append { ahead: u64, entry: Vec<u8> },
    Sync,
    Reset { ahead: u64 },
    Commit,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..4_u64, proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(ahead, entry)| Step::Append { ahead, entry }),
        3 => Just(Step::Sync),
        1 => (1..4_u64).prop_map(|ahead| Step::Reset { ahead }),
        1 => Just(Step::Commit),
        1 => Just(Step::Reopen),
    ]
}

/// What the log must hold: synced entries by height, and what waits for the next sync.
#[derive(Default)]
struct Model {
    head: u64,
    synced: BTreeMap<u64, Vec<Vec<u8>>>,
    pending: Vec<(u64, Vec<u8>)>,
}

impl Model {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Append { ahead, entry } => self.pending.push((self.head + ahead, entry.clone())),
            Step::Sync => {
                for (number, entry) in self.pending.drain(..).filter(|(number, _)| *number > self.head) {
                    self.synced.entry(number).or_default().push(entry);
                }
            }
            Step::Reset { ahead } => {
                let number = self.head + ahead;
                self.synced.remove(&number);
                self.pending.retain(|(pending, _)| *pending != number);
            }
            Step::Commit => {
                self.head += 1;
                self.synced.remove(&self.head);
            }
            Step::Reopen => self.pending.clear(),
        }
    }
}

fn assert_log(wal: &Wal, model: &Model) {
    for number in 0..=model.head + 5 {
        let expected = model.synced.get(&number).cloned().unwrap_or_default();
        assert_eq!(wal.entries(height(number)).unwrap(), expected, "height {number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_log_keeps_order_and_forgets_only_what_it_is_told_to(steps in proptest::collection::vec(step(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let mut opened: Option<(Store, Wal)> = None;
        let mut model = Model::default();
        for step in steps {
            let (store, wal) = opened.get_or_insert_with(|| {
                let store = open(folder.path());
                let wal = store.wal().unwrap();
                (store, wal)
            });
            match &step {
                Step::Append { ahead, entry } => wal.append(height(model.head + ahead), entry.clone()).unwrap(),
                Step::Sync => wal.sync().unwrap(),
                Step::Reset { ahead } => wal.reset(height(model.head + ahead)).unwrap(),
                Step::Commit => store.commit_block(commit(model.head + 1)).unwrap(),
                Step::Reopen => opened = None,
            }
            model.apply(&step);
            if let Some((_, wal)) = &opened {
                assert_log(wal, &model);
            }
        }
        drop(opened);
        assert_log(&open(folder.path()).wal().unwrap(), &model);
    }
}

#[test]
fn decided_heights_are_closed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut wal = store.wal().unwrap();
    wal.append(height(1), b"before".to_vec()).unwrap();
    store.commit_block(commit(1)).unwrap();
    assert!(wal.is_dirty());
    wal.sync().unwrap();
    assert!(!wal.is_dirty());
    assert!(wal.entries(height(1)).unwrap().is_empty(), "entries of a decided height are dropped, not written");
    let refused = wal.append(height(1), b"after".to_vec());
    assert!(matches!(refused, Err(StorageError::HeightDecided { .. })), "{refused:?}");
}

#[test]
fn there_is_one_writer_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let wal = store.wal().unwrap();
    assert!(matches!(store.wal(), Err(StorageError::WalTaken)));
    drop(wal);
    assert!(store.wal().is_ok());
}
