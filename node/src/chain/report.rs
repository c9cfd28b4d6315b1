//! The reporter: hands each closed epoch's measurements to the replica, which commits to them.
//!
//! The prober's report is there moments after an epoch's end, the block that closes the epoch a little later. A validator that
//! measured nothing of an epoch is absent from it: nobody has to commit to having seen nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use lucid_consensus::keyring::Keyring;
use lucid_consensus::ledger::state::{Rows, State};
use lucid_consensus::ledger::table::{Draws, PendingEpochs};
use lucid_consensus::replica::Input;
use lucid_score::report::{ReportError, check_report};
use lucid_types::report::{Salt, ScoreReport};
use lucid_types::time::Epoch;
use lucid_types::validator_key::ValidatorKey;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;

/// Reports that wait for their epochs to be closed. After a stall that outlasts more epochs, the oldest are dropped.
const MAX_WAITING: usize = 4;

/// The operating system's random source failed.
#[derive(Debug, thiserror::Error)]
#[error("read random bytes from the operating system")]
pub struct RandomError(#[source] pub(crate) getrandom::Error);

/// The reporter. [`Self::run`] it.
pub struct Reporter {
    /// With one of them it signs its report.
    keys: watch::Receiver<Arc<Keyring>>,
    /// The prober's reports.
    reports: mpsc::Receiver<ScoreReport>,
    /// Which epochs have no report yet.
    head: watch::Receiver<Head>,
    /// Takes the reports.
    driver: mpsc::Sender<Box<Input>>,
    waiting: BTreeMap<Epoch, ScoreReport>,
}

impl Reporter {
    /// A reporter that has not reported anything yet.
    pub const fn new(
        keys: watch::Receiver<Arc<Keyring>>,
        reports: mpsc::Receiver<ScoreReport>,
        head: watch::Receiver<Head>,
        driver: mpsc::Sender<Box<Input>>,
    ) -> Self {
        Self { keys, reports, head, driver, waiting: BTreeMap::new() }
    }

    /// Reports until `stop`.
    ///
    /// # Errors
    /// There is no randomness: a guessable salt would reveal the report.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), RandomError> {
        loop {
            let (unreported, state) = {
                let head = self.head.borrow_and_update();
                (head.unreported.clone(), head.state.clone())
            };
            for epoch in unreported {
                let Some(report) = self.waiting.remove(&epoch) else { continue };
                match self.check(&state, &report) {
                    Ok(()) => self.report(report).await?,
                    Err(error) => {
                        tracing::error!(epoch = epoch.get(), %error, "no block could carry the report of this epoch");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                report = self.reports.recv() => match report {
                    Some(report) => self.keep(report),
                    None => return Ok(()),
                },
                changed = self.head.changed() => if changed.is_err() {
                    return Ok(());
                },
            }
        }
    }

    /// Whether a block can carry the report. Measured by the assignment and checked by the prober, it always should.
    fn check(&self, state: &State, report: &ScoreReport) -> Result<(), ReportError> {
        let is_pending = state.has::<PendingEpochs>(&report.epoch);
        let draw = state.get::<Draws>(&report.epoch).filter(|_| is_pending).ok_or(ReportError::NoReporter)?;
        let key = self.keys.borrow().reporter(state, report.epoch).map(ValidatorKey::id);
        check_report(state.policy(report.epoch), draw, &key.ok_or(ReportError::NoReporter)?, report)
    }

    fn keep(&mut self, report: ScoreReport) {
        self.waiting.insert(report.epoch, report);
        while self.waiting.len() > MAX_WAITING {
            self.waiting.pop_first();
        }
    }

    async fn report(&self, report: ScoreReport) -> Result<(), RandomError> {
        let mut salt: Salt = [0; 32];
        getrandom::fill(&mut salt).map_err(RandomError)?;
        tracing::debug!(epoch = report.epoch.get(), workers = report.n_measured(), "reporting");
        // The driver has ended: so will this task.
        let _ended = self.driver.send(Box::new(Input::Report { report, salt })).await;
        Ok(())
    }
}
