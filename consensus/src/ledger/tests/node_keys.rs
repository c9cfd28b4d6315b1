//! Node keys rotate, and their accounts stay.

use lucid_types::attestation::Capacity;
use lucid_types::block::Block;
use lucid_types::command::{Action, Entry, NodeAction};
use lucid_types::id::{NodeId, PublicKey};
use lucid_types::key::NodeKey;
use lucid_types::payout::AccountKind;
use lucid_types::pool::{JoinPolicy, PoolAction};
use lucid_types::ticket::{Invite, Ticket};
use lucid_types::time::Epoch;

use super::chain::{Chain, all_good, start, start_with, validator_key, worker, worker_key};
use super::entry::newcomer;
use crate::commands::{PendingCommands, Source};
use crate::ledger::command::{CommandRefused, SignedCommand};
use crate::ledger::event::Event;
use crate::ledger::state::Rows;
use crate::ledger::table::NodeKeys;

/// A command of worker 0, signed with these keys.
fn signed(chain: &Chain, action: NodeAction, keys: &[&NodeKey]) -> SignedCommand {
    let keys: Vec<_> = keys.iter().map(|key| (*key).clone()).collect();
    chain.sign(chain.draft_of(worker(0), Action::Node(action)), &keys)
}

fn rotation(chain: &Chain, to: &NodeKey, keys: &[&NodeKey]) -> SignedCommand {
    signed(chain, NodeAction::RotateKey(to.public_key()), keys)
}

fn update(cores: u32) -> NodeAction {
    NodeAction::Update { gas_address: None, capacity: Capacity { cores, ..Capacity::default() } }
}

fn give(chain: &mut Chain, action: NodeAction, keys: &[&NodeKey]) -> Result<Vec<Event>, CommandRefused> {
    let command = signed(chain, action, keys);
    chain.take(command)
}

fn rotate(chain: &mut Chain, from: &NodeKey, to: &NodeKey) -> Result<Vec<Event>, CommandRefused> {
    let command = rotation(chain, to, &[from, to]);
    chain.take(command)
}

fn settle(chain: &mut Chain, settlement: u64) {
    while chain.pool().settled < settlement {
        chain.step(all_good);
    }
}

fn not_in_force(key: &NodeKey, current: &NodeKey) -> CommandRefused {
    let current = current.public_key();
    CommandRefused::NotInForce { key: key.public_key(), account: worker(0), current }
}

/// Settlement 1 is computed; the key of worker 0, and its next one.
fn begin() -> (Chain, NodeKey, NodeKey) {
    (Chain::grown(start(), 2), worker_key(0), newcomer(40))
}

#[test]
fn another_key_is_announced_one_root_before_it_is_in_force() {
    let (mut chain, old, new) = begin();
    let events = rotate(&mut chain, &old, &new).unwrap();
    // That of settlement 3, of two epochs each.
    let (account, with) = (worker(0), Epoch::new(6));
    assert_eq!(events, [Event::NodeKey { account, key: new.public_key(), with }]);
    assert_eq!(chain.state.announced_key(&account), Some((with, new.public_key())));
    let owed = |chain: &Chain| chain.account(AccountKind::Worker, worker(0)).unwrap().owed;
    for settlement in [1, 2] {
        settle(&mut chain, settlement);
        assert_eq!(chain.state.key_of(&account), Some(old.public_key()));
        assert_eq!(chain.state.account_of(&old.public_key()), Some(account));
        assert_eq!(chain.state.account_of(&new.public_key()), None);
        assert_eq!(give(&mut chain.clone(), update(1), &[&new]), Err(not_in_force(&new, &old)));
        give(&mut chain, update(1), &[&old]).unwrap();
    }
    let before = owed(&chain);
    settle(&mut chain, 3);
    assert_eq!(chain.state.key_of(&account), Some(new.public_key()));
    assert_eq!(chain.state.account_of(&new.public_key()), Some(account));
    assert_eq!(chain.state.account_of(&old.public_key()), None);
    assert_eq!(chain.state.announced_key(&account), None);
    assert_eq!(give(&mut chain, update(2), &[&old]), Err(not_in_force(&old, &new)));
    give(&mut chain, update(2), &[&new]).unwrap();
    assert_eq!(give(&mut chain, NodeAction::VetoKey, &[&new]), Err(CommandRefused::NoKeyAnnounced));
    assert!(owed(&chain) > before, "the account earns on");
}

