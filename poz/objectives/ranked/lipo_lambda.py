"""LiPO-λ: pairs of a list, weighted by how much swapping them would change the ranking's gain."""

import math
from typing import Annotated

import numpy as np

from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Ranked
from poz.objective import Deviation, objective
from poz.objectives import _lists as ranked
from poz.purposes import Answer


@objective(
    title="LiPO-λ (LambdaRank DPO)",
    paper="arXiv:2402.01878",
    equation="eq. 8 (v3)",
    formula=r"\sum_{\psi_i>\psi_j}\bigl|2^{\psi_i}-2^{\psi_j}\bigr|\,\Bigl|\tfrac{1}{D(\rho_i)}-\tfrac{1}{D(\rho_j)}\Bigr|\log\bigl(1+e^{s_j-s_i}\bigr),\quad s=\beta\log\tfrac{\pi}{\pi_{ref}}",
    reads="logps ref_logps scores",
    optional="mask",
    answers=[
        Answer("preference-strength", test="objectives/test_list_laws.py::test_lipo_lambda_of_two_is_weighted_dpo"),
    ],
    gradient_stops="the weights, through the ranks of s",
    deviations=[
        Deviation(
            "zhaoyang02/ordinal-preference-optimization",
            "log2; gains over the ideal DCG; mean over the pairs left; weight as exponent of a clamped sigmoid",
            "discount='log2' gives the first; the rest rescales",
        ),
    ],
    basis="Paper (v3, section 3): gain, discount and the sum over the pairs; rax and a port, executed in float64 (google/rax@v0.4.0, zhaoyang02/ordinal-preference-optimization@6489a5d): tests/authors/lipo_lambda.json.",
)
def lipo_lambda(
    xp: Namespace,
    lists: Ranked,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    discount: Annotated[str, Choice("D(ρ) = log(1 + ρ), natural or to base 2", ("log1p", "log2"))] = "log1p",
) -> Array:
    """Weighted logistic loss over the pairs with different rewards; 0 for a list without such a pair.

    The weights jump where ranks change. Equal s rank by position; where they are equal but for rounding, as at policy =
    reference when the two were computed in different ways, the rounding ranks them, and the loss may nearly double.
    """
    ratio, valid = ranked.log_ratios(xp, lists)
    zero, both = xp.constant(0.0, ratio), valid[..., :, None] & valid[..., None, :]
    held = xp.stop_gradient(ratio)
    earlier = xp.constant(np.tril(np.ones((ratio.shape[-1],) * 2), -1), ratio) > 0
    ahead = (held[..., None, :] > held[..., :, None]) | ((held[..., None, :] == held[..., :, None]) & earlier)
    rank = 1 + xp.sum(xp.astype(ahead & both, ratio), -1)
    known = xp.where(valid, xp.astype(lists.scores, ratio), zero)
    better = both & ~(known[..., :, None] <= known[..., None, :])  # written so that what is unknown stays so
    # 2^a - 2^b and 1/log(1+i) - 1/log(1+j), with the small differences taken first
    more = xp.where(better, math.log(2) * (known[..., :, None] - known[..., None, :]), zero)
    gain = xp.exp(math.log(2) * known)[..., None, :] * xp.expm1(more)
    log, unit = xp.log1p(rank), 1.0 if discount == "log1p" else math.log(2)
    apart = xp.log1p((rank[..., None, :] - rank[..., :, None]) / (1 + rank[..., :, None]))
    weight = unit * gain * abs(apart) / (log[..., :, None] * log[..., None, :])
    losses = weight * xp.softplus(xp.where(better, ranked.lead(beta, ratio), zero))
    return xp.sum(xp.sum(xp.where(better, losses, zero), -1), -1)
