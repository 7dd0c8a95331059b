"""CELL, a sibling of DiscoPOP: half exponential, half logistic."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Published, objective


@objective(
    title="Combined Exponential and Logistic Loss",
    paper="arXiv:2406.08414",
    equation="CELL in Table 1; eq. 26",
    formula=r"\tfrac12e^{-\beta h}-\tfrac12\log\sigma(\beta h)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published("arXiv:2406.08414, §5.3 and Figure 5", {"beta": (0.025, 0.05, 0.1, 0.25, 0.5, 1.0)}),
        Published("SakanaAI/DiscoPOP@3307865, recipes/zephyr-7b-gemma/gpo/config_full.yaml", {"beta": (0.05,)}),
    ],
    deviations=[
        Deviation("the authors' code", "overflows float32 below z = -88", "a tangent continues e^-z beyond e^60")
    ],
    basis="The authors' code, executed in float64 (SakanaAI/DiscoPOP@3307865): tests/authors/cell.json. The paper, read.",
)
def cell(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.05,
) -> Array:
    """The mean of the exponential and the logistic loss of the margin."""
    z = beta * terms.log_ratio_margin(pairs)
    return 0.5 * (terms.exponential(xp, -z) - xp.log_sigmoid(z))
