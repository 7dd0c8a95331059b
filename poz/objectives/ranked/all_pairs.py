"""DPO, or its hinge, over all pairs of a list with known rewards."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs, Ranked
from poz.objective import Limit, Values, objective
from poz.objectives import _lists as ranked


def _pairs(lists: Ranked) -> tuple[Ranked, Pairs]:
    logps, reference = lists.logps[..., :2], lists.ref_logps[..., :2]
    two = Ranked(logps, reference, scores=np.broadcast_to([1.0, 0.0], logps.shape))
    return two, Pairs(logps[..., 0], logps[..., 1], reference[..., 0], reference[..., 1])


def _beta(p: Values) -> Values:
    return {"beta": p["beta"]}


@objective(
    title="All-pairs DPO (LiPO with a pairwise loss)",
    paper="arXiv:2402.01878",
    equation="eq. 5 (pair-logistic) and eq. 6 (pair-hinge), v3, there a sum over the pairs",
    formula=r"\tfrac{1}{|P|}\sum_{(i,j)\in P}\ell(s_i-s_j),\quad P=\{(i,j):\psi_i>\psi_j\},\ s=\beta\log\tfrac{\pi}{\pi_{ref}}",
    reads="logps ref_logps scores",
    optional="mask",
    aliases=("lipo_pairwise",),
    reduces_to=[
        Limit("dpo", "K = 2, different rewards", lambda p: {**p, "link": "logistic"}, _beta, _pairs),
        Limit("hinge", "K = 2, different rewards", lambda p: {**p, "link": "hinge"}, _beta, _pairs),
    ],
    basis="Paper (v3, section 2.4), but for the mean over the pairs; a port of both, executed in float64 (zhaoyang02/ordinal-preference-optimization@6489a5d): tests/authors/all_pairs.json.",
)
def all_pairs(
    xp: Namespace,
    lists: Ranked,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    link: Annotated[str, Choice("logistic loss, or hinge max(0, 1 - z)", ("logistic", "hinge"))] = "logistic",
) -> Array:
    """Mean loss over the pairs of a list with different rewards; 0 for a list without such a pair."""
    ratio, valid = ranked.log_ratios(xp, lists)
    zero = xp.constant(0.0, ratio)
    better, ratio = ranked.better(xp, lists, valid, ratio)
    gap = xp.where(better, -ranked.lead(beta, ratio), zero)
    losses = xp.where(better, terms.linked(xp, gap, link), zero)
    return xp.sum(xp.sum(losses, -1), -1) / xp.maximum(xp.sum(xp.sum(xp.astype(better, ratio), -1), -1), 1.0)
