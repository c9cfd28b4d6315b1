//! The newest row of each pool that this signer was shown, in a file.
//!
//! A signer knows no pools but these. The first proved row of one that names its key makes it known, vault and signers included: that
//! more than two thirds of the validators' power have certified it is all that it is believed for. Every later row must be of one chain
//! with it.
//!
//! An older row is certified as well, but what a newer one contradicts is over: replaced signers, a root for which another was
//! issued. The file keeps that across restarts. It may be lost: then an older row passes until a newer one is shown, and the
//! watermark still allows no second root for a settlement. It is written before anything of its rows is signed, and only when a
//! row has changed: no row of a pool ever comes back, so an equal one that is older says the same.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use lucid_consensus::ledger::pool::PoolState;
use lucid_types::codec::Wire;
use lucid_types::id::{NetworkId, PayoutAddress, PoolId};
use lucid_types::pool::MAX_POOLS;
use lucid_types::time::Height;
use lucid_types::validator_sets::SetChangeError;
use lucid_types::vault::SignerSet;
use serde::{Deserialize, Serialize};

use crate::signer::files::{Damaged, Disk, Files, replace, seal, sealed_max, unseal};
use crate::signer::proof::ProvedPool;

/// More than any row of a pool that is not forming: the vault and its newest changes, with as many signers as there may be, and the
/// greatest election. Only the approvals of a forming pool take more.
const ROW_BYTES: usize = 16 << 10;

const PURPOSE: &str = "lucid signer shown pools 1";

/// The rows cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ShownError {
    /// Other bytes are there than were written.
    #[error("{} is damaged: remove it, the node shows the signer its newest state again", path.display())]
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
    /// Two final states contradict each other.
    #[error(
        "the rows of pool {pool} after the blocks {before} and {now} cannot both be of one chain: the validators have certified two \
         histories. Stop this signer and compare the ledgers of several validators"
    )]
    TwoHistories {
        /// The pool.
        pool: PoolId,
        /// Height of the row that was shown before.
        before: Height,
        /// Height of the row that is shown now.
        now: Height,
    },
    /// A change of the validators does not follow from those that are known.
    #[error("the changes of the validators that were shown do not follow from those that this signer knows")]
    Sets(#[from] SetChangeError),
    /// There is no room for another pool.
    #[error("this signer signs for {} pools already and takes no more: use another key for the others", MAX_POOLS)]
    TooMany,
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

/// A pool's row of a final state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownPool {
    /// The height of the block after which the state holds it.
    pub height: Height,
    /// The row.
    pub row: PoolState,
}

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Content {
    network: NetworkId,
    pools: BTreeMap<PoolId, ShownPool>,
}

impl Wire for Content {
    const MAX_BYTES: usize = 40 + MAX_POOLS * (40 + ROW_BYTES);
}

/// The newest rows that were shown, by pool.
#[derive(Debug)]
pub struct ShownPools<F = Disk> {
    files: F,
    path: PathBuf,
    network: NetworkId,
    pools: BTreeMap<PoolId, ShownPool>,
}

impl<F: Files> ShownPools<F> {
    /// The rows in the file; none if there is no file.
    ///
    /// # Errors
    /// The file is damaged, another network's, or unreadable.
    pub fn open(files: F, path: &Path, network: NetworkId) -> Result<Self, ShownError> {
        let mut shown = Self { files, path: path.into(), network, pools: BTreeMap::new() };
        let bytes = match shown.files.read(path, sealed_max::<Content>()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(shown),
            read => read.map_err(|source| ShownError::Io { operation: "read", path: path.into(), source })?,
        };
        let content: Content =
            unseal(PURPOSE, &bytes).map_err(|source| ShownError::Damaged { path: path.into(), source })?;
        if content.network != network {
            return Err(ShownError::OtherNetwork { path: path.into(), found: content.network });
        }
        shown.pools = content.pools;
        Ok(shown)
    }

