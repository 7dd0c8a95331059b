"""Logistic regression by Newton's method: the fit under the mixture and under the table of properties."""

from __future__ import annotations

import numpy as np

from poz.backends.numpy import sigmoid, softplus
from poz.rewards._host import Floats


def loss(x: Floats, y: Floats, w: Floats) -> float:
    """Σ -(y log σ(x·w) + (1 - y) log σ(-x·w)), in nats."""
    z = x @ w
    return float(np.sum(y * softplus(-z) + (1 - y) * softplus(z)))


def slopes(x: Floats, y: Floats, w: Floats) -> Floats:
    """Of `loss` in w, σ(z) - y without its cancellation where the fit is sure."""
    z = x @ w
    return np.asarray(x.T @ ((1 - y) * sigmoid(z) - y * sigmoid(-z)))


def units(x: Floats) -> Floats:
    """The largest entry of each column, by which columns of all scales are alike; 1 of a column of 0."""
    most = np.max(np.abs(x), 0)
    return np.where(most > 0, most, 1.0)


def newton(x: Floats, y: Floats, ridge: float = 0.0, start: Floats | None = None) -> Floats:
    """The w of least `loss` + ridge/2 |w|², for labels in [0, 1].

    Raises:
        ArithmeticError: There is none: some direction tells the labels apart, or makes no difference.
    """
    unit = units(x)
    x, ridges = x / unit, ridge / unit**2
    w = np.zeros(x.shape[1]) if start is None else start * unit

    def total(w: Floats) -> float:
        return loss(x, y, w) + float(ridges @ w**2) / 2

    for _ in range(100):
        z = x @ w
        curvature = (x.T * (sigmoid(z) * sigmoid(-z))) @ x + np.diag(ridges)
        spread = np.sqrt(np.diag(curvature))
        if not np.all(spread > 0):
            break
        scaled = curvature / np.outer(spread, spread)
        if not np.linalg.cond(scaled) < 1e14:
            break
        step = np.linalg.solve(scaled, (slopes(x, y, w) + ridges * w) / spread) / spread
        now = total(w)
        while total(w - step) > now + 1e-12 * abs(now):
            step = step / 2
        w = w - step
        # Along what tells the labels apart, slope and curvature vanish together, and the step does not.
        if np.max(np.abs(step)) <= 1e-10 * max(1.0, float(np.max(np.abs(w)))):
            return np.asarray(w / unit)
    raise ArithmeticError(
        "There is no one best fit: some direction tells all labels apart, so that weights would be infinite, or makes no "
        "difference. A penalty helps."
    )
