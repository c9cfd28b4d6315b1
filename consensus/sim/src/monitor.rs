//! What must hold whoever crashes, lies or is late, watched from outside the replicas: at every message that leaves a node, at
//! every block that one stores. Nothing here asks the code under test what the rule is: it is written down a second time.
//!
//! `controls.rs` breaks one rule after the other, and shows that each invariant can fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::engine::wal::WalEntry;
use lucid_consensus::ledger::state::{EpochScores, FinalEpoch, Rows, State};
use lucid_consensus::ledger::table::{Draws, PendingEpochs};
use lucid_consensus::replica::{FinalizedBlock, Gossip};
use lucid_score::draw::ScoredWorker;
use lucid_types::block::{Block, Header};
use lucid_types::change::PolicyChange;
use lucid_types::codec::encode;
use lucid_types::command::{Action, Command, ValidatorAction};
use lucid_types::id::{BlockHash, Hash, NodeId, ValidatorId};
use lucid_types::message::{CompactProposal, ConsensusMessage};
use lucid_types::policy::Policy;
use lucid_types::report::Reveal;
use lucid_types::signed::Signed;
use lucid_types::sync::RebroadcastItem;
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_sets::ValidatorSets;
use lucid_types::vote::{Vote, VoteKind};

use self::medians::{Seen, credits, medians};
use crate::duties::Duties;

mod medians;

/// What may not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Two blocks at one height (1).
    Agreement,
    /// A decided block without precommits of more than two thirds of the power.
    Certificate,
    /// An honest node signed two different messages for one step (3).
    SignedOnce,
    /// A vote left a node whose log would not hold it after a crash.
    LoggedFirst,
    /// A node prevoted for a block whose time was not the time.
    Timely,
    /// More proposals of a round were kept than its proposer may have made.
    Bounded,
    /// A round was lost although its proposer was there, and nobody else was to blame.
    Turns,
    /// No block in time.
    Progress,
    /// A block was made for nothing.
    OnDemand,
    /// A contribution to the random beacon that its proposer could choose.
    Beacon,
    /// A report in a block that its signer did not commit to.
    Committed,
    /// Medians other than the specification's.
    Medians,
    /// Another policy than the validators have decided, or from another epoch on.
    Policies,
    /// Validators are paid for duties that they did not do, or not for what they measured.
    Duties,
    /// A worker is drawn in its maintenance, or has dodged a draw that was too near.
    Drawn,
    /// A pool's accounts do not add up (4).
    Balance,
    /// A payout root that its signers or the vault would refuse.
    Roots,
    /// A node stopped for good.
    Failed,
    /// An honest node's message was rejected.
    Rejected,
}

/// A broken invariant.
#[derive(Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule that was broken.
    pub of: Invariant,
    what: String,
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.of, self.what)
    }
}

/// A node's message as it leaves, and what the monitor knows of the node.
pub struct Sent<'a> {
    /// The number of the node that sends it, from 0 on.
    pub node: usize,
    /// The message.
    pub gossip: &'a Gossip,
    /// The node's durable log.
    pub log: &'a [(Height, Vec<u8>)],
    /// Its newest stored block.
    pub stored: Height,
    /// Whether its clock is right.
    pub is_right: bool,
    /// Who may have signed what never passed by here.
    pub liars: &'a BTreeSet<ValidatorId>,
}

/// A block as a node stores it, and what the world was like.
pub struct Stored<'a> {
    /// The block, and what it led to.
    pub block: &'a FinalizedBlock,
    /// By a right clock.
    pub now: UnixMillis,
    /// Whether no message was ever lost, no node came back, and the first proposer of the height is there and honest.
    pub is_calm: bool,
    /// Whether a command may wait, or a clock is wrong: then a block may have a reason that does not show in it.
    pub may_be_wanted: bool,
}

type VoteKey = (ValidatorId, Height, u32, VoteKind);

