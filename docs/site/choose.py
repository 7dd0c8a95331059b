"""Which objective when: by question and purpose, what each objective gives as its reason."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from objectives import table, text
from repository import ROOT

import poz
from poz.objective import Objective
from poz.purposes import PURPOSES, Answer
from poz.worlds import report

GUIDE = Path(__file__).parent / "choose.md"
RESULTS = ROOT / "tests/worlds/results.json"
CAME = {
    "supported": "better than {}",
    "at a price": "as claimed, beside {}, but of less reward",
    "undecided": "neither better nor worse than {}, beyond chance",
    "FAILS": "worse than {}",
}
"""The verdicts of `poz.worlds.report`, about what an objective is compared with."""
QUESTIONS = {
    "What is special about the preferences?": "noisy-labels annotators disagreement groups goals ties "
    "preference-strength uneven-pairs weak-completions prompts intransitive",
    "What form do the data have?": "k-responses binary-feedback scalar-feedback unpaired-data token-credit online off-policy "
    "engine-mismatch images",
    "What must not happen?": "overfitting length-bias displacement over-rejection over-optimisation wrong-reference "
    "trust-region entropy-collapse diversity exploration",
    "What is there to spend?": "reference-free one-stage no-tuning no-critic",
}
"""The purposes by what somebody would ask; those that stand nowhere come last."""


def purposes(results: dict[str, Any] | None) -> str:
    """The questions, below each its purposes, below each of these a table of objectives with the reasons, as Markdown."""
    came = _came(results) if results else {}
    asked = {question: words.split() for question, words in QUESTIONS.items()}
    asked["What else is wanted?"] = [one for one in PURPOSES if not any(one in words for words in asked.values())]
    parts = ["## What are you after?"]
    for question, words in asked.items():
        parts.append(f"{question} " + ", ".join(f"[{purpose}](#{purpose})" for purpose in words))
    for question, words in asked.items():
        parts += [f"## {question}", *(_purpose(purpose, came) for purpose in words)]
    silent = [_link(one) for one in poz.zoo.values() if not one.answers]
    if silent:
        parts.append(
            f"## Of no declared purpose\n\nNothing that was read says what these are for: {', '.join(silent)}."
        )
    return "\n\n".join(parts)


def _came(results: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    """By objective and purpose what came of it, each outcome with the worlds that had it."""
    worlds: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for one in report.verdicts(results):
        said = CAME[one.verdict].format(report.baseline(one.objective))
        worlds[one.objective, one.purpose][said].append(f"[{one.world}](worlds.md#what-was-found)")
    return {
        about: [f"**World** {', '.join(where)}: {text(said)}" for said, where in outcomes.items()]
        for about, outcomes in worlds.items()
    }


def _purpose(purpose: str, came: dict[tuple[str, str], list[str]]) -> str:
    head = f"### {PURPOSES[purpose].rstrip('.')} {{#{purpose} data-toc-label='{purpose}'}}"
    by_reason: dict[str, list[str]] = {}  # what the fields prove is the same sentence for many
    for one in poz.zoo.values():
        for answer in (*one.answers, *(said for said in one.said if said.against)):
            if answer.to == purpose:
                reasons = [*_reasons(one, answer), *came.get((report.runs_as(one.name, answer), purpose), ())]
                by_reason.setdefault("<br>".join(reasons), []).append(_link(one))
    if not by_reason:
        return f"{head}\n\n`{purpose}`: no objective gives a reason for this."
    ask = f"`{purpose}`: `poz list --for {purpose}`, or [the gallery](gallery.md?for={purpose})."
    rows = ((", ".join(names), reason) for reason, names in by_reason.items())
    return f"{head}\n\n{ask}\n\n" + table(("objectives", "because of"), rows)


def _reasons(objective: Objective, answer: Answer) -> Iterator[str]:
    if answer.reads:
        yield f"**Fields**: {text(answer.reads)}"
    if answer.paper:
        yield f"**Paper** ({objective.paper}): {text(answer.paper)}"
    if answer.test:
        path, _, name = answer.test.partition("::")
        yield f"**Test**: [{name.removeprefix('test_').replace('_', ' ')}](../tests/{path})"
    if answer.under:
        yield f"**Under** {text(answer.under)}"
    if answer.against:
        yield "**Contradicted**, so that no filter has it"


def _link(objective: Objective) -> str:
    return f"[{text(objective.name)}](objectives/{objective.name}.md)"


def pages() -> dict[str, str]:
    """The guide, which is written by hand, and the reasons."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else None
    return {"choose.md": f"{GUIDE.read_text(encoding='utf-8')}\n{purposes(results)}\n"}
