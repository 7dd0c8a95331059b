"""INPO: Zhang et al. 2024, arXiv 2407.00617, eq. 8, the regression to one step of regularised mirror descent.

D(p) = log p(y_w) - log p(y_l)
h = D(π) - (τ/η) D(π_ref) - (1 - τ/η) D(π_t),  L = (h - 1 / (2 η))²;  τ = η/3 where it is not given
"""

from poz.reference._stable import Array, Result, quiet, times, tokens


@quiet
def inpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    opponents_chosen: Array,
    opponents_rejected: Array,
    chosen_len: Array | None = None,
    rejected_len: Array | None = None,
    eta: float = 0.005,
    tau: float | None = None,
    length_normalized: bool = False,
) -> Result:
    """Losses (B,) in nats² from summed log-probs (B,) and those of the last iterate (1, B); gradient of their sum."""
    n_chosen = tokens(chosen_len, normalized=length_normalized)
    n_rejected = tokens(rejected_len, normalized=length_normalized)
    policy = chosen / n_chosen - rejected / n_rejected
    reference = ref_chosen / n_chosen - ref_rejected / n_rejected
    iterate = opponents_chosen[0] / n_chosen - opponents_rejected[0] / n_rejected
    ratio = 1.0 / 3.0 if tau is None else tau / eta
    excess = policy - times(ratio, reference) - times(1.0 - ratio, iterate) - 1.0 / (2.0 * eta)
    # dL/dD(π) = 2 (h - 1/(2η)); D has slope 1/n_w in chosen, -1/n_l in rejected; h has -τ/η, -(1 - τ/η) in the others
    up, down = 2.0 * excess / n_chosen, -2.0 * excess / n_rejected
    return excess * excess, {
        "chosen": up,
        "rejected": down,
        "ref_chosen": -ratio * up,
        "ref_rejected": -ratio * down,
        "opponents_chosen": -(1.0 - ratio) * up[None],
        "opponents_rejected": -(1.0 - ratio) * down[None],
    }
