"""GR-DPO's group weights, as explicit state and pure functions.

    weights = init(groups=3)
    losses = poz.gr_dpo(batch, weights=weights)
    weights = update(weights, poz.dpo(batch), batch.annotator)      # of the global batch

Source: Ramesh et al. 2024, arXiv 2405.20304, the exponentiated-gradient step; the formula is that of the authors' code.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def init(groups: int) -> Floats:
    """(groups,) equal weights.

    Raises:
        ValueError: No group.
    """
    if groups < 1:
        raise ValueError(f"groups must be at least 1; got {groups}.")
    return np.full(groups, 1.0 / groups)


def update(weights: npt.ArrayLike, losses: npt.ArrayLike, annotator: npt.ArrayLike, *, eta: float = 0.01) -> Floats:
    """q_g e^(η L_g) / Z with L_g the mean loss of the group; a group that the batch lacks counts as L_g = 0.

    Args:
        weights: (groups,) q of the last step.
        losses: (batch,) DPO losses, without q.
        annotator: (batch,) group of each pair, from 0.
        eta: η >= 0, the step.

    Raises:
        ValueError: A group without a weight, or lengths that differ.
    """
    q, loss, group = np.asarray(weights, np.float64), np.asarray(losses, np.float64), np.asarray(annotator)
    if loss.shape != group.shape:
        raise ValueError(f"losses and annotator must have one shape; got {loss.shape} and {group.shape}.")
    if group.size and not (group.min() >= 0 and group.max() < len(q)):
        raise ValueError(f"{len(q)} weights, so annotator lies in 0..{len(q) - 1}; got {group.min()}..{group.max()}.")
    count = np.bincount(group, minlength=len(q))
    exponent = eta * np.bincount(group, loss, len(q)) / np.maximum(count, 1)
    raised = q * np.exp(exponent - exponent.max())
    return np.asarray(raised / raised.sum())
