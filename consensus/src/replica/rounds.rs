//! The height under way: the engine, what is proposed to it, and when it starts.
//!
//! What the engine wants is queued and carried out in the order in which its inputs were logged, whatever an output leads to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lucid_types::block::Block;
use lucid_types::evidence::Evidence;
use lucid_types::id::{BlockHash, ValidatorId};
use lucid_types::message::{CompactProposal, ConsensusMessage};
use lucid_types::signed::{Signed, Verified};
use lucid_types::sync::{CertifiedBlock, Rebroadcast, RebroadcastItem, SyncRequest};
use lucid_types::time::{Height, UnixMillis};
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vote::{Proposal, Vote, VoteKind, Wake};

use crate::engine::wal::WalEntry;
use crate::engine::{Engine, MAX_ROUNDS_AHEAD, Output};
use crate::ledger::build::{Turn, build};
use crate::ledger::execute::Execution;
use crate::replica::Context;
use crate::replica::mempool::{Mempool, Waiting};
use crate::replica::proposals::{Candidate, OfferedBlocks, Proposals, Proposed};
use crate::replica::types::{Effect, Failure, FinalizedBlock, Gossip, Input};
use crate::replica::witness::{Heard, Witness};
use crate::rules::{Judged, Verdict};

/// A proposal that gossip has not brought, of a block that more than two thirds have voted for, is asked for this often.
const PROPOSAL_RETRY: Duration = Duration::from_millis(500);

/// When a validator signs nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// While it listens for another machine with its key.
    pub(super) is_listening: bool,
    /// Whether it listens anew when it becomes a validator: while it is none, nobody tells it of another machine.
    pub(super) listens_anew: bool,
    /// Of heights up to this one.
    pub(super) through: Height,
}

/// A validator's part in the next height.
pub(super) struct Rounds {
    /// Of the next height, once that has started.
    engine: Option<Engine>,
    /// The engine's log of the next height, read from disk after a restart.
    log: Vec<WalEntry>,
    /// What this node built to propose, by round.
    built: BTreeMap<u32, BlockHash>,
    /// A round of this node's, whose block waits for reports.
    build_wanted: Option<u32>,
    proposals: Proposals,
    /// Of the height after it: this node is a block behind. Nothing of them is fetched yet.
    early: Proposals,
    /// Votes that have come before the start, of the next height and the one after.
    early_votes: [EarlyVotes; 2],
    /// The other validators that have sent something of the next height, and of the one after.
    heard: [BTreeSet<ValidatorId>; 2],
    /// Whether a peer has been asked for the certificate of the block that this node is behind.
    is_behind_asked: bool,
    /// The rounds and blocks for which more than two thirds of the power are known to have voted.
    backed: BTreeSet<(u32, BlockHash)>,
    /// What validators have signed of this height and the next.
    witness: Witness,
    /// Evidence that has been found and not handed on.
    evidence: Vec<Verified<Evidence>>,
    silence: Silence,
    /// The highest height that a certificate proves to be decided.
    decided_through: Height,
    failure: Option<Failure>,
    /// When to ask for a proposal that others have voted for and this node does not know.
    ask_proposal_at: Option<UnixMillis>,
    /// What the engine wants done, in the order in which its inputs were logged.
    outputs: VecDeque<Output>,
    rebroadcast_sequence: u64,
}

impl Rounds {
    /// What this node goes on from, with what its log holds of the next height.
    pub(super) fn restore(
        context: &Context<'_>,
        log: Vec<WalEntry>,
        silence: Silence,
        rebroadcast_sequence: u64,
    ) -> Self {
        let mut rounds = Self {
            engine: None,
            log,
            built: BTreeMap::new(),
            build_wanted: None,
            proposals: Proposals::default(),
            early: Proposals::default(),
            early_votes: Default::default(),
            heard: Default::default(),
            is_behind_asked: false,
            backed: BTreeSet::new(),
            witness: Witness::default(),
            evidence: Vec::new(),
            silence,
            decided_through: Height::ZERO,
            failure: None,
            ask_proposal_at: None,
            outputs: VecDeque::new(),
            rebroadcast_sequence,
        };
        rounds.restore_log(context);
        rounds
    }

