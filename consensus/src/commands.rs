//! Commands that have arrived and wait for a block.
//!
//! Bounded: half of the places are for registrations, one for each account, and half for what known accounts do, [`Nonce::BURST`]
//! for each. When a half is full, a registration gives way to one with more work in its stamp or with an invite, and another command to a
//! more urgent one; what no block could hold yet gives way first. Invites cost their owner nothing, so that those of one, of one pool and of all pools have few places ([`Invited`]).
//! What does not apply is not taken; what applies no more when it is its turn is dropped. A command that is ahead of its account's numbers
//! waits for those before it. What this node has taken over from its own users gives way to nothing but a veto: whoever announces
//! something must not be able to keep the veto away by commands of the numbers that it could have. It goes when a block holds it, or none
//! can any more by the chain's time; this node's clock may be wrong.

mod invited;

use std::collections::BTreeMap;
use std::time::Duration;

use lucid_types::block::Block;
use lucid_types::codec::encode;
use lucid_types::command::{Action, Command, Entry, Priority, Registration};
use lucid_types::id::NodeId;
use lucid_types::signed::Verified;
use lucid_types::stamp::StampTarget;
use lucid_types::ticket::{Invite, Ticket};
use lucid_types::time::UnixMillis;

pub use self::invited::Invited;

use crate::chain_spec::ChainSpec;
use crate::ledger::command::{self, CommandRefused, SignedCommand, apply, check_authority, check_time, next_block};
use crate::ledger::entry::required_bits;
use crate::ledger::registry::Nonce;
use crate::ledger::state::{Rows, State};
use crate::ledger::table::Nodes;

/// How many registrations wait, and how many other commands: 4,096 together.
const MAX_OF_A_KIND: usize = 2_048;
/// How many of either kind this node keeps for its own users, and how many of them that no block could hold yet.
const MAX_OWN: usize = MAX_OF_A_KIND / 2;
const MAX_OWN_UNREADY: usize = MAX_OWN / 2;
/// How often what this node has taken over is gossiped again; the mesh refuses to send the same bytes any sooner.
const REPEAT_INTERVAL: Duration = Duration::from_secs(61);
/// What an invite counts for beside stamps: more than any.
const WORTH_OF_AN_INVITE: u32 = 257;

/// From where a command comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Another node: it may give way.
    Peer,
    /// A user of this node, who hears whether it is taken over.
    User,
    /// This node's disk: it was taken over before the node stopped, and what the clock says since is no reason to forget it.
    Disk,
}

/// An account and the number of its command.
pub type CommandKey = (NodeId, u64);

/// The waiting commands.
#[derive(Debug, Default)]
pub struct PendingCommands {
    registrations: BTreeMap<CommandKey, Waiting>,
    others: BTreeMap<CommandKey, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    command: Verified<SignedCommand>,
    bytes: usize,
    /// Of a registration: the bits of its stamp, or more for an invite.
    worth: u32,
    /// When it is gossiped again, if this node has taken it over from a user.
    repeat_at: Option<UnixMillis>,
    /// Whether the next block could hold it, after those of its account before it.
    is_ready: bool,
}

impl Waiting {
    const fn is_own(&self) -> bool {
        self.repeat_at.is_some()
    }

    /// The greater, the sooner it gives way: first what only waits for others of its account or for an epoch.
    fn patience(&self) -> (bool, Priority) {
        (!self.is_ready, self.command.record.action.priority())
    }
}

/// Whether no block can hold the command any more, by the chain's time.
pub fn is_over(state: &State, command: &Command) -> bool {
    command.until < state.time() || command.nonce < state.nonce(&command.account).next
}

/// Whether a command may wait, as far as the state says: it applies to it, or comes after others of an account that is known. `time` is
/// that of the next block, as far as this node knows.
///
/// # Errors
/// Why not.
pub fn admit(spec: &ChainSpec, state: &State, command: &SignedCommand, time: UnixMillis) -> Result<(), CommandRefused> {
    let Command { account, nonce: given, ref action, .. } = command.record;
    let next = state.nonce(&account).next;
    if given < next {
        return Err(CommandRefused::NonceUsed { given, next });
    }
    if given == next {
        return match command::check(spec, state, command, time) {
            Err(refused) if !refused.may_pass() => Err(refused),
            _ => Ok(()),
        };
    }
    let is_near = given - next < u64::from(Nonce::BURST);
    if !is_near || matches!(action, Action::Register(_)) || !is_known(state, &account) {
        return Err(CommandRefused::NonceAhead { given, next });
    }
    action.check().map_err(CommandRefused::Malformed)?;
    check_time(&command.record, time)?;
    check_authority(state, command)
}

