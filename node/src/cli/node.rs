//! `lucid node`: registered nodes, and what the home's node does about itself.

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use lucid_types::attestation::Capacity;
use lucid_types::command::{Action, MAX_MAINTENANCE, MaintenanceScope, NodeAction as Act};
use lucid_types::id::{NodeId, PayoutAddress, PublicKey};
use lucid_types::time::Epoch;

use super::command::{GiveArgs, Giver};
use super::entry::{TicketArgs, enter};
use super::node_api::name;
use super::output::{self, or_dash};
use super::read::{self, MetricsArgs, percent, worker};
use super::values::{IdPrefix, id_prefix};
use super::{Context, Json, block_on, values};
use crate::api::model::{NodeFilter, NodeList, NodeRole, NodeState, RegisteredView};
use crate::clock::{Clock, SystemClock};
use crate::enrolment::{CapacityLimits, Entering, NewAccount};
use crate::home;
use crate::sampler::Sampler;

const EXAMPLES: &str = "\
Examples:
  lucid node register --payout-address T...                            into the network alone, by a stamp that is worked out here
  lucid node register --payout-address T... --pool POOL                into a pool that is open, or whose owner approves
  lucid node register --payout-address T... --invite lucid1...         into the pool that the string invites to
  lucid node payout-address T...                                       from the second payout root after on
  lucid node rotate-key                                                the same of the node's own key
  lucid node maintenance --for 8h                                      not measured for eight hours, from the second epoch after on
  lucid node list --pool POOL";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum NodeAction {
    /// Register the home's node: from then on it is an account of the network
    Register(Box<RegisterArgs>),
    /// Change what the home's node declares; what is not given stays as it is
    Update {
        #[command(flatten)]
        offer: OfferArgs,
        /// It never leads its pool any more
        #[arg(long, conflicts_with = "gas_address")]
        no_gas_address: bool,
        #[command(flatten)]
        give: GiveArgs,
    },
    /// Announce another payout address, which counts from the second payout root after on and can be vetoed until then
    PayoutAddress {
        /// The address
        #[arg(value_name = "ADDRESS", value_parser = values::address)]
        address: PayoutAddress,
        #[command(flatten)]
        give: GiveArgs,
    },
    /// Take back the announced payout address
    Veto(GiveArgs),
    /// Announce another node key, which is made in the home, is in force from the second payout root after on and can be vetoed until then
    ///
    /// The account stays. The running node changes its key by itself when the new one is in force; the home's node.key is the new one then.
    /// Its libp2p peer id is another from then on: give those who start from this node its new address.
    RotateKey {
        /// Announce another key than the one in the home's node.next.key, which is kept beside it
        #[arg(long)]
        new: bool,
        #[command(flatten)]
        give: GiveArgs,
    },
    /// Take back the announced node key
    ///
    /// Whoever has stolen the key can announce another one: until that is in force, this takes it back, whatever else is sent in the
    /// account's name.
    VetoKey(GiveArgs),
    /// Announce when the home's node is not measured, from the second epoch after on at the earliest: it counts neither for nor against it
    ///
    /// It is not drawn in these epochs, earns nothing, and loses nothing of its uptime. What is announced replaces what was announced before
    /// and has not begun.
    Maintenance(MaintenanceArgs),
    /// Leave the network for good: the account can do nothing any more, and what is owed to it stays owed
    Retire(GiveArgs),
    /// Show a registered node
    Show {
        /// Its id, or the first digits of a worker's as `lucid score leaderboard` shows them [default: the home's node]
        #[arg(value_name = "ID", value_parser = id_prefix)]
        node: Option<IdPrefix>,
        #[command(flatten)]
        json: Json,
    },
    /// List registered nodes
    List {
        /// Only the members of this pool, by name or id
        #[arg(long, value_name = "POOL")]
        pool: Option<String>,
        /// Only those that are this in the network
        #[arg(long, value_name = "ROLE")]
        role: Option<NodeRole>,
        /// Only those in this state, as the node that is asked knows them
        #[arg(long, value_name = "STATE")]
        state: Option<NodeState>,
        #[command(flatten)]
        json: Json,
    },
    /// List what a worker said of its machine: CPU, memory, disk, network, newest first
    ///
    /// The node that is asked keeps what it received for 90 days: once a minute, and in a network of more than 30 workers less often.
    Metrics(MetricsArgs),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("length").required(true))]
