//! The chain: a deterministic library without HTTP, tasks or randomness, and without a clock in all that makes the chain.
//!
//! [`Chain::submit`] judges and queues a signed transaction, [`Chain::produce_block`] makes the next block of what is
//! queued. Both are told everything they need; the same calls give the same chain. [`View`]s answer questions as of the
//! head or of the solidified block. Only there can a clock come in: a view's calls may be given a deadline
//! ([`View::until`]), which changes their answers, but never the chain.
//!
//! ```text
//!   submit -> intake (bytes, signatures) -> execute on the pending layer, which the head's view shows -> queue
//!   produce_block: undo the pending layer, execute the queue on a block layer, seal, open a new pending layer
//! ```

mod account;
mod action;
mod bandwidth;
mod block;
pub(crate) mod change;
mod delegate;
mod energy;
pub(crate) mod execute;
mod history;
mod intake;
pub mod params;
mod permissions;
pub mod receipt;
pub mod refusal;
pub mod resource;
mod settings;
mod stake;
pub(crate) mod state;
mod system;
pub mod usage;
mod validity;
pub(crate) mod versioned;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use lucid_tron_types::block::{block_id, sha256};
use lucid_tron_types::proto;
use prost::Message;
use revm::primitives::{Address, B256, HashMap};

pub use account::{Account, Permissions, Unstaking};
pub use block::StoredBlock;
pub use delegate::{Delegation, Delegations};
pub use history::Intervention;
pub use params::Params;
pub use receipt::{InternalTransaction, Receipt, TransactionInfo};
pub use refusal::{Code, Refusal};
pub use resource::{Pool, Resource, Stake};
pub use stake::Restaked;
pub use usage::Usage;
pub use view::{CallOutcome, View};

pub(crate) use action::absent;
pub(crate) use intake::{Intake, allows, owner_of, permission_of, recover, weigh};
pub(crate) use stake::MAX_UNSTAKING;

use crate::evm::{BlockContext, StakeRules};
use crate::wallet::Wallet;
use action::{Action, Unreadable};
use change::Change;
use execute::Place;
use state::{State, Total};

/// How a chain begins.
#[derive(Clone, Debug)]
pub struct Genesis {
    /// Milliseconds since the epoch.
    pub timestamp: u64,
    /// Accounts with their balances in sun.
    pub accounts: Vec<(Address, u64)>,
    /// Signs the blocks.
    pub witness: Wallet,
    /// Prices and limits.
    pub params: Params,
    /// The solidified block is this many blocks behind the head.
    pub solid_lag: u64,
}

impl Genesis {
    /// The accounts `0..n` of `seed` with `balance` sun each, and a witness of the same seed.
    pub fn seeded(seed: &str, n: u32, balance: u64, timestamp: u64, solid_lag: u64) -> Self {
        Self {
            timestamp,
            accounts: (0..n).map(|i| (Wallet::derive(seed, i).address(), balance)).collect(),
            witness: Wallet::derive(&format!("{seed}/witness"), 0),
            params: Params::default(),
            solid_lag,
        }
    }

