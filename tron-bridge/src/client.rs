//! A full node's HTTP API, as far as Lucid needs it.
//!
//! A [`Client`] stands for one provider: one or more endpoints that fail over to each other. Independence comes from
//! having two clients (see [`crate::observer`]), not from two endpoints of one. Every endpoint is asked for its block 0
//! first and refused when it serves another network than the pinned one, because a transaction carries no chain id.
//! Blocks are handed out checked (see [`CheckedBlock`]); answers are capped in size and time.
//!
//! It does not build transactions, and it judges nothing but the form of an answer.

mod broadcast;
mod config;
mod error;
mod reply;
mod transport;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use futures::future::join_all;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{PayoutAddress, SolidBlockId, TxId};
use lucid_types::payout::TokenFlags;
use prost::Message;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub use broadcast::{Answer, BroadcastOutcome};
pub use config::{ApiKey, ClientConfig};
pub use error::ClientError;
pub use reply::{Account, AccountPermission, ChainParameters, ConstantResult, Log, TransactionInfo};

use crate::address;
use crate::checked::CheckedBlock;
use lucid_tron_types::abi;
use lucid_tron_types::block;
use lucid_tron_types::proto::Transaction;
use reply::Problem;
use transport::Call;

/// Most bytes of an answer that holds a block: 2 MB of protobuf become at most four times as much JSON.
const MAX_BLOCK_BYTES: usize = 16 << 20;
/// Most bytes of any other answer; accounts with many old tokens are the longest.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// One provider of a TRON network.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    endpoints: Vec<Endpoint>,
    /// The endpoint that answered last.
    preferred: AtomicUsize,
    genesis: Option<SolidBlockId>,
    retries: usize,
}

#[derive(Debug)]
struct Endpoint {
    url: Url,
    /// Scheme, host and port: for logs and errors.
    label: String,
    /// Set once its block 0 was seen to be the pinned one.
    pinned: OnceCell<()>,
}