    /// Takes blocks and proposals out of the log, what this node built, and what it signed.
    fn restore_log(&mut self, context: &Context<'_>) {
        let spec = context.spec.id();
        let mut arrivals = BTreeMap::new();
        for entry in &self.log {
            match entry {
                WalEntry::Vote(vote) => {
                    if let Ok(vote) = vote.clone().verify(spec) {
                        self.witness.vote(&vote, context.is_own(&vote.signer));
                    }
                }
                // Only blocks whose signatures had been verified were logged.
                WalEntry::Block(block) if block.header.height == context.chain.next() => {
                    let Ok(block) = block.clone().verify(spec) else { continue };
                    let outcome = context.chain.execute(context.spec, &block);
                    self.proposals.insert(Candidate { block, outcome });
                }
                WalEntry::Arrival { round, block, at } => {
                    arrivals.insert((*round, *block), *at);
                }
                WalEntry::Built { round, block } => {
                    self.built.insert(*round, *block);
                }
                _ => {}
            }
        }
        let proposals = self.log.iter().filter_map(|entry| match entry {
            WalEntry::Proposal(proposal) => Some(proposal),
            _ => None,
        });
        for signed in proposals {
            let Proposal { round, block, .. } = signed.record;
            if let Ok(proposal) = signed.clone().verify(spec) {
                self.witness.proposal(&proposal, context.is_own(&proposal.signer));
            }
            let Some(candidate) = self.proposals.candidate(&block) else { continue };
            let compact = CompactProposal::new(signed.clone(), &candidate.block);
            let Ok(proposal) = compact.verify(spec) else { continue };
            let is_told = |entry: &WalEntry| match entry {
                WalEntry::Value { round: of, block: it, .. } => (*of, *it) == (round, block),
                _ => false,
            };
            let is_told = self.log.iter().any(is_told);
            let arrived = arrivals.get(&(round, block)).copied().unwrap_or(context.now);
            let signer = context.state().next_validators().get(&signed.signer);
            let from = signer.map_or(context.keys.account(), |signer| signer.node);
            let proposed = Proposed { proposal: Arc::new(proposal), from, arrived, is_told };
            let offered = Arc::clone(&proposed.proposal);
            if self.proposals.add(context.spec.rules(), proposed, true) {
                self.proposals.offer(&offered);
            }
        }
    }

    /// The round of the height under way.
    pub(super) fn round(&self) -> Option<u32> {
        self.engine.as_ref().and_then(Engine::round)
    }

    /// What is offered to peers of the blocks under way.
    pub(super) const fn offered(&self) -> &OfferedBlocks {
        self.proposals.offered()
    }

    /// Why the engine must not be used any more, if so.
    pub(super) fn failure(&self, height: Height) -> Option<Failure> {
        let engine = || Some(Failure::Engine { height, error: self.engine.as_ref()?.failure()?.to_owned() });
        self.failure.clone().or_else(engine)
    }

    /// Notes that another validator is at a height, and tells which of the next two it is.
    fn hear(&mut self, context: &Context<'_>, height: Height, validator: ValidatorId) -> Option<usize> {
        let ahead = height.get().checked_sub(context.chain.next().get())?;
        let ahead = usize::try_from(ahead).ok().filter(|ahead| *ahead < self.heard.len())?;
        self.heard[ahead].insert(validator);
        Some(ahead)
    }

    /// Whether enough other validators are at the next height: at least one that is honest.
    fn is_heard(&self, context: &Context<'_>) -> bool {
        let set = context.state().next_validators();
        let power = self.heard[0].iter().map(|validator| set.power(validator)).sum();
        context.spec.rules().is_heard(set, power)
    }

    fn on_vote(&mut self, context: &Context<'_>, vote: Verified<Signed<Vote>>) {
        match self.hear(context, vote.record.height, vote.signer) {
            Some(0) if self.is_started() => self.count(context, &vote),
            Some(ahead) => self.early_votes[ahead].add(vote),
            None => {}
        }
    }

    fn count(&mut self, context: &Context<'_>, vote: &Verified<Signed<Vote>>) {
        let Some(engine) = &mut self.engine else { return };
        self.outputs.extend(engine.vote(context.now, vote));
        self.note_backed(&vote.record);
    }

    fn note_backed(&mut self, vote: &Vote) {
        if let Some(block) = vote.block.filter(|_| self.engine.as_ref().is_some_and(|engine| engine.is_backed(vote))) {
            self.backed.insert((vote.round, block));
        }
    }

