"""ConfPO: SimPO on the tokens of which the policy is least confident."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import TokenPairs
from poz.objective import Published, objective


@objective(
    title="ConfPO, policy confidence selects the critical tokens",
    paper="arXiv:2506.08712",
    equation="the ConfPO loss",
    formula=r"-\log\sigma\bigl(\beta(m_w-m_l)-\gamma\bigr),\quad m=\tfrac{1}{|T|}\sum_{t\in T}\log\pi(y_t),\ T=\bigl\{t:\log\pi(y_t)<\tfrac{1}{|y|}\log\pi(y)\bigr\}",
    reads="chosen rejected",
    optional="chosen_mask rejected_mask",
    published=[Published("", {"beta": (2.0,), "gamma_beta_ratio": (0.25,)})],
    gradient_stops="T, which tokens are selected",
    basis="The authors' code, read.",
)
def confpo(
    xp: Namespace,
    pairs: TokenPairs,
    *,
    beta: Annotated[
        float, Real("β, scale of the per-token reward", low=0, open="low", unit="1/nat", usual=(0.5, 10.0))
    ] = 2.0,
    gamma_beta_ratio: Annotated[float, Real("γ/β, target margin", low=0, unit="nat", usual=(0.0, 1.0))] = 0.25,
) -> Array:
    """SimPO on means over the tokens below their side's mean; 0 where a side has none, as if all are equal."""
    (chosen, some), (rejected, others) = (
        _selected(xp, *side) for side in ((pairs.chosen, pairs.chosen_mask), (pairs.rejected, pairs.rejected_mask))
    )
    margin = chosen - rejected
    idle = ((some == 0) | (others == 0)) & (margin == margin)  # what is unknown stays so
    return xp.where(idle, xp.constant(0.0, margin), -xp.log_sigmoid(beta * margin - beta * gamma_beta_ratio))


def _selected(xp: Namespace, logps: Array, mask: Array) -> tuple[Array, Array]:
    """The mean over the valid tokens below the mean of all valid ones, 0 for none; and how many they are."""
    logps, valid = terms.masked(xp, logps, mask), xp.ones_like(logps) > 0 if mask is None else mask
    held, one, zero = xp.stop_gradient(logps), xp.astype(valid, logps), xp.constant(0.0, logps)

    def number(where: Array) -> Array:
        return xp.sum(xp.astype(valid & where, logps), -1)

    first = xp.sum(xp.where(xp.cumsum(one, -1) * one == 1, held, zero), -1)
    mean = xp.sum(held, -1) / xp.maximum(xp.sum(one, -1), 1.0)
    # Written so that what is unknown is selected. Of finite and impossible tokens those that are impossible are below.
    impossible = number(held == -np.inf) > 0
    below = xp.where(impossible[..., None], ~(held > -np.inf), ~(held >= mean[..., None]))
    differs = number(~(held == first[..., None])) > 0  # the rounding of the mean of equal tokens selects none
    picked = valid & below & differs[..., None]
    count = number(picked)
    return xp.sum(terms.masked(xp, logps, picked), -1) / xp.maximum(count, 1.0), count
