//! Elections as they are shown: who leads, who takes over, and why.

use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::pool::Election;
use lucid_consensus::ledger::registry::Node;
use lucid_consensus::ledger::state::{Rows as _, State};
use lucid_consensus::ledger::table::Workers;
use lucid_score::leader::Elected;
use lucid_types::id::{NodeId, PoolId};
use lucid_types::policy::Policy;
use lucid_types::time::UnixMillis;

use crate::api::model::{ElectedView, LeaderOrderView, LeaderView, NotElected, NotElectedView, TurnView};

/// Who leads a pool, and who takes over; `None` if nobody can.
pub(super) fn leader_view(pool: PoolId, settlement: u64, order: &[Elected]) -> Option<LeaderView> {
    let mut nodes = order.iter().map(|elected| elected.node);
    Some(LeaderView { pool, settlement, leader: nodes.next()?, successors: nodes.collect() })
}

/// The newest election of a pool; `None` if there is no such pool, or it has not elected yet.
pub(super) fn order(spec: &ChainSpec, state: &State, id: &PoolId) -> Option<LeaderOrderView> {
    let pool = state.pool(id)?;
    let election = pool.election.as_ref()?;
    let Election { settlement, height, time, order } = election;
    let turn = || {
        let root = pool.newest.filter(|root| root.settlement == *settlement && root.leader.is_some())?;
        Some(TurnView { node: election.leader()?, until: UnixMillis::new(root.until.saturating_mul(1_000)) })
    };
    let policy = state.policy(spec.fixed().last_epoch_of(*settlement));
    let view = |(place, it): (usize, &Elected)| ElectedView {
        rank: u32::try_from(place).map_or(u32::MAX, |place| place.saturating_add(1)),
        node: it.node,
        is_eligible: it.is_eligible,
        live: it.live,
        is_cooling: it.is_cooling,
        last_led: it.last_led,
        cools_until: it.last_led.filter(|_| it.is_cooling).map(|led| cools_until(policy, led)),
        gas_address: state.node(&it.node).and_then(|node| node.gas_address),
        why: why(place.checked_sub(1).and_then(|before| order.get(before)), it, order),
    };
    Some(LeaderOrderView {
        pool: *id,
        settlement: *settlement,
        elected_in: *height,
        time: *time,
        order: order.iter().enumerate().map(view).collect(),
        turn: turn(),
        not_elected: not_elected(state, id, election),
    })
}

fn cools_until(policy: &Policy, led: u64) -> u64 {
    led.saturating_add(policy.leader_cooldown).saturating_add(1)
}

/// Why a member stands behind the one before it, or first.
fn why(before: Option<&Elected>, it: &Elected, all: &[Elected]) -> String {
    let live = it.live;
    let led = it.last_led.map_or_else(|| "none".to_owned(), |led| led.to_string());
    let all_cool = all.iter().all(|it| it.is_cooling);
    let Some(before) = before else {
        let eligible = if it.is_eligible { "eligible" } else { "nobody is eligible" };
        return if it.is_cooling {
            format!("{eligible}; all are in cool-down, and it has led longest ago, settlement {led}")
        } else {
            format!("{eligible}, not in cool-down, live {live} is the greatest of those")
        };
    };
    if before.is_eligible && !it.is_eligible {
        return "not eligible: it has earned no credits, or was reachable too little".to_owned();
    }
    if it.is_cooling && !before.is_cooling {
        return format!("in cool-down: it has led settlement {led}");
    }
    if all_cool && it.last_led > before.last_led {
        return format!("it has led settlement {led}, later than the one before");
    }
    if it.live < before.live {
        return format!("live {live} is less than {}", before.live);
    }
    "as good as the one before it: the random beacon has decided".to_owned()
}

