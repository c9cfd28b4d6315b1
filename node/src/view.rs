//! What the API shows of this node: the newest state from memory, the rest from the store. And what it asks of the node.

mod actions;
mod duties;
mod leader;
mod measured;
mod nodes;
mod payouts;
pub(crate) mod policy;
pub(crate) mod pools;
mod poot;
mod proofs;
mod resources;
mod validators;

use std::sync::Arc;

use futures::future::BoxFuture;
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::keyring::Keyring;
use lucid_consensus::ledger::command::SignedCommand;
use lucid_consensus::ledger::state::{Rows, State};
use lucid_consensus::ledger::table::{PendingEpochs, ScoreRoots};
use lucid_p2p::{Direction, Mesh, PeerClass, Transport};
use lucid_score::worker_stats::ScoreRow;
use lucid_storage::{StorageError, Store};
use lucid_types::amount::Ppm;
use lucid_types::command::Command;
use lucid_types::id::{NodeId, PayoutId, PoolId, ValidatorId};
use lucid_types::sync::{CertifiedBlock, CertifiedHeader};
use lucid_types::time::{Epoch, Height, UnixMillis};
use tokio::sync::watch;

use crate::api::metrics::Metrics;
use crate::api::model::{
    AccountView, AgreementView, BatchList, BlockView, CertificateView, CommandStage, CommandView, EnrolmentView,
    EpochRange, EpochReportsView, EpochStage, EpochView, LeaderOrderView, Leaderboard, LeaderboardFilter, LedgerView,
    MemberList, MetricView, NodeFilter, NodeList, PayoutView, PeerView, PeerWhyView, PolicyView, PoolList,
    PoolReportView, PoolView, PootScoreView, ProbeTrafficView, ProposalView, RegisteredView, ReportFilter, RequestList,
    ResourcesView, ScoreChangeView, ScoreFilter, ScoreSpanView, ScoreView, SignatureList, SignatureRequest, SpanView,
    StampView, StatisticsView, StatusView, SyncState, ValidationView, ValidationWanted, ValidatorStatusView,
    ValidatorView, VerifyView, VoteSignature, WhyView,
};
use crate::api::{ActionError, Asker, NodeView, ViewError};
use crate::caps::Month;
use crate::chain::head::Head;
use crate::chain::persist;
use crate::clock::Clock;
use crate::commands::{CommandDesk, NotTaken};
use crate::config::{Config, Role};
use crate::health::Health;
use crate::history::ledger::{self, ElectionRecord};
use crate::history::metrics::{self, Metric};
use crate::history::{self, epochs, reports, scores};
use crate::home::Identity;
use crate::node::rotation::alerts;
use crate::payout::cosign::Cosigner;
use crate::payout::push::PushTable;
use crate::payout::vaults::Vaults;
use crate::probe::{AttestationTable, ProbeCounters, Served};
use crate::proof::{Proof, Subject};
use crate::sampler::rings::Granularity;
use crate::sampler::{Newest, SharedRings};
use crate::score::watch::ScoreWatch;
use crate::validations::ValidationDesk;

/// The parts of a node that are shown.
pub struct NodeParts {
    /// The network.
    pub spec: Arc<ChainSpec>,
    /// The configuration.
    pub config: Config,
    /// The node, which signs requests to treasury signers.
    pub me: Identity,
    /// Its validator keys.
    pub keys: watch::Receiver<Arc<Keyring>>,
    /// This node's own signer, if it is one.
    pub cosigner: Option<Arc<Cosigner>>,
    /// Takes commands.
    pub commands: Arc<CommandDesk>,
    /// Has workers validated.
    pub validations: Arc<ValidationDesk>,
    /// The newest attestations of registered nodes.
    pub attestations: Arc<AttestationTable>,
    /// The mesh.
    pub mesh: Mesh,
    /// The store.
    pub store: Store,
    /// The newest block.
    pub head: watch::Receiver<Head>,
    /// The highest block that a peer has claimed.
    pub best_seen: watch::Receiver<Height>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The API's address as bound.
    pub api: String,
    /// What is known of the vaults; nothing on a node without providers.
    pub vaults: Arc<Vaults>,
    /// What this node's pusher has done; nothing on a node without one.
    pub pushed: Arc<PushTable>,
    /// How far this node is with entering its network; nothing if it was not asked to.
    pub enrolment: watch::Receiver<Option<EnrolmentView>>,
    /// Probes sent; zeros on a node that sends none.
    pub probes: Arc<ProbeCounters>,
    /// Probes served; zeros on a node that serves none.
    pub served: Arc<Served>,
    /// What they have taken of the line in this month; nothing on a node that serves none.
    pub month: watch::Receiver<Month>,
    /// Which of the newest scores are unlike their workers' own.
    pub watch: Arc<ScoreWatch>,
    /// What others show of this machine.
    pub health: Arc<Health>,
    /// The newest sample of the machine.
    pub newest: Newest,
    /// How the machine went lately.
    pub rings: SharedRings,
}

