#!/usr/bin/env bash
# Tests scripts/rocksdb.sh with a cargo and a compiler that only pretend, in folders of its own: what it makes, where it
# falls back, and that it never installs half an archive.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A checkout and a home whose paths have spaces, crates with 120 sources, `cargo metadata` and `c++`.
begin() {
    rm -rf "${scratch:?}"/*
    checkout="$scratch/a checkout" home="$scratch/cargo home" tools=$scratch/tools
    mkdir -p "$checkout/scripts" "$checkout/.cargo" "$home" "$tools"
    cp "$root/scripts/rocksdb.sh" "$checkout/scripts/"
    printf 'name = "librocksdb-sys"\nversion = "1.0.0+2"\nchecksum = "a"\n\nname = "lz4-sys"\nversion = "3.0.0"\nchecksum = "b"\n' \
        >"$checkout/Cargo.lock"
    crates="$home/registry/src/some index"
    mkdir -p "$crates/librocksdb-sys-1.0.0+2/rocksdb" "$crates/lz4-sys-3.0.0/liblz4/lib"
    seq -f 'file%g.cc' 120 >"$crates/librocksdb-sys-1.0.0+2/rocksdb_lib_sources.txt"
    manifests=("$crates/librocksdb-sys-1.0.0+2" "$crates/lz4-sys-3.0.0")
    printf '#!/bin/sh\nfor m in %s; do printf "\\"manifest_path\\":\\"%%s/Cargo.toml\\"," "$m"; done\n' \
        "$(printf '"%s" ' "${manifests[@]}")" >"$tools/cargo"
    printf '#!/bin/sh\necho "host: here"\n' >"$tools/rustc"
    cat >"$tools/c++" <<'SH'
#!/bin/sh
case "$*" in *--version* | *-dumpmachine*) echo pretended; exit ;; esac
for out; do :; done
echo "$out" >>"$COMPILED"
[ -z "${BREAK:-}" ] || { echo "error: broken" >&2; exit 1; }
echo object >"$out"
SH
    chmod +x "$tools"/*
    : >"$scratch/compiled"
}
run() { env COMPILED="$scratch/compiled" CARGO_HOME="$home" PATH="$tools:$PATH" "$@" bash "$checkout/scripts/rocksdb.sh" 2>"$scratch/said"; }
toml() { cat "$checkout/.cargo/rocksdb.toml"; }
n_compiled() { wc -l <"$scratch/compiled"; }
fail() {
    echo "check-rocksdb: $1" >&2
    cat "$scratch/said" >&2
    exit 1
}
fell_back() { grep -q LUCID_ROCKSDB_OF_CRATE <(toml) && ! grep -q LIB_DIR <(toml) && grep -q "so cargo compiles" "$scratch/said"; }

begin
run || fail "it failed"
archive=$(sed -n 's/^ROCKSDB_LIB_DIR.*value = "\(.*\)", force.*/\1/p' <(toml))/librocksdb.a
[[ $archive == "$home/lucid-rocksdb/1.0.0+2-"* && $(ar t "$archive" | wc -l) -eq 9 ]] || fail "no whole archive: $archive"
grep -q 'build-dir = "{cargo-cache-home}/lucid-build-archive"' <(toml) || fail "no build directory"
[[ $(n_compiled) -eq 9 ]] || fail "$(n_compiled) units instead of 9"
run && [[ $(n_compiled) -eq 9 ]] || fail "it compiled again"
rm -r "$home/lucid-rocksdb/1.0.0+2-"* && run && [[ $(n_compiled) -eq 18 ]] || fail "a lost archive was not made again"

begin
run BREAK=1 && fell_back || fail "a compiler that fails is no fall back"
before=$(n_compiled)
run && fell_back && [[ $(n_compiled) -eq $before ]] || fail "it tried again what had failed"
rm "$home"/lucid-rocksdb/*.failed && run && grep -q LIB_DIR <(toml) || fail "it did not try again when told to"

begin
mkdir -p "$scratch/other/librocksdb-sys-1.0.0+2"
sed -i "s|for m in|for m in \"$scratch/other/librocksdb-sys-1.0.0+2\"|" "$tools/cargo"
run && fell_back && [[ $(n_compiled) -eq 0 ]] || fail "two folders of one crate"

begin
echo only.cc >"$crates/librocksdb-sys-1.0.0+2/rocksdb_lib_sources.txt"
run && fell_back || fail "hardly any sources"

begin
run CXX="no-such-compiler -x" && fell_back || fail "no compiler"
run CXX="env c++" && grep -q LIB_DIR <(toml) || fail "a compiler with arguments"

begin
# Interrupted while units are under way: the compilers end too, and what they had finished is kept.
sed -i 's|^echo object.*|case "$out" in */[0-3].o.part) ;; *) [ -z "${SLOW:-}" ] \|\| { echo $$ >>"$COMPILED.pids"; exec sleep 1000; } ;; esac\n&|' "$tools/c++"
setsid env SLOW=1 COMPILED="$scratch/compiled" CARGO_HOME="$home" PATH="$tools:$PATH" \
    bash "$checkout/scripts/rocksdb.sh" 2>"$scratch/said" &
group=$!
for ((i = 0; i < 600; i++)); do
    # Four are done, and the next ones sleep.
    [[ -s $scratch/compiled.pids && $(find "$home" -name '*.o' | wc -l) -eq 4 ]] && break
    sleep 0.05
done
sleeping() { while read -r pid; do kill -0 "$pid" 2>/dev/null && echo "$pid"; done <"$scratch/compiled.pids" || true; }
[[ -n $(sleeping) ]] || fail "no compiler is under way"
kill -TERM -- "-$group"
wait "$group" 2>/dev/null || true
for ((i = 0; i < 200; i++)); do
    [[ -n $(sleeping) ]] || break
    sleep 0.05
done
[[ -z $(sleeping) ]] || fail "a compiler lives on"
[[ ! -e $checkout/.cargo/rocksdb.toml ]] || fail "half an archive is in use"
: >"$scratch/compiled"
run && [[ $(n_compiled) -eq 5 ]] && grep -q LIB_DIR <(toml) || fail "it did not go on where it was"
echo "rocksdb.sh ok"
