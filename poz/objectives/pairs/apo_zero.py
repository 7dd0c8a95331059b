"""Anchored Preference Optimization, zero: chosen up, rejected down."""

from typing import Annotated

from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Published, objective
from poz.purposes import Answer


@objective(
    title="Anchored Preference Optimization, zero",
    paper="arXiv:2408.06266",
    equation="the APO-zero loss; section 4 and eq. 7 as TRL cites them",
    formula=r"1-\sigma(\beta a)+\sigma(\beta b),\quad a=\log\tfrac{\pi(y_w)}{\pi_{ref}(y_w)},\ b=\log\tfrac{\pi(y_l)}{\pi_{ref}(y_l)}",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[Published("second hand: huggingface/trl@f2cd577 docs/source/paper_index.md", {"beta": (0.1,)})],
    answers=[
        Answer(
            "displacement",
            world="displacement",
            paper="the authors' code: to be taken where chosen is better than what the model writes",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    basis="The first author's code, as added to TRL, executed in float64 (huggingface/trl@a7dc892), and Liger: tests/authors/apo_zero.json. "
    "The paper was not read.",
)
def apo_zero(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
) -> Array:
    """Pushes chosen above its reference and rejected below it, each on its own; in (0, 2)."""
    return xp.sigmoid(-beta * (pairs.chosen - pairs.ref_chosen)) + xp.sigmoid(
        beta * (pairs.rejected - pairs.ref_rejected)
    )