#[test]
fn both_keys_sign_a_rotation() {
    let (mut chain, old, new) = begin();
    let alone = rotation(&chain, &new, &[&old]);
    assert_eq!(chain.take(alone), Err(CommandRefused::Unsigned(new.public_key())));
    let stolen = rotation(&chain, &new, &[&new]);
    assert_eq!(chain.take(stolen), Err(CommandRefused::Unsigned(old.public_key())));
}

#[test]
fn a_key_can_be_taken_back_until_it_is_in_force() {
    let (mut chain, old, new) = begin();
    rotate(&mut chain, &old, &new).unwrap();
    settle(&mut chain, 2);
    assert_eq!(give(&mut chain.clone(), NodeAction::VetoKey, &[&new]), Err(not_in_force(&new, &old)));
    give(&mut chain, NodeAction::VetoKey, &[&old]).unwrap();
    assert_eq!(give(&mut chain, NodeAction::VetoKey, &[&old]), Err(CommandRefused::NoKeyAnnounced));
    settle(&mut chain, 5);
    assert_eq!(chain.state.key_of(&worker(0)), Some(old.public_key()));
    // It has signed nothing for the account: anybody may have it.
    assert!(!chain.state.has::<NodeKeys>(&new.public_key()));
    chain.register(&new);
}

#[test]
fn a_second_rotation_replaces_the_first_and_waits_as_long() {
    let (mut chain, old, first) = begin();
    let second = newcomer(41);
    rotate(&mut chain, &old, &first).unwrap();
    settle(&mut chain, 2);
    rotate(&mut chain, &old, &second).unwrap();
    assert!(!chain.state.has::<NodeKeys>(&first.public_key()), "a key that is announced no more is free");
    settle(&mut chain, 3);
    assert_eq!(chain.state.key_of(&worker(0)), Some(old.public_key()));
    // The same again begins again.
    rotate(&mut chain, &old, &second).unwrap();
    settle(&mut chain, 4);
    assert_eq!(chain.state.key_of(&worker(0)), Some(old.public_key()));
    settle(&mut chain, 5);
    assert_eq!(chain.state.key_of(&worker(0)), Some(second.public_key()));
    rotate(&mut chain, &second, &first).unwrap();
    settle(&mut chain, 7);
    assert_eq!(chain.state.key_of(&worker(0)), Some(first.public_key()));
    for given_up in [&old, &second] {
        assert_eq!(give(&mut chain, update(1), &[given_up]), Err(not_in_force(given_up, &first)));
    }
}

#[test]
fn a_key_is_one_accounts_for_ever() {
    let (mut chain, old, new) = begin();
    chain.register(&newcomer(42));
    let taken = |key: PublicKey, account: NodeId| CommandRefused::KeyTaken { key, account };
    let of_others = [worker_key(1), newcomer(42), validator_key(1), validator_key(0), old.clone()];
    for other in &of_others {
        assert_eq!(rotate(&mut chain.clone(), &old, other), Err(taken(other.public_key(), other.account())));
    }
    let register = |chain: &mut Chain, key: &NodeKey| {
        let entry = Entry::Network(chain.stamp(key.account(), None));
        chain.take(chain.give(key, Chain::registration(key, 150, entry), &[])).map(drop)
    };
    rotate(&mut chain, &old, &new).unwrap();
    let is_reserved = |chain: &mut Chain| {
        let other = chain.sign(
            chain.draft_of(worker(1), Action::Node(NodeAction::RotateKey(new.public_key()))),
            &[worker_key(1), new.clone()],
        );
        assert_eq!(chain.take(other), Err(taken(new.public_key(), worker(0))));
        assert_eq!(register(chain, &new), Err(taken(new.public_key(), worker(0))));
        assert_eq!(chain.state.key_of(&new.account()), None);
    };
    is_reserved(&mut chain);
    settle(&mut chain, 3);
    is_reserved(&mut chain);
    let third = newcomer(43);
    rotate(&mut chain, &new, &third).unwrap();
    settle(&mut chain, 5);
    is_reserved(&mut chain);
    for given_up in [&old, &new] {
        assert_eq!(rotate(&mut chain, &third, given_up), Err(taken(given_up.public_key(), worker(0))));
    }
}

