//! Commands of pools: who may give them, and what they change.
//!
//! A command names a pool and carries the next number of that pool, so none applies twice and none overtakes another; and a
//! time after which it has no effect, so none lies in wait. The owner signs every command. What moves the pool's promises or its
//! vault (a correction, losses, other signers, other limits) is signed by as many of the treasury signers in force as a payout
//! root, too.

use lucid_types::amount::MicroUsdt;
use lucid_types::genesis::Vault;
use lucid_types::id::PoolId;
use lucid_types::payout::{AccountKind, PoolChange, PoolCommand};
use lucid_types::payout_tree::AccountId;
use lucid_types::signed::MultiSigned;

use crate::chain_spec::ChainSpec;
use crate::ledger::pool::{Account, Hold, KEPT_CHANGES, PoolState, VaultChange, VaultTerms};
use crate::ledger::state::{Overlay, Rows, State};
use crate::ledger::table::{Accounts, Pools};

/// Settlements from the newest one on until a change that could hurt members is in force.
const NOTICE: u64 = 2;

/// Whether those who signed may give the command, whatever its number and whatever the accounts say.
///
/// # Errors
/// Whose signature is missing or out of place.
pub fn check_authority(
    spec: &ChainSpec,
    rows: &impl Rows,
    command: &MultiSigned<PoolCommand>,
) -> Result<(), &'static str> {
    let pool = spec.pool(&command.record.pool).ok_or("there is no such pool")?;
    let signers = &rows.get::<Pools>(&command.record.pool).ok_or("there is no such pool")?.vault.signers;
    let is_signer = |node| signers.members.iter().any(|signer| signer.node == node);
    if !command.is_signed_by(&pool.owner) {
        return Err("the pool's owner has not signed it");
    }
    if command.signatures.iter().any(|(node, _)| *node != pool.owner && !is_signer(*node)) {
        return Err("somebody has signed it who is neither the pool's owner nor one of its treasury signers");
    }
    let n_signers = command.signatures.iter().filter(|(node, _)| is_signer(*node)).count();
    if command.record.change.needs_signers() && n_signers < signers.needed() {
        return Err("too few of the pool's treasury signers have signed it");
    }
    Ok(())
}

/// Whether the next block could carry the command: who has signed it, its number and time, and what the accounts say.
///
/// # Errors
/// Why it does not apply.
pub fn check(spec: &ChainSpec, state: &State, command: &MultiSigned<PoolCommand>) -> Result<(), &'static str> {
    apply(spec, &mut Overlay::new(state), command)
}

