"""β-DPO: the strength of the KL constraint follows the mean margin of the batch."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="DPO with dynamic β",
    paper="arXiv:2407.08639",
    equation="the batch-level β and its DPO loss",
    formula=r"-\log\sigma(\beta_B h),\quad\beta_B=\max\bigl(\beta_{min},\ \beta\,[1+\alpha(\bar h-M_0)]\bigr)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published("junkangwu/beta-DPO@1629047, README.md", {"beta": (0.1,), "alpha": (0.6,)}),
        Published("junkangwu/beta-DPO@1629047, trainers.py", {"floor": (0.001,)}),
    ],
    answers=[
        Answer(
            "uneven-pairs",
            paper="abstract: the best β varies with how informative pairs are, so that each batch has its own",
        ),
    ],
    gradient_stops="β_B, the β of the batch",
    coupled="β follows the mean margin of the batch",
    reduces_to=[
        Limit(
            "dpo",
            "α = 0",
            lambda p: {**p, "alpha": 0.0},
            lambda p: {"beta": max(p["beta"], p["floor"])},
        )
    ],
    deviations=[
        Deviation(
            "the authors' code",
            "first drops a fifth of the pairs, drawn by how usual their margin is",
            "poz.algorithms.beta_dpo.keep, before the objective",
        ),
        Deviation("the authors' code", "keeps M0 itself", "poz.algorithms.beta_dpo.update; give mean_gap=state.mean"),
    ],
    basis="The authors' code, executed in float64 (junkangwu/beta-DPO@1629047): tests/authors/beta_dpo.json. By secondary sources the M of the paper is a gap in rewards, and so carries β; the code's does not.",
)
def beta_dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[
        float, Real("β, strength of the KL constraint at the mean gap", low=0, open="low", unit="1/nat")
    ] = 0.1,
    alpha: Annotated[float, Real("α, how far β follows the mean gap", low=0, unit="1/nat", usual=(0.0, 1.0))] = 0.6,
    mean_gap: Annotated[float, Real("M0, running mean of h, not times β", unit="nat", usual=(-5.0, 5.0))] = 0.0,
    floor: Annotated[float, Real("least β", low=0, open="low", usual=(0.001, 0.05))] = 0.001,
) -> Array:
    """DPO with one β for the batch, larger the more its margins exceed their running mean."""
    h = terms.log_ratio_margin(pairs)
    if 0 in h.shape:
        return h
    ahead = xp.mean(xp.stop_gradient(h)) - mean_gap
    steep = xp.maximum(terms.numbers(xp, beta * (1 + terms.times(xp, alpha, ahead)), h), floor)
    steep = xp.where(steep < np.inf, steep, xp.constant(np.nan, h))  # no loss and no slope is right at an infinite β
    return -xp.log_sigmoid(steep * h)
