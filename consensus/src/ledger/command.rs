//! Commands: who may give them, in which order a block holds them, and what they change.
//!
//! A command belongs to an account, carries its next number, and has an end: so none applies twice, none overtakes another, and none
//! lies in wait. An account may give a few at once and one more after each epoch, and take back for nothing what it has announced. What a command changes of who takes part counts from the
//! second epoch after the one that covers the block's time: the seeds of both that are nearer may be known to whoever gives it.

mod entry;
mod node;
mod pool;
mod refused;
mod validator;

use std::collections::BTreeSet;

use lucid_types::command::{Action, Command, Cosigner, Priority};
use lucid_types::id::{Hash, NodeId, PayoutAddress, PoolId, PublicKey};
use lucid_types::signed::MultiSigned;
use lucid_types::time::{Epoch, UnixMillis};

pub use crate::ledger::command::refused::CommandRefused;

use crate::chain_spec::ChainSpec;
use crate::ledger::event::Event;
use crate::ledger::pool::{PoolState, PoolStatus};
use crate::ledger::registry::{Node, Nonce, key_of, owner_of};
use crate::ledger::state::{Overlay, Rows, State};
use crate::ledger::table::{Nodes, Nonces, Pools};

pub(crate) use crate::ledger::command::pool::remove_expired;

/// Settlements from the newest one on until an announced change is in force.
const NOTICE: u64 = 2;

/// A command with the signatures under it.
pub type SignedCommand = MultiSigned<Command>;

/// Whether the next block, of this time, could carry the command as its first.
///
/// # Errors
/// Why it does not apply.
pub fn check(spec: &ChainSpec, state: &State, command: &SignedCommand, time: UnixMillis) -> Result<(), CommandRefused> {
    apply(spec, &mut next_block(state, time), command, &mut Vec::new())
}

/// The same of a command that nobody has signed yet, as if everybody had who must, and after those of its account that wait.
///
/// # Errors
/// Why it does not apply.
pub fn check_unsigned<'a>(
    spec: &ChainSpec,
    state: &State,
    waiting: impl IntoIterator<Item = &'a SignedCommand>,
    command: &Command,
    time: UnixMillis,
) -> Result<(), CommandRefused> {
    let (mut rows, mut events) = (next_block(state, time), Vec::new());
    for earlier in waiting.into_iter().filter(|earlier| earlier.record.nonce < command.nonce) {
        // One that does not apply is missed by what comes after it.
        let _refused = apply(spec, &mut rows, earlier, &mut events);
    }
    check_record(command, time)?;
    carry_out(spec, &mut rows, command, &mut events)
}

/// The rows on which the next block's commands apply, at this time.
pub(crate) fn next_block(state: &State, time: UnixMillis) -> Overlay<'_> {
    let mut overlay = Overlay::new(state);
    overlay.head.height = state.height().next();
    overlay.head.time = time;
    overlay
}

/// Whether those who signed may give the command, whatever its number.
///
/// # Errors
/// Whose signature is missing or out of place.
pub fn check_authority(rows: &impl Rows, command: &SignedCommand) -> Result<(), CommandRefused> {
    let account = command.record.account;
    let mut must = BTreeSet::from([current_key(rows, &account)?]);
    let mut may = BTreeSet::new();
    for cosigner in command.record.cosigners() {
        match cosigner {
            Cosigner::Key(key) => {
                must.insert(key);
            }
            Cosigner::Account(account) => {
                must.insert(current_key(rows, &account)?);
            }
            Cosigner::PayoutKey => must.extend(rows.get::<Nodes>(&account).and_then(|node| node.payout_key)),
            Cosigner::Treasury(pool) => {
                let signers = &rows.get::<Pools>(&pool).ok_or(CommandRefused::NoPool(pool))?.vault.signers;
                may.extend(signers.members.iter().filter_map(|signer| key_of(rows, &signer.node)));
                let found = may.iter().filter(|signer| command.is_signed_by(signer)).count();
                if found < signers.needed() {
                    return Err(CommandRefused::TooFewSigners { found, needed: signers.needed() });
                }
            }
        }
    }
    let signers = command.signatures.iter().map(|(signer, _)| *signer);
    let strangers = signers.filter(|signer| !must.contains(signer) && !may.contains(signer));
    for key in strangers.clone() {
        let account = owner_of(rows, &key);
        if let Some(current) = key_of(rows, &account).filter(|current| *current != key) {
            return Err(CommandRefused::NotInForce { key, account, current });
        }
    }
    if let Some(missing) = must.iter().find(|signer| !command.is_signed_by(signer)) {
        return Err(CommandRefused::Unsigned(*missing));
    }
    strangers.into_iter().next().map_or(Ok(()), |signer| Err(CommandRefused::Stranger(signer)))
}

