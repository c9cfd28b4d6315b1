//! What the local TRON network must hold before nodes start: the USDT contract and a funded treasury.
//!
//! Everything is a signed transaction over the HTTP API, as on any TRON network; nothing is conjured.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lucid_tron_bridge::address::of_contract;
use lucid_tron_bridge::client::{BroadcastOutcome, Client, ClientConfig};
use lucid_tron_devnet::wallet::{self, Validity, Wallet};
use lucid_tron_devnet::{address, token};
use lucid_tron_types::proto::{ContractMessage, ContractResult};
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{PayoutAddress, SolidBlockId, TxId};
use tokio::time::{Instant, sleep};

/// The treasury's TRX: far more than the fees of any test run.
pub const TREASURY_TRX: Sun = Sun::new(100_000_000_000);
/// The treasury's USDT.
pub const TREASURY_USDT: MicroUsdt = MicroUsdt::new(1_000_000_000_000);

/// Most that deploying the token may cost.
const DEPLOY_FEE_LIMIT: u64 = 10_000_000_000;
/// Most that a transfer of the token may cost.
const TRANSFER_FEE_LIMIT: u64 = 100_000_000;
/// How long a set-up transaction stays valid, in milliseconds.
const LIFETIME_MS: u64 = 60_000;
/// Blocks come every second; the chain has no event to wait for over HTTP.
const POLL: Duration = Duration::from_millis(100);
/// Longest wait for one step of the chain.
const PATIENCE: Duration = Duration::from_secs(60);

/// The local TRON network, pinned to its block 0.
#[derive(Debug)]
pub struct TronNetwork {
    /// Asks it.
    pub client: Client,
    /// Its base URL.
    pub url: String,
    /// Id of its block 0.
    pub genesis_block: SolidBlockId,
}

/// A transaction of the set-up.
#[derive(Clone, Copy, Debug)]
pub struct Sent(TxId);

impl TronNetwork {
    /// Waits until the network at `url` answers and has made a block.
    ///
    /// # Errors
    /// It does not within a minute.
    pub async fn first_block(url: &str) -> Result<Self> {
        let open = Client::new(ClientConfig { retries: 0, ..ClientConfig::new(url, None) })?;
        let genesis_block =
            patiently("the local TRON network's block 0", async || Ok(open.genesis_block_id().await.ok())).await?;
        let client = Client::new(ClientConfig::new(url, Some(genesis_block)))?;
        let made = async || Ok((client.head().await?.solid().number > 0).then_some(()));
        patiently("the local TRON network's first block", made).await?;
        Ok(Self { client, url: url.into(), genesis_block })
    }

    /// Deploys the test token; its deployer holds the supply.
    ///
    /// # Errors
    /// The network refuses it.
    pub async fn deploy_token(&self, deployer: &Wallet) -> Result<(PayoutAddress, Sent)> {
        let code = token::creation_code(token::INITIAL_SUPPLY);
        let create = wallet::create(deployer.address(), token::NAME, code, Some(token::abi()), 0);
        let sent = self.send(deployer, &create, DEPLOY_FEE_LIMIT).await.context("deploy the USDT contract")?;
        let owner =
            PayoutAddress::from_bytes(address::to_wire(deployer.address())).context("the deployer's address")?;
        Ok((of_contract(&sent.0, &owner), sent))
    }

    /// Sends TRX.
    ///
    /// # Errors
    /// The network refuses it.
    pub async fn send_trx(&self, from: &Wallet, to: &PayoutAddress, amount: Sun) -> Result<Sent> {
        let to = address::from_wire(to.as_bytes())?;
        let transfer = wallet::transfer(from.address(), to, amount.get());
        self.send(from, &transfer, 0).await.context("send TRX")
    }

    /// Sends units of the token.
    ///
    /// # Errors
    /// The network refuses it.
    pub async fn send_usdt(
        &self,
        from: &Wallet,
        token: &PayoutAddress,
        to: &PayoutAddress,
        amount: MicroUsdt,
    ) -> Result<Sent> {
        let (contract, to) = (address::from_wire(token.as_bytes())?, address::from_wire(to.as_bytes())?);
        let trigger = wallet::trigger(from.address(), contract, token::transfer(to, amount.get()), 0);
        self.send(from, &trigger, TRANSFER_FEE_LIMIT).await.context("send USDT")
    }

    async fn send<M: ContractMessage>(&self, signer: &Wallet, message: &M, fee_limit: u64) -> Result<Sent> {
        let head = self.client.head().await?.solid();
        let validity = Validity::after(*head.id.as_bytes(), head.time.get(), LIFETIME_MS);
        let (bytes, id) = wallet::signed(signer, message, fee_limit, validity);
        match self.client.broadcast(&bytes).await? {
            BroadcastOutcome::Accepted | BroadcastOutcome::Duplicate => Ok(Sent(TxId::from_bytes(id))),
            refused => bail!("the local TRON network refuses the transaction: {refused:?}"),
        }
    }

    /// Waits until a transaction is solidified and checks that it succeeded.
    ///
    /// # Errors
    /// It failed, or is not solidified within a minute.
    pub async fn solid(&self, sent: Sent) -> Result<()> {
        let receipt = async || Ok(self.client.solid_transaction_info(&sent.0).await?);
        let info = patiently("a set-up transaction to be solidified", receipt).await?;
        let succeeded = matches!(info.result, ContractResult::Success | ContractResult::Default);
        ensure!(succeeded, "transaction {} ended with {}", sent.0, info.result.name());
        Ok(())
    }

    /// What the treasury holds in the solidified view.
    ///
    /// # Errors
    /// The network does not answer, or the account does not exist.
    pub async fn holdings(&self, usdt: &PayoutAddress, account: &PayoutAddress) -> Result<(Sun, MicroUsdt)> {
        let trx = self.client.solid_account(account).await?.context("the treasury account does not exist")?.balance;
        Ok((trx, self.client.token_balance(usdt, account).await?))
    }
}

/// Asks until there is an answer.
async fn patiently<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "waited {} s for {what}", PATIENCE.as_secs());
        sleep(POLL).await;
    }
}
