//! The owner's limits of hours and of bytes a month, kept by maintenance that the node announces by itself.
//!
//! What to announce is [`next_maintenance`], a pure function of the time, the limits and the node's row. The task gives it as a command of the
//! account, at most once an hour, counts the bytes of the month, and closes the line when they are used up. It never ends maintenance: what its
//! command takes away by the ledger's rule, of what the owner has announced, is [kept](kept) and announced again.

mod kept;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::registry::{Maintenance, Node};
use lucid_consensus::ledger::state::State;
use lucid_storage::{OwnKind, OwnRecord, StorageError, Store};
use lucid_types::codec::{decode, encode};
use lucid_types::command::{Action, Command, MAX_MAINTENANCE, MaintenanceScope, NodeAction};
use lucid_types::genesis::Genesis;
use lucid_types::signed::MultiSigned;
use lucid_types::time::{Epoch, Height, UnixMillis};
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use self::kept::Kept;
use crate::api::model::SyncState;
use crate::chain::head::Head;
use crate::clock::Clock;
use crate::commands::CommandDesk;
use crate::config::LimitsConfig;
use crate::home::Identity;
use crate::probe::Line;
use crate::utc::{month_of, next_month};
use crate::view::sync_state;

/// The earliest epoch that is announced, after the one under way: a command is in a block within an epoch, and counts from the second after.
const LEAD: u64 = 3;
/// How far ahead maintenance is announced: so that an hour's wait for the next command, and some failures, come too late for nothing.
const AHEAD: Duration = Duration::from_hours(2);
/// Between two commands that validators took over.
const PAUSE: Duration = Duration::from_hours(1);
/// Between two commands of which the first was taken over by nobody.
const RETRY: Duration = Duration::from_mins(5);
/// Between two looks, and two records of the month.
const PERIOD: Duration = Duration::from_secs(60);
/// How long a command is good for.
const VALID_FOR: Duration = Duration::from_mins(30);
/// Where what is kept lies in the store.
const KEPT: &[u8] = b"kept";
/// Of the month's bytes in a hundred: from here on no more echoes and chunks are asked for. Where more is taken in an hour, that is sooner.
const ENOUGH: u128 = 95;

/// What probes have taken in a calendar month (UTC), in bytes both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Month {
    /// Year and month, from 1.
    number: (u64, u64),
    /// The bytes.
    pub bytes: u64,
    /// What was taken lately, in as long as it may take until an announcement is in force.
    lately: u64,
}

impl Month {
    /// The month of a time, in which nothing has been taken yet.
    pub const fn at(time: UnixMillis) -> Self {
        Self { number: month_of(time.get() / 1_000), bytes: 0, lately: 0 }
    }

    /// When the next one begins.
    pub const fn end(&self) -> UnixMillis {
        UnixMillis::new(next_month(self.number).saturating_mul(1_000))
    }

    /// As `2026-11`.
    pub fn name(&self) -> String {
        let (year, month) = self.number;
        format!("{year:04}-{month:02}")
    }

    fn key(&self) -> Vec<u8> {
        let (year, month) = self.number;
        format!("month-{year:04}{month:02}").into_bytes()
    }

    /// Until when no more echoes and chunks are to be asked for.
    fn closed_until(&self, limits: &LimitsConfig) -> Option<UnixMillis> {
        let is_enough = u128::from(self.bytes) * 100 >= u128::from(limits.month_bytes) * ENOUGH
            || self.bytes.saturating_add(self.lately) >= limits.month_bytes;
        (limits.month_bytes > 0 && is_enough).then(|| self.end())
    }

    /// The bytes that are left of a limit.
    const fn left(&self, limits: &LimitsConfig) -> u64 {
        if limits.month_bytes == 0 { u64::MAX } else { limits.month_bytes.saturating_sub(self.bytes) }
    }
}

