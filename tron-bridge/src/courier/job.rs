//! One attempt in the courier's hands.

use std::collections::{BTreeMap, BTreeSet};

use lucid_types::genesis::TreasurySigner;
use lucid_types::id::NodeId;
use lucid_types::payout::{CosignReply, TreasurySignature};
use lucid_types::time::UnixMillis;
use prost::Message;

use super::{Assignment, AttemptKey, Effect, Timing};
use crate::client::BroadcastOutcome;
use crate::signature::recover;
use crate::status::PayoutStatus;
use crate::transfer::{TransferError, UnsignedTransfer, transfer};
use lucid_tron_types::proto::Transaction;

#[derive(Debug)]
pub(super) struct Job {
    key: AttemptKey,
    rank: u32,
    expiration: UnixMillis,
    transfer: UnsignedTransfer,
    signers: Vec<TreasurySigner>,
    threshold: usize,
    phase: Phase,
    is_included: bool,
    /// The chain was just looked at, or nothing can have been sent yet: nothing is sent in vain.
    may_send: bool,
    has_stored: bool,
    look_at: UnixMillis,
    status: PayoutStatus,
    detail: String,
}

#[derive(Debug)]
enum Phase {
    /// Its turn has not come.
    Standby { until: UnixMillis },
    /// Collecting; when each missing signer is asked next.
    Signing { signatures: BTreeMap<NodeId, TreasurySignature>, ask_at: BTreeMap<NodeId, UnixMillis> },
    /// Signed, and not durable yet.
    Persisting { transaction: Vec<u8>, again_at: UnixMillis },
    /// Durable. `send_at` is `None` once a signature was refused by the chain: a person must look.
    Sending { transaction: Vec<u8>, send_at: Option<UnixMillis>, was_sent: bool },
    /// Past the expiration.
    Expired,
}

impl Job {
    pub(super) fn new(assignment: Assignment, timing: &Timing) -> Result<Self, TransferError> {
        let Assignment { attempt, treasury, rank, opened, stored } = assignment;
        let transfer = transfer(&attempt)?;
        let threshold = usize::try_from(treasury.threshold).unwrap_or(usize::MAX);
        let wait = timing.leader_timeout.saturating_mul(rank);
        let mut job = Self {
            key: (attempt.payout, attempt.attempt),
            rank,
            expiration: attempt.expiration,
            transfer,
            signers: treasury.signers,
            threshold,
            phase: Phase::Standby { until: opened.after(wait) },
            is_included: false,
            may_send: false,
            has_stored: false,
            look_at: opened.after(wait),
            status: PayoutStatus::Scheduled,
            detail: String::new(),
        };
        if let Some(transaction) = stored {
            job.has_stored = true;
            if job.is_signed(&transaction) {
                job.phase = Phase::Sending { transaction, send_at: Some(opened), was_sent: false };
                job.look_at = opened;
            } else {
                job.detail = "the stored transaction is not the attempt's; signatures are collected anew".into();
            }
        }
        Ok(job)
    }

    pub(super) const fn has_stored(&self) -> bool {
        self.has_stored
    }

    pub(super) fn status(&self) -> (PayoutStatus, &str) {
        (self.status, &self.detail)
    }

    pub(super) fn start(&mut self, now: UnixMillis, timing: &Timing, out: &mut Vec<Effect>) {
        self.push_report(out);
        // The leader of a fresh attempt need not look first: only its own crash could have sent anything, and then
        // sending again is harmless.
        if self.rank == 0 && matches!(self.phase, Phase::Standby { .. }) {
            self.start_signing(now);
        }
        self.advance(now, timing, out);
    }

    /// Does what is due.
    pub(super) fn advance(&mut self, now: UnixMillis, timing: &Timing, out: &mut Vec<Effect>) {
        let key = self.key;
        if now >= self.expiration {
            self.phase = Phase::Expired;
        }
        let pause = match self.phase {
            Phase::Signing { .. } | Phase::Persisting { .. } => None,
            Phase::Standby { .. } | Phase::Sending { .. } => Some(timing.look_every),
            // Only for showing: the verdict comes from the ledger.
            Phase::Expired => Some(timing.look_every.saturating_mul(5)),
        };
        if let Some(pause) = pause.filter(|_| now >= self.look_at) {
            self.look_at = now.after(pause);
            self.may_send = false;
            out.push(Effect::Look { key, tx_id: self.transfer.tx_id() });
        }
        match &mut self.phase {
            Phase::Standby { .. } | Phase::Expired => {}
            Phase::Signing { signatures, ask_at } => {
                for (signer, at) in ask_at.iter_mut().filter(|(signer, _)| !signatures.contains_key(signer)) {
                    if now >= *at {
                        *at = now.after(timing.sign_retry);
                        out.push(Effect::RequestSignature { key, signer: *signer });
                    }
                }
            }
            Phase::Persisting { transaction, again_at } => {
                if now >= *again_at {
                    *again_at = now.after(timing.persist_retry);
                    self.has_stored = true;
                    out.push(Effect::Persist { key, transaction: transaction.clone() });
                }
            }
            Phase::Sending { transaction, send_at, was_sent } => {
                if self.may_send && send_at.is_some_and(|at| now >= at) {
                    *send_at = Some(now.after(timing.resend_every));
                    *was_sent = true;
                    out.push(Effect::Broadcast { key, transaction: transaction.clone() });
                }
            }
        }
        self.report(out);
    }

