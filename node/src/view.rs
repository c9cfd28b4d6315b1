//! What the API shows of this node: the newest state from memory, the rest from the store. And what it asks of the node.

mod actions;
mod payouts;
mod pools;

use std::sync::Arc;

use futures::future::BoxFuture;
use lucid_consensus::network::Network;
use lucid_p2p::{Direction, Mesh, Transport};
use lucid_storage::{StorageError, Store};
use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::codec::{DecodeError, decode};
use lucid_types::id::{NodeId, PayoutId, PoolId};
use lucid_types::key::NodeKey;
use lucid_types::payout::PoolCommand;
use lucid_types::signed::MultiSigned;
use lucid_types::time::EpochNumber;
use tokio::sync::{mpsc, watch};

use crate::api::metrics::Metrics;
use crate::api::model::{
    EpochView, LeaderView, LedgerView, PayoutView, PeerView, PoolView, ScoreView, SignatureList, SignatureRequest,
    StatusView, SyncState,
};
use crate::api::{ActionError, NodeView, ViewError};
use crate::chain::driver::ToDriver;
use crate::chain::head::Head;
use crate::chain::persist;
use crate::clock::Clock;
use crate::config::Config;
use crate::history::ledger::{self, ElectionRecord};
use crate::payout::cosign::Cosigner;
use crate::payout::push::PushTable;
use crate::payout::vaults::Vaults;
use crate::probe::{ProbeCounters, Served};

/// The parts of a node that are shown.
pub struct NodeParts {
    /// The network.
    pub network: Arc<Network>,
    /// The configuration.
    pub config: Config,
    /// The node's id.
    pub node_id: NodeId,
    /// Signs requests to treasury signers.
    pub key: NodeKey,
    /// This node's own signer, if it is one.
    pub cosigner: Option<Arc<Cosigner>>,
    /// Takes commands.
    pub driver: mpsc::Sender<ToDriver>,
    /// The mesh.
    pub mesh: Mesh,
    /// The store.
    pub store: Store,
    /// The newest block.
    pub head: watch::Receiver<Head>,
    /// The highest block that a peer has claimed.
    pub best_seen: watch::Receiver<EpochNumber>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The API's address as bound.
    pub api: String,
    /// What is known of the vaults; nothing on a node without providers.
    pub vaults: Arc<Vaults>,
    /// What this node's pusher has done; nothing on a node without one.
    pub pushed: Arc<PushTable>,
    /// Probes sent; zeros on a node that sends none.
    pub probes: Arc<ProbeCounters>,
    /// Probes served; zeros on a node that serves none.
    pub served: Arc<Served>,
}

impl NodeParts {
    fn sync(&self, height: EpochNumber) -> SyncState {
        let genesis = self.network.genesis();
        // Block h is due moments after epoch h has ended; one more epoch of patience before anything is amiss.
        let overdue = genesis.epoch_end(height.next()).after(genesis.policy.epoch());
        if self.clock.now() < overdue {
            SyncState::Synced
        } else if *self.best_seen.borrow() > height {
            SyncState::Syncing
        } else {
            SyncState::Stalled
        }
    }

    /// The pool of this worker; for other nodes the network's only pool.
    fn pool(&self) -> Option<PoolId> {
        if let Some(pool) = self.network.pool_of(&self.node_id) {
            return Some(*pool);
        }
        let mut pools = self.network.pools();
        match (pools.next(), pools.next()) {
            (Some((only, _)), None) => Some(*only),
            _ => None,
        }
    }

    fn epoch_view(&self, block: &Block, certificate: &Certificate) -> Result<EpochView, ViewError> {
        let height = block.height;
        let scored = self.network.finalised_by(height);
        let rows = scored.and_then(|epoch| persist::rows(&self.store, epoch));
        let elections =
            ledger::elections(&self.store, height).map_err(|e| unread("the elections of block", height, e))?;
        let leader = |election: ElectionRecord| {
            let mut order = election.order.into_iter();
            let leader = order.next()?;
            Some(LeaderView {
                pool: election.pool,
                settlement: election.settlement,
                leader,
                successors: order.collect(),
            })
        };
        Ok(EpochView {
            epoch: height,
            block_hash: certificate.block,
            state_root: block.state_root,
            round: certificate.round,
            signatures: certificate.signatures.len(),
            time: block.time,
            proposer: block.proposer,
            commits: block.commits.len(),
            reveals: block.reveals.len(),
            workers_scored: rows.map_or(0, |rows| rows.rows.len()),
            leaders: elections.into_iter().filter_map(leader).collect(),
        })
    }
}

fn unread(what: &str, height: EpochNumber, source: impl std::error::Error + Send + Sync + 'static) -> ViewError {
    ViewError { operation: format!("read {what} {height}"), source: Box::new(source) }
}

impl NodeView for NodeParts {
    fn status(&self) -> StatusView {
        let (state, root) = {
            let head = self.head.borrow();
            (Arc::clone(&head.state), head.root)
        };
        let pool = self.pool();
        let leader = pool.and_then(|pool| state.pools.get(&pool)?.election.as_ref()?.order.first().copied());
        let (owed, paid) = self.own_sums(&state);
        StatusView {
            node_id: self.node_id,
            peer_id: self.mesh.peer_id().to_owned(),
            roles: self.config.roles.clone(),
            network_id: *self.network.id(),
            peers: self.mesh.peer_count(),
            height: state.height,
            epoch: self.network.genesis().epoch_at(self.clock.now()),
            block_hash: state.block,
            state_root: root,
            sync: self.sync(state.height),
            pool: pool.and_then(|id| self.network.pool(&id)).map(|pool| pool.name.clone()),
            leader,
            owed_micro_usdt: owed,
            paid_micro_usdt: paid,
            api: self.api.clone(),
        }
    }

