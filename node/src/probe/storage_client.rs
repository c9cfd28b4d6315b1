//! One request of storage: sent, and its answer judged.

use std::time::Duration;

use lucid_p2p::{Mesh, Protocol, RequestError};
use lucid_types::codec::{decode, encode};
use lucid_types::id::PublicKey;
use lucid_types::storage::{DepositId, StorageRefusal, StorageReply, StorageRequest};

use super::chunk::ChunkSeed;
use super::storage::{Ask, StorageFault};

/// What is sent.
pub(super) struct Question {
    pub(super) deposit: DepositId,
    pub(super) ask: Ask,
    /// Of the deposit.
    pub(super) seed: ChunkSeed,
    /// Bytes of each range that is asked for.
    pub(super) range_bytes: u32,
}

/// Sends a question to the node of this key, and waits for its answer; `None` if there is no connection to it. With how many chunks are
/// there, which a challenge does not say.
pub(super) async fn send(
    mesh: &Mesh,
    worker: PublicKey,
    question: Question,
    timeout: Duration,
) -> Option<Result<u32, StorageFault>> {
    // A chunk takes a millisecond to make.
    let made = tokio::task::spawn_blocking(move || {
        let request = encode(&question.request());
        (question, request)
    });
    let (question, request) = made.await.ok()?;
    let answer = tokio::time::timeout(timeout, mesh.request_connected(worker, Protocol::Storage, request)).await;
    let outcome = match answer {
        Ok(Ok(bytes)) => question.judge(&bytes),
        Ok(Err(error)) => Err(fault(&error)?),
        Err(_) => Err(StorageFault::Late),
    };
    if let Err(fault) = outcome {
        tracing::debug!(worker = %worker.short(), ?fault, term = question.deposit.term, "a request of storage failed");
    }
    Some(outcome)
}

impl Question {
    fn request(&self) -> StorageRequest {
        let deposit = self.deposit;
        match &self.ask {
            Ask::Held => StorageRequest::Held(deposit),
            Ask::Challenge(ranges) => StorageRequest::Challenge { deposit, ranges: ranges.clone() },
            Ask::Deposit(index) => StorageRequest::Deposit { deposit, index: *index, chunk: self.seed.chunk(*index) },
        }
    }

    /// Whether these bytes are the answer to it.
    fn judge(&self, bytes: &[u8]) -> Result<u32, StorageFault> {
        let reply = decode::<StorageReply>(bytes).map_err(|_| StorageFault::Wrong)?;
        match (&self.ask, reply) {
            (_, StorageReply::Refused(StorageRefusal::Busy)) => Err(StorageFault::Busy),
            (_, StorageReply::Refused(refusal)) => Err(StorageFault::Refused(Some(refusal))),
            (Ask::Held, StorageReply::Held { chunks }) | (Ask::Deposit(_), StorageReply::Stored { chunks }) => {
                Ok(chunks)
            }
            (Ask::Challenge(ranges), StorageReply::Ranges(bytes))
                if self.seed.is_right(ranges, self.range_bytes, &bytes) =>
            {
                Ok(0)
            }
            _ => Err(StorageFault::Wrong),
        }
    }
}

fn fault(error: &RequestError) -> Option<StorageFault> {
    Some(match error {
        RequestError::NotConnected => return None,
        RequestError::TooManyPending => StorageFault::Unanswered,
        RequestError::TooLarge { .. } | RequestError::Denied(_) | RequestError::Stopped => StorageFault::Own,
        RequestError::NotAPeer
        | RequestError::Unreachable(_)
        | RequestError::OtherNetwork
        | RequestError::Disconnected(_) => StorageFault::Unreachable,
        RequestError::TimedOut => StorageFault::Late,
        RequestError::Busy => StorageFault::Busy,
        RequestError::Unsupported | RequestError::NoAnswer => StorageFault::Refused(None),
        RequestError::Malformed(_) => StorageFault::Wrong,
    })
}

#[cfg(test)]
mod tests {
    use lucid_types::id::{NetworkId, NodeId};
    use lucid_types::storage::ChunkRange;
    use zeroize::Zeroizing;

    use super::*;
    use crate::probe::chunk::StorageSecret;

    fn question(ask: Ask) -> Question {
        let network = NetworkId::from_bytes([1; 32]);
        let [validator, worker] = [5, 2].map(|byte| NodeId::from_bytes([byte; 32]));
        let secret = StorageSecret::new(Zeroizing::new([3; 32]));
        let seed = secret.seed(&network, &validator, &worker, 7);
        Question { deposit: DepositId { term: 7, tag: seed.tag() }, ask, seed, range_bytes: 1_024 }
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let range = ChunkRange { index: 1, offset: 9 };
        let challenge = question(Ask::Challenge(vec![range]));
        let right = challenge.seed.chunk(1)[9..9 + 1_024].to_vec();
        let wrong: Vec<u8> = right.iter().map(|byte| !byte).collect();
        let (held, stored) = (StorageReply::Held { chunks: 5 }, StorageReply::Stored { chunks: 6 });
        let refused = StorageReply::Refused(StorageRefusal::Full);
        let judge = |ask: Ask, reply: &StorageReply| question(ask).judge(&encode(reply));
        let ranges = || Ask::Challenge(vec![range]);
        assert_eq!(judge(Ask::Held, &held), Ok(5));
        assert_eq!(judge(Ask::Deposit(5), &stored), Ok(6));
        assert_eq!(judge(ranges(), &StorageReply::Ranges(right.clone())), Ok(0));
        for (ask, reply) in [
            (Ask::Held, &stored),
            (Ask::Deposit(5), &held),
            (ranges(), &held),
            (Ask::Held, &StorageReply::Ranges(right.clone())),
            (ranges(), &StorageReply::Ranges(wrong)),
            (ranges(), &StorageReply::Ranges(right[1..].to_vec())),
            (ranges(), &StorageReply::Ranges([&right[..], &[0]].concat())),
        ] {
            assert_eq!(judge(ask, reply), Err(StorageFault::Wrong), "{reply:?}");
        }
        for ask in [Ask::Held, Ask::Deposit(0), ranges()] {
            assert_eq!(judge(ask, &refused), Err(StorageFault::Refused(Some(StorageRefusal::Full))));
        }
        let busy = StorageReply::Refused(StorageRefusal::Busy);
        assert_eq!(judge(Ask::Deposit(0), &busy), Err(StorageFault::Busy));
        assert_eq!(fault(&RequestError::Busy), Some(StorageFault::Busy));
        assert_eq!(question(Ask::Held).judge(b"no"), Err(StorageFault::Wrong));
    }

    #[test]
    fn a_deposit_carries_its_chunk() {
        let question = question(Ask::Deposit(3));
        let expected = StorageRequest::Deposit { deposit: question.deposit, index: 3, chunk: question.seed.chunk(3) };
        assert!(question.request() == expected);
    }
}
