//! The epochs' part of the replica: this validator's reports, and when a height starts.

use std::time::Duration;

use lucid_types::codec::encode;
use lucid_types::report::{ReportCommitment, Reveal, Salt, ScoreReport};
use lucid_types::signed::{Signed, Verified};
use lucid_types::sync::SyncRequest;
use lucid_types::time::UnixMillis;
use lucid_types::vote::{ConsensusMessage, Wake};

use crate::engine::wal::WalEntry;
use crate::ledger::check::check_reveal;
use crate::replica::{Effect, Gossip, OwnReport, Replica};

/// How often peers are asked for commitments and reveals that gossip has not brought.
const PULL_INTERVAL: Duration = Duration::from_secs(1);

impl Replica {
    /// Puts this validator's own stored reports back among the waiting ones.
    pub(super) fn restore_own(&mut self) {
        let network = self.network.id();
        let verified = |own: &OwnReport| {
            Some((own.commitment.clone().verify(network).ok()?, own.reveal.clone().verify(network).ok()?))
        };
        let own: Vec<_> = self.own.values().filter_map(verified).collect();
        for (commitment, reveal) in own {
            self.reports.add_commitment(&self.network, &self.state, commitment);
            self.add_own_reveal(reveal);
        }
    }

    /// A reveal goes among the waiting ones, from where peers may fetch it, only when its commitments are complete: when the next
    /// block may carry it.
    fn add_own_reveal(&mut self, reveal: Verified<Signed<Reveal>>) -> bool {
        let is_due = check_reveal(&self.network, &self.state, &reveal).is_ok();
        is_due && self.reports.add_reveal(&self.network, &self.state, reveal)
    }

    /// Commits to what was measured: persisted first, then gossiped. A second report for an epoch is ignored.
    pub(super) fn on_report(&mut self, report: ScoreReport, salt: Salt, effects: &mut Vec<Effect>) {
        let epoch = report.epoch;
        if !self.epochs_to_report().contains(&epoch) {
            return;
        }
        let report = if encode(&report).len() < Reveal::MAX_REPORT_BYTES { report } else { ScoreReport::empty(epoch) };
        let (network, me) = (self.network.id(), self.key.node_id());
        let reveal = Reveal { report, salt };
        let commitment = ReportCommitment { epoch, report: reveal.commitment(network, &me) };
        let commitment = self.key.sign_report_commitment(network, commitment);
        let reveal = self.key.sign_report(network, reveal).into_inner();
        let own = OwnReport { commitment: (*commitment).clone(), reveal };
        effects.push(Effect::PersistOwn(Box::new(own.clone())));
        effects.push(Effect::Gossip(Gossip::Commitment(own.commitment.clone())));
        self.own.insert(epoch, own);
        self.reports.add_commitment(&self.network, &self.state, commitment);
    }

    /// Reveals what has been committed to, once no further commitment can count.
    pub(super) fn publish_reveals(&mut self, effects: &mut Vec<Effect>) {
        let reveals: Vec<_> = self.own.values().map(|own| own.reveal.clone()).collect();
        for reveal in reveals {
            let Ok(verified) = reveal.clone().verify(self.network.id()) else { continue };
            if self.add_own_reveal(verified) {
                effects.push(Effect::Gossip(Gossip::Reveal(reveal)));
            }
        }
        let state = &self.state;
        self.own.retain(|epoch, _| *epoch > state.closed || state.pending.contains_key(epoch));
    }

    /// Whether something waits for the next block: a window is open, an epoch has ended, or a command has come.
    fn has_reason(&self, now: UnixMillis) -> bool {
        !self.state.pending.is_empty()
            || now >= self.network.genesis().epoch_end(self.state.closed.next())
            || !self.commands.applicable(&self.network, &self.state, now.max(self.state.time)).is_empty()
    }

    /// When the proposer of the next height waits no longer for reports.
    pub(super) fn grace_end(&self) -> UnixMillis {
        self.adopted_at.max(self.state.next_time(&self.network)).after(self.network.policy().report_grace())
    }

    /// When the start of the next height must be looked at again; `None` while it runs.
    pub(super) fn next_start(&self, now: UnixMillis) -> Option<UnixMillis> {
        if self.engine.is_none() || self.started {
            return None;
        }
        let earliest = self.state.next_time(&self.network);
        let epoch_end = self.network.genesis().epoch_end(self.state.closed.next());
        Some(if self.heard || self.has_reason(now) { earliest } else { epoch_end.max(earliest) })
    }

    /// Starts the next height when there is a reason or another validator has one; at once if its log shows that it had started
    /// before a crash. Until it is decided, missing commitments and reveals are asked for.
    pub(super) fn start_if_due(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        if self.engine.is_none() {
            return;
        }
        if !self.started {
            let is_resumed = self.log.iter().any(|entry| !matches!(entry, WalEntry::Body(_)));
            let is_early = now < self.state.next_time(&self.network);
            let has_reason = !is_early && self.has_reason(now);
            if !is_resumed && (is_early || !(self.heard || has_reason)) {
                return;
            }
            if has_reason {
                let wake = Wake { height: self.state.height.next() };
                let wake = self.key.sign_wake(self.network.id(), wake).into_inner();
                effects.push(Effect::Gossip(Gossip::Consensus(ConsensusMessage::Wake(wake))));
            }
            self.start(now, effects);
        }
        if !self.reports.is_complete(&self.network, &self.state) {
            self.pull(now, effects);
        }
    }

    /// Asks for what gossip has not brought. The first time after half the grace.
    fn pull(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        let half_grace = self.network.policy().report_grace() / 2;
        let first = self.adopted_at.max(self.state.next_time(&self.network)).after(half_grace);
        let due = *self.pull_at.get_or_insert(first);
        if now < due {
            return;
        }
        self.pull_at = Some(now.after(PULL_INTERVAL));
        for epoch in self.state.pending.keys().copied() {
            let have_commitments = self.reports.commitments_of(epoch).map(|commitment| commitment.signer).collect();
            let have_reveals = self.reports.reveals_of(epoch).map(|reveal| reveal.signer).collect();
            let request = SyncRequest::Reports { epoch, have_commitments, have_reveals };
            effects.push(Effect::Fetch { peer: None, request });
        }
    }
}
