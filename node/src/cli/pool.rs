//! `lucid pool`: pools, what their owners direct, alone or with the treasury signers, and how nodes enter and leave them.

mod invite;
mod leader;
mod list;
pub(in crate::cli) mod make;
pub(super) mod open;
mod show;

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, ensure};
use clap::{Args, Subcommand};
use lucid_types::amount::MicroUsdt;
use lucid_types::command::NodeAction;
use lucid_types::id::{NodeId, PoolId, TxId};
use lucid_types::payout_tree::AccountId;
use lucid_types::pool::PoolAction as Act;

use self::make::{CreateArgs, UpdateArgs};
use self::open::{DirectArgs, Pool, PoolArgs, one_of};
use super::command::{GiveArgs, Giver};
use super::entry::{TicketArgs, enter};
use super::node::of_itself;
use super::place::PlaceArgs;
use super::values::{self, IdPrefix};
use super::{Context, Json, block_on, vault};
use crate::enrolment::{Door, Entering};

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

const VAULT: &str = "\
How it goes:
  owner     lucid vault close --key-file owner.key               the former vault pays nothing any more, after the notice
  owner     lucid vault deploy --previous T... ... --out vault.toml    the next one
  owner     lucid pool vault vault.toml --file move.json
  signers   lucid command sign --file move.json                  as many of those in force as a payout root needs
  owner     lucid command submit --file move.json                a block takes it; the newest root is signed for the next vault
  owner     lucid vault fund --amount N                          members are paid what they are owed";

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
    /// Show who leads a pool, who takes over, and why: as the newest election had them
    Leader {
        /// The pool, by name or id [default: the home's own, or the network's only one]
        #[arg(value_name = "POOL")]
        pool: Option<String>,
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
    /// Replace the vault by one that was deployed with --previous; by the owner and the treasury signers in force
    Vault(Box<NextVaultArgs>),
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

/// Another vault of a pool.
#[derive(Debug, Args)]
#[command(after_help = VAULT)]
pub(super) struct NextVaultArgs {
    /// The next vault, as `lucid vault deploy --out FILE` wrote it
    #[arg(value_name = "VAULT_FILE")]
    vault: PathBuf,
    /// Where the vault has fewer than 2k - 1 signers: the transaction that deployed it or changed its signers last, which names them all
    #[arg(long, value_name = "TX_ID")]
    signers_tx: Option<TxId>,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    direct: DirectArgs,
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
        PoolAction::Leader { pool, json } => block_on(leader::leader(pool.as_deref(), json, context)),
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
        PoolAction::Vault(args) => block_on(Box::pin(next_vault(*args, context))),
        PoolAction::Losses { amount, direct: args } => direct(&args, Act::Losses(amount), context),
    }
}

async fn join(JoinArgs { pool, ticket, give }: &JoinArgs, context: &Context) -> anyhow::Result<()> {
    let giver = Giver::open(context).await?;
    let door = match returns(pool.as_deref(), &giver).await? {
        Some(pool) => Door::Return(pool),
        None => ticket.door(pool.as_deref(), &giver).await?.context("name the pool, or give --invite")?,
    };
    enter(&Entering::Join(door), give, &giver).await
}

/// The pool that is named, if the home's node has become inactive in it.
async fn returns(named: Option<&str>, giver: &Giver) -> anyhow::Result<Option<PoolId>> {
    let Some(named) = named else { return Ok(None) };
    let pool = giver.ledger.pool(Some(named))?.pool;
    let inactive = giver.node.registered(&giver.me.account).await?.inactive;
    Ok(inactive.filter(|it| it.pool == pool).map(|it| it.pool))
}

async fn next_vault(args: NextVaultArgs, context: &Context) -> anyhow::Result<()> {
    let NextVaultArgs { vault: file, signers_tx, place, direct } = args;
    let next = make::read_vault(&file)?;
    next.check().map_err(|problem| anyhow!("{}: {problem}", file.display()))?;
    let pool = Pool::open(&direct.pool, context).await?;
    let former = pool.view.vault.address;
    let net =
        place.connect(context).await.context("whether the next vault follows the former one must be seen on TRON")?;
    vault::check_next(net, former, &next, signers_tx).await?;
    direct.direct(pool, Act::Vault { former, next }).await
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
