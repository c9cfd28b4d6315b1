//! What the driver does with a snapshot, with a pin, and with commands of its users.

use lucid_consensus::keyring::Keyring;
use lucid_consensus::ledger::command::SignedCommand;
use lucid_storage::OwnKind;
use lucid_types::command::{Action, Command, ValidatorAction};
use lucid_types::id::{BlockHash, Hash};
use lucid_types::signed::{MultiSigned, Verified};
use lucid_types::sync::CertifiedBlock;

use super::*;
use crate::chain::fixture::{Growing, stage};
use crate::chain::persist;
use crate::clock::SystemClock;
use crate::payout::testing;

/// A follower's driver with an empty store, and what it shows.
struct Follower {
    driver: Driver,
    head: watch::Receiver<Head>,
    snapshots: Arc<Snapshots>,
    store: Store,
    folder: tempfile::TempDir,
}

fn follower(pinned: Option<Pin>) -> Follower {
    follower_in(tempfile::tempdir().unwrap(), pinned)
}

fn follower_in(folder: tempfile::TempDir, pinned: Option<Pin>) -> Follower {
    let spec = testing::network();
    let store = Store::open(folder.path(), *spec.id()).unwrap();
    let wal = store.wal().unwrap();
    let restored = persist::restore(&spec, &store, &wal, SystemClock.now()).unwrap();
    let block = restored.block.map(Arc::new);
    let taken_over = restored.replica.commands.iter().map(|it| (it.record.account, it.record.nonce)).collect();
    let (head_sender, head) =
        watch::channel(Head { block: block.clone(), ..testing::head(restored.replica.state.clone()) });
    let first = block.map(|block| Snapshot { block, state: restored.replica.state.clone() });
    let snapshots = Arc::new(Snapshots::new(20, first));
    let driver = Driver::new(DriverParts {
        replica: Replica::restore(spec, Keyring::new(testing::node(77), []), restored.replica, false),
        store: store.clone(),
        wal,
        logged: 0,
        watermark: None,
        clock: Arc::new(SystemClock),
        inbox: mpsc::channel(1).1,
        submissions: mpsc::channel(1).1,
        taken_over,
        fetched: mpsc::channel(1).1,
        snapshots: Arc::clone(&snapshots),
        gossip: mpsc::channel(1).0,
        fetch: mpsc::channel(1).0,
        halt: watch::channel(None).1,
        pinned,
        target: watch::channel(Height::ZERO).0,
        head: head_sender,
    });
    Follower { driver, head, snapshots, store, folder }
}

impl Follower {
    fn take_over(&mut self, snapshot: &Snapshot) -> Result<(), DriverError> {
        stage(&self.store, snapshot);
        self.driver.take_over(Arrived { snapshot: snapshot.clone(), set_changes: Vec::new() })
    }

    fn decided(&mut self, block: &CertifiedBlock) -> Result<(), DriverError> {
        let (spec, state) = (testing::network(), self.head.borrow().state.clone());
        let block = block.clone().verify(spec.id(), state.next_validators()).unwrap();
        self.driver.handle(Input::Decided(block))
    }

