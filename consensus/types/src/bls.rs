//! The signatures that the random beacon is made of.
//!
//! BLS12-381 with signatures in G1 and public keys in G2, as in draft-irtf-cfrg-bls-signature-05 with the ciphersuite
//! `BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_`. Unlike an ed25519 signature, one of these is *unique*: for a key and a message
//! there is exactly one, so a proposer cannot choose among several.

use std::fmt;

use blst::BLST_ERROR;
use blst::min_sig::{PublicKey, SecretKey, Signature};
use zeroize::Zeroizing;

use crate::bytes::hex_bytes;
use crate::id::{Hash, NetworkId, NodeId, ValidatorId};
use crate::time::Height;

const SIGNATURE_DST: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
const PROOF_DST: &[u8] = b"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
const RANDAO_TAG: &[u8] = b"lucid/randao/1";

hex_bytes!(
    /// A validator's public key for the beacon: a compressed point of G2.
    BlsPublicKey, 96
);
hex_bytes!(
    /// A signature: a compressed point of G1.
    BlsSignature, 48
);

/// Why a key or a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlsError {
    /// The bytes are no point of the key's group, or its zero.
    #[error("the BLS public key is no valid key")]
    Key,
    /// The signature is not that of the key for the message.
    #[error("the BLS signature is wrong")]
    Signature,
}

/// A validator's secret key for the beacon. It follows from the seed of the key that it signs with, so that a key file holds one secret.
/// Never printed.
pub struct BlsKey(SecretKey);

impl BlsKey {
    /// The key that belongs to a validator key's seed.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Self {
        let material = Zeroizing::new(*Hash::derive("lucid bls key 1", &[seed]).as_bytes());
        // It fails only for less than 32 bytes.
        Self(SecretKey::key_gen(&*material, &[]).unwrap_or_default())
    }

    /// The public key.
    pub fn public(&self) -> BlsPublicKey {
        BlsPublicKey::from_bytes(self.0.sk_to_pk().compress())
    }

    /// Proves to everybody that whoever registers the public key for an account, beside the key `id`, holds this one.
    pub(crate) fn prove(&self, account: &NodeId, id: &ValidatorId) -> BlsSignature {
        let message = proof_message(&self.public(), account, id);
        BlsSignature::from_bytes(self.0.sign(&message, PROOF_DST, &[]).compress())
    }

    /// This validator's contribution to the beacon of a height.
    pub fn sign_randao(&self, network: &NetworkId, height: Height) -> BlsSignature {
        BlsSignature::from_bytes(self.0.sign(&randao_message(network, height), SIGNATURE_DST, &[]).compress())
    }
}

impl fmt::Debug for BlsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlsKey({})", self.public().short())
    }
}

impl BlsPublicKey {
    /// Checks that this is a key, and that whoever registers it for an account, beside the key `id`, holds the secret one.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check_proof(&self, account: &NodeId, id: &ValidatorId, proof: &BlsSignature) -> Result<(), BlsError> {
        let key = PublicKey::key_validate(self.as_bytes()).map_err(|_| BlsError::Key)?;
        check(&key, &proof_message(self, account, id), PROOF_DST, proof)
    }

    /// Checks a contribution to the beacon. The key must have been proved.
    ///
    /// # Errors
    /// It is not this key's for that height.
    pub fn check_randao(&self, network: &NetworkId, height: Height, randao: &BlsSignature) -> Result<(), BlsError> {
        let key = PublicKey::from_bytes(self.as_bytes()).map_err(|_| BlsError::Key)?;
        check(&key, &randao_message(network, height), SIGNATURE_DST, randao)
    }
}

/// `public key || account || id`.
fn proof_message(key: &BlsPublicKey, account: &NodeId, id: &ValidatorId) -> Vec<u8> {
    [key.as_bytes().as_slice(), account.as_bytes(), id.as_bytes()].concat()
}

