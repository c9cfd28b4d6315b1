//! Signed records: who says it, what is said, and the proof, bound to one purpose and one network.
//!
//! Every signature covers `len(tag) || tag || network id || canonical bytes`: a signature for one purpose or network
//! is worthless for any other.

use std::ops::Deref;

use ed25519_dalek::VerifyingKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bytes::hex_bytes;
use crate::codec::{Wire, encode};
use crate::id::{NetworkId, PublicKey};

hex_bytes!(
    /// An ed25519 signature.
    Signature, 64
);

/// Who can sign a record: an identity that an ed25519 key proves.
pub trait Signer:
    Copy + Ord + std::hash::Hash + std::fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The identity that this key proves.
    fn of(key: PublicKey) -> Self;

    /// The key.
    fn public_key(&self) -> PublicKey;
}

impl Signer for PublicKey {
    fn of(key: PublicKey) -> Self {
        key
    }

    fn public_key(&self) -> PublicKey {
        *self
    }
}

/// A record that somebody signs, with the tag that names the purpose of its signature.
pub trait SignedRecord: Wire {
    /// Who signs it.
    type Signer: Signer;

    /// The domain tag, for example `lucid/vote/1`; at most 255 bytes.
    const TAG: &'static str;

    /// Checks the signatures of signed records inside this one, if it takes them to be right.
    ///
    /// # Errors
    /// One of them is wrong.
    fn check_inner(&self, _network: &NetworkId) -> Result<(), SignatureError> {
        Ok(())
    }
}

/// A record with its signer and signature, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Signed<T: SignedRecord> {
    /// Who signed.
    pub signer: T::Signer,
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
    /// The key of whoever was said to have signed.
    pub signer: PublicKey,
}

/// A public key that is ready to check signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadKey(VerifyingKey);

impl ReadKey {
    /// Reads a key; `None` if it is none.
    pub fn of(key: &PublicKey) -> Option<Self> {
        VerifyingKey::from_bytes(key.as_bytes()).ok().map(Self)
    }

    /// Whether it is this key.
    pub fn is(&self, key: &PublicKey) -> bool {
        self.0.as_bytes() == key.as_bytes()
    }
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

/// Whether these bytes are signed with this key, strictly.
pub(crate) fn is_signed(key: &VerifyingKey, bytes: &[u8], signature: &Signature) -> bool {
    key.verify_strict(bytes, &ed25519_dalek::Signature::from_bytes(signature.as_bytes())).is_ok()
}

#[expect(clippy::cast_possible_truncation, reason = "checked when the program is compiled")]
const fn tag_length(tag: &str) -> u8 {
    assert!(tag.len() <= 255, "a tag is at most 255 bytes");
    tag.len() as u8
}

impl<T: SignedRecord> Signed<T> {
    /// Checks the signature strictly (no small-order keys, one verdict everywhere), and those inside the record.
    ///
    /// # Errors
    /// When the signature is not the signer's for this record, purpose and network.
    pub fn check(&self, network: &NetworkId) -> Result<(), SignatureError> {
        self.check_own(network)?;
        self.record.check_inner(network)
    }

    fn check_own(&self, network: &NetworkId) -> Result<(), SignatureError> {
        let error = SignatureError { tag: T::TAG, signer: self.signer.public_key() };
        let key = VerifyingKey::from_bytes(error.signer.as_bytes()).map_err(|_| error)?;
        if is_signed(&key, &signing_bytes(network, &self.record), &self.signature) { Ok(()) } else { Err(error) }
    }

    /// [`Self::check`], keeping the result in the type.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn verify(self, network: &NetworkId) -> Result<Verified<Self>, SignatureError> {
        self.check(network).map(|()| Verified(self))
    }

    /// [`Self::verify`] with the signer's key read before, which saves a tenth of the work.
    ///
    /// # Errors
    /// As [`Self::check`]; also when the key is not the signer's.
    pub fn verify_with(self, key: &ReadKey, network: &NetworkId) -> Result<Verified<Self>, SignatureError> {
        let error = SignatureError { tag: T::TAG, signer: self.signer.public_key() };
        if !key.is(&error.signer) || !is_signed(&key.0, &signing_bytes(network, &self.record), &self.signature) {
            return Err(error);
        }
        self.record.check_inner(network).map(|()| Verified(self))
    }
}

/// A record that several sign, each for itself, not yet checked. Signers stand in order, none twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct MultiSigned<T: SignedRecord> {
    /// What was signed.
    pub record: T,
    /// Who signed, with ed25519 over the tagged bytes.
    pub signatures: Vec<(T::Signer, Signature)>,
}

impl<T: SignedRecord> MultiSigned<T> {
    /// The most signatures.
    pub const MAX_SIGNATURES: usize = 17;

    /// Whether this one is among those who signed.
    pub fn is_signed_by(&self, signer: &T::Signer) -> bool {
        self.signatures.iter().any(|(one, _)| one == signer)
    }
}

impl<T: SignedRecord> Wire for MultiSigned<T> {
    const MAX_BYTES: usize = T::MAX_BYTES + 8 + Self::MAX_SIGNATURES * 96;
}

