#!/usr/bin/env bash
# Runs tronweb, tronpy and TronBox, unchanged, against local TRON networks of this checkout, and checks that the committed contracts
# are what their sources compile to and that the tables of docs/src/devnet-reference.md say what was seen.
#
#   testnet/tron-devnet/clients/run.sh [--write]
#
# --write brings the tables up to date. The clients and the compiler, of exactly the versions that package-lock.json and
# requirements.txt name, are installed once into target/clients. The last line is "N passed, N failed"; exit code 0 if none
# failed, 2 if the machine lacks something.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../../.."
root=$PWD
mkdir -p "${CARGO_TARGET_DIR:-target}/clients"
target="$(cd "${CARGO_TARGET_DIR:-target}" && pwd)"
scratch="$target/clients"

give_up() {
    echo "test-clients: $1" >&2
    exit 2
}

# What a clean machine lacks, in Debian's names; installed only as root, as scripts/setup.sh does.
packages=()
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
command -v python3 >/dev/null || packages+=(python3)
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
if ((${#packages[@]})); then
    install="apt-get update && apt-get install -y --no-install-recommends ${packages[*]}"
    command -v apt-get >/dev/null && [[ $(id -u) -eq 0 ]] || give_up "missing: ${packages[*]}. As root, run: $install"
    echo "installing ${packages[*]}"
    DEBIAN_FRONTEND=noninteractive bash -c "$install" >/dev/null || give_up "that failed: $install"
fi
node -e 'process.exit(process.versions.node.split(".")[0] >= 18 ? 0 : 1)' ||
    give_up "node $(node --version) is too old; 18 or newer is needed"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    give_up "$(python3 --version) is too old; 3.10 or newer is needed"

# Installs with "$@" unless `stamp` says that it was done for this very `list` of versions.
install_for() {
    local list=$1 stamp=$scratch/.installed-$2
    shift 2
    cmp -s "$list" "$stamp" && return
    rm -f "$stamp"
    echo "installing ${list##*/}"
    (cd "$scratch" && "$@") || give_up "the installation failed; it needs the registries of npm and PyPI"
    cp "$list" "$stamp"
}
install_npm() {
    cp "$here/package.json" "$here/package-lock.json" .
    npm ci --no-audit --no-fund --loglevel=error
}
install_pip() {
    rm -rf venv
    python3 -m venv venv
    venv/bin/pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
}
install_for "$here/package-lock.json" npm install_npm
install_for "$here/requirements.txt" pip install_pip

# The whole workspace's dependencies, so that nothing is built a second time with other features.
cargo build --quiet --locked --workspace --bin lucid-testnet
NODE_PATH="$scratch/node_modules" node "$root/scripts/contracts/compile.js" --check
python3 "$root/tron-bridge/contracts/vectors.py" --check

cd "$scratch"
node "$here/compile.mjs"
rm -f ./*.jsonl

# The clients talk to this machine only.
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost

networks=()
trap 'kill "${networks[@]}" 2>/dev/null || true' EXIT
# Starts a network that logs to NAME.log, and keeps its line of JSON in DEVNET.
network() {
    local name=$1 line
    shift
    exec {line}< <(exec "$target/debug/lucid-testnet" devnet --json --port 0 "$@" 2>"$name.log")
    networks+=($!)
    read -r DEVNET <&"$line" || { cat "$name.log" >&2; give_up "the network did not start"; }
    export DEVNET
}

results=()
running=()
# Runs "$@" in the background; it prints its steps into NAME.jsonl.
start() {
    local name=$1
    shift
    results+=("$name.jsonl")
    "$@" >"$name.jsonl" &
    running+=($!)
}
# Tests with tronweb, by the name that the release is installed as, and with the network's accounts from FIRST on.
tronweb() { TRONWEB=$1 FIRST_ACCOUNT=$2 node "$here/tronweb/main.mjs" "${@:3}"; }
tronpy() { venv/bin/python -B "$here/tronpy/main.py" "$@"; }

# TronBox keeps compilers where HOME is.
rm -rf home tronbox-*
mkdir -p home/.tronbox/solc
cp node_modules/solc/soljson.js home/.tronbox/solc/soljson_v0.8.23.js
tronbox_version="$(node -p 'require("./node_modules/tronbox/package.json").version')"
# Runs TronBox's commands in a copy NAME of a PROJECT, with our configuration.
tronbox() {
    local name=$1 project=$2 command ok
    shift 2
    cp -r "$project" "tronbox-$name"
    cp "$here/tronbox/tronbox-config.js" "tronbox-$name"
    ln -s ../node_modules "tronbox-$name"
    for command in "$@"; do
        ok=true
        (cd "tronbox-$name" && HOME="$scratch/home" node_modules/.bin/tronbox "$command") >"tronbox-$name-$command.log" 2>&1 ||
            ok=false
        $ok || cat "tronbox-$name-$command.log" >&2
        printf '{"client": "TronBox %s", "step": "tronbox %s, %s", "calls": [], "asked": [], "ok": %s, "saw": ""}\n' \
            "$tronbox_version" "$command" "$name" "$ok"
    done
}

# Clients that share a network use different accounts, or take turns. The table has the steps in the order of the starts.
network blocks --block-time 250ms --solid-lag 8 --accounts 15
start tronweb6-blocks tronweb tronweb 0 conformance reading contracts staking
start tronweb5-blocks tronweb tronweb5 10 conformance reading contracts staking
start tronpy-blocks tronpy conformance reading staking

# Blocks come at the multiples of the block time. Of this one, almost an hour, the next multiple is almost an hour away.
now=$(date +%s%3N)
network pending --control --block-time "$((now / (now / 3600000 + 1)))ms"
pending() {
    # After a failure the others have their turns all the same.
    set +e
    tronweb tronweb 0 pending
    tronweb tronweb5 5 pending
    tronpy pending
    tronweb tronweb 0 control
    tronweb tronweb5 5 control
    node "$here/tronweb/page.mjs"
}
start pending pending

network default
start tronweb6-default tronweb tronweb 2 default
start tronweb5-default tronweb tronweb5 7 default
start tronpy-default tronpy default
start tronbox-default tronbox default "$here/tronbox" test

network on-demand --on-demand --no-usdt --host localhost
on_demand() {
    set +e
    tronweb tronweb 0 ondemand
    tronweb tronweb5 0 ondemand
    # The project that TronBox itself comes with.
    tronbox sample node_modules/tronbox/sample-projects/javascript-metacoin test
}
start on-demand on_demand

network slow --block-time 10s
start tronbox-slow tronbox slow "$here/tronbox" migrate

# A crash shows as steps that are missing.
verdict=0
for pid in "${running[@]}"; do wait "$pid" || verdict=1; done
python3 "$here/report.py" "$@" "$root/docs/src/devnet-reference.md" "${results[@]}" || verdict=1
exit $verdict
