"""Which columns of a data set an objective reads, and whether it needs a reference; for trainers on pairs."""

from __future__ import annotations

from collections.abc import Sequence

from poz._nearest import misspelt
from poz.families import layout_of
from poz.layouts import COLUMNS
from poz.objective import Objective


def columns_read(objective: Objective) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that an objective must find in the data, and those that it uses where they are there."""
    layout = layout_of(objective.family)
    if layout.scores:
        given = [name for name, (_, content) in layout.shapes.items() if content not in ("logp", "feature")]
        return tuple(name for name in given if name in objective.reads), tuple(
            name for name in given if name in objective.optional
        )
    if layout.lists:
        read = objective.reads | objective.optional
        return (), ("margin",) * ("scores" in read) + ("label",) * ("winrates" in read)
    if not layout.paired:
        return tuple({"kl"} & objective.reads), tuple({"weights"} & objective.optional)
    per_annotator = getattr(objective.values.get("reliability"), "ndim", 0) > 0
    read = objective.reads | ({"annotator"} if per_annotator else set())
    required = [name for name in COLUMNS if name in read and not name.startswith("opponents_")]
    optional = [name for name in COLUMNS if name in read | objective.optional and name not in required]
    return tuple(required), tuple(optional)


def list_columns(objective: Objective) -> tuple[str, ...]:
    """The columns, with a number for each completion, that an objective on lists must find: `scores` or `winrates`."""
    shapes = layout_of(objective.family).shapes
    return tuple(
        name
        for name, (dims, content) in shapes.items()
        if (dims, content) == ("bk", "number") and name in objective.reads
    )


def check_columns(objective: Objective, columns: Sequence[str], where: str) -> None:
    """Says which column is missing.

    Raises:
        ValueError: `objective` must find a column that `where` does not have, or one of the two opponent columns.
    """
    required, optional = columns_read(objective)
    given = set(columns)
    opponents = {name for name in optional if name.startswith("opponents_")}
    if opponents & given:
        required = (*required, *sorted(opponents))
    for name in required:
        if name not in given:
            raise ValueError(
                f"`{objective.name}` reads the column {name!r}, which {where} does not have; it has "
                f"{', '.join(sorted(given)) or 'no columns'}. Add it, {_MEANING[name]}."
                + misspelt(name, given - {*required, *optional})
            )


def needs_reference(objective: Objective, columns: Sequence[str] = ()) -> bool:
    """Whether a reference pass is needed: the objective reads it, or reads others that `columns` do not hold."""
    opponents = "opponents_chosen" in objective.reads and "opponents_chosen" not in columns
    return opponents or "anchor_logps" in objective.reads or not objective.reference_free


def needs_collision(objective: Objective) -> bool:
    """Whether the policy's collision probabilities are needed."""
    return not objective.reads.isdisjoint(("chosen_collision", "rejected_collision"))


_MEANING = {
    "label": "the probability that chosen is the better one",
    "margin": "the known reward of chosen minus that of rejected",
    "tie": "true where annotators found no difference",
    "strength": "the score of chosen minus that of rejected, averaged over an ensemble of reward models",
    "chosen_factors": "a list of known qualities of chosen, the most important first",
    "rejected_factors": "a list of known qualities of rejected, the most important first",
    "annotator": "an integer id from 0 for whoever labelled the pair",
    "kl": "a known estimate of the KL divergence of the policy from the reference, in nats",
    "entropy": "the mean token entropy of the reference as a share of the log of the vocabulary size, in (0, 1]",
    "prompt_embedding": "a list of numbers from a sentence encoder, of one length for all pairs",
    "chosen_weights": "a list with the weight of each token of chosen, its end token included",
    "rejected_weights": "a list with the weight of each token of rejected, its end token included",
    "opponents_chosen": "a list of the log-probs of chosen under each opponent",
    "opponents_rejected": "a list of the log-probs of rejected under each opponent",
}
