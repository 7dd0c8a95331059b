"""How often and by how much scores put the chosen completion first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from poz._checks import prepared
from poz._given import given
from poz.backends import Array, Namespace
from poz.families import Pairs, Ranked
from poz.rewards.metrics._arrays import alike, credit, masked, positive
from poz.rewards.metrics.mean import Mean


@given
def reward_accuracy(chosen: Array, rejected: Array, *, tie: float = 0.5, mask: Array = None) -> Mean:
    """Share of pairs in which the chosen completion scores higher.

    Of the scores of a reward model it is explicit, of `implicit_rewards` implicit reward accuracy.

    Args:
        chosen: (batch,) scores of the chosen completions, in units of the reward.
        rejected: (batch,) those of the rejected ones.
        tie: What an equal pair counts. At 1/2 a constant score has the accuracy of a coin; TRL 1.16 counts 0.
        mask: (batch,) booleans, false at rows that only pad the batch.

    Raises:
        TypeError: Scores that are no floating-point arrays of one library.
        ValueError: Shapes or devices that differ, or a tie outside [0, 1].
    """
    xp, chosen, rejected = alike("metrics.reward_accuracy", chosen=chosen, rejected=rejected)
    return Mean.of(credit(xp, chosen - rejected, tie), mask)


@given
def reward_margin(chosen: Array, rejected: Array, *, mask: Array = None) -> Mean:
    """Mean of the score of chosen minus that of rejected, in units of the reward; arguments as of `reward_accuracy`."""
    _, chosen, rejected = alike("metrics.reward_margin", chosen=chosen, rejected=rejected)
    return Mean.of(chosen - rejected, mask)


@given
def implicit_rewards(pairs: Pairs, *, beta: float) -> tuple[Array, Array]:
    """β log π/π_ref of chosen and of rejected, the rewards whose optimal policy is the model, up to a shift per prompt.

    `reward_accuracy(*implicit_rewards(pairs, beta=0.1))` is 1[h > 0], TRL's `rewards/accuracies` with tie=0, and
    `reward_margin` of them is the mean of β h, in nats. Sums over tokens: longer completions have larger ones.

    Args:
        pairs: `chosen`, `rejected`, `ref_chosen` and `ref_rejected`, (batch,) summed log-probs in nats.
        beta: β > 0; no accuracy depends on it.

    Source: Rafailov et al. 2023, arXiv 2305.18290, eq. 5.

    Raises:
        ValueError: A field is missing, or β is not above 0.
    """
    positive("beta", beta)
    _, pairs = prepared("metrics.implicit_rewards", pairs, Pairs, _FOUR, ())
    return beta * (pairs.chosen - pairs.ref_chosen), beta * (pairs.rejected - pairs.ref_rejected)


_FOUR = ("chosen", "rejected", "ref_chosen", "ref_rejected")


class Drop(NamedTuple):
    """How much lower accuracies are, as shares: .03 is 3 points.

    Attributes:
        mean: Over the sets.
        largest: Of the worst set.
    """

    mean: float
    largest: float


@given
def generalisation_drop(before: Mean | Sequence[Mean], after: Sequence[Mean]) -> Drop:
    """Accuracy before minus accuracy after, set by set.

    `before` is the accuracy on data like those of training, or the explicit reward model's on each set where `after` is the
    implicit one's. Over five sets that differ from those of training, the implicit accuracy of Lin et al. drops by .03
    on average and by .07 at most (read in their abstract, which does not say from which of the two).

    Args:
        before: One accuracy, or one per set.
        after: The accuracy on each set.

    Returns:
        NaN in both where a set is empty.

    Source: Lin et al. 2024, arXiv 2409.03650.

    Raises:
        TypeError: One accuracy in place of a list.
        ValueError: No set, or another number of them.
    """
    if isinstance(after, Mean):
        raise TypeError("after is a list of accuracies, one per set; got one alone. Put it in brackets.")
    each = [before] * len(after) if isinstance(before, Mean) else list(before)
    if not after or len(each) != len(after):
        raise ValueError(
            f"A drop needs as many accuracies before as after, one at least; got {len(each)} and {len(after)}."
        )
    drops = [float(a.value) - float(b.value) for a, b in zip(each, after, strict=True)]
    return Drop(float(np.mean(drops)), float(np.max(drops)))


@given
def order_accuracy(ranked: Ranked, *, tie: float = 1.0) -> Mean:
    """Share of prompts whose whole list is in order: ranking accuracy beyond two completions.

    Args:
        ranked: `logps` (batch, K), best first, in nats, or any scores; `mask` where lists are shorter. A prompt with fewer
            than two completions has no order and is not counted.
        tie: What a list counts that is in order but for equal completions.

    Source: Chen et al. 2024, arXiv 2405.19534; angie-chen55/pref-learning-ranking-acc@a86bdef compares whole rankings.

    Raises:
        ValueError: Shapes that differ, or a tie outside [0, 1].
    """
    xp, ranked = prepared("metrics.order_accuracy", ranked, Ranked, ("logps",), ("mask",))
    better_first = np.triu(np.ones((ranked.logps.shape[-1],) * 2), 1)
    compared = _both(xp, ranked.logps, ranked.mask) * xp.constant(better_first, ranked.logps)
    right = credit(xp, _ahead(ranked.logps), tie)
    least = -_largest(xp, xp.where(compared > 0, -right, -xp.ones_like(right)))
    return Mean.of(least, _largest(xp, compared) > 0)


@given
def kendall(scores: Array, others: Array, *, mask: Array = None) -> Mean:
    """Kendall's τ-b between two scores of the same completions, averaged over prompts.

    τ_b = Σ sign(a_i - a_j) sign(b_i - b_j) / sqrt(Σ sign²(a_i - a_j) Σ sign²(b_i - b_j)) over the pairs of completions of
    a prompt: what scipy.stats.kendalltau, which has p-values too, gives for one.

    Args:
        scores: (batch, K) scores, of a reward model for instance.
        others: (batch, K) other scores of the same completions.
        mask: (batch, K) booleans, true at completions.

    Returns:
        A prompt is counted where τ-b is defined: not where either score is the same for all of its completions.

    Raises:
        TypeError: Scores that are no floating-point arrays of one library, or a mask that is not of booleans.
        ValueError: Shapes that differ, or no list of completions.
    """
    xp, scores, others = alike("metrics.kendall", scores=scores, others=others)
    if not scores.ndim or not scores.shape[-1]:
        raise ValueError(f"scores must be of the completions of each prompt, (batch, K); got {tuple(scores.shape)}.")
    compared, zero = _both(xp, scores, mask) > 0, xp.constant(0.0, scores)
    first, second = (
        xp.where(compared, credit(xp, ahead, 0.0) - credit(xp, -ahead, 0.0), zero)
        for ahead in (_ahead(scores), _ahead(others))
    )
    agreement, *untied = (xp.sum(xp.sum(x, -1), -1) for x in (first * second, first**2, second**2))
    squared = untied[0] * untied[1]
    defined = squared != 0  # as a NaN is
    return Mean.of(agreement / xp.where(defined, squared, xp.ones_like(squared)) ** 0.5, defined)


def _ahead(scores: Array) -> Array:
    return scores[..., :, None] - scores[..., None, :]


def _both(xp: Namespace, scores: Array, mask: Array) -> Array:
    """(..., K, K) 1 where both are completions, else 0."""
    there = xp.ones_like(scores)
    if mask is not None:
        there = xp.where(masked(scores, mask), there, xp.constant(0.0, scores))
    return there[..., :, None] * there[..., None, :]


def _largest(xp: Namespace, x: Array) -> Array:
    return xp.amax(xp.amax(x, -1), -1)
