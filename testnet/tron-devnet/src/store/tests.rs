#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use revm::primitives::Address;

use lucid_tron_types::proto;
use revm::primitives::{B256, Bytes, Log as EvmLog, U256};

use super::*;
use crate::chain::change::Delta;
use crate::chain::state::Total;
use crate::chain::{
    Account, Chain, Delegation, Delegations, Genesis, InternalTransaction, Intervention, Permissions, Receipt,
    Resource, Restaked, Stake, StoredBlock, TransactionInfo, Unstaking, Usage,
};
use crate::token;
use crate::wallet::{self, Validity, Wallet};

const TRX: u64 = 1_000_000;

fn beginning() -> Beginning {
    Beginning {
        version: VERSION,
        seed: "store".to_owned(),
        accounts: 3,
        balance: 1_000_000 * TRX,
        timestamp: 1_700_000_000_000,
        deploy_usdt: false,
    }
}

fn fresh(solid_lag: u64) -> Chain {
    let b = beginning();
    Chain::new(Genesis::seeded(&b.seed, b.accounts, b.balance, b.timestamp, solid_lag))
}

fn open(folder: &Path) -> Result<Option<Found>, StoreError> {
    Log::open(&Folder::lock(folder)?)
}

fn begun(folder: &Path) -> Log {
    Log::begin(&Folder::lock(folder).unwrap(), &beginning()).unwrap()
}

fn reopened(folder: &Path, solid_lag: u64) -> (Log, Chain) {
    let found = open(folder).unwrap().unwrap();
    assert_eq!(found.beginning, beginning());
    let mut chain = fresh(solid_lag);
    chain.replay(found.changes).unwrap();
    (found.log, chain)
}

/// A chain that is written down, and what may happen to it.
struct Writer {
    chain: Chain,
    log: Log,
    keys: Vec<Wallet>,
    usdt: Address,
    /// Contracts that were deployed, dropped ones included.
    made: Vec<Address>,
    nonce: u64,
}

#[derive(Clone, Debug)]
enum Act {
    Pay { from: usize, to: usize, amount: u64 },
    Token { to: u8, units: u64 },
    Deploy(u8),
    Mine,
    Fund(u64),
    Drop(u64),
    Solidify(bool),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..3usize, 0..3usize, 1..1_000u64).prop_map(|(from, to, amount)| Act::Pay { from, to, amount }),
        3 => (0..4u8, 0..1_000u64).prop_map(|(to, units)| Act::Token { to, units }),
        2 => (0..2u8).prop_map(Act::Deploy),
        4 => Just(Act::Mine),
        1 => (0..10_000u64).prop_map(Act::Fund),
        1 => (0..3u64).prop_map(Act::Drop),
        1 => any::<bool>().prop_map(Act::Solidify),
    ]
}

impl Writer {
    fn new(folder: &Path, solid_lag: u64) -> Self {
        let log = begun(folder);
        let mut chain = fresh(solid_lag);
        chain.keep_changes();
        let keys: Vec<Wallet> = (0..3).map(|i| Wallet::derive("store", i)).collect();
        let mut writer = Self { chain, log, keys, usdt: Address::ZERO, made: Vec::new(), nonce: 0 };
        let create = wallet::create(writer.keys[0].address(), "t", token::creation_code(1_000_000), None, 0);
        let validity = writer.validity();
        let (bytes, id) = wallet::signed(&writer.keys[0], &create, 1_000 * TRX, validity);
        writer.chain.submit(&bytes).unwrap();
        writer.usdt = wallet::contract_address(&id, writer.keys[0].address());
        writer.act(&Act::Mine);
        assert!(writer.chain.head().contract(writer.usdt).is_some());
        writer
    }

    fn validity(&mut self) -> Validity {
        self.nonce += 1;
        let head = self.chain.head().block();
        let validity = Validity::after(head.id.0, head.time(), 60_000);
        Validity { timestamp: validity.timestamp + self.nonce, ..validity }
    }

