"""PADLL, a sibling of DiscoPOP: mis-ordered pairs count half."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Published, objective


@objective(
    title="Performance-Adaptive Decay Logistic Loss",
    paper="arXiv:2406.08414",
    equation="PADLL in Table 1; eq. 15 to 19",
    formula=r"-0.9\,\bigl(1-\tfrac12[h<0]\bigr)\log\sigma(\beta h)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published("arXiv:2406.08414, §5.3 and Figure 5", {"beta": (0.025, 0.05, 0.1, 0.25, 0.5, 1.0)}),
        Published("SakanaAI/DiscoPOP@3307865, recipes/zephyr-7b-gemma/gpo/config_full.yaml", {"beta": (0.05,)}),
    ],
    gradient_stops="the step at h = 0",
    basis="The authors' code, executed in float64 (SakanaAI/DiscoPOP@3307865): tests/authors/padll.json. The paper, read.",
)
def padll(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.05,
) -> Array:
    """0.9 times DPO where the pair is ordered, 0.45 times where it is not; the loss jumps at h = 0."""
    h = terms.log_ratio_margin(pairs)
    return xp.where(h < 0, -0.45 * xp.log_sigmoid(beta * h), -0.9 * xp.log_sigmoid(beta * h))
