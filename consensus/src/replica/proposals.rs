//! What is proposed for one height.
//!
//! Bounded by what the engine may have to know: of each round two proposals of its proposer, which prove that it lies, and one more
//! if more than two thirds of the power have voted for it. Nothing that the engine was told of is ever dropped before the height is
//! decided. Blocks are fetched for the round under way and those beside it, and whatever more than two thirds have voted for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lucid_types::block::{Block, Item, ItemId, ItemRef};
use lucid_types::id::{BlockHash, NodeId};
use lucid_types::message::CompactProposal;
use lucid_types::signed::Verified;
use lucid_types::sync::SyncRequest;
use lucid_types::time::UnixMillis;
use lucid_types::validator::ValidatorSet;
use lucid_types::vote::Proposal;

use crate::ledger::check::InvalidBlock;
use crate::ledger::execute::Execution;
use crate::replica::mempool::{Waiting, WaitingItems};
use crate::rules::Rules;

/// Items usually arrive by gossip beside the proposal that names them: they are asked for only then.
const ITEM_PATIENCE: Duration = Duration::from_millis(100);
/// And again, from somebody else, if the answer left some out; later by what this rate takes for the bytes that were asked for.
const ITEM_RETRY: Duration = Duration::from_millis(500);
const BYTES_PER_MS: u64 = 4_096;

/// A proposal of a round.
#[derive(Debug)]
pub(super) struct Proposed {
    pub(super) proposal: Arc<Verified<CompactProposal>>,
    /// Who sent it here: whom its items are asked of first, and its signer second.
    pub(super) from: NodeId,
    /// When it came: what its block's time is judged by.
    pub(super) arrived: UnixMillis,
    /// Whether the engine knows it.
    pub(super) is_told: bool,
}

impl Proposed {
    pub(super) fn hash(&self) -> BlockHash {
        self.proposal.proposal.record.block
    }
}

/// A block that is here, and what it leads to.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) block: Verified<Block>,
    pub(super) outcome: Result<Execution, InvalidBlock>,
}

/// A block whose items are not all here.
#[derive(Debug)]
struct Incomplete {
    proposal: Arc<Verified<CompactProposal>>,
    /// Whom to ask first.
    from: NodeId,
    items: BTreeMap<ItemId, Arc<Verified<Item>>>,
    /// With their lengths.
    missing: BTreeMap<ItemId, u32>,
    ask_at: UnixMillis,
    /// How often its items were asked for.
    questions: u32,
}

impl Incomplete {
    /// Takes an item if it is missing; false if it has another length than the proposal says, which is then nobody's block.
    fn take(&mut self, ItemRef { id, bytes }: ItemRef, item: &Arc<Verified<Item>>) -> bool {
        match self.missing.get(&id) {
            Some(length) if *length != bytes => false,
            Some(_) => {
                self.missing.remove(&id);
                self.items.insert(id, Arc::clone(item));
                true
            }
            None => true,
        }
    }

    fn question(&mut self, now: UnixMillis, set: &ValidatorSet) -> (Option<NodeId>, SyncRequest) {
        let asked: Vec<_> = self.missing.iter().take(SyncRequest::MAX_ITEMS).collect();
        let bytes: u64 = asked.iter().map(|(_, bytes)| u64::from(**bytes)).sum();
        let request = SyncRequest::Items(asked.into_iter().map(|(id, _)| *id).collect());
        self.ask_at = now.after(ITEM_RETRY).after(Duration::from_millis(bytes / BYTES_PER_MS));
        let peer = match self.questions {
            0 => Some(self.from),
            1 => set.get(&self.proposal.proposal.signer).map(|signer| signer.node),
            _ => None,
        };
        self.questions = self.questions.saturating_add(1);
        (peer, request)
    }
}

/// What is offered to peers of a block under way.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    /// By round.
    pub(super) proposals: BTreeMap<u32, Arc<Verified<CompactProposal>>>,
    pub(super) items: Arc<Vec<(ItemId, Item)>>,
}

pub(super) type OfferedBlocks = Arc<BTreeMap<BlockHash, Offered>>;

/// The proposals of one height.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    rounds: BTreeMap<u32, Vec<Proposed>>,
    candidates: BTreeMap<BlockHash, Candidate>,
    incomplete: BTreeMap<BlockHash, Incomplete>,
    /// Blocks that cannot be: their proposer names what is no item, or not in a block's order.
    impossible: BTreeSet<BlockHash>,
    offered: OfferedBlocks,
}

