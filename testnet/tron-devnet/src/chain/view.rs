//! The chain as of the head, or as of the solidified block: everything that can be asked.
//!
//! The head's state includes the transactions that wait for a block. A full node executes a transaction when it is
//! broadcast, in a session over the head that the next block undoes and carries out again (java-tron's
//! `Manager.pushTransaction`), and its `/wallet` calls read through that session.

use std::sync::Arc;
use std::time::Instant;

use lucid_tron_types::proto::{self, ContractResult};
use revm::bytecode::Bytecode;
use revm::primitives::{Address, B256, Bytes, U256};

use super::block::StoredBlock;
use super::intake::{default_active, default_owner, permission_of};
use super::receipt::{InternalTransaction, TransactionInfo};
use super::resource::{Pool, Resource, TRX};
use super::stake::MAX_UNSTAKING;
use super::state::{NEWEST, StateDb, Total};
use super::{Account, Chain, Delegations, Usage, bandwidth, delegate, execute};
use crate::evm::{self, Kind, Request};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    chain: &'a Chain,
    number: u64,
    layer: usize,
    deadline: Option<Instant>,
}

/// What a constant call did; nothing of it stays.
#[derive(Clone, Debug)]
pub struct CallOutcome {
    /// How it ended.
    pub result: ContractResult,
    /// Energy, penalty included.
    pub energy: u64,
    /// Energy added by a dynamic factor.
    pub penalty: u64,
    /// Return data or a revert's reason.
    pub output: Bytes,
    /// Logs it would have emitted.
    pub logs: Vec<revm::primitives::Log>,
    /// Calls and creations inside.
    pub internal: Vec<InternalTransaction>,
    /// What went wrong; empty if nothing.
    pub message: String,
}

impl Chain {
    /// Blocks up to the newest one, and the state after it and after what is pending.
    pub fn head(&self) -> View<'_> {
        View { chain: self, number: self.head_number(), layer: NEWEST, deadline: None }
    }

    /// As of the solidified block.
    pub fn solid(&self) -> View<'_> {
        View { chain: self, number: self.solid, layer: 0, deadline: None }
    }
}

impl<'a> View<'a> {
    /// The same, whose calls and creations end as `OUT_OF_TIME` when the deadline has passed. Without one they take the time
    /// that they need, and always come out the same.
    #[must_use]
    pub fn until(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Number of the newest block in this view.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The chain.
    pub fn chain(&self) -> &'a Chain {
        self.chain
    }

