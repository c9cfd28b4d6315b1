//! What the signer's key has signed last, for every pool: a file and its second copy.
//!
//! A record is written to the file first and to the copy after it, and no signature exists before both are durable. So a crash
//! leaves a copy that is older than the file, which is brought up to date, and never one that is newer: a file that is older
//! than its copy was restored from a backup, and nothing is signed. A copy on another disk finds that, too, when the whole
//! folder was restored.
//!
//! A missing file is never taken for an empty one. Both are made with the key, before anything was signed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lucid_tron_bridge::signer::{Stored, Watermark, WatermarkStore};
use lucid_types::codec::Wire;
use lucid_types::id::{NetworkId, PayoutAddress, PoolId};
use lucid_types::pool::MAX_POOLS;
use serde::{Deserialize, Serialize};

use crate::signer::files::{Damaged, Disk, Files, replace, seal, sealed_max, unseal};

const PURPOSE: &str = "lucid signer watermark 1";

/// The watermark cannot be used: nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum WatermarkError {
    /// The file is gone.
    #[error(
        "{} is missing. It says what this key has signed: without it the signer could sign a second root for a settlement. \
         Restore it from {} if that is there; if both are lost, have the pool's owner replace this signer's key",
        path.display(), copy.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// Its second copy.
        copy: PathBuf,
    },
    /// The copy is gone.
    #[error(
        "{}, the second copy of the watermark, is missing: is its disk mounted? If it is lost and {} is certainly the newest, \
         make it anew with `lucid signer copy`",
        path.display(), file.display()
    )]
    NoCopy {
        /// The copy.
        path: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// Other bytes are there than were written.
    #[error(
        "{} is damaged: put the other copy of the watermark in its place; if both are damaged, have the pool's owner replace \
         this signer's key", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How it shows.
        #[source]
        source: Damaged,
    },
    /// Another key's.
    #[error("{} belongs to the key of {found}; this signer's is {own}: put the files together that were made together", path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: PayoutAddress,
        /// The signer's.
        own: PayoutAddress,
    },
    /// The signer served another network.
    #[error(
        "this signer belongs to the network {bound}, but the genesis beside it is that of {found}: restore its genesis; for \
         another network make another signer"
    )]
    OtherNetwork {
        /// The signer's.
        bound: NetworkId,
        /// The genesis'.
        found: NetworkId,
    },
    /// The file is older than its copy.
    #[error(
        "the watermark is record {found}, but its second copy is record {newest}: it was restored from a backup, and this \
         signer might sign twice. Put the copy in its place; if there is any doubt which is the newest, have the pool's owner \
         replace this signer's key"
    )]
    RolledBack {
        /// The file's.
        found: u64,
        /// The copy's.
        newest: u64,
    },
    /// Two records have one number.
    #[error(
        "the watermark and its second copy hold different records {0}: this key was used by two processes. Have the pool's \
         owner replace it"
    )]
    Differ(u64),
    /// A file stands where a new one should be made.
    #[error("{} exists already and is left as it is", .0.display())]
    Exists(PathBuf),
    /// Another pool's record is of the same vault, which pays whatever its signers sign.
    #[error(
        "the key has signed for this vault as that of the pool {0}: it signs for no other pool's vault of the same address"
    )]
    OtherPool(PoolId),
    /// There is no room for another pool.
    #[error("this key has signed for {} pools and takes no more: use another key for the others", MAX_POOLS)]
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

/// Where the watermark lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The file.
    pub file: PathBuf,
    /// Its second copy.
    pub copy: PathBuf,
}

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermarks {
    /// Whose signatures they count.
    pub key: PayoutAddress,
    /// The network that the signer serves, from its first start on.
    pub network: Option<NetworkId>,
    /// By pool.
    pub pools: Vec<(PoolId, Watermark)>,
}

impl Wire for Watermarks {
    const MAX_BYTES: usize = 128 + MAX_POOLS * (32 + Watermark::MAX_BYTES);
}

impl Watermarks {
    /// A pool's; empty if nothing was signed for it.
    pub fn of(&self, pool: &PoolId) -> Watermark {
        self.pools.iter().find(|(id, _)| id == pool).map(|(_, watermark)| watermark.clone()).unwrap_or_default()
    }

    fn put(&mut self, pool: PoolId, watermark: Watermark) {
        self.pools.retain(|(id, _)| *id != pool);
        self.pools.push((pool, watermark));
        self.pools.sort_by_key(|(id, _)| *id);
    }

    /// Whether nothing in `copy` is newer.
    fn check_copy(&self, copy: &Self) -> Result<(), WatermarkError> {
        for (pool, copied) in &copy.pools {
            let own = self.of(pool);
            if own.sequence < copied.sequence {
                return Err(WatermarkError::RolledBack { found: own.sequence, newest: copied.sequence });
            }
            if own.sequence == copied.sequence && own != *copied {
                return Err(WatermarkError::Differ(own.sequence));
            }
        }
        Ok(())
    }
}

/// The watermark of one key, opened by one process: whoever opens it holds the folder's lock.
#[derive(Debug)]
pub struct WatermarkFile<F = Disk> {
    files: F,
    places: Places,
    key: PayoutAddress,
    network: NetworkId,
    /// Whether both files are durable and the same, as far as this process knows.
    settled: bool,
}

