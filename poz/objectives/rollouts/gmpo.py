"""Geometric-Mean Policy Optimization: the geometric mean of the tokens' clipped ratios."""

from typing import Annotated

from poz import terms
from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import least
from poz.purposes import Answer


@objective(
    title="Geometric-Mean Policy Optimization",
    paper="arXiv:2507.20673",
    equation="eq. 4",
    formula=r"-A\exp\Bigl(\tfrac1{|y|}\sum_t c_t\Bigr),\quad c_t=\min(d_t,\varepsilon_h)\text{ where }A>0,\ \max(d_t,-\varepsilon_l)\text{ elsewhere},\ d=\log\tfrac{\pi}{\pi_{old}},\ A=\text{advantage}",
    published=[
        Published("callsys/GMPO@205b2bf", {"epsilon_low": (0.4,), "epsilon_high": (0.4,)}),
    ],
    answers=[
        Answer("trust-region", paper="abstract: a geometric mean is less sensitive to outliers among the ratios"),
    ],
    basis="The authors' code, executed in float64 (callsys/GMPO@205b2bf): tests/authors/gmpo.json, which has verl's and TRL's beside it.",
    **steps.DECLARED,
)
@steps.member(aggregation="sequence_mean", weighs=True)
def gmpo(
    at: steps.Steps,
    *,
    epsilon_low: Annotated[float, Real("ε below a log-ratio of 0, in nats", low=0)] = 0.4,
    epsilon_high: Annotated[float, Real("ε above a log-ratio of 0, in nats", low=0)] = 0.4,
) -> Array:
    """The advantage times the geometric mean of the ratios, each log-ratio clipped on the side that would gain."""
    xp, d, one = at.xp, at.log_ratio, at.xp.ones_like(at.log_ratio)
    above, low = least(xp, d, one * epsilon_high), -one * epsilon_low
    kept = xp.where(at.advantages > 0, above, xp.where(d < low, low, d))
    worth = at.mean(at.valid * at.advantages)
    return -terms.times(xp, worth, at.weighted(at.mean(xp.where(at.valid > 0, kept, 0 * one))))