impl NodeParts {
    fn sync(&self, state: &State) -> SyncState {
        sync_state(&self.spec, self.clock.now(), state, *self.best_seen.borrow())
    }

    /// The pool of this worker; for other nodes the network's only pool.
    fn own_pool(&self, state: &State) -> Option<PoolId> {
        let only = || {
            let mut pools = state.pools();
            pools.next().filter(|_| pools.next().is_none()).map(|(id, _)| id)
        };
        state.pool_of(&self.me.account).or_else(only)
    }

    fn alerts(&self, state: &State) -> Vec<String> {
        let mut alerts = alerts(&self.spec, state, &self.me, &self.keys.borrow());
        alerts.extend(self.watch.alert(&self.me.account));
        alerts.extend(self.mesh.alerts());
        alerts.extend(self.health.alerts());
        alerts
    }

    fn probe_traffic(&self) -> ProbeTrafficView {
        let month = *self.month.borrow();
        ProbeTrafficView { month: month.name(), bytes: month.bytes, month_bytes: self.config.limits.month_bytes }
    }

    /// A final block with its certificate.
    fn decided(&self, height: Height) -> Result<Option<CertifiedBlock>, ViewError> {
        persist::decided(&self.store, height).map_err(|e| unread("block", height, e))
    }

    /// The key with which this node would sign as a validator, if it does not have it.
    fn missing_key(&self, state: &State) -> Option<ValidatorId> {
        self.keys.borrow().missing(state.next_validators()).filter(|_| self.config.has(Role::Validator))
    }

    /// The account of a validator that signs with this key, of whom a block says something.
    fn account_of(&self, height: Height, key: &ValidatorId) -> Result<NodeId, ViewError> {
        let account = self.head.borrow().state.validator_account(key);
        account.ok_or_else(|| unread("the validators of block", height, UnknownKey(*key)))
    }

    fn block_view(&self, decided: &CertifiedBlock) -> Result<BlockView, ViewError> {
        let CertifiedBlock { block, certificate } = decided;
        let height = block.header.height;
        let elections =
            ledger::elections(&self.store, height).map_err(|e| unread("the elections of block", height, e))?;
        let leader = |election: ElectionRecord| {
            let ElectionRecord { pool, settlement, order } = election;
            leader::leader_view(pool, settlement, &order)
        };
        let accused = block.evidence.iter().map(|evidence| self.account_of(height, &evidence.validator()));
        Ok(BlockView {
            height,
            block_hash: certificate.block,
            parent: block.header.parent,
            state_root: block.header.state_root,
            round: certificate.round,
            signatures: certificate.signatures.len(),
            time: block.header.time,
            proposer: self.account_of(height, &block.header.proposer)?,
            commitments: block.commitments.len(),
            reveals: block.reveals.len(),
            commands: block.commands.len(),
            equivocated: accused.collect::<Result<_, _>>()?,
            leaders: elections.into_iter().filter_map(leader).collect(),
        })
    }

