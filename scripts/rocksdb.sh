#!/usr/bin/env bash
# Compiles RocksDB once a machine, from the very sources that the locked crate ships, into cargo's home, and tells this
# checkout's cargo where the archive is (.cargo/rocksdb.toml, which .cargo/config.toml includes).
#
# The crate's own build compiles about 340 files one by one, and each parses the same headers: most of a first build.
# Here fifteen files go into one translation unit (a unity build), with the crate's own defines and flags: a quarter of
# the time. Where that does not work, the crate's own build stays in force, in a build directory of its own, so that the
# two never take turns in one.
set -euo pipefail
cd "$(dirname "$0")/.."

FILES_PER_UNIT=15
# What one compiler process may need at its peak.
UNIT_KIB=$((1000 * 1024))

include=.cargo/rocksdb.toml
cxx=${CXX:-c++}
flags=(
    -O2 -fPIC -ffunction-sections -fdata-sections -std=c++20 -include cstdint -w
    # The defines of librocksdb-sys' build.rs for Linux with the feature lz4.
    -DLZ4=1 -DNDEBUG=1 -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION -DOS_LINUX -DROCKSDB_PLATFORM_POSIX
    -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT -DROCKSDB_AUXV_GETAUXVAL_PRESENT
    -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT
)

say() { printf 'rocksdb: %s\n' "$*" >&2; }

fall_back() {
    rm -f "$include"
    say "$1"
    say "so cargo compiles RocksDB with the crate's own build, which takes 20 to 30 minutes on two cores"
    exit 0
}

[[ $(uname -s) == Linux ]] || fall_back "the shared archive is made on Linux only"

# Crates, compiler, flags and this script decide what the archive is; another of these makes another archive.
key=$({
    awk '/^name = "(librocksdb-sys|lz4-sys)"/ { print; getline; print; getline; getline; print }' Cargo.lock
    "$cxx" --version
    "$cxx" -dumpmachine
    printf '%s\n' "$FILES_PER_UNIT" "${flags[@]}"
} | sha256sum | cut -c 1-16)
home=${CARGO_HOME:-$HOME/.cargo}/lucid-rocksdb
archive=$home/$key/librocksdb.a

use_archive() {
    local wanted
    wanted=$(
        cat <<TOML
# Written by \`make setup\` (scripts/rocksdb.sh); delete it to go back to the crate's own build of RocksDB.
[build]
build-dir = "{cargo-cache-home}/lucid-build"

[env]
ROCKSDB_LIB_DIR = { value = "$home/$key", force = true }
ROCKSDB_STATIC = { value = "1", force = true }
TOML
    )
    [[ $(cat "$include" 2>/dev/null) == "$wanted" ]] || printf '%s\n' "$wanted" >"$include"
}

if [[ -s $archive ]]; then
    use_archive
    exit 0
fi

mkdir -p "$home"
# Several checkouts may be set up at once; one compiles, the others wait for it.
exec 9>"$home/lock"
flock 9
if [[ -s $archive ]]; then
    use_archive
    exit 0
fi

# The folder of a crate's sources, which cargo downloads if need be.
host=$(rustc -vV | sed -n "s/^host: //p")
metadata=$(cargo metadata --format-version 1 --locked --filter-platform "$host") || fall_back "cargo cannot get the sources"
sources_of() { grep -oE "\"manifest_path\":\"[^\"]*/$1-[0-9][^\"]*/Cargo.toml\"" <<<"$metadata" | cut -d '"' -f 4 | xargs dirname; }
rocksdb=$(sources_of librocksdb-sys)
lz4=$(sources_of lz4-sys)/liblz4
[[ -d $lz4/lib ]] && lz4=$lz4/lib
includes=(-I"$rocksdb/rocksdb/include" -I"$rocksdb/rocksdb" -I"$rocksdb" -I"$lz4")

# Units that an interrupted run finished are kept.
work=$home/$key.unfinished
mkdir -p "$work"
mapfile -t files < <({
    grep -vxF util/build_version.cc "$rocksdb/rocksdb_lib_sources.txt" | sed "s|^ *|$rocksdb/rocksdb/|"
    echo "$rocksdb/build_version.cc"
})
n_files=${#files[@]}
n_units=$(((n_files + FILES_PER_UNIT - 1) / FILES_PER_UNIT))
for ((unit = 0; unit < n_units; unit++)); do
    printf '#include "%s"\n' "${files[@]:unit * FILES_PER_UNIT:FILES_PER_UNIT}" >"$work/$unit.cc"
done

free_kib=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
jobs=$((free_kib / UNIT_KIB))
((jobs > 0)) || jobs=1
((jobs < $(nproc))) || jobs=$(nproc)

compile() {
    "$cxx" "${flags[@]}" "${includes[@]}" -c "$work/$1.cc" -o "$work/$1.o.part" 2>"$work/$1.log" &&
        mv "$work/$1.o.part" "$work/$1.o"
}

show_progress() {
    local seconds=$((SECONDS - started)) left=
    ((compiled == 0)) || left=", about $(((n_units - done_units) * seconds / compiled)) s left"
    local n=$((done_units * FILES_PER_UNIT))
    say "$((n < n_files ? n : n_files)) of $n_files files, $seconds s$left"
}

say "compiling RocksDB once for this machine, into $home (a few minutes, $jobs at once)"
started=$SECONDS
running=0 compiled=0 done_units=0
# One finished unit more, or the end of the run.
reap() {
    wait -n || {
        wait
        fall_back "compiling failed: $(grep -hm 3 -E 'error|fatal' "$work"/*.log | head -n 3); all of it is in $work/*.log"
    }
    running=$((running - 1)) compiled=$((compiled + 1)) done_units=$((done_units + 1))
    show_progress
}
trap 'kill $(jobs -p) 2>/dev/null; say "interrupted; run it again to go on"; exit 130' INT TERM
for ((unit = 0; unit < n_units; unit++)); do
    if [[ -s $work/$unit.o ]]; then
        done_units=$((done_units + 1))
        continue
    fi
    ((running < jobs)) || reap
    compile "$unit" &
    running=$((running + 1))
done
while ((running > 0)); do reap; done

rm -f "$work"/librocksdb.a
ar crsD "$work/librocksdb.a" $(seq -f "$work/%g.o" 0 $((n_units - 1)))
mkdir -p "$home/$key"
mv "$work/librocksdb.a" "$archive"
rm -rf "$work"
use_archive
say "done in $((SECONDS - started)) s: $archive"
