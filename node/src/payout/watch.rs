//! The watcher: what this validator reports of the payment network with each commit.
//!
//! Shortly before an epoch ends it reads solidified blocks, treasuries and the fate of every open attempt. What the
//! providers do not answer in time is left out: scoring goes on, no attempts open, and receipts follow an epoch later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use lucid_consensus::ledger::state::State;
use lucid_consensus::network::Network;
use lucid_consensus::replica::PaymentView;
use lucid_tron_bridge::observer::{ObserveError, Observer, Standing};
use lucid_types::commit::Commit;
use lucid_types::id::PayoutId;
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
/// Attempts that are judged at a time: providers limit their clients.
const JUDGED_AT_ONCE: usize = 8;

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
        let (chain, ended) = futures::join!(timeout_at(deadline, self.chain()), self.judge(&open, deadline));
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

    async fn chain(&self) -> Result<(Vec<SolidBlock>, Vec<TreasuryView>), ObserveError> {
        let (observer, network) = (&self.parts.observer, &self.parts.network);
        let solid = observer.solid_blocks(network.policy().reference_stride).await?;
        let mut treasuries = Vec::new();
        for (id, pool) in network.pools() {
            treasuries.push(observer.treasury_view(*id, &pool.treasury, &network.genesis().tron.usdt).await?);
        }
        Ok((solid, treasuries))
    }

    /// New verdicts on open attempts. One that cannot be judged now is judged again next time.
    async fn judge(&self, open: &[PayoutAttempt], deadline: Instant) -> Vec<((PayoutId, u32), Verdict)> {
        let now = self.parts.clock.now();
        let mut pending = open.to_vec();
        pending.retain(|attempt| !self.ended.contains_key(&(attempt.payout, attempt.attempt)));
        let observer = &self.parts.observer;
        let mut judged = stream::iter(pending)
            .map(|attempt| async move { (observer.judge(&attempt, now).await, attempt) })
            .buffer_unordered(JUDGED_AT_ONCE);
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
