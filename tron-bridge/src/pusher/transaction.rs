//! One transaction, from the estimate until it is solid.

use lucid_types::amount::{MicroUsdt, Sun};
use lucid_types::payout_tree::AccountId;
use lucid_types::time::UnixMillis;

use super::config::{Timing, backoff};
use super::types::{Effect, InFlight, JobId, Receipt, Spent, Work};
use crate::transaction::RESULT_BYTES;

/// How often an estimate or a preparation is asked for before the transaction is given up.
const MAX_TRIES: u32 = 5;

/// No transaction is valid for longer: a stored one that claims to be is not waited for.
const MAX_LIFETIME_MS: u64 = 24 * 60 * 60 * 1_000;

/// How long after its expiration, by this node's clock, a transaction is given up when no provider tells the time; at least so
/// long after it was made or found on the disk, because the clock may be fast. None is made that is valid for longer.
const CLOCK_MARGIN_MS: u64 = 10 * 60 * 1_000;

#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) work: Work,
    /// Call data; empty for a stored transaction.
    data: Vec<u8>,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// Its energy is asked for.
    Estimating(Tries),
    /// It is built, signed and stored.
    Preparing { fee_limit: Sun, tries: Tries },
    /// It may be in a block at any time.
    Sending(Box<Sending>),
}

/// Repeats of a question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tries {
    n: u32,
    at: UnixMillis,
}

/// See [`State::Sending`].
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) stored: InFlight,
    /// By which it has expired whatever its record says.
    given_up_at: UnixMillis,
    /// Then it has expired for long whatever the chain's time is.
    long_over_at: UnixMillis,
    /// First broadcast by this process.
    pub(super) sent_at: Option<UnixMillis>,
    /// How often it was sent; one that was stored before a restart, once at least, as far as is known.
    pub(super) n_sent: u32,
    /// When it is broadcast next; `None` once the network called its signature wrong.
    resend_at: Option<UnixMillis>,
    look_at: UnixMillis,
    n_looks: u32,
    /// Whether a provider took it.
    pub(super) is_taken: bool,
    /// Whether one refused it for good.
    pub(super) is_rejected: bool,
    /// It did something in this block.
    pub(super) included: Option<(Receipt, Spent)>,
    /// What it paid was seen on the solid view.
    pub(super) is_counted: bool,
}

/// What a transaction must know of the world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now: UnixMillis,
    /// The newest block's time.
    pub(super) head: Option<UnixMillis>,
    /// The newest solidified block's time.
    pub(super) solid: Option<UnixMillis>,
    /// Nothing is sent before.
    pub(super) quiet_until: UnixMillis,
}

/// What became of a transaction as time passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// It goes on.
    Open,
    /// Its estimate or its preparation was asked for too often.
    GivenUp,
}

impl Job {
    pub(super) fn new(id: JobId, work: Work, data: Vec<u8>, now: UnixMillis) -> Self {
        Self { id, work, data, state: State::Estimating(Tries { n: 0, at: now }) }
    }

    /// A transaction that was stored before a restart. It is looked for before it is sent again.
    pub(super) fn stored(stored: InFlight, now: UnixMillis, timing: &Timing) -> Self {
        let sending = Sending { n_sent: 1, ..Sending::new(stored, now, now.after(timing.head_every), now) };
        Self {
            id: sending.stored.id,
            work: sending.stored.work.clone(),
            data: Vec::new(),
            state: State::Sending(Box::new(sending)),
        }
    }

    pub(super) fn prepared(&mut self, stored: InFlight, now: UnixMillis, timing: &Timing) {
        self.data = Vec::new();
        self.state = State::Sending(Box::new(Sending::new(stored, now, now, now.after(timing.head_every))));
    }

    /// Whether `account` waits for this transaction.
    pub(super) fn accounts(&self) -> &[AccountId] {
        match &self.work {
            Work::Batch { accounts, .. } => accounts,
            Work::Post { .. } => &[],
        }
    }

    pub(super) const fn amount(&self) -> MicroUsdt {
        match &self.work {
            Work::Batch { amount, .. } => *amount,
            Work::Post { .. } => MicroUsdt::ZERO,
        }
    }

    pub(super) fn sending(&self) -> Option<&Sending> {
        if let State::Sending(sending) = &self.state { Some(sending) } else { None }
    }

    pub(super) fn sending_mut(&mut self) -> Option<&mut Sending> {
        if let State::Sending(sending) = &mut self.state { Some(sending) } else { None }
    }

    pub(super) fn included(&self) -> Option<&Receipt> {
        self.sending()?.included.as_ref().map(|(receipt, _)| receipt)
    }

    /// What it may still cost for energy.
    pub(super) fn reserved(&self) -> Sun {
        match &self.state {
            State::Estimating(_) => Sun::ZERO,
            State::Preparing { fee_limit, .. } => *fee_limit,
            State::Sending(sending) if sending.included.is_some() => Sun::ZERO,
            State::Sending(sending) => sending.stored.fee_limit,
        }
    }