    fn epoch_view(&self, epoch: Epoch) -> Result<EpochView, ViewError> {
        let genesis = self.spec.genesis();
        let failed = |e: StorageError| unread("epoch", epoch, e);
        // The state knows of every epoch how far it is, the records only of those that blocks told this node of.
        let state = self.head.borrow().state.clone();
        let stage = stage(&state, epoch);
        let closing = epochs::closing(&self.store, epoch).map_err(failed)?.map(|closing| closing.height);
        let pending = state.get::<PendingEpochs>(&epoch).map(|pending| pending.closed_in);
        let closed_in = closing.or(pending).filter(|_| stage != EpochStage::Open);
        let finality = epochs::finality(&self.store, epoch).map_err(failed)?.filter(|_| stage == EpochStage::Final);
        let final_in = match stage {
            EpochStage::Unmeasured => closed_in,
            _ => finality.map(|it| it.height),
        };
        let block = final_in.map_or(Ok(None), |height| self.decided(height))?;
        Ok(EpochView {
            epoch,
            stage,
            start: genesis.epoch_start(epoch),
            end: genesis.epoch_end(epoch),
            closed_in,
            final_in,
            block: block.map(|decided| self.block_view(&decided)).transpose()?,
            workers_scored: if stage == EpochStage::Final { finality.map(|it| it.workers) } else { Some(0) },
        })
    }
}

/// No validator of this chain has ever had the key.
#[derive(Debug, thiserror::Error)]
#[error("the key {0} is nobody's")]
struct UnknownKey(ValidatorId);

/// How far a node with this state is, whose peers have claimed this block.
pub(crate) fn sync_state(spec: &ChainSpec, now: UnixMillis, state: &State, best_seen: Height) -> SyncState {
    let genesis = spec.genesis();
    // An epoch is closed moments after it has ended; one more epoch of patience before anything is amiss.
    let overdue = genesis.epoch_end(state.closed().next()).after(genesis.policy.epoch());
    if now < overdue {
        SyncState::Synced
    } else if best_seen > state.height() {
        SyncState::Syncing
    } else {
        SyncState::Stalled
    }
}

fn metric_view(metric: &Metric) -> MetricView {
    let (record, signature) = (&metric.attestation.record, metric.attestation.signature);
    MetricView {
        received: metric.from,
        epoch: record.epoch,
        sequence: record.sequence,
        time: record.time,
        uptime_s: record.uptime_s,
        cpu_ppm: record.cpu,
        memory_ppm: record.memory,
        disk_ppm: record.disk,
        network_rx_bytes_s: record.network_rx_bytes_s,
        network_tx_bytes_s: record.network_tx_bytes_s,
        sessions: record.sessions,
        capacity: record.capacity,
        allocation_ppm: record.allocation,
        signature,
    }
}

/// Names of the score's components that are 0 because nothing was measured lately.
fn unmeasured(row: &ScoreRow) -> Vec<String> {
    let parts = [
        ("utilisation", row.components.utilisation, row.aggregate.chunks.is_some()),
        ("bandwidth", row.components.bandwidth, row.aggregate.echo.is_some()),
    ];
    let missing = parts.into_iter().filter(|(_, part, is_measured)| *part == Ppm::ZERO && !is_measured);
    missing.map(|(name, ..)| name.to_owned()).collect()
}

/// How far an epoch is.
fn stage(state: &State, epoch: Epoch) -> EpochStage {
    if epoch > state.closed() {
        EpochStage::Open
    } else if state.has::<PendingEpochs>(&epoch) {
        EpochStage::Closed
    } else if state.has::<ScoreRoots>(&epoch) {
        EpochStage::Final
    } else {
        EpochStage::Unmeasured
    }
}

/// The numbers from `newest` down to 1, at most `limit` of them.
fn downwards(newest: u64, limit: usize) -> impl Iterator<Item = u64> {
    let count = u64::try_from(limit).unwrap_or(u64::MAX);
    (newest.saturating_sub(count.saturating_sub(1)).max(1)..=newest).rev()
}

fn unread(
    what: &str,
    number: impl std::fmt::Display,
    source: impl std::error::Error + Send + Sync + 'static,
) -> ViewError {
    ViewError { operation: format!("read {what} {number}"), source: Box::new(source) }
}

