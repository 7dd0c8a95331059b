"""SFT: the negative log-likelihood of the chosen completion, in three normalisations.

sum: -log π(y_w);  mean: -log π(y_w) / |y_w|;  batch_tokens: -log π(y_w) B / Σ_j |y_w,j|, whose batch mean is per token
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet


@quiet
def sft(*, chosen: Array, chosen_len: Array | None = None, normalizer: str = "sum") -> Result:
    """Losses (B,) from summed log-probs (B,), and the gradient of their sum; a length, or a sum of them, of 0 is 1."""
    weight = np.ones(len(chosen))
    if normalizer == "mean" and chosen_len is not None:
        weight = 1.0 / np.maximum(chosen_len, 1.0)
    elif normalizer == "batch_tokens" and chosen_len is not None:
        weight = np.full(len(chosen), len(chosen) / max(1.0, float(np.sum(chosen_len))))
    return -weight * chosen, {"chosen": -weight}
