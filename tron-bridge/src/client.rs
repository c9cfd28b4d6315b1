//! A full node's HTTP API, as far as Lucid needs it.
//!
//! A [`Client`] stands for one provider group: endpoints that are asked in order and stand in for each other. Independence comes
//! from having two groups (see [`crate::providers`]), not from two endpoints of one. Every endpoint is asked for its block 0
//! first and refused when it serves another network than the pinned one, because a transaction carries no chain id.
//! Answers are capped in size and time, requests are limited in number, and an endpoint that says 429 or 403 is left alone for as
//! long as it wants.
//!
//! It does not build transactions, and it judges nothing but the form of an answer.

mod block;
mod broadcast;
mod config;
mod constant;
mod endpoint;
mod error;
mod group;
mod reply;
mod transport;

use std::sync::Arc;

use lucid_tron_types::{abi, block as tron_block, proto};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{PayoutAddress, SolidBlockId, TxId};
use lucid_types::payout_tree::AccountId;
use prost::Message;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use block::Header;
pub use broadcast::{Answer, BroadcastOutcome};
pub use config::{ApiKey, ClientConfig, EndpointConfig};
pub use constant::{ConstantResult, Estimate, Revert};
pub use error::ClientError;
pub use lucid_tron_types::proto::ContractResult;
pub use reply::{Account, ChainParameters, Log, Resources, TransactionInfo};

use crate::transaction::Reference;
use crate::trc20::{self, TokenFlags};
use crate::vault::{self, Seat, VaultSnapshot};
use constant::Constant;
use endpoint::Endpoint;
use group::{BLOCK, Group, MAX_BLOCK_BYTES};
use reply::Problem;
use transport::Call;

/// Most bytes of any other answer; accounts with many old tokens are the longest.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Most accounts in one call of a vault's `snapshot`: what a node computes in the 80 ms that a call may take.
const SNAPSHOT_CHUNK: usize = 500;

/// How often a snapshot in portions is begun anew because the vault changed in between.
const SNAPSHOT_TRIES: usize = 3;

const SOLID_BLOCK: &str = "/walletsolidity/getblock";
const INFOS: &str = "/wallet/gettransactioninfobyblocknum";
const SOLID_INFOS: &str = "/walletsolidity/gettransactioninfobyblocknum";
const CONSTANT: &str = "/wallet/triggerconstantcontract";
const SOLID_CONSTANT: &str = "/walletsolidity/triggerconstantcontract";
const BROADCAST: &str = "/wallet/broadcasthex";

/// One provider group of a TRON network.
///
/// Clones share what is known of the endpoints, and their limit of requests.
#[derive(Clone, Debug)]
pub struct Client(Arc<Group>);

