"""The pairs of `poz demo` as an objective reads them."""

from __future__ import annotations

from poz.columns import columns_read
from poz.objective import Objective
from poz.preferences import COLUMNS, Pair

ASSUMED = {"margin": 1.0, "entropy": 0.5}
"""What every pair has in a column that the objective reads and the data lack."""


def completed(pairs: list[Pair], objective: Objective) -> tuple[list[Pair], list[str]]:
    """The pairs with every column of `ASSUMED` that the objective must find, and which of them they lacked."""
    lacking = [name for name in columns_read(objective)[0] if name in ASSUMED and name not in pairs[0]]
    return [{**pair, **{name: ASSUMED[name] for name in lacking}} for pair in pairs], lacking


def read_alone(pairs: list[Pair], objective: Objective) -> tuple[list[Pair], list[str]]:
    """The pairs without columns that the objective does not read, and sentences that say what it does with the others."""
    read = {"prompt", "chosen", "rejected"}.union(*columns_read(objective))
    there = [name for name in COLUMNS if name in pairs[0]]
    used, left = [name for name in there if name in read], [name for name in there if name not in read]
    said = [f"{objective.name} reads {', '.join(used)} of the pairs"] if used else []
    said += [f"{objective.name} does not read {', '.join(left)}: left out"] if left else []
    return [{name: pair[name] for name in pair if name in read} for pair in pairs], said


def of_known(held_out: list[Pair], train: list[Pair]) -> tuple[list[Pair], list[Pair], list[str]]:
    """Held-out pairs of annotators that are trained on, the others moved to training, and a sentence that says so."""
    known = {pair["annotator"] for pair in train}
    strangers = [pair for pair in held_out if pair["annotator"] not in known]
    if len(strangers) == len(held_out):
        raise ValueError(
            "No annotator of a held-out pair labelled a pair to train on, so nothing would be known of their reliability. "
            "Give pairs of annotators who labelled many, or leave out the column 'annotator'."
        )
    said = f"{len(strangers)} held-out pairs, by annotators of no other pair, are moved to training"
    return (
        [pair for pair in held_out if pair["annotator"] in known],
        train + strangers,
        [said] if strangers else [],
    )
