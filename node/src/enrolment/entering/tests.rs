use lucid_consensus::ledger::entry::Request;
use lucid_consensus::ledger::pool::{Member, PoolStatus, Standing};
use lucid_consensus::ledger::state::{Overlay, Rows as _};
use lucid_consensus::ledger::table::{Invites, Members, Nodes, Pools, Requests};
use lucid_types::ticket::Invite;

use super::*;
use crate::payout::testing::{OWNER, WORKERS, address, first, network, node, node_key, pool_id};

const STRANGER: u8 = 77;
const TIME: UnixMillis = UnixMillis::new(1_001_000);

fn new() -> NewAccount {
    NewAccount {
        operator: node(STRANGER),
        payout_address: address(1),
        payout_key: None,
        gas_address: None,
        capacity: Capacity::default(),
    }
}

fn applicant(seed: u8, pool: Option<JoinPool>) -> Applicant {
    Applicant { account: node(seed), new: Some(new()), pool }
}

fn bearer(spec: &ChainSpec, until: u64, owner: u8) -> BearerInvite {
    let key = node_key(50);
    let invite = Invite { pool: pool_id(spec), key: key.public_key(), until: UnixMillis::new(until), uses: 1 };
    BearerInvite::new(node_key(owner).sign_invite(spec.id(), invite).into_inner(), &key).unwrap()
}

fn takes(spec: &ChainSpec, join: JoinPolicy) -> State {
    first(spec).changed(|rows| rows.get_mut::<Pools>(&pool_id(spec)).unwrap().join = join)
}

#[test]
fn a_stranger_is_told_the_work_for_the_way_that_the_pool_takes() {
    let spec = network();
    let id = pool_id(&spec);
    for (pool, join, stamped) in [
        (None, JoinPolicy::Open, None),
        (Some(JoinPool::Named(id)), JoinPolicy::Open, Some(Door::Stamp(id))),
        (Some(JoinPool::Named(id)), JoinPolicy::Approval, Some(Door::Request(id))),
    ] {
        let state = takes(&spec, join);
        let Next::Enter(entering, Some(wanted)) = applicant(STRANGER, pool).next(&spec, &state, TIME) else {
            panic!("no way in by {join:?}")
        };
        assert_eq!(*entering, Entering::Register(new(), stamped));
        assert_eq!(wanted.bits, spec.genesis().policy.stamp_bits);
        // With the stamp that is asked for, the next block could hold the command.
        let stamp = wanted.target.search(wanted.epoch, wanted.bits, 0, u64::MAX).unwrap();
        let action = entering.action(Some(stamp));
        let command = Command { account: node(STRANGER), nonce: 0, until: TIME, action };
        check_unsigned(&spec, &state, [], &command, TIME).unwrap();
    }
}

#[test]
fn an_invite_opens_every_pool_and_needs_no_work() {
    let spec = network();
    let invited = |until, owner| Some(JoinPool::Invited(bearer(&spec, until, owner)));
    let state = takes(&spec, JoinPolicy::Invite);
    let Next::Enter(entering, None) = applicant(STRANGER, invited(2_000_000, OWNER)).next(&spec, &state, TIME) else {
        panic!("no way in by an invite")
    };
    assert_eq!(entering.key().unwrap().account(), node(50));
    let Action::Register(Registration { entry: Entry::Pool { ticket: Ticket::Invite(_), .. }, .. }) =
        entering.action(None)
    else {
        panic!("{entering:?}")
    };
    // One that is registered joins with it.
    let worker = applicant(WORKERS[1], invited(2_000_000, OWNER)).next(&spec, &state, TIME);
    let Next::Enter(joining, None) = worker else { panic!("{worker:?}") };
    assert!(matches!(*joining, Entering::Join(Door::Invite(_))), "{joining:?}");

    let stops = |pool, state: &State, wanted: &str| {
        let next = applicant(STRANGER, pool).next(&spec, state, TIME);
        let Next::Refused(Refused { problem, is_passing: false }) = &next else { panic!("{wanted}: {next:?}") };
        assert!(problem.contains(wanted), "{problem}");
    };
    stops(invited(1_000_500, OWNER), &state, "the invite ended");
    stops(invited(2_000_000, OWNER + 1), &state, "another account than the pool's owner");
    stops(Some(JoinPool::Named(pool_id(&spec))), &state, "takes invites only");
    let used = state.changed(|rows| {
        let used = lucid_consensus::ledger::entry::InviteUse { used: 1, until: UnixMillis::new(2_000_000) };
        rows.put::<Invites>(&(pool_id(&spec), node(50).first_key()), used);
    });
    stops(invited(2_000_000, OWNER), &used, "the invite was for 1 nodes");
}

