"""AlphaPO: SimPO with another shape of the reward."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, objective


@objective(
    title="AlphaPO",
    paper="arXiv:2501.03884",
    equation="the α-reward; table 3 for the values",
    formula=r"-\log\sigma\bigl(\beta[r_\alpha(\bar p_w)-r_\alpha(\bar p_l)]-\gamma\bigr),\quad r_\alpha(\bar p)=\frac{1-e^{-\alpha\bar p}}{\alpha},\ \bar p=\tfrac{1}{|y|}\log\pi(y)",
    reads="chosen rejected chosen_len rejected_len",
    published={"beta": (2.5,), "alpha": (0.25,), "gamma": (0.1,)},
    reduces_to=[
        Limit(
            "simpo",
            "α = 0",
            lambda p: {**p, "alpha": 0.0},
            lambda p: {"beta": p["beta"], "gamma": p["gamma"], "gamma_beta_ratio": None},
        )
    ],
    deviations=[
        Deviation("TRL 1.16", "(e^p)^-α: NaN where e^p underflows", "expm1"),
        Deviation("the formula", "overflows for α p << 0", "a tangent continues the exponential beyond e^60"),
    ],
    basis="TRL 1.16 and one more port, read; gradient checked in float64. No authors' code.",
)
def alpha_po(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, scale of the reward", low=0, open="low", unit="1/nat", usual=(0.5, 10.0))] = 2.5,
    alpha: Annotated[float, Real("α, shape of the reward; 0: the log-prob", usual=(-1.0, 1.0))] = 0.25,
    gamma: Annotated[float, Real("γ, target margin", low=0, usual=(0.0, 5.0))] = 0.1,
) -> Array:
    """SimPO with (1 - e^(-α p)) / α of the mean log-prob p as reward: α > 0 stresses unlikely completions."""

    def reward(p: Array) -> Array:
        shape = terms.numbers(xp, alpha, p)
        near = abs(shape * p) < 0.1
        straight = near | (shape == 0)  # 0 times an infinite p is not near
        # p - α p²/2 + α² p³/6 - ..., whose slope in α does not cancel; the next term is below 3e-18 p
        q = xp.where(near, p, xp.constant(0.0, p))
        x = shape * q
        rest = 1 - x / 10
        for k in range(9, 2, -1):
            rest = 1 - (x / k) * rest
        safe = xp.where(straight, xp.ones_like(p), shape)
        return xp.where(straight, p - q * (x / 2) * rest, -terms.exponential_minus_one(xp, -safe * p) / safe)

    chosen = reward(terms.average(xp, pairs.chosen, pairs.chosen_len))
    rejected = reward(terms.average(xp, pairs.rejected, pairs.rejected_len))
    return -xp.log_sigmoid(beta * (chosen - rejected) - gamma)
