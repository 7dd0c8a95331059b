"""DiscoPOP: the log-ratio modulated loss that a language model found."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Published, objective


@objective(
    title="Discovered Preference Optimization (log-ratio modulated loss)",
    paper="arXiv:2406.08414",
    equation="LRML in the table of discovered losses (v3); eq. 5 as TRL cites it",
    formula=r"-(1-m)\log\sigma(z)+m\,e^{-z},\quad m=\sigma(z/\tau),\ z=\beta h",
    reads="chosen rejected ref_chosen ref_rejected",
    aliases=("lrml",),
    published=[Published("", {"beta": (0.05,), "tau": (0.05,)})],
    deviations=[
        Deviation("TRL 1.16, Liger, ms-swift, EasyDeL", "NaN loss and gradient in float32 below z = -88.7", "finite"),
        Deviation("EasyDeL 0.3", "τ defaults to 1", "tau=1.0"),
    ],
    basis="The paper's table (v3) and the authors' code, read; the gradient, with m not held constant, checked in float64.",
)
def discopop(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.05,
    tau: Annotated[
        float,
        Real("τ, width of the transition from logistic to exponential", low=0, high=1, open="low", usual=(0.01, 1.0)),
    ] = 0.05,
) -> Array:
    """Logistic loss for mis-ordered pairs, exponential for the others, blended by σ(z/τ); not convex near 0."""
    z = beta * terms.log_ratio_margin(pairs)
    # m e^-z as one exponential: 0 * inf for z << 0 otherwise. At z = -inf it is 0, beside an infinite loss.
    return xp.exp(xp.log_sigmoid(z / tau) - xp.maximum(z, -1e30)) - xp.sigmoid(-z / tau) * xp.log_sigmoid(z)
