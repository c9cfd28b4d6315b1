//! `lucid join`: from a join string to a running node.
//!
//! Each step looks at what the home holds already, so the same command goes on wherever it was stopped: fetch the genesis, make the
//! home, write the genesis and what is wanted, run the node, which fetches a snapshot, follows the chain and enters (`enrolment`).

use std::collections::BTreeSet;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_types::genesis::Genesis;
use lucid_types::id::{NetworkId, PayoutAddress, PublicKey};
use lucid_types::join::{JoinPool, JoinString};
use serde_json::{Map, Value, json};
use tokio::sync::{oneshot, watch};
use tracing_subscriber::EnvFilter;

use super::act::ConfirmArgs;
use super::network::{describe_genesis, describe_string, genesis_view, string_view};
use super::place::now_s;
use super::run::{self, Signals};
use super::values::{self, duration_of};
use super::{Context, configuration, configuration_to_be, output};
use crate::api::NodeView;
use crate::api::model::{
    EnrolmentStep, EnrolmentView, InactiveView, MembershipView, RegisteredView, StatusView, SyncState,
};
use crate::config::{Config, Pin, Role};
use crate::enrolment::{CapacityLimits, Intent};
use crate::home::Home;
use crate::visit::{Comparison, Visitor};

/// How long the genesis is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Without a pin: how many peers should be compared, and how long they are waited for.
const COMPARED: usize = 3;
const COMPARE_PATIENCE: Duration = Duration::from_secs(10);
/// A pin of before may be of a block that nodes remove soon.
const MAX_PIN_AGE: Duration = Duration::from_secs(86_400);
/// Between two looks at the node, and between two lines that say that it is still fetching.
const LOOK: Duration = Duration::from_millis(250);
const TELL_PROGRESS: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  lucid join lucid1...
  lucid join lucid1... --payout-address T...
  lucid join lucid1... --dry-run
  lucid --home /srv/lucid join lucid1... --listen /ip4/0.0.0.0/tcp/7001

A worker registers, and joins the pool of the string; where it is paid is asked, if it is not given. An observer only follows.
Whenever it is stopped, the same command goes on where it was. So does `lucid run`, which also starts the node later.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct JoinArgs {
    /// The join string, as `lucid network invite` prints it
    #[arg(value_name = "STRING")]
    string: JoinString,
    #[command(flatten)]
    new: NewHomeArgs,
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// What the node registers with. What is not given stays as the same command had it before.
#[derive(Debug, Args)]
struct AccountArgs {
    /// Where what it earns is paid; an observer with it registers, too
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    payout_address: Option<PayoutAddress>,
    /// A key kept elsewhere, without whose signature the payout address never changes: the id of a node with that key
    #[arg(long, value_name = "KEY")]
    payout_key: Option<PublicKey>,
    /// The TRON account that pays for its transactions when it leads its pool [default: that of the home's gas key]
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    gas_address: Option<PayoutAddress>,
    #[command(flatten)]
    limits: CapacityLimits,
}

impl AccountArgs {
    /// What is asked for, and where nothing is said what was before.
    fn intent(&self, string: &JoinString, before: Option<Intent>) -> Intent {
        let string = string.clone();
        let Some(before) = before else {
            let Self { payout_address, payout_key, gas_address, limits } = *self;
            return Intent { string, payout_address, payout_key, gas_address, limits };
        };
        Intent {
            string,
            payout_address: self.payout_address.or(before.payout_address),
            payout_key: self.payout_key.or(before.payout_key),
            gas_address: self.gas_address.or(before.gas_address),
            limits: self.limits.or(before.limits),
        }
    }
}

/// What a home's configuration says. One that exists must say the same already.
#[derive(Debug, Args)]
struct NewHomeArgs {
    /// What the node does [default: worker, if the string names a pool or --payout-address is given; else observer]
    #[arg(long, value_name = "ROLE", value_enum)]
    role: Option<JoinRole>,
    /// Multiaddress to listen on; may be given several times
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<String>,
    /// All nodes are on one machine or in one private network [default: whether the string has private addresses only]
    #[arg(long)]
    local: bool,
    /// Where the HTTP API listens
    #[arg(long, value_name = "IP:PORT")]
    api: Option<SocketAddr>,
    /// Where metrics are served
    #[arg(long, value_name = "IP:PORT")]
    metrics: Option<SocketAddr>,
    /// A provider group of TRON, which a worker that can lead needs: base URL of a full node's HTTP API, or several separated by |; each
    /// further --tron is another group
    #[arg(long, value_name = "URL")]
    tron: Vec<String>,
}

/// The roles that a node can enter a network with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum JoinRole {
    /// Offers its machine and is measured
    Worker,
    /// Follows the chain
    Observer,
}