    /// Bytes of bandwidth that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let bytes = self.sending().map(|sending| sending.stored.bytes.len().saturating_add(RESULT_BYTES));
        bytes.unwrap_or(self.data.len().saturating_add(300))
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, clock: &Clock, timing: &Timing, out: &mut Vec<Effect>) -> Passed {
        let (id, now) = (self.id, clock.now);
        match &mut self.state {
            State::Estimating(tries) => {
                if now >= tries.at {
                    if tries.n >= MAX_TRIES {
                        return Passed::GivenUp;
                    }
                    tries.again(now, timing);
                    out.push(Effect::Estimate { id, data: self.data.clone() });
                }
            }
            State::Preparing { fee_limit, tries } => {
                if now >= tries.at {
                    if tries.n >= MAX_TRIES {
                        return Passed::GivenUp;
                    }
                    tries.again(now, timing);
                    let (work, data) = (self.work.clone(), self.data.clone());
                    out.push(Effect::Prepare { id, work, data, fee_limit: *fee_limit });
                }
            }
            State::Sending(sending) => sending.advance(clock, timing, out),
        }
        Passed::Open
    }

    pub(super) fn next_wake(&self, solid: Option<UnixMillis>) -> Option<UnixMillis> {
        match &self.state {
            State::Estimating(tries) | State::Preparing { tries, .. } => Some(tries.at),
            State::Sending(sending) => match &sending.included {
                Some((receipt, _)) if solid.is_none_or(|solid| solid < receipt.block_time) => None,
                Some(_) => Some(sending.look_at),
                None => Some(sending.resend_at.map_or(sending.look_at, |at| at.min(sending.look_at))),
            },
        }
    }
}

impl Tries {
    pub(super) const fn now(now: UnixMillis) -> Self {
        Self { n: 0, at: now }
    }

    fn again(&mut self, now: UnixMillis, timing: &Timing) {
        self.at = now.after(backoff(timing.retry.saturating_mul(2), timing.slow, self.n));
        self.n = self.n.saturating_add(1);
    }
}

impl Sending {
    fn new(stored: InFlight, now: UnixMillis, send_at: UnixMillis, look_at: UnixMillis) -> Self {
        let longest = UnixMillis::new(now.get().saturating_add(MAX_LIFETIME_MS));
        let given_up_at = stored.expiration.min(longest);
        Self {
            stored,
            given_up_at,
            long_over_at: UnixMillis::new(given_up_at.max(now).get().saturating_add(CLOCK_MARGIN_MS)),
            sent_at: None,
            n_sent: 0,
            resend_at: Some(send_at),
            look_at,
            n_looks: 0,
            is_taken: false,
            is_rejected: false,
            included: None,
            is_counted: false,
        }
    }

    /// Whether no block can include it any more. It may be in one all the same, so it is looked for once more.
    pub(super) fn is_expired(&self, now: UnixMillis, head: Option<UnixMillis>, timing: &Timing) -> bool {
        let by_the_chain = head.is_some_and(|head| head > self.given_up_at.after(timing.expiry_margin));
        by_the_chain || self.is_long_over(now)
    }

    /// Whether no block of this time can include it.
    pub(super) fn is_too_late(&self, block_time: UnixMillis, timing: &Timing) -> bool {
        block_time > self.given_up_at.after(timing.expiry_margin)
    }

    /// Whether it has expired for long by this node's clock: it is given up even if no provider answers.
    pub(super) const fn is_long_over(&self, now: UnixMillis) -> bool {
        now.get() > self.long_over_at.get()
    }

    /// Nothing is sent after the network called the signature wrong.
    pub(super) const fn stop(&mut self) {
        self.resend_at = None;
    }

    /// A fork dropped the block that included it.
    pub(super) fn dropped(&mut self, now: UnixMillis, timing: &Timing) -> Option<Spent> {
        self.look_at = now.after(timing.head_every);
        self.n_looks = 0;
        self.resend_at = self.resend_at.map(|_| now);
        self.is_counted = false;
        self.included.take().map(|(_, spent)| spent)
    }

    fn advance(&mut self, clock: &Clock, timing: &Timing, out: &mut Vec<Effect>) {
        let Clock { now, head, solid, quiet_until } = *clock;
        let (id, tx_id) = (self.stored.id, self.stored.tx_id);
        if let Some((receipt, _)) = &self.included {
            if now >= self.look_at && solid.is_some_and(|solid| solid >= receipt.block_time) {
                self.look_at = now.after(timing.solid_every);
                out.push(Effect::ReadReceipt { id, tx_id });
            }
            return;
        }
        if now >= self.look_at {
            // Seldom later: many transactions may be open, and most are included at once.
            self.look_at = now.after(backoff(timing.head_every, timing.slow, self.n_looks / 3));
            self.n_looks = self.n_looks.saturating_add(1);
            // What it finds may make another broadcast needless.
            self.resend_at = self.resend_at.map(|at| at.max(now.after(timing.head_every / 2)));
            out.push(Effect::ReadReceipt { id, tx_id });
        }
        if self.resend_at.is_some_and(|at| now >= at) {
            let is_over = head.is_some_and(|head| head >= self.given_up_at);
            self.resend_at = Some(quiet_until.max(now.after(backoff(timing.resend, timing.slow, self.n_sent))));
            if !is_over && now >= quiet_until {
                self.n_sent = self.n_sent.saturating_add(1);
                self.sent_at.get_or_insert(now);
                out.push(Effect::Broadcast { id, tx_id, bytes: self.stored.bytes.clone() });
            }
        }
    }
}