impl Proposals {
    /// Keeps a proposal if its round has room; whether it did.
    pub(super) fn add(&mut self, rules: &dyn Rules, proposed: Proposed, is_backed: bool) -> bool {
        let record = proposed.proposal.proposal.record;
        let of_round = self.rounds.entry(record.round).or_default();
        let is_known = of_round.iter().any(|known| known.proposal.proposal.record == record);
        let is_backed = is_backed && of_round.iter().all(|known| known.hash() != record.block);
        if is_known || !rules.has_room(of_round.len(), is_backed) {
            return false;
        }
        of_round.push(proposed);
        true
    }

    /// Begins to collect the items of the blocks proposed in the round under way and those beside it, and of those with more than two
    /// thirds of the votes, from the items that wait. Other blocks that are not complete are given up.
    pub(super) fn collect(
        &mut self,
        now: UnixMillis,
        round: u32,
        backed: &BTreeSet<(u32, BlockHash)>,
        waiting: &WaitingItems,
    ) {
        let beside = round.saturating_sub(1)..=round.saturating_add(1);
        let is_wanted =
            |of: u32, hash: &BlockHash| beside.contains(&of) || backed.iter().any(|(_, block)| block == hash);
        let all = self.rounds.iter().flat_map(|(of, proposed)| proposed.iter().map(|proposed| (*of, proposed)));
        let wanted: BTreeMap<_, _> = all
            .map(|(of, proposed)| (of, proposed.hash(), proposed))
            .filter(|(of, hash, _)| is_wanted(*of, hash))
            .map(|(_, hash, proposed)| (hash, proposed))
            .collect();
        self.incomplete.retain(|hash, _| wanted.contains_key(hash));
        for (hash, proposed) in wanted {
            let is_known = self.candidates.contains_key(&hash) || self.incomplete.contains_key(&hash);
            if is_known || self.impossible.contains(&hash) {
                continue;
            }
            let proposal = Arc::clone(&proposed.proposal);
            let missing = proposal.items.iter().map(|item| (item.id, item.bytes)).collect();
            let (from, ask_at) = (proposed.from, now.after(ITEM_PATIENCE));
            let mut block = Incomplete { proposal, from, items: BTreeMap::new(), missing, ask_at, questions: 0 };
            if waiting.values().all(|waiting| block.take(waiting.reference, &waiting.item)) {
                self.incomplete.insert(hash, block);
            } else {
                self.impossible.insert(hash);
            }
        }
    }

    /// An item has come that a block may miss.
    pub(super) fn item(&mut self, waiting: &Waiting) {
        let Self { incomplete, impossible, .. } = self;
        incomplete.retain(|hash, block| block.take(waiting.reference, &waiting.item) || !impossible.insert(*hash));
    }

    /// What this id names is no item.
    pub(super) fn broken(&mut self, id: &ItemId) {
        let Self { incomplete, impossible, .. } = self;
        incomplete.retain(|hash, block| !block.missing.contains_key(id) || !impossible.insert(*hash));
    }

    /// The next block that is complete and not executed.
    pub(super) fn complete(&mut self) -> Option<Verified<Block>> {
        loop {
            let hash = *self.incomplete.iter().find(|(_, block)| block.missing.is_empty())?.0;
            let Incomplete { proposal, items, .. } = self.incomplete.remove(&hash)?;
            let in_order = proposal.items.iter().filter_map(|item| items.get(&item.id)).map(|item| &**item);
            match proposal.with_items(in_order) {
                Some(block) => return Some(block),
                None => self.impossible.insert(hash),
            };
        }
    }

    /// A block that is here.
    pub(super) fn insert(&mut self, candidate: Candidate) {
        self.candidates.insert(candidate.block.hash(), candidate);
    }

    /// Offers a block to peers, with a proposal of it.
    pub(super) fn offer(&mut self, proposal: &Arc<Verified<CompactProposal>>) {
        let Proposal { round, block, .. } = proposal.proposal.record;
        let Some(candidate) = self.candidates.get(&block) else { return };
        let offered = Arc::make_mut(&mut self.offered).entry(block).or_insert_with(|| {
            let items = proposal.items.iter().map(|item| item.id).zip(candidate.block.items());
            Offered { proposals: BTreeMap::new(), items: Arc::new(items.collect()) }
        });
        offered.proposals.insert(round, Arc::clone(proposal));
    }

    /// What is offered to peers, as it is now.
    pub(super) const fn offered(&self) -> &OfferedBlocks {
        &self.offered
    }

    /// A block that is here.
    pub(super) fn candidate(&self, hash: &BlockHash) -> Option<&Candidate> {
        self.candidates.get(hash)
    }

