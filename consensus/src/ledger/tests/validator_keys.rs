//! Validator keys: how a validator changes its own, and what the former one is worth then.

use lucid_types::command::{Action, ValidatorAction, ValidatorChange};
use lucid_types::evidence::Evidence;
use lucid_types::id::BlockHash;
use lucid_types::time::{Epoch, Height};
use lucid_types::validator::{Validator, ValidatorSetError};
use lucid_types::validator_key::{ValidatorKey, ValidatorKeys};
use lucid_types::vote::{Vote, VoteKind};

use super::chain::{
    Chain, all_good, as_validator, members, signer, signer_id, signer_of, start, start_with, validator, validator_key,
};
use crate::ledger::check::InvalidBlock;
use crate::ledger::command::CommandRefused;
use crate::ledger::event::Event;
use crate::ledger::pool::MAX_FORMING_TIME;
use crate::ledger::proposals::MAX_PROPOSED;
use crate::ledger::state::Rows;
use crate::ledger::table::{Draws, Equivocations, UsedKeys};
use crate::ledger::validators::{ChangeError, UsedKey};

type Taken = Result<Vec<Event>, CommandRefused>;

fn act(chain: &mut Chain, i: usize, action: ValidatorAction) -> Taken {
    chain.take(chain.give(&validator_key(i), Action::Validator(action), &[]))
}

/// The key that validator `i` has after so many rotations.
fn nth_signer(i: usize, nth: u8) -> ValidatorKey {
    signer_of(&validator_key(i), nth)
}

fn nth_keys(i: usize, nth: u8) -> ValidatorKeys {
    nth_signer(i, nth).keys(&validator(i))
}

fn rotate(chain: &mut Chain, i: usize, nth: u8) -> Taken {
    act(chain, i, ValidatorAction::RotateKey(nth_keys(i, nth)))
}

fn refused<T>(error: ChangeError) -> Result<T, CommandRefused> {
    Err(CommandRefused::Change(error))
}

/// Rotates the key of validator `i` and waits until it has the other one.
fn rotated(chain: &mut Chain, i: usize, nth: u8) {
    rotate(chain, i, nth).unwrap();
    let (_, row) = chain.state.rotation(&validator(i)).unwrap();
    chain.reach(row.from.get());
    let is_next = |chain: &Chain| chain.state.next_validators().get(&nth_signer(i, nth).id()).is_some();
    while !is_next(chain) {
        chain.step_with(vec![]);
    }
}

#[test]
fn another_key_is_in_force_after_a_whole_epoch_and_changes_nothing_else() {
    let mut chain = Chain::grown(start(), 2);
    assert_eq!(rotate(&mut chain, 3, 1), Ok(vec![]));
    assert_eq!(rotate(&mut chain, 3, 1), Err(CommandRefused::Rotates));
    let (old, new) = (signer_id(3), nth_signer(3, 1).id());
    assert_eq!(chain.state.rotation(&validator(3)).unwrap().1.from, Epoch::new(5));
    chain.reach(4);
    // The block that opens epoch 5 changes the set, and draws the epoch by the one that is in force.
    chain.block(all_good);
    let from = chain.state.height().plus(2);
    let before = *chain.state.validators(from.previous()).unwrap().of(&validator(3)).unwrap();
    let after = *chain.state.validators(from).unwrap().of(&validator(3)).unwrap();
    assert_eq!(before.keys.id, old);
    assert_eq!(after, Validator { keys: nth_keys(3, 1), ..before }, "power, account and operator stay");
    assert_eq!(chain.state.rotation(&validator(3)), None);
    let rows = [old, new].map(|key| chain.state.get::<UsedKeys>(&key).copied());
    let used = |is_given_up| Some(UsedKey { account: validator(3), is_given_up });
    assert_eq!(rows, [used(true), used(false)]);
    // Epoch 5 is reported on with the key of its draw, by a validator that decides with the other by then.
    let epoch = Epoch::new(5);
    assert_eq!(chain.state.reporter(epoch, &validator(3)), Some(old));
    chain.reach(6);
    assert_eq!(chain.state.next_validators().of(&validator(3)).map(|it| it.keys.id), Some(new));
    assert_eq!(chain.finalised[&epoch].scores.rows.len(), 3);
    assert_eq!(chain.state.reporter(Epoch::new(6), &validator(3)), Some(new));
    let proposers = (0..60).map(|_| {
        chain.step_with(vec![]);
        chain.blocks.values().last().unwrap().header.proposer
    });
    let proposers: Vec<_> = proposers.collect();
    assert!(proposers.contains(&new) && !proposers.contains(&old), "it proposes with the other key");
}

