"""Dr. GRPO: GRPO without what its divisions by length and deviation do to the gradient."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import clipped
from poz.purposes import Answer


@objective(
    title="GRPO Done Right",
    paper="arXiv:2503.20783",
    equation="section 3",
    formula=r"\tfrac1L\sum_t-\min\bigl(rA,\operatorname{clip}(r,1-\varepsilon_l,1+\varepsilon_h)A\bigr),\quad r=\tfrac{\pi}{\pi_{old}},\ A=\text{advantage}",
    published=[
        Published("second hand: the authors' script as others quote it", {"length": (3000.0,)}),
        Published("TRL 1.16 GRPOConfig", {"epsilon_low": (0.2,), "epsilon_high": (0.2,)}),
    ],
    answers=[
        Answer(
            "length-bias",
            paper="abstract: GRPO lengthens wrong answers by its mean over tokens, and without it does not",
            test="objectives/test_rollout_claims.py::test_length_bias",
        ),
    ],
    basis="Trainers' code, executed in float64 (huggingface/trl@v1.16.0): tests/authors/dr_grpo.json. The length is second hand, the largest of a completion there.",
    **steps.DECLARED,
)
@steps.member(aggregation="sequence_sum", weighs=True, length=3000.0)
def dr_grpo(
    at: steps.Steps,
    *,
    epsilon_low: Annotated[float, Real("ε below 1", low=0, high=1, usual=(0.0, 1.0))] = 0.2,
    epsilon_high: Annotated[float, Real("ε above 1", low=0, usual=(0.0, 2.0))] = 0.2,
) -> Array:
    """PPO's surrogate, its sum over tokens divided by one number for all completions."""
    return at.surrogate(clipped(at, at.log_ratio, epsilon_low, epsilon_high))
