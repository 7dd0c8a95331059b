"""What the audits found, merged into poz/peers/results.json, and the pages that are written from it.

python tests/peers/page.py [build/audit/NAME.json ...]      merges these, and writes docs/peers.md and docs/reports
"""

import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from reports import named, reports

from poz import zoo
from poz._digest import sentences
from poz.peers import TOPICS, aged, declared, described, libraries, together

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS, PAGE = ROOT / "poz/peers/results.json", ROOT / "docs/peers.md"
KINDS = ("loss", "log-probs", "fact", "bug")
PACKAGES = ("python", "numpy", "torch", "jax")
REPOSITORY = "https://github.com"
Record = dict[str, Any]

HEAD = (HERE / "head.md").read_text(encoding="utf-8")


def merge(files: Sequence[Path], results: Record) -> Record:
    """The results with those of the files in the place of what was known of the same libraries and versions."""
    records, versions = results["records"], dict(results["versions"])
    for file in files:
        run = json.loads(file.read_text(encoding="utf-8"))
        if run["objective"]:
            sys.exit(
                f"{file} is about {run['objective']} alone, and would forget the others. Audit without --objective."
            )
        own = {(record["library"], record["version"]) for record in run["records"]}
        records = [one for one in records if not any(_replaced(one, *pair) for pair in own)]
        records += [{name: x for name, x in record.items() if name != "seconds"} for record in run["records"]]
        versions[file.stem] = {name: run["versions"][name] for name in PACKAGES}
        if results["records"] and any(results[key] != run[key] for key in ("cases", "seed")):
            sys.exit(
                f"{file} has {run['cases']} cases of seed {run['seed']}, the results others. Audit all of them alike."
            )
        results = {**results, "cases": run["cases"], "seed": run["seed"]}
    return {**results, "versions": dict(sorted(versions.items())), "records": sorted(records, key=_order)}


def stands(record: Record) -> bool:
    """Whether a row of poz/peers says what the record says: a row that was changed has to be run again."""
    rows = declared(libraries()[record["library"]]) if record["library"] in libraries() else []
    return any(row.items() <= record.items() for row in rows)


def _replaced(record: Record, library: str, version: str) -> bool:
    """The same version; of a checkout any commit."""
    return record["library"] == library and (record["version"] == version or record["version"][0] == version[0] == "@")


