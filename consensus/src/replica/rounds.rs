//! The engine's part of the replica: its messages in, its outputs carried out.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use lucid_types::id::BlockHash;
use lucid_types::signed::{Signed, Verified};
use lucid_types::sync::{Decided, Liveness, LivenessMessage, SyncRequest};
use lucid_types::time::{Height, UnixMillis};
use lucid_types::vote::Proposal;

use crate::engine::wal::WalEntry;
use crate::engine::{MAX_ROUNDS_AHEAD, Output, bodies};
use crate::ledger::build::{Turn, build};
use crate::replica::{Candidate, Effect, Gossip, MAX_MISSING_EACH, Missing, Replica, RoundMessage, Stored};

/// A body usually arrives by gossip right after its proposal: ask for it only then.
const BODY_PATIENCE: Duration = Duration::from_millis(300);
const BODY_RETRY: Duration = Duration::from_secs(1);

impl Replica {
    /// Takes the bodies out of the log, and what this node built.
    pub(super) fn restore_log(&mut self) {
        let next = self.state.height.next();
        for (hash, block) in bodies(&self.log) {
            // Only blocks whose signatures had been verified were logged.
            let Ok(block) = block.verify(self.network.id()) else { continue };
            if block.height == next {
                let outcome = self.execute(&block);
                let rounds = announced_in(&self.log, &hash);
                self.candidates.insert(hash, Candidate { block, from: None, rounds, outcome: Some(outcome) });
            }
        }
        for entry in &self.log {
            if let WalEntry::Built { round, block } = entry {
                self.built.insert(*round, *block);
            }
        }
    }

    fn is_next(&self, height: Height) -> bool {
        height == self.state.height.next()
    }

    pub(super) fn on_consensus(&mut self, now: UnixMillis, message: &RoundMessage, effects: &mut Vec<Effect>) {
        let height = match message {
            RoundMessage::Proposal(proposal) => proposal.record.height,
            RoundMessage::Vote(vote) => vote.record.height,
            RoundMessage::Wake(wake) => wake.record.height,
        };
        // The engine keeps what is for the height after the next one until it gets there.
        if !self.is_next(height) && !self.is_next(height.previous()) {
            return;
        }
        let is_next = self.is_next(height);
        self.heard |= is_next;
        self.heard_next |= !is_next;
        if let RoundMessage::Proposal(proposal) = message {
            self.on_proposal(now, proposal, effects);
        }
        // Its block may have been the last that was missing to adopt the height.
        if !self.is_next(height) && !self.is_next(height.previous()) {
            return;
        }
        let Some(engine) = &mut self.engine else { return };
        let outputs = match message {
            RoundMessage::Proposal(proposal) => engine.proposal(now, proposal),
            RoundMessage::Vote(vote) => engine.vote(now, vote),
            RoundMessage::Wake(_) => return,
        };
        self.carry_out(now, outputs, effects);
    }

    /// Tells the engine of the proposed block if it is here, or notes that it is missing. What is not its round's
    /// proposer's, and rounds that the core would not listen to yet, are ignored: the core keeps two blocks for a round,
    /// whoever named them.
    fn on_proposal(&mut self, now: UnixMillis, proposal: &Signed<Proposal>, effects: &mut Vec<Effect>) {
        let Proposal { height, round, block, pol_round } = proposal.record;
        // A proof-of-lock is of an earlier round.
        if pol_round.is_some_and(|pol| pol >= round) {
            return;
        }
        let is_far = round > self.round().unwrap_or(0).saturating_add(MAX_ROUNDS_AHEAD);
        if is_far || self.network.validators(height).proposer(height, round).node != proposal.signer {
            return;
        }
        if self.is_next(height) && pol_round.is_none() {
            self.arrivals.entry(round).or_insert((block, now));
        }
        if self.is_next(height) && self.candidates.contains_key(&block) {
            self.announce(now, round, block, effects);
        } else {
            self.expect_body(now, proposal);
            self.take_unannounced(now, &block, effects);
        }
    }

    fn expect_body(&mut self, now: UnixMillis, proposal: &Signed<Proposal>) {
        let Proposal { height, round, block, .. } = proposal.record;
        let key = (proposal.signer, block);
        if let Some(missing) = self.missing.get_mut(&key) {
            missing.rounds.insert(round);
            return;
        }
        let of_signer = || self.missing.iter().filter(|((from, _), m)| *from == proposal.signer && m.height == height);
        if of_signer().count() >= MAX_MISSING_EACH
            && let Some(oldest) = of_signer().min_by_key(|(_, missing)| missing.rounds.first()).map(|(key, _)| *key)
        {
            self.missing.remove(&oldest);
        }
        let missing = Missing { height, rounds: BTreeSet::from([round]), ask_at: now.after(BODY_PATIENCE) };
        self.missing.insert(key, missing);
    }

