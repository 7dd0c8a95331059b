"""Direct Reward Optimization's penalty on the squared log-ratio, token by token."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import objective
from poz.objectives.rollouts import _steps as steps
from poz.purposes import Answer


@objective(
    title="Direct Reward Optimization, on tokens",
    paper="arXiv:2405.19107",
    equation="as verl has it; the paper's loss is of completions and has a value network",
    formula=r"-A\log\pi+\tfrac\beta2\Bigl(\log\tfrac{\pi}{\pi_{old}}\Bigr)^2,\quad A=\text{advantage}",
    answers=[
        Answer("scalar-feedback", paper="abstract: single completions with feedback are more plentiful than pairs"),
        Answer("off-policy", paper="abstract: a mean-squared objective on a given dataset"),
    ],
    basis="verl's code, executed in float64 (verl-project/verl@1dda039): tests/authors/dro.json. Of the paper the abstract alone was read.",
    **steps.DECLARED,
)
@steps.member(aggregation="token_mean")
def dro(
    at: steps.Steps,
    *,
    beta: Annotated[float, Real("β, weight of the squared log-ratio", low=0, open="low")] = 0.1,
) -> Array:
    """REINFORCE with a parabola that holds the policy to the old one."""
    return beta / 2 * at.log_ratio**2 + at.surrogate(at.logps)
