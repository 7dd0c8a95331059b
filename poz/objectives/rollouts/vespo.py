"""Variational sEquence-level Soft Policy Optimization: the completion's ratio, softly weighted."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.purposes import Answer


@objective(
    title="Variational Sequence-level Soft Policy Optimization",
    paper="arXiv:2602.10693",
    equation="second hand",
    formula=r"-\operatorname{sg}[\varphi(w)]A\log\pi,\quad \varphi(w)=w^k e^{\lambda(1-w)},\ w=\prod_t\tfrac{\pi}{\pi_{old}},\ A=\text{advantage}",
    published=[
        Published(
            "FloyedShen/VESPO@aa1f304, TRL 1.16 GRPOConfig",
            {"k_positive": (2.0,), "lambda_positive": (3.0,), "k_negative": (3.0,), "lambda_negative": (2.0,)},
        ),
    ],
    answers=[
        Answer(
            "off-policy",
            paper="the authors' README: stable at up to 64 fold staleness and with asynchronous sampling, by weights of whole sequences",
        ),
    ],
    basis="The authors' code, executed in float64 (FloyedShen/VESPO@aa1f304): tests/authors/vespo.json, which has TRL's beside it.",
    **steps.DECLARED,
)
@steps.member(aggregation="token_mean", weighs=True)
def vespo(
    at: steps.Steps,
    *,
    k_positive: Annotated[float, Real("k where A >= 0, the power of w", low=0)] = 2.0,
    lambda_positive: Annotated[float, Real("λ where A >= 0, how soon a large w counts less", low=0)] = 3.0,
    k_negative: Annotated[float, Real("k where A < 0", low=0)] = 3.0,
    lambda_negative: Annotated[float, Real("λ where A < 0", low=0)] = 2.0,
) -> Array:
    """REINFORCE with a weight of the completion that is 1 on-policy and fades on both sides."""
    xp, one = at.xp, at.xp.ones_like(at.log_ratio)
    good = at.advantages >= 0
    k = xp.where(good, one * k_positive, one * k_negative)
    rate = xp.where(good, one * lambda_positive, one * lambda_negative)
    if at.log_weights.shape == at.log_ratio.shape:  # else the completion has one
        log_w = xp.sum(at.log_ratio + xp.where(at.valid > 0, at.log_weights, 0 * one), -1)[..., None]
    else:
        log_w = xp.sum(at.log_ratio, -1)[..., None] + at.log_weights
    fades = terms.times(xp, rate, terms.exponential(xp, log_w))
    grows = terms.times(xp, k, xp.where(fades == np.inf, 0 * one, log_w))  # fades is the exponential of it, which wins
    phi = terms.exponential(xp, rate + grows - fades)
    return at.surrogate(terms.times(xp, xp.stop_gradient(phi), at.logps))
