//! What of a vault's solidified state a person should look at: where it differs from the ledger, and what its owner and signers
//! announce. Pure.

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::{Account, PoolState};
use lucid_consensus::ledger::state::{Rows as _, State};
use lucid_tron_bridge::providers::WitnessedSnapshot;
use lucid_tron_bridge::vault::{VaultSnapshot, code_hash};
use lucid_types::amount::MicroUsdt;
use lucid_types::id::{PayoutAddress, PoolId};
use lucid_types::payout_tree::AccountId;
use lucid_types::time::{Epoch, UnixMillis};

use crate::history::ledger::Issued;
use crate::payout::status::usdt;
use crate::utc::utc;

/// Epochs by which a node may be behind its clock and yet know the ledger's newest roots.
const EPOCHS_BEHIND: u64 = 2;

/// The ledger's side of a vault.
#[derive(Clone, Copy)]
pub struct Ledger<'a> {
    /// The network.
    pub spec: &'a ChainSpec,
    /// The newest state.
    pub state: &'a State,
    /// The pool.
    pub id: PoolId,
    /// What the state says of it.
    pub pool: &'a PoolState,
    /// The time.
    pub now: UnixMillis,
}

/// The settlement of the vault's root, if `issued`, what the ledger says of that settlement, is the same. `None` if the vault has
/// none, or another.
pub fn root_of(snapshot: &VaultSnapshot, issued: &Issued) -> Option<u64> {
    let root = issued.root().filter(|root| root.settlement == snapshot.settlement)?;
    let is_same = snapshot.root == Some(root.root) && snapshot.total <= root.total;
    is_same.then_some(snapshot.settlement)
}

/// Why a vault, with this code, does not take over from the former one as it should; `None` if it does.
pub fn broken(
    vault: PayoutAddress,
    witnessed: &WitnessedSnapshot,
    code: Option<[u8; 32]>,
    former: PayoutAddress,
    former_witnessed: &WitnessedSnapshot,
) -> Option<String> {
    let stop = "nothing is signed for it, or it could pay again what was paid; its owner and signers have to name a vault that \
                follows it and those before it";
    let found = witnessed.snapshot.previous;
    if code != Some(code_hash()) {
        return Some(format!("the code at {vault} is not the payout vault's: {stop}"));
    }
    if found != Some(former) {
        let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
        return Some(format!(
            "the vault {vault} follows {former} by the ledger, and its predecessor is {found}: {stop}"
        ));
    }
    if !former_witnessed.snapshot.is_closed(former_witnessed.block.time.get() / 1_000) {
        return Some(format!("the vault {former} is not closed, and {vault} follows it: {stop}"));
    }
    let contradiction = witnessed.contradictions.iter().chain(&former_witnessed.contradictions).next()?;
    Some(format!("nothing is signed for the vault {vault} while {contradiction}"))
}

/// What the vault has not paid of what it is to pay: to whom less was paid than was requested, all that it is owed.
pub fn unpaid(state: &State, pool: &PoolId, snapshot: &VaultSnapshot) -> MicroUsdt {
    let of = |(id, account): (AccountId, &Account)| {
        let paid = snapshot.paid_of(&id).unwrap_or_default();
        if paid < account.requested { account.owed.saturating_sub(paid) } else { MicroUsdt::ZERO }
    };
    MicroUsdt::sum(state.accounts(pool).map(of)).unwrap_or(MicroUsdt::new(u64::MAX))
}

/// What a person should look at. `issued` is what the ledger says of the settlement of the vault's root.
pub fn alerts(ledger: &Ledger<'_>, snapshot: &VaultSnapshot, issued: &Issued) -> Vec<String> {
    let mut alerts = Vec::new();
    differences(ledger, snapshot, issued, &mut alerts);
    announcements(ledger.now.get() / 1_000, snapshot, &mut alerts);
    // What is sent to a closed vault helps nobody.
    let is_closed = snapshot.is_closed(ledger.now.get() / 1_000);
    if unpaid(ledger.state, &ledger.id, snapshot) > snapshot.funds && !is_closed {
        alerts.push("the vault holds less than is due; its owner must put USDT into it".to_owned());
    }
    alerts
}

fn differences(ledger: &Ledger<'_>, snapshot: &VaultSnapshot, issued: &Issued, alerts: &mut Vec<String>) {
    let Ledger { spec, state, pool, now, .. } = *ledger;
    let genesis = spec.genesis();
    if snapshot.token != genesis.tron.usdt {
        alerts.push(format!("the vault pays in the token {}, not in {}", snapshot.token, genesis.tron.usdt));
    }
    let is_behind = genesis.epoch_at(now).get() > state.closed().get().saturating_add(EPOCHS_BEHIND);
    let own = &pool.vault;
    // What the vault has and this node's ledger not yet.
    let is_unknown = snapshot.era > own.signers.era || snapshot.settlement > pool.settled || snapshot.nonce > own.nonce;
    // The epochs of its newest settlement are over, and this node does not have their scores yet.
    let last = Epoch::new(snapshot.settlement.saturating_mul(spec.fixed().settle_every));
    let is_coming =
        snapshot.settlement > pool.settled && state.final_through() < last && now >= genesis.epoch_end(last);
    if is_unknown && (is_behind || is_coming) {
        return;
    }
    if snapshot.root.is_some() && *issued == Issued::Unknown {
        alerts.push(format!(
            "the root posted for settlement {} is from before this node's first block: other nodes know whether it is the ledger's",
            snapshot.settlement
        ));
    } else if snapshot.root.is_some() && root_of(snapshot, issued).is_none() {
        alerts.push(format!(
            "the root posted for settlement {} is not the ledger's: signers' keys may be stolen; have a signer pause the vault, \
             and compare the ledgers of several validators",
            snapshot.settlement
        ));
    }
    if snapshot.era > own.signers.era || snapshot.nonce > own.nonce {
        alerts.push("the vault's signers or limits were changed without a command in the ledger".to_owned());
    }
    if snapshot.era == own.signers.era && snapshot.threshold != own.signers.threshold {
        alerts.push(format!(
            "{} signers must sign for the vault, and {} by the ledger",
            snapshot.threshold, own.signers.threshold
        ));
    }
    if snapshot.nonce == own.nonce && snapshot.limits != own.limits {
        alerts.push("the vault's cap or push fee is not the ledger's".to_owned());
    }
}

fn announcements(now_s: u64, snapshot: &VaultSnapshot, alerts: &mut Vec<String>) {
    if let Some(withdrawal) = &snapshot.withdrawal {
        alerts.push(format!(
            "the owner has announced a withdrawal of {} to {} from {} on",
            usdt(withdrawal.amount),
            withdrawal.to,
            utc(withdrawal.from)
        ));
    }
    for (what, from) in [("closed", snapshot.close_from), ("paused by its owner", snapshot.owner_pause_from)] {
        if from != 0 {
            let is = if now_s >= from { "has been" } else { "will be" };
            alerts.push(format!("the vault {is} {what} from {} on", utc(from)));
        }
    }
    match snapshot.signer_pause_until {
        u64::MAX => alerts.push("the vault is paused by its signers".to_owned()),
        until if now_s < until => alerts.push(format!("the vault is paused by a signer until {}", utc(until))),
        _ => {}
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
