"""Soft Adaptive Policy Optimization: a sigmoid in place of the clip."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import least
from poz.purposes import Answer


@objective(
    title="Soft Adaptive Policy Optimization",
    paper="arXiv:2511.20347",
    equation="eq. 5 and 6",
    formula=r"-\tfrac4\tau\sigma(\tau(r-1))A,\quad r=\tfrac{\pi}{\pi_{old}},\ A=\text{advantage},\ \tau=\tau_+\text{ where }A>0,\ \tau_-\text{ elsewhere}",
    published=[
        Published(
            "second hand: TRL 1.16 GRPOConfig on arXiv:2511.20347", {"tau_positive": (1.0,), "tau_negative": (1.05,)}
        ),
    ],
    answers=[
        Answer(
            "trust-region",
            paper="abstract: a smooth gate in place of hard clipping, so that few bad tokens do not silence a sequence",
        ),
    ],
    basis="Paper, second hand, and trainers' code, executed in float64 (verl-project/verl@1dda039, linkedin/Liger-Kernel@v0.8.5): tests/authors/sapo.json.",
    **steps.DECLARED,
)
@steps.member(aggregation="sequence_mean")
def sapo(
    at: steps.Steps,
    *,
    tau_positive: Annotated[float, Real("τ where A > 0", low=0, open="low", usual=(0.1, 3.0))] = 1.0,
    tau_negative: Annotated[float, Real("τ where A <= 0", low=0, open="low", usual=(0.1, 3.0))] = 1.05,
) -> Array:
    """The ratio through a sigmoid, steepest at 1 and sooner flat for what did badly."""
    xp, one = at.xp, at.xp.ones_like(at.log_ratio)
    tau = xp.where(at.advantages > 0, one * tau_positive, one * tau_negative)
    # beyond a logit of 800 the sigmoid is 1 in float64 and has no slope, whatever the ratio
    ratio = xp.expm1(least(xp, at.log_ratio, xp.log1p(800 / tau)))
    return at.surrogate(4 / tau * xp.sigmoid(tau * ratio))
