"""Which objective when: by question and purpose, what each objective gives as its reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import poz
from poz.purposes import PURPOSES, Answer

QUESTIONS = {
    "What is special about the preferences?": "noisy-labels annotators disagreement groups goals ties "
    "preference-strength uneven-pairs prompts intransitive",
    "What form do the data have?": "k-responses binary-feedback scalar-feedback unpaired-data token-credit online off-policy "
    "engine-mismatch images",
    "What must not happen?": "overfitting length-bias displacement over-optimisation wrong-reference "
    "trust-region entropy-collapse diversity exploration",
    "What is there to spend?": "reference-free one-stage no-tuning no-critic",
}
"""The purposes by what somebody would ask; those that stand nowhere come last."""


def purposes() -> str:
    """The questions, below each its purposes, below each of these a table of objectives with the reasons, as Markdown."""
    asked = {question: words.split() for question, words in QUESTIONS.items()}
    asked["What else is wanted?"] = [one for one in PURPOSES if not any(one in words for words in asked.values())]
    parts = []
    for question, words in asked.items():
        parts += [f"## {question}", *(_purpose(purpose) for purpose in words)]
    return "\n\n".join(parts)


def _purpose(purpose: str) -> str:
    head = f"### {PURPOSES[purpose].rstrip('.')} {{#{purpose} data-toc-label='{purpose}'}}"
    by_reason: dict[str, list[str]] = {}  # what the fields prove is the same sentence for many
    for one in poz.zoo.values():
        for answer in one.answers:
            if answer.to == purpose:
                by_reason.setdefault("<br>".join(_reasons(answer)), []).append(
                    f"[`{one.name}`](objectives/{one.name}.md)"
                )
    if not by_reason:
        return f"{head}\n\n`{purpose}`: no objective gives a reason for this."
    ask = f"`{purpose}`: `poz list --for {purpose}`, or [the gallery](gallery.md?for={purpose})."
    rows = (f"| {', '.join(names)} | {reason} |" for reason, names in by_reason.items())
    return "\n".join((head, "", ask, "", "| objectives | because of |", "|---|---|", *rows))


def _reasons(answer: Answer) -> Iterator[str]:
    test = answer.test and f"`{answer.test}`"
    for kind, text in (("Paper", answer.paper), ("Test", test), ("World", answer.world), ("Fields", answer.reads)):
        if text:
            yield f"**{kind}**: {_cell(text)}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", r"\|").split())


def pages() -> dict[str, str]:
    """The guide, which is written by hand, and the reasons."""
    guide = (Path(__file__).parent / "choose.md").read_text(encoding="utf-8")
    return {"choose.md": f"{guide}\n{purposes()}\n"}