    /// Proofs are repeated until they are needed no more: they can wait for the start.
    fn on_proof(&mut self, context: &Context<'_>, from: ValidatorId, item: &RebroadcastItem) {
        if self.hear(context, item.height(), from) == Some(0)
            && let Some(engine) = &mut self.engine
        {
            self.outputs.extend(engine.repeated(context.now, item));
            self.backed = engine.backed();
        }
    }

    /// Keeps a proposal. The engine hears of it when its block is here and its time has been judged; of rounds that the core would
    /// not listen to yet, nothing is kept.
    fn on_proposal(&mut self, context: &Context<'_>, proposed: Proposed) {
        let Proposal { height, round, block, .. } = proposed.proposal.proposal.record;
        let is_far = |current: u32| round > current.saturating_add(MAX_ROUNDS_AHEAD);
        match self.hear(context, height, proposed.proposal.proposal.signer) {
            Some(0) if !is_far(self.round().unwrap_or(0)) => {
                let is_backed = self.backed.contains(&(round, block));
                self.proposals.add(context.spec.rules(), proposed, is_backed);
            }
            Some(1) if !is_far(0) => {
                self.early.add(context.spec.rules(), proposed, false);
            }
            _ => {}
        }
    }

    /// Whether this node is a validator of the next height, and may sign something of it.
    pub(super) fn may_sign(&self, context: &Context<'_>) -> bool {
        context.signer().is_some()
            && !self.silence.is_listening
            && context.chain.next() > self.silence.through.max(self.decided_through)
    }

    /// Notes a height that is known to be decided: while this node catches up, it signs nothing of it.
    pub(super) fn note_decided(&mut self, height: Height) {
        self.decided_through = self.decided_through.max(height);
    }

    /// No other machine with this key was heard for long enough.
    pub(super) const fn has_listened(&mut self) {
        self.silence.is_listening = false;
    }

    /// The evidence that has been found since the last time and that the next block may hold.
    pub(super) fn take_evidence(&mut self, next: Height) -> Vec<Verified<Evidence>> {
        self.evidence.extract_if(.., |evidence| evidence.height() <= next).collect()
    }

    /// What the witness says of a message of others; false if it is this validator's own.
    fn is_others(&mut self, context: &Context<'_>, signer: ValidatorId, height: Height, heard: Heard) -> bool {
        let is_own = context.is_own(&signer);
        match heard {
            Heard::Contradiction(evidence) if !is_own => self.evidence.push(*evidence),
            // What this validator signed at a height whose log is lost, it does not remember.
            Heard::New | Heard::Contradiction(_) if is_own && height > self.silence.through => {
                self.failure.get_or_insert(Failure::KeyInUse { height });
            }
            _ => {}
        }
        !is_own
    }

    /// Compares a vote of a certificate with what its signer has said to this node.
    pub(super) fn compare(&mut self, context: &Context<'_>, vote: &Verified<Signed<Vote>>) {
        if let Some(evidence) = self.witness.contradiction(vote) {
            self.is_others(context, vote.signer, vote.record.height, Heard::Contradiction(Box::new(evidence)));
        }
    }

    /// Notes what this validator is about to send; false if it contradicts what it has sent. The engine prevents it; should it fail, or a
    /// log be damaged, nothing leaves.
    fn may_send(&mut self, context: &Context<'_>, heard: &Heard) -> bool {
        let is_consistent = !matches!(heard, Heard::Contradiction(_));
        if !is_consistent {
            self.fail(context, "it was about to contradict what it had signed");
        }
        is_consistent
    }

    fn fail(&mut self, context: &Context<'_>, error: &str) {
        let height = context.chain.next();
        self.failure.get_or_insert_with(|| Failure::Engine { height, error: error.to_owned() });
    }

