//! What blocks say of payouts: how pots were shared out, requests, payout roots with their leaves, and elections.

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::event::Event;
use lucid_consensus::ledger::pool::PoolState;
use lucid_score::leader::Elected;
use lucid_storage::{HistoryKind, HistoryRecord, StorageError, Store};
use lucid_types::amount::MicroUsdt;
use lucid_types::block::Block;
use lucid_types::codec::{MAX_MESSAGE_BYTES, Wire, decode, encode};
use lucid_types::id::{NodeId, PayoutAddress, PayoutId, PoolId};
use lucid_types::payout::{PayoutRequest, Requested, SettlementRoot};
use lucid_types::payout_tree::{AccountId, OwedAccount};
use lucid_types::time::{Epoch, Height, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::history::{ANY_TIME, epochs};

/// Leaves of older roots that are removed at a time.
const PRUNED_AT_ONCE: usize = 16;

/// What became due for one account in one settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The request.
    pub request: PayoutRequest,
    /// The pool that owes it.
    pub pool: PoolId,
    /// The settlement.
    pub settlement: u64,
    /// The block that made it.
    pub height: Height,
    /// That block's time.
    pub time: UnixMillis,
}

impl Wire for RequestRecord {
    const MAX_BYTES: usize = 320;
}

/// A payout root as it was issued last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootRecord {
    /// The root.
    pub root: SettlementRoot,
    /// The block that issued it.
    pub height: Height,
    /// That block's time.
    pub time: UnixMillis,
}

impl Wire for RootRecord {
    const MAX_BYTES: usize = SettlementRoot::MAX_BYTES + 16;
}

/// The leaves of a payout tree in their order, and what was requested of each with its root.
#[derive(Serialize, Deserialize)]
struct Leaves(Vec<(AccountId, PayoutAddress, MicroUsdt, MicroUsdt)>);

impl Wire for Leaves {
    const MAX_BYTES: usize = MAX_MESSAGE_BYTES;
}

/// A leader's election.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectionRecord {
    /// The pool.
    pub pool: PoolId,
    /// The settlement.
    pub settlement: u64,
    /// The leader and its successors.
    pub order: Vec<Elected>,
}

/// How a settlement of a pool was shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedRecord {
    /// The budget, and what was carried: fee and the three parts.
    pub pot: MicroUsdt,
    /// The push fee.
    pub fee: MicroUsdt,
    /// The owner's part.
    pub commission: MicroUsdt,
    /// The validators' part.
    pub validators: MicroUsdt,
    /// The members' part.
    pub members: MicroUsdt,
}

impl Wire for SharedRecord {
    const MAX_BYTES: usize = 40;
}

/// The elections of one block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Elections(Vec<ElectionRecord>);

impl Wire for Elections {
    const MAX_BYTES: usize = 8 << 20;
}

// Key spaces within `HistoryKind::Payout`.
const BY_SETTLEMENT: u8 = 0;
const BY_ID: u8 = 1;
const ELECTIONS: u8 = 2;
const LEAVES: u8 = 3;
const ROOTS: u8 = 4;
const COMMANDS: u8 = 5;
const SHARED: u8 = 6;

fn request_key(settlement: u64, id: &PayoutId) -> Vec<u8> {
    [&[BY_SETTLEMENT], settlement.to_be_bytes().as_slice(), id.as_bytes()].concat()
}

fn id_key(id: &PayoutId) -> Vec<u8> {
    [&[BY_ID], id.as_bytes().as_slice()].concat()
}

fn elections_key(height: Height) -> Vec<u8> {
    [&[ELECTIONS], height.get().to_be_bytes().as_slice()].concat()
}

fn pool_key(space: u8, pool: &PoolId, settlement: u64) -> Vec<u8> {
    [&[space], pool.as_bytes().as_slice(), &settlement.to_be_bytes()].concat()
}

fn command_key(account: &NodeId, nonce: u64) -> Vec<u8> {
    [&[COMMANDS], account.as_bytes().as_slice(), &nonce.to_be_bytes()].concat()
}