pub(super) struct MaintenanceArgs {
    /// The first epoch [default: the earliest]
    #[arg(long, value_name = "E", value_parser = super::epoch, conflicts_with = "end")]
    from: Option<Epoch>,
    /// For so many epochs, at most 5040
    #[arg(long, value_name = "N", group = "length", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_MAINTENANCE)))]
    epochs: Option<u32>,
    /// For so long, in whole epochs: 90m, 8h, 3d
    #[arg(long = "for", value_name = "DURATION", group = "length", value_parser = values::seconds)]
    seconds: Option<u32>,
    /// End what is announced or under way
    #[arg(long, group = "length")]
    end: bool,
    /// Only take no echoes and no storage; pings go on
    #[arg(long, conflicts_with = "end")]
    traffic: bool,
    #[command(flatten)]
    give: GiveArgs,
}

#[derive(Debug, Args)]
pub(super) struct RegisterArgs {
    /// Where what it earns is paid
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    payout_address: PayoutAddress,
    /// A public key kept elsewhere, without whose signature the payout address never changes: the node key of another home
    #[arg(long, value_name = "KEY")]
    payout_key: Option<PublicKey>,
    /// Who runs the node, and signs the command, too [default: the node itself]
    #[arg(long, value_name = "NODE_ID")]
    operator: Option<NodeId>,
    /// The pool that it enters, by name or id [default: the one of --invite, or none]
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    #[command(flatten)]
    ticket: TicketArgs,
    #[command(flatten)]
    offer: OfferArgs,
    #[command(flatten)]
    give: GiveArgs,
}

/// What a node declares.
#[derive(Debug, Args)]
pub(super) struct OfferArgs {
    /// The TRON account that pays for its transactions when it leads its pool [default: that of the home's gas key]
    #[arg(long, value_name = "ADDRESS", value_parser = values::address)]
    gas_address: Option<PayoutAddress>,
    #[command(flatten)]
    limits: CapacityLimits,
}

pub(super) fn node(action: NodeAction, context: &Context) -> anyhow::Result<()> {
    match action {
        NodeAction::Register(args) => block_on(Box::pin(register(*args, context))),
        NodeAction::Update { offer, no_gas_address, give } => {
            block_on(Box::pin(update(offer, no_gas_address, give, context)))
        }
        NodeAction::PayoutAddress { address, give } => of_itself(Act::PayoutAddress(address), &give, context),
        NodeAction::Veto(give) => of_itself(Act::VetoPayoutAddress, &give, context),
        NodeAction::RotateKey { new, give } => block_on(Box::pin(rotate_key(new, &give, context))),
        NodeAction::VetoKey(give) => of_itself(Act::VetoKey, &give, context),
        NodeAction::Maintenance(args) => block_on(Box::pin(maintain(&args, context))),
        NodeAction::Retire(give) => of_itself(Act::Retire, &give, context),
        NodeAction::Show { node, json } => show(node.as_ref(), json, context),
        NodeAction::List { pool, role, state, json } => block_on(list(pool.as_deref(), role, state, json, context)),
        NodeAction::Metrics(args) => read::metrics(&context.api()?, &args),
    }
}

/// A command of the home's own account.
pub(super) fn of_itself(action: Act, give: &GiveArgs, context: &Context) -> anyhow::Result<()> {
    block_on(Box::pin(async {
        let giver = Giver::open(context).await?;
        give.give(&giver, giver.me.account, Action::Node(action), None).await
    }))
}

