"""Does the policy give the chosen completion the higher probability, could it, and from which loss on must it?

Ranking accuracy is of the policy alone; the reference is subtracted in reward accuracy only.
Source: Chen et al. 2024, *Preference Learning Algorithms Do Not Learn Preference Rankings*, arXiv 2405.19534. All is
computed in log space; the authors' client (angie-chen55/pref-learning-ranking-acc@a86bdef, rlhf_minimizer_client.py)
exponentiates, and without length normalisation divides log-probs by each other, so only its log ratios are followed.
"""

from __future__ import annotations

from typing import NamedTuple

from poz import terms
from poz._checks import least as least_of
from poz._checks import prepared
from poz._given import given
from poz.backends import Array, namespace
from poz.families import Pairs
from poz.rewards.metrics._arrays import credit, positive
from poz.rewards.metrics.mean import Mean

_REFERENCE = ("chosen", "rejected", "ref_chosen", "ref_rejected")


@given
def ranking_accuracy(pairs: Pairs, *, length_normalized: bool = False, tie: float = 1.0, mask: Array = None) -> Mean:
    """R = 1[log π(y_w) >= log π(y_l)]: share of pairs in which the policy gives chosen the higher probability.

    Args:
        pairs: `chosen` and `rejected`, (batch,) summed log-probs in nats; `chosen_len` and `rejected_len` (batch,) too,
            for per-token means.
        length_normalized: Whether means over tokens are compared.
        tie: What an equal pair counts; the paper's >= counts 1.
        mask: (batch,) booleans, false at rows that only pad the batch.

    Raises:
        TypeError: No Pairs of one library's floating-point log-probs.
        ValueError: A field is missing or of another shape, or a tie outside [0, 1].
    """
    lengths = ("chosen_len", "rejected_len") if length_normalized else ()
    xp, pairs = prepared("metrics.ranking_accuracy", pairs, Pairs, ("chosen", "rejected", *lengths), ())
    return Mean.of(credit(xp, terms.gap(xp, pairs, "", length_normalized), tie), mask)


@given
def idealised_log_ratio(pairs: Pairs, *, beta: float, least: float = 1e-3) -> Array:
    """log π*(y_w)/π*(y_l) = log π_ref(y_w)/π_ref(y_l) + logit(α)/β of the exact optimum of RLHF and DPO.

    Args:
        pairs: `ref_chosen` and `ref_rejected` (batch,) summed log-probs in nats, and `label` (batch,) α, the share of
            annotators who prefer chosen. Where that is not known the authors take .75. (`chosen` and `rejected` have to
            be there as in all Pairs, and are not read.)
        beta: β > 0, the strength of the KL constraint in 1/nat.
        least: α is kept within [least, 1 - least], since unanimity would be an infinite reward. The authors put `least`
            in the place of an exact 0 only, by which .9999 counts for more than 1.

    Returns:
        (batch,) nats.

    Source: Theorem 3.1 of the paper.

    Raises:
        ValueError: A field is missing, a label outside [0, 1], β not above 0, or `least` outside (0, 1/2].
    """
    positive("beta", beta)
    if not 0 < least <= 0.5:
        raise ValueError(f"least must be above 0 and at most 1/2; got {least}.")
    xp, pairs = prepared("metrics.idealised_log_ratio", pairs, Pairs, (*_REFERENCE, "label"), ())
    if not (least_of(xp, pairs.label) >= 0 and least_of(xp, pairs.label, -1) >= -1):
        raise ValueError("label is the share of annotators who prefer chosen, from 0 to 1; some lie outside.")
    alpha = xp.clip(xp.astype(pairs.label, pairs.ref_chosen), least, 1 - least)
    return terms.gap(xp, pairs, "ref_") + (xp.log(alpha) - xp.log1p(-alpha)) / beta


