//! What events become, and when a snapshot is shown. Reading itself is tested against the local TRON network, by the test network.

use lucid_consensus::ledger::table::Pools;
use lucid_tron_bridge::client::{ClientConfig, ContractResult, Log};
use lucid_types::amount::Sun;
use lucid_types::id::{SolidBlockId, TxId};
use lucid_types::payout_tree::PayoutRoot;

use super::*;
use crate::clock::SystemClock;
use crate::payout::testing::{account_id, address, head, network, pool_id, root, snapshot, state};

// Keccak-256 of `Paid(bytes32,address,uint256,uint256)` and `RootPosted(uint64,bytes32,uint64,uint64,address,uint64)`.
const PAID: &str = "5ce467ae5694ddb233a02ca7eb987835c5e2ea71eec0e379bf3a5e1207ae2459";
const ROOT_POSTED: &str = "b26d2dabd4aed62a448942624d99cf4371aba0766de74f5533cc8a805b9531f7";

fn topic(hex: &str) -> [u8; 32] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn number(number: u64) -> [u8; 32] {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&number.to_be_bytes());
    word
}

fn word_of(address: PayoutAddress) -> [u8; 32] {
    let mut word = [0; 32];
    word[12..].copy_from_slice(&address.hash20());
    word
}

/// The vault pays an account.
fn paid(vault: PayoutAddress, account: &AccountId, amount: u64, owed: u64) -> Log {
    Log {
        address: vault,
        topics: vec![topic(PAID), *account.as_bytes(), word_of(address(11))],
        data: [number(amount), number(owed)].concat(),
    }
}

fn posted(vault: PayoutAddress, settlement: u64, root: u8) -> Log {
    Log {
        address: vault,
        topics: vec![topic(ROOT_POSTED), number(settlement)],
        data: [[root; 32], number(100), number(0), [0; 32], number(0)].concat(),
    }
}

fn info(tx: u8, block: u64, result: ContractResult, logs: Vec<Log>) -> TransactionInfo {
    TransactionInfo {
        id: TxId::from_bytes([tx; 32]),
        block,
        block_time: UnixMillis::new(1_000 * block),
        fee: Sun::new(u64::from(tx)),
        result,
        energy: 0,
        output: Vec::new(),
        message: String::new(),
        logs,
    }
}

fn block(number: u64) -> Reference {
    Reference { number, id: SolidBlockId::from_bytes([5; 32]), time: UnixMillis::new(1_000 * number) }
}

struct Fixture {
    reader: Reader,
    network: Arc<ChainSpec>,
    pool: PoolId,
    head: watch::Sender<Head>,
    _folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let (network, folder) = (network(), tempfile::tempdir().unwrap());
    let state = state(&network, root(&network, 3, 100));
    let (head, seen) = watch::channel(head(state));
    // Nobody listens there, and nothing here asks.
    let client = Client::new(ClientConfig::new("http://127.0.0.1:1", None)).unwrap();
    let reader = Reader::new(ReaderParts {
        spec: Arc::clone(&network),
        clock: Arc::new(SystemClock),
        store: Store::open(folder.path(), *network.id()).unwrap(),
        providers: Arc::new(Providers::new(vec![client]).unwrap()),
        head: seen,
        vaults: Arc::default(),
    });
    let pool = pool_id(&network);
    Fixture { reader, network, pool, head, _folder: folder }
}

impl Fixture {
    /// Reads a block with these transactions.
    fn block(&mut self, number: u64, infos: &[TransactionInfo]) {
        let mut read = Read::default();
        for seen in told_by(infos, &self.reader.vaults(), &address(200)).seen {
            self.reader.note(&mut read, seen);
        }
        history::vault::put(&self.reader.parts.store, &read, number + 1).unwrap();
    }

