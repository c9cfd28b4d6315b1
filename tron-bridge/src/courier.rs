//! The courier: carries finalised payout attempts to the chain. Run by a pool's leader and, on a timer, its successors.
//!
//! It decides nothing: the bytes follow from the attempt, the signers sign or refuse, and only a verdict in a block ends
//! an attempt. That is why any number of couriers may work on one attempt, crash and start again: all send the one
//! transaction whose id the attempt fixes.
//!
//! ```text
//! opened -> standby (rank * leader time-out, then looks at the chain)
//!              |  not in a block
//!              v
//!           signing  -> k of n signatures, each checked by recovery
//!              v
//!           persisting -> durable
//!              v
//!           sending  -> broadcast; the same bytes again while in no block and not expired
//!              v
//!           expired  -> nothing more is sent; waits for the verdict
//! ```
//!
//! It performs no IO: [`Courier::handle`] takes the time and an input and returns effects, which the caller executes in
//! order. Losing any effect or input is repaired by a later [`Input::Tick`]; [`Courier::next_wake`] says when. After a
//! crash the caller feeds the open attempts of its ledger again, each with what it stored for it.

mod job;

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_types::genesis::Treasury;
use lucid_types::id::{NodeId, PayoutId, TxId};
use lucid_types::payout::{CosignReply, PayoutAttempt};
use lucid_types::time::UnixMillis;

use crate::client::BroadcastOutcome;
use crate::status::PayoutStatus;
use crate::transfer::TransferError;
use job::Job;

/// An attempt: payout and number.
pub type AttemptKey = (PayoutId, u32);

/// An attempt that this node may carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// As the block fixed it.
    pub attempt: PayoutAttempt,
    /// Who signs, and how many must.
    pub treasury: Treasury,
    /// 0 for the leader, r for the r-th successor.
    pub rank: u32,
    /// Time of the block that opened the attempt; successors count from here.
    pub opened: UnixMillis,
    /// What [`Effect::Persist`] stored for it before a restart.
    pub stored: Option<Vec<u8>>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A block opened an attempt, or the node started and finds it open.
    Opened(Box<Assignment>),
    /// A signer answered; `None` if it could not be reached.
    Signature {
        /// The attempt.
        key: AttemptKey,
        /// Who.
        signer: NodeId,
        /// What.
        reply: Option<CosignReply>,
    },
    /// The transaction is durable.
    Persisted(AttemptKey),
    /// A broadcast ended; `None` if no provider answered.
    Sent {
        /// The attempt.
        key: AttemptKey,
        /// What the providers said.
        outcome: Option<BroadcastOutcome>,
    },
    /// The chain was looked at; `None` if no provider answered.
    Looked {
        /// The attempt.
        key: AttemptKey,
        /// Whether a block includes the transaction.
        is_included: Option<bool>,
    },
    /// A block holds the attempt's verdict.
    Closed(AttemptKey),
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask a treasury signer; answer with [`Input::Signature`].
    RequestSignature {
        /// The attempt, which is all that the request names.
        key: AttemptKey,
        /// Whom.
        signer: NodeId,
    },
    /// Make the signed transaction durable, then answer with [`Input::Persisted`]. On failure answer nothing: it is
    /// asked for again.
    Persist {
        /// The attempt.
        key: AttemptKey,
        /// The encoded transaction.
        transaction: Vec<u8>,
    },
    /// Send these bytes; answer with [`Input::Sent`].
    Broadcast {
        /// The attempt.
        key: AttemptKey,
        /// The encoded transaction.
        transaction: Vec<u8>,
    },
    /// See whether a block includes the transaction; answer with [`Input::Looked`].
    Look {
        /// The attempt.
        key: AttemptKey,
        /// Its transaction.
        tx_id: TxId,
    },
    /// Delete what was stored for the attempt.
    Forget(AttemptKey),
    /// Show and keep a change of status.
    Report {
        /// The attempt.
        key: AttemptKey,
        /// Its transaction.
        tx_id: TxId,
        /// The new status.
        status: PayoutStatus,
        /// For people: why; may be empty.
        detail: String,
    },
}

