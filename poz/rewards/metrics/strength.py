"""How sure an ensemble of reward models is of each label: preference strength.

Source: Wang et al. 2024, *Secrets of RLHF in Large Language Models Part II*, arXiv 2401.06080: M = 10 reward models on
hh-rlhf; about a quarter of the pairs has a negative strength, the lowest 20 % are mostly labelled wrongly, the next 20 %
are ambiguous. (Read; its data were not run here.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poz._given import given
from poz.backends import Array, namespace
from poz.rewards._host import finite, shares
from poz.rewards.metrics._arrays import alike, credit
from poz.rewards.metrics.mean import Mean


class Strength(NamedTuple):
    """What an ensemble thinks of each pair, as data: no gradient flows.

    Attributes:
        mean: (batch,) μ̂ of r_chosen - r_rejected over the models, in units of the reward; below 0 the ensemble
            contradicts the label.
        spread: (batch,) σ̂, the population standard deviation (÷ M); 0 of one model.
    """

    mean: Array
    spread: Array


@given
def preference_strength(chosen: Array, rejected: Array) -> Strength:
    """Mean and spread over reward models of the score of chosen minus that of rejected.

    Args:
        chosen: (batch, M) scores of the chosen completions by M reward models.
        rejected: (batch, M) those of the rejected ones.

    Raises:
        TypeError: Scores that are no floating-point arrays of one library.
        ValueError: Shapes or devices that differ, or no model.
    """
    xp, chosen, rejected = alike("metrics.preference_strength", chosen=chosen, rejected=rejected)
    if not chosen.ndim or not chosen.shape[-1]:
        raise ValueError(f"chosen must be of pairs by reward models, (batch, M); got {tuple(chosen.shape)}.")
    models = chosen.shape[-1]
    ahead = xp.stop_gradient(chosen - rejected)
    mean = xp.sum(ahead, -1) / models
    return Strength(mean, (xp.sum((ahead - mean[..., None]) ** 2, -1) / models) ** 0.5)


@given
def negative_share(strength: Strength, *, mask: Array = None) -> Mean:
    """Share of pairs with μ̂ < 0: those whose label the ensemble contradicts."""
    return Mean.of(credit(namespace(strength.mean), -strength.mean, 0.0), mask)


@given
def strength_buckets(mean: npt.ArrayLike, upto: npt.ArrayLike = (0.2, 0.4)) -> npt.NDArray[np.intp]:
    """Bucket of each pair by its rank in strength: 0 the lowest share, and so on. NumPy, on the host.

    The quantiles are of all pairs, so ranks have to gather them first. Equal strengths share a bucket, the higher one.

    Args:
        mean: (pairs,) μ̂ of all pairs, one at least.
        upto: (buckets - 1,) shares at which buckets end, ascending; the paper's are 0 to 20 to 40 to 100 %.

    Raises:
        ValueError: No pair, strengths that are not finite, or shares that descend or lie outside [0, 1].
    """
    strengths, ends = finite("mean", mean, "pairs"), shares("upto", upto, "ends")
    if not strengths.size:
        raise ValueError("Buckets are shares of pairs, of one at least; got none.")
    if np.any(np.diff(ends) < 0):
        raise ValueError(f"upto must ascend; got {ends.tolist()}.")
    return np.searchsorted(np.quantile(strengths, ends), strengths, side="right")
