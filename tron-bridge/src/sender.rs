//! A person's or a set-up's transactions: estimate, build, sign, broadcast, and wait until the receipt is solidified.
//!
//! A [`Plan`] is a dry run: it says what a transaction would use and cost before anything is sent. Leaders' batches are not sent
//! here; they survive restarts and need more than one try.

use std::time::Duration;

use lucid_types::amount::Sun;
use lucid_types::id::{PayoutAddress, TxId};
use lucid_types::time::UnixMillis;
use tokio::time::{Instant, sleep};

use crate::address;
use crate::client::{
    Answer, BroadcastOutcome, ChainParameters, Client, ClientError, Estimate, Revert, TransactionInfo,
};
use crate::key::{KeyError, TronKey};
use crate::transaction::{
    ContractCall, ContractCreation, Reference, TransactionError, TrxTransfer, UnsignedTransaction,
};
use crate::vault::VaultRevert;

/// Blocks come every 3 s, and there is no event to wait for over HTTP.
const POLL: Duration = Duration::from_secs(1);
/// Polls between two broadcasts of the same bytes: a node may have dropped them.
const POLLS_PER_BROADCAST: u32 = 10;
/// How far the solidified head must be past the expiration before a missing receipt proves anything. Behind one address there
/// may be nodes that are not equally far: one that says how far the chain is, and another that has not seen the block which
/// includes the transaction. A person who is told that nothing was done sends it again.
const EXPIRY_MARGIN: Duration = Duration::from_secs(30);

/// Bounds of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendOptions {
    /// Most sun to burn for energy.
    pub max_fee: Sun,
    /// How long the network may include it.
    pub lifetime: Duration,
}

impl SendOptions {
    /// At most this fee; included within a minute or not at all.
    pub const fn new(max_fee: Sun) -> Self {
        Self { max_fee, lifetime: Duration::from_secs(60) }
    }
}

/// A transaction that is ready to be sent, and what it will use.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What will be signed.
    pub transaction: UnsignedTransaction,
    /// Energy, as estimated at the head; 0 for a transfer of TRX.
    pub energy: u64,
    /// Most sun to burn for energy: a tenth more than the estimate, or the options' bound.
    pub fee_limit: Sun,
    /// Bytes of bandwidth.
    pub bandwidth: u64,
    /// The TRX that will be burnt: for what the sender's energy and bandwidth do not cover, and for making an account.
    pub cost: Sun,
    /// The contract that it deploys.
    pub deploys: Option<PayoutAddress>,
    /// No block of this time or later includes it.
    pub expiration: UnixMillis,
}

/// A contract that was deployed.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// Where it stands.
    pub contract: PayoutAddress,
    /// The receipt.
    pub info: TransactionInfo,
}

/// A transaction was not sent, or did not do what it was sent for.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The network could not be asked.
    #[error("ask the TRON network")]
    Client(#[from] ClientError),
    /// The transaction cannot be built.
    #[error("build the transaction")]
    Build(#[from] TransactionError),
    /// The key does not sign.
    #[error("sign the transaction")]
    Key(#[from] KeyError),
    /// It would fail, so it was not sent.
    #[error("the call would fail, so nothing was sent: {0}")]
    WouldRevert(Revert),
    /// It would cost more than allowed.
    #[error(
        "the call needs {energy} energy, which may cost {needed} sun, and the fee limit is {max}; raise it, or get energy for the account"
    )]
    TooExpensive {
        /// As estimated.
        energy: u64,
        /// What that costs.
        needed: Sun,
        /// The bound.
        max: Sun,
    },
    /// The sender has too little TRX.
    #[error("the account {account} has {has} sun and needs {needs}; send it TRX, or get energy for it")]
    Balance {
        /// The sender.
        account: PayoutAddress,
        /// What it has.
        has: Sun,
        /// What the transaction costs.
        needs: Sun,
    },
    /// The network refuses it.
    #[error("the network refuses transaction {tx_id}: {} {}", answer.code, answer.message)]
    Refused {
        /// The transaction.
        tx_id: TxId,
        /// Its words.
        answer: Answer,
    },
    /// It was included and failed.
    #[error("transaction {} failed and cost {} sun: {}", info.id, info.fee, reason(info))]
    Failed {
        /// The receipt.
        info: Box<TransactionInfo>,
        /// The error, if it is one of the vault's.
        revert: Option<VaultRevert>,
    },
    /// It expired before it was included.
    #[error("transaction {tx_id} expired and was not included; nothing was done, send it again")]
    Expired {
        /// The transaction.
        tx_id: TxId,
    },
    /// It is not solidified yet.
    #[error("transaction {tx_id} is not solidified after {} s; it may still be included, so look it up before sending again", waited.as_secs())]
    TimedOut {
        /// The transaction.
        tx_id: TxId,
        /// How long was waited.
        waited: Duration,
        /// Why the receipt could not be read the last time; `None` if it is not there.
        #[source]
        last: Option<Box<ClientError>>,
    },
    /// It was sent, and the network does not say what became of it.
    #[error(
        "transaction {tx_id} was sent, and what became of it cannot be read; it may still be included, so look it up before sending again"
    )]
    Unclear {
        /// The transaction.
        tx_id: TxId,
        /// The provider's error when it was asked for the receipt.
        #[source]
        source: Box<ClientError>,
    },
}

