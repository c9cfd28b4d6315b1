//! The chain's part of the replica: proposed blocks in, decided blocks adopted.

use std::collections::{BTreeMap, BTreeSet};

use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::id::{BlockHash, NodeId};
use lucid_types::signed::Verified;
use lucid_types::sync::{Decided, SyncRequest};
use lucid_types::time::UnixMillis;

use crate::engine::wal::WalEntry;
use crate::ledger::check::InvalidBlock;
use crate::ledger::execute::{Applied, adopt, validate};
use crate::replica::{Candidate, Effect, Gossip, MAX_CANDIDATES, MAX_EARLY, MAX_UNANNOUNCED, Replica, Stored};

impl Replica {
    pub(super) fn execute(&self, block: &Verified<Block>) -> Result<Applied, InvalidBlock> {
        validate(&self.network, &self.state, block, &self.archive)
    }

    pub(super) fn on_body(&mut self, now: UnixMillis, block: Verified<Block>, effects: &mut Vec<Effect>) {
        let next = self.state.height.next();
        if block.height == next.next() && self.early.len() < MAX_EARLY {
            self.early.push(block);
            return;
        }
        if block.height != next {
            return;
        }
        let hash = block.hash();
        if self.candidates.contains_key(&hash) {
            return;
        }
        let announced: Vec<_> = self.missing.extract_if(.., |(_, block), _| *block == hash).collect();
        let certified = self.certified.as_ref().is_some_and(|certificate| certificate.block == hash);
        if announced.is_empty() && !certified {
            self.keep_unannounced(block);
            return;
        }
        if self.candidates.len() >= MAX_CANDIDATES {
            self.make_room();
        }
        let from = announced.iter().min_by_key(|(_, missing)| missing.rounds.first()).map(|((from, _), _)| *from);
        // Followers wait for the certificate: they need not execute what may never be decided.
        let outcome = self.engine.is_some().then(|| self.execute(&block));
        if matches!(outcome, Some(Ok(_))) {
            effects.push(Effect::AppendLog { height: next, entry: WalEntry::Body((*block).clone()) });
        }
        self.candidates.insert(hash, Candidate { block, from, rounds: BTreeSet::new(), outcome });
        for round in announced.into_iter().flat_map(|(_, missing)| missing.rounds) {
            self.announce(now, round, hash, effects);
        }
        self.adopt_certified(now, effects);
    }

    fn keep_unannounced(&mut self, block: Verified<Block>) {
        if self.unannounced.contains(&block) {
            return;
        }
        if self.unannounced.len() >= MAX_UNANNOUNCED {
            self.unannounced.pop_front();
        }
        self.unannounced.push_back(block);
    }

    pub(super) fn on_certificate(
        &mut self,
        now: UnixMillis,
        certificate: Verified<Certificate>,
        effects: &mut Vec<Effect>,
    ) {
        let next = self.state.height.next();
        if certificate.height > next {
            // Blocks between are missing: catch up.
            effects.push(Effect::Fetch {
                peer: None,
                request: SyncRequest::Blocks { from: next, to: certificate.height },
            });
        } else if certificate.height == next && self.certified.is_none() {
            let block = certificate.block;
            self.certified = Some(certificate);
            self.take_unannounced(now, &block, effects);
            self.adopt_certified(now, effects);
            if self.certified.is_some() {
                effects.push(Effect::Fetch { peer: None, request: SyncRequest::Body { height: next, block } });
            }
        }
    }

    /// Drops a candidate of whoever has announced the most: a liar pushes out its own.
    fn make_room(&mut self) {
        let mut counts = BTreeMap::<_, usize>::new();
        for candidate in self.candidates.values() {
            *counts.entry(candidate.from).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count).map(|(from, _)| from);
        let dropped = self.candidates.iter().find(|(_, c)| Some(c.from) == most).map(|(hash, _)| *hash);
        if let Some(hash) = dropped {
            self.candidates.remove(&hash);
        }
    }

    /// Takes up a body that came before the proposal or certificate that names it.
    pub(super) fn take_unannounced(&mut self, now: UnixMillis, hash: &BlockHash, effects: &mut Vec<Effect>) {
        if let Some(found) = self.unannounced.iter().position(|block| block.hash() == *hash)
            && let Some(block) = self.unannounced.remove(found)
        {
            self.on_body(now, block, effects);
        }
    }

    /// Adopts the certified block of the next height if it is here.
    fn adopt_certified(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        let Some(certificate) = &self.certified else { return };
        let Some(candidate) = self.candidates.remove(&certificate.block) else { return };
        let outcome = match candidate.outcome {
            Some(outcome) => outcome,
            None => self.execute(&candidate.block),
        };
        // More than two thirds accepted what this node refuses: `on_decided` reports it when sync brings the block.
        let (Ok(applied), Some(certificate)) = (outcome, self.certified.take()) else { return };
        let decided = Decided { block: candidate.block.into_inner(), certificate: certificate.into_inner() };
        self.advance(now, Stored { decided, applied }, effects);
    }

    pub(super) fn on_decided(&mut self, now: UnixMillis, decided: Verified<Decided>, effects: &mut Vec<Effect>) {
        if decided.block.height != self.state.height.next() {
            return;
        }
        match adopt(&self.network, &self.state, &decided, &self.archive) {
            Ok(applied) => self.advance(now, Stored { decided: decided.into_inner(), applied }, effects),
            Err(error) => effects.push(Effect::Diverged { height: decided.block.height, error }),
        }
    }

    /// Makes a decided block the newest.
    pub(super) fn advance(&mut self, now: UnixMillis, stored: Stored, effects: &mut Vec<Effect>) {
        self.archive.push(stored.decided.block.clone());
        let certificate = stored.decided.certificate.clone();
        let proposer = stored.decided.block.proposer;
        self.state = stored.applied.state.clone();
        effects.push(Effect::Store(Box::new(stored)));
        self.started = false;
        self.heard = std::mem::take(&mut self.heard_next);
        self.log.clear();
        self.built.clear();
        self.build_wanted = None;
        self.candidates.clear();
        let next = self.state.height.next();
        self.missing.retain(|_, missing| missing.height >= next);
        self.unannounced.clear();
        self.arrivals.clear();
        self.untimely.clear();
        self.certified = None;
        self.pull_at = None;
        self.adopted_at = now;
        self.reports.prune(&self.network, &self.state);
        self.commands.prune(&self.network, &self.state);
        if self.announces(&certificate, &proposer) {
            effects.push(Effect::Gossip(Gossip::Certificate(certificate)));
        }
        self.publish_reveals(effects);
        for block in std::mem::take(&mut self.early) {
            self.on_body(now, block, effects);
        }
    }

    /// Two validators tell the followers of a decision: the proposer, and one in turn should the proposer be gone.
    fn announces(&self, certificate: &Certificate, proposer: &NodeId) -> bool {
        let members = self.network.validators(certificate.height).members();
        let count = u64::try_from(members.len()).unwrap_or(1).max(1);
        let turn = usize::try_from((certificate.height.get() + 1) % count).unwrap_or(0);
        let me = self.key.node_id();
        self.engine.is_some() && (me == *proposer || members.get(turn).is_some_and(|member| member.node == me))
    }
}
