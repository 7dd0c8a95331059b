"""RRHF: rank completions by their mean log-probs, and imitate the best."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Ranked
from poz.objective import Deviation, Published, Values, objective
from poz.objectives import _lists as ranked
from poz.purposes import Answer


def _check_values(xp: Namespace, lists: Ranked, values: Values) -> None:
    ranked.check_descending(xp, "rrhf", lists)


@objective(
    title="Rank Responses to align with Human Feedback",
    paper="arXiv:2304.05302",
    equation="eq. 1 to 5; eq. 4 sums the NLL",
    formula=r"w\sum_{r_i<r_j}\max(0,q_i-q_j)-\tfrac{1}{|y_1|}\log\pi(y_1),\quad q=\tfrac{1}{|y|^\kappa}\log\pi(y)",
    reads="logps lengths scores",
    optional="mask",
    published=[
        Published("arXiv:2304.05302, section 3.1; 10 and 100 were worse", {"weight": (1.0, 10.0, 100.0)}),
        Published("GanjinZero/RRHF@e1a2b61 train.sh, train.py", {"weight": (1.0,), "length_power": (1.0,)}),
    ],
    answers=[
        Answer("off-policy", paper="abstract: completions of different policies are scored and ranked"),
    ],
    check_values=_check_values,
    deviations=[
        Deviation(
            "the authors' code",
            "divides all log-probs and the NLL by the width of the padded row: it overwrites what counts the tokens",
            "give that width as every length",
        ),
        Deviation("the authors' class", "w defaults to 100; every script sets 1", "weight=100.0"),
        Deviation("the paper", "summed NLL", "nll='sum'"),
    ],
    basis="Paper, and the authors' code, executed in float64 (GanjinZero/RRHF@e1a2b61): tests/authors/rrhf.json.",
)
def rrhf(
    xp: Namespace,
    lists: Ranked,
    *,
    weight: Annotated[float, Real("w, weight of the ranking", low=0)] = 1.0,
    length_power: Annotated[float, Real("κ, power of the length that divides a log-prob", low=0)] = 1.0,
    nll: Annotated[str, Choice("of the best completion, per token or summed", ("mean", "sum"))] = "mean",
) -> Array:
    """Sum of what each worse completion exceeds each better one by, plus the NLL of the best.

    Completions with equal scores make no pair; the best is the first of the list.
    """
    valid = xp.ones_like(lists.logps) > 0 if lists.mask is None else lists.mask
    logps = terms.masked(xp, lists.logps, lists.mask)
    length = xp.maximum(xp.astype(lists.lengths, logps), 1.0)
    better, q = ranked.better(xp, lists, valid, logps / length**length_power)
    excess = xp.where(better, xp.relu(ranked.lead(1.0, q)), xp.constant(0.0, q))
    first = (xp.cumsum(xp.astype(valid, q), -1) == 1) & valid
    best = xp.where(first, logps / length if nll == "mean" else logps, xp.constant(0.0, q))
    return terms.times(xp, weight, xp.sum(xp.sum(excess, -2), -1)) - xp.sum(best, -1)
