//! What waits for a block: others' items, and this validator's own reports.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lucid_score::report::check_report;
use lucid_types::block::{Item, ItemRef};
use lucid_types::evidence::Evidence;
use lucid_types::id::{NodeId, ValidatorId};
use lucid_types::report::{ReportCommitment, Reveal, Salt, ScoreReport};
use lucid_types::signed::{Signed, Verified};
use lucid_types::sync::SyncRequest;
use lucid_types::time::{Epoch, UnixMillis};

use crate::commands::Source;
use crate::ledger::build::Pending;
use crate::ledger::check::{check_evidence, check_reveal};
use crate::ledger::command::{CommandRefused, SignedCommand};
use crate::ledger::state::Rows;
use crate::ledger::table::{Draws, PendingEpochs};
use crate::replica::{Context, Effect, Gossip, OwnReport};

/// How often peers are asked for commitments and reveals that gossip has not brought.
const PULL_INTERVAL: Duration = Duration::from_secs(1);

/// Each may have one item that waits: a later one takes its place or is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Commitment(Epoch, ValidatorId),
    Reveal(Epoch, ValidatorId),
    Command(NodeId, u64),
    Evidence(ValidatorId),
}

/// An item, and how proposals name it.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) reference: ItemRef,
    pub(super) item: Arc<Verified<Item>>,
}

impl From<Verified<Item>> for Waiting {
    fn from(item: Verified<Item>) -> Self {
        Self { reference: item.reference(), item: Arc::new(item) }
    }
}

pub(super) type WaitingItems = Arc<BTreeMap<Slot, Waiting>>;

/// The waiting items of one node.
#[derive(Debug, Default)]
pub(super) struct Mempool {
    pub(super) pending: Pending,
    /// The same by slot, for proposals that name them and peers that ask for them.
    waiting: WaitingItems,
    own: BTreeMap<Epoch, OwnReport>,
    /// When to ask peers for commitments and reveals again.
    pub(super) pull_at: Option<UnixMillis>,
}

impl Mempool {
    /// Only this validator's own stored reports, and what it has taken over from its users.
    pub(super) fn restore(
        context: &Context<'_>,
        own: BTreeMap<Epoch, OwnReport>,
        commands: Vec<SignedCommand>,
    ) -> Self {
        let spec = context.spec.id();
        let mut mempool = Self { own, ..Self::default() };
        let verified =
            |own: &OwnReport| Some((own.commitment.clone().verify(spec).ok()?, own.reveal.clone().verify(spec).ok()?));
        let own: Vec<_> = mempool.own.values().filter_map(verified).collect();
        for (commitment, reveal) in own {
            mempool.add_commitment(context, commitment);
            mempool.add_own_reveal(context, reveal);
        }
        let mut commands = commands;
        commands.sort_by_key(|command| command.record.nonce);
        for command in commands.into_iter().filter_map(|command| command.verify(spec).ok()) {
            // Those that a block holds by now, or that are over, are refused.
            let _refused = mempool.add_command(context, command, Source::Disk);
        }
        mempool
    }

    /// What is offered to peers and proposals, as it is now.
    pub(super) const fn waiting(&self) -> &WaitingItems {
        &self.waiting
    }

    fn insert(&mut self, slot: Slot, item: Verified<Item>) -> Waiting {
        let waiting = Waiting::from(item);
        Arc::make_mut(&mut self.waiting).insert(slot, waiting.clone());
        waiting
    }

    /// A clock that was set back takes what waits with it.
    pub(super) fn clock_set_back(&mut self, by: Duration) {
        self.pull_at = self.pull_at.map(|at| at.before(by));
    }

    /// Adds a commitment; what waits now if it was wanted.
    pub(super) fn add_commitment(
        &mut self,
        context: &Context<'_>,
        commitment: Verified<Signed<ReportCommitment>>,
    ) -> Option<Waiting> {
        let slot = Slot::Commitment(commitment.record.epoch, commitment.signer);
        let is_wanted = self.pending.reports.add_commitment(context.spec, context.state(), commitment.clone());
        is_wanted.then(|| self.insert(slot, commitment.into()))
    }