    /// Commits to everything above except the key and the lag, and stands as the genesis block's parent, so that two different
    /// beginnings never share a block id.
    fn digest(&self) -> [u8; 32] {
        let mut bytes = format!("{:?}/{}", self.params, self.timestamp).into_bytes();
        for (address, balance) in &self.accounts {
            bytes.extend_from_slice(address.as_slice());
            bytes.extend_from_slice(&balance.to_be_bytes());
        }
        sha256(&bytes)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Chain {
    params: Params,
    witness: Wallet,
    genesis_time: u64,
    solid_lag: u64,
    chain_id: u64,
    blocks: Vec<Arc<StoredBlock>>,
    /// Ids of [`Self::blocks`].
    block_ids: Vec<B256>,
    by_id: HashMap<B256, u64>,
    /// Block number and position of every transaction in a block.
    transactions: HashMap<B256, (u64, usize)>,
    state: State,
    pending: Vec<Arc<Intake>>,
    pending_ids: HashMap<B256, usize>,
    /// Of [`Self::pending`] in all.
    pending_bytes: usize,
    /// See [`Self::take_dropped`].
    dropped: Vec<(B256, Refusal)>,
    solid: u64,
    solidifies: bool,
    /// Steps since [`Self::take_changes`], if they are kept at all.
    changes: Option<Vec<Change>>,
}

impl Chain {
    /// A chain that consists of its genesis block.
    pub fn new(genesis: Genesis) -> Self {
        let header = proto::BlockHeaderRaw {
            timestamp: i64::try_from(genesis.timestamp).unwrap_or(i64::MAX),
            tx_trie_root: vec![0; 32],
            parent_hash: genesis.digest().to_vec(),
            witness_address: crate::address::to_wire(genesis.witness.address()).to_vec(),
            ..proto::BlockHeaderRaw::default()
        };
        let id = B256::from(block_id(&header));
        let mut state = State::default();
        for (address, balance) in &genesis.accounts {
            let account = Account { balance: *balance, ..Account::new(0) };
            state.set_account(*address, Some(account));
        }
        if state.account(genesis.witness.address()).is_none() {
            state.set_account(genesis.witness.address(), Some(Account::new(0)));
        }
        state.set_total(Total::NetWeight, genesis.params.genesis_net_weight);
        state.set_total(Total::EnergyWeight, genesis.params.genesis_energy_weight);
        state.begin();
        let block = StoredBlock::genesis(id, header);
        Self {
            params: genesis.params,
            witness: genesis.witness,
            genesis_time: genesis.timestamp,
            solid_lag: genesis.solid_lag,
            chain_id: u64::from(u32::from_be_bytes([id[28], id[29], id[30], id[31]])),
            blocks: vec![Arc::new(block)],
            block_ids: vec![id],
            by_id: std::iter::once((id, 0)).collect(),
            transactions: HashMap::default(),
            state,
            pending: Vec::new(),
            pending_ids: HashMap::default(),
            pending_bytes: 0,
            dropped: Vec::new(),
            solid: 0,
            solidifies: true,
            changes: None,
        }
    }

    /// Judges an encoded, signed transaction and queues it for the next block.
    pub fn submit(&mut self, bytes: &[u8]) -> Result<B256, Refusal> {
        let transaction =
            proto::Transaction::decode(bytes).map_err(|e| Refusal::new(Code::OtherError, format!("Error: {e}")))?;
        self.submit_transaction(transaction)
    }

    /// As [`Self::submit`], decoded.
    pub fn submit_transaction(&mut self, transaction: proto::Transaction) -> Result<B256, Refusal> {
        self.check_room()?;
        self.submit_intake(Intake::read(transaction)?)
    }

    pub(crate) fn check_room(&self) -> Result<(), Refusal> {
        if self.pending.len() >= self.params.max_pending || self.pending_bytes >= params::MAX_PENDING_BYTES {
            return Err(Refusal::new(Code::ServerBusy, "Server busy."));
        }
        Ok(())
    }

    pub(crate) fn submit_intake(&mut self, mut intake: Intake) -> Result<B256, Refusal> {
        self.check(&intake)?;
        self.check_is_new(&intake)?;
        let block = self.next_block(self.head_block().time());
        let info = self.try_on_top(&intake, block)?;
        intake.note_result(info.contract_result_code());
        let id = intake.id;
        self.enqueue(Arc::new(intake));
        Ok(id)
    }

    fn enqueue(&mut self, intake: Arc<Intake>) {
        self.pending_ids.insert(intake.id, self.pending.len());
        self.pending_bytes = self.pending_bytes.saturating_add(intake.size);
        self.pending.push(intake);
    }

    /// Makes the next block at `time` (milliseconds since the epoch; later than the head, or it is moved there) of the
    /// queued transactions. Those that have become impossible are dropped, as a full node does.
    pub fn produce_block(&mut self, time: u64) -> Arc<StoredBlock> {
        self.state.rollback();
        self.state.begin();
        let time = time.max(self.head_block().time().saturating_add(1));
        let context = self.next_block(time);
        let mut builder = block::Builder::new(context, self.head_block().id);
        let mut waiting = Vec::new();
        for intake in std::mem::take(&mut self.pending) {
            if !builder.has_room_for(&intake.transaction) {
                waiting.push(intake);
            } else if let Some((intake, info)) = self.try_again(intake, context) {
                builder.push(Arc::unwrap_or_clone(intake).transaction, info);
            }
        }
        let block = Arc::new(builder.seal(&self.witness));
        let solid = self.solid_with(context.number);
        self.note(|delta| Change::Block { block: block.clone(), delta, solid });
        self.append(block.clone());
        self.pending = waiting;
        self.requeue();
        block
    }

    /// Whether a contract that needs no virtual machine could be carried out now, fees around it aside.
    pub(crate) fn check_system(&mut self, contract: &proto::Contract) -> Result<(), Refusal> {
        let (action, _) = Action::unpack(contract).map_err(|unreadable| match unreadable {
            Unreadable::Absent(refusal) => refusal,
            Unreadable::Foreign => Refusal::invalid("contract type error"),
        })?;
        let block = self.next_block(self.head_block().time());
        self.state.begin();
        let result = self.attempt(block, true, |state, place| system::run(state, place, &action));
        self.state.rollback();
        result.map(|_| ())
    }

    /// Executes on the newest layer, or leaves no trace.
    fn try_on_top(&mut self, intake: &Intake, block: BlockContext) -> Result<TransactionInfo, Refusal> {
        self.attempt(block, false, |state, place| execute::process(state, place, intake))
    }

    /// Does `work` on the newest layer, or leaves no trace.
    fn attempt<T>(
        &mut self,
        block: BlockContext,
        is_draft: bool,
        work: impl FnOnce(&mut State, Place<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let place = Place {
            params: &self.params,
            block_ids: &self.block_ids,
            genesis_time: self.genesis_time,
            head_time: self.blocks.last().map_or(0, |b| b.time()),
            block,
            is_draft,
        };
        self.state.begin();
        let result = work(&mut self.state, place);
        if result.is_ok() {
            self.state.commit();
        } else {
            self.state.rollback();
        }
        result
    }

    /// Opens the pending layer and judges the queue again on the head's state.
    fn requeue(&mut self) {
        self.state.begin();
        self.pending_ids.clear();
        self.pending_bytes = 0;
        let next = self.next_block(self.head_block().time());
        for intake in std::mem::take(&mut self.pending) {
            if let Some((intake, _)) = self.try_again(intake, next) {
                self.enqueue(intake);
            }
        }
    }

    /// Executes a queued transaction on the newest layer, or drops it.
    fn try_again(&mut self, mut intake: Arc<Intake>, block: BlockContext) -> Option<(Arc<Intake>, TransactionInfo)> {
        match self.check(&intake).and_then(|()| self.try_on_top(&intake, block)) {
            Ok(info) => {
                Arc::make_mut(&mut intake).note_result(info.contract_result_code());
                Some((intake, info))
            }
            Err(refusal) => {
                // Nobody may ask for them.
                if self.dropped.len() < self.params.max_pending {
                    self.dropped.push((intake.id, refusal));
                }
                None
            }
        }
    }

    /// Transactions that were queued and have become impossible, since this was last asked, and why.
    pub fn take_dropped(&mut self) -> Vec<(B256, Refusal)> {
        std::mem::take(&mut self.dropped)
    }

    fn append(&mut self, block: Arc<StoredBlock>) {
        let number = block.number();
        for (i, info) in block.infos.iter().enumerate() {
            self.transactions.insert(info.id, (number, i));
        }
        self.by_id.insert(block.id, number);
        self.block_ids.push(block.id);
        self.blocks.push(block);
        self.advance_solid();
    }

    /// Number of the newest solidified block if `head` is the newest: it never goes back.
    fn solid_with(&self, head: u64) -> u64 {
        if self.solidifies { self.solid.max(head.saturating_sub(self.solid_lag)) } else { self.solid }
    }

    fn advance_solid(&mut self) {
        self.solidify_up_to(self.solid_with(self.head_number()));
    }

    fn solidify_up_to(&mut self, number: u64) {
        while self.solid < number {
            self.solid = self.solid.saturating_add(1);
            self.state.forget_oldest();
        }
    }

    fn next_block(&self, time: u64) -> BlockContext {
        BlockContext {
            number: self.head_number().saturating_add(1),
            time,
            producer: self.witness.address(),
            chain_id: self.chain_id,
            energy_price: self.params.energy_price,
            stakes: self.stake_rules(self.head_block().time()),
        }
    }

    /// What contracts see of stakes after a block of that time.
    fn stake_rules(&self, head_time: u64) -> StakeRules {
        StakeRules {
            head_time,
            slot: bandwidth::slot(self.genesis_time, head_time),
            net_limit: self.params.total_net_limit,
            energy_limit: self.params.total_energy_limit,
            unfreeze_delay_days: self.params.unfreeze_delay_days,
        }
    }

    /// About how many bytes a clone takes for itself; blocks and waiting transactions are shared.
    pub(crate) fn own_bytes(&self) -> usize {
        let blocks = self.blocks.len().saturating_mul(size_of::<(Arc<StoredBlock>, B256, B256, u64)>());
        let transactions = self.transactions.len().saturating_mul(size_of::<(B256, u64, usize)>());
        self.state.bytes().saturating_add(blocks).saturating_add(transactions)
    }

    /// Transactions waiting for a block.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Ids of transactions waiting for a block, in no order.
    pub fn pending_ids(&self) -> impl Iterator<Item = &B256> {
        self.pending_ids.keys()
    }

    /// Transactions in blocks.
    pub fn transactions(&self) -> usize {
        self.transactions.len()
    }

    /// The network's parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What `CHAINID` answers: the last four bytes of the genesis block's id.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Id of block 0.
    pub fn genesis_id(&self) -> B256 {
        self.block_ids.first().copied().unwrap_or_default()
    }

    fn head_number(&self) -> u64 {
        u64::try_from(self.blocks.len()).unwrap_or(u64::MAX).saturating_sub(1)
    }

    #[expect(clippy::indexing_slicing, reason = "there is always the genesis block")]
    fn head_block(&self) -> &Arc<StoredBlock> {
        &self.blocks[self.blocks.len() - 1]
    }
}
