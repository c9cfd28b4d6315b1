//! A vault that nothing has happened to.

use std::collections::BTreeMap;

use lucid_types::amount::MicroUsdt;
use lucid_types::id::PayoutAddress;
use lucid_types::payout::VaultLimits;

use super::VaultSnapshot;

/// What a vault says that has just been made, with 2 of its signers, a cap that is never reached and no push fee.
pub(crate) fn new_vault() -> VaultSnapshot {
    VaultSnapshot {
        settlement: 0,
        total: MicroUsdt::ZERO,
        fees: MicroUsdt::ZERO,
        era: 1,
        nonce: 0,
        threshold: 2,
        root: None,
        leader: None,
        until: 0,
        limits: VaultLimits { cap: MicroUsdt::new(1 << 50), push_fee: MicroUsdt::ZERO },
        owner_pause_from: 0,
        signer_pause_until: 0,
        close_from: 0,
        pauses_used: 0,
        pausing: 0,
        lifting: 0,
        withdrawal: None,
        paid_out: MicroUsdt::ZERO,
        fees_paid: MicroUsdt::ZERO,
        spent: MicroUsdt::ZERO,
        window: 0,
        funds: MicroUsdt::new(1 << 50),
        token: PayoutAddress::from_hash20([1; 20]),
        owner: PayoutAddress::from_hash20([2; 20]),
        previous: None,
        period: 3_600,
        delay: 60,
        paid: BTreeMap::new(),
    }
}
