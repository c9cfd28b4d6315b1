//! Commands that wait for a block: which ones, how many, and who gives way.

use std::time::Duration;

use lucid_types::attestation::Capacity;
use lucid_types::command::{Action, Command, Entry, NodeAction, Registration};
use lucid_types::id::{NetworkId, NodeId, PoolId};
use lucid_types::key::NodeKey;
use lucid_types::pool::{JoinPolicy, PoolAction};
use lucid_types::signed::{MultiSigned, Signature, Signed};
use lucid_types::stamp::Stamp;
use lucid_types::ticket::{Invite, Ticket};
use lucid_types::time::UnixMillis;

use super::chain::{Chain, address, all_good, key_of, start, start_with, validator_key, worker, worker_key};
use super::entry::newcomer;
use super::start::{Start, Worker};
use crate::admission::{Refusal, View};
use crate::commands::{CommandKey, Invited, PendingCommands, Source};
use crate::ledger::build::{Pending, Turn, build};
use crate::ledger::command::{CommandRefused, SignedCommand};

const MOST: usize = 2_048;

fn add(
    chain: &Chain,
    pending: &mut PendingCommands,
    command: &SignedCommand,
) -> Result<Vec<CommandKey>, CommandRefused> {
    let command = command.clone().verify(chain.spec.id()).unwrap();
    pending.add(&chain.spec, &chain.state, command, chain.state.time(), Source::Peer)
}

fn many(i: usize) -> NodeKey {
    let mut seed = [0xa5; 32];
    seed[..8].copy_from_slice(&i.to_le_bytes());
    NodeKey::from_seed(&seed)
}

fn later(chain: &Chain, key: &NodeKey, others: u64, action: NodeAction) -> SignedCommand {
    let draft = chain.draft_of(key.account(), Action::Node(action));
    chain.sign(Command { nonce: draft.nonce + others, ..draft }, std::slice::from_ref(key))
}

fn update(cores: u32) -> NodeAction {
    NodeAction::Update { gas_address: None, capacity: Capacity { cores, ..Capacity::default() } }
}

/// A registration with a stamp of exactly so many bits.
fn registration(chain: &Chain, key: &NodeKey, bits: u8) -> SignedCommand {
    let (epoch, close) = chain.state.newest_close().unwrap();
    let target = lucid_types::stamp::StampTarget {
        network: *chain.spec.id(),
        account: key.account(),
        pool: None,
        beacon: close.beacon,
    };
    let mut stamps = (0..).map(|nonce| Stamp { epoch, nonce });
    let stamp = stamps.find(|stamp| stamp.bits(&target) == u32::from(bits)).unwrap();
    chain.give(key, Chain::registration(key, 150, Entry::Network(stamp)), &[])
}

/// Many workers, whose keys are known.
fn crowd(count: usize) -> Start {
    start_with(|start| {
        start.workers.extend((0..count).map(|i| Worker {
            node: many(i).account(),
            operator: many(i).account(),
            payout_address: address(140),
            gas_address: None,
            capacity: Capacity::default(),
        }));
    })
}

fn block_of(chain: &mut Chain, pending: &mut PendingCommands) -> Vec<SignedCommand> {
    let draft = chain.at(chain.state.next_time(&chain.spec));
    let key = key_of(&draft.header.proposer);
    let waiting = Pending { commands: std::mem::take(pending), ..Pending::default() };
    let turn = Turn { key, round: 0, now: draft.header.time };
    let (block, _) = build(&chain.spec, &chain.state, &waiting, turn).unwrap();
    let commands = block.commands.clone();
    chain.apply(block);
    *pending = waiting.commands;
    pending.follow(&chain.spec, &chain.state, chain.state.time());
    commands
}

