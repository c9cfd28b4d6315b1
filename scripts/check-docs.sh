#!/usr/bin/env bash
# Checks the documentation without building the book: every relative link leads to a file (and its #anchor to a
# heading), every page stands in SUMMARY.md, every `make` target that a page names exists, every direct dependency has its
# reason in docs/dependencies.md, every context of a hash stands in docs/src/wire.md, and every tag of a signature and every
# type with a limit in docs/src/layout.md, which a test makes from a list of types.
# It does not check links to other sites.
set -euo pipefail
cd "$(dirname "$0")/.."

errors=0
complain() {
    echo "$1" >&2
    errors=$((errors + 1))
}

# A page's text without code blocks and code spans, where brackets mean something else.
prose() { awk '/^ *```/ { code = !code; next } !code { gsub(/`[^`]*`/, ""); print }' "$1"; }

# The anchors that mdBook and GitHub give a page's headings.
anchors() {
    awk '/^ *```/ { code = !code; next } !code && /^#+ / { sub(/^#+ +/, ""); print }' "$1" |
        tr '[:upper:]' '[:lower:]' | sed -e 's/[^a-z0-9 _-]//g' -e 's/ /-/g'
}

mapfile -t pages < <({ ls ./*.md; find docs -name '*.md'; } | sed 's|^\./||' | sort -u)

n_links=0
for page in "${pages[@]}"; do
    while IFS= read -r link; do
        [[ $link =~ ^(https?|mailto): ]] && continue
        n_links=$((n_links + 1))
        file=${link%%#*}
        target=$page
        [[ -n $file ]] && target=$(dirname "$page")/$file
        if [[ ! -e $target ]]; then
            complain "$page: broken link: $link"
        elif [[ $link == *#* && $target == *.md ]] && ! anchors "$target" | grep -qxF -- "${link#*#}"; then
            complain "$page: no such heading: $link"
        fi
    done < <(prose "$page" | { grep -oE '\]\([^) ]+\)' || true; } | sed -e 's/^](//' -e 's/)$//')

    while IFS= read -r target; do
        grep -qE "^$target:" Makefile || complain "$page: make $target does not exist"
    done < <({ grep -oE '(`|^ *\$? *)make [a-z][a-z-]*' "$page" || true; } | awk '{ print $NF }' | sort -u)
done

if [[ -d docs/src ]]; then
    listed=$(prose docs/src/SUMMARY.md | grep -oE '\]\([^) ]+\)' | sed -e 's/^](//' -e 's/)$//')
    while IFS= read -r page; do
        grep -qxF -- "$page" <<<"$listed" || complain "docs/src/SUMMARY.md does not list $page"
    done < <(cd docs/src && find . -name '*.md' ! -name SUMMARY.md | sed 's|^\./||' | sort)
    twice=$(sort <<<"$listed" | uniq -d)
    [[ -z $twice ]] || complain "docs/src/SUMMARY.md lists twice: $twice"
fi

while IFS= read -r crate; do
    grep -qF -- "\`$crate\`" docs/dependencies.md || complain "docs/dependencies.md gives no reason for $crate"
done < <(awk '/^\[/ { inside = $0 == "[workspace.dependencies]"; next }
    inside && /^[a-z0-9_-]+ = / && !/^lucid-/ {
        name = $1
        if (match($0, /package = "[^"]+"/)) name = substr($0, RSTART + 11, RLENGTH - 12)
        print name
    }' Cargo.toml)

while IFS= read -r context; do
    grep -qF -- "\`$context\`" docs/src/wire.md || complain "docs/src/wire.md does not say what is hashed with the context $context"
done < <(grep -rhoE --exclude-dir=tests '"lucid [a-z ]+ [0-9]+"' consensus/src consensus/{types,score}/src | tr -d '"' | sort -u)

while IFS= read -r name; do
    grep -qF -- "\`$name\`" docs/src/layout.md || grep -qF -- "\`$name\`" docs/src/wire.md ||
        complain "docs/src/layout.md has no $name: add it to consensus/tests/it/layout.rs"
done < <({
    grep -rhoE --exclude-dir=tests '"lucid/[a-z-]+/[0-9]+"' consensus/src consensus/{types,score}/src | tr -d '"'
    grep -rhoE '^impl Wire for [A-Za-z]+' consensus/src consensus/{types,score}/src | awk '{ print $NF }'
} | sort -u)

((errors == 0)) || { echo "docs: $errors errors" >&2; exit 1; }
echo "docs ok: ${#pages[@]} pages, $n_links links"
