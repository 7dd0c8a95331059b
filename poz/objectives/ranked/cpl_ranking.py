"""Contrastive Preference Learning on ranked segments."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Ranked, TokenPairs
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.objectives import _lists as ranked
from poz.purposes import Answer


def _check_values(xp: Namespace, lists: Ranked, values: Values) -> None:
    if lists.logps.shape[-1] < 2:
        raise ValueError(f"`cpl_ranking` ranks at least 2 segments; got K = {lists.logps.shape[-1]}.")


@objective(
    title="Contrastive Preference Learning, ranking mode",
    paper="arXiv:2310.13639",
    equation="eq. 6 over all pairs of a ranking, as in the authors' code",
    formula=r"\tfrac{1}{|P|}\sum_{(i,j)\in P}\log\bigl(1+e^{\lambda A_j-A_i}\bigr),\quad P=\{(i,j):R_i>R_j\},\ A=\alpha\log\pi\ \text{or}\ \alpha\log\tfrac{\pi}{\pi_{ref}}",
    reads=lambda p: "logps scores" + " ref_logps" * (p["regularizer"] == "kl"),
    optional="mask",
    answers=[
        Answer(
            "off-policy",
            paper="abstract: segments of any policy's behaviour are learned from, without reinforcement learning",
        )
    ],
    published=[
        Published("jhejna/cpl@b333667 configs/mw_image_dense/cpl.yaml, mode: score", {"alpha": (0.1,), "bias": (0.5,)}),
        Published("the same, cpl_kl.yaml, mode: score", {"alpha": (0.2,), "bias": (0.75,), "regularizer": ("kl",)}),
        Published("the same, cpl_bc.yaml, mode: score, with a BC term of 1.5", {"alpha": (0.1,), "bias": (1.0,)}),
    ],
    check_values=_check_values,
    reduces_to=[
        Limit(
            "cpl",
            "K = 2, different scores: CPL of one-step segments",
            then=lambda p: p,
            batch=lambda lists: (
                Ranked(
                    logps=lists.logps[..., :2],
                    ref_logps=None if lists.ref_logps is None else lists.ref_logps[..., :2],
                    scores=np.broadcast_to([1.0, 0.0], (len(lists.logps), 2)),
                ),
                TokenPairs(*(x if x is None else x[..., k : k + 1] for x in lists[:2] for k in (0, 1))),
            ),
        ),
    ],
    deviations=[
        Deviation(
            "the authors' code",
            "divides by the number of pairs whose loss did not underflow to 0",
            "by the number of pairs",
        ),
        Deviation("the authors' code", "orders equal scores arbitrarily", "equal scores make no pair"),
        Deviation(
            "the authors' code", "ranks all segments of the batch in one list", "one list of K = batch, 64 there"
        ),
        Deviation("the authors' CPL(BC)", "adds the mean -log π of a step of all segments", "not offered"),
    ],
    basis="The authors' code, executed in float64 (jhejna/cpl@b333667): tests/authors/cpl_ranking.json. The rows have no underflow and no equal scores.",
)
def cpl_ranking(
    xp: Namespace,
    lists: Ranked,
    *,
    alpha: Annotated[float, Real("α, temperature of the max-entropy policy", low=0, open="low", unit="1/nat")] = 0.1,
    bias: Annotated[
        float,
        Real(
            "λ, discount of the worse segment; below 1 it is conservative", low=0, high=1, open="low", usual=(0.1, 1.0)
        ),
    ] = 0.5,
    regularizer: Annotated[str, Choice("'kl' replaces log π by log(π/π_ref)", ("none", "kl"))] = "none",
) -> Array:
    """Mean CPL loss over the pairs of a list with different scores; 0 for a list without such a pair."""
    score = alpha * (lists.logps if regularizer == "none" else lists.logps - lists.ref_logps)
    valid, zero = xp.ones_like(score) > 0 if lists.mask is None else lists.mask, xp.constant(0.0, score)
    better, score = ranked.better(xp, lists, valid, terms.masked(xp, score, lists.mask))
    gap = xp.where(better, bias * score[..., None, :] - score[..., :, None], zero)  # else inf - inf with oneself
    losses = xp.where(better, xp.softplus(gap), zero)
    return xp.sum(xp.sum(losses, -1), -1) / xp.maximum(xp.sum(xp.sum(xp.astype(better, score), -1), -1), 1.0)