    pub(super) fn on_repeated(
        &mut self,
        now: UnixMillis,
        message: &Verified<Signed<LivenessMessage>>,
        effects: &mut Vec<Effect>,
    ) {
        let item = &message.record.item;
        let height = match item {
            Liveness::Vote(vote) => vote.record.height,
            Liveness::Polka(certificate) => certificate.height,
            Liveness::Round(certificate) => certificate.height,
        };
        if !self.is_next(height) {
            return;
        }
        self.heard = true;
        // Certificates that the core would buffer unchecked are repeated anyway: they can wait for the start.
        let Some(engine) = self.engine.as_mut().filter(|_| self.started) else { return };
        let outputs = engine.repeated(now, item);
        self.carry_out(now, outputs, effects);
    }

    /// Whether a block's time is what the clock said when the round's proposal came, as far as clocks and links may differ
    /// (proposer-based timestamps, as in CometBFT). A block that is proposed again with a proof-of-lock has been judged already.
    fn is_timely(&self, round: u32, hash: &BlockHash, time: UnixMillis) -> bool {
        let Some((first, arrival)) = self.arrivals.get(&round) else { return true };
        let policy = self.network.policy();
        let delay = policy.message_delay_ms.saturating_add(policy.message_delay_ms / 10 * u64::from(round));
        let latest = time.after(Duration::from_millis(delay.saturating_add(policy.precision_ms)));
        let earliest = time.before(Duration::from_millis(policy.precision_ms));
        first == hash && (earliest..=latest).contains(arrival)
    }

    /// Whether a block's time has not come. The engine is never told that such a block is valid, in whatever round and with
    /// whatever proof it is proposed: so no time is decided that more than a third of the power finds ahead of its clocks.
    fn is_of_the_future(&self, now: UnixMillis, time: UnixMillis) -> bool {
        time > now.after(Duration::from_millis(self.network.policy().precision_ms))
    }

    /// Tells the engine of the blocks that were withheld, once it waits for their round's proposal no longer: it has voted for
    /// nothing then, and others may have locked them.
    pub(super) fn announce_untimely(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        let Some(engine) = self.engine.as_ref().filter(|_| self.started) else { return };
        let is_now = |hash: &BlockHash| {
            self.candidates.get(hash).is_none_or(|candidate| !self.is_of_the_future(now, candidate.block.time))
        };
        let is_over = |(round, hash): &(u32, BlockHash)| {
            engine.round() >= Some(*round) && !engine.awaits_proposal(*round) && is_now(hash)
        };
        let over: Vec<_> = self.untimely.iter().copied().filter(is_over).collect();
        self.untimely.retain(|it| !over.contains(it));
        for (round, hash) in over {
            self.announce(now, round, hash, effects);
        }
    }

    /// Tells the engine of an executed block, once for each round it is proposed in. Validity is remembered by block, not by
    /// round, so an untimely one is not called invalid but withheld.
    pub(super) fn announce(&mut self, now: UnixMillis, round: u32, hash: BlockHash, effects: &mut Vec<Effect>) {
        let Some(candidate) = self.candidates.get(&hash) else { return };
        let Some(outcome) = &candidate.outcome else { return };
        let (height, time, valid) = (candidate.block.height, candidate.block.time, outcome.is_ok());
        if candidate.rounds.contains(&round) {
            return;
        }
        let is_awaited = self
            .engine
            .as_ref()
            .is_some_and(|engine| !self.started || engine.round() < Some(round) || engine.awaits_proposal(round));
        if self.is_of_the_future(now, time) || (is_awaited && !self.is_timely(round, &hash, time)) {
            self.untimely.insert((round, hash));
            return;
        }
        if let Some(candidate) = self.candidates.get_mut(&hash) {
            candidate.rounds.insert(round);
        }
        let Some(engine) = &mut self.engine else { return };
        let outputs = engine.executed(now, height, round, hash, valid);
        self.carry_out(now, outputs, effects);
    }

    /// Starts the engine on the next height, replaying what the log holds of it.
    pub(super) fn start(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        let height = self.state.height.next();
        let log = std::mem::take(&mut self.log);
        let set = self.network.validators(height).clone();
        let Some(engine) = &mut self.engine else { return };
        self.started = true;
        let outputs = engine.start(now, height, &set, &log);
        self.carry_out(now, outputs, effects);
        // What was proposed just before a crash: nobody sends it again, and the engine may not have been told.
        for entry in &log {
            if let WalEntry::Proposal(proposal) = entry
                && self.is_next(height)
                && !announced_in(&log, &proposal.record.block).contains(&proposal.record.round)
            {
                self.on_proposal(now, proposal, effects);
            }
        }
    }

    pub(super) fn tick_engine(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        if !self.is_running() {
            return;
        }
        let Some(engine) = &mut self.engine else { return };
        let outputs = engine.tick(now);
        self.carry_out(now, outputs, effects);
    }

