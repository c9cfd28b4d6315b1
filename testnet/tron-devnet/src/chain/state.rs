//! The chain's state: accounts, delegations between them, contract storage, code, contract settings; and the view of it that revm
//! executes on.
//!
//! TRX balances are the virtual machine's balances, in sun, so a contract and the account API can never disagree. An
//! account that exists is shown to revm with nonce 1 (TRON has no nonces), which is how "exists but holds nothing" and
//! "does not exist" stay different for the energy rules.

use std::convert::Infallible;
use std::sync::Arc;

use lucid_tron_types::proto;
use revm::bytecode::Bytecode;
use revm::database_interface::Database;
use revm::primitives::{Address, B256, Bytes, HashMap, U256, keccak256};
use revm::state::AccountInfo;

use super::account::Account;
use super::delegate::Delegations;
use super::versioned::Versioned;

/// Sums over the whole chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Total {
    /// Sun burnt by fees.
    Burnt,
    /// Whole TRX staked for bandwidth.
    NetWeight,
    /// Whole TRX staked for energy.
    EnergyWeight,
}

/// All of the state. Layers open and close on all tables together.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(super) accounts: Versioned<Address, Account>,
    pub(super) storage: Versioned<(Address, U256), U256>,
    pub(super) contracts: Versioned<Address, Arc<proto::SmartContract>>,
    pub(super) factors: Versioned<Address, u64>,
    /// By delegator and receiver.
    pub(super) delegations: Versioned<(Address, Address), Delegations>,
    pub(super) totals: Versioned<Total, u64>,
    /// Addressed by content, so never rolled back.
    codes: HashMap<B256, Bytecode>,
    /// Codes that no delta holds yet. The next step takes them, or forgets them if steps are not kept.
    pub(super) new_codes: Vec<B256>,
}

