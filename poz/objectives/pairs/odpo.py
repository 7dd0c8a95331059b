"""DPO with an offset: how much better chosen is sets the margin to reach."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, Values, objective
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    margin = xp.values(pairs.margin) if values["offset"] == "log" else None
    if margin is not None and (np.isfinite(margin) & (margin < 0)).any():
        raise ValueError(
            f"`odpo` needs margin >= 0 for offset='log'; got {margin.min()}. Swap those pairs, or use offset='linear'."
        )


@objective(
    title="DPO with an offset",
    paper="arXiv:2402.10571",
    equation="the ODPO loss",
    formula=r"-\log\sigma(\beta h-m),\quad m=\alpha\log(r_w-r_l)\ \text{or}\ \alpha(r_w-r_l)",
    reads="chosen rejected ref_chosen ref_rejected margin",
    published=[
        Published("rycolab/odpo@6152f67 README.md, sentiment", {"beta": (0.7,), "alpha": (0.5,)}),
        Published("the same, toxicity", {"beta": (0.05,), "alpha": (1.0,)}),
        Published("the same, summarization, and config/loss/odpo.yaml", {"beta": (0.5,), "alpha": (1.0,)}),
    ],
    answers=[
        Answer(
            "preference-strength",
            paper="abstract: the offset is by how much one completion is preferred, for not all pairs are equal",
            test="objectives/test_purposes_shown.py::test_a_stronger_preference_pulls_harder",
        ),
    ],
    check_values=_check_values,
    reduces_to=[
        Limit(
            "dpo",
            "a gap of 1, whose log is 0",
            lambda p: {**p, "offset": "log"},
            lambda p: {"beta": p["beta"]},
            lambda b: (b._replace(margin=0 * b.chosen + 1), b),
        )
    ],
    deviations=[
        Deviation("the authors' `ratio`", "offset α log(r_w / r_l)", "margin=log(r_w) - log(r_l), offset='linear'")
    ],
    basis="The authors' code, executed in float64 (rycolab/odpo@6152f67): tests/authors/odpo.json. 'linear' of a reward gap is "
    "margin DPO, not theirs.",
)
def odpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    alpha: Annotated[float, Real("α, scale of the offset", low=0, open="low")] = 1.0,
    offset: Annotated[str, Choice("of the known reward gap: its log, or itself", ("log", "linear"))] = "log",
) -> Array:
    """DPO whose margin has to exceed an offset; a log of a gap below 1 makes it easier than DPO, of 0 free."""
    z = beta * terms.log_ratio_margin(pairs)
    margin = xp.astype(pairs.margin, z)
    if offset == "linear":
        return -xp.log_sigmoid(z - alpha * margin)
    logs = xp.log(xp.where(margin == 0, xp.ones_like(margin), margin))
    return xp.where(margin == 0, terms.times(xp, 0.0, z), -xp.log_sigmoid(z - alpha * logs))
