//! A validator that says what an honest one never would: the test holds its key, and its node is down.

use std::sync::Arc;

use lucid_consensus::admission::{Refusal, View};
use lucid_consensus::chain_spec::ChainSpec;
use lucid_consensus::ledger::build::{Pending, Turn, build};
use lucid_consensus::replica::Input;
use lucid_types::block::{Block, Header, items_hash};
use lucid_types::id::{BlockHash, Hash, StateRoot, ValidatorId};
use lucid_types::message::CompactProposal;
use lucid_types::time::{Height, UnixMillis};
use lucid_types::validator_key::ValidatorKey;
use lucid_types::vote::Proposal;

use crate::genesis::signing_key;
use crate::world::World;

/// The key of validator 3, which goes down as soon as the others have started.
pub fn turn_bad(world: &mut World) -> (ValidatorKey, Arc<ChainSpec>) {
    world.run(100, |_| false);
    world.take_down(3);
    let liar = signing_key(3);
    world.liars.insert(liar.id());
    (liar, Arc::clone(&world.spec))
}

/// Who proposes in a round of node 0's next height.
pub fn proposer(world: &World, round: u32) -> ValidatorId {
    let state = world.nodes[0].replica.as_ref().unwrap().state();
    state.next_proposers().of(round).keys.id
}

/// A header without items that leads nowhere.
pub fn junk(spec: &ChainSpec, liar: &ValidatorKey, height: Height, round: u32, salt: u8) -> CompactProposal {
    let header = Header {
        height,
        parent: BlockHash::from_bytes([salt; 32]),
        round,
        proposer: liar.id(),
        time: UnixMillis::new(1),
        items: items_hash(&[]),
        randao: liar.bls_key().sign_randao(spec.id(), height),
        next_set: Hash::from_bytes([0; 32]),
        state_root: StateRoot::from_bytes([0; 32]),
    };
    propose(
        spec,
        liar,
        Block { header, commitments: vec![], reveals: vec![], commands: vec![], evidence: vec![] },
        round,
        None,
    )
}

/// The liar's proposal of a block in a round.
pub fn propose(
    spec: &ChainSpec,
    liar: &ValidatorKey,
    block: Block,
    round: u32,
    pol_round: Option<u32>,
) -> CompactProposal {
    let proposal = Proposal { height: block.header.height, round, block: block.hash(), pol_round };
    CompactProposal::new(liar.sign_proposal(spec.id(), proposal).into_inner(), &block)
}

/// What the node does with a proposal that a peer sends it.
pub fn offer(world: &mut World, node: usize, compact: CompactProposal) -> Result<(), Refusal> {
    let arrived = world.now;
    let state = world.nodes[node].replica.as_ref().unwrap().state();
    let from = state.validator_account(&compact.proposal.signer).unwrap();
    let proposal = View { spec: &world.spec, state }.proposal(compact)?;
    world.input(node, Input::Proposal { proposal, from, arrived });
    Ok(())
}

/// A valid block of the liar's for the next height.
pub fn valid(world: &World, liar: &ValidatorKey, time: UnixMillis) -> Block {
    let state = world.nodes[0].replica.as_ref().unwrap().state();
    let turn = Turn { key: liar, round: 0, now: time };
    build(&world.spec, state, &Pending::default(), turn).unwrap().0
}