#[test]
fn an_accounts_commands_wait_in_their_order() {
    let mut chain = Chain::grown(start(), 2);
    let mut pending = PendingCommands::default();
    let key = worker_key(0);
    let of = |chain: &Chain, nonce: u64| later(chain, &key, nonce, update(u32::try_from(nonce).unwrap()));
    assert_eq!(add(&chain, &mut pending, &of(&chain, 1)), Ok(vec![]));
    assert!(
        !pending.has_applicable(chain.state.time())
            && pending.applicable(&chain.spec, &chain.state, chain.state.time()).is_empty()
    );
    let first = of(&chain, 0);
    assert_eq!(add(&chain, &mut pending, &first), Ok(vec![]));
    assert!(pending.has_applicable(chain.state.time()));
    assert_eq!(add(&chain, &mut pending, &first), Err(CommandRefused::Waits));
    let other = later(&chain, &key, 0, NodeAction::Leave);
    assert_eq!(add(&chain, &mut pending, &other), Err(CommandRefused::Conflict(0)));
    assert!(add(&chain, &mut pending, &of(&chain, 7)).is_ok());
    assert_eq!(add(&chain, &mut pending, &of(&chain, 8)), Err(CommandRefused::NonceAhead { given: 8, next: 0 }));
    // After those that wait: it does not apply when they have.
    let veto = later(&chain, &key, 2, NodeAction::VetoPayoutAddress);
    assert_eq!(add(&chain, &mut pending, &veto), Err(CommandRefused::NothingAnnounced));
    assert_eq!(pending.len(), 3);
    let second = of(&chain, 1);
    assert_eq!(block_of(&mut chain, &mut pending), [first.clone(), second]);
    assert_eq!((pending.len(), pending.has(&(worker(0), 7))), (1, true));
    assert_eq!(add(&chain, &mut pending, &first), Err(CommandRefused::NonceUsed { given: 0, next: 2 }));
}

#[test]
fn proposers_take_what_applies_and_leave_the_rest() {
    let mut chain = Chain::grown(start(), 2);
    let mut pending = PendingCommands::default();
    let hold = chain.command(PoolAction::Hold(worker(0)), &[0]);
    let (leave, retire) =
        (later(&chain, &worker_key(1), 0, NodeAction::Leave), later(&chain, &worker_key(1), 1, NodeAction::Retire));
    let join = {
        let stamp = chain.stamp(newcomer(1).account(), Some(chain.pool_id()));
        let entry = Entry::Pool { pool: chain.pool_id(), ticket: Ticket::Stamp(stamp) };
        chain.give(&newcomer(1), Chain::registration(&newcomer(1), 150, entry), &[])
    };
    for command in [&hold, &leave, &retire, &join] {
        add(&chain, &mut pending, command).unwrap();
    }
    assert_eq!(
        add(&chain, &mut pending, &chain.command(PoolAction::Resume(worker(2)), &[0])),
        Err(CommandRefused::Conflict(0))
    );
    assert_eq!(
        add(&chain, &mut pending, &chain.later_command(1, PoolAction::Resume(worker(2)), &[0])),
        Err(CommandRefused::NotHeld)
    );
    // The pool closes its doors, by a block of another proposer: the registration does not apply any more.
    let update = PoolAction::Update { terms: chain.pool().terms, join: JoinPolicy::Invite, max_members: 9 };
    let command = chain.command(update, &[0]);
    let mut other = chain.clone();
    other.take(command).unwrap();
    let mut there = PendingCommands::default();
    for command in [&hold, &leave, &retire, &join] {
        add(&chain, &mut there, command).unwrap();
    }
    there.follow(&other.spec, &other.state, other.state.time());
    assert!(!there.has(&(newcomer(1).account(), 0)) && !there.has(&(validator_key(0).account(), 0)));
    assert_eq!(there.len(), 2);

    let block = block_of(&mut chain, &mut pending);
    assert_eq!((block.len(), block.last()), (4, Some(&join)));
    assert!(pending.is_empty());
}