    /// Takes a block that has been decided.
    pub(super) fn take(&mut self, hash: &BlockHash) -> Option<Candidate> {
        self.candidates.remove(hash)
    }

    /// Whether a block is proposed in a round, as far as this node knows.
    pub(super) fn knows(&self, round: u32, hash: &BlockHash) -> bool {
        self.rounds.get(&round).is_some_and(|of_round| of_round.iter().any(|proposed| proposed.hash() == *hash))
    }

    /// The proposals of rounds up to this one.
    pub(super) fn up_to(&self, round: u32) -> impl Iterator<Item = (u32, &Proposed)> {
        self.rounds.range(..=round).flat_map(|(round, of_round)| of_round.iter().map(|proposed| (*round, proposed)))
    }

    /// Notes that the engine knows the proposals of a block in a round.
    pub(super) fn told(&mut self, round: u32, hash: &BlockHash) {
        let of_round = self.rounds.get_mut(&round).into_iter().flatten();
        of_round.filter(|proposed| proposed.hash() == *hash).for_each(|proposed| proposed.is_told = true);
    }

    /// All proposals, without what was made of them.
    pub(super) fn into_proposals(self) -> impl Iterator<Item = Proposed> {
        self.rounds.into_values().flatten()
    }

    /// The questions for items that are due; `set` are the validators of the height.
    pub(super) fn questions(&mut self, now: UnixMillis, set: &ValidatorSet) -> Vec<(Option<NodeId>, SyncRequest)> {
        let due = self.incomplete.values_mut().filter(|block| block.ask_at <= now && !block.missing.is_empty());
        due.map(|block| block.question(now, set)).collect()
    }

    /// When the next question is due.
    pub(super) fn next_question(&self) -> Option<UnixMillis> {
        self.incomplete.values().map(|block| block.ask_at).min()
    }