/// Watches one world.
pub struct Monitor {
    votes: BTreeMap<VoteKey, Option<BlockHash>>,
    proposals: BTreeMap<(ValidatorId, Height, u32), BlockHash>,
    commitments: BTreeMap<(ValidatorId, Epoch), Vec<u8>>,
    /// The first proposals of a round by the node that they came to: their block's time and when they came.
    arrivals: BTreeMap<(usize, Height, u32, BlockHash), (UnixMillis, UnixMillis)>,
    /// The blocks of a round whose proposals a node logs.
    logged: BTreeMap<(usize, Height, u32), BTreeSet<BlockHash>>,
    chain: BTreeMap<Height, BlockHash>,
    /// What each epoch's validators committed to, in blocks.
    committed: BTreeMap<(Epoch, ValidatorId), Hash>,
    revealed: BTreeMap<Epoch, BTreeMap<ValidatorId, Reveal>>,
    duties: Duties,
    /// The newest state.
    newest: State,
    /// The validators, from the genesis on.
    sets: ValidatorSets,
    /// The policies by the epochs from which they are in force, as the blocks' commands decide them.
    policies: BTreeMap<Epoch, Policy>,
    /// The proposals of others, and who approves.
    proposed: BTreeMap<Hash, (PolicyChange, BTreeSet<NodeId>)>,
    /// Whether violations are kept to be looked at, rather than end the test.
    pub is_control: bool,
    /// What was found.
    pub violations: Vec<Violation>,
}

impl Monitor {
    /// Of a world that begins with this state.
    pub fn new(first: &State) -> Self {
        let (votes, proposals, commitments, arrivals, logged, chain) = Default::default();
        let (committed, revealed, duties, violations) = Default::default();
        Self {
            votes,
            proposals,
            commitments,
            arrivals,
            logged,
            chain,
            committed,
            revealed,
            duties,
            newest: first.clone(),
            sets: first.sets().clone(),
            policies: first.policies().iter().map(|(from, policy)| (from, Policy::clone(policy))).collect(),
            proposed: BTreeMap::new(),
            is_control: false,
            violations,
        }
    }

    /// Something is wrong: ends the test, unless it is a control.
    pub fn note(&mut self, of: Invariant, what: impl fmt::Display) {
        let violation = Violation { of, what: what.to_string() };
        assert!(self.is_control, "{violation:?}");
        self.violations.push(violation);
    }

    fn expect(&mut self, holds: bool, of: Invariant, what: impl FnOnce() -> String) {
        if !holds {
            self.note(of, what());
        }
    }

    /// A message leaves a node.
    pub fn sent(&mut self, spec: &ChainSpec, sent: &Sent<'_>) {
        match sent.gossip {
            Gossip::Consensus(ConsensusMessage::Vote(vote)) => {
                self.vote_once(vote);
                self.vote_is_logged(sent, vote);
                self.vote_is_timely(spec, sent, &vote.record);
            }
            Gossip::Rebroadcast(message) => {
                if let RebroadcastItem::Vote(vote) = &message.record.item {
                    self.vote_once(vote);
                }
            }
            Gossip::Consensus(ConsensusMessage::Proposal(proposal)) => {
                let proposal = &proposal.proposal;
                let key = (proposal.signer, proposal.record.height, proposal.record.round);
                let first = *self.proposals.entry(key).or_insert(proposal.record.block);
                let is_same = first == proposal.record.block;
                self.expect(is_same, Invariant::SignedOnce, || format!("two proposals for {key:?}"));
            }
            Gossip::Commitment(commitment) => {
                let key = (commitment.signer, commitment.record.epoch);
                let bytes = encode(commitment);
                let is_same = *self.commitments.entry(key).or_insert_with(|| bytes.clone()) == bytes;
                self.expect(is_same, Invariant::SignedOnce, || format!("two commitments for {key:?}"));
            }
            Gossip::Evidence(evidence) => {
                let is_liar = sent.liars.contains(&evidence.validator());
                self.expect(is_liar, Invariant::SignedOnce, || format!("an honest node is accused: {evidence:?}"));
            }
            Gossip::Consensus(ConsensusMessage::Wake(_))
            | Gossip::Reveal(_)
            | Gossip::Certificate(_)
            | Gossip::Command(_) => {}
        }
    }

    fn vote_once(&mut self, vote: &Signed<Vote>) {
        let Vote { kind, height, round, block } = vote.record;
        let key = (vote.signer, height, round, kind);
        let is_same = *self.votes.entry(key).or_insert(block) == block;
        self.expect(is_same, Invariant::SignedOnce, || format!("two votes for {key:?}"));
    }

    /// The vote that decides a height may leave after the block is stored: nothing of that height is signed any more.
    fn vote_is_logged(&mut self, sent: &Sent<'_>, vote: &Signed<Vote>) {
        let height = vote.record.height;
        let entry = WalEntry::Vote(vote.clone()).encode();
        let is_logged = height <= sent.stored || sent.log.iter().any(|(of, it)| *of == height && *it == entry);
        self.expect(is_logged, Invariant::LoggedFirst, || format!("node {}: {:?}", sent.node, vote.record));
    }

