//! What an account enters the network or a pool with: stamps, which are worked out here, and invites.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Args;
use lucid_types::command::Entry;
use lucid_types::id::PoolId;
use lucid_types::join::{BearerInvite, JoinString};
use lucid_types::key::NodeKey;
use lucid_types::pool::JoinPolicy;
use lucid_types::stamp::{Stamp, StampTarget};
use lucid_types::ticket::Ticket;

use super::act::{Interrupt, say};
use super::command::Giver;
use super::values::duration_of;
use crate::api::model::StampView;

/// Tries between two looks at the clock and at whether to stop: well below a second's.
const SLICE: u64 = 1 << 16;
/// Between two lines about how far it is.
const TELL: Duration = Duration::from_secs(5);
/// Epochs after which a stamp is begun anew for a newer one: half of those for which stamps are taken.
const EPOCHS_TO_SEARCH: u32 = 4;

/// What a node enters a pool with.
#[derive(Debug, Args)]
pub(super) struct TicketArgs {
    /// A join string with an invite, as `lucid pool invite` prints it
    #[arg(long, value_name = "STRING")]
    invite: Option<JoinString>,
}

/// What opens a pool, and the key that signs with it, if there is one.
pub(super) struct Opening {
    pub(super) pool: PoolId,
    pub(super) ticket: Ticket,
    pub(super) key: Option<NodeKey>,
}

impl TicketArgs {
    /// The invite in the string, if one is given.
    fn invite(&self, giver: &Giver) -> anyhow::Result<Option<&BearerInvite>> {
        let Some(string) = &self.invite else { return Ok(None) };
        let own = giver.ledger.spec.id();
        ensure!(string.network == *own, "the invite is for the network {}, and the home's is {own}", string.network);
        let invited = string.pool.as_ref().and_then(|pool| pool.invite());
        Ok(Some(
            invited
                .context("the join string has no invite: `lucid pool invite` of the pool's owner makes one that has")?,
        ))
    }

    /// What opens the pool that is named or invited to; `None` if neither is.
    pub(super) async fn opening(&self, named: Option<&str>, giver: &Giver) -> anyhow::Result<Option<Opening>> {
        let named = named.map(|named| giver.ledger.pool(Some(named))).transpose()?.map(|pool| pool.pool);
        if let Some(bearer) = self.invite(giver)? {
            let pool = bearer.invite().record.pool;
            ensure!(
                named.is_none_or(|named| named == pool),
                "the invite is for the pool {pool}, which is not the one that is named"
            );
            let ticket = Ticket::Invite(bearer.invite().clone());
            return Ok(Some(Opening { pool, ticket, key: Some(bearer.key()) }));
        }
        let Some(pool) = named else { return Ok(None) };
        let view = giver.node.pool(&pool).await?;
        let ticket: fn(Stamp) -> Ticket = match view.join {
            JoinPolicy::Open => Ticket::Stamp,
            JoinPolicy::Approval => Ticket::Request,
            JoinPolicy::Invite => bail!(
                "the pool {} takes invites only: ask its owner for a join string with one, and give it with --invite",
                view.name
            ),
        };
        Ok(Some(Opening { pool, ticket: ticket(work_out(giver, Some(pool)).await?), key: None }))
    }

    /// By what an account registers: the pool that is named or invited to, or the network alone.
    pub(super) async fn entry(&self, named: Option<&str>, giver: &Giver) -> anyhow::Result<(Entry, Option<NodeKey>)> {
        Ok(match self.opening(named, giver).await? {
            Some(Opening { pool, ticket, key }) => (Entry::Pool { pool, ticket }, key),
            None => (Entry::Network(work_out(giver, None).await?), None),
        })
    }
}

