//! Node keys and libp2p peer ids are two spellings of one ed25519 public key.
//!
//! A peer id of an ed25519 key is the identity multihash of the key's protobuf form: six fixed bytes, then the 32
//! bytes of the key (libp2p specification `peer-ids`). Nothing here checks that the bytes are a point of the curve.

use libp2p::PeerId;
use lucid_types::id::PublicKey;

/// Identity multihash of 36 bytes; protobuf field 1 (key type) = 1 (ed25519); field 2 of 32 bytes.
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The peer id of `node`; `None` only if libp2p stopped accepting identity multihashes of this length.
pub(crate) fn to_peer_id(node: &PublicKey) -> Option<PeerId> {
    let mut bytes = [0; 38];
    bytes[..PREFIX.len()].copy_from_slice(&PREFIX);
    bytes[PREFIX.len()..].copy_from_slice(node.as_bytes());
    PeerId::from_bytes(&bytes).ok()
}

/// The node key of `peer`; `None` when its key is not an ed25519 key.
pub(crate) fn to_public_key(peer: &PeerId) -> Option<PublicKey> {
    let bytes = peer.to_bytes();
    let key: [u8; 32] = bytes.strip_prefix(&PREFIX)?.try_into().ok()?;
    Some(PublicKey::from_bytes(key))
}

/// The libp2p spelling of `node`, as it stands at the end of a multiaddress after `/p2p/`.
///
/// # Errors
/// `None` only if libp2p refuses the key's length, which no [`PublicKey`] has been seen to cause.
pub fn peer_id_string(node: &PublicKey) -> Option<String> {
    to_peer_id(node).map(|peer| peer.to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    #[test]
    fn a_node_key_is_that_inside_the_peer_id() {
        for seed in 0..32 {
            let key = Keypair::ed25519_from_bytes([seed; 32]).unwrap();
            let public = key.public().try_into_ed25519().unwrap().to_bytes();
            let peer = key.public().to_peer_id();
            assert_eq!(to_public_key(&peer), Some(PublicKey::from_bytes(public)));
            assert_eq!(to_peer_id(&PublicKey::from_bytes(public)), Some(peer));
        }
    }

    #[test]
    fn a_peer_id_of_another_key_type_has_no_node_key() {
        // A SHA-256 multihash, as RSA keys have.
        let mut bytes = vec![0x12, 0x20];
        bytes.extend([7; 32]);
        assert_eq!(to_public_key(&PeerId::from_bytes(&bytes).unwrap()), None);
    }
}
