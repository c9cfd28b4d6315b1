//! One node's replica: the chain, the height under way if the node is a validator, and what waits for a block.
//!
//! [`Replica::handle`] takes the time and an input and returns effects, to be carried out strictly in order. The
//! shell calls it with [`Input::Tick`] at [`Replica::next_wakeup`].
//!
//! ```text
//!  an epoch has ended, a window is open, or an item waits ──▶ Wake ──▶ the engine starts the next height
//!  own turn ──▶ wait for reports, at most the grace ──▶ signed header and list of items ──▶ votes ──▶ CertifiedBlock
//!  another's proposal ──▶ its items from the mempool, the rest from peers ──▶ execute ──▶ judge its time ──▶ the engine
//!  CertifiedBlock, certificate or sync ──▶ Store in one batch
//!      ├─ it closed an epoch ──▶ Report ──▶ own commitment: persisted, gossiped
//!      └─ a reveal window opens ──▶ own reveal: gossiped
//! ```
//!
//! Three machines with state of their own: [`Chain`](chain), what is decided; [`Rounds`](rounds), what is being decided, only on
//! validators; [`Mempool`](mempool), what waits.

mod chain;
mod mempool;
mod offers;
mod proposals;
mod rounds;
mod types;
mod witness;

use std::sync::Arc;

use lucid_types::certificate::Certificate;
use lucid_types::id::ValidatorId;
use lucid_types::signed::{Signed, Verified};
use lucid_types::sync::CertifiedBlock;
use lucid_types::time::{Epoch, UnixMillis};
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vote::Vote;

pub use crate::replica::offers::Offers;
pub use crate::replica::types::{Effect, Failure, FinalizedBlock, Gossip, Input, OwnReport, Restore};

use crate::chain_spec::ChainSpec;
use crate::commands::Source;
use crate::keyring::Keyring;
use crate::ledger::execute::adopt;
use crate::ledger::state::State;
use crate::replica::chain::Chain;
use crate::replica::mempool::Mempool;
use crate::replica::rounds::{Rounds, Silence};
use crate::reports::awaits_commitment;

/// What every machine sees of the rest.
struct Context<'a> {
    spec: &'a ChainSpec,
    keys: &'a Keyring,
    chain: &'a Chain,
    now: UnixMillis,
}

impl<'a> Context<'a> {
    const fn state(&self) -> &'a State {
        self.chain.state()
    }

    /// The key with which this node signs what is decided at the next height. None if it is no validator then, or does not have the key.
    fn signer(&self) -> Option<&'a ValidatorKey> {
        self.keys.of(self.state().next_validators())
    }

    /// Whether this node has the key.
    fn is_own(&self, key: &ValidatorId) -> bool {
        self.keys.get(key).is_some()
    }
}

/// One node's replica.
pub struct Replica {
    spec: Arc<ChainSpec>,
    keys: Keyring,
    chain: Chain,
    mempool: Mempool,
    /// `None` on a node that never votes. While it is no validator, it starts no height.
    rounds: Option<Rounds>,
    /// The time of the last call; `None` before the first.
    clock: Option<UnixMillis>,
    has_failed: bool,
}

impl Replica {
    /// A replica that goes on from what is stored. It votes if `may_vote`, at the heights whose validators have a key of these.
    pub fn restore(spec: Arc<ChainSpec>, keys: Keyring, stored: Restore, may_vote: bool) -> Self {
        let Restore { state, log, own, commands, is_listening, silent_through, rebroadcast_sequence, now } = stored;
        let chain = Chain::new(state, now);
        let context = Context { spec: &spec, keys: &keys, chain: &chain, now };
        let mempool = Mempool::restore(&context, own, commands);
        let rounds = may_vote.then(|| {
            let silence = Silence { is_listening, listens_anew: is_listening, through: silent_through };
            Rounds::restore(&context, log, silence, rebroadcast_sequence)
        });
        Self { spec, keys, chain, mempool, rounds, clock: None, has_failed: false }
    }

    /// The state after the newest block.
    pub const fn state(&self) -> &State {
        self.chain.state()
    }

    /// What peers may ask this node for beside decided blocks, as it is now.
    pub fn offers(&self) -> Offers {
        let proposed = self.rounds.as_ref().map(|rounds| Arc::clone(rounds.offered()));
        Offers::new(Arc::clone(self.mempool.waiting()), proposed.unwrap_or_default())
    }

    /// The keys with which it may sign.
    pub const fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// Whether this node votes on the next height.
    pub fn is_validator(&self) -> bool {
        self.rounds.is_some() && self.keys.of(self.state().next_validators()).is_some()
    }

    /// The round of the height under way.
    pub fn round(&self) -> Option<u32> {
        self.rounds.as_ref().and_then(Rounds::round)
    }

