"""Judges what the client tests printed, and checks the tables of docs/src/devnet-reference.md against it.

    report.py [--write] DOCS RESULTS...

RESULTS are files with a line of JSON for each step: client, step, whether it is ok, the calls it looked at. The two tables in DOCS
lie between comments `<!-- steps -->`, `<!-- calls -->` and `<!-- end -->`, and must say exactly what was seen; --write makes
them say it if no step failed. Exit code 1 if a step failed, a file has no step, or the tables differ.
"""

import difflib
import json
import re
import sys
from pathlib import Path


def read(paths):
    return [json.loads(line) for path in paths for line in Path(path).read_text().splitlines()]


def table(head, rows):
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def steps(clients, results):
    """What was tried, one row a step: what the client showed."""
    names = list(dict.fromkeys(result["step"] for result in results))
    seen = {(r["client"], r["step"]): (r["saw"] or "ok") if r["ok"] else "FAILED" for r in results}
    rows = [[name, *(seen.get((client, name), "") for client in clients)] for name in names]
    return table(["step", *clients], rows)


def calls(clients, results):
    """One row a call: whether every step that looked at its answers went well."""
    verdicts = {}
    for result in results:
        for call in result["calls"]:
            verdict = "FAILED" if not result["ok"] else "asked" if call in result["asked"] else "ok"
            verdicts.setdefault((call, result["client"]), set()).add(verdict)

    def cell(call, client):
        of = verdicts.get((call, client), {""})
        return next(verdict for verdict in ("FAILED", "ok", "asked", "") if verdict in of)

    names = sorted({call for call, _ in verdicts}, key=lambda call: (call.split("/")[1], call))
    return table(["call", *clients], [[f"`{call}`", *(cell(call, client) for client in clients)] for call in names])


def with_tables(docs, tables):
    for name, text in tables.items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        docs, found = between.subn(lambda match, text=text: match[1] + text + "\n" + match[2], docs)
        if found != 1:
            sys.exit(f"the documentation has no table <!-- {name} -->")
    return docs


def main(arguments):
    write = "--write" in arguments
    path, *paths = [argument for argument in arguments if argument != "--write"]
    results = read(paths)
    for result in results:
        print(f"{'ok' if result['ok'] else 'FAILED':6} {result['client']}: {result['step']}  {result['saw']}".rstrip())
    clients = list(dict.fromkeys(result["client"] for result in results))
    # The others have steps only.
    callers = [client for client in clients if any(r["calls"] for r in results if r["client"] == client)]
    shown = [result for result in results if result["client"] in callers]
    failed = sum(not result["ok"] for result in results)
    passed = len(results) - failed
    for empty in (path for path in paths if not read([path])):
        print(f"FAILED {empty} has no step")
        failed += 1

    documented = Path(path).read_text()
    actual = with_tables(documented, {"steps": steps(callers, shown), "calls": calls(callers, shown)})
    if write and not failed:
        Path(path).write_text(actual)
    elif actual != documented:
        difference = difflib.unified_diff(documented.splitlines(), actual.splitlines(), path, "this run", n=0, lineterm="")
        print("\n".join(difference))
        print("FAILED the documented tables; `testnet/tron-devnet/clients/run.sh --write` brings them up to date")
        failed += 1
    else:
        print(f"ok     the tables of {Path(path).name} are what was seen")
        passed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main(sys.argv[1:]))