/// Whatever the pool asks of others.
#[test]
fn who_is_inactive_comes_back_without_a_ticket() {
    let spec = network();
    let id = pool_id(&spec);
    let away = |until: u64| {
        takes(&spec, JoinPolicy::Invite).changed(|rows| {
            rows.get_mut::<Nodes>(&node(WORKERS[0])).unwrap().membership.as_mut().unwrap().until =
                Some(Epoch::new(until));
            let standing = Standing::Inactive(Epoch::new(until));
            rows.put::<Members>(&(id, node(WORKERS[0])), Member { standing, ..Member::default() });
        })
    };
    let next = |until| applicant(WORKERS[0], Some(JoinPool::Named(id))).next(&spec, &away(until), TIME);
    let Next::Enter(entering, None) = next(1) else { panic!("{:?}", next(1)) };
    assert_eq!(entering.action(None), Action::Node(NodeAction::Join { pool: id, ticket: Ticket::Return }));
    assert!(matches!(next(7), Next::Refused(Refused { is_passing: true, .. })), "it is drawn still");
}

#[test]
fn what_is_done_ends_it_and_what_waits_is_waited_for() {
    let spec = network();
    let (state, id) = (first(&spec), pool_id(&spec));
    let wanted = || Some(JoinPool::Named(id));
    let next = |seed, pool, state: &State| applicant(seed, pool).next(&spec, state, TIME);
    assert_eq!(next(WORKERS[0], wanted(), &state), Next::Entered(Some(Epoch::new(1))));
    assert_eq!(next(WORKERS[1], None, &state), Next::Entered(None));
    let until = UnixMillis::new(9_000_000);
    let asked = state.changed(|rows| rows.put::<Requests>(&(id, node(STRANGER)), Request { node: None, until }));
    assert_eq!(next(STRANGER, wanted(), &asked), Next::Approval { until });
}

#[test]
fn refusals_are_known_before_any_work_and_told_apart() {
    let spec = network();
    let (state, id) = (first(&spec), pool_id(&spec));
    let of = |change: &dyn Fn(&mut Overlay<'_>)| {
        let next =
            applicant(STRANGER, Some(JoinPool::Named(id))).next(&spec, &state.changed(|rows| change(rows)), TIME);
        let Next::Refused(refused) = next else { panic!("{next:?}") };
        refused
    };
    let banned = Member { standing: Standing::Banned, ..Member::default() };
    let banned = of(&|rows| rows.put::<Members>(&(id, node(STRANGER)), banned));
    assert!(!banned.is_passing && banned.problem.contains("its owner can end that"), "{banned:?}");
    let full = of(&|rows| rows.get_mut::<Pools>(&id).unwrap().max_members = 1);
    assert!(full.is_passing && full.problem.contains("has 1 members"), "{full:?}");
    let gone = of(&|rows| {
        rows.get_mut::<Pools>(&id).unwrap().status =
            PoolStatus::Disbanded { from: Epoch::new(1), until: Epoch::new(1) };
    });
    assert!(!gone.is_passing && gone.problem.contains("disbanded"), "{gone:?}");
    let none = of(&|rows| rows.remove::<Pools>(&id));
    assert!(!none.is_passing && none.problem.contains("no pool"), "{none:?}");
    let retired = of(&|rows| {
        let mut row = rows.get::<Nodes>(&node(WORKERS[1])).unwrap().clone();
        row.is_retired = true;
        rows.put::<Nodes>(&node(STRANGER), row);
    });
    assert!(!retired.is_passing, "{retired:?}");
    // Nobody has said where it is to be paid.
    let applicant = Applicant { new: None, ..applicant(STRANGER, None) };
    let Next::Refused(refused) = applicant.next(&spec, &state, TIME) else { panic!() };
    assert!(refused.problem.contains("--payout-address"), "{refused:?}");
}