    fn payments(&self) -> Vec<Payment> {
        let mut payments = history::vault::payments(&self.reader.parts.store, &account_id(&self.network)).unwrap();
        payments.reverse();
        payments
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_vaults_become_history_and_others_do_not() {
    let mut fixture = fixture();
    let (vault, account) = (root(&fixture.network, 3, 1).vault, account_id(&fixture.network));
    let other = AccountId::from_bytes([8; 32]);
    let ok = ContractResult::Success;
    fixture.block(
        5,
        &[
            // Of another contract, and of a failed call.
            info(1, 5, ok, vec![paid(address(99), &account, 7, 7)]),
            info(2, 5, ContractResult::Revert, vec![paid(vault, &account, 7, 7)]),
            info(3, 5, ok, vec![posted(vault, 3, 3)]),
            info(4, 5, ok, vec![paid(vault, &other, 1, 1), paid(vault, &account, 60, 60)]),
        ],
    );
    let payments = fixture.payments();
    assert_eq!(payments.len(), 1);
    let Payment { pool, amount, owed, after, place, .. } = payments[0];
    assert_eq!((pool, amount.get(), owed.get(), after.get()), (fixture.pool, 60, 60, 60));
    assert_eq!((place.tx_id, place.fee, place.block), (TxId::from_bytes([4; 32]), Sun::new(4), 5));
    assert_eq!((place.time, place.index), (UnixMillis::new(5_000), 2));
    let root = PayoutRoot::from_bytes([3; 32]);
    let posting = history::vault::posting(&fixture.reader.parts.store, &fixture.pool, 3, &root).unwrap().unwrap();
    assert_eq!((posting.total, posting.place.tx_id), (MicroUsdt::new(100), TxId::from_bytes([3; 32])));
    let activity = fixture.reader.active.get(&fixture.pool).unwrap();
    assert_eq!(activity.paid, BTreeSet::from([account]), "the ledger knows no other");
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_in_parts_add_up_from_what_was_paid_before() {
    let mut fixture = fixture();
    let (vault, account) = (root(&fixture.network, 3, 1).vault, account_id(&fixture.network));
    let ok = ContractResult::Success;
    let shown = SolidVault {
        address: address(202),
        succession: Succession::Sound,
        snapshot: Arc::new(snapshot(&fixture.network, &root(&fixture.network, 3, 100), 40)),
        as_of: block(5),
        time: UnixMillis::new(1),
        root_of: Some(3),
        alerts: Vec::new(),
    };
    fixture.reader.show(fixture.pool, shown).unwrap();
    fixture.block(
        6,
        &[info(1, 6, ok, vec![paid(vault, &account, 10, 100)]), info(2, 6, ok, vec![paid(vault, &account, 20, 100)])],
    );
    fixture.block(7, &[info(3, 7, ok, vec![paid(vault, &account, 30, 100)])]);
    let after: Vec<_> = fixture.payments().iter().map(|payment| payment.after.get()).collect();
    assert_eq!(after, [50, 70, 100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_providers_that_answer_reading_waits() {
    let mut fixture = fixture();
    fixture.reader.turn().await.unwrap();
    assert_eq!((fixture.reader.next, fixture.reader.told.len()), (None, 1));
    assert!(fixture.reader.told.iter().all(|alert| alert.contains("does not answer")), "{:?}", fixture.reader.told);
    assert!(fixture.reader.parts.vaults.all().is_empty());
}

impl Fixture {
    /// A vault with the root of settlement 3 that has paid so much, at this block.
    fn vault(&self, paid: u64, at: u64) -> SolidVault {
        SolidVault {
            address: address(202),
            succession: Succession::Sound,
            snapshot: Arc::new(snapshot(&self.network, &root(&self.network, 3, 100), paid)),
            as_of: block(at),
            time: UnixMillis::new(1),
            root_of: Some(3),
            alerts: Vec::new(),
        }
    }

    fn shown_at(&self) -> Option<u64> {
        self.reader.parts.vaults.get(&self.pool).map(|vault| vault.as_of.number)
    }

    /// The vault pays the account so much of 100, in this block.
    fn pays(&mut self, number: u64, amount: u64) {
        let (vault, account) = (root(&self.network, 3, 1).vault, account_id(&self.network));
        let paid = paid(vault, &account, amount, 100);
        self.block(number, &[info(u8::try_from(number).unwrap(), number, ContractResult::Success, vec![paid])]);
    }
}

/// Of a vault that another follows nothing is shown any more; what blocks tell of it is still its pool's.
#[tokio::test(flavor = "multi_thread")]
async fn the_reader_begins_anew_with_a_vault_that_follows_another() {
    let mut fixture = fixture();
    fixture.reader.follow_vaults();
    fixture.reader.show(fixture.pool, fixture.vault(40, 5)).unwrap();
    fixture.reader.read_whole(&fixture.pool, UnixMillis::new(1), true);
    fixture.pays(6, 20);
    fixture.reader.follow_vaults();
    assert_eq!(fixture.shown_at(), Some(5), "it is the same vault");
    let pool = fixture.pool;
    fixture.head.send_modify(|head| {
        head.state = head.state.changed(|rows| {
            let row = rows.get_mut::<Pools>(&pool).unwrap();
            row.former_vaults.push(row.vault.address);
            row.vault.address = address(55);
        });
    });
    fixture.reader.follow_vaults();
    assert_eq!(fixture.shown_at(), None);
    assert!(fixture.reader.trusted(&pool, UnixMillis::new(2)).is_none() && fixture.reader.active.is_empty());
    fixture.pays(7, 20);
    let paid: Vec<_> = fixture.payments().iter().map(|payment| payment.amount.get()).collect();
    assert_eq!(paid, [20, 20]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_did_nothing_is_as_new_as_the_blocks_that_were_read() {
    let mut fixture = fixture();
    fixture.reader.advance(block(4));
    assert_eq!(fixture.shown_at(), None, "nothing is known of it");
    fixture.reader.show(fixture.pool, fixture.vault(40, 5)).unwrap();
    let changed = fixture.reader.parts.vaults.changed();
    fixture.reader.advance(block(5));
    assert!(!changed.has_changed().unwrap(), "it is of this block already");
    fixture.reader.advance(block(9));
    assert!(changed.has_changed().unwrap());
    let advanced = fixture.reader.parts.vaults.get(&fixture.pool).unwrap();
    assert_eq!((advanced.as_of.number, advanced.root_of), (9, Some(3)));
    assert_eq!(*advanced.snapshot, *fixture.vault(40, 9).snapshot);
    fixture.reader.advance(block(8));
    assert_eq!(fixture.shown_at(), Some(9), "time does not run back");
    // After an event its state is not that of the snapshot any more, nor is it while a newer one waits to be shown.
    fixture.pays(10, 10);
    fixture.reader.advance(block(10));
    assert_eq!(fixture.shown_at(), Some(9));
    fixture.reader.active.clear();
    fixture.reader.waiting.insert(fixture.pool, fixture.vault(50, 11));
    fixture.reader.advance(block(10));
    assert_eq!(fixture.shown_at(), Some(9));
    assert_eq!(fixture.reader.newest(&fixture.pool).unwrap().paid_out, MicroUsdt::new(50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_waits_until_its_payments_were_read() {
    let mut fixture = fixture();
    let is_accounted_for =
        |fixture: &Fixture, paid| fixture.reader.is_accounted_for(&fixture.pool, &fixture.vault(paid, 9));
    assert!(!is_accounted_for(&fixture, 0), "nothing is shown yet");
    fixture.reader.show(fixture.pool, fixture.vault(40, 5)).unwrap();
    assert!(is_accounted_for(&fixture, 40), "nothing was paid");
    assert!(!is_accounted_for(&fixture, 50), "a payment that was not read");
    fixture.pays(6, 10);
    fixture.pays(7, 20);
    assert!(is_accounted_for(&fixture, 70), "both were read");
    assert!(
        !is_accounted_for(&fixture, 40) && !is_accounted_for(&fixture, 60),
        "it is of a block before the last that was read"
    );
    assert!(!is_accounted_for(&fixture, 71) && !is_accounted_for(&fixture, 39));
    fixture.reader.show(fixture.pool, fixture.vault(70, 7)).unwrap();
    assert!(is_accounted_for(&fixture, 70) && !is_accounted_for(&fixture, 100), "counted since what is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_no_group_has_is_passed_over_after_some_turns_and_then_distrusted() {
    let mut fixture = fixture();
    fixture.reader.show(fixture.pool, fixture.vault(40, 5)).unwrap();
    for _ in 0..MAX_MISSING {
        assert!(!fixture.reader.passes_over(6));
    }
    assert!(fixture.reader.active.is_empty());
    // Another block is another matter.
    assert!(!fixture.reader.passes_over(7));
    for _ in 0..MAX_MISSING {
        assert!(fixture.reader.active.is_empty());
        let is_over = fixture.reader.passes_over(7);
        assert_eq!(is_over, !fixture.reader.active.is_empty(), "what it paid in the block shows in a snapshot alone");
    }
    assert!(!fixture.reader.active.is_empty(), "passed over at last");
    fixture.reader.advance(block(7));
    assert_eq!(fixture.shown_at(), Some(5), "nothing is said of the block itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_of_a_settlement_make_a_snapshot_urgent() {
    let fixture = fixture();
    assert!(!fixture.reader.lacks_accounts(), "a first snapshot asks for all of them");
    let mut fixture = fixture;
    fixture.reader.show(fixture.pool, fixture.vault(40, 5)).unwrap();
    assert!(!fixture.reader.lacks_accounts());
    let empty = VaultSnapshot { paid: BTreeMap::new(), ..(*fixture.vault(40, 5).snapshot).clone() };
    let lacking = SolidVault { snapshot: Arc::new(empty), ..fixture.vault(40, 5) };
    fixture.reader.show(fixture.pool, lacking).unwrap();
    assert!(fixture.reader.lacks_accounts());
    // One that has them and waits to be shown is enough.
    let waiting = fixture.vault(40, 6);
    fixture.reader.waiting.insert(fixture.pool, waiting);
    assert!(!fixture.reader.lacks_accounts());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_snapshot_says_of_accounts_is_taken_over_for_a_while_only() {
    let mut fixture = fixture();
    let (pool, age) = (fixture.pool, fixture.reader.snapshot_age());
    let at = |after: Duration| UnixMillis::new(1_000_000).after(after);
    // A liar says that the account was paid 40 of what others had: the sum is right, and no later payment tells.
    fixture.reader.show(pool, fixture.vault(40, 5)).unwrap();
    assert_eq!(fixture.reader.trusted(&pool, at(Duration::ZERO)), None, "not all accounts were read");
    fixture.reader.read_whole(&pool, at(Duration::ZERO), true);
    let just_before = at(age.checked_sub(Duration::from_millis(1)).unwrap());
    assert!(fixture.reader.trusted(&pool, just_before).is_some());
    fixture.reader.advance(block(6));
    assert_eq!(fixture.reader.trusted(&pool, at(age)), None, "a vault that does nothing is read again too");
    assert_eq!(fixture.reader.trusted(&pool, UnixMillis::new(999_999)), None, "the clock was set back");
    fixture.reader.read_whole(&pool, at(age), true);
    assert!(fixture.reader.trusted(&pool, at(age)).is_some());
    fixture.reader.read_whole(&pool, at(age), false);
    assert_eq!(fixture.reader.trusted(&pool, at(age)), None, "groups contradict each other");
}
