//! Validators: how the set changes, and who is removed.

use std::collections::BTreeSet;

use lucid_types::change::NetworkChange;
use lucid_types::command::{Action, Command, NodeAction, ValidatorAction, ValidatorChange};
use lucid_types::evidence::Evidence;
use lucid_types::id::{BlockHash, Hash, NodeId};
use lucid_types::time::{Epoch, Height};
use lucid_types::validator::{Validator, ValidatorSetError};
use lucid_types::validator_key::ValidatorKeys;
use lucid_types::vote::{Vote, VoteKind};

use super::chain::{
    Chain, all_good, as_validator, members as first_members, signer, signer_id, start, start_with, validator,
    validator_key,
};
use crate::ledger::check::InvalidBlock;
use crate::ledger::command::{CommandRefused, SignedCommand};
use crate::ledger::event::Event;
use crate::ledger::pool::MAX_FORMING_TIME;
use crate::ledger::proposals::MAX_PROPOSED;
use crate::ledger::state::Rows;
use crate::ledger::table::{Equivocations, ProposedChanges, Validators};
use crate::ledger::validators::ChangeError;

fn act(chain: &Chain, i: usize, action: ValidatorAction) -> SignedCommand {
    chain.give(&validator_key(i), Action::Validator(action), &[])
}

fn propose(chain: &mut Chain, i: usize, change: ValidatorChange) -> Result<Vec<Event>, CommandRefused> {
    chain.take(act(chain, i, ValidatorAction::Propose(change.into())))
}

fn approve(chain: &mut Chain, i: usize, change: ValidatorChange) -> Result<Vec<Event>, CommandRefused> {
    chain.take(act(chain, i, ValidatorAction::Approve(id(change))))
}

fn id(change: ValidatorChange) -> Hash {
    NetworkChange::from(change).id()
}

fn members(chain: &Chain, height: Height) -> BTreeSet<NodeId> {
    chain.state.validators(height).unwrap().members().iter().map(|member| member.node).collect()
}

fn addition(i: usize) -> ValidatorChange {
    ValidatorChange::Add(as_validator(&validator_key(i), 1))
}

fn refused(error: ChangeError) -> CommandRefused {
    CommandRefused::Change(error)
}

#[test]
fn one_more_validator_takes_two_thirds_and_a_whole_epoch() {
    let mut chain = Chain::grown(start(), 2);
    let (new, change) = (validator(10), addition(10));
    let unknown = propose(&mut chain, 0, change);
    assert_eq!(unknown, Err(refused(ChangeError::NotRegistered(new))));
    chain.register(&validator_key(10));
    assert_eq!(chain.state.closed(), Epoch::new(2));
    assert_eq!(propose(&mut chain, 0, change), Ok(vec![]));
    assert_eq!(propose(&mut chain, 1, change), Err(CommandRefused::Proposed(id(change))));
    assert_eq!(approve(&mut chain, 1, change), Ok(vec![]));
    assert_eq!(approve(&mut chain, 1, change), Err(CommandRefused::ChangeApproved));
    assert_eq!(approve(&mut chain, 2, change), Ok(vec![]), "its key may not propose before epoch 5");
    chain.reach(4);
    assert_eq!(
        chain.state.proposals().map(|(_, it)| (it.from, it.approvals.len())).collect::<Vec<_>>(),
        [(Epoch::new(5), 3)]
    );
    let before = chain.state.height();
    chain.reach(5);
    let changed_in = (before.get()..chain.state.height().get()).map(|height| Height::new(height + 1));
    let from = changed_in.map(|height| height.plus(2)).find(|from| chain.state.has::<Validators>(from)).unwrap();
    assert_eq!(chain.state.proposals().count(), 0);
    chain.reach(6);
    let old: BTreeSet<_> = (0..4).map(validator).collect();
    assert_eq!(members(&chain, from.previous()), old);
    assert_eq!(members(&chain, from), old.iter().copied().chain([new]).collect());
    // The header of two blocks before names it, and that of three before does not.
    let header = |height: Height| chain.blocks[&height].header.clone();
    let hash = chain.state.validators(from).unwrap().hash();
    assert_eq!(header(Height::new(from.get() - 2)).next_set, hash);
    assert_ne!(header(Height::new(from.get() - 3)).next_set, hash);
    assert!(chain.state.open().unwrap().reporters.contains(&signer_id(10)), "it measures");
    let proposers: BTreeSet<_> = (0..60)
        .map(|_| {
            chain.step_with(vec![]);
            chain.blocks.values().last().unwrap().header.proposer
        })
        .collect();
    assert!(proposers.contains(&signer_id(10)), "it proposes");
    assert_eq!(approve(&mut chain, 3, change), Err(CommandRefused::NoProposal(id(change))));
    assert_eq!(propose(&mut chain, 3, change), Err(refused(ChangeError::IsValidator(new))));
}

