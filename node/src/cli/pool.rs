//! `lucid pool`: pools, what their owners direct, alone or with the treasury signers, and how nodes enter and leave them.

mod invite;
mod list;
mod make;
pub(super) mod open;
mod show;

use anyhow::{bail, ensure};
use clap::{Args, Subcommand};
use lucid_types::amount::MicroUsdt;
use lucid_types::command::{Action, NodeAction};
use lucid_types::id::NodeId;
use lucid_types::payout_tree::AccountId;
use lucid_types::pool::PoolAction as Act;

use self::make::{CreateArgs, UpdateArgs};
use self::open::{DirectArgs, Pool, PoolArgs, one_of};
use super::command::{GiveArgs, Giver};
use super::entry::{Opening, TicketArgs};
use super::node::of_itself;
use super::values::{self, IdPrefix};
use super::{Context, Json, block_on};

const EXAMPLES: &str = "\
Examples:
  lucid pool show
  lucid pool join POOL                                       with a stamp, or a request if the owner approves of members
  lucid pool join --invite lucid1...
  lucid pool hold NODE_ID                                    by the owner alone: signed and sent in one step
  lucid pool losses 125.5 --file losses.json                 by the owner and the treasury signers:
  lucid command sign --file losses.json                        each signer, in its node's home
  lucid command submit --file losses.json                      whoever signed last

A command is signed with the key of the home's node, which must run.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum PoolAction {
    /// List all pools
    List(Json),
    /// Show a pool: what it owes, its vault, its leader, and what a person should look at
    Show {
        #[command(flatten)]
        pool: PoolArgs,
        #[command(flatten)]
        json: Json,
    },
    /// List the members of a pool, and those who were and have something to come
    Members {
        #[command(flatten)]
        pool: PoolArgs,
        #[command(flatten)]
        json: Json,
    },
    /// List the nodes that have asked to enter a pool
    Requests {
        #[command(flatten)]
        pool: PoolArgs,
        #[command(flatten)]
        json: Json,
    },
    /// Create a pool, whose owner is the home's node; it shares nothing out before it has members and validators approve of it
    Create(Box<CreateArgs>),
    /// Change a pool's terms and who gets in; what is not given stays as it is
    Update(Box<UpdateArgs>),
    /// Print a join string that opens the pool for whoever holds it; by the pool's owner
    Invite(invite::PoolInviteArgs),
    /// Enter a pool with the home's node, which is registered
    Join(Box<JoinArgs>),
    /// Leave the pool of the home's node, or take back its request
    Leave(GiveArgs),
    /// Let a node in that has asked
    Approve(AskingArgs),
    /// Do not let a node in that has asked
    Refuse(AskingArgs),
    /// End a node's membership, and keep it out
    Ban {
        /// The node: its id, or as many of its first digits as no other member has
        #[arg(value_name = "NODE_ID", value_parser = values::id_prefix)]
        node: IdPrefix,
        #[command(flatten)]
        direct: DirectArgs,
    },
    /// End a ban; the node is not a member by that
    Unban(MemberArgs),
    /// Make another account the owner, which signs the command, too
    Transfer {
        /// The next owner
        #[arg(value_name = "NODE_ID")]
        owner: NodeId,
        #[command(flatten)]
        direct: DirectArgs,
    },
    /// End the pool: its members leave it, and what is owed stays owed
    Disband(DirectArgs),
    /// Set a member's earnings aside for at most seven settlements, from the second one after the block that takes it
    Hold(MemberArgs),
    /// End a hold: what was set aside is owed from the next settlement on
    Resume(MemberArgs),
    /// Make no payout roots any more, from the second settlement after; what was posted stays payable
    Suspend {
        /// Make them again
        #[arg(long)]
        end: bool,
        #[command(flatten)]
        direct: DirectArgs,
    },
    /// Owe an account more, because a theft was booked on it; by the owner and the treasury signers
    Correct {
        /// The account
        #[arg(value_name = "ACCOUNT_ID")]
        account: AccountId,
        /// How much more
        #[arg(value_name = "USDT", value_parser = values::some_usdt, allow_negative_numbers = true)]
        amount: MicroUsdt,
        #[command(flatten)]
        direct: DirectArgs,
    },
    /// Raise the total of the newest root by what was taken from the vault under ids that the ledger does not know; by the owner
    /// and the treasury signers
    Losses {
        /// How much was taken
        #[arg(value_name = "USDT", value_parser = values::some_usdt, allow_negative_numbers = true)]
        amount: MicroUsdt,
        #[command(flatten)]
        direct: DirectArgs,
    },
}

#[derive(Debug, Args)]
pub(super) struct JoinArgs {
    /// The pool, by name or id [default: the one of --invite]
    #[arg(value_name = "POOL", required_unless_present = "invite")]
    pool: Option<String>,
    #[command(flatten)]
    ticket: TicketArgs,
    #[command(flatten)]
    give: GiveArgs,
}

