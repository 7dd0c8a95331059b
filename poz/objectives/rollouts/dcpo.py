"""DCPO: PPO's clip, wider the less likely a token was."""

from typing import Annotated

from poz import terms
from poz.backends import Array
from poz.domains import Real
from poz.objective import Deviation, Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import clipped, least
from poz.purposes import Answer


@objective(
    title="Dynamic Clipping Policy Optimization",
    paper="arXiv:2509.02333",
    equation="eq. 4 and 8 of v2",
    formula=r"-\min\bigl(rA,\operatorname{clip}(r,r_l,r_h)A\bigr),\quad r_l=\tfrac12+\tfrac12\sqrt{\max(1-\tfrac{4\varepsilon_l}{\pi_{old}},0)},\ r_h=\min\bigl(\tfrac12+\tfrac12\sqrt{1+\tfrac{4\varepsilon_h}{\pi_{old}}},c\bigr),\ r=\tfrac{\pi}{\pi_{old}}\le c\text{ where }A<0,\ A=\text{advantage}",
    published=[
        Published(
            "arXiv:2509.02333v2 appendix A.9, and lime-RL/DCPO@01787b0 README.md",
            {"epsilon_low": (0.16,), "epsilon_high": (0.2,), "ratio_cap": (10.0,)},
        ),
        Published(
            "lime-RL/DCPO@01787b0 recipe/dcpo/run_dcpo.sh",
            {"epsilon_low": (0.2,), "epsilon_high": (0.28,), "ratio_cap": (10.0,)},
        ),
    ],
    answers=[
        Answer(
            "trust-region",
            paper="section 2: the variance of a ratio grows as its token was less likely, so bounds depend on that probability",
        ),
        Answer("exploration", paper="abstract: so that unlikely tokens are explored"),
    ],
    deviations=[
        Deviation(
            "lime-RL/DCPO@01787b0 recipe/dcpo/run_dcpo.sh",
            "runs with ε of 0.2 and 0.28, which in the paper are DAPO's",
            "epsilon_low=0.2, epsilon_high=0.28",
        ),
        Deviation("lime-RL/DCPO@01787b0", "lets r_h rise to 10 also where c is below", "c for both"),
        Deviation("lime-RL/DCPO@01787b0", "has r_l = 1 where the old probability is 0", "1/2, as near 0"),
        Deviation(
            "lime-RL/DCPO@01787b0 `only-token-mean`",
            "averages over the tokens of the micro-batch, which is one completion as they describe it",
            "aggregation='token_mean'",
        ),
    ],
    basis="The paper (v2, eq. 4 and 8) and the authors' code, executed in float64 (lime-RL/DCPO@01787b0): tests/authors/dcpo.json. The paper's advantages (eq. 5 to 7), smoothed over the steps of a prompt, are not here.",
    **steps.DECLARED,
)
@steps.member(aggregation="sequence_mean", weighs=True)
def dcpo(
    at: steps.Steps,
    *,
    epsilon_low: Annotated[float, Real("ε below", low=0, usual=(0.0, 1.0))] = 0.16,
    epsilon_high: Annotated[float, Real("ε above", low=0, usual=(0.0, 2.0))] = 0.2,
    ratio_cap: Annotated[float, Real("c, the ratio counts as at most that", low=1, usual=(1.0, 20.0))] = 10.0,
) -> Array:
    """PPO's surrogate in a band that the old probability of each token sets."""
    xp = at.xp
    unlikely = 4 * xp.exp(least(xp, -at.old, xp.constant(80.0, at.old)))  # e^80 makes it [1/2, c], whatever ε
    low = (1 + xp.maximum(1 - terms.times(xp, epsilon_low, unlikely), 0.0) ** 0.5) / 2
    high = (1 + (1 + terms.times(xp, epsilon_high, unlikely)) ** 0.5) / 2
    high = least(xp, high, terms.numbers(xp, ratio_cap, high))
    return at.surrogate(clipped(at, at.log_ratio, 1 - low, high - 1, ratio_cap))