#[test]
fn what_is_over_is_forgotten() {
    let mut chain = Chain::grown(start(), 2);
    let mut pending = PendingCommands::default();
    let next = chain.state.next_time(&chain.spec);
    let until = |until| {
        let draft = chain.draft_of(worker(0), Action::Node(NodeAction::Leave));
        chain.sign(Command { until, ..draft }, &[worker_key(0)])
    };
    let gone = until(next.before(Duration::from_millis(1)));
    assert!(matches!(add(&chain, &mut pending, &gone), Err(CommandRefused::Expired { .. })));
    let far = until(next.after(Command::MAX_AHEAD).after(Duration::from_secs(1)));
    assert!(matches!(add(&chain, &mut pending, &far), Err(CommandRefused::TooFarAhead { .. })));
    add(&chain, &mut pending, &until(next)).unwrap();
    assert_eq!(pending.applicable(&chain.spec, &chain.state, next).len(), 1);
    assert_eq!(pending.applicable(&chain.spec, &chain.state, next.after(Duration::from_millis(1))), []);
    assert!(!pending.has_applicable(next.after(Duration::from_millis(1))));
    chain.step(all_good);
    pending.follow(&chain.spec, &chain.state, chain.state.time());
    assert!(pending.is_empty());
}

/// An account that has used up its commands waits for an epoch, not in vain.
#[test]
fn what_is_given_too_often_waits() {
    let mut chain = Chain::grown(start(), 2);
    let mut pending = PendingCommands::default();
    for i in 0..8 {
        let command = later(&chain, &worker_key(0), 0, update(i));
        chain.take(command).unwrap();
    }
    let command = later(&chain, &worker_key(0), 0, update(9));
    add(&chain, &mut pending, &command).unwrap();
    assert!(!pending.has_applicable(chain.state.time()));
    chain.step(all_good);
    pending.follow(&chain.spec, &chain.state, chain.state.time());
    assert_eq!(block_of(&mut chain, &mut pending), [command]);
}

