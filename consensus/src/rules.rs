//! The rules that a node follows where it could follow others: who may propose, what is kept, when a vote may leave, what counts.
//!
//! Each is one method of [`Rules`], and what the method provides is the rule. [`ChainSpec::new`] links [`Standard`], which
//! changes none, and nothing in the product links anything else. The simulator links a trait object with one rule broken, on the same
//! code, to show that a monitor finds what comes of it: a monitor that nothing can make fail proves nothing.
//!
//! What stands in the specification and is no method here is either checked twice by independent code (a certificate is counted by
//! the engine that makes it and by [`Certificate::verify`](lucid_types::certificate::Certificate::verify)) or shows nowhere.
//!
//! [`ChainSpec::new`]: crate::chain_spec::ChainSpec::new

use std::fmt::Debug;
use std::time::Duration;

use lucid_score::aggregate::{Aggregate, Seen, aggregate};
use lucid_score::credits::{Earned, earned};
use lucid_score::draw::ScoredWorker;
use lucid_types::amount::{MicroUsdt, Ppm};
use lucid_types::bls::BlsSignature;
use lucid_types::id::{Hash, NetworkId, ValidatorId};
use lucid_types::policy::{FixedPolicy, Policy};
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::validator::{Proposers, Validator, ValidatorSet};

use crate::ledger::duties::Duty;

/// Proposals kept of a round, besides one that more than two thirds have voted for: two prove that their signer lies.
const MAX_IN_A_ROUND: usize = 2;

/// The rules. All are pure: every node comes to the same result, at any time.
pub trait Rules: Debug + Send + Sync {
    /// The part of the power that votes must exceed, in either step: numerator and denominator.
    fn quorum(&self) -> (u64, u64) {
        (2, 3)
    }

    /// Whether the log is made durable before a new signature leaves the node.
    fn syncs_before_signing(&self) -> bool {
        true
    }

    /// Whether it is the turn of the validator with this key to propose in a round.
    fn is_turn(&self, proposers: Proposers<'_>, round: u32, key: &ValidatorId) -> bool {
        proposers.of(round).keys.id == *key
    }

    /// Whether one more proposal of a round is kept beside `kept` others.
    fn has_room(&self, kept: usize, is_backed: bool) -> bool {
        kept < MAX_IN_A_ROUND || is_backed
    }

    /// Whether a block of this time may have arrived then, as the first proposal of a round: as far as clocks and links may differ, as in
    /// CometBFT's proposer-based timestamps.
    fn is_timely(&self, policy: &FixedPolicy, round: u32, time: UnixMillis, arrived: UnixMillis) -> bool {
        let precision = Duration::from_millis(policy.precision_ms);
        let delay = policy.message_delay_ms.saturating_add(policy.message_delay_ms / 10 * u64::from(round));
        let latest = time.after(Duration::from_millis(delay)).after(precision);
        (time.before(precision)..=latest).contains(&arrived)
    }

    /// What the engine hears of a proposal. It remembers validity by block and not by round, so one untimely arrival must not make a
    /// block invalid for good: it is withheld until this validator waits for its round's proposal no longer, having voted for
    /// nothing, or until more than two thirds have voted for it, since others may have locked it. One that is proposed again with a
    /// proof-of-lock has been judged before.
    fn verdict(&self, proposal: Judged) -> Verdict {
        let Judged { is_valid, is_timely, has_lock, is_over, is_backed } = proposal;
        match (is_timely || has_lock || is_over || is_backed, is_valid) {
            (false, _) => Verdict::Withheld,
            (true, true) => Verdict::Valid,
            (true, false) => Verdict::Invalid,
        }
    }

    /// Whether a validator without a reason of its own starts a height of which it has heard from others of this power.
    fn is_heard(&self, set: &ValidatorSet, power: u64) -> bool {
        set.is_third(power)
    }

    /// Whether this is the proposer's contribution to the random beacon of a height: there is only one.
    fn is_contribution(
        &self,
        network: &NetworkId,
        proposer: &Validator,
        height: Height,
        randao: &BlsSignature,
    ) -> bool {
        proposer.keys.bls_key.check_randao(network, height, randao).is_ok()
    }

    /// Whether a report that hashes to `revealed` is what its signer committed to.
    fn is_committed(&self, committed: &Hash, revealed: &Hash) -> bool {
        committed == revealed
    }

    /// What comes of all that was revealed of one worker, weighted by seats.
    fn aggregate(&self, policy: &Policy, worker: &ScoredWorker, seen: &Seen) -> Option<Aggregate> {
        aggregate(policy, worker, seen)
    }

    /// What a worker's medians of an epoch earn.
    fn earned(&self, policy: &Policy, epoch: Epoch, medians: &Aggregate) -> Earned {
        earned(policy, epoch, medians)
    }

    /// Among how many workers is divided what one earned: as many as were agreed to be at its place before, if it was, whether they were
    /// drawn or not; and at least as many as were seen there in the epoch, `observed`, so that new ones share at once.
    fn sharers(&self, policy: &Policy, worker: &ScoredWorker, medians: &Aggregate, observed: u16) -> u16 {
        let Some(group) = medians.group.filter(|group| policy.one_per_network && group.is_some()) else { return 1 };
        let agreed = if worker.group == group { worker.sharers } else { 1 };
        observed.max(agreed).max(1)
    }

    /// The first epoch in which a change of the policy is in force that a block of this epoch decides. Whoever decides it knows the seeds of
    /// the two before.
    fn policy_from(&self, epoch: Epoch) -> Epoch {
        epoch.next().next()
    }

    /// The first epoch for which a change of who takes part counts that a command asks for in an epoch: the seeds of both that are nearer may
    /// be known to whoever gives it.
    fn counts_from(&self, epoch: Epoch) -> Epoch {
        epoch.next().next()
    }

    /// Whether a validator is paid nothing for validating in a settlement, having failed at too many of its duties in it. Some failures
    /// may be others' doing: who censors its reveals must not strip it of its pay.
    fn loses_validation_pay(&self, policy: &Policy, duty: &Duty) -> bool {
        let failed = u128::from(duty.forfeited) + u128::from(duty.missed_turns);
        let all = u128::from(duty.committed) + u128::from(duty.turns);
        failed * u128::from(Ppm::ONE.get()) > all * u128::from(policy.max_forfeits.get())
    }

    /// What a payout root promises at most: all that is owed, the allowance for fees, and what was lost. `None` if it does not fit.
    fn root_total(&self, owed: MicroUsdt, fees: MicroUsdt, losses: MicroUsdt) -> Option<MicroUsdt> {
        MicroUsdt::sum([owed, fees, losses])
    }

    /// What is carried to the next settlement of a pot of which so much was given out. `None` if that was more than there was.
    fn carried(&self, pot: MicroUsdt, given: MicroUsdt) -> Option<MicroUsdt> {
        pot.checked_sub(given)
    }
}

/// What [`Rules::verdict`] is about: a proposal whose block is here and has been executed.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// Whether the ledger accepts the block.
    pub is_valid: bool,
    /// As [`Rules::is_timely`] says.
    pub is_timely: bool,
    /// Whether it is proposed with a proof-of-lock.
    pub has_lock: bool,
    /// Whether this validator waits for a proposal of its round no longer.
    pub is_over: bool,
    /// Whether more than two thirds of the power have voted for it.
    pub is_backed: bool,
}

/// What the engine hears of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Withheld,
    /// It may be voted for.
    Valid,
    /// It may not.
    Invalid,
}

/// The rules of the specification.
#[derive(Clone, Copy, Debug)]
pub struct Standard;

impl Rules for Standard {}
