//! What a validator had to do in some blocks, and what of that it missed.
//!
//! All is counted from blocks with their certificates, as one node stores them. Proposers follow from random beacons, which no block
//! holds: they are counted on from a block whose beacon the state remembers, one of the newest that closed epochs. A certificate
//! holds the votes that this node, or whoever gave it the block, had when the block was decided: a vote that is missing
//! may have come late.

use std::collections::{BTreeMap, BTreeSet};

use lucid_consensus::ledger::execute::next_beacon;
use lucid_types::block::Block;
use lucid_types::certificate::Certificate;
use lucid_types::id::{Hash, NodeId, ValidatorId};
use lucid_types::time::{Epoch, Height, Windows};
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_sets::ValidatorSets;

use crate::api::model::{LookedAtView, MissedBy, MissedReport, MissedTurn, MissedVote, ReportsView, TurnsView};

/// An epoch of which validators had to report.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReportDuty<'a> {
    pub(super) epoch: Epoch,
    /// The blocks in which commitments and reveals may stand.
    pub(super) windows: Windows,
    /// Who had to report.
    pub(super) reporters: &'a ValidatorSet,
}

/// Counts the duties of a validator in blocks that follow each other.
pub(super) struct Duties<'a> {
    node: NodeId,
    sets: &'a ValidatorSets,
    /// Beacons by the heights of the blocks that they come from: at least those from which the next ones follow.
    beacons: BTreeMap<Height, Hash>,
    looked_at: Option<LookedAtView>,
    turns: Option<TurnsView>,
    commitments: BTreeMap<Epoch, BTreeSet<ValidatorId>>,
    reveals: BTreeMap<Epoch, BTreeSet<ValidatorId>>,
}

impl<'a> Duties<'a> {
    /// `beacons` are those that are known, by the height of the block that each comes from.
    pub(super) fn new(node: NodeId, sets: &'a ValidatorSets, beacons: BTreeMap<Height, Hash>) -> Self {
        let (commitments, reveals) = (BTreeMap::new(), BTreeMap::new());
        Self { node, sets, beacons, looked_at: None, turns: None, commitments, reveals }
    }

    /// The next block.
    pub(super) fn add(&mut self, block: &Block, certificate: &Certificate) {
        let height = block.header.height;
        if let Some(set) = self.sets.at(height) {
            self.vote(block, certificate, set);
            self.turn(block, certificate, set);
        }
        if let Some(before) = self.beacons.get(&height.previous()) {
            let beacon = next_beacon(before, &block.header.randao);
            self.beacons.insert(height, beacon);
        }
        for commitment in &block.commitments {
            self.commitments.entry(commitment.record.epoch).or_default().insert(commitment.signer);
        }
        for reveal in &block.reveals {
            self.reveals.entry(reveal.record.report.epoch).or_default().insert(reveal.signer);
        }
    }

    fn vote(&mut self, block: &Block, certificate: &Certificate, set: &ValidatorSet) {
        let (key, height) = (set.of(&self.node).map(|it| it.keys.id), block.header.height);
        let new =
            || LookedAtView { first: height, last: height, proposed: 0, to_vote: 0, voted: 0, missed: Vec::new() };
        let looked_at = self.looked_at.get_or_insert_with(new);
        looked_at.last = height;
        looked_at.proposed += u64::from(key == Some(block.header.proposer));
        if let Some(key) = key {
            looked_at.to_vote += 1;
            if certificate.signatures.binary_search_by_key(&key, |(signer, _)| *signer).is_ok() {
                looked_at.voted += 1;
            } else {
                let is_alone = certificate.signatures.len().saturating_add(1) >= set.members().len();
                let missed_by = if is_alone { MissedBy::Alone } else { MissedBy::Others };
                looked_at.missed.push(MissedVote { height, missed_by });
            }
        }
    }

    /// Whose turn it was in round 0, and whether its block was decided then.
    fn turn(&mut self, block: &Block, certificate: &Certificate, set: &ValidatorSet) {
        let height = block.header.height;
        let Some(beacon) = height.previous().get().checked_sub(1).and_then(|at| self.beacons.get(&Height::new(at)))
        else {
            return;
        };
        let new = || TurnsView { first: height, last: height, turns: 0, missed: Vec::new() };
        let turns = self.turns.get_or_insert_with(new);
        turns.last = height;
        if set.proposers(*beacon, height).of(0).node != self.node {
            return;
        }
        turns.turns += 1;
        if certificate.round > 0 {
            let is_own = set.of(&self.node).is_some_and(|it| it.keys.id == block.header.proposer);
            let was_late = is_own && block.header.round == 0;
            turns.missed.push(MissedTurn { height, round: certificate.round, was_late });
        }
    }