    /// Whoever prevotes for a block that is proposed for the first time has found its time right, unless more than two thirds
    /// have prevoted for it before.
    fn vote_is_timely(&mut self, spec: &ChainSpec, sent: &Sent<'_>, vote: &Vote) {
        let Vote { kind: VoteKind::Prevote, height, round, block: Some(block) } = *vote else { return };
        let Some((time, arrived)) = self.arrivals.get(&(sent.node, height, round, block)).copied() else { return };
        let policy = spec.fixed();
        let (precision, delay) = (policy.precision_ms, policy.message_delay_ms);
        let delay = delay + delay / 10 * u64::from(round);
        let (time, arrived) = (time.get(), arrived.get());
        let is_timely = arrived + precision >= time && arrived <= time + delay + precision;
        let is_backed = || {
            let of_block = self
                .votes
                .iter()
                .filter(|((_, of, _, kind), voted)| (*of, *kind, **voted) == (height, VoteKind::Prevote, Some(block)));
            let voters: BTreeSet<_> = of_block.map(|((voter, ..), _)| voter).chain(sent.liars).collect();
            let set = self.set(spec, height);
            3 * voters.iter().map(|voter| set.power(voter)).sum::<u64>() > 2 * set.total()
        };
        let holds = !sent.is_right || is_timely || is_backed();
        self.expect(holds, Invariant::Timely, || {
            format!("node {}: a block of {time} that came at {arrived}, in round {round} of {height}", sent.node)
        });
    }

    /// A proposal comes to a node, `arrived` by a right clock.
    pub fn arrived(&mut self, node: usize, proposal: &CompactProposal, arrived: UnixMillis) {
        let record = proposal.proposal.record;
        if record.pol_round.is_none() {
            let key = (node, record.height, record.round, record.block);
            self.arrivals.entry(key).or_insert((proposal.header.time, arrived));
        }
    }

    /// A node logs something.
    pub fn logs(&mut self, node: usize, height: Height, entry: &WalEntry) {
        let WalEntry::Arrival { round, block, .. } = entry else { return };
        let of_round = self.logged.entry((node, height, *round)).or_default();
        of_round.insert(*block);
        let count = of_round.len();
        self.expect(count <= 3, Invariant::Bounded, || {
            format!("node {node} keeps {count} proposals of round {round} of {height}")
        });
    }

    /// A node stores a block. What does not depend on the node is looked at once.
    pub fn stored(&mut self, spec: &ChainSpec, stored: &Stored<'_>) {
        let FinalizedBlock { decided, applied } = stored.block;
        let header = &decided.block.header;
        let (height, hash) = (header.height, decided.block.hash());
        self.is_certified(spec, stored.block);
        let is_new = !self.chain.contains_key(&height);
        let agreed = *self.chain.entry(height).or_insert(hash);
        self.expect(agreed == hash, Invariant::Agreement, || format!("{agreed} and {hash} at height {height}"));
        let root = applied.state.root();
        self.expect(root == header.state_root, Invariant::Agreement, || {
            format!("the block of {height} names another state")
        });
        if !is_new {
            return;
        }
        self.expect(applied.state.accounts_balance(), Invariant::Balance, || format!("at height {height}"));
        let round = decided.certificate.round;
        self.expect(round == 0 || !stored.is_calm, Invariant::Turns, || format!("height {height} in round {round}"));
        let is_past = header.time.get() <= stored.now.get() + spec.fixed().precision_ms;
        self.expect(is_past, Invariant::Timely, || format!("the time of {height} has not come"));
        self.contributes(spec, header);
        let before = std::mem::replace(&mut self.newest, applied.state.clone());
        if before.height().next() == height {
            let ended = spec.genesis().epoch_end(before.closed().next()) <= header.time;
            let has_reason = ended || before.pending().next().is_some() || !decided.block.commands.is_empty();
            self.expect(has_reason || stored.may_be_wanted, Invariant::OnDemand, || format!("block {height}"));
        }
        self.reports(spec, stored.block);
        self.decides(spec, &decided.block, before.closed() < applied.state.closed());
        let known = applied.state.policies().iter().map(|(from, policy)| (from, &**policy));
        let holds = known.eq(self.policies.iter().map(|(from, policy)| (*from, policy)));
        self.expect(holds, Invariant::Policies, || {
            let froms = |all: &[Epoch]| all.iter().map(|from| from.get()).collect::<Vec<_>>();
            let found: Vec<_> = applied.state.policies().iter().map(|(from, _)| from).collect();
            format!("at height {height}: from {:?}", froms(&found))
        });
        // Of a world that looks at every block.
        if before.height().next() == height {
            self.duties(spec, &before, stored.block);
        }
        if let Some(FinalEpoch { scores, .. }) = &applied.finalised {
            self.medians(&before, scores);
        }
        let (from, set) = applied.state.sets().newest();
        self.sets.push(from, Arc::clone(set));
    }