    /// Adds a reveal; what waits now if it was wanted.
    pub(super) fn add_reveal(&mut self, context: &Context<'_>, reveal: Verified<Signed<Reveal>>) -> Option<Waiting> {
        let slot = Slot::Reveal(reveal.record.report.epoch, reveal.signer);
        let is_wanted = self.pending.reports.add_reveal(context.spec, context.state(), reveal.clone());
        is_wanted.then(|| self.insert(slot, reveal.into()))
    }

    /// Adds a command.
    ///
    /// # Errors
    /// Why it does not wait, or that it does already.
    pub(super) fn add_command(
        &mut self,
        context: &Context<'_>,
        command: Verified<SignedCommand>,
        source: Source,
    ) -> Result<Waiting, CommandRefused> {
        let slot = Slot::Command(command.record.account, command.record.nonce);
        let (spec, state, now) = (context.spec, context.state(), context.now);
        let gone = self.pending.commands.add(spec, state, command.clone(), now, source)?;
        let waiting = Arc::make_mut(&mut self.waiting);
        for (account, nonce) in gone {
            waiting.remove(&Slot::Command(account, nonce));
        }
        Ok(self.insert(slot, command.into()))
    }

    /// Takes a command over from a user of this node: persisted first, then gossiped, then acknowledged.
    pub(super) fn submit(
        &mut self,
        context: &Context<'_>,
        command: Verified<SignedCommand>,
        effects: &mut Vec<Effect>,
    ) -> Option<Waiting> {
        let (account, nonce) = (command.record.account, command.record.nonce);
        let (waiting, outcome) = match self.add_command(context, command.clone(), Source::User) {
            Ok(waiting) => (Some(waiting), Ok(())),
            // It came by gossip, or its user asks again.
            Err(CommandRefused::Waits) => (None, Ok(())),
            Err(refused) => (None, Err(refused)),
        };
        if outcome.is_ok() {
            effects.push(Effect::PersistCommand(Box::new((*command).clone())));
            effects.push(Effect::Gossip(Gossip::Command(command.into_inner())));
        }
        effects.push(Effect::Answer { account, nonce, outcome });
        waiting
    }

    /// Adds evidence; what waits now if it was wanted.
    pub(super) fn add_evidence(&mut self, context: &Context<'_>, evidence: Verified<Evidence>) -> Option<Waiting> {
        let validator = evidence.validator();
        let is_wanted = !self.pending.evidence.contains_key(&validator)
            && check_evidence(context.spec, context.state(), &evidence).is_ok();
        is_wanted.then(|| {
            self.pending.evidence.insert(validator, evidence.clone());
            self.insert(Slot::Evidence(validator), evidence.into())
        })
    }

    /// A reveal goes among the waiting ones, from where peers may fetch it, only when its commitments are complete: when the
    /// next block may carry it.
    fn add_own_reveal(&mut self, context: &Context<'_>, reveal: Verified<Signed<Reveal>>) -> bool {
        let is_due = check_reveal(context.spec, context.state(), &reveal).is_ok();
        is_due && self.add_reveal(context, reveal).is_some()
    }

    /// Whether this validator has a report of an epoch.
    pub(super) fn has_reported(&self, epoch: Epoch) -> bool {
        self.own.contains_key(&epoch)
    }

    /// Commits to what was measured: persisted first, then gossiped. A report that no block could carry is ignored; the reporter has
    /// said so aloud.
    pub(super) fn commit(
        &mut self,
        context: &Context<'_>,
        report: ScoreReport,
        salt: Salt,
        effects: &mut Vec<Effect>,
    ) -> Option<Waiting> {
        let epoch = report.epoch;
        let (spec, state) = (context.spec.id(), context.state());
        let draw = state.get::<PendingEpochs>(&epoch).and_then(|_| state.get::<Draws>(&epoch))?;
        let key = context.keys.reporter(state, epoch)?;
        check_report(state.policy(epoch), draw, &key.id(), &report).ok()?;
        let reveal = Reveal { report, salt };
        let commitment = ReportCommitment { epoch, report: reveal.commitment(spec, &context.keys.account()) };
        let commitment = key.sign_report_commitment(spec, commitment);
        let reveal = key.sign_report(spec, reveal).into_inner();
        let own = OwnReport { commitment: (*commitment).clone(), reveal };
        effects.push(Effect::PersistOwn(Box::new(own.clone())));
        effects.push(Effect::Gossip(Gossip::Commitment(own.commitment.clone())));
        self.own.insert(epoch, own);
        self.add_commitment(context, commitment)
    }

