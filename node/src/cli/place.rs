//! Where TRON is, and what the home's ledger says about it.

use std::num::NonZeroU32;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::state::State;
use lucid_storage::Store;
use lucid_tron_bridge::client::{ApiKey, Client, ClientConfig, EndpointConfig};
use lucid_tron_bridge::providers::Providers;
use lucid_tron_bridge::transaction::Reference;
use lucid_tron_bridge::vault::VaultDomain;
use lucid_types::id::{NodeId, PayoutAddress, PoolId, PublicKey, SolidBlockId};
use lucid_types::payout::AccountKind;
use lucid_types::payout_tree::AccountId;

use super::Context;
use super::node_api::NodeApi;
use crate::api::model::{PolicyView, PoolList, PoolSummary};
use crate::chain::persist;
use crate::config::settings::Setting;
use crate::config::tron::Endpoint;
use crate::config::{Secret, TronConfig};
use crate::home::Home;
use crate::view::policy;
use crate::view::pools::list;

/// For one request.
const TIMEOUT: Duration = Duration::from_secs(10);
const RETRIES: usize = 2;
/// A head older than this is of a node that has fallen behind.
const STALE: Duration = Duration::from_secs(120);
/// Name of networks on one machine.
pub(super) const LOCAL: &str = "local";
/// Variable with the keys of providers, which have no place on a command line.
const API_KEYS: &str = "LUCID_TRON_API_KEYS";

/// A TRON network that is known; `local` is any on this machine, whatever its block 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TronNetwork {
    Mainnet,
    Nile,
    Shasta,
    Local,
}

impl TronNetwork {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Nile => "nile",
            Self::Shasta => "shasta",
            Self::Local => LOCAL,
        }
    }

    /// Id of its block 0.
    pub(super) fn genesis_block(self) -> Option<SolidBlockId> {
        let id = match self {
            Self::Mainnet => "00000000000000001ebf88508a03865c71d452e25f4d51194196a1d22b6653dc",
            Self::Nile => "0000000000000000d698d4192c56cb6be724a558448e2684802de4d6cd8690dc",
            Self::Shasta => "0000000000000000de1aa88295e1fcf982742f773e0419c5a9c134c994a9059e",
            Self::Local => return None,
        };
        id.parse().ok()
    }

    /// Its USDT, where there is one that everybody means.
    pub(super) fn usdt(self) -> Option<PayoutAddress> {
        match self {
            Self::Mainnet => "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t".parse().ok(),
            Self::Nile => "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf".parse().ok(),
            Self::Shasta | Self::Local => None,
        }
    }
}

/// Name of the known network with this block 0.
pub(super) fn known_network(genesis_block: &SolidBlockId) -> Option<&'static str> {
    let networks = [TronNetwork::Mainnet, TronNetwork::Nile, TronNetwork::Shasta];
    networks.into_iter().find(|network| network.genesis_block().as_ref() == Some(genesis_block)).map(TronNetwork::name)
}

#[derive(Debug, Default, Args)]
pub(super) struct PlaceArgs {
    /// Where TRON is: base URL of a full node's HTTP API, or several of one provider group separated by |; each further --tron is
    /// another group [default: tron.providers of the home]
    #[arg(long, value_name = "URL")]
    tron: Vec<String>,
    /// Which TRON network that must be: its block 0 is compared with the known one, but for a local network's [default: the home's]
    #[arg(long, value_enum, value_name = "NETWORK")]
    network: Option<TronNetwork>,
}

/// A TRON network.
pub(super) struct Net {
    /// Every provider group.
    pub(super) providers: Providers,
    /// The first that answers.
    pub(super) client: Client,
    /// Its name.
    pub(super) network: String,
    /// Id of its block 0.
    pub(super) genesis_block: SolidBlockId,
    /// Whether that was known before the providers were asked.
    pub(super) is_pinned: bool,
    /// The newest block when it was first asked.
    pub(super) head: Reference,
    /// Its USDT, as the genesis says or everybody knows.
    pub(super) usdt: Option<PayoutAddress>,
    /// What the home knows.
    pub(super) ledger: Option<HomeLedger>,
    /// What a person should know about the answers.
    pub(super) warnings: Vec<String>,
}

