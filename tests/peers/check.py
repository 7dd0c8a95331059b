"""Whether an audit finds what poz/peers/results.json says: python tests/peers/check.py build/audit/NAME.json

A sentence for each record that is another, that is new, or that is not there any more, of the libraries and versions of the
run; exit 1 where there is any. Errors of log-probs are those of a processor, and not compared.
"""

import json
import sys
from pathlib import Path
from typing import Any

from poz.peers import described
from poz.peers._audit import same

RESULTS = Path(__file__).resolve().parents[2] / "poz/peers/results.json"
NUMBERS = ("theirs", "right", "got")
COMPARED = ("verdict", "dtype", "but_for", "where", *NUMBERS)
Record = dict[str, Any]


def differences(found: list[Record], known: list[Record]) -> list[str]:
    """In sentences; of the known those of other libraries and versions are left out."""
    versions = {(one["library"], one["version"]) for one in found}
    before = {_key(one): one for one in known if (one["library"], one["version"]) in versions}
    now = {_key(one): one for one in found}
    said = [f"{_name(one)} is no record of results.json." for key, one in now.items() if key not in before]
    said += [
        f"{_name(one)} is a record of results.json, and was not run." for key, one in before.items() if key not in now
    ]
    for key in now.keys() & before.keys():
        one, other = now[key], before[key]
        if not all(
            name in one and name in other and same(one[name], other[name])
            for name in COMPARED
            if name in {*one, *other}
        ):
            said.append(f"{_name(one)} is {described(one)}; results.json says {described(other)}.")
    return sorted(said)


def _key(record: Record) -> tuple[str, ...]:
    return tuple(str(record.get(part, "")) for part in ("library", "version", "kind", "function", "key", "objective"))


def _name(record: Record) -> str:
    about = f" for {record['objective']}" if record.get("objective") else ""
    return f"{record['library']} {record['version']}, {record.get('function') or record['key']}{about},"


if __name__ == "__main__":
    run, results = (json.loads(Path(name).read_text(encoding="utf-8")) for name in (sys.argv[1], RESULTS))
    if any(run[key] != results[key] for key in ("cases", "seed")):
        sys.exit(f"{sys.argv[1]} has {run['cases']} cases of seed {run['seed']}, the results others.")
    found = differences(run["records"], results["records"])
    print(*found, sep="\n")
    print(f"{len(run['records'])} records, {len(found)} otherwise than results.json says")
    sys.exit(bool(found))
