"""ConfPO: SimPO on the tokens of which the policy is least confident."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import TokenPairs
from poz.objective import Deviation, Published, objective
from poz.purposes import Answer


@objective(
    title="ConfPO, policy confidence selects the critical tokens",
    paper="arXiv:2506.08712",
    equation="the ConfPO loss",
    formula=r"-\log\sigma\bigl(\beta(m_w-m_l)-\gamma\bigr),\quad m=\tfrac{1}{|T|}\sum_{t\in T}\log\pi(y_t),\ T=\bigl\{t:\pi(y_t)<\tfrac{1}{|y|}\sum_s\pi(y_s)\bigr\}",
    reads="chosen rejected",
    optional="chosen_mask rejected_mask",
    published=[
        Published(
            "hee-suk-yoon/ConfPO@044b366, trl-main/commands/run_confpo.sh",
            {"beta": (1.5,), "gamma_beta_ratio": (1.6 / 1.5,)},
        )
    ],
    answers=[
        Answer(
            "token-credit", paper="abstract: the tokens that matter are those of which the policy is less confident"
        ),
        Answer("over-optimisation", paper="abstract: the budget of KL divergence is spent on them alone"),
    ],
    gradient_stops="T, which tokens are selected",
    deviations=[
        Deviation("the authors' code, bare log of the mean of e^x", "selects none where all underflow", "selects")
    ],
    basis="The authors' code, executed in float64 (hee-suk-yoon/ConfPO@044b366): tests/authors/confpo.json. Of the paper the abstract, read.",
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
    """SimPO on the tokens less likely than their side's mean probability; 0 where a side has none, as when all are equal or it is one token."""
    (chosen, some), (rejected, others) = (
        _selected(xp, *side) for side in ((pairs.chosen, pairs.chosen_mask), (pairs.rejected, pairs.rejected_mask))
    )
    margin = chosen - rejected
    idle = ((some == 0) | (others == 0)) & (margin == margin)  # what is unknown stays so
    return xp.where(idle, xp.constant(0.0, margin), -xp.log_sigmoid(beta * margin - beta * gamma_beta_ratio))


def _selected(xp: Namespace, logps: Array, mask: Array) -> tuple[Array, Array]:
    """The mean over the valid tokens below the mean probability of all valid ones, 0 for none; and how many they are."""
    logps, valid = terms.masked(xp, logps, mask), xp.ones_like(logps) > 0 if mask is None else mask
    if logps.shape[-1] == 0:
        return xp.sum(logps, -1), xp.sum(logps, -1)
    zero = xp.constant(0.0, logps)
    held = xp.where(valid, xp.stop_gradient(logps), xp.constant(-np.inf, logps))
    top = xp.amax(held, -1)[..., None]
    certain = abs(top) == np.inf  # nothing is valid, all are impossible, or one outweighs all others
    # π / π_top - 1, in which probabilities that round to 1 are still told apart
    share = xp.where(valid, xp.expm1(xp.where(certain, zero, held) - xp.where(certain, zero, top)), zero)
    mean = xp.sum(share, -1)[..., None] / xp.maximum(xp.sum(xp.astype(valid, logps), -1), 1.0)[..., None]
    # Written so that what is unknown is selected.
    picked = valid & xp.where(certain, held < top, ~(share >= mean))
    count = xp.sum(xp.astype(picked, logps), -1)
    return xp.sum(terms.masked(xp, logps, picked), -1) / xp.maximum(count, 1.0), count