    /// Takes what others sent of this height and the next.
    pub(super) fn take(&mut self, context: &Context<'_>, input: Input) {
        match input {
            Input::Proposal { proposal, from, arrived } => {
                let signed = proposal.proposal();
                let height = signed.record.height;
                if height < context.chain.next() {
                    return;
                }
                let heard = self.witness.proposal(&signed, context.is_own(&signed.signer));
                if self.is_others(context, signed.signer, height, heard) {
                    self.on_proposal(context, Proposed { proposal: Arc::new(proposal), from, arrived, is_told: false });
                }
            }
            Input::Vote(vote) => {
                let height = vote.record.height;
                if height < context.chain.next() {
                    return;
                }
                let heard = self.witness.vote(&vote, context.is_own(&vote.signer));
                if self.is_others(context, vote.signer, height, heard) {
                    self.on_vote(context, vote);
                }
            }
            Input::Proof(message) => self.on_proof(context, message.signer, &message.record.item),
            Input::Wake(wake) => {
                self.hear(context, wake.record.height, wake.signer);
            }
            Input::Items { items, broken } => {
                items.into_iter().map(Waiting::from).for_each(|item| self.on_item(&item));
                broken.iter().for_each(|id| self.proposals.broken(id));
            }
            _ => {}
        }
    }

    /// An item that a proposed block may wait for.
    pub(super) fn on_item(&mut self, waiting: &Waiting) {
        self.proposals.item(waiting);
    }

    /// Takes the decided block that a certificate names, if it is here and this node accepts it.
    pub(super) fn decided(&mut self, hash: &BlockHash) -> Option<(Verified<Block>, Execution)> {
        let Candidate { block, outcome } = self.proposals.take(hash)?;
        Some((block, outcome.ok()?))
    }

    /// Follows a newest block that is not the next one: what was heard of the heights between is void.
    pub(super) fn leap(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        self.heard = Default::default();
        self.early_votes = Default::default();
        self.early = Proposals::default();
        self.outputs.clear();
        self.follow(context, effects);
    }

    /// Follows the newest block.
    pub(super) fn follow(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        // What it has found out about itself outlives it.
        self.failure = self.failure(context.chain.next());
        self.engine = None;
        self.heard.rotate_left(1);
        self.heard[1].clear();
        self.is_behind_asked = false;
        self.log.clear();
        self.built.clear();
        self.build_wanted = None;
        self.ask_proposal_at = None;
        self.backed.clear();
        self.witness.prune(context.chain.next());
        self.silence.is_listening |= self.silence.listens_anew && context.signer().is_none();
        self.proposals = Proposals::default();
        self.early_votes.rotate_left(1);
        self.early_votes[1] = EarlyVotes::default();
        for proposed in std::mem::take(&mut self.early).into_proposals() {
            self.on_proposal(context, proposed);
        }
        // What the engine still wants of the decided height is void, but for its own last vote: the core decides on it before it
        // publishes it, and others may need it to decide. Nothing of that height is signed any more, so no log is needed.
        for output in self.outputs.drain(..) {
            if let Output::Vote(vote) = output {
                effects.push(Effect::Gossip(Gossip::Consensus(ConsensusMessage::Vote(vote))));
            }
        }
    }

    /// Everything that time, items and proposals make possible; what it leads to is queued.
    pub(super) fn step(&mut self, context: &Context<'_>, mempool: &Mempool, effects: &mut Vec<Effect>) {
        self.start_if_due(context, mempool, effects);
        if let Some(round) = self.build_wanted {
            self.build(context, mempool, round);
        }
        if let Some(engine) = &mut self.engine {
            self.outputs.extend(engine.tick(context.now));
        }
        let current = self.round().unwrap_or(0);
        self.proposals.collect(context.now, current, &self.backed, mempool.waiting());
        while let Some(block) = self.proposals.complete() {
            let outcome = context.chain.execute(context.spec, &block);
            if outcome.is_ok() {
                self.outputs.push_back(Output::Append(WalEntry::Block((*block).clone())));
            }
            self.proposals.insert(Candidate { block, outcome });
        }
        self.tell(context, current.saturating_add(1));
    }

