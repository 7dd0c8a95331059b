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
    equation="LRML in Table 1; eq. 27 and 28",
    formula=r"-(1-m)\log\sigma(z)+m\,e^{-z},\quad m=\sigma(z/\tau),\ z=\beta h",
    reads="chosen rejected ref_chosen ref_rejected",
    aliases=("lrml",),
    published=[
        Published("arXiv:2406.08414, §5.3 and Figure 5", {"beta": (0.025, 0.05, 0.1, 0.25, 0.5, 1.0)}),
        Published("arXiv:2406.08414, §6.1 and eq. 28", {"tau": (0.05,)}),
        Published("SakanaAI/DiscoPOP@3307865, recipes/zephyr-7b-gemma/gpo/config_full.yaml", {"beta": (0.05,)}),
    ],
    deviations=[
        Deviation("the authors' code", "NaN loss in float32 below z = -88.7", "finite"),
        Deviation("the paper's eq. 27", "f_exp(-βρ), by its eq. 8 e^z", "e^-z, as its Table 1 and the code"),
        Deviation("the authors' `log_ratio_modulated_loss_old`, the search", "m = σ(h)", "tau=beta"),
    ],
    basis="The authors' code, executed in float64 (SakanaAI/DiscoPOP@3307865): tests/authors/discopop.json. The paper, read.",
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
