//! Registered nodes as they are shown: their rows, and how they are as far as this node knows.

use lucid_consensus::ledger::registry::{Membership, Node};
use lucid_consensus::ledger::state::{EpochScores, Rows as _, State};
use lucid_score::worker_stats::ScoreRow;
use lucid_types::amount::Ppm;
use lucid_types::attestation::Capacity;
use lucid_types::id::{NodeId, PoolId};
use lucid_types::time::Epoch;

use crate::api::ViewError;
use crate::api::model::{
    MembershipView, NextPayoutView, NodeList, NodeState, RegisteredView, RequestList, RequestView, StampView,
};
use crate::history::scores;
use crate::probe::Attested;
use crate::view::{NodeParts, unread};

/// What this node knows of a registered one beside its row.
#[derive(Clone, Copy, Debug, Default)]
struct Signs {
    attested: Option<Attested>,
    /// Its row in the newest epoch with final scores.
    measured: Option<Measured>,
}

#[derive(Clone, Copy, Debug)]
struct Measured {
    score: Ppm,
    is_reached: bool,
}

impl Signs {
    /// See [`NodeState`].
    fn state(&self, capacity: &Capacity, now: Epoch) -> NodeState {
        let attests = self.attested.is_some_and(|it| it.epoch >= now.previous());
        let is_full = self.attested.is_some_and(|it| it.allocation >= Ppm::ONE);
        match (attests, self.measured.map(|it| it.is_reached)) {
            (true, _) if *capacity == Capacity::default() => NodeState::Maintenance,
            (true, None) => NodeState::Starting,
            (true, Some(false)) => NodeState::Error,
            (true, Some(true)) if is_full => NodeState::Busy,
            (_, Some(true)) => NodeState::Ready,
            (false, Some(false) | None) => NodeState::Offline,
        }
    }
}

fn measured(row: &ScoreRow) -> Measured {
    Measured { score: row.score, is_reached: row.reachable_ms > 0 }
}

/// `waits` says whether the request that a row names waits still.
fn view(
    (node, row): (NodeId, &Node),
    signs: Signs,
    (settlement, open, now): (u64, Epoch, Epoch),
    waits: impl Fn(&PoolId) -> bool,
) -> RegisteredView {
    let membership = row.membership.filter(|it| it.has_not_ended_by(open));
    let next_payout = row.next_payout.filter(|(from, _)| *from > settlement);
    RegisteredView {
        node,
        operator: row.operator,
        payout_address: row.payout_address_in(settlement),
        next_payout: next_payout.map(|(from, address)| NextPayoutView { address, from }),
        payout_key: row.payout_key,
        gas_address: row.gas_address,
        capacity: row.capacity,
        membership: membership.map(|Membership { pool, from, until }| MembershipView { pool, from, until }),
        request: row.request.filter(|pool| waits(pool)),
        is_retired: row.is_retired,
        state: signs.state(&row.capacity, now),
        attested: signs.attested.map(|it| it.epoch),
        allocation_ppm: signs.attested.map(|it| it.allocation),
        score_ppm: signs.measured.map(|it| it.score),
    }
}

/// The requests that wait for a pool's owner.
pub(super) fn requests(state: &State, pool: &PoolId) -> RequestList {
    let requests = state.requests(pool).filter_map(|(node, request)| {
        let (row, is_registered) = match &request.node {
            Some(row) => (row, false),
            None => (state.node(&node)?, true),
        };
        let Node { operator, payout_address, capacity, .. } = *row;
        Some(RequestView { node, operator, payout_address, capacity, is_registered, until: request.until })
    });
    RequestList { requests: requests.collect() }
}

impl NodeParts {
    fn newest_scores(&self, state: &State) -> Result<Option<EpochScores>, ViewError> {
        let epoch = state.head().scored;
        scores::of(&self.store, epoch, self.clock.now()).map_err(|e| unread("the scores of epoch", epoch, e))
    }

    fn node_view(&self, state: &State, scores: Option<&EpochScores>, node: NodeId, row: &Node) -> RegisteredView {
        let of_node = scores.and_then(|scores| {
            let place = scores.rows.binary_search_by_key(&node, |row| row.worker).ok()?;
            scores.rows.get(place)
        });
        let signs = Signs { attested: self.attestations.newest(&node), measured: of_node.map(measured) };
        let now = self.spec.genesis().epoch_at(self.clock.now());
        let waits = |pool: &PoolId| state.requests(pool).any(|(asking, _)| asking == node);
        view((node, row), signs, (state.newest_settlement(&self.spec), state.closed().next(), now), waits)
    }

    pub(super) fn registered(&self, node: &NodeId) -> Result<Option<RegisteredView>, ViewError> {
        let state = self.head.borrow().state.clone();
        let Some(row) = state.node(node) else { return Ok(None) };
        let scores = self.newest_scores(&state)?;
        Ok(Some(self.node_view(&state, scores.as_ref(), *node, row)))
    }

    /// At most `limit` nodes whose ids come after this one; all of them, or those of a pool.
    pub(super) fn registered_after(
        &self,
        after: Option<NodeId>,
        pool: Option<PoolId>,
        limit: usize,
    ) -> Result<NodeList, ViewError> {
        let state = self.head.borrow().state.clone();
        let scores = self.newest_scores(&state)?;
        let open = state.closed().next();
        let is_wanted = |node: &NodeId, row: &Node| {
            after.is_none_or(|after| *node > after) && pool.is_none_or(|pool| row.pool_from(open) == Some(pool))
        };
        let mut found = state.nodes().filter(|(node, row)| is_wanted(node, row));
        let page = found.by_ref().take(limit);
        let nodes: Vec<_> = page.map(|(node, row)| self.node_view(&state, scores.as_ref(), node, row)).collect();
        let next = found.next().and_then(|_| nodes.last().map(|last| last.node));
        Ok(NodeList { nodes, next })
    }

    /// What a stamp has to be made for; `None` if there is no such pool.
    pub(super) fn stamp_view(&self, pool: Option<PoolId>) -> Option<StampView> {
        let state = self.head.borrow().state.clone();
        let (epoch, close) = state.newest_close()?;
        let bits = state.stamp_bits(&self.spec, pool.as_ref(), epoch)?;
        Some(StampView { pool, epoch, beacon: close.beacon, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_what_it_says_and_what_validators_see() {
        let now = Epoch::new(9);
        let offer = Capacity { cores: 1, ..Capacity::default() };
        let attested =
            |epoch, allocation| Some(Attested { epoch: Epoch::new(epoch), allocation: Ppm::new(allocation) });
        let measured = |is_reached| Some(Measured { score: Ppm::ONE, is_reached });
        for (attested, measured, state) in [
            (attested(9, 0), None, NodeState::Starting),
            (attested(8, 999_999), measured(true), NodeState::Ready),
            (attested(8, 1_000_000), measured(true), NodeState::Busy),
            (attested(9, 0), measured(false), NodeState::Error),
            (attested(7, 1_000_000), measured(true), NodeState::Ready),
            (attested(7, 0), measured(false), NodeState::Offline),
            (attested(7, 0), None, NodeState::Offline),
            (None, None, NodeState::Offline),
            (None, measured(true), NodeState::Ready),
        ] {
            assert_eq!(Signs { attested, measured }.state(&offer, now), state, "{attested:?} {measured:?}");
        }
        let nothing = Signs { attested: attested(9, 0), measured: measured(true) };
        assert_eq!(nothing.state(&Capacity::default(), now), NodeState::Maintenance);
    }
}
