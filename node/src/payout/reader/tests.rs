//! What events become, and when a snapshot is shown. Reading itself is tested against the local TRON network, by the test network.

use lucid_tron_bridge::client::{ClientConfig, ContractResult, Log};
use lucid_types::amount::Sun;
use lucid_types::id::TxId;
use lucid_types::payout_tree::PayoutRoot;

use super::*;
use crate::clock::SystemClock;
use crate::payout::testing::{account_id, address, network, pool_id, root, snapshot, state};

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

struct Fixture {
    reader: Reader,
    network: Arc<Network>,
    pool: PoolId,
    _head: watch::Sender<Head>,
    _folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let (network, folder) = (network(), tempfile::tempdir().unwrap());
    let state = state(&network, root(&network, 3, 100));
    let state_root = state.root();
    let (head, seen) = watch::channel(Head {
        state: Arc::new(state),
        root: state_root,
        adopted_at: UnixMillis::new(1),
        round: None,
        unreported: Vec::new(),
    });
    // Nobody listens there, and nothing here asks.
    let client = Client::new(ClientConfig::new("http://127.0.0.1:1", None)).unwrap();
    let reader = Reader::new(ReaderParts {
        network: Arc::clone(&network),
        clock: Arc::new(SystemClock),
        store: Store::open(folder.path(), *network.id()).unwrap(),
        providers: Arc::new(Providers::new(vec![client]).unwrap()),
        head: seen,
        vaults: Arc::default(),
    });
    let pool = pool_id(&network);
    Fixture { reader, network, pool, _head: head, _folder: folder }
}

impl Fixture {
    /// Reads a block with these transactions.
    fn block(&mut self, number: u64, infos: &[TransactionInfo]) {
        let mut read = Read::default();
        for seen in seen_in(infos, &self.reader.vaults()) {
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
    assert!(fixture.reader.active.contains(&fixture.pool), "a snapshot is due");
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_in_parts_add_up_from_what_was_paid_before() {
    let mut fixture = fixture();
    let (vault, account) = (root(&fixture.network, 3, 1).vault, account_id(&fixture.network));
    let ok = ContractResult::Success;
    let shown = SolidVault {
        snapshot: snapshot(&fixture.network, &root(&fixture.network, 3, 100), 40),
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
