//! The keys with which a node may sign as a validator. Which of them it signs with is for the chain to say: what is decided at a height
//! with the key that the height's validators list for its account, a report with the key that the epoch's draw has. So a node that holds
//! the former key and the next one changes them without doing anything.

use std::collections::BTreeMap;

use lucid_types::id::{NodeId, ValidatorId};
use lucid_types::time::Epoch;
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_key::ValidatorKey;

use crate::ledger::state::{Rows, State};
use crate::ledger::table::Draws;

/// The validator keys of one account that this node has.
#[derive(Clone, Debug)]
pub struct Keyring {
    account: NodeId,
    keys: BTreeMap<ValidatorId, ValidatorKey>,
}

impl Keyring {
    /// These keys of the account.
    pub fn new(account: NodeId, keys: impl IntoIterator<Item = ValidatorKey>) -> Self {
        Self { account, keys: keys.into_iter().map(|key| (key.id(), key)).collect() }
    }

    /// The account.
    pub const fn account(&self) -> NodeId {
        self.account
    }

    /// The key with this id.
    pub fn get(&self, id: &ValidatorId) -> Option<&ValidatorKey> {
        self.keys.get(id)
    }

    /// All keys, by their ids.
    pub fn keys(&self) -> impl Iterator<Item = &ValidatorKey> {
        self.keys.values()
    }

    /// The key with which this node decides with these validators. None if the account is none of them, or its key is not here.
    pub fn of(&self, set: &ValidatorSet) -> Option<&ValidatorKey> {
        self.get(&set.of(&self.account)?.keys.id)
    }

    /// The account's key among these validators, if it is not here: a node without it signs nothing.
    pub fn missing(&self, set: &ValidatorSet) -> Option<ValidatorId> {
        set.of(&self.account).map(|validator| validator.keys.id).filter(|id| !self.keys.contains_key(id))
    }

    /// The key with which this node signs its report of an epoch that is drawn.
    pub fn reporter(&self, state: &State, epoch: Epoch) -> Option<&ValidatorKey> {
        let draw = state.get::<Draws>(&epoch)?;
        self.keys.values().find(|key| {
            let id = key.id();
            draw.reporters.binary_search(&id).is_ok() && state.validator_account(&id) == Some(self.account)
        })
    }
}
