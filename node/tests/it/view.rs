//! A node's view with known content: what the API makes of it is what is tested.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lucid_node::api::metrics::{Metrics, PayoutCounts};
use lucid_node::api::model::{
    Components, EpochView, LeaderView, PayoutStatus, PayoutView, PeerView, ScoreView, StatusView, SyncState,
};
use lucid_node::api::{NodeView, ViewError};
use lucid_node::config::Role;
use lucid_node::probe::{ProbeCounts, ServedCounts};
use lucid_types::amount::{Credits, MicroUsdt, Ppm, Sun};
use lucid_types::id::{BlockHash, NetworkId, PayoutAddress, PayoutId, PoolId, StateRoot, TxId};
use lucid_types::time::{EpochNumber, UnixMillis};

use crate::fixture::node;

/// Heights 1 to 5 are final; epochs up to 4 have scores; the state's disk can break.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) broken: AtomicBool,
    pub(crate) lazy: AtomicBool,
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

    pub(crate) fn payout_id() -> PayoutId {
        PayoutId::from_bytes([8; 32])
    }
}

fn epoch_view(n: u64) -> EpochView {
    EpochView {
        epoch: EpochNumber::new(n),
        block_hash: BlockHash::from_bytes([n.to_le_bytes()[0]; 32]),
        state_root: StateRoot::from_bytes([3; 32]),
        round: 0,
        signatures: 3,
        time: UnixMillis::new(1_000 * n),
        proposer: node(1),
        commits: 4,
        reveals: 4,
        workers_scored: 2,
        leaders: vec![LeaderView {
            pool: PoolId::from_bytes([4; 32]),
            settlement: 1,
            leader: node(10),
            successors: vec![],
        }],
    }
}

fn score_view(epoch: EpochNumber, seed: u8, score: u32) -> ScoreView {
    let part = Ppm::new(score);
    ScoreView {
        epoch,
        worker: node(seed),
        score_ppm: part,
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
        rtt_us: Some(700),
        relay_sessions: 1,
        relay_bytes: 262_144,
        relay_kbit_s: None,
    }
}

fn payout_view() -> PayoutView {
    PayoutView {
        payout_id: Known::payout_id(),
        pool: PoolId::from_bytes([4; 32]),
        settlement: 1,
        worker: node(10),
        address: PayoutAddress::from_hash20([7; 20]),
        amount_micro_usdt: MicroUsdt::new(20_000_001),
        attempt: 1,
        status: PayoutStatus::Paid,
        tx_id: Some(TxId::from_bytes([9; 32])),
        block: Some(123),
        fee_sun: Some(Sun::new(420)),
    }
}

impl NodeView for Known {
    fn status(&self) -> StatusView {
        StatusView {
            node_id: node(1),
            peer_id: "12D3KooWtest".to_owned(),
            roles: BTreeSet::from([Role::Validator, Role::Bootstrap]),
            network_id: NetworkId::from_bytes([1; 32]),
            peers: 9,
            height: EpochNumber::new(5),
            epoch: EpochNumber::new(6),
            block_hash: BlockHash::from_bytes([2; 32]),
            state_root: StateRoot::from_bytes([3; 32]),
            sync: SyncState::Synced,
            pool: None,
            leader: Some(node(10)),
            api: "127.0.0.1:8095".to_owned(),
        }
    }

    fn ready(&self) -> Result<(), String> {
        if self.lazy.load(Ordering::Relaxed) { Err("the chain is stalled at height 5".to_owned()) } else { Ok(()) }
    }

    fn peers(&self) -> Vec<PeerView> {
        vec![PeerView {
            node_id: node(2),
            peer_id: "12D3KooWother".to_owned(),
            addresses: vec!["/ip4/127.0.0.1/tcp/7001/p2p/12D3KooWother".to_owned()],
            transport: "tcp".to_owned(),
            direction: "inbound".to_owned(),
            connections: 1,
            rtt_us: None,
            score: 1.25,
            agent: "lucid/0.1.0".to_owned(),
        }]
    }

    fn metrics(&self) -> Metrics {
        Metrics {
            height: 5,
            epoch: 6,
            peers: 9,
            sync: SyncState::Synced,
            round: 0,
            payouts: PayoutCounts { open: 1, paid_micro_usdt: 6, held: 0 },
            mesh: vec![],
            probes: ProbeCounts::default(),
            served: ServedCounts::default(),
        }
    }

    fn epochs(&self, before: Option<EpochNumber>, limit: usize) -> Result<Vec<EpochView>, ViewError> {
        let end = before.map_or(6, |epoch| epoch.get().min(6));
        self.disk((1..end).rev().take(limit).map(epoch_view).collect())
    }

    fn epoch(&self, epoch: EpochNumber) -> Result<Option<EpochView>, ViewError> {
        self.disk((1..=5).contains(&epoch.get()).then(|| epoch_view(epoch.get())))
    }

    fn newest_scored(&self) -> Result<Option<EpochNumber>, ViewError> {
        self.disk(Some(EpochNumber::new(4)))
    }

    fn scores(&self, epoch: EpochNumber) -> Result<Vec<ScoreView>, ViewError> {
        let known = (1..=4).contains(&epoch.get());
        self.disk(if known { vec![score_view(epoch, 10, 400_000), score_view(epoch, 11, 650_000)] } else { vec![] })
    }

    fn payouts(&self, limit: usize) -> Result<Vec<PayoutView>, ViewError> {
        self.disk(std::iter::once(payout_view()).take(limit).collect())
    }

    fn payout(&self, id: &PayoutId) -> Result<Option<PayoutView>, ViewError> {
        self.disk((*id == Self::payout_id()).then(payout_view))
    }
}