    /// Whether nothing waits to be carried out.
    pub(super) fn is_idle(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Tells the engine of the proposals of rounds up to `within` whose blocks are here, unless they are withheld.
    fn tell(&mut self, context: &Context<'_>, within: u32) {
        if !self.is_started() {
            return;
        }
        let untold = self.proposals.up_to(within).filter(|(_, proposed)| !proposed.is_told);
        let due = untold.filter_map(|(round, proposed)| {
            let is_valid = self.proposals.candidate(&proposed.hash())?.outcome.is_ok();
            let is_valid = match self.verdict(context, round, proposed, is_valid) {
                Verdict::Withheld => return None,
                verdict => verdict == Verdict::Valid,
            };
            Some((round, Arc::clone(&proposed.proposal), proposed.arrived, is_valid))
        });
        let due: Vec<_> = due.collect();
        for (round, proposal, at, is_valid) in due {
            let block = proposal.proposal.record.block;
            self.outputs.push_back(Output::Append(WalEntry::Arrival { round, block, at }));
            if let Some(engine) = &mut self.engine {
                self.outputs.extend(engine.proposal(context.now, &proposal.proposal()));
                self.outputs.extend(engine.executed(context.now, round, block, is_valid));
            }
            self.proposals.told(round, &block);
            self.proposals.offer(&proposal);
        }
    }

    /// What the engine hears of a proposal whose block is here.
    ///
    /// No time is decided that more than a third of the power finds ahead of its clocks: of a block whose time has not come the engine
    /// never hears.
    fn verdict(&self, context: &Context<'_>, round: u32, proposed: &Proposed, is_valid: bool) -> Verdict {
        let (policy, rules) = (context.spec.fixed(), context.spec.rules());
        let (precision, time) = (Duration::from_millis(policy.precision_ms), proposed.proposal.header.time);
        if time > context.now.after(precision) {
            return Verdict::Withheld;
        }
        let is_past = |engine: &Engine| {
            engine.round() > Some(round) || (engine.round() == Some(round) && !engine.awaits_proposal(round))
        };
        rules.verdict(Judged {
            is_valid,
            is_timely: rules.is_timely(&policy, round, time, proposed.arrived),
            has_lock: proposed.proposal.proposal.record.pol_round.is_some(),
            is_over: self.engine.as_ref().is_some_and(is_past),
            is_backed: self.backed.iter().any(|(_, block)| *block == proposed.hash()),
        })
    }

    /// Starts the engine on the next height, replaying what the log holds of it.
    fn start(&mut self, context: &Context<'_>, key: &ValidatorKey) {
        let log = std::mem::take(&mut self.log);
        let proposers = context.state().next_proposers();
        let (engine, outputs) = Engine::start(context.spec, key.clone(), context.now, proposers, &log);
        self.engine = Some(engine);
        self.outputs.extend(outputs);
        // It may not have left before the crash.
        let own = log.iter().rev().find_map(|entry| match entry {
            WalEntry::Proposal(proposal) if context.is_own(&proposal.signer) => Some(proposal.clone()),
            _ => None,
        });
        self.outputs.extend(own.map(Output::Proposal));
        let early = std::mem::take(&mut self.early_votes[0]);
        early.0.into_values().flatten().for_each(|vote| self.count(context, &vote));
        self.backed = self.engine.as_ref().map(Engine::backed).unwrap_or_default();
    }

    /// Carries out what the engine wants, in order, until the height is decided.
    pub(super) fn carry_out(
        &mut self,
        context: &Context<'_>,
        mempool: &Mempool,
        effects: &mut Vec<Effect>,
    ) -> Option<FinalizedBlock> {
        let height = context.chain.next();
        while let Some(output) = self.outputs.pop_front() {
            if self.failure.is_some() {
                return None;
            }
            match output {
                Output::Append(entry) => effects.push(Effect::AppendLog { height, entry }),
                Output::Sync => effects.push(Effect::SyncLog),
                Output::Vote(vote) => {
                    let Ok(signed) = vote.clone().verify(context.spec.id()) else { continue };
                    let heard = self.witness.vote(&signed, true);
                    if !self.may_send(context, &heard) {
                        return None;
                    }
                    self.note_backed(&vote.record);
                    effects.push(Effect::Gossip(Gossip::Consensus(ConsensusMessage::Vote(vote))));
                }
                Output::Proposal(proposal) => self.publish(context, proposal, effects),
                Output::Rebroadcast(item) => self.repeat(context, item, effects),
                Output::Build { round } => self.build(context, mempool, round),
                Output::Decided(certificate) => {
                    let Some((block, applied)) = self.decided(&certificate.block) else {
                        self.fail(context, "it decided on a block that it was not told of as valid");
                        return None;
                    };
                    return Some(FinalizedBlock {
                        decided: CertifiedBlock { block: block.into_inner(), certificate },
                        applied,
                    });
                }
            }
        }
        None
    }

    /// Gossips a proposal of the engine's with its block's header and items.
    fn publish(&mut self, context: &Context<'_>, signed: Signed<Proposal>, effects: &mut Vec<Effect>) {
        let block = self.proposals.candidate(&signed.record.block).map(|candidate| &candidate.block);
        let signed = signed.verify(context.spec.id()).ok();
        let Some((heard, proposal)) = signed.zip(block).and_then(|(signed, block)| {
            let is_own = context.is_own(&signed.signer);
            Some((self.witness.proposal(&signed, is_own), CompactProposal::verified(signed, block)?))
        }) else {
            return self.fail(context, "it proposed a block that is not here");
        };
        // The core also repeats the proposal that it has locked on, whoever has signed it.
        if context.is_own(&proposal.proposal.signer) && !self.may_send(context, &heard) {
            return;
        }
        let gossip = Gossip::Consensus(ConsensusMessage::Proposal(Box::new((*proposal).clone())));
        let (proposal, from) = (Arc::new(proposal), context.keys.account());
        let proposed = Proposed { proposal: Arc::clone(&proposal), from, arrived: context.now, is_told: true };
        self.proposals.add(context.spec.rules(), proposed, true);
        self.proposals.offer(&proposal);
        effects.push(Effect::Gossip(gossip));
    }

    fn repeat(&mut self, context: &Context<'_>, item: RebroadcastItem, effects: &mut Vec<Effect>) {
        let Some(key) = context.signer() else { return };
        self.rebroadcast_sequence = self.rebroadcast_sequence.saturating_add(1);
        let message = Rebroadcast { sequence: self.rebroadcast_sequence, item };
        let signed = key.sign_rebroadcast(context.spec.id(), message).into_inner();
        effects.push(Effect::Gossip(Gossip::Rebroadcast(signed)));
    }

    /// Builds and proposes a block for `round`, or the same as before if this node has built one for it already. While reports
    /// are missing, it waits for them as long as the grace.
    fn build(&mut self, context: &Context<'_>, mempool: &Mempool, round: u32) {
        self.build_wanted = None;
        if self.round() != Some(round) {
            return;
        }
        let (spec, state) = (context.spec, context.state());
        if context.now < grace_end(context) && !mempool.pending.reports.is_complete(spec, state) {
            self.build_wanted = Some(round);
            return;
        }
        let known = self.built.get(&round).copied().filter(|hash| self.proposals.candidate(hash).is_some());
        let hash = match known {
            Some(hash) => hash,
            None => {
                let Some(key) = context.signer() else { return };
                let turn = Turn { key, round, now: context.now };
                let built = build(spec, state, &mempool.pending, turn);
                let Ok((block, applied)) = built else { return };
                // It cannot fail: all items were verified when they arrived, and the hash is of these.
                let Ok(block) = block.verify(spec.id()) else { return };
                let hash = block.hash();
                self.outputs.push_back(Output::Append(WalEntry::Block((*block).clone())));
                self.outputs.push_back(Output::Append(WalEntry::Built { round, block: hash }));
                self.outputs.push_back(Output::Sync);
                self.proposals.insert(Candidate { block, outcome: Ok(applied) });
                self.built.insert(round, hash);
                hash
            }
        };
        if let Some(engine) = &mut self.engine {
            self.outputs.extend(engine.propose(context.now, round, hash));
        }
    }

    /// Asks for proposals and items that gossip has not brought.
    pub(super) fn ask(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        for (peer, request) in self.proposals.questions(context.now, context.state().next_validators()) {
            effects.push(Effect::Fetch { peer, request });
        }
        // Whoever speaks of the height after the next should have the next one's certificate.
        let height = context.chain.next().next();
        let ahead = self.heard[1].first().and_then(|ahead| context.state().validators(height)?.get(ahead));
        if let Some(ahead) = ahead
            && !std::mem::replace(&mut self.is_behind_asked, true)
        {
            effects.push(Effect::Fetch { peer: Some(ahead.node), request: SyncRequest::Head });
        }
        let unknown = self.backed.iter().find(|(round, block)| !self.proposals.knows(*round, block));
        let Some((round, block)) = unknown.copied() else { return self.ask_proposal_at = None };
        if *self.ask_proposal_at.get_or_insert(context.now) <= context.now {
            self.ask_proposal_at = Some(context.now.after(PROPOSAL_RETRY));
            effects.push(Effect::Fetch { peer: None, request: SyncRequest::Proposal { round, block } });
        }
    }

    /// When this must be looked at again.
    pub(super) fn next_wakeup(&self, context: &Context<'_>, mempool: &Mempool) -> Option<UnixMillis> {
        let timeout = self.engine.as_ref().and_then(Engine::next_timeout);
        let build = self.build_wanted.map(|_| grace_end(context));
        let precision = Duration::from_millis(context.spec.fixed().precision_ms);
        let untold = self.proposals.up_to(u32::MAX).filter(|(_, proposed)| !proposed.is_told);
        let times = untold.map(|(_, proposed)| proposed.proposal.header.time.before(precision));
        let come = times.filter(|at| *at > context.now).min();
        let others = [
            timeout,
            build,
            come,
            self.ask_proposal_at,
            self.proposals.next_question(),
            self.next_start(context, mempool),
        ];
        others.into_iter().flatten().filter(|at| *at > context.now).min()
    }

    /// Whether something waits for the next block: a window is open, an epoch has ended, or a command has come.
    fn has_reason(context: &Context<'_>, mempool: &Mempool) -> bool {
        let (spec, state, now) = (context.spec, context.state(), context.now);
        state.pending().next().is_some()
            || now >= spec.genesis().epoch_end(state.closed().next())
            || !mempool.pending.evidence.is_empty()
            || mempool.pending.commands.has_applicable(now.max(state.time()))
    }

    /// When the start of the next height must be looked at again; `None` while it runs.
    fn next_start(&self, context: &Context<'_>, mempool: &Mempool) -> Option<UnixMillis> {
        if self.is_started() || !self.may_sign(context) {
            return None;
        }
        let earliest = context.state().next_time(context.spec);
        let epoch_end = context.spec.genesis().epoch_end(context.state().closed().next());
        Some(if self.is_heard(context) || Self::has_reason(context, mempool) {
            earliest
        } else {
            epoch_end.max(earliest)
        })
    }

    /// Starts the next height when there is a reason, or more than a third of the power have started it: a few must not be able to make
    /// heights, and so choose which of them closes an epoch; at once if its log shows that it had started
    /// before a crash.
    fn start_if_due(&mut self, context: &Context<'_>, mempool: &Mempool, effects: &mut Vec<Effect>) {
        let Some(key) = context.signer().filter(|_| !self.is_started() && self.may_sign(context)) else { return };
        let is_resumed = self.log.iter().any(|entry| !matches!(entry, WalEntry::Block(_)));
        let is_early = context.now < context.state().next_time(context.spec);
        let has_reason = !is_early && Self::has_reason(context, mempool);
        if !is_resumed && (is_early || !(self.is_heard(context) || has_reason)) {
            return;
        }
        if has_reason {
            let wake = Wake { height: context.chain.next() };
            let wake = key.sign_wake(context.spec.id(), wake).into_inner();
            effects.push(Effect::Gossip(Gossip::Consensus(ConsensusMessage::Wake(wake))));
        }
        self.start(context, key);
    }

    /// Whether the engine works on the next height.
    pub(super) const fn is_started(&self) -> bool {
        self.engine.is_some()
    }

    /// A clock that was set back takes what waits with it.
    pub(super) fn clock_set_back(&mut self, by: Duration) {
        if let Some(engine) = &mut self.engine {
            engine.shift_timeouts(by);
        }
        self.ask_proposal_at = self.ask_proposal_at.map(|at| at.before(by));
        self.proposals.clock_set_back(by);
    }
}

/// Votes of a height that has not started: of each validator two different ones for a step, which prove that it lies, of the rounds
/// that the core would listen to. Those of later rounds are repeated until it does.
#[derive(Default)]
struct EarlyVotes(BTreeMap<Step, Vec<Verified<Signed<Vote>>>>);

/// A validator's step in a round.
type Step = (ValidatorId, u32, VoteKind);

impl EarlyVotes {
    fn add(&mut self, vote: Verified<Signed<Vote>>) {
        let Vote { kind, round, block, .. } = vote.record;
        if round > MAX_ROUNDS_AHEAD {
            return;
        }
        let of_step = self.0.entry((vote.signer, round, kind)).or_default();
        if of_step.len() < 2 && of_step.iter().all(|known| known.record.block != block) {
            of_step.push(vote);
        }
    }
}

/// When the proposer of the next height waits no longer for reports.
fn grace_end(context: &Context<'_>) -> UnixMillis {
    context.chain.earliest_start(context.spec).after(context.spec.fixed().report_grace())
}