impl From<JoinRole> for Role {
    fn from(role: JoinRole) -> Self {
        match role {
            JoinRole::Worker => Self::Worker,
            JoinRole::Observer => Self::Observer,
        }
    }
}

impl NewHomeArgs {
    /// The configuration of a new home.
    fn config(&self, string: &JoinString, is_paid: bool) -> Config {
        let mut config = Config::default();
        let usual = if is_paid || string.pool.is_some() { JoinRole::Worker } else { JoinRole::Observer };
        config.roles = [self.role.unwrap_or(usual).into()].into();
        if !self.listen.is_empty() {
            config.p2p.listen.clone_from(&self.listen);
        }
        let bootstrap = string.bootstrap.addresses();
        config.p2p.bootstrap = bootstrap.to_vec();
        config.p2p.local = self.local || bootstrap.iter().all(|address| lucid_p2p::is_private_address(address));
        config.api.listen = self.api.unwrap_or(config.api.listen);
        config.metrics.listen = self.metrics.unwrap_or(config.metrics.listen);
        config.tron.providers.clone_from(&self.tron);
        config
    }

    /// That a home's configuration says what these options say.
    fn check(&self, home: &Home, config: &Config) -> anyhow::Result<()> {
        let differs = |given: &[String], has: &[String]| !given.is_empty() && given != has;
        let differing = [
            ("--role", self.role.is_some_and(|role| config.roles != BTreeSet::from([Role::from(role)]))),
            ("--listen", differs(&self.listen, &config.p2p.listen)),
            ("--local", self.local && !config.p2p.local),
            ("--api", self.api.is_some_and(|api| api != config.api.listen)),
            ("--metrics", self.metrics.is_some_and(|metrics| metrics != config.metrics.listen)),
            ("--tron", differs(&self.tron, &config.tron.providers)),
        ];
        match differing.iter().find(|(_, differs)| *differs) {
            None => Ok(()),
            Some((option, _)) => bail!(
                "{option} says something else than {}, which is left as it is: change it there, or leave the option out",
                home.config_file().display()
            ),
        }
    }
}

/// What the home holds.
struct Found {
    /// The configuration that the node has, or will have.
    config: Config,
    is_new: bool,
    genesis: Option<Genesis>,
    /// What it was asked for before and is not done.
    intent: Option<Intent>,
    /// Whether it has begun to follow the chain.
    has_store: bool,
}

/// Tells of the steps: lines on stderr for people, objects on stdout, one a line, for programs.
#[derive(Clone, Copy)]
struct Teller {
    is_json: bool,
}

impl Teller {
    fn tell(self, step: &str, text: &str, data: Value) -> anyhow::Result<()> {
        if !self.is_json {
            return super::act::say(text);
        }
        let mut object = Map::from_iter([("step".to_owned(), json!(step)), ("text".to_owned(), json!(text))]);
        object.extend(data.as_object().cloned().unwrap_or_default());
        output::print(&format!("{}\n", Value::Object(object)))
    }
}