#[test]
fn reports_count_with_the_key_of_their_epochs_draw_only() {
    let mut chain = Chain::grown(start(), 2);
    rotate(&mut chain, 3, 1).unwrap();
    chain.reach(5);
    // Epoch 5 is drawn with the former key, and ends with the other one in force.
    let (old, new) = (signer(3), nth_signer(3, 1));
    chain.block(all_good);
    assert_eq!(chain.state.next_validators().of(&validator(3)).unwrap().keys.id, new.id());
    let good = chain.draft(all_good);
    let place = good.commitments.iter().position(|it| it.signer == old.id()).unwrap();
    let mut forged = good.clone();
    forged.commitments[place] =
        new.sign_report_commitment(chain.spec.id(), good.commitments[place].record).into_inner();
    forged.commitments.sort_by_key(|it| (it.record.epoch, it.signer));
    let forged = chain.validate(chain.seal(forged)).unwrap_err();
    let problem = "the signer is no validator of the epoch";
    assert_eq!(forged, InvalidBlock::Commitment { validator: new.id(), problem });
    chain.apply(good);
    let draw = chain.state.get::<Draws>(&Epoch::new(5)).unwrap();
    assert!(draw.reporters.contains(&old.id()) && !draw.reporters.contains(&new.id()));
    assert!(chain.state.has_committed(Epoch::new(5), &old.id()));
}

#[test]
fn a_key_is_one_accounts_and_used_once() {
    let mut chain = Chain::grown(start(), 2);
    let announce = |chain: &mut Chain, keys| act(chain, 3, ValidatorAction::RotateKey(keys));
    let me = validator(3);
    for (name, key) in [("its own", signer(3)), ("another validator's", signer(0))] {
        assert_eq!(announce(&mut chain, key.keys(&me)), refused(ChangeError::UsedKey(key.id())), "{name}");
    }
    let proved_for_another = announce(&mut chain, nth_signer(3, 1).keys(&validator(0)));
    assert!(matches!(proved_for_another, Err(CommandRefused::Change(ChangeError::Keys(of, _))) if of == me));
    let shared = ValidatorKeys { bls_key: signer(0).bls_key().public(), ..nth_keys(3, 1) };
    let shared = announce(&mut chain, shared);
    assert!(matches!(shared, Err(CommandRefused::Change(ChangeError::Set(ValidatorSetError::SharedKey(_))))));
    // Two that share a secret cannot both announce it.
    rotate(&mut chain, 0, 1).unwrap();
    let waiting = nth_signer(0, 1);
    assert_eq!(announce(&mut chain, waiting.keys(&me)), refused(ChangeError::WaitingKey(waiting.id())));
    let (id, _) = chain.state.rotation(&validator(0)).unwrap();
    act(&mut chain, 0, ValidatorAction::Withdraw(id)).unwrap();
    assert_eq!(announce(&mut chain, waiting.keys(&me)), Ok(vec![]));
    // What it has given up it does not take again, and nobody else does.
    chain.reach(7);
    rotated(&mut chain, 3, 2);
    for (name, given_up) in [("its first", signer(3)), ("its second", waiting)] {
        assert_eq!(announce(&mut chain, given_up.keys(&me)), refused(ChangeError::UsedKey(given_up.id())), "{name}");
    }
    let stolen = act(&mut chain, 0, ValidatorAction::RotateKey(signer(3).keys(&validator(0))));
    assert_eq!(stolen, refused(ChangeError::UsedKey(signer_id(3))));
}

