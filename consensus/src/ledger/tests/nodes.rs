//! What accounts do about themselves: payout addresses, offers, and leaving for good.

use lucid_types::attestation::Capacity;
use lucid_types::command::{Action, NodeAction};
use lucid_types::payout::AccountKind;

use super::chain::{Chain, address, all_good, start, start_with, validator_key, worker, worker_key};
use super::entry::newcomer;
use crate::ledger::command::{CommandRefused, SignedCommand};
use crate::ledger::event::Event;

fn giving(chain: &Chain, i: usize, action: NodeAction) -> SignedCommand {
    chain.give(&worker_key(i), Action::Node(action), &[])
}

/// Where the newest root pays worker 0.
fn paid_at(chain: &Chain) -> lucid_types::id::PayoutAddress {
    chain.account(AccountKind::Worker, worker(0)).unwrap().to
}

#[test]
fn another_payout_address_is_announced_one_root_before_it_counts() {
    // Settlement 1 is computed.
    let mut chain = Chain::grown(start(), 2);
    let other = address(160);
    let change = giving(&chain, 0, NodeAction::PayoutAddress(other));
    let events = chain.take(change).unwrap();
    assert_eq!(events, [Event::PayoutAddress { account: worker(0), address: other, from: 3 }]);
    assert_eq!(chain.state.node(&worker(0)).unwrap().next_payout, Some((3, other)));
    let mut vetoed = chain.clone();
    let veto = giving(&vetoed, 0, NodeAction::VetoPayoutAddress);
    vetoed.take(veto).unwrap();
    assert_eq!(vetoed.take(giving(&vetoed, 0, NodeAction::VetoPayoutAddress)), Err(CommandRefused::NothingAnnounced));

    let addresses = |chain: &mut Chain| {
        [2, 3, 4].map(|settlement| {
            while chain.pool().settled < settlement {
                chain.step(all_good);
            }
            paid_at(chain)
        })
    };
    assert_eq!(addresses(&mut chain), [address(1), other, other]);
    assert_eq!(addresses(&mut vetoed), [address(1); 3]);
    assert_eq!(chain.take(giving(&chain, 0, NodeAction::VetoPayoutAddress)), Err(CommandRefused::NothingAnnounced));
    // The next change goes out from there.
    let change = giving(&chain, 0, NodeAction::PayoutAddress(address(161)));
    chain.take(change).unwrap();
    let node = chain.state.node(&worker(0)).unwrap();
    assert_eq!((node.payout_address, node.next_payout), (other, Some((6, address(161)))));
    for (refused, what) in [(address(200), "the USDT contract"), (address(100), "a pool's vault")] {
        let error = chain.take(giving(&chain, 0, NodeAction::PayoutAddress(refused))).unwrap_err();
        assert_eq!(error, CommandRefused::Address { key: "payout_address", what });
    }
}

/// A veto is in time as long as no root has used the address.
#[test]
fn a_payout_address_can_be_taken_back_until_a_root_has_it() {
    let mut chain = Chain::grown(start(), 2);
    let change = giving(&chain, 0, NodeAction::PayoutAddress(address(160)));
    chain.take(change).unwrap();
    while chain.pool().settled < 2 {
        chain.step(all_good);
    }
    let veto = giving(&chain, 0, NodeAction::VetoPayoutAddress);
    chain.clone().take(veto).unwrap();
    while chain.pool().settled < 3 {
        chain.step(all_good);
    }
    assert_eq!(chain.take(giving(&chain, 0, NodeAction::VetoPayoutAddress)), Err(CommandRefused::NothingAnnounced));
}

#[test]
fn without_the_payout_key_no_payout_address_changes() {
    let mut chain = Chain::grown(start(), 2);
    let cold = newcomer(40);
    chain.change_node(worker(0), |node| node.payout_key = Some(cold.public_key()));
    let action = || Action::Node(NodeAction::PayoutAddress(address(160)));
    let alone = chain.give(&worker_key(0), action(), &[]);
    assert_eq!(chain.take(alone), Err(CommandRefused::Unsigned(cold.public_key())));
    let both = chain.give(&worker_key(0), action(), &[&cold]);
    chain.take(both).unwrap();
    let veto = giving(&chain, 0, NodeAction::VetoPayoutAddress);
    chain.take(veto).unwrap();
}