/// The members that are not in the order.
fn not_elected(state: &State, pool: &PoolId, election: &Election) -> Vec<NotElectedView> {
    let open = state.closed().next();
    let is_left_out =
        |(id, node): &(NodeId, &Node)| node.pool_from(open) == Some(*pool) && election.place_of(id).is_none();
    let why = |(id, node): (NodeId, &Node)| {
        let why = if node.gas_address.is_none() {
            NotElected::NoGasAddress
        } else if node.pool_in(open) != Some(*pool) {
            NotElected::NotAMemberYet
        } else if !state.has::<Workers>(&id) {
            NotElected::NoStats
        } else {
            NotElected::Behind
        };
        NotElectedView { node: id, why }
    };
    state.nodes().filter(is_left_out).map(why).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_consensus::ledger::table::{Nodes, Pools};
    use lucid_score::worker_stats::WorkerStats;
    use lucid_types::time::{Epoch, Height};

    use super::*;
    use crate::payout::testing::{self, OWNER, WORKERS, elected, node};

    fn elect(order: Vec<Elected>) -> Election {
        Election { settlement: 7, height: Height::new(44), time: UnixMillis::new(9), order }
    }

    #[test]
    fn each_has_a_reason_for_its_place() {
        let of = |n: u8, is_eligible, is_cooling, last_led, live| Elected {
            is_eligible,
            is_cooling,
            last_led,
            live,
            ..elected(node(n))
        };
        let reasons = |order: &[Elected]| {
            let before = std::iter::once(None).chain(order.iter().map(Some));
            order.iter().zip(before).map(|(it, before)| why(before, it, order)).collect::<Vec<_>>()
        };
        let order = [
            of(1, true, false, None, 90),
            of(2, true, false, Some(2), 80),
            of(3, true, false, None, 80),
            of(4, true, true, Some(6), 800),
            of(5, false, false, None, 900),
        ];
        assert_eq!(
            reasons(&order),
            [
                "eligible, not in cool-down, live 90 is the greatest of those",
                "live 80 is less than 90",
                "as good as the one before it: the random beacon has decided",
                "in cool-down: it has led settlement 6",
                "not eligible: it has earned no credits, or was reachable too little",
            ]
        );
        let cooling = [of(1, true, true, Some(4), 1), of(2, true, true, Some(5), 90)];
        assert_eq!(
            reasons(&cooling),
            [
                "eligible; all are in cool-down, and it has led longest ago, settlement 4",
                "it has led settlement 5, later than the one before",
            ]
        );
        assert!(reasons(&[of(1, false, false, None, 0)])[0].starts_with("nobody is eligible, not in cool-down"));
    }

    #[test]
    fn the_newest_election_is_shown_with_who_was_left_out() {
        let spec = testing::network();
        let (first, pool) = (testing::first(&spec), testing::pool_id(&spec));
        assert_eq!(order(&spec, &first, &pool), None, "nobody was elected yet");
        let [leader, other] = WORKERS.map(node);
        let root = testing::root(&spec, 7, 100);
        let state = first.changed(|rows| {
            let cooled = Elected { is_cooling: true, last_led: Some(6), ..elected(leader) };
            let row = rows.get_mut::<Pools>(&pool).unwrap();
            row.election = Some(elect(vec![cooled]));
            row.newest =
                Some(lucid_types::payout::SettlementRoot { leader: Some(row.vault.address), until: 30, ..root });
            let like = rows.get::<Nodes>(&leader).unwrap().clone();
            rows.put::<Nodes>(&node(OWNER), Node { gas_address: None, ..like.clone() });
            let mut late = like.membership.unwrap();
            late.from = Epoch::new(99);
            rows.put::<Nodes>(
                &node(77),
                Node { membership: Some(late), gas_address: Some(like.payout_address), ..like.clone() },
            );
            rows.put::<Nodes>(&node(78), Node { gas_address: Some(like.payout_address), ..like.clone() });
            rows.put::<Nodes>(&other, Node { gas_address: Some(like.payout_address), ..like });
            rows.put::<Workers>(&other, WorkerStats::default());
        });
        let view = order(&spec, &state, &pool).unwrap();
        assert_eq!((view.settlement, view.elected_in, view.order.len()), (7, Height::new(44), 1));
        let entry = &view.order[0];
        assert_eq!((entry.rank, entry.node, entry.last_led), (1, leader, Some(6)));
        assert_eq!(entry.cools_until, Some(6 + state.policy(Epoch::new(14)).leader_cooldown + 1));
        assert_eq!(view.turn, Some(TurnView { node: leader, until: UnixMillis::new(30_000) }));
        let why = |id| view.not_elected.iter().find(|it| it.node == id).map(|it| it.why);
        assert_eq!(why(leader), None);
        assert_eq!(
            [node(OWNER), node(77), node(78), other].map(why),
            [NotElected::NoGasAddress, NotElected::NotAMemberYet, NotElected::NoStats, NotElected::Behind].map(Some)
        );
        let older = state.changed(|rows| {
            rows.get_mut::<Pools>(&pool).unwrap().newest.as_mut().unwrap().settlement = 6;
        });
        assert_eq!(order(&spec, &older, &pool).unwrap().turn, None, "the settlement made no root");
        assert_eq!(order(&spec, &state, &PoolId::from_bytes([0; 32])), None);
    }
}
