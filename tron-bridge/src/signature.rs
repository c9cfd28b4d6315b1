//! Who signed a digest: recovery of a key's address from a [`TreasurySignature`].
//!
//! A signature is r || s || v over 32 bytes, v being 27 or 28: a transaction's id, or what the vault checks (see
//! [`crate::vault`]). Only the low s is accepted, so that a signature has one form.

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use lucid_types::id::PayoutAddress;
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

/// The address whose key made `signature` over `digest`.
///
/// # Errors
/// The signature is not in canonical form, or no key can have made it. Any other 65 bytes recover to some address:
/// compare it with the one expected.
pub fn recover(signature: &TreasurySignature, digest: &[u8; 32]) -> Result<PayoutAddress, RecoverError> {
    let [r_s @ .., v] = signature.as_bytes();
    let y = v.checked_sub(V_BASE).filter(|&y| y <= 1).ok_or(RecoverError::V(*v))?;
    let parsed = Signature::from_slice(r_s).map_err(|_| RecoverError::NotCanonical)?;
    if parsed.normalize_s().is_some() {
        return Err(RecoverError::NotCanonical);
    }
    let id = RecoveryId::new(y == 1, false);
    let key = VerifyingKey::recover_from_prehash(digest, &parsed, id).map_err(|_| RecoverError::NoKey)?;
    Ok(address::of_public_key(&key))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::key::TronKey;
    use crate::vault::{VaultDomain, limits_digest};
    use lucid_types::amount::MicroUsdt;
    use lucid_types::payout::VaultLimits;

    #[test]
    fn only_the_canonical_form_of_a_signature_recovers() {
        let key = TronKey::from_secret(&[0x22; 32]).unwrap();
        let domain = VaultDomain { chain_id: 1, vault: PayoutAddress::from_hash20([3; 20]) };
        let limits = VaultLimits { cap: MicroUsdt::new(5), push_fee: MicroUsdt::new(6) };
        let digest = limits_digest(&domain, 1, 2, &limits);
        let good = *key.sign_limits(&domain, 1, 2, &limits).unwrap().as_bytes();
        let with = |change: fn(&mut [u8; 65])| {
            let mut bytes = good;
            change(&mut bytes);
            recover(&TreasurySignature::from_bytes(bytes), &digest)
        };
        assert_eq!(with(|_| ()), Ok(key.address()));
        assert_eq!(with(|b| b[64] -= 27), Err(RecoverError::V(good[64] - 27)));
        assert_eq!(with(|b| b[64] = 29), Err(RecoverError::V(29)));
        assert_eq!(with(|b| b[..32].fill(0)), Err(RecoverError::NotCanonical));
        assert_eq!(with(|b| b[32..64].fill(0xff)), Err(RecoverError::NotCanonical));
        assert_ne!(with(|b| b[64] = 55 - b[64]), Ok(key.address()));
        // The same signature with the other s: valid for the curve, refused here and by the vault.
        let low = Signature::from_slice(&good[..64]).unwrap();
        let (r, s) = low.split_scalars();
        let high = Signature::from_scalars(r, -s).unwrap();
        let mut malleated = good;
        malleated[..64].copy_from_slice(&high.to_bytes());
        malleated[64] = 55 - good[64];
        assert_eq!(recover(&TreasurySignature::from_bytes(malleated), &digest), Err(RecoverError::NotCanonical));
    }
}
