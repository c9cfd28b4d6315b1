//! Answers about transactions.

use lucid_types::amount::Sun;
use lucid_types::time::UnixMillis;

use super::alert::{Alert, Key};
use super::transaction::{State, Tries};
use super::types::{
    Effect, Estimated, HeadView, InFlight, JobId, Lookup, Outcome, Receipt, Report, Spent, TransactionStatus, Work,
};
use super::{Job, Pusher};
use crate::client::{Answer, BroadcastOutcome};

impl Pusher {
    pub(super) fn on_estimated(&mut self, now: UnixMillis, id: JobId, outcome: Estimated, out: &mut Vec<Effect>) {
        if !self.jobs.get(&id).is_some_and(|job| matches!(job.state, State::Estimating(_))) {
            return;
        }
        match outcome {
            // It is asked for again when its time comes.
            Estimated::Unavailable => {}
            Estimated::Failed(problem) => self.refused(now, id, problem, out),
            Estimated::Energy(energy) => self.afford(now, id, energy, out),
            Estimated::Reverted(revert) => {
                if let Some(job) = self.jobs.remove(&id) {
                    self.reverted(now, &job.work, revert, out);
                }
            }
            Estimated::OutOfEnergy => {
                if let Some(job) = self.jobs.remove(&id) {
                    self.too_large(now, &job.work, "it needs more energy than a call may use".into(), out);
                }
            }
        }
    }

    /// Sets the fee limit: the estimate and a tenth, because prices and other transactions move in the meantime.
    fn afford(&mut self, now: UnixMillis, id: JobId, energy: u64, out: &mut Vec<Effect>) {
        let (Some(head), Some(job)) = (&self.views.head, self.jobs.get(&id)) else { return };
        let units = energy.saturating_mul(11).div_ceil(10);
        let fee = Sun::new(units.saturating_mul(head.energy_price.get()));
        let needs = with_bytes(head, fee, job);
        let open = self.jobs.values().filter(|job| job.reserved() > Sun::ZERO);
        let reserved = open.fold(Sun::ZERO, |sum, job| sum.saturating_add(with_bytes(head, job.reserved(), job)));
        let (gas, max_fee, max) = (head.gas, self.config.max_fee, self.config.max_per_day);
        if fee > max_fee {
            let work = self.jobs.remove(&id).map(|job| job.work);
            let problem = format!("it needs a fee limit of {fee} sun, and {max_fee} are allowed");
            if let Some(work) = work {
                if matches!(work, Work::Post { .. }) {
                    self.raise(Alert::TooDear { fee, max: max_fee }, out);
                }
                self.too_large(now, &work, problem, out);
            }
            return;
        }
        let spent = self.spending.of_the_last_day(now).saturating_add(reserved);
        let alert = if spent.saturating_add(needs) > max {
            Some(Alert::DayBudget { spent, max, needs })
        } else if gas < reserved.saturating_add(needs) {
            Some(Alert::GasShort { account: self.config.gas_address, has: gas, needs: reserved.saturating_add(needs) })
        } else {
            None
        };
        if let Some(alert) = alert {
            self.jobs.remove(&id);
            self.blocks.hold(now.after(self.config.timing.slow));
            self.raise(alert, out);
        } else if let Some(job) = self.jobs.get_mut(&id) {
            job.state = State::Preparing { fee_limit: fee, tries: Tries::now(now) };
            self.blocks.worked();
            self.alerts.clear(|key| matches!(key, Key::DayBudget | Key::GasShort | Key::TooDear));
        }
    }

    pub(super) fn on_prepared(
        &mut self,
        now: UnixMillis,
        id: JobId,
        stored: Option<Box<InFlight>>,
        out: &mut Vec<Effect>,
    ) {
        let Some(stored) = stored.filter(|stored| stored.id == id) else { return };
        match self.jobs.get_mut(&id) {
            Some(job) if matches!(job.state, State::Preparing { .. }) => {
                job.prepared(*stored, now, &self.config.timing);
            }
            Some(_) => {}
            // It was given up in the meantime, and never sent.
            None => out.push(Effect::Forget { id, spent: None }),
        }
    }

    pub(super) fn on_sent(
        &mut self,
        now: UnixMillis,
        id: JobId,
        outcome: Option<BroadcastOutcome>,
        out: &mut Vec<Effect>,
    ) {
        let Some(sending) = self.jobs.get_mut(&id).and_then(Job::sending_mut) else { return };
        let (tx_id, sent_at) = (sending.stored.tx_id, sending.sent_at.unwrap_or(now));
        match outcome {
            None | Some(BroadcastOutcome::Retry(_)) => {}
            Some(BroadcastOutcome::Accepted | BroadcastOutcome::Duplicate) => {
                if !std::mem::replace(&mut sending.is_taken, true) {
                    self.report(id, TransactionStatus::Sent, out);
                }
            }
            Some(BroadcastOutcome::Rebuild(answer)) => {
                let is_new = !std::mem::replace(&mut sending.is_rejected, true);
                // Its ordinary end, if no block took it in time; only a new one should not have expired.
                if answer.code == "TRANSACTION_EXPIRATION_ERROR" && sending.n_sent > 1 {
                    return;
                }
                let is_short_of_gas = answer.code == "BANDWITH_ERROR" || answer.message.contains("balance");
                self.reject(&answer, id, out);
                if is_new && !is_short_of_gas {
                    self.failed(now, sent_at, words(&answer), out);
                }
            }
            Some(BroadcastOutcome::Bug(answer)) => {
                sending.stop();
                let is_new = !std::mem::replace(&mut sending.is_rejected, true);
                self.raise(Alert::Rejected { tx_id, problem: words(&answer) }, out);
                if is_new {
                    self.failed(now, sent_at, words(&answer), out);
                }
            }
        }
    }

