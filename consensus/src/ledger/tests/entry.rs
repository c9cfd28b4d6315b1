//! How nodes enter the network and its pools, and leave them.

use std::time::Duration;

use lucid_types::command::{Action, Command, Entry, NodeAction, Registration};
use lucid_types::id::{NodeId, PoolId, PublicKey};
use lucid_types::key::NodeKey;
use lucid_types::pool::{JoinPolicy, PoolAction};
use lucid_types::stamp::Stamp;
use lucid_types::ticket::{Invite, Ticket};
use lucid_types::time::{Epoch, UnixMillis};

use super::chain::{Chain, address, all_good, start, start_with, validator_key, worker, worker_key};
use super::start::Start;
use crate::ledger::command::{CommandRefused, SignedCommand};
use crate::ledger::entry::{MAX_INVITES, MAX_REQUESTS, Request};
use crate::ledger::event::Event;
use crate::ledger::registry::{Membership, Nonce};
use crate::ledger::state::Rows;
use crate::ledger::table::{Closes, Invites, Members, Nodes, Nonces, Requests};

/// Keys of accounts that nobody has registered.
pub(super) fn newcomer(i: u8) -> NodeKey {
    NodeKey::from_seed(&[i; 32].map(|byte: u8| byte ^ 0x80))
}

fn by_stamp(chain: &Chain, key: &NodeKey, pool: PoolId) -> Entry {
    Entry::Pool { pool, ticket: Ticket::Stamp(chain.stamp(key.account(), Some(pool))) }
}

fn registering(chain: &Chain, key: &NodeKey, entry: Entry) -> SignedCommand {
    chain.give(key, Chain::registration(key, 150, entry), &[])
}

fn joining(pool: PoolId, ticket: Ticket) -> Action {
    Action::Node(NodeAction::Join { pool, ticket })
}

/// Two pools that are active; the second one has no members.
fn two_pools(change: impl FnOnce(&mut Start)) -> (Chain, PoolId, PoolId) {
    let chain = Chain::new(start_with(|start| {
        let mut other = start.pools[0].clone();
        (other.name, other.members, other.vault.address) = ("other".into(), vec![], address(101));
        start.pools.push(other);
        change(start);
    }));
    let id = |name| PoolId::derive(chain.spec.id(), name);
    let (first, other) = (id("pool"), id("other"));
    (chain, first, other)
}

#[test]
fn a_stamp_makes_an_account() {
    let mut chain = Chain::grown(start(), 2);
    let key = newcomer(1);
    let good = chain.stamp(key.account(), None);
    let (newest, bits) = (good.epoch, 8);
    let refused = |registration: Registration, keys: &[&NodeKey]| {
        chain.clone().take(chain.give(&key, Action::Register(registration), keys)).unwrap_err()
    };
    let with = |change: fn(&mut Registration), stamp: Stamp| {
        let Action::Register(mut registration) = Chain::registration(&key, 150, Entry::Network(stamp)) else {
            unreachable!()
        };
        change(&mut registration);
        registration
    };
    let light = chain.stamp_of(key.account(), None, (newest, bits), false);
    assert!(matches!(refused(with(|_| (), light), &[]), CommandRefused::StampBits { found: 0..8, needed: 8 }));
    let for_pool = chain.stamp(key.account(), Some(chain.pool_id()));
    assert!(matches!(refused(with(|_| (), for_pool), &[]), CommandRefused::StampBits { .. }));
    let unknown = Stamp { epoch: newest.next(), ..good };
    let error = refused(with(|_| (), unknown), &[]);
    assert_eq!(error, CommandRefused::StampEpoch { found: newest.next(), newest });
    let told = |change| refused(with(change, good), &[]).to_string();
    assert_eq!(
        told(|it| it.payout_address = address(200)),
        "payout_address is the USDT contract; give an address of your own"
    );
    assert!(told(|it| it.payout_address = address(100)).contains("a pool's vault"));
    assert!(told(|it| it.gas_address = Some(address(100))).contains("gas_address is a pool's vault"));
    let operator = |it: &mut Registration| it.operator = worker(0);
    assert_eq!(refused(with(operator, good), &[]), CommandRefused::Unsigned(worker(0).first_key()));
    let stranger = worker_key(1);
    assert_eq!(refused(with(|_| (), good), &[&stranger]), CommandRefused::Stranger(worker(1).first_key()));

    let command = chain.give(&key, Action::Register(with(operator, good)), &[&worker_key(0)]);
    assert_eq!(chain.take(command).unwrap(), [Event::Registered { account: key.account() }]);
    let node = chain.state.node(&key.account()).unwrap();
    assert_eq!((node.operator, node.payout_address, node.membership), (worker(0), address(150), None));
    assert_eq!(chain.state.get::<Closes>(&newest).unwrap().joins, 1);
    let again = registering(&chain, &key, Entry::Network(good));
    assert_eq!(again.record.nonce, 1);
    assert_eq!(chain.take(again), Err(CommandRefused::Registered));
    assert_eq!(chain.state.pool_of(&key.account()), None);
    chain.step(all_good);
    assert!(chain.state.open().unwrap().scored.iter().all(|it| it.node != key.account()), "it works for nobody");
}

