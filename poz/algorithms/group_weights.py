"""GR-DPO's group weights, as explicit state and pure functions.

    weights = init(groups=3)
    losses = poz.gr_dpo(batch, weights=weights)                     # on NumPy, torch or JAX
    weights = update(weights, poz.dpo(batch), batch.annotator)      # of the global batch

Source: Ramesh et al. 2024, arXiv 2405.20304, the exponentiated-gradient step; the formula is that of the authors' code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from poz._given import given

Floats = npt.NDArray[np.float64]


@given
def init(groups: int) -> Floats:
    """(groups,) equal weights.

    Raises:
        ValueError: No group.
    """
    if groups < 1:
        raise ValueError(f"groups must be at least 1; got {groups}.")
    return np.full(groups, 1.0 / groups)


@given
def update(weights: npt.ArrayLike, losses: Any, annotator: Any, *, eta: float = 0.01) -> Floats:
    """q_g e^(η L_g) / Z with L_g the mean loss of the group; a group that the batch lacks counts as L_g = 0.

    Args:
        weights: (groups,) q of the last step.
        losses: (batch,) DPO losses, without q, of any library; a graph stays where it is.
        annotator: (batch,) group of each pair, from 0.
        eta: η >= 0, the step.

    Raises:
        ValueError: Weights that are no shares, a group without a weight, lengths that differ, or a negative step.
    """
    if not eta >= 0:
        raise ValueError(f"eta must be at least 0, or the best group would gain weight; got {eta}.")
    q, loss, group = np.asarray(weights, np.float64), _numbers(losses).astype(np.float64), _numbers(annotator)
    if not (np.isfinite(q).all() and (q >= 0).all() and q.any()):
        raise ValueError(f"weights must be finite, at least 0 and not all 0; got {q.tolist()}.")
    if loss.shape != group.shape:
        raise ValueError(f"losses and annotator must have one shape; got {loss.shape} and {group.shape}.")
    if group.size and not (group.min() >= 0 and group.max() < len(q)):
        raise ValueError(f"{len(q)} weights, so annotator lies in 0..{len(q) - 1}; got {group.min()}..{group.max()}.")
    count = np.bincount(group, minlength=len(q))
    exponent = eta * np.bincount(group, loss, len(q)) / np.maximum(count, 1)
    raised = q * np.exp(exponent - exponent.max())
    return np.asarray(raised / raised.sum())


def _numbers(x: Any) -> npt.NDArray[Any]:
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)
