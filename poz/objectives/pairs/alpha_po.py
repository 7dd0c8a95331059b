"""AlphaPO: SimPO with another shape of the reward."""

import math
from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="AlphaPO",
    paper="arXiv:2501.03884",
    equation="the α-reward; table 3 for the values",
    formula=r"-\log\sigma\bigl(\beta[r_\alpha(\bar p_w)-r_\alpha(\bar p_l)]-\gamma\bigr),\quad r_\alpha(\bar p)=\frac{1-e^{-\alpha\bar p}}{\alpha},\ \bar p=\tfrac{1}{|y|}\log\pi(y)",
    reads="chosen rejected chosen_len rejected_len",
    published=[
        Published(
            "second hand: TRL's paper index, of Table 3 of the paper",
            {"beta": (2.5,), "alpha": (0.25,), "gamma": (0.1,)},
        ),
    ],
    answers=[
        Answer("over-optimisation", paper="abstract: the shape of the reward, by α, controls how far training goes"),
    ],
    reduces_to=[
        Limit(
            "simpo",
            "α = 0",
            lambda p: {**p, "alpha": 0.0},
            lambda p: {"beta": p["beta"], "gamma": p["gamma"], "gamma_beta_ratio": None},
        )
    ],
    deviations=[
        Deviation("the formula", "overflows for α p << 0", "a tangent continues the exponential beyond e^60"),
    ],
    basis="TRL's code, executed in float64 (huggingface/trl@v1.16.0): tests/authors/alpha_po.json. The authors released none, and of the paper the abstract alone was read.",
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
    p, q = (terms.average(xp, getattr(pairs, side), getattr(pairs, f"{side}_len")) for side in ("chosen", "rejected"))
    shape = terms.numbers(xp, alpha, p)
    near = (abs(shape * p) < 0.1) | (abs(shape * q) < 0.1) | (shape == 0)  # 0 times an infinite p is not near
    zero, one = xp.constant(0.0, p), xp.ones_like(p)
    close = _reward(xp, xp.where(near, p, zero), shape) - _reward(xp, xp.where(near, q, zero), shape)
    safe = xp.where(near, one, shape)
    apart = _exponential_gap(xp, xp.where(near, zero, -safe * q), xp.where(near, zero, -safe * p)) / safe
    return -xp.log_sigmoid(beta * xp.where(near, close, apart) - gamma)


def _reward(xp: Namespace, p: Array, shape: Array) -> Array:
    """(1 - e^(-α p)) / α; near 0 as p - α p²/2 + α² p³/6 - ..., whose slope in α does not cancel: the next term is below 3e-18 p."""
    near = abs(shape * p) < 0.1
    straight = near | (shape == 0)
    q = xp.where(near, p, xp.constant(0.0, p))
    x = shape * q
    rest = 1 - x / 10
    for k in range(9, 2, -1):
        rest = 1 - (x / k) * rest
    safe = xp.where(straight, xp.ones_like(p), shape)
    return xp.where(straight, p - q * (x / 2) * rest, -terms.exponential_minus_one(xp, -safe * p) / safe)


def _exponential_gap(xp: Namespace, x: Array, y: Array) -> Array:
    """`terms.exponential` of x minus that of y; two numbers next to 0 differ by a factor, which keeps their digits."""
    low, cap, zero = (xp.constant(number, x) for number in (-800.0, terms.CAP, 0.0))
    u, v = (xp.where(z > cap, cap, xp.where(z < low, low, z)) for z in (x, y))
    alike = abs(u - v) < 1
    gap = xp.where(alike, xp.exp(v) * xp.expm1(xp.where(alike, u - v, zero)), xp.exp(u) - xp.exp(v))
    return gap + math.exp(terms.CAP) * (xp.relu(x - cap) - xp.relu(y - cap))
