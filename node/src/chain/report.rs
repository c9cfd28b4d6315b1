//! The reporter: turns each ended epoch's measurements into this validator's commit.
//!
//! The prober's report arrives moments after an epoch's end. For an epoch that this node did not witness nobody
//! reports, and an empty report stands in: an honest "I did not see".

use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::network::Network;
use lucid_consensus::replica::{Input, PaymentView};
use lucid_types::report::{Salt, ScoreReport};
use lucid_types::time::EpochNumber;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::chain::driver::ToDriver;
use crate::chain::head::Head;
use crate::clock::Clock;

/// What the reporter works with.
pub struct ReporterParts {
    /// The network.
    pub network: Arc<Network>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The prober's reports.
    pub reports: mpsc::Receiver<ScoreReport>,
    /// What the payment network looks like.
    pub view: watch::Receiver<PaymentView>,
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
            let overdue = self.overdue(patience);
            if let Some(epoch) = overdue.first() {
                self.report(ScoreReport::empty(*epoch)).await?;
                // Until the driver has taken it, the epoch still counts as unreported.
                let epoch = *epoch;
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

    /// Ended epochs for which the prober has had time to report and has not.
    fn overdue(&self, patience: Duration) -> Vec<EpochNumber> {
        let now = self.parts.clock.now();
        let genesis = self.parts.network.genesis();
        let is_late = |epoch: &EpochNumber| genesis.epoch_end(*epoch).after(patience) <= now;
        self.parts.head.borrow().unreported.iter().copied().filter(is_late).collect()
    }

    async fn report(&self, report: ScoreReport) -> Result<(), RandomError> {
        let mut salt: Salt = [0; 32];
        getrandom::fill(&mut salt).map_err(RandomError)?;
        let view = self.parts.view.borrow().clone();
        tracing::debug!(epoch = report.epoch.get(), workers = report.observations.len(), "reporting");
        // The driver has ended: so will this task.
        let _ended = self.parts.driver.send(ToDriver::Input(Box::new(Input::Report { report, salt, view }))).await;
        Ok(())
    }
}
