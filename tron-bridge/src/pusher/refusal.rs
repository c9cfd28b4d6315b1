//! What follows when an estimate or the chain refuses a transaction.

use lucid_types::time::UnixMillis;

use super::alert::{Alert, Key};
use super::config::backoff;
use super::types::{Effect, JobId, Work};
use super::views::{Fingerprint, seconds};
use super::{Pusher, State};
use crate::vault::{Skip, VaultRevert};

/// Refusals in a row after which somebody is told.
const SERIES: u32 = 3;

/// What is not tried for now.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// The vault refuses every root while it is in this state.
    post: Option<Box<Fingerprint>>,
    /// The vault refuses every payment while it is in this state.
    push: Option<Box<Fingerprint>>,
    /// Nothing is begun before.
    hold_until: UnixMillis,
    /// Refusals in a row that nobody can explain.
    n_refused: u32,
}

impl Blocks {
    pub(super) const fn is_post_blocked(&self) -> bool {
        self.post.is_some()
    }

    pub(super) const fn is_push_blocked(&self) -> bool {
        self.push.is_some()
    }

    pub(super) const fn hold_until(&self) -> UnixMillis {
        self.hold_until
    }

    pub(super) fn hold(&mut self, until: UnixMillis) {
        self.hold_until = self.hold_until.max(until);
    }

    /// The head shows the vault in this state.
    pub(super) fn lift(&mut self, shown: &Fingerprint) {
        self.post.take_if(|blocked| **blocked != *shown);
        self.push.take_if(|blocked| **blocked != *shown);
    }

    pub(super) fn clear(&mut self) {
        *self = Self { n_refused: self.n_refused, ..Self::default() };
    }

    pub(super) const fn worked(&mut self) {
        self.n_refused = 0;
    }
}

impl Pusher {
    /// The vault refused what a transaction would do, or has done. The transaction itself is over.
    pub(super) fn reverted(&mut self, now: UnixMillis, work: &Work, revert: VaultRevert, out: &mut Vec<Effect>) {
        use VaultRevert::{BadSignatures, IsClosed, IsPaused, NothingPaid, OutOfEnergy, Stale, WrongBalance};
        match revert {
            NothingPaid(Skip::AlreadyPaid) => self.leave(now, work),
            NothingPaid(Skip::BadRecipient) | OutOfEnergy => self.too_large(now, work, revert.to_string(), out),
            NothingPaid(Skip::TokenRefused) => {
                let is_whole = self.views.head.as_ref().is_some_and(|head| self.is_token_bad(head));
                if is_whole { self.block(work) } else { self.too_large(now, work, revert.to_string(), out) }
            }
            NothingPaid(reason @ (Skip::OverTotal | Skip::OverCap | Skip::NoFunds)) => {
                self.block(work);
                self.tell_short(reason, out);
            }
            Stale { .. } => {
                // Another root was posted since the head was read.
                self.views.head_at = self.views.head_at.min(now);
                self.leave(now, work);
            }
            BadSignatures => {
                self.block(work);
                self.signing = None;
                let settlement = self.assignment.as_ref().map_or(0, |assignment| assignment.root.settlement);
                self.raise(Alert::SignaturesRefused { settlement }, out);
            }
            IsPaused | IsClosed => self.block(work),
            WrongBalance => {
                self.block(work);
                self.unexplained(now, revert.to_string(), out);
            }
            _ => self.unexplained(now, revert.to_string(), out),
        }
    }

    /// Nothing of the kind is tried while the head shows the vault as it is.
    fn block(&mut self, work: &Work) {
        let shown = self.views.head.as_ref().map(|head| Box::new(Fingerprint::of(head)));
        match work {
            Work::Post { .. } => self.blocks.post = shown,
            Work::Batch { .. } => self.blocks.push = shown,
        }
    }

