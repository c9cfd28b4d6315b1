//! One ping: a fresh nonce that the worker signs, and the judgement of its answer.

use std::time::{Duration, Instant};

use lucid_p2p::{Mesh, Protocol, RequestError};
use lucid_types::codec::{DecodeError, decode, encode};
use lucid_types::id::{NetworkId, NodeId, PublicKey};
use lucid_types::report::{ProbeReply, ProbeRequest};
use lucid_types::signed::{SignatureError, Signed};

use super::counts::PingOutcome;

/// Why an answer does not count.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplyError {
    #[error("not a signed probe reply")]
    Malformed(#[source] DecodeError),
    #[error("signed by {0}, who was not asked")]
    OtherSigner(PublicKey),
    #[error("an answer to another ping")]
    OtherPing,
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// Checks that `bytes` are the answer of the worker with this node key to this ping of this validator.
pub(super) fn check_reply(
    network: &NetworkId,
    validator: NodeId,
    worker: PublicKey,
    request: &ProbeRequest,
    bytes: &[u8],
) -> Result<(), ReplyError> {
    let reply: Signed<ProbeReply> = decode(bytes).map_err(ReplyError::Malformed)?;
    if reply.signer != worker {
        return Err(ReplyError::OtherSigner(reply.signer));
    }
    if reply.record != (ProbeReply { validator, epoch: request.epoch, nonce: request.nonce }) {
        return Err(ReplyError::OtherPing);
    }
    Ok(reply.check(network)?)
}

/// Sends a validator's ping to the node of this key, and waits for its answer; `None` if there is no connection to it. The duration is
/// the round trip, meaningful when it was answered.
pub(super) async fn send(
    mesh: &Mesh,
    network: NetworkId,
    (validator, worker): (NodeId, PublicKey),
    request: ProbeRequest,
    timeout: Duration,
) -> Option<(PingOutcome, Duration)> {
    let start = Instant::now();
    let answer = tokio::time::timeout(timeout, mesh.request_connected(worker, Protocol::Probe, encode(&request))).await;
    let rtt = start.elapsed();
    let outcome = match answer {
        Ok(Ok(bytes)) => match check_reply(&network, validator, worker, &request, &bytes) {
            Ok(()) => PingOutcome::Answered,
            Err(error) => {
                tracing::debug!(worker = %worker.short(), %error, "a ping's answer is wrong");
                PingOutcome::Wrong
            }
        },
        Ok(Err(error)) => failure(&error)?,
        Err(_) => PingOutcome::Late,
    };
    Some((outcome, rtt))
}

fn failure(error: &RequestError) -> Option<PingOutcome> {
    Some(match error {
        RequestError::NotConnected => return None,
        RequestError::TooLarge { .. }
        | RequestError::TooManyPending
        | RequestError::Denied(_)
        | RequestError::Stopped => PingOutcome::NotSent,
        RequestError::NotAPeer
        | RequestError::Unreachable(_)
        | RequestError::OtherNetwork
        | RequestError::Disconnected(_) => PingOutcome::Unreachable,
        RequestError::TimedOut => PingOutcome::Late,
        RequestError::Unsupported | RequestError::Busy | RequestError::NoAnswer => PingOutcome::Refused,
        RequestError::Malformed(_) => PingOutcome::Wrong,
    })
}

#[cfg(test)]
mod tests {
    use lucid_types::key::NodeKey;
    use lucid_types::time::Epoch;

    use super::*;

    const NETWORK: NetworkId = NetworkId::from_bytes([1; 32]);
    const VALIDATOR: NodeId = NodeId::from_bytes([2; 32]);

    fn request() -> ProbeRequest {
        ProbeRequest { epoch: Epoch::new(7), nonce: [3; 32] }
    }

    fn reply() -> ProbeReply {
        ProbeReply { validator: VALIDATOR, epoch: Epoch::new(7), nonce: [3; 32] }
    }

    fn key() -> NodeKey {
        NodeKey::from_seed(&[4; 32])
    }

    fn check(bytes: &[u8]) -> Result<(), ReplyError> {
        check_reply(&NETWORK, VALIDATOR, key().public_key(), &request(), bytes)
    }

    fn signed(network: &NetworkId, key: &NodeKey, reply: ProbeReply) -> Vec<u8> {
        encode(&*key.sign_probe_reply(network, reply))
    }

    #[test]
    fn only_this_workers_answer_to_this_ping_of_this_validator_counts() {
        assert!(check(&signed(&NETWORK, &key(), reply())).is_ok());
        let other = NodeKey::from_seed(&[5; 32]);
        assert!(matches!(check(&signed(&NETWORK, &other, reply())), Err(ReplyError::OtherSigner(_))));
        let replies = [
            ProbeReply { nonce: [9; 32], ..reply() },
            ProbeReply { epoch: Epoch::new(6), ..reply() },
            ProbeReply { validator: NodeId::from_bytes([8; 32]), ..reply() },
        ];
        for reply in replies {
            assert!(matches!(check(&signed(&NETWORK, &key(), reply)), Err(ReplyError::OtherPing)));
        }
        let elsewhere = NetworkId::from_bytes([6; 32]);
        assert!(matches!(check(&signed(&elsewhere, &key(), reply())), Err(ReplyError::Signature(_))));
        let forged = Signed { signer: key().public_key(), ..other.sign_probe_reply(&NETWORK, reply()).into_inner() };
        assert!(matches!(check(&encode(&forged)), Err(ReplyError::Signature(_))));
        assert!(matches!(check(b"yes"), Err(ReplyError::Malformed(_))));
        let mut trailing = signed(&NETWORK, &key(), reply());
        trailing.push(0);
        assert!(matches!(check(&trailing), Err(ReplyError::Malformed(_))));
    }
}