fn reason(info: &TransactionInfo) -> String {
    match info.vault_revert() {
        Some(revert) => revert.to_string(),
        None => format!("{} {}", info.result.name(), info.message),
    }
}

/// Sends with one key over one provider group.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    client: &'a Client,
    key: &'a TronKey,
}

impl<'a> Sender<'a> {
    /// Sends from the key's account.
    pub const fn new(client: &'a Client, key: &'a TronKey) -> Self {
        Self { client, key }
    }

    /// Plans a contract call.
    ///
    /// # Errors
    /// It would fail, cost more than allowed, or more than the account has; or the network does not answer.
    pub async fn plan_call(
        &self,
        contract: PayoutAddress,
        data: Vec<u8>,
        options: &SendOptions,
    ) -> Result<Plan, SendError> {
        let owner = self.key.address();
        let prices = self.client.chain_parameters().await?;
        let estimate = self.client.estimate(&owner, &contract, &data).await?;
        let (energy, fee_limit) = priced(estimate, &prices, options)?;
        let reference = self.client.head().await?;
        let call = ContractCall::new(owner, contract, data, &reference, options.lifetime, fee_limit);
        let draft = Draft { energy, fee_limit, ..Draft::new(call.build()?, &reference, options) };
        self.affordable(draft, &prices).await
    }

    /// Plans the deployment of a contract; `code` has the constructor's arguments.
    ///
    /// # Errors
    /// As [`Self::plan_call`].
    pub async fn plan_deploy(&self, name: &str, code: Vec<u8>, options: &SendOptions) -> Result<Plan, SendError> {
        let owner = self.key.address();
        let prices = self.client.chain_parameters().await?;
        let estimate = self.client.estimate_creation(&owner, &code).await?;
        let (energy, fee_limit) = priced(estimate, &prices, options)?;
        let reference = self.client.head().await?;
        let lifetime = options.lifetime;
        let creation = ContractCreation { owner, name: name.into(), code, reference, lifetime, fee_limit };
        let draft = Draft { energy, fee_limit, ..Draft::new(creation.build()?, &reference, options) };
        let plan = self.affordable(draft, &prices).await?;
        let deploys = Some(address::of_contract(&plan.transaction.tx_id(), &owner));
        Ok(Plan { deploys, ..plan })
    }

    /// Plans a transfer of TRX.
    ///
    /// # Errors
    /// The account has too little, or the network does not answer.
    pub async fn plan_trx(&self, to: PayoutAddress, amount: Sun, options: &SendOptions) -> Result<Plan, SendError> {
        let owner = self.key.address();
        let prices = self.client.chain_parameters().await?;
        let makes_account = self.client.account(&to).await?.is_none();
        let reference = self.client.head().await?;
        let transfer = TrxTransfer { owner, to, amount, reference, lifetime: options.lifetime };
        let draft = Draft { amount, makes_account, ..Draft::new(transfer.build()?, &reference, options) };
        self.affordable(draft, &prices).await
    }

