#!/usr/bin/env bash
# Compiles RocksDB once a machine, from the very sources that the locked crate ships, into cargo's home, and tells this
# checkout's cargo where the archive is (.cargo/rocksdb.toml, which .cargo/config.toml includes).
#
# The crate's own build compiles about 340 files one by one, and each parses the same headers: most of a first build.
# Here fifteen files go into one translation unit (a unity build), with the crate's own defines and flags: a quarter of
# the time. Where that does not work, the crate's own build is in force, with a note, in a build directory of its own, so
# that the two never take turns in one. scripts/check-rocksdb.sh tests this script.
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C

FILES_PER_UNIT=15
# What one compiler process may need at its peak.
UNIT_KIB=$((1000 * 1024))

include=.cargo/rocksdb.toml
read -ra cxx <<<"${CXX:-c++}"
flags=(
    -O2 -fPIC -ffunction-sections -fdata-sections -std=c++20 -include cstdint -w
    # The defines of librocksdb-sys' build.rs for Linux with the feature lz4.
    -DLZ4=1 -DNDEBUG=1 -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION -DOS_LINUX -DROCKSDB_PLATFORM_POSIX
    -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT -DROCKSDB_AUXV_GETAUXVAL_PRESENT
    -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT
)

say() { printf 'rocksdb: %s\n' "$*" >&2; }

write_include() {
    local wanted="# Written by \`make setup\` (scripts/rocksdb.sh).
$1"
    [[ $(cat "$include" 2>/dev/null) == "$wanted" ]] || printf '%s\n' "$wanted" >"$include"
}