#[test]
fn members_are_drawn_from_the_second_epoch_after() {
    let mut chain = Chain::grown(start(), 2);
    let (key, pool) = (newcomer(1), chain.pool_id());
    let events = chain.take(registering(&chain, &key, by_stamp(&chain, &key, pool))).unwrap();
    let (account, from) = (key.account(), Epoch::new(5));
    assert_eq!(events, [Event::Registered { account }, Event::Joined { pool, node: account, from }]);
    assert_eq!((chain.pool().members, chain.pool().commands), (4, 1));
    let is_drawn = |chain: &Chain| chain.state.open().unwrap().scored.iter().any(|it| it.node == account);
    let mut drawn = Vec::new();
    for epoch in 3..=8 {
        chain.reach(epoch);
        drawn.push(is_drawn(&chain));
        if epoch == 5 {
            let leave = chain.give(&key, Action::Node(NodeAction::Leave), &[]);
            let left = Event::Left { pool, node: account, until: Epoch::new(7) };
            assert_eq!(chain.take(leave).unwrap(), [left]);
            assert_eq!(chain.state.pool_of(&account), Some(pool), "until then it is drawn");
        }
    }
    assert_eq!(drawn, [false, false, true, true, false, false]);
    assert_eq!(chain.state.pool_of(&account), None);
    let leave = chain.give(&key, Action::Node(NodeAction::Leave), &[]);
    assert_eq!(chain.take(leave), Err(CommandRefused::NotMember));
}

/// The block that closes an epoch belongs to the next one: whoever proposes it may know the seed that it makes.
#[test]
fn the_closing_block_belongs_to_the_epoch_that_it_opens() {
    let mut chain = Chain::grown(start(), 2);
    let (key, pool) = (newcomer(1), chain.pool_id());
    let command = registering(&chain, &key, by_stamp(&chain, &key, pool));
    let block = lucid_types::block::Block { commands: vec![command], ..chain.draft(all_good) };
    let block = chain.seal(block);
    chain.apply(block);
    assert_eq!(chain.state.closed().get(), 3);
    assert_eq!(chain.state.node(&key.account()).unwrap().membership.unwrap().from, Epoch::new(6));
}

#[test]
fn whoever_leaves_enters_another_pool_when_no_draw_can_lose_it() {
    let (mut chain, first, other) = two_pools(|_| ());
    chain.reach(3);
    let join = |chain: &Chain, pool| {
        let ticket = Ticket::Stamp(chain.stamp(worker(0), Some(pool)));
        chain.give(&worker_key(0), joining(pool, ticket), &[])
    };
    assert_eq!(chain.take(join(&chain, first)), Err(CommandRefused::Member));
    assert_eq!(chain.take(join(&chain, other)), Err(CommandRefused::MemberElsewhere(first)));
    let leave = chain.give(&worker_key(0), Action::Node(NodeAction::Leave), &[]);
    chain.take(leave).unwrap();
    let until = Epoch::new(5);
    for epoch in [3, 4] {
        chain.reach(epoch);
        assert_eq!(chain.take(join(&chain, other)), Err(CommandRefused::MemberUntil { pool: first, until }));
        assert_eq!(chain.take(join(&chain, first)), Err(CommandRefused::MemberUntil { pool: first, until }));
    }
    chain.reach(5);
    chain.take(join(&chain, other)).unwrap();
    assert_eq!(chain.state.node(&worker(0)).unwrap().membership.unwrap().from, Epoch::new(7));
    let members = [first, other].map(|id| chain.state.pool(&id).unwrap().members);
    assert_eq!(members, [2, 1]);
}

