"""Advantages whitened over all of a batch, wherever its parts are."""

from __future__ import annotations

import math
from typing import Any

from poz._given import given
from poz.advantages._members import delta_degrees, deviation, divided, finite, number
from poz.advantages._processes import greatest, total
from poz.backends import Array, Namespace
from poz.rewards._arrays import scores


@given
def whiten(
    advantages: Array, mask: Array = None, *, epsilon: float = 0.0, ddof: int = 1, processes: Any = None
) -> Array:
    """(A - mean) / (deviation + ε), over all that the mask lets through; 0 elsewhere, and exactly 0 where all are equal.

    verl and NeMo-RL divide by √(variance + 1e-8) with ddof 1 and by √max(variance, 1e-8) with ddof 0, OpenRLHF as the latter:
    alike wherever there is a deviation to speak of.

    Args:
        advantages: Of any shape.
        mask: The same shape, true where one counts; all where not given.
        epsilon: ε >= 0, in the unit of the advantages.
        ddof: 1 for the deviation of a sample, 0 for that of the population.
        processes: See `poz.advantages`.

    Returns:
        The same shape, without a unit.

    Raises:
        TypeError: No floating-point advantages, no booleans for the mask, or two libraries.
        ValueError: A mask of another shape, a number that is not finite, an ε below 0, another ddof.
    """
    xp, x = scores("whiten", advantages=advantages)
    epsilon, ddof = number("whiten", "epsilon", epsilon), delta_degrees("whiten", ddof)
    x, one = xp.stop_gradient(x), xp.ones_like(x)
    valid = one > 0 if mask is None else allowed("whiten", xp, x, mask)
    zero, count = 0 * one, total(xp, xp.where(valid, one, 0 * one), processes)
    # compared with one of them first, so that equal numbers are 0 apart and large ones keep their digits
    finite("whiten", xp, advantages=xp.where(valid, x, zero))
    apart = xp.where(valid, x - greatest(xp, xp.where(valid, x, zero - math.inf), processes), zero)
    centred = xp.where(valid, apart - total(xp, apart, processes) / xp.maximum(count, 1.0), zero)
    most = greatest(xp, abs(centred), processes)
    most = xp.where(most > 0, most, xp.ones_like(most))  # -∞ of none
    std = deviation(xp, centred, most, lambda squares: total(xp, squares, processes), count, ddof)
    return divided(xp, centred, std, epsilon)


def allowed(function: str, xp: Namespace, x: Array, mask: Array) -> Array:
    """The mask, checked.

    Raises:
        TypeError: No booleans, or of another library.
        ValueError: Another shape.
    """
    if not xp.is_array(mask) or xp.kind(mask) != "bool":
        raise TypeError(
            f"{function} needs a mask of booleans of {xp.name}; got {getattr(mask, 'dtype', type(mask).__name__)}."
        )
    if tuple(mask.shape) != tuple(x.shape):
        raise ValueError(f"{function} needs a mask of the shape {tuple(x.shape)}; got {tuple(mask.shape)}.")
    return mask


def spread_over(function: str, xp: Namespace, x: Array, mask: Array) -> Array:
    """A number of each completion at each of its tokens."""
    if not xp.is_array(mask) or xp.kind(mask) != "bool" or mask.ndim != 2 or mask.shape[0] != x.shape[0]:
        raise ValueError(
            f"{function} needs a mask of booleans of {xp.name}, shape ({x.shape[0]}, tokens); got "
            f"{getattr(mask, 'dtype', type(mask).__name__)} {tuple(getattr(mask, 'shape', ()))}."
        )
    return x[:, None] + 0 * xp.astype(mask, x)
