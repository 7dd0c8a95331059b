"""RLOO as it is trained off-policy: PPO's surrogate of the whole completion's ratio."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import clipped
from poz.purposes import Answer


@objective(
    title="REINFORCE Leave-One-Out, with PPO clipping",
    paper="arXiv:2402.14740",
    equation="eq. 6 for the advantage, `poz.advantages.leave_one_out`; the ratio and its clip are TRL's",
    formula=r"-\min\bigl(WA,\operatorname{clip}(W,1-\varepsilon_l,1+\varepsilon_h)A\bigr),\quad W=\prod_t\tfrac{\pi}{\pi_{old}},\ A=\text{advantage}",
    published=[
        Published("TRL 1.16 RLOOConfig", {"epsilon_low": (0.2,), "epsilon_high": (0.2,)}),
    ],
    answers=[
        Answer(
            "no-critic",
            paper="abstract: most of PPO is unnecessary where REINFORCE has a baseline from the other samples",
        ),
    ],
    basis="TRL's code, executed in float64 (huggingface/trl@v1.16.0): tests/authors/rloo.json. The paper has no ratio: with its advantage it is poz.reinforce.",
    **steps.DECLARED,
)
@steps.member(aggregation="sequence_mean", weighs=True)
def rloo(
    at: steps.Steps,
    *,
    epsilon_low: Annotated[float, Real("ε below 1", low=0, high=1, usual=(0.0, 1.0))] = 0.2,
    epsilon_high: Annotated[float, Real("ε above 1", low=0, usual=(0.0, 2.0))] = 0.2,
) -> Array:
    """PPO's surrogate, a completion being one action."""
    summed = at.xp.sum(at.log_ratio, -1)[..., None]
    return at.surrogate(clipped(at, summed, epsilon_low, epsilon_high))