/// The key that signs for an account.
fn current_key(rows: &impl Rows, account: &NodeId) -> Result<PublicKey, CommandRefused> {
    let key = account.first_key();
    key_of(rows, account).ok_or_else(|| CommandRefused::KeyTaken { key, account: owner_of(rows, &key) })
}

/// Checks when a block may hold the command.
pub(crate) fn check_time(command: &Command, time: UnixMillis) -> Result<(), CommandRefused> {
    let (until, latest) = (command.until, time.after(Command::MAX_AHEAD));
    if until < time {
        return Err(CommandRefused::Expired { until, time });
    }
    if until > latest {
        return Err(CommandRefused::TooFarAhead { until, latest });
    }
    Ok(())
}

/// Where an account's commands stand in a block: by the priority of the first of them, then by a hash that nobody could choose, of
/// the random beacon of the block before.
pub(crate) fn place(beacon: &Hash, first: &Command) -> (Priority, Hash) {
    let lot = Hash::derive("lucid command order 1", &[beacon.as_bytes(), first.account.as_bytes()]);
    (first.action.priority(), lot)
}

/// Whether a block's commands stand in their order: those of each account together and by their numbers, the accounts by their places.
pub(crate) fn are_in_order(beacon: &Hash, commands: &[SignedCommand]) -> bool {
    let accounts: Vec<_> = commands.chunk_by(|one, next| one.record.account == next.record.account).collect();
    let distinct: BTreeSet<_> = commands.iter().map(|command| command.record.account).collect();
    let is_numbered = |of: &&[SignedCommand]| of.is_sorted_by(|one, next| one.record.nonce < next.record.nonce);
    let places: Vec<_> = accounts.iter().filter_map(|of| of.first()).map(|it| place(beacon, &it.record)).collect();
    accounts.len() == distinct.len() && accounts.iter().all(is_numbered) && places.is_sorted_by(|one, next| one < next)
}

/// Applies a command, or leaves everything as it was.
///
/// # Errors
/// Why it does not apply.
pub(crate) fn apply(
    spec: &ChainSpec,
    rows: &mut Overlay<'_>,
    command: &SignedCommand,
    events: &mut Vec<Event>,
) -> Result<(), CommandRefused> {
    check_record(&command.record, rows.head.time)?;
    check_authority(rows, command)?;
    carry_out(spec, rows, &command.record, events)
}

/// Checks what needs no state.
fn check_record(command: &Command, time: UnixMillis) -> Result<(), CommandRefused> {
    command.action.check().map_err(CommandRefused::Malformed)?;
    check_time(command, time)
}