    /// The newest row of a pool; `None` if none was shown.
    pub fn get(&self, pool: &PoolId) -> Option<&ShownPool> {
        self.pools.get(pool)
    }

    /// Notes a row if it is newer than what was shown of its pool, and returns the newest one.
    ///
    /// # Errors
    /// It cannot be of one chain with the newest one, there is no room for it, or it could not be written; it is not noted then.
    pub fn note(&mut self, proved: &ProvedPool) -> Result<ShownPool, ShownError> {
        let (pool, shown) = (proved.id(), ShownPool { height: proved.height(), row: proved.row().clone() });
        if let Some(newest) = self.pools.get_mut(&pool) {
            if !newest.is_of_one_chain_with(&shown) {
                return Err(ShownError::TwoHistories { pool, before: newest.height, now: shown.height });
            }
            if shown.height <= newest.height {
                return Ok(newest.clone());
            }
            if shown.row == newest.row {
                newest.height = shown.height;
                return Ok(shown);
            }
        }
        if !self.pools.contains_key(&pool) && self.pools.len() >= MAX_POOLS {
            return Err(ShownError::TooMany);
        }
        let mut pools = self.pools.clone();
        pools.insert(pool, shown.clone());
        let content = Content { network: self.network, pools };
        let failed = |source| ShownError::Io { operation: "write", path: self.path.clone(), source };
        replace(&self.files, &self.path, &seal(PURPOSE, &content)).map_err(failed)?;
        self.pools = content.pools;
        Ok(shown)
    }

    /// All pools that are known, by their ids.
    pub fn all(&self) -> impl Iterator<Item = (&PoolId, &ShownPool)> {
        self.pools.iter()
    }

    /// The pools for which a key signs, with the era in force.
    pub fn pools_of(&self, key: &PayoutAddress) -> Vec<(PoolId, u32)> {
        let signs = self.all().filter(|(_, shown)| is_signer(&shown.row, key));
        signs.map(|(id, shown)| (*id, shown.row.vault.signers.era)).collect()
    }
}

/// Whether a key signs for a pool: as one of the signers in force, or of those whom a change replaces that is among the newest.
pub fn is_signer(row: &PoolState, key: &PayoutAddress) -> bool {
    let is_in = |set: &SignerSet| set.by_key(key).is_some();
    is_in(&row.vault.signers) || row.changes.values().any(|change| is_in(&change.by))
}

impl ShownPool {
    /// Whether one chain can have both rows: what is counted never falls, a row changes only with a settlement or a command, and a vault
    /// follows those before it. Of one vault, an era has one set of signers, and a number names one change.
    fn is_of_one_chain_with(&self, other: &Self) -> bool {
        let [older, newer] =
            if self.height <= other.height { [self, other] } else { [other, self] }.map(|shown| &shown.row);
        let grew = older.settled <= newer.settled && older.commands <= newer.commands;
        let is_unchanged =
            self.height == other.height || (older.settled, older.commands) == (newer.settled, newer.commands);
        (!is_unchanged || older == newer) && grew && has_followed(older, newer)
    }
}

