//! A pool as the home's running node has it.

use anyhow::{bail, ensure};
use clap::Args;
use lucid_types::command::Action;
use lucid_types::id::NodeId;
use lucid_types::pool::PoolAction;

use crate::api::model::{MemberView, PoolView};
use crate::cli::Context;
use crate::cli::command::{GiveArgs, Giver};
use crate::cli::values::IdPrefix;

#[derive(Debug, Args)]
pub(in crate::cli) struct PoolArgs {
    /// The pool, by name or id [default: the home's own, or the network's only one]
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
}

/// How a pool is directed.
#[derive(Debug, Args)]
pub(in crate::cli) struct DirectArgs {
    #[command(flatten)]
    pub(in crate::cli) pool: PoolArgs,
    #[command(flatten)]
    give: GiveArgs,
}

impl DirectArgs {
    /// Gives a command of the pool's owner.
    pub(in crate::cli) async fn direct(&self, pool: Pool, action: PoolAction) -> anyhow::Result<()> {
        let Pool { giver, view } = pool;
        self.give.give(&giver, view.owner, Action::Pool { pool: view.pool, action }, None).await
    }
}

/// See the module.
pub(in crate::cli) struct Pool {
    pub(in crate::cli) giver: Giver,
    pub(in crate::cli) view: PoolView,
}

impl Pool {
    pub(in crate::cli) async fn open(args: &PoolArgs, context: &Context) -> anyhow::Result<Self> {
        let giver = Giver::open(context).await?;
        let view = giver.node.pool(&giver.ledger.pool(args.pool.as_deref())?.pool).await?;
        Ok(Self { giver, view })
    }

    /// The one member whose id begins so.
    pub(super) async fn member(&self, id: &IdPrefix) -> anyhow::Result<NodeId> {
        member(&self.view.name, &self.giver.node.members(&self.view.pool).await?.members, id)
    }
}

/// The contract takes changes in their order, so one that it has not taken holds up all after it.
pub(in crate::cli) fn check_order(view: &PoolView) -> anyhow::Result<()> {
    let Some(contract) = &view.contract else {
        bail!(
            "the home's node does not read the vault (tron.providers): whether the earlier changes are in force is not known"
        );
    };
    ensure!(
        contract.nonce >= view.vault.nonce,
        "the contract has taken {} of the ledger's {} changes of signers and limits: send the others first, with \
         `lucid vault rotate apply` and `lucid vault limits apply`",
        contract.nonce,
        view.vault.nonce
    );
    Ok(())
}

fn member(pool: &str, members: &[MemberView], id: &IdPrefix) -> anyhow::Result<NodeId> {
    one_of(members.iter().map(|member| member.node), id, &format!("members of the pool {pool}"))
}

/// The one node of some whose id begins so.
pub(super) fn one_of(nodes: impl Iterator<Item = NodeId>, id: &IdPrefix, what: &str) -> anyhow::Result<NodeId> {
    let mut found = nodes.filter(|node| id.matches(node));
    match (found.next(), found.next()) {
        (Some(node), None) => Ok(node),
        (Some(first), Some(second)) => bail!(
            "several {what} have an id that begins with {id}; give more of it: {first}, {second}{}",
            if found.next().is_some() { ", ..." } else { "" }
        ),
        (None, _) => bail!("none of the {what} has an id that begins with {id}"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::api::model::MemberState;
    use crate::cli::values::id_prefix;

    fn members() -> Vec<MemberView> {
        let node = |last| {
            let mut id = [0xab; 32];
            id[31] = last;
            NodeId::from_bytes(id)
        };
        let view = |node| MemberView {
            node,
            from: None,
            until: None,
            payout_address: None,
            gas_address: None,
            state: MemberState::Active,
            is_held: false,
            unreached: 0,
        };
        [NodeId::from_bytes([0xcd; 32]), node(1), node(2), node(3)].map(view).to_vec()
    }

    #[test]
    fn a_member_is_named_by_enough_of_its_id_and_never_guessed() {
        let members = members();
        let member =
            |text: &str| member("local", &members, &id_prefix(text).unwrap()).map_err(|error| error.to_string());
        assert_eq!(member("cdcd").unwrap(), members[0].node);
        assert_eq!(member(&members[2].node.to_string()).unwrap(), members[2].node);
        let error = member("abab").unwrap_err();
        assert!(error.contains("give more of it") && error.ends_with(", ..."), "{error}");
        for text in ["abcd", &NodeId::from_bytes([5; 32]).to_string()] {
            assert!(
                member(text).unwrap_err().contains("none of the members of the pool local has an id that begins with"),
                "{text}"
            );
        }
    }
}