    fn act(&mut self, act: &Act) {
        let validity = self.validity();
        match act {
            Act::Pay { from, to, amount } => {
                let message = wallet::transfer(self.keys[*from].address(), self.keys[*to].address(), *amount);
                // A transfer to oneself is refused; nothing happens then.
                drop(self.chain.submit(&wallet::signed(&self.keys[*from], &message, 0, validity).0));
            }
            Act::Token { to, units } => {
                let data = token::transfer(Address::with_last_byte(*to), *units);
                let message = wallet::trigger(self.keys[0].address(), self.usdt, data, 0);
                drop(self.chain.submit(&wallet::signed(&self.keys[0], &message, 100 * TRX, validity).0));
            }
            Act::Deploy(code) => {
                // A contract whose code is this byte: PUSH1 code, PUSH0, MSTORE8, PUSH1 1, PUSH0, RETURN
                let creation = vec![0x60, *code, 0x5f, 0x53, 0x60, 1, 0x5f, 0xf3];
                let message = wallet::create(self.keys[0].address(), "c", creation, None, 0);
                let (bytes, id) = wallet::signed(&self.keys[0], &message, 100 * TRX, validity);
                self.chain.submit(&bytes).unwrap();
                self.made.push(wallet::contract_address(&id, self.keys[0].address()));
            }
            Act::Mine => {
                let time = self.chain.head().block().time() + 3_000;
                self.chain.produce_block(time);
            }
            Act::Fund(balance) => {
                let address = Address::with_last_byte(0xf0);
                self.chain.intervene(&Intervention::SetBalances(vec![(address, *balance)]));
            }
            Act::Drop(depth) => {
                let number = self.chain.head().number().saturating_sub(*depth).max(1);
                self.chain.drop_blocks(number);
            }
            Act::Solidify(on) => self.chain.set_solidifies(*on),
        }
        let changes = self.chain.take_changes();
        self.log.write(&changes).unwrap();
    }
}

/// Everything that can be asked about a chain.
fn everything(
    chain: &Chain,
    usdt: Address,
    made: &[Address],
    keys: &[Wallet],
) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut all = Vec::new();
    for view in [chain.head(), chain.solid()] {
        let blocks: Vec<_> = (0..=view.number()).map(|n| Arc::clone(view.block_by_number(n).unwrap())).collect();
        let addresses = keys
            .iter()
            .map(Wallet::address)
            .chain([usdt, Address::with_last_byte(0xf0)])
            .chain((0..4).map(Address::with_last_byte));
        let accounts: Vec<_> = addresses
            .map(|a| (a, view.account(a).cloned(), view.call(a, usdt, &token::balance_of(a), 0, None).output))
            .collect();
        let codes: Vec<_> = made.iter().map(|a| (*a, view.code(*a).cloned())).collect();
        all.push((blocks, accounts, codes, view.code(usdt).cloned(), view.contract(usdt).cloned()));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What is read back is what was written, and the chain goes on from there in the same way.
    #[test]
    fn a_reopened_chain_is_the_same(acts in proptest::collection::vec(act(), 0..40), lag in 0..4u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(folder.path(), lag);
        for act in &acts {
            writer.act(act);
        }
        // What waits for a block is not kept, and a restart solidifies again.
        writer.act(&Act::Mine);
        writer.act(&Act::Solidify(true));
        let Writer { mut chain, log, keys, usdt, made, .. } = writer;
        drop(log);
        // With another lag the blocks are the same, and so is the head's state.
        for other in [0, 7] {
            let (_log, again) = reopened(folder.path(), other);
            prop_assert_eq!(again.head().block(), chain.head().block());
            prop_assert!(again.solid().number() >= chain.solid().number(), "what was solidified stays so");
            for key in &keys {
                prop_assert_eq!(again.head().account(key.address()), chain.head().account(key.address()));
            }
        }
        let (_log, mut again) = reopened(folder.path(), lag);
        prop_assert_eq!(everything(&again, usdt, &made, &keys), everything(&chain, usdt, &made, &keys));
        let time = chain.head().block().time() + 3_000;
        prop_assert_eq!(chain.produce_block(time), again.produce_block(time));
    }
}

