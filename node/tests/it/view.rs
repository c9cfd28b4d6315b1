//! A node's view with known content: what the API makes of it is what is tested.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use lucid_consensus::ledger::command::SignedCommand;
use lucid_node::api::metrics::{Metrics, PayoutFigures};
use lucid_node::api::model::{
    AccountView, AgreementView, ApprovalView, BatchList, BatchView, BlockView, Cause, CauseView, CertificateView,
    Check, CommandStage, CommandView, Components, CopyingView, Difference, ElectedView, EpochRange, EpochReportsView,
    EpochStage, EpochView, EquivocationView, HoldView, LeaderOrderView, LeaderView, Leaderboard, LeaderboardFilter,
    LedgerVaultView, LedgerView, LimitsView, LookedAtView, MeanMax, MeasurementView, MemberCounts, MemberList,
    MemberState, MemberView, MembershipView, MetricView, MissingSignature, NextPolicyView, NodeFilter, NodeList,
    NodeRole, NodeState, NotElected, NotElectedView, ObservedView, OutlierView, PairView, PayoutStatus, PayoutView,
    PeerView, PeerWhyView, PlaceView, PointsChange, PolicyView, PoolHealthView, PoolList, PoolReportView,
    PoolStatusView, PoolSummary, PoolView, PootScoreView, ProbesView, ProposalView, Quantiles, RegisteredView,
    ReportFilter, ReportLineView, ReportSource, ReportStage, ReporterView, RequestList, RequestView,
    ResourceLimitsView, ResourcesView, ScoreChangeView, ScoreFilter, ScoreSpanView, ScoreView, SignatureList,
    SignatureRequest, SpanView, StampView, StatisticsView, StatusView, StepView, SyncState, TemperatureView, TurnView,
    ValidationView, ValidationWanted, ValidatorStatusView, ValidatorView, VerifyView, VoteSignature, VoteView, WhyView,
};
use lucid_node::api::{ActionError, Asker, NodeView, ViewError};
use lucid_node::config::Role;
use lucid_node::probe::core::Gauges;
use lucid_node::probe::{ProbeCounts, ServedCounts};
use lucid_node::proof::{Proof, Subject};
use lucid_node::sampler::rings::Granularity;
use lucid_types::amount::{Credits, MicroUsdt, Ppm, Sun};
use lucid_types::attestation::Capacity;
use lucid_types::change::NetworkChange;
use lucid_types::command::{Action, Command, ValidatorChange};
use lucid_types::id::{
    BlockHash, Hash, NetworkId, NodeId, PayoutAddress, PayoutId, PoolId, StateRoot, TxId, ValidatorId,
};
use lucid_types::network_group::NetworkGroup;
use lucid_types::payout::{AccountKind, SettlementRoot};
use lucid_types::payout_tree::{AccountId, OwedAccount, PayoutTree};
use lucid_types::policy::{Policy, ScoreWeights};
use lucid_types::pool::{JoinPolicy, PoolAction, SplitRule};
use lucid_types::signed::Signature;
use lucid_types::time::{Epoch, Height, UnixMillis};
use lucid_types::vault::{SignerSet, TreasurySigner};

use crate::fixture::{node, signing_key};
use crate::proof::golden_proofs;

/// Blocks 1 to 5 are final, and epoch 4 is open; the state's disk can break.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) broken: AtomicBool,
    pub(crate) lazy: AtomicBool,
    /// Whether it answers with proofs of something else than was asked for.
    pub(crate) astray: AtomicBool,
    /// The network that it says to be of, if another than usual.
    pub(crate) network: OnceLock<NetworkId>,
    /// Blocks below are not here; 6: no block is.
    pub(crate) oldest: AtomicU64,
    /// Whether it never has done comparing validators.
    pub(crate) endless: AtomicBool,
    /// How often it was asked to.
    pub(crate) agreements: AtomicU64,
    /// Whether its machine cannot be sampled.
    pub(crate) is_unsampled: AtomicBool,
    /// Commands that were handed in.
    pub(crate) commands: Mutex<Vec<SignedCommand>>,
}

pub(crate) fn known() -> Arc<Known> {
    Arc::new(Known::default())
}

impl Known {
    fn disk<T>(&self, value: T) -> Result<T, ViewError> {
        if self.broken.load(Ordering::Relaxed) {
            let source = Box::new(std::io::Error::other("sector 7 of /dev/secret"));
            return Err(ViewError { operation: "read a block".to_owned(), source });
        }
        Ok(value)
    }

    fn has(&self, height: Height) -> bool {
        (self.oldest.load(Ordering::Relaxed).max(1)..=5).contains(&height.get())
    }

    pub(crate) fn pool_id() -> PoolId {
        PoolId::from_bytes([4; 32])
    }

    pub(crate) fn payout_id() -> PayoutId {
        PayoutId::from_bytes([8; 32])
    }
}

fn block_view(n: u64) -> BlockView {
    BlockView {
        height: Height::new(n),
        block_hash: BlockHash::from_bytes([n.to_le_bytes()[0]; 32]),
        parent: BlockHash::from_bytes([1; 32]),
        state_root: StateRoot::from_bytes([3; 32]),
        round: 0,
        signatures: 3,
        time: UnixMillis::new(1_000 * n),
        proposer: node(1),
        commitments: 4,
        reveals: 0,
        commands: 1,
        equivocated: Vec::new(),
        leaders: vec![LeaderView {
            pool: PoolId::from_bytes([4; 32]),
            settlement: 1,
            leader: node(10),
            successors: vec![],
        }],
    }
}

