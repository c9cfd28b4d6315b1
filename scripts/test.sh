#!/usr/bin/env bash
# Builds all binaries and tests, runs every test, and ends with one line of totals.
# Arguments go to `cargo test` in place of --workspace.
set -uo pipefail
cd "$(dirname "$0")/.."

selection=(--workspace)
(($#)) && selection=("$@")

# The end-to-end tests start `lucid` and `lucid-testnet`; both are built, alike, before any test runs.
cargo test --locked --no-run "${selection[@]}" || exit 1

# Tests that run networks wait more than they compute: with one thread a core, most of the machine would be idle.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((4 * $(nproc) + 1))}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
started=$SECONDS
cargo test --locked --no-fail-fast "${selection[@]}" 2>&1 | tee "$log"
status=$?

awk -v seconds=$((SECONDS - started)) '
    /^test .* \.\.\. FAILED$/ { broken = broken "\n  failed: " $2 }
    /^test result: / {
        suites++
        for (i = 1; i <= NF; i++) {
            if ($i == "passed;") passed += $(i - 1)
            if ($i == "failed;") failed += $(i - 1)
            if ($i == "ignored;") ignored += $(i - 1)
        }
    }
    END {
        if (broken != "") print broken
        printf "\nTests: %d passed, %d failed, %d ignored, in %d suites, %d s\n", passed, failed, ignored, suites, seconds
        if (passed == 0) exit 1
    }' "$log" || { echo "no test ran" >&2; exit 1; }
exit "$status"
