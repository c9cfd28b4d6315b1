//! The API of the running node, as commands ask it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use clap::ValueEnum;
use lucid_consensus::ledger::command::SignedCommand;
use lucid_types::codec::encode;
use lucid_types::command::Command;
use lucid_types::id::{NetworkId, NodeId, PayoutId, PoolId};
use lucid_types::time::Epoch;
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use crate::api::model::{
    AccountView, CheckedView, CommandBody, CommandView, ErrorBody, LedgerView, MemberList, NodeFilter, NodeList,
    PayoutList, PayoutView, PolicyView, PoolList, PoolView, RegisteredView, RequestList, SignatureList,
    SignatureRequest, StampView, TakenView, UnsignedBody, ValidationView, ValidationWanted,
};

/// The node answers from memory or a local store; signers are waited for a little longer.
const TIME_LIMIT: Duration = Duration::from_secs(15);
/// Larger answers than the API gives are not the API's.
const MAX_ANSWER: usize = 64 << 20;
/// Entries that are asked for at a time.
const PAGE: usize = 1_000;
const NODES: usize = 100;

/// A node's API.
pub(super) struct NodeApi {
    address: SocketAddr,
    client: Client,
    /// The network that the node must belong to; `None` if the home has no genesis yet.
    network: Option<NetworkId>,
    is_checked: OnceCell<()>,
}

/// Of the status, what any version of a node answers.
#[derive(Deserialize)]
struct Belonging {
    network_id: NetworkId,
}

