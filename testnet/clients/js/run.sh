#!/usr/bin/env bash
# Runs peer.test.mjs; then starts a local network, in which a validator rotates its key, and lets client.mjs, a peer on js-libp2p that knows
# the book alone, take part in it for a minute. Beside it run three that break something on purpose, which must fail and say what: other
# message ids, a changed bit in a block, another network's id. Then one takes the place of a validator, to which workers answer probes.
#
#   testnet/clients/js/run.sh
#
# The packages of package-lock.json are installed once, into node_modules beside it. Exit code 0 if all of that is so, 2 if the machine
# lacks something.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../../.."
target="${CARGO_TARGET_DIR:-$PWD/target}"

give_up() {
    echo "js-peer: $1" >&2
    exit 2
}

# What a clean machine lacks, in Debian's names; installed only as root, as scripts/setup.sh does.
packages=()
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
if ((${#packages[@]})); then
    install="apt-get update && apt-get install -y --no-install-recommends ${packages[*]}"
    command -v apt-get >/dev/null && [[ $(id -u) -eq 0 ]] || give_up "missing: ${packages[*]}. As root, run: $install"
    echo "installing ${packages[*]}"
    DEBIAN_FRONTEND=noninteractive bash -c "$install" >/dev/null || give_up "that failed: $install"
fi
node -e 'process.exit(process.versions.node.split(".")[0] >= 20 ? 0 : 1)' ||
    give_up "node $(node --version) is too old; 20 or newer is needed"
if ! cmp -s "$here/package-lock.json" "$here/node_modules/.installed"; then
    echo "installing package-lock.json"
    (cd "$here" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) ||
        give_up "the installation failed; it needs the registry of npm"
    cp "$here/package-lock.json" "$here/node_modules/.installed"
fi

node --test "$here/peer.test.mjs" >/dev/null || { node --test "$here/peer.test.mjs" >&2; exit 1; }
scratch="$(mktemp -d "${TMPDIR:-/tmp}/lucid-js-peer-XXXXXX")"
network="$scratch/net"
"$target/debug/lucid-testnet" up --dir "$network" >"$scratch/up.log" 2>&1 &
up=$!
controls=()
end() {
    kill "${controls[@]}" 2>/dev/null || true
    "$target/debug/lucid-testnet" down --dir "$network" >/dev/null 2>&1 || kill "$up" 2>/dev/null || true
    wait "$up" || true
    rm -rf "$scratch"
}
trap end EXIT
# The last line before epochs are shown: all nodes run, and answer.
until grep -q '^ok nodes' "$scratch/up.log"; do
    kill -0 "$up" 2>/dev/null || { cat "$scratch/up.log" >&2; exit 1; }
    sleep 0.2
done
read -r join apis n_nodes last_validator < <(node -e '
    const { join, nodes } = JSON.parse(require("fs").readFileSync(process.argv[1]));
    const validators = nodes.filter((it) => it.roles.includes("validator"));
    console.log(join, nodes.map((it) => it.api).join(), nodes.length, validators.at(-1).name);' "$network/testnet.json")
# A change of the validators, which the peers meet on their way.
"$target/debug/lucid" --home "$network/validator-2" validator rotate-key --yes >/dev/null 2>&1

client() { node "$here/client.mjs" "$join" --nodes "$n_nodes" "$@"; }

# Names, what the last line must say, and what is wrong.
controls_of=(
    'ids|FAILED .* closed its connection and bans us|--wrong-message-id'
    'block|FAILED .* gave a wrong block|--tamper --seconds 0'
    "network|FAILED .* of another network|--seconds 0 --network $(printf '%064d' 0)"
)
for control in "${controls_of[@]}"; do
    IFS='|' read -r name _ wrong <<<"$control"
    # shellcheck disable=SC2086  # Several arguments.
    client $wrong >"$scratch/$name.log" 2>&1 &
    controls+=($!)
done
verdict=0
client --apis "$apis" || verdict=1
for i in "${!controls_of[@]}"; do
    IFS='|' read -r name says wrong <<<"${controls_of[$i]}"
    status=0
    wait "${controls[$i]}" || status=$?
    if ((status == 1)) && tail -n 1 "$scratch/$name.log" | grep -qE "$says"; then
        echo "fails as it must ($name): $(tail -n 1 "$scratch/$name.log" | sed 's/.*FAILED *//')"
    else
        echo "with $wrong it must fail, and say \"$says\":" >&2
        cat "$scratch/$name.log" >&2
        verdict=1
    fi
done
controls=()

echo "in place of $last_validator:"
"$target/debug/lucid-testnet" kill "$last_validator" --dir "$network" >/dev/null
client --seconds 0 --key "$network/$last_validator/node.key" || verdict=1
exit $verdict
