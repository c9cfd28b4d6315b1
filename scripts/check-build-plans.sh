#!/usr/bin/env bash
# Whatever is built first, the next command finds the dependencies built: `make testnet`, `make test`, `make bench` and
# `make check` must want every foreign crate with the same features and the same profile. Compares cargo's unit graphs,
# which a stable cargo prints only with RUSTC_BOOTSTRAP; nothing is compiled here.
set -euo pipefail
cd "$(dirname "$0")/.."

plans=$(mktemp -d)
trap 'rm -rf "$plans"' EXIT
plan() {
    local name=$plans/$1
    shift
    mkdir -p "${name%/*}"
    RUSTC_BOOTSTRAP=1 cargo "$@" --workspace --locked --unit-graph -Z unstable-options >"$name"
}
plan ours/testnet build --bins
plan ours/test test
plan ours/bench bench --profile dev --bench '*'
plan ours/check check --all-targets
# Benchmarks in cargo's own profile for them would build everything again: the comparison has to find that.
plan control/test test
plan control/bench bench --bench '*'

compare() {
    python3 - "$1" <<'PYTHON'
import json, os, sys

folder = sys.argv[1]
# For every unit of a foreign crate: how it is wanted, and by which commands.
wanted = {}
units = {}
for command in sorted(os.listdir(folder)):
    with open(os.path.join(folder, command)) as file:
        graph = json.load(file)
    # What macros and build scripts need is built for this machine's compiler, and apart from what programs need.
    runs_at_build_time = [False] * len(graph["units"])
    ahead = list(graph["roots"])
    seen = set(ahead)
    while ahead:
        index = ahead.pop()
        for dependency in graph["units"][index]["dependencies"]:
            other = dependency["index"]
            kinds = graph["units"][other]["target"]["kind"]
            at_build_time = runs_at_build_time[index] or "proc-macro" in kinds or "custom-build" in kinds
            if other not in seen or at_build_time and not runs_at_build_time[other]:
                seen.add(other)
                runs_at_build_time[other] |= at_build_time
                ahead.append(other)
    for index, unit in enumerate(graph["units"]):
        # `check` type-checks what the others compile; what runs at build time is compiled all the same.
        if unit["pkg_id"].startswith("path+") or unit["mode"] == "check":
            continue
        crate = unit["pkg_id"].split("#")[-1]
        name = (crate, unit["target"]["name"], unit["mode"], unit["platform"], runs_at_build_time[index])
        # Cargo does not tell builds apart by the name of their profile.
        profile = {key: value for key, value in unit["profile"].items() if key != "name"}
        how = json.dumps([sorted(unit["features"]), profile], sort_keys=True)
        wanted.setdefault(name, {}).setdefault(how, set()).add(command)
        units.setdefault(name, set()).add(command)

if not any(name[0].startswith("librocksdb-sys") for name in wanted):
    sys.exit("check-build-plans: no plan has librocksdb-sys, so nothing was compared")
failed = False
for name, hows in sorted(wanted.items(), key=str):
    wants = {command: {how for how, by in hows.items() if command in by} for command in units[name]}
    # One command may need a crate in more ways than another, but not in other ways.
    pairs = [(a, b) for a in wants for b in wants if a < b and not (wants[a] <= wants[b] or wants[b] <= wants[a])]
    is_rocksdb_twice = name[0].startswith("librocksdb-sys") and len(hows) > 1
    if pairs or is_rocksdb_twice:
        failed = True
        print(f"check-build-plans: {name[0]} ({name[1]}, {name[2]}) would be built more than once:", file=sys.stderr)
        for how, commands in sorted(hows.items()):
            print(f"  {', '.join(sorted(commands))}: {how}", file=sys.stderr)
if failed:
    sys.exit("check-build-plans: unify features in node/storage/Cargo.toml, profiles in Cargo.toml")
print(f"build plans ok: {len(wanted)} foreign units, alike in every command that builds them")
PYTHON
}
compare "$plans/ours"
if compare "$plans/control" &>/dev/null; then
    echo "check-build-plans: the comparison found nothing where everything is different" >&2
    exit 1
fi
