"""PFL, a sibling of DiscoPOP: half a logistic loss for ordered pairs, twice a hinge for the others."""

from poz import terms
from poz.backends import Array, Namespace
from poz.families import Pairs
from poz.objective import objective


@objective(
    title="PFL, a discovered loss",
    paper="arXiv:2406.08414",
    equation="PFL in the table of discovered losses (v3)",
    formula=r"-\tfrac12[h>0]\log\sigma(h)+2\,[h\le0]\max(0,1-h)",
    reads="chosen rejected ref_chosen ref_rejected",
    gradient_stops="the step at h = 0",
    basis="The paper's table (v3) and the authors' code, read.",
)
def pfl(xp: Namespace, pairs: Pairs) -> Array:
    """Half of DPO at β = 1 where the pair is ordered, twice the hinge where it is not; the loss jumps at h = 0."""
    h = terms.log_ratio_margin(pairs)
    return xp.where(h > 0, -0.5 * xp.log_sigmoid(h), 2 * xp.relu(1 - h))
