"""How near is near enough, in one table, and an assertion that says where it failed.

An error is measured against a scale, the sum of
* |expected|;
* conditioning: how far the float64 reference itself moves when its inputs move by one part in a million, times a
  million. A loss that is the small difference of large log-probs could not be compared without it;
* one nat for a loss, and for a gradient the largest one in the batch (at least `UNIT`): terms of that size may cancel
  inside a formula, as log 2 does in KL(p || p). The tails, where nothing cancels, have a law of their own.
So a float64 error of 1e-12 means: within 1e-12 of exact arithmetic on inputs that are off by 1e-12.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

RTOL = {
    # float64: some 50 roundings of 2.2e-16 each, then a tenfold margin; a gradient goes through more of them.
    ("float64", "loss"): 1e-12,
    ("float64", "gradient"): 1e-11,
    # float32: twice the worst seen over 240 drawn cases per objective in torch (5.6e-7 of `amapo`, and 1.3e-5 of `pro`, whose
    # softmax of logits of some 100 nats rounds each by 4e-6). The ceiling, 4 * sqrt(eps) = 1.4e-3, is far.
    ("float32", "loss"): 1.1e-6,
    ("float32", "gradient"): 2.6e-5,
}


# Gradients are per nat of log-prob; this is the least size that rounding may be measured against.
UNIT = {"float64": 1e-3, "float32": 0.1}

# Below this a number is subnormal, or made of subnormal ones, and has no relative accuracy to ask for.
FLOOR = {dtype: float(np.finfo(dtype).tiny / np.finfo(dtype).eps) for dtype in ("float64", "float32")}


class Mismatch(AssertionError):
    """Two arrays differ by more than the tolerance; says which, where and by how much."""


def relative_error(
    actual: npt.ArrayLike, expected: npt.ArrayLike, scale: npt.ArrayLike | None = None, floor: float = FLOOR["float64"]
) -> npt.NDArray[Any]:
    """|actual - expected| / max(scale, floor), elementwise; inf where one is finite and the other is not."""
    a, e = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if a.shape != e.shape:
        raise Mismatch(f"shape {a.shape}, expected {e.shape}")
    s = np.abs(e) if scale is None else np.asarray(scale, np.float64)
    with np.errstate(all="ignore"):
        error = np.abs(a - e) / np.maximum(s, floor)
    same = (a == e) | (np.isnan(a) & np.isnan(e))
    both_finite = np.isfinite(a) & np.isfinite(e)
    return np.where(same, 0.0, np.where(both_finite & np.isfinite(s), error, np.inf))


def assert_close(
    name: str, *, actual: npt.ArrayLike, expected: npt.ArrayLike, rtol: float, scale: npt.ArrayLike | None = None
) -> None:
    """Raises `Mismatch` with the tensor's name, the worst index and both values."""
    error = relative_error(actual, expected, scale)
    if error.size and error.max() > rtol:
        at = np.unravel_index(int(error.argmax()), error.shape)
        where = tuple(int(i) for i in at)
        raise Mismatch(
            f"{name}{list(where)} is {np.asarray(actual)[at]!r}, expected {np.asarray(expected)[at]!r}: "
            f"relative error {error[at]:.2e} above {rtol:.0e}; {int((error > rtol).sum())} of {error.size} differ."
        )