#[test]
fn an_invite_opens_every_pool_as_often_as_it_says() {
    let (owner, secret) = (validator_key(0), newcomer(99));
    let mut chain = Chain::grown(start(), 1);
    let update = |join| PoolAction::Update { terms: chain.pool().terms, join, max_members: 5 };
    let command = chain.command(update(JoinPolicy::Invite), &[0]);
    chain.take(command).unwrap();
    let pool = chain.pool_id();
    let until = chain.state.time().after(Duration::from_secs(20));
    let invite = |by: &NodeKey, until: UnixMillis, uses| {
        let invite = Invite { pool, key: secret.public_key(), until, uses };
        Ticket::Invite(by.sign_invite(chain.spec.id(), invite).into_inner())
    };
    let tickets = [(&owner, until, 1), (&worker_key(0), until, 1), (&owner, until, 9)];
    let [good, foreign, more] = tickets.map(|(by, until, uses)| invite(by, until, uses));
    let enter = |chain: &mut Chain, i, ticket: &Ticket, others: &[&NodeKey]| {
        let (key, ticket) = (newcomer(i), ticket.clone());
        let action = Chain::registration(&key, 150, Entry::Pool { pool, ticket });
        chain.take(chain.give(&key, action, others)).map(drop)
    };
    assert_eq!(enter(&mut chain, 1, &good, &[]), Err(CommandRefused::Unsigned(secret.public_key())));
    assert_eq!(enter(&mut chain, 1, &foreign, &[&secret]), Err(CommandRefused::InviteOwner));
    let stamp = Ticket::Stamp(chain.stamp(newcomer(1).account(), Some(pool)));
    assert_eq!(enter(&mut chain, 1, &stamp, &[]), Err(CommandRefused::Policy(JoinPolicy::Invite)));
    enter(&mut chain, 1, &good, &[&secret]).unwrap();
    assert_eq!(enter(&mut chain, 2, &good, &[&secret]), Err(CommandRefused::InviteUsed(1)));
    enter(&mut chain, 2, &more, &[&secret]).unwrap();
    assert_eq!(chain.state.get::<Invites>(&(pool, secret.public_key())).unwrap().used, 2);
    assert_eq!(enter(&mut chain, 3, &more, &[&secret]), Err(CommandRefused::Full(5)));
    let widen = PoolAction::Update { terms: chain.pool().terms, join: JoinPolicy::Approval, max_members: 9 };
    let command = chain.command(widen, &[0]);
    chain.take(command).unwrap();
    enter(&mut chain, 3, &more, &[&secret]).unwrap();
    chain.reach(7);
    assert_eq!(enter(&mut chain, 4, &more, &[&secret]), Err(CommandRefused::InviteOver(until)));

    // As many as are in use at a time, but for those that are over.
    let entry = |i: u32| {
        (
            pool,
            PublicKey::from_bytes({
                let mut id = [7; 32];
                id[..4].copy_from_slice(&i.to_le_bytes());
                id
            }),
        )
    };
    let over = *chain.state.get::<Invites>(&(pool, secret.public_key())).unwrap();
    let now = crate::ledger::entry::InviteUse { until: chain.state.time().after(Duration::from_hours(1)), ..over };
    let most = u32::try_from(MAX_INVITES).unwrap();
    chain.change(|rows| (1..most).for_each(|i| rows.put::<Invites>(&entry(i), now)));
    let fresh = newcomer(98);
    let invite = Invite { pool, key: fresh.public_key(), until: now.until, uses: 1 };
    let ticket = Ticket::Invite(owner.sign_invite(chain.spec.id(), invite).into_inner());
    let mut full = chain.clone();
    full.change(|rows| rows.put::<Invites>(&(pool, secret.public_key()), now));
    assert_eq!(enter(&mut full, 5, &ticket, &[&fresh]), Err(CommandRefused::TooManyInvites));
    enter(&mut chain, 5, &ticket, &[&fresh]).unwrap();
    assert!(!chain.state.has::<Invites>(&(pool, secret.public_key())), "it is over");
}

