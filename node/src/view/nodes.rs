//! Registered nodes as they are shown: their rows, and how they are as far as this node knows.

use std::collections::BTreeSet;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::{PoolState, PoolStatus};
use lucid_consensus::ledger::registry::{Maintenance, Membership, Node};
use lucid_consensus::ledger::state::{EpochScores, Rows as _, State};
use lucid_score::worker_stats::ScoreRow;
use lucid_types::amount::Ppm;
use lucid_types::attestation::Capacity;
use lucid_types::id::{NodeId, PoolId};
use lucid_types::time::Epoch;

use crate::api::ViewError;
use crate::api::model::{
    InactiveView, MaintenanceView, MembershipView, NextKeyView, NextPayoutView, NodeFilter, NodeList, NodeRole,
    NodeState, RegisteredView, RequestList, RequestView, StampView,
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

/// The maintenance of a node that is not over.
pub(super) fn maintenance(state: &State, node: &NodeId) -> Vec<MaintenanceView> {
    state.node(node).map_or_else(Vec::new, |row| announced(row, state.closed().next()))
}

fn announced(row: &Node, open: Epoch) -> Vec<MaintenanceView> {
    let view = |&Maintenance { from, until, scope }: &Maintenance| MaintenanceView { from, until, scope };
    row.maintenance.iter().filter(|it| open < it.until).map(view).collect()
}

/// `waits` says whether the request that a row names waits still.
fn view(
    (node, row): (NodeId, &Node),
    signs: Signs,
    (spec, state, now): (&ChainSpec, &State, Epoch),
    (roles, inactive): (Vec<NodeRole>, Option<(PoolId, Epoch)>),
    waits: impl Fn(&PoolId) -> bool,
) -> RegisteredView {
    let (settlement, done, open) = (state.newest_settlement(spec), state.final_through(), state.closed().next());
    let membership = row.membership.filter(|it| it.has_not_ended_by(open));
    let next_key = row.announced_key(done).map(|(with, key)| NextKeyView {
        key,
        from: with.get() / spec.fixed().settle_every,
        epoch: with,
    });
    let next_payout = row.next_payout.filter(|(from, _)| *from > settlement);
    RegisteredView {
        node,
        key: row.key_at(done),
        next_key,
        roles,
        operator: row.operator,
        payout_address: row.payout_address_in(settlement),
        next_payout: next_payout.map(|(from, address)| NextPayoutView { address, from }),
        payout_key: row.payout_key,
        gas_address: row.gas_address,
        capacity: row.capacity,
        membership: membership.map(|Membership { pool, from, until }| MembershipView { pool, from, until }),
        inactive: inactive.map(|(pool, since)| InactiveView { pool, since }),
        maintenance: announced(row, open),
        request: row.request.filter(|pool| waits(pool)),
        is_retired: row.is_retired,
        state: if row.maintenance_at(open).is_some() {
            NodeState::Maintenance
        } else {
            signs.state(&row.capacity, now)
        },
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

/// What all nodes of a state are in the network.
struct Roles {
    validators: BTreeSet<NodeId>,
    owners: BTreeSet<NodeId>,
    leaders: BTreeSet<NodeId>,
    signers: BTreeSet<NodeId>,
    open: Epoch,
}

impl Roles {
    fn of(state: &State) -> Self {
        let is_over = |pool: &PoolState| matches!(pool.status, PoolStatus::Disbanded { .. });
        let leader = |pool: &PoolState| pool.election.as_ref()?.leader();
        let signers =
            |pool: &PoolState| pool.vault.signers.members.iter().map(|signer| signer.node).collect::<Vec<_>>();
        Self {
            validators: state.next_validators().members().iter().map(|validator| validator.node).collect(),
            owners: state.pools().filter(|(_, pool)| !is_over(pool)).map(|(_, pool)| pool.owner).collect(),
            leaders: state.pools().filter_map(|(_, pool)| leader(pool)).collect(),
            signers: state.pools().flat_map(|(_, pool)| signers(pool)).collect(),
            open: state.closed().next(),
        }
    }

    fn of_node(&self, node: &NodeId, row: &Node) -> Vec<NodeRole> {
        let has = [
            (NodeRole::Validator, self.validators.contains(node)),
            (NodeRole::Owner, self.owners.contains(node)),
            (NodeRole::Leader, self.leaders.contains(node)),
            (NodeRole::Member, row.pool_from(self.open).is_some()),
            (NodeRole::Treasury, self.signers.contains(node)),
        ];
        let roles: Vec<_> = has.into_iter().filter(|(_, has)| *has).map(|(role, _)| role).collect();
        if roles.is_empty() { vec![NodeRole::Observer] } else { roles }
    }
}

impl NodeParts {
    fn newest_scores(&self, state: &State) -> Result<Option<EpochScores>, ViewError> {
        let epoch = state.head().scored;
        scores::of(&self.store, epoch, self.clock.now()).map_err(|e| unread("the scores of epoch", epoch, e))
    }

    fn node_view(
        &self,
        state: &State,
        scores: Option<&EpochScores>,
        roles: &Roles,
        (node, row): (NodeId, &Node),
    ) -> RegisteredView {
        let of_node = scores.and_then(|scores| {
            let place = scores.rows.binary_search_by_key(&node, |row| row.worker).ok()?;
            scores.rows.get(place)
        });
        let signs = Signs { attested: self.attestations.newest(&node), measured: of_node.map(measured) };
        let now = self.spec.genesis().epoch_at(self.clock.now());
        let waits = |pool: &PoolId| state.requests(pool).any(|(asking, _)| asking == node);
        let place = (roles.of_node(&node, row), state.inactive_in(&node));
        view((node, row), signs, (&self.spec, state, now), place, waits)
    }

    pub(super) fn registered(&self, node: &NodeId) -> Result<Option<RegisteredView>, ViewError> {
        let state = self.head.borrow().state.clone();
        let Some(row) = state.node(node) else { return Ok(None) };
        let scores = self.newest_scores(&state)?;
        Ok(Some(self.node_view(&state, scores.as_ref(), &Roles::of(&state), (*node, row))))
    }

    /// At most `limit` nodes whose ids come after this one, of those that are asked for.
    pub(super) fn registered_after(
        &self,
        after: Option<NodeId>,
        wanted: NodeFilter,
        limit: usize,
    ) -> Result<NodeList, ViewError> {
        let state = self.head.borrow().state.clone();
        let scores = self.newest_scores(&state)?;
        let roles = Roles::of(&state);
        let is_candidate = |node: &NodeId, row: &Node| {
            after.is_none_or(|after| *node > after)
                && wanted.pool.is_none_or(|pool| row.pool_from(roles.open) == Some(pool))
                && wanted.role.is_none_or(|role| roles.of_node(node, row).contains(&role))
        };
        let candidates = state.nodes().filter(|(node, row)| is_candidate(node, row));
        let views = candidates.map(|of| self.node_view(&state, scores.as_ref(), &roles, of));
        let mut found = views.filter(|view| wanted.state.is_none_or(|state| view.state == state));
        let nodes: Vec<_> = found.by_ref().take(limit).collect();
        let next = found.next().and_then(|_| nodes.last().map(|last| last.node));
        Ok(NodeList { nodes, next })
    }

    /// What a stamp has to be made for; `None` if there is no such pool.
    pub(super) fn stamp_view(&self, pool: Option<PoolId>) -> Option<StampView> {
        let state = self.head.borrow().state.clone();
        let (epoch, close) = state.newest_close()?;
        let bits = state.stamp_bits(pool.as_ref(), epoch)?;
        Some(StampView { pool, epoch, beacon: close.beacon, bits })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::pool::Election;
    use lucid_consensus::ledger::table::{Nodes, Pools};
    use lucid_types::command::MaintenanceScope;
    use lucid_types::time::{Height, UnixMillis};

    use super::*;
    use crate::payout::testing::{self, OWNER, SIGNERS, WORKERS, node, signer_set};

    #[test]
    fn roles_are_what_the_state_has_a_node_as() {
        let spec = testing::network();
        let (state, pool) = (testing::first(&spec), testing::pool_id(&spec));
        let row = state.node(&node(WORKERS[1])).unwrap().clone();
        let roles = |state: &State, seed: u8| {
            let row = state.node(&node(seed)).unwrap_or(&row);
            Roles::of(state).of_node(&node(seed), row)
        };
        assert_eq!(roles(&state, WORKERS[0]), [NodeRole::Member]);
        assert_eq!(roles(&state, WORKERS[1]), [NodeRole::Observer]);
        assert!(roles(&state, SIGNERS[0]).contains(&NodeRole::Validator));
        assert!(!roles(&state, SIGNERS[1]).contains(&NodeRole::Validator));
        assert!(roles(&state, OWNER).contains(&NodeRole::Owner));
        let later = state.changed(|rows| {
            let row = rows.get_mut::<Pools>(&pool).unwrap();
            let order = WORKERS.map(|seed| testing::elected(node(seed))).to_vec();
            row.election = Some(Election { settlement: 1, height: Height::new(1), time: UnixMillis::ZERO, order });
            row.vault.signers = signer_set(2, [WORKERS[1], 5, 6]);
        });
        assert_eq!(roles(&later, WORKERS[0]), [NodeRole::Leader, NodeRole::Member]);
        assert_eq!(roles(&later, WORKERS[1]), [NodeRole::Treasury], "a successor leads only in its turn");
        let ended = later.changed(|rows| {
            rows.head.closed = Epoch::new(5);
            rows.get_mut::<Pools>(&pool).unwrap().status =
                PoolStatus::Disbanded { from: Epoch::new(1), until: Epoch::new(3) };
            rows.get_mut::<Nodes>(&node(WORKERS[0])).unwrap().membership.as_mut().unwrap().until = Some(Epoch::new(3));
        });
        assert!(!roles(&ended, OWNER).contains(&NodeRole::Owner));
        assert_eq!(roles(&ended, WORKERS[0]), [NodeRole::Leader], "it carries what is unpaid");
    }

    #[test]
    fn a_node_in_maintenance_is_shown_so_until_it_is_over() {
        let spec = testing::network();
        let id = node(WORKERS[0]);
        let of = |from, until, scope| Maintenance { from: Epoch::new(from), until: Epoch::new(until), scope };
        let all = [of(2, 4, MaintenanceScope::Traffic), of(4, 6, MaintenanceScope::All)];
        let state = testing::first(&spec).changed(|rows| {
            rows.get_mut::<Nodes>(&id).unwrap().maintenance = all.to_vec();
        });
        for open in 1..=6u64 {
            let state = state.changed(|rows| rows.head.closed = Epoch::new(open - 1));
            let row = state.node(&id).unwrap();
            let (place, now) = ((Vec::new(), None), Epoch::new(open));
            let view = view((id, row), Signs::default(), (&spec, &state, now), place, |_| false);
            let shown = view.maintenance.iter().map(|it| it.from.get()).collect::<Vec<_>>();
            let expected: &[u64] = [&[2, 4][..], &[2, 4], &[2, 4], &[4], &[4], &[]][usize::try_from(open - 1).unwrap()];
            assert_eq!(shown, expected, "epoch {open}");
            assert_eq!(view.state == NodeState::Maintenance, (2..6).contains(&open), "epoch {open}");
            assert_eq!(maintenance(&state, &id), view.maintenance);
        }
        assert!(maintenance(&state, &node(77)).is_empty());
    }

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