/// The name of a choice, as the API and the command line spell it.
pub(super) fn name(choice: impl ValueEnum) -> String {
    choice.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

impl NodeApi {
    /// The API that listens at `listen`. Nothing that it answers is used before it has said that it belongs to `network`.
    pub(super) fn of(listen: SocketAddr, network: Option<NetworkId>) -> anyhow::Result<Self> {
        if listen.port() == 0 {
            bail!("api.listen has port 0, so each run of the node has another port; give it a fixed one");
        }
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        // A proxy of the environment is not meant for the node next door.
        let client = Client::builder().no_proxy().timeout(TIME_LIMIT).build()?;
        Ok(Self { address: SocketAddr::new(ip, listen.port()), client, network, is_checked: OnceCell::new() })
    }

    /// Two networks on one machine are mixed up easily: a home whose `api.listen` names another network's node would show, sign
    /// and pay by that network's ledger.
    async fn check_network(&self) -> anyhow::Result<()> {
        let Some(network) = self.network else { return Ok(()) };
        let Belonging { network_id } = self.exchange(self.client.get(self.url("status"))).await?;
        let address = self.address;
        ensure!(
            network_id == network,
            "the node that answers at {address} (api.listen) belongs to the network {network_id}, and this home's genesis is of \
             {network}: it is another network's node. Name the home that belongs to it with --home, or set api.listen of this \
             home's configuration to the address of its own node"
        );
        Ok(())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/v1/{path}", self.address)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.answer(self.client.get(self.url(path))).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        self.is_checked.get_or_try_init(|| self.check_network()).await?;
        self.exchange(request).await
    }

    async fn exchange<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let body = self.body(request).await?;
        let address = self.address;
        serde_json::from_slice(&body)
            .with_context(|| format!("{address} gave another answer than this version expects"))
    }

    /// What the node answers, byte for byte.
    pub(super) async fn get_raw(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.is_checked.get_or_try_init(|| self.check_network()).await?;
        self.body(self.client.get(self.url(path))).await
    }

    async fn body(&self, request: RequestBuilder) -> anyhow::Result<Vec<u8>> {
        let address = self.address;
        let mut answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => {
                // Between our words and the system's, the client library's say nothing new.
                let cause = anyhow!(error).root_cause().to_string();
                bail!(
                    "the node is not running, or not with this home: nothing answers at {address} (api.listen): {cause}"
                );
            }
            Err(error) => return Err(anyhow!(error).context(format!("the node at {address} gave no answer"))),
        };
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.context("the answer broke off")? {
            body.extend_from_slice(&part);
            if body.len() > MAX_ANSWER {
                bail!("the answer from {address} is too long");
            }
        }
        if !status.is_success() {
            match serde_json::from_slice::<ErrorBody>(&body) {
                Ok(ErrorBody { error }) => bail!("{} ({}, request {})", error.message, error.code, error.request_id),
                Err(_) => bail!("{address} answered {status}; is it a Lucid node that listens there?"),
            }
        }
        Ok(body)
    }

    /// All pools.
    pub(super) async fn pools(&self) -> anyhow::Result<PoolList> {
        self.get("pools").await
    }

    /// The policy of an epoch, or that in force.
    pub(super) async fn policy(&self, epoch: Option<Epoch>) -> anyhow::Result<PolicyView> {
        self.get(&epoch.map_or_else(|| "policy".to_owned(), |epoch| format!("policy?epoch={epoch}"))).await
    }

    /// The members of a pool.
    pub(super) async fn members(&self, pool: &PoolId) -> anyhow::Result<MemberList> {
        self.get(&format!("pools/{pool}/members")).await
    }

    /// A pool.
    pub(super) async fn pool(&self, pool: &PoolId) -> anyhow::Result<PoolView> {
        self.get(&format!("pools/{pool}")).await
    }

    /// A registered node.
    pub(super) async fn registered(&self, node: &NodeId) -> anyhow::Result<RegisteredView> {
        self.get(&format!("nodes/{node}")).await
    }

    /// All registered nodes that are asked for.
    pub(super) async fn registered_nodes(&self, wanted: NodeFilter) -> anyhow::Result<Vec<RegisteredView>> {
        let NodeFilter { pool, role, state } = wanted;
        let names = [("role", role.map(name)), ("state", state.map(name))];
        let filters = names.into_iter().chain([("pool", pool.map(|pool| pool.to_string()))]);
        let wanted: String = filters.filter_map(|(key, value)| Some(format!("&{key}={}", value?))).collect();
        let (mut nodes, mut after) = (Vec::new(), String::new());
        loop {
            let NodeList { nodes: page, next } = self.get(&format!("nodes?limit={NODES}{wanted}{after}")).await?;
            nodes.extend(page);
            match next {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(nodes),
            }
        }
    }

    /// The requests that wait for a pool's owner.
    pub(super) async fn requests(&self, pool: &PoolId) -> anyhow::Result<RequestList> {
        self.get(&format!("pools/{pool}/requests")).await
    }

    /// What a stamp has to be made for now.
    pub(super) async fn stamp(&self, pool: Option<PoolId>) -> anyhow::Result<StampView> {
        self.get(&pool.map_or_else(|| "stamp".to_owned(), |pool| format!("stamp?pool={pool}"))).await
    }

    /// What an account may give.
    pub(super) async fn account(&self, account: &NodeId) -> anyhow::Result<AccountView> {
        self.get(&format!("accounts/{account}")).await
    }

    /// The command of an account that has this number.
    pub(super) async fn command(&self, account: &NodeId, nonce: u64) -> anyhow::Result<CommandView> {
        self.get(&format!("commands/{account}/{nonce}")).await
    }

    /// Whether the next block could carry a command once those have signed who must.
    pub(super) async fn check(&self, command: &Command) -> anyhow::Result<()> {
        let body = UnsignedBody { command: hex::encode(encode(command)) };
        let _checked: CheckedView = self.answer(self.client.post(self.url("commands/check")).json(&body)).await?;
        Ok(())
    }

    /// A settlement's payout root with all its leaves; the newest if no settlement is given.
    pub(super) async fn ledger(&self, pool: &PoolId, settlement: Option<u64>) -> anyhow::Result<LedgerView> {
        let query = settlement.map_or_else(String::new, |settlement| format!("settlement={settlement}&"));
        let page = |offset: usize| format!("pools/{pool}/root?{query}offset={offset}");
        let mut ledger: LedgerView = self.get(&page(0)).await?;
        let n = ledger.n_accounts.unwrap_or(ledger.accounts.len());
        while ledger.accounts.len() < n {
            let next: LedgerView = self.get(&page(ledger.accounts.len())).await?;
            let is_same = (next.settlement, next.root) == (ledger.settlement, ledger.root);
            ensure!(is_same && !next.accounts.is_empty(), "the payout root changed while it was read; try again");
            ledger.accounts.extend(next.accounts);
        }
        Ok(ledger)
    }

    /// Asks the pool's treasury signers.
    pub(super) async fn signatures(&self, pool: &PoolId, request: SignatureRequest) -> anyhow::Result<SignatureList> {
        self.answer(self.client.post(self.url(&format!("pools/{pool}/signatures"))).json(&request)).await
    }

    /// Has a worker validated.
    pub(super) async fn validate(&self, wanted: ValidationWanted) -> anyhow::Result<ValidationView> {
        self.answer(self.client.post(self.url("poot/validations")).json(&wanted)).await
    }

    /// Hands in a command.
    pub(super) async fn hand_in(&self, command: &SignedCommand) -> anyhow::Result<TakenView> {
        let body = CommandBody { signed_command: hex::encode(encode(command)) };
        self.answer(self.client.post(self.url("commands")).json(&body)).await
    }

    /// Payouts, newest settlement first, until one of them is not `wanted`.
    pub(super) async fn payouts_while(&self, wanted: impl Fn(&PayoutView) -> bool) -> anyhow::Result<Vec<PayoutView>> {
        let mut found = Vec::new();
        self.payout_pages(|page| {
            let end = found.len() + page.len();
            found.extend(page.into_iter().take_while(|payout| wanted(payout)));
            found.len() == end
        })
        .await?;
        Ok(found)
    }

    /// Payouts, newest settlement first, page by page for as long as `visit` wants more.
    pub(super) async fn payout_pages(&self, mut visit: impl FnMut(Vec<PayoutView>) -> bool) -> anyhow::Result<()> {
        let mut after: Option<PayoutId> = None;
        loop {
            let query = after.map_or_else(String::new, |id| format!("&after={id}"));
            let PayoutList { payouts } = self.get(&format!("payouts?limit={PAGE}{query}")).await?;
            after = payouts.last().map(|payout| payout.payout_id);
            let is_last = payouts.len() < PAGE;
            if !visit(payouts) || is_last {
                return Ok(());
            }
        }
    }
}
