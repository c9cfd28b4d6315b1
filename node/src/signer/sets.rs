//! The network's validators as a signer knows them: those of its genesis, and the later ones that nodes have shown it.
//!
//! A node shows the blocks that have changed the validators one by one, each certified by those before. The signer keeps the newest sets
//! in a file, so that it need not be shown all of them again. Rows are asked for of new blocks: older sets are of no use.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lucid_consensus::chain_spec::ChainSpec;
use lucid_types::codec::Wire;
use lucid_types::id::NetworkId;
use lucid_types::time::Height;
use lucid_types::validator::ValidatorSet;
use lucid_types::validator_sets::{SET_DELAY, SetChange, ValidatorSets};
use serde::{Deserialize, Serialize};

use crate::signer::files::{Disk, Files, replace, seal, sealed_max, unseal};
use crate::signer::shown::ShownError;

/// Sets that are kept: blocks in a row may each change the validators, and it takes [`SET_DELAY`] blocks until the change counts.
const KEPT: usize = 4;

const PURPOSE: &str = "lucid signer validators 1";

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Content {
    network: NetworkId,
    /// By the height from which each is in force.
    sets: Vec<(Height, ValidatorSet)>,
}

impl Wire for Content {
    const MAX_BYTES: usize = 40 + KEPT * (8 + ValidatorSet::MAX_BYTES);
}

/// The newest sets, with their file.
#[derive(Debug)]
pub struct LearnedSets<F = Disk> {
    files: F,
    path: PathBuf,
    network: NetworkId,
    sets: ValidatorSets,
}

impl<F: Files> LearnedSets<F> {
    /// The sets in the file; those of the genesis if there is no file.
    ///
    /// # Errors
    /// The file is damaged, another network's, or unreadable.
    pub fn open(files: F, path: &Path, spec: &ChainSpec) -> Result<Self, ShownError> {
        let network = *spec.id();
        let mut learned = Self { files, path: path.into(), network, sets: spec.first_sets() };
        let bytes = match learned.files.read(path, sealed_max::<Content>()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(learned),
            read => read.map_err(|source| ShownError::Io { operation: "read", path: path.into(), source })?,
        };
        let content: Content =
            unseal(PURPOSE, &bytes).map_err(|source| ShownError::Damaged { path: path.into(), source })?;
        if content.network != network {
            return Err(ShownError::OtherNetwork { path: path.into(), found: content.network });
        }
        learned.sets =
            sets_of(content.sets.into_iter().map(|(from, set)| (from, Arc::new(set)))).unwrap_or(learned.sets);
        Ok(learned)
    }

    /// The sets.
    pub const fn sets(&self) -> &ValidatorSets {
        &self.sets
    }

    /// The height of the newest block that is known to have changed the validators; 0 if that is the genesis.
    pub fn through(&self) -> Height {
        Height::new(self.sets.newest().0.get().saturating_sub(SET_DELAY))
    }

    /// Follows a change. One that is known already is no news.
    ///
    /// # Errors
    /// It does not follow, or could not be written; it is not followed then.
    pub fn follow(&mut self, change: SetChange) -> Result<(), ShownError> {
        if change.block.header.height <= self.through() {
            return Ok(());
        }
        let mut sets = self.sets.clone();
        sets.follow(&self.network, change)?;
        let n_old = sets.iter().count().saturating_sub(KEPT);
        let kept: Vec<_> = sets.iter().skip(n_old).map(|(from, set)| (from, Arc::clone(set))).collect();
        let of_file = kept.iter().map(|(from, set)| (*from, ValidatorSet::clone(set))).collect();
        let sealed = seal(PURPOSE, &Content { network: self.network, sets: of_file });
        let failed = |source| ShownError::Io { operation: "write", path: self.path.clone(), source };
        replace(&self.files, &self.path, &sealed).map_err(failed)?;
        self.sets = sets_of(kept.into_iter()).unwrap_or(sets);
        Ok(())
    }
}

fn sets_of(mut sets: impl Iterator<Item = (Height, Arc<ValidatorSet>)>) -> Option<ValidatorSets> {
    let (from, first) = sets.next()?;
    let mut known = ValidatorSets::new(from, first);
    sets.for_each(|(from, set)| known.push(from, set));
    Some(known)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::validator_sets::SetChangeError;

    use super::*;
    use crate::payout::testing::validator;
    use crate::signer::fixture::Chain;

    fn set(seeds: &[u8]) -> ValidatorSet {
        ValidatorSet::new(seeds.iter().map(|seed| validator(*seed)).collect()).unwrap()
    }

    /// The change to `after` by the block of this height, which these certify.
    fn change(chain: &Chain, height: u64, by: &[u8], after: &[u8]) -> SetChange {
        let set = set(after);
        let mut header = chain.header(&chain.state(height, &chain.row(None)));
        header.next_set = set.hash();
        SetChange { block: chain.certified(header, by), set }
    }

    /// From four validators to four others, one by one; then again to as many as are kept.
    fn changes(chain: &Chain) -> Vec<SetChange> {
        let members = |first: u8| (first..first + 4).collect::<Vec<_>>();
        (1..=8).map(|n| change(chain, u64::from(n) * 10, &members(n)[..3], &members(n + 1))).collect()
    }

    #[test]
    fn what_was_learned_is_kept_and_bounded() {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let path = folder.path().join("validators");
        let open = || LearnedSets::open(Disk, &path, &chain.spec);
        let mut learned = open().unwrap();
        assert_eq!(learned.through(), Height::ZERO);
        for change in changes(&chain) {
            learned.follow(change.clone()).unwrap();
            assert_eq!(learned.through(), change.block.header.height);
            learned.follow(change).unwrap();
            assert!(learned.sets().iter().count() <= KEPT);
            assert_eq!(open().unwrap().sets(), learned.sets());
        }
        assert_eq!(learned.sets().newest().1.hash(), set(&[9, 10, 11, 12]).hash());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(open(), Err(ShownError::Damaged { .. })));
        let foreign = Content { network: NetworkId::from_bytes([9; 32]), sets: Vec::new() };
        std::fs::write(&path, seal(PURPOSE, &foreign)).unwrap();
        assert!(matches!(open(), Err(ShownError::OtherNetwork { .. })));
    }

    #[test]
    fn what_does_not_follow_changes_nothing() {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let mut learned = LearnedSets::open(Disk, &folder.path().join("validators"), &chain.spec).unwrap();
        let before = learned.sets().clone();
        let others = SetChange { set: set(&[1, 2, 3, 9]), ..change(&chain, 5, &[1, 2, 3], &[1, 2, 3, 5]) };
        for wrong in [changes(&chain).remove(2), change(&chain, 5, &[1, 2], &[1, 2, 3, 5]), others] {
            let refused = learned.follow(wrong).unwrap_err();
            let is_reason =
                matches!(refused, ShownError::Sets(SetChangeError::Block { .. } | SetChangeError::OtherSet(_)));
            assert!(is_reason, "{refused}");
            assert_eq!(learned.sets(), &before);
        }
    }

    #[test]
    fn what_could_not_be_written_is_not_followed() {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let path = folder.path().join("gone/validators");
        let mut learned = LearnedSets::open(Disk, &path, &chain.spec).unwrap();
        assert!(matches!(learned.follow(changes(&chain).remove(0)), Err(ShownError::Io { .. })));
        assert_eq!(learned.through(), Height::ZERO);
    }
}
