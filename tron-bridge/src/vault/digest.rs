//! What treasury signers sign: one digest for each of the three purposes, each field a word.

use lucid_tron_types::abi::{Word, word_of};
use lucid_tron_types::keccak256;
use lucid_types::payout::{SettlementRoot, VaultLimits};
use lucid_types::vault::SignerSet;

use super::{VaultDomain, address_word};
use crate::address;

/// For `postRoot`.
pub fn root_digest(domain: &VaultDomain, root: &SettlementRoot) -> [u8; 32] {
    let fields = [
        word_of(root.settlement),
        *root.root.as_bytes(),
        word_of(root.total.get()),
        word_of(root.fees.get()),
        address_word(root.leader.as_ref()),
        word_of(root.until),
    ];
    digest("PayoutVault root", domain, root.era, &fields)
}

/// For `setSigners`. `era` and `nonce` are those in force before it.
pub fn signers_digest(domain: &VaultDomain, era: u32, nonce: u32, signers: &SignerSet) -> [u8; 32] {
    let list: Vec<Word> = signers.members.iter().map(|signer| address::to_word(&signer.key_address)).collect();
    let fields = [word_of(nonce.into()), word_of(signers.threshold.into()), keccak256(list.as_flattened())];
    digest("PayoutVault signers", domain, era, &fields)
}

/// For `setLimits`. `era` and `nonce` are those in force before it.
pub fn limits_digest(domain: &VaultDomain, era: u32, nonce: u32, limits: &VaultLimits) -> [u8; 32] {
    let fields = [word_of(nonce.into()), word_of(limits.cap.get()), word_of(limits.push_fee.get())];
    digest("PayoutVault limits", domain, era, &fields)
}

fn digest(purpose: &str, domain: &VaultDomain, era: u32, fields: &[Word]) -> [u8; 32] {
    let place = [
        keccak256(purpose.as_bytes()),
        word_of(domain.chain_id.into()),
        address::to_word(&domain.vault),
        word_of(era.into()),
    ];
    keccak256([place.as_slice(), fields].concat().as_flattened())
}
