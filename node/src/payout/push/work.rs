//! How the pusher's effects are carried out: what is asked of providers and signers, and what is stored.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use lucid_storage::{OwnKind, OwnRecord, StorageError, Store};
use lucid_tron_bridge::client::{ChainParameters, Client, ClientError, Estimate, Revert};
use lucid_tron_bridge::key::KeyError;
use lucid_tron_bridge::pusher::{Estimated, InFlight, IssuedRoot, JobId, Loaded, Lookup, Receipt, Spent, Work};
use lucid_tron_bridge::transaction::{ContractCall, Reference, TransactionError};
use lucid_tron_bridge::trc20::TokenFlags;
use lucid_types::amount::Sun;
use lucid_types::codec::{DecodeError, Wire, decode, encode};
use lucid_types::id::{NodeId, PayoutAddress, TxId};
use lucid_types::payout::{CosignReply, CosignRequest};
use lucid_types::payout_tree::PayoutRoot;
use lucid_types::time::UnixMillis;
use serde::{Deserialize, Serialize};

use super::PushParts;
use super::head::{self, Found, Look};
use crate::history;
use crate::history::ledger::Issued;
use crate::payout::cosign;

/// How old prices, the token's flags and what the gas account holds get while nothing is sent.
pub(super) const CONDITIONS_AGE: Duration = Duration::from_secs(60);
/// As above, while they keep the pusher from paying.
pub(super) const STOPPED_AGE: Duration = Duration::from_secs(10);
/// How old they may be while something is.
const MAX_CONDITIONS_AGE: Duration = Duration::from_secs(150);
/// What nodes say that may do the same later.
const BUSY: [&str; 4] = ["SERVER_BUSY", "NO_CONNECTION", "NOT_ENOUGH_EFFECTIVE_CONNECTION", "BLOCK_UNSOLIDIFIED"];
/// How long what a transaction cost is kept.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