def _order(record: Record) -> tuple[Any, ...]:
    version = [int(part) if part.isdigit() else -1 for part in re.split(r"[.+]", record["version"])]
    name = record.get("function") or record["key"]
    return (
        record["library"].lower(),
        version,
        record["version"],
        KINDS.index(record["kind"]),
        name,
        record.get("objective", ""),
    )


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """In Markdown; "" where there are no rows."""
    lines = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in [columns, *rows]]
    lines.insert(1, ["--"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n" if len(lines) > 2 else ""


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def who(record: Record) -> str:
    return f"{record['library']} {record['version']}"


def page(results: Record) -> str:
    """docs/peers.md."""
    records = aged(results["records"])
    versions = ", ".join(
        f"{name} {' and '.join(sorted({run[name] for run in results['versions'].values()}))}" for name in PACKAGES
    )
    parts = [
        HEAD.replace("CASES", str(results["cases"])) + f"Run with {versions}.\n" + _states(records),
        "## Who was judged\n\n" + _headline(records) + _summary(records),
        "## Bugs\n\nEach has a report, with a call that shows it.\n\n" + _bugs(records),
        "## What libraries disagree about\n\n" + _topics(records),
        "## Objective by objective\n\n" + _objectives(records),
        "## Log-probs\n\n" + _log_probs(records),
        "## What else they do\n\n" + _facts(records),
        "## Not run\n\n" + _not_run(records),
    ]
    return "\n".join(parts)


def _states(records: list[Record]) -> str:
    """Which records may not be of the files as they are; of each library and version how many, where these are not all."""
    own = Counter(map(who, records))
    count = Counter((who(record), record["older"]) for record in records)
    states = ((name + f" ({n} of {own[name]})" * (n < own[name]), older) for (name, older), n in count.items())
    return "".join(f"\n{one}\n" for one in sentences(states, "its rows and the references"))


def _headline(records: list[Record]) -> str:
    """Of each function and bug the newest version."""
    newest = {
        (one["library"], one["kind"], one.get("function") or one["key"], one.get("objective")): one for one in records
    }
    last = {one["library"]: one["version"] for one in records}
    newest = {key: one for key, one in newest.items() if one["kind"] != "bug" or one["version"] == last[one["library"]]}
    count = Counter((one["kind"], one["verdict"]) for one in newest.values())
    equal, settings, differs = (count["loss", verdict] for verdict in ("equal", "equal under settings", "differs"))
    pairs = {(one["library"], one["objective"]) for one in newest.values() if one["kind"] == "loss"}
    as_said, total, owners = count["fact", "as said"], equal + settings + differs, {library for library, _ in pairs}
    return (
        f"{total} losses of {len(owners)} libraries, {len(pairs)} pairs of a library\n"
        f"and an objective: {equal} are equal, {settings} are under settings, {differs} differ.\n"
        f"{count['bug', 'stands']} bugs stand in the newest version that was run, {as_said} facts are as said.\n\n"
    )


def _summary(records: list[Record]) -> str:
    rows = []
    for name in dict.fromkeys(map(who, records)):
        own = [record for record in records if who(record) == name]
        count = Counter((record["kind"], record["verdict"]) for record in own)
        losses = [
            count["loss", verdict] for verdict in ("equal", "equal under settings", "differs", "cannot be called")
        ]
        facts = count["fact", "as said"] + count["fact", "otherwise"]
        counts = count["log-probs", "measured"], facts, count["bug", "stands"], count["bug", "mended"]
        rows.append([name, *losses, *counts])
    total = ["in all", *(sum(row[column] for row in rows) for column in range(1, 9))]
    verdicts = (
        "equal",
        "equal with settings",
        "differs",
        "cannot be called",
        "log-probs",
        "facts",
        "bugs standing",
        "mended",
    )
    return table(["library", *verdicts], [*rows, total] if rows else [])


def _bugs(records: list[Record]) -> str:
    rows = [
        [
            f"[{one['does'].rstrip('.')}](reports/{named(one['library'], one['key'])})",
            who(one),
            code(one.get("objective", "")),
            described(one),
        ]
        for one in together(record for record in records if record["kind"] == "bug")
    ]
    return table(["what", "library", "objective", "verdict"], rows)


def _topics(records: list[Record]) -> str:
    found, without = [], []
    for topic, title in TOPICS.items():
        sides = together(record for record in records if record.get("topic") == topic)
        rows = [[who(one), code(one.get("function", "")), _does(one) or _as(one), described(one)] for one in sides]
        if rows:
            found.append(f"### {title}\n\n" + table(["library", "function", "does", "verdict"], rows))
        else:
            without.append(f"* {title}")
    return "\n".join(found) + ("\nNo side was run of:\n\n" + "\n".join(without) + "\n" if without else "")


def _as(record: Record) -> str:
    return f"as {code(record['objective'])} by default" if record["verdict"] == "equal" else ""


def _does(record: Record) -> str:
    """What is done otherwise than by the objective, and what the adapter gives."""
    said = (
        record["does"] if record["verdict"] not in ("equal", "cannot be called") else _as(record) * bool(record["does"])
    )
    return "; ".join(filter(None, [said.rstrip("."), record.get("given") and f"given: {record['given']}"]))


def _objectives(records: list[Record]) -> str:
    losses = together(record for record in records if record["kind"] == "loss")
    losses.sort(key=lambda record: list(zoo).index(record["objective"]))
    rows = [[code(one["objective"]), who(one), code(one["function"]), _does(one), described(one)] for one in losses]
    return table(["objective", "library", "function", "does", "verdict"], rows)


def _log_probs(records: list[Record]) -> str:
    names = ("float32", "bfloat16", "bfloat16_sum", "softcap", "ignored", "empty", "nan")
    heads = (
        "float32",
        "bfloat16",
        "sum in bfloat16",
        "soft cap",
        "an ignored token",
        "all ignored",
        "NaN stays in ignored rows",
    )
    rows: dict[tuple[str, ...], str] = {}  # of several versions that measure the same one row
    for one in (one for one in records if one["kind"] == "log-probs" and one["verdict"] == "measured"):
        cells = [f"{x:.2g}" if isinstance(x, float) else str(x) for x in (one.get(name, "") for name in names)]
        key = one["library"], code(one["function"]), *cells
        rows[key] = ", ".join(filter(None, [rows.get(key), one["version"]]))
    said = (
        "Errors in nats beside float64 on the same, rounded, inputs: the root mean square over tokens, and that of the sum of\n"
        "all; then what a token gets whose target is ignored.\n\n"
    )
    return said + table(["library", "function", *heads], [[f"{key[0]} {rows[key]}", *key[1:]] for key in rows])


def _facts(records: list[Record]) -> str:
    own = together(one for one in records if one["kind"] == "fact" and not one["topic"])
    rows = [[who(one), code(one.get("objective", "")), one["does"].rstrip("."), described(one)] for one in own]
    return table(["library", "objective", "does", "verdict"], rows)


def _not_run(records: list[Record]) -> str:
    places = tomllib.loads((HERE / "checkouts.toml").read_text(encoding="utf-8"))
    there = {record["library"] for record in records}
    lines = []
    for name, library in libraries().items():
        if name not in there:
            where = (
                library.package or f"a checkout of {places[name]['repository']}" if name in places else library.package
            )
            lines.append(f"* {name}: not installed; `poz audit` would judge {where}.")
    left = tomllib.loads((HERE / "not_run.toml").read_text(encoding="utf-8"))
    lines += [f"* {name}: {why}" for name, why in left.items()]
    absent = together(record for record in records if record["verdict"] == "cannot be called")
    rows = [[who(one), code(one.get("function") or one["key"]), one.get("objective", ""), one["why"]] for one in absent]
    return "\n".join([*lines, *([""] if lines else []), table(["library", "function", "objective", "why"], rows)])


def write(results: Record) -> None:
    """All that is committed."""
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")
    folder = ROOT / "docs/reports"
    folder.mkdir(exist_ok=True)
    texts = reports(results)
    for file in folder.glob("*.md"):
        if file.name not in texts:
            file.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    empty = {"cases": 0, "seed": 0, "versions": {}, "records": []}
    before = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else empty
    found = merge([Path(name) for name in sys.argv[1:]], before)
    gone = [record for record in found["records"] if not stands(record)]
    for record in gone:
        print(
            f"Left out, for its row was changed: {who(record)}, {record.get('function') or record['key']}.",
            file=sys.stderr,
        )
    write(found | {"records": [record for record in found["records"] if record not in gone]})
