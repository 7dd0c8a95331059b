"""γ-PO: arXiv 2506.03690, SimPO with margins that the batch shares out: a pair with a larger gap gets more.

r = β (log π(y_w) / |y_w| - log π(y_l) / |y_l|),  γ_i = γ x_i,  mean x = 1, constant in the gradient
x minimises mean_i softplus(γ x_i - r_i) + τ mean_i x_i log x_i:  τ log x_i + γ σ(γ x_i - r_i) = c for all i
L = softplus(-(r - γ_i))
"""

import numpy as np

from poz.reference._stable import Array, Result, quiet, sigmoid, softplus, tokens


def _shares(r: Array, c: float, gamma: float, tau: float) -> tuple[Array, Array]:
    """x(c) from τ u + γ σ(γ e^u - r) = c with u = log x, cut at twice the largest possible, and dx/dc.

    The left side rises in u with slope τ + γ² x σ' >= τ, so the root is alone, between (c - γ)/τ and c/τ.
    """
    most = np.log(2.0 * len(r))
    low, high = np.full(len(r), min((c - gamma) / tau, most)), np.full(len(r), min(c / tau, most))
    u = high
    for turn in range(110):
        x = np.exp(u)
        s = sigmoid(gamma * x - r)
        excess = tau * u + gamma * s - c
        slope = tau + gamma**2 * x * s * sigmoid(r - gamma * x)
        low, high = np.where(excess < 0.0, u, low), np.where(excess > 0.0, u, high)
        newton = u - excess / slope
        step = np.where((newton >= low) & (newton <= high) & (turn >= 10), newton, 0.5 * (low + high))
        if turn >= 10 and np.all(np.abs(step - u) <= 1e-16 * (1.0 + np.abs(u))):
            break
        u = step
    return x, x / slope


def _margins(r: Array, gamma: float, tau: float) -> Array:
    """γ x(c) at the c where mean x = 1: the mean rises in c, is at most 1 at c = 0 and at least 1 at c = γ."""
    low, high = 0.0, gamma
    c = 0.5 * gamma
    for _ in range(100):
        x, rise = _shares(r, c, gamma, tau)
        excess = float(np.mean(x)) - 1.0
        low, high = (c, high) if excess < 0.0 else (low, c)
        mean = float(np.mean(x))
        newton = c - mean * float(np.log(mean)) / float(np.mean(rise))  # on log mean x, which is the straighter one
        step = newton if low < newton < high and np.max(x) < 1.5 * len(r) else 0.5 * (low + high)
        if abs(step - c) <= 1e-16 * gamma:
            break
        c = step
    margins: Array = gamma * x / np.mean(x)
    return margins


@quiet
def gamma_po(
    *,
    chosen: Array,
    rejected: Array,
    chosen_len: Array,
    rejected_len: Array,
    beta: float = 2.5,
    gamma: float = 1.0,
    tau: float = 10.0,
) -> Result:
    """Losses (B,) in nats from summed log-probs (B,), and the gradient of their sum with γ_i constant."""
    n, k = tokens(chosen_len, normalized=True), tokens(rejected_len, normalized=True)
    r = beta * (chosen / n - rejected / k)
    z = r - _margins(r, gamma, tau)
    # dL/dr = -σ(-z),  dr = β (dlog π(y_w) / |y_w| - dlog π(y_l) / |y_l|)
    slope = -beta * sigmoid(-z)
    return softplus(-z), {"chosen": slope / n, "rejected": -slope / k}
