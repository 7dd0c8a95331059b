"""A*-PO: the log-ratio to the reference is fitted to the advantage under the best policy."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import Deviation, Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.purposes import Answer


@objective(
    title="Policy Optimization via Optimal Advantage Regression",
    paper="arXiv:2505.20686",
    equation="as the authors have it",
    formula=r"\Bigl(\beta\sum_t\log\tfrac{\pi}{\pi_{ref}}-A\Bigr)^2,\quad A=R-V^*\text{, `poz.advantages.optimal`}",
    published=[
        Published("ZhaolinGao/A-PO@c8823a3 README.md; TRL 1.16 A2POConfig", {"beta": (1e-3,)}),
    ],
    answers=[
        Answer(
            "no-critic",
            paper="abstract: the optimal values are estimated beforehand from samples of the reference, with one completion a prompt thereafter",
        ),
    ],
    deviations=[
        Deviation(
            "ZhaolinGao/A-PO@c8823a3",
            "counts (V* - R)² for a completion without tokens",
            "0, which has the same gradient",
        ),
    ],
    basis="The authors' code, executed in float64 (ZhaolinGao/A-PO@c8823a3): tests/authors/a2po.json, which has TRL's beside it. Of the paper the abstract alone was read.",
    **steps.DECLARED | {"reads": lambda p: steps.needs({**p, "kl_weight": 1.0})},
)
@steps.member(aggregation="sequence_mean")
def a2po(
    at: steps.Steps,
    *,
    beta: Annotated[float, Real("β, weight of the log-ratio", low=0, open="low", usual=(0.001, 1.0))] = 1e-3,
) -> Array:
    """The squared error of the whole completion, at each of its tokens."""
    return (beta * at.xp.sum(at.logps - at.ref, -1)[..., None] - at.advantages) ** 2
