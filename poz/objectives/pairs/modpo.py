"""MODPO: DPO for one of several objectives, given the rewards of the others."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Multi-Objective DPO",
    paper="arXiv:2310.03708",
    equation="the MODPO loss; eq. 14 by secondary sources",
    formula=r"-\log\sigma\Bigl(\tfrac{1}{w}\bigl[\beta h-(1-w)(r_w-r_l)\bigr]\Bigr)",
    reads="chosen rejected ref_chosen ref_rejected margin",
    reduces_to=[
        Limit("dpo", "w = 1", lambda p: {**p, "weight": 1.0}, lambda p: {"beta": p["beta"]}),
        Limit(
            "odpo",
            "β/w, and a linear offset of (1-w)/w",
            lambda p: {**p, "weight": 0.75 * p["weight"]},
            lambda p: {
                "beta": p["beta"] / (0.75 * p["weight"]),
                "alpha": 1 / (0.75 * p["weight"]) - 1,
                "offset": "linear",
            },
        ),
    ],
    published=[
        Published(
            "ZHZisZZ/modpo@2e2df20 scripts/modpo/beavertails/run.sh, modpo.py",
            {"beta": (0.1,), "weight": (0.1, 0.5, 0.9)},
        )
    ],
    answers=[
        Answer(
            "goals",
            paper="abstract: one loss for several rewards by weight, with the optimum of reinforcement learning on their sum",
        ),
    ],
    deviations=[
        Deviation(
            "the authors' length penalty",
            "weights of 1 and w', which do not add up to 1",
            "weight=0.5, half the beta, and w' times the gap as margin",
        ),
        Deviation("the authors' `hinge`", "max(0, 1 - z) in place of -log σ(z)", "not offered"),
    ],
    basis="The authors' code, executed in float64 (ZHZisZZ/modpo@2e2df20): tests/authors/modpo.json; it takes several other "
    "objectives, whose weighted gap is `margin`. Of the paper the abstract alone was read.",
)
def modpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    weight: Annotated[
        float, Real("w, weight of the objective the labels are about", low=0, high=1, open="low", usual=(0.05, 1.0))
    ] = 0.5,
) -> Array:
    """DPO with a margin: the gap in the other objectives' reward, `margin`, at weight 1 - w."""
    z = beta * terms.log_ratio_margin(pairs)
    return -xp.log_sigmoid((z - (1 - weight) * xp.astype(pairs.margin, z)) / weight)
