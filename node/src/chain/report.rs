//! The reporter: turns each ended epoch's measurements into this validator's commit.
//!
//! The prober's report arrives moments after an epoch's end. For an epoch that this node did not witness nobody
//! reports, and an empty report stands in: an honest "I did not see". Empty reports are given for the next few blocks
//! only, and not while blocks are being fetched: a clock that leaps ahead, or a long absence, must not commit this
//! validator to silence for epochs that it will witness or that are decided.

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::network::Network;
use lucid_consensus::replica::Input;
use lucid_types::report::{Salt, ScoreReport};
use lucid_types::time::{EpochNumber, UnixMillis};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::chain::driver::ToDriver;
use crate::chain::head::Head;
use crate::clock::Clock;

/// How many blocks ahead of the newest one empty reports are given.
const AHEAD: u64 = 4;

/// What the reporter works with.
pub struct ReporterParts {
    /// The network.
    pub network: Arc<Network>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The prober's reports.
    pub reports: mpsc::Receiver<ScoreReport>,
    /// Which epochs have no report yet.
    pub head: watch::Receiver<Head>,
    /// Takes the reports.
    pub driver: mpsc::Sender<ToDriver>,
}

/// The operating system's random source failed.
#[derive(Debug, thiserror::Error)]
#[error("read random bytes from the operating system")]
pub struct RandomError(#[source] getrandom::Error);

/// The reporter. [`Self::run`] it.
pub struct Reporter {
    parts: ReporterParts,
}

impl Reporter {
    /// A reporter that has not reported anything yet.
    pub const fn new(parts: ReporterParts) -> Self {
        Self { parts }
    }

    /// Reports until `stop`.
    ///
    /// # Errors
    /// There is no randomness: a guessable salt would reveal the report.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), RandomError> {
        let patience = (self.parts.network.policy().epoch() / 8).min(Duration::from_secs(1));
        loop {
            // What was measured comes before what stands in for it, however late this task runs.
            while let Ok(report) = self.parts.reports.try_recv() {
                self.report(report).await?;
            }
            if let Some(epoch) = self.overdue(patience) {
                self.report(ScoreReport::empty(epoch)).await?;
                // Until the driver has taken it, the epoch still counts as unreported.
                let mut head = self.parts.head.clone();
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    taken = head.wait_for(|head| !head.unreported.contains(&epoch)) => if taken.is_err() {
                        return Ok(());
                    },
                }
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(patience) => {}
                report = self.parts.reports.recv() => match report {
                    Some(report) => self.report(report).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// The first of the next blocks' epochs that has ended, for which the prober has had time to report and has not.
    fn overdue(&self, patience: Duration) -> Option<EpochNumber> {
        let now = self.parts.clock.now();
        let head = self.parts.head.borrow();
        let chain = Progress { height: head.state.height, adopted_at: head.adopted_at };
        let genesis = self.parts.network.genesis();
        overdue(|epoch| genesis.epoch_end(epoch), chain, &head.unreported, now, patience)
    }

    async fn report(&self, report: ScoreReport) -> Result<(), RandomError> {
        let mut salt: Salt = [0; 32];
        getrandom::fill(&mut salt).map_err(RandomError)?;
        tracing::debug!(epoch = report.epoch.get(), workers = report.observations.len(), "reporting");
        // The driver has ended: so will this task.
        let _ended = self.parts.driver.send(ToDriver::Input(Box::new(Input::Report { report, salt }))).await;
        Ok(())
    }
}

/// Where the chain is, and since when.
#[derive(Clone, Copy)]
struct Progress {
    height: EpochNumber,
    adopted_at: UnixMillis,
}

/// The first of `unreported`, in ascending order, that wants an empty report now; see the module's introduction.
fn overdue(
    end: impl Fn(EpochNumber) -> UnixMillis,
    chain: Progress,
    unreported: &[EpochNumber],
    now: UnixMillis,
    patience: Duration,
) -> Option<EpochNumber> {
    let Progress { height, adopted_at } = chain;
    let is_catching_up = unreported.len() > 1 && adopted_at <= now && adopted_at.after(patience) > now;
    if is_catching_up {
        return None;
    }
    let newest = EpochNumber::new(height.get().saturating_add(AHEAD));
    let mut near = unreported.iter().copied().take_while(|epoch| *epoch <= newest);
    near.find(|epoch| end(*epoch).after(patience) <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(500);

    /// Epochs of a second from 0 on; the newest block is 10, adopted at `adopted_at`.
    fn at(now: u64, adopted_at: u64, unreported: impl IntoIterator<Item = u64>) -> Option<u64> {
        let chain = Progress { height: EpochNumber::new(10), adopted_at: UnixMillis::new(adopted_at) };
        let unreported: Vec<_> = unreported.into_iter().map(EpochNumber::new).collect();
        let end = |epoch: EpochNumber| UnixMillis::new(epoch.get() * 1_000);
        overdue(end, chain, &unreported, UnixMillis::new(now), PATIENCE).map(EpochNumber::get)
    }

    #[test]
    fn the_prober_has_time_to_report() {
        assert_eq!(at(11_499, 10_100, [11]), None);
        assert_eq!(at(11_500, 10_100, [11]), Some(11));
        assert_eq!(at(11_500, 10_100, []), None);
    }

    #[test]
    fn a_leap_of_the_clock_commits_to_a_few_epochs_only() {
        let year = 365 * 24 * 3_600 * 1_000;
        assert_eq!(at(year, 10_100, 11..1_034), Some(11));
        assert_eq!(at(year, 10_100, 14..1_034), Some(14));
        assert_eq!(at(year, 10_100, 15..1_034), None);
    }

    #[test]
    fn while_blocks_are_fetched_nothing_is_reported_empty() {
        assert_eq!(at(90_000, 89_501, 11..=89), None);
        assert_eq!(at(90_000, 89_500, 11..=89), Some(11), "the chain waits for reports");
        assert_eq!(at(11_600, 11_590, [11]), Some(11), "one epoch is no backlog");
        assert_eq!(at(90_000, 90_001, 11..=89), Some(11), "the clock was set back since");
    }
}
