//! TRON: the local network's chain with every block's view of the vault, and everything that was ever sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lucid_tron_bridge::client::{Answer, BroadcastOutcome, Estimate, Log, Revert, TransactionInfo};
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::pusher::{Outcome, Receipt};
use lucid_tron_bridge::transaction::{ContractCall, Reference};
use lucid_tron_bridge::trc20::{self, TokenFlags};
use lucid_tron_bridge::vault::{self, Skip, VaultSnapshot};
use lucid_tron_devnet::chain::{self, CallOutcome, Chain, Intervention, StoredBlock, View};
use lucid_tron_devnet::{Address, B256, U256};
use lucid_tron_types::abi::first_word;
use lucid_tron_types::keccak256;
use lucid_tron_types::proto::ContractResult;
use lucid_types::amount::Sun;
use lucid_types::id::{PayoutAddress, SolidBlockId, TxId};
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;

use super::base::{Base, TRX, TokenKind};
use super::books::{BlockFacts, Books, Posted};
use super::violation::{Rule, Violation};

/// How long a transaction can be included.
pub(super) const LIFETIME: Duration = Duration::from_secs(60);
/// Fee limit of everybody but pushers.
const FEE_LIMIT: Sun = Sun::new(1_000 * TRX);

/// What a block shows of the vault.
#[derive(Debug)]
pub(super) struct VaultState {
    /// What no account has had is left out of it.
    bare: VaultSnapshot,
    /// What every account has had.
    pub(super) paid: BTreeMap<AccountId, lucid_types::amount::MicroUsdt>,
    pub(super) token: TokenFlags,
}

/// A block in force.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) reference: Reference,
    pub(super) state: Arc<VaultState>,
    facts: BlockFacts,
    pub(super) n_transactions: usize,
}

#[derive(Debug)]
struct Sent {
    by: PayoutAddress,
    bytes: Vec<u8>,
    /// In words.
    what: &'static str,
}

/// How a transaction ended that a block includes.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) what: &'static str,
    pub(super) outcome: Outcome,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Tron {
    pub(super) base: Arc<Base>,
    chain: Chain,
    ids: Vec<AccountId>,
    /// From the block before the run on.
    blocks: Vec<Block>,
    sent: BTreeMap<TxId, Sent>,
    /// Transactions of dropped blocks.
    orphans: Vec<TxId>,
    /// Makes otherwise equal transactions differ.
    n_sent: u64,
    pub(super) books: Books,
    /// Roots that blocks posted since this was last asked, and whom they paid where.
    posted: Vec<Posted>,
    payments: Vec<(AccountId, PayoutAddress)>,
    ended: Vec<Ended>,
    skipped: Vec<Skip>,
}

impl VaultState {
    /// With what these accounts have had.
    pub(super) fn snapshot(&self, ids: &[AccountId]) -> VaultSnapshot {
        let paid = ids.iter().map(|id| (*id, self.paid.get(id).copied().unwrap_or_default())).collect();
        VaultSnapshot { paid, ..self.bare.clone() }
    }

    /// Everything but what accounts have had.
    pub(super) const fn vault(&self) -> &VaultSnapshot {
        &self.bare
    }
}

impl Tron {
    pub(super) fn new(base: Arc<Base>, ids: Vec<AccountId>) -> Result<Self, Violation> {
        let chain = base.chain.clone();
        let books = Books::new(base.domain.vault, base.token, base.keys.issuer.address(), base.kind.period);
        let mut tron = Self {
            base,
            chain,
            ids,
            blocks: Vec::new(),
            sent: BTreeMap::new(),
            orphans: Vec::new(),
            n_sent: 0,
            books,
            posted: Vec::new(),
            payments: Vec::new(),
            ended: Vec::new(),
            skipped: Vec::new(),
        };
        let state = Arc::new(tron.read_state()?);
        let reference = reference(tron.chain.head().block());
        tron.blocks.push(Block { reference, state, facts: BlockFacts::default(), n_transactions: 0 });
        Ok(tron)
    }

    // ---- blocks ----------------------------------------------------------------------------------------------------