#[test]
fn powers_and_removals_are_in_force_two_blocks_later() {
    let mut chain = Chain::grown(start(), 2);
    let more = ValidatorChange::Power { validator: validator(0), power: 5 };
    propose(&mut chain, 1, more).unwrap();
    approve(&mut chain, 2, more).unwrap();
    let events = approve(&mut chain, 3, more).unwrap();
    let from = chain.state.height().plus(2);
    assert_eq!(events, [Event::Validator { node: validator(0), key: signer_id(0), power: 5, from }]);
    assert_eq!(chain.state.next_validators().power(&signer_id(0)), 1);
    assert_eq!(propose(&mut chain, 1, more), Err(refused(ChangeError::SamePower(validator(0)))), "of what is to come");
    chain.step_with(vec![]);
    assert_eq!(chain.state.next_validators().total(), 8);
    // Of eight, six are more than two thirds: validator 0 and one other.
    let out = ValidatorChange::Remove(validator(3));
    propose(&mut chain, 0, out).unwrap();
    let events = approve(&mut chain, 1, out).unwrap();
    let from = chain.state.height().plus(2);
    assert_eq!(events, [Event::Validator { node: validator(3), key: signer_id(3), power: 0, from }]);
    chain.step_with(vec![]);
    assert_eq!(members(&chain, from), (0..3).map(validator).collect());
    let late = act(&chain, 3, ValidatorAction::Propose(more.into()));
    assert_eq!(chain.take(late), Err(CommandRefused::NotValidator));
    chain.reach(5);
    assert_eq!(chain.state.open().unwrap().reporters.len(), 3);
}

#[test]
fn whoever_resigns_is_gone_and_the_last_one_stays() {
    let mut chain = Chain::grown(start(), 2);
    for i in 1..4 {
        let events = chain.take(act(&chain, i, ValidatorAction::Resign)).unwrap();
        let from = chain.state.height().plus(2);
        assert_eq!(events, [Event::Validator { node: validator(i), key: signer_id(i), power: 0, from }]);
    }
    chain.step_with(vec![]);
    let last = chain.take(act(&chain, 0, ValidatorAction::Resign));
    assert_eq!(last, Err(refused(ChangeError::Set(ValidatorSetError::Empty))));
    chain.step(all_good);
    assert_eq!(members(&chain, chain.state.height()), [validator(0)].into());
}

#[test]
fn a_validator_resigns_before_it_retires() {
    let mut chain = Chain::grown(start(), 2);
    let key = validator_key(3);
    chain.register(&key);
    let retire = |chain: &Chain| chain.give(&key, Action::Node(NodeAction::Retire), &[]);
    let early = retire(&chain);
    assert_eq!(chain.take(early), Err(CommandRefused::Validates));
    let resigns = act(&chain, 3, ValidatorAction::Resign);
    chain.take(resigns).unwrap();
    let late = retire(&chain);
    assert_eq!(chain.take(late).unwrap().last(), Some(&Event::Retired { account: validator(3) }));
}

#[test]
fn several_changes_of_one_block_make_one_set() {
    let mut chain = Chain::grown(start(), 2);
    let mut commands = [1, 2].map(|i| act(&chain, i, ValidatorAction::Resign)).to_vec();
    let beacon = chain.state.head().beacon;
    commands.sort_by_key(|command| crate::ledger::command::place(&beacon, &command.record));
    let events = chain.step_with(commands);
    assert_eq!(events.len(), 2);
    assert_eq!(chain.state.all::<Validators>().count(), 2);
    let from = chain.state.height().plus(2);
    assert_eq!(members(&chain, from), [validator(0), validator(3)].into());
}