fn record(key: Vec<u8>, value: Vec<u8>) -> HistoryRecord {
    HistoryRecord { kind: HistoryKind::Payout, key, value, expires: None }
}

/// The records that follow from a block's events.
pub fn records(height: Height, time: UnixMillis, events: &[Event]) -> Vec<HistoryRecord> {
    let mut records = Vec::new();
    let mut elections = Elections::default();
    let root_record = |root: &SettlementRoot| {
        let value = encode(&RootRecord { root: *root, height, time });
        record(pool_key(ROOTS, &root.pool, root.settlement), value)
    };
    for event in events {
        match event {
            Event::Elected { pool, settlement, order } => {
                elections.0.push(ElectionRecord { pool: *pool, settlement: *settlement, order: order.clone() });
            }
            Event::Shared { pool, settlement, pot, fee, commission, validators, members } => {
                let (pot, fee, commission, validators, members) = (*pot, *fee, *commission, *validators, *members);
                let shared = SharedRecord { pot, fee, commission, validators, members };
                records.push(record(pool_key(SHARED, pool, *settlement), encode(&shared)));
            }
            Event::Settled(settled) => {
                let SettlementRoot { pool, settlement, .. } = settled.root;
                for request in &settled.requests {
                    let made = RequestRecord { request: *request, pool, settlement, height, time };
                    records.push(record(request_key(settlement, &request.id), encode(&made)));
                    records.push(record(id_key(&request.id), settlement.to_be_bytes().to_vec()));
                }
                let requested = |id| settled.requested.get(id).copied().unwrap_or_default();
                let leaves =
                    settled.leaves.iter().map(|leaf| (leaf.id, leaf.to, leaf.owed, requested(&leaf.id))).collect();
                records.push(record(pool_key(LEAVES, &pool, settlement), encode(&Leaves(leaves))));
                records.push(root_record(&settled.root));
            }
            Event::Reissued(root) => records.push(root_record(root)),
            Event::Closed { .. }
            | Event::Equivocated { .. }
            | Event::Registered { .. }
            | Event::Retired { .. }
            | Event::PayoutAddress { .. }
            | Event::NodeKey { .. }
            | Event::Requested { .. }
            | Event::Joined { .. }
            | Event::Left { .. }
            | Event::Inactive { .. }
            | Event::Banned { .. }
            | Event::PoolCreated { .. }
            | Event::PoolActive { .. }
            | Event::PoolTransferred { .. }
            | Event::PoolDisbanded { .. }
            | Event::Policy { .. }
            | Event::PolicyOvertaken { .. }
            | Event::Validator { .. } => {}
        }
    }
    if !elections.0.is_empty() {
        records.push(record(elections_key(height), encode(&elections)));
    }
    records
}

/// The records that make a block's commands findable.
pub fn command_records(block: &Block) -> Vec<HistoryRecord> {
    let height = block.header.height.get().to_be_bytes();
    let commands = block.commands.iter().map(|command| &command.record);
    commands.map(|command| record(command_key(&command.account, command.nonce), height.to_vec())).collect()
}

/// The block that holds an account's command of this number.
///
/// # Errors
/// The store could not be read.
pub fn command_in(store: &Store, account: &NodeId, nonce: u64) -> Result<Option<Height>, StorageError> {
    let height = store.history_record(HistoryKind::Payout, &command_key(account, nonce), ANY_TIME)?;
    Ok(height.and_then(|bytes| bytes.try_into().ok()).map(|bytes| Height::new(u64::from_be_bytes(bytes))))
}

fn read<T: Wire>(store: &Store, key: &[u8]) -> Result<Option<T>, StorageError> {
    let record = store.history_record(HistoryKind::Payout, key, ANY_TIME)?;
    Ok(record.and_then(|bytes| decode(&bytes).ok()))
}