    /// Signs and sends what was planned, and waits until it is solidified.
    ///
    /// # Errors
    /// The network refuses it; it failed, expired, or is not solidified within `wait`. Of an error that leaves open whether it will
    /// be included, [`SendError::TimedOut`] or [`SendError::Unclear`], the transaction is named.
    pub async fn send(&self, plan: &Plan, wait: Duration) -> Result<TransactionInfo, SendError> {
        let tx_id = plan.transaction.tx_id();
        let signature = self.key.sign_transaction(&plan.transaction)?;
        let bytes = plan.transaction.with_signatures(&[signature]);
        let deadline = Instant::now().checked_add(wait);
        let mut may_be_taken = false;
        let mut polls_until_broadcast = 0;
        loop {
            if polls_until_broadcast == 0 {
                match self.client.broadcast(&bytes).await {
                    Ok(BroadcastOutcome::Accepted | BroadcastOutcome::Duplicate) => {
                        (may_be_taken, polls_until_broadcast) = (true, POLLS_PER_BROADCAST);
                    }
                    // Once it may be out, a refusal proves nothing: only its expiry does.
                    Ok(BroadcastOutcome::Rebuild(answer) | BroadcastOutcome::Bug(answer)) if !may_be_taken => {
                        return Err(SendError::Refused { tx_id, answer });
                    }
                    Err(error) if !may_be_taken && !error.is_passing() => return Err(error.into()),
                    Ok(_) | Err(_) => {
                        (may_be_taken, polls_until_broadcast) = (true, 1);
                    }
                }
            }
            polls_until_broadcast = polls_until_broadcast.saturating_sub(1);
            sleep(POLL).await;
            let last = match self.solid_receipt(plan).await {
                Ok(Some(info)) if info.is_success() => return Ok(info),
                Ok(Some(info)) => {
                    let revert = info.vault_revert();
                    return Err(SendError::Failed { info: Box::new(info), revert });
                }
                Ok(None) => None,
                Err(SendError::Client(error)) if error.is_passing() => {
                    tracing::debug!(%tx_id, %error, "the receipt cannot be read now");
                    Some(Box::new(error))
                }
                Err(SendError::Client(source)) => return Err(SendError::Unclear { tx_id, source: Box::new(source) }),
                Err(error) => return Err(error),
            };
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(SendError::TimedOut { tx_id, waited: wait, last });
            }
        }
    }

    /// Plans a contract call and sends it.
    ///
    /// # Errors
    /// As [`Self::plan_call`] and [`Self::send`].
    pub async fn call(
        &self,
        contract: PayoutAddress,
        data: Vec<u8>,
        options: &SendOptions,
        wait: Duration,
    ) -> Result<TransactionInfo, SendError> {
        let plan = self.plan_call(contract, data, options).await?;
        self.send(&plan, wait).await
    }

    /// Plans the deployment of a contract and sends it.
    ///
    /// # Errors
    /// As [`Self::plan_deploy`] and [`Self::send`].
    pub async fn deploy(
        &self,
        name: &str,
        code: Vec<u8>,
        options: &SendOptions,
        wait: Duration,
    ) -> Result<Deployed, SendError> {
        let plan = self.plan_deploy(name, code, options).await?;
        let contract = address::of_contract(&plan.transaction.tx_id(), &self.key.address());
        Ok(Deployed { contract, info: self.send(&plan, wait).await? })
    }

    /// Plans a transfer of TRX and sends it.
    ///
    /// # Errors
    /// As [`Self::plan_trx`] and [`Self::send`].
    pub async fn send_trx(
        &self,
        to: PayoutAddress,
        amount: Sun,
        options: &SendOptions,
        wait: Duration,
    ) -> Result<TransactionInfo, SendError> {
        let plan = self.plan_trx(to, amount, options).await?;
        self.send(&plan, wait).await
    }

    /// The solidified receipt, if there is one.
    async fn solid_receipt(&self, plan: &Plan) -> Result<Option<TransactionInfo>, SendError> {
        let tx_id = plan.transaction.tx_id();
        // Read before the receipt: every block that could include the transaction is behind a head that is past its expiration.
        let head = self.client.solid_head().await?;
        let info = self.client.solid_transaction_info(&tx_id).await?;
        if info.is_none() && head.time >= plan.expiration.after(EXPIRY_MARGIN) {
            return Err(SendError::Expired { tx_id });
        }
        Ok(info)
    }

    /// Compares the cost with what the account has.
    async fn affordable(&self, draft: Draft, prices: &ChainParameters) -> Result<Plan, SendError> {
        let account = self.key.address();
        let resources = self.client.resources(&account).await?;
        let has = self.client.account(&account).await?.map_or(Sun::ZERO, |found| found.balance);
        let bandwidth = u64::try_from(draft.transaction.bandwidth(1)).unwrap_or(u64::MAX);
        let burnt_energy = draft.energy.saturating_sub(resources.energy);
        let for_energy = times(prices.energy_price, burnt_energy);
        let is_covered = bandwidth <= resources.bandwidth || bandwidth <= resources.free_bandwidth;
        let for_bytes = match (draft.makes_account, is_covered) {
            (true, _) => prices.new_account_fee,
            (false, true) => Sun::ZERO,
            (false, false) => times(prices.bandwidth_price, bandwidth),
        };
        let cost = for_energy.saturating_add(for_bytes);
        let needs = cost.saturating_add(draft.amount);
        if has < needs {
            return Err(SendError::Balance { account, has, needs });
        }
        let Draft { transaction, energy, fee_limit, expiration, .. } = draft;
        Ok(Plan { transaction, energy, fee_limit, bandwidth, cost, deploys: None, expiration })
    }
}