macro_rules! on_all_tables {
    ($($(#[$meta:meta])* $name:ident),*) => {
        $($(#[$meta])*
        pub(crate) fn $name(&mut self) {
            self.accounts.$name();
            self.storage.$name();
            self.contracts.$name();
            self.factors.$name();
            self.delegations.$name();
            self.totals.$name();
        })*
    };
}

impl State {
    on_all_tables! {
        /// Opens a layer.
        begin,
        /// Folds the newest layer into the one below.
        commit,
        /// Undoes the newest layer.
        rollback,
        /// Forgets the oldest layer.
        forget_oldest
    }

    /// How many layers are open.
    pub(crate) fn layers(&self) -> usize {
        self.accounts.layers()
    }

    /// About, in bytes; codes are shared by clones.
    pub(crate) fn bytes(&self) -> usize {
        [
            self.accounts.bytes(),
            self.storage.bytes(),
            self.contracts.bytes(),
            self.factors.bytes(),
            self.delegations.bytes(),
            self.totals.bytes(),
        ]
        .into_iter()
        .sum()
    }

    pub(crate) fn account(&self, address: Address) -> Option<&Account> {
        self.accounts.get(&address)
    }

    pub(crate) fn account_at(&self, layer: usize, address: Address) -> Option<&Account> {
        self.accounts.get_at(layer, &address)
    }

    pub(crate) fn set_account(&mut self, address: Address, account: Option<Account>) {
        self.accounts.set(address, account);
    }

    /// Whether an account has this name; contracts' names do not count.
    pub(crate) fn has_account_named(&self, name: &[u8]) -> bool {
        self.accounts.iter().any(|(_, account)| !account.is_contract && account.name == name)
    }

    pub(crate) fn set_slot(&mut self, address: Address, slot: U256, value: U256) {
        self.storage.set((address, slot), (!value.is_zero()).then_some(value));
    }

    pub(crate) fn slot_at(&self, layer: usize, address: Address, slot: U256) -> U256 {
        self.storage.get_at(layer, &(address, slot)).copied().unwrap_or_default()
    }

    pub(crate) fn contract_at(&self, layer: usize, address: Address) -> Option<&Arc<proto::SmartContract>> {
        self.contracts.get_at(layer, &address)
    }

    pub(crate) fn set_contract(&mut self, address: Address, contract: Option<Arc<proto::SmartContract>>) {
        self.contracts.set(address, contract);
    }

    /// Dynamic energy factor of a contract, in 1 / 10,000; 10,000 is the plain price.
    pub(crate) fn factor_at(&self, layer: usize, address: Address) -> Option<u64> {
        self.factors.get_at(layer, &address).copied()
    }

    pub(crate) fn set_factor(&mut self, address: Address, factor: Option<u64>) {
        self.factors.set(address, factor);
    }

    pub(crate) fn factors(&self) -> impl Iterator<Item = (&Address, &u64)> {
        self.factors.iter()
    }

    pub(crate) fn delegations(&self, delegator: Address, receiver: Address) -> Delegations {
        self.delegations.get(&(delegator, receiver)).copied().unwrap_or_default()
    }

    /// Keeps what `delegator` has delegated to `receiver`; nothing is no entry.
    pub(crate) fn set_delegations(&mut self, delegator: Address, receiver: Address, delegations: Delegations) {
        self.delegations.set((delegator, receiver), (!delegations.is_empty()).then_some(delegations));
    }

    pub(crate) fn code(&self, hash: B256) -> Option<&Bytecode> {
        self.codes.get(&hash)
    }

    pub(crate) fn add_code(&mut self, hash: B256, code: Bytecode) {
        if self.codes.insert(hash, code).is_none() {
            self.new_codes.push(hash);
        }
    }

    /// Adds code that a kept step holds.
    pub(crate) fn restore_code(&mut self, code: &Bytes) {
        self.codes.insert(keccak256(code), Bytecode::new_legacy(code.clone()));
    }

    pub(crate) fn total(&self, total: Total) -> u64 {
        self.totals.get(&total).copied().unwrap_or(0)
    }

    pub(crate) fn total_at(&self, layer: usize, total: Total) -> u64 {
        self.totals.get_at(layer, &total).copied().unwrap_or(0)
    }

    pub(crate) fn set_total(&mut self, total: Total, amount: u64) {
        self.totals.set(total, Some(amount));
    }

    pub(crate) fn add_total(&mut self, total: Total, amount: u64) {
        self.set_total(total, self.total(total).saturating_add(amount));
    }
}

/// The layer number that means "the newest values".
pub(crate) const NEWEST: usize = usize::MAX;

/// revm's database: the state as of one layer, and the ids of the last blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateDb<'a> {
    pub(crate) state: &'a State,
    pub(crate) layer: usize,
    /// Block ids by number, from number 0.
    pub(crate) block_ids: &'a [B256],
}

impl StateDb<'_> {
    /// An account as the chain keeps it.
    pub(crate) fn account(&self, address: Address) -> Option<&Account> {
        self.state.account_at(self.layer, address)
    }

    /// What `delegator` has delegated to `receiver`.
    pub(crate) fn delegations(&self, delegator: Address, receiver: Address) -> Delegations {
        self.state.delegations.get_at(self.layer, &(delegator, receiver)).copied().unwrap_or_default()
    }

    pub(crate) fn total(&self, total: Total) -> u64 {
        self.state.total_at(self.layer, total)
    }

    /// Whether a contract was made there before.
    pub(crate) fn is_contract(&self, address: Address) -> bool {
        self.state.contract_at(self.layer, address).is_some()
    }
}

impl Database for StateDb<'_> {
    type Error = Infallible;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.state.account_at(self.layer, address).map(|account| AccountInfo {
            balance: U256::from(account.balance),
            nonce: 1,
            code_hash: account.code_hash,
            account_id: None,
            code: self.state.code(account.code_hash).cloned(),
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, Infallible> {
        Ok(self.state.code(code_hash).cloned().unwrap_or_default())
    }

    fn storage(&mut self, address: Address, index: U256) -> Result<U256, Infallible> {
        Ok(self.state.slot_at(self.layer, address, index))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Infallible> {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        Ok(self.block_ids.get(index).copied().unwrap_or_default())
    }
}
