"""Group Relative Policy Optimization: PPO's clipped ratio, advantages within a group, and a KL to the reference."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import clipped
from poz.purposes import Answer


@objective(
    title="Group Relative Policy Optimization",
    paper="arXiv:2402.03300",
    equation="eq. 3 and 4",
    formula=r"-\min\bigl(rA,\operatorname{clip}(r,1-\varepsilon_l,1+\varepsilon_h)A\bigr)+\beta\bigl(e^{x}-x-1\bigr),\quad r=\tfrac{\pi}{\pi_{old}},\ x=\log\tfrac{\pi_{ref}}{\pi},\ A=\text{advantage}",
    published=[
        Published("arXiv:2402.03300 section 4.2", {"kl_weight": (0.04,)}),
        Published("TRL 1.16 GRPOConfig", {"kl_weight": (0.0,), "epsilon_low": (0.2,), "epsilon_high": (0.2,)}),
        Published("allenai/open-instruct@e6c3044", {"kl_weight": (0.05,), "epsilon_high": (0.272,)}),
    ],
    answers=[
        Answer("no-critic", paper="section 4.1.1: the mean reward of a group is the baseline, in place of a critic"),
    ],
    basis="Paper, and trainers' code, executed in float64 (huggingface/trl@v1.16.0, NVIDIA-NeMo/RL@7ea279a, allenai/open-instruct@e6c3044): tests/authors/grpo.json. The paper names no ε.",
    **steps.DECLARED,
)
@steps.member(aggregation="sequence_mean", weighs=True, kl_weight=0.04)
def grpo(
    at: steps.Steps,
    *,
    epsilon_low: Annotated[float, Real("ε below 1", low=0, high=1, usual=(0.0, 1.0))] = 0.2,
    epsilon_high: Annotated[float, Real("ε above 1", low=0, usual=(0.0, 2.0))] = 0.2,
) -> Array:
    """PPO's pessimistic surrogate of each token, and k3 to the reference."""
    return at.surrogate(clipped(at, at.log_ratio, epsilon_low, epsilon_high))
