"""Numbers of which the batches of families are drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
ANNOTATORS = 3


def log_probs(rng: np.random.Generator, shape: tuple[int, ...], widest: float) -> Floats:
    """Negative, over many orders of magnitude: from 1e-3 nat to `widest`."""
    return -np.exp(rng.uniform(np.log(1e-3), np.log(widest), shape))


def with_zeros(x: Floats) -> Floats:
    """The numbers with those near 0 made exactly 0, as weights and margins of data often are."""
    return np.where(np.abs(x) < 0.1, 0.0, x)


def calibration(rng: np.random.Generator, widest: float) -> dict[str, Floats]:
    """Log-probs of calibration samples under policy and reference."""
    samples = (int(rng.integers(1, 6)),)
    found = {name: log_probs(rng, samples, widest) for name in ("calibration", "ref_calibration")}
    if samples[0] > 1:  # a sample on which policy and reference agree
        found["ref_calibration"][0] = found["calibration"][0]
    return found
