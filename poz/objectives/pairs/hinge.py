"""SLiC with a reference (SLiC-norm), the hinge loss of RSO."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Published, objective
from poz.purposes import Answer


@objective(
    title="Hinge loss of the implicit reward margin (SLiC-norm, RSO)",
    paper="arXiv:2309.06657",
    equation="eq. 10, the hinge-norm loss of RSO; β is its γ",
    formula=r"\max(0,1-\beta h)",
    reads="chosen rejected ref_chosen ref_rejected",
    aliases=("rso", "slic_norm"),
    deviations=[],
    published=[Published("second hand: huggingface/trl@f2cd577 docs/source/paper_index.md", {"beta": (0.05,)})],
    answers=[
        Answer("overfitting", test="objectives/test_purposes_shown.py::test_no_push_beyond_a_finite_margin"),
    ],
    basis="Paper (section 3.1), and TRL and Liger, executed in float64, the kink too (huggingface/trl@v1.16.0): tests/authors/hinge.json.",
)
def hinge(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, inverse of the margin to reach", low=0, open="low", unit="1/nat")] = 0.1,
) -> Array:
    """max(0, 1 - β h): no gradient once the margin h exceeds 1/β."""
    return xp.relu(1 - beta * terms.log_ratio_margin(pairs))