#[test]
fn one_rotation_waits_and_only_its_validator_has_a_say() {
    let mut chain = Chain::grown(start(), 2);
    for i in 0..MAX_PROPOSED {
        let change = ValidatorChange::Power { validator: validator(1), power: 2 + i as u64 };
        act(&mut chain, 3, ValidatorAction::Propose(change.into())).unwrap();
        chain.reach(chain.state.closed().get() + 2);
    }
    // What it proposes of others is no matter.
    rotate(&mut chain, 3, 1).unwrap();
    let first = chain.state.rotation(&validator(3)).unwrap().0;
    rotate(&mut chain, 3, 2).unwrap();
    let (second, row) = chain.state.rotation(&validator(3)).map(|(id, row)| (id, row.clone())).unwrap();
    assert_ne!(first, second, "the later one has taken its place");
    assert_eq!(row.change, ValidatorChange::Keys { validator: validator(3), keys: nth_keys(3, 2) }.into());
    assert_eq!(act(&mut chain, 0, ValidatorAction::Approve(second)), Err(CommandRefused::NeedsNoApproval));
    assert_eq!(act(&mut chain, 0, ValidatorAction::Withdraw(second)), Err(CommandRefused::ChangeNotApproved));
    let by_another = act(&mut chain, 0, ValidatorAction::Propose(row.change));
    assert!(matches!(by_another, Err(CommandRefused::Malformed(_))));
    act(&mut chain, 3, ValidatorAction::Withdraw(second)).unwrap();
    assert_eq!(chain.state.rotation(&validator(3)), None);
    chain.reach(chain.state.closed().get() + 4);
    assert!(chain.state.next_validators().get(&signer_id(3)).is_some());
}

#[test]
fn a_rotation_outlives_a_standstill() {
    let mut chain = Chain::grown(start(), 2);
    rotate(&mut chain, 3, 1).unwrap();
    let late = chain.state.time().after(2 * MAX_FORMING_TIME);
    let block = chain.at(late);
    chain.apply(block);
    assert_eq!(chain.state.rotation(&validator(3)), None);
    let from = chain.state.height().plus(2);
    assert!(chain.state.validators(from).unwrap().get(&nth_signer(3, 1).id()).is_some());
}

#[test]
fn who_has_resigned_takes_its_last_key_back_and_no_other() {
    let mut chain = Chain::grown(start(), 2);
    chain.register(&validator_key(3));
    rotated(&mut chain, 3, 1);
    rotate(&mut chain, 3, 2).unwrap();
    act(&mut chain, 3, ValidatorAction::Resign).unwrap();
    chain.reach(chain.state.closed().get() + 4);
    assert_eq!(chain.state.rotation(&validator(3)), None, "there is nothing to rotate any more");
    assert!(!chain.state.has::<UsedKeys>(&nth_signer(3, 2).id()), "what was never in force is nobody's");
    let addition = |nth| {
        let keys = nth_keys(3, nth);
        ValidatorAction::Propose(ValidatorChange::Add(Validator { keys, ..as_validator(&validator_key(3), 1) }).into())
    };
    assert_eq!(act(&mut chain, 0, addition(0)), refused(ChangeError::UsedKey(signer_id(3))));
    assert_eq!(act(&mut chain, 0, addition(1)), Ok(vec![]));
    assert_eq!(act(&mut chain, 1, addition(2)), Ok(vec![]));
    // With another one it has given up the last.
    for i in [0, 2] {
        let ValidatorAction::Propose(change) = addition(2) else { unreachable!() };
        act(&mut chain, i, ValidatorAction::Approve(change.id())).unwrap();
    }
    chain.reach(chain.state.closed().get() + 4);
    assert!(chain.state.next_validators().get(&nth_signer(3, 2).id()).is_some());
    let ValidatorAction::Propose(former) = addition(1) else { unreachable!() };
    act(&mut chain, 0, ValidatorAction::Withdraw(former.id())).unwrap();
    act(&mut chain, 3, ValidatorAction::Resign).unwrap();
    chain.reach(chain.state.closed().get() + 2);
    assert_eq!(act(&mut chain, 0, addition(1)), refused(ChangeError::UsedKey(nth_signer(3, 1).id())));
    assert_eq!(act(&mut chain, 0, addition(2)), Ok(vec![]));
}

