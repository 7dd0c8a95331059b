"""DAPO's loss: clip-higher, and tokens that weigh alike whatever their completion."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import clipped
from poz.purposes import Answer


@objective(
    title="Decoupled Clip and Dynamic sAmpling Policy Optimization",
    paper="arXiv:2503.14476",
    equation="eq. 8",
    formula=r"-\min\bigl(rA,\operatorname{clip}(r,1-\varepsilon_l,1+\varepsilon_h)A\bigr),\quad r=\tfrac{\pi}{\pi_{old}},\ A=\text{advantage}",
    published=[
        Published(
            "arXiv:2503.14476 section 4.1",
            {"epsilon_low": (0.2,), "epsilon_high": (0.28,)},
        ),
        Published("TRL 1.16 GRPOConfig", {"epsilon_high": (0.2,)}),
    ],
    answers=[
        Answer(
            "entropy-collapse",
            paper="section 3.1: a higher upper clip leaves unlikely tokens room to grow, against the collapse seen with PPO and GRPO",
        ),
        Answer(
            "length-bias",
            paper="section 3.3: where each completion has one weight, long bad ones go unpunished, and length grows",
            test="objectives/test_rollout_claims.py::test_length_bias",
        ),
        Answer(
            "exploration",
            paper="section 3.1: a higher upper clip lets unlikely tokens be explored, and samples are more diverse",
        ),
    ],
    basis="Paper, and TRL's code, executed in float64 (huggingface/trl@v1.16.0): tests/authors/dapo.json.",
    **steps.DECLARED,
)
@steps.member(aggregation="token_mean", weighs=True)
def dapo(
    at: steps.Steps,
    *,
    epsilon_low: Annotated[float, Real("ε below 1", low=0, high=1, usual=(0.0, 1.0))] = 0.2,
    epsilon_high: Annotated[float, Real("ε above 1", low=0, usual=(0.0, 2.0))] = 0.28,
) -> Array:
    """PPO's surrogate with more room above than below, its mean over all tokens."""
    return at.surrogate(clipped(at, at.log_ratio, epsilon_low, epsilon_high))
