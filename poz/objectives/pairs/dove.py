"""DOVE: preferences between (instruction, response) pairs."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Joint preference optimization (DOVE)",
    paper="arXiv:2404.00530",
    equation="the joint DPO loss",
    formula=r"-\log\sigma\Bigl(\beta\log\tfrac{\pi(x_w,y_w)}{\pi_{ref}(x_w,y_w)}-\beta\log\tfrac{\pi(x_l,y_l)}{\pi_{ref}(x_l,y_l)}\Bigr)",
    reads="chosen rejected ref_chosen ref_rejected",
    aliases=("jpo",),
    published=[Published("Hritikbansal/dove@02e53a0 dove/train.py", {"beta": (0.1,)})],
    answers=[
        Answer(
            "prompts",
            paper="abstract: preferences between pairs of an instruction and its completion, which may have different instructions",
        ),
    ],
    reduces_to=[Limit("dpo", "one instruction for both, which then cancels", lambda p: p, lambda p: p)],
    deviations=[
        Deviation(
            "the authors' code",
            "without `joint_distribution` masks the instructions, so the normalisers of two prompts do not cancel",
            "give log-probs of responses alone",
        )
    ],
    basis="The authors' code, and TRL 0.8.1's loss that it inherits, executed in float64 (Hritikbansal/dove@02e53a0): tests/authors/dove.json.",
)
def dove(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
) -> Array:
    """DPO on joint log-probs, instruction tokens included; the two sides may have different instructions."""
    return -xp.log_sigmoid(beta * terms.log_ratio_margin(pairs))