@given
def idealised_ranking_accuracy(
    pairs: Pairs, *, beta: float, least: float = 1e-3, tie: float = 0.0, mask: Array = None
) -> Mean:
    """R* = 1[log π*(y_w)/π*(y_l) > 0]: the ranking accuracy that the optimum of the training objective would have.

    As β → ∞ it is the reference's, as β → 0 it is 1[α > 1/2]. Arguments as of `idealised_log_ratio` and
    `ranking_accuracy`; Corollary 3.3 of the paper has >, so a tie counts 0 here. At α = 1/2 the paper compares
    probabilities instead (equal within .01), which is left out: those of whole completions are all but 0.

    There is none per token: with lengths that differ the partition function does not cancel.
    """
    ratio = idealised_log_ratio(pairs, beta=beta, least=least)
    return Mean.of(credit(namespace(ratio), ratio, tie), mask)


@given
def alignment_gap(pairs: Pairs, *, beta: float, least: float = 1e-3, mask: Array = None) -> Mean:
    """Idealised minus actual ranking accuracy, each with the paper's own rule for ties: > and >=.

    Args:
        pairs: `chosen`, `rejected`, `ref_chosen`, `ref_rejected` and `label`, as of `idealised_log_ratio`.
        beta: β > 0 in 1/nat.
        least: As of `idealised_log_ratio`.
        mask: (batch,) booleans, false at rows that only pad the batch.

    Returns:
        Below 0 where the policy ranks better than the optimum of its objective would.
    """
    ideal = idealised_ranking_accuracy(pairs, beta=beta, least=least, mask=mask)
    return Mean(ideal.total - ranking_accuracy(pairs, mask=mask).total, ideal.count)


@given
def dpo_flip_bound(pairs: Pairs, *, beta: float) -> Array:
    """softplus(-β c), c = log π_ref(y_l)/π_ref(y_w): the policy ranks a pair right iff its DPO loss is at most this.

    The difficulty of a pair: where the reference is badly wrong (c ≫ 0) the bound is near e^(-β c), so the loss falls almost
    to 0 before the ranking changes. Where the reference is right (c <= 0) it is at least log 2, which the loss begins at.

    Args:
        pairs: `ref_chosen` and `ref_rejected`, (batch,) summed log-probs in nats, with `chosen` and `rejected`.
        beta: β > 0 of DPO, without label smoothing, in 1/nat.

    Returns:
        (batch,) losses in nats.

    Source: Theorem 4.1 of the paper. L = softplus(-β h) and h = log π(y_w)/π(y_l) + c.

    Raises:
        ValueError: A field is missing or of another shape, or β is not above 0.
    """
    positive("beta", beta)
    xp, pairs = prepared("metrics.dpo_flip_bound", pairs, Pairs, _REFERENCE, ())
    return xp.softplus(beta * terms.gap(xp, pairs, "ref_"))


class IPOBound(NamedTuple):
    """What a small IPO loss settles.

    Attributes:
        loss: (batch,) (q + 1/(2τ))², q = log π_ref(y_w)/π_ref(y_l).
        right: (batch,) true where a loss of at most `loss` means that the policy ranks the pair right; false where one
            below `loss` means that it ranks it wrong, with no loss at all too.
    """

    loss: Array
    right: Array


@given
def ipo_flip_bound(pairs: Pairs, *, tau: float) -> IPOBound:
    """The counterpart for IPO, which stops where h = 1/(2τ): a loss of 0 leaves log π(y_w)/π(y_l) = q + 1/(2τ).

    A loss above the bound settles nothing, since h may be too large as well as too small.

    Args:
        pairs: `ref_chosen` and `ref_rejected`, (batch,) summed log-probs in nats, with `chosen` and `rejected`.
        tau: τ > 0 of IPO on sums, in 1/nat.

    Source: Proposition A.7 of the paper, with its converse: R = 1 means h >= -q.

    Raises:
        ValueError: A field is missing or of another shape, or τ is not above 0.
    """
    positive("tau", tau)
    xp, pairs = prepared("metrics.ipo_flip_bound", pairs, Pairs, _REFERENCE, ())
    ideal = terms.gap(xp, pairs, "ref_") + 0.5 / tau
    return IPOBound(ideal**2, ideal >= 0)
