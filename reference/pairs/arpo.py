"""ARPO: Xu et al. 2024 (X-ALMA), arXiv 2410.03115, CPO that pushes less on a rejected completion close to the chosen.

p = log π(y) / |y|,  d = p_w - p_l,  t = min(1, s e^(r |d|) - 1), constant in the gradient if detached
u = β (log π(y_w) - t log π(y_l)),  L = -log σ(u) - w p_w
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, times, tokens


@quiet
def arpo(
    *,
    chosen: Array,
    rejected: Array,
    chosen_len: Array,
    rejected_len: Array,
    beta: float = 0.1,
    nll_weight: float = 1.0,
    scale: float = 0.9,
    rate: float = 0.4,
    detach: bool = False,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,) and lengths (B,), and the gradient of their sum."""
    n_chosen, n_rejected = tokens(chosen_len, normalized=True), tokens(rejected_len, normalized=True)
    p_w, p_l = chosen / n_chosen, rejected / n_rejected
    d = p_w - p_l
    # t = 1 from s e^(r |d|) = 2 on
    exponent, full = rate * np.abs(d), np.log(2.0 / scale)
    grown = scale * np.exp(np.minimum(exponent, full))
    t = np.where(exponent >= full, 1.0, grown - 1.0)
    u = beta * (chosen - times(t, rejected))
    losses = softplus(-u) - times(nll_weight, p_w)
    # t' = dt/dd = s r e^(r |d|) sign(d), 0 where t is 1
    turn = np.where((exponent >= full) | detach, 0.0, rate * grown * np.sign(d))
    # dL/du = -σ(-u); du/dchosen = β (1 - log π(y_l) t' / |y_w|), du/drejected = -β (t - log π(y_l) t' / |y_l|)
    slope = -beta * sigmoid(-u)
    up = slope * (1.0 - times(turn, rejected) / n_chosen) - nll_weight / n_chosen
    down = -slope * (t - times(turn, rejected) / n_rejected)
    return losses, {"chosen": up, "rejected": down}