impl Client {
    /// Prepares a client; asks nothing yet.
    ///
    /// # Errors
    /// No endpoint, an endpoint that is no URL, a key that no header can hold, or a key that would go over plain http.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        Group::new(config).map(|group| Self(Arc::new(group)))
    }

    /// The endpoints without their paths, for people: paths may hold access tokens.
    pub fn label(&self) -> String {
        self.0.label()
    }

    /// From now on asks only endpoints with this block 0, if none was pinned so far.
    pub fn pin(&self, genesis: SolidBlockId) {
        self.0.pin(genesis);
    }

    /// Id of block 0, without comparing it with the pinned one.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn genesis_block_id(&self) -> Result<SolidBlockId, ClientError> {
        self.0.genesis_block_id().await
    }

    /// The newest block, which may still be forked away.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn head(&self) -> Result<Reference, ClientError> {
        self.header().await.map(|header| header.reference)
    }

    /// The header of the newest block, which may still be forked away.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn header(&self) -> Result<Header, ClientError> {
        self.newest_block(BLOCK).await
    }

    /// The newest solidified block.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn solid_head(&self) -> Result<Reference, ClientError> {
        self.solid_header().await.map(|header| header.reference)
    }

    /// The header of the newest solidified block.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn solid_header(&self) -> Result<Header, ClientError> {
        self.newest_block(SOLID_BLOCK).await
    }

    /// The receipts of a solidified block with their events; `None` if they are not there yet. Receipts of kinds of transactions
    /// that this program does not know may be missing.
    ///
    /// One request for a block that has transactions, none for one whose header was read before (`header`) and says that it has
    /// none. Behind one address there may be nodes that are not equally far, so an empty answer is believed only of a block
    /// whose header says the same.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn solid_logs(
        &self,
        number: u64,
        header: Option<Header>,
    ) -> Result<Option<Vec<TransactionInfo>>, ClientError> {
        if header.is_some_and(|header| header.is_empty) {
            return Ok(Some(Vec::new()));
        }
        self.0
            .ask(|endpoint| async move {
                let infos = self.infos(endpoint, SOLID_INFOS, number).await?;
                if infos.is_some() || header.is_some() {
                    return Ok(infos);
                }
                let header = self.read_solid_block(endpoint, number).await?;
                Ok(header.filter(|header| header.is_empty).map(|_| Vec::new()))
            })
            .await
    }

    /// The receipts of a block that may still be forked away, with their events; nothing if there is no such block yet.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn logs(&self, number: u64) -> Result<Vec<TransactionInfo>, ClientError> {
        Ok(self.0.ask(|endpoint| self.infos(endpoint, INFOS, number)).await?.unwrap_or_default())
    }

    /// A transaction's receipt, in a block that may still be forked away; `None` if it is in none.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn transaction_info(&self, id: &TxId) -> Result<Option<TransactionInfo>, ClientError> {
        self.info("/wallet/gettransactioninfobyid", id).await
    }

    /// A transaction's receipt in the solidified view; `None` if it is not there.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn solid_transaction_info(&self, id: &TxId) -> Result<Option<TransactionInfo>, ClientError> {
        self.info("/walletsolidity/gettransactioninfobyid", id).await
    }

    /// An account at the head; `None` if it does not exist.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn account(&self, address: &PayoutAddress) -> Result<Option<Account>, ClientError> {
        let body = json!({ "address": address.hex() });
        self.ask_for("/wallet/getaccount", &body, |reply: reply::AccountJson| reply.account(address)).await
    }

    /// An account in the solidified view; `None` if it does not exist.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn solid_account(&self, address: &PayoutAddress) -> Result<Option<Account>, ClientError> {
        let body = json!({ "address": address.hex() });
        self.ask_for("/walletsolidity/getaccount", &body, |reply: reply::AccountJson| reply.account(address)).await
    }

    /// What an account can use now before TRX is burnt; nothing if it does not exist.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn resources(&self, address: &PayoutAddress) -> Result<Resources, ClientError> {
        let body = json!({ "address": address.hex() });
        self.ask_for("/wallet/getaccountresource", &body, |reply: reply::ResourcesJson| Ok(reply.resources())).await
    }

    /// The network's prices.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn chain_parameters(&self) -> Result<ChainParameters, ClientError> {
        let read = |reply: reply::ParametersJson| reply.parameters();
        self.ask_for("/wallet/getchainparameters", &json!({}), read).await
    }

    /// Runs a function of a contract on the solidified state without a transaction.
    ///
    /// # Errors
    /// [`ClientError::Reverted`] when the contract reverts.
    pub async fn constant_call(
        &self,
        caller: &PayoutAddress,
        contract: &PayoutAddress,
        data: &[u8],
    ) -> Result<ConstantResult, ClientError> {
        self.constant_call_on(SOLID_CONSTANT, caller, contract, data).await
    }

    /// Runs a function of a contract on the newest state, which may still be forked away, without a transaction.
    ///
    /// # Errors
    /// [`ClientError::Reverted`] when the contract reverts.
    pub async fn head_constant_call(
        &self,
        caller: &PayoutAddress,
        contract: &PayoutAddress,
        data: &[u8],
    ) -> Result<ConstantResult, ClientError> {
        self.constant_call_on(CONSTANT, caller, contract, data).await
    }

    /// What a call would use if it were sent now, and why it would revert.
    ///
    /// # Errors
    /// No endpoint answered, or the contract does not exist.
    pub async fn estimate(
        &self,
        caller: &PayoutAddress,
        contract: &PayoutAddress,
        data: &[u8],
    ) -> Result<Estimate, ClientError> {
        self.constant(CONSTANT, caller, Some(contract), data).await.map(Constant::estimate)
    }

    /// What deploying a contract would use if it were done now; `code` has the constructor's arguments.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn estimate_creation(&self, deployer: &PayoutAddress, code: &[u8]) -> Result<Estimate, ClientError> {
        self.constant(CONSTANT, deployer, None, code).await.map(Constant::estimate)
    }

    /// What `holder` has of `token` in the solidified view.
    ///
    /// # Errors
    /// No endpoint answered, or the contract is no token.
    pub async fn token_balance(&self, token: &PayoutAddress, holder: &PayoutAddress) -> Result<MicroUsdt, ClientError> {
        self.token_number(token, holder, &trc20::balance_of(holder)).await.map(MicroUsdt::new)
    }

    /// What `token` would do to a transfer out of `holder`, in the solidified view.
    ///
    /// # Errors
    /// No endpoint answered, or the contract is another token than USDT.
    pub async fn token_flags(&self, token: &PayoutAddress, holder: &PayoutAddress) -> Result<TokenFlags, ClientError> {
        Ok(TokenFlags {
            paused: self.token_number(token, holder, &trc20::paused()).await? != 0,
            deprecated: self.token_number(token, holder, &trc20::deprecated()).await? != 0,
            fee: self.token_number(token, holder, &trc20::fee_rate()).await? != 0,
            blacklisted: self.token_number(token, holder, &trc20::is_blacklisted(holder)).await? != 0,
        })
    }

    /// The Keccak-256 of a contract's deployed code; `None` if there is no such contract.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn code_hash(&self, contract: &PayoutAddress) -> Result<Option<[u8; 32]>, ClientError> {
        let read = |reply: reply::ContractInfoJson| reply.code_hash();
        self.ask_for("/wallet/getcontractinfo", &json!({ "value": contract.hex() }), read).await
    }

    /// The solidified state of a vault, and what these accounts have had.
    ///
    /// # Errors
    /// No endpoint answered, or the contract is no vault.
    pub async fn vault_snapshot(&self, vault: &PayoutAddress, ids: &[AccountId]) -> Result<VaultSnapshot, ClientError> {
        self.snapshot_on(SOLID_CONSTANT, vault, ids).await
    }

    /// The newest state of a vault, which may still be forked away, and what these accounts have had.
    ///
    /// # Errors
    /// No endpoint answered, or the contract is no vault.
    pub async fn head_vault_snapshot(
        &self,
        vault: &PayoutAddress,
        ids: &[AccountId],
    ) -> Result<VaultSnapshot, ClientError> {
        self.snapshot_on(CONSTANT, vault, ids).await
    }

    /// Where a signer stands in a vault at the head; `None` if it never was one.
    ///
    /// # Errors
    /// No endpoint answered, or the contract is no vault.
    pub async fn vault_seat(&self, vault: &PayoutAddress, signer: &PayoutAddress) -> Result<Option<Seat>, ClientError> {
        let result = self.head_constant_call(vault, vault, &vault::seat(signer)).await?;
        let number = abi::first_word(&result.data).and_then(|word| abi::to_u64(&word));
        let problem = || "no seat in the answer".to_owned();
        number.map(Seat::from_number).ok_or_else(|| ClientError::OtherContract { contract: *vault, problem: problem() })
    }

    /// Sends an encoded, signed transaction to every endpoint that is worth asking, and returns the best news.
    ///
    /// Not retried here: whoever sends decides when to send the same bytes again. An error does not mean that no
    /// endpoint took it.
    ///
    /// # Errors
    /// No endpoint gave an answer; or the bytes are no transaction.
    pub async fn broadcast(&self, transaction: &[u8]) -> Result<BroadcastOutcome, ClientError> {
        let parsed = proto::Transaction::decode(transaction).map_err(|e| ClientError::Content {
            endpoint: "this node".into(),
            call: BROADCAST,
            problem: format!("the bytes to broadcast are no transaction: {e}"),
        })?;
        let id = TxId::from_bytes(tron_block::transaction_id(&parsed.raw_data));
        let body = json!({ "transaction": hex::encode(transaction) });
        let call = Call { path: BROADCAST, body: &body, max_bytes: MAX_ANSWER_BYTES };
        let judge = |endpoint: &Endpoint, body: &[u8]| {
            transport::check_is_json(&endpoint.label, BROADCAST, body)?;
            broadcast::judge(&endpoint.label, BROADCAST, body, &id)
        };
        let (answers, unclear) = self.0.ask_all(call, &judge).await?;
        match (answers.into_iter().min(), unclear) {
            // What one refuses, another may have taken: whoever believed the refusal would send a second one.
            (Some(BroadcastOutcome::Rebuild(_) | BroadcastOutcome::Bug(_)), Some(error)) => Err(error),
            (best, _) => best.ok_or(ClientError::NoEndpoint),
        }
    }

    async fn info(&self, path: &'static str, id: &TxId) -> Result<Option<TransactionInfo>, ClientError> {
        self.ask_for(path, &json!({ "value": id.to_string() }), |reply: reply::InfoJson| reply.info_of(id)).await
    }

    /// `None` for an answer that is the same for an empty block and for one that is not there yet.
    async fn infos(
        &self,
        endpoint: &Endpoint,
        path: &'static str,
        number: u64,
    ) -> Result<Option<Vec<TransactionInfo>>, ClientError> {
        let body = json!({ "num": number });
        let call = Call { path, body: &body, max_bytes: MAX_BLOCK_BYTES };
        self.0.read(endpoint, call, |reply: reply::InfosJson| reply.infos(number)).await
    }

    async fn newest_block(&self, path: &'static str) -> Result<Header, ClientError> {
        let body = json!({ "detail": false });
        let call = Call { path, body: &body, max_bytes: MAX_BLOCK_BYTES };
        let read = |reply: block::BlockJson| reply.checked()?.ok_or("no newest block".into());
        self.0.ask(|endpoint| self.0.read(endpoint, call, read)).await
    }

    async fn read_solid_block(&self, endpoint: &Endpoint, number: u64) -> Result<Option<Header>, ClientError> {
        let body = json!({ "id_or_num": number.to_string(), "detail": false });
        let call = Call { path: SOLID_BLOCK, body: &body, max_bytes: MAX_BLOCK_BYTES };
        let read = |reply: block::BlockJson| {
            let block = reply.checked()?;
            match &block {
                Some(Header { reference: found, .. }) if found.number != number => {
                    Err(format!("block {} for {number}", found.number))
                }
                _ => Ok(block),
            }
        };
        self.0.read(endpoint, call, read).await
    }

    async fn constant(
        &self,
        path: &'static str,
        caller: &PayoutAddress,
        contract: Option<&PayoutAddress>,
        data: &[u8],
    ) -> Result<Constant, ClientError> {
        let mut body = json!({ "owner_address": caller.hex(), "data": hex::encode(data) });
        if let (Some(contract), Some(fields)) = (contract, body.as_object_mut()) {
            fields.insert("contract_address".into(), contract.hex().into());
        }
        self.ask_for(path, &body, constant::ConstantJson::constant).await
    }

    async fn token_number(
        &self,
        token: &PayoutAddress,
        caller: &PayoutAddress,
        data: &[u8],
    ) -> Result<u64, ClientError> {
        let result = self.constant_call(caller, token, data).await?;
        // More than 64 bits of a token with 6 decimals exceed any supply; the greatest number stands for them.
        let number = abi::first_word(&result.data).map(|word| abi::to_u64(&word).unwrap_or(u64::MAX));
        number.ok_or_else(|| ClientError::OtherContract {
            contract: *token,
            problem: format!("{} bytes instead of a word", result.data.len()),
        })
    }

    async fn constant_call_on(
        &self,
        path: &'static str,
        caller: &PayoutAddress,
        contract: &PayoutAddress,
        data: &[u8],
    ) -> Result<ConstantResult, ClientError> {
        let result = self.constant(path, caller, Some(contract), data).await?;
        result.returned().map_err(|revert| ClientError::Reverted { contract: *contract, revert })
    }

    /// The accounts in portions. All of them are of one state of the vault: what was paid in between shows in its sums, and then
    /// they are read again.
    async fn snapshot_on(
        &self,
        path: &'static str,
        vault: &PayoutAddress,
        ids: &[AccountId],
    ) -> Result<VaultSnapshot, ClientError> {
        let (first, others) = ids.split_at(ids.len().min(SNAPSHOT_CHUNK));
        for _ in 0..SNAPSHOT_TRIES {
            let mut snapshot = self.small_snapshot(path, vault, first).await?;
            let mut is_one_state = true;
            for chunk in others.chunks(SNAPSHOT_CHUNK) {
                let mut next = self.small_snapshot(path, vault, chunk).await?;
                is_one_state = next.is_same_state(&snapshot);
                if !is_one_state {
                    break;
                }
                snapshot.paid.append(&mut next.paid);
            }
            if is_one_state {
                return Ok(snapshot);
            }
        }
        let problem = format!("it changed each of {SNAPSHOT_TRIES} times while {} accounts were read", ids.len());
        Err(ClientError::OtherContract { contract: *vault, problem })
    }

    async fn small_snapshot(
        &self,
        path: &'static str,
        vault: &PayoutAddress,
        ids: &[AccountId],
    ) -> Result<VaultSnapshot, ClientError> {
        let result = self.constant_call_on(path, vault, vault, &vault::snapshot(ids)).await?;
        VaultSnapshot::decode(&result.data, ids)
            .map_err(|e| ClientError::OtherContract { contract: *vault, problem: e.to_string() })
    }

    async fn ask_for<T, R: DeserializeOwned>(
        &self,
        path: &'static str,
        body: &Value,
        read: impl Fn(R) -> Result<T, Problem>,
    ) -> Result<T, ClientError> {
        let call = Call { path, body, max_bytes: MAX_ANSWER_BYTES };
        self.0.ask(|endpoint| self.0.read(endpoint, call, &read)).await
    }
}