/// One request.
///
/// # Errors
/// The store could not be read.
pub fn request(store: &Store, id: &PayoutId) -> Result<Option<RequestRecord>, StorageError> {
    let Some(settlement) = store.history_record(HistoryKind::Payout, &id_key(id), ANY_TIME)? else { return Ok(None) };
    let Ok(settlement) = <[u8; 8]>::try_from(settlement.as_slice()) else { return Ok(None) };
    read(store, &request_key(u64::from_be_bytes(settlement), id))
}

/// At most `limit` requests, newest settlement first.
///
/// # Errors
/// The store could not be read.
pub fn requests(store: &Store, limit: usize) -> Result<Vec<RequestRecord>, StorageError> {
    let records = store.history_newest(HistoryKind::Payout, &[BY_SETTLEMENT], limit, ANY_TIME)?;
    Ok(records.iter().filter_map(|record| decode(&record.value).ok()).collect())
}

/// At most `limit` requests that stand after this one in the order of [`requests`]; `None` if there is no such request.
///
/// # Errors
/// The store could not be read.
pub fn requests_after(store: &Store, id: &PayoutId, limit: usize) -> Result<Option<Vec<RequestRecord>>, StorageError> {
    let Some(found) = request(store, id)? else { return Ok(None) };
    let end = request_key(found.settlement, id);
    let records = store.history_before(HistoryKind::Payout, &[BY_SETTLEMENT], &end, limit, ANY_TIME)?;
    Ok(Some(records.iter().filter_map(|record| decode(&record.value).ok()).collect()))
}

/// The leaves of a settlement's payout tree, in the tree's order, and what was requested of them with its root. They are kept from the
/// newest root on that the vault has.
///
/// # Errors
/// The store could not be read.
pub fn leaves(
    store: &Store,
    pool: &PoolId,
    settlement: u64,
) -> Result<Option<(Vec<OwedAccount>, Requested)>, StorageError> {
    let Some(Leaves(kept)) = read(store, &pool_key(LEAVES, pool, settlement))? else { return Ok(None) };
    let requested = kept.iter().filter(|(.., requested)| *requested > MicroUsdt::ZERO);
    let requested = requested.map(|(id, .., requested)| (*id, *requested)).collect();
    Ok(Some((kept.into_iter().map(|(id, to, owed, _)| OwedAccount { id, to, owed }).collect(), requested)))
}

/// The payout root of a settlement, as a block issued it last.
///
/// # Errors
/// The store could not be read.
pub fn root(store: &Store, pool: &PoolId, settlement: u64) -> Result<Option<RootRecord>, StorageError> {
    read(store, &pool_key(ROOTS, pool, settlement))
}

/// What a node's ledger says of a settlement's payout root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issued {
    /// The root, as it was issued last.
    Root(SettlementRoot),
    /// There is none.
    Never,
    /// There may have been one before this node's history begins.
    Unknown,
}

impl Issued {
    /// The root, if it is known.
    pub const fn root(self) -> Option<SettlementRoot> {
        match self {
            Self::Root(root) => Some(root),
            Self::Never | Self::Unknown => None,
        }
    }
}

/// What the ledger says of the payout root of a pool's settlement, where `state` is the pool's newest. Its own newest root needs no
/// history, which a node that began with a snapshot lacks.
///
/// # Errors
/// The store could not be read.
pub fn issued(
    spec: &ChainSpec,
    store: &Store,
    (pool, state): (&PoolId, &PoolState),
    settlement: u64,
) -> Result<Issued, StorageError> {
    if let Some(newest) = state.newest.filter(|root| root.settlement == settlement) {
        return Ok(Issued::Root(newest));
    }
    if let Some(record) = root(store, pool, settlement)? {
        return Ok(Issued::Root(record.root));
    }
    let last = Epoch::new(settlement.saturating_mul(spec.fixed().settle_every));
    let is_known = settlement > state.settled || settlement == 0 || epochs::is_known_final(store, last)?;
    Ok(if is_known { Issued::Never } else { Issued::Unknown })
}