/// Whoever floods the network with joins from fresh keys fills neither the memory nor the way of others.
#[test]
fn a_flood_of_joins_is_bounded_and_honest_commands_pass() {
    let mut chain = Chain::grown(crowd(1), 1);
    let view = View { spec: &chain.spec, state: &chain.state };
    let network = *chain.spec.id();
    let (now, until) = (chain.state.time(), chain.state.time().after(Duration::from_hours(1)));
    let (epoch, _) = chain.state.newest_close().unwrap();
    let unsigned = |account: NodeId, nonce, action| {
        let record = Command { account, nonce, until, action };
        MultiSigned { record, signatures: vec![(account.first_key(), Signature::from_bytes([1; 64]))] }
    };
    // Nobody checks the signature of what shows no work: one in 256 has it by chance.
    let mut signatures = 0;
    for i in 0u32..100_000 {
        let mut id = [0x77; 32];
        id[..4].copy_from_slice(&i.to_le_bytes());
        let account = NodeId::from_bytes(id);
        let entry = Entry::Network(Stamp { epoch, nonce: 0 });
        let nonce = u64::from(i % 2);
        let Action::Register(sample) = Chain::registration(&newcomer(1), 150, entry) else { unreachable!() };
        let action = Action::Register(Registration { operator: account, ..sample });
        match view.command(unsigned(account, nonce, action), now).unwrap_err() {
            Refusal::Reject("stamp") if nonce == 0 => {}
            Refusal::Reject("signature") if nonce == 0 => signatures += 1,
            Refusal::Ignore("future") if nonce == 1 => {}
            other => panic!("{other:?}"),
        }
    }
    assert!((100..300).contains(&signatures), "{signatures} of 50,000 have 8 bits by chance");

    // With work they take their half of the places, and the least work gives way.
    let mut pending = PendingCommands::default();
    let mut taken = 0;
    for i in 0..MOST + 400 {
        let command = registration(&chain, &many(1_000 + i), 8);
        match add(&chain, &mut pending, &command) {
            Ok(gone) => {
                assert!(gone.is_empty());
                taken += 1;
            }
            Err(CommandRefused::BusyEntry(9)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((taken, pending.len()), (MOST, MOST));
    let honest = registration(&chain, &newcomer(1), 12);
    assert_eq!(add(&chain, &mut pending, &honest).unwrap().len(), 1, "one gives way");
    assert_eq!(pending.len(), MOST);
    let told = add(&chain, &mut pending, &registration(&chain, &newcomer(2), 8)).unwrap_err().to_string();
    assert!(told.contains("make a stamp of at least 9 bits"), "{told}");
    // What others do has places of its own, and stands before all registrations in the block.
    let leave = later(&chain, &worker_key(0), 0, NodeAction::Leave);
    add(&chain, &mut pending, &leave).unwrap();
    let block = block_of(&mut chain, &mut pending);
    assert_eq!(block[0], leave);
    assert!(block.len() > 500, "{} commands of 256 KiB", block.len());
    while !pending.is_empty() {
        block_of(&mut chain, &mut pending);
    }
    assert!(chain.state.node(&newcomer(1).account()).is_some());

    // Of another network, too long, or a replay.
    let foreign = NetworkId::from_bytes([3; 32]);
    let draft = chain.draft_of(worker(1), Action::Node(NodeAction::Leave));
    let signed = worker_key(1).sign_command(&foreign, draft.clone()).into_inner();
    let command = MultiSigned::collect(draft, [(signed.signer, signed.signature)]);
    let view = View { spec: &chain.spec, state: &chain.state };
    assert_eq!(view.command(command, now), Err(Refusal::Reject("signature")));
    assert_eq!(view.command(leave.clone(), now), Err(Refusal::Ignore("stale")));
    let mut long = later(&chain, &worker_key(1), 0, NodeAction::Leave);
    long.signatures = vec![long.signatures[0]; 100];
    assert_eq!(view.command(long, now), Err(Refusal::Reject("malformed")));
    assert!(leave.check(&network).is_ok());
}

/// One invite leaves places to others of its pool, and one pool to other pools; nobody waits for what others use up.
#[test]
fn invites_take_few_places() {
    let mut chain = Chain::grown(start(), 1);
    let pool = chain.pool_id();
    let until = chain.state.time().after(Duration::from_hours(1));
    let invite = |chain: &Chain, secret: u8, uses| {
        let invite = Invite { pool, key: newcomer(secret).public_key(), until, uses };
        validator_key(0).sign_invite(chain.spec.id(), invite).into_inner()
    };
    let enter = |chain: &Chain, i: usize, secret: u8, invite: &Signed<Invite>| {
        let entry = Entry::Pool { pool, ticket: Ticket::Invite(invite.clone()) };
        chain.give(&many(i), Chain::registration(&many(i), 150, entry), &[&newcomer(secret)])
    };
    let mut pending = PendingCommands::default();
    let taken = |chain: &Chain, pending: &mut PendingCommands, from: usize, secret: u8, uses| {
        let invite = invite(chain, secret, uses);
        let enter = |i: usize| enter(chain, from + i, secret, &invite);
        let (taken, refused): (Vec<_>, Vec<_>) =
            (0..100).map(|i| add(chain, pending, &enter(i))).partition(Result::is_ok);
        assert!(refused.iter().all(|it| *it == Err(CommandRefused::BusyInvites)), "{refused:?}");
        taken.len()
    };
    assert_eq!(taken(&chain, &mut pending, 0, 90, 3), 3, "as many as it is for");
    assert_eq!(taken(&chain, &mut pending, 1_000, 91, u32::MAX), 32);
    assert_eq!(taken(&chain, &mut pending, 2_000, 92, u32::MAX), 64 - 32 - 3, "what the pool has left");
    assert_eq!(taken(&chain, &mut pending, 3_000, 93, 1), 0);
    assert_eq!(block_of(&mut chain, &mut pending).len(), 64);

    // After the block they are free again, and of the one that was used twice one is left.
    let again = enter(&chain, 4_000, 90, &invite(&chain, 90, 3));
    assert_eq!(add(&chain, &mut pending, &again), Err(CommandRefused::InviteUsed(3)));
    assert_eq!(taken(&chain, &mut pending, 5_000, 90, 4), 1);
}

/// However many pools: half of the places of registrations are left to stamps.
#[test]
fn invites_of_many_pools_leave_room_for_stamps() {
    let chain = Chain::grown(start(), 1);
    let invite = |pool: u8, i: u8| Invite {
        pool: PoolId::from_bytes([pool; 32]),
        key: newcomer(i).public_key(),
        until: UnixMillis::new(u64::MAX),
        uses: u32::MAX,
    };
    let mut invited = Invited::default();
    let mut count = 0;
    for invite in (0..100).flat_map(|pool| (0..100).map(move |i| invite(pool, i))) {
        if invited.has_room(&chain.state, &invite) {
            invited.add(&invite);
            count += 1;
        }
    }
    assert_eq!(count, MOST / 2);
    assert!(!invited.has_room(&chain.state, &invite(200, 1)));
}

/// Only the chain's time ends what this node has taken over: its clock may be wrong before or after a restart.
#[test]
fn no_clock_makes_a_node_forget_what_it_has_taken_over() {
    let mut chain = Chain::grown(start(), 2);
    let now = chain.state.next_time(&chain.spec);
    let half_a_day = Duration::from_hours(12);
    let give = |until| {
        let draft = chain.draft_of(worker(0), Action::Node(NodeAction::Leave));
        let command = chain.sign(Command { until, ..draft }, &[worker_key(0)]);
        command.verify(chain.spec.id()).unwrap()
    };
    // Taken over by a clock that is half a day ahead, and by the right one.
    let (far, near) = (give(now.after(half_a_day).after(Command::MAX_AHEAD)), give(now.after(Duration::from_secs(60))));
    for (command, taken_over, restarted) in [(&far, now.after(half_a_day), now), (&near, now, now.after(half_a_day))] {
        let mut pending = PendingCommands::default();
        pending.add(&chain.spec, &chain.state, command.clone(), taken_over, Source::User).unwrap();
        pending.follow(&chain.spec, &chain.state, restarted);
        assert_eq!(pending.to_repeat(UnixMillis::new(u64::MAX)).len(), 1);
        let mut anew = PendingCommands::default();
        for source in [Source::Peer, Source::User] {
            assert!(anew.add(&chain.spec, &chain.state, command.clone(), restarted, source).is_err(), "{source:?}");
        }
        anew.add(&chain.spec, &chain.state, command.clone(), restarted, Source::Disk).unwrap();
        for pending in [&mut pending, &mut anew] {
            assert!(!pending.has_applicable(restarted), "no block of this time may hold it");
            pending.follow(&chain.spec, &chain.state, taken_over);
            assert!(pending.has_applicable(taken_over));
        }
    }
    let mut pending = PendingCommands::default();
    pending.add(&chain.spec, &chain.state, near, now, Source::User).unwrap();
    chain.state = chain.state.changed(|rows| rows.head.time = now.after(Duration::from_secs(61)));
    pending.follow(&chain.spec, &chain.state, now);
    assert!(pending.is_empty(), "the chain's time is another matter");
}

#[test]
fn the_less_urgent_gives_way_and_what_was_acknowledged_to_nothing() {
    let chain = Chain::grown(crowd(260), 1);
    let mut pending = PendingCommands::default();
    let own = later(&chain, &worker_key(1), 0, update(1)).verify(chain.spec.id()).unwrap();
    pending.add(&chain.spec, &chain.state, own, chain.state.time(), Source::User).unwrap();
    for i in 0..(MOST - 1) / 8 {
        for nonce in 0..8 {
            let cores = u32::try_from(nonce).unwrap();
            add(&chain, &mut pending, &later(&chain, &many(i), nonce, update(cores))).unwrap();
        }
    }
    while pending.len() < MOST {
        let nonce = u64::try_from(pending.len() % 8).unwrap();
        add(&chain, &mut pending, &later(&chain, &many(259), nonce - 1, update(7))).unwrap();
    }
    assert_eq!(add(&chain, &mut pending, &later(&chain, &worker_key(2), 0, update(1))), Err(CommandRefused::Busy));
    let gone = add(&chain, &mut pending, &later(&chain, &worker_key(2), 0, NodeAction::Leave)).unwrap();
    assert_eq!((gone.len(), pending.len()), (1, MOST));
    let [(account, nonce)] = gone[..] else { unreachable!() };
    assert!(!pending.has(&(account, nonce + 1)), "the last of its account");
    assert!(pending.has(&(worker(1), 0)), "this node's own");
    assert_eq!(pending.to_repeat(UnixMillis::new(u64::MAX)).len(), 1);
}

/// Whoever gives commands that only wait for others keeps nobody from giving some that a block could hold, not even through a validator.
#[test]
fn what_only_waits_leaves_room_for_what_applies() {
    let chain = Chain::grown(crowd(300), 1);
    let now = chain.state.time();
    let gap = |i: usize, nonce| later(&chain, &many(i), nonce, update(u32::try_from(nonce).unwrap()));
    let add_from = |pending: &mut PendingCommands, command: &SignedCommand, source| {
        let command = command.clone().verify(chain.spec.id()).unwrap();
        pending.add(&chain.spec, &chain.state, command, now, source)
    };
    let mut pending = PendingCommands::default();
    let gaps: Vec<_> = (0..300).flat_map(|i| (1..8).map(move |nonce| (i, nonce))).collect();
    let mut taken = |source, gaps: &[(usize, u64)]| {
        let taken = |(i, nonce): &&(usize, u64)| match add_from(&mut pending, &gap(*i, *nonce), source) {
            Ok(gone) => gone.is_empty(),
            Err(refused) => {
                assert_eq!(refused, CommandRefused::Busy);
                false
            }
        };
        gaps.iter().filter(taken).count()
    };
    let (by_user, by_gossip) = gaps.split_at(600);
    assert_eq!(taken(Source::User, by_user), MOST / 4, "half of the node's own places");
    assert_eq!(taken(Source::Peer, by_gossip), gaps.len() - 600);
    assert_eq!(taken(Source::Peer, &by_user[512..]), MOST - MOST / 4 - (gaps.len() - 600), "and no more");
    for (i, source) in [(0, Source::User), (1, Source::Peer)] {
        let honest = later(&chain, &worker_key(i), 0, update(1));
        let gone = add_from(&mut pending, &honest, source).unwrap();
        assert_eq!((gone.len(), pending.len()), (1, MOST), "{source:?}");
    }
    // What it is told first after a restart has its place again, ready or not.
    let own = pending.to_repeat(UnixMillis::new(u64::MAX));
    let mut anew = PendingCommands::default();
    assert!(own.iter().all(|command| add_from(&mut anew, command, Source::Disk).is_ok()));
    assert_eq!(anew.len(), MOST / 4 + 1);
}

/// The mesh sends no bytes twice within a minute, and the log would say so of each.
#[test]
fn what_was_taken_over_is_gossiped_again_once_a_minute() {
    let chain = Chain::grown(start(), 1);
    let now = chain.state.next_time(&chain.spec);
    let command = later(&chain, &worker_key(0), 0, update(1)).verify(chain.spec.id()).unwrap();
    let minute = Duration::from_secs(61);
    let mut pending = PendingCommands::default();
    pending.add(&chain.spec, &chain.state, command.clone(), now, Source::User).unwrap();
    for (at, times) in [(now, 0), (now.after(minute), 1), (now.after(minute), 0), (now.after(2 * minute), 1)] {
        assert_eq!(pending.to_repeat(at).len(), times, "at {at}");
    }
    assert_eq!(pending.to_repeat(now).len(), 1, "the clock was set back");
    let mut anew = PendingCommands::default();
    anew.add(&chain.spec, &chain.state, command.clone(), now, Source::Disk).unwrap();
    assert_eq!(anew.to_repeat(now).len(), 1, "nobody need have heard of it before the restart");
    let mut of_others = PendingCommands::default();
    of_others.add(&chain.spec, &chain.state, command, now, Source::Peer).unwrap();
    assert_eq!(of_others.to_repeat(now.after(2 * minute)), []);
}