/// Whether an account may have commands that only wait for others: then it has come in by work, or is there from the start.
fn is_known(state: &State, account: &NodeId) -> bool {
    state.has::<Nodes>(account)
        || state.next_validators().of(account).is_some()
        || state.pools().any(|(_, pool)| pool.owner == *account)
}

impl PendingCommands {
    /// Adds a command, and returns those that have given way.
    ///
    /// # Errors
    /// Why it does not wait, or that it does already.
    pub fn add(
        &mut self,
        spec: &ChainSpec,
        state: &State,
        command: Verified<SignedCommand>,
        now: UnixMillis,
        source: Source,
    ) -> Result<Vec<CommandKey>, CommandRefused> {
        let key = (command.record.account, command.record.nonce);
        let is_registration = matches!(command.record.action, Action::Register(_));
        let repeat_at = match source {
            Source::Peer => None,
            Source::User => Some(now.after(REPEAT_INTERVAL)),
            Source::Disk => Some(now),
        };
        if let Some(known) = self.of_kind(is_registration).get_mut(&key) {
            // Other signatures under the same record change nothing.
            if known.command.record == command.record {
                known.repeat_at = known.repeat_at.or(repeat_at);
                return Err(CommandRefused::Waits);
            }
            if known.command.record.action.is_veto() || !command.record.action.is_veto() {
                return Err(CommandRefused::Conflict(key.1));
            }
        } else if self.has(&key) {
            return Err(CommandRefused::Conflict(key.1));
        }
        let time = now.max(state.next_time(spec));
        match admit(spec, state, &command, time) {
            Err(refused) if source == Source::Disk && refused.is_of_clock() => {}
            admitted => admitted?,
        }
        let (bytes, worth) = (encode::<SignedCommand>(&command).len(), worth(spec, state, &command.record));
        let is_ready = self.is_ready(spec, state, &command, time);
        let waiting = Waiting { command, bytes, worth, repeat_at, is_ready };
        let replaced = self.of_kind(is_registration).remove(&key);
        let room = match source {
            // It had its place before.
            Source::Disk => Ok(None),
            _ if is_registration => self.room_to_register(state, &waiting),
            _ => self.room_for(&waiting),
        };
        let added = room.and_then(|victim| self.insert(spec, state, key, waiting, victim, time));
        if let (Err(_), Some(replaced)) = (&added, replaced) {
            self.of_kind(is_registration).insert(key, replaced);
            self.refresh(spec, state, time, key.0, &mut Vec::new());
        }
        added
    }

    /// Adds a command for whose number none waits.
    fn insert(
        &mut self,
        spec: &ChainSpec,
        state: &State,
        key: CommandKey,
        waiting: Waiting,
        victim: Option<CommandKey>,
        time: UnixMillis,
    ) -> Result<Vec<CommandKey>, CommandRefused> {
        let is_registration = matches!(waiting.command.record.action, Action::Register(_));
        self.of_kind(is_registration).insert(key, waiting);
        let mut gone = Vec::new();
        let refused = self.refresh(spec, state, time, key.0, &mut gone);
        if let Some((_, refused)) = refused.into_iter().find(|(refused, _)| *refused == key) {
            return Err(refused);
        }
        if let Some(victim) = victim {
            self.remove(&victim);
            self.refresh(spec, state, time, victim.0, &mut gone);
            gone.push(victim);
        }
        Ok(gone)
    }

    /// Whether the next block could hold a command after those of its account before it that wait.
    fn is_ready(&self, spec: &ChainSpec, state: &State, command: &SignedCommand, time: UnixMillis) -> bool {
        let (mut after, mut events) = (next_block(state, time), Vec::new());
        let Command { account, nonce, .. } = command.record;
        for earlier in self.of_account(account).filter(|earlier| earlier.command.record.nonce < nonce) {
            // One that does not apply is missed by what comes after it.
            let _refused = apply(spec, &mut after, &earlier.command, &mut events);
        }
        apply(spec, &mut after, command, &mut events).is_ok()
    }