    /// A clock that was set back takes what waits with it.
    pub(super) fn clock_set_back(&mut self, by: Duration) {
        self.incomplete.values_mut().for_each(|block| block.ask_at = block.ask_at.before(by));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::block::{Header, items_hash};
    use lucid_types::id::{Hash, NetworkId, StateRoot};
    use lucid_types::report::{ReportCommitment, Reveal, ScoreReport};
    use lucid_types::time::{Epoch, Height};
    use lucid_types::validator::Validator;
    use lucid_types::validator_key::ValidatorKey;

    use super::*;
    use crate::rules::Standard;

    const NOW: UnixMillis = UnixMillis::new(1_000_000);

    fn network() -> NetworkId {
        NetworkId::from_bytes([1; 32])
    }

    fn node(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    /// Of the proposer alone.
    fn set() -> ValidatorSet {
        let proposer = Validator { node: node(1), power: 1, operator: node(1), keys: key(1).keys(&node(1)) };
        ValidatorSet::new(vec![proposer]).unwrap()
    }

    fn key(seed: u8) -> ValidatorKey {
        ValidatorKey::from_seed(&[seed; 32])
    }

    fn commitment(seed: u8) -> Waiting {
        let record = ReportCommitment { epoch: Epoch::new(1), report: Hash::from_bytes([seed; 32]) };
        Waiting::from(Verified::<Item>::from(key(seed).sign_report_commitment(&network(), record)))
    }

    fn reveal(seed: u8) -> Waiting {
        let record = Reveal { report: ScoreReport::new(Epoch::new(1), &[], &[]), salt: [seed; 32] };
        Waiting::from(Verified::<Item>::from(key(seed).sign_report(&network(), record)))
    }

    /// A proposal by validator 1 of a block with these items, relayed by node 9.
    fn proposed(round: u32, items: &[ItemRef]) -> Proposed {
        let header = Header {
            height: Height::new(1),
            parent: BlockHash::from_bytes([1; 32]),
            round,
            proposer: key(1).id(),
            time: NOW,
            items: items_hash(items),
            randao: key(1).bls_key().sign_randao(&network(), Height::new(1)),
            next_set: Hash::from_bytes([2; 32]),
            state_root: StateRoot::from_bytes([4; 32]),
        };
        let record = Proposal { height: header.height, round, block: header.hash(), pol_round: None };
        let proposal = key(1).sign_proposal(&network(), record).into_inner();
        let compact = CompactProposal { proposal, header, items: items.to_vec() };
        let proposal = Arc::new(compact.verify(&network()).unwrap());
        Proposed { proposal, from: node(9), arrived: NOW, is_told: false }
    }

    fn collecting(items: &[ItemRef]) -> Proposals {
        let mut proposals = Proposals::default();
        assert!(proposals.add(&Standard, proposed(0, items), false));
        collect(&mut proposals, 0, &[]);
        assert_eq!(proposals.incomplete.len(), 1);
        proposals
    }

    fn collect(proposals: &mut Proposals, round: u32, backed: &[(u32, BlockHash)]) {
        proposals.collect(NOW, round, &backed.iter().copied().collect(), &WaitingItems::default());
    }

    /// Not collected again, so nothing is asked for.
    #[track_caller]
    fn expect_given_up(mut proposals: Proposals) {
        assert!(proposals.complete().is_none());
        collect(&mut proposals, 0, &[]);
        assert!(
            proposals.incomplete.is_empty()
                && proposals.questions(NOW.after(Duration::from_secs(60)), &set()).is_empty()
        );
    }

    #[test]
    fn a_block_is_complete_with_its_items_in_any_order_of_arrival() {
        let items = [commitment(1), commitment(2), reveal(3)];
        let mut proposals = collecting(&items.each_ref().map(|item| item.reference));
        for item in items.iter().rev() {
            assert!(proposals.complete().is_none());
            proposals.item(item);
        }
        assert_eq!(proposals.complete().unwrap().items().count(), 3);
    }

    #[test]
    fn an_item_of_another_length_than_proposed_ends_a_block() {
        let item = reveal(3);
        let lie = ItemRef { bytes: 1, ..item.reference };
        let mut proposals = collecting(&[lie]);
        proposals.item(&item);
        expect_given_up(proposals);
    }

    #[test]
    fn a_list_in_another_order_than_a_blocks_ends_it() {
        let items = [reveal(3), commitment(1)];
        let mut proposals = collecting(&items.each_ref().map(|item| item.reference));
        items.iter().for_each(|item| proposals.item(item));
        expect_given_up(proposals);
    }

    #[test]
    fn an_id_of_what_is_no_item_ends_a_block() {
        let item = commitment(1);
        let mut proposals = collecting(&[item.reference]);
        proposals.broken(&item.reference.id);
        expect_given_up(proposals);
    }

    #[test]
    fn only_blocks_near_the_round_and_those_with_votes_are_fetched() {
        let mut proposals = Proposals::default();
        let items = [commitment(1).reference];
        let hashes: Vec<_> = (0..8).map(|round| proposed(round, &items)).collect();
        let hashes: Vec<_> = hashes
            .into_iter()
            .map(|it| {
                let hash = it.hash();
                assert!(proposals.add(&Standard, it, false));
                hash
            })
            .collect();
        let fetched = |proposals: &Proposals| {
            let place = |hash: &BlockHash| hashes.iter().position(|it| it == hash).unwrap();
            let mut fetched: Vec<_> = proposals.incomplete.keys().map(place).collect();
            fetched.sort_unstable();
            fetched
        };
        collect(&mut proposals, 0, &[]);
        assert_eq!(fetched(&proposals), [0, 1]);
        collect(&mut proposals, 5, &[(2, hashes[2])]);
        assert_eq!(fetched(&proposals), [2, 4, 5, 6]);
        collect(&mut proposals, 5, &[(7, hashes[2])]);
        assert_eq!(fetched(&proposals), [2, 4, 5, 6], "the votes may be of another round");
    }

    #[test]
    fn a_round_keeps_two_proposals_and_one_with_votes() {
        let mut proposals = Proposals::default();
        let add = |proposals: &mut Proposals, seed: u8, is_backed: bool| {
            proposals.add(&Standard, proposed(0, &[commitment(seed).reference]), is_backed)
        };
        assert!(add(&mut proposals, 1, false));
        assert!(!add(&mut proposals, 1, false), "the same");
        assert!(add(&mut proposals, 2, false));
        assert!(!add(&mut proposals, 3, false));
        assert!(add(&mut proposals, 3, true));
        assert!(!add(&mut proposals, 3, true), "the same");
    }

    #[test]
    fn the_relay_is_asked_first_then_the_proposer_then_anybody() {
        let mut proposals = collecting(&[commitment(1).reference]);
        let mut now = NOW;
        let mut ask = || {
            now = now.after(Duration::from_secs(1));
            proposals.questions(now, &set()).into_iter().map(|(peer, _)| peer).collect::<Vec<_>>()
        };
        assert_eq!(ask(), [Some(node(9))]);
        assert_eq!(ask(), [Some(node(1))]);
        assert_eq!(ask(), [None]);
        assert!(proposals.questions(NOW.after(ITEM_PATIENCE), &set()).is_empty(), "not before it is due again");
    }
}
