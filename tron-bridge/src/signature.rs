//! Who signed a transaction: recovery of a key's address from a [`TreasurySignature`].
//!
//! A signature is r || s || v over the transaction id, v being 27 or 28. Only the low s is accepted, so that a
//! signature has one form.

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use lucid_types::id::{PayoutAddress, TxId};
use lucid_types::payout::TreasurySignature;

use crate::address;

/// What v is for an even y coordinate; 28 is for an odd one.
pub(crate) const V_BASE: u8 = 27;

/// Why no address could be recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// v is neither 27 nor 28.
    #[error("the signature's last byte is {0}, not 27 or 28")]
    V(u8),
    /// r or s is zero, too great, or s is the high one.
    #[error("the signature's r and s are not in canonical form")]
    NotCanonical,
    /// No public key gives this signature.
    #[error("no public key belongs to the signature")]
    NoKey,
}

/// The address whose key made `signature` over `tx_id`.
///
/// # Errors
/// The signature is not in canonical form, or no key can have made it. Any other 65 bytes recover to some address:
/// compare it with the one expected.
pub fn recover(signature: &TreasurySignature, tx_id: &TxId) -> Result<PayoutAddress, RecoverError> {
    let [r_s @ .., v] = signature.as_bytes();
    let y = v.checked_sub(V_BASE).filter(|&y| y <= 1).ok_or(RecoverError::V(*v))?;
    let parsed = Signature::from_slice(r_s).map_err(|_| RecoverError::NotCanonical)?;
    if parsed.normalize_s().is_some() {
        return Err(RecoverError::NotCanonical);
    }
    let id = RecoveryId::new(y == 1, false);
    let key = VerifyingKey::recover_from_prehash(tx_id.as_bytes(), &parsed, id).map_err(|_| RecoverError::NoKey)?;
    Ok(address::of_public_key(&key))
}
