#!/usr/bin/env bash
# Runs tronweb 6.5.1 and tronpy 0.6.2, unchanged, against a devnet of this checkout, and checks that the committed contract
# bytes are what their sources compile to.
#
#   testnet/tron-devnet/clients/run.sh [SCRATCH]
#
# Installs into SCRATCH (default: target/clients). Needs cargo, node, npm and python3. Exit code 0 if every call did what it
# should; the table of calls is printed and left in SCRATCH/results.tsv.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../../.." && pwd)"
scratch="${1:-$root/target/clients}"
mkdir -p "$scratch"
scratch="$(cd "$scratch" && pwd)"

for tool in cargo node npm python3; do
  command -v "$tool" >/dev/null || { echo "$tool is missing" >&2; exit 2; }
done

cd "$scratch"
[ -f package.json ] || echo '{"private": true}' >package.json
if ! [ -d node_modules/tronweb ] || ! [ -d node_modules/solc ] || ! [ -d node_modules/@openzeppelin/contracts ]; then
  npm install --no-audit --no-fund --loglevel=error tronweb@6.5.1 solc@0.8.23 @openzeppelin/contracts@5.4.0
fi
if ! [ -x venv/bin/python ] || ! venv/bin/python -c 'import tronpy' 2>/dev/null; then
  python3 -m venv venv
  venv/bin/pip install --quiet --disable-pip-version-check tronpy==0.6.2
fi

(cd "$root" && cargo build --quiet --package lucid-tron-devnet --example devnet)
devnet="$(cd "$root" && cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/debug/examples/devnet"

echo "committed contracts:"
NODE_PATH="$scratch/node_modules" node "$root/testnet/tron-devnet/contracts/compile.js" --check

# The network ends when its standard input does.
coproc NET { exec "$devnet"; }
read -r DEVNET <&"${NET[0]}"
export DEVNET
failed=0
: >results.tsv
run() {
  local client="$1"
  shift
  echo "$client:"
  "$@" | sed "s/^/$client\t/" | tee -a results.tsv | cut -f2- || failed=1
}
run "tronweb 6.5.1" node "$here/tronweb.mjs"
run "tronpy 0.6.2" venv/bin/python "$here/tronpy_client.py"
exec {NET[1]}>&-
wait "$NET_PID" 2>/dev/null || true

passed="$(grep -c $'\tok\t' results.tsv || true)"
bad="$(grep -c $'\tFAIL\t' results.tsv || true)"
echo "$passed passed, $bad failed"
[ "$failed" = 0 ] && [ "$bad" = 0 ] && [ "$passed" -ge 42 ]