    /// The validators of a height: of no later one than two after the newest block.
    fn set(&self, spec: &ChainSpec, height: Height) -> Arc<ValidatorSet> {
        let known = self.sets.at(height);
        Arc::clone(known.unwrap_or_else(|| spec.first_validators()))
    }

    fn is_certified(&mut self, spec: &ChainSpec, stored: &FinalizedBlock) {
        let certificate = &stored.decided.certificate;
        let set = self.set(spec, certificate.height);
        let signers: BTreeSet<_> = certificate.signatures.iter().map(|(signer, _)| *signer).collect();
        let power: u64 = signers.iter().map(|signer| set.power(signer)).sum();
        let total = set.members().iter().map(|member| member.power).sum::<u64>();
        let holds = 3 * power > 2 * total && certificate.block == stored.decided.block.hash();
        self.expect(holds, Invariant::Certificate, || format!("{power} of {total} for {}", certificate.height));
    }

    fn contributes(&mut self, spec: &ChainSpec, header: &Header) {
        let Header { height, proposer, randao, .. } = header;
        let key = self.set(spec, *height).get(proposer).map(|validator| validator.keys.bls_key);
        let holds = key.is_some_and(|key| key.check_randao(spec.id(), *height, randao).is_ok());
        self.expect(holds, Invariant::Beacon, || format!("at height {height}"));
    }

    fn reports(&mut self, spec: &ChainSpec, stored: &FinalizedBlock) {
        let block = &stored.decided.block;
        for reveal in &block.reveals {
            let key = (reveal.record.report.epoch, reveal.signer);
            let account = stored.applied.state.validator_account(&reveal.signer);
            let found = account.map(|account| reveal.record.commitment(spec.id(), &account));
            let holds = found.is_some() && self.committed.get(&key) == found.as_ref();
            self.expect(holds, Invariant::Committed, || format!("{key:?} at height {}", block.header.height));
            self.revealed.entry(key.0).or_default().insert(key.1, reveal.record.clone());
        }
        let committed = block.commitments.iter().map(|it| ((it.record.epoch, it.signer), it.record.report));
        self.committed.extend(committed);
    }

