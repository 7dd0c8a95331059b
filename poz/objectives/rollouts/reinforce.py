"""The score-function estimator, on tokens."""

from poz.backends import Array
from poz.objective import objective
from poz.objectives.rollouts import _steps as steps


@objective(
    title="REINFORCE",
    paper="arXiv:1604.06778",
    equation="Williams 1992, in the form of its policy gradient",
    formula=r"-A\log\pi,\quad A=\text{advantage}",
    basis="Textbook. Trainers' code, executed in float64 (verl-project/verl@1dda039, NVIDIA-NeMo/RL@7ea279a): tests/authors/reinforce.json.",
    **steps.DECLARED,
)
@steps.member(aggregation="sequence_sum")
def reinforce(
    at: steps.Steps,
) -> Array:
    """The log-prob of each token, weighted by its advantage; against no other policy."""
    return at.surrogate(at.logps)
