"""docs/worlds.md and its heat map, from the committed results of `poz worlds`.

python tests/worlds/page.py             writes both
"""

import json
from collections import defaultdict
from pathlib import Path

from found import found

from poz import zoo
from poz.worlds import WORLDS, budget, measure
from poz.worlds._world import HELD_OUT, SPREAD, TEST, TRAIN

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS, PAGE, PICTURE = HERE / "results.json", ROOT / "docs/worlds.md", ROOT / "docs/worlds.svg"
COMMAND = "poz worlds --seed 200 --json tests/worlds/results.json && python tests/worlds/page.py"


def ticked(names):
    return ", ".join(f"`{name}`" for name in names)


def protocol():
    """What was fixed before."""
    names = [one.name for one in budget.objectives() if budget.drawn(one)]
    most = max(names, key=lambda name: len(budget.drawn(zoo[name])))
    fewest = [one.name for one in budget.objectives() if not budget.drawn(one)]
    return (HERE / "head.md").read_text(encoding="utf-8").format(
        command=COMMAND,
        spread=SPREAD,
        train=TRAIN,
        held_out=HELD_OUT,
        test=TEST,
        seeds=budget.SEEDS,
        settings=budget.SETTINGS,
        parts=budget.SETTINGS - 1,
        steps=budget.STEPS,
        rate=budget.RATE,
        low=budget.RATES[0],
        high=budget.RATES[1],
        judgements=measure.JUDGEMENTS,
        parameters=f"Most are drawn of `{most}` ({', '.join(budget.drawn(zoo[most]))}), none of {ticked(fewest)}.",
        worlds="\n".join(f"| `{w.name}` | {w.says} | {', '.join(w.purposes)} |" for w in WORLDS.values()),
        left_out=left_out(),
    )  # fmt: skip


def left_out():
    """Every objective that does not run everywhere, under the reason."""
    found = defaultdict(lambda: defaultdict(list))
    for one in budget.objectives():
        where = {w.name: why for w in WORLDS.values() if (why := budget.reason(one, w))}
        for why in dict.fromkeys(where.values()):
            names = [w for w in where if where[w] == why]
            place = "everywhere" if len(names) == len(WORLDS) else ticked(names)
            if len(names) > len(WORLDS) / 2 and len(names) < len(WORLDS):
                place = "everywhere but in " + ", ".join(f"`{name}`" for name in WORLDS if name not in names)
            found[place][why].append(f"`{one.name}`")
    lines = []
    for place, reasons in found.items():
        said = "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items())
        lines.append(f"* {place}: {said}.")
    families = sorted({one.family.__name__ for one in zoo.values()} - {one.__name__ for one in budget.FAMILIES})
    lines.append(f"* {', '.join(families)} everywhere: no world has what they are given.")
    return "\n\n" + "\n".join(lines)


def page(results=None):
    """The whole page."""
    if results is None:
        return protocol() + "\n## What was found\n\nNothing was run yet.\n"
    return protocol() + "\n" + found(results)


def read():
    """The committed results; None where there are none."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else None


if __name__ == "__main__":
    given = read()
    PAGE.write_text(page(given), encoding="utf-8")
    if given is not None:
        from poz.worlds.picture import heat_map

        heat_map(given, PICTURE)