    /// Whether an account's command of this number waits.
    pub fn has(&self, key: &CommandKey) -> bool {
        self.registrations.contains_key(key) || self.others.contains_key(key)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.registrations.len() + self.others.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those that this node has taken over from its own users and that are to be gossiped again: not every node need have heard of them, or
    /// have had the state that they apply to.
    pub fn to_repeat(&mut self, now: UnixMillis) -> Vec<SignedCommand> {
        let next = now.after(REPEAT_INTERVAL);
        let all = self.registrations.values_mut().chain(self.others.values_mut());
        // Later than the next time it can only be after the clock was set back.
        let due = all.filter(|waiting| waiting.repeat_at.is_some_and(|at| at <= now || at > next));
        due.map(|waiting| {
            waiting.repeat_at = Some(next);
            (*waiting.command).clone()
        })
        .collect()
    }

    /// Whether a block of this time could carry any.
    pub fn has_applicable(&self, time: UnixMillis) -> bool {
        self.all().any(|(_, waiting)| waiting.is_ready && waiting.command.record.until >= time)
    }

    /// Those that the next block, of this time, may carry, in its order.
    pub fn applicable(&self, spec: &ChainSpec, state: &State, time: UnixMillis) -> Vec<SignedCommand> {
        let beacon = &state.head().beacon;
        let is_first = |((account, nonce), _): &(&CommandKey, &Waiting)| state.nonce(account).next == *nonce;
        let firsts = self.all().filter(|(_, waiting)| waiting.is_ready).filter(is_first);
        let mut firsts: Vec<_> =
            firsts.map(|(key, waiting)| (command::place(beacon, &waiting.command.record), *key)).collect();
        firsts.sort_unstable();
        let (mut after, mut room) = (next_block(state, time), Block::MAX_COMMAND_BYTES);
        let (mut chosen, mut events) = (Vec::new(), Vec::new());
        for (_, (account, _)) in firsts {
            for waiting in self.of_account(account) {
                let Some(left) = room.checked_sub(waiting.bytes) else { break };
                if apply(spec, &mut after, &waiting.command, &mut events).is_err() {
                    break;
                }
                room = left;
                chosen.push((*waiting.command).clone());
            }
        }
        chosen
    }

    /// Follows the newest block: forgets what no block can carry any more. `now` is the time.
    pub fn follow(&mut self, spec: &ChainSpec, state: &State, now: UnixMillis) {
        let time = now.max(state.next_time(spec));
        for kind in [&mut self.registrations, &mut self.others] {
            kind.retain(|_, waiting| !is_over(state, &waiting.command.record));
        }
        let mut accounts: Vec<_> = self.all().map(|((account, _), _)| *account).collect();
        accounts.dedup();
        for account in accounts {
            self.refresh(spec, state, time, account, &mut Vec::new());
        }
    }

    fn all(&self) -> impl Iterator<Item = (&CommandKey, &Waiting)> {
        self.registrations.iter().chain(&self.others)
    }

    const fn of_kind(&mut self, is_registration: bool) -> &mut BTreeMap<CommandKey, Waiting> {
        if is_registration { &mut self.registrations } else { &mut self.others }
    }

    /// Those of an account by their numbers. A registration is the first.
    fn of_account(&self, account: NodeId) -> impl Iterator<Item = &Waiting> {
        let range = (account, 0)..=(account, u64::MAX);
        self.registrations.range(range.clone()).chain(self.others.range(range)).map(|(_, waiting)| waiting)
    }

    fn get_mut(&mut self, key: &CommandKey) -> Option<&mut Waiting> {
        self.registrations.get_mut(key).or_else(|| self.others.get_mut(key))
    }

    fn remove(&mut self, key: &CommandKey) {
        self.registrations.remove(key);
        self.others.remove(key);
    }

    /// Looks anew at which of an account's commands are ready; those that do not apply at their turn are dropped, and returned with
    /// the reason.
    fn refresh(
        &mut self,
        spec: &ChainSpec,
        state: &State,
        time: UnixMillis,
        account: NodeId,
        gone: &mut Vec<CommandKey>,
    ) -> Vec<(CommandKey, CommandRefused)> {
        let (mut after, mut events) = (next_block(state, time), Vec::new());
        let (mut ready, mut refused) = (Vec::new(), Vec::new());
        for waiting in self.of_account(account) {
            let key = (account, waiting.command.record.nonce);
            match apply(spec, &mut after, &waiting.command, &mut events) {
                Ok(()) => ready.push((key, true)),
                Err(error) if error.may_pass() || error.is_of_clock() => ready.push((key, false)),
                Err(error) => refused.push((key, error)),
            }
        }
        for (key, is_ready) in ready {
            if let Some(waiting) = self.get_mut(&key) {
                waiting.is_ready = is_ready;
            }
        }
        for (key, _) in &refused {
            self.remove(key);
            gone.push(*key);
        }
        refused
    }

    /// Finds room for a registration; which one gives way.
    fn room_to_register(&self, state: &State, new: &Waiting) -> Result<Option<CommandKey>, CommandRefused> {
        let all = &self.registrations;
        if new.is_own() && all.values().filter(|waiting| waiting.is_own()).count() >= MAX_OWN {
            return Err(CommandRefused::Busy);
        }
        if let Some(invite) = invite_of(&new.command.record) {
            let waiting: Invited = all.values().filter_map(|waiting| invite_of(&waiting.command.record)).collect();
            if !waiting.has_room(state, invite) {
                return Err(CommandRefused::BusyInvites);
            }
        }
        if all.len() < MAX_OF_A_KIND {
            return Ok(None);
        }
        let least = all.iter().filter(|(_, waiting)| !waiting.is_own()).min_by_key(|(_, waiting)| waiting.worth);
        let (key, least) = least.ok_or(CommandRefused::Busy)?;
        if least.worth < new.worth { Ok(Some(*key)) } else { Err(CommandRefused::BusyEntry(least.worth + 1)) }
    }

    /// Finds room for another command; which one gives way: the last one of its account, so that none waits for it in vain.
    fn room_for(&self, new: &Waiting) -> Result<Option<CommandKey>, CommandRefused> {
        let all = &self.others;
        let own = || all.values().filter(|waiting| waiting.is_own());
        let is_full = || own().count() >= MAX_OWN;
        let is_full_of_unready = || own().filter(|waiting| !waiting.is_ready).count() >= MAX_OWN_UNREADY;
        if new.is_own() && (is_full() || !new.is_ready && is_full_of_unready()) {
            return Err(CommandRefused::Busy);
        }
        if all.len() < MAX_OF_A_KIND {
            return Ok(None);
        }
        let mut last = None;
        let mut least: Option<(CommandKey, &Waiting)> = None;
        for (key, waiting) in all.iter().rev() {
            let is_last = last.replace(key.0) != Some(key.0) && key.0 != new.command.record.account;
            if is_last && !waiting.is_own() && least.is_none_or(|(_, least)| waiting.patience() > least.patience()) {
                least = Some((*key, waiting));
            }
        }
        let least = least.filter(|(_, least)| least.patience() > new.patience());
        least.map(|(key, _)| Some(key)).ok_or(CommandRefused::Busy)
    }
}

/// The invite with which a registration enters a pool.
pub fn invite_of(command: &Command) -> Option<&Invite> {
    match &command.action {
        Action::Register(Registration { entry: Entry::Pool { ticket: Ticket::Invite(invite), .. }, .. }) => {
            Some(&invite.record)
        }
        _ => None,
    }
}

/// What a registration gives for its place.
fn worth(spec: &ChainSpec, state: &State, command: &Command) -> u32 {
    let Action::Register(Registration { entry, .. }) = &command.action else { return 0 };
    let (pool, stamp) = match entry {
        Entry::Network(stamp) => (None, stamp),
        Entry::Pool { pool, ticket: Ticket::Stamp(stamp) | Ticket::Request(stamp) } => (Some(*pool), stamp),
        Entry::Pool { ticket: Ticket::Invite(_), .. } => return WORTH_OF_AN_INVITE,
        // Refused: who registers was no member.
        Entry::Pool { ticket: Ticket::Return, .. } => return 0,
    };
    let beacon = required_bits(state, pool.as_ref(), stamp.epoch).map(|(beacon, _)| beacon);
    let target = |beacon| StampTarget { network: *spec.id(), account: command.account, pool, beacon };
    beacon.map_or(0, |beacon| stamp.bits(&target(beacon)))
}
