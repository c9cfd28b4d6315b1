//! The command line of `lucid`: what can be asked, and how mistakes are told.
//!
//! Answers go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 the command line is wrong.

mod act;
mod command;
mod config;
mod db;
mod entry;
mod init;
mod join;
mod keys;
mod ledger;
mod network;
mod node;
mod node_api;
mod output;
mod payout;
mod place;
mod pool;
mod proof;
mod read;
mod resources;
mod run;
mod score;
mod signer;
mod tron;
mod validator;
mod values;
mod vault;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::{Args, Parser, Subcommand};
use lucid_types::time::Epoch;

use self::node_api::NodeApi;
use crate::config::Config;
use crate::config::load::{Loaded, load, read};
use crate::config::settings::render;
use crate::home::Home;

const EXAMPLES: &str = "\
Examples:
  lucid join lucid1...
  lucid init --role worker --bootstrap /ip4/203.0.113.7/tcp/7001/p2p/12D3KooW... --genesis genesis.toml
  lucid run
  lucid status
  lucid --home /srv/lucid score leaderboard --epoch 42 --json
  LUCID_LOG_FILTER=debug lucid run --set api.listen=127.0.0.1:9000";

/// A node of a Lucid mesh: measures, agrees, is measured, is paid.
#[derive(Debug, Parser)]
#[command(name = "lucid", version, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    /// The node's folder: configuration, key, genesis, store [env: LUCID_HOME] [default: ~/.lucid]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,

    /// Override a configuration key, before environment and file; `lucid config doc` lists the keys
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a home: a new key, a configuration, and a copy of the network's genesis if given
    Init(init::InitArgs),
    /// Join a network by one string: make a home, fetch the genesis, run the node, register, enter its pool; stopped anywhere, it goes on
    /// from there
    Join(Box<join::JoinArgs>),
    /// Networks: make one, show one, invite into one
    Network {
        #[command(subcommand)]
        action: network::NetworkAction,
    },
    /// Start the node and keep it running until Ctrl-C or SIGTERM
    Run(run::RunArgs),
    /// Show what the running node knows of itself and its network
    Status(Json),
    /// Final blocks of the chain
    Block {
        #[command(subcommand)]
        action: read::BlockAction,
    },
    /// Epochs: when they are, which blocks closed them and made their scores final
    Epoch {
        #[command(subcommand)]
        action: read::EpochAction,
    },
    /// Scores of workers: what they are, why, and whether validators agree on them
    Score {
        #[command(subcommand)]
        action: score::ScoreAction,
    },
    /// Registered nodes, and what the home's node does about itself
    Node {
        #[command(subcommand)]
        action: node::NodeAction,
    },
    /// What the running node reads of its machine, now and in the past
    Resources(resources::ResourcesArgs),
    /// Payouts: what is owed, how far it is, and getting it without the pool's pushers
    Payout {
        #[command(subcommand)]
        action: payout::PayoutAction,
    },
    /// Pools: what their owners direct, alone or with the treasury signers, and who enters and leaves them
    Pool {
        #[command(subcommand)]
        action: pool::PoolAction,
    },
    /// Commands in files, which several sign
    #[command(name = "command")]
    Signed {
        #[command(subcommand)]
        action: command::CommandAction,
    },
    /// Validators
    Validator {
        #[command(subcommand)]
        action: validator::ValidatorAction,
    },
    /// Prove to others what the network says of a worker or an account, and check such a proof offline
    Proof {
        #[command(subcommand)]
        action: proof::ProofAction,
    },
    /// List connected peers; with --why, say of each peer that is connected, known or banned what the node does about it
    Peers(read::PeersArgs),
    /// Show, check or explain the configuration
    Config {
        #[command(subcommand)]
        action: config::ConfigAction,
    },
    /// The TRON network: its state, accounts, transactions
    Tron {
        #[command(subcommand)]
        action: tron::TronAction,
    },
    /// The payout vault of a pool: deploy, check, fund, post and push, pause, close, change
    Vault {
        #[command(subcommand)]
        action: vault::VaultAction,
    },
    /// Make, run and show a treasury signer in a process of its own
    Signer {
        #[command(subcommand)]
        action: signer::SignerAction,
    },
    /// Look after the store of a node that does not run: sizes, checks, repair, backups
    Db {
        #[command(subcommand)]
        action: db::DbAction,
    },
    /// Print version and build
    Version(Json),
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, Args)]
struct Json {
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is expected, for example log.filter=debug")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

pub(crate) fn epoch(text: &str) -> Result<Epoch, String> {
    text.parse().map(Epoch::new).map_err(|_| "an epoch number is expected".to_owned())
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. When stdout is gone there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "lucid: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever read our output has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|e| e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

/// What commands share: where the home is, and what goes before its configuration.
struct Context {
    home: Option<PathBuf>,
    set: Vec<(String, String)>,
}

impl Context {
    /// The home; that of the user if none is named.
    fn home(&self) -> anyhow::Result<Home> {
        Ok(Home::new(self.home.clone().map_or_else(default_home, Ok)?))
    }

    /// The home, if one is named.
    fn named_home(&self) -> Option<Home> {
        self.home.clone().map(Home::new)
    }

    /// With more that goes before the configuration.
    fn with(mut self, settings: impl Iterator<Item = (String, String)>) -> Self {
        self.set.extend(settings);
        self
    }

    fn configuration(&self) -> anyhow::Result<Loaded> {
        configuration(&self.home()?, &self.set)
    }

    /// The API of the home's node.
    fn node(&self) -> anyhow::Result<NodeApi> {
        let home = self.home()?;
        let is_known = home.genesis_file().exists();
        let network = is_known.then(|| home.load_genesis()).transpose()?.map(|loaded| loaded.network_id);
        NodeApi::of(self.configuration()?.config.api.listen, network).context("cannot ask the node")
    }

    fn api(&self) -> anyhow::Result<read::Api> {
        read::Api::new(self.node()?)
    }
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    let Cli { home, set, command } = cli;
    // Not every command needs a home, and those that do not work where none can be found.
    let context = Context { home: home.or_else(home_of_environment), set };
    match command {
        Command::Init(args) => init::init(&context.home()?, args, &context.set),
        Command::Join(args) => join::join(context, *args),
        Command::Network { action } => network::network(action, &context),
        Command::Run(arguments) => {
            let context = context.with(arguments.settings());
            let loaded = context.configuration()?;
            run::run(context.home()?, loaded)
        }
        Command::Status(json) => read::status(&context.api()?, json.json),
        Command::Block { action } => read::block(&context.api()?, action),
        Command::Epoch { action } => read::epoch(&context.api()?, action),
        Command::Score { action } => score::score(action, &context),
        Command::Node { action } => node::node(action, &context),
        Command::Validator { action } => validator::validator(action, &context),
        Command::Proof { action } => proof::proof(action, &context),
        Command::Resources(args) => resources::resources(args, &context),
        Command::Peers(args) => read::peers(&context.api()?, args),
        Command::Config { action } => config::config(&context.home()?, action, &context.set),
        Command::Payout { action } => payout::payout(action, &context),
        Command::Pool { action } => pool::pool(action, &context),
        Command::Signed { action } => command::command(action, &context),
        Command::Tron { action } => tron::tron(action, &context),
        Command::Vault { action } => vault::vault(action, &context),
        Command::Signer { action } => signer::signer(action),
        Command::Db { action } => db::db(action, &context),
        Command::Version(json) => output::version(json.json),
    }
}

/// Runs a command that waits for networks.
fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(command)
}

/// As for all variables, an empty one is not set; the parser of the command line would take it for a missing value.
fn home_of_environment() -> Option<PathBuf> {
    std::env::var_os("LUCID_HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

fn default_home() -> anyhow::Result<PathBuf> {
    let user = std::env::home_dir().ok_or_else(|| anyhow!("the user's home folder is unknown: give --home DIR"))?;
    Ok(user.join(".lucid"))
}

/// The home's configuration with environment and command line applied.
fn configuration(home: &Home, set: &[(String, String)]) -> anyhow::Result<Loaded> {
    load(&home.config_file(), environment(), set).map_err(Into::into)
}

/// The same of a home that is to be made with this configuration.
fn configuration_to_be(home: &Home, config: &Config, set: &[(String, String)]) -> anyhow::Result<Loaded> {
    read(&home.config_file(), &render(config), environment(), set).map_err(Into::into)
}

/// Variables that are no text are none of ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_description_is_consistent() {
        Cli::command().debug_assert();
    }

    /// What a command does to the world, and so how it is given.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Kind {
        /// Answers: in text or as JSON.
        Read,
        /// Answers in a form of its own, or runs a process.
        Other,
        /// Gives a command to the ledger: shows first what it does, and waits for its block unless told not to.
        Ledger,
        /// The same, but is final when it ends: a transaction on TRON, or a signature in a file.
        Send,
        /// Makes files that were not there, and says which.
        Make,
        /// Replaces files.
        Replace,
    }