async fn maintain(args: &MaintenanceArgs, context: &Context) -> anyhow::Result<()> {
    let giver = Giver::open(context).await?;
    let epochs = match (args.epochs, args.seconds) {
        (Some(epochs), _) => epochs,
        (None, Some(seconds)) => epochs_of(seconds, giver.ledger.spec.fixed().epoch_ms)?,
        (None, None) => 0,
    };
    let scope = if args.traffic { MaintenanceScope::Traffic } else { MaintenanceScope::All };
    let action = Act::Maintenance { from: args.from.unwrap_or(Epoch::ZERO), epochs, scope };
    args.give.give(&giver, giver.me.account, Action::Node(action), None).await
}

/// As many whole epochs as it takes.
fn epochs_of(seconds: u32, epoch_ms: u64) -> anyhow::Result<u32> {
    let epochs = u64::from(seconds).saturating_mul(1_000).div_ceil(epoch_ms.max(1));
    ensure!(
        (1..=u64::from(MAX_MAINTENANCE)).contains(&epochs),
        "that is {epochs} epochs; maintenance lasts from 1 to {MAX_MAINTENANCE}"
    );
    Ok(u32::try_from(epochs)?)
}

/// The next key is durable before anybody hears of it. One that is there is announced again: a command that does may be on its way.
async fn rotate_key(new: bool, give: &GiveArgs, context: &Context) -> anyhow::Result<()> {
    let (giver, home) = (Giver::open(context).await?, context.home()?);
    let next = match home.load_next_key()? {
        Some(key) if !new => key,
        _ => home::new_node_key()?,
    };
    let action = Action::Node(Act::RotateKey(next.public_key()));
    give.give_after(&giver, giver.me.account, action, Some(&next), || Ok(home.prepare_rotation(&next)?)).await?;
    if give.is_for_people() {
        output::print(&format!(
            "the new key is in {}; back it up. Until it is in force node.key is needed, too, and `lucid node veto-key` takes the new one back. \
             Leave the node running, or start it afterwards: it changes to the new key by itself, and its peer id is {} then\n",
            home.next_key_file().display(),
            or_dash(lucid_p2p::peer_id_string(&next.public_key())),
        ))?;
    }
    Ok(())
}

async fn register(args: RegisterArgs, context: &Context) -> anyhow::Result<()> {
    let RegisterArgs { payout_address, payout_key, operator, pool, ticket, offer, give } = args;
    let giver = Giver::open(context).await?;
    let account = giver.me.account;
    let (home, config) = (context.home()?, context.configuration()?.config);
    let gas_address = match offer.gas_address {
        Some(address) => Some(address),
        None => home.load_gas_key(&config)?.map(|key| key.address()),
    };
    let machine = Sampler::new(home.root()).and_then(|mut sampler| sampler.sample(SystemClock.now()));
    let machine = machine.context("what this machine has cannot be seen")?.capacity();
    let new = NewAccount {
        operator: operator.unwrap_or(account),
        payout_address,
        payout_key,
        gas_address,
        capacity: offer.limits.of(machine),
    };
    let entering = Entering::Register(new, ticket.door(pool.as_deref(), &giver).await?);
    enter(&entering, &give, &giver).await
}

async fn update(offer: OfferArgs, no_gas_address: bool, give: GiveArgs, context: &Context) -> anyhow::Result<()> {
    let giver = Giver::open(context).await?;
    let account = giver.me.account;
    let now = giver.node.registered(&account).await?;
    let gas_address = offer.gas_address.or(now.gas_address.filter(|_| !no_gas_address));
    let capacity = offer.limits.of(now.capacity);
    ensure!((gas_address, capacity) != (now.gas_address, now.capacity), "nothing would change");
    give.give(&giver, account, Action::Node(Act::Update { gas_address, capacity }), None).await
}

/// What is announced and not over.
fn maintenance(view: &RegisteredView) -> Option<String> {
    let all: Vec<_> = view.maintenance.iter().map(read::maintenance_text).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn roles(view: &RegisteredView) -> String {
    view.roles.iter().map(|role| name(*role)).collect::<Vec<_>>().join(", ")
}

/// A state's name, and why a node is in it.
const fn explained(of: NodeState) -> &'static str {
    match of {
        NodeState::Starting => "starting: it attests, and was not measured yet",
        NodeState::Ready => "ready: validators reach it",
        NodeState::Busy => "busy: validators reach it, and all that it offers is in use",
        NodeState::Maintenance => "maintenance: as it has announced, or it declares that it offers nothing",
        NodeState::Offline => "offline: it does not attest, and validators did not reach it",
        NodeState::Error => "error: it attests, and validators did not reach it",
    }
}