pub(super) fn join(context: Context, args: JoinArgs) -> anyhow::Result<()> {
    log_warnings(&context)?;
    // Before anybody takes over Ctrl-C: what is asked here ends with it as usual.
    let joining = Joining::new(context, args)?;
    run::in_runtime(async {
        let mut signals = Signals::new()?;
        let stopped = "stopped. What was done is kept: the same command goes on from there";
        if joining.args.confirm.dry_run {
            return tokio::select! {
                done = joining.dry_run() => done,
                () = signals.next() => bail!("stopped; nothing was done"),
            };
        }
        let (home, settings) = tokio::select! {
            ready = joining.prepare() => ready?,
            () = signals.next() => bail!(stopped),
        };
        let loaded = configuration(&home, &settings)?;
        let (teller, pool) = (joining.teller, joining.args.string.pool.clone());
        let pin = loaded.config.sync.pin();
        let (started, view) = oneshot::channel();
        let mut started = Some(started);
        let followed = async {
            if let Ok(view) = view.await {
                // That nobody reads any more is no reason to stop the node.
                let _unread = follow(teller, view, pool, pin).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            ended = run::until_signal(&mut signals, home, loaded, |view| {
                // Of a start under another node key nothing is left to tell.
                if let Some(started) = started.take() {
                    drop(started.send(view));
                }
            }) => ended,
            never = followed => never,
        }
    })
}

/// Warnings only, unless the environment or `--set log.filter` says otherwise: the steps have lines of their own.
fn log_warnings(context: &Context) -> anyhow::Result<()> {
    let set = context.set.iter().rev().find(|(key, _)| key == "log.filter");
    let filter = match (std::env::var("RUST_LOG"), set) {
        (Ok(text), _) if !text.is_empty() => {
            EnvFilter::try_new(&text).with_context(|| format!("RUST_LOG = {text:?}"))?
        }
        (_, Some((_, text))) => EnvFilter::try_new(text).context("log.filter")?,
        _ => EnvFilter::new("warn,libp2p=error,lucid_node::enrolment=off"),
    };
    run::log(filter, false)
}

/// A join that is under way.
struct Joining {
    context: Context,
    home: Home,
    args: JoinArgs,
    teller: Teller,
    found: Found,
    /// What the node is to enter by; `None` if it only follows.
    intent: Option<Intent>,
}

impl Joining {
    fn new(context: Context, args: JoinArgs) -> anyhow::Result<Self> {
        let home = context.home()?;
        let found = look(&context, &home, &args)?;
        let teller = Teller { is_json: args.confirm.json.json };
        let enters = found.config.has(Role::Worker) || args.account.payout_address.is_some();
        let mut intent = enters.then(|| args.account.intent(&args.string, found.intent.clone()));
        // Whoever has followed the chain may be registered: that shows when it is synced.
        if let Some(intent) = intent.as_mut().filter(|_| !found.has_store && !args.confirm.dry_run) {
            intent.payout_address = Some(intent.payout_address.map_or_else(ask_payout_address, Ok)?);
        }
        Ok(Self { context, home, args, teller, found, intent })
    }

    const fn network(&self) -> NetworkId {
        self.args.string.network
    }

    fn visitor(&self) -> anyhow::Result<Visitor> {
        let bootstrap = self.args.string.bootstrap.addresses();
        let visitor = Visitor::connect(self.network(), bootstrap, self.found.config.p2p.local);
        visitor.context("the join string's addresses cannot be used; ask for another string")
    }

    /// All that would be done, after a look at the network's genesis.
    async fn dry_run(&self) -> anyhow::Result<()> {
        let genesis = match &self.found.genesis {
            Some(genesis) => genesis.clone(),
            None => {
                let visitor = self.visitor()?;
                let fetched = visitor.genesis(PATIENCE).await;
                visitor.leave().await;
                fetched?
            }
        };
        let steps = self.steps();
        if self.teller.is_json {
            return output::json(&json!({
                "dry_run": true,
                "home": self.home.root(),
                "string": string_view(&self.args.string),
                "genesis": genesis_view(&genesis)?,
                "steps": steps,
            }));
        }
        let mut text = describe_string(&self.args.string) + "\n" + &describe_genesis(&genesis)? + "\nThis would:\n";
        for (number, step) in (1..).zip(&steps) {
            text.push_str(&format!("  {number}. {step}\n"));
        }
        output::print(&(text + "Nothing was done.\n"))
    }

    /// What is left to do, in words.
    fn steps(&self) -> Vec<String> {
        let Found { config, is_new, genesis, has_store, .. } = &self.found;
        let (root, roles) = (self.home.root().display(), roles(config));
        let mut steps = Vec::new();
        if *is_new {
            let place = if config.p2p.local { "one machine or a private network" } else { "the public internet" };
            steps.push(format!(
                "make the home {root}: a new key, and a configuration with the roles {roles}, in {place}, listening on {}",
                config.p2p.listen.join(", ")
            ));
        }
        if genesis.is_none() {
            steps.push(format!("write the genesis to {}", self.home.genesis_file().display()));
        }
        steps.push(match (&self.args.string.pin, config.sync.pin()) {
            (Some(pin), _) => format!("hold the chain to block {} as the string has it", pin.height),
            (None, Some(pin)) => format!("hold the chain to block {} as {} has it", pin.height, self.home.config_file().display()),
            (None, None) if *has_store => "go on with the chain that the home has".to_owned(),
            (None, None) => {
                "compare the newest blocks of several peers, as the string pins none, and hold the chain to what they agree on".into()
            }
        });
        steps.push("run the node: fetch a certified state or the blocks, and follow the chain until Ctrl-C".to_owned());
        if let Some(intent) = &self.intent {
            let paid = match (intent.payout_address, has_store) {
                (Some(address), _) => format!("paid to {address}"),
                (None, true) => "if it is not yet; that needs --payout-address T...".to_owned(),
                (None, false) => "paid where --payout-address says, which is asked if it is not given".to_owned(),
            };
            steps.push(match intent.pool() {
                None => format!("register the node in the network by a stamp, {paid}"),
                Some(JoinPool::Named(pool)) => {
                    format!("register the node, {paid}, and enter the pool {pool} by a stamp, or ask its owner, as the pool's policy says")
                }
                Some(JoinPool::Invited(bearer)) => {
                    format!("register the node, {paid}, and enter the pool {} by the invite", bearer.invite().record.pool)
                }
            });
        }
        steps
    }

    /// Does all that comes before the node can run. Returns the home, and what goes before its configuration.
    async fn prepare(&self) -> anyhow::Result<(Home, Vec<(String, String)>)> {
        let visit = self.found.genesis.is_none() || self.has_to_compare();
        let visitor = visit.then(|| self.visitor()).transpose()?;
        let genesis = match (&self.found.genesis, &visitor) {
            (Some(genesis), _) => genesis.clone(),
            (None, Some(visitor)) => self.fetch(visitor).await?,
            (None, None) => bail!("the genesis is missing"),
        };
        let pin = match &visitor {
            Some(visitor) if self.has_to_compare() => self.compare(visitor, genesis.clone()).await?,
            _ => self.pin()?,
        };
        if let Some(visitor) = visitor {
            visitor.leave().await;
        }
        if self.found.is_new {
            let mut config = self.found.config.clone();
            config.sync.pinned = pin.map_or_else(String::new, |pin| pinned(&pin));
            config.check().context("these options make no configuration")?;
            let made = self.home.create(&config, None)?;
            let (root, node) = (self.home.root(), made.key.account());
            let mut text = format!("made the home {} of node {node}; keep its node.key safe", root.display());
            if let Some(address) = made.gas_address {
                text.push_str(&format!("\nthe gas address of its bridge is {address}"));
            }
            let data = json!({ "home": root, "node_id": node, "gas_address": made.gas_address });
            self.teller.tell("home", &text, data)?;
        }
        if let Some(intent) = self.intent.as_ref().filter(|intent| self.found.intent.as_ref() != Some(intent)) {
            self.home.write_intent(intent)?;
        }
        if self.found.genesis.is_none() {
            self.home.write_genesis(&genesis)?;
        }
        let mut settings = Vec::new();
        if let Some(pin) = pin {
            settings.push(("sync.pinned".to_owned(), pinned(&pin)));
        }
        let mut bootstrap = self.found.config.p2p.bootstrap.clone();
        let n_known = bootstrap.len();
        let addresses = self.args.string.bootstrap.addresses().iter();
        bootstrap.extend(addresses.filter(|address| !self.found.config.p2p.bootstrap.contains(address)).cloned());
        if bootstrap.len() > n_known {
            settings.push(("p2p.bootstrap".to_owned(), bootstrap.join(",")));
        }
        settings.extend(self.context.set.iter().cloned());
        Ok((self.home.clone(), settings))
    }

    async fn fetch(&self, visitor: &Visitor) -> anyhow::Result<Genesis> {
        let addresses = self.args.string.bootstrap.addresses();
        let (n, seconds) = (addresses.len(), PATIENCE.as_secs());
        let text = format!(
            "fetching the genesis of {} from {n} address(es) and their peers, for at most {seconds} s",
            self.network()
        );
        self.teller.tell("connecting", &text, json!({ "bootstrap": addresses, "seconds": seconds }))?;
        let genesis = visitor.genesis(PATIENCE).await?;
        let (peers, name) = (visitor.peer_count(), &genesis.name);
        let text = format!("connected to {peers} peer(s); the genesis of {name:?} is fetched and checked");
        self.teller.tell("genesis", &text, json!({ "peers": peers, "genesis": genesis_view(&genesis)? }))?;
        Ok(genesis)
    }

    /// Nobody said what the chain must have, and nothing is here yet.
    const fn has_to_compare(&self) -> bool {
        let Found { config, has_store, .. } = &self.found;
        self.args.string.pin.is_none() && config.sync.pinned.is_empty() && !*has_store
    }

    /// The block that the string pins, if it pins one.
    fn pin(&self) -> anyhow::Result<Option<Pin>> {
        let Some(pin) = &self.args.string.pin else { return Ok(None) };
        let age = Duration::from_secs(now_s().saturating_sub(pin.time.get() / 1_000));
        if age > MAX_PIN_AGE && !self.found.has_store {
            let age = duration_of(age.as_secs());
            let text = format!(
                "warning: the join string pins a block of {age} ago. That protects less, and nodes remove old blocks: should no peer \
                 show it, ask for a new string"
            );
            self.teller.tell("old-pin", &text, json!({ "height": pin.height, "time": pin.time }))?;
        }
        Ok(Some(Pin { height: pin.height, block: pin.block }))
    }

    /// The block that several peers agree on.
    async fn compare(&self, visitor: &Visitor, genesis: Genesis) -> anyhow::Result<Option<Pin>> {
        let seconds = COMPARE_PATIENCE.as_secs();
        let text = format!(
            "warning: the join string pins no block, so several peers are compared, for at most {seconds} s: thieves of validators' \
             keys could show another chain. A string by `lucid network invite` has a pin"
        );
        self.teller.tell("comparing", &text, json!({ "seconds": seconds }))?;
        let spec = ChainSpec::new(genesis).context("the genesis cannot be used")?;
        match visitor.compare(&spec, COMPARED, COMPARE_PATIENCE).await {
            Comparison::NoBlock => {
                self.teller.tell(
                    "compared",
                    "no peer shows a block: the chain has not begun",
                    json!({ "peers": 0 }),
                )?;
                Ok(None)
            }
            Comparison::Different { height, blocks } => {
                let mut problem = format!("peers show different certified blocks at height {height}:");
                for (block, peers) in blocks {
                    let peers: Vec<_> = peers.iter().map(ToString::to_string).collect();
                    problem.push_str(&format!("\n  {block}: {}", peers.join(", ")));
                }
                bail!(
                    "{problem}\nMore than a third of the validators have signed two chains. Ask somebody whom you trust for a join \
                       string with a pin"
                )
            }
            Comparison::Same { block, peers } => {
                let Pin { height, block: hash } = block;
                let text = match peers {
                    1 => format!("only one peer shows its chain: block {height} is {hash}"),
                    _ => format!("{peers} peers show the same chain: block {height} is {hash}"),
                };
                let data = json!({ "peers": peers, "height": height, "block_hash": hash });
                self.teller.tell("compared", &text, data)?;
                if peers == 1 && !self.args.confirm.yes {
                    let confirm = self.args.confirm;
                    // Not here: Ctrl-C ends the waiting.
                    tokio::task::spawn_blocking(move || confirm.confirm("Trust this one peer's chain?\n")).await??;
                }
                Ok(Some(block))
            }
        }
    }
}

fn pinned(pin: &Pin) -> String {
    format!("{}:{}", pin.height, pin.block)
}

fn roles(config: &Config) -> String {
    config.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
}

/// Looks at the home.
///
/// # Errors
/// It is another network's, or not whole, or its configuration contradicts the options.
fn look(context: &Context, home: &Home, args: &JoinArgs) -> anyhow::Result<Found> {
    let JoinArgs { string, new, .. } = args;
    let root = home.root();
    if !home.has_anything() {
        let config = new.config(string, args.account.payout_address.is_some());
        config.check().context("a node cannot be configured like that")?;
        configuration_to_be(home, &config, &context.set)?;
        return Ok(Found { config, is_new: true, genesis: None, intent: None, has_store: false });
    }
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    ensure!(
        is_there(&home.config_file()) && is_there(&home.key_file()),
        "{} is no whole home: it needs node.key and config.toml both, or nothing. Move what is there away, or choose another one with \
         --home DIR",
        root.display()
    );
    let config = context.configuration()?.config;
    home.load_identity()?;
    new.check(home, &config)?;
    let genesis = if is_there(&home.genesis_file()) { Some(home.load_genesis()?) } else { None };
    if let Some(other) = genesis.as_ref().filter(|genesis| genesis.network_id != string.network) {
        bail!(
            "{} is the home of a node of another network, {:?} ({}), and the join string is of {}. A home belongs to one network: choose \
             another one with --home DIR",
            root.display(),
            other.genesis.name,
            other.network_id,
            string.network
        );
    }
    let genesis = genesis.map(|loaded| loaded.genesis);
    let intent = home.load_intent()?;
    Ok(Found { config, is_new: false, genesis, intent, has_store: is_there(&home.db_dir()) })
}

/// Asks a person where the node is to be paid.
fn ask_payout_address() -> anyhow::Result<PayoutAddress> {
    let stdin = io::stdin();
    ensure!(
        stdin.is_terminal(),
        "say where the node is to be paid with --payout-address T..., or let it only follow the chain with --role observer"
    );
    loop {
        super::act::say("Where is this node to be paid? The address of a TRON account that you hold the key of:")?;
        let mut line = String::new();
        ensure!(stdin.lock().read_line(&mut line)? > 0, "no address was given, and nothing was done");
        match values::address(line.trim()) {
            Ok(address) => return Ok(address),
            Err(problem) => super::act::say(&problem)?,
        }
    }
}

/// Tells how far the node is until it has the whole chain, and then how it enters, or what its place in the network is.
async fn follow(
    teller: Teller,
    view: Arc<dyn NodeView>,
    pool: Option<JoinPool>,
    pin: Option<Pin>,
) -> anyhow::Result<()> {
    let status = view.status();
    let text =
        format!("the node runs, its API at http://{}; waiting for peers and the chain. Ctrl-C stops it", status.api);
    teller.tell("running", &text, json!({ "node_id": status.node_id, "api": status.api }))?;
    let mut look = tokio::time::interval(LOOK);
    let (mut n_peers, mut told) = (0, tokio::time::Instant::now());
    loop {
        look.tick().await;
        let status = view.status();
        if n_peers == 0 && status.peers > 0 {
            n_peers = status.peers;
            teller.tell("connected", &format!("connected to {n_peers} peer(s)"), json!({ "peers": n_peers }))?;
        }
        let is_beyond_pin = pin.is_none_or(|pin| status.height >= pin.height);
        if n_peers > 0 && is_beyond_pin && status.sync == SyncState::Synced {
            if status.enrolment.is_none() {
                return has_followed(teller, Arc::clone(&view), &status, pool.as_ref()).await;
            }
            let text = format!("synced at block {}", status.height);
            teller.tell("synced", &text, json!({ "height": status.height, "node_id": status.node_id }))?;
            return tell_entering(teller, view.enrolment()).await;
        }
        if told.elapsed() >= TELL_PROGRESS {
            told = tokio::time::Instant::now();
            let text = match (status.peers, &pin) {
                (0, _) => "waiting for peers: none is connected".to_owned(),
                (n, Some(pin)) if !is_beyond_pin => {
                    format!(
                        "at block {}, waiting for block {} and those after it; {n} peer(s)",
                        status.height, pin.height
                    )
                }
                (n, _) => format!("at block {}, waiting for those after it; {n} peer(s)", status.height),
            };
            teller.tell("waiting", &text, json!({ "peers": status.peers, "height": status.height }))?;
        }
    }
}

/// A line for each step of the way in, until the node is in.
async fn tell_entering(teller: Teller, mut enrolment: watch::Receiver<Option<EnrolmentView>>) -> anyhow::Result<()> {
    loop {
        let told = enrolment.borrow_and_update().clone();
        if let Some(told) = told.filter(|told| told.step != EnrolmentStep::Sync) {
            let EnrolmentView { step, waits_for, problem, .. } = &told;
            let mut text = match step {
                EnrolmentStep::Entered => format!("entered; waiting for {waits_for}"),
                _ => format!("waiting for {waits_for}"),
            };
            if let Some(problem) = problem {
                text = format!("{problem}\n{text}");
            }
            teller.tell(step.name(), &text, serde_json::to_value(&told)?)?;
            if *step == EnrolmentStep::Entered {
                return Ok(());
            }
        }
        if enrolment.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// The node has the whole chain: what it is in the network by its state, and what to do to take part.
async fn has_followed(
    teller: Teller,
    view: Arc<dyn NodeView>,
    status: &StatusView,
    pool: Option<&JoinPool>,
) -> anyhow::Result<()> {
    let StatusView { height, node_id, .. } = *status;
    // Reading may block.
    let (row, is_validator) = tokio::task::spawn_blocking(move || {
        let is_validator = view.validators().iter().any(|validator| validator.node == node_id);
        anyhow::Ok((view.node(&node_id)?, is_validator))
    })
    .await??;
    let has = |role| status.roles.contains(&role);
    let role = match (is_validator, has(Role::Validator), has(Role::Treasury)) {
        (true, _, _) => Unregistered::Validator,
        (false, true, _) => Unregistered::FutureValidator,
        (false, false, true) => Unregistered::Signer,
        (false, false, false) => Unregistered::Other,
    };
    let place = place(row.as_ref(), pool, role);
    let text = format!("synced at block {height}; {place}");
    let data = json!({ "height": height, "node_id": node_id, "is_registered": row.is_some(), "node": row });
    teller.tell("synced", &text, data)
}

/// What a node is that has no account.
#[derive(Clone, Copy, Debug)]
enum Unregistered {
    Validator,
    FutureValidator,
    Signer,
    Other,
}

/// What a node is in the network, and the command that follows.
fn place(row: Option<&RegisteredView>, pool: Option<&JoinPool>, role: Unregistered) -> String {
    let Some(row) = row else {
        match role {
            Unregistered::Validator => return "it is a validator: it votes and measures".to_owned(),
            Unregistered::FutureValidator => {
                return "it is no validator yet, and follows the chain. To become one, from another terminal: `lucid node register \
                        --payout-address T...`; then a validator proposes it with `lucid validator propose add`"
                    .to_owned();
            }
            Unregistered::Signer => {
                return "it follows the chain as a treasury signer, and signs for the pools whose owners have entered it".to_owned();
            }
            Unregistered::Other => {}
        }
        let way_in = match pool {
            None => String::new(),
            Some(JoinPool::Named(pool)) => format!(" --pool {pool}"),
            Some(JoinPool::Invited(_)) => " --invite STRING` with this join string".to_owned(),
        };
        let end = if way_in.ends_with("string") { "" } else { "`" };
        return format!(
            "it is not registered, and follows the chain. To be measured and paid, from another terminal: `lucid node register \
             --payout-address T...{way_in}{end}"
        );
    };
    if let Some(InactiveView { pool, .. }) = row.inactive {
        return format!(
            "validators have not reached it for long, and it is inactive in the pool {pool}: `lucid pool join {pool}` brings it back"
        );
    }
    match (&row.membership, &row.request) {
        _ if row.is_retired => "its account has retired, and cannot come back: it follows the chain".to_owned(),
        (Some(MembershipView { pool, from, until: None }), _) => {
            format!("it is a member of the pool {pool}, from epoch {from} on")
        }
        (Some(MembershipView { pool, until: Some(until), .. }), _) => {
            format!("it leaves the pool {pool}, and is measured for it until before epoch {until}")
        }
        (None, Some(pool)) => format!("it is registered, and has asked the owner of the pool {pool} for its approval"),
        (None, None) => "it is registered, and in no pool: `lucid pool join` enters one".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lucid_types::attestation::Capacity;
    use lucid_types::id::{NodeId, PayoutAddress, PoolId};
    use lucid_types::time::Epoch;

    use super::*;
    use crate::api::model::{NodeRole, NodeState};

    #[test]
    fn a_node_is_told_its_place_by_the_state_and_its_next_command() {
        let (node, id) = (NodeId::from_bytes([1; 32]), PoolId::from_bytes([2; 32]));
        let free = RegisteredView {
            node,
            key: node.first_key(),
            next_key: None,
            roles: vec![NodeRole::Observer],
            operator: node,
            payout_address: PayoutAddress::from_hash20([3; 20]),
            next_payout: None,
            payout_key: None,
            gas_address: None,
            capacity: Capacity { cores: 1, memory_bytes: 1, disk_bytes: 1, bandwidth_kbit_s: 1 },
            membership: None,
            inactive: None,
            maintenance: Vec::new(),
            request: None,
            is_retired: false,
            state: NodeState::Starting,
            attested: None,
            allocation_ppm: None,
            score_ppm: None,
        };
        let of = |until| Some(MembershipView { pool: id, from: Epoch::new(3), until });
        let member = RegisteredView { membership: of(None), ..free.clone() };
        let leaving = RegisteredView { membership: of(Some(Epoch::new(9))), ..free.clone() };
        let asking = RegisteredView { request: Some(id), ..free.clone() };
        let retired = RegisteredView { is_retired: true, ..free.clone() };
        let inactive =
            RegisteredView { inactive: Some(InactiveView { pool: id, since: Epoch::new(9) }), ..leaving.clone() };
        for (row, wanted) in [
            (free, "in no pool"),
            (member, "a member of the pool"),
            (leaving, "until before epoch 9"),
            (asking, "for its approval"),
            (retired, "has retired"),
            (inactive, "`lucid pool join "),
        ] {
            let said = place(Some(&row), None, Unregistered::Other);
            assert!(said.contains(wanted) && !said.contains("not registered"), "{said}");
        }
        for role in [Unregistered::Validator, Unregistered::FutureValidator, Unregistered::Signer] {
            assert!(!place(None, None, role).contains("is not registered"), "{role:?}");
        }
        let place = |row, pool| place(row, pool, Unregistered::Other);
        assert!(place(None, None).ends_with("`lucid node register --payout-address T...`"));
        let named = JoinPool::Named(id);
        assert!(place(None, Some(&named)).ends_with(&format!("--payout-address T... --pool {id}`")));
    }
}
