"""QRPO: Matrenok et al. 2025, arXiv 2507.08068, squared distance of the log-ratio from the optimal policy's.

q: share of the reference's rewards that are no better;  T(q) = log max(q, floor) or q;  uniform q gives
Z = ∫ e^(T(q)/β) dq = β / (1 + β) for the log, β (e^(1/β) - 1) for the identity
L = Σ_k ½ (T(q_k) - β log Z - β a_k)²,  a = log π - log π_ref
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet


@quiet
def qrpo(
    *, logps: Array, ref_logps: Array, winrates: Array, beta: float = 0.1, transform: str = "log", floor: float = 0.01
) -> Result:
    """Losses (B,) from summed log-probs and quantiles (B, K), and the gradient of their sum."""
    if transform == "log":
        target, log_z = np.log(np.where(winrates < floor, floor, winrates)), np.log(beta / (1.0 + beta))
    else:  # β (e^(1/β) - 1) = β e^(1/β) (1 - e^(-1/β))
        target, log_z = winrates, np.log(beta) + 1.0 / beta + np.log1p(-np.exp(-1.0 / beta))
    # dL/da = -β (T - β log Z - β a)
    short = target - beta * log_z - beta * (logps - ref_logps)
    return 0.5 * np.sum(short**2, axis=-1), {"logps": -beta * short, "ref_logps": beta * short}
