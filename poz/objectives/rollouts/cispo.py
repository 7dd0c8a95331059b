"""Clipped IS-weight Policy Optimization: the weight is clipped, and no token loses its gradient."""

from typing import Annotated

from poz import terms
from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import least
from poz.purposes import Answer


@objective(
    title="Clipped IS-weight Policy Optimization",
    paper="arXiv:2506.13585",
    equation="eq. 4 and 5",
    formula=r"-\operatorname{sg}\bigl[\operatorname{clip}(r,1-\varepsilon_l,1+\varepsilon_h)\bigr]A\log\pi,\quad r=\tfrac{\pi}{\pi_{old}},\ A=\text{advantage}",
    published=[
        Published(
            "allenai/open-instruct@e6c3044 open_instruct/grpo_utils.py",
            {"epsilon_low": (1.0,), "epsilon_high": (0.272,)},
        ),
        Published("NeMo-RL@7ea279a, verl@1dda039", {"epsilon_low": (0.2,)}),
    ],
    answers=[
        Answer(
            "trust-region",
            paper="abstract: importance weights are clipped, and not the updates of tokens",
            test="objectives/test_rollout_laws.py::test_where_the_clip_of_ppo_takes_the_gradient_and_that_of_cispo_does_not",
        ),
    ],
    basis="Paper, second hand, and trainers' code, executed in float64 (verl-project/verl@1dda039, huggingface/trl@v1.16.0, NVIDIA-NeMo/RL@7ea279a, allenai/open-instruct@e6c3044): tests/authors/cispo.json. The paper does not say its ε_high; the default is DAPO's, open-instruct has 0.272.",
    **steps.DECLARED,
)
@steps.member(aggregation="token_mean")
def cispo(
    at: steps.Steps,
    *,
    epsilon_low: Annotated[float, Real("ε below 1", low=0, high=1, usual=(0.0, 1.0))] = 1.0,
    epsilon_high: Annotated[
        float, Real("ε above 1, below 0 a cap below 1", low=-1, open="low", usual=(0.0, 2.0))
    ] = 0.28,
) -> Array:
    """REINFORCE with a ratio that is held constant and kept within a band."""
    xp, d = at.xp, at.log_ratio
    low, high = steps.log(xp, 1 - terms.numbers(xp, epsilon_low, d)), xp.log1p(terms.numbers(xp, epsilon_high, d))
    ratio = xp.exp(least(xp, xp.where(d < low, low, d), high))
    return at.surrogate(terms.times(xp, xp.stop_gradient(ratio), at.logps))
