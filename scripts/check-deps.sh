#!/usr/bin/env bash
# What may be linked and who may know whom: deny.toml, and the two edges that only a dependency tree shows.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/cargo-deny.sh --locked check bans licenses sources

# Advisories need the database, which lives on GitHub. Unreachable is not a failure of this tree; it is said.
advisories=$(scripts/cargo-deny.sh --locked check advisories 2>&1) && echo "$advisories" || {
    if grep -q 'failed to fetch advisory database' <<<"$advisories"; then
        echo "advisories: NOT CHECKED, the advisory database could not be fetched"
    else
        echo "$advisories"
        exit 1
    fi
}

fail() {
    echo "check-deps: $1" >&2
    echo "$2" >&2
    exit 1
}

# Direct parents of a crate in lucid-consensus' tree, one name a line.
parents() {
    cargo tree --locked -p lucid-consensus -e normal --depth 1 --prefix depth -i "$1" |
        sed -n 's/^1\([a-z0-9_-]*\) v.*/\1/p' | sort -u
}

# The engine's core lists tokio and does not use it; nobody else in consensus may list it.
found=$(parents tokio)
[[ $found == arc-malachitebft-core-consensus ]] ||
    fail "tokio may reach lucid-consensus through arc-malachitebft-core-consensus only, but its parents are:" "$found"

# Multiaddresses bring the identity crate; libp2p itself must not come with them.
found=$(parents libp2p-identity)
[[ $found == multiaddr ]] ||
    fail "libp2p-identity may reach lucid-consensus through multiaddr only, but its parents are:" "$found"

tree=$(cargo tree --locked -p lucid-consensus -e normal --prefix none | awk '{ print $1 }' | sort -u)
for foreign in libp2p libp2p-core libp2p-swarm rocksdb librocksdb-sys reqwest hyper k256 revm axum sysinfo; do
    if grep -qx "$foreign" <<<"$tree"; then
        fail "lucid-consensus must stay pure, but it links $foreign:" \
            "$(cargo tree --locked -p lucid-consensus -e normal -i "$foreign")"
    fi
done
# The features of all foreign crates, as the given kinds of dependencies switch them on.
features() {
    cargo tree --locked --workspace -e "$1" -f '{p} {f}' --prefix none | sed 's/ (\*)$//' |
        grep -v '^lucid-' | sort -u
}

# `make testnet` and `make test` share one build: the test tools must not switch on what the programs do without.
found=$(comm -23 <(features normal,build) <(features normal,build,dev))
[[ -z $found ]] ||
    fail "cargo test would build these a second time, with other features (unify them in node/storage/Cargo.toml):" \
        "$found"
echo "edges ok"