/// The network of a home, and its pools: as the home's node has them now; if it does not answer, as its store has them, or the genesis.
pub(super) struct HomeLedger {
    home: Home,
    pub(super) spec: ChainSpec,
    pools: PoolList,
    policy: Box<PolicyView>,
    /// What they are from, if the node does not answer.
    offline: Option<State>,
    /// Why they are not the running node's.
    pub(super) unanswered: Option<String>,
    /// Whose they are.
    pub(super) source: &'static str,
}

impl HomeLedger {
    /// Asks the home's node.
    pub(super) async fn open(home: Home, context: &Context) -> anyhow::Result<Self> {
        ensure!(
            home.root().exists(),
            "there is no home at {}: name the home of a node of the pool's network with --home DIR",
            home.root().display()
        );
        let genesis = home.load_genesis()?.genesis;
        let spec = ChainSpec::new(genesis).context("the genesis cannot be used")?;
        let asked = match context.node() {
            Ok(node) => async { anyhow::Ok((node.pools().await?, node.policy(None).await?)) }.await,
            Err(error) => Err(error),
        };
        let mut offline = None;
        let ((pools, policy), source, unanswered) = match asked {
            Ok(known) => (known, "the ledger", None),
            Err(error) => {
                let node = home.load_identity().ok().map(|me| me.account);
                let (state, source) = match stored(&home, &spec) {
                    Some(state) => (state, "the home's store (its node does not answer)"),
                    None => (State::genesis(&spec), "the genesis (the home's node does not answer)"),
                };
                let known = (list(&state, node.as_ref()), policy::view(&spec, &state, None));
                offline = Some(state);
                (known, source, Some(format!("{error:#}")))
            }
        };
        Ok(Self { home, spec, pools, policy: Box::new(policy), offline, unanswered, source })
    }

    /// The account of the home.
    pub(super) fn own_account(&self) -> anyhow::Result<NodeId> {
        Ok(self.home.load_identity()?.account)
    }

    /// An account's node key as far as it is known without the node.
    pub(super) fn key_of(&self, account: &NodeId) -> PublicKey {
        let known = self.offline.as_ref().and_then(|state| state.key_of(account));
        known.unwrap_or_else(|| account.first_key())
    }

    /// All pools.
    pub(super) fn pools(&self) -> &[PoolSummary] {
        &self.pools.pools
    }

    /// A pool by its id.
    pub(super) fn pool_of_id(&self, id: &PoolId) -> Option<&PoolSummary> {
        self.pools().iter().find(|pool| pool.pool == *id)
    }

    /// The pool that the home's node is a member of.
    pub(super) const fn own(&self) -> Option<PoolId> {
        self.pools.own
    }

    /// The pool of this name or id. If none is named: the node's own, or the only one.
    pub(super) fn pool(&self, named: Option<&str>) -> anyhow::Result<&PoolSummary> {
        let names = || self.pools().iter().map(|pool| pool.name.as_str()).collect::<Vec<_>>().join(", ");
        if let Some(named) = named {
            let found = self.pools().iter().find(|pool| pool.name == named || pool.pool.to_string() == named);
            return found.ok_or_else(|| anyhow!("the home's network has no pool {named:?}; it has: {}", names()));
        }
        if let Ok(node) = self.own_account() {
            let mut owned = self.pools().iter().filter(|pool| pool.owner == node);
            let owned = owned.next().filter(|_| owned.next().is_none());
            if let Some(found) = self.own().and_then(|id| self.pool_of_id(&id)).or(owned) {
                return Ok(found);
            }
        }
        match self.pools() {
            [only] => Ok(only),
            [] => bail!("the home's network has no pool"),
            _ => bail!("the home's network has several pools; name one with --pool: {}", names()),
        }
    }