/// Whoever waits for a pool's approval has no account yet, and may lose its key to one.
#[test]
fn approval_makes_no_account_of_another_accounts_key() {
    let (mut chain, old, new) = begin();
    let update = PoolAction::Update { terms: chain.pool().terms, join: JoinPolicy::Approval, max_members: 9 };
    let command = chain.command(update, &[0]);
    chain.take(command).unwrap();
    let pool = chain.pool_id();
    let ticket = Ticket::Request(chain.stamp(new.account(), Some(pool)));
    let request = chain.give(&new, Chain::registration(&new, 150, Entry::Pool { pool, ticket }), &[]);
    chain.take(request).unwrap();
    rotate(&mut chain, &old, &new).unwrap();
    let approval = chain.command(PoolAction::Approve(new.account()), &[0]);
    assert_eq!(chain.take(approval), Err(CommandRefused::KeyTaken { key: new.public_key(), account: worker(0) }));
}

/// The clock is that of the settlements. It goes on for accounts without a pool, and when there are no settlements any more.
#[test]
fn keys_rotate_when_nothing_is_settled() {
    let mut chain = Chain::grown(start_with(|start| start.genesis.policy.last_settlement = Some(1)), 2);
    let (alone, next) = (newcomer(44), newcomer(45));
    chain.register(&alone);
    let command = chain.give(&alone, Action::Node(NodeAction::RotateKey(next.public_key())), &[&next]);
    chain.take(command).unwrap();
    chain.reach(6);
    assert_eq!(chain.state.key_of(&alone.account()), Some(alone.public_key()));
    chain.reach(7);
    assert_eq!(chain.state.key_of(&alone.account()), Some(next.public_key()));
}

#[test]
fn owners_and_treasury_signers_sign_with_their_current_keys() {
    let mut chain = Chain::grown(start(), 2);
    let (owner, signer) = (newcomer(46), newcomer(47));
    for i in [0, 1] {
        chain.register(&validator_key(i));
    }
    for (i, next) in [(0, &owner), (1, &signer)] {
        let action = Action::Node(NodeAction::RotateKey(next.public_key()));
        let command = chain.give(&validator_key(i), action, &[next]);
        chain.take(command).unwrap();
    }
    let update = PoolAction::Update { terms: chain.pool().terms, join: JoinPolicy::Invite, max_members: 9 };
    let command = chain.command(update, &[0]);
    chain.take(command).unwrap();
    let (pool, secret) = (chain.pool_id(), newcomer(99));
    let until = chain.state.time().after(std::time::Duration::from_hours(1));
    let record = Invite { pool, key: secret.public_key(), until, uses: 9 };
    let [old, new] =
        [&validator_key(0), &owner].map(|key| Ticket::Invite(key.sign_invite(chain.spec.id(), record).into_inner()));
    let enter = |chain: &mut Chain, i, ticket: &Ticket| {
        let (key, ticket) = (newcomer(i), ticket.clone());
        let action = Chain::registration(&key, 150, Entry::Pool { pool, ticket });
        chain.take(chain.give(&key, action, &[&secret])).map(drop)
    };
    assert_eq!(enter(&mut chain.clone(), 1, &new), Err(CommandRefused::InviteKey));
    enter(&mut chain.clone(), 1, &old).unwrap();
    settle(&mut chain, 3);
    assert_eq!(enter(&mut chain, 1, &old), Err(CommandRefused::InviteKey));
    enter(&mut chain, 1, &new).unwrap();

    let losses = Action::Pool { pool, action: PoolAction::Losses(lucid_types::amount::MicroUsdt::new(5)) };
    let record = chain.draft_of(validator_key(0).account(), losses);
    let by = |keys: &[&NodeKey]| {
        let keys: Vec<_> = keys.iter().map(|key| (*key).clone()).collect();
        chain.sign(record.clone(), &keys)
    };
    let refused = |command| chain.clone().take(command).unwrap_err();
    let short = CommandRefused::TooFewSigners { found: 1, needed: 2 };
    assert_eq!(refused(by(&[&owner, &validator_key(1)])), short, "a signer's old key");
    assert_eq!(
        refused(by(&[&validator_key(0), &signer, &validator_key(2)])),
        CommandRefused::NotInForce {
            key: validator_key(0).public_key(),
            account: validator_key(0).account(),
            current: owner.public_key()
        }
    );
    let good = by(&[&owner, &signer]);
    chain.take(good).unwrap();
}

