//! What the local TRON network must hold before nodes start: the USDT contract, the pool's vault with its funds, and TRX for
//! those who send transactions.
//!
//! Everything is a signed transaction over the HTTP API, as on any TRON network; nothing is conjured.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use lucid_tron_bridge::client::{BroadcastOutcome, Client, ClientConfig, TransactionInfo};
use lucid_tron_bridge::key::TronKey;
use lucid_tron_bridge::sender::{SendOptions, Sender};
use lucid_tron_bridge::vault::{Creation, creation_code};
use lucid_tron_bridge::{address, trc20};
use lucid_tron_devnet::token;
use lucid_tron_devnet::wallet::{self, Validity, Wallet};
use lucid_tron_types::abi;
use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::id::{PayoutAddress, SolidBlockId, TxId};
use lucid_types::payout::VaultLimits;
use lucid_types::policy::Policy;
use lucid_types::vault::SignerSet;
use tokio::time::{Instant, sleep};
use tokio::try_join;

use crate::devnet::SEED;

/// What the vault is given.
pub const VAULT_FUNDS: MicroUsdt = MicroUsdt::new(1_000_000_000_000);
/// What each worker gets for the transactions that it sends as a leader.
pub const GAS_TRX: Sun = Sun::new(2_000_000_000);
/// What the vault's owner gets, a multiple of what deploying the vault costs.
const OWNER_TRX: Sun = Sun::new(10_000_000_000);
/// What leaves the vault in a period at most, and what whoever pushes a payment gets.
const LIMITS: VaultLimits = VaultLimits { cap: VAULT_FUNDS, push_fee: MicroUsdt::new(10_000) };
/// Seconds of the vault's period.
const PERIOD: u32 = 3_600;
/// Settlements in the notice that the owner's acts need.
const DELAY_SETTLEMENTS: u64 = 2;
/// Name that the vault is deployed under.
const VAULT_NAME: &str = "PayoutVault";

/// The funded account that deploys the token and holds its supply.
const DEPLOYER: u32 = 0;
/// The funded account that gives TRX.
const GIVER: u32 = 1;
/// Most that a contract's deployment or a call may cost.
const MAX_FEE: Sun = Sun::new(5_000_000_000);
/// How long the token's deployment stays valid, in milliseconds.
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
    /// Id of its block 0.
    pub genesis_block: SolidBlockId,
}

/// Whom the network is prepared for.
#[derive(Clone, Copy, Debug)]
pub struct Needs<'a> {
    /// Deploys the vault and directs it.
    pub owner: &'a TronKey,
    /// The vault's first signers.
    pub signers: &'a SignerSet,
    /// Length of settlements.
    pub policy: &'a Policy,
    /// Who gets TRX to send transactions.
    pub gas: &'a [PayoutAddress],
}