/// Epoch 2 was closed too late for epoch 3, and epoch 4 is open.
fn epoch_view(n: u64) -> EpochView {
    let stage = match n {
        1 | 2 => EpochStage::Final,
        3 => EpochStage::Unmeasured,
        _ => EpochStage::Open,
    };
    let is_closed = stage != EpochStage::Open;
    EpochView {
        epoch: Epoch::new(n),
        stage,
        start: UnixMillis::new(1_000 * n),
        end: UnixMillis::new(1_000 * n + 1_000),
        closed_in: is_closed.then_some(Height::new(n)),
        final_in: is_closed.then_some(Height::new(n + 2)),
        block: is_closed.then(|| block_view(n + 2)),
        workers_scored: Some(if stage == EpochStage::Final { 2 } else { 0 }),
    }
}

fn score_view(epoch: Epoch, seed: u8, score: u32) -> ScoreView {
    let part = Ppm::new(score);
    ScoreView {
        epoch,
        worker: node(seed),
        score_ppm: part,
        relay_credits: Credits::new(1),
        storage_credits: Credits::ZERO,
        sharers: 1,
        credits: Credits::new(1),
        reachable_ms: 5_000,
        components: Components {
            session_time: part,
            work_credits: part,
            utilisation: Ppm::ZERO,
            bandwidth: part,
            uptime: part,
            quality: part,
            trust: part,
        },
        unmeasured: vec!["utilisation".to_owned()],
        rtt_us: 700,
        echo_bytes: None,
        echo_kbit_s: None,
        proved_chunks: None,
        network_group: None,
    }
}

fn metric_view(received: UnixMillis) -> MetricView {
    MetricView {
        received,
        epoch: Epoch::new(4),
        sequence: 17,
        time: received,
        uptime_s: 86_400,
        cpu_ppm: Ppm::new(123_456),
        memory_ppm: Ppm::new(500_000),
        disk_ppm: Ppm::new(1_000_000),
        network_rx_bytes_s: 1_000,
        network_tx_bytes_s: 2_000,
        sessions: 3,
        capacity: Capacity { cores: 2, ..Capacity::default() },
        allocation_ppm: Ppm::ZERO,
        signature: Signature::from_bytes([6; 64]),
    }
}

fn payout_view() -> PayoutView {
    PayoutView {
        payout_id: Known::payout_id(),
        pool: PoolId::from_bytes([4; 32]),
        settlement: 1,
        worker: node(10),
        kind: AccountKind::Worker,
        address: PayoutAddress::from_hash20([7; 20]),
        amount_micro_usdt: MicroUsdt::new(20_000_001),
        owed_micro_usdt: MicroUsdt::new(50_000_002),
        status: PayoutStatus::Paid,
        waits_for: None,
        since: Some(UnixMillis::new(1_700)),
        tx_id: Some(TxId::from_bytes([9; 32])),
        block: Some(123),
        fee_sun: Some(Sun::new(420)),
    }
}

/// A root of five accounts.
pub(crate) fn settled() -> (SettlementRoot, Vec<OwedAccount>) {
    let leaf = |n: u8| OwedAccount {
        id: AccountId::from_bytes([n; 32]),
        to: PayoutAddress::from_hash20([n; 20]),
        owed: MicroUsdt::new(1_000_000 * u64::from(n)),
    };
    let leaves: Vec<_> = (1..=5).map(leaf).collect();
    let root = SettlementRoot {
        pool: Known::pool_id(),
        settlement: 3,
        vault: PayoutAddress::from_hash20([90; 20]),
        era: 1,
        root: PayoutTree::new(&leaves).unwrap().root(),
        total: MicroUsdt::new(15_000_000),
        fees: MicroUsdt::ZERO,
        promised: MicroUsdt::new(15_000_000),
        leader: None,
        until: 0,
    };
    (root, leaves)
}

fn pool_view() -> PoolView {
    let limits = LimitsView { cap_micro_usdt: MicroUsdt::new(9), push_fee_micro_usdt: MicroUsdt::ZERO };
    let signers = SignerSet {
        era: 1,
        threshold: 1,
        members: vec![TreasurySigner { node: node(2), key_address: PayoutAddress::from_hash20([2; 20]) }],
    };
    PoolView {
        pool: Known::pool_id(),
        name: "known".to_owned(),
        owner: node(1),
        height: Height::new(5),
        budget_micro_usdt: MicroUsdt::new(10_000_000),
        split: SplitRule::Credits,
        commission_ppm: Ppm::ZERO,
        commission_address: PayoutAddress::from_hash20([91; 20]),
        next_terms: None,
        status: PoolStatusView::Active { from: Epoch::new(1) },
        join: JoinPolicy::Open,
        max_members: 1_000,
        requests: 1,
        members: 2,
        accounts: 2,
        settled: 3,
        suspended_from: None,
        commands: 7,
        budgets_micro_usdt: MicroUsdt::new(20_000_000),
        owed_micro_usdt: MicroUsdt::new(15_000_000),
        held_micro_usdt: MicroUsdt::ZERO,
        holds: vec![HoldView { node: node(10), from: Some(5) }, HoldView { node: node(11), from: None }],
        fees_micro_usdt: MicroUsdt::ZERO,
        carried_micro_usdt: MicroUsdt::new(5_000_000),
        losses_micro_usdt: MicroUsdt::ZERO,
        vault: LedgerVaultView { address: PayoutAddress::from_hash20([90; 20]), nonce: 0, limits, signers },
        former_vaults: Vec::new(),
        newest: Some(settled().0.into()),
        election: None,
        changes: vec![],
        contract: None,
        read_at: None,
        health: PoolHealthView {
            is_degraded: false,
            members: MemberCounts { active: 2, ..MemberCounts::default() },
            mean_score_ppm: None,
            covered_settlements: None,
            last_paid: None,
        },
        alerts: vec![],
    }
}

