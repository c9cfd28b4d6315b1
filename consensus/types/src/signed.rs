//! Signed records: who says it, what is said, and the proof, bound to one purpose and one network.
//!
//! Every signature covers `len(tag) || tag || network id || canonical bytes`: a signature for one purpose or network
//! is worthless for any other.

use std::ops::Deref;

use ed25519_dalek::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::bytes::hex_bytes;
use crate::codec::{Wire, encode};
use crate::id::{NetworkId, NodeId};

hex_bytes!(
    /// An ed25519 signature.
    Signature, 64
);

/// A record that nodes sign, with the tag that names the purpose of its signature.
pub trait SignedRecord: Wire {
    /// The domain tag, for example `lucid/vote/1`; at most 255 bytes.
    const TAG: &'static str;
}

/// A record with its signer and signature, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// Who signed.
    pub signer: NodeId,
    /// What was signed.
    pub record: T,
    /// ed25519 over the tagged bytes.
    pub signature: Signature,
}

impl<T: SignedRecord> Wire for Signed<T> {
    const MAX_BYTES: usize = T::MAX_BYTES + 96;
}

/// The signature does not belong to this signer, record, purpose and network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wrong signature on a {tag} record of {signer}")]
pub struct SignatureError {
    /// The purpose that was checked.
    pub tag: &'static str,
    /// Who was said to have signed.
    pub signer: NodeId,
}

/// A value whose signatures have been checked. Only this crate makes one, by checking or by signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    /// The value without the mark.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// The bytes that a signature of `record` covers.
pub(crate) fn signing_bytes<T: SignedRecord>(network: &NetworkId, record: &T) -> Vec<u8> {
    let record = encode(record);
    let mut bytes = Vec::with_capacity(1 + T::TAG.len() + 32 + record.len());
    bytes.push(const { tag_length(T::TAG) });
    bytes.extend_from_slice(T::TAG.as_bytes());
    bytes.extend_from_slice(network.as_bytes());
    bytes.extend_from_slice(&record);
    bytes
}

#[expect(clippy::cast_possible_truncation, reason = "checked when the program is compiled")]
const fn tag_length(tag: &str) -> u8 {
    assert!(tag.len() <= 255, "a tag is at most 255 bytes");
    tag.len() as u8
}

impl<T: SignedRecord> Signed<T> {
    /// Checks the signature strictly (no small-order keys, one verdict everywhere).
    ///
    /// # Errors
    /// When the signature is not the signer's for this record, purpose and network.
    pub fn check(&self, network: &NetworkId) -> Result<(), SignatureError> {
        let error = SignatureError { tag: T::TAG, signer: self.signer };
        let key = VerifyingKey::from_bytes(self.signer.as_bytes()).map_err(|_| error)?;
        let signature = ed25519_dalek::Signature::from_bytes(self.signature.as_bytes());
        key.verify_strict(&signing_bytes(network, &self.record), &signature).map_err(|_| error)
    }

    /// [`Self::check`], keeping the result in the type.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn verify(self, network: &NetworkId) -> Result<Verified<Self>, SignatureError> {
        self.check(network).map(|()| Verified(self))
    }
}