/// Works out a stamp for the home's account. Ctrl-C ends it.
async fn work_out(giver: &Giver, pool: Option<PoolId>) -> anyhow::Result<Stamp> {
    let patience = giver.ledger.policy().epoch().saturating_mul(EPOCHS_TO_SEARCH);
    let mut interrupt = Interrupt::listen()?;
    loop {
        let StampView { epoch, beacon, bits, .. } = giver.node.stamp(pool).await?;
        let target = StampTarget { network: *giver.ledger.spec.id(), account: giver.key.node_id(), pool, beacon };
        say(&format!("working out a stamp of {bits} bits, for which about {} tries are needed", tries_of(bits)))?;
        let search = Search { bits, begun: Instant::now(), patience, stop: Arc::default() };
        let stop = Arc::clone(&search.stop);
        let found = tokio::task::spawn_blocking(move || search.run(|from| target.search(epoch, bits, from, SLICE)));
        let found = tokio::select! {
            found = found => found.context("the search for a stamp failed")??,
            interrupted = interrupt.wait() => {
                stop.store(true, Ordering::Relaxed);
                return Err(interrupted.context("no stamp was found yet, and nothing was sent"));
            }
        };
        match found {
            Some(stamp) => return Ok(stamp),
            None => say("the epoch that the stamp is for is getting old: beginning anew with a newer one")?,
        }
    }
}

fn tries_of(bits: u8) -> u64 {
    1_u64.checked_shl(bits.into()).unwrap_or(u64::MAX)
}

/// A search for a stamp, slice by slice.
struct Search {
    bits: u8,
    begun: Instant,
    patience: Duration,
    stop: Arc<AtomicBool>,
}

impl Search {
    /// The stamp; `None` after so long that another one should be searched for. `slice` tries some nonces from one on.
    fn run(self, slice: impl Fn(u64) -> Result<Stamp, u64>) -> anyhow::Result<Option<Stamp>> {
        let (mut from, mut told) = (0, self.begun);
        while self.begun.elapsed() < self.patience {
            if self.stop.load(Ordering::Relaxed) {
                return Err(anyhow!("stopped"));
            }
            match slice(from) {
                Ok(stamp) => return Ok(Some(stamp)),
                Err(next) => from = next,
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                say(&self.progress(from, self.begun.elapsed()))?;
            }
        }
        Ok(None)
    }

    /// How far it is. Luck has no memory: however many tries there were, as many are to come.
    fn progress(&self, tries: u64, elapsed: Duration) -> String {
        let rate = u128::from(tries).saturating_mul(1_000).checked_div(elapsed.as_millis()).unwrap_or(0).max(1);
        let left = u64::try_from(u128::from(tries_of(self.bits)) / rate).unwrap_or(u64::MAX);
        format!("{tries} tries, {rate} a second: it takes about {} more", duration_of(left.max(1)))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::time::Epoch;

    use super::*;

    fn search(patience: Duration) -> Search {
        Search { bits: 24, begun: Instant::now(), patience, stop: Arc::default() }
    }

    #[test]
    fn a_search_goes_on_slice_by_slice_and_can_be_stopped() {
        let found =
            |from| if from >= 3 * SLICE { Ok(Stamp { epoch: Epoch::new(1), nonce: from }) } else { Err(from + SLICE) };
        let stamp = search(Duration::MAX).run(found).unwrap().unwrap();
        assert_eq!(stamp.nonce, 3 * SLICE);
        assert_eq!(search(Duration::ZERO).run(found).unwrap(), None, "its time is over");
        let stopped = search(Duration::MAX);
        let stop = Arc::clone(&stopped.stop);
        let error = stopped.run(|from| {
            stop.store(from > 0, Ordering::Relaxed);
            Err(from + SLICE)
        });
        assert!(error.is_err());
    }

    #[test]
    fn it_is_said_how_long_it_takes() {
        let told = search(Duration::MAX).progress(1 << 20, Duration::from_secs(1));
        assert_eq!(told, "1048576 tries, 1048576 a second: it takes about 16 s more");
    }
}
