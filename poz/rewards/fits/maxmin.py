"""MaxMin-RLHF's reward models: K Bradley-Terry models, each of the annotators that it explains best, by hard EM.

With models of any kind, an E-step between two rounds of training:

    found = annotator_log_likelihoods(chosen, rejected, annotator, annotators=40)   # (annotators, K), adds up over batches
    cluster = assign(found)                                                         # train model k on cluster[annotator] == k

With linear ones, all of it: `fit_mixture`. The policy then trains on `poz.rewards.transforms.maxmin_weights` or
`per_sample_min` of the K rewards.
Source: Chakraborty et al. 2024, arXiv 2402.08925, and josephxu1234/MaxMinRLHF@ec74f15 (test_data_multiple.py), which begins
at id mod K, does ten rounds, leaves the model of an empty cluster as it is, and takes the first of equals, as here; it
takes exp of the rewards before their ratio, which overflows where log σ does not.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poz._given import given
from poz.backends import Array
from poz.rewards._arrays import same_shape, scores
from poz.rewards._host import Floats, Places, finite, places
from poz.rewards.fits import _logistic
from poz.rewards.fits._ids import sums


class Mixture(NamedTuple):
    """Linear reward models and whose they are.

    Attributes:
        weights: (K, width); the rewards are features @ weights.T.
        cluster: (annotators,) place of the model of each, what the last objective is of.
        objective: (rounds,) Σ -log σ of all pairs under their annotators' models, with the penalties of all models, in
            nats, after each round; it never rises.
        settled: Whether the next round would have changed nothing.
    """

    weights: Floats
    cluster: Places
    objective: Floats
    settled: bool


@given
def annotator_log_likelihoods(chosen: Array, rejected: Array, annotator: Array, *, annotators: int) -> Array:
    """Σ log σ(r_k(chosen) - r_k(rejected)) over the pairs of each annotator under each model, as data.

    Args:
        chosen: (batch, K) scores by K models.
        rejected: (batch, K) those of the rejected completions.
        annotator: (batch,) integer ids from 0.
        annotators: How many there are, one at least.

    Returns:
        (annotators, K) nats, at most 0; 0 without a pair. Sums over batches and ranks are those of all pairs.

    Raises:
        TypeError: Scores that are no floating-point arrays of one library, or ids that are no integers of it.
        ValueError: Shapes that differ, or an id that is no annotator, where it can be read.
    """
    xp, chosen, rejected = scores("annotator_log_likelihoods", chosen=chosen, rejected=rejected)
    same_shape("annotator_log_likelihoods", chosen=chosen, rejected=rejected)
    if chosen.ndim != 2:
        raise ValueError(f"annotator_log_likelihoods needs scores of the shape (batch, K); got {tuple(chosen.shape)}.")
    of_each = sums("annotator_log_likelihoods", "annotator", annotator, annotators, chosen)
    return xp.stop_gradient(of_each(xp.log_sigmoid(chosen - rejected)))


@given
def assign(log_likelihoods: npt.ArrayLike) -> Places:
    """(annotators,) place of the model that explains each best; of equal ones the first. NumPy, on the host.

    Args:
        log_likelihoods: (annotators, K), of all pairs.

    Raises:
        ValueError: Numbers that are not finite, or no model.
    """
    found = finite("log_likelihoods", log_likelihoods, "annotators K")
    if not found.shape[1]:
        raise ValueError(f"Annotators are assigned to one of K models, K >= 1; got shape {found.shape}.")
    return np.asarray(np.argmax(found, 1))


@given
def fit_mixture(
    differences: npt.ArrayLike,
    annotator: npt.ArrayLike,
    *,
    clusters: int,
    penalty: float = 1e-3,
    rounds: int = 10,
    first: npt.ArrayLike | None = None,
) -> Mixture:
    """Hard EM with linear rewards, each M-step exact: alternate best models of clusters and best cluster of annotators.

    It ends where nothing changes, which is no more than a local minimum, or after `rounds`. A cluster that has lost its
    annotators keeps its model and may win some back. Of equally good models an annotator takes the first. One cluster is
    Bradley-Terry regression.

    Args:
        differences: (pairs, width) features of chosen minus those of rejected, finite.
        annotator: (pairs,) integer ids from 0, each with one pair at least.
        clusters: K, at most the number of annotators.
        penalty: At least 0: penalty/2 |w|² is added for each model, without which one that tells all pairs of its cluster
            apart would be infinite.
        rounds: M-steps at most, one at least.
        first: (annotators,) clusters to begin with; id mod K where not given.

    Raises:
        ValueError: Shapes that differ, an annotator without a pair, more clusters than annotators, no rounds, or a
            negative penalty.
        ArithmeticError: Weights that would be infinite.
    """
    x = finite("differences", differences, "pairs width")
    if not x.size:
        raise ValueError(f"A mixture needs one pair and one feature at least; got differences of shape {x.shape}.")
    who = places("annotator", annotator, len(x), "pairs")
    if len(who) != len(x):
        raise ValueError(f"annotator must be one id per pair, ({len(x)},); got ({len(who)},).")
    count = np.bincount(who)
    if not np.all(count):
        raise ValueError(f"Annotator {np.argmin(count)} has no pair, and could be of any cluster. Renumber them.")
    if not 1 <= clusters <= len(count):
        raise ValueError(f"clusters must be from 1 to the number of annotators, {len(count)}; got {clusters}.")
    if rounds < 1 or not 0 <= penalty < math.inf:
        raise ValueError(f"rounds must be at least 1, and penalty at least 0 and finite; got {rounds} and {penalty}.")
    cluster = np.arange(len(count)) % clusters if first is None else places("first", first, clusters, "annotators")
    if cluster.shape != count.shape:
        raise ValueError(f"first must be one cluster per annotator, {count.shape}; got {cluster.shape}.")
    weights, objective = np.zeros((clusters, x.shape[1])), []
    while True:
        for k in np.unique(cluster):
            mine = x[cluster[who] == k]
            weights[k] = _logistic.newton(mine, np.ones(len(mine)), penalty, weights[k])
        found = np.asarray(
            annotator_log_likelihoods(x @ weights.T, np.zeros((len(x), clusters)), who, annotators=len(count))
        )
        objective.append(penalty / 2 * np.sum(weights**2) - np.sum(found[np.arange(len(count)), cluster]))
        better = assign(found)
        if len(objective) == rounds or np.array_equal(better, cluster):
            return Mixture(weights, cluster, np.array(objective), bool(np.array_equal(better, cluster)))
        cluster = better