/// A thief who has the key can use up the account's commands, and have others wait for its next numbers: the veto passes all the same.
#[test]
fn no_flood_holds_off_a_veto() {
    let (mut chain, old, thief) = begin();
    let mut pending = PendingCommands::default();
    let mut add = |chain: &Chain, command: &SignedCommand, source| {
        let command = command.clone().verify(chain.spec.id()).unwrap();
        pending.add(&chain.spec, &chain.state, command, chain.state.time(), source).map(drop)
    };
    for cores in 0..7 {
        give(&mut chain, update(cores), &[&old]).unwrap();
    }
    rotate(&mut chain, &old, &thief).unwrap();
    assert!(matches!(give(&mut chain, update(9), &[&old]), Err(CommandRefused::TooOften { .. })));
    let later = |chain: &Chain, others: u64, action| {
        let draft = chain.draft_of(worker(0), Action::Node(action));
        let nonce = draft.nonce + others;
        chain.sign(lucid_types::command::Command { nonce, ..draft }, std::slice::from_ref(&old))
    };
    for others in 0..8 {
        add(&chain, &later(&chain, others, update(9)), Source::User).unwrap();
    }
    let veto = later(&chain, 0, NodeAction::VetoKey);
    assert_eq!(add(&chain, &later(&chain, 0, NodeAction::Leave), Source::Peer), Err(CommandRefused::Conflict(8)));
    add(&chain, &veto, Source::Peer).unwrap();
    assert_eq!(add(&chain, &veto, Source::Peer), Err(CommandRefused::Waits));
    // It gives way to no other one, and another veto that does not apply takes nobody's place.
    assert_eq!(
        add(&chain, &later(&chain, 0, NodeAction::VetoPayoutAddress), Source::Peer),
        Err(CommandRefused::Conflict(8))
    );
    let idle = later(&chain, 1, NodeAction::VetoPayoutAddress);
    assert_eq!(add(&chain, &idle, Source::Peer), Err(CommandRefused::NothingAnnounced));
    assert!(pending.has(&(worker(0), 9)));
    let time = chain.state.next_time(&chain.spec);
    assert_eq!(pending.applicable(&chain.spec, &chain.state, time), std::slice::from_ref(&veto));
    chain.take(veto).unwrap();
    assert_eq!(chain.state.announced_key(&worker(0)), None);
}

/// After a stall one block can make the scores of many epochs final: it does not bring into force what it has announced itself.
#[test]
fn a_stall_leaves_time_for_a_veto() {
    let (mut chain, old, new) = begin();
    let stalled = chain.at(chain.spec.genesis().epoch_end(Epoch::new(8)));
    chain.apply(stalled);
    while chain.state.pending().next().is_some() {
        let commands = vec![rotation(&chain, &new, &[&old, &new])];
        let block = Block { commands, ..chain.draft(all_good) };
        let block = chain.seal(block);
        chain.apply(block);
    }
    assert_eq!(chain.state.final_through(), Epoch::new(8));
    assert_eq!(chain.state.announced_key(&worker(0)), Some((Epoch::new(12), new.public_key())));
    give(&mut chain, NodeAction::VetoKey, &[&old]).unwrap();
}
