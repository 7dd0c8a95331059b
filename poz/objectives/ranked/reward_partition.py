"""Reward Partitioning Optimization: regression onto rewards, with a partition function estimated from a prompt's own."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Ranked
from poz.objective import Deviation, Published, objective
from poz.objectives import _lists as ranked
from poz.purposes import Answer


@objective(
    title="Reward Partitioning Optimization",
    paper="arXiv:2506.13702",
    equation="the RPO loss",
    formula=r"\tfrac12\sum_k\Bigl(\tfrac1{|y_k|}\log\tfrac{\pi(y_k)}{\pi_{ref}(y_k)}-\tfrac{r_k-V}{\tau}\Bigr)^2,\quad V=\tau\log\sum_k\pi_{ref}(y_k)^{1/|y_k|}e^{r_k/\tau}",
    reads="logps ref_logps scores lengths",
    optional="mask",
    published=[
        Published("b-faye/rpo@8a22293, rpo/train_rpo.py, default of RPOLoss", {"tau": (0.7,)}),
        Published("b-faye/rpo@8a22293, rpo/train_rpo.py, the released run", {"tau": (5.0,)}),
    ],
    answers=[
        Answer("scalar-feedback", paper="abstract: triplets of prompt, response and reward, as people give them"),
        Answer("no-critic", paper="abstract: rewards are normalised from the data in place of a function of values"),
    ],
    gradient_stops="V, the value of the prompt",
    deviations=[
        Deviation("log-probs of completions, not per-token means", "the sums, in the ratio and in V", "lengths of 1"),
        Deviation("the authors' run", "standardises the rewards of the whole data set", "scores=(r-mean)/std"),
        Deviation("the authors' code", "the mean over the K completions too", "their sum, K times that"),
    ],
    basis="The authors' code, executed in float64 (b-faye/rpo@8a22293): tests/authors/reward_partition.json. Of the paper the abstract, read.",
)
def reward_partition(
    xp: Namespace,
    lists: Ranked,
    *,
    tau: Annotated[float, Real("τ, temperature of the rewards", low=0, open="low", usual=(0.5, 2.0))] = 0.7,
) -> Array:
    """Half the squared distances of the per-token log-ratios from (reward - value) / τ, the value a soft maximum."""
    ratio, valid = ranked.log_ratios(xp, lists)
    zero, never = xp.constant(0.0, ratio), xp.constant(-np.inf, ratio)
    scores = terms.masked(xp, xp.astype(lists.scores, ratio), lists.mask) / tau
    length = xp.maximum(terms.masked(xp, xp.astype(lists.lengths, ratio), lists.mask), 1.0)
    reference = xp.stop_gradient(terms.masked(xp, lists.ref_logps, lists.mask)) / length
    share = xp.where(valid, reference + scores, never)
    top = xp.amax(share, -1)
    certain = abs(top) == np.inf  # nothing is valid, or an infinite log-prob decides
    value = xp.where(certain, top, xp.logsumexp(xp.where(certain[..., None], zero, share), -1))
    most = valid & (share == top[..., None])
    alone = most & (certain & (xp.sum(xp.astype(most, ratio), -1) == 1))[..., None]
    rarity = xp.where(alone, zero, value[..., None] - share)  # log Σ_j e^(share_j - share_k)
    # the ratio less its target, in which the reference cancels, unless it is infinite and others have a share
    unanchored = terms.masked(xp, lists.logps, lists.mask) / length
    own = xp.where(alone, unanchored, ratio / length + xp.where(abs(reference) == np.inf, zero, reference))
    return 0.5 * xp.sum(xp.where(valid, own + rarity, zero) ** 2, -1)
