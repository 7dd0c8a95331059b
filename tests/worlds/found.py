"""What the results of `poz worlds` say, as the second half of docs/worlds.md."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from poz import zoo
from poz.worlds import WORLDS, budget, digest, report
from poz.worlds.picture import TITLE

HERE = Path(__file__).resolve().parent
ALT = (
    "A heat map with a row for each objective, in groups by family, and a column for each world. The numbers are those of the "
    "tables below; a plus or a minus beside one says that it is better or worse than the baseline of the family."
)


def table(columns, rows):
    lines = [[str(cell).replace("|", "\\|") for cell in row] for row in [columns, *rows]]
    lines.insert(1, ["--"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def found(results):
    """The half page: tail.md with the numbers in it."""
    cells = report.cells(results)
    marks = {(name, world): report.mark(cell) for (name, world), cell in cells.items()}
    return (HERE / "tail.md").read_text(encoding="utf-8").format(
        count=len({name for name, _ in cells}),
        better={world: sum(m == "+" for (_, w), m in marks.items() if w == world) for world in WORLDS},
        worse={world: sum(m == "-" for (_, w), m in marks.items() if w == world) for world in WORLDS},
        named={world: better_than_dpo(cells, world) for world in WORLDS},
        share={f"{n} {w}": f"{cell.share.mean:.2f}" for (n, w), cell in cells.items()},
        kl={f"{n} {w}": f"{cell.kl.mean:.1f}" for (n, w), cell in cells.items()},
        raised={f"{n} {w}": f"{cell.raised.mean:.2f} ± {half(cell.raised):.2f}" for (n, w), cell in cells.items()},
        cycles=lowest(cells, "cycles"),
        rate=budget.RATE,
        ran=ran(results, cells),
        picture=f"{TITLE}. {ALT}",
        best=best(results, cells),
        claims=claims(results, cells),
        regret=every(cells, lambda c: f"{c.share.mean:.2f} ± {half(c.share):.2f} ({c.worst:.2f}){report.mark(c)}"),
        spent=every(cells, lambda c: f"{c.kl.mean:.1f}, {c.accuracy.mean:.2f}"),
        defaults=every(cells, lambda c: f"{c.defaults.mean:.2f}, {c.raised.mean:.2f}"),
    ).rstrip() + "\n"


def better_than_dpo(cells, world):
    """Those whose baseline is DPO, best first."""
    found = [(c.beyond.mean, n) for (n, w), c in cells.items() if w == world and report.mark(c) == "+"]
    return ", ".join(f"`{name}`" for _, name in sorted(found) if report.baseline(name) == "dpo") or "none"


def lowest(cells, world):
    """The three with the least regret, with their intervals."""
    found = sorted((c.share.mean, n, c) for (n, w), c in cells.items() if w == world)[:3]
    return ", ".join(f"`{name}` {share:.2f} ± {half(cell.share):.2f}" for share, name, cell in found)


def half(interval):
    return interval.high - interval.mean


def ran(results, cells):
    """What was run, and what has changed since."""
    failed = Counter({name: 0 for name, _ in cells})
    for (name, _), cell in cells.items():
        failed[name] += cell.failed
    runs = len(cells) * results["seeds"] * results["settings"]
    used = results["versions"]
    lines = [
        f"{len(failed)} objectives, {runs:,} policies, {results['processor_seconds'] // 60} minutes of processor time: seeds "
        f"{results['seed']} to {results['seed'] + results['seeds'] - 1}, poz {used['poz']}, JAX {used['jax']}, "
        f"NumPy {used['numpy']}, Python {used['python']}; digest of the code of the worlds {results['digest']}."
    ]
    bad = {name: count for name, count in failed.items() if count}
    if bad:
        lines.append("Runs that ended without finite weights: " + ", ".join(f"`{n}` {c}" for n, c in bad.items()) + ".")
    else:
        lines.append("Every run ended with finite weights.")
    changed = [n for n, was in results["digests"].items() if n not in zoo or digest.of_objective(zoo[n]) != was]
    if results["digest"] != digest.of_worlds():
        lines.append("**The code of the worlds has changed since; the numbers are those of the code before.**")
    if changed:
        lines.append(
            f"**Changed since, so that the numbers are those of before: {', '.join(f'`{n}`' for n in changed)}.**"
        )
    return " ".join(lines)


def best(results, cells):
    families = list(dict.fromkeys(zoo[name].family.__name__ for name, _ in cells))
    reference = {one["world"]: report.interval(one["regret"]) for one in results["reference"]}
    rows = []
    for world in WORLDS:
        row = [f"`{world}`", f"{reference[world].mean:.2f}"]
        for family in families:
            here = [
                (c.share.mean, n, c) for (n, w), c in cells.items() if w == world and zoo[n].family.__name__ == family
            ]
            if not here:
                row.append("·")
                continue
            _, name, cell = min(here, key=lambda x: x[0])
            row.append(f"`{name}` {cell.share.mean:.2f} ± {half(cell.share):.2f}")
        base = cells[("dpo", world)].share
        marks = Counter(report.mark(cell) for (_, w), cell in cells.items() if w == world)
        row[2:2] = [f"{base.mean:.2f} ± {half(base):.2f}"]
        rows.append([*row, f"{marks['+']}, {marks['-']}"])
    return table(["world", "reference's regret", "`dpo`", *families, "better, worse"], rows)


def claims(results, cells):
    verdicts = list(report.verdicts(results))
    counts = Counter(one.verdict for one in verdicts)
    order = ("supported", "at a price", "FAILS", "undecided")
    whole = {one["world"]: sum(one["regret"]) / len(one["regret"]) for one in results["reference"]}
    summary = ", ".join(f"{counts[name]} {name}" for name in order if counts[name])
    groups = defaultdict(list)
    for one in verdicts:
        groups[one.purpose, one.world].append(one)
    rows = []
    for (purpose, world), these in groups.items():
        for verdict in order:
            named = [one for one in these if one.verdict == verdict]
            if not named:
                continue
            shown = (
                _difference(one, whole[world]) + spent(one, cells)
                for one in sorted(named, key=lambda one: one.beyond.mean)
            )
            rows.append([purpose, f"`{world}`", verdict, "; ".join(shown)])
    return f"{summary}.\n\n" + table(["purpose", "world", "verdict", "objectives"], rows)


def _difference(one, whole):
    scale = 1.0 if one.measure == "raised" else whole
    mean, low, high = (x / scale for x in one.beyond)
    return f"`{one.objective}` {mean:+.2f} ({low:+.2f} to {high:+.2f})"


def spent(one, cells):
    """The KL of both, where a verdict was reached."""
    if one.verdict == "undecided":
        return ""
    own, base = (cells[name, one.world].kl.mean for name in (one.objective, report.baseline(one.objective)))
    return f", KL {own:.1f} beside {base:.1f}"


def every(cells, text):
    """A table of each family."""
    worlds = [world for world in WORLDS if any(w == world for _, w in cells)]
    parts = []
    for family in dict.fromkeys(zoo[name].family.__name__ for name, _ in cells):
        names = dict.fromkeys(name for name, _ in cells if zoo[name].family.__name__ == family)
        rows = [
            [f"`{n}`{star(n)}", *(text(cells[n, w]) if (n, w) in cells else "·" for w in worlds)]
            for n in names
        ]  # fmt: skip
        parts.append(table([family, *(f"`{w}`" for w in worlds)], rows))
    return "\n".join(parts)


def star(name):
    return "*" if zoo[name].reads & {"scores", "margin", "winrates"} else ""
