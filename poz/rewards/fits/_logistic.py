"""Logistic regression by Newton's method: the fit under the mixture and under the table of properties."""

from __future__ import annotations

import numpy as np

from poz.backends.numpy import sigmoid, softplus
from poz.rewards._host import Floats


def loss(x: Floats, y: Floats, w: Floats, ridge: float = 0.0) -> float:
    """Σ softplus(x·w) - y x·w + ridge/2 |w|², in nats."""
    z = x @ w
    return float(np.sum(softplus(z) - y * z) + ridge / 2 * (w @ w))


def newton(x: Floats, y: Floats, ridge: float = 0.0, start: Floats | None = None) -> Floats:
    """The minimiser of `loss`, for labels in [0, 1] and columns that are linearly independent or penalised.

    Raises:
        ArithmeticError: There is none, or it is too far for float64: some direction tells the labels apart.
    """
    w = np.zeros(x.shape[1]) if start is None else start
    for _ in range(100):
        p = sigmoid(x @ w)
        slope = x.T @ (p - y) + ridge * w
        curvature = (x.T * (p * (1 - p))) @ x + ridge * np.eye(len(w))
        # Along what tells the labels apart, the slope and the curvature go to 0 together and the step does not.
        if not np.linalg.cond(curvature) < 1e14:
            break
        step = np.linalg.solve(curvature, slope)
        now = loss(x, y, w, ridge)
        while loss(x, y, w - step, ridge) > now + 1e-12 * abs(now):
            step = step / 2
        w = w - step
        if np.max(np.abs(step)) <= 1e-10 * max(1.0, float(np.max(np.abs(w)))):
            return w
    raise ArithmeticError("Some direction tells the labels apart, so the weights would be infinite.")