    fn reject(&mut self, answer: &Answer, id: JobId, out: &mut Vec<Effect>) {
        let Some(sending) = self.jobs.get(&id).and_then(Job::sending) else { return };
        self.raise(Alert::Rejected { tx_id: sending.stored.tx_id, problem: words(answer) }, out);
    }

    /// Counts a failure; with too many in a row somebody is told.
    fn failed(&mut self, now: UnixMillis, sent_at: UnixMillis, problem: String, out: &mut Vec<Effect>) {
        if let Some(in_a_row) = self.pace.failed(now, sent_at, &self.config.timing) {
            // What was begun and not sent waits too.
            let unsent: Vec<_> = self.jobs.values().filter(|job| job.sending().is_none()).map(|job| job.id).collect();
            for id in unsent {
                self.give_up(id, out);
            }
            self.raise(Alert::Failing { in_a_row, until: self.pace.pause_until(), problem }, out);
        }
    }

    pub(super) fn on_receipt(&mut self, now: UnixMillis, id: JobId, found: Lookup, out: &mut Vec<Effect>) {
        let (head, solid) = (self.views.head_time(), self.views.solid_time());
        let timing = self.config.timing;
        let Some(sending) = self.jobs.get_mut(&id).and_then(Job::sending_mut) else { return };
        let found = match found {
            // A lie: who believes it waits for ever for that block.
            Lookup::Included(receipt) if sending.is_too_late(receipt.block_time, &timing) => Lookup::Unavailable,
            found => found,
        };
        match found {
            Lookup::Included(receipt) => match &mut sending.included {
                None => self.on_included(now, id, receipt, out),
                Some((known, _)) => {
                    *known = receipt;
                    if solid.is_some_and(|solid| solid >= known.block_time) {
                        let fee = known.fee;
                        self.finish(id, TransactionStatus::Solid { fee }, out);
                    }
                }
            },
            Lookup::NotIncluded if sending.included.is_some() => {
                if let Some(spent) = sending.dropped(now, &timing) {
                    self.spending.remove(&spent);
                }
            }
            Lookup::NotIncluded if sending.is_expired(now, head, &timing) => {
                self.finish(id, TransactionStatus::Expired, out);
            }
            Lookup::Unavailable if sending.is_long_over(now) => self.finish(id, TransactionStatus::Expired, out),
            Lookup::NotIncluded | Lookup::Unavailable => {}
        }
    }

    fn on_included(&mut self, now: UnixMillis, id: JobId, receipt: Receipt, out: &mut Vec<Effect>) {
        let Receipt { block_time, fee, outcome } = receipt.clone();
        // One that claims to have cost more than it can is a liar's, and would use up the day's budget.
        let reserved = self.views.head.as_ref().zip(self.jobs.get(&id));
        let most = reserved.map(|(head, job)| with_bytes(head, job.reserved(), job));
        let spent = Spent { at: now, fee: most.map_or(fee, |most| fee.min(most)) };
        let Some(sending) = self.jobs.get_mut(&id).and_then(Job::sending_mut) else { return };
        let sent_at = sending.sent_at.unwrap_or(now);
        sending.included = Some((receipt, spent));
        let is_batch = matches!(sending.stored.work, Work::Batch { .. });
        self.spending.add(spent);
        self.views.needs_head_from(block_time, now);
        self.stir(now);
        let problem = match &outcome {
            Outcome::Success => {
                self.worked(is_batch);
                self.report(id, TransactionStatus::Included { block_time, fee }, out);
                return;
            }
            Outcome::Reverted(revert) => revert.to_string(),
            Outcome::OutOfEnergy => "it ran out of energy or time".into(),
            Outcome::Failed(problem) => problem.clone(),
        };
        let work = self.jobs.get(&id).map(|job| job.work.clone());
        self.finish(id, TransactionStatus::Failed { fee, problem: problem.clone() }, out);
        self.failed(now, sent_at, problem.clone(), out);
        let Some(work) = work else { return };
        match outcome {
            Outcome::Reverted(revert) => self.reverted(now, &work, revert, out),
            Outcome::OutOfEnergy => self.ran_out(now, &work, problem, out),
            Outcome::Failed(_) => self.unexplained(now, problem, out),
            Outcome::Success => {}
        }
    }

    fn report(&self, id: JobId, status: TransactionStatus, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(sending) = job.sending() else { return };
        out.push(Effect::Report(Report::Transaction { tx_id: sending.stored.tx_id, work: job.work.clone(), status }));
    }

    /// The transaction is over.
    fn finish(&mut self, id: JobId, status: TransactionStatus, out: &mut Vec<Effect>) {
        self.report(id, status, out);
        let Some(job) = self.jobs.remove(&id) else { return };
        if let Some(sending) = job.sending() {
            let (tx_id, spent) = (sending.stored.tx_id, sending.included.as_ref().map(|(_, spent)| *spent));
            self.alerts.clear(|key| *key == Key::Rejected(tx_id));
            out.push(Effect::Forget { id, spent });
        }
        self.stir(self.now);
    }
}

/// The most that a transaction costs with this fee limit: energy is burnt up to it, and bandwidth beside it.
fn with_bytes(head: &HeadView, fee: Sun, job: &Job) -> Sun {
    let bytes = u64::try_from(job.bytes()).unwrap_or(u64::MAX);
    fee.saturating_add(Sun::new(bytes.saturating_mul(head.byte_price.get())))
}

fn words(answer: &Answer) -> String {
    format!("{} {}", answer.code, answer.message).trim_end().to_owned()
}
