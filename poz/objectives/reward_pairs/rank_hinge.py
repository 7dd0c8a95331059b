"""HPSv2's ranking loss: a hinge on the scores, steeper the further apart two completions stand in a ranking."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs, RewardPairs
from poz.objective import Deviation, Limit, Published, objective


def _without_ranks(pairs: RewardPairs) -> tuple[RewardPairs, Pairs]:
    none = 0 * pairs.chosen
    return pairs._replace(margin=None), Pairs(pairs.chosen, pairs.rejected, none, none)


@objective(
    title="Ranking hinge (HPSv2)",
    paper="arXiv:2306.09341",
    equation="RankingLoss of the authors' code",
    formula=r"\max\bigl(0,\ \gamma-m\,(r_w-r_l)\bigr),\quad m=\text{rank of }y_l-\text{rank of }y_w",
    reads="chosen rejected",
    optional="margin",
    published=[Published("tgxs002/HPSv2@866735e hpsv2/src/training/params.py", {"bound": (1.0,)})],
    reduces_to=[
        Limit("hinge", "no ranks", lambda p: {"bound": 1.0}, lambda p: {"beta": 1.0}, _without_ranks),
    ],
    deviations=[
        Deviation(
            "the authors' code",
            "averages over the lower half of a K by K table with its diagonal, K (K + 1) / 2 entries of which K are γ, and over "
            "the padding of shorter lists",
            "the mean over pairs, K (K - 1) / 2 for a list: margin=rank_rejected-rank_chosen",
        ),
    ],
    basis="The authors' code, executed in float64 (tgxs002/HPSv2@866735e): tests/authors/rank_hinge.json.",
)
def rank_hinge(
    xp: Namespace,
    pairs: RewardPairs,
    *,
    bound: Annotated[float, Real("γ, what the margin times the ranks between is to reach", low=0, open="low")] = 1.0,
) -> Array:
    """max(0, γ - m d), m the ranks between the two, in `margin`, 1 where it is not given: equal ranks have no gradient."""
    apart = pairs.chosen - pairs.rejected
    return xp.relu(bound - (apart if pairs.margin is None else terms.times(xp, xp.astype(pairs.margin, apart), apart)))