#[test]
fn what_waits_for_a_block_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(folder.path(), 1);
    let to = writer.keys[1].address();
    let before = writer.chain.head().balance(to);
    writer.act(&Act::Pay { from: 0, to: 1, amount: 7 });
    assert_eq!(writer.chain.head().balance(to), before + 7);
    drop(writer);
    let (_log, chain) = reopened(folder.path(), 1);
    assert_eq!((chain.pending(), chain.head().balance(to)), (0, before));
}

/// Code that only a dropped block brought is there for who deployed it again.
#[test]
fn code_outlives_the_block_that_brought_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(folder.path(), 5);
    for act in [Act::Deploy(1), Act::Mine, Act::Drop(1), Act::Deploy(1), Act::Mine] {
        writer.act(&act);
    }
    let again = *writer.made.last().unwrap();
    assert_eq!(writer.chain.head().code(again).unwrap().original_bytes(), Bytes::from_static(&[1]));
    drop(writer);
    let (_log, chain) = reopened(folder.path(), 5);
    assert_eq!(chain.head().code(again).unwrap().original_bytes(), Bytes::from_static(&[1]));
}

#[test]
fn a_kill_at_any_byte_leaves_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(folder.path(), 1);
    let mut ids = vec![writer.chain.genesis_id()];
    let mut ends = Vec::new();
    for i in 0..4 {
        writer.act(&Act::Pay { from: 0, to: 1, amount: i + 1 });
        writer.act(&Act::Mine);
    }
    ids.extend((1..=5).map(|n| writer.chain.head().block_by_number(n).unwrap().id));
    drop(writer);
    let bytes = std::fs::read(folder.path().join(FILE)).unwrap();
    let mut at = 0;
    while at < bytes.len() {
        let size = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        at += usize::try_from(HEADER).unwrap() + size as usize;
        ends.push(at);
    }
    assert_eq!(ends.len(), 6, "the beginning and five blocks");
    // Every length around the ends, and every 1009th in between.
    let lengths = (ends[0]..=bytes.len()).filter(|l| l % 1009 == 0 || ends.iter().any(|e| e.abs_diff(*l) < 3));
    for length in lengths {
        for garbage in [0usize, 1] {
            let other = tempfile::tempdir().unwrap();
            let mut torn = bytes[..length].to_vec();
            // Blocks of a file can reach the disk out of order: the right length with the wrong bytes.
            if garbage == 1 && !ends.contains(&length) {
                let end = *ends.iter().find(|e| **e > length).unwrap();
                torn.resize(end, 0);
            }
            std::fs::write(other.path().join(FILE), &torn).unwrap();
            let whole = ends.iter().filter(|e| **e <= length).count();
            let (mut log, mut chain) = reopened(other.path(), 1);
            assert_eq!(chain.head().block().id, ids[whole - 1], "cut at {length}");
            // It goes on, and what it writes then can be read.
            chain.keep_changes();
            let id = chain.produce_block(1_800_000_000_000).id;
            log.write(&chain.take_changes()).unwrap();
            drop(log);
            assert_eq!(reopened(other.path(), 1).1.head().block().id, id);
        }
    }
}

