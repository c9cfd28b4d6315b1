//! Enters this node's account into its network, and into a pool, as `lucid join` was asked to: builds each command from the newest
//! state, hands it in like anybody's, waits for the block that holds it, and goes on until the state shows the account where it is
//! to be.
//!
//! Nothing of its progress is stored: whenever the node is ended, the next one begins with what the state shows. [`Intent`] is all
//! that outlives a node, and is removed at the end. What is refused is looked at again after each block, so that an unban, a new
//! policy of the pool or room in it need no restart.

mod entering;
mod intent;
pub mod stamp;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::command::{SignedCommand, check};
use lucid_consensus::ledger::state::State;
use lucid_types::command::Command;
use lucid_types::id::{PayoutAddress, PoolId};
use lucid_types::join::JoinPool;
use lucid_types::key::NodeKey;
use lucid_types::signed::MultiSigned;
use lucid_types::stamp::Stamp;
use lucid_types::time::{Epoch, Height, UnixMillis};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub use entering::{Applicant, Door, Entering, InvitesOnly, NewAccount, Next, Refused};
pub use intent::{CapacityLimits, Intent};

use crate::api::model::{EnrolmentStep, EnrolmentView, SyncState};
use crate::chain::head::Head;
use crate::clock::Clock;
use crate::commands::CommandDesk;
use crate::home::{Home, Identity};
use crate::sampler::Sampler;
use crate::utc::{duration_of, utc};
use crate::view::sync_state;
use stamp::Wanted;

/// How long a command is good for: beyond this a stamp is too old in any case.
const VALID_FOR: Duration = Duration::from_hours(1);
/// After so long without a block that holds it, a command is handed in again.
const AGAIN: Duration = Duration::from_secs(60);
/// Between two attempts to hand a command in: doubled each time, from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// Between two looks at whether this node has the whole chain, while no block comes.
const LOOK: Duration = Duration::from_millis(500);

/// What an entry is made from.
pub struct EnrolmentParts {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Keeps the intent.
    pub home: Home,
    /// The node.
    pub me: Identity,
    /// What was asked for.
    pub intent: Intent,
    /// The account from which transactions are paid, if the intent names none.
    pub gas_address: Option<PayoutAddress>,
    /// Below this the chain may be another's.
    pub pinned: Height,
    /// Takes commands.
    pub commands: Arc<CommandDesk>,
    /// The newest state.
    pub head: watch::Receiver<Head>,
    /// The highest block that a peer has claimed.
    pub best_seen: watch::Receiver<Height>,
    /// Where it is told how far it is.
    pub progress: watch::Sender<Option<EnrolmentView>>,
}

/// A command that no block holds yet.
struct Pending {
    command: SignedCommand,
    handed_in: Option<Instant>,
    pause: Duration,
}

/// The task.
pub struct Enrolment {
    parts: EnrolmentParts,
    applicant: Applicant,
    pending: Option<Pending>,
}

impl Enrolment {
    /// # Errors
    /// What this machine has cannot be seen.
    pub fn new(parts: EnrolmentParts) -> anyhow::Result<Self> {
        let (account, intent) = (parts.me.account, &parts.intent);
        let new = match intent.payout_address {
            None => None,
            Some(payout_address) => {
                let machine = Sampler::new(parts.home.root()).and_then(|mut sampler| sampler.sample(parts.clock.now()));
                let machine = machine.context("what this machine has cannot be seen")?.capacity();
                Some(NewAccount {
                    operator: account,
                    payout_address,
                    payout_key: intent.payout_key,
                    gas_address: intent.gas_address.or(parts.gas_address),
                    capacity: intent.limits.of(machine),
                })
            }
        };
        let applicant = Applicant { account, new, pool: intent.pool().cloned() };
        Ok(Self { parts, applicant, pending: None })
    }

