"""CPL: Hejna et al. 2023, arXiv 2310.13639, eq. 5 (discounted loss), eq. 6 (conservative bias λ), with a soft label y.

A = α Σ_t γ^t log π_t over the valid steps t = 0, 1, ... of a segment  (log π_t - log π_ref,t in the KL variant)
L = y softplus(λ A_r - A_c) + (1 - y) softplus(λ A_c - A_r) - w_bc · mean over the picked segments of mean_t log π_t
"""

import numpy as np

from poz.reference._stable import Array, Mask, Result, quiet, sigmoid, softplus, times


def segment(
    policy: Array, ref: Array | None, mask: Mask | None, alpha: float, discount: float
) -> tuple[Array, Array, Array, Array]:
    """A (B,) and the mean log-prob (B,) of one side, and the derivatives (B, T) of both along its steps."""
    valid = np.ones(policy.shape, dtype=bool) if mask is None else mask
    # dA/dlog π_t = α γ^t, t counting the valid steps before this one; dmean/dlog π_t = 1/n
    along = np.where(valid, alpha * discount ** np.maximum(np.cumsum(valid, axis=1) - 1, 0), 0.0)
    average = valid / np.maximum(valid.sum(axis=1, keepdims=True), 1)
    gain = policy if ref is None else policy - ref
    return np.sum(along * gain, axis=1, where=valid), np.sum(average * policy, axis=1, where=valid), along, average


@quiet
def cpl(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array | None = None,
    ref_rejected: Array | None = None,
    chosen_mask: Mask | None = None,
    rejected_mask: Mask | None = None,
    label: Array | None = None,
    alpha: float = 0.1,
    bias: float = 0.5,
    discount: float = 1.0,
    regularizer: str = "none",
    bc_weight: float = 0.0,
    bc_data: str = "all",
) -> Result:
    """Losses (B,) in nats from per-token log-probs (B, T) and (B, U), and the gradient of their sum."""
    kl = regularizer == "kl"
    a_c, mean_c, along_c, average_c = segment(chosen, ref_chosen if kl else None, chosen_mask, alpha, discount)
    a_r, mean_r, along_r, average_r = segment(rejected, ref_rejected if kl else None, rejected_mask, alpha, discount)
    y = np.ones(len(chosen)) if label is None else label
    picked = np.stack([(y >= 0.5) | (bc_data == "all"), (y <= 0.5) | (bc_data == "all")]).astype(np.float64)
    clone_c, clone_r = bc_weight * picked / np.maximum(picked.sum(axis=0), 1.0)
    losses = times(y, softplus(bias * a_r - a_c)) + times(1.0 - y, softplus(bias * a_c - a_r))
    losses = losses - times(clone_c, mean_c) - times(clone_r, mean_r)
    # dL/dA_c = -y σ(λ A_r - A_c) + (1 - y) λ σ(λ A_c - A_r); dL/dA_r is its mirror image; dL/dmean = -clone
    right, wrong = y * sigmoid(bias * a_r - a_c), (1.0 - y) * sigmoid(bias * a_c - a_r)
    through_c = np.where(average_c > 0.0, (bias * wrong - right)[:, None] * along_c, 0.0)
    through_r = np.where(average_r > 0.0, (bias * right - wrong)[:, None] * along_r, 0.0)
    grads = {"chosen": through_c - clone_c[:, None] * average_c, "rejected": through_r - clone_r[:, None] * average_r}
    if ref_chosen is not None and ref_rejected is not None:
        grads |= {"ref_chosen": -kl * through_c, "ref_rejected": -kl * through_r}
    return losses, grads