/// A network of a few records: its file, and where the records end.
static WRITTEN: LazyLock<(Vec<u8>, Vec<usize>)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(folder.path(), 1);
    for act in [Act::Mine, Act::Pay { from: 0, to: 1, amount: 7 }, Act::Mine, Act::Fund(3)] {
        writer.act(&act);
    }
    drop(writer);
    let bytes = std::fs::read(folder.path().join(FILE)).unwrap();
    let mut ends = vec![0];
    while *ends.last().unwrap() < bytes.len() {
        let at = *ends.last().unwrap();
        let size = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        ends.push(at + usize::try_from(HEADER).unwrap() + size as usize);
    }
    ends.remove(0);
    (bytes, ends)
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A wrong bit is refused and left alone, except in the last record, which may have been torn.
    #[test]
    fn damage_is_refused(region in 0..6usize, at in any::<proptest::sample::Index>(), bit in 0..8u32) {
        let (bytes, ends) = &*WRITTEN;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let last = ends[ends.len() - 2];
        let at = match region {
            // The first record, a header, anywhere, the last record.
            0 => at.index(ends[0]),
            1 => ends[at.index(ends.len() - 2)] + at.index(36),
            2 => last + at.index(bytes.len() - last),
            _ => at.index(bytes.len()),
        };
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << bit;
        std::fs::write(&path, &damaged).unwrap();
        if at >= last {
            prop_assert_eq!(open(folder.path()).unwrap().unwrap().changes.len(), ends.len() - 2);
            prop_assert_eq!(std::fs::read(&path).unwrap(), &bytes[..last]);
        } else {
            let error = open(folder.path()).unwrap_err();
            prop_assert!(matches!(error, StoreError::Damaged { .. }), "{}", error);
            prop_assert_eq!(std::fs::read(&path).unwrap(), damaged);
        }
    }
}

#[test]
fn a_file_of_something_else_is_left_alone() {
    let (bytes, ends) = &*WRITTEN;
    for other in
        [&b""[..], b"\n", b"Dear diary, this is not a chain. It must not be lost, though.", &bytes[..ends[0] - 1]]
    {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), other).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { offset: 0, .. }), "{error}");
        assert_eq!(std::fs::read(folder.path().join(FILE)).unwrap(), other);
    }
}

#[test]
fn another_release_s_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let later = Beginning { version: VERSION + 1, ..beginning() };
    // Of the records after the first nothing is known then.
    let mut bytes = record(0, vec![Step::from_beginning(&later)]).unwrap();
    bytes.extend(record(len(&bytes), vec![Step::default()]).unwrap());
    std::fs::write(folder.path().join(FILE), &bytes).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Version { found, .. } if found == VERSION + 1), "{error}");
    assert_eq!(std::fs::read(folder.path().join(FILE)).unwrap(), bytes);
}

#[test]
fn a_beginning_that_was_not_finished_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(NEW_FILE), [7; 20]).unwrap();
    assert!(open(folder.path()).unwrap().is_none());
    drop(begun(folder.path()));
    assert!(open(folder.path()).unwrap().unwrap().changes.is_empty());
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let log = begun(folder.path());
    assert!(matches!(open(folder.path()), Err(StoreError::Locked { .. })));
    drop(log);
    assert!(open(folder.path()).unwrap().is_some());
}

/// A torn record whose bytes look like the beginnings of long records everywhere costs no more than another.
#[test]
fn a_torn_record_full_of_lengths_is_cut_off_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = begun(folder.path());
    let whole = log.end;
    let block = Delta { codes: vec![Bytes::from([0, 0, 0x10, 0].repeat(500_000))], ..Delta::default() };
    log.write(&[Change::Intervention(block)]).unwrap();
    drop(log);
    let path = folder.path().join(FILE);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(1_900_000).unwrap();
    let started = std::time::Instant::now();
    assert!(open(folder.path()).unwrap().unwrap().changes.is_empty());
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), whole);
}