fn show(node: Option<&IdPrefix>, json: Json, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let id = match node {
        Some(node) => worker(&api, node)?,
        None => context.home()?.load_identity()?.account,
    };
    read::show(json.json, &api.get::<RegisteredView>(&format!("nodes/{id}"))?, text)
}

fn text(view: &RegisteredView) -> String {
    let membership = view.membership.map(|it| {
        let until = it.until.map_or_else(String::new, |until| format!(", until before epoch {until}"));
        format!("{}, from epoch {} on{until}", it.pool, it.from)
    });
    let next_key = view.next_key.map(|next| format!("{}, from settlement {} on", next.key, next.from));
    let next = view.next_payout.map(|next| format!("{}, from settlement {} on", next.address, next.from));
    let Capacity { cores, memory_bytes, disk_bytes, bandwidth_kbit_s } = view.capacity;
    let mut lines = vec![
        ("node", view.node.to_string()),
        ("node key", view.key.to_string()),
        ("announced key", or_dash(next_key)),
        ("operator", view.operator.to_string()),
        ("state", explained(view.state).to_owned()),
        ("roles", roles(view)),
        ("pool", or_dash(membership)),
        ("inactive in", or_dash(view.inactive.map(|it| format!("{}, since epoch {}", it.pool, it.since)))),
        ("maintenance", or_dash(maintenance(view))),
        ("request waits in", or_dash(view.request)),
        ("paid to", view.payout_address.to_string()),
        ("announced address", or_dash(next)),
        ("payout key", or_dash(view.payout_key)),
        ("gas account", or_dash(view.gas_address)),
        (
            "offers",
            format!("{cores} cores, {memory_bytes} bytes of memory, {disk_bytes} of disk, {bandwidth_kbit_s} kbit/s"),
        ),
        ("attested in epoch", or_dash(view.attested)),
        ("in use", or_dash(view.allocation_ppm.map(|part| format!("{} %", percent(part))))),
        ("score of 100", or_dash(view.score_ppm.map(percent))),
    ];
    if view.is_retired {
        lines.push(("retired", "it has left for good".to_owned()));
    }
    output::pairs(&lines)
}

async fn list(
    pool: Option<&str>,
    role: Option<NodeRole>,
    state: Option<NodeState>,
    json: Json,
    context: &Context,
) -> anyhow::Result<()> {
    let node = context.node()?;
    let pool = match pool {
        Some(named) => Some(Giver::open(context).await?.ledger.pool(Some(named))?.pool),
        None => None,
    };
    let list = NodeList { nodes: node.registered_nodes(NodeFilter { pool, role, state }).await?, next: None };
    read::show(json.json, &list, |list| {
        let row = |it: &RegisteredView| {
            [
                it.node.to_string(),
                if it.is_retired { "retired".to_owned() } else { name(it.state) },
                roles(it),
                or_dash(it.membership.map(|it| it.pool.short())),
                or_dash(it.membership.map(|it| it.from)),
                or_dash(it.membership.and_then(|it| it.until)),
                or_dash(it.score_ppm.map(percent)),
            ]
        };
        let rows: Vec<_> = list.nodes.iter().map(row).collect();
        output::table(["node", "state", "roles", "pool", "from epoch", "until", "score of 100"], &rows)
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn maintenance_is_of_whole_epochs() {
        let of = |seconds| epochs_of(seconds, 120_000).unwrap();
        assert_eq!([1, 120, 121, 8 * 3_600, 7 * 86_400].map(of), [1, 1, 2, 240, 5_040]);
        for seconds in [0, 7 * 86_400 + 1, u32::MAX] {
            let error = epochs_of(seconds, 120_000).unwrap_err().to_string();
            assert!(error.contains("from 1 to 5040"), "{error}");
        }
    }
}
