//! Answers peers' questions of `/sync/1`: from the store and from views of what is under way, never by the chain's task.

use lucid_p2p::{Protocol, Responder};
use lucid_storage::Store;
use lucid_types::codec::{decode, encode};
use lucid_types::sync::{CertifiedBlock, SyncRequest, SyncResponse};
use lucid_types::time::Height;
use tokio::sync::watch;

use crate::chain::head::Head;

/// What an answer may hold, less room for the frame around it.
const ANSWER_BYTES: usize = Protocol::Sync.limits().response_bytes - (64 << 10);

/// What answers are made from.
#[derive(Clone)]
pub struct SyncServer {
    /// The store.
    pub store: Store,
    /// The newest block, and what is offered beside it.
    pub head: watch::Receiver<Head>,
}

impl SyncServer {
    /// Answers one question. A malformed one, or one that cannot be answered, hears nothing. Reads from disk: not for tasks that
    /// others wait for.
    pub fn answer(&self, bytes: &[u8], reply: Responder) {
        let Ok(request) = decode::<SyncRequest>(bytes) else { return };
        let response = match request {
            SyncRequest::Tip => {
                let head = self.head.borrow();
                Some(SyncResponse::Tip { height: head.state.height, block: head.state.block })
            }
            SyncRequest::Blocks { from, to } => self.blocks(from, to).map(SyncResponse::Blocks),
            SyncRequest::Proposal { round, block } => {
                let offers = self.head.borrow().offers.clone();
                Some(SyncResponse::Proposal(offers.proposal(round, &block).map(Box::new)))
            }
            SyncRequest::Items(ids) => {
                let offers = self.head.borrow().offers.clone();
                let ids = ids.get(..SyncRequest::MAX_ITEMS).unwrap_or(&ids);
                Some(SyncResponse::Items(offers.items(ids, ANSWER_BYTES)))
            }
            SyncRequest::Reports { epoch, have_commitments, have_reveals } => {
                let offers = self.head.borrow().offers.clone();
                let reports = offers.reports(epoch, &have_commitments, &have_reveals, ANSWER_BYTES);
                Some(SyncResponse::Items(reports))
            }
        };
        if let Some(response) = response {
            reply.respond(encode(&response));
        }
    }

    /// CertifiedBlock blocks from `from` on, as many as fit an answer.
    fn blocks(&self, from: Height, to: Height) -> Option<Vec<CertifiedBlock>> {
        let stored = self.store.blocks(from..=to, ANSWER_BYTES);
        let stored = stored.inspect_err(|error| tracing::error!(%error, "blocks cannot be read")).ok()?;
        let decided = stored.iter().map_while(|stored| {
            Some(CertifiedBlock { block: decode(&stored.block).ok()?, certificate: decode(&stored.certificate).ok()? })
        });
        Some(decided.collect())
    }
}
