//! The BFT engine: Malachite core (Tendermint) behind Lucid's types, driven without a runtime, clock or socket.
//!
//! [`Engine`] takes inputs and returns [`Output`]s in the order in which they must be carried out. Its rules:
//!
//! - An engine decides one height, with one key.
//! - A [`Output::Sync`] stands before everything that leaves the node with a new signature, so the write-ahead log is
//!   durable first. After a crash, [`Engine::start`] replays the log and signs nothing that differs.
//! - Votes, proposals and certificates must have passed the gate (network, height, membership, signature) before
//!   they come here: the core buffers what is for the next height before it checks it.
//! - The core is never given an error by its host, and heights start only after the one before has been decided.

pub(crate) mod context;
mod convert;
mod host;
mod signing;
pub mod wal;

use std::collections::BTreeSet;

use lucid_types::certificate::Certificate;
use lucid_types::id::BlockHash;
use lucid_types::signed::{Signed, Verified};
use lucid_types::sync::RebroadcastItem;
use lucid_types::time::{self, UnixMillis};
use lucid_types::validator::Proposers;
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vote::{Proposal, Vote};
pub use malachitebft_core_consensus::MAX_FUTURE_ROUND_LOOKAHEAD as MAX_ROUNDS_AHEAD;
use malachitebft_core_consensus::{Input, LocallyProposedValue, Params, ProposedValue, State, process};
use malachitebft_core_types::{
    Context as _, NilOrVal, Round, SignedVote, Threshold, ThresholdParam, ThresholdParams, Validity, ValueOrigin,
    ValuePayload, VoteExtensionPolicy,
};

use crate::chain_spec::ChainSpec;
use crate::engine::context::{Address, Height, LucidContext, Members, ValueId};
use crate::engine::convert::{engine_kind, engine_polka, engine_proposal, engine_round_certificate, engine_vote};
use crate::engine::host::Host;
use crate::engine::wal::WalEntry;

/// Heights and messages a height that the core buffers for later: it is given none of a height that it has not started.
const QUEUED: usize = 1;

/// What the engine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Append to the height's log.
    Append(WalEntry),
    /// Make everything appended durable.
    Sync,
    /// Gossip a vote.
    Vote(Signed<Vote>),
    /// Gossip a proposal with the header and the items of its block, which this engine has been told of.
    Proposal(Signed<Proposal>),
    /// Gossip a rebroadcast.
    Rebroadcast(RebroadcastItem),
    /// It is this node's turn: answer with [`Engine::propose`].
    Build {
        /// The round to propose in.
        round: u32,
    },
    /// The height is decided.
    Decided(Certificate),
}

/// The engine of one validator at one height.
pub struct Engine {
    state: State<LucidContext>,
    host: Host,
}

impl Engine {
    /// Starts a height, of which everything is signed with this key, and replays its log, empty on a first start. The caller must know the
    /// blocks that the log names.
    #[must_use]
    pub fn start(
        spec: &ChainSpec,
        key: ValidatorKey,
        now: UnixMillis,
        proposers: Proposers<'_>,
        log: &[WalEntry],
    ) -> (Self, Vec<Output>) {
        let (numerator, denominator) = spec.rules().quorum();
        let quorum = ThresholdParam { numerator, denominator };
        let params = Params {
            address: Address(key.id()),
            threshold_params: ThresholdParams { quorum, ..ThresholdParams::default() },
            value_payload: ValuePayload::ProposalAndParts,
            enabled: true,
        };
        let height = proposers.height();
        let before = Height(time::Height::new(height.get().saturating_sub(1)));
        let state = State::new(LucidContext, before, Members::from(proposers), params, QUEUED, QUEUED);
        let mut engine = Self { state, host: Host::new(spec, key) };
        let outputs = engine.replay(now, proposers, log);
        (engine, outputs)
    }

    fn replay(&mut self, now: UnixMillis, proposers: Proposers<'_>, log: &[WalEntry]) -> Vec<Output> {
        let height = proposers.height();
        let inputs: Vec<_> = log.iter().filter_map(|entry| entry.to_input(height)).collect();
        self.host.begin_height(height, log);
        let start =
            Input::StartHeight(Height(height), Members::from(proposers), false, None, VoteExtensionPolicy::Disabled);
        self.process(now, start);
        if !inputs.is_empty() {
            self.state.index_wal_entries(inputs.iter());
            for input in inputs {
                self.process(now, input);
            }
            self.state.reset_entries_index();
        }
        self.host.end_replay();
        self.host.take_outputs()
    }

    /// The height that the engine works on, or last worked on.
    pub fn height(&self) -> time::Height {
        self.state.height().0
    }

    /// The round that the engine is in; `None` before the height has started.
    pub fn round(&self) -> Option<u32> {
        self.state.round().as_u32()
    }

    /// A verified vote.
    #[must_use]
    pub fn vote(&mut self, now: UnixMillis, vote: &Verified<Signed<Vote>>) -> Vec<Output> {
        self.input(now, Input::Vote(engine_vote(vote)))
    }