    /// Gossips again what a block may still carry of this validator's: what a crash kept from leaving.
    pub(super) fn repeat_own(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        let has = |slot| self.waiting.contains_key(&slot);
        for (epoch, own) in &self.own {
            if has(Slot::Commitment(*epoch, own.commitment.signer)) {
                effects.push(Effect::Gossip(Gossip::Commitment(own.commitment.clone())));
            }
            if has(Slot::Reveal(*epoch, own.reveal.signer)) {
                effects.push(Effect::Gossip(Gossip::Reveal(own.reveal.clone())));
            }
        }
        self.repeat_commands(now, effects);
    }

    fn repeat_commands(&mut self, now: UnixMillis, effects: &mut Vec<Effect>) {
        let commands = self.pending.commands.to_repeat(now);
        effects.extend(commands.into_iter().map(|command| Effect::Gossip(Gossip::Command(command))));
    }

    /// Follows the newest block: forgets what no block can carry any more, and reveals what has been committed to, once no further
    /// commitment can count.
    pub(super) fn follow(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        let state = context.state();
        self.pending.reports.prune(context.spec, state);
        self.pending.commands.follow(context.spec, state, context.now);
        self.repeat_commands(context.now, effects);
        self.pending.evidence.retain(|_, evidence| check_evidence(context.spec, state, evidence).is_ok());
        // Not every node need have heard of it.
        let again =
            self.pending.evidence.values().map(|evidence| Effect::Gossip(Gossip::Evidence((**evidence).clone())));
        effects.extend(again);
        let Self { pending: Pending { reports, commands, evidence }, waiting, .. } = self;
        Arc::make_mut(waiting).retain(|slot, _| match slot {
            Slot::Commitment(epoch, key) => reports.has_commitment(*epoch, key),
            Slot::Reveal(epoch, key) => reports.has_reveal(*epoch, key),
            Slot::Command(account, nonce) => commands.has(&(*account, *nonce)),
            Slot::Evidence(validator) => evidence.contains_key(validator),
        });
        self.pull_at = None;
        let reveals: Vec<_> = self.own.values().map(|own| own.reveal.clone()).collect();
        for reveal in reveals {
            let Ok(verified) = reveal.clone().verify(context.spec.id()) else { continue };
            if self.add_own_reveal(context, verified) {
                effects.push(Effect::Gossip(Gossip::Reveal(reveal)));
            }
        }
        self.own.retain(|epoch, _| *epoch > state.closed() || state.has::<PendingEpochs>(epoch));
    }

    /// Asks for what gossip has not brought while the next height is under way. The first time after half the grace.
    pub(super) fn pull(&mut self, context: &Context<'_>, effects: &mut Vec<Effect>) {
        if self.pending.reports.is_complete(context.spec, context.state()) {
            return;
        }
        let half_grace = context.spec.fixed().report_grace() / 2;
        let due = *self.pull_at.get_or_insert(context.chain.earliest_start(context.spec).after(half_grace));
        if context.now < due {
            return;
        }
        self.pull_at = Some(context.now.after(PULL_INTERVAL));
        for (epoch, _) in context.state().pending() {
            let have_commitments =
                self.pending.reports.commitments_of(epoch).map(|commitment| commitment.signer).collect();
            let have_reveals = self.pending.reports.reveals_of(epoch).map(|reveal| reveal.signer).collect();
            let request = SyncRequest::Reports { epoch, have_commitments, have_reveals };
            effects.push(Effect::Fetch { peer: None, request });
        }
    }
}
