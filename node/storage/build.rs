//! Says in time how RocksDB is linked: from the archive that `make setup` compiles once a machine (scripts/rocksdb.sh), or
//! compiled by its own crate, which takes much longer.

use std::path::{Path, PathBuf};

/// Set where `make setup` chose the crate's own build and has said why.
const OF_CRATE: &str = "LUCID_ROCKSDB_OF_CRATE";

fn main() {
    println!("cargo::rerun-if-env-changed=ROCKSDB_LIB_DIR");
    println!("cargo::rerun-if-env-changed={OF_CRATE}");
    let Some(folder) = std::env::var_os("ROCKSDB_LIB_DIR").map(PathBuf::from) else {
        if std::env::var_os(OF_CRATE).is_none() {
            println!(
                "cargo::warning=RocksDB is compiled by its own crate, which takes 20 to 30 minutes on two cores; \
                 `make setup` does it in about 5, once for this machine and all checkouts"
            );
        }
        return;
    };
    let archive = folder.join("librocksdb.a");
    println!("cargo::rerun-if-changed={}", archive.display());
    if !archive.exists() {
        println!("cargo::error={} does not exist any more: run `make setup`", archive.display());
    }
    // A lock file of another version needs another archive; its folder's name begins with the version.
    let lock = Path::new("../../Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let version = std::fs::read_to_string(lock).ok().as_deref().and_then(locked_version).unwrap_or_default();
    if !version.is_empty() && !name.starts_with(&format!("{version}-")) {
        println!(
            "cargo::error=the archive in {} is not of librocksdb-sys {version}: run `make setup`",
            folder.display()
        );
    }
}

fn locked_version(lock: &str) -> Option<String> {
    let after = lock.split("name = \"librocksdb-sys\"\nversion = \"").nth(1)?;
    after.split('"').next().map(str::to_owned)
}