/// The maintenance that a node has to announce now to keep to its owner's limits and to what is kept; `None` if its row has all that begins
/// soon. It begins with the epoch in which the node stops working, in which the month is used up, or in which what is kept goes on, at the
/// earliest with the third after that of `now`.
pub fn next_maintenance(
    now: UnixMillis,
    genesis: &Genesis,
    limits: &LimitsConfig,
    used: &Month,
    kept: &[Maintenance],
    row: &Node,
) -> Option<NodeAction> {
    let (hours, closed_until) = (limits.hours(), used.closed_until(limits));
    let has = |items: &[Maintenance], scope, epoch: Epoch| {
        items.iter().any(|it| it.scope == scope && it.from <= epoch && epoch < it.until)
    };
    let is_off = |epoch| {
        let (start, end) = (genesis.epoch_start(epoch), genesis.epoch_end(epoch));
        has(kept, MaintenanceScope::All, epoch) || !hours.works_throughout(start, end)
    };
    let is_closed = |epoch| {
        closed_until.is_some_and(|until| genesis.epoch_start(epoch) < until)
            || has(kept, MaintenanceScope::Traffic, epoch)
    };
    let wanted = |epoch| match (is_off(epoch), is_closed(epoch)) {
        (true, _) => Some(MaintenanceScope::All),
        (false, true) => Some(MaintenanceScope::Traffic),
        (false, false) => None,
    };
    let open = genesis.epoch_at(now);
    let is_missing = |epoch: &Epoch| match (wanted(*epoch), row.maintenance_in(*epoch)) {
        (None, _) | (_, Some(MaintenanceScope::All)) => false,
        (Some(wanted), announced) => announced != Some(wanted),
    };
    let missing = epochs(soon(open, genesis)).find(is_missing)?;
    let scope = wanted(missing)?;
    let after = |epochs: u64| Epoch::new(open.get().saturating_add(epochs));
    // A command takes the place of what has not begun in the second epoch after it.
    let replaced = row.maintenance.iter().map(|it| it.from).filter(|from| *from >= after(2)).min();
    let hour = epochs_of(PAUSE, genesis);
    let from = match (replaced, scope) {
        // Hours that come soon could not be announced again in time, for which everything else can wait.
        (Some(replaced), MaintenanceScope::Traffic) if replaced <= after(LEAD.saturating_add(hour)) => return None,
        // What begins before is to begin first; unless there is no time after that: then the node is off from there on.
        (Some(replaced), _) if replaced < missing => {
            let gap = missing.get().saturating_sub(replaced.get());
            let is_short = gap <= LEAD.saturating_add(epochs_of(RETRY.saturating_mul(2), genesis));
            (is_short && scope == MaintenanceScope::All && replaced >= after(LEAD)).then_some(replaced)?
        }
        _ => missing,
    };
    let longest = missing.get()..=from.get().saturating_add(u64::from(MAX_MAINTENANCE) - 1);
    let lasts = |epoch: &Epoch| match scope {
        MaintenanceScope::All => is_off(*epoch) || has(&row.maintenance, scope, *epoch),
        // Hours in which the node does not work come in between, and are announced as such.
        MaintenanceScope::Traffic => is_closed(*epoch) || has(&row.maintenance, scope, *epoch),
    };
    let before = missing.get().saturating_sub(from.get());
    let lasting = u64::try_from(epochs(longest).take_while(lasts).count()).unwrap_or(u64::MAX);
    let epochs = u32::try_from(before.saturating_add(lasting)).map_or(MAX_MAINTENANCE, |it| it.min(MAX_MAINTENANCE));
    Some(NodeAction::Maintenance { from, epochs, scope })
}

/// The epochs whose maintenance is announced now, while one is open.
fn soon(open: Epoch, genesis: &Genesis) -> RangeInclusive<u64> {
    let first = open.get().saturating_add(LEAD);
    // No command may announce more than that.
    let last = first.saturating_add(epochs_of(AHEAD, genesis)).min(open.get().saturating_add(MAX_MAINTENANCE.into()));
    first..=last
}

/// Whole epochs of a time.
fn epochs_of(time: Duration, genesis: &Genesis) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX) / genesis.policy.epoch_ms.max(1)
}

fn epochs(numbers: RangeInclusive<u64>) -> impl Iterator<Item = Epoch> {
    numbers.map(Epoch::new)
}

/// What the task is made from.
pub struct CapsParts {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Keeps what the month has taken.
    pub store: Store,
    /// The node, which signs.
    pub me: Identity,
    /// The owner's limits.
    pub limits: LimitsConfig,
    /// What is counted, and closed.
    pub line: Arc<Line>,
    /// Takes commands.
    pub commands: Arc<CommandDesk>,
    /// The newest state.
    pub head: watch::Receiver<Head>,
    /// Where it is told what the month has taken.
    pub month: watch::Sender<Month>,
}

/// The task.
pub struct Caps {
    parts: CapsParts,
    /// Bytes of the line that are in the month already.
    counted: u64,
    /// What the line had taken at each look of the last [`PAUSE`] and [`LEAD`].
    looks: VecDeque<(Instant, u64)>,
    /// What the newest command has taken away.
    kept: Option<Kept>,
    /// The next command is given then at the earliest.
    free_at: Option<Instant>,
}