/// One of everything a record can hold.
fn sample() -> Vec<Change> {
    let (a, b) = (Address::with_last_byte(1), Address::with_last_byte(2));
    let permission = proto::Permission {
        r#type: 2,
        id: 2,
        permission_name: "p".to_owned(),
        threshold: 1,
        operations: vec![7; 32],
        keys: vec![proto::Key { address: vec![0x41; 21], weight: 1 }],
        ..proto::Permission::default()
    };
    let permissions = Permissions { owner: permission.clone(), actives: vec![permission] };
    let account = Account {
        balance: 5,
        name: b"n".to_vec(),
        is_contract: true,
        last_operation: 6,
        free_net_usage: 7,
        free_net_slot: 8,
        code_hash: B256::repeat_byte(9),
        bandwidth: Stake { own: 10, delegated: 11, acquired: 12, usage: Usage { amount: 13, slot: 14, window: 15 } },
        energy: Stake { own: 16, delegated: 17, acquired: 18, usage: Usage { amount: 19, slot: 20, window: 21 } },
        unstaking: vec![
            Unstaking { resource: Resource::Bandwidth, amount: 22, free_at: 23 },
            Unstaking { resource: Resource::Energy, amount: 24, free_at: 25 },
        ],
        permissions: Some(Arc::new(permissions)),
        ..Account::new(4)
    };
    let delta = Delta {
        accounts: vec![(a, Some(account)), (b, None)],
        slots: vec![(a, U256::from(1), U256::from(2)), (b, U256::MAX, U256::ZERO)],
        contracts: vec![
            (a, Some(Arc::new(proto::SmartContract { name: "c".to_owned(), ..Default::default() }))),
            (b, None),
        ],
        factors: vec![(a, Some(12_345)), (b, None)],
        delegations: vec![
            (
                (a, b),
                Some(Delegations {
                    bandwidth: Delegation { open: 1, locked: 2, locked_until: 3 },
                    energy: Delegation { open: 4, locked: 5, locked_until: 6 },
                    delegated_at: 7,
                }),
            ),
            ((b, a), None),
        ],
        totals: vec![(Total::Burnt, Some(10)), (Total::NetWeight, Some(11)), (Total::EnergyWeight, None)],
        codes: vec![Bytes::from_static(&[1, 2, 3])],
    };
    let info = TransactionInfo {
        id: B256::repeat_byte(1),
        fee: 2,
        system_fee: 3,
        block_number: 1,
        block_time: 1_000,
        contract_result: vec![4],
        contract_address: Some(a),
        receipt: Receipt {
            energy_usage: 11,
            energy_fee: 5,
            origin_energy_usage: 12,
            energy_usage_total: 6,
            energy_penalty_total: 7,
            net_usage: 8,
            net_fee: 9,
            result: Some(proto::ContractResult::Revert),
        },
        logs: vec![EvmLog::new_unchecked(b, vec![B256::repeat_byte(2)], Bytes::from_static(&[5]))],
        message: "m".to_owned(),
        internal: vec![InternalTransaction {
            hash: B256::repeat_byte(3),
            caller: a,
            to: b,
            value: 10,
            note: "create",
            rejected: true,
        }],
        withdrawn: 13,
        restaked: Some(Restaked { bandwidth: 14, energy: 15 }),
    };
    let raw = proto::BlockHeaderRaw { number: 1, timestamp: 1_000, ..Default::default() };
    let block = StoredBlock {
        id: B256::repeat_byte(4),
        header: proto::BlockHeader { raw_data: Some(raw), witness_signature: vec![6] },
        transactions: vec![proto::Transaction { raw_data: vec![7], signature: vec![vec![8]], ret: vec![] }],
        infos: vec![info],
    };
    vec![
        Change::Block { block: Arc::new(block), delta: delta.clone(), solid: 9 },
        Change::Intervention(delta),
        Change::Dropped(3),
        Change::Solidified(2),
    ]
}

#[test]
fn records_are_frozen_and_read_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = begun(folder.path());
    log.write(&sample()).unwrap();
    drop(log);
    assert_eq!(open(folder.path()).unwrap().unwrap().changes, sample());
    let bytes = hex::encode(std::fs::read(folder.path().join(FILE)).unwrap());
    let golden = include_str!("../../tests/golden/chain_log.hex").split_whitespace().collect::<String>();
    assert_eq!(bytes, golden, "a deliberate change of the format needs a new version");
}