/// Applies a command, or leaves everything as it was.
///
/// # Errors
/// Why it does not apply.
pub(crate) fn apply(
    spec: &ChainSpec,
    overlay: &mut Overlay<'_>,
    command: &MultiSigned<PoolCommand>,
) -> Result<(), &'static str> {
    check_authority(spec, overlay, command)?;
    let PoolCommand { pool: id, number, until, change } = &command.record;
    if *until < overlay.head.time {
        return Err("its time is over");
    }
    let pool = spec.pool(id).ok_or("there is no such pool")?;
    let under_way = overlay.head.closed.next().get().div_ceil(spec.policy().settle_every);
    let mut state = overlay.get::<Pools>(id).cloned().ok_or("there is no such pool")?;
    // What members earn in the settlement that is under way comes under a root that they can claim by. A settlement is computed
    // some epochs after its last one: until then the next one is under way already.
    let after_notice = state.settled.saturating_add(NOTICE).max(under_way.saturating_add(1));
    if Some(*number) != state.commands.checked_add(1) {
        return Err("its number is not the pool's next");
    }
    let worker = |node| AccountId::derive(spec.id(), id, AccountKind::Worker, node);
    match change {
        PoolChange::Hold(node) => {
            let key = (*id, worker(node));
            let declared = spec.worker(node).filter(|_| pool.members.contains(node));
            let to = declared.ok_or("no member of the pool has this id")?.payout_address;
            let new = || Account::new(AccountKind::Worker, *node, to);
            let account = overlay.get::<Accounts>(&key).cloned().unwrap_or_else(new);
            if account.hold != Hold::No {
                return Err("the member is held already");
            }
            overlay.put::<Accounts>(&key, Account { hold: Hold::Since(after_notice), ..account });
        }
        PoolChange::Resume(node) => {
            let key = (*id, worker(node));
            let held = overlay.get::<Accounts>(&key).filter(|account| matches!(account.hold, Hold::Since(_)));
            let held = held.cloned().ok_or("the member is not held")?;
            overlay.put::<Accounts>(&key, Account { hold: Hold::Ends, ..held });
        }
        PoolChange::Suspend(suspended) => {
            if state.suspended_from.is_some() == *suspended {
                return Err("the pool is so already");
            }
            state.suspended_from = suspended.then_some(after_notice);
        }
        PoolChange::Correct { account, amount } => correct(overlay, (id, &state), account, *amount)?,
        PoolChange::Losses(amount) => lose(&mut state, *amount)?,
        PoolChange::Signers { nonce, next } => {
            next.check().map_err(|_| "the vault would refuse these signers")?;
            if Some(next.era) != state.vault.signers.era.checked_add(1) {
                return Err("its era is not the vault's next");
            }
            change_vault(&mut state, *nonce, VaultTerms::Signers(next.clone()))?;
            state.vault.signers = next.clone();
            if let Some(newest) = &mut state.newest {
                newest.era = next.era;
            }
        }
        PoolChange::Limits { era, nonce, next } => {
            if *era != state.vault.signers.era {
                return Err("its era is not the vault's");
            }
            if next.push_fee >= next.cap {
                return Err("with such limits the vault would never pay");
            }
            change_vault(&mut state, *nonce, VaultTerms::Limits(*next))?;
            state.vault.limits = *next;
            state.next_push_fee = Some((after_notice, next.push_fee));
        }
    }
    state.commands = *number;
    overlay.put::<Pools>(id, state);
    Ok(())
}

/// Keeps a change of the vault for the signers in force, and uses its nonce up.
fn change_vault(state: &mut PoolState, nonce: u32, next: VaultTerms) -> Result<(), &'static str> {
    if nonce != state.vault.nonce {
        return Err("its nonce is not the number of the vault's changes");
    }
    let used = nonce.checked_add(1).filter(|used| *used <= Vault::MAX_NONCE);
    state.vault.nonce = used.ok_or("the vault has seen too many changes")?;
    state.changes.insert(nonce, VaultChange { by: state.vault.signers.clone(), next });
    while state.changes.len() > KEPT_CHANGES {
        state.changes.pop_first();
    }
    Ok(())
}

/// What a pool may ever promise, of budgets and of losses: far above any sum of USDT, and low enough that no sum of a pool's
/// amounts overflows, whatever its owner and its signers do.
pub const MAX_PROMISED: MicroUsdt = MicroUsdt::new(1 << 62);

fn grown(sum: MicroUsdt, amount: MicroUsdt) -> Result<MicroUsdt, &'static str> {
    if amount == MicroUsdt::ZERO {
        return Err("the amount is zero");
    }
    sum.checked_add(amount).filter(|sum| *sum <= MAX_PROMISED).ok_or("the amount is too great to count")
}

fn correct(
    overlay: &mut Overlay<'_>,
    (pool, state): (&PoolId, &PoolState),
    id: &AccountId,
    amount: MicroUsdt,
) -> Result<(), &'static str> {
    let pending = overlay.all_of::<Accounts, _>(pool).into_iter().map(|(_, account)| account.correction);
    let pending = MicroUsdt::sum(pending).ok_or("the amount is too great to count")?;
    grown(state.budgets.saturating_add(pending), amount)?;
    let account = overlay.get_mut::<Accounts>(&(*pool, *id)).ok_or("the pool has no such account")?;
    account.correction = account.correction.saturating_add(amount);
    Ok(())
}

fn lose(state: &mut PoolState, amount: MicroUsdt) -> Result<(), &'static str> {
    state.losses = grown(state.losses, amount)?;
    if let Some(newest) = &mut state.newest {
        newest.total = newest.total.saturating_add(amount);
        newest.promised = newest.promised.saturating_add(amount);
    }
    Ok(())
}
