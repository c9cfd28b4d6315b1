//! What an account enters the network or a pool with: stamps, which are worked out here, and invites.

use anyhow::{Context as _, ensure};
use clap::Args;
use lucid_types::join::{JoinPool, JoinString};
use lucid_types::stamp::{Stamp, StampTarget};

use super::act::{Interrupt, say};
use super::command::{GiveArgs, Giver};
use crate::api::model::StampView;
use crate::enrolment::stamp::{Wanted, tries_of};
use crate::enrolment::{Door, Entering};

/// What a node enters a pool with.
#[derive(Debug, Args)]
pub(super) struct TicketArgs {
    /// A join string with an invite, as `lucid pool invite` prints it
    #[arg(long, value_name = "STRING")]
    invite: Option<JoinString>,
}

impl TicketArgs {
    /// The invite in the string, if one is given.
    fn invite(&self, giver: &Giver) -> anyhow::Result<Option<&JoinPool>> {
        let Some(string) = &self.invite else { return Ok(None) };
        let own = giver.ledger.spec.id();
        ensure!(string.network == *own, "the invite is for the network {}, and the home's is {own}", string.network);
        let invited = string.pool.as_ref().filter(|pool| pool.invite().is_some());
        Ok(Some(
            invited
                .context("the join string has no invite: `lucid pool invite` of the pool's owner makes one that has")?,
        ))
    }

    /// The door to the pool that is named or invited to; `None` if neither is.
    pub(super) async fn door(&self, named: Option<&str>, giver: &Giver) -> anyhow::Result<Option<Door>> {
        let named = named.map(|named| giver.ledger.pool(Some(named))).transpose()?.map(|pool| pool.pool);
        let wanted = match self.invite(giver)? {
            Some(invited) => {
                let pool = invited.id();
                ensure!(
                    named.is_none_or(|named| named == pool),
                    "the invite is for the pool {pool}, which is not the one that is named"
                );
                Some(invited.clone())
            }
            None => named.map(JoinPool::Named),
        };
        let Some(wanted) = wanted else { return Ok(None) };
        let view = giver.node.pool(&wanted.id()).await?;
        Ok(Some(Door::of(&wanted, view.join).with_context(|| format!("the pool {}", view.name))?))
    }
}

/// Gives the command by which the home's account enters, with a stamp that is worked out first if it needs one.
pub(super) async fn enter(entering: &Entering, give: &GiveArgs, giver: &Giver) -> anyhow::Result<()> {
    let stamp = if entering.needs_stamp() { Some(work_out(entering, giver).await?) } else { None };
    give.give(giver, giver.me.account, entering.action(stamp), entering.key().as_ref()).await
}

/// Works out a stamp for the home's account. Ctrl-C ends it.
async fn work_out(entering: &Entering, giver: &Giver) -> anyhow::Result<Stamp> {
    let mut interrupt = Interrupt::listen()?;
    let pool = entering.pool();
    loop {
        let StampView { epoch, beacon, bits, .. } = giver.node.stamp(pool).await?;
        let target = StampTarget { network: *giver.ledger.spec.id(), account: giver.me.account, pool, beacon };
        say(&format!("working out a stamp of {bits} bits, for which about {} tries are needed", tries_of(bits)))?;
        // That nobody reads it is no reason to stop.
        let tell = |progress| drop(say(&format!("{progress}")));
        let found = tokio::select! {
            found = Wanted { target, epoch, bits }.search(giver.ledger.spec.fixed(), tell) => found.context("the search for a stamp failed")?,
            interrupted = interrupt.wait() => return Err(interrupted.context("no stamp was found yet, and nothing was sent")),
        };
        match found {
            Some(stamp) => return Ok(stamp),
            None => say("the epoch that the stamp is for is getting old: beginning anew with a newer one")?,
        }
    }
}