#[test]
fn proposals_are_taken_back_and_end() {
    let mut chain = Chain::grown(start(), 2);
    let change = |i| ValidatorChange::Power { validator: validator(i), power: 2 };
    for i in 0..MAX_PROPOSED {
        propose(&mut chain, 0, ValidatorChange::Power { validator: validator(1), power: 2 + i as u64 }).unwrap();
        chain.reach(chain.state.closed().get() + 2);
    }
    assert_eq!(propose(&mut chain, 0, change(2)), Err(CommandRefused::TooManyProposals));
    let own = id(change(1));
    let foreign = act(&chain, 2, ValidatorAction::Withdraw(own));
    assert_eq!(chain.take(foreign), Err(CommandRefused::ChangeNotApproved));
    approve(&mut chain, 2, change(1)).unwrap();
    chain.take(act(&chain, 0, ValidatorAction::Withdraw(own))).unwrap();
    assert!(chain.state.has::<ProposedChanges>(&own), "another validator approves of it still");
    chain.take(act(&chain, 2, ValidatorAction::Withdraw(own))).unwrap();
    assert!(!chain.state.has::<ProposedChanges>(&own));
    let end = chain.state.time().after(MAX_FORMING_TIME).after(std::time::Duration::from_secs(1));
    let last = change(3);
    propose(&mut chain, 3, last).unwrap();
    let block = chain.at(end.after(std::time::Duration::from_secs(60)));
    chain.apply(block);
    assert_eq!(chain.state.proposals().count(), 0);
    assert_eq!(approve(&mut chain, 1, last), Err(CommandRefused::NoProposal(id(last))));
}

#[test]
fn what_is_proposed_must_be_possible() {
    let mut chain = Chain::grown(start(), 2);
    let (key, node) = (validator_key(10), validator(10));
    chain.register(&key);
    let stranger = act(&chain, 10, ValidatorAction::Resign);
    assert_eq!(chain.take(stranger), Err(CommandRefused::NotValidator));
    let good = as_validator(&key, 1);
    let operator = Validator { operator: validator(0), ..good };
    let error = ChangeError::Operator { node: key.account(), operator: key.account() };
    assert_eq!(propose(&mut chain, 0, ValidatorChange::Add(operator)), Err(refused(error)));
    let foreign = Validator { keys: signer(11).keys(&validator(11)), ..good };
    let proved_for_another = propose(&mut chain, 0, ValidatorChange::Add(foreign));
    assert!(matches!(proved_for_another, Err(CommandRefused::Change(ChangeError::Keys(of, _))) if of == node));
    let taken = Validator { keys: signer(0).keys(&node), ..good };
    let taken = propose(&mut chain, 0, ValidatorChange::Add(taken));
    assert_eq!(taken, Err(refused(ChangeError::UsedKey(signer_id(0)))));
    let taken_bls = ValidatorKeys { bls_key: signer(0).bls_key().public(), ..good.keys };
    let taken = propose(&mut chain, 0, ValidatorChange::Add(Validator { keys: taken_bls, ..good }));
    assert!(matches!(taken, Err(CommandRefused::Change(ChangeError::Set(ValidatorSetError::SharedKey(_))))));
    for action in [ValidatorChange::Power { validator: validator(0), power: 0 }, {
        ValidatorChange::Add(Validator { power: 0, ..good })
    }] {
        assert!(matches!(propose(&mut chain, 0, action), Err(CommandRefused::Malformed(_))));
    }
    let huge = ValidatorChange::Power { validator: validator(0), power: u64::MAX };
    let error = refused(ChangeError::Set(ValidatorSetError::TooMuchPower));
    assert_eq!(propose(&mut chain, 0, huge), Err(error));
    let nobody = ValidatorChange::Remove(key.account());
    assert_eq!(propose(&mut chain, 0, nobody), Err(refused(ChangeError::NoValidator(key.account()))));
    assert_eq!(
        chain.take(act(&chain, 0, ValidatorAction::Approve(Hash::from_bytes([9; 32])))),
        Err(CommandRefused::NoProposal(Hash::from_bytes([9; 32])))
    );
}

fn evidence(chain: &Chain, i: usize, height: Height) -> Evidence {
    let key = signer(i);
    let vote = |byte: u8| {
        let block = Some(BlockHash::from_bytes([byte; 32]));
        key.sign_vote(chain.spec.id(), Vote { kind: VoteKind::Prevote, height, round: 0, block })
    };
    Evidence::of_votes(&vote(1), &vote(2)).unwrap().into_inner()
}

