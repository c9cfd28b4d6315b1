//! The treasury signers in force of every pool: from the genesis on, through every change in a certified block that the node
//! shows.
//!
//! The file only saves showing the blocks again; an older one is caught up with. A change cannot be skipped: a root of a later
//! era is not signed before the blocks with all changes up to it were shown.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use lucid_consensus::chain_spec::ChainSpec;
use lucid_types::block::Block;
use lucid_types::codec::Wire;
use lucid_types::genesis::{Genesis, SignerSet};
use lucid_types::id::{NetworkId, PayoutAddress, PoolId};
use lucid_types::payout::PoolChange;
use serde::{Deserialize, Serialize};

use crate::signer::files::{Damaged, Disk, Files, replace, seal, sealed_max, unseal};

const PURPOSE: &str = "lucid signer sets 1";

/// Sets kept of a pool: those in force, and their predecessors, who sign the changes that replaced them.
const KEPT: usize = 8;

/// The sets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetsError {
    /// Other bytes are there than were written.
    #[error("{} is damaged: remove it, the node shows the signer again what it held", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it shows.
        #[source]
        source: Damaged,
    },
    /// Another network's.
    #[error("{} is of the network {found}: remove it", path.display())]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// The network.
        found: NetworkId,
    },
    /// Two final blocks contradict each other.
    #[error(
        "a certified block gives pool {pool} other signers of era {era} than one that was shown before: the validators have \
         certified two histories. Stop this signer and compare the ledgers of several validators"
    )]
    AnotherSet {
        /// The pool.
        pool: PoolId,
        /// The era.
        era: u32,
    },
    /// The system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What the file holds: pools that have changed their signers.
#[derive(Serialize, Deserialize)]
struct Content {
    network: NetworkId,
    pools: Vec<(PoolId, Vec<SignerSet>)>,
}

impl Wire for Content {
    const MAX_BYTES: usize = 64 + Genesis::MAX_POOLS * (40 + KEPT * (13 + SignerSet::MAX * 53));
}

/// The sets of every pool, oldest first; their eras are consecutive and the last is in force.
#[derive(Debug)]
pub struct SignerSets<F = Disk> {
    files: F,
    path: PathBuf,
    network: NetworkId,
    genesis: BTreeMap<PoolId, SignerSet>,
    changed: BTreeMap<PoolId, Vec<SignerSet>>,
}

impl<F: Files> SignerSets<F> {
    /// The sets as far as they were followed.
    ///
    /// # Errors
    /// The file is damaged, another network's, or unreadable.
    pub fn open(files: F, path: &Path, spec: &ChainSpec) -> Result<Self, SetsError> {
        let genesis = spec.pools().map(|(id, pool)| (*id, pool.vault.signers.clone())).collect();
        let mut sets = Self { files, path: path.into(), network: *spec.id(), genesis, changed: BTreeMap::new() };
        let bytes = match sets.files.read(path, sealed_max::<Content>()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(sets),
            read => read.map_err(|source| SetsError::Io { operation: "read", path: path.into(), source })?,
        };
        let content: Content =
            unseal(PURPOSE, &bytes).map_err(|source| SetsError::Damaged { path: path.into(), source })?;
        if content.network != sets.network {
            return Err(SetsError::OtherNetwork { path: path.into(), found: content.network });
        }
        sets.changed = content.pools.into_iter().collect();
        Ok(sets)
    }

    /// The signers in force of a pool; `None` if the network has no such pool.
    pub fn in_force(&self, pool: &PoolId) -> Option<&SignerSet> {
        self.known(pool).last()
    }

    /// The signers of an era, if it is among the last.
    pub fn of_era(&self, pool: &PoolId, era: u32) -> Option<&SignerSet> {
        self.known(pool).iter().find(|set| set.era == era)
    }

    /// The pools of which a key is, or not long ago was, a signer, with the era in force.
    pub fn pools_of(&self, key: &PayoutAddress) -> Vec<(PoolId, u32)> {
        let is_in = |pool: &PoolId| self.known(pool).iter().any(|set| set.by_key(key).is_some());
        let pools = self.genesis.keys().filter(|pool| is_in(pool));
        pools.filter_map(|pool| Some((*pool, self.in_force(pool)?.era))).collect()
    }

    /// Notes the changes in a block that the caller has verified. Changes that are known, or that come too early, change
    /// nothing.
    ///
    /// # Errors
    /// A change contradicts an earlier one, or could not be written; nothing was noted then.
    pub fn note(&mut self, block: &Block) -> Result<(), SetsError> {
        let mut changed = self.changed.clone();
        for command in &block.commands {
            let PoolChange::Signers { next, .. } = &command.record.change else { continue };
            let pool = command.record.pool;
            let Some(genesis) = self.genesis.get(&pool) else { continue };
            let known = changed.entry(pool).or_insert_with(|| vec![genesis.clone()]);
            if known.iter().any(|set| set.era == next.era && set != next) {
                return Err(SetsError::AnotherSet { pool, era: next.era });
            }
            if known.last().is_some_and(|set| set.era.checked_add(1) == Some(next.era)) {
                known.push(next.clone());
                known.drain(..known.len().saturating_sub(KEPT));
            }
        }
        changed.retain(|_, known| known.len() > 1);
        if changed == self.changed {
            return Ok(());
        }
        let pools = changed.iter().map(|(pool, known)| (*pool, known.clone())).collect();
        let bytes = seal(PURPOSE, &Content { network: self.network, pools });
        let failed = |source| SetsError::Io { operation: "write", path: self.path.clone(), source };
        replace(&self.files, &self.path, &bytes).map_err(failed)?;
        self.changed = changed;
        Ok(())
    }