impl From<NotTaken> for ActionError {
    fn from(error: NotTaken) -> Self {
        match error {
            NotTaken::Refused(why) => Self::Refused(why),
            NotTaken::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

fn class(class: PeerClass) -> String {
    match class {
        PeerClass::Trusted => "trusted".to_owned(),
        PeerClass::Outbound => "outbound".to_owned(),
        PeerClass::Inbound => "inbound".to_owned(),
    }
}

impl NodeView for NodeParts {
    fn status(&self) -> StatusView {
        let state = self.head.borrow().state.clone();
        let pool = self.own_pool(&state).and_then(|id| state.pool(&id));
        let leader = pool.and_then(|pool| pool.election.as_ref()?.leader());
        let (owed, paid) = self.own_sums(&state);
        StatusView {
            node_id: self.me.account,
            key: self.me.public_key(),
            peer_id: self.mesh.peer_id().to_owned(),
            roles: self.config.roles.clone(),
            missing_key: self.missing_key(&state),
            network_id: *self.spec.id(),
            peers: self.mesh.peer_count(),
            height: state.height(),
            oldest_block: self.oldest_block(),
            epoch: self.spec.genesis().epoch_at(self.clock.now()),
            final_epoch: state.final_through(),
            block_hash: state.block(),
            state_root: state.root(),
            sync: self.sync(&state),
            pool: pool.map(|pool| pool.name.clone()),
            leader,
            maintenance: nodes::maintenance(&state, &self.me.account).into_iter().next(),
            probe_traffic: self.config.has(Role::Worker).then(|| self.probe_traffic()),
            owed_micro_usdt: owed,
            paid_micro_usdt: paid,
            enrolment: self.enrolment.borrow().clone(),
            alerts: self.alerts(&state),
            api: self.api.clone(),
        }
    }

    fn enrolment(&self) -> watch::Receiver<Option<EnrolmentView>> {
        self.enrolment.clone()
    }

    fn ready(&self) -> Result<(), String> {
        let state = self.head.borrow().state.clone();
        let height = state.height();
        match self.sync(&state) {
            SyncState::Synced => Ok(()),
            SyncState::Syncing => Err(format!("catching up, block {height} is the newest here")),
            SyncState::Stalled => Err(format!("the chain is stalled at height {height}")),
        }
    }

    fn oldest_block(&self) -> Option<Height> {
        let (base, head) = (self.store.base(), self.store.head()?);
        (base <= head.height).then_some(base)
    }

    fn peers(&self) -> Vec<PeerView> {
        let state = self.head.borrow().state.clone();
        let view = |peer: lucid_p2p::PeerInfo| PeerView {
            account: state.account_of(&peer.key).filter(|account| state.node(account).is_some()),
            key: peer.key,
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
            class: class(peer.class),
            connections: peer.connections,
            rtt_us: peer.rtt_micros,
            score: peer.score,
            agent: peer.agent,
        };
        self.mesh.peers().into_iter().map(view).collect()
    }

    fn peers_why(&self) -> BoxFuture<'_, Vec<PeerWhyView>> {
        Box::pin(async {
            let peers = self.mesh.why().await.into_iter();
            let state = self.head.borrow().state.clone();
            let view = |peer: lucid_p2p::PeerWhy| PeerWhyView {
                account: state.account_of(&peer.key).filter(|account| state.node(account).is_some()),
                key: peer.key,
                class: peer.class.map(class),
                connected: peer.connected,
                why: peer.why,
            };
            peers.map(view).collect()
        })
    }

    fn validators(&self) -> Vec<ValidatorView> {
        validators::list(&self.head.borrow().state)
    }

    fn policy(&self, epoch: Option<Epoch>) -> PolicyView {
        policy::view(&self.spec, &self.head.borrow().state, epoch)
    }

    fn validator_proposals(&self) -> Vec<ProposalView> {
        validators::proposals(&self.head.borrow().state)
    }

    fn validator(&self, id: &NodeId) -> Result<Option<ValidatorStatusView>, ViewError> {
        let state = self.head.borrow().state.clone();
        let found = validators::status(&self.spec, &self.store, &state, *id)?;
        let missing_key = self.missing_key(&state).filter(|_| *id == self.me.account);
        Ok(found.map(|view| ValidatorStatusView { missing_key, ..view }))
    }

    fn metrics(&self) -> Metrics {
        let head = self.head.borrow().clone();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Metrics {
            height: head.state.height().get(),
            epoch: self.spec.genesis().epoch_at(self.clock.now()).get(),
            peers: count(self.mesh.peer_count()),
            sync: self.sync(&head.state),
            round: head.round.map_or(0, u64::from),
            payouts: self.figures(&head.state),
            members: pools::all_counts(&head.state),
            mesh: self.mesh.counters(),
            held: self.mesh.held(),
            probes: self.probes.snapshot(),
            under_way: self.probes.under_way(),
            suspicious: count(self.watch.count()),
            served: self.served.snapshot(),
            month_bytes: self.month.borrow().bytes,
        }
    }

    fn blocks(&self, before: Option<Height>, limit: usize) -> Result<Vec<BlockView>, ViewError> {
        let height = self.head.borrow().state.height();
        let newest = before.map_or(height, |before| before.previous().min(height));
        let found = downwards(newest.get(), limit).map(|height| self.block(Height::new(height)));
        found.filter_map(Result::transpose).collect()
    }

    fn block(&self, height: Height) -> Result<Option<BlockView>, ViewError> {
        self.decided(height)?.map(|decided| self.block_view(&decided)).transpose()
    }

    fn certificate(&self, height: Height) -> Result<Option<CertificateView>, ViewError> {
        let signature = |(key, signature)| VoteSignature { key, signature };
        let block = persist::header(&self.store, height).map_err(|e| unread("block", height, e))?;
        Ok(block.map(|CertifiedHeader { certificate, .. }| CertificateView {
            height,
            round: certificate.round,
            block_hash: certificate.block,
            signatures: certificate.signatures.into_iter().map(signature).collect(),
        }))
    }

    fn raw_block(&self, height: Height) -> Result<Option<Vec<u8>>, ViewError> {
        let failed = |e: StorageError| unread("block", height, e);
        let block = self.store.block(height).map_err(failed)?;
        let certificate = self.store.certificate(height).map_err(failed)?;
        Ok(block.zip(certificate).map(|(block, certificate)| [block, certificate].concat()))
    }

    fn epochs(&self, before: Option<Epoch>, limit: usize) -> Result<Vec<EpochView>, ViewError> {
        let current = self.spec.genesis().epoch_at(self.clock.now());
        let newest = before.map_or(current, |before| before.previous().min(current));
        downwards(newest.get(), limit).map(|epoch| self.epoch_view(Epoch::new(epoch))).collect()
    }

    fn epoch(&self, epoch: Epoch) -> Result<Option<EpochView>, ViewError> {
        let has_begun = epoch > Epoch::ZERO && epoch <= self.spec.genesis().epoch_at(self.clock.now());
        has_begun.then(|| self.epoch_view(epoch)).transpose()
    }

    fn newest_scored(&self) -> Result<Option<Epoch>, ViewError> {
        Ok(Some(self.head.borrow().state.head().scored).filter(|epoch| *epoch > Epoch::ZERO))
    }

    fn scores(&self, epoch: Epoch) -> Result<Vec<ScoreView>, ViewError> {
        let found = scores::of(&self.store, epoch, self.clock.now());
        let Some(scores) = found.map_err(|e| unread("the scores of epoch", epoch, e))? else { return Ok(Vec::new()) };
        Ok(scores.rows.iter().map(|row| poot::score_view(epoch, row)).collect())
    }

    fn score(&self, worker: &NodeId, epoch: Option<Epoch>) -> Result<Option<PootScoreView>, ViewError> {
        self.poot(&Asker::default()).score(worker, epoch)
    }

    fn score_history(
        &self,
        worker: &NodeId,
        which: ScoreFilter,
        limit: usize,
        asker: &Asker,
    ) -> Result<Vec<ScoreSpanView>, ViewError> {
        self.poot(asker).history(worker, which, limit)
    }

    fn leaderboard(&self, which: LeaderboardFilter, limit: usize) -> Result<Leaderboard, ViewError> {
        self.poot(&Asker::default()).leaderboard(which, limit)
    }

    fn agreement(&self, which: EpochRange, asker: &Asker) -> Result<AgreementView, ViewError> {
        self.poot(asker).agreement(which)
    }

    fn why(
        &self,
        worker: &NodeId,
        settlement: Option<u64>,
        asker: &Asker,
    ) -> Result<Result<WhyView, ActionError>, ViewError> {
        self.poot(asker).why(worker, settlement)
    }

    fn score_change(
        &self,
        worker: &NodeId,
        epoch: Option<Epoch>,
        asker: &Asker,
    ) -> Result<Option<ScoreChangeView>, ViewError> {
        self.poot(asker).change(worker, epoch)
    }

    fn verify(
        &self,
        worker: &NodeId,
        epoch: Option<Epoch>,
        asker: &Asker,
    ) -> Result<Result<VerifyView, ActionError>, ViewError> {
        self.poot(asker).verify(worker, epoch)
    }

    fn pool_report(
        &self,
        pool: &PoolId,
        from: Epoch,
        to: Epoch,
        asker: &Asker,
    ) -> Result<Option<PoolReportView>, ViewError> {
        self.poot(asker).report(pool, from, to)
    }

    fn statistics(&self, epoch: Option<Epoch>, asker: &Asker) -> Result<Option<StatisticsView>, ViewError> {
        self.poot(asker).statistics(epoch)
    }

    fn validations(&self, worker: &NodeId, limit: usize) -> Result<Vec<ValidationView>, ViewError> {
        self.poot_validations(worker, limit)
    }

    fn validate(&self, wanted: ValidationWanted) -> BoxFuture<'_, Result<ValidationView, ActionError>> {
        Box::pin(self.poot_validate(wanted))
    }

    fn reports(&self, epoch: Epoch, which: ReportFilter, limit: usize) -> Result<Option<EpochReportsView>, ViewError> {
        let found = reports::of(&self.store, epoch, self.clock.now());
        let found = found.map_err(|e| unread("the reports of epoch", epoch, e))?;
        Ok(found.map(|of| measured::view(&self.head.borrow().state, epoch, &of, which, limit)))
    }

    fn node_metrics(
        &self,
        node: &NodeId,
        from: UnixMillis,
        to: UnixMillis,
        limit: usize,
    ) -> Result<Option<Vec<MetricView>>, ViewError> {
        let found = metrics::of(&self.store, node, (from, to), limit, self.clock.now());
        let found: Vec<_> = found.map_err(|e| unread("the metrics of", node, e))?.iter().map(metric_view).collect();
        let is_known = !found.is_empty() || self.head.borrow().state.node(node).is_some();
        Ok(is_known.then_some(found))
    }

    fn resources(&self) -> Option<ResourcesView> {
        self.newest.borrow().as_deref().map(resources::now)
    }

    fn resource_history(
        &self,
        granularity: Granularity,
        range: (UnixMillis, UnixMillis),
        limit: usize,
    ) -> Result<Vec<SpanView>, ViewError> {
        let now = self.clock.now();
        let found = history::resources::of(&self.store, &self.rings, granularity, range, limit, now);
        let found = found.map_err(|e| unread("the machine's history in spans of", granularity.name(), e))?;
        Ok(found.iter().map(resources::span).collect())
    }

    fn payouts(&self, after: Option<&PayoutId>, limit: usize) -> Result<Option<Vec<PayoutView>>, ViewError> {
        let found = after.map_or_else(|| self.requests(limit).map(Some), |id| self.requests_after(id, limit));
        found.map_err(|e| ViewError { operation: "read the payouts".to_owned(), source: Box::new(e) })
    }

    fn payout(&self, id: &PayoutId) -> Result<Option<PayoutView>, ViewError> {
        self.request(id).map_err(|e| ViewError { operation: format!("read payout {id}"), source: Box::new(e) })
    }

    fn node(&self, node: &NodeId) -> Result<Option<RegisteredView>, ViewError> {
        self.registered(node)
    }

    fn nodes(&self, after: Option<NodeId>, wanted: NodeFilter, limit: usize) -> Result<NodeList, ViewError> {
        self.registered_after(after, wanted, limit)
    }

    fn stamp(&self, pool: Option<PoolId>) -> Option<StampView> {
        self.stamp_view(pool)
    }

    fn requests(&self, pool: &PoolId) -> Option<RequestList> {
        let state = self.head.borrow().state.clone();
        state.pool(pool).map(|_| nodes::requests(&state, pool))
    }

    fn pools(&self) -> PoolList {
        let state = self.head.borrow().state.clone();
        pools::list(&state, Some(&self.me.account))
    }

    fn members(&self, pool: &PoolId) -> Option<MemberList> {
        let state = self.head.borrow().state.clone();
        state.pool(pool).map(|_| pools::members(&self.spec, &state, pool, state.newest_settlement(&self.spec)))
    }

    fn batches(&self, pool: &PoolId, limit: usize) -> Result<Option<BatchList>, ViewError> {
        let is_known = self.head.borrow().state.pool(pool).is_some();
        is_known.then(|| self.batches_of(pool, limit).map(|batches| BatchList { batches })).transpose()
    }

    fn pool(&self, pool: &PoolId) -> Result<Option<PoolView>, ViewError> {
        self.pool_view(pool)
    }

    fn leader(&self, pool: &PoolId) -> Option<LeaderOrderView> {
        let state = self.head.borrow().state.clone();
        leader::order(&self.spec, &state, pool)
    }

    fn account(&self, account: &NodeId) -> AccountView {
        let head = self.head.borrow().clone();
        let nonce = head.state.nonce(account);
        let waiting = head.offers.commands(account).map(|command| command.record.nonce);
        AccountView {
            account: *account,
            key: head.state.key_of(account),
            nonce: nonce.next,
            allowance: nonce.allowance,
            waiting: waiting.collect(),
        }
    }

    fn command(&self, account: &NodeId, nonce: u64) -> Result<CommandView, ViewError> {
        let head = self.head.borrow().clone();
        let mut view = CommandView {
            account: *account,
            nonce,
            stage: CommandStage::Unknown,
            height: None,
            time: None,
            epoch: None,
            command: None,
        };
        let is_it = |command: &Command| command.account == *account && command.nonce == nonce;
        view.height = ledger::command_in(&self.store, account, nonce).map_err(|e| unread("command", nonce, e))?;
        if let Some(height) = view.height {
            view.stage = CommandStage::Included;
            if let Some(decided) = self.decided(height)? {
                let time = decided.block.header.time;
                view.time = Some(time);
                view.epoch = Some(self.spec.genesis().epoch_at(time));
                view.command = decided.block.commands.into_iter().map(|it| it.record).find(is_it);
            }
        } else if nonce < head.state.nonce(account).next {
            view.stage = CommandStage::Included;
        } else if let Some(waiting) = head.offers.commands(account).find(|it| is_it(&it.record)) {
            view.stage = CommandStage::Waiting;
            view.command = Some(waiting.record.clone());
        }
        Ok(view)
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

    fn proof(&self, subject: &Subject) -> Result<Result<Proof, ActionError>, ViewError> {
        self.prove(subject)
    }

    fn signatures(&self, pool: PoolId, request: SignatureRequest) -> BoxFuture<'_, Result<SignatureList, ActionError>> {
        Box::pin(self.ask_signers(pool, request))
    }

    fn check(&self, command: &Command) -> Result<(), ActionError> {
        Ok(self.commands.check(command)?)
    }

    fn hand_in(&self, command: SignedCommand) -> BoxFuture<'_, Result<NodeId, ActionError>> {
        Box::pin(async { Ok(self.commands.hand_in(command).await?) })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
