//! What holds for any value and for any bytes.

use lucid_types::attestation::ResourceAttestation;
use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::codec::{Wire, decode, encode};
use lucid_types::command::{Command, CommandReply};
use lucid_types::genesis::Genesis;
use lucid_types::join::JoinString;
use lucid_types::message::ConsensusMessage;
use lucid_types::payout::{CosignReply, CosignRequest, SettlementRoot};
use lucid_types::proof::KeyProof;
use lucid_types::report::ReportCommitment;
use lucid_types::report::{ProbeReply, ProbeRequest, Reveal};
use lucid_types::signed::{MultiSigned, Signed};
use lucid_types::storage::{StorageReply, StorageRequest};
use lucid_types::sync::{CertifiedBlock, Rebroadcast, SyncRequest, SyncResponse};
use lucid_types::ticket::Invite;
use lucid_types::vote::{Proposal, Vote};
use proptest::prelude::*;

use crate::arbitrary;

fn round_trips<T: Wire + PartialEq + std::fmt::Debug>(value: &T) -> Result<(), TestCaseError> {
    let bytes = encode(value);
    prop_assert!(bytes.len() <= T::MAX_BYTES);
    prop_assert_eq!(&decode::<T>(&bytes).unwrap(), value);
    Ok(())
}

/// Any bytes are refused, or are the one encoding of what they mean.
fn is_safe<T: Wire>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(value) = decode::<T>(bytes) {
        prop_assert_eq!(encode(&value), bytes);
    }
    Ok(())
}

macro_rules! every_record {
    ($($name:ident: $type:ty = $strategy:expr;)*) => {
        $(mod $name {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(64))]

                #[test]
                fn decode_inverts_encode(value in $strategy) {
                    round_trips::<$type>(&value)?;
                }

                /// Bytes that start as a right encoding and go wrong somewhere reach deeper than plain noise.
                #[test]
                fn bytes_gone_wrong_never_panic(
                    value in $strategy,
                    at in any::<prop::sample::Index>(),
                    noise in prop::collection::vec(any::<u8>(), 1..24),
                ) {
                    let mut bytes = encode(&value);
                    let at = at.index(bytes.len());
                    bytes.splice(at..(at + noise.len()).min(bytes.len()), noise);
                    is_safe::<$type>(&bytes)?;
                }

                #[test]
                fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
                    is_safe::<$type>(&bytes)?;
                }
            }
        })*
    };
}

every_record! {
    attestation: Signed<ResourceAttestation> = arbitrary::signed(arbitrary::attestation());
    probe_request: ProbeRequest = arbitrary::probe_request();
    storage_request: StorageRequest = arbitrary::storage_request();
    storage_reply: StorageReply = arbitrary::storage_reply();
    probe_reply: Signed<ProbeReply> = arbitrary::signed(arbitrary::probe_reply());
    commitment: Signed<ReportCommitment> = arbitrary::signed(arbitrary::commitment());
    reveal: Signed<Reveal> = arbitrary::signed(arbitrary::reveal());
    settlement_root: SettlementRoot = arbitrary::settlement_root();
    command: MultiSigned<Command> = arbitrary::commands::command();
    command_reply: CommandReply = arbitrary::commands::reply();
    invite: Signed<Invite> = arbitrary::signed(arbitrary::commands::invite());
    join_string: JoinString = arbitrary::commands::join_string();
    cosign_request: Signed<CosignRequest> = arbitrary::signed(arbitrary::cosign_request());
    cosign_reply: CosignReply = arbitrary::cosign_reply();
    vote: Signed<Vote> = arbitrary::signed(arbitrary::vote());
    proposal: Signed<Proposal> = arbitrary::signed(arbitrary::proposal());
    consensus_message: ConsensusMessage = arbitrary::consensus_message();
    rebroadcast: Signed<Rebroadcast> = arbitrary::signed(arbitrary::rebroadcast());
    certificate: Certificate = arbitrary::certificate();
    block: Block = arbitrary::block();
    decided: CertifiedBlock = arbitrary::decided();
    sync_request: SyncRequest = arbitrary::sync_request();
    sync_response: SyncResponse = arbitrary::sync_response();
    genesis: Genesis = arbitrary::genesis();
    key_proof: KeyProof = arbitrary::key_proof();
}