/// A member of the pool that validators reach.
fn registered(node: NodeId) -> RegisteredView {
    RegisteredView {
        node,
        key: node.first_key(),
        next_key: None,
        roles: vec![NodeRole::Member],
        operator: node,
        payout_address: PayoutAddress::from_hash20([10; 20]),
        next_payout: None,
        payout_key: None,
        gas_address: None,
        capacity: Capacity::default(),
        membership: Some(MembershipView { pool: Known::pool_id(), from: Epoch::new(1), until: None }),
        inactive: None,
        maintenance: vec![],
        request: None,
        is_retired: false,
        state: NodeState::Ready,
        attested: Some(Epoch::new(4)),
        allocation_ppm: Some(Ppm::ZERO),
        score_ppm: Some(Ppm::ONE),
    }
}

/// Of a machine of two cores, of which a container has half a one.
fn resources_view() -> ResourcesView {
    ResourcesView {
        time: UnixMillis::new(300_000),
        cpu_ppm: Ppm::new(123_400),
        per_core_ppm: vec![Ppm::new(500_000), Ppm::new(12_300)],
        cores: 1,
        memory_used_bytes: 1 << 28,
        memory_total_bytes: 1 << 29,
        memory_ppm: Ppm::new(500_000),
        disk_used_bytes: 30,
        disk_total_bytes: 40,
        disk_ppm: Ppm::new(750_000),
        network_rx_bytes_s: 2_000,
        network_tx_bytes_s: 1_000,
        load_hundredths: [125, 50, 5],
        uptime_s: 3_700,
        temperatures: vec![TemperatureView { sensor: "core".to_owned(), millicelsius: 41_500 }],
        limits: ResourceLimitsView { cpu_millis: Some(500), memory_bytes: Some(1 << 29) },
    }
}

/// Of a machine without sensors.
fn span_view(from: UnixMillis) -> SpanView {
    let figure = |mean, max| Some(MeanMax { mean, max });
    SpanView {
        from,
        samples: 60,
        cpu_ppm: figure(123_400, 1_000_000),
        memory_ppm: figure(500_000, 510_000),
        disk_ppm: figure(750_000, 750_000),
        network_rx_bytes_s: figure(2_000, 9_000),
        network_tx_bytes_s: figure(1_000, 1_001),
        load_hundredths: figure(50, 125),
        hottest_millicelsius: None,
    }
}

/// What a validator found of a worker that answered so many of four pings.
fn validation(worker: NodeId, validator: NodeId, pings_answered: u8) -> ValidationView {
    let has_answer = pings_answered > 0;
    ValidationView {
        worker,
        validator,
        time: UnixMillis::new(1_000_000),
        pings_sent: 4,
        pings_answered,
        rtt_us: if has_answer { 512 } else { 0 },
        network_group: has_answer.then_some(NetworkGroup::NONE),
        key: validator.first_key(),
        signature: Signature::from_bytes([9; 64]),
    }
}

impl NodeView for Known {
    fn status(&self) -> StatusView {
        StatusView {
            node_id: node(1),
            key: node(1).first_key(),
            peer_id: "12D3KooWtest".to_owned(),
            roles: BTreeSet::from([Role::Validator, Role::Bootstrap]),
            missing_key: None,
            network_id: *self.network.get_or_init(|| NetworkId::from_bytes([1; 32])),
            peers: 9,
            height: Height::new(5),
            oldest_block: self.oldest_block(),
            alerts: vec![],
            epoch: Epoch::new(6),
            final_epoch: Epoch::new(3),
            block_hash: BlockHash::from_bytes([2; 32]),
            state_root: StateRoot::from_bytes([3; 32]),
            sync: SyncState::Synced,
            pool: None,
            leader: Some(node(10)),
            maintenance: None,
            probe_traffic: None,
            owed_micro_usdt: Some(MicroUsdt::new(7)),
            paid_micro_usdt: None,
            enrolment: None,
            api: "127.0.0.1:8095".to_owned(),
        }
    }

    fn enrolment(&self) -> tokio::sync::watch::Receiver<Option<lucid_node::api::model::EnrolmentView>> {
        tokio::sync::watch::channel(None).1
    }

    fn ready(&self) -> Result<(), String> {
        if self.lazy.load(Ordering::Relaxed) { Err("the chain is stalled at height 5".to_owned()) } else { Ok(()) }
    }

    fn oldest_block(&self) -> Option<Height> {
        match self.oldest.load(Ordering::Relaxed) {
            oldest @ 0..=5 => Some(Height::new(oldest.max(1))),
            _ => None,
        }
    }

