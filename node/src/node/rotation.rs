//! The node's own key: which one it has at start, when it has to start again under another one, and what its owner should know.
//!
//! The key is the libp2p identity, so a node whose next key comes into force ends all its stages in order and begins again in the same
//! process, on the same store and the same ports.

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::keyring::Keyring;
use lucid_consensus::ledger::state::{Rows, State};
use lucid_types::command::ValidatorChange;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chain::head::Head;
use crate::home::{Home, HomeError, Identity};

/// The identity of this home. A next key that the state has in force takes the place of the key.
///
/// # Errors
/// The keys cannot be read, or the system refuses.
pub(super) fn identity(home: &Home, state: &State) -> Result<Identity, HomeError> {
    let me = home.load_identity()?;
    if !is_next_in_force(home, state, &me)? {
        return Ok(me);
    }
    home.promote_next_key()?;
    let me = home.load_identity()?;
    tracing::info!(account = %me.account, key = %me.public_key(), "the next node key is in force: this node has it now");
    Ok(me)
}

/// Whether the state has in force for this account what the home has as its next key.
fn is_next_in_force(home: &Home, state: &State, me: &Identity) -> Result<bool, HomeError> {
    let next = home.load_next_key()?.map(|next| next.public_key());
    Ok(next.is_some() && state.key_of(&me.account) == next)
}

/// Cancels `again` when the home's next key is in force; waits until `stop`.
pub(super) async fn follow(
    (home, me): (Home, Identity),
    mut head: watch::Receiver<Head>,
    again: CancellationToken,
    stop: CancellationToken,
) {
    // The files are looked at when the key in force is another.
    let mut known = Some(me.public_key());
    loop {
        let state = head.borrow_and_update().state.clone();
        let current = state.key_of(&me.account);
        if current != known {
            known = current;
            match is_next_in_force(&home, &state, &me) {
                Ok(true) => {
                    tracing::info!("the next node key is in force: starting again under it");
                    again.cancel();
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "the next node key cannot be read");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = head.changed() => if changed.is_err() {
                // The chain has ended, and says why.
                return stop.cancelled().await;
            },
        }
    }
}

/// What the owner of a node should know at once: what is announced for its account and can still be taken back, and that its key is
/// another's now.
pub(crate) fn alerts(spec: &ChainSpec, state: &State, me: &Identity, keys: &Keyring) -> Vec<String> {
    let mut alerts = Vec::new();
    if let Some((id, rotation)) = state.rotation(&me.account)
        && let Some(announced) = rotation.change.validators().and_then(ValidatorChange::keys)
    {
        let is_here = if keys.get(&announced.id).is_some() { "" } else { ", whose file is not in this home," };
        alerts.push(format!(
            "the validator key {}{is_here} is announced for this account: it signs from epoch {} on. If that is not your doing, take it back \
             with `lucid validator withdraw {id}` before then, and rotate the node key: whoever has announced it has that",
            announced.id, rotation.from
        ));
    }
    let Some(row) = state.node(&me.account) else { return alerts };
    if state.key_of(&me.account) != Some(me.public_key()) {
        let current = row.key_at(state.final_through());
        alerts.push(format!(
            "the node key of account {} is {current}, and this home has another one: this node follows the chain and does nothing for the \
             account. If you have rotated the key, put the new one into this home, as node.key; if you have not, whoever has it has taken \
             the account over: tell your pool's owner, who can ban or hold it",
            me.account
        ));
    }
    if let Some((with, key)) = state.announced_key(&me.account) {
        alerts.push(format!(
            "the node key {key} is announced for this account: it is in force from settlement {} on, when the scores of epoch {with} are \
             final. If that is not your doing, take it back with `lucid node veto-key` before then",
            with.get() / spec.fixed().settle_every
        ));
    }
    if let Some((from, address)) = row.next_payout.filter(|(from, _)| *from > state.newest_settlement(spec)) {
        alerts.push(format!(
            "the payout address {address} is announced for this account: settlement {from} is the first that pays there. If that is not your \
             doing, take it back with `lucid node veto` before then"
        ));
    }
    alerts
}
