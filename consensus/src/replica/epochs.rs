//! The epochs' part of the replica: own reports, and when a height starts.

use std::time::Duration;

use lucid_types::codec::encode;
use lucid_types::commit::Commit;
use lucid_types::report::{Reveal, Salt, ScoreReport};
use lucid_types::signed::{Signed, Verified};
use lucid_types::sync::SyncRequest;
use lucid_types::time::{EpochNumber, UnixMillis};

use crate::engine::wal::WalEntry;
use crate::replica::{Effect, Gossip, OwnReport, Replica};

/// How often peers are asked for commits and reveals that gossip has not brought.
const PULL_INTERVAL: Duration = Duration::from_secs(1);

impl Replica {
    /// Puts this validator's own stored reports back among the waiting ones.
    pub(super) fn restore_own(&mut self) {
        let network = self.network.id();
        let verified = |own: &OwnReport| {
            Some((own.commit.clone().verify(network).ok()?, own.reveal.clone().verify(network).ok()?))
        };
        let own: Vec<_> = self.own.values().filter_map(verified).collect();
        for (commit, reveal) in own {
            self.reports.add_commit(&self.network, &self.state, commit);
            self.add_own_reveal(reveal);
        }
    }

    /// A reveal goes among the waiting ones, from where peers may fetch it, only when its commit is final.
    fn add_own_reveal(&mut self, reveal: Verified<Signed<Reveal>>) -> bool {
        let epoch = reveal.record.report.epoch;
        let due = epoch.get().saturating_add(self.network.policy().commit_window) <= self.state.height.next().get();
        let listed = self.state.pending.get(&epoch).is_some_and(|p| p.commits.contains_key(&reveal.signer));
        due && listed && self.reports.add_reveal(&self.network, &self.state, reveal)
    }

    /// Commits to what was measured: persisted first, then gossiped. A second report for an epoch is ignored.
    pub(super) fn on_report(&mut self, now: UnixMillis, report: ScoreReport, salt: Salt, effects: &mut Vec<Effect>) {
        let epoch = report.epoch;
        if !self.epochs_to_report(now).contains(&epoch) {
            return;
        }
        let report = if encode(&report).len() < Reveal::MAX_REPORT_BYTES { report } else { ScoreReport::empty(epoch) };
        let (network, me) = (self.network.id(), self.key.node_id());
        let reveal = Reveal { report, salt };
        let commit = Commit { epoch, report: reveal.commitment(network, &me), time: now };
        let commit = self.key.sign_commit(network, commit);
        let reveal = self.key.sign_report(network, reveal).into_inner();
        let own = OwnReport { commit: (*commit).clone(), reveal };
        effects.push(Effect::PersistOwn(Box::new(own.clone())));
        effects.push(Effect::Gossip(Gossip::Commit(own.commit.clone())));
        self.own.insert(epoch, own);
        self.reports.add_commit(&self.network, &self.state, commit);
    }

    /// Reveals what has been committed to, once the block that closes the commits is final.
    pub(super) fn publish_reveals(&mut self, effects: &mut Vec<Effect>) {
        let reveals: Vec<_> = self.own.values().map(|own| own.reveal.clone()).collect();
        for reveal in reveals {
            let Ok(verified) = reveal.clone().verify(self.network.id()) else { continue };
            if self.add_own_reveal(verified) {
                effects.push(Effect::Gossip(Gossip::Reveal(reveal)));
            }
        }
        let (height, window) = (self.state.height.get(), self.network.policy().commit_window);
        self.own.retain(|epoch, _| epoch.get().saturating_add(2 * window) > height);
    }

    /// The end of the next block's epoch.
    fn epoch_end(&self) -> UnixMillis {
        self.network.genesis().epoch_end(self.state.height.next())
    }

    /// When the next height starts at the latest.
    fn grace_end(&self) -> UnixMillis {
        self.epoch_end().max(self.adopted_at).after(self.network.policy().commit_grace())
    }

    /// When the start of the next height must be looked at again; `None` while it runs.
    pub(super) fn next_start(&self) -> Option<UnixMillis> {
        if self.engine.is_none() || self.started {
            return None;
        }
        Some(if self.pull_at.is_none() { self.epoch_end() } else { self.grace_end() })
    }

    /// Starts the next height when everything expected is here, or when the grace is over and there is something to
    /// decide on; at once if its log shows that it had started before a crash. Until then, and until it is decided,
    /// missing commits and reveals are asked for.
    pub(super) fn start_if_due(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        if self.engine.is_none() {
            return;
        }
        let resumed = self.log.iter().any(|entry| !matches!(entry, WalEntry::Body(_)));
        if now < self.epoch_end() && !(resumed || self.heard) {
            return;
        }
        let complete = self.reports.is_complete(&self.network, &self.state);
        if !complete {
            self.pull(now, effects);
        }
        if self.started {
            return;
        }
        let quorum = self.reports.has_quorum(&self.network, self.state.height.next());
        let grace_over = now >= self.grace_end();
        let ready = now >= self.epoch_end() && (complete || (grace_over && quorum));
        if resumed || ready || (grace_over && self.heard) {
            self.start(now, effects);
        }
    }

    fn pull(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        let half_grace = self.network.policy().commit_grace() / 2;
        let first = self.epoch_end().max(self.adopted_at).after(half_grace);
        let due = *self.pull_at.get_or_insert(first);
        if now < due {
            return;
        }
        self.pull_at = Some(now.after(PULL_INTERVAL));
        let window = self.network.policy().commit_window;
        let next = self.state.height.next();
        for epoch in next.get().saturating_sub(window).max(1)..=next.get() {
            let epoch = EpochNumber::new(epoch);
            let have_commits = self.reports.commits_of(epoch).map(|commit| commit.signer).collect();
            let have_reveals = self.reports.reveals_of(epoch).map(|reveal| reveal.signer).collect();
            let request = SyncRequest::Reports { epoch, have_commits, have_reveals };
            effects.push(Effect::Fetch { peer: None, request });
        }
    }
}