    /// Makes the next block of what is queued.
    pub(super) fn produce(&mut self, time_ms: u64) -> Result<&Block, Violation> {
        let block = self.chain.produce_block(time_ms);
        let transactions = block.infos.iter().map(|info| {
            let sender = self.sent.get(&TxId::from_bytes(info.id.0)).map(|sent| sent.by);
            (sender, info.fee, logs(info))
        });
        let facts = self.books.read(block.time(), transactions);
        let unchanged = self.blocks.last().filter(|_| block.infos.is_empty()).map(|last| Arc::clone(&last.state));
        let state = match unchanged {
            Some(state) => state,
            None => Arc::new(self.read_state()?),
        };
        self.books.add(&facts, &state.bare);
        self.posted.extend(&facts.posted);
        self.payments.extend(facts.payments());
        self.skipped.extend(&facts.skipped);
        for info in &block.infos {
            let id = TxId::from_bytes(info.id.0);
            let what = self.sent.get(&id).map(|sent| sent.what);
            let ended =
                what.zip(self.info(&id, 0)).map(|(what, info)| Ended { what, outcome: Receipt::from(&info).outcome });
            self.ended.extend(ended);
        }
        self.blocks.push(Block { reference: reference(&block), state, facts, n_transactions: block.infos.len() });
        Ok(self.head())
    }

    /// Replaces the newest blocks by as many that have nothing of them. Returns how many; none that are solidified.
    pub(super) fn fork(&mut self, depth: u64) -> Result<u64, Violation> {
        let head = self.chain.head().number();
        let dropped = self.transactions_above(head.saturating_sub(depth));
        let kept = self.chain.drop_blocks(head.saturating_sub(depth).max(self.first_number()));
        let mut times = Vec::new();
        while self.blocks.len() > 1 && self.head().reference.number > kept {
            let Some(block) = self.blocks.pop() else { break };
            self.books.take_back(&block.facts);
            times.push(block.reference.time.get());
        }
        self.orphans.extend(dropped.into_iter().filter(|id| self.chain.head().transaction_info(&hash(id)).is_none()));
        let depth = head.saturating_sub(kept);
        for time in times.into_iter().rev() {
            self.produce(time)?;
        }
        Ok(depth)
    }

    /// Sends the transactions of dropped blocks again.
    pub(super) fn send_orphans(&mut self) {
        for id in std::mem::take(&mut self.orphans) {
            if let Some(sent) = self.sent.get(&id) {
                let _ = self.chain.submit(&sent.bytes);
            }
        }
    }

    pub(super) fn forget_orphans(&mut self) {
        self.orphans.clear();
    }

    fn transactions_above(&self, number: u64) -> Vec<TxId> {
        let view = self.chain.head();
        let above = (number + 1..=view.number()).filter_map(|number| view.block_by_number(number));
        above.flat_map(|block| block.infos.iter().map(|info| TxId::from_bytes(info.id.0))).collect()
    }

    pub(super) fn set_solidifies(&mut self, solidifies: bool) {
        self.chain.set_solidifies(solidifies);
    }

    fn first_number(&self) -> u64 {
        self.blocks.first().map_or(0, |block| block.reference.number)
    }

    #[expect(clippy::indexing_slicing, reason = "the block before the run is never dropped")]
    pub(super) fn head(&self) -> &Block {
        &self.blocks[self.blocks.len() - 1]
    }

    /// The block so many before this one, as far back as the run goes.
    pub(super) fn before_head(&self, n: u64) -> &Block {
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        self.blocks.get(self.blocks.len().saturating_sub(1).saturating_sub(n)).unwrap_or_else(|| self.head())
    }

    /// The newest solidified block, or, if that is newer, the one so many before the head.
    pub(super) fn solid(&self, behind: u64) -> &Block {
        let lag = self.chain.head().number().saturating_sub(self.chain.solid().number());
        self.before_head(lag.max(behind))
    }

    /// How many of the newest blocks have no transaction.
    pub(super) fn n_quiet(&self) -> usize {
        self.blocks.iter().rev().take_while(|block| block.n_transactions == 0).count()
    }

    pub(super) fn take_posted(&mut self) -> Vec<Posted> {
        std::mem::take(&mut self.posted)
    }

    /// Whom blocks paid where since this was last asked.
    pub(super) fn take_payments(&mut self) -> Vec<(AccountId, PayoutAddress)> {
        std::mem::take(&mut self.payments)
    }

