#!/usr/bin/env bash
# Reads the golden files by the book's layouts with golden.py and proof.py; then runs a local network, gives its pool commands, follows the
# chain with follow.py to the block of HEIGHT, past a change of the policy, and checks what a node proves with proof.py. The Python packages that requirements.txt names are installed once into target/follow.
#
#   docs/examples/run.sh [HEIGHT]
#
# Exit code 0 if every block follows and every proof holds, 2 if the machine lacks something.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../.."
height=${1:-36}
mkdir -p "${CARGO_TARGET_DIR:-target}/follow"
target="$(cd "${CARGO_TARGET_DIR:-target}" && pwd)"
scratch="$target/follow"

give_up() {
    echo "follow: $1" >&2
    exit 2
}

python3 -c 'import venv, ensurepip, tomllib' 2>/dev/null || give_up "python3 of at least 3.11 with its venv module is needed"
if ! cmp -s "$here/requirements.txt" "$scratch/.installed"; then
    echo "installing requirements.txt"
    rm -rf "$scratch/venv" "$scratch/.installed"
    python3 -m venv "$scratch/venv"
    "$scratch/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" ||
        give_up "the installation failed; it needs the registry of PyPI"
    cp "$here/requirements.txt" "$scratch/.installed"
fi

export PYTHONDONTWRITEBYTECODE=1
"$scratch/venv/bin/python" "$here/golden.py"
golden=node/tests/golden/proof
"$scratch/venv/bin/python" "$here/proof.py" "$golden/genesis.toml" "$golden"/*.json

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
read -r worker api home other < <("$scratch/venv/bin/python" -c 'import json, sys
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
proposal=$(validator 2 proposals --json | "$scratch/venv/bin/python" -c 'import json, sys
print(json.load(sys.stdin)["proposals"][0]["id"])')
validator 2 approve "$proposal" --yes >/dev/null
validator 3 approve "$proposal" --yes >/dev/null
"$scratch/venv/bin/python" "$here/follow.py" "$network/net/genesis.toml" "$api" "$height"

prove() { "$target/debug/lucid" --home "$home" proof show "$@" --out "$network/$1-$#.json" >/dev/null; }
prove score
prove score --worker "$worker" --epoch 1000000
prove owed
prove owed --account "$(printf '%064d' 0)"
prove account
prove account "$(printf '%064d' 0)"
"$scratch/venv/bin/python" "$here/proof.py" "$network/net/genesis.toml" "$network"/*.json