    /// What was counted: of blocks, of turns, and of these epochs' reports.
    pub(super) fn finish<'b>(
        self,
        reports: impl IntoIterator<Item = ReportDuty<'b>>,
    ) -> (Option<LookedAtView>, Option<TurnsView>, Option<ReportsView>) {
        let Self { node, looked_at, turns, commitments, reveals, .. } = self;
        let mut view: Option<ReportsView> = None;
        let none = BTreeSet::new();
        let covers = |windows: &Windows| {
            let blocks = looked_at.as_ref();
            blocks.is_some_and(|it| it.first <= *windows.commitments().start() && windows.final_in() <= it.last)
        };
        // An epoch counts whole or not at all.
        for ReportDuty { epoch, reporters, .. } in reports.into_iter().filter(|duty| covers(&duty.windows)) {
            let Some(key) = reporters.of(&node).map(|it| it.keys.id) else { continue };
            let new = || ReportsView { first: epoch, last: epoch, epochs: 0, uncommitted: vec![], forfeited: vec![] };
            let view = view.get_or_insert_with(new);
            (view.first, view.last) = (view.first.min(epoch), view.last.max(epoch));
            view.epochs += 1;
            let missed_by = |did: &BTreeSet<ValidatorId>| {
                let power = did.iter().map(|key| reporters.power(key)).fold(0, u64::saturating_add);
                if reporters.is_quorum(power) { MissedBy::Alone } else { MissedBy::Others }
            };
            let committed = commitments.get(&epoch).unwrap_or(&none);
            let revealed = reveals.get(&epoch).unwrap_or(&none);
            if !committed.contains(&key) {
                view.uncommitted.push(MissedReport { epoch, missed_by: missed_by(committed) });
            } else if !revealed.contains(&key) {
                view.forfeited.push(MissedReport { epoch, missed_by: missed_by(revealed) });
            }
        }
        (looked_at, turns, view)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::sync::Arc;

    use lucid_types::report::{ReportCommitment, Reveal, ScoreReport};

    use super::*;
    use crate::chain::fixture::Turnover;
    use crate::payout::testing::{node, signing_key};

    /// Eight blocks of four validators, three of which sign, and the beacons before them.
    struct World {
        turnover: Turnover,
        sets: ValidatorSets,
    }

    impl World {
        fn new() -> Self {
            let turnover = Turnover::new(3);
            Self { sets: ValidatorSets::new(Height::ZERO, Arc::new(Turnover::set(0))), turnover }
        }

        fn beacons() -> BTreeMap<Height, Hash> {
            BTreeMap::from([(Height::ZERO, Hash::from_bytes([7; 32]))])
        }

        fn duties(&self, of: u8) -> Duties<'_> {
            Duties::new(node(of), &self.sets, Self::beacons())
        }

        fn first_proposer(&self, height: u64) -> NodeId {
            let mut beacon = Hash::from_bytes([7; 32]);
            for decided in &self.turnover.blocks[..usize::try_from(height - 2).unwrap()] {
                beacon = next_beacon(&beacon, &decided.block.header.randao);
            }
            Turnover::set(0).proposers(beacon, Height::new(height)).of(0).node
        }
    }

    #[test]
    fn votes_that_are_missing_are_told_with_who_else_is_missing() {
        let world = World::new();
        let of = |seed: u8, drop_another: bool| {
            let mut duties = world.duties(seed);
            for decided in &world.turnover.blocks {
                let mut certificate = decided.certificate.clone();
                certificate.signatures.truncate(if drop_another { 2 } else { 3 });
                duties.add(&decided.block, &certificate);
            }
            duties.finish([]).0.unwrap()
        };
        // Validators 2, 3 and 4 sign.
        let found = of(1, false);
        assert_eq!((found.first, found.last, found.to_vote, found.voted), (Height::new(1), Height::new(3), 3, 0));
        let missed = |height, missed_by| MissedVote { height: Height::new(height), missed_by };
        assert_eq!(found.missed, [1, 2, 3].map(|height| missed(height, MissedBy::Alone)));
        assert_eq!(of(1, true).missed, [1, 2, 3].map(|height| missed(height, MissedBy::Others)));
        let signed: Vec<_> = (2..=4).map(|seed| of(seed, false)).collect();
        assert!(signed.iter().all(|found| (found.voted, found.missed.len()) == (3, 0)), "{signed:?}");
        // Whoever is no validator owes no vote.
        assert_eq!((of(9, false).to_vote, of(9, false).missed), (0, vec![]));
    }

    #[test]
    fn turns_are_those_of_round_0_from_where_the_beacons_are_known() {
        let world = World::new();
        let played = |node: NodeId, round: u32, own: bool| {
            let mut duties = Duties::new(node, &world.sets, World::beacons());
            for decided in &world.turnover.blocks {
                let (mut block, mut certificate) = (decided.block.clone(), decided.certificate.clone());
                (certificate.round, block.header.round) = (round, if own { 0 } else { round });
                block.header.proposer = Turnover::set(0).of(&node).unwrap().keys.id;
                duties.add(&block, &certificate);
            }
            duties.finish([]).1.unwrap()
        };
        let proposers = [2, 3].map(|height| (height, world.first_proposer(height)));
        for seed in 1..=4 {
            let mine: Vec<_> =
                proposers.iter().filter(|(_, it)| *it == node(seed)).map(|(at, _)| Height::new(*at)).collect();
            let TurnsView { first, last, turns, missed } = played(node(seed), 0, true);
            assert_eq!(
                (first, last, turns),
                (Height::new(2), Height::new(3), mine.len() as u64),
                "block 1 needs two beacons"
            );
            assert_eq!(missed, []);
            for (own, was_late) in [(true, true), (false, false)] {
                let missed = played(node(seed), 2, own).missed;
                let expected = mine.iter().map(|height| MissedTurn { height: *height, round: 2, was_late });
                assert_eq!(missed, expected.collect::<Vec<_>>());
            }
        }
        let all: u64 = (1..=4).map(|seed| played(node(seed), 0, true).turns).sum();
        assert_eq!(all, 2, "one has the turn at each height");
        let mut unknown = Duties::new(node(1), &world.sets, BTreeMap::new());
        world.turnover.blocks.iter().for_each(|it| unknown.add(&it.block, &it.certificate));
        assert_eq!(unknown.finish([]).1, None);
    }

    #[test]
    fn reports_that_are_missing_are_told_apart() {
        let world = World::new();
        let network = *world.turnover.chain.spec.id();
        let set = Turnover::set(0);
        let epoch = Epoch::new(4);
        // Closed by block 1; commitments in block 2, reveals in block 3.
        let duty = |epoch| ReportDuty { epoch, windows: Windows::new(Height::new(1), 1), reporters: &set };
        let played = |of: u8, committed: &[u8], revealed: &[u8]| {
            let mut duties = world.duties(of);
            for (i, decided) in world.turnover.blocks.iter().enumerate() {
                let mut block = decided.block.clone();
                if i == 1 {
                    let commitment = ReportCommitment { epoch, report: Hash::from_bytes([1; 32]) };
                    let by = |seed: &u8| signing_key(*seed).sign_report_commitment(&network, commitment).into_inner();
                    block.commitments = committed.iter().map(by).collect();
                }
                if i == 2 {
                    let reveal = Reveal { report: ScoreReport::new(epoch, &[], &[]), salt: [1; 32] };
                    let by = |seed: &u8| signing_key(*seed).sign_report(&network, reveal.clone()).into_inner();
                    block.reveals = revealed.iter().map(by).collect();
                }
                duties.add(&block, &decided.certificate);
            }
            // The second ends after the newest block.
            let later = ReportDuty { windows: Windows::new(Height::new(2), 1), ..duty(Epoch::new(5)) };
            duties.finish([duty(epoch), later]).2
        };
        let missed = |missed_by| vec![MissedReport { epoch, missed_by }];
        let view =
            |uncommitted, forfeited| Some(ReportsView { first: epoch, last: epoch, epochs: 1, uncommitted, forfeited });
        assert_eq!(played(1, &[1, 2, 3, 4], &[1, 2, 3, 4]), view(vec![], vec![]));
        assert_eq!(played(1, &[2, 3, 4], &[2, 3, 4]), view(missed(MissedBy::Alone), vec![]));
        assert_eq!(played(1, &[2, 3], &[2, 3]), view(missed(MissedBy::Others), vec![]));
        assert_eq!(played(1, &[1, 2, 3, 4], &[2, 3, 4]), view(vec![], missed(MissedBy::Alone)));
        assert_eq!(played(1, &[1, 2, 3, 4], &[2, 3]), view(vec![], missed(MissedBy::Others)));
        assert_eq!(played(9, &[1, 2, 3, 4], &[1, 2, 3, 4]), None, "no reporter");
    }
}
