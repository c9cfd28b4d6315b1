//! The watcher: what this validator reports of the payment network with each commit.
//!
//! Shortly before an epoch ends it reads solidified blocks, treasuries and the fate of every open attempt. What the
//! providers do not answer in time is left out: scoring goes on, no attempts open, and receipts follow an epoch later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use lucid_consensus::ledger::state::State;
use lucid_consensus::network::Network;
use lucid_consensus::replica::PaymentView;
use lucid_tron_bridge::observer::{ObserveError, Observer, Standing};
use lucid_types::commit::Commit;
use lucid_types::id::{PayoutId, PoolId};
use lucid_types::payout::{PayoutAttempt, ReceiptVote, SolidBlock, TreasuryView, Verdict};
use lucid_types::time::{EpochNumber, UnixMillis};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::clock::Clock;

/// The longest the watcher sleeps: the clock may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// The longest time before the end of an epoch at which it looks.
const LONGEST_LOOK: Duration = Duration::from_secs(10);
/// Attempts that are judged, and treasuries that are read, at a time: providers limit their clients.
const AT_ONCE: usize = 8;

/// What the watcher works with.
pub struct WatcherParts {
    /// The network.
    pub network: Arc<Network>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The providers.
    pub observer: Arc<Observer>,
    /// The newest block, with the open attempts.
    pub head: watch::Receiver<Head>,
    /// Takes the view.
    pub view: watch::Sender<PaymentView>,
}

/// The watcher. [`Self::run`] it.
pub struct Watcher {
    parts: WatcherParts,
    /// Verdicts on attempts that are still open: none is ever judged again.
    ended: BTreeMap<(PayoutId, u32), Verdict>,
}

impl Watcher {
    /// A watcher that has not looked yet.
    pub const fn new(parts: WatcherParts) -> Self {
        Self { parts, ended: BTreeMap::new() }
    }

    /// Looks once an epoch until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let before_end = (self.parts.network.policy().epoch() / 4).min(LONGEST_LOOK);
        let mut last = EpochNumber::ZERO;
        loop {
            let (epoch, rest) = self.next_look(last, before_end);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(rest.min(LONGEST_SLEEP)) => {}
            }
            if rest > LONGEST_SLEEP {
                continue;
            }
            let view = tokio::select! {
                () = stop.cancelled() => return,
                view = self.look(Instant::now() + before_end) => view,
            };
            self.parts.view.send_replace(view);
            last = epoch;
        }
    }

    /// The epoch to look in next, and how long until then by the clock as it is now set.
    fn next_look(&self, last: EpochNumber, before_end: Duration) -> (EpochNumber, Duration) {
        let genesis = self.parts.network.genesis();
        let now = self.parts.clock.now();
        let current = genesis.epoch_at(now).max(EpochNumber::new(1));
        let epoch = if current == last { current.next() } else { current };
        let due = UnixMillis::new(genesis.epoch_end(epoch).get().saturating_sub(millis(before_end)));
        (epoch, now.until(due))
    }

    /// What can be seen until `deadline`.
    async fn look(&mut self, deadline: Instant) -> PaymentView {
        let state = Arc::clone(&self.parts.head.borrow().state);
        let open = open_attempts(&state);
        self.ended.retain(|key, _| open.iter().any(|attempt| (attempt.payout, attempt.attempt) == *key));
        let policy = self.parts.network.policy();
        let waiting: BTreeSet<_> = state.payouts.values().filter(|p| p.is_waiting(policy)).map(|p| p.pool).collect();
        let pools = pools_to_report(self.parts.network.pools().map(|(id, _)| *id), &waiting, state.height);
        let (chain, ended) = futures::join!(timeout_at(deadline, self.chain(pools)), self.judge(&open, deadline));
        let (solid, treasuries) = match chain {
            Ok(Ok(chain)) => chain,
            Ok(Err(error)) => {
                tracing::warn!(error = %causes(&error), "the payment network cannot be read; no payout opens");
                Default::default()
            }
            Err(_) => {
                tracing::warn!("the payment network's providers are too slow; no payout opens");
                Default::default()
            }
        };
        self.ended.extend(ended);
        let receipts = self.ended.iter().map(|((payout, attempt), verdict)| ReceiptVote {
            payout: *payout,
            attempt: *attempt,
            verdict: *verdict,
        });
        PaymentView { solid, treasuries, receipts: receipts.take(Commit::MAX_RECEIPTS).collect() }
    }

    /// Solidified blocks, and these pools' treasuries. One that cannot be read is left out.
    async fn chain(&self, pools: Vec<PoolId>) -> Result<(Vec<SolidBlock>, Vec<TreasuryView>), ObserveError> {
        let solid = self.parts.observer.solid_blocks(self.parts.network.policy().reference_stride).await?;
        let views: Vec<_> = stream::iter(pools).map(|pool| self.treasury(pool)).buffered(AT_ONCE).collect().await;
        Ok((solid, views.into_iter().flatten().collect()))
    }

    async fn treasury(&self, pool: PoolId) -> Option<TreasuryView> {
        let (observer, network) = (&self.parts.observer, &self.parts.network);
        let declared = &network.pool(&pool)?.treasury;
        let view = observer.treasury_view(pool, declared, &network.genesis().tron.usdt).await;
        view.inspect_err(|error| {
            tracing::warn!(%pool, error = %causes(error), "a treasury cannot be read; none of its payouts opens");
        })
        .ok()
    }

    /// New verdicts on open attempts. One that cannot be judged now is judged again next time.
    async fn judge(&self, open: &[PayoutAttempt], deadline: Instant) -> Vec<((PayoutId, u32), Verdict)> {
        let now = self.parts.clock.now();
        let mut pending = open.to_vec();
        pending.retain(|attempt| !self.ended.contains_key(&(attempt.payout, attempt.attempt)));
        let observer = &self.parts.observer;
        let mut judged = stream::iter(pending)
            .map(|attempt| async move { (observer.judge(&attempt, now).await, attempt) })
            .buffer_unordered(AT_ONCE);
        let mut ended = Vec::new();
        loop {
            match timeout_at(deadline, judged.next()).await {
                Ok(Some((Ok(Standing::Ended(verdict)), attempt))) => {
                    ended.push(((attempt.payout, attempt.attempt), verdict));
                }
                Ok(Some((Ok(Standing::SendAgain | Standing::Wait), _))) => {}
                Ok(Some((Err(error), attempt))) => {
                    tracing::warn!(payout = %attempt.payout, error = %causes(&error), "an attempt cannot be judged");
                }
                Ok(None) => return ended,
                Err(_) => {
                    tracing::warn!("the payment network's providers are too slow to judge every attempt in time");
                    return ended;
                }
            }
        }
    }
}

