"""Length-normalised DPO: Ahrabian et al. 2024, arXiv 2407.15229, as trained in Tülu 3.

u = β [(log π(y_w) - log π_ref(y_w)) / |y_w| - (log π(y_l) - log π_ref(y_l)) / |y_l|]
L = -log σ(u)
"""

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, tokens


@quiet
def ln_dpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    chosen_len: Array,
    rejected_len: Array,
    beta: float = 5.0,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum."""
    n_chosen, n_rejected = tokens(chosen_len, normalized=True), tokens(rejected_len, normalized=True)
    u = beta * ((chosen - ref_chosen) / n_chosen - (rejected - ref_rejected) / n_rejected)
    # dL/du = -σ(-u); du/dchosen = β/|y_w|, du/drejected = -β/|y_l|
    up, down = -beta * sigmoid(-u) / n_chosen, beta * sigmoid(-u) / n_rejected
    return softplus(-u), {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
