#!/usr/bin/env bash
# Makes sure that the machine can build Lucid: a C++20 compiler (RocksDB), libclang (its bindings), cargo.
# Installs what apt can install when it may; otherwise prints the exact command and fails. Changes nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

rust_version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
missing=()

say() { printf 'setup: %s\n' "$*" >&2; }

# RocksDB is compiled as C++20, so the compiler's name alone says too little.
have_cxx20() {
    command -v c++ >/dev/null &&
        printf '#include <compare>\nint main() { return (1 <=> 2) < 0 ? 0 : 1; }\n' |
        c++ -std=c++20 -x c++ -fsyntax-only - 2>/dev/null
}

# bindgen loads libclang when it runs, and clang's own headers with it.
have_libclang() {
    [[ -n ${LIBCLANG_PATH:-} ]] && return 0
    local lib header
    for lib in /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*-linux-gnu/libclang*.so* /usr/lib64/libclang*.so* \
        /usr/lib64/llvm*/lib/libclang*.so* /usr/lib/libclang*.so* /usr/local/lib/libclang*.so* \
        /Library/Developer/CommandLineTools/usr/lib/libclang.dylib \
        /Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib/libclang.dylib \
        /opt/homebrew/opt/llvm/lib/libclang.dylib /usr/local/opt/llvm/lib/libclang.dylib; do
        [[ -e $lib ]] || continue
        for header in /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h \
            /usr/lib64/clang/*/include/stddef.h /usr/local/lib/clang/*/include/stddef.h "${lib%/*}"/clang/*/include/stddef.h; do
            [[ -e $header ]] && return 0
        done
    done
    return 1
}

command -v cc >/dev/null && have_cxx20 || missing+=(build-essential)
have_libclang || missing+=(libclang-dev)

if ((${#missing[@]})); then
    install="apt-get update && apt-get install -y --no-install-recommends ${missing[*]} ca-certificates"
    if ! command -v apt-get >/dev/null; then
        say "missing: ${missing[*]} (names of Debian's packages)"
        say "this machine has no apt. Install a C++20 compiler and libclang with its headers, for example:"
        case "$(uname -s)" in
            Darwin) say "  xcode-select --install" ;;
            *)
                say "  Fedora: sudo dnf install gcc gcc-c++ clang-devel"
                say "  Arch:   sudo pacman -S base-devel clang"
                say "  Alpine: sudo apk add build-base clang-dev linux-headers"
                ;;
        esac
        exit 1
    fi
    if [[ $(id -u) -eq 0 ]]; then
        say "installing ${missing[*]}"
        DEBIAN_FRONTEND=noninteractive bash -c "$install" >&2 || { say "that failed: $install"; exit 1; }
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
        say "installing ${missing[*]} with sudo"
        sudo env DEBIAN_FRONTEND=noninteractive bash -c "$install" >&2 || { say "that failed: $install"; exit 1; }
    else
        say "missing: ${missing[*]}. As root, run:"
        say "  $install"
        exit 1
    fi
    have_cxx20 || { say "the C++ compiler (c++ --version) does not know C++20; GCC 11, Clang 14 or newer is needed"; exit 1; }
    have_libclang || { say "libclang was installed but not found; set LIBCLANG_PATH to the folder that holds libclang.so"; exit 1; }
fi

if ! command -v cargo >/dev/null; then
    say "cargo is missing. Rust $rust_version or newer, from https://rustup.rs :"
    say "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default"
    say "then run make again."
    exit 1
fi

found=$(rustc --version | awk '{ print $2 }')
if [[ $(printf '%s\n%s\n' "$rust_version" "${found%%-*}" | sort -V | head -n 1) != "$rust_version" ]]; then
    say "rustc is $found, but $rust_version or newer is needed:"
    say "  rustup update stable"
    exit 1
fi

for tool in fmt clippy; do
    cargo "$tool" --version >/dev/null 2>&1 && continue
    component=$tool
    [[ $tool == fmt ]] && component=rustfmt
    if command -v rustup >/dev/null; then
        rustup component add "$component" >&2
    else
        say "note: cargo $tool is missing (make check needs it): rustup component add $component"
    fi
done