impl Caps {
    /// With what the month had taken, and what was kept, when the node stopped.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn new(parts: CapsParts) -> Result<Self, StorageError> {
        let month = recorded(&parts.store, Month::at(parts.clock.now()))?;
        parts.month.send_replace(month);
        parts.line.set_left(month.left(&parts.limits));
        let kept = parts.store.own(OwnKind::Maintenance, KEPT)?.and_then(|bytes| decode(&bytes).ok());
        Ok(Self { parts, counted: 0, looks: VecDeque::new(), kept, free_at: None })
    }

    /// Counts and announces until `stop`.
    ///
    /// # Errors
    /// The store could not be read or written.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StorageError> {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_over = tokio::select! {
                () = stop.cancelled() => true,
                _ = ticks.tick() => false,
            };
            block_in_place(|| self.count())?;
            if is_over {
                return Ok(());
            }
            tokio::select! {
                () = stop.cancelled() => {}
                announced = self.announce() => announced?,
            }
        }
    }

    /// Adds to the month what the line has taken since, durably.
    fn count(&mut self) -> Result<(), StorageError> {
        let CapsParts { spec, store, clock, limits, line, month, .. } = &self.parts;
        let (before, now) = (*month.borrow(), Month::at(clock.now()));
        // What is taken around the end of a month counts for the one that ends in the minute after.
        let mut used = if before.number == now.number { before } else { recorded(store, now)? };
        let taken = line.bytes();
        let new = taken.saturating_sub(self.counted);
        if new > 0 {
            used.bytes = used.bytes.saturating_add(new);
            store.put(OwnKind::Counter, &used.key(), &used.bytes.to_be_bytes())?;
            self.counted = taken;
        }
        let (at, lead) = (
            Instant::now(),
            spec.genesis().policy.fixed().epoch().saturating_mul(u32::try_from(LEAD).unwrap_or(u32::MAX)),
        );
        self.looks.retain(|(then, _)| at.saturating_duration_since(*then) <= PAUSE.saturating_add(lead));
        self.looks.push_back((at, taken));
        used.lately = taken.saturating_sub(self.looks.front().map_or(taken, |(_, before)| *before));
        line.set_left(used.left(limits));
        month.send_replace(used);
        Ok(())
    }

    /// Announces what is to be announced, if anything, and if it may.
    async fn announce(&mut self) -> Result<(), StorageError> {
        let now = Instant::now();
        if self.free_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        let (state, is_waiting) = {
            let head = self.parts.head.borrow();
            let is_waiting = head.offers.commands(&self.parts.me.account).next().is_some();
            (head.state.clone(), is_waiting)
        };
        // Another command of the account would be refused, or refuse that one.
        if is_waiting {
            return Ok(());
        }
        let CapsParts { spec, clock, me, limits, month, .. } = &self.parts;
        let used = *month.borrow();
        let wanted = wanted(spec, clock.now(), me, (limits, &used, self.kept.as_ref()), &state);
        let Some((action, kept)) = wanted else { return Ok(()) };
        let command = Command {
            account: me.account,
            nonce: state.nonce(&me.account).next,
            until: clock.now().after(VALID_FOR),
            action: Action::Node(action.clone()),
        };
        let signed = me.key.sign_command(spec.id(), command).into_inner();
        let command = MultiSigned::collect(signed.record, [(signed.signer, signed.signature)]);
        // Before anything is taken away.
        block_in_place(|| self.parts.store.put(OwnKind::Maintenance, KEPT, &encode(&kept)))?;
        self.kept = Some(kept);
        // Bytes are counted again in time.
        let pause = match timeout(PERIOD, self.parts.commands.hand_in(command)).await {
            Ok(Ok(_)) => {
                tracing::info!(?action, "maintenance is handed in, by the owner's limits");
                PAUSE
            }
            Err(_elapsed) => {
                tracing::warn!(?action, "nobody has answered to maintenance that the owner's limits ask for");
                RETRY
            }
            Ok(Err(error)) => {
                tracing::warn!(?action, %error, "maintenance that the owner's limits ask for is not handed in");
                RETRY
            }
        };
        self.free_at = Some(now + pause);
        Ok(())
    }
}

/// What is to be announced by a state that is the newest, for a member whose key this home has, and what is kept then.
fn wanted(
    spec: &ChainSpec,
    now: UnixMillis,
    me: &Identity,
    (limits, used, kept): (&LimitsConfig, &Month, Option<&Kept>),
    state: &State,
) -> Option<(NodeAction, Kept)> {
    if sync_state(spec, now, state, Height::ZERO) != SyncState::Synced {
        return None;
    }
    state.pool_of(&me.account)?;
    let row = state.node(&me.account).filter(|row| !row.is_retired)?;
    if state.key_of(&me.account) != Some(me.public_key()) {
        return None;
    }
    let nonce = state.nonce(&me.account).next;
    let kept = kept.map_or_else(Vec::new, |kept| kept.items(nonce, row));
    let action = next_maintenance(now, spec.genesis(), limits, used, &kept, row)?;
    let own = announced_by(&action)?;
    Some((action, Kept::new(nonce, own, kept, row)))
}

/// What a command announces, if it is in a block in time.
fn announced_by(action: &NodeAction) -> Option<Maintenance> {
    let NodeAction::Maintenance { from, epochs, scope } = *action else { return None };
    Some(Maintenance { from, until: Epoch::new(from.get().saturating_add(epochs.into())), scope })
}

/// Whether an own record is one that this module writes.
pub(crate) fn is_sound(record: &OwnRecord) -> bool {
    record.key == KEPT && decode::<Kept>(&record.value).is_ok()
}

/// A month as it is in the store.
fn recorded(store: &Store, month: Month) -> Result<Month, StorageError> {
    let bytes = store.own(OwnKind::Counter, &month.key())?.and_then(|bytes| bytes.try_into().ok());
    Ok(Month { bytes: bytes.map_or(0, u64::from_be_bytes), ..month })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