#[test]
fn a_request_waits_for_the_owner() {
    let mut chain = Chain::grown(start(), 1);
    let pool = chain.pool_id();
    let by_owner = |chain: &Chain, action| chain.command(action, &[0]);
    let ask = |chain: &Chain, key: &NodeKey| {
        let ticket = Ticket::Request(chain.stamp(key.account(), Some(pool)));
        registering(chain, key, Entry::Pool { pool, ticket })
    };
    let (first, second) = (newcomer(1), newcomer(2));
    assert_eq!(chain.take(ask(&chain, &first)), Err(CommandRefused::Policy(JoinPolicy::Open)));
    let update = PoolAction::Update { terms: chain.pool().terms, join: JoinPolicy::Approval, max_members: 4 };
    chain.take(by_owner(&chain, update)).unwrap();
    assert_eq!(
        chain.take(registering(&chain, &first, by_stamp(&chain, &first, pool))),
        Err(CommandRefused::Policy(JoinPolicy::Approval))
    );
    for key in [&first, &second] {
        let events = chain.take(ask(&chain, key)).unwrap();
        assert_eq!(events, [Event::Requested { pool, node: key.account() }]);
        assert!(!chain.state.has::<Nodes>(&key.account()) && !chain.state.has::<Nonces>(&key.account()));
    }
    let waits = chain.state.requests(&pool).map(|(node, _)| node).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(waits, [first.account(), second.account()].into());
    assert!(matches!(chain.take(ask(&chain, &first)), Err(CommandRefused::Requested(_))));
    let stranger = chain.give(&worker_key(1), Action::Pool { pool, action: PoolAction::Approve(first.account()) }, &[]);
    assert!(matches!(chain.take(stranger), Err(CommandRefused::NotOwner(_))));
    assert_eq!(chain.take(by_owner(&chain, PoolAction::Approve(worker(0)))), Err(CommandRefused::NoRequest));

    let approved = chain.take(by_owner(&chain, PoolAction::Approve(first.account()))).unwrap();
    let joined = Event::Joined { pool, node: first.account(), from: Epoch::new(4) };
    assert_eq!(approved, [Event::Registered { account: first.account() }, joined]);
    assert_eq!(chain.state.nonce(&first.account()).next, 1, "it has registered with its first command");
    assert_eq!(chain.take(by_owner(&chain, PoolAction::Approve(second.account()))), Err(CommandRefused::Full(4)));
    chain.take(by_owner(&chain, PoolAction::Refuse(second.account()))).unwrap();
    assert_eq!(chain.state.requests(&pool).count(), 0);
    assert_eq!(chain.take(by_owner(&chain, PoolAction::Refuse(second.account()))), Err(CommandRefused::NoRequest));

    // A registered node's request, and its end.
    chain.register(&second);
    let ticket = |chain: &Chain| Ticket::Request(chain.stamp(second.account(), Some(pool)));
    let request = chain.give(&second, joining(pool, ticket(&chain)), &[]);
    chain.take(request).unwrap();
    assert_eq!(chain.state.node(&second.account()).unwrap().request, Some(pool));
    let leave = chain.give(&second, Action::Node(NodeAction::Leave), &[]);
    chain.take(leave).unwrap();
    assert!(!chain.state.has::<Requests>(&(pool, second.account())));
    let request = chain.give(&second, joining(pool, ticket(&chain)), &[]);
    chain.take(request).unwrap();
    let after = chain.state.time().after(Duration::from_hours(24)).after(Duration::from_secs(1));
    let block = chain.at(after);
    chain.apply(block);
    assert_eq!(chain.state.requests(&pool).count(), 0, "its time is over");
    assert_eq!(chain.take(by_owner(&chain, PoolAction::Approve(second.account()))), Err(CommandRefused::NoRequest));
    let request = chain.give(&second, joining(pool, ticket(&chain)), &[]);
    chain.take(request).unwrap();

    let most = MAX_REQUESTS - 1;
    let id = |i: usize| {
        NodeId::from_bytes({
            let mut id = [9; 32];
            id[..8].copy_from_slice(&i.to_le_bytes());
            id
        })
    };
    let until = chain.state.time().after(Duration::from_hours(1));
    let fill = |rows: &mut crate::ledger::state::Overlay<'_>, until| {
        (0..most).for_each(|i| rows.put::<Requests>(&(pool, id(i)), Request { node: None, until }));
    };
    let third = newcomer(3);
    let mut full = chain.clone();
    full.change(|rows| fill(rows, until));
    assert_eq!(full.take(ask(&full, &third)), Err(CommandRefused::TooManyRequests));
    chain.change(|rows| fill(rows, UnixMillis::ZERO));
    chain.take(ask(&chain, &third)).unwrap();
    assert_eq!(chain.state.all::<Requests>().count(), 2, "those that are over make room");
}

