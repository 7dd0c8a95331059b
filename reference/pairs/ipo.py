"""IPO: Azar et al. 2023, arXiv 2310.12036, eq. 17; the length-normalized form divides each log-prob by its own length.

h = (log π(y_w) - log π(y_l)) - (log π_ref(y_w) - log π_ref(y_l))
L = (h - 1 / (2 τ))²
"""

from poz.reference._stable import Array, Result, quiet, tokens


@quiet
def ipo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    chosen_len: Array | None = None,
    rejected_len: Array | None = None,
    tau: float = 0.1,
    length_normalized: bool = False,
) -> Result:
    """Losses (B,) in nats² from summed log-probs (B,), and the gradient of their sum."""
    n_chosen = tokens(chosen_len, normalized=length_normalized)
    n_rejected = tokens(rejected_len, normalized=length_normalized)
    excess = (chosen - ref_chosen) / n_chosen - (rejected - ref_rejected) / n_rejected - 1.0 / (2.0 * tau)
    # dL/dh = 2 (h - 1/(2τ)); dh/dchosen = 1/n_w, dh/drejected = -1/n_l
    up, down = 2.0 * excess / n_chosen, -2.0 * excess / n_rejected
    return excess * excess, {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
