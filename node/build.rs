//! Computes the build id: a hash of every source from which the node is made.
//!
//! Two binaries with the same build id were built from the same sources. It does not depend on git, so that it also
//! tells apart two builds of a changed working tree. FNV-1a: it has to notice accidents, not attacks.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the node is linked from, relative to this crate. Tests, benches and documents do not change the binary.
const SOURCES: [&str; 15] = [
    "../Cargo.toml",
    "../Cargo.lock",
    "build.rs",
    "Cargo.toml",
    "src",
    "storage/Cargo.toml",
    "storage/src",
    "../consensus/Cargo.toml",
    "../consensus/src",
    "../consensus/types",
    "../consensus/score",
    "../p2p/Cargo.toml",
    "../p2p/src",
    "../tron-bridge/Cargo.toml",
    "../tron-bridge/src",
];

fn main() -> io::Result<()> {
    let mut files = Vec::new();
    for source in SOURCES {
        // Cargo watches a folder with everything in it.
        println!("cargo:rerun-if-changed={source}");
        collect(Path::new(source), &mut files)?;
    }
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in &files {
        let content = fs::read(file)?;
        let name = file.to_string_lossy();
        for byte in name.bytes().chain([0]).chain(content).chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    println!("cargo:rustc-env=LUCID_BUILD_ID={}-{hash:016x}", env!("CARGO_PKG_VERSION"));
    Ok(())
}

/// Every source file at or under `path`.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            let skipped = path.is_dir() && path.ends_with("tests");
            if !skipped {
                collect(&path, files)?;
            }
        }
    } else if path.extension().is_some_and(|kind| kind == "rs" || kind == "toml" || kind == "lock") {
        files.push(path.to_path_buf());
    }
    Ok(())
}