/// Every doubling of the entries since the block that closed the epoch before costs one more bit; a stamp is judged by its own block.
#[test]
fn many_entries_make_stamps_harder() {
    let mut chain = Chain::new(start_with(|start| start.genesis.policy.free_joins = 1));
    let pool = chain.pool_id();
    for i in 1..=3 {
        chain.enlist(&newcomer(i), pool);
    }
    for i in 4..=5 {
        chain.register(&newcomer(i));
    }
    let bits = |chain: &Chain, epoch| [Some(&pool), None].map(|pool| chain.state.stamp_bits(pool, Epoch::new(epoch)));
    assert_eq!(bits(&chain, 0), [Some(8); 2], "while the epoch lasts");
    chain.reach(2);
    assert_eq!((bits(&chain, 0), bits(&chain, 1)), ([Some(8); 2], [Some(10), Some(9)]));
    let key = newcomer(6);
    let with = |chain: &Chain, epoch, bits| {
        let stamp = chain.stamp_of(key.account(), Some(pool), (Epoch::new(epoch), bits), true);
        registering(chain, &key, Entry::Pool { pool, ticket: Ticket::Stamp(stamp) })
    };
    let light = chain.stamp_of(key.account(), Some(pool), (Epoch::new(1), 10), false);
    let light = registering(&chain, &key, Entry::Pool { pool, ticket: Ticket::Stamp(light) });
    assert!(matches!(chain.take(light), Err(CommandRefused::StampBits { needed: 10, .. })));
    chain.clone().take(with(&chain, 1, 10)).unwrap();
    chain.clone().take(with(&chain, 0, 8)).unwrap();
    chain.reach(3);
    assert_eq!(bits(&chain, 2), [Some(8); 2], "nobody entered");
    // The newest eight closes, of nine that are kept.
    chain.reach(9);
    assert_eq!((bits(&chain, 0), bits(&chain, 1), bits(&chain, 9)), ([None; 2], [Some(10), Some(9)], [None; 2]));
    assert_eq!(
        chain.take(with(&chain, 0, 8)),
        Err(CommandRefused::StampEpoch { found: Epoch::ZERO, newest: Epoch::new(8) })
    );
    chain.clone().take(with(&chain, 1, 10)).unwrap();
    chain.reach(12);
    let kept: Vec<_> = chain.state.all::<Closes>().map(|(epoch, _)| epoch.get()).collect();
    assert_eq!(kept, (3..=11).collect::<Vec<_>>());
}