/// As of every signature: `length of tag || tag || network id || record`.
fn randao_message(network: &NetworkId, height: Height) -> Vec<u8> {
    let length = u8::try_from(RANDAO_TAG.len()).unwrap_or(u8::MAX);
    [&[length], RANDAO_TAG, network.as_bytes(), &height.get().to_le_bytes()].concat()
}

fn check(key: &PublicKey, message: &[u8], dst: &[u8], signature: &BlsSignature) -> Result<(), BlsError> {
    let signature = Signature::from_bytes(signature.as_bytes()).map_err(|_| BlsError::Signature)?;
    match signature.verify(true, message, dst, &[], key, false) {
        BLST_ERROR::BLST_SUCCESS => Ok(()),
        _ => Err(BlsError::Signature),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn key(seed: u8) -> BlsKey {
        BlsKey::from_seed(&[seed; 32])
    }

    const ACCOUNT: NodeId = NodeId::from_bytes([7; 32]);
    const ID: ValidatorId = ValidatorId::from_bytes([3; 32]);
    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);

    #[test]
    fn a_reveal_holds_for_its_key_network_and_height_only() {
        let height = Height::new(5);
        let (one, reveal) = (key(1).public(), key(1).sign_randao(&NETWORK, height));
        one.check_randao(&NETWORK, height, &reveal).unwrap();
        assert_eq!(reveal, key(1).sign_randao(&NETWORK, height), "there is one only");
        assert!(key(2).public().check_randao(&NETWORK, height, &reveal).is_err());
        assert!(one.check_randao(&NetworkId::from_bytes([2; 32]), height, &reveal).is_err());
        assert!(one.check_randao(&NETWORK, height.next(), &reveal).is_err());
        for i in 0..48 {
            let mut bytes = *reveal.as_bytes();
            bytes[i] ^= 1;
            assert_eq!(one.check_randao(&NETWORK, height, &BlsSignature::from_bytes(bytes)), Err(BlsError::Signature));
        }
    }

    #[test]
    fn only_who_holds_a_key_registers_it_and_only_for_one_account_and_key() {
        let (one, proof) = (key(1).public(), key(1).prove(&ACCOUNT, &ID));
        one.check_proof(&ACCOUNT, &ID, &proof).unwrap();
        assert_eq!(one.check_proof(&NodeId::from_bytes([8; 32]), &ID, &proof), Err(BlsError::Signature));
        assert_eq!(one.check_proof(&ACCOUNT, &ValidatorId::from_bytes([8; 32]), &proof), Err(BlsError::Signature));
        assert_eq!(key(2).public().check_proof(&ACCOUNT, &ID, &proof), Err(BlsError::Signature));
        // A contribution is no proof, whatever it was signed over.
        assert!(one.check_proof(&ACCOUNT, &ID, &key(1).sign_randao(&NETWORK, Height::new(1))).is_err());
    }

    #[test]
    fn zero_and_points_outside_the_group_are_no_keys() {
        let mut zero = [0; 96];
        zero[0] = 0xc0;
        let proof = key(1).prove(&ACCOUNT, &ID);
        for bytes in [zero, [0; 96], [0xff; 96]] {
            assert_eq!(BlsPublicKey::from_bytes(bytes).check_proof(&ACCOUNT, &ID, &proof), Err(BlsError::Key));
        }
        // The zero of G1 signs everything for the zero key alone.
        let mut zero = [0; 48];
        zero[0] = 0xc0;
        let zero = BlsSignature::from_bytes(zero);
        assert_eq!(key(1).public().check_randao(&NETWORK, Height::new(1), &zero), Err(BlsError::Signature));
    }

    #[test]
    fn a_key_follows_from_the_seed_for_ever() {
        let text = "b5e51a03a9e4d237e01a458808327a4ec0e34a6bf58333115d72b39d7ab47e4bf2ebd739f6821c24cdc7cf1dfb2fd04d000e83a3972b9fe77a1258284497cb6b\
                    9d1de9cdceefc82f0afdaf13dde081be4b6c3bc03923dddf199e40c606d46007";
        assert_eq!(key(5).public().to_string(), text);
    }
}
