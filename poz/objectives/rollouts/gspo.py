"""Group Sequence Policy Optimization: one ratio for a completion, the geometric mean of those of its tokens."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import clipped
from poz.purposes import Answer


@objective(
    title="Group Sequence Policy Optimization",
    paper="arXiv:2507.18071",
    equation="eq. 5 to 7",
    formula=r"-\min\bigl(sA,\operatorname{clip}(s,1-\varepsilon_l,1+\varepsilon_h)A\bigr),\quad s=\exp\bigl(\tfrac1{|y|}\sum_t\log\tfrac{\pi}{\pi_{old}}\bigr),\ A=\text{advantage}",
    published=[
        Published(
            "arXiv:2507.18071 section 5.1",
            {"epsilon_low": (0.0003,), "epsilon_high": (0.0004,)},
        ),
    ],
    answers=[
        Answer(
            "trust-region",
            paper="abstract: ratio, clip and reward are of the whole sequence, which stabilises mixtures of experts",
        ),
    ],
    basis="Paper, and trainers' code, executed in float64 (huggingface/trl@v1.16.0, OpenRLHF/OpenRLHF@3c3be62, NVIDIA-NeMo/RL@7ea279a): tests/authors/gspo.json.",
    **steps.DECLARED,
)
@steps.member(aggregation="sequence_mean", weighs=True)
def gspo(
    at: steps.Steps,
    *,
    epsilon_low: Annotated[float, Real("ε below 1", low=0, high=1, usual=(0.0, 1.0))] = 0.0003,
    epsilon_high: Annotated[float, Real("ε above 1", low=0, usual=(0.0, 2.0))] = 0.0004,
) -> Array:
    """PPO's surrogate of the completion's mean log-ratio."""
    return at.surrogate(clipped(at, at.mean(at.log_ratio), epsilon_low, epsilon_high))