/// A transaction whose cost has not been compared with what the account has.
struct Draft {
    transaction: UnsignedTransaction,
    energy: u64,
    fee_limit: Sun,
    expiration: UnixMillis,
    /// TRX that it moves.
    amount: Sun,
    /// It makes the recipient's account.
    makes_account: bool,
}

impl Draft {
    /// One without energy.
    fn new(transaction: UnsignedTransaction, reference: &Reference, options: &SendOptions) -> Self {
        let expiration = reference.time.after(options.lifetime);
        Self { transaction, energy: 0, fee_limit: Sun::ZERO, expiration, amount: Sun::ZERO, makes_account: false }
    }
}

/// The energy of a call that would succeed, and its fee limit.
fn priced(estimate: Estimate, prices: &ChainParameters, options: &SendOptions) -> Result<(u64, Sun), SendError> {
    let energy = estimate.energy;
    if let Some(revert) = estimate.revert {
        return Err(SendError::WouldRevert(revert));
    }
    let (needed, max) = (times(prices.energy_price, energy), options.max_fee);
    if needed > max {
        return Err(SendError::TooExpensive { energy, needed, max });
    }
    Ok((energy, fee_limit(energy, prices.energy_price).min(max)))
}

/// The fee limit for a call that was estimated to use so much: a tenth more, because the state may change until it is included.
pub fn fee_limit(energy: u64, energy_price: Sun) -> Sun {
    let elevenfold = u128::from(energy).saturating_mul(energy_price.get().into()).saturating_mul(11);
    Sun::new(u64::try_from(elevenfold.div_ceil(10)).unwrap_or(u64::MAX))
}

fn times(price: Sun, n: u64) -> Sun {
    Sun::new(price.get().saturating_mul(n))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const PRICES: ChainParameters = ChainParameters {
        energy_price: Sun::new(100),
        bandwidth_price: Sun::new(1_000),
        new_account_fee: Sun::new(1_100_000),
    };

    fn estimate(energy: u64) -> Estimate {
        Estimate { energy, penalty: 0, revert: None }
    }

    #[test]
    fn a_fee_limit_has_a_tenth_more_and_is_rounded_up() {
        assert_eq!(fee_limit(100_000, Sun::new(100)), Sun::new(11_000_000));
        assert_eq!(fee_limit(1, Sun::new(1)), Sun::new(2));
        assert_eq!(fee_limit(0, Sun::new(100)), Sun::ZERO);
        assert_eq!(fee_limit(u64::MAX, Sun::new(u64::MAX)), Sun::new(u64::MAX));
    }

    #[test]
    fn the_bound_cuts_the_margin_and_never_the_estimate() {
        let within = |max| priced(estimate(1_000), &PRICES, &SendOptions::new(Sun::new(max)));
        assert_eq!(within(1_000_000).unwrap(), (1_000, Sun::new(110_000)));
        assert_eq!(within(105_000).unwrap(), (1_000, Sun::new(105_000)));
        assert_eq!(within(100_000).unwrap(), (1_000, Sun::new(100_000)));
        let error = within(99_999).unwrap_err().to_string();
        assert!(error.contains("100000 sun") && error.contains("99999") && error.contains("raise"), "{error}");
    }

    #[test]
    fn what_would_revert_is_not_priced() {
        let revert = Revert { data: lucid_tron_types::abi::selector("NotOwner()").to_vec(), message: String::new() };
        let estimate = Estimate { revert: Some(revert), ..estimate(5) };
        let error = priced(estimate, &PRICES, &SendOptions::new(Sun::new(u64::MAX))).unwrap_err().to_string();
        assert!(error.contains("nothing was sent") && error.contains("owner"), "{error}");
    }
}