/// Each change of the set is kept for ever, and shown to everybody who joins.
#[test]
fn rotations_change_the_set_once_a_settlement_at_most() {
    let settle_every = 5;
    let mut chain = Chain::grown(start_with(|start| start.genesis.policy.settle_every = settle_every), 2);
    let mut sets = std::collections::BTreeSet::new();
    // Each rotates as soon as it can again.
    let mut nth = [0; 3];
    let first = chain.state.closed().get();
    while chain.state.closed().get() < first + 3 * settle_every {
        for (i, nth) in nth.iter_mut().enumerate() {
            if chain.state.rotation(&validator(i)).is_none() {
                *nth += 1;
                rotate(&mut chain, i, *nth).unwrap();
            }
        }
        let closed = chain.state.closed();
        while chain.state.closed() == closed {
            chain.step_with(vec![]);
            sets.insert(chain.state.next_validators().hash());
        }
    }
    assert!((3..=4).contains(&sets.len()), "{} sets in 3 settlements", sets.len());
}

/// Who has stolen the node key of a validator announces keys of his own, and uses up the commands of the epoch.
#[test]
fn a_rotation_is_taken_back_whatever_else_was_commanded() {
    let mut chain = Chain::grown(start(), 2);
    rotate(&mut chain, 3, 1).unwrap();
    let mut nth = 1;
    let too_often = loop {
        nth += 1;
        if let Err(refused) = rotate(&mut chain, 3, nth) {
            break refused;
        }
    };
    assert!(matches!(too_often, CommandRefused::TooOften { .. }), "{too_often}");
    let (id, _) = chain.state.rotation(&validator(3)).unwrap();
    act(&mut chain, 3, ValidatorAction::Withdraw(id)).unwrap();
    assert_eq!(chain.state.rotation(&validator(3)), None);
    let again = act(&mut chain, 3, ValidatorAction::Withdraw(id));
    assert_eq!(again, Err(CommandRefused::NoProposal(id)), "a veto of nothing is refused");
}

fn evidence(chain: &Chain, key: &ValidatorKey, height: Height) -> Evidence {
    let vote = |byte: u8| {
        let block = Some(BlockHash::from_bytes([byte; 32]));
        key.sign_vote(chain.spec.id(), Vote { kind: VoteKind::Prevote, height, round: 0, block })
    };
    Evidence::of_votes(&vote(1), &vote(2)).unwrap().into_inner()
}

#[test]
fn another_key_saves_no_equivocator() {
    let mut chain = Chain::grown(start_with(|start| start.genesis.validators = members(5)), 2);
    let before = chain.state.height();
    rotated(&mut chain, 3, 1);
    let now = chain.state.height().next();
    let (old, new) = (signer(3), nth_signer(3, 1));
    let with = |chain: &Chain, mut evidence: Vec<Evidence>| {
        evidence.sort_by_key(Evidence::validator);
        chain.seal(lucid_types::block::Block { evidence, ..chain.at(chain.state.next_time(&chain.spec)) })
    };
    let worthless = with(&chain, vec![evidence(&chain, &old, now)]);
    let problem = "the signer was no validator";
    assert_eq!(chain.validate(worthless).unwrap_err(), InvalidBlock::Evidence { validator: old.id(), problem });
    let twice = with(&chain, vec![evidence(&chain, &old, before), evidence(&chain, &new, now)]);
    assert!(matches!(chain.validate(twice), Err(InvalidBlock::Evidence { .. })), "one of each validator is enough");
    let block = with(&chain, vec![evidence(&chain, &old, before)]);
    let events = chain.apply(block);
    let (from, node) = (chain.state.height().plus(2), validator(3));
    let gone = Event::Validator { node, key: new.id(), power: 0, from };
    assert_eq!(events, [Event::Equivocated { validator: node, height: before }, gone]);
    assert_eq!(chain.state.validators(from).unwrap().of(&node), None);
    assert!(chain.state.get::<Equivocations>(&node).unwrap().removed.is_some());
}