/// Applies a command that those have signed who must, or leaves everything as it was.
fn carry_out(
    spec: &ChainSpec,
    rows: &mut Overlay<'_>,
    command: &Command,
    events: &mut Vec<Event>,
) -> Result<(), CommandRefused> {
    let Command { account, nonce: given, action, .. } = command;
    let known = rows.get::<Nonces>(account).copied();
    let Nonce { next, allowance, filled } = Nonce::filled_to(known, rows.head.closed);
    if *given < next {
        return Err(CommandRefused::NonceUsed { given: *given, next });
    }
    let after = match next.checked_add(1) {
        Some(after) if *given == next => after,
        _ => return Err(CommandRefused::NonceAhead { given: *given, next }),
    };
    let Some(allowance) = allowance.checked_sub(u8::from(!action.is_veto())) else {
        return Err(CommandRefused::TooOften { after: filled.next() });
    };
    // Whoever has announced something in an account's name must not be able to keep its owner from taking it back.
    if rows.get::<Nodes>(account).is_some_and(|node| node.is_retired) && !action.is_veto() {
        return Err(CommandRefused::Retired);
    }
    let epoch = spec.genesis().epoch_at(rows.head.time);
    let mut applying = Applying { spec, rows, events, account: *account, epoch };
    match action {
        Action::Register(registration) => applying.register(registration)?,
        Action::Node(action) => applying.node(action)?,
        Action::CreatePool(pool) => applying.create_pool(pool)?,
        Action::Pool { pool, action } => applying.pool(pool, action)?,
        Action::Validator(action) => applying.validator(action)?,
    }
    // Whoever has only asked to enter is nobody yet.
    if known.is_some() || !matches!(action, Action::Register(_)) || rows.has::<Nodes>(account) {
        rows.put::<Nonces>(account, Nonce { next: after, allowance, filled });
    }
    Ok(())
}

/// A command that is being applied. Each action checks everything before it changes anything.
struct Applying<'a, 'b> {
    spec: &'a ChainSpec,
    rows: &'a mut Overlay<'b>,
    events: &'a mut Vec<Event>,
    account: NodeId,
    /// The one that covers the block's time.
    epoch: Epoch,
}

impl Applying<'_, '_> {
    /// The first epoch for which a change of who takes part counts.
    fn counts_from(&self) -> Epoch {
        self.spec.rules().counts_from(self.epoch)
    }

    /// The first settlement for which an announced change counts: the second after the newest one, and never the one that is under way, so
    /// that a whole one remains in which to take the change back, or to leave. A settlement is computed some epochs after its last one,
    /// after a stall many epochs: until then the next one is under way already.
    fn after_notice(&self, newest: u64) -> u64 {
        let under_way = self.spec.fixed().settlement_of(self.epoch);
        newest.saturating_add(NOTICE).max(under_way.saturating_add(1))
    }

    /// The block's time.
    const fn now(&self) -> UnixMillis {
        self.rows.head.time
    }

    fn registered(&self, node: &NodeId) -> Result<Node, CommandRefused> {
        self.rows.get::<Nodes>(node).cloned().ok_or(CommandRefused::NotRegistered(*node))
    }

    fn pool_of(&self, id: &PoolId) -> Result<PoolState, CommandRefused> {
        self.rows.get::<Pools>(id).cloned().ok_or(CommandRefused::NoPool(*id))
    }

    /// A pool that takes members, or would.
    fn pool_to_enter(&self, id: &PoolId) -> Result<PoolState, CommandRefused> {
        let pool = self.pool_of(id)?;
        match pool.status {
            PoolStatus::Forming { until, .. } if until < self.rows.head.time => Err(CommandRefused::FormedTooLate),
            PoolStatus::Disbanded { .. } => Err(CommandRefused::Disbanded),
            PoolStatus::Forming { .. } | PoolStatus::Active { .. } => Ok(pool),
        }
    }

    /// Writes a pool's row, and counts the command that changed it.
    fn put_pool(&mut self, id: &PoolId, mut pool: PoolState) {
        pool.commands = pool.commands.saturating_add(1);
        self.rows.put::<Pools>(id, pool);
    }

    /// The token and the vaults are refused as payout addresses.
    fn check_address(&self, key: &'static str, address: &PayoutAddress) -> Result<(), CommandRefused> {
        if *address == self.spec.genesis().tron.usdt {
            return Err(CommandRefused::Address { key, what: "the USDT contract" });
        }
        if self.rows.all::<Pools>().any(|(_, pool)| pool.has_vault(address)) {
            return Err(CommandRefused::Address { key, what: "a pool's vault" });
        }
        Ok(())
    }
}