/// Whether an endpoint is on this machine.
fn is_local(endpoint: &str) -> bool {
    let host = Url::parse(endpoint).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| {
        let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

impl Client {
    /// Prepares a client; asks nothing yet.
    ///
    /// # Errors
    /// No endpoint, an endpoint that is no URL, or a key that no header can hold.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &config.api_key {
            let mut value = HeaderValue::from_str(key.expose()).map_err(|_| ClientError::ApiKey)?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("tron-pro-api-key"), value);
        }
        let endpoints = config.endpoints.iter().map(|url| Endpoint::new(url)).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            return Err(ClientError::NoEndpoint);
        }
        let mut http = reqwest::Client::builder();
        if config.endpoints.iter().all(|endpoint| is_local(endpoint)) {
            // A proxy for the world knows nothing of this machine's own ports.
            http = http.no_proxy();
        }
        let http = http
            .default_headers(headers)
            .timeout(config.timeout)
            .connect_timeout(config.timeout.min(Duration::from_secs(5)))
            // A redirect would carry the key and a signed transaction to a host nobody named.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ClientError::Setup)?;
        Ok(Self { http, endpoints, preferred: AtomicUsize::new(0), genesis: config.genesis, retries: config.retries })
    }

    /// Id of block 0, without comparing it with the pinned one.
    pub async fn genesis_block_id(&self) -> Result<SolidBlockId, ClientError> {
        let mut last = ClientError::NoEndpoint;
        for endpoint in &self.endpoints {
            match self.read_genesis(endpoint).await {
                Ok(id) => return Ok(id),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The newest block, which may still be forked away.
    pub async fn head(&self) -> Result<CheckedBlock, ClientError> {
        self.now_block("/wallet/getnowblock").await
    }

    /// The newest solidified block.
    pub async fn solid_head(&self) -> Result<CheckedBlock, ClientError> {
        self.now_block("/walletsolidity/getnowblock").await
    }

    /// A block that may still be forked away; `None` if there is none of that number yet.
    pub async fn block(&self, number: u64) -> Result<Option<CheckedBlock>, ClientError> {
        self.block_by_number("/wallet/getblockbynum", number).await
    }

    /// A solidified block; `None` if there is none of that number yet.
    pub async fn solid_block(&self, number: u64) -> Result<Option<CheckedBlock>, ClientError> {
        self.block_by_number("/walletsolidity/getblockbynum", number).await
    }

    /// Whether a block, which may still be forked away, includes the transaction.
    pub async fn is_included(&self, id: &TxId) -> Result<bool, ClientError> {
        self.info("/wallet/gettransactioninfobyid", id).await.map(|info| info.is_some())
    }

    /// A transaction in the solidified view; `None` if it is not there.
    pub async fn solid_transaction(&self, id: &TxId) -> Result<Option<Transaction>, ClientError> {
        let body = json!({ "value": id.to_string() });
        let call = Call { path: "/walletsolidity/gettransactionbyid", body: &body, max_bytes: MAX_ANSWER_BYTES };
        self.ask(call, |reply: reply::TransactionJson| reply.with_id(id)).await
    }

    /// A transaction's receipt in the solidified view; `None` if it is not there.
    pub async fn solid_transaction_info(&self, id: &TxId) -> Result<Option<TransactionInfo>, ClientError> {
        self.info("/walletsolidity/gettransactioninfobyid", id).await
    }

    /// An account in the solidified view; `None` if it does not exist.
    pub async fn solid_account(&self, address: &PayoutAddress) -> Result<Option<Account>, ClientError> {
        let body = json!({ "address": address.hex() });
        let call = Call { path: "/walletsolidity/getaccount", body: &body, max_bytes: MAX_ANSWER_BYTES };
        self.ask(call, |reply: reply::AccountJson| reply.account(address)).await
    }

    /// The network's prices.
    pub async fn chain_parameters(&self) -> Result<ChainParameters, ClientError> {
        let body = json!({});
        let call = Call { path: "/wallet/getchainparameters", body: &body, max_bytes: MAX_ANSWER_BYTES };
        self.ask(call, |reply: reply::ParametersJson| reply.parameters()).await
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
        let path = "/walletsolidity/triggerconstantcontract";
        let body = json!({
            "owner_address": caller.hex(),
            "contract_address": contract.hex(),
            "data": hex::encode(data),
        });
        let call = Call { path, body: &body, max_bytes: MAX_ANSWER_BYTES };
        match self.ask(call, reply::ConstantJson::constant).await? {
            reply::Constant::Returned(result) => Ok(result),
            reply::Constant::Reverted(message) => Err(ClientError::Reverted { call: path, message }),
        }
    }

    /// What `owner` has of `token`.
    pub async fn token_balance(&self, token: &PayoutAddress, owner: &PayoutAddress) -> Result<MicroUsdt, ClientError> {
        let arguments = [address::to_word(owner)];
        self.token_number(token, owner, "balanceOf(address)", &arguments).await.map(MicroUsdt::new)
    }

    /// What `token` would do to a transfer out of `treasury`.
    pub async fn token_flags(
        &self,
        token: &PayoutAddress,
        treasury: &PayoutAddress,
    ) -> Result<TokenFlags, ClientError> {
        let flag = async |signature, arguments: &[abi::Word]| {
            self.token_number(token, treasury, signature, arguments).await.map(|n| n != 0)
        };
        Ok(TokenFlags {
            paused: flag("paused()", &[]).await?,
            deprecated: flag("deprecated()", &[]).await?,
            fee: flag("basisPointsRate()", &[]).await?,
            treasury_blacklisted: flag("isBlackListed(address)", &[address::to_word(treasury)]).await?,
        })
    }

    /// Sends an encoded, signed transaction to every endpoint and returns the best news.
    ///
    /// Not retried here: whoever sends decides when to send the same bytes again. An error does not mean that no
    /// endpoint took it.
    ///
    /// # Errors
    /// No endpoint gave an answer; or the bytes are no transaction.
    pub async fn broadcast(&self, transaction: &[u8]) -> Result<BroadcastOutcome, ClientError> {
        const PATH: &str = "/wallet/broadcasthex";
        let parsed = Transaction::decode(transaction).map_err(|e| ClientError::Content {
            endpoint: "this node".into(),
            call: PATH,
            problem: format!("the bytes to broadcast are no transaction: {e}"),
        })?;
        let id = TxId::from_bytes(block::transaction_id(&parsed.raw_data));
        let body = json!({ "transaction": hex::encode(transaction) });
        let call = Call { path: PATH, body: &body, max_bytes: MAX_ANSWER_BYTES };
        let send = async |endpoint: &Endpoint| {
            let body = self.post_pinned(endpoint, call).await?;
            transport::check_is_json(&endpoint.label, PATH, &body)?;
            broadcast::judge(&endpoint.label, PATH, &body, &id)
        };
        let (answers, errors): (Vec<_>, Vec<_>) =
            join_all(self.endpoints.iter().map(send)).await.into_iter().partition(Result::is_ok);
        let best = answers.into_iter().flatten().min();
        best.map_or_else(|| Err(errors.into_iter().find_map(Result::err).unwrap_or(ClientError::NoEndpoint)), Ok)
    }

    async fn info(&self, path: &'static str, id: &TxId) -> Result<Option<TransactionInfo>, ClientError> {
        let body = json!({ "value": id.to_string() });
        let call = Call { path, body: &body, max_bytes: MAX_ANSWER_BYTES };
        self.ask(call, |reply: reply::InfoJson| reply.info(id)).await
    }

    async fn now_block(&self, path: &'static str) -> Result<CheckedBlock, ClientError> {
        let body = json!({});
        let call = Call { path, body: &body, max_bytes: MAX_BLOCK_BYTES };
        self.ask(call, |reply: reply::BlockJson| reply.checked()?.ok_or("no newest block".into())).await
    }

    async fn block_by_number(&self, path: &'static str, number: u64) -> Result<Option<CheckedBlock>, ClientError> {
        let body = json!({ "num": number });
        let call = Call { path, body: &body, max_bytes: MAX_BLOCK_BYTES };
        self.ask(call, |reply: reply::BlockJson| {
            let block = reply.checked()?;
            match &block {
                Some(b) if b.solid().number != number => Err(format!("block {} for {number}", b.solid().number)),
                _ => Ok(block),
            }
        })
        .await
    }

    async fn token_number(
        &self,
        token: &PayoutAddress,
        caller: &PayoutAddress,
        signature: &'static str,
        arguments: &[abi::Word],
    ) -> Result<u64, ClientError> {
        let result = self.constant_call(caller, token, &abi::call(signature, arguments)).await?;
        // More than 64 bits of a token with 6 decimals exceed any supply; the greatest number stands for them.
        abi::first_word(&result.data).map(|word| abi::to_u64(&word).unwrap_or(u64::MAX)).ok_or_else(|| {
            ClientError::Content {
                endpoint: token.to_string(),
                call: signature,
                problem: format!("{} bytes instead of a word", result.data.len()),
            }
        })
    }

    /// Asks the endpoints in turn, the one that answered last first, and all again after a pause while it can help.
    async fn ask<T, R>(&self, call: Call<'_>, read: impl Fn(R) -> Result<T, Problem>) -> Result<T, ClientError>
    where
        R: serde::de::DeserializeOwned,
    {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .with_max_times(self.retries)
            .with_jitter();
        (|| self.ask_each(call, &read))
            .retry(backoff)
            .when(ClientError::is_passing)
            .adjust(|error, pause| pause.map(|p| error.retry_after().map_or(p, |wanted| wanted.max(p))))
            .notify(|error, pause| tracing::debug!(%error, pause_ms = pause.as_millis(), "TRON request is repeated"))
            .await
    }

    async fn ask_each<T, R>(&self, call: Call<'_>, read: &impl Fn(R) -> Result<T, Problem>) -> Result<T, ClientError>
    where
        R: serde::de::DeserializeOwned,
    {
        let mut worst = ClientError::NoEndpoint;
        let first = self.preferred.load(Ordering::Relaxed);
        let order = (0..self.endpoints.len()).cycle().skip(first).take(self.endpoints.len());
        for index in order {
            let Some(endpoint) = self.endpoints.get(index) else { continue };
            match self.ask_one(endpoint, call, read).await {
                Ok(value) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(value);
                }
                // The node understood and said no: another one would too.
                Err(error @ ClientError::Refused { .. }) => return Err(error),
                Err(error) => {
                    tracing::debug!(endpoint = endpoint.label, %error, "TRON endpoint failed");
                    if !worst.is_passing() {
                        worst = error;
                    }
                }
            }
        }
        Err(worst)
    }

    async fn ask_one<T, R>(
        &self,
        endpoint: &Endpoint,
        call: Call<'_>,
        read: &impl Fn(R) -> Result<T, Problem>,
    ) -> Result<T, ClientError>
    where
        R: serde::de::DeserializeOwned,
    {
        let body = self.post_pinned(endpoint, call).await?;
        transport::check_errors(&endpoint.label, call.path, &body)?;
        let reply = transport::parse(&endpoint.label, call.path, &body)?;
        read(reply).map_err(|problem| ClientError::Content {
            endpoint: endpoint.label.clone(),
            call: call.path,
            problem,
        })
    }

    async fn post_pinned(&self, endpoint: &Endpoint, call: Call<'_>) -> Result<Vec<u8>, ClientError> {
        if let Some(expected) = self.genesis {
            let check = async || {
                let found = self.read_genesis(endpoint).await?;
                if found == expected {
                    Ok(())
                } else {
                    Err(ClientError::OtherNetwork { endpoint: endpoint.label.clone(), expected, found })
                }
            };
            endpoint.pinned.get_or_try_init(check).await?;
        }
        transport::post(&self.http, &endpoint.url, &endpoint.label, call).await
    }

    async fn read_genesis(&self, endpoint: &Endpoint) -> Result<SolidBlockId, ClientError> {
        const PATH: &str = "/wallet/getblockbynum";
        #[derive(Deserialize)]
        struct Genesis {
            #[serde(rename = "blockID")]
            id: SolidBlockId,
        }
        let body: Value = json!({ "num": 0 });
        let call = Call { path: PATH, body: &body, max_bytes: MAX_BLOCK_BYTES };
        let body = transport::post(&self.http, &endpoint.url, &endpoint.label, call).await?;
        transport::check_errors(&endpoint.label, PATH, &body)?;
        transport::parse::<Genesis>(&endpoint.label, PATH, &body).map(|g| g.id)
    }
}

impl Endpoint {
    fn new(text: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::Url { url: text.into() };
        let url = Url::parse(text).map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong());
        }
        let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
        let label = format!("{}://{host}{port}", url.scheme());
        Ok(Self { url, label, pinned: OnceCell::new() })
    }
}
