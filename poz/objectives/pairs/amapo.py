"""AMaPO: a margin that grows with how far a pair lags behind the batch."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.objectives._pairs import one
from poz.purposes import Answer


@objective(
    title="Adaptive Margin-attached Preference Optimization",
    paper="arXiv:2511.09385",
    equation="the AMaPO loss",
    formula=r"-\log\sigma\bigl(\beta m-\beta e^{(\mu-m)\mu/S}\,[m<\mu]\bigr),\quad m=\tfrac{\log\pi(y_w)}{|y_w|}-\tfrac{\log\pi(y_l)}{|y_l|}",
    reads="chosen rejected chosen_len rejected_len",
    published=[
        Published("Shiroha-Offical/AMaPO@c6c89cc, training_configs/mistral-7b-base-AMaPO.yaml", {"beta": (2.0,)}),
        Published("Shiroha-Offical/AMaPO@c6c89cc, training_configs/llama-3-8b-base-AMaPO.yaml", {"beta": (3.0,)}),
    ],
    answers=[
        Answer(
            "uneven-pairs",
            paper="abstract: pairs that are ranked rightly get too much gradient and others too little, so that margins adapt",
        ),
    ],
    gradient_stops="the margin of a pair",
    coupled="mean μ and standard deviation S of m over the batch",
    reduces_to=[
        Limit("simpo", "one pair", then=lambda p: {"beta": p["beta"], "gamma": 0.0}, batch=one),
    ],
    deviations=[Deviation("the authors' code", "the exponential overflows", "it goes on as its tangent beyond e^60")],
    basis="The authors' code, executed in float64 (Shiroha-Offical/AMaPO@c6c89cc): tests/authors/amapo.json. The default is between the released values; of the paper the abstract alone was read.",
)
def amapo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[
        float, Real("β, scale of the per-token reward", low=0, open="low", unit="1/nat", usual=(0.5, 10.0))
    ] = 2.5,
) -> Array:
    """SimPO whose margin is 0 for pairs above the mean; where all pairs are equal, or there is one, it is 0 too."""
    m = terms.gap(xp, pairs, length_normalized=True)
    if 0 in m.shape:
        return m
    held = xp.stop_gradient(m)
    count, zero = m.shape[-1], xp.constant(0.0, m)
    mean = xp.mean(held)
    apart = ~(xp.amax(held, -1) <= -xp.amax(-held, -1))  # the rounding of the mean of equal gaps is no spread
    lag = xp.where(apart, mean - held, zero)
    spread = (xp.sum(lag**2) / max(count - 1, 1)) ** 0.5
    behind = ~((lag <= 0) | (spread == 0))  # written so that what is unknown stays so
    scaled = lag * mean / xp.where(spread == 0, xp.ones_like(spread), spread)
    extra = xp.where(behind, beta * terms.exponential(xp, xp.where(behind, scaled, zero)), zero)
    return -xp.log_sigmoid(beta * m - extra)
