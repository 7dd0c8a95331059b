"""What trainers share: an objective's batch from the token log-probs of chosen and rejected completions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from poz.families import Pairs, Ranked, TokenPairs
from poz.objective import Objective
from poz.preferences import COLUMNS

CALIBRATION = ("chosen", "rejected", "both")
"""Which completions of the batch may serve as calibration samples."""


class Scored(NamedTuple):
    """A batch of pairs after the forward pass; chosen completions first, then the rejected ones in the same order.

    Attributes:
        logps: (2 * batch, tokens) log-probs of the policy in nats.
        mask: (2 * batch, tokens) true at completion tokens.
        lengths: (2 * batch,) tokens of each completion.
        ref_logps: (2 * batch, tokens) log-probs of the reference, or (2 * batch,) their sums, or None.
        columns: What the data set says about each pair, by column name: (batch,), or (batch, opponents).
    """

    logps: Tensor
    mask: Tensor
    lengths: Tensor
    ref_logps: Tensor | None = None
    columns: Mapping[str, Tensor] = {}


class Columns:
    """A collator that adds columns of the data set to what another collator makes."""

    def __init__(self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]], names: Sequence[str]) -> None:
        self.collator, self.names = collator, names

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """The other collator's batch, and a tensor for each column that the examples have."""
        made = self.collator(examples)
        for name in self.names:
            if name in examples[0]:
                made[name] = _tensor(name, [example[name] for example in examples])
        return made


def columns_read(objective: Objective) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that an objective must find in the data, and those that it uses where they are there."""
    if objective.family is Ranked:
        return (), ("margin",) if "scores" in objective.reads | objective.optional else ()
    per_annotator = getattr(objective.values.get("reliability"), "ndim", 0) > 0
    required = [name for name in COLUMNS[:3] if name in objective.reads or (name == "annotator" and per_annotator)]
    optional = [name for name in COLUMNS if name in objective.reads | objective.optional and name not in required]
    return tuple(required), tuple(optional)


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
                f"{', '.join(sorted(given))}. Add it, {_MEANING[name]}."
            )


def needs_reference(objective: Objective, columns: Sequence[str] = ()) -> bool:
    """Whether a reference pass is needed: the objective reads it, or reads opponents that `columns` do not hold."""
    opponents = "opponents_chosen" in objective.reads and "opponents_chosen" not in columns
    return opponents or not objective.reference_free


def batch(objective: Objective, scored: Scored, *, calibration: str = "chosen") -> Pairs | TokenPairs | Ranked:
    """The batch that `objective` is given.

    Where the data do not say otherwise, the one opponent is the reference, and the known reward gap of a ranked pair
    is 1.

    Raises:
        TypeError: The objective reads a family that pairs of completions do not make.
    """
    if objective.family is TokenPairs:
        return _token_pairs(scored)
    pairs = _pairs(scored)
    if objective.family is Ranked:
        gap = scored.columns.get("margin", torch.ones_like(pairs.chosen)).to(pairs.chosen)
        reference = None if pairs.ref_chosen is None else torch.stack((pairs.ref_chosen, pairs.ref_rejected), -1)
        return Ranked(
            logps=torch.stack((pairs.chosen, pairs.rejected), -1),
            ref_logps=reference,
            lengths=torch.stack((pairs.chosen_len, pairs.rejected_len), -1),
            scores=torch.stack((gap, torch.zeros_like(gap)), -1),
        )
    if objective.family is not Pairs:
        raise TypeError(
            f"`{objective.name}` reads poz.{objective.family.__name__}, which pairs of completions do not make."
        )
    sides = CALIBRATION[:2] if calibration == "both" else (calibration,)
    read = objective.reads | objective.optional
    filled: dict[str, Any] = {name: scored.columns[name] for name in COLUMNS[:3] if name in scored.columns}
    for side in CALIBRATION[:2]:
        name = f"opponents_{side}"
        if name in scored.columns:
            filled[name] = scored.columns[name].T
        elif name in read and scored.ref_logps is not None:
            filled[name] = getattr(pairs, f"ref_{side}")[None]
    if "calibration" in read:
        filled["calibration"] = torch.cat([getattr(pairs, side) for side in sides])
        filled["ref_calibration"] = torch.cat([getattr(pairs, f"ref_{side}") for side in sides])
    return pairs._replace(**filled)


def implicit_rewards(objective: Objective, scored: Scored) -> tuple[Tensor, Tensor]:
    """The rewards that the policy implies for the chosen and for the rejected completions, each (batch,).

    scale * (log-prob - reference's log-prob), where scale is the objective's beta, else its tau, else its alpha, else
    1; the reference is left out where the objective does not read it; log-probs are means per token where the
    objective reads lengths (SimPO: beta times the mean), else sums.
    """
    while "base" in objective.values:
        objective = objective.values["base"]
    pairs, reads = _pairs(scored), objective.reads
    values = {name: value for name, value in objective.values.items() if value is not None}
    if "eta" in values:
        values.setdefault("tau", values["eta"] / 3)  # INPO's None
    scale = next((values[name] for name in ("beta", "tau", "alpha") if name in values), 1.0)
    rewards = []
    for side in CALIBRATION[:2]:
        reward = getattr(pairs, side).detach()
        if reads & {f"ref_{side}", "ref_logps"}:
            reward = reward - getattr(pairs, f"ref_{side}")
        if reads & {f"{side}_len", "lengths"}:
            reward = reward / getattr(pairs, f"{side}_len").clamp(min=1)
        rewards.append(scale * reward)
    return rewards[0], rewards[1]


def _pairs(scored: Scored) -> Pairs:
    chosen, rejected = scored.logps.float().chunk(2)
    chosen_mask, rejected_mask = scored.mask.chunk(2)
    reference = (None, None) if scored.ref_logps is None else scored.ref_logps.float().chunk(2)
    pairs = Pairs.from_tokens(
        chosen,
        rejected,
        chosen_mask=chosen_mask,
        rejected_mask=rejected_mask,
        ref_chosen=reference[0],
        ref_rejected=reference[1],
    )
    chosen_len, rejected_len = scored.lengths.chunk(2)
    return pairs._replace(chosen_len=chosen_len, rejected_len=rejected_len)


def _token_pairs(scored: Scored) -> TokenPairs:
    chosen, rejected = scored.logps.float().chunk(2)
    chosen_mask, rejected_mask = scored.mask.chunk(2)
    ref_chosen = ref_rejected = None
    if scored.ref_logps is not None:
        ref_chosen, ref_rejected = scored.ref_logps.float().chunk(2)
    return TokenPairs(
        chosen,
        rejected,
        ref_chosen=ref_chosen,
        ref_rejected=ref_rejected,
        chosen_mask=chosen_mask,
        rejected_mask=rejected_mask,
        label=scored.columns.get("label"),
    )


def _tensor(name: str, values: list[Any]) -> torch.Tensor:
    try:
        tensor = torch.tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"The column {name!r} must hold numbers, or lists of numbers of one length; got {values!r}."
        ) from error
    return tensor.float() if tensor.is_floating_point() or name.startswith("opponents_") else tensor


_MEANING = {
    "label": "the probability that chosen is the better one",
    "margin": "the known reward of chosen minus that of rejected",
    "annotator": "an integer id from 0 for whoever labelled the pair",
    "opponents_chosen": "a list of the log-probs of chosen under each opponent",
    "opponents_rejected": "a list of the log-probs of rejected under each opponent",
}
