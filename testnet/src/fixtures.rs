//! Answers of nodes for unit tests of what is made from them.

use std::collections::BTreeSet;

use lucid_node::api::model::{
    BlockView, Components, EpochStage, EpochView, LeaderView, PayoutStatus, PayoutView, ScoreList, ScoreView,
    StatusView, SyncState,
};
use lucid_types::amount::{Credits, MicroUsdt, Ppm};
use lucid_types::id::{BlockHash, NetworkId, NodeId, PayoutAddress, PayoutId, PoolId, StateRoot, TxId};
use lucid_types::payout::AccountKind;
use lucid_types::time::{Epoch, Height, UnixMillis};

use crate::plan::Role;
use crate::watch::{News, Snapshot};

pub(crate) fn node(byte: u8) -> NodeId {
    NodeId::from_bytes([byte; 32])
}

pub(crate) fn status(epoch: u64, peers: usize) -> StatusView {
    StatusView {
        node_id: node(1),
        key: node(1).first_key(),
        peer_id: "12D3".into(),
        roles: BTreeSet::from([Role::Validator]),
        missing_key: None,
        network_id: NetworkId::from_bytes([1; 32]),
        peers,
        height: Height::new(3 * epoch),
        oldest_block: Some(Height::new(1)),
        epoch: Epoch::new(epoch + 1),
        final_epoch: Epoch::new(epoch),
        block_hash: BlockHash::from_bytes([2; 32]),
        state_root: StateRoot::from_bytes([3; 32]),
        sync: SyncState::Synced,
        pool: None,
        leader: None,
        maintenance: None,
        probe_traffic: None,
        owed_micro_usdt: None,
        paid_micro_usdt: None,
        enrolment: None,
        alerts: Vec::new(),
        api: "127.0.0.1:1".into(),
    }
}

/// An epoch with final scores.
pub(crate) fn epoch(epoch: u64, leaders: Vec<LeaderView>) -> EpochView {
    let block = BlockView {
        height: Height::new(3 * epoch),
        block_hash: BlockHash::from_bytes([2; 32]),
        parent: BlockHash::from_bytes([1; 32]),
        state_root: StateRoot::from_bytes([3; 32]),
        round: 0,
        signatures: 3,
        time: UnixMillis::new(5_800),
        proposer: node(1),
        commitments: 0,
        reveals: 4,
        commands: 0,
        equivocated: Vec::new(),
        leaders,
    };
    EpochView {
        epoch: Epoch::new(epoch),
        stage: EpochStage::Final,
        start: UnixMillis::new(0),
        end: UnixMillis::new(5_000),
        closed_in: Some(Height::new(3 * epoch - 2)),
        final_in: Some(Height::new(3 * epoch)),
        block: Some(block),
        workers_scored: Some(6),
    }
}

pub(crate) fn leader(settlement: u64, leader: u8, successors: &[u8]) -> LeaderView {
    let successors = successors.iter().map(|byte| node(*byte)).collect();
    LeaderView { pool: PoolId::from_bytes([5; 32]), settlement, leader: node(leader), successors }
}

pub(crate) fn scores(epoch: u64, entries: &[(u8, u32)]) -> ScoreList {
    let score = |(worker, ppm): &(u8, u32)| ScoreView {
        epoch: Epoch::new(epoch),
        worker: node(*worker),
        score_ppm: Ppm::new(*ppm),
        relay_credits: Credits::new(4),
        storage_credits: Credits::ZERO,
        sharers: 1,
        credits: Credits::new(4),
        reachable_ms: 5_000,
        components: Components::default(),
        unmeasured: vec!["utilisation".into()],
        rtt_us: 700,
        echo_bytes: Some(1 << 20),
        echo_kbit_s: Some(80_000),
        proved_chunks: None,
        network_group: None,
    };
    ScoreList { epoch: Some(Epoch::new(epoch)), scores: entries.iter().map(score).collect() }
}

pub(crate) fn payout(settlement: u64, worker: u8, status: PayoutStatus) -> PayoutView {
    let settlement_byte = u8::try_from(settlement).unwrap_or(u8::MAX);
    PayoutView {
        payout_id: PayoutId::from_bytes([worker.wrapping_mul(16).wrapping_add(settlement_byte); 32]),
        pool: PoolId::from_bytes([5; 32]),
        settlement,
        worker: node(worker),
        kind: AccountKind::Worker,
        address: PayoutAddress::from_hash20([worker; 20]),
        amount_micro_usdt: MicroUsdt::new(20_500_000),
        owed_micro_usdt: MicroUsdt::new(settlement.saturating_mul(20_500_000)),
        status,
        waits_for: None,
        since: None,
        tx_id: Some(TxId::from_bytes([worker; 32])),
        block: (status == PayoutStatus::Paid).then_some(33),
        fee_sun: None,
    }
}

/// Nodes with final scores up to these epochs, each with 9 peers; `None` for one that does not answer.
pub(crate) fn seen(epochs: &[Option<u64>], news: Option<News>) -> Snapshot {
    let nodes = epochs.iter().map(|epoch| epoch.map(|epoch| status(epoch, 9))).collect();
    Snapshot { nodes, news, ..Snapshot::default() }
}
