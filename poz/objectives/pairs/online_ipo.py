"""Online IPO and IPO-MD: IPO on pairs that the policy, or its mixture with the reference, has just written."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Values, objective
from poz.objectives import _labels as labels
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    labels.check(xp, "online_ipo", pairs)


@objective(
    title="Online IPO, IPO-MD",
    paper="arXiv:2403.08635",
    equation="the online IPO loss",
    formula=r"\bigl(h-\tfrac{2p-1}{2\tau}\bigr)^2,\quad y,y'\sim\operatorname{sg}[\pi]\ \text{or}\ \operatorname{sg}[\pi^{1-\beta}\pi_{ref}^{\beta}]",
    reads="chosen rejected ref_chosen ref_rejected",
    optional="label",
    answers=[
        Answer(
            "online",
            paper="abstract: pairs come from the policy, or from its mixture with the reference, and a preference model labels them",
        ),
        Answer(
            "intransitive",
            paper="abstract: with such data its optimum is the equilibrium of the preferences",
            test="objectives/test_game_losses.py::test_online_ipo_climbs_the_regularised_game",
        ),
    ],
    check_values=_check_values,
    aliases=("ipo_md",),
    reduces_to=[
        Limit(
            "ipo",
            "no label, or 1: the chosen one is better for certain",
            then=lambda p: {"tau": p["tau"], "length_normalized": False},
            batch=lambda b: (b._replace(label=None), b),
        )
    ],
    deviations=[
        Deviation("Online IPO", "y, y' drawn from the policy itself", "sample so; the loss is the same"),
        Deviation("IPO-MD", "y, y' drawn from the mixture with the reference", "sample so; the loss is the same"),
        Deviation("labels drawn from the preference model", "±1/(2τ), the same gradient on average", "label=None"),
    ],
    gradient_stops="the sampling distribution: the pairs are data",
    basis="The INPO, ONPO and EGPO papers' statements of it; no code of its authors was found. EGPO's second form of it, and TRL's without "
    "soft labels, executed in float64 (zhourunlong/EGPO@f295bf3): tests/authors/online_ipo.json. The gradient identity with Nash-MD: "
    "tests/objectives/test_game_losses.py::test_online_ipo_climbs_the_regularised_game",
)
def online_ipo(
    xp: Namespace,
    pairs: Pairs,
    *,
    tau: Annotated[
        float, Real("τ, strength of the KL constraint to the reference", low=0, open="low", unit="1/nat")
    ] = 0.1,
) -> Array:
    """IPO whose target is scaled by 2p - 1, p the probability that chosen is the better one."""
    h = terms.log_ratio_margin(pairs)
    sure = 1.0 if pairs.label is None else 2 * xp.astype(pairs.label, h) - 1
    return (h - sure * (0.5 / tau)) ** 2
