#!/usr/bin/env bash
# Builds both binaries in the release profile and packs them, with licences and a checksum, into target/dist.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --workspace --bins --locked

target=${CARGO_TARGET_DIR:-target}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
name=lucid-$version-$(uname -m)-linux
folder=$target/dist/$name
rm -rf "$folder"
mkdir -p "$folder"
cp "$target/release/lucid" "$target/release/lucid-testnet" README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$folder"
"$folder/lucid" --version
"$folder/lucid-testnet" --version

# The same files make the same tarball.
time=$(git log -1 --format=%ct 2>/dev/null || echo 0)
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$time" -C "$target/dist" -cf - "$name" |
    gzip -n -9 >"$target/dist/$name.tar.gz"
(cd "$target/dist" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
rm -rf "$folder"

# What the binaries need of the machine they run on: the newest symbol versions that they name.
needs() {
    objdump -T "$target/release/lucid" "$target/release/lucid-testnet" | grep -oE "\\b$1_[0-9.]+" | sort -uV | tail -n 1
}
echo "$target/dist/$name.tar.gz ($(du -h "$target/dist/$name.tar.gz" | cut -f 1))"
echo "It runs on Linux with $(needs GLIBC) and, in libstdc++, $(needs GLIBCXX) or newer (Debian 12, Ubuntu 22.04 and later have both)."
