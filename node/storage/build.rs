//! Says in time how RocksDB is linked: from the archive that `make setup` compiles once a machine (scripts/rocksdb.sh), or
//! compiled by its own crate, which takes much longer.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-env-changed=ROCKSDB_LIB_DIR");
    let Some(folder) = std::env::var_os("ROCKSDB_LIB_DIR") else {
        println!(
            "cargo::warning=RocksDB is compiled by its own crate, which takes 20 to 30 minutes on two cores; \
             `make setup` does it in about 5, once for this machine and all checkouts"
        );
        return;
    };
    let archive = Path::new(&folder).join("librocksdb.a");
    println!("cargo::rerun-if-changed={}", archive.display());
    if !archive.exists() {
        println!("cargo::error={} does not exist any more: run `make setup`", archive.display());
    }
}
