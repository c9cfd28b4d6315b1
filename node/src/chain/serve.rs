//! Answers peers' questions of `/sync/1`.

use lucid_p2p::{Protocol, Responder};
use lucid_storage::Store;
use lucid_types::block::Block;
use lucid_types::codec::{decode, encode};
use lucid_types::id::BlockHash;
use lucid_types::sync::{Decided, SyncRequest, SyncResponse};
use lucid_types::time::Height;
use tokio::sync::{mpsc, oneshot, watch};

use crate::chain::driver::{ReportsQuery, ToDriver};
use crate::chain::head::Head;

/// What an answer may hold, less room for the frame around it.
pub const ANSWER_BYTES: usize = Protocol::Sync.limits().response_bytes - (64 << 10);

/// What answers are made from.
#[derive(Clone)]
pub struct SyncServer {
    /// The store.
    pub store: Store,
    /// The newest block.
    pub head: watch::Receiver<Head>,
    /// The driver, which knows what is proposed.
    pub driver: mpsc::Sender<ToDriver>,
}

impl SyncServer {
    /// Answers one question. A malformed one, or one that cannot be answered, hears nothing.
    pub async fn answer(&self, bytes: &[u8], reply: Responder) {
        let Ok(request) = decode::<SyncRequest>(bytes) else { return };
        let response = match request {
            SyncRequest::Tip => {
                let head = self.head.borrow();
                Some(SyncResponse::Tip { height: head.state.height, block: head.state.block })
            }
            SyncRequest::Blocks { from, to } => self.blocks(from, to).map(SyncResponse::Blocks),
            SyncRequest::Body { height, block } => Some(SyncResponse::Body(self.body(height, block).await)),
            SyncRequest::Reports { epoch, have_commitments, have_reveals } => {
                let (sender, answer) = oneshot::channel();
                let have_commitments = have_commitments.into_iter().collect();
                let have_reveals = have_reveals.into_iter().collect();
                let query = ReportsQuery { epoch, have_commitments, have_reveals, reply: sender };
                let asked = self.driver.send(ToDriver::Reports(query)).await;
                match asked {
                    Ok(()) => {
                        answer.await.ok().map(|(commitments, reveals)| SyncResponse::Reports { commitments, reveals })
                    }
                    Err(_) => None,
                }
            }
        };
        if let Some(response) = response {
            reply.respond(encode(&response));
        }
    }

    /// Decided blocks from `from` on, as many as fit an answer.
    fn blocks(&self, from: Height, to: Height) -> Option<Vec<Decided>> {
        let stored = tokio::task::block_in_place(|| self.store.blocks(from..=to, ANSWER_BYTES));
        let stored = stored.inspect_err(|error| tracing::error!(%error, "blocks cannot be read")).ok()?;
        let decided = stored.iter().map_while(|stored| {
            Some(Decided { block: decode(&stored.block).ok()?, certificate: decode(&stored.certificate).ok()? })
        });
        Some(decided.collect())
    }

    async fn body(&self, height: Height, hash: BlockHash) -> Option<Block> {
        let (sender, answer) = oneshot::channel();
        self.driver.send(ToDriver::Body(hash, sender)).await.ok()?;
        if let Some(block) = answer.await.ok()? {
            return Some(block);
        }
        let bytes = tokio::task::block_in_place(|| self.store.block(height)).ok()??;
        decode::<Block>(&bytes).ok().filter(|block| block.hash() == hash)
    }
}