// Key spaces within `OwnKind::Transaction`: what is in flight by the vault that it calls, and what was spent by its time. What is spent
// for any vault counts together: one gas account pays for all.
const IN_FLIGHT: u8 = 0;
const SPENT: u8 = 1;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The store failed.
    #[error("use the store")]
    Storage(#[from] StorageError),
    /// Stored bytes are not what was written.
    #[error("read a transaction back from the store")]
    Decode(#[from] DecodeError),
    /// No provider answered.
    #[error("ask the TRON providers")]
    Client(#[from] ClientError),
    /// The transaction has no bytes.
    #[error("build the transaction")]
    Build(#[from] TransactionError),
    /// The gas key failed.
    #[error("sign the transaction")]
    Key(#[from] KeyError),
}

#[derive(Serialize, Deserialize)]
struct StoredSpent(Spent);

impl Wire for StoredSpent {
    const MAX_BYTES: usize = 32;
}

fn of_vault(vault: &PayoutAddress) -> Vec<u8> {
    [&[IN_FLIGHT], vault.hash20().as_slice()].concat()
}

fn in_flight_key(vault: &PayoutAddress, id: JobId) -> Vec<u8> {
    [of_vault(vault).as_slice(), &id.to_be_bytes()].concat()
}

fn spent_key(vault: &PayoutAddress, id: JobId, at: UnixMillis) -> Vec<u8> {
    [&[SPENT], at.get().to_be_bytes().as_slice(), &vault.hash20(), &id.to_be_bytes()].concat()
}

/// The transactions to a vault that may still be included, and what was spent in the last day. What this node has sent to another
/// vault, before it became a member of this pool, counts as spent to its limit until a day after it has expired: nobody looks any
/// more what it has cost.
///
/// # Errors
/// The store failed, or holds other bytes than were written.
pub(super) fn restore(
    store: &Store,
    vault: &PayoutAddress,
    now: UnixMillis,
) -> Result<(Vec<InFlight>, Vec<Spent>), PushError> {
    let (mut in_flight, mut spent, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    let (own, since) = (of_vault(vault), now.before(DAY));
    for OwnRecord { key, value } in store.own_all(OwnKind::Transaction, &[IN_FLIGHT])? {
        let record: InFlight = decode(&value)?;
        if key.starts_with(&own) {
            in_flight.push(record);
        } else if record.expiration >= since {
            spent.push(Spent { at: record.expiration, fee: record.fee_limit });
        } else {
            removed.push(key);
        }
    }
    store.change_own(OwnKind::Transaction, &[], &removed)?;
    for OwnRecord { value, .. } in store.own_all(OwnKind::Transaction, &[SPENT])? {
        spent.push(decode::<StoredSpent>(&value)?.0);
    }
    spent.retain(|spent| spent.at >= since);
    Ok((in_flight, spent))
}

/// Whether an own record of transactions is one that this module writes.
pub(crate) fn is_sound(OwnRecord { key, value }: &OwnRecord) -> bool {
    match key.first() {
        Some(&IN_FLIGHT) => decode::<InFlight>(value).is_ok(),
        Some(&SPENT) => decode::<StoredSpent>(value).is_ok(),
        _ => false,
    }
}

/// Replaces a transaction by what it cost, and drops what no longer counts.
///
/// # Errors
/// The store failed; then nothing has changed.
pub(super) fn forget(
    store: &Store,
    vault: &PayoutAddress,
    id: JobId,
    spent: Option<Spent>,
    now: UnixMillis,
) -> Result<(), StorageError> {
    let oldest = spent_key(&PayoutAddress::from_hash20([0; 20]), 0, now.before(DAY));
    let old = store.own_all(OwnKind::Transaction, &[SPENT])?.into_iter().map(|record| record.key);
    let removed: Vec<_> = old.take_while(|key| *key < oldest).chain([in_flight_key(vault, id)]).collect();
    let kept = spent.map(|spent| (spent_key(vault, id, spent.at), encode(&StoredSpent(spent))));
    let kept: Vec<_> = kept.into_iter().collect();
    store.change_own(OwnKind::Transaction, &kept, &removed)
}

/// What changes slowly: read once in a while, because every read is several requests.
#[derive(Debug, Default)]
pub struct Conditions(Mutex<Option<(Instant, Facts)>>);

#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) token: TokenFlags,
    pub(super) gas: Sun,
    pub(super) prices: ChainParameters,
}

/// A look at the head, with what changes slowly if the vault was asked for.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) found: Found,
    pub(super) facts: Option<Facts>,
}

impl Conditions {
    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Facts)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, max_age: Duration) -> Option<Facts> {
        self.lock().filter(|(read, _)| read.elapsed() < max_age).map(|(_, facts)| facts)
    }

    fn set(&self, facts: Facts) {
        *self.lock() = Some((Instant::now(), facts));
    }

    /// Whether they are to be read again when there is time for it.
    pub(super) fn is_older(&self, max_age: Duration) -> bool {
        self.get(max_age).is_none()
    }

    /// A transaction has taken this out of the gas account.
    pub(super) fn spend(&self, fee: Sun) {
        if let Some((_, facts)) = &mut *self.lock() {
            facts.gas = facts.gas.saturating_sub(fee);
        }
    }
}

impl PushParts {
    /// Asks a treasury signer, or this node's own.
    pub(super) async fn ask_signer(&self, request: CosignRequest, signer: NodeId) -> Option<CosignReply> {
        let state = self.head.borrow().state.clone();
        cosign::ask(&self.mesh, &self.spec, &self.me, self.cosigner.as_deref(), request, (signer, &state)).await
    }

    /// The root of a settlement with its leaves, if the ledger issued it.
    pub(super) fn load(&self, settlement: u64, root: &PayoutRoot) -> Loaded {
        let state = self.head.borrow().state.clone();
        let Some(pool) = state.pool(&self.lead.pool) else { return Loaded::Unavailable };
        let read = || {
            let issued = history::ledger::issued(&self.spec, &self.store, (&self.lead.pool, pool), settlement)?;
            Ok::<_, StorageError>((issued, history::ledger::leaves(&self.store, &self.lead.pool, settlement)?))
        };
        match read() {
            Ok((Issued::Root(issued), leaves)) if issued.root == *root => match leaves {
                Some((leaves, requested)) => Loaded::Issued(Box::new(IssuedRoot { root: issued, leaves, requested })),
                None => Loaded::Unavailable,
            },
            Ok((Issued::Root(_) | Issued::Never, _)) => Loaded::NeverIssued,
            Ok((Issued::Unknown, _)) => Loaded::Unavailable,
            Err(error) => {
                tracing::error!(%error, "a payout root cannot be read");
                Loaded::Unavailable
            }
        }
    }

    /// Looks at the newest block of the first group that answers.
    pub(super) async fn look(&self, vault: &PayoutAddress, look: &Look) -> Option<Looked> {
        let token = &self.spec.genesis().tron.usdt;
        let looked = self.providers.first(async |group| {
            let found = head::look(group, vault, token, look).await?;
            let facts = if look.wanted.is_some() { Some(self.conditions(group, vault).await?) } else { None };
            Ok(Looked { found, facts })
        });
        looked.await.inspect_err(not_read).ok()
    }

    /// What changes slowly, read anew after a while.
    async fn conditions(&self, group: &Client, vault: &PayoutAddress) -> Result<Facts, ClientError> {
        match self.conditions.get(MAX_CONDITIONS_AGE) {
            Some(facts) => Ok(facts),
            None => self.read_conditions(group, vault).await,
        }
    }

    /// Reads what changes slowly.
    pub(super) async fn refresh(&self, vault: &PayoutAddress) {
        let read = self.providers.first(async |group| self.read_conditions(group, vault).await);
        if let Err(error) = read.await {
            not_read(&error);
        }
    }

    async fn read_conditions(&self, group: &Client, vault: &PayoutAddress) -> Result<Facts, ClientError> {
        let address = self.gas.address();
        let (token, account, resources, prices) = futures::try_join!(
            group.token_flags(&self.spec.genesis().tron.usdt, vault),
            group.account(&address),
            group.resources(&address),
            group.chain_parameters(),
        )?;
        let balance = account.map_or(Sun::ZERO, |account| account.balance);
        self.table.set_gas(balance);
        let staked = resources.energy.saturating_mul(prices.energy_price.get());
        let facts = Facts { token, gas: balance.saturating_add(Sun::new(staked)), prices };
        self.conditions.set(facts);
        Ok(facts)
    }

    /// What a call of the vault by the gas account would do.
    pub(super) async fn estimate(&self, vault: &PayoutAddress, data: &[u8]) -> Estimated {
        let gas = self.gas.address();
        match self.providers.first(async |group| group.estimate(&gas, vault, data).await).await {
            Ok(estimate) => estimate.into(),
            // A node may refuse a call that needs too much instead of reverting it; its words tell.
            Err(ClientError::Refused { code, message, .. }) if !BUSY.contains(&code.as_str()) => {
                Estimate { energy: 0, penalty: 0, revert: Some(Revert { data: Vec::new(), message }) }.into()
            }
            Err(error) => {
                not_read(&error);
                Estimated::Unavailable
            }
        }
    }

    /// Builds, signs and stores a transaction, or takes the one that is stored. It is built on `head`, or on the newest block.
    pub(super) async fn prepare(
        &self,
        vault: &PayoutAddress,
        head: Option<Reference>,
        id: JobId,
        work: Work,
        data: Vec<u8>,
        fee_limit: Sun,
    ) -> Result<InFlight, PushError> {
        let key = in_flight_key(vault, id);
        if let Some(stored) = tokio::task::block_in_place(|| self.store.own(OwnKind::Transaction, &key))? {
            return Ok(decode(&stored)?);
        }
        let head = match head {
            Some(head) => head,
            None => self.providers.first(Client::head).await?,
        };
        let call = ContractCall::new(self.gas.address(), *vault, data, &head, self.lifetime(), fee_limit);
        let transaction = call.build()?;
        let signature = self.gas.sign_transaction(&transaction)?;
        let in_flight = InFlight {
            id,
            work,
            tx_id: transaction.tx_id(),
            expiration: call.expiration,
            fee_limit,
            bytes: transaction.with_signatures(&[signature]),
        };
        tokio::task::block_in_place(|| self.store.put(OwnKind::Transaction, &key, &encode(&in_flight)))?;
        Ok(in_flight)
    }

    /// Whether a block includes a transaction, as any group that answers says.
    pub(super) async fn receipt(&self, tx_id: &TxId) -> Lookup {
        let groups = self.providers.groups();
        let answers = join_all(groups.iter().map(|group| group.transaction_info(tx_id))).await;
        let mut found = Lookup::Unavailable;
        for answer in answers {
            match answer {
                Ok(Some(info)) => return Lookup::Included(Receipt::from(&info)),
                Ok(None) => found = Lookup::NotIncluded,
                Err(error) => not_read(&error),
            }
        }
        found
    }
}

fn not_read(error: &ClientError) {
    tracing::debug!(error = error as &dyn std::error::Error, "a TRON provider does not answer");
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::amount::MicroUsdt;
    use lucid_types::id::NetworkId;

    use super::*;

    fn in_flight(id: JobId) -> InFlight {
        InFlight {
            id,
            work: Work::Batch { settlement: 3, start: 1, accounts: vec![], amount: MicroUsdt::new(5) },
            tx_id: TxId::from_bytes([1; 32]),
            expiration: UnixMillis::new(9),
            fee_limit: Sun::new(7),
            bytes: vec![1, 2, 3],
        }
    }

    fn put(store: &Store, vault: &PayoutAddress, transaction: &InFlight) {
        store.put(OwnKind::Transaction, &in_flight_key(vault, transaction.id), &encode(transaction)).unwrap();
    }

    #[test]
    fn what_is_in_flight_and_what_was_spent_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        let restore = |store: &Store, now| restore(store, &vault(1), now);
        let forget = |store: &Store, id, spent, now| forget(store, &vault(1), id, spent, now).unwrap();
        {
            let store = open();
            for id in [1, 2, 300] {
                put(&store, &vault(1), &in_flight(id));
            }
            forget(&store, 1, Some(spent(0, 10)), at(0));
            forget(&store, 2, None, at(1));
            // Two of the same millisecond.
            forget(&store, 4, Some(spent(5, 20)), at(6));
            forget(&store, 5, Some(spent(5, 30)), at(6));
        }
        let store = open();
        let (flying, fees) = restore(&store, at(DAY_MS)).unwrap();
        assert_eq!(flying, [in_flight(300)]);
        assert_eq!(fees, [spent(0, 10), spent(5, 20), spent(5, 30)]);
        assert_eq!(restore(&store, at(DAY_MS + 1)).unwrap().1.len(), 2, "older than a day");
        forget(&store, 6, None, at(DAY_MS + 1));
        assert_eq!(store.own_all(OwnKind::Transaction, &[SPENT]).unwrap().len(), 2, "dropped");
        store.put(OwnKind::Transaction, &in_flight_key(&vault(1), 7), b"other bytes").unwrap();
        assert!(matches!(restore(&store, at(DAY_MS)), Err(PushError::Decode(_))), "nothing in flight is forgotten");
    }

    #[test]
    fn what_is_in_flight_to_another_vault_is_not_gone_on_with_and_counts_as_spent() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), NetworkId::from_bytes([1; 32])).unwrap();
        let flying = |id, expires| InFlight { expiration: at(expires), ..in_flight(id) };
        for (of, transaction) in [(1, flying(1, 50)), (2, flying(1, 60)), (2, flying(2, 70))] {
            put(&store, &vault(of), &transaction);
        }
        forget(&store, &vault(2), 3, Some(spent(40, 10)), at(40)).unwrap();
        let (own, fees) = restore(&store, &vault(1), at(45)).unwrap();
        assert_eq!(own, [flying(1, 50)], "the same id is another transaction of another vault");
        assert_eq!(fees, [spent(60, 7), spent(70, 7), spent(40, 10)]);
        assert_eq!(restore(&store, &vault(2), at(45)).unwrap().0, [flying(1, 60), flying(2, 70)]);
        // A day later nothing of the other vault's is left.
        let (own, fees) = restore(&store, &vault(1), at(DAY_MS + 71)).unwrap();
        assert_eq!((own, fees), (vec![flying(1, 50)], vec![]));
        assert!(restore(&store, &vault(2), at(45)).unwrap().0.is_empty());
    }

    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

    fn at(time: u64) -> UnixMillis {
        UnixMillis::new(10 * DAY_MS + time)
    }

    fn spent(time: u64, fee: u64) -> Spent {
        Spent { at: at(time), fee: Sun::new(fee) }
    }

    fn vault(seed: u8) -> PayoutAddress {
        PayoutAddress::from_hash20([seed; 20])
    }
}
