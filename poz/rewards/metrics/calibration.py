"""Whether a preference model is right as often as it says, in bins that add up. NumPy, on the host."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poz._given import given
from poz.backends.numpy import sigmoid
from poz.rewards._host import Floats, finite, shares

UNIFORM = (0.2, 0.4, 0.6, 0.8)
"""Inner edges of five bins of [0, 1], the authors' default."""


class Calibration(NamedTuple):
    """Sums over bins of predicted probability. `a + b` and `sum(...)` add those with the same edges.

    Attributes:
        edges: (bins - 1,) inner edges, ascending; a probability that is one of them belongs to the lower bin.
        confidence: (bins,) sum of the predicted probabilities.
        correct: (bins,) sum of the labels.
        counts: (bins,) how many.
    """

    edges: Floats
    confidence: Floats
    correct: Floats
    counts: Floats

    @classmethod
    @given
    def of(cls, probabilities: npt.ArrayLike, labels: npt.ArrayLike, edges: npt.ArrayLike = UNIFORM) -> Calibration:
        """Bins of predictions and what came of them.

        Args:
            probabilities: (n,) predicted probabilities.
            labels: (n,) 1 where what was predicted is so, else 0; 1/2 for a tie.
            edges: (bins - 1,) inner edges in [0, 1], ascending; `quantile_edges` makes others.

        Source: dunzeng/MORE@94c54e4 utils.py `calibration_error`, after Zeng et al. 2023, arXiv 2312.07401.

        Raises:
            ValueError: Shapes that differ, what is no probability, or edges that descend.
        """
        predicted, truth = shares("probabilities", probabilities), shares("labels", labels)
        inner = shares("edges", edges)
        if predicted.shape != truth.shape:
            raise ValueError(f"A probability needs one label; got {predicted.size} and {truth.size}.")
        if np.any(np.diff(inner) < 0):
            raise ValueError(f"edges must ascend; got {inner.tolist()}.")
        bins = np.searchsorted(inner, predicted)
        sums = (np.bincount(bins, x, len(inner) + 1).astype(float) for x in (predicted, truth, np.ones_like(truth)))
        return cls(inner, *sums)

    @classmethod
    @given
    def of_margins(cls, margins: npt.ArrayLike, sides: str = "both", edges: npt.ArrayLike = UNIFORM) -> Calibration:
        """Bins of the Bradley-Terry probabilities of pairs.

        Args:
            margins: (batch,) d, score of chosen minus score of rejected, in nats.
            sides: "both" predicts σ(d) of chosen, which is so, and σ(-d) of rejected, which is not: the bins are mirror
                images, and the order of a pair does not matter. "winner" predicts σ(|d|), in [1/2, 1], of the side that
                scores higher; at d = 0 that is so by half.
            edges: As of `of`.

        Raises:
            ValueError: Margins that are not finite or not of one dimension, or other sides.
        """
        d = finite("margins", margins, "batch")
        if sides not in ("both", "winner"):
            raise ValueError(f'sides is "both" or "winner"; got {sides!r}.')
        if sides == "winner":
            return cls.of(sigmoid(np.abs(d)), np.where(d == 0, 0.5, d > 0), edges)
        return cls.of(sigmoid(np.concatenate([d, -d])), np.repeat([1.0, 0.0], d.size), edges)

    @property
    def expected(self) -> float:
        """Expected calibration error: |confidence - correct| averaged over predictions; NaN of nothing (MORE's is 0)."""
        return float(np.sum(self._off) / np.sum(self.counts)) if np.any(self.counts) else np.nan

    @property
    def average(self) -> float:
        """The error of a bin, averaged over bins that are not empty; NaN of nothing."""
        return float(np.mean(self._per_bin)) if np.any(self.counts) else np.nan

    @property
    def largest(self) -> float:
        """The error of the worst bin; NaN of nothing."""
        return float(np.max(self._per_bin)) if np.any(self.counts) else np.nan

    @property
    def _off(self) -> Floats:
        return np.abs(self.confidence - self.correct)

    @property
    def _per_bin(self) -> Floats:
        seen = self.counts > 0
        return np.asarray(self._off[seen] / self.counts[seen])

    def __add__(self, other: Calibration) -> Calibration:  # type: ignore[override]
        if not isinstance(other, Calibration):
            raise TypeError(f"A Calibration adds to another Calibration; got {type(other).__name__}.")
        if not np.array_equal(self.edges, other.edges):
            raise ValueError(
                f"Bins add where they have the same edges; got {self.edges.tolist()} and {other.edges.tolist()}."
            )
        sums = (a + b for a, b in zip(self[1:], other[1:], strict=True))
        return Calibration(self.edges, *sums)

    def __radd__(self, other: int) -> Calibration:
        return self if isinstance(other, int) and other == 0 else self + other  # type: ignore[operator]


@given
def quantile_edges(probabilities: npt.ArrayLike, bins: int) -> Floats:
    """Inner edges of bins of about as many predictions each, by numpy.quantile.

    They depend on all predictions, so ranks have to share those of one sample.

    Args:
        probabilities: (n,) predicted probabilities, one at least.
        bins: 1 or more.

    Returns:
        (bins - 1,) edges; equal where many predictions are, and the bins between such are empty.

    Raises:
        ValueError: No prediction, what is no probability, or no bin.
    """
    predicted = shares("probabilities", probabilities)
    if not predicted.size or bins < 1:
        raise ValueError(f"Quantiles need a prediction and a bin at least; got {predicted.size} and {bins}.")
    return np.asarray(np.quantile(predicted, np.linspace(0, 1, bins + 1)[1:-1]))