    fn validators(&self) -> Vec<ValidatorView> {
        let proved = EquivocationView { height: Height::new(3), proved_in: Height::new(4) };
        let view = |seed, equivocation| ValidatorView {
            node: node(seed),
            key: signing_key(seed).id(),
            operator: node(seed),
            power: 1,
            equivocation,
        };
        vec![view(1, None), view(2, Some(proved))]
    }

    /// A weight has changed since the genesis, and stamps will be harder.
    fn policy(&self, epoch: Option<Epoch>) -> PolicyView {
        let genesis = Policy::local(Duration::from_secs(5), 2, None);
        let weights = ScoreWeights { trust: Ppm::new(60_000), uptime: Ppm::new(140_000), ..genesis.weights };
        let policy = Policy { weights, ..genesis };
        let harder = Policy { stamp_bits: 9, ..policy };
        let next = NextPolicyView { from: Epoch::new(8), hash: harder.hash(), policy: harder };
        let epoch = epoch.unwrap_or(Epoch::new(6));
        PolicyView { epoch, from: Epoch::new(4), hash: policy.hash(), policy, next: vec![next], genesis }
    }

    fn validator_proposals(&self) -> Vec<ProposalView> {
        let change = NetworkChange::from(ValidatorChange::Remove(node(2)));
        vec![ProposalView {
            id: change.id(),
            change,
            differences: vec![],
            by: node(1),
            from: Epoch::new(1),
            until: UnixMillis::new(9_000),
            approvals: vec![ApprovalView { validator: node(1), power: 1 }],
            power: 1,
            needed_power: 2,
            total_power: 2,
            warning: None,
        }]
    }

    fn validator(&self, id: &NodeId) -> Result<Option<ValidatorStatusView>, ViewError> {
        let (first, last) = (Height::new(1), Height::new(5));
        let of = |power| ValidatorStatusView {
            node: *id,
            key: Some(signing_key(1).id()),
            missing_key: None,
            rotation: None,
            power,
            total_power: 2,
            since: Some(Height::ZERO),
            next: None,
            equivocation: None,
            blocks: Some(LookedAtView { first, last, proposed: 2, to_vote: 5, voted: 4, missed: vec![] }),
            turns: None,
            duties: None,
            reports: None,
            last_vote: Some(VoteView { height: last, time: UnixMillis::new(5_000) }),
        };
        Ok(self.validators().iter().find(|it| it.node == *id).map(|it| of(it.power)))
    }

    fn peers(&self) -> Vec<PeerView> {
        vec![PeerView {
            account: Some(node(2)),
            key: node(2).first_key(),
            peer_id: "12D3KooWother".to_owned(),
            addresses: vec!["/ip4/127.0.0.1/tcp/7001/p2p/12D3KooWother".to_owned()],
            transport: "tcp".to_owned(),
            direction: "inbound".to_owned(),
            class: "trusted".to_owned(),
            connections: 1,
            rtt_us: None,
            score: 1.25,
            agent: "lucid/0.1.0".to_owned(),
        }]
    }

