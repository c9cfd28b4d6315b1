#!/usr/bin/env bash
# Reads the golden files by the book's layouts with golden.py and proof.py, and computes medians, credits and scores with medians.py; then
# runs a local network, gives its pool commands, follows the chain with follow.py to the block of HEIGHT, past a change of the policy, and
# checks what a node proves with proof.py. The Python packages that requirements.txt names are installed once into target/follow.
#
#   docs/examples/run.sh [HEIGHT]
#
# Exit code 0 if every block follows and every proof holds, 2 if the machine lacks something.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../.."
height=${1:-36}
target="${CARGO_TARGET_DIR:-$PWD/target}"
python="$("$here/python.sh")"

export PYTHONDONTWRITEBYTECODE=1
"$python" "$here/golden.py"
"$python" "$here/medians.py" --workers 20000 --same "$(<consensus/score/tests/data/medians_of_20000.txt)" >/dev/null
golden=node/tests/golden/proof
"$python" "$here/proof.py" "$golden/genesis.toml" "$golden"/*.json

network="$(mktemp -d "${TMPDIR:-/tmp}/lucid-follow-XXXXXX")"
"$target/debug/lucid-testnet" up --dir "$network/net" >"$network/up.log" 2>&1 &
up=$!
end() {
    "$target/debug/lucid-testnet" down --dir "$network/net" >/dev/null 2>&1 || kill "$up" 2>/dev/null || true
    wait "$up" || true
    rm -rf "$network"
}
trap end EXIT
owner=("$target/debug/lucid" --home "$network/net/owner")
until [[ -s $network/net/testnet.json ]] && "${owner[@]}" status >/dev/null 2>&1; do
    kill -0 "$up" 2>/dev/null || { cat "$network/up.log" >&2; exit 1; }
    sleep 0.2
done
# The last node's id, a worker's, where its API answers, and its home; the home of the worker before it.
read -r worker api home other < <("$python" -c 'import json, sys
*_, other, last = json.load(open(sys.argv[1]))["nodes"]
print(last["node_id"], last["api"], last["home"], other["home"])' "$network/net/testnet.json")
"${owner[@]}" pool hold "$worker" --yes >/dev/null
"${owner[@]}" pool suspend --yes >/dev/null
for command in rotate-key veto-key rotate-key; do
    "$target/debug/lucid" --home "$other" node "$command" --yes >/dev/null
done
# Three of four validators change what is asked for, earned and paid by.
validator() {
    "$target/debug/lucid" --home "$network/net/validator-$1" validator "${@:2}"
}
validator 1 propose policy pings=6 echo_bytes_per_credit=65536 weights.trust=150000 weights.session_time=150000 \
    payout_threshold=1000 stamp_bits=9 --yes >/dev/null
proposal=$(validator 2 proposals --json | "$python" -c 'import json, sys
print(json.load(sys.stdin)["proposals"][0]["id"])')
validator 2 approve "$proposal" --yes >/dev/null
validator 3 approve "$proposal" --yes >/dev/null
"$python" "$here/follow.py" "$network/net/genesis.toml" "$api" "$height"

prove() { "$target/debug/lucid" --home "$home" proof show "$@" --out "$network/$1-$#.json" >/dev/null; }
prove score
prove score --worker "$worker" --epoch 1000000
prove owed
prove owed --account "$(printf '%064d' 0)"
prove account
prove account "$(printf '%064d' 0)"
"$python" "$here/proof.py" "$network/net/genesis.toml" "$network"/*.json
