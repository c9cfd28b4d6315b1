#!/usr/bin/env bash
# Prints the path of a Python that has the packages of requirements.txt, which it installs once into target/follow.
# Exit code 2 if the machine lacks something.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "$here/../.."
scratch="${CARGO_TARGET_DIR:-$PWD/target}/follow"
mkdir -p "$scratch"

give_up() {
    echo "python: $1" >&2
    exit 2
}

python3 -c 'import venv, ensurepip, tomllib' 2>/dev/null || give_up "python3 of at least 3.11 with its venv module is needed"
if ! cmp -s "$here/requirements.txt" "$scratch/.installed"; then
    echo "installing requirements.txt" >&2
    rm -rf "$scratch/venv" "$scratch/.installed"
    python3 -m venv "$scratch/venv"
    "$scratch/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt" >&2 ||
        give_up "the installation failed; it needs the registry of PyPI"
    cp "$here/requirements.txt" "$scratch/.installed"
fi
echo "$scratch/venv/bin/python"
