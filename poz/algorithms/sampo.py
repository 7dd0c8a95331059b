"""Which tokens SamPO keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def sampo_subset(
    chosen_mask: npt.NDArray[np.bool_], rejected_mask: npt.NDArray[np.bool_], generator: np.random.Generator
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """A uniform subset of min(n_w, n_l) valid tokens of each side, as weights 0 and 1 of the shape of the masks.

    Args:
        chosen_mask: (batch, tokens) true at valid tokens.
        rejected_mask: (batch, other tokens) the same of the rejected segment.
        generator: Draws the tokens; the shorter side is kept whole.

    Source: arXiv 2406.10957. Give the same weights to policy and reference.
    """
    keep = np.minimum(chosen_mask.sum(-1), rejected_mask.sum(-1))[..., None]

    def drawn(mask: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        keys = np.where(mask, generator.random(mask.shape), 2.0)
        rank = np.argsort(np.argsort(keys, -1), -1)
        kept: npt.NDArray[Any] = (mask & (rank < keep)).astype(np.float64)
        return kept

    return drawn(chosen_mask), drawn(rejected_mask)