    /// How transactions ended since this was last asked.
    pub(super) fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// Why the vault skipped items since this was last asked.
    pub(super) fn take_skipped(&mut self) -> Vec<Skip> {
        std::mem::take(&mut self.skipped)
    }

    pub(super) fn n_pending(&self) -> usize {
        self.chain.pending()
    }

    /// Transactions that were queued and have become impossible.
    pub(super) fn take_dropped(&mut self) -> Vec<(TxId, String)> {
        let dropped = self.chain.take_dropped();
        dropped.into_iter().map(|(id, refusal)| (TxId::from_bytes(id.0), refusal.to_string())).collect()
    }

    // ---- transactions ----------------------------------------------------------------------------------------------

    /// Takes an encoded transaction.
    pub(super) fn submit(
        &mut self,
        by: PayoutAddress,
        what: &'static str,
        tx_id: TxId,
        bytes: &[u8],
    ) -> BroadcastOutcome {
        self.sent.entry(tx_id).or_insert_with(|| Sent { by, bytes: bytes.to_vec(), what });
        match self.chain.submit(bytes) {
            Ok(_) => BroadcastOutcome::Accepted,
            Err(refusal) => outcome(refusal.code.name(), refusal.message),
        }
    }

    /// Calls a contract, as anybody but a pusher does.
    pub(super) fn send(
        &mut self,
        by: &TronKey,
        contract: PayoutAddress,
        what: &'static str,
        data: Vec<u8>,
    ) -> Result<BroadcastOutcome, Violation> {
        self.n_sent += 1;
        let head = self.head().reference;
        let mut call = ContractCall::new(by.address(), contract, data, &head, LIFETIME, FEE_LIMIT);
        call.timestamp = UnixMillis::new(call.timestamp.get() + self.n_sent);
        let broken = |problem: String| Rule::Setup.broken(format!("a transaction cannot be made: {problem}"));
        let transaction = call.build().map_err(|e| broken(e.to_string()))?;
        let signature = by.sign_transaction(&transaction).map_err(|e| broken(e.to_string()))?;
        let bytes = transaction.with_signatures(&[signature]);
        Ok(self.submit(by.address(), what, transaction.tx_id(), &bytes))
    }

    /// As of the block so many before the head, what became of a transaction.
    pub(super) fn info(&self, tx_id: &TxId, behind: u64) -> Option<TransactionInfo> {
        let view = self.chain.head();
        let info = view.transaction_info(&hash(tx_id)).filter(|info| info.block_number + behind <= view.number())?;
        Some(TransactionInfo {
            id: *tx_id,
            block: info.block_number,
            block_time: UnixMillis::new(info.block_time),
            fee: Sun::new(info.fee),
            result: info.receipt.result.unwrap_or(ContractResult::Default),
            energy: info.receipt.energy_usage_total,
            output: info.contract_result.clone(),
            message: info.message.clone(),
            logs: logs(info),
        })
    }

    // ---- reading ---------------------------------------------------------------------------------------------------

    /// The vault after the newest block and after what is queued, which a full node shows too.
    pub(super) fn pending_state(&self) -> Result<Arc<VaultState>, Violation> {
        if self.chain.pending() == 0 { Ok(Arc::clone(&self.head().state)) } else { self.read_state().map(Arc::new) }
    }

    fn read_state(&self) -> Result<VaultState, Violation> {
        let vault = self.base.domain.vault;
        let outcome = self.call(&vault, &vault, &vault::snapshot(&self.ids));
        let mut bare = VaultSnapshot::decode(&outcome.output, &self.ids)
            .map_err(|e| Rule::Setup.broken(format!("the vault has no snapshot: {e}: {:?}", outcome.result)))?;
        let paid = std::mem::take(&mut bare.paid);
        Ok(VaultState { bare, paid, token: self.token_flags() })
    }