    impl Kind {
        const fn options(self) -> &'static [&'static str] {
            match self {
                Self::Other => &[],
                Self::Read | Self::Make => &["json"],
                Self::Replace => &["yes", "json"],
                Self::Send => &["dry-run", "yes", "json"],
                Self::Ledger => &["dry-run", "yes", "json", "no-wait"],
            }
        }
    }

    /// Every command by its path.
    const KINDS: &[(Kind, &[&str])] = &[
        (Kind::Read, &["status", "peers", "version", "config show", "proof verify", "network show", "network policy"]),
        (
            Kind::Read,
            &[
                "block list",
                "block show",
                "epoch list",
                "epoch show",
                "epoch reports",
                "node show",
                "node list",
                "node metrics",
            ],
        ),
        (Kind::Read, &["payout list", "payout show", "payout batches", "payout export", "vault root"]),
        (Kind::Read, &["resources show", "resources history"]),
        (Kind::Read, &["score show", "score history", "score leaderboard", "score agreement", "score why"]),
        (Kind::Read, &["score verify", "score report", "score statistics", "score validate", "score validations"]),
        (Kind::Read, &["pool list", "pool show", "pool leader", "pool members", "pool requests"]),
        (Kind::Read, &["validator list", "validator status", "validator proposals"]),
        (
            Kind::Read,
            &["tron status", "tron balance", "tron tx", "tron estimate", "tron build-transfer", "tron key show"],
        ),
        (Kind::Read, &["vault show", "vault verify", "vault rehearse", "signer show", "db stats", "db check"]),
        (Kind::Other, &["run", "signer run", "score calc", "config check", "config doc"]),
        (Kind::Other, &["proof show score", "proof show owed", "proof show account"]),
        (
            Kind::Ledger,
            &["node register", "node update", "node payout-address", "node veto", "node maintenance", "node retire"],
        ),
        (Kind::Ledger, &["pool create", "pool update", "pool join", "pool leave", "pool approve", "pool refuse"]),
        (Kind::Ledger, &["pool ban", "pool unban", "pool transfer", "pool disband", "pool hold", "pool resume"]),
        (Kind::Ledger, &["pool suspend", "pool correct", "pool vault", "pool losses", "command submit"]),
        (Kind::Ledger, &["node rotate-key", "node veto-key", "validator rotate-key"]),
        (
            Kind::Ledger,
            &[
                "validator propose add",
                "validator propose remove",
                "validator propose power",
                "validator propose policy",
            ],
        ),
        (Kind::Ledger, &["validator approve", "validator withdraw", "validator resign", "validator approve-pool"]),
        (Kind::Ledger, &["vault rotate propose", "vault limits propose"]),
        (
            Kind::Send,
            &["join", "command sign", "payout claim", "vault deploy", "vault fund", "vault post", "vault push"],
        ),
        (Kind::Send, &["vault pause", "vault unpause", "vault close", "vault withdraw ask", "vault withdraw cancel"]),
        (Kind::Send, &["vault withdraw now", "vault rotate apply", "vault limits apply"]),
        (
            Kind::Make,
            &[
                "init",
                "network create",
                "network invite",
                "pool invite",
                "tron key new",
                "signer init",
                "validator keys",
            ],
        ),
        (Kind::Make, &["signer copy", "db backup", "db compact"]),
        (Kind::Replace, &["db repair", "db restore"]),
    ];

    #[test]
    fn every_command_has_the_options_of_its_kind() {
        fn leaves<'a>(command: &'a clap::Command, path: &str, found: &mut Vec<(String, &'a clap::Command)>) {
            for it in command.get_subcommands().filter(|it| it.get_name() != "help") {
                let path = format!("{path} {}", it.get_name()).trim().to_owned();
                if it.has_subcommands() { leaves(it, &path, found) } else { found.push((path, it)) }
            }
        }
        let mut cli = Cli::command();
        cli.build();
        let mut found = Vec::new();
        leaves(&cli, "", &mut found);
        let kinds: Vec<_> = KINDS.iter().flat_map(|(kind, paths)| paths.iter().map(|path| (*path, *kind))).collect();
        for (path, command) in &found {
            let of: Vec<_> = kinds.iter().filter(|(it, _)| it == path).map(|(_, kind)| *kind).collect();
            assert_eq!(of.len(), 1, "`lucid {path}` stands {} times in the table", of.len());
            let has = |option: &str| command.get_arguments().any(|it| it.get_long() == Some(option));
            for option in of[0].options() {
                assert!(has(option), "`lucid {path}` is {:?} and has no --{option}", of[0]);
            }
            assert_eq!(has("no-wait"), of[0] == Kind::Ledger, "{path}");
        }
        assert_eq!(found.len(), kinds.len(), "the table has commands that are none");
    }
}