    /// Carries out what the engine wants, in order. Outputs of a height that has been adopted meanwhile are void.
    fn carry_out(&mut self, now: UnixMillis, outputs: Vec<Output>, effects: &mut Vec<Effect>) {
        let height = self.state.height.next();
        let mut queue = VecDeque::from(outputs);
        while let Some(output) = queue.pop_front() {
            if !self.is_next(height) {
                return;
            }
            match output {
                Output::Append(entry) => effects.push(Effect::AppendLog { height, entry }),
                Output::Sync => effects.push(Effect::SyncLog),
                Output::Publish(message) => effects.push(Effect::Gossip(Gossip::Consensus(message))),
                Output::Repeat(item) => self.repeat(item, effects),
                Output::Build { round } => self.build(now, round, effects),
                Output::Restream(block) => self.restream(&block, effects),
                Output::Equivocation(nodes) => effects.push(Effect::Equivocation(nodes)),
                Output::Decided(certificate) => {
                    let Some(candidate) = self.candidates.remove(&certificate.block) else { continue };
                    // The engine decides only on blocks that were announced as valid.
                    let Some(Ok(applied)) = candidate.outcome else { continue };
                    let decided = Decided { block: candidate.block.into_inner(), certificate };
                    self.advance(now, Stored { decided, applied }, effects);
                }
            }
        }
    }

    fn repeat(&mut self, item: Liveness, effects: &mut Vec<Effect>) {
        self.liveness_sequence = self.liveness_sequence.saturating_add(1);
        let message = LivenessMessage { sequence: self.liveness_sequence, item };
        let signed = self.key.sign_liveness(self.network.id(), message).into_inner();
        effects.push(Effect::Gossip(Gossip::Liveness(signed)));
    }

    fn restream(&self, hash: &BlockHash, effects: &mut Vec<Effect>) {
        if let Some(block) = self.candidate(hash) {
            effects.push(Effect::Gossip(Gossip::Body(block.clone())));
        }
    }

    /// Builds the block that waits for reports, when they are here or the grace is over.
    pub(super) fn build_if_wanted(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        if let Some(round) = self.build_wanted {
            self.build(now, round, effects);
        }
    }

    /// Builds and proposes a block for `round`, or the same as before if this node has built one for it already. While reports
    /// are missing, it waits for them as long as the grace.
    fn build(&mut self, now: UnixMillis, round: u32, effects: &mut Vec<Effect>) {
        let height = self.state.height.next();
        self.build_wanted = None;
        if !self.is_running() || self.round() != Some(round) {
            return;
        }
        if now < self.grace_end() && !self.reports.is_complete(&self.network, &self.state) {
            self.build_wanted = Some(round);
            return;
        }
        let known = self.built.get(&round).copied().filter(|hash| self.candidates.contains_key(hash));
        let hash = match known {
            Some(hash) => hash,
            None => {
                let turn = Turn { proposer: self.key.node_id(), round, now };
                let (reports, commands) = (&self.reports, &self.commands);
                let built = build(&self.network, &self.state, reports, commands, turn, &self.archive);
                let Ok((block, applied)) = built else { return };
                // The commitments and reveals in it were verified when they arrived.
                let Ok(block) = block.verify(self.network.id()) else { return };
                let hash = block.hash();
                effects.push(Effect::AppendLog { height, entry: WalEntry::Body((*block).clone()) });
                effects.push(Effect::AppendLog { height, entry: WalEntry::Built { round, block: hash } });
                effects.push(Effect::SyncLog);
                let (from, rounds) = (Some(self.key.node_id()), BTreeSet::new());
                self.candidates.insert(hash, Candidate { block, from, rounds, outcome: Some(Ok(applied)) });
                self.built.insert(round, hash);
                hash
            }
        };
        if let Some(candidate) = self.candidates.get_mut(&hash) {
            candidate.rounds.insert(round);
        }
        self.restream(&hash, effects);
        let Some(engine) = &mut self.engine else { return };
        let outputs = engine.propose(now, round, hash);
        self.carry_out(now, outputs, effects);
    }

    /// Asks for proposed blocks that gossip has not brought.
    pub(super) fn ask_for_missing(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        let height = self.state.height.next();
        for ((from, block), missing) in &mut self.missing {
            if missing.height == height && missing.ask_at <= now {
                missing.ask_at = now.after(BODY_RETRY);
                let request = SyncRequest::Body { height, block: *block };
                effects.push(Effect::Fetch { peer: Some(*from), request });
            }
        }
    }
}

/// The rounds in which the log's engine had been told of a block.
fn announced_in(log: &[WalEntry], hash: &BlockHash) -> BTreeSet<u32> {
    let round = |entry: &WalEntry| match entry {
        WalEntry::Value { round, block, .. } if block == hash => Some(*round),
        _ => None,
    };
    log.iter().filter_map(round).collect()
}
