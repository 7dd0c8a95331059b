"""What is measured of reward models and policies, as sums with counts that add up over batches and ranks.

    from poz.rewards import metrics
    seen = sum(metrics.reward_accuracy(chosen, rejected) for chosen, rejected in batches)
    seen.value                                                   # a mean over pairs, not over batches

`Mean` says how to add over ranks. What takes arrays takes NumPy's, torch's and JAX's, and NaN scores make NaN sums. What
is decided on the host (`Calibration`, the ratings, `strength_buckets`) takes what NumPy makes float64 of, refuses what is
not finite, and gives NumPy.

Not here: Spearman's rank correlation and p-values are scipy.stats'; a histogram of margins is numpy.histogram's, which adds
up over ranks by itself where the edges are the same; the duality gap of a preference model is `poz.games.duality_gap`.
"""

from poz.rewards.metrics.accuracy import (
    Drop,
    generalisation_drop,
    implicit_rewards,
    kendall,
    order_accuracy,
    reward_accuracy,
    reward_margin,
)
from poz.rewards.metrics.calibration import Calibration, quantile_edges
from poz.rewards.metrics.mean import Mean
from poz.rewards.metrics.ranking import (
    IPOBound,
    alignment_gap,
    dpo_flip_bound,
    idealised_log_ratio,
    idealised_ranking_accuracy,
    ipo_flip_bound,
    ranking_accuracy,
)
from poz.rewards.metrics.ratings import bradley_terry, elo, elo_gap, elo_scale, elo_win_rate, win_counts
from poz.rewards.metrics.strength import Strength, negative_share, preference_strength, strength_buckets

__all__ = [
    "Calibration",
    "Drop",
    "IPOBound",
    "Mean",
    "Strength",
    "alignment_gap",
    "bradley_terry",
    "dpo_flip_bound",
    "elo",
    "elo_gap",
    "elo_scale",
    "elo_win_rate",
    "generalisation_drop",
    "idealised_log_ratio",
    "idealised_ranking_accuracy",
    "implicit_rewards",
    "ipo_flip_bound",
    "kendall",
    "negative_share",
    "order_accuracy",
    "preference_strength",
    "quantile_edges",
    "ranking_accuracy",
    "reward_accuracy",
    "reward_margin",
    "strength_buckets",
    "win_counts",
]
