//! What a node and its signer say to each other: one request and one reply at a time.
//!
//! A frame is a byte with the protocol's version, the length of the payload in four bytes, little-endian, and the payload in
//! the wire codec. No memory is taken for a payload before its bytes arrive. Version 1 showed whole blocks; since version 2 a
//! request holds a proof of the pool's row, so that the longest one is small. Version 3 shows changes of the validators.

use std::io;

use lucid_types::codec::Wire;
use lucid_types::id::{NetworkId, PayoutAddress, PoolId};
use lucid_types::payout::{CosignRequest, TreasurySignature};
use lucid_types::pool::MAX_POOLS;
use lucid_types::time::Height;
use lucid_types::validator_sets::SetChange;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::signer::proof::PoolProof;

/// The version of the protocol.
pub const VERSION: u8 = 4;

/// The most bytes of a reason. It fits a reply to whoever asked the node.
const MAX_REASON_BYTES: usize = 900;

/// A request to the signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignerRequest {
    /// The node's network.
    pub network: NetworkId,
    /// What is asked.
    pub ask: Ask,
}

impl Wire for SignerRequest {
    /// The network, the number of the variant, and the greatest variant.
    const MAX_BYTES: usize = {
        let sign = CosignRequest::MAX_BYTES + PoolProof::MAX_BYTES;
        32 + 4 + if sign > SetChange::MAX_BYTES { sign } else { SetChange::MAX_BYTES }
    };
}

/// What is asked of a signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Who it is.
    Status,
    /// A signature for a record in the pool's row.
    Sign {
        /// The record.
        request: CosignRequest,
        /// The row, as the node's newest final state has it.
        proof: Box<PoolProof>,
    },
    /// Nothing: this block has changed the validators, after the newest one that the signer knows. Answered like `Status`.
    SetChange(Box<SetChange>),
}

/// The signer's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignerReply {
    /// To `Status`.
    Status(SignerStatus),
    /// The signature.
    Signed(TreasurySignature),
    /// It refuses, and says why.
    Refused(String),
}

impl Wire for SignerReply {
    const MAX_BYTES: usize = 1_024 + 8 + MAX_POOLS * 36;
}

impl SignerReply {
    /// A refusal for this reason, cut if it is too long.
    pub fn refused(reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        Self::Refused(reason)
    }
}

/// Who a signer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignerStatus {
    /// The address that it signs with.
    pub address: PayoutAddress,
    /// The pools for which it signs, each with the era in force, as far as it was shown.
    pub pools: Vec<(PoolId, u32)>,
    /// The height of the newest block that it knows to have changed the validators; 0 if that is the genesis.
    pub sets_through: Height,
}

/// Bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Another release, or no signer's protocol at all.
    #[error(
        "version {found} of the signer's protocol was met, this is version {VERSION}: run node and signer of one release"
    )]
    Version {
        /// The first byte.
        found: u8,
    },
    /// The payload is too long.
    #[error("a frame of {found} bytes; at most {max} are possible")]
    TooLong {
        /// The length in the header.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// The connection failed or ended within a frame.
    #[error("the connection ended within a frame")]
    Io(#[from] io::Error),
}

/// Writes one frame.
///
/// # Errors
/// The connection failed, or the payload is too long for any frame.
pub async fn write_frame(writer: &mut (impl AsyncWrite + Unpin), payload: &[u8]) -> Result<(), FrameError> {
    let length = u32::try_from(payload.len());
    let length = length.map_err(|_| FrameError::TooLong { found: payload.len(), max: SignerRequest::MAX_BYTES })?;
    writer.write_u8(VERSION).await?;
    writer.write_u32_le(length).await?;
    writer.write_all(payload).await?;
    Ok(writer.flush().await?)
}

/// Reads one frame of at most `max` bytes; `None` if the connection ended before it.
///
/// # Errors
/// The bytes are no frame, or the connection failed.
pub async fn read_frame(reader: &mut (impl AsyncRead + Unpin), max: usize) -> Result<Option<Vec<u8>>, FrameError> {
    let mut version = [0];
    if reader.read(&mut version).await? == 0 {
        return Ok(None);
    }
    let [version] = version;
    if version != VERSION {
        return Err(FrameError::Version { found: version });
    }
    let length = reader.read_u32_le().await?;
    let found = usize::try_from(length).unwrap_or(usize::MAX);
    if found > max {
        return Err(FrameError::TooLong { found, max });
    }
    let mut payload = Vec::new();
    reader.take(length.into()).read_to_end(&mut payload).await?;
    if payload.len() < found {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(payload))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::proof::RowProof;
    use lucid_types::codec::{decode, encode};
    use lucid_types::id::Hash;
    use lucid_types::proof::{KeyProof, ProofStep};
    use lucid_types::sync::CertifiedHeader;
    use lucid_types::validator::ValidatorSet;

    use super::*;
    use crate::signer::fixture::{Chain, greatest_row};

    async fn read(bytes: &[u8], max: usize) -> Result<Option<Vec<u8>>, FrameError> {
        let mut reader = bytes;
        read_frame(&mut reader, max).await
    }

    #[tokio::test]
    async fn frames_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        for payload in [b"".as_slice(), b"seven b"] {
            write_frame(&mut bytes, payload).await.unwrap();
        }
        assert_eq!(hex::encode(&bytes), "04000000000407000000736576656e2062");
        let mut reader = bytes.as_slice();
        assert_eq!(read_frame(&mut reader, 7).await.unwrap().unwrap(), b"");
        assert_eq!(read_frame(&mut reader, 7).await.unwrap().unwrap(), b"seven b");
        assert_eq!(read_frame(&mut reader, 7).await.unwrap(), None);
    }

    #[tokio::test]
    async fn cut_long_and_foreign_frames_are_told_apart() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, b"seven b").await.unwrap();
        for n in 1..bytes.len() {
            assert!(matches!(read(&bytes[..n], 7).await, Err(FrameError::Io(_))), "{n}");
        }
        assert!(matches!(read(&bytes, 6).await, Err(FrameError::TooLong { found: 7, max: 6 })));
        assert!(matches!(read(&[VERSION, 255, 255, 255, 255], 1 << 24).await, Err(FrameError::TooLong { .. })));
        assert!(matches!(read(b"GET / HTTP/1.1", 7).await, Err(FrameError::Version { found: b'G' })));
    }

    #[test]
    fn the_longest_replies_fit() {
        let reply = SignerReply::refused("é".repeat(10_000));
        assert_eq!(decode::<SignerReply>(&encode(&reply)).unwrap(), reply);
        let SignerReply::Refused(reason) = reply else { unreachable!() };
        assert_eq!(reason.len(), MAX_REASON_BYTES);
        let pools = vec![(PoolId::from_bytes([1; 32]), 7); MAX_POOLS];
        let status = SignerReply::Status(SignerStatus {
            address: PayoutAddress::from_hash20([1; 20]),
            pools,
            sets_through: Height::new(u64::MAX),
        });
        assert_eq!(decode::<SignerReply>(&encode(&status)).unwrap(), status);
    }
    /// A block of 1,000 validators, the deepest path that there can be, and the greatest row.
    #[test]
    fn the_longest_request_fits_and_is_small() {
        let chain = Chain::new();
        let row = greatest_row(&chain);
        let mut proof = chain.proof(4, &row);
        proof.proof.block.certificate.signatures =
            vec![proof.proof.block.certificate.signatures[0]; ValidatorSet::MAX_MEMBERS];
        proof.proof.path.steps = vec![ProofStep { bit: 1, sibling: Hash::from_bytes([1; 32]) }; KeyProof::MAX_STEPS];
        let request = CosignRequest::Root { pool: chain.pool, settlement: 1 };
        let ask = Ask::Sign { request, proof: Box::new(proof) };
        let request = SignerRequest { network: *chain.spec.id(), ask };
        assert_eq!(decode::<SignerRequest>(&encode(&request)).unwrap(), request);
    }

    /// As `docs/src/wire.md` has it. Other bytes need another [`VERSION`].
    #[test]
    fn the_bytes_are_those_of_this_version() {
        assert_eq!((VERSION, SignerRequest::MAX_BYTES, SignerReply::MAX_BYTES), (4, 414_720, 37_032));
        let chain = Chain::new();
        let network = *chain.spec.id();
        let (id, pool) = (hex::encode(network.as_bytes()), hex::encode(chain.pool.as_bytes()));
        assert_eq!(hex::encode(encode(&SignerRequest { network, ask: Ask::Status })), format!("{id}00000000"));
        let proof = chain.proof(4, &chain.row(None));
        let RowProof { block: CertifiedHeader { header, certificate }, path } = proof.proof.clone();
        let parts = [encode(&proof.pool), encode(&header), encode(&certificate), encode(&path)].concat();
        let request = CosignRequest::Limits { pool: chain.pool, nonce: 258 };
        let ask = Ask::Sign { request, proof: Box::new(proof) };
        let expected = format!("{id}0100000002000000{pool}02010000{}", hex::encode(parts));
        assert_eq!(hex::encode(encode(&SignerRequest { network, ask })), expected);

        let address = PayoutAddress::from_hash20([0xaa; 20]);
        let status =
            SignerReply::Status(SignerStatus { address, pools: vec![(chain.pool, 3)], sets_through: Height::new(5) });
        let aa = "aa".repeat(20);
        assert_eq!(
            hex::encode(encode(&status)),
            format!("0000000041{aa}0100000000000000{pool}030000000500000000000000")
        );
        let signed = SignerReply::Signed(TreasurySignature::from_bytes([0xbb; 65]));
        assert_eq!(hex::encode(encode(&signed)), format!("01000000{}", "bb".repeat(65)));
        assert_eq!(hex::encode(encode(&SignerReply::refused("no"))), "0200000002000000000000006e6f");
    }
}
