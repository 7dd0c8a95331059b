"""HC-RLHF: a constraint on costs that holds with high confidence, in training and in a test at the end.

    κ = kappa(len(costs))                                               # of the costs of one buffer
    bound = upper_bound(costs, κ)
    log_multiplier = multiplier_step(log_multiplier, bound, threshold)
    returns = rewards - exp(log_multiplier) * advantage_cost(costs, κ)
    ...
    verdict = safety_test(held_out_costs, threshold)                    # verdict.safe, or "no solution found"

Source: arXiv 2506.08266, as in the authors' code (UMass-SCALAR-Lab/HC-RLHF@a265945,
safe_rlhf/algorithms/reinforce_lag/trainer.py and safe_rlhf/trainers/reinforce_trainer.py). The bounds are Student's:
exact for normal costs, near it for many. Quantiles are SciPy's: pip install 'poz[rewards]'. Deviations are those of
samples (ddof = 1). Costs have any unit, and the threshold has the same.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from poz._extras import require
from poz._given import given
from poz.backends import Array, Namespace, namespace
from poz.rewards._arrays import root, scores


class SafetyTest(NamedTuple):
    """What the test of held-out costs says.

    Attributes:
        bound: Above the expected cost with probability 1 - δ, in the unit of the costs.
        safe: Whether the bound is at most the threshold. If not, the authors return no policy: "no solution found".
    """

    bound: float
    safe: bool


@given
def kappa(
    count: int, *, delta: float = 0.1, safety_count: int = 1000, training: float = 1.0, safety: float = 1.0
) -> float:
    """How many deviations above the mean cost the constraint stands: c1 t(1-δ, n-1) / √n + c2 t(1-δ, N-1) / √N.

    Args:
        count: n >= 2, costs that mean and deviation are taken of. (The authors' multiplier step takes the length of
            the buffer, their augmented cost the samples of one batch.)
        delta: δ in (0, 1/2], how often the bound may fail.
        safety_count: N >= 2, costs of the safety test to come.
        training: c1 >= 0; 0 for both is Lagrangian PPO, κ = 0.
        safety: c2 >= 0.

    Returns:
        κ >= 0, no unit.

    Raises:
        ImportError: SciPy is missing.
        ValueError: Counts, δ or factors out of their domains.
    """
    if not (0 <= training < math.inf and 0 <= safety < math.inf):
        raise ValueError(f"training and safety must be at least 0 and finite; got {training} and {safety}.")
    return training * _margin("count", count, delta) + safety * _margin("safety_count", safety_count, delta)


@given
def upper_bound(costs: Array, kappa: float) -> Array:
    """mean + κ s of all costs: the one number that the constraint is about.

    Args:
        costs: Any shape, two or more floating-point numbers.
        kappa: κ, of `kappa`.

    Returns:
        () in the unit of the costs; where all are equal, that cost.

    Raises:
        TypeError: No floating-point array.
        ValueError: Fewer than two costs, or one that is not finite, where it can be read.
    """
    xp, costs = scores("upper_bound", costs=costs)
    mean, deviation = _moments("upper_bound", xp, costs)
    return mean + kappa * deviation


@given
def advantage_cost(costs: Array, kappa: float, *, mean: Any = None, deviation: Any = None) -> Array:
    """C + κ (C² - 2 C mean) / (2 s): the cost whose policy gradient is that of mean + κ s.

    Weighted with the gradient of log π its expectation is the gradient of mean + κ s, which falls as costs differ less.

    Args:
        costs: (...) C of the samples.
        kappa: κ, of `kappa`.
        mean: Of a larger buffer, with `deviation`; None takes both from `costs`.
        deviation: s. Where it is 0, C itself is returned: √ has no slope there.

    Returns:
        (...) in the unit of the costs.

    Raises:
        TypeError: No floating-point array.
        ValueError: One of mean and deviation without the other, or neither and costs that `upper_bound` refuses.
    """
    xp, costs = scores("advantage_cost", costs=costs)
    if (mean is None) != (deviation is None):
        raise ValueError("advantage_cost needs mean and deviation of the same costs: give both, or none.")
    if mean is None:
        mean, deviation = _moments("advantage_cost", xp, costs)
    mean, deviation = xp.constant(mean, costs), xp.constant(deviation, costs)
    spread = deviation != 0
    slope = xp.where(spread, kappa / (2 * xp.where(spread, deviation, xp.ones_like(deviation))), 0 * deviation)
    return costs + slope * (costs * costs - 2 * costs * mean)


@given
def multiplier_step(
    log_multiplier: Any, bound: Any, threshold: float, *, rate: float = 0.01, most: float | None = None
) -> Any:
    """log λ + rate (bound - threshold) λ: gradient ascent in log λ, by which a violated constraint gains weight.

    Args:
        log_multiplier: log λ, a number or an array without a dimension.
        bound: `upper_bound` of the costs, in their unit.
        threshold: What it may be at most, in the same unit.
        rate: Above 0; the authors' scripts take .01.
        most: The greatest λ, above 0, or None.

    Returns:
        log λ after the step.

    Raises:
        ValueError: A rate or a greatest λ that is not positive, or a bound that is not finite, where it can be read.
    """
    if not rate > 0 or (most is not None and not most > 0):
        raise ValueError(f"rate and most must be positive; got {rate} and {most}.")
    named = {"log_multiplier": log_multiplier, "bound": bound}
    like = next((x for x in named.values() if type(x) not in (float, int)), np.float64(0))
    arrays = {name: namespace(like).constant(x, like) if type(x) in (float, int) else x for name, x in named.items()}
    xp, log_multiplier, bound = scores("multiplier_step", **arrays)
    known = xp.values(bound)
    if known is not None and not (abs(known) < math.inf).all():
        raise ValueError(f"multiplier_step needs a finite bound; got {known}. Look at the costs.")
    stepped = log_multiplier + rate * (bound - threshold) * xp.exp(log_multiplier)
    return (
        stepped if most is None else xp.where(stepped > math.log(most), xp.constant(math.log(most), stepped), stepped)
    )


@given
def safety_test(costs: Array, threshold: float, *, delta: float = 0.1) -> SafetyTest:
    """Whether mean + t(1-δ, N-1) s / √N of held-out costs is at most the threshold.

    A policy whose expected cost is above the threshold passes with a probability of at most δ, for normal costs. The
    costs have to be of the finished policy and of prompts that no step has seen.

    Args:
        costs: Any shape, N >= 2 finite floating-point numbers; they are read, so a GPU is waited for.
        threshold: In the unit of the costs.
        delta: δ in (0, 1/2].

    Raises:
        ImportError: SciPy is missing.
        TypeError: No floating-point array.
        ValueError: Fewer than two costs, one that is not finite, or a threshold or δ that is no such number.
    """
    _, costs = scores("safety_test", costs=costs)
    margin = _margin("the number of costs", math.prod(costs.shape), delta)
    bound = float(upper_bound(costs, margin))
    if not math.isfinite(bound) or math.isnan(threshold):
        raise ValueError(f"safety_test needs finite costs and a threshold; got a bound of {bound} against {threshold}.")
    return SafetyTest(bound, bound <= threshold)


def _margin(name: str, count: int, delta: float) -> float:
    """t(1-δ, count-1) / √count."""
    if count < 2:
        raise ValueError(f"A deviation needs two costs, so {name} must be at least 2; got {count}.")
    if not 0 < delta <= 0.5:
        raise ValueError(f"delta must lie in (0, 1/2], or the bound would stand below the mean; got {delta}.")
    require("poz.rewards.transforms", "rewards", "scipy")
    from scipy.special import stdtrit

    return float(stdtrit(count - 1, 1 - delta)) / math.sqrt(count)


def _moments(function: str, xp: Namespace, costs: Array) -> tuple[Array, Array]:
    count = math.prod(costs.shape)
    if count < 2:
        raise ValueError(f"{function} needs two costs at least for a deviation; got {count}.")
    known = xp.values(costs)
    if known is not None and not (abs(known) < math.inf).all():
        raise ValueError(f"{function} needs finite costs: one that is not leaves no bound. Look at them.")
    mean = xp.mean(costs)
    return mean, root(xp, xp.sum((costs - mean) ** 2) / (count - 1))