    /// The closed epochs for which this validator has no commitment, and a block could still carry one.
    pub fn epochs_to_report(&self) -> Vec<Epoch> {
        let Self { spec, keys, chain, .. } = self;
        let context = Context { spec, keys, chain, now: UnixMillis::ZERO };
        if !self.rounds.as_ref().is_some_and(|rounds| rounds.may_sign(&context)) {
            return Vec::new();
        }
        let state = self.state();
        let is_open = |epoch: &Epoch| {
            let key = keys.reporter(state, *epoch);
            key.is_some_and(|key| awaits_commitment(&self.spec, state, (*epoch, key.id())))
        };
        let epochs = state.pending().map(|(epoch, _)| epoch);
        epochs.filter(|epoch| is_open(epoch) && !self.mempool.has_reported(*epoch)).collect()
    }

    /// Handles an input; the effects are to be carried out in order. After [`Effect::Fail`] there is none.
    #[must_use]
    pub fn handle(&mut self, now: UnixMillis, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.has_failed {
            return effects;
        }
        self.follow_clock(now, &mut effects);
        let outcome = self.take(now, input, &mut effects).and_then(|()| self.proceed(now, &mut effects));
        if let Err(failure) = outcome {
            self.has_failed = true;
            effects.push(Effect::Fail(failure));
        }
        effects
    }

    /// What the engine has found out about itself.
    fn engine(&self) -> Result<(), Failure> {
        let failure = self.rounds.as_ref().and_then(|rounds| rounds.failure(self.chain.next()));
        failure.map_or(Ok(()), Err)
    }

    fn take(&mut self, now: UnixMillis, input: Input, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        if let Input::Keys(found) = input {
            self.keys = found;
            return Ok(());
        }
        let unreported = self.epochs_to_report();
        let Self { spec, keys, chain, mempool, rounds, .. } = self;
        let context = Context { spec, keys, chain, now };
        let added = match input {
            Input::Tick => None,
            Input::Commitment(commitment) => mempool.add_commitment(&context, commitment),
            Input::Reveal(reveal) => mempool.add_reveal(&context, reveal),
            Input::Command(command) => mempool.add_command(&context, command, Source::Peer).ok(),
            Input::Submit(command) => mempool.submit(&context, command, effects),
            Input::Evidence(evidence) => mempool.add_evidence(&context, evidence),
            Input::Report { report, salt } => {
                let is_wanted = unreported.contains(&report.epoch);
                is_wanted.then(|| mempool.commit(&context, report, salt, effects)).flatten()
            }
            Input::Certificate(certificate) => {
                self.on_certificate(now, certificate, effects);
                None
            }
            Input::Decided(decided) => return self.on_decided(now, decided, effects),
            Input::Snapshot(state) => {
                self.take_over(now, *state, effects);
                None
            }
            Input::Listened => {
                rounds.iter_mut().for_each(Rounds::has_listened);
                None
            }
            input => {
                if let Some(rounds) = rounds {
                    rounds.take(&context, input);
                }
                self.accuse(now, effects);
                None
            }
        };
        if let (Some(waiting), Some(rounds)) = (added, &mut self.rounds) {
            rounds.on_item(&waiting);
        }
        self.engine()
    }

    /// Hands on the evidence that has been found.
    fn accuse(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        let Self { spec, keys, chain, mempool, rounds, .. } = self;
        let context = Context { spec, keys, chain, now };
        let Some(rounds) = rounds else { return };
        for evidence in rounds.take_evidence(chain.next()) {
            let gossip = Gossip::Evidence((*evidence).clone());
            if let Some(waiting) = mempool.add_evidence(&context, evidence) {
                effects.push(Effect::Gossip(gossip));
                rounds.on_item(&waiting);
            }
        }
    }

    /// Compares the votes of a certificate with what their signers have said to this node.
    fn compare(
        &mut self,
        votes: impl Iterator<Item = Verified<Signed<Vote>>>,
        now: UnixMillis,
        effects: &mut Vec<Effect>,
    ) {
        let Self { spec, keys, chain, rounds, .. } = self;
        if let Some(rounds) = rounds {
            let context = Context { spec, keys, chain, now };
            votes.for_each(|vote| rounds.compare(&context, &vote));
            self.accuse(now, effects);
        }
    }

    /// Whether more than two thirds of the power of the next height's validators have signed. Whoever checked the signatures may have been
    /// behind this state, and not have known who these are.
    fn is_decided(&self, certificate: &Certificate) -> bool {
        let set = self.state().next_validators();
        let power = certificate.signatures.iter().map(|(node, _)| set.power(node)).fold(0, u64::saturating_add);
        set.is_quorum(power)
    }

    fn on_certificate(&mut self, now: UnixMillis, certificate: Verified<Certificate>, effects: &mut Vec<Effect>) {
        let next = self.chain.next();
        if certificate.height < next || (certificate.height == next && !self.is_decided(&certificate)) {
            return;
        }
        if let Some(rounds) = &mut self.rounds {
            rounds.note_decided(certificate.height);
        }
        self.compare(certificate.votes(), now, effects);
        let candidate = self.rounds.as_mut().filter(|_| certificate.height == next);
        // More than two thirds accepted what this node refuses: `on_decided` reports it when sync brings the block.
        match candidate.and_then(|rounds| rounds.decided(&certificate.block)) {
            Some((block, applied)) => {
                let decided = CertifiedBlock { block: block.into_inner(), certificate: certificate.into_inner() };
                self.advance(now, FinalizedBlock { decided, applied }, effects);
            }
            None => {
                effects.push(Effect::CatchUp { to: certificate.height });
            }
        }
    }

