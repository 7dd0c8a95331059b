"""Anchored Preference Optimization, down: both down, rejected further."""

from typing import Annotated

from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Published, objective
from poz.purposes import Answer


@objective(
    title="Anchored Preference Optimization, down",
    paper="arXiv:2408.06266",
    equation="the APO-down loss; section 4 and eq. 8 as TRL cites them",
    formula=r"\sigma(\beta a)+1-\sigma(\beta(a-b)),\quad a=\log\tfrac{\pi(y_w)}{\pi_{ref}(y_w)},\ b=\log\tfrac{\pi(y_l)}{\pi_{ref}(y_l)}",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[Published("second hand: huggingface/trl@f2cd577 docs/source/paper_index.md", {"beta": (0.1,)})],
    answers=[
        Answer(
            "weak-completions",
            paper="the authors' code: to be taken where chosen is worse than what the model writes",
            test="objectives/test_unpaired_laws.py::test_apo_down_lowers_chosen_unless_the_pair_is_badly_ordered",
        ),
    ],
    basis="The first author's code, as added to TRL, executed in float64 (huggingface/trl@a7dc892), and Liger: tests/authors/apo_down.json. "
    "The paper was not read.",
)
def apo_down(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
) -> Array:
    """For pairs of which both are worse than the policy: lowers chosen, and rejected further; in (0, 2)."""
    chosen, rejected = pairs.chosen - pairs.ref_chosen, pairs.rejected - pairs.ref_rejected
    return xp.sigmoid(beta * chosen) + xp.sigmoid(-beta * (chosen - rejected))