    /// An account of a node in a pool.
    pub(super) fn account(&self, pool: &PoolId, kind: AccountKind, node: &NodeId) -> AccountId {
        AccountId::derive(self.spec.id(), pool, kind, node)
    }

    /// Addresses of all vaults.
    pub(super) fn vaults(&self) -> Vec<PayoutAddress> {
        self.pools().iter().map(|pool| pool.vault.address).collect()
    }

    /// The policy in force, and what is to come.
    pub(super) const fn policy(&self) -> &PolicyView {
        &self.policy
    }
}

impl PlaceArgs {
    /// Finds a provider that answers, and checks that it serves the right network.
    pub(super) async fn connect(&self, context: &Context) -> anyhow::Result<Net> {
        let home = if self.tron.is_empty() { Some(context.home()?) } else { context.named_home() };
        let tron = self.tron_config(context)?;
        // The genesis of a new network is written after its vault is deployed.
        let home = home.filter(|home| self.network.is_none() || home.genesis_file().exists());
        let ledger = match home {
            Some(home) => Some(HomeLedger::open(home, context).await?),
            None => None,
        };
        let declared = ledger.as_ref().map(|ledger| &ledger.spec.genesis().tron);
        let (network, pinned, usdt) = match (self.network, declared) {
            (Some(named), Some(home)) if named.name() != home.network => bail!(
                "--network says {}, and the home's genesis is of a network that pays on {}: use the home that belongs to it",
                named.name(),
                home.network
            ),
            (_, Some(home)) => (home.network.clone(), Some(home.genesis_block), Some(home.usdt)),
            (Some(named), None) => (named.name().to_owned(), named.genesis_block(), named.usdt()),
            (None, None) => bail!("say which TRON network that is: --network mainnet, nile, shasta or local"),
        };
        let groups = tron.groups()?;
        let client = |group: &Vec<Endpoint<'_>>| Client::new(client_config(group, pinned, &tron));
        let clients = groups.iter().map(client).collect::<Result<Vec<_>, _>>()?;
        let known = match pinned {
            Some(id) => id,
            None => first_block(&clients).await?,
        };
        let (mut found, mut warnings) = (None, Vec::new());
        let unanswered = ledger.as_ref().and_then(|ledger| Some((ledger.source, ledger.unanswered.as_ref()?)));
        if let Some((source, why)) = unanswered {
            warnings.push(format!(
                "the pools are those of {source}; whether they were changed since is not known here: {why}"
            ));
        }
        for client in &clients {
            client.pin(known);
            match client.head().await {
                Ok(head) => {
                    found.get_or_insert_with(|| (head, client.clone()));
                }
                Err(error) => {
                    warnings.push(format!("the TRON provider {} is of no use: {:#}", client.label(), anyhow!(error)));
                }
            }
        }
        let Some((head, client)) = found else {
            bail!("no TRON provider can be used for {network}. {}", warnings.join("; "))
        };
        if network != LOCAL {
            let age = now_s().saturating_sub(head.time.get() / 1_000);
            if age > STALE.as_secs() {
                warnings.push(format!(
                    "the newest block of {} is {age} s old: it has fallen behind, or this clock is wrong",
                    client.label()
                ));
            }
        }
        let providers = Providers::new(clients)?;
        Ok(Net {
            providers,
            client,
            network,
            genesis_block: known,
            is_pinned: pinned.is_some(),
            head,
            usdt,
            ledger,
            warnings,
        })
    }

    fn tron_config(&self, context: &Context) -> anyhow::Result<TronConfig> {
        if self.tron.is_empty() {
            let say = "say where TRON is with --tron URL --network NETWORK, or name a home with --home";
            let tron = context.configuration().context(say)?.config.tron;
            ensure!(
                !tron.providers.is_empty(),
                "tron.providers of the home is empty: give --tron URL, or set it there"
            );
            return Ok(tron);
        }
        Ok(TronConfig { providers: self.tron.clone(), api_keys: self.api_keys()?, ..TronConfig::default() })
    }

