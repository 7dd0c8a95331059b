"""HERON: a reward model of pairs that ranked factors label, the most important one first."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Weights
from poz.families import RewardPairs
from poz.objective import Deviation, Limit, Values, objective
from poz.objectives._labels import difference
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: RewardPairs, values: Values) -> None:
    count, delta = pairs.chosen_factors.shape[-1], values["delta"]
    if count == 0:
        raise ValueError("`heron` needs at least one factor, for without any no pair has a label; got F = 0.")
    given = count if delta is None else delta.shape[0] if hasattr(delta, "shape") else len(delta)
    if given != count:
        raise ValueError(
            f"`heron` needs one threshold in delta for each factor; got {given} for {count} factors. Say delta=None for none."
        )


def labels(xp: Namespace, chosen: Array, rejected: Array, delta: Array, like: Array) -> Array:
    """1 where chosen is the better one, -1 where rejected is, 0 where no factor tells, NaN where one is unknown; (batch,)."""
    gap = difference(xp, chosen, rejected, like)
    threshold = 0.0 if delta is None else xp.astype(delta, gap) if xp.is_array(delta) else xp.constant(delta, gap)
    tells = xp.astype(~(abs(gap) <= threshold), gap)  # an unknown gap does not go on to the next factor
    first = tells * xp.astype(xp.cumsum(tells, -1) == 1, gap)
    one = xp.ones_like(gap)
    sign = xp.where(gap > 0, one, xp.where(gap < 0, -one, gap))
    return xp.astype(xp.sum(terms.masked(xp, sign, first > 0), -1), like)


def share(xp: Namespace, y: Array) -> Array:
    """What each of the pairs with a label counts, so that the batch mean is theirs."""
    return y.shape[-1] / xp.maximum(xp.sum(xp.astype(y != 0, y)), 1.0)


def _one_factor(pairs: RewardPairs) -> tuple[RewardPairs, RewardPairs]:
    none = 0 * pairs.chosen_factors[..., :1]
    scores = RewardPairs(pairs.chosen, pairs.rejected)
    return scores._replace(chosen_factors=none + 1, rejected_factors=none), scores


@objective(
    title="Hierarchical preference design (HERON)",
    paper="arXiv:2309.02632",
    equation="the decision tree over ranked feedback signals, and the loss of the reward model",
    formula=r"-\tfrac{B}{n}\,|y|\log\sigma\bigl(y\,(r_w-r_l)\bigr),\quad y=\operatorname{sign}(x_k-x'_k)\text{ at the first }k\text{ with }|x_k-x'_k|>\delta_k,\text{ else }0",
    reads="chosen rejected chosen_factors rejected_factors",
    answers=[
        Answer(
            "goals",
            paper="abstract: factors ranked by importance decide which of two is better, in place of a reward combined by hand",
            test="objectives/test_reward_claims.py::test_without_thresholds_ranked_factors_are_an_order",
        ),
    ],
    check_values=_check_values,
    coupled="the number of pairs that the factors tell apart",
    reduces_to=[
        Limit("bradley_terry", "chosen has more of the only factor", lambda p: {"delta": None}, batch=_one_factor)
    ],
    deviations=[
        Deviation("the authors' code", "divides by n + 1e-5", "n, and 0 where it is 0"),
        Deviation(
            "the authors' code",
            "has a sign per factor, -1 where less is better",
            "factors of which more is better: negate the others",
        ),
        Deviation(
            "the authors' code, `sigma_mult`",
            "times the standard deviation (with n - 1) of each factor over all states so far, or of the batch",
            "delta, whatever it was computed from",
        ),
        Deviation("the authors' rm_mountain.py", "has no threshold for the first factor", "a 0 for it in delta"),
        Deviation(
            "the authors' robots", "take the second threshold for the third and fourth factor too", "one each in delta"
        ),
    ],
    basis="The authors' code, executed in float64 (abukharin3/HERON@7d6d03a): tests/authors/heron.json. Of the paper the abstract alone was read.",
)
def heron(
    xp: Namespace,
    pairs: RewardPairs,
    *,
    delta: Annotated[
        tuple[float, ...] | None,
        Weights(
            "δ, by how much each factor must differ to decide, in units of the factor; inf: never; None: by anything",
            per="factor",
            infinite=True,
        ),
    ] = None,
) -> Array:
    """Bradley-Terry of the pairs that a factor decides; the batch mean is the mean over those, and 0 where there are none.

    Factors are compared in their own dtype, or in that of the scores where it is the wider one.
    The label is not transitive where there are thresholds. A factor that is not a number, if it is reached, makes the loss
    of its pair none.
    """
    apart = pairs.chosen - pairs.rejected
    y = labels(xp, pairs.chosen_factors, pairs.rejected_factors, delta, apart)
    return terms.times(xp, share(xp, y) * abs(y), -xp.log_sigmoid(terms.times(xp, y, apart)))
