"""PFL, a sibling of DiscoPOP: half a logistic loss for pairs that the policy orders, twice a hinge for the others."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Published, objective


@objective(
    title="Policy Focused Loss",
    paper="arXiv:2406.08414",
    equation="PFL in Table 1",
    formula=r"-\tfrac12[\pi(y_w)>\pi(y_l)]\log\sigma(\beta h)+2\,[\pi(y_w)\le\pi(y_l)]\max(0,1-\beta h)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published("arXiv:2406.08414, §5.3 and Figure 5", {"beta": (0.025, 0.05, 0.1, 0.25, 0.5, 1.0)}),
        Published("SakanaAI/DiscoPOP@3307865, recipes/zephyr-7b-gemma/gpo/config_full.yaml", {"beta": (0.05,)}),
    ],
    gradient_stops="which completion the policy prefers",
    deviations=[
        Deviation("the paper's eq. 29", "β is divided by τ = 0.05; Table 1 and the code do not", "beta=20 β"),
        Deviation("the authors' `policy_focused_loss_old`, the search", "no β", "beta=1"),
    ],
    basis="The authors' code, executed in float64 (SakanaAI/DiscoPOP@3307865): tests/authors/pfl.json. The paper, read.",
)
def pfl(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.05,
) -> Array:
    """Half of DPO where the policy prefers chosen, twice the hinge elsewhere; the loss jumps where it is indifferent."""
    z = beta * terms.log_ratio_margin(pairs)
    return xp.where(pairs.chosen > pairs.rejected, -0.5 * xp.log_sigmoid(z), 2 * xp.relu(1 - z))