/// Removes leaves of settlements before this one: the vault pays nothing against their roots any more.
///
/// # Errors
/// The store failed.
pub fn prune_leaves(store: &Store, pool: &PoolId, before: u64) -> Result<(), StorageError> {
    let prefix = [&[LEAVES], pool.as_bytes().as_slice()].concat();
    let end = pool_key(LEAVES, pool, before);
    let oldest = store.history(HistoryKind::Payout, &prefix, PRUNED_AT_ONCE, ANY_TIME)?;
    let old = oldest.into_iter().map(|record| record.key).take_while(|key| *key < end);
    let removed: Vec<_> = old.map(|key| (HistoryKind::Payout, key)).collect();
    if removed.is_empty() { Ok(()) } else { store.write_history(&[], &removed) }
}

/// The elections of a block.
///
/// # Errors
/// The store could not be read.
pub fn elections(store: &Store, height: Height) -> Result<Vec<ElectionRecord>, StorageError> {
    let elections: Option<Elections> = read(store, &elections_key(height))?;
    Ok(elections.unwrap_or_default().0)
}

/// How a pool's settlement was shared out; `None` if nobody earned anything in it, or it is not known here.
///
/// # Errors
/// The store could not be read.
pub fn shared(store: &Store, pool: &PoolId, settlement: u64) -> Result<Option<SharedRecord>, StorageError> {
    read(store, &pool_key(SHARED, pool, settlement))
}

