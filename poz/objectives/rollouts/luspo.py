"""Length-Unbiased Sequence Policy Optimization: GSPO, each completion as often as it has tokens."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import clipped
from poz.purposes import Answer


@objective(
    title="Length-Unbiased Sequence Policy Optimization",
    paper="arXiv:2602.05261",
    equation="second hand",
    formula=r"-|y|\min\bigl(sA,\operatorname{clip}(s,1-\varepsilon_l,1+\varepsilon_h)A\bigr),\quad s=\exp\bigl(\tfrac1{|y|}\sum_t\log\tfrac{\pi}{\pi_{old}}\bigr),\ A=\text{advantage}",
    published=[
        Published("second hand: TRL 1.16 on arXiv:2602.05261", {"epsilon_low": (0.002,), "epsilon_high": (0.0025,)}),
    ],
    answers=[
        Answer(
            "length-bias",
            paper="abstract: the length bias of GSPO is rectified, which let responses collapse to short ones",
        ),
    ],
    basis="Second hand, and TRL's code, executed in float64 (huggingface/trl@v1.16.0): tests/authors/luspo.json.",
    **steps.DECLARED,
)
@steps.member(aggregation="sequence_sum", weighs=True)
def luspo(
    at: steps.Steps,
    *,
    epsilon_low: Annotated[float, Real("ε below 1", low=0, high=1, usual=(0.0, 1.0))] = 0.002,
    epsilon_high: Annotated[float, Real("ε above 1", low=0, usual=(0.0, 2.0))] = 0.0025,
) -> Array:
    """GSPO's surrogate, summed over the tokens of the completion."""
    return at.surrogate(clipped(at, at.mean(at.log_ratio), epsilon_low, epsilon_high))
