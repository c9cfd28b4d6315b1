//! The watcher: what this validator reports of the payment network with each commit.
//!
//! Shortly before an epoch ends it reads solidified blocks, treasuries and the fate of every open attempt. When the
//! providers do not answer, the view is empty: scoring goes on, and no attempts open.

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::ledger::state::State;
use lucid_consensus::network::Network;
use lucid_consensus::replica::PaymentView;
use lucid_tron_bridge::observer::{ObserveError, Observer, Standing};
use lucid_types::commit::Commit;
use lucid_types::payout::ReceiptVote;
use lucid_types::time::EpochNumber;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::clock::{Clock, sleep_until};

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
}

impl Watcher {
    /// A watcher that has not looked yet.
    pub const fn new(parts: WatcherParts) -> Self {
        Self { parts }
    }

    /// Looks once an epoch until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let genesis = self.parts.network.genesis();
        let before_end = (genesis.policy.epoch() / 4).min(Duration::from_millis(1_500));
        let mut last = EpochNumber::ZERO;
        loop {
            let epoch = genesis.epoch_at(self.parts.clock.now()).max(last.next());
            let end = genesis.epoch_end(epoch);
            let due = lucid_types::time::UnixMillis::new(end.get().saturating_sub(millis(before_end)));
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(&*self.parts.clock, due) => {}
            }
            let view = tokio::select! {
                () = stop.cancelled() => return,
                view = tokio::time::timeout(before_end, self.look()) => view,
            };
            let view = match view {
                Ok(Ok(view)) => view,
                Ok(Err(error)) => {
                    tracing::warn!(error = %chain(&error), "the payment network cannot be read; no payout opens");
                    PaymentView::default()
                }
                Err(_) => {
                    tracing::warn!("the payment network's providers are too slow; no payout opens");
                    PaymentView::default()
                }
            };
            self.parts.view.send_replace(view);
            last = epoch;
        }
    }

    async fn look(&self) -> Result<PaymentView, ObserveError> {
        let state = Arc::clone(&self.parts.head.borrow().state);
        let (observer, network) = (&self.parts.observer, &self.parts.network);
        let solid = observer.solid_blocks(network.policy().reference_stride).await?;
        let mut treasuries = Vec::new();
        for (id, pool) in network.pools() {
            treasuries.push(observer.treasury_view(*id, &pool.treasury, &network.genesis().tron.usdt).await?);
        }
        Ok(PaymentView { solid, treasuries, receipts: self.receipts(&state).await })
    }

    /// Verdicts on open attempts. One that cannot be judged now is judged again next time.
    async fn receipts(&self, state: &State) -> Vec<ReceiptVote> {
        let mut receipts = Vec::new();
        let open = state.payouts.iter().filter_map(|(id, payout)| Some((*id, payout.open.as_ref()?)));
        for (payout, open) in open.take(Commit::MAX_RECEIPTS) {
            match self.parts.observer.judge(&open.attempt, self.parts.clock.now()).await {
                Ok(Standing::Ended(verdict)) => {
                    receipts.push(ReceiptVote { payout, attempt: open.attempt.attempt, verdict });
                }
                Ok(Standing::SendAgain | Standing::Wait) => {}
                Err(error) => tracing::warn!(%payout, error = %chain(&error), "an attempt cannot be judged"),
            }
        }
        receipts
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An error with its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