    fn offered(&self) -> Vec<u64> {
        self.snapshots.offered().iter().map(|block| block.header.height.get()).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn blocks_follow_a_snapshot_and_states_at_common_heights_are_kept_for_others() {
    let mut chain = Growing::new();
    (0..7).for_each(|_| drop(chain.grow()));
    let mut follower = follower(None);
    follower.take_over(&chain.snapshot()).unwrap();
    let head = follower.head.borrow().clone();
    assert_eq!((head.state.root(), head.block), (chain.state.root(), Some(chain.snapshot().block)));
    assert_eq!((follower.store.base(), follower.store.restore_progress().unwrap()), (Height::new(8), None));
    assert_eq!(follower.offered(), [7], "what it has it gives on");
    for _ in 8..=41 {
        let block = chain.grow();
        follower.decided(&block).unwrap();
        assert_eq!(follower.head.borrow().state.root(), chain.state.root());
    }
    assert_eq!(follower.offered(), [40, 20]);
    // A restart goes on from the rows of the snapshot and what the blocks have changed.
    let Follower { driver, folder, store, .. } = follower;
    drop((driver, store));
    let mut again = follower_in(folder, None);
    assert_eq!(again.head.borrow().state.root(), chain.state.root());
    assert_eq!(again.offered(), [41]);
    let block = chain.grow();
    again.decided(&block).unwrap();
    // A later snapshot takes the place of all that.
    (0..9).for_each(|_| drop(chain.grow()));
    again.take_over(&chain.snapshot()).unwrap();
    assert_eq!((again.offered(), again.store.base()), (vec![51], Height::new(52)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_snapshot_that_blocks_have_overtaken_is_given_up() {
    let mut chain = Growing::new();
    let blocks: Vec<_> = (0..5).map(|_| chain.grow()).collect();
    let snapshot = chain.snapshot();
    let mut follower = follower(None);
    blocks.iter().for_each(|block| follower.decided(block).unwrap());
    follower.take_over(&snapshot).unwrap();
    assert_eq!((follower.store.restore_progress().unwrap(), follower.store.restored_rows().count()), (None, 0));
    assert_eq!((follower.store.base(), follower.head.borrow().state.height()), (Height::new(1), Height::new(5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn another_state_than_the_blocks_is_refused_before_it_is_stored() {
    let mut chain = Growing::new();
    let first = chain.grow();
    let early = chain.snapshot();
    (0..5).for_each(|_| drop(chain.grow()));
    let mut follower = follower(None);
    follower.decided(&first).unwrap();
    let late = chain.snapshot();
    let other =
        Snapshot { state: late.state.changed(|rows| rows.head.beacon = Hash::from_bytes([0; 32])), ..late.clone() };
    let older = Snapshot { block: early.block, ..late };
    for snapshot in [other, older] {
        let error = follower.take_over(&snapshot).unwrap_err();
        assert!(matches!(error, DriverError::Snapshot { .. }), "{error}");
        assert_eq!(follower.store.head().map(|head| head.height), Some(Height::new(1)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_pin_holds_for_blocks_and_for_snapshots() {
    let mut chain = Growing::new();
    let blocks: Vec<_> = (0..3).map(|_| chain.grow()).collect();
    let right = Pin { height: Height::new(3), block: blocks[2].block.hash() };
    let wrong = Pin { block: BlockHash::from_bytes([7; 32]), ..right };
    for (pin, is_right) in [(right, true), (wrong, false)] {
        let mut by_blocks = follower(Some(pin));
        blocks[..2].iter().for_each(|block| by_blocks.decided(block).unwrap());
        let outcome = by_blocks.decided(&blocks[2]);
        assert_eq!(outcome.is_ok(), is_right);
        // A block that is not the pinned one is not even stored.
        assert_eq!(by_blocks.store.head().unwrap().height, Height::new(if is_right { 3 } else { 2 }));
        let mut by_snapshot = follower(Some(pin));
        assert_eq!(by_snapshot.take_over(&chain.snapshot()).is_ok(), is_right);
        assert_eq!(by_snapshot.store.head().is_some(), is_right);
        if let Err(error) = outcome {
            assert!(error.to_string().contains("sync.pinned says 0707"), "{error}");
        }
    }
}

/// A command of the validator, good for an hour: it changes its key to that of this seed.
fn command(nonce: u64, key: u8) -> Verified<SignedCommand> {
    let (spec, giver) = (testing::network(), testing::node_key(testing::SIGNERS[0]));
    let until = SystemClock.now().after(Duration::from_secs(3_600));
    let account = giver.account();
    let action = Action::Validator(ValidatorAction::RotateKey(testing::signing_key(key).keys(&account)));
    let signed = giver.sign_command(spec.id(), Command { account, nonce, until, action });
    let (signer, signature) = (signed.signer, signed.signature);
    MultiSigned::collect(signed.into_inner().record, [(signer, signature)]).verify(spec.id()).unwrap()
}

fn stored(store: &Store) -> usize {
    store.own_all(OwnKind::Command, &[]).unwrap().len()
}

/// The numbers of the validator's commands that the replica keeps.
fn waiting(follower: &Follower) -> Vec<u64> {
    let offers = follower.driver.parts.replica.offers();
    offers.commands(&testing::node(testing::SIGNERS[0])).map(|command| command.record.nonce).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn commands_are_on_the_disk_when_they_are_answered_and_outlive_a_crash() {
    let mut node = follower(None);
    let submit = |node: &mut Follower, commands: Vec<Verified<SignedCommand>>| {
        let (submissions, mut answers): (Vec<_>, Vec<_>) = commands
            .into_iter()
            .map(|command| {
                let (answer, answered) = oneshot::channel();
                (Submission { command, answer }, answered)
            })
            .unzip();
        node.driver.submit(submissions).unwrap();
        answers.iter_mut().map(|answer| answer.try_recv().unwrap()).collect::<Vec<_>>()
    };
    let same = command(0, 50);
    let outcomes = submit(&mut node, vec![same.clone(), command(0, 51), command(2, 52), same.clone()]);
    assert_eq!(outcomes[1], Err(CommandRefused::Conflict(0)));
    assert_eq!([&outcomes[0], &outcomes[2], &outcomes[3]], [&Ok(()); 3], "asking again does no harm");
    assert_eq!((stored(&node.store), waiting(&node)), (2, vec![0, 2]));

    // Killed, and started again.
    let Follower { driver, folder, store, .. } = node;
    drop((driver, store));
    let mut again = follower_in(folder, None);
    assert_eq!((stored(&again.store), waiting(&again)), (2, vec![0, 2]));

    // When no block can hold them any more they are forgotten, here and on the disk.
    let mut chain = Growing::new();
    let over = same.record.until.after(Duration::from_secs(1_000));
    again.decided(&chain.grow_at(over)).unwrap();
    assert_eq!((stored(&again.store), waiting(&again)), (0, vec![]));
    let Follower { driver, folder, store, .. } = again;
    drop((driver, store));
    assert_eq!(waiting(&follower_in(folder, None)), [0_u64; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_asks_and_goes_holds_nothing_up() {
    let mut node = follower(None);
    let (answer, answered) = oneshot::channel();
    drop(answered);
    node.driver.submit(vec![Submission { command: command(0, 50), answer }]).unwrap();
    assert_eq!((stored(&node.store), node.driver.asking.len()), (1, 0));
}