/// What stands on the network then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Funded {
    /// The USDT contract.
    pub usdt: PayoutAddress,
    /// The vault.
    pub vault: PayoutAddress,
    /// Its limits.
    pub limits: VaultLimits,
}

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
        let made = async || Ok((client.head().await?.number > 0).then_some(()));
        patiently("the local TRON network's first block", made).await?;
        Ok(Self { client, genesis_block })
    }

    /// Deploys the token and the vault, funds everybody, and waits until all of it is solidified. Then it compares what the
    /// vault says with what was asked for.
    ///
    /// # Errors
    /// The network refuses a transaction or is too slow, or the vault is not as it should be.
    pub async fn fund(&self, needs: &Needs<'_>) -> Result<Funded> {
        let wallet = Wallet::derive(SEED, DEPLOYER);
        let (deployer_key, giver_key) = (key(DEPLOYER)?, key(GIVER)?);
        let sender = |key| Sender::new(&self.client, key);
        let (deployer, giver, owner) = (sender(&deployer_key), sender(&giver_key), sender(needs.owner));
        let options = SendOptions::new(MAX_FEE);

        let token_id = self.deploy_token(&wallet).await.context("deploy the USDT contract")?;
        let usdt = address::of_contract(&token_id, &deployer_key.address());
        let creation = creation(usdt, needs);
        let start = giver.plan_trx(needs.owner.address(), OWNER_TRX, &options).await?;

        let gas = try_join_all(needs.gas.iter().map(|to| giver.send_trx(*to, GAS_TRX, &options, PATIENCE)));
        let gas = async { gas.await.context("fund the gas accounts") };
        let started = async { giver.send(&start, PATIENCE).await.context("fund the vault's owner") };
        // Each step needs the one before in a block; that they are solidified is awaited for all of them together.
        let vault = async {
            self.included(&token_id).await?;
            self.included(&start.transaction.tx_id()).await?;
            let plan = owner.plan_deploy(VAULT_NAME, creation_code(&creation), &options).await?;
            let vault = plan.deploys.context("the deployment names no contract")?;
            let filled = async {
                self.included(&plan.transaction.tx_id()).await?;
                let transfer = trc20::transfer(&vault, VAULT_FUNDS);
                deployer.call(usdt, transfer, &options, PATIENCE).await.context("fund the vault")
            };
            let deployed = async { owner.send(&plan, PATIENCE).await.context("deploy the vault") };
            try_join!(deployed, filled)?;
            Ok(vault)
        };
        let (_, _, vault) = try_join!(gas, started, vault)?;
        self.check(&vault, &creation).await?;
        Ok(Funded { usdt, vault, limits: creation.limits })
    }

    /// Deploys the test token with its interface, which browsers and clients look up. Its deployer holds the supply.
    async fn deploy_token(&self, deployer: &Wallet) -> Result<TxId> {
        let code = token::creation_code(token::INITIAL_SUPPLY);
        let create = wallet::create(deployer.address(), token::NAME, code, Some(token::abi()), 0);
        let head = self.client.head().await?;
        let validity = Validity::after(*head.id.as_bytes(), head.time.get(), LIFETIME_MS);
        let (bytes, id) = wallet::signed(deployer, &create, MAX_FEE.get(), validity);
        match self.client.broadcast(&bytes).await? {
            BroadcastOutcome::Accepted | BroadcastOutcome::Duplicate => Ok(TxId::from_bytes(id)),
            refused => bail!("the local TRON network refuses the transaction: {refused:?}"),
        }
    }

    /// Waits until a transaction is in a block and checks that it succeeded.
    async fn included(&self, id: &TxId) -> Result<TransactionInfo> {
        let receipt = async || Ok(self.client.transaction_info(id).await?);
        let info = patiently("a set-up transaction to be in a block", receipt).await?;
        ensure!(info.is_success(), "transaction {id} ended with {} {}", info.result.name(), info.message);
        Ok(info)
    }

    /// Compares the solidified vault with what was asked for.
    async fn check(&self, vault: &PayoutAddress, wanted: &Creation<'_>) -> Result<()> {
        let found = self.client.vault_snapshot(vault, &[]).await.context("read the vault")?;
        let fixed = (found.token, found.owner, found.period, found.delay, found.previous);
        let is_fixed = fixed == (wanted.token, wanted.owner, wanted.period, wanted.delay, wanted.previous);
        let signers = wanted.signers;
        let in_force = (found.era, found.nonce, found.threshold, found.limits, found.funds);
        let is_in_force = in_force == (signers.era, 0, signers.threshold, wanted.limits, VAULT_FUNDS);
        ensure!(is_fixed && is_in_force, "the vault {vault} is not as it was asked for: {found:?}");
        for (index, signer) in (0..).zip(&signers.members) {
            let data = abi::call("seats(address)", &[address::to_word(&signer.key_address)]);
            let seat = self.client.constant_call(vault, vault, &data).await?;
            let seat = abi::first_word(&seat.data).and_then(|word| abi::to_u64(&word));
            let wanted = u64::from(signers.era) * 256 + index;
            ensure!(
                seat == Some(wanted),
                "{} has the seat {seat:?} in the vault instead of {wanted}",
                signer.key_address
            );
        }
        Ok(())
    }
}

/// An account of the network that nobody uses otherwise, for a commission that is zero.
///
/// # Errors
/// None: the derived key is one.
pub fn commission_address() -> Result<PayoutAddress> {
    Ok(key(GIVER)?.address())
}

fn key(index: u32) -> Result<TronKey> {
    Ok(TronKey::from_secret(&Wallet::derive(SEED, index).secret())?)
}

fn creation<'a>(token: PayoutAddress, needs: &Needs<'a>) -> Creation<'a> {
    let settlement_ms = needs.policy.epoch_ms.saturating_mul(needs.policy.settle_every);
    let delay = settlement_ms.saturating_mul(DELAY_SETTLEMENTS).div_ceil(1_000).max(1);
    Creation {
        token,
        owner: needs.owner.address(),
        signers: needs.signers,
        limits: LIMITS,
        period: PERIOD,
        delay: u32::try_from(delay).unwrap_or(u32::MAX),
        previous: None,
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::id::NodeId;
    use lucid_types::vault::TreasurySigner;

    use super::*;

    #[test]
    fn the_owners_notice_is_two_settlements_in_whole_seconds() {
        let owner = TronKey::generate().unwrap();
        let member = TreasurySigner { node: NodeId::from_bytes([1; 32]), key_address: owner.address() };
        let signers = SignerSet { era: 1, threshold: 1, members: vec![member] };
        let delay = |epoch_ms, settle_every| {
            let policy = Policy::local(Duration::from_millis(epoch_ms), settle_every, None);
            creation(
                PayoutAddress::from_hash20([1; 20]),
                &Needs { owner: &owner, signers: &signers, policy: &policy, gas: &[] },
            )
            .delay
        };
        assert_eq!(delay(5_000, 2), 20);
        assert_eq!(delay(2_250, 1), 5);
        assert_eq!(delay(0, 0), 1);
        assert_eq!(delay(u64::MAX, 2), u32::MAX);
    }
}