    fn ready(&self) -> Result<(), String> {
        let height = self.head.borrow().state.height;
        match self.sync(height) {
            SyncState::Synced => Ok(()),
            SyncState::Syncing => Err(format!("catching up, block {height} is the newest here")),
            SyncState::Stalled => Err(format!("the chain is stalled at height {height}")),
        }
    }

    fn peers(&self) -> Vec<PeerView> {
        let view = |peer: lucid_p2p::PeerInfo| PeerView {
            node_id: peer.node_id,
            peer_id: peer.peer_id,
            addresses: peer.addresses,
            transport: match peer.transport {
                Transport::Tcp => "tcp".to_owned(),
                Transport::Quic => "quic".to_owned(),
            },
            direction: match peer.direction {
                Direction::Inbound => "inbound".to_owned(),
                Direction::Outbound => "outbound".to_owned(),
            },
            connections: peer.connections,
            rtt_us: peer.rtt_micros,
            score: peer.score,
            agent: peer.agent,
        };
        self.mesh.peers().into_iter().map(view).collect()
    }

    fn metrics(&self) -> Metrics {
        let head = self.head.borrow().clone();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Metrics {
            height: head.state.height.get(),
            epoch: self.network.genesis().epoch_at(self.clock.now()).get(),
            peers: count(self.mesh.peer_count()),
            sync: self.sync(head.state.height),
            round: head.round.map_or(0, u64::from),
            payouts: self.figures(&head.state),
            mesh: self.mesh.counters(),
            probes: self.probes.snapshot(),
            served: self.served.snapshot(),
        }
    }

    fn epochs(&self, before: Option<EpochNumber>, limit: usize) -> Result<Vec<EpochView>, ViewError> {
        let height = self.head.borrow().state.height;
        let newest = before.map_or(height, |before| before.previous().min(height));
        let count = u64::try_from(limit).unwrap_or(u64::MAX);
        let oldest = newest.get().saturating_sub(count.saturating_sub(1)).max(1);
        let mut epochs = Vec::new();
        for height in (oldest..=newest.get()).rev() {
            epochs.extend(self.epoch(EpochNumber::new(height))?);
        }
        Ok(epochs)
    }

    fn epoch(&self, epoch: EpochNumber) -> Result<Option<EpochView>, ViewError> {
        let storage = |e: StorageError| unread("the block at height", epoch, e);
        let damaged = |e: DecodeError| unread("the block at height", epoch, e);
        let (Some(block), Some(certificate)) =
            (self.store.block(epoch).map_err(storage)?, self.store.certificate(epoch).map_err(storage)?)
        else {
            return Ok(None);
        };
        let block = decode::<Block>(&block).map_err(damaged)?;
        let certificate = decode::<Certificate>(&certificate).map_err(damaged)?;
        self.epoch_view(&block, &certificate).map(Some)
    }

    fn newest_scored(&self) -> Result<Option<EpochNumber>, ViewError> {
        Ok(self.network.finalised_by(self.head.borrow().state.height))
    }

    fn scores(&self, epoch: EpochNumber) -> Result<Vec<ScoreView>, ViewError> {
        let Some(rows) = persist::rows(&self.store, epoch) else { return Ok(Vec::new()) };
        let view = |row: &lucid_score::standing::ScoreRow| ScoreView {
            epoch,
            worker: row.worker,
            score_ppm: row.score,
            credits: row.credits,
            reachable_ms: row.reachable_ms,
            components: row.components,
            unmeasured: row.unmeasured().into_iter().map(str::to_owned).collect(),
            rtt_us: row.aggregate.rtt_us,
            relay_sessions: row.aggregate.relay_sessions,
            relay_bytes: row.aggregate.relay_bytes,
            relay_kbit_s: row.aggregate.relay_kbit_s,
        };
        Ok(rows.rows.iter().map(view).collect())
    }

    fn payouts(&self, after: Option<&PayoutId>, limit: usize) -> Result<Option<Vec<PayoutView>>, ViewError> {
        let found = after.map_or_else(|| self.requests(limit).map(Some), |id| self.requests_after(id, limit));
        found.map_err(|e| ViewError { operation: "read the payouts".to_owned(), source: Box::new(e) })
    }

    fn payout(&self, id: &PayoutId) -> Result<Option<PayoutView>, ViewError> {
        self.request(id).map_err(|e| ViewError { operation: format!("read payout {id}"), source: Box::new(e) })
    }
    fn pool(&self, pool: &PoolId) -> Result<Option<PoolView>, ViewError> {
        Ok(self.pool_view(pool))
    }

    fn root(
        &self,
        pool: &PoolId,
        settlement: Option<u64>,
        offset: usize,
        limit: usize,
    ) -> Result<Option<LedgerView>, ViewError> {
        let read = self.ledger_view(pool, settlement, offset, limit);
        read.map_err(|e| ViewError { operation: "read a payout root".to_owned(), source: Box::new(e) })
    }

    fn signatures(&self, pool: PoolId, request: SignatureRequest) -> BoxFuture<'_, Result<SignatureList, ActionError>> {
        Box::pin(self.ask_signers(pool, request))
    }

    fn command(&self, command: MultiSigned<PoolCommand>) -> BoxFuture<'_, Result<(), ActionError>> {
        Box::pin(self.take_command(command))
    }
}
