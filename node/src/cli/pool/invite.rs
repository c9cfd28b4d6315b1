//! `lucid pool invite`: a join string that opens a pool. Whoever holds it can enter, until it is used up or its time is over.

use anyhow::{Context as _, ensure};
use clap::Args;
use lucid_types::id::{NetworkId, PoolId};
use lucid_types::join::{BearerInvite, JoinPool};
use lucid_types::key::NodeKey;
use lucid_types::ticket::Invite;
use lucid_types::time::UnixMillis;
use zeroize::Zeroizing;

use super::open::{Pool, PoolArgs};
use crate::cli::network::invite;
use crate::cli::place::now_s;
use crate::cli::{Context, block_on, values};

/// What the invite is good for.
#[derive(Debug, Args)]
pub(in crate::cli) struct PoolInviteArgs {
    #[command(flatten)]
    pool: PoolArgs,
    /// How many nodes may enter with it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    /// How long it is good for
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = values::seconds)]
    valid_for: u32,
    #[command(flatten)]
    string: invite::InviteArgs,
}

pub(super) fn invite(args: PoolInviteArgs, context: &Context) -> anyhow::Result<()> {
    let PoolInviteArgs { pool, uses, valid_for, string } = args;
    let mut made = None;
    block_on(async {
        let Pool { giver, view } = Pool::open(&pool, context).await?;
        ensure!(
            giver.me.account == view.owner,
            "only the owner of the pool {} invites into it: use the home of {}",
            view.name,
            view.owner
        );
        made = Some(bearer(&giver.me.key, giver.ledger.spec.id(), view.pool, (uses, valid_for))?);
        Ok(())
    })?;
    invite::invite(string, made.map(JoinPool::Invited), context)
}

/// An invite for so many nodes and seconds, with a new key of its own, which nobody else has.
fn bearer(
    owner: &NodeKey,
    network: &NetworkId,
    pool: PoolId,
    (uses, valid_for): (u32, u32),
) -> anyhow::Result<BearerInvite> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).context("the operating system gives no random bytes")?;
    let key = NodeKey::from_seed(&seed);
    let until = UnixMillis::new(now_s().saturating_add(valid_for.into()).saturating_mul(1_000));
    let invite = owner.sign_invite(network, Invite { pool, key: key.public_key(), until, uses });
    Ok(BearerInvite::new(invite.into_inner(), &key)?)
}