    fn peers_why(&self) -> BoxFuture<'_, Vec<PeerWhyView>> {
        let why = "refused: banned for another 60 s".to_owned();
        let view = PeerWhyView { account: None, key: node(3).first_key(), class: None, connected: false, why };
        Box::pin(async { vec![view] })
    }

    fn metrics(&self) -> Metrics {
        Metrics {
            height: 5,
            epoch: 6,
            peers: 9,
            sync: SyncState::Synced,
            round: 0,
            payouts: PayoutFigures { owed_micro_usdt: 9, paid_micro_usdt: Some(6), ..PayoutFigures::default() },
            mesh: vec![],
            held: vec![],
            probes: ProbeCounts::default(),
            under_way: Gauges::default(),
            served: ServedCounts::default(),
            month_bytes: 0,
            suspicious: 0,
            members: MemberCounts::default(),
        }
    }

    fn blocks(&self, before: Option<Height>, limit: usize) -> Result<Vec<BlockView>, ViewError> {
        let end = before.map_or(6, |height| height.get().min(6));
        let oldest = self.oldest.load(Ordering::Relaxed).max(1);
        self.disk((oldest..end).rev().take(limit).map(block_view).collect())
    }

    fn block(&self, height: Height) -> Result<Option<BlockView>, ViewError> {
        self.disk(self.has(height).then(|| block_view(height.get())))
    }

    fn certificate(&self, height: Height) -> Result<Option<CertificateView>, ViewError> {
        let signature = VoteSignature { key: signing_key(1).id(), signature: Signature::from_bytes([6; 64]) };
        self.disk(self.has(height).then(|| CertificateView {
            height,
            round: 0,
            block_hash: block_view(height.get()).block_hash,
            signatures: vec![signature],
        }))
    }

    fn raw_block(&self, height: Height) -> Result<Option<Vec<u8>>, ViewError> {
        self.disk(self.has(height).then(|| vec![0, 0xff]))
    }

    fn epochs(&self, before: Option<Epoch>, limit: usize) -> Result<Vec<EpochView>, ViewError> {
        let end = before.map_or(5, |epoch| epoch.get().min(5));
        self.disk((1..end).rev().take(limit).map(epoch_view).collect())
    }

    fn epoch(&self, epoch: Epoch) -> Result<Option<EpochView>, ViewError> {
        self.disk((1..=4).contains(&epoch.get()).then(|| epoch_view(epoch.get())))
    }

    fn newest_scored(&self) -> Result<Option<Epoch>, ViewError> {
        self.disk(Some(Epoch::new(4)))
    }

    fn scores(&self, epoch: Epoch) -> Result<Vec<ScoreView>, ViewError> {
        let known = (1..=4).contains(&epoch.get());
        self.disk(if known { vec![score_view(epoch, 10, 400_000), score_view(epoch, 11, 650_000)] } else { vec![] })
    }

    fn score(&self, worker: &NodeId, epoch: Option<Epoch>) -> Result<Option<PootScoreView>, ViewError> {
        let epoch = epoch.unwrap_or(Epoch::new(4));
        let found = self.scores(epoch)?.into_iter().find(|score| score.worker == *worker);
        let view = |score: ScoreView| PootScoreView {
            pool: Some(PoolId::from_bytes([4; 32])),
            quota_chunks: Some(147),
            validators: None,
            weights: ScoreWeights::default(),
            points_ppm: score.components,
            suspicion: None,
            score,
        };
        Ok(found.map(view))
    }

    fn score_history(
        &self,
        worker: &NodeId,
        which: ScoreFilter,
        limit: usize,
        _: &Asker,
    ) -> Result<Vec<ScoreSpanView>, ViewError> {
        let (from, to) = (which.from.map_or(1, Epoch::get), which.to.map_or(4, Epoch::get));
        let found = (from..=to).rev().filter_map(|epoch| self.score(worker, Some(Epoch::new(epoch))).transpose());
        let span = |view: PootScoreView| ScoreSpanView {
            from: view.score.epoch,
            to: view.score.epoch,
            epochs: 1,
            min_ppm: view.score.score_ppm,
            mean_ppm: view.score.score_ppm,
            max_ppm: view.score.score_ppm,
            components: view.score.components,
            credits: view.score.credits,
            reachable_ms: view.score.reachable_ms,
        };
        found.take(limit).map(|view| view.map(span)).collect()
    }

    fn leaderboard(&self, which: LeaderboardFilter, limit: usize) -> Result<Leaderboard, ViewError> {
        let epoch = which.epoch.unwrap_or(Epoch::new(4));
        let mut scores = self.scores(epoch)?;
        scores.sort_by_key(|score| std::cmp::Reverse(score.score_ppm));
        let place = |(rank, score)| PlaceView { rank, pool: None, live: Some(9), score, suspicion: None };
        let n_places = scores.len();
        let places = (1..).zip(scores).skip(which.offset).take(limit).map(place).collect();
        Ok(Leaderboard { epoch: Some(epoch), n_places, places })
    }

    fn agreement(&self, _: EpochRange, asker: &Asker) -> Result<AgreementView, ViewError> {
        let _counted = self.agreements.fetch_add(1, Ordering::Relaxed);
        while self.endless.load(Ordering::Relaxed) {
            asker.waits()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        let (a, b) = (node(1), node(2));
        let pair = PairView {
            a,
            b,
            in_common: 60,
            identical_ppm: Ppm::new(900_000),
            rtt_gap_ppm: Ppm::new(1_000),
            success_gap_ppm: Ppm::ZERO,
            a_repeats_b_ppm: Ppm::ZERO,
            b_repeats_a_ppm: Ppm::new(12_500),
        };
        self.disk(AgreementView {
            from: Some(Epoch::new(1)),
            to: Some(Epoch::new(4)),
            epochs: 4,
            pairs: vec![pair],
            copying: vec![CopyingView { validator: b, of: a, lag: 0, part_ppm: Ppm::new(900_000) }],
            outliers: vec![OutlierView { validator: a, distance_ppm: Ppm::new(70_000), limit_ppm: Ppm::new(50_000) }],
        })
    }

    /// Of worker 10, which was offline in two epochs of settlement 1.
    fn why(
        &self,
        worker: &NodeId,
        settlement: Option<u64>,
        _: &Asker,
    ) -> Result<Result<WhyView, ActionError>, ViewError> {
        let settlement = settlement.unwrap_or(1);
        if (*worker, settlement) != (node(10), 1) {
            return self.disk(Err(ActionError::Unknown(format!("settlement {settlement} is not final yet"))));
        }
        let cause = |cause: Cause, epochs: Vec<(Epoch, Epoch)>, delta_micro_usdt: i64| CauseView {
            cause,
            responsibility: cause.responsibility(),
            is_priced: true,
            epochs,
            ms: 5_000,
            factors_ppm: PointsChange { uptime: delta_micro_usdt / 10, ..PointsChange::default() },
            score_ppm: delta_micro_usdt / 10,
            credits: delta_micro_usdt / 100_000,
            delta_micro_usdt,
            remedy: cause.remedy().to_owned(),
        };
        let epochs = |ranges: &[(u64, u64)]| ranges.iter().map(|(a, b)| (Epoch::new(*a), Epoch::new(*b))).collect();
        self.disk(Ok(WhyView {
            worker: *worker,
            pool: Self::pool_id(),
            settlement,
            from: Epoch::new(1),
            to: Epoch::new(4),
            paid_micro_usdt: MicroUsdt::new(2_000_000),
            is_held: false,
            first_score_ppm: Some(Ppm::new(400_000)),
            last_score_ppm: Some(Ppm::new(350_000)),
            causes: vec![
                cause(Cause::Offline, epochs(&[(1, 2), (4, 4)]), -410_000),
                cause(Cause::NotDrawn, epochs(&[(3, 3)]), 0),
            ],
        }))
    }

    fn score_change(
        &self,
        worker: &NodeId,
        epoch: Option<Epoch>,
        _: &Asker,
    ) -> Result<Option<ScoreChangeView>, ViewError> {
        let found = self.score(worker, epoch)?;
        Ok(found.map(|PootScoreView { score, .. }| ScoreChangeView {
            worker: *worker,
            from: Some(score.epoch.previous()),
            epoch: score.epoch,
            score_ppm: score.score_ppm,
            change_ppm: -20_001,
            factors_ppm: PointsChange { quality: -20_000, ..PointsChange::default() },
            rounding_ppm: -1,
        }))
    }

    /// The score of worker 11 is not right.
    fn verify(
        &self,
        worker: &NodeId,
        epoch: Option<Epoch>,
        _: &Asker,
    ) -> Result<Result<VerifyView, ActionError>, ViewError> {
        let Some(PootScoreView { score, .. }) = self.score(worker, epoch)? else {
            return Ok(Err(ActionError::Unknown("what was reported is not kept here".to_owned())));
        };
        let ok = |check, found: &str| StepView { check, found: Some(found.to_owned()), difference: None };
        let (field, expected, found) = ("sharers".to_owned(), "2".to_owned(), "1".to_owned());
        let wrong =
            StepView { check: Check::Medians, found: None, difference: Some(Difference { field, expected, found }) };
        let is_right = *worker == node(10);
        let reports = ok(Check::Reports, "3 reports of 4 that were committed to");
        let steps =
            if is_right { vec![reports, ok(Check::Proof, "certified in block 5")] } else { vec![reports, wrong] };
        let source = if is_right { ReportSource::Blocks } else { ReportSource::History };
        let score_ppm = Some(score.score_ppm);
        Ok(Ok(VerifyView { worker: *worker, epoch: score.epoch, source, score_ppm, is_right, steps }))
    }

    fn pool_report(
        &self,
        pool: &PoolId,
        from: Epoch,
        to: Epoch,
        _: &Asker,
    ) -> Result<Option<PoolReportView>, ViewError> {
        let line = |kind, seed, owed, mean_score_ppm| ReportLineView {
            kind,
            node: node(seed),
            drawn: 4,
            measured: 3,
            unreached: 1,
            mean_score_ppm,
            relay_credits: Credits::new(12),
            storage_credits: Credits::new(3),
            credits: Credits::new(15),
            weight: "340282366920938463463374607431768211455".to_owned(),
            owed_micro_usdt: MicroUsdt::new(owed),
            held_micro_usdt: MicroUsdt::ZERO,
            carried_micro_usdt: MicroUsdt::ZERO,
        };
        let lines = vec![
            line(AccountKind::Worker, 10, 95_000_000, Some(Ppm::new(400_000))),
            line(AccountKind::Commission, 1, 5_000_000, None),
        ];
        let view = PoolReportView {
            pool: *pool,
            from,
            to,
            epochs: 4,
            epochs_with_draw: 3,
            settlements: 1,
            pots_micro_usdt: MicroUsdt::new(100_000_000),
            fees_micro_usdt: MicroUsdt::ZERO,
            owed_micro_usdt: MicroUsdt::new(100_000_000),
            held_micro_usdt: MicroUsdt::ZERO,
            carried_micro_usdt: MicroUsdt::ZERO,
            lines,
        };
        self.disk((*pool == Self::pool_id()).then_some(view))
    }

    fn statistics(&self, epoch: Option<Epoch>, _: &Asker) -> Result<Option<StatisticsView>, ViewError> {
        let quantiles = |from| Quantiles { min: from, p10: from + 1, p50: from + 2, p90: from + 3, max: from + 4 };
        let probes = ProbesView { pings_sent: 96, pings_answered: 95, echoes_sent: 8, echoes_verified: 7 };
        let epoch = epoch.unwrap_or(Epoch::new(4));
        let view = StatisticsView {
            epoch,
            scored: 2,
            unmeasured: Some(1),
            suspicious: Some(0),
            score_ppm: quantiles(400_000),
            credits: quantiles(20),
            rtt_us: quantiles(700),
            probes: Some(probes),
        };
        self.disk((epoch <= Epoch::new(4)).then_some(view))
    }

    fn validations(&self, worker: &NodeId, limit: usize) -> Result<Vec<ValidationView>, ViewError> {
        let found = [4, 0].map(|answered| validation(*worker, node(1), answered));
        self.disk(found.into_iter().take(limit).filter(|it| it.worker == node(10)).collect())
    }

    fn validate(&self, wanted: ValidationWanted) -> BoxFuture<'_, Result<ValidationView, ActionError>> {
        let ValidationWanted { worker, by } = wanted;
        let found = match by {
            Some(by) if by == node(2) => Err(ActionError::Refused("validator 2 has validated lately".to_owned())),
            _ => Ok(validation(worker, by.unwrap_or_else(|| node(1)), 4)),
        };
        Box::pin(std::future::ready(found))
    }

    fn reports(&self, epoch: Epoch, which: ReportFilter, limit: usize) -> Result<Option<EpochReportsView>, ViewError> {
        let observed = ObservedView {
            pings_sent: 4,
            pings_answered: 3,
            rtt_us: Some(512),
            echo_kbit_s: None,
            network_group: None,
        };
        let measurement = |seed| MeasurementView {
            worker: node(seed),
            validator: node(1),
            seats: 21,
            observed: (seed == 10).then(|| observed.clone()),
        };
        let is_wanted = |m: &MeasurementView| which.worker.is_none_or(|worker| worker == m.worker);
        let all: Vec<_> = [10, 11].map(measurement).into_iter().filter(is_wanted).collect();
        let reporter = ReporterView {
            validator: node(1),
            key: ValidatorId::from_bytes([5; 32]),
            stage: ReportStage::Revealed,
            assigned: 2,
            measured: Some(1),
        };
        let view = EpochReportsView {
            epoch,
            reporters: vec![reporter],
            n_measurements: all.len(),
            measurements: all.into_iter().skip(which.offset).take(limit).collect(),
        };
        self.disk((1..=4).contains(&epoch.get()).then_some(view))
    }

    fn node_metrics(
        &self,
        node: &NodeId,
        from: UnixMillis,
        to: UnixMillis,
        limit: usize,
    ) -> Result<Option<Vec<MetricView>>, ViewError> {
        let times = (1..=5u64).rev().map(|minute| UnixMillis::new(60_000 * minute));
        let received = times.filter(|time| (from..to).contains(time)).take(limit);
        self.disk((*node == crate::fixture::node(10)).then(|| received.map(metric_view).collect()))
    }

    fn resources(&self) -> Option<ResourcesView> {
        (!self.is_unsampled.load(Ordering::Relaxed)).then(resources_view)
    }

    fn resource_history(
        &self,
        granularity: Granularity,
        (from, to): (UnixMillis, UnixMillis),
        limit: usize,
    ) -> Result<Vec<SpanView>, ViewError> {
        let starts = (1..=5u32).rev().map(|n| UnixMillis::ZERO.after(granularity.length() * n));
        self.disk(starts.filter(|start| (from..to).contains(start)).take(limit).map(span_view).collect())
    }

    fn payouts(&self, after: Option<&PayoutId>, limit: usize) -> Result<Option<Vec<PayoutView>>, ViewError> {
        self.disk(match after {
            None => Some(std::iter::once(payout_view()).take(limit).collect()),
            Some(id) => (*id == Self::payout_id()).then(Vec::new),
        })
    }

    fn payout(&self, id: &PayoutId) -> Result<Option<PayoutView>, ViewError> {
        self.disk((*id == Self::payout_id()).then(payout_view))
    }
    fn pool(&self, pool: &PoolId) -> Result<Option<PoolView>, ViewError> {
        self.disk((*pool == Self::pool_id()).then(pool_view))
    }

    /// Of the network of the golden proofs it has the pool that they are about.
    fn pools(&self) -> PoolList {
        let PoolView { pool, name, owner, status, join, max_members, vault, .. } = pool_view();
        let known = PoolSummary { pool, name, owner, status, join, members: 2, max_members, vault };
        let summary = match self.network.get() {
            Some(network) => {
                let (pool, name) = (PoolId::derive(network, "pool"), "pool".to_owned());
                PoolSummary { pool, name, owner: node(9), ..known }
            }
            None => known,
        };
        PoolList { own: None, pools: vec![summary] }
    }

    fn batches(&self, pool: &PoolId, limit: usize) -> Result<Option<BatchList>, ViewError> {
        let batch = BatchView {
            settlement: Some(3),
            time: UnixMillis::new(5_000),
            tx_id: TxId::from_bytes([9; 32]),
            amount_micro_usdt: MicroUsdt::new(7),
            accounts: 2,
            block: 70,
            fee_sun: Sun::new(5),
        };
        let batches = vec![batch; limit.min(2)];
        self.disk((*pool == Self::pool_id()).then_some(BatchList { batches }))
    }

    fn leader(&self, pool: &PoolId) -> Option<LeaderOrderView> {
        let elected = ElectedView {
            rank: 1,
            node: node(10),
            is_eligible: true,
            live: 9_120,
            is_cooling: false,
            last_led: None,
            cools_until: None,
            gas_address: Some(PayoutAddress::from_hash20([7; 20])),
            why: "eligible, not in cool-down, live 9120 is the greatest of those".to_owned(),
        };
        (*pool == Self::pool_id()).then(|| LeaderOrderView {
            pool: *pool,
            settlement: 3,
            elected_in: Height::new(4),
            time: UnixMillis::new(4_000),
            order: vec![elected],
            turn: Some(TurnView { node: node(10), until: UnixMillis::new(9_000) }),
            not_elected: vec![NotElectedView { node: node(11), why: NotElected::NoGasAddress }],
        })
    }

    fn members(&self, pool: &PoolId) -> Option<MemberList> {
        let member = |seed| MemberView {
            node: node(seed),
            from: Some(Epoch::new(1)),
            until: None,
            payout_address: Some(PayoutAddress::from_hash20([seed; 20])),
            gas_address: None,
            state: MemberState::Active,
            is_held: false,
            unreached: 0,
        };
        self.pools()
            .pools
            .iter()
            .any(|known| known.pool == *pool)
            .then(|| MemberList { members: vec![member(10), member(11)] })
    }

    fn root(
        &self,
        pool: &PoolId,
        settlement: Option<u64>,
        offset: usize,
        limit: usize,
    ) -> Result<Option<LedgerView>, ViewError> {
        let is_there = *pool == Self::pool_id() && settlement.is_none_or(|settlement| settlement == 3);
        let (root, leaves) = settled();
        // Three leaves at most in an answer, so that there is more than one.
        let requested = leaves.iter().skip(1).map(|leaf| (leaf.id, leaf.owed)).collect();
        self.disk(is_there.then(|| LedgerView::new(&root, &leaves, &requested, offset, limit.min(3))))
    }

    fn proof(&self, subject: &Subject) -> Result<Result<Proof, ActionError>, ViewError> {
        let is_astray = self.astray.load(Ordering::Relaxed);
        let found = golden_proofs().into_iter().find(|proof| proof.answers(subject) != is_astray);
        let lazy = ActionError::Unavailable("no block is final here yet".to_owned());
        let unknown = ActionError::Unknown("the scores are not kept here any more".to_owned());
        self.disk(if self.lazy.load(Ordering::Relaxed) { Err(lazy) } else { found.ok_or(unknown) })
    }

    fn signatures(&self, pool: PoolId, request: SignatureRequest) -> BoxFuture<'_, Result<SignatureList, ActionError>> {
        let answer = match request {
            _ if pool != Self::pool_id() => Err(ActionError::Unknown("there is no such pool".to_owned())),
            SignatureRequest::Root { settlement: 3 } => {
                let missing = MissingSignature {
                    node: node(2),
                    key_address: PayoutAddress::from_hash20([2; 20]),
                    problem: "it does not answer".to_owned(),
                };
                Ok(SignatureList { needed: 1, signatures: vec![], missing: vec![missing] })
            }
            _ => Err(ActionError::Refused("there is nothing to sign".to_owned())),
        };
        Box::pin(async move { answer })
    }

    fn node(&self, node: &NodeId) -> Result<Option<RegisteredView>, ViewError> {
        self.disk([10, 11, 12].map(crate::fixture::node).contains(node).then(|| registered(*node)))
    }

    fn nodes(&self, after: Option<NodeId>, wanted: NodeFilter, limit: usize) -> Result<NodeList, ViewError> {
        let mut all = [10, 11, 12].map(node);
        all.sort();
        let NodeFilter { pool, role, state } = wanted;
        let is_wanted = |it: &&NodeId| {
            after.is_none_or(|after| **it > after)
                && pool.is_none_or(|it| it == Self::pool_id())
                && role.is_none_or(|it| it == NodeRole::Member)
                && state.is_none_or(|it| it == NodeState::Ready)
        };
        let nodes: Vec<_> = all.iter().filter(is_wanted).take(limit).map(|it| registered(*it)).collect();
        let next = nodes.last().map(|last| last.node).filter(|last| *last != all[2]);
        self.disk(NodeList { nodes, next })
    }

    fn stamp(&self, pool: Option<PoolId>) -> Option<StampView> {
        let view = StampView { pool, epoch: Epoch::new(3), beacon: Hash::from_bytes([6; 32]), bits: 9 };
        pool.is_none_or(|pool| pool == Self::pool_id()).then_some(view)
    }

    fn requests(&self, pool: &PoolId) -> Option<RequestList> {
        let request = RequestView {
            node: node(12),
            operator: node(12),
            payout_address: PayoutAddress::from_hash20([12; 20]),
            capacity: Capacity::default(),
            is_registered: false,
            until: UnixMillis::new(9_000),
        };
        (*pool == Self::pool_id()).then(|| RequestList { requests: vec![request] })
    }

    /// Command 8 waits, those before it are in block 5.
    fn account(&self, account: &NodeId) -> AccountView {
        AccountView { account: *account, key: Some(account.first_key()), nonce: 8, allowance: 7, waiting: vec![8] }
    }

    fn command(&self, account: &NodeId, nonce: u64) -> Result<CommandView, ViewError> {
        let action = Action::Pool { pool: Self::pool_id(), action: PoolAction::Suspend(true) };
        let command = Command { account: *account, nonce, until: UnixMillis::new(5), action };
        let stage = match nonce {
            0..=7 => CommandStage::Included,
            8 => CommandStage::Waiting,
            _ => CommandStage::Unknown,
        };
        let is_included = stage == CommandStage::Included;
        self.disk(CommandView {
            account: *account,
            nonce,
            stage,
            height: is_included.then_some(Height::new(5)),
            time: is_included.then_some(UnixMillis::new(5_000)),
            epoch: is_included.then_some(Epoch::new(2)),
            command: (stage != CommandStage::Unknown).then_some(command),
        })
    }

    fn check(&self, command: &Command) -> Result<(), ActionError> {
        if command.nonce == 8 { Ok(()) } else { Err(ActionError::Refused("its number is not the next".to_owned())) }
    }

    fn hand_in(&self, command: SignedCommand) -> BoxFuture<'_, Result<NodeId, ActionError>> {
        let answer = self.check(&command.record).map(|()| node(2));
        self.commands.lock().unwrap().push(command);
        Box::pin(async move { answer })
    }
}