    fn on_decided(
        &mut self,
        now: UnixMillis,
        decided: Verified<CertifiedBlock>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Failure> {
        let height = decided.block.header.height;
        if height != self.chain.next() || !self.is_decided(&decided.certificate) {
            return Ok(());
        }
        self.compare(decided.votes(), now, effects);
        let applied = adopt(&self.spec, self.state(), &decided).map_err(|error| Failure::Diverged { height, error })?;
        self.advance(now, FinalizedBlock { decided: decided.into_inner(), applied }, effects);
        Ok(())
    }

    /// Makes a decided block the newest.
    fn advance(&mut self, now: UnixMillis, stored: FinalizedBlock, effects: &mut Vec<Effect>) {
        self.chain.advance(now, &stored);
        let FinalizedBlock { decided: CertifiedBlock { block, certificate }, .. } = &stored;
        let announced = self.announces(certificate, &block.header.proposer).then(|| certificate.clone());
        effects.push(Effect::Store(Box::new(stored)));
        effects.extend(announced.map(|certificate| Effect::Gossip(Gossip::Certificate(certificate))));
        let Self { spec, keys, chain, mempool, rounds, .. } = self;
        let context = Context { spec, keys, chain, now };
        mempool.follow(&context, effects);
        if let Some(rounds) = rounds {
            rounds.follow(&context, effects);
        }
        self.accuse(now, effects);
    }

    /// Goes on from a later state.
    fn take_over(&mut self, now: UnixMillis, state: State, effects: &mut Vec<Effect>) {
        if state.height() <= self.chain.state().height() {
            return;
        }
        self.chain.take_over(now, state);
        let Self { spec, keys, chain, mempool, rounds, .. } = self;
        let context = Context { spec, keys, chain, now };
        mempool.follow(&context, effects);
        if let Some(rounds) = rounds {
            rounds.leap(&context, effects);
        }
    }

    /// Two validators tell the followers of a decision: the proposer, and one in turn should the proposer be gone.
    fn announces(&self, certificate: &Certificate, proposer: &ValidatorId) -> bool {
        let members = self.state().next_validators().members();
        let count = u64::try_from(members.len()).unwrap_or(1).max(1);
        let turn = usize::try_from((certificate.height.get() + 1) % count).unwrap_or(0);
        let of_turn = members.get(turn).map(|member| member.keys.id);
        let me = self.keys.of(self.state().next_validators()).map(ValidatorKey::id);
        self.is_validator() && (me == Some(*proposer) || me == of_turn)
    }

    /// A clock that was set back takes what waits with it: a wait is then at most as long again, never as long as the
    /// leap. Epochs stay where the genesis puts them. At the first call, what a crash kept from leaving leaves.
    fn follow_clock(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        let Some(before) = self.clock.replace(now) else { return self.mempool.repeat_own(now, effects) };
        let back = now.until(before);
        if back.is_zero() {
            return;
        }
        self.chain.clock_set_back(back);
        self.mempool.clock_set_back(back);
        if let Some(rounds) = &mut self.rounds {
            rounds.clock_set_back(back);
        }
    }

    /// Everything that time and what has come make possible.
    fn proceed(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        loop {
            let Self { spec, keys, chain, mempool, rounds, .. } = self;
            let Some(rounds) = rounds else { return Ok(()) };
            let context = Context { spec, keys, chain, now };
            rounds.step(&context, mempool, effects);
            if let Some(failure) = rounds.failure(chain.next()) {
                return Err(failure);
            }
            if rounds.is_idle() {
                rounds.ask(&context, effects);
                if rounds.is_started() {
                    mempool.pull(&context, effects);
                }
                return Ok(());
            }
            // A block may be decided whose successor is due already.
            if let Some(stored) = rounds.carry_out(&context, mempool, effects) {
                self.advance(now, stored, effects);
            }
            self.engine()?;
        }
    }

    /// When [`Input::Tick`] is due next; always after `now`, at which the replica has just been called.
    pub fn next_wakeup(&self, now: UnixMillis) -> Option<UnixMillis> {
        let Self { spec, keys, chain, mempool, .. } = self;
        let rounds = self.rounds.as_ref().filter(|_| !self.has_failed)?;
        let wakeup = rounds.next_wakeup(&Context { spec, keys, chain, now }, mempool);
        [wakeup, mempool.pull_at].into_iter().flatten().filter(|at| *at > now).min()
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("next", &self.chain.next())
            .field("round", &self.round())
            .finish_non_exhaustive()
    }
}