    pub(super) fn on_signature(
        &mut self,
        now: UnixMillis,
        timing: &Timing,
        signer: NodeId,
        reply: Option<CosignReply>,
        out: &mut Vec<Effect>,
    ) {
        let Phase::Signing { signatures, .. } = &mut self.phase else { return };
        let Some(expected) = self.signers.iter().find(|s| s.node == signer) else { return };
        match reply {
            Some(CosignReply::Signed(signature)) => {
                if recover(&signature, &self.transfer.tx_id()) == Ok(expected.key_address) {
                    signatures.insert(signer, signature);
                } else {
                    self.detail = format!("signer {} sent a signature that is not its own", signer.short());
                }
            }
            Some(CosignReply::Refused(reason)) => {
                let reason: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
                self.detail = format!("signer {} refuses: {reason}", signer.short());
            }
            Some(CosignReply::NotFinal) => {}
            None => self.detail = format!("signer {} is unreachable", signer.short()),
        }
        if signatures.len() >= self.threshold {
            // Exactly as many as needed: each further one costs bandwidth.
            let chosen: Vec<_> = signatures.values().take(self.threshold).copied().collect();
            let transaction = self.transfer.with_signatures(&chosen);
            self.phase = Phase::Persisting { transaction, again_at: now };
            self.detail.clear();
        }
        self.advance(now, timing, out);
    }

    pub(super) fn on_persisted(&mut self, now: UnixMillis, timing: &Timing, out: &mut Vec<Effect>) {
        if let Phase::Persisting { transaction, .. } = &mut self.phase {
            let transaction = std::mem::take(transaction);
            self.phase = Phase::Sending { transaction, send_at: Some(now), was_sent: false };
            self.look_at = now.after(timing.look_every);
            self.may_send = true;
        }
        self.advance(now, timing, out);
    }

    pub(super) fn on_sent(&mut self, outcome: Option<BroadcastOutcome>, out: &mut Vec<Effect>) {
        let Phase::Sending { send_at, .. } = &mut self.phase else { return };
        match outcome {
            Some(BroadcastOutcome::Accepted | BroadcastOutcome::Duplicate) => self.detail.clear(),
            Some(BroadcastOutcome::Retry(answer)) => {
                self.detail = format!("not taken yet: {} {}", answer.code, answer.message);
            }
            Some(BroadcastOutcome::NeedsNewAttempt(answer)) => {
                self.detail = format!("refused as things stand: {} {}", answer.code, answer.message);
            }
            Some(BroadcastOutcome::Bug(answer)) => {
                *send_at = None;
                self.detail = format!("stopped, look at the treasury's keys: {} {}", answer.code, answer.message);
            }
            None => self.detail = "no TRON provider answered".into(),
        }
        self.report(out);
    }

    pub(super) fn on_looked(
        &mut self,
        now: UnixMillis,
        timing: &Timing,
        is_included: Option<bool>,
        out: &mut Vec<Effect>,
    ) {
        self.is_included = is_included.unwrap_or(self.is_included);
        self.may_send = !self.is_included;
        if let Phase::Standby { until } = &mut self.phase
            && now >= *until
        {
            if self.is_included {
                *until = now.after(timing.leader_timeout.saturating_mul(self.rank));
                self.look_at = *until;
            } else {
                self.start_signing(now);
            }
        }
        self.advance(now, timing, out);
    }

    pub(super) fn next_wake(&self) -> UnixMillis {
        let due = match &self.phase {
            Phase::Expired => return self.look_at,
            Phase::Standby { .. } => Some(self.look_at),
            Phase::Signing { signatures, ask_at } => {
                ask_at.iter().filter(|(signer, _)| !signatures.contains_key(signer)).map(|(_, at)| *at).min()
            }
            Phase::Persisting { again_at, .. } => Some(*again_at),
            Phase::Sending { send_at, .. } => {
                let send_at = send_at.filter(|_| self.may_send);
                Some(send_at.map_or(self.look_at, |at| at.min(self.look_at)))
            }
        };
        due.map_or(self.expiration, |at| at.min(self.expiration))
    }

    fn start_signing(&mut self, now: UnixMillis) {
        let ask_at = self.signers.iter().map(|s| (s.node, now)).collect();
        self.phase = Phase::Signing { signatures: BTreeMap::new(), ask_at };
    }

    /// Whether `transaction` is this attempt's, with enough signatures of different signers.
    fn is_signed(&self, transaction: &[u8]) -> bool {
        let Ok(transaction) = Transaction::decode(transaction) else { return false };
        let addresses = transaction.signature.iter().filter_map(|bytes| {
            let signature = TreasurySignature::from_bytes(bytes.as_slice().try_into().ok()?);
            let address = recover(&signature, &self.transfer.tx_id()).ok()?;
            self.signers.iter().any(|s| s.key_address == address).then_some(address)
        });
        transaction.raw_data == self.transfer.raw_data()
            && transaction.signature.len() == self.threshold
            && addresses.collect::<BTreeSet<_>>().len() == self.threshold
    }

    fn report(&mut self, out: &mut Vec<Effect>) {
        let status = match &self.phase {
            _ if self.is_included => PayoutStatus::Confirming,
            Phase::Standby { .. } => PayoutStatus::Scheduled,
            Phase::Signing { .. } | Phase::Persisting { .. } => PayoutStatus::Signing,
            Phase::Sending { send_at: None, .. } => PayoutStatus::Held,
            Phase::Sending { was_sent: false, .. } => PayoutStatus::Signing,
            Phase::Sending { .. } => PayoutStatus::Broadcast,
            Phase::Expired => PayoutStatus::Expired,
        };
        if status != self.status {
            self.status = status;
            self.push_report(out);
        }
    }

    fn push_report(&self, out: &mut Vec<Effect>) {
        let (key, tx_id, status) = (self.key, self.transfer.tx_id(), self.status);
        out.push(Effect::Report { key, tx_id, status, detail: self.detail.clone() });
    }
}