fn prove(chain: &mut Chain, liars: &[usize], height: Height) -> Vec<Event> {
    let mut block = chain.at(chain.state.next_time(&chain.spec));
    block.evidence = liars.iter().map(|i| evidence(chain, *i, height)).collect();
    block.evidence.sort_by_key(Evidence::validator);
    let block = chain.seal(block);
    chain.apply(block)
}

#[test]
fn who_equivocates_is_removed_at_most_a_third_of_the_power_in_an_epoch() {
    let mut chain = Chain::grown(start_with(|start| start.genesis.validators = first_members(7)), 2);
    let height = chain.state.height();
    let events = prove(&mut chain, &[1, 2, 3], height);
    let from = chain.state.height().plus(2);
    let gone: BTreeSet<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Validator { node, power: 0, from: at, .. } if *at == from => Some(*node),
            _ => None,
        })
        .collect();
    assert_eq!(gone.len(), 2, "two of seven are less than a third, three are more: {events:?}");
    chain.step_with(vec![]);
    assert_eq!(chain.state.validators(from).unwrap().members().len(), 5);
    let epoch = chain.state.closed();
    chain.reach(epoch.get() + 2);
    chain.step_with(vec![]);
    chain.step_with(vec![]);
    assert_eq!(chain.state.next_validators().members().len(), 4, "the third one is removed in the next epoch");
    assert!(chain.state.all::<Equivocations>().all(|(_, row)| row.removed.is_some()));
    // It does not come back, with whatever key.
    chain.register(&validator_key(1));
    let change = addition(1);
    let asked = propose(&mut chain, 0, change);
    assert_eq!(asked, Err(refused(ChangeError::Equivocated(validator(1)))));
}

#[test]
fn validators_are_remembered_as_long_as_evidence_is_taken() {
    let mut chain = Chain::grown(start_with(|start| start.genesis.policy.evidence_blocks = 6), 2);
    chain.take(act(&chain, 3, ValidatorAction::Resign)).unwrap();
    let from = chain.state.height().plus(2);
    while chain.state.height() < from.plus(4) {
        chain.step_with(vec![]);
    }
    assert!(members(&chain, from.previous()).contains(&validator(3)));
    assert_eq!(chain.state.all::<Validators>().count(), 2);
    prove(&mut chain, &[3], from.previous());
    assert_eq!(chain.state.all::<Validators>().count(), 1, "no evidence of its time can come any more");
    assert_eq!(chain.state.validators(from.previous()), None);
    let old = chain.state.clone();
    let mut block = chain.at(chain.state.next_time(&chain.spec));
    block.evidence = vec![evidence(&chain, 2, from.previous())];
    assert!(matches!(chain.validate(block.sealed()), Err(InvalidBlock::Evidence { .. })));
    assert_eq!(old, chain.state);
}

#[test]
fn a_header_must_name_the_validators_to_come() {
    let chain = Chain::grown(start(), 2);
    let resigns = act(&chain, 3, ValidatorAction::Resign);
    let before = chain.state.validators(chain.state.height().plus(2)).unwrap().hash();
    let good = chain.at(chain.state.next_time(&chain.spec));
    let mut block = lucid_types::block::Block { commands: vec![resigns], ..good };
    block = chain.seal(block);
    chain.validate(block.clone()).unwrap();
    for other in [before, Hash::from_bytes([1; 32])] {
        block.header.next_set = other;
        assert_eq!(chain.validate(block.clone()).unwrap_err(), InvalidBlock::NextSet);
    }
}

#[test]
fn commands_of_others_are_not_enough() {
    let mut chain = Chain::grown(start(), 2);
    let change = ValidatorChange::Remove(validator(3));
    propose(&mut chain, 0, change).unwrap();
    // Signed by another validator in the name of this one.
    let draft = chain.draft_of(validator(1), Action::Validator(ValidatorAction::Approve(id(change))));
    let forged = chain.sign(Command { ..draft }, &[validator_key(2)]);
    assert_eq!(chain.take(forged), Err(CommandRefused::Unsigned(validator(1).first_key())));
    approve(&mut chain, 1, change).unwrap();
    assert_eq!(members(&chain, chain.state.height().plus(2)).len(), 4, "half is not two thirds");
}