/// The pools whose treasuries a commit shows, ascending: all if it has room for them, else first those with payouts
/// that wait for an attempt, and of each kind others at the next height.
fn pools_to_report(
    pools: impl Iterator<Item = PoolId>,
    waiting: &BTreeSet<PoolId>,
    height: EpochNumber,
) -> Vec<PoolId> {
    let (waiting, others): (Vec<_>, Vec<_>) = pools.partition(|pool| waiting.contains(pool));
    let mut chosen = Vec::new();
    for kind in [waiting, others] {
        let room = Commit::MAX_TREASURIES.saturating_sub(chosen.len());
        let turn = usize::try_from(height.get()).unwrap_or(usize::MAX).wrapping_mul(room);
        let first = turn.checked_rem(kind.len()).unwrap_or(0);
        chosen.extend(kind.iter().cycle().skip(first).take(room.min(kind.len())));
    }
    chosen.sort_unstable();
    chosen
}

/// The open attempts, those that expire first first: they end first.
fn open_attempts(state: &State) -> Vec<PayoutAttempt> {
    let mut open: Vec<_> =
        state.payouts.values().filter_map(|payout| Some(payout.open.as_ref()?.attempt.clone())).collect();
    open.sort_by_key(|attempt| (attempt.expiration, attempt.payout));
    open
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An error with its causes on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = Commit::MAX_TREASURIES;

    fn pools(count: u8) -> Vec<PoolId> {
        (0..count).map(|i| PoolId::from_bytes([i; 32])).collect()
    }

    fn shown(pools: &[PoolId], waiting: &BTreeSet<PoolId>, height: u64) -> Vec<PoolId> {
        pools_to_report(pools.iter().copied(), waiting, EpochNumber::new(height))
    }

    #[test]
    fn a_commit_shows_all_treasuries_or_takes_turns() {
        let few = pools(64);
        assert_eq!(few.len(), ROOM);
        assert_eq!(shown(&few, &BTreeSet::new(), 5), few);

        let many = pools(150);
        let some = BTreeSet::from([many[3], many[149]]);
        let all = BTreeSet::from_iter(many.clone());
        for waiting in [some, all] {
            let mut seen = BTreeSet::new();
            for height in 7..10 {
                let shown = shown(&many, &waiting, height);
                assert_eq!(shown.len(), ROOM);
                assert!(shown.is_sorted(), "a commit lists them in order");
                assert!(
                    waiting.len() > ROOM || waiting.iter().all(|pool| shown.contains(pool)),
                    "what waits comes first"
                );
                seen.extend(shown);
            }
            assert_eq!(seen.len(), 150, "three heights show all");
        }
    }
}
