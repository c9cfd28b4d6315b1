//! The block that a proposer offers.

use std::collections::{BTreeMap, BTreeSet};

use lucid_types::block::{Block, Header, Item, items_hash};
use lucid_types::evidence::Evidence;
use lucid_types::id::{Hash, StateRoot, ValidatorId};
use lucid_types::signed::Verified;
use lucid_types::time::UnixMillis;
use lucid_types::validator_key::ValidatorKey;

use crate::chain_spec::ChainSpec;
use crate::commands::PendingCommands;
use crate::ledger::check::{InvalidBlock, check_commitment, check_evidence, check_reveal};
use crate::ledger::execute::{Execution, transition};
use crate::ledger::state::{Rows, State};
use crate::reports::Reports;

/// Who proposes the next block, in which round, and when by its clock.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The proposer's key.
    pub key: &'a ValidatorKey,
    /// The round.
    pub round: u32,
    /// The time.
    pub now: UnixMillis,
}

/// What waits for a block.
#[derive(Debug, Default)]
pub struct Pending {
    /// Commitments and reveals.
    pub reports: Reports,
    /// Commands.
    pub commands: PendingCommands,
    /// Evidence of equivocation, by the key of the validator: one against each is enough.
    pub evidence: BTreeMap<ValidatorId, Verified<Evidence>>,
}

/// Builds the next block from what waits and may stand in it, and its outcome. What does not fit
/// [`Block::MAX_BYTES`] waits for a later block: the newest reveals first.
///
/// # Errors
/// As for any block.
pub fn build(
    spec: &ChainSpec,
    state: &State,
    pending: &Pending,
    turn: Turn<'_>,
) -> Result<(Block, Execution), InvalidBlock> {
    let Pending { reports, commands, evidence } = pending;
    let height = state.height().next();
    let time = turn.now.max(state.next_time(spec));
    let mut room = Room { items: Block::MAX_ITEMS, bytes: Block::MAX_ITEM_BYTES };
    let mut accused = BTreeSet::new();
    let mut is_first = |evidence: &Evidence| check_evidence(spec, state, evidence).is_ok_and(|it| accused.insert(it));
    let evidence: Vec<_> = evidence.values().filter(|evidence| is_first(evidence)).collect();
    let evidence = room.fill(evidence.into_iter().map(|evidence| (**evidence).clone()), Item::Evidence);
    let commands = commands.applicable(spec, state, time);
    let commands = room.fill(commands, Item::Command);
    let commitments = reports.commitments().filter(|item| check_commitment(spec, state, item).is_ok());
    let commitments = room.fill(commitments.map(|item| (**item).clone()), Item::Commitment);
    let reveals = reports.reveals().filter(|reveal| check_reveal(spec, state, reveal).is_ok());
    let reveals = room.fill(reveals.map(|item| (**item).clone()), Item::Reveal);
    let header = Header {
        height,
        parent: state.block(),
        round: turn.round,
        proposer: turn.key.id(),
        time,
        randao: turn.key.bls_key().sign_randao(spec.id(), height),
        items: items_hash(&[]),
        next_set: Hash::from_bytes([0; 32]),
        state_root: StateRoot::from_bytes([0; 32]),
    };
    let mut block = Block { header, commitments, reveals, commands, evidence }.sealed();
    let Execution { state, delta, finalised, events } = transition(spec, state, &block)?;
    block.header.next_set = state.sets().newest().1.hash();
    block.header.state_root = state.root();
    let state = state.after(block.hash());
    Ok((block, Execution { state, delta, finalised, events }))
}

/// What a block has left.
struct Room {
    items: usize,
    bytes: usize,
}

impl Room {
    /// Takes those that fit, in their order, with the lengths that a proposal gives them.
    fn fill<T: Clone>(&mut self, records: impl IntoIterator<Item = T>, item: fn(T) -> Item) -> Vec<T> {
        let mut taken = Vec::new();
        for record in records {
            let length = usize::try_from(item(record.clone()).reference().bytes).unwrap_or(usize::MAX);
            if let (Some(items), Some(bytes)) = (self.items.checked_sub(1), self.bytes.checked_sub(length)) {
                *self = Self { items, bytes };
                taken.push(record);
            }
        }
        taken
    }
}