impl<T: SignedRecord + Clone> MultiSigned<T> {
    /// A record with the signatures of several, put in order; of two of one signer the first is kept.
    pub fn collect(record: T, signatures: impl IntoIterator<Item = (T::Signer, Signature)>) -> Self {
        let mut signatures: Vec<_> = signatures.into_iter().collect();
        signatures.sort_by_key(|(signer, _)| *signer);
        signatures.dedup_by_key(|(signer, _)| *signer);
        Self { record, signatures }
    }

    /// Checks every signature, their order and number, and the signatures inside the record.
    ///
    /// # Errors
    /// Names the signer whose signature is wrong or out of place.
    pub fn check(&self, network: &NetworkId) -> Result<(), SignatureError> {
        let nobody = PublicKey::from_bytes([0; 32]);
        let misplaced =
            self.signatures.windows(2).find(|pair| pair[0].0 >= pair[1].0).map(|pair| pair[1].0.public_key());
        let wrong_number = !(1..=Self::MAX_SIGNATURES).contains(&self.signatures.len());
        if let Some(signer) = misplaced.or(wrong_number.then_some(nobody)) {
            return Err(SignatureError { tag: T::TAG, signer });
        }
        self.signatures.iter().try_for_each(|(signer, signature)| {
            Signed { signer: *signer, record: self.record.clone(), signature: *signature }.check_own(network)
        })?;
        self.record.check_inner(network)
    }

    /// [`Self::check`], keeping the result in the type.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn verify(self, network: &NetworkId) -> Result<Verified<Self>, SignatureError> {
        self.check(network).map(|()| Verified(self))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::codec::decode;
    use crate::command::{Action, Command, NodeAction};
    use crate::id::NodeId;
    use crate::key::NodeKey;
    use crate::time::UnixMillis;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);
    const NOBODY: PublicKey = PublicKey::from_bytes([0; 32]);

    fn record() -> Command {
        let (account, until) = (NodeId::from_bytes([2; 32]), UnixMillis::new(9));
        Command { account, nonce: 1, until, action: Action::Node(NodeAction::Leave) }
    }

    fn sign(seed: u8, record: Command) -> (PublicKey, Signature) {
        let signed = NodeKey::from_seed(&[seed; 32]).sign_command(&NETWORK, record).into_inner();
        (signed.signer, signed.signature)
    }

    /// Signed by the first `n` keys.
    fn signed(n: u8) -> MultiSigned<Command> {
        MultiSigned::collect(record(), (1..=n).map(|seed| sign(seed, record())))
    }

    fn refused(command: &MultiSigned<Command>) -> PublicKey {
        let error = command.check(&NETWORK).unwrap_err();
        assert_eq!(error.tag, Command::TAG);
        assert_eq!(command.clone().verify(&NETWORK).unwrap_err(), error);
        error.signer
    }

    #[test]
    fn one_to_seventeen_sign() {
        for n in [1, 2, 16, 17] {
            let command = signed(n);
            assert_eq!(command.signatures.len(), usize::from(n));
            assert_eq!(*command.clone().verify(&NETWORK).unwrap(), command);
            assert_eq!(decode::<MultiSigned<Command>>(&encode(&command)).unwrap(), command);
            assert!((1..=n).all(|seed| command.is_signed_by(&sign(seed, record()).0)));
            assert!(!command.is_signed_by(&sign(n + 1, record()).0));
        }
        assert_eq!(refused(&signed(0)), NOBODY, "nobody signed");
        assert_eq!(refused(&signed(18)), NOBODY, "too many signed");
    }

    #[test]
    fn collect_puts_signers_in_order_and_keeps_the_first_of_one() {
        let good = signed(3);
        let lie = (good.signatures[1].0, Signature::from_bytes([9; 64]));
        let backwards = good.signatures.iter().rev().copied();
        assert_eq!(MultiSigned::collect(record(), backwards.clone().chain([lie])), good);
        let lie_first = MultiSigned::collect(record(), [lie].into_iter().chain(backwards));
        assert_eq!(lie_first.signatures[1], lie);
        assert_eq!(refused(&lie_first), lie.0);
    }

    #[test]
    fn signers_out_of_order_or_twice_are_refused() {
        let mut swapped = signed(3);
        swapped.signatures.swap(1, 2);
        assert_eq!(refused(&swapped), swapped.signatures[2].0);
        let mut twice = signed(3);
        twice.signatures.insert(1, twice.signatures[0]);
        assert_eq!(refused(&twice), twice.signatures[0].0);
    }

    #[test]
    fn every_signature_must_be_right() {
        for i in 0..3 {
            let mut command = signed(3);
            let mut bytes = *command.signatures[i].1.as_bytes();
            bytes[5] ^= 1;
            command.signatures[i].1 = Signature::from_bytes(bytes);
            assert_eq!(refused(&command), command.signatures[i].0);
        }
        let mut borrowed = signed(2);
        borrowed.signatures[0].1 = borrowed.signatures[1].1;
        assert_eq!(refused(&borrowed), borrowed.signatures[0].0, "another signer's signature");
    }

    #[test]
    fn signatures_hold_for_their_record_and_network_only() {
        let command = signed(2);
        let next = Command { nonce: 2, ..record() };
        assert_eq!(refused(&MultiSigned { record: next, ..command.clone() }), command.signatures[0].0);
        let elsewhere = NetworkId::from_bytes([3; 32]);
        assert!(command.check(&elsewhere).is_err());
    }
}