use_archive() {
    write_include "[build]
build-dir = \"{cargo-cache-home}/lucid-build-archive\"

[env]
ROCKSDB_LIB_DIR = { value = \"$1\", force = true }
ROCKSDB_STATIC = { value = \"1\", force = true }"
}

# The crate's own build, once and for all until somebody removes what this says.
fall_back() {
    write_include "# $1
[env]
LUCID_ROCKSDB_OF_CRATE = \"1\""
    say "$1"
    say "so cargo compiles RocksDB with the crate's own build, which takes 20 to 30 minutes on two cores"
    exit 0
}

version_of() { awk -v name="$1" '$0 == "name = \"" name "\"" { getline; gsub(/version = |"/, ""); print }' Cargo.lock; }
rocksdb_version=$(version_of librocksdb-sys)
lz4_version=$(version_of lz4-sys)

# The folder of a crate's sources, if there is exactly one. Cargo downloads them if need be.
sources_of() {
    local found
    found=$(grep -oE "\"manifest_path\":\"[^\"]*/$1(-$(sed 's/[.+]/\\&/g' <<<"$2"))?/Cargo.toml\"" <<<"$metadata" | sort -u)
    [[ -n $found && $found != *$'\n'* ]] || return 1
    found=${found#\"manifest_path\":\"}
    printf '%s\n' "${found%/Cargo.toml\"}"
}

# ---- compiling, in a process of its own: `rocksdb.sh --compile WORK ROCKSDB LZ4` ------------------------------------------

compile() {
    local work=$1 rocksdb=$2 lz4=$3
    local includes=(-I"$rocksdb/rocksdb/include" -I"$rocksdb/rocksdb" -I"$rocksdb" -I"$lz4")
    local files n_files n_units unit
    mapfile -t files < <(
        grep -vxF util/build_version.cc "$rocksdb/rocksdb_lib_sources.txt" | sed "s|^ *|$rocksdb/rocksdb/|"
        echo "$rocksdb/build_version.cc"
    )
    n_files=${#files[@]}
    ((n_files > 100)) || { say "only $n_files sources are listed in $rocksdb"; return 1; }
    n_units=$(((n_files + FILES_PER_UNIT - 1) / FILES_PER_UNIT))
    for ((unit = 0; unit < n_units; unit++)); do
        printf '#include "%s"\n' "${files[@]:unit * FILES_PER_UNIT:FILES_PER_UNIT}" >"$work/$unit.cc"
    done

    local cores free_kib jobs
    cores=$(getconf _NPROCESSORS_ONLN)
    free_kib=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
    jobs=$((free_kib / UNIT_KIB))
    ((jobs > 0)) || jobs=1
    ((jobs < cores)) || jobs=$cores

    unit_of() {
        "${cxx[@]}" "${flags[@]}" "${includes[@]}" -c "$work/$1.cc" -o "$work/$1.o.part" 2>"$work/$1.log" &&
            mv "$work/$1.o.part" "$work/$1.o"
    }
    show_progress() {
        local seconds=$((SECONDS - started)) left= n=$((done_units * FILES_PER_UNIT))
        ((compiled == 0)) || left=", about $(((n_units - done_units) * seconds / compiled)) s left"
        say "$((n < n_files ? n : n_files)) of $n_files files, $seconds s$left"
    }
    # Waits for one unit more.
    reap() {
        if ! wait -n; then
            wait
            say "$(grep -hm 1 -E 'error|fatal' "$work"/*.log | head -n 1)"
            return 1
        fi
        running=$((running - 1)) compiled=$((compiled + 1)) done_units=$((done_units + 1))
        show_progress
    }

    say "compiling RocksDB $rocksdb_version once for this machine, into $work (a few minutes, $jobs at once)"
    local started=$SECONDS running=0 compiled=0 done_units=0
    # Each unit is a process group of its own, which ends with this process.
    set -m
    trap 'for group in $(jobs -p); do kill -- "-$group" 2>/dev/null || true; done; exit 130' INT TERM
    for ((unit = 0; unit < n_units; unit++)); do
        # Units that an interrupted run finished are kept.
        if [[ -s $work/$unit.o ]]; then
            done_units=$((done_units + 1))
            continue
        fi
        ((running < jobs)) || reap || return 1
        unit_of "$unit" 9>&- &
        running=$((running + 1))
    done
    while ((running > 0)); do reap || return 1; done

    local objects=()
    for ((unit = 0; unit < n_units; unit++)); do objects+=("$work/$unit.o"); done
    rm -f "$work/librocksdb.a"
    ar crsD "$work/librocksdb.a" "${objects[@]}" || return 1
    [[ $(ar t "$work/librocksdb.a" | wc -l) -eq $n_units ]] || { say "the archive is not whole"; return 1; }
    say "done in $((SECONDS - started)) s"
}

if [[ ${1:-} == --compile ]]; then
    compile "$2" "$3" "$4"
    exit
fi

# ---- finding it, or having it compiled --------------------------------------------------------------------------------------

[[ $(uname -s) == Linux ]] || fall_back "the shared archive is made on Linux only"
[[ -n $rocksdb_version && -n $lz4_version ]] || fall_back "Cargo.lock names no single librocksdb-sys and lz4-sys"
for tool in flock getconf ar "${cxx[0]}"; do
    command -v "$tool" >/dev/null || fall_back "$tool is missing"
done

# Crates, compiler and flags decide what the archive is; another of these makes another archive.
key=$rocksdb_version-$({
    grep -A 2 -E '^name = "(librocksdb-sys|lz4-sys)"' Cargo.lock
    "${cxx[@]}" --version
    "${cxx[@]}" -dumpmachine
    printf '%s\n' "$FILES_PER_UNIT" "${flags[@]}"
} | sha256sum | cut -c 1-12)
home=${CARGO_HOME:-$HOME/.cargo}/lucid-rocksdb
archive=$home/$key/librocksdb.a
failed=$home/$key.failed

if [[ -s $archive ]]; then
    use_archive "$home/$key"
    exit 0
fi
mkdir -p "$home" 2>/dev/null && [[ -w $home ]] || fall_back "$home cannot be written"

# Several checkouts may be set up at once; one compiles, the others wait for it.
exec 9>"$home/lock"
flock -n 9 || { say "another checkout compiles it; waiting"; flock 9; }
if [[ -s $archive ]]; then
    use_archive "$home/$key"
    exit 0
fi
[[ ! -e $failed ]] || fall_back "compiling failed before ($failed says why; remove it to try again)"

host=$(rustc -vV | sed -n 's/^host: //p')
metadata=$(cargo metadata --format-version 1 --locked --filter-platform "$host") || {
    say "cargo cannot get the sources of the dependencies (see above)"
    exit 1
}
rocksdb=$(sources_of librocksdb-sys "$rocksdb_version") || fall_back "the sources of librocksdb-sys are not in one place"
lz4=$(sources_of lz4-sys "$lz4_version")/liblz4/lib || fall_back "the sources of lz4-sys are not in one place"

work=$home/$key.unfinished
mkdir -p "$work"
code=0
bash "$0" --compile "$work" "$rocksdb" "$lz4" || code=$?
if ((code == 130 || code == 143)); then
    say "interrupted; run it again to go on"
    exit "$code"
elif ((code)); then
    { cat "$work"/*.log 2>/dev/null || true; } >"$failed"
    rm -rf "$work"
    fall_back "compiling failed ($failed says why; remove it to try again)"
fi
mkdir -p "$home/$key"
mv "$work/librocksdb.a" "$archive"
rm -rf "$work"
use_archive "$home/$key"