/// Whether the vault of the newer row is that of the older one, later, or one that has followed it.
fn has_followed(older: &PoolState, newer: &PoolState) -> bool {
    let vaults = |row: &PoolState| [row.former_vaults.as_slice(), &[row.vault.address]].concat();
    if older.vault.address != newer.vault.address {
        return vaults(newer).starts_with(&vaults(older)) && !newer.former_vaults.contains(&newer.vault.address);
    }
    let (vault, next) = (&older.vault, &newer.vault);
    let mut changes = older.changes.iter().filter_map(|(nonce, change)| Some((change, newer.changes.get(nonce)?)));
    older.former_vaults == newer.former_vaults
        && vault.nonce <= next.nonce
        && vault.signers.era <= next.signers.era
        && (vault.signers.era != next.signers.era || vault.signers == next.signers)
        && changes.all(|(change, again)| change == again)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use lucid_types::amount::MicroUsdt;
    use lucid_types::payout::SettlementRoot;

    use super::*;
    use crate::signer::fixture::{Chain, change, greatest_row, put_change, set_of, signers};

    fn proved(chain: &Chain, height: u64, row: &PoolState) -> ProvedPool {
        chain.proof(height, row).verify(chain.spec.id(), &chain.spec.first_sets(), &chain.pool).unwrap()
    }

    fn row_of_era(chain: &Chain, era: u32) -> PoolState {
        let root = SettlementRoot { era, ..chain.root(1, 100) };
        let mut row = chain.row(Some(root));
        (2..=era).for_each(|era| put_change(&mut row, era - 2, change(signers(era - 1, 2), signers(era, 2))));
        row
    }

    #[test]
    fn the_newest_row_survives_a_restart_and_older_ones_do_not_replace_it() {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let path = folder.path().join("shown");
        let open = || ShownPools::open(Disk, &path, *chain.spec.id()).unwrap();
        let (first, second) = (row_of_era(&chain, 1), row_of_era(&chain, 2));
        let newest = |height, row: &PoolState| ShownPool { height: Height::new(height), row: row.clone() };

        let mut shown = open();
        assert_eq!(shown.get(&chain.pool), None);
        assert_eq!(shown.note(&proved(&chain, 3, &first)).unwrap(), newest(3, &first));
        assert_eq!(shown.note(&proved(&chain, 5, &second)).unwrap(), newest(5, &second));
        assert_eq!(shown.note(&proved(&chain, 4, &first)).unwrap(), newest(5, &second), "it is older");
        let written = std::fs::read(&path).unwrap();
        assert_eq!(shown.note(&proved(&chain, 9, &second)).unwrap(), newest(9, &second));
        assert_eq!(std::fs::read(&path).unwrap(), written, "an equal row is not written again");
        let mut shown = open();
        assert_eq!(shown.get(&chain.pool), Some(&newest(5, &second)));
        assert_eq!(shown.note(&proved(&chain, 4, &first)).unwrap(), newest(5, &second));
        assert!(matches!(shown.note(&proved(&chain, 6, &first)), Err(ShownError::TwoHistories { .. })));
        assert_eq!(shown.get(&chain.pool), Some(&newest(5, &second)));
    }

    /// Nothing but a settlement or a command changes a row.
    #[test]
    fn a_row_that_changed_by_nothing_is_of_another_history() {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let mut shown = ShownPools::open(Disk, &folder.path().join("shown"), *chain.spec.id()).unwrap();
        let row = chain.row(Some(chain.root(1, 100)));
        let grown = PoolState { budgets: row.budgets.saturating_add(MicroUsdt::new(1)), ..row.clone() };
        shown.note(&proved(&chain, 3, &row)).unwrap();
        for height in [2, 3, 4] {
            assert!(matches!(shown.note(&proved(&chain, height, &grown)), Err(ShownError::TwoHistories { .. })));
        }
        let settled = PoolState { settled: row.settled + 1, ..grown.clone() };
        let commanded = PoolState { settled: row.settled + 1, commands: row.commands + 1, ..grown };
        shown.note(&proved(&chain, 4, &settled)).unwrap();
        shown.note(&proved(&chain, 5, &commanded)).unwrap();
    }

    #[test]
    fn a_damaged_or_foreign_file_is_named() {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let path = folder.path().join("shown");
        let open = || ShownPools::open(Disk, &path, *chain.spec.id());
        let foreign = Content { network: NetworkId::from_bytes([7; 32]), pools: BTreeMap::new() };
        std::fs::write(&path, seal(PURPOSE, &foreign)).unwrap();
        let error = open().unwrap_err();
        assert!(matches!(error, ShownError::OtherNetwork { .. }) && error.to_string().contains("shown"), "{error}");
        std::fs::write(&path, "what is this").unwrap();
        assert!(matches!(open(), Err(ShownError::Damaged { .. })));
    }

    #[test]
    fn a_row_that_could_not_be_written_is_not_noted() {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let mut shown = ShownPools::open(Disk, &folder.path().join("gone/shown"), *chain.spec.id()).unwrap();
        let noted = shown.note(&proved(&chain, 3, &row_of_era(&chain, 2)));
        assert!(matches!(noted, Err(ShownError::Io { .. })));
        assert_eq!(shown.get(&chain.pool), None);
    }

    #[test]
    fn a_key_knows_its_pools_from_what_was_shown() {
        let (chain, folder) = (Chain::new(), tempfile::tempdir().unwrap());
        let mut shown = ShownPools::open(Disk, &folder.path().join("shown"), *chain.spec.id()).unwrap();
        let key = |n: u8| set_of(1, 1, &[n]).members[0].key_address;
        let eras = |shown: &ShownPools, n| shown.pools_of(&key(n));
        assert_eq!((eras(&shown, 1), eras(&shown, 4)), (vec![], vec![]), "the genesis says nothing to a signer");
        let mut row = chain.row(None);
        shown.note(&proved(&chain, 2, &row)).unwrap();
        assert_eq!((eras(&shown, 1), eras(&shown, 4)), (vec![(chain.pool, 1)], vec![]));
        put_change(&mut row, 0, change(signers(1, 2), set_of(2, 2, &[2, 3, 4])));
        shown.note(&proved(&chain, 3, &row)).unwrap();
        assert_eq!((eras(&shown, 1), eras(&shown, 4)), (vec![(chain.pool, 2)], vec![(chain.pool, 2)]));
        row.changes.clear();
        row.commands += 1;
        shown.note(&proved(&chain, 4, &row)).unwrap();
        assert_eq!((eras(&shown, 1), eras(&shown, 4)), (vec![], vec![(chain.pool, 2)]));
    }

    /// The greatest rows that there can be, of as many pools as there can be, fit the file.
    #[test]
    fn the_longest_file_fits() {
        let chain = Chain::new();
        let pool = |n: u16| PoolId::from_bytes(std::array::from_fn(|i| n.to_be_bytes()[i % 2]));
        let shown = ShownPool { height: Height::new(1), row: greatest_row(&chain) };
        let n_pools = u16::try_from(MAX_POOLS).unwrap();
        let pools: BTreeMap<_, _> = (0..n_pools).map(|n| (pool(n), shown.clone())).collect();
        let sealed = seal(PURPOSE, &Content { network: *chain.spec.id(), pools: pools.clone() });
        const { assert!(Content::MAX_BYTES <= lucid_types::codec::MAX_MESSAGE_BYTES) };
        assert!(lucid_types::codec::encode(&shown.row).len() <= ROW_BYTES);
        assert_eq!(unseal::<Content>(PURPOSE, &sealed).unwrap().pools, pools);

        // A known pool has room, and one more pool has none.
        let (folder, row) = (tempfile::tempdir().unwrap(), chain.row(None));
        let path = folder.path().join("shown");
        let mut known = pools;
        let replaced = pool(1);
        known.remove(&replaced);
        known.insert(chain.pool, ShownPool { height: Height::new(1), row: row.clone() });
        std::fs::write(&path, seal(PURPOSE, &Content { network: *chain.spec.id(), pools: known.clone() })).unwrap();
        let mut shown = ShownPools::open(Disk, &path, *chain.spec.id()).unwrap();
        shown.note(&proved(&chain, 3, &PoolState { settled: 1, ..row.clone() })).unwrap();
        known.remove(&chain.pool);
        known.insert(replaced, ShownPool { height: Height::new(1), row: row.clone() });
        std::fs::write(&path, seal(PURPOSE, &Content { network: *chain.spec.id(), pools: known })).unwrap();
        let mut shown = ShownPools::open(Disk, &path, *chain.spec.id()).unwrap();
        assert!(matches!(shown.note(&proved(&chain, 3, &row)), Err(ShownError::TooMany)));
    }
}
