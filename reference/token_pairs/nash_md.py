"""Nash-MD-PG: Munos et al. 2023, arXiv 2312.00886; the surrogate whose gradient is the policy gradient.

d_t = log π(y_t) - log π_ref(y_t) over the valid tokens,  P = P(y beats the mixture's sample)
c_t = Σ_s d_s (sequence), Σ_{s >= t} d_s (to go), or d_t (token);  A_t = P - 1/2 - τ c_t, a constant
L = -Σ_t A_t log π(y_t)
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, times


@quiet
def nash_md(
    *,
    chosen: Array,
    ref_chosen: Array,
    label: Array,
    chosen_mask: Mask | None = None,
    tau: float = 0.008,
    kl_credit: str = "sequence",
) -> Result:
    """Losses (B,) from per-token log-probs (B, T), and the gradient of their sum with every A_t constant."""
    losses = np.zeros(len(chosen))
    slopes = np.zeros(chosen.shape)
    for b in range(len(chosen)):
        steps = np.arange(chosen.shape[1]) if chosen_mask is None else np.flatnonzero(chosen_mask[b])
        d = chosen[b, steps] - ref_chosen[b, steps]
        if kl_credit == "token":
            credit = d
        elif kl_credit == "to_go":
            credit = np.array([np.sum(d[t:]) for t in range(len(d))])
        else:
            credit = np.full(len(d), np.sum(d))
        # dL/dlog π(y_t) = -A_t, and nothing for the reference, which stands in A only
        slopes[b, steps] = times(tau, credit) - (label[b] - 0.5)
        # of a product of 0 and an infinity nothing is left, whichever is which
        terms = np.where(
            chosen[b, steps] == 0, times(chosen[b, steps], slopes[b, steps]), times(slopes[b, steps], chosen[b, steps])
        )
        losses[b] = np.sum(terms)
    return losses, {"chosen": slopes, "ref_chosen": np.zeros(chosen.shape)}
