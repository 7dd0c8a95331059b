"""Direct Reward Optimization's penalty on the squared log-ratio, token by token."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import Deviation, Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.purposes import Answer


@objective(
    title="Direct Reward Optimization, on tokens",
    paper="arXiv:2405.19107",
    equation="eq. 8 of v1 over τ, by tokens and against the old policy as verl has it",
    formula=r"-A\log\pi+\tfrac\beta2\Bigl(\log\tfrac{\pi}{\pi_{old}}\Bigr)^2,\quad A=\text{advantage}",
    published=[
        Published("arXiv:2405.19107v1 section 4", {"beta": (1.0,)}),
        Published("arXiv:2405.19107v1 section 4.1, where 1 is best", {"beta": (0.1, 1.0, 5.0)}),
    ],
    answers=[
        Answer("scalar-feedback", paper="abstract: single completions with feedback are more plentiful than pairs"),
        Answer(
            "off-policy",
            paper="section 3.3: completions and rewards are given and stay, if what is taken from a reward is the value learned",
        ),
    ],
    deviations=[
        Deviation("the paper", "squares the log-ratio of the whole completion", "the square of each token's"),
        Deviation("the paper", "has the reference in the log-ratio", "give its log-probs as old_logps"),
        Deviation(
            "the paper",
            "takes from the reward a value that is learned beside the policy, without which completions of another bias the gradient (section 3.3)",
            "give that difference as advantages",
        ),
    ],
    basis="The paper (v1), and verl's code, executed in float64 (verl-project/verl@1dda039): tests/authors/dro.json.",
    **steps.DECLARED,
)
@steps.member(aggregation="token_mean")
def dro(
    at: steps.Steps,
    *,
    beta: Annotated[float, Real("β, weight of the squared log-ratio", low=0, open="low", usual=(0.01, 5.0))] = 1.0,
) -> Array:
    """REINFORCE with a parabola that holds the policy to the old one."""
    return beta / 2 * at.log_ratio**2 + at.surrogate(at.logps)
