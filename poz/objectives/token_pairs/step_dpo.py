"""Step-DPO: DPO on the first wrong step of a solution and its correction."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import TokenPairs
from poz.objective import Published, objective
from poz.objectives._tokens import limit
from poz.purposes import Answer


@objective(
    title="Step-wise DPO",
    paper="arXiv:2406.18629",
    equation="the Step-DPO loss",
    formula=r"-\log\sigma\Bigl(\beta\log\tfrac{\pi(s_w\mid x,s_{<k})}{\pi_{ref}(s_w\mid x,s_{<k})}-\beta\log\tfrac{\pi(s_l\mid x,s_{<k})}{\pi_{ref}(s_l\mid x,s_{<k})}\Bigr)",
    reads="chosen rejected ref_chosen ref_rejected chosen_mask rejected_mask",
    published=[
        Published("dvlab-research/Step-DPO@c4902fd bash_scrips/qwen2_7b_step_dpo.sh", {"beta": (0.5,)}),
        Published("the same, qwen2_72b_step_dpo.sh, qwen2_72b_instruct_step_dpo.sh", {"beta": (0.4,)}),
    ],
    answers=[
        Answer(
            "token-credit",
            paper="the authors' README: pairs of single steps, for long chains of reasoning",
            test="objectives/test_token_laws.py::test_a_step_is_all_that_counts",
        ),
    ],
    reduces_to=[limit("dpo", "sums over the step")],
    basis="What the authors' trainer (dvlab-research/Step-DPO@c4902fd) inherits from TRL 0.8.5, executed in float64 (huggingface/trl@"
    "3595eb0): tests/authors/step_dpo.json; the masks say which tokens are the step.",
)
def step_dpo(
    xp: Namespace,
    pairs: TokenPairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.5,
) -> Array:
    """DPO on the sums over the tokens of one step; those before and after it have no influence."""

    def score(side: str) -> Array:
        ratio = getattr(pairs, side) - getattr(pairs, f"ref_{side}")
        return xp.sum(terms.masked(xp, ratio, getattr(pairs, f"{side}_mask")), -1)

    return -xp.log_sigmoid(beta * (score("chosen") - score("rejected")))
