//! `lucid validator`: who decides, and what a validator's own node approves of.

use clap::Subcommand;
use lucid_types::command::{Action, ValidatorAction as Act};

use super::command::{GiveArgs, Giver};
use super::output::{self, or_dash};
use super::read::show;
use super::{Context, Json, block_on};
use crate::api::model::{ValidatorList, ValidatorView};

#[derive(Debug, Subcommand)]
pub(super) enum ValidatorAction {
    /// List the validators of the next block, with their power and what the chain holds against them
    List(Json),
    /// Approve of a forming pool, as the home's node, which is a validator: with members and more than a third of the power it is active
    ApprovePool {
        /// The pool, by name or id
        #[arg(value_name = "POOL")]
        pool: String,
        #[command(flatten)]
        give: GiveArgs,
    },
}

pub(super) fn validator(action: ValidatorAction, context: &Context) -> anyhow::Result<()> {
    match action {
        ValidatorAction::List(json) => list(json, context),
        ValidatorAction::ApprovePool { pool, give } => block_on(Box::pin(approve(&pool, &give, context))),
    }
}

fn list(json: Json, context: &Context) -> anyhow::Result<()> {
    show(json.json, &context.api()?.get::<ValidatorList>("validators")?, |list| {
        let row = |it: &ValidatorView| {
            let held =
                it.equivocation.map(|proved| format!("at {}, proved in block {}", proved.height, proved.proved_in));
            [it.node.to_string(), it.power.to_string(), it.operator.short(), or_dash(held)]
        };
        let rows: Vec<_> = list.validators.iter().map(row).collect();
        output::table(["validator", "power", "operator", "equivocation"], &rows)
    })
}

async fn approve(pool: &str, give: &GiveArgs, context: &Context) -> anyhow::Result<()> {
    let giver = Giver::open(context).await?;
    let pool = giver.ledger.pool(Some(pool))?.pool;
    let action = Action::Validator(Act::ApprovePool(pool));
    give.give(&giver, giver.key.node_id(), action, None).await
}