    /// Enters, and then waits for `stop`.
    ///
    /// # Errors
    /// The intent cannot be removed, or a search for a stamp panicked.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            entered = self.enter() => entered?,
        }
        stop.cancelled().await;
        Ok(())
    }

    async fn enter(&mut self) -> anyhow::Result<()> {
        loop {
            self.synced().await;
            let state = self.parts.head.borrow_and_update().state.clone();
            let time = self.parts.clock.now().max(state.next_time(&self.parts.spec));
            match self.applicant.next(&self.parts.spec, &state, time) {
                Next::Entered(from) => {
                    self.parts.home.remove_intent()?;
                    self.tell_entered(&state, from);
                    return Ok(());
                }
                Next::Approval { until } => {
                    let text = format!(
                        "the approval of the owner of {}; the request ends at {}, and is then made again",
                        self.pool(&state),
                        utc(until.get() / 1_000)
                    );
                    self.tell(EnrolmentStep::Approval, text, Some(until), None);
                    self.next_block().await;
                }
                Next::Refused(Refused { problem, is_passing }) => {
                    let (step, text) = if is_passing {
                        (EnrolmentStep::Retry, "a block that changes that; it is tried again after each")
                    } else {
                        (EnrolmentStep::Refused, "somebody to change that; it goes on by itself when a block has")
                    };
                    self.tell(step, text.to_owned(), None, Some(problem));
                    self.next_block().await;
                }
                Next::Enter(entering, wanted) => self.give(&state, time, &entering, wanted).await?,
            }
        }
    }

    /// Waits until this node has the whole chain.
    async fn synced(&mut self) {
        loop {
            let (height, sync) = {
                let state = &self.parts.head.borrow().state;
                let best_seen = *self.parts.best_seen.borrow();
                (state.height(), sync_state(&self.parts.spec, self.parts.clock.now(), state, best_seen))
            };
            let has_peers = self.parts.commands.mesh.peer_count() > 0;
            if has_peers && sync == SyncState::Synced && height >= self.parts.pinned {
                return;
            }
            let text = match has_peers {
                false => "peers: none is connected".to_owned(),
                true => format!("the newest block; it has block {height}"),
            };
            self.tell(EnrolmentStep::Sync, text, None, None);
            tokio::select! { () = self.next_block() => {}, () = sleep(LOOK) => {} }
        }
    }

    /// Makes the command, unless it waits already, hands it in, and waits for a block.
    async fn give(
        &mut self,
        state: &State,
        time: UnixMillis,
        entering: &Entering,
        wanted: Option<Wanted>,
    ) -> anyhow::Result<()> {
        let spec = Arc::clone(&self.parts.spec);
        let applies = |pending: &Pending| check(&spec, state, &pending.command, time).is_ok();
        let mut pending = match self.pending.take().filter(applies) {
            Some(pending) => pending,
            None => {
                let stamp = match wanted {
                    None => None,
                    Some(wanted) => match self.work_out(wanted).await? {
                        // It took so long that another one is wanted now.
                        None => return Ok(()),
                        found => found,
                    },
                };
                Pending { command: self.command(entering, stamp), handed_in: None, pause: FIRST_PAUSE }
            }
        };
        if pending.handed_in.is_none_or(|at| at.elapsed() >= AGAIN) {
            pending.handed_in = None;
            self.tell(EnrolmentStep::HandIn, "a validator that takes the command".to_owned(), None, None);
            match self.parts.commands.hand_in(pending.command.clone()).await {
                Ok(validator) => {
                    pending.handed_in = Some(Instant::now());
                    let policy = self.parts.spec.fixed();
                    let usual = Duration::from_millis(policy.block_min_ms.saturating_mul(2).saturating_add(1_000));
                    let text = format!(
                        "a block that holds the command, which validator {} keeps: about {}",
                        validator.short(),
                        duration_of(usual.as_secs())
                    );
                    self.tell(EnrolmentStep::Inclusion, text, Some(self.parts.clock.now().after(usual)), None);
                }
                Err(error) => {
                    let pause = pending.pause;
                    pending.pause = pause.saturating_mul(2).min(LAST_PAUSE);
                    self.pending = Some(pending);
                    let text = format!("the next attempt, in {}", duration_of(pause.as_secs()));
                    let until = self.parts.clock.now().after(pause);
                    self.tell(EnrolmentStep::Retry, text, Some(until), Some(error.to_string()));
                    sleep(pause).await;
                    return Ok(());
                }
            }
        }
        let rest = AGAIN.saturating_sub(pending.handed_in.map_or(Duration::ZERO, |at| at.elapsed()));
        self.pending = Some(pending);
        tokio::select! { () = self.next_block() => {}, () = sleep(rest) => {} }
        Ok(())
    }

    async fn work_out(&self, wanted: Wanted) -> anyhow::Result<Option<Stamp>> {
        let text = format!("a stamp of {} bits, about {} tries", wanted.bits, stamp::tries_of(wanted.bits));
        self.tell(EnrolmentStep::Stamp, text, None, None);
        let (progress, clock) = (self.parts.progress.clone(), Arc::clone(&self.parts.clock));
        let tell_how_far = move |far: stamp::Progress| {
            let now = clock.now();
            tell(&progress, now, EnrolmentStep::Stamp, far.to_string(), Some(now.after(far.left())), None);
        };
        let found = wanted.search(self.parts.spec.fixed(), tell_how_far).await;
        found.context("the search for a stamp failed")
    }

    fn command(&self, entering: &Entering, stamp: Option<Stamp>) -> SignedCommand {
        let account = self.applicant.account;
        let nonce = self.parts.head.borrow().state.nonce(&account).next;
        let until = self.parts.clock.now().after(VALID_FOR);
        let command = Command { account, nonce, until, action: entering.action(stamp) };
        let signature = |key: &NodeKey| {
            let signed = key.sign_command(self.parts.spec.id(), command.clone()).into_inner();
            (signed.signer, signed.signature)
        };
        let signatures: Vec<_> = entering.key().iter().chain([&self.parts.me.key]).map(signature).collect();
        MultiSigned::collect(command, signatures)
    }

    /// Waits for the next block. Without a chain there is none: the node says why, and ends.
    async fn next_block(&mut self) {
        if self.parts.head.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The name of the pool that is entered, for people.
    fn pool(&self, state: &State) -> String {
        let name = |pool: PoolId| state.pool(&pool).map_or_else(|| pool.short(), |row| row.name.clone());
        let pool = self.applicant.pool.as_ref().map(JoinPool::id).map(name);
        pool.map_or_else(|| "the network".to_owned(), |name| format!("the pool {name}"))
    }

    fn tell_entered(&self, state: &State, from: Option<Epoch>) {
        let row = state.node(&self.applicant.account);
        let paid_to = row.map_or_else(String::new, |row| format!("; it is paid to {}", row.payout_address));
        let (text, until) = match from {
            None => {
                let text = "a command: it is registered, and in no pool. `lucid pool join` enters one; validators make it one of them with \
                            `lucid validator propose add`";
                (format!("{text}{paid_to}"), None)
            }
            Some(from) => {
                let (start, now) = (self.parts.spec.genesis().epoch_start(from), self.parts.clock.now());
                let pool = self.pool(state);
                let when = match now.until(start).as_secs() {
                    0 => "now".to_owned(),
                    seconds => format!("in about {}", duration_of(seconds)),
                };
                let text =
                    format!("epoch {from}, {when}: it is a member of {pool}, and measured from then on{paid_to}");
                (text, Some(start))
            }
        };
        self.tell(EnrolmentStep::Entered, text, until, None);
    }

    fn tell(&self, step: EnrolmentStep, waits_for: String, until: Option<UnixMillis>, problem: Option<String>) {
        tell(&self.parts.progress, self.parts.clock.now(), step, waits_for, until, problem);
    }
}

/// Says how far it is, in the log too, unless that has been said.
fn tell(
    progress: &watch::Sender<Option<EnrolmentView>>,
    now: UnixMillis,
    step: EnrolmentStep,
    waits_for: String,
    until: Option<UnixMillis>,
    problem: Option<String>,
) {
    progress.send_if_modified(|told| {
        let before = told.as_ref().filter(|before| before.step == step);
        if before.is_some_and(|before| before.waits_for == waits_for && before.problem == problem) {
            return false;
        }
        match &problem {
            Some(problem) => tracing::warn!(step = step.name(), "entering waits for {waits_for}: {problem}"),
            None => tracing::info!(step = step.name(), "entering waits for {waits_for}"),
        }
        let since = before.map_or(now, |before| before.since);
        *told = Some(EnrolmentView { step, waits_for, until, since, problem });
        true
    });
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