    /// Its accounts wait for the next views, which should show that nothing is to be done.
    fn leave(&mut self, now: UnixMillis, work: &Work) {
        self.views.head_at = self.views.head_at.min(now.after(self.config.timing.head_every / 4));
        match work {
            Work::Batch { accounts, .. } => {
                let until = now.after(self.config.timing.head_every.saturating_mul(2));
                self.aside.extend(accounts.iter().map(|account| (*account, until)));
            }
            Work::Post { .. } => self.blocks.hold(now.after(self.config.timing.head_every)),
        }
    }

    /// More than a transaction may need. Batches are smaller from now on; an account that is too much by itself is left out.
    pub(super) fn too_large(&mut self, now: UnixMillis, work: &Work, problem: String, out: &mut Vec<Effect>) {
        match work {
            Work::Batch { accounts, .. } if accounts.len() > 1 => {
                self.max_items = self.max_items.min(accounts.len() / 2).max(1);
            }
            Work::Batch { accounts, .. } => {
                let leaves = self.posted.leaves();
                let leaf = accounts.first().and_then(|account| leaves.iter().find(|leaf| leaf.id == *account)).copied();
                if let Some(leaf) = leaf {
                    let alert = self.set_aside(now, &leaf, problem);
                    self.raise(alert, out);
                }
            }
            Work::Post { .. } => self.unexplained(now, problem, out),
        }
    }

    /// A transaction was included and ran out of energy, although its estimate was enough: something has happened in between, a
    /// fork for example. For an account by itself that is told if it happens again.
    pub(super) fn ran_out(&mut self, now: UnixMillis, work: &Work, problem: String, out: &mut Vec<Effect>) {
        let alone = match work {
            Work::Batch { accounts, .. } if accounts.len() == 1 => accounts.first(),
            _ => None,
        };
        let first = alone.filter(|account| !self.n_aside.contains_key(account));
        match first.and_then(|account| self.posted.leaves().iter().find(|leaf| leaf.id == *account)).copied() {
            Some(leaf) => drop(self.set_aside(now, &leaf, problem)),
            None => self.too_large(now, work, problem, out),
        }
    }

    /// An unexplained refusal of a transaction that was not sent.
    pub(super) fn refused(&mut self, now: UnixMillis, id: JobId, problem: String, out: &mut Vec<Effect>) {
        self.give_up(id, out);
        self.unexplained(now, problem, out);
    }

    /// A transaction that was not sent is over. It may have been stored all the same.
    pub(super) fn give_up(&mut self, id: JobId, out: &mut Vec<Effect>) {
        if self.jobs.remove(&id).is_some_and(|job| !matches!(job.state, State::Estimating(_))) {
            out.push(Effect::Forget { id, spent: None });
        }
    }

    pub(super) fn unexplained(&mut self, now: UnixMillis, problem: String, out: &mut Vec<Effect>) {
        let timing = &self.config.timing;
        let until = now.after(backoff(timing.retry, timing.slow, self.blocks.n_refused));
        self.blocks.n_refused = self.blocks.n_refused.saturating_add(1);
        self.blocks.hold(until);
        let in_a_row = self.blocks.n_refused;
        if in_a_row >= SERIES {
            self.raise(Alert::Failing { in_a_row, until, problem }, out);
        }
    }

    fn tell_short(&mut self, reason: Skip, out: &mut Vec<Effect>) {
        let Some(head) = &self.views.head else { return };
        let (vault, due) = (&head.snapshot, self.due());
        let alert = match reason {
            Skip::OverCap => Alert::OverCap { due, left: vault.left_of_cap(seconds(head.time)), cap: vault.limits.cap },
            Skip::NoFunds => Alert::Uncovered { due, funds: vault.funds },
            _ => Alert::OverTotal { due, left: vault.left_of_total() },
        };
        self.raise(alert, out);
    }

    /// A transaction went through.
    pub(super) fn worked(&mut self, is_batch: bool) {
        self.pace.succeeded(is_batch);
        self.blocks.worked();
        self.alerts.clear(|key| matches!(key, Key::Failing | Key::GasShort | Key::DayBudget | Key::TooDear));
    }
}
