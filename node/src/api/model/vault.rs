//! What the API answers about vault contracts.

use lucid_tron_bridge::vault::VaultSnapshot;
use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout::VaultLimits;
use lucid_types::payout_tree::PayoutRoot;
use serde::{Deserialize, Serialize};

/// Seconds after a withdrawal's notice in which it can be carried out (`PayoutVault.WITHDRAWAL_WINDOW`).
pub const WITHDRAWAL_WINDOW_S: u64 = 7 * 24 * 60 * 60;

/// Limits of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsView {
    /// Most that leaves in a period.
    pub cap_micro_usdt: MicroUsdt,
    /// For each item pushed.
    pub push_fee_micro_usdt: MicroUsdt,
}

impl From<VaultLimits> for LimitsView {
    fn from(limits: VaultLimits) -> Self {
        Self { cap_micro_usdt: limits.cap, push_fee_micro_usdt: limits.push_fee }
    }
}

impl From<LimitsView> for VaultLimits {
    fn from(limits: LimitsView) -> Self {
        Self { cap: limits.cap_micro_usdt, push_fee: limits.push_fee_micro_usdt }
    }
}

/// A vault contract. Times are Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultView {
    /// The contract.
    pub vault: PayoutAddress,
    /// The token it pays in.
    pub token: PayoutAddress,
    /// Its owner.
    pub owner: PayoutAddress,
    /// The vault that it replaced.
    pub previous: Option<PayoutAddress>,
    /// Seconds in which at most the cap leaves.
    pub period_s: u32,
    /// Seconds of notice that the owner's acts need.
    pub delay_s: u32,
    /// Which signers are in force.
    pub era: u32,
    /// Changes of signers and limits.
    pub nonce: u32,
    /// How many signers must sign.
    pub threshold: u8,
    /// The limits in force.
    pub limits: LimitsView,
    /// The posted root's settlement; 0 if there is none.
    pub settlement: u64,
    /// The posted root.
    pub root: Option<PayoutRoot>,
    /// All that may ever be paid out under it.
    pub total_micro_usdt: MicroUsdt,
    /// The part of it for push fees.
    pub fees_micro_usdt: MicroUsdt,
    /// Who alone earns push fees.
    pub leader: Option<PayoutAddress>,
    /// Until when.
    pub until: u64,
    /// What the vault holds.
    pub funds_micro_usdt: MicroUsdt,
    /// All that accounts have had, predecessors included.
    pub paid_out_micro_usdt: MicroUsdt,
    /// All push fees, predecessors included.
    pub fees_paid_micro_usdt: MicroUsdt,
    /// What may still be paid out under the root.
    pub left_of_total_micro_usdt: MicroUsdt,
    /// What may still leave in this period.
    pub left_of_cap_micro_usdt: MicroUsdt,
    /// When the next period begins.
    pub period_ends: u64,
    /// Whether payments are stopped.
    pub is_paused: bool,
    /// Whether they are stopped for good.
    pub is_closed: bool,
    /// When the owner's pause begins or began.
    pub owner_pause_from: Option<u64>,
    /// The signers' pause.
    pub signer_pause: Option<SignerPauseView>,
    /// When the vault closes or closed.
    pub close_from: Option<u64>,
    /// The withdrawal that the owner announced.
    pub withdrawal: Option<WithdrawalView>,
}

/// A pause by signers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignerPauseView {
    /// When it lapses; `null`: it lasts until it is ended.
    pub until: Option<u64>,
}

/// An announced withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawalView {
    /// Where to.
    pub to: PayoutAddress,
    /// How much.
    pub amount_micro_usdt: MicroUsdt,
    /// From when on it can be carried out.
    pub from: u64,
    /// Until when.
    pub until: u64,
}

impl VaultView {
    /// A vault's snapshot at a time in Unix seconds.
    pub fn new(vault: PayoutAddress, snapshot: &VaultSnapshot, now_s: u64) -> Self {
        let s = snapshot;
        let period = u64::from(s.period);
        let pause = (now_s < s.signer_pause_until)
            .then_some(SignerPauseView { until: Some(s.signer_pause_until).filter(|until| *until != u64::MAX) });
        let withdrawal = s.withdrawal.map(|withdrawal| WithdrawalView {
            to: withdrawal.to,
            amount_micro_usdt: withdrawal.amount,
            from: withdrawal.from,
            until: withdrawal.from.saturating_add(WITHDRAWAL_WINDOW_S),
        });
        Self {
            vault,
            token: s.token,
            owner: s.owner,
            previous: s.previous,
            period_s: s.period,
            delay_s: s.delay,
            era: s.era,
            nonce: s.nonce,
            threshold: s.threshold,
            limits: s.limits.into(),
            settlement: s.settlement,
            root: s.root,
            total_micro_usdt: s.total,
            fees_micro_usdt: s.fees,
            leader: s.leader,
            until: s.until,
            funds_micro_usdt: s.funds,
            paid_out_micro_usdt: s.paid_out,
            fees_paid_micro_usdt: s.fees_paid,
            left_of_total_micro_usdt: s.left_of_total(),
            left_of_cap_micro_usdt: s.left_of_cap(now_s),
            period_ends: now_s.checked_div(period).unwrap_or_default().saturating_add(1).saturating_mul(period),
            is_paused: s.is_paused(now_s),
            is_closed: s.is_closed(now_s),
            owner_pause_from: Some(s.owner_pause_from).filter(|from| *from != 0),
            signer_pause: pause,
            close_from: Some(s.close_from).filter(|from| *from != 0),
            withdrawal,
        }
    }
}