    /// The keys of the environment whose hosts are named.
    fn api_keys(&self) -> anyhow::Result<Vec<Secret>> {
        let Some(text) = std::env::var(API_KEYS).ok().filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
        let setting = Setting::of("tron.api_keys").context("tron.api_keys is no setting")?;
        let items = setting.parse(&text).map_err(|problem| anyhow!("{API_KEYS}: {problem}"))?;
        let items: Vec<String> = items.try_into().map_err(|_| anyhow!("{API_KEYS} holds no list of HOST=KEY"))?;
        let is_named = |item: &String| {
            let host = item.split('=').next().unwrap_or_default().trim();
            self.tron.iter().any(|url| url.contains(host))
        };
        Ok(items.into_iter().filter(is_named).map(Secret::from).collect())
    }
}

fn client_config(group: &[Endpoint<'_>], genesis: Option<SolidBlockId>, tron: &TronConfig) -> ClientConfig {
    let endpoint = |endpoint: &Endpoint<'_>| EndpointConfig {
        url: endpoint.url.to_owned(),
        api_key: endpoint.api_key.map(ApiKey::new),
    };
    ClientConfig {
        endpoints: group.iter().map(endpoint).collect(),
        genesis,
        timeout: TIMEOUT,
        retries: RETRIES,
        requests_per_s: NonZeroU32::new(tron.requests_per_s),
    }
}

/// The newest state in the store of a home whose node does not run.
fn stored(home: &Home, spec: &ChainSpec) -> Option<State> {
    let store = Store::open_read_only(&home.db_dir(), *spec.id()).ok()?;
    persist::newest_state(&store).ok()?
}

/// Block 0 as the first group that answers has it.
async fn first_block(groups: &[Client]) -> anyhow::Result<SolidBlockId> {
    let mut problem = anyhow!("no TRON provider is named");
    for client in groups {
        match client.genesis_block_id().await {
            Ok(id) => return Ok(id),
            Err(error) => {
                problem = anyhow!(error).context(format!("the TRON provider {} is of no use", client.label()));
            }
        }
    }
    Err(problem)
}

impl Net {
    pub(super) fn is_local(&self) -> bool {
        self.network == LOCAL
    }

    /// The time that the next transaction will be measured by, in Unix seconds: the newest block's. A local network may make
    /// blocks for transactions only, or be ahead of this clock.
    pub(super) fn now_s(&self) -> u64 {
        let block = self.head.time.get() / 1_000;
        if self.is_local() { block.max(now_s()) } else { block }
    }

    pub(super) const fn domain(&self, vault: PayoutAddress) -> VaultDomain {
        VaultDomain::new(&self.genesis_block, vault)
    }

    /// The ledger of the home, which this command needs.
    pub(super) fn ledger(&self) -> anyhow::Result<&HomeLedger> {
        self.ledger.as_ref().context("this needs the home of a node of the pool's network: give --home DIR")
    }

    /// The API of the home's node.
    pub(super) fn node(&self, context: &Context) -> anyhow::Result<NodeApi> {
        self.ledger()?;
        context.node()
    }
}

/// This machine's time in Unix seconds.
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn known_networks_are_told_apart_by_their_block_0() {
        for network in [TronNetwork::Mainnet, TronNetwork::Nile, TronNetwork::Shasta] {
            let id = network.genesis_block().unwrap();
            assert_eq!(known_network(&id), Some(network.name()));
        }
        // What CHAINID answers there.
        let domain =
            VaultDomain::new(&TronNetwork::Mainnet.genesis_block().unwrap(), PayoutAddress::from_hash20([1; 20]));
        assert_eq!(domain.chain_id, 728_126_428);
        assert_eq!(known_network(&SolidBlockId::from_bytes([1; 32])), None);
        assert!(TronNetwork::Mainnet.usdt().is_some() && TronNetwork::Nile.usdt().is_some());
    }
}