#[test]
fn an_offer_is_replaced() {
    let mut chain = Chain::grown(start(), 2);
    let capacity = Capacity { cores: 9, ..Capacity::default() };
    let update = |gas_address| NodeAction::Update { gas_address, capacity };
    let command = giving(&chain, 0, update(Some(address(170))));
    chain.take(command).unwrap();
    let node = chain.state.node(&worker(0)).unwrap();
    assert_eq!((node.gas_address, node.capacity), (Some(address(170)), capacity));
    let error = chain.take(giving(&chain, 0, update(Some(address(100))))).unwrap_err();
    assert_eq!(error, CommandRefused::Address { key: "gas_address", what: "a pool's vault" });
    let stranger = newcomer(1);
    let command = chain.give(&stranger, Action::Node(update(None)), &[]);
    assert_eq!(chain.take(command), Err(CommandRefused::NotRegistered(stranger.account())));
}

/// Whoever has stolen the key of an account can announce an address and retire the account in one block.
#[test]
fn what_is_announced_can_be_taken_back_by_whoever_has_retired() {
    let mut chain = Chain::grown(start(), 2);
    let other = newcomer(40);
    let actions =
        [NodeAction::PayoutAddress(address(160)), NodeAction::RotateKey(other.public_key()), NodeAction::Retire];
    for action in actions {
        let with: &[_] = if matches!(action, NodeAction::RotateKey(_)) { &[&other] } else { &[] };
        let command = chain.give(&worker_key(0), Action::Node(action), with);
        chain.take(command).unwrap();
    }
    assert_eq!(chain.take(giving(&chain, 0, NodeAction::Leave)), Err(CommandRefused::Retired));
    for veto in [NodeAction::VetoPayoutAddress, NodeAction::VetoKey] {
        let command = giving(&chain, 0, veto);
        chain.take(command).unwrap();
    }
    assert_eq!(chain.take(giving(&chain, 0, NodeAction::VetoKey)), Err(CommandRefused::NoKeyAnnounced));
    while chain.pool().settled < 4 {
        chain.step(all_good);
    }
    assert_eq!((paid_at(&chain), chain.state.key_of(&worker(0))), (address(1), Some(worker_key(0).public_key())));
}

#[test]
fn whoever_retires_is_paid_and_does_not_come_back() {
    let mut chain = Chain::grown(start_with(|start| start.pools[0].owner = worker(1)), 2);
    let owns = giving(&chain, 1, NodeAction::Retire);
    assert_eq!(chain.take(owns), Err(CommandRefused::OwnsPool(chain.pool_id())));
    let command = giving(&chain, 0, NodeAction::Retire);
    let events = chain.take(command).unwrap();
    assert_eq!(events.last(), Some(&Event::Retired { account: worker(0) }));
    assert_eq!(chain.take(giving(&chain, 0, NodeAction::Leave)), Err(CommandRefused::Retired));
    let entry = lucid_types::command::Entry::Network(chain.stamp(worker(0), None));
    let again = chain.give(&worker_key(0), Chain::registration(&worker_key(0), 150, entry), &[]);
    assert_eq!(chain.take(again), Err(CommandRefused::Retired));
    let owed = |chain: &Chain| chain.account(AccountKind::Worker, worker(0)).unwrap().owed;
    let before = owed(&chain);
    chain.reach(9);
    assert!(owed(&chain) > before, "it was drawn until epoch 4");
    let last = owed(&chain);
    chain.reach(13);
    assert_eq!(owed(&chain), last);
    assert_eq!(chain.state.nonce(&worker(0)).next, 1);
    // A validator is no node by itself, and may become one after it has given commands.
    let approve = Action::Validator(lucid_types::command::ValidatorAction::ApprovePool(chain.pool_id()));
    let command = chain.give(&validator_key(2), approve, &[]);
    assert_eq!(chain.take(command), Err(CommandRefused::NotForming));
    chain.register(&validator_key(2));
}