    fn known(&self, pool: &PoolId) -> &[SignerSet] {
        let genesis = || self.genesis.get(pool).map(std::slice::from_ref).unwrap_or_default();
        self.changed.get(pool).map_or_else(genesis, Vec::as_slice)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::payout::PoolCommand;

    use super::*;
    use crate::signer::fixture::{Chain, command, signers};

    fn change(chain: &Chain, era: u32, threshold: u8) -> PoolCommand {
        command(chain.pool, PoolChange::Signers { nonce: era - 2, next: signers(era, threshold) })
    }

    fn block(chain: &Chain, changes: Vec<PoolCommand>) -> Block {
        chain.certified(9, vec![], changes).block
    }

    #[test]
    fn changes_are_followed_in_order_and_survive_a_restart() {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let path = folder.path().join("signers");
        let open = || SignerSets::open(Disk, &path, &chain.spec).unwrap();
        let era = |sets: &SignerSets| sets.in_force(&chain.pool).unwrap().era;

        let mut sets = open();
        assert_eq!(era(&sets), 1);
        sets.note(&block(&chain, vec![change(&chain, 3, 2)])).unwrap();
        assert_eq!((era(&sets), path.exists()), (1, false), "era 2 was not shown");
        sets.note(&block(&chain, vec![change(&chain, 2, 3)])).unwrap();
        sets.note(&block(&chain, vec![change(&chain, 2, 3)])).unwrap();
        assert_eq!(era(&open()), 2);
        assert_eq!(open().in_force(&chain.pool), Some(&signers(2, 3)));
        assert_eq!(open().of_era(&chain.pool, 1), Some(&signers(1, 2)), "era 1 signs the change to era 2");

        let mut sets = open();
        sets.note(&block(&chain, (3..=12).map(|era| change(&chain, era, 2)).collect())).unwrap();
        assert_eq!(era(&open()), 12, "several in one block");
        let kept: Vec<_> = (1..=12).filter(|era| open().of_era(&chain.pool, *era).is_some()).collect();
        assert_eq!(kept, [5, 6, 7, 8, 9, 10, 11, 12]);
        sets.note(&block(&chain, vec![change(&chain, 4, 3)])).unwrap();
        assert_eq!(era(&sets), 12, "an old change is no news");
    }

    #[test]
    fn other_signers_of_a_known_era_are_an_alarm() {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let mut sets = SignerSets::open(Disk, &folder.path().join("signers"), &chain.spec).unwrap();
        sets.note(&block(&chain, vec![change(&chain, 2, 2)])).unwrap();
        let error = sets.note(&block(&chain, vec![change(&chain, 2, 3)])).unwrap_err();
        assert!(matches!(error, SetsError::AnotherSet { era: 2, .. }), "{error}");
        assert_eq!(sets.in_force(&chain.pool), Some(&signers(2, 2)));
    }

    #[test]
    fn a_damaged_or_foreign_file_is_named() {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let path = folder.path().join("signers");
        let foreign = Content { network: NetworkId::from_bytes([7; 32]), pools: vec![] };
        std::fs::write(&path, seal(PURPOSE, &foreign)).unwrap();
        let error = SignerSets::open(Disk, &path, &chain.spec).unwrap_err();
        assert!(matches!(error, SetsError::OtherNetwork { .. }) && error.to_string().contains("signers"), "{error}");
        std::fs::write(&path, "what is this").unwrap();
        assert!(matches!(SignerSets::open(Disk, &path, &chain.spec), Err(SetsError::Damaged { .. })));
    }

    #[test]
    fn a_set_that_could_not_be_written_is_not_in_force() {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let mut sets = SignerSets::open(Disk, &folder.path().join("gone/signers"), &chain.spec).unwrap();
        assert!(matches!(sets.note(&block(&chain, vec![change(&chain, 2, 2)])), Err(SetsError::Io { .. })));
        assert_eq!(sets.in_force(&chain.pool).unwrap().era, 1);
    }

    #[test]
    fn a_key_knows_its_pools() {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let sets = SignerSets::open(Disk, &folder.path().join("signers"), &chain.spec).unwrap();
        let key = signers(1, 2).members[0].key_address;
        assert_eq!(sets.pools_of(&key), [(chain.pool, 1)]);
        assert!(sets.pools_of(&PayoutAddress::from_hash20([9; 20])).is_empty());
        assert_eq!(sets.in_force(&PoolId::from_bytes([9; 32])), None);
    }
}