impl<F: Files> WatermarkFile<F> {
    /// Makes the files of a new key.
    ///
    /// # Errors
    /// One exists already, or could not be written.
    pub fn create(
        files: &F,
        places: &Places,
        key: PayoutAddress,
        network: Option<NetworkId>,
    ) -> Result<(), WatermarkError> {
        for path in [&places.file, &places.copy] {
            match read(files, path) {
                Ok(None) => {}
                _ => return Err(WatermarkError::Exists(path.clone())),
            }
        }
        let empty = Watermarks { key, network, pools: Vec::new() };
        write(files, &places.file, &empty)?;
        write(files, &places.copy, &empty)
    }

    /// Makes the second copy anew, or only checks that it can be made; what it holds.
    ///
    /// # Errors
    /// There is one, or a file could not be read or written.
    pub fn make_copy(files: &F, places: &Places, dry_run: bool) -> Result<Watermarks, WatermarkError> {
        let watermarks = existing(files, places)?;
        if read(files, &places.copy)?.is_some() {
            return Err(WatermarkError::Exists(places.copy.clone()));
        }
        if !dry_run {
            write(files, &places.copy, &watermarks)?;
        }
        Ok(watermarks)
    }

    /// Opens the files of this key for this network.
    ///
    /// # Errors
    /// A file is missing, damaged, another key's or network's, or the first is older than its copy.
    pub fn open(files: F, places: Places, key: PayoutAddress, network: NetworkId) -> Result<Self, WatermarkError> {
        // An earlier process may have died before its last record was durable.
        let mut file = Self { files, places, key, network, settled: false };
        file.newest()?;
        Ok(file)
    }

    /// What was signed last, durable in both files.
    fn newest(&mut self) -> Result<Watermarks, WatermarkError> {
        let mut watermarks = existing(&self.files, &self.places)?;
        let Places { file, copy: path } = &self.places;
        let no_copy = || WatermarkError::NoCopy { path: path.clone(), file: file.clone() };
        let copy = read(&self.files, path)?.ok_or_else(no_copy)?;
        for (path, found) in [(file, watermarks.key), (path, copy.key)] {
            if found != self.key {
                return Err(WatermarkError::OtherKey { path: path.clone(), found, own: self.key });
            }
        }
        let bound = *watermarks.network.get_or_insert(self.network);
        if bound != self.network {
            return Err(WatermarkError::OtherNetwork { bound, found: self.network });
        }
        watermarks.check_copy(&copy)?;
        if !self.settled || copy != watermarks {
            self.write(&watermarks)?;
        }
        Ok(watermarks)
    }

    fn record(&mut self, pool: PoolId, watermark: Watermark) -> Result<(), WatermarkError> {
        let mut watermarks = self.newest()?;
        let is_known = watermarks.pools.iter().any(|(id, _)| *id == pool);
        if !is_known && watermarks.pools.len() >= MAX_POOLS {
            return Err(WatermarkError::TooMany);
        }
        let mut others = watermarks.pools.iter().filter(|(id, _)| *id != pool);
        if let Some((other, _)) = others.find(|(_, of_other)| of_other.shares_a_vault_with(&watermark)) {
            return Err(WatermarkError::OtherPool(*other));
        }
        watermarks.put(pool, watermark);
        self.write(&watermarks)
    }

    /// The copy is written when the file is durable, so that it is never ahead.
    fn write(&mut self, watermarks: &Watermarks) -> Result<(), WatermarkError> {
        self.settled = false;
        write(&self.files, &self.places.file, watermarks)?;
        write(&self.files, &self.places.copy, watermarks)?;
        self.settled = true;
        Ok(())
    }
}

/// What the file holds, without looking at the copy; for display.
///
/// # Errors
/// It is missing, damaged or unreadable.
pub fn existing(files: &impl Files, places: &Places) -> Result<Watermarks, WatermarkError> {
    let Places { file, copy } = places;
    read(files, file)?.ok_or_else(|| WatermarkError::Missing { path: file.clone(), copy: copy.clone() })
}

fn read(files: &impl Files, path: &Path) -> Result<Option<Watermarks>, WatermarkError> {
    match files.read(path, sealed_max::<Watermarks>()) {
        Ok(bytes) => {
            let damaged = |source| WatermarkError::Damaged { path: path.into(), source };
            unseal(PURPOSE, &bytes).map(Some).map_err(damaged)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(WatermarkError::Io { operation: "read", path: path.into(), source }),
    }
}

fn write(files: &impl Files, path: &Path, watermarks: &Watermarks) -> Result<(), WatermarkError> {
    let failed = |source| WatermarkError::Io { operation: "write", path: path.into(), source };
    replace(files, path, &seal(PURPOSE, watermarks)).map_err(failed)
}

/// The watermark of one pool. All pools' lie in one file.
#[derive(Debug)]
pub struct PoolWatermark<F = Disk> {
    file: Arc<Mutex<WatermarkFile<F>>>,
    pool: PoolId,
}

impl<F> PoolWatermark<F> {
    /// The watermark of `pool` in this file.
    pub const fn new(file: Arc<Mutex<WatermarkFile<F>>>, pool: PoolId) -> Self {
        Self { file, pool }
    }
}

impl<F: Files> WatermarkStore for PoolWatermark<F> {
    type Error = WatermarkError;

    fn load(&mut self) -> Result<Stored, WatermarkError> {
        // What a panic may have left half done is read back from the disk.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match file.newest() {
            Ok(watermarks) => Ok(Stored::Watermark(watermarks.of(&self.pool))),
            Err(WatermarkError::RolledBack { found, newest }) => Ok(Stored::RolledBack { found, newest }),
            Err(error) => Err(error),
        }
    }

    fn record(&mut self, watermark: &Watermark) -> Result<(), WatermarkError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.record(self.pool, watermark.clone())
    }
}

#[cfg(test)]
mod tests;