    /// A verified proposal.
    #[must_use]
    pub fn proposal(&mut self, now: UnixMillis, proposal: &Verified<Signed<Proposal>>) -> Vec<Output> {
        self.input(now, Input::Proposal(engine_proposal(proposal)))
    }

    /// A rebroadcast whose envelope was verified. The core checks the signatures inside certificates itself.
    #[must_use]
    pub fn repeated(&mut self, now: UnixMillis, item: &RebroadcastItem) -> Vec<Output> {
        let input = match item {
            RebroadcastItem::Vote(vote) => Input::Vote(engine_vote(vote)),
            RebroadcastItem::Polka(certificate) => Input::PolkaCertificate(engine_polka(certificate)),
            RebroadcastItem::Round(certificate) => Input::RoundCertificate(engine_round_certificate(certificate)),
        };
        self.input(now, input)
    }

    /// A block of the height under way that the ledger has executed.
    #[must_use]
    pub fn executed(&mut self, now: UnixMillis, round: u32, block: BlockHash, valid: bool) -> Vec<Output> {
        let height = self.state.height();
        let proposer = LucidContext.select_proposer(self.state.validator_set(), height, Round::new(round));
        let value = ProposedValue {
            height,
            round: Round::new(round),
            valid_round: Round::Nil,
            proposer: *malachitebft_core_types::Validator::address(proposer),
            value: ValueId(block),
            validity: Validity::from_bool(valid),
        };
        self.input(now, Input::ProposedValue(value, ValueOrigin::Consensus))
    }

    /// The answer to [`Output::Build`].
    #[must_use]
    pub fn propose(&mut self, now: UnixMillis, round: u32, block: BlockHash) -> Vec<Output> {
        let height = self.state.height();
        self.input(now, Input::Propose(LocallyProposedValue::new(height, Round::new(round), ValueId(block))))
    }

    /// The rounds and blocks for which more than two thirds of the power are known to have voted, in either step.
    pub fn backed(&self) -> BTreeSet<(u32, BlockHash)> {
        let votes = self.state.driver.votes();
        let is_quorum =
            |(round, kind, value): &(Round, _, ValueId)| votes.is_threshold_met(round, *kind, Threshold::Value(*value));
        let for_value = |vote: &SignedVote<LucidContext>| match vote.message.value {
            NilOrVal::Val(value) => Some((vote.message.round, vote.message.kind, value)),
            NilOrVal::Nil => None,
        };
        let voted = votes.all_rounds().values().flat_map(|round| round.received_votes()).filter_map(for_value);
        let voted: BTreeSet<_> = voted.collect();
        let voted = voted.into_iter().filter(is_quorum).map(|(round, _, value)| (round, value));
        let proved = self.state.driver.polka_certificates().iter().map(|polka| (polka.round, polka.value_id));
        voted.chain(proved).filter_map(|(round, value)| Some((round.as_u32()?, value.0))).collect()
    }

    /// Whether this vote is one of more than two thirds of the power for its block.
    pub fn is_backed(&self, vote: &Vote) -> bool {
        let (kind, round) = (engine_kind(vote.kind), Round::new(vote.round));
        let is_met = |block| {
            let value = Threshold::Value(ValueId(block));
            self.state.driver.votes().is_threshold_met(&round, kind, value)
        };
        vote.block.is_some_and(is_met)
    }

    /// When the next step times out.
    pub fn next_timeout(&self) -> Option<UnixMillis> {
        self.host.next_timeout()
    }

    /// Whether a proposal of this round, the one under way, is waited for and would be voted on.
    pub fn awaits_proposal(&self, round: u32) -> bool {
        self.round() == Some(round) && self.host.awaits_proposal(round)
    }

    /// Brings every step's end nearer, when the clock was set back by as much.
    pub fn shift_timeouts(&mut self, back: std::time::Duration) {
        self.host.shift_timeouts(back);
    }

    /// Fires the steps whose time has run out.
    #[must_use]
    pub fn tick(&mut self, now: UnixMillis) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(timeout) = self.host.take_due(now) {
            outputs.extend(self.input(now, Input::TimeoutElapsed(timeout)));
        }
        outputs
    }

    fn input(&mut self, now: UnixMillis, input: Input<LucidContext>) -> Vec<Output> {
        self.process(now, input);
        self.host.take_outputs()
    }

    /// Does nothing once the core has failed.
    fn process(&mut self, now: UnixMillis, input: Input<LucidContext>) {
        let Self { state, host } = self;
        if host.failure().is_some() {
            return;
        }
        host.set_now(now);
        let result: Result<(), malachitebft_core_consensus::Error<LucidContext>> =
            process!(input: input, state: state, metrics: &(), with: effect => host.handle(effect));
        if let Err(error) = result {
            host.failed(error.to_string());
        }
    }

    /// Why the engine has stopped for good, if it has: the core refused an input, or a replay led to other votes than its log
    /// holds. It takes no more inputs, and has no more outputs.
    pub fn failure(&self) -> Option<&str> {
        self.host.failure()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("height", &self.height()).field("round", &self.round()).finish()
    }
}