/// How long the courier waits for things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long each in line waits longer than the one before it.
    pub leader_timeout: Duration,
    /// Until an unanswered or refused signature request is repeated.
    pub sign_retry: Duration,
    /// Until an unacknowledged write is repeated.
    pub persist_retry: Duration,
    /// Between looks at the chain.
    pub look_every: Duration,
    /// Between broadcasts of the same bytes.
    pub resend_every: Duration,
}

impl Timing {
    /// Waits that fit a leader time-out: several rounds of signing and looking within one.
    pub fn new(leader_timeout: Duration) -> Self {
        let part = |parts: u32, least: u64, most: u64| {
            (leader_timeout / parts).clamp(Duration::from_millis(least), Duration::from_millis(most))
        };
        Self {
            leader_timeout,
            sign_retry: part(5, 500, 5_000),
            persist_retry: Duration::from_secs(1),
            look_every: part(5, 500, 3_000),
            resend_every: part(2, 1_000, 10_000),
        }
    }
}

/// The state of all attempts this node may carry. There are as many as the ledger has open.
#[derive(Debug)]
pub struct Courier {
    timing: Timing,
    jobs: BTreeMap<AttemptKey, Job>,
}

impl Courier {
    /// Without any attempt.
    pub const fn new(timing: Timing) -> Self {
        Self { timing, jobs: BTreeMap::new() }
    }

    /// Takes an input and returns what to do, in order. Inputs about unknown attempts are ignored; an attempt that is
    /// opened again keeps its state.
    ///
    /// # Errors
    /// The opened attempt has no transaction, which no valid block allows.
    pub fn handle(&mut self, now: UnixMillis, input: Input) -> Result<Vec<Effect>, TransferError> {
        let mut out = Vec::new();
        match input {
            Input::Opened(assignment) => {
                let key = (assignment.attempt.payout, assignment.attempt.attempt);
                if !self.jobs.contains_key(&key) {
                    let job = Job::new(*assignment, &self.timing)?;
                    self.jobs.entry(key).or_insert(job).start(now, &self.timing, &mut out);
                }
            }
            Input::Signature { key, signer, reply } => {
                self.with(key, |job, timing| job.on_signature(now, timing, signer, reply, &mut out));
            }
            Input::Persisted(key) => self.with(key, |job, timing| job.on_persisted(now, timing, &mut out)),
            Input::Sent { key, outcome } => self.with(key, |job, _| job.on_sent(outcome, &mut out)),
            Input::Looked { key, is_included } => {
                self.with(key, |job, timing| job.on_looked(now, timing, is_included, &mut out));
            }
            Input::Closed(key) => {
                if self.jobs.remove(&key).is_some_and(|job| job.has_stored()) {
                    out.push(Effect::Forget(key));
                }
            }
            Input::Tick => {
                for job in self.jobs.values_mut() {
                    job.advance(now, &self.timing, &mut out);
                }
            }
        }
        Ok(out)
    }

    /// When to feed the next [`Input::Tick`] at the latest; `None` without attempts.
    pub fn next_wake(&self) -> Option<UnixMillis> {
        self.jobs.values().map(Job::next_wake).min()
    }

    /// Status of an attempt and the last thing that went wrong with it.
    pub fn status(&self, key: &AttemptKey) -> Option<(PayoutStatus, &str)> {
        self.jobs.get(key).map(Job::status)
    }

    /// The attempts, in the order of their payouts.
    pub fn keys(&self) -> impl Iterator<Item = &AttemptKey> {
        self.jobs.keys()
    }

    fn with(&mut self, key: AttemptKey, act: impl FnOnce(&mut Job, &Timing)) {
        if let Some(job) = self.jobs.get_mut(&key) {
            act(job, &self.timing);
        }
    }
}

#[cfg(test)]
mod tests;
