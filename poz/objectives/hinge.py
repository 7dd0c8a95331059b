"""SLiC with a reference (SLiC-norm), the hinge loss of RSO."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, objective


@objective(
    title="Hinge loss of the implicit reward margin (SLiC-norm, RSO)",
    paper="arXiv:2309.06657",
    equation="eq. 10, the hinge-norm loss of RSO; β is its γ",
    formula=r"\max(0,1-\beta h)",
    reads="chosen rejected ref_chosen ref_rejected",
    aliases=("rso", "slic_norm"),
    deviations=[
        Deviation("torchtune's RSO", "calls β γ", "beta=gamma"),
        Deviation("jax.numpy.maximum, torch.clamp", "have slope 1/2 or 1 at the kink", "slope 0"),
    ],
    basis="Paper (section 3.1), TRL 1.16 and Liger 0.8.5, read; gradient checked in float64.",
)
def hinge(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, inverse of the margin to reach", low=0, open="low", unit="1/nat")] = 0.1,
) -> Array:
    """max(0, 1 - β h): no gradient once the margin h exceeds 1/β."""
    return xp.relu(1 - beta * terms.log_ratio_margin(pairs))
