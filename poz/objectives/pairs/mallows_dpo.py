"""Mallows-DPO: sharper where the reference is sure of its answer."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.objectives import _labels as labels
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    labels.check_entropy(xp, "mallows_dpo", pairs)


def _cauchy(xp: Namespace, z: Array) -> Array:
    one, below, above = xp.ones_like(z), z < -1, z > 1
    # Far from 0 the arctangent of z is that of 1 / z less a quarter turn, without which no digits are lost.
    rest = xp.arctan(1 / xp.where(below | above, z, one)) / np.pi
    near = 0.5 + xp.arctan(xp.where(below | above, xp.constant(0.0, z), z)) / np.pi
    return -xp.where(above, xp.log1p(-xp.where(above, rest, 0 * one)), xp.log(xp.where(below, -rest, near)))


@objective(
    title="Mallows-DPO",
    paper="arXiv:2405.14953",
    equation="Mallows-θ-DPO",
    formula=r"-\log F(\beta\varphi h),\quad\varphi=-\kappa\log\bar H_{ref},\ F(z)\in\{\sigma(z),\ \tfrac12+\tfrac1\pi\arctan z\}",
    reads="chosen rejected ref_chosen ref_rejected entropy",
    published=[
        Published("haoxian-chen/MallowsPO@c188a2e, mallowsPO_config.py", {"beta": (10.0,), "kappa": (0.29,)}),
    ],
    answers=[
        Answer(
            "disagreement",
            paper="abstract: DPO misses how much preferences differ between people, which a dispersion index of the prompt states",
        ),
    ],
    check_values=_check_values,
    reduces_to=[
        Limit(
            "dpo",
            "κ = 1 and an entropy of 1/e",
            lambda p: {**p, "kappa": 1.0, "link": "logistic"},
            lambda p: {"beta": p["beta"]},
            lambda b: (b._replace(entropy=0 * b.chosen + np.exp(-1.0)), b),
        )
    ],
    deviations=[
        Deviation("the authors' code", "its Cauchy link has no dispersion", "link='cauchy', κ = 1, an entropy of 1/e"),
        Deviation(
            "the authors' code",
            "H̄ is the mean of the two completions' means, not the mean over all tokens of both",
            "entropy, averaged that way",
        ),
    ],
    basis="The authors' code, executed in float64 (haoxian-chen/MallowsPO@c188a2e): tests/authors/mallows_dpo.json.",
)
def mallows_dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    kappa: Annotated[float, Real("κ, scale of the dispersion", low=0, open="low")] = 0.29,
    link: Annotated[str, Choice("F, the distribution of a preference's noise", ("logistic", "cauchy"))] = "logistic",
) -> Array:
    """DPO with β scaled by the dispersion φ, which is 0 where the reference's tokens are uniform."""
    h = terms.log_ratio_margin(pairs)
    z = -beta * kappa * xp.log(xp.astype(pairs.entropy, h)) * h
    return -xp.log_sigmoid(z) if link == "logistic" else _cauchy(xp, z)