    fn token_flags(&self) -> TokenFlags {
        if self.base.kind.token == TokenKind::Hostile {
            // It has no such switches.
            return TokenFlags::default();
        }
        let (token, vault) = (self.base.token, self.base.domain.vault);
        let is_set = |data: Vec<u8>| {
            let outcome = self.call(&vault, &token, &data);
            first_word(&outcome.output).is_some_and(|word| word != [0; 32])
        };
        TokenFlags {
            paused: is_set(trc20::paused()),
            deprecated: is_set(trc20::deprecated()),
            fee: is_set(trc20::fee_rate()),
            blacklisted: is_set(trc20::is_blacklisted(&vault)),
        }
    }

    /// What a call of the vault would do after the newest block and what is queued; or, late, after the newest solidified block.
    pub(super) fn estimate(&self, caller: &PayoutAddress, data: &[u8], is_late: bool) -> Estimate {
        let view = if is_late { self.chain.solid() } else { self.view() };
        let outcome = view.call(address(caller), address(&self.base.domain.vault), data, 0, None);
        let is_success = outcome.result == ContractResult::Success;
        let message = format!("{} {:?}", outcome.message, outcome.result);
        let revert = (!is_success).then(|| Revert { data: outcome.output.to_vec(), message });
        Estimate { energy: outcome.energy, penalty: outcome.penalty, revert }
    }

    fn call(&self, caller: &PayoutAddress, contract: &PayoutAddress, data: &[u8]) -> CallOutcome {
        self.view().call(address(caller), address(contract), data, 0, None)
    }

    fn view(&self) -> View<'_> {
        self.chain.head()
    }

    /// An account's TRX.
    pub(super) fn gas(&self, of: &PayoutAddress) -> Sun {
        Sun::new(self.view().balance(address(of)))
    }

    pub(super) fn energy_price(&self) -> Sun {
        Sun::new(self.chain.params().energy_price)
    }

    pub(super) fn byte_price(&self) -> Sun {
        Sun::new(self.chain.params().bandwidth_price)
    }

    /// What somebody holds of the token. Both tokens keep balances in their first slot.
    pub(super) fn token_balance(&self, of: &PayoutAddress) -> u64 {
        let key = [lucid_tron_bridge::address::to_word(of), [0; 32]];
        let slot = U256::from_be_bytes(keccak256(key.as_flattened()));
        self.view().storage(address(&self.base.token), slot).saturating_to()
    }

    // ---- what no transaction could do ------------------------------------------------------------------------------

    /// Makes the contracts' energy dearer; 10,000 is the plain price.
    pub(super) fn set_energy_factor(&mut self, factor: u64) {
        for contract in [self.base.domain.vault, self.base.token] {
            self.chain.intervene(&Intervention::SetEnergyFactor { contract: address(&contract), factor });
        }
    }

    /// What a unit of energy costs, in sun.
    pub(super) fn set_energy_price(&mut self, sun: u64) {
        self.chain.set_energy_price(sun);
    }

    pub(super) fn set_gas(&mut self, of: &PayoutAddress, sun: u64) {
        self.chain.intervene(&Intervention::SetBalances(vec![(address(of), sun)]));
    }
}

fn address(of: &PayoutAddress) -> Address {
    Address::from(of.hash20())
}

fn hash(id: &TxId) -> B256 {
    B256::from(*id.as_bytes())
}

fn reference(block: &StoredBlock) -> Reference {
    let (id, time) = (SolidBlockId::from_bytes(block.id.0), UnixMillis::new(block.time()));
    Reference { number: block.number(), id, time }
}

fn logs(info: &chain::TransactionInfo) -> Vec<Log> {
    let log = info.logs.iter().map(|log| Log {
        address: PayoutAddress::from_hash20(log.address.0.0),
        topics: log.topics().iter().map(|topic| topic.0).collect(),
        data: log.data.data.to_vec(),
    });
    log.collect()
}

/// The class of a full node's answer to a broadcast, as `lucid_tron_bridge::client` judges it.
pub(super) fn outcome(code: &str, message: String) -> BroadcastOutcome {
    let answer = Answer { code: code.to_owned(), message };
    match code {
        "DUP_TRANSACTION_ERROR" => BroadcastOutcome::Duplicate,
        "SIGERROR" => BroadcastOutcome::Bug(answer),
        "SERVER_BUSY" | "OTHER_ERROR" => BroadcastOutcome::Retry(answer),
        _ => BroadcastOutcome::Rebuild(answer),
    }
}
