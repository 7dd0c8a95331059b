"""Reward Partitioning Optimization: regression onto rewards, with a partition function estimated from a prompt's own."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Ranked
from poz.objective import Deviation, Published, objective
from poz.objectives import _lists as ranked


@objective(
    title="Reward Partitioning Optimization",
    paper="arXiv:2506.13702",
    equation="the RPO loss",
    formula=r"\tfrac12\sum_k\Bigl(\log\tfrac{\pi(y_k)}{\pi_{ref}(y_k)}-\tfrac{r_k-V}{\tau}\Bigr)^2,\quad V=\tau\log\sum_k\pi_{ref}(y_k)^{1/|y_k|}e^{r_k/\tau}",
    reads="logps ref_logps scores lengths",
    optional="mask",
    published=[Published("", {"tau": (0.7,)})],
    gradient_stops="V, the value of the prompt",
    deviations=[
        Deviation("the paper's formula", "V has the reference's probability", "its per-token mean, as the code")
    ],
    basis="The authors' code, read.",
)
def reward_partition(
    xp: Namespace,
    lists: Ranked,
    *,
    tau: Annotated[float, Real("τ, temperature of the rewards", low=0, open="low", usual=(0.5, 2.0))] = 0.7,
) -> Array:
    """Half the squared distances of the log-ratios from (reward - value) / τ, the value a soft maximum over the list."""
    ratio, valid = ranked.log_ratios(xp, lists)
    zero, never = xp.constant(0.0, ratio), xp.constant(-np.inf, ratio)
    scores = terms.masked(xp, xp.astype(lists.scores, ratio), lists.mask) / tau
    length = xp.maximum(terms.masked(xp, xp.astype(lists.lengths, ratio), lists.mask), 1.0)
    reference = xp.stop_gradient(terms.masked(xp, lists.ref_logps, lists.mask))
    share = xp.where(valid, reference / length + scores, never)
    top = xp.amax(share, -1)
    certain = abs(top) == np.inf  # nothing is valid, or an infinite log-prob decides
    value = xp.where(certain, top, xp.logsumexp(xp.where(certain[..., None], zero, share), -1))
    target = scores - value[..., None]
    both = (abs(ratio) == np.inf) & (ratio == target)  # the reference is in both, in the target by its mean
    others = xp.sum(xp.astype(valid & (share < top[..., None]), ratio), -1)[..., None] > 0
    rest = xp.where(others, xp.ones_like(length), 1 - 1 / length)  # infinitely far from the others in any case
    return 0.5 * xp.sum(xp.where(valid, xp.where(both, rest * ratio, ratio - target), zero) ** 2, -1)
