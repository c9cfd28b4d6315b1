//! Answers peers' questions of `/sync/1`: from the store and from views of what is under way, never by the chain's task.

use std::sync::Arc;

use lucid_p2p::Responder;
use lucid_storage::{StorageError, Store};
use lucid_types::codec::{decode, encode};
use lucid_types::sync::{FRAME_HEADER_BYTES, SyncRequest, SyncResponse};
use lucid_types::time::Height;
use lucid_types::validator_sets::SetChange;
use tokio::sync::watch;

use crate::chain::head::Head;
use crate::chain::persist::{self, PersistError};
use crate::chain::presence::Presences;
use crate::chain::snapshot::Snapshots;

/// What answers are made from.
#[derive(Clone)]
pub struct SyncServer {
    /// The store.
    pub store: Store,
    /// The newest block, and what is offered beside it.
    pub head: watch::Receiver<Head>,
    /// The states that are given to others.
    pub snapshots: Arc<Snapshots>,
    /// Which instances of validators peers have told of.
    pub presences: Arc<Presences>,
    /// The genesis in the codec: the bytes whose hash is the network's id.
    pub genesis: Arc<[u8]>,
}

impl SyncServer {
    /// Answers one question. A malformed one, or one that cannot be answered, hears nothing. Reads from disk: not for tasks that
    /// others wait for.
    pub fn answer(&self, bytes: &[u8], reply: Responder) {
        let Ok(request) = decode::<SyncRequest>(bytes) else { return };
        match self.response(request) {
            Ok(Some(response)) => reply.respond(encode(&response)),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a peer's question cannot be answered");
            }
        }
    }

    fn response(&self, request: SyncRequest) -> Result<Option<SyncResponse>, PersistError> {
        Ok(Some(match request {
            SyncRequest::Head => {
                let newest = self.head.borrow().block.clone();
                SyncResponse::Head { newest: newest.map(|block| block.certificate.clone()), oldest: self.store.base() }
            }
            SyncRequest::Header(height) => SyncResponse::Header(persist::header(&self.store, height)?.map(Box::new)),
            SyncRequest::Snapshots => SyncResponse::Snapshots(self.snapshots.offered()),
            SyncRequest::SnapshotRows { height, after } => {
                SyncResponse::SnapshotRows(self.snapshots.rows(height, &after))
            }
            SyncRequest::Blocks { from, to, skip } => SyncResponse::Blocks(self.page(from, to, skip)?),
            SyncRequest::Proposal { round, block } => {
                let offers = self.head.borrow().offers.clone();
                SyncResponse::Proposal(offers.proposal(round, &block).map(Box::new))
            }
            SyncRequest::Items(ids) => {
                let offers = self.head.borrow().offers.clone();
                let ids = ids.get(..SyncRequest::MAX_ITEMS).unwrap_or(&ids);
                SyncResponse::Items(offers.items(ids, SyncResponse::PAGE_BYTES))
            }
            SyncRequest::Reports { epoch, have_commitments, have_reveals } => {
                let offers = self.head.borrow().offers.clone();
                let reports = offers.reports(epoch, &have_commitments, &have_reveals, SyncResponse::PAGE_BYTES);
                SyncResponse::Items(reports)
            }
            SyncRequest::Presence(presence) => {
                let state = self.head.borrow().state.clone();
                let Some(rival) = self.presences.hear(state.next_validators(), presence) else { return Ok(None) };
                SyncResponse::Presence(rival)
            }
            SyncRequest::SetChanges { above } => SyncResponse::SetChanges(self.set_changes(above)?),
            SyncRequest::Genesis => SyncResponse::Genesis(self.genesis.to_vec()),
        }))
    }

    /// The changes of the validators above a height, as many as fit a page.
    fn set_changes(&self, above: Height) -> Result<Vec<SetChange>, PersistError> {
        let (mut changes, mut room) = (Vec::new(), SyncResponse::PAGE_BYTES);
        for entry in self.store.set_changes(above) {
            let (_, bytes) = entry?;
            let Some(left) = room.checked_sub(bytes.len()) else { break };
            room = left;
            changes.push(persist::set_change(&bytes)?);
        }
        Ok(changes)
    }

    /// A page of the frames of blocks from `from` on, without the first `skip` bytes, as they are stored: nothing is decoded. Nothing if
    /// `from` is not here, or not any more.
    fn page(&self, from: Height, to: Height, skip: u64) -> Result<Vec<u8>, StorageError> {
        let mut skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let (mut page, mut height) = (Vec::new(), from);
        let mut blocks = self.store.blocks(from);
        while page.len() < SyncResponse::PAGE_BYTES && height <= to {
            let Some(stored) = blocks.next().transpose()? else { break };
            if stored.height != height {
                break;
            }
            height = height.next();
            // The two stand in a `CertifiedBlock` in this order, and nothing between them.
            let length = u32::try_from(stored.block.len() + stored.certificate.len()).unwrap_or(u32::MAX);
            if skip >= FRAME_HEADER_BYTES + stored.block.len() + stored.certificate.len() {
                break;
            }
            for part in [&length.to_le_bytes()[..], &stored.block, &stored.certificate] {
                let left = part.get(skip..).unwrap_or_default();
                skip = skip.saturating_sub(part.len());
                let room = SyncResponse::PAGE_BYTES - page.len();
                page.extend_from_slice(left.get(..room).unwrap_or(left));
            }
        }
        Ok(page)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::state::State;
    use lucid_storage::BlockCommit;
    use lucid_types::block::{Block, Header, items_hash};
    use lucid_types::certificate::Certificate;
    use lucid_types::id::{BlockHash, Hash, StateRoot, ValidatorId};
    use lucid_types::report::ReportCommitment;
    use lucid_types::signed::Signature;
    use lucid_types::sync::{CertifiedBlock, CertifiedHeader, take_frame};
    use lucid_types::time::{Epoch, UnixMillis};

    use super::*;
    use crate::payout::testing;

    /// A block with so many commitments, of 136 bytes each.
    fn block(height: u64, commitments: usize) -> CertifiedBlock {
        let (key, network) = (testing::signing_key(1), testing::network());
        let header = Header {
            height: Height::new(height),
            parent: BlockHash::from_bytes([1; 32]),
            round: 0,
            proposer: ValidatorId::from_bytes([2; 32]),
            time: UnixMillis::new(height),
            randao: key.bls_key().sign_randao(network.id(), Height::new(height)),
            items: items_hash(&[]),
            next_set: Hash::from_bytes([2; 32]),
            state_root: StateRoot::from_bytes([4; 32]),
        };
        let hash = header.hash();
        let record = ReportCommitment { epoch: Epoch::new(height), report: Hash::from_bytes([3; 32]) };
        let commitments = vec![key.sign_report_commitment(network.id(), record).into_inner(); commitments];
        let block = Block { header, commitments, reveals: vec![], commands: vec![], evidence: vec![] };
        let signatures = vec![(ValidatorId::from_bytes([5; 32]), Signature::from_bytes([6; 64])); 3];
        CertifiedBlock {
            block,
            certificate: Certificate { height: Height::new(height), round: 0, block: hash, signatures },
        }
    }

    fn server(blocks: &[CertifiedBlock]) -> (tempfile::TempDir, SyncServer) {
        let (folder, spec) = (tempfile::tempdir().unwrap(), testing::network());
        let store = Store::open(folder.path(), *spec.id()).unwrap();
        for CertifiedBlock { block, certificate } in blocks {
            let commit = BlockCommit {
                height: block.header.height,
                block_hash: block.hash(),
                block: encode(block),
                certificate: encode(certificate),
                state: Vec::new(),
                set_change: None,
                history: Vec::new(),
            };
            store.commit_block(commit).unwrap();
        }
        let newest = blocks.last().map(|block| Arc::new(CertifiedHeader::from(block)));
        let head = Head { block: newest, ..testing::head(State::genesis(&spec)) };
        let head = watch::channel(head).1;
        let genesis = encode(spec.genesis()).into();
        let presences = Arc::new(Presences::new(spec, Arc::new(crate::clock::SystemClock)));
        let snapshots = Arc::new(Snapshots::new(20, None));
        (folder, SyncServer { store, head, snapshots, presences, genesis })
    }

    fn first_frame(server: &SyncServer) -> Vec<u8> {
        server.page(Height::new(1), Height::new(1), 0).unwrap()
    }

    #[test]
    fn pages_hold_the_blocks_as_they_were_encoded_and_are_bounded() {
        // Of these, the second and third do not fit one page.
        let blocks: Vec<_> = [(1, 1), (2, 4_000), (3, 5_000), (4, 0)].map(|(height, n)| block(height, n)).into();
        let (_folder, server) = server(&blocks);
        let (mut found, mut buffer, mut pages) = (Vec::new(), Vec::new(), 0);
        while found.len() < blocks.len() {
            let from = Height::new(1 + u64::try_from(found.len()).unwrap());
            let page = server.page(from, Height::new(9), u64::try_from(buffer.len()).unwrap()).unwrap();
            assert!(!page.is_empty() && page.len() <= SyncResponse::PAGE_BYTES);
            buffer.extend(page);
            pages += 1;
            while let Some((block, length)) = take_frame(&buffer).unwrap() {
                buffer.drain(..length);
                found.push(block);
            }
        }
        assert!(pages > 1, "{pages} pages");
        assert_eq!(found, blocks);
        assert!(buffer.is_empty());
        assert!(server.page(Height::new(5), Height::new(9), 0).unwrap().is_empty());
        let whole = u64::try_from(first_frame(&server).len()).unwrap();
        for skip in [whole, whole + 1, u64::MAX] {
            assert!(server.page(Height::new(1), Height::new(9), skip).unwrap().is_empty(), "beyond the first frame");
        }
        let first = first_frame(&server);
        assert_eq!(take_frame(&first).unwrap(), Some((blocks[0].clone(), first.len())));
    }

    #[test]
    fn the_newest_block_is_told_with_its_certificate_and_the_oldest_that_is_here() {
        let told = |server: &SyncServer| match server.response(SyncRequest::Head).unwrap() {
            Some(SyncResponse::Head { newest, oldest }) => (newest, oldest.get()),
            other => panic!("{other:?}"),
        };
        let (_folder, empty) = server(&[]);
        assert_eq!(told(&empty), (None, 1));
        let (_folder, server) = server(&[1, 2, 3].map(|height| block(height, 0)));
        let certificate = block(3, 0).certificate;
        assert_eq!(told(&server), (Some(certificate.clone()), 1));
        let removed = [(Height::new(1), Some(encode(&block(1, 0).block.header))), (Height::new(2), None)];
        server.store.prune_blocks(&removed).unwrap();
        assert_eq!(told(&server), (Some(certificate), 3));

        let header = |height| server.response(SyncRequest::Header(Height::new(height))).unwrap();
        let of = |height| SyncResponse::Header(Some(Box::new(CertifiedHeader::from(&block(height, 0)))));
        assert_eq!(header(1), Some(of(1)), "the header was kept");
        assert_eq!(header(3), Some(of(3)));
        for height in [0, 2, 4, u64::MAX] {
            assert_eq!(header(height), Some(SyncResponse::Header(None)));
        }
        let page = server.page(Height::new(1), Height::new(9), 0).unwrap();
        assert!(page.is_empty(), "a page begins with the block that was asked for");
    }

    #[test]
    fn the_genesis_is_given_with_the_bytes_of_its_hash() {
        let (_folder, server) = server(&[]);
        let Some(SyncResponse::Genesis(bytes)) = server.response(SyncRequest::Genesis).unwrap() else {
            panic!("no genesis");
        };
        assert_eq!(blake3::hash(&bytes).as_bytes(), testing::network().id().as_bytes());
    }
}