    /// The newest block in this view.
    pub fn block(&self) -> &'a Arc<StoredBlock> {
        self.block_by_number(self.number).unwrap_or_else(|| self.chain.head_block())
    }

    /// A block of this view.
    pub fn block_by_number(&self, number: u64) -> Option<&'a Arc<StoredBlock>> {
        if number > self.number {
            return None;
        }
        self.chain.blocks.get(usize::try_from(number).ok()?)
    }

    /// A block of this view.
    pub fn block_by_id(&self, id: &B256) -> Option<&'a Arc<StoredBlock>> {
        self.block_by_number(*self.chain.by_id.get(id)?)
    }

    /// A transaction in a block of this view, with its result.
    pub fn transaction(&self, id: &B256) -> Option<&'a proto::Transaction> {
        let (number, index) = self.chain.transactions.get(id)?;
        self.block_by_number(*number)?.transactions.get(*index)
    }

    /// A transaction that waits for a block.
    pub fn pending_transaction(&self, id: &B256) -> Option<&'a proto::Transaction> {
        let index = self.chain.pending_ids.get(id)?;
        self.chain.pending.get(*index).map(|intake| &intake.transaction)
    }

    /// What became of a transaction in a block of this view.
    pub fn transaction_info(&self, id: &B256) -> Option<&'a TransactionInfo> {
        let (number, index) = self.chain.transactions.get(id)?;
        self.block_by_number(*number)?.infos.get(*index)
    }

    /// An account.
    pub fn account(&self, address: Address) -> Option<&'a Account> {
        self.chain.state.account_at(self.layer, address)
    }

    /// Balance in sun; 0 without an account.
    pub fn balance(&self, address: Address) -> u64 {
        self.account(address).map_or(0, |account| account.balance)
    }

    /// Owner permission and active permissions in force for an account of this view.
    pub fn permissions(&self, address: Address) -> (proto::Permission, Vec<proto::Permission>) {
        match self.account(address).and_then(|a| a.permissions.as_ref()) {
            Some(set) => (set.owner.clone(), set.actives.clone()),
            None => (default_owner(address), vec![default_active(address)]),
        }
    }

    /// One permission in force for an account, existing or not.
    pub fn permission(&self, address: Address, id: i32) -> Option<proto::Permission> {
        permission_of(self.account(address), address, id)
    }

    /// The slot that resources are counted at.
    fn slot(&self) -> u64 {
        bandwidth::slot(self.chain.genesis_time, self.block().time())
    }

    /// Free bytes of bandwidth an account has in use.
    pub fn free_bandwidth_used(&self, address: Address) -> u64 {
        self.account(address).map_or(0, |account| bandwidth::free_usage(account, self.slot()))
    }

    /// What all stakes for a resource divide among them.
    pub fn pool(&self, resource: Resource) -> Pool {
        let weight = self.chain.state.total_at(self.layer, resource.weight());
        Pool::new(resource, &self.chain.params, weight)
    }

    /// Bytes or energy a day that an account's stakes yield, its own and acquired ones.
    pub fn staked_limit(&self, address: Address, resource: Resource) -> u64 {
        self.account(address).map_or(0, |account| self.pool(resource).yield_of(account.stake(resource).in_force()))
    }

    /// An account's use of its stakes, brought to the time of this view.
    pub fn staked_usage(&self, address: Address, resource: Resource) -> Usage {
        let mut usage = self.account(address).map(|account| account.stake(resource).usage).unwrap_or_default();
        usage.refresh(self.slot());
        usage
    }

    /// Sun of its stake that an account could delegate now, with the delegating transaction paid from it.
    pub fn delegatable(&self, address: Address, resource: Resource) -> u64 {
        let Some(account) = self.account(address) else { return 0 };
        let stake = account.stake(resource);
        let own_bytes = match resource {
            Resource::Bandwidth => delegate::estimated_bytes(&self.chain.params, stake.own),
            Resource::Energy => 0,
        };
        let delegatable = self.pool(resource).delegatable(stake, own_bytes, self.slot());
        if delegatable < TRX { 0 } else { delegatable }
    }

    /// How many more times an account may begin to unstake.
    pub fn available_unfreezes(&self, address: Address) -> usize {
        let time = self.block().time();
        let account = self.account(address);
        let under_way = account.map_or(0, |a| a.unstaking.iter().filter(|u| u.free_at > time).count());
        MAX_UNSTAKING.saturating_sub(under_way)
    }

    /// What `delegator` has delegated to `receiver`; nothing if no delegation is open.
    pub fn delegations(&self, delegator: Address, receiver: Address) -> Option<&'a Delegations> {
        self.chain.state.delegations.get_at(self.layer, &(delegator, receiver))
    }

    /// Whom an account has delegated to, and who has delegated to it, each in the order of the last delegation.
    pub fn delegation_partners(&self, address: Address) -> (Vec<Address>, Vec<Address>) {
        let mut all: Vec<_> = self.chain.state.delegations.entries_at(self.layer);
        all.sort_unstable_by_key(|(pair, delegations)| (delegations.delegated_at, *pair));
        let receivers = all.iter().filter(|((delegator, _), _)| *delegator == address).map(|((_, to), _)| *to);
        let delegators = all.iter().filter(|((_, receiver), _)| *receiver == address).map(|((from, _), _)| *from);
        (receivers.collect(), delegators.collect())
    }

    /// A contract's settings.
    pub fn contract(&self, address: Address) -> Option<&'a proto::SmartContract> {
        self.chain.state.contract_at(self.layer, address).map(Arc::as_ref)
    }

    /// A contract's code.
    pub fn code(&self, address: Address) -> Option<&'a Bytecode> {
        self.chain.state.code(self.account(address)?.code_hash)
    }

    /// A word of a contract's storage.
    pub fn storage(&self, address: Address, slot: U256) -> U256 {
        self.chain.state.slot_at(self.layer, address, slot)
    }

    /// Dynamic energy factor of a contract, in 1 / 10,000.
    pub fn energy_factor(&self, address: Address) -> u64 {
        self.chain.state.factor_at(self.layer, address).unwrap_or(evm::tx::FACTOR_ONE)
    }

    /// Sun burnt by fees so far.
    pub fn burnt(&self) -> u64 {
        self.chain.state.total_at(self.layer, Total::Burnt)
    }

    /// Calls `contract` and forgets what it did. `energy_limit` defaults to the network's for constant calls.
    pub fn call(
        &self,
        caller: Address,
        contract: Address,
        data: &[u8],
        value: u64,
        energy_limit: Option<u64>,
    ) -> CallOutcome {
        self.try_out(caller, Kind::Call(contract), data, value, energy_limit)
    }

    /// Runs creation code and forgets what it did.
    pub fn try_create(&self, caller: Address, code: &[u8], value: u64, energy_limit: Option<u64>) -> CallOutcome {
        let at = crate::wallet::contract_address(&self.block().id.0, caller);
        self.try_out(caller, Kind::Create(at), code, value, energy_limit)
    }

    fn try_out(&self, caller: Address, kind: Kind, data: &[u8], value: u64, energy_limit: Option<u64>) -> CallOutcome {
        let chain = self.chain;
        let energy_limit = energy_limit.unwrap_or(u64::MAX).min(chain.params.constant_energy_limit);
        let ids = chain.block_ids.get(..=usize::try_from(self.number).unwrap_or(0)).unwrap_or(&chain.block_ids);
        let db = StateDb { state: &chain.state, layer: self.layer, block_ids: ids };
        let mut block = chain.next_block(self.block().time());
        block.number = self.number;
        block.stakes = chain.stake_rules(self.block().time());
        let data = Bytes::copy_from_slice(data);
        let request = Request { caller, kind, value, token_id: 0, data, energy_limit, root_id: self.block().id };
        let factors = execute::factors(&chain.state, self.layer);
        let outcome = evm::execute_until(self.deadline, db, block, factors, request);
        CallOutcome {
            result: outcome.result,
            energy: outcome.energy,
            penalty: outcome.penalty,
            output: outcome.output,
            logs: outcome.logs,
            internal: outcome.internal,
            message: outcome.message,
        }
    }
}