/// A node that has asked to enter.
#[derive(Debug, Args)]
pub(super) struct AskingArgs {
    /// The node: its id, or as many of its first digits as no other that asks has
    #[arg(value_name = "NODE_ID", value_parser = values::id_prefix)]
    node: IdPrefix,
    #[command(flatten)]
    direct: DirectArgs,
}

#[derive(Debug, Args)]
pub(super) struct MemberArgs {
    /// The member's node: its id, or as many of its first digits as no other member has
    #[arg(value_name = "NODE_ID", value_parser = values::id_prefix)]
    node: IdPrefix,
    #[command(flatten)]
    direct: DirectArgs,
}

pub(super) fn pool(action: PoolAction, context: &Context) -> anyhow::Result<()> {
    match action {
        PoolAction::List(json) => block_on(list::pools(json, context)),
        PoolAction::Members { pool, json } => block_on(list::members(&pool, json, context)),
        PoolAction::Requests { pool, json } => block_on(list::requests(&pool, json, context)),
        PoolAction::Create(args) => block_on(Box::pin(make::create(*args, context))),
        PoolAction::Update(args) => block_on(Box::pin(make::update(*args, context))),
        PoolAction::Invite(args) => invite::invite(args, context),
        PoolAction::Join(args) => block_on(Box::pin(join(&args, context))),
        PoolAction::Leave(give) => of_itself(NodeAction::Leave, &give, context),
        PoolAction::Approve(args) => of_asking(&args, Act::Approve, context),
        PoolAction::Refuse(args) => of_asking(&args, Act::Refuse, context),
        PoolAction::Ban { node, direct: args } => of_node(&node, &args, Act::Ban, context),
        PoolAction::Unban(args) => of_member(&args, Act::Unban, context),
        PoolAction::Transfer { owner, direct: args } => direct(&args, Act::Transfer(owner), context),
        PoolAction::Disband(args) => direct(&args, Act::Disband, context),
        PoolAction::Show { pool, json } => block_on(show::show(&pool, json.json, context)),
        PoolAction::Hold(args) => of_member(&args, Act::Hold, context),
        PoolAction::Resume(args) => of_member(&args, Act::Resume, context),
        PoolAction::Suspend { end, direct: args } => direct(&args, Act::Suspend(!end), context),
        PoolAction::Correct { account, amount, direct: args } => {
            direct(&args, Act::Correct { account, amount }, context)
        }
        PoolAction::Losses { amount, direct: args } => direct(&args, Act::Losses(amount), context),
    }
}

async fn join(JoinArgs { pool, ticket, give }: &JoinArgs, context: &Context) -> anyhow::Result<()> {
    let giver = Giver::open(context).await?;
    let Some(Opening { pool, ticket, key }) = ticket.opening(pool.as_deref(), &giver).await? else {
        bail!("name the pool, or give --invite")
    };
    let action = Action::Node(NodeAction::Join { pool, ticket });
    give.give(&giver, giver.key.node_id(), action, key.as_ref()).await
}

fn of_member(args: &MemberArgs, action: fn(NodeId) -> Act, context: &Context) -> anyhow::Result<()> {
    block_on(Box::pin(async {
        let pool = Pool::open(&args.direct.pool, context).await?;
        let node = pool.member(&args.node).await?;
        args.direct.direct(pool, action(node)).await
    }))
}

/// Of a node that may be no member: then all of its id is given.
fn of_node(node: &IdPrefix, args: &DirectArgs, action: fn(NodeId) -> Act, context: &Context) -> anyhow::Result<()> {
    block_on(Box::pin(async {
        let pool = Pool::open(&args.pool, context).await?;
        let node = match node.whole() {
            Some(node) => node,
            None => pool.member(node).await?,
        };
        args.direct(pool, action(node)).await
    }))
}

fn of_asking(args: &AskingArgs, action: fn(NodeId) -> Act, context: &Context) -> anyhow::Result<()> {
    block_on(Box::pin(async {
        let pool = Pool::open(&args.direct.pool, context).await?;
        let requests = pool.giver.node.requests(&pool.view.pool).await?.requests;
        ensure!(!requests.is_empty(), "no node has asked to enter the pool {}", pool.view.name);
        let asking = requests.iter().map(|request| request.node);
        let node = one_of(asking, &args.node, &format!("nodes that have asked to enter the pool {}", pool.view.name))?;
        args.direct.direct(pool, action(node)).await
    }))
}

fn direct(args: &DirectArgs, action: Act, context: &Context) -> anyhow::Result<()> {
    block_on(Box::pin(async {
        let pool = Pool::open(&args.pool, context).await?;
        args.direct(pool, action).await
    }))
}