/// Whether a record is one that this module writes.
pub(crate) fn is_sound(HistoryRecord { key, value, .. }: &HistoryRecord) -> bool {
    let Some((space, rest)) = key.split_first() else { return false };
    match *space {
        BY_SETTLEMENT => {
            decode::<RequestRecord>(value).is_ok_and(|it| *key == request_key(it.settlement, &it.request.id))
        }
        BY_ID => rest.len() == 32 && value.len() == 8,
        ELECTIONS => rest.len() == 8 && decode::<Elections>(value).is_ok(),
        LEAVES => rest.len() == 40 && decode::<Leaves>(value).is_ok(),
        ROOTS => decode::<RootRecord>(value).is_ok_and(|it| *key == pool_key(ROOTS, &it.root.pool, it.root.settlement)),
        COMMANDS => rest.len() == 40 && value.len() == 8,
        SHARED => rest.len() == 40 && decode::<SharedRecord>(value).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::event::Settled;
    use lucid_types::id::NetworkId;
    use lucid_types::payout::AccountKind;
    use lucid_types::payout_tree::PayoutRoot;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        (folder, store)
    }

    fn pool(byte: u8) -> PoolId {
        PoolId::from_bytes([byte; 32])
    }

    /// What one account of a pool became due in a settlement.
    fn settled(byte: u8, settlement: u64) -> Settled {
        let account = AccountId::from_bytes([byte; 32]);
        let (to, owed) = (PayoutAddress::from_hash20([byte; 20]), MicroUsdt::new(10 * settlement));
        Settled {
            root: SettlementRoot {
                pool: pool(byte),
                settlement,
                vault: PayoutAddress::from_hash20([9; 20]),
                era: 1,
                root: PayoutRoot::from_bytes([7; 32]),
                total: owed,
                fees: MicroUsdt::ZERO,
                promised: owed,
                leader: None,
                until: 0,
            },
            leaves: vec![OwedAccount { id: account, to, owed }],
            requested: Requested::from([(account, owed)]),
            requests: vec![PayoutRequest {
                id: PayoutId::derive(&account, settlement),
                account,
                kind: AccountKind::Worker,
                node: NodeId::from_bytes([byte; 32]),
                to,
                amount: MicroUsdt::new(10),
                owed,
            }],
        }
    }

    fn write(store: &Store, height: u64, events: &[Event]) {
        let records = records(Height::new(height), UnixMillis::new(1_000 * height), events);
        store.write_history(&records, &[]).unwrap();
    }

    fn settle(byte: u8, settlement: u64) -> Event {
        Event::Settled(Box::new(settled(byte, settlement)))
    }

    #[test]
    fn requests_and_roots_are_found_and_a_reissued_root_replaces_the_first() {
        let (_folder, store) = store();
        write(&store, 4, &[settle(1, 2), settle(2, 2)]);
        write(&store, 6, &[settle(1, 3)]);
        let newest = requests(&store, 9).unwrap();
        assert_eq!(newest.iter().map(|record| record.settlement).collect::<Vec<_>>(), [3, 2, 2]);
        assert_eq!(requests(&store, 1).unwrap(), newest[..1]);
        for (n, record) in newest.iter().enumerate() {
            let after = |limit| requests_after(&store, &record.request.id, limit).unwrap().unwrap();
            assert_eq!(
                (after(9), after(1)),
                (newest[n + 1..].to_vec(), newest[n + 1..].iter().take(1).copied().collect())
            );
        }
        assert_eq!(requests_after(&store, &PayoutId::from_bytes([0; 32]), 9).unwrap(), None);
        for record in &newest {
            assert_eq!(request(&store, &record.request.id).unwrap().as_ref(), Some(record));
        }
        assert_eq!((newest[0].height, newest[0].time), (Height::new(6), UnixMillis::new(6_000)));
        assert_eq!(request(&store, &PayoutId::from_bytes([0; 32])).unwrap(), None);

        let raised = SettlementRoot { total: MicroUsdt::new(99), era: 2, ..settled(1, 3).root };
        write(&store, 7, &[Event::Reissued(raised)]);
        let found = root(&store, &pool(1), 3).unwrap().unwrap();
        assert_eq!((found.root, found.height), (raised, Height::new(7)));
        let Settled { leaves: made, requested, .. } = settled(1, 3);
        assert_eq!(leaves(&store, &pool(1), 3).unwrap(), Some((made, requested)), "its tree is the same");
        assert_eq!(root(&store, &pool(2), 3).unwrap(), None);
    }

    #[test]
    fn leaves_are_kept_from_a_settlement_on() {
        let (_folder, store) = store();
        for settlement in 1..=20 {
            write(&store, settlement, &[settle(1, settlement), settle(2, settlement)]);
        }
        let kept = |byte| (1..=20).filter(|s| leaves(&store, &pool(byte), *s).unwrap().is_some()).collect::<Vec<u64>>();
        prune_leaves(&store, &pool(1), 18).unwrap();
        assert_eq!(kept(1), [17, 18, 19, 20], "a few at a time");
        prune_leaves(&store, &pool(1), 18).unwrap();
        prune_leaves(&store, &pool(1), 18).unwrap();
        assert_eq!(kept(1), [18, 19, 20]);
        assert_eq!(kept(2).len(), 20, "another pool's stay");
        assert!(root(&store, &pool(1), 1).unwrap().is_some(), "roots stay");
    }

    #[test]
    fn elections_are_found_by_their_block() {
        let (_folder, store) = store();
        let elected = |byte, live| {
            let node = NodeId::from_bytes([byte; 32]);
            Elected { node, live, is_eligible: true, is_cooling: false, last_led: Some(1) }
        };
        let order = vec![elected(3, 90), elected(4, 80)];
        write(&store, 8, &[Event::Elected { pool: pool(1), settlement: 4, order: order.clone() }]);
        let found = elections(&store, Height::new(8)).unwrap();
        assert_eq!(found, [ElectionRecord { pool: pool(1), settlement: 4, order }]);
        assert!(elections(&store, Height::new(7)).unwrap().is_empty());
    }

    #[test]
    fn it_is_known_how_a_pot_was_shared_out() {
        let (_folder, store) = store();
        let [pot, fee, commission, validators, members] = [100, 1, 5, 4, 90].map(MicroUsdt::new);
        let event = Event::Shared { pool: pool(1), settlement: 4, pot, fee, commission, validators, members };
        assert!(records(Height::new(8), UnixMillis::ZERO, std::slice::from_ref(&event)).iter().all(is_sound));
        write(&store, 8, &[event]);
        let expected = SharedRecord { pot, fee, commission, validators, members };
        assert_eq!(shared(&store, &pool(1), 4).unwrap(), Some(expected));
        assert_eq!((shared(&store, &pool(1), 5).unwrap(), shared(&store, &pool(2), 4).unwrap()), (None, None));
    }
}