#[test]
fn an_account_gives_eight_commands_and_one_after_each_epoch() {
    let mut chain = Chain::grown(start(), 1);
    let key = worker_key(0);
    let update = |chain: &Chain| {
        chain.give(&key, Action::Node(NodeAction::Update { gas_address: None, capacity: <_>::default() }), &[])
    };
    for _ in 0..8 {
        chain.take(update(&chain)).unwrap();
    }
    let closed = chain.state.closed();
    assert_eq!(chain.state.nonce(&worker(0)), Nonce { next: 8, allowance: 0, filled: closed });
    assert_eq!(chain.take(update(&chain)), Err(CommandRefused::TooOften { after: closed.next() }));
    chain.step(all_good);
    chain.take(update(&chain)).unwrap();
    assert!(chain.take(update(&chain)).is_err());
    for _ in 0..3 {
        chain.step(all_good);
    }
    for _ in 0..3 {
        chain.take(update(&chain)).unwrap();
    }
    assert!(chain.take(update(&chain)).is_err());
    chain.reach(20);
    assert_eq!((chain.state.nonce(&worker(0)).allowance, chain.state.nonce(&worker(0)).next), (8, 12));
    assert_eq!(chain.state.nonce(&worker(1)).next, 0, "of whom there is no row");
}

#[test]
fn commands_stand_by_priority_and_then_by_a_lot_that_nobody_chooses() {
    let mut chain = Chain::grown(start(), 1);
    let (pool, fresh) = (chain.pool_id(), newcomer(1));
    let leave = chain.give(&worker_key(0), Action::Node(NodeAction::Leave), &[]);
    let after_leaving = Command { nonce: 1, ..chain.draft_of(worker(0), Action::Node(NodeAction::Retire)) };
    let retire = chain.sign(after_leaving, &[worker_key(0)]);
    let suspend = chain.command(PoolAction::Suspend(true), &[0]);
    let update = |i| chain.give(&worker_key(i), Action::Node(NodeAction::PayoutAddress(address(160 + i))), &[]);
    let register = registering(&chain, &fresh, by_stamp(&chain, &fresh, pool));
    let beacon = chain.state.head().beacon;
    let lot = |command: &SignedCommand| {
        lucid_types::id::Hash::derive("lucid command order 1", &[beacon.as_bytes(), command.record.account.as_bytes()])
    };
    let sorted = |mut pair: [Vec<SignedCommand>; 2]| {
        pair.sort_by_key(|commands| lot(&commands[0]));
        pair.concat()
    };
    let protection = sorted([vec![leave, retire], vec![suspend]]);
    let members = sorted([vec![update(1)], vec![update(2)]]);
    let right = [protection, members, vec![register]].concat();
    let mut block = chain.draft(all_good);
    for i in 1..right.len() {
        block.commands = right.clone();
        block.commands.swap(i - 1, i);
        let found = chain.validate(chain.seal(block.clone())).unwrap_err();
        assert_eq!(found, crate::ledger::check::InvalidBlock::Commands, "{i}");
    }
    // An account's commands may not stand in two places.
    let mut split = right.clone();
    let at = split.iter().position(|command| command.record.nonce == 1).unwrap();
    let second = split.remove(at);
    split.insert(3, second);
    block.commands = split;
    assert!(chain.validate(chain.seal(block)).is_err());
    chain.step_with(right);
    assert!(chain.state.node(&worker(0)).unwrap().is_retired);
}

#[test]
fn membership_rows_are_those_of_members() {
    let mut chain = Chain::grown(start(), 1);
    let (pool, key) = (chain.pool_id(), newcomer(1));
    chain.enlist(&key, pool);
    assert!(chain.state.has::<Members>(&(pool, key.account())));
    let leave = chain.give(&key, Action::Node(NodeAction::Leave), &[]);
    chain.take(leave).unwrap();
    let membership = chain.state.node(&key.account()).unwrap().membership.unwrap();
    assert_eq!(membership, Membership { pool, from: Epoch::new(4), until: Some(Epoch::new(4)) }, "it never counts");
    chain.reach(8);
    assert!(!chain.state.has::<Members>(&(pool, key.account())), "gone with the next settlement");
}