    /// Policies as the specification puts it: what validators of more than two thirds of the power approve of counts from the second epoch
    /// after that of the block on, one change an epoch, and whatever else was proposed in place of the same policy is gone.
    fn decides(&mut self, spec: &ChainSpec, block: &Block, has_closed: bool) {
        let set = self.set(spec, block.header.height);
        let elapsed = block.header.time.get() - spec.genesis().genesis_time.get();
        let from = Epoch::new(elapsed / spec.genesis().policy.epoch_ms + 3);
        for Command { account, action, .. } in block.commands.iter().map(|command| &command.record) {
            let Action::Validator(action) = action else { continue };
            let id = match action {
                ValidatorAction::Propose(change) => {
                    let Some(of_policy) = change.policy() else { continue };
                    self.proposed.insert(change.id(), (of_policy.clone(), BTreeSet::from([*account])));
                    change.id()
                }
                ValidatorAction::Approve(id) | ValidatorAction::Withdraw(id) => *id,
                _ => continue,
            };
            let Some((_, approvals)) = self.proposed.get_mut(&id) else { continue };
            if matches!(action, ValidatorAction::Withdraw(_)) {
                approvals.remove(account);
                if approvals.is_empty() {
                    self.proposed.remove(&id);
                }
            } else {
                approvals.insert(*account);
                self.decide(&set, from, id);
            }
        }
        if has_closed {
            self.proposed.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| self.decide(&set, from, id));
        }
    }

    fn decide(&mut self, set: &ValidatorSet, from: Epoch, id: Hash) {
        let Some((change, approvals)) = self.proposed.get(&id) else { return };
        let power: u64 = approvals.iter().filter_map(|node| set.of(node)).map(|member| member.power).sum();
        if 3 * power > 2 * set.total() && !self.policies.contains_key(&from) {
            self.policies.insert(from, change.policy.clone());
            self.proposed.clear();
        }
    }

    /// What validators did, what they are paid for it, and whom maintenance keeps from being drawn.
    fn duties(&mut self, spec: &ChainSpec, before: &State, stored: &FinalizedBlock) {
        self.duties.turn(spec, before, &stored.decided.block);
        if let Some(finalised) = &stored.applied.finalised {
            let epoch = finalised.scores.epoch;
            let revealed = self.revealed.get(&epoch);
            let report = |key: &ValidatorId| Some(revealed?.get(key)?.report.clone());
            let committed = self.committed.keys().filter(|(of, _)| *of == epoch);
            let account = |key: &ValidatorId| stored.applied.state.validator_account(key).unwrap();
            let reports: Vec<_> = committed.map(|(_, key)| (*key, account(key), report(key))).collect();
            self.duties.reports(spec, finalised, &reports);
        }
        if let Err(what) = self.duties.paid(spec, before, stored) {
            self.note(Invariant::Duties, what);
        }
        if let Err(what) = self.duties.drawn(spec, before, stored) {
            self.note(Invariant::Drawn, what);
        }
    }

    /// The medians of every worker, from what blocks reveal and who holds its seats.
    fn medians(&mut self, before: &State, scores: &EpochScores) {
        let epoch = scores.epoch;
        let drawn = before.get::<PendingEpochs>(&epoch).and_then(|_| before.get::<Draws>(&epoch));
        let Some(draw) = drawn else { return };
        let revealed = self.revealed.remove(&epoch).unwrap_or_default();
        let mut seen: BTreeMap<NodeId, Seen> = BTreeMap::new();
        for (validator, reveal) in &revealed {
            let assigned: Vec<_> = draw.assignment(validator).into_iter().flatten().collect();
            let workers: Vec<_> = assigned.iter().map(|(worker, _)| worker.assigned()).collect();
            let observations = reveal.report.observations(&workers).into_iter().flatten();
            for ((worker, seats), observation) in assigned.into_iter().zip(observations) {
                seen.entry(worker.node).or_default().probes.extend(observation.map(|it| (seats, it)));
            }
            let stored: Vec<_> = draw.storage_assignment(validator).into_iter().flatten().collect();
            let proved = reveal.report.proved(stored.len()).into_iter().flatten();
            for ((worker, seats), proved) in stored.into_iter().zip(proved) {
                seen.entry(worker.node).or_default().stored.extend(proved.map(|chunks| (seats, chunks)));
            }
        }
        let policy = self.policies.range(..=epoch).next_back().unwrap().1;
        let of_worker = |scored: &ScoredWorker| Some((scored.node, medians(policy, scored, seen.get(&scored.node)?)?));
        let medians: BTreeMap<_, _> = draw.scored.iter().filter_map(of_worker).collect();
        let together = |group| medians.values().filter(|it| it.group == Some(group)).count();
        let agreed = |group| draw.scored.iter().filter(|it| it.group == group).count();
        let expected: BTreeMap<_, _> = medians
            .iter()
            .map(|(worker, of)| {
                let before = draw.scored.iter().find(|it| it.node == *worker).unwrap().group;
                let mut sharers = 1;
                if let Some(group) = of.group.filter(|it| it.is_some() && policy.one_per_network) {
                    sharers = together(group).max(if before == group { agreed(group) } else { 1 });
                }
                (*worker, (*of, credits(policy, epoch, of) / u64::try_from(sharers).unwrap()))
            })
            .collect();
        let found: BTreeMap<_, _> =
            scores.rows.iter().map(|row| (row.worker, (row.aggregate, row.credits.get()))).collect();
        self.expect(expected == found, Invariant::Medians, || {
            format!("epoch {epoch}: {found:?} instead of {expected:?}")
        });
    }

    /// A proposal that a node made.
    pub fn proposed(&self) -> impl Iterator<Item = (u32, &BlockHash)> {
        self.proposals.iter().map(|((_, _, round), hash)| (*round, hash))
    }

    /// Who has said that it precommits to a block in a round.
    pub fn precommits(&self, height: Height, round: u32, block: BlockHash) -> usize {
        let is_it = |((_, of, in_round, kind), voted): &(&VoteKey, &Option<BlockHash>)| {
            (*of, *in_round, *kind, **voted) == (height, round, VoteKind::Precommit, Some(block))
        };
        self.votes.iter().filter(is_it).count()
    }
}
