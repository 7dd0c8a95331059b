"""EGPO: Zhou, Fazel and Du 2025, arXiv 2503.08942; both of its half steps minimise this loss.

h = (log π(y) - log π(y')) - (log π_ref(y) - log π_ref(y')),  of means per token if so asked
L = (h - m / β)²,  m = P(y > y'') - P(y' > y'')
"""

from poz.reference._stable import Array, Result, quiet, tokens


@quiet
def egpo(
    *,
    chosen: Array,
    rejected: Array,
    ref_chosen: Array,
    ref_rejected: Array,
    margin: Array,
    chosen_len: Array | None = None,
    rejected_len: Array | None = None,
    beta: float = 0.1,
    length_normalized: bool = False,
) -> Result:
    """Losses (B,) from summed log-probs (B,), and the gradient of their sum."""
    n_chosen = tokens(chosen_len, normalized=length_normalized)
    n_rejected = tokens(rejected_len, normalized=length_normalized)
    h = (chosen / n_chosen - rejected / n_rejected) - (ref_chosen / n_chosen - ref_rejected / n_rejected)
    error = h - margin / beta
    # dL/dh = 2 (h - m / β), and dh is ±1 / n
    up, down = 2.0 * error / n_chosen, -2.0 * error / n_rejected
    return error**2, {"chosen": up, "rejected": down, "ref_chosen": -up, "ref_rejected": -down}
