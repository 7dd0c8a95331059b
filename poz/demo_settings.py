"""How `poz demo` trains an objective unless it is told otherwise: steps, learning rate and the objective's scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STEPS, BATCH_SIZE, LEARNING_RATE = 80, 16, 3e-3
"""Of all objectives: 1,280 pairs, at a peak rate that a model of this size learns at."""

_MEANS = {"length_normalized": True}

PARAMS: Mapping[str, Mapping[str, Any]] = {
    # The square of a sum is that of the longest completions; means per token let every pair count.
    "ipo": _MEANS,
    "inpo": _MEANS,
    "mnpo": _MEANS,
    # At the published .05, imitation of the chosen completion, a sum, outweighs the ranking, which is of means.
    "pro": {"sft_weight": 1e-3},
    # Without a reference a sum of log-probs says how long a completion is; a bias below 1 likes both completions.
    "cpl": {"regularizer": "kl", "bias": 1.0},
}
"""The hyper-parameters that are not at the objective's defaults, and why."""
