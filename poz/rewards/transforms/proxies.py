"""Rewards without a reward model: R3 from relevance, length and repetition, FLR from the follow-ups to a response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from poz._given import given
from poz.backends import Array
from poz.rewards._arrays import same_shape, scores
from poz.terms import average, masked


@given
def repetition_penalty(tokens: Sequence[Any], *, size: int = 3) -> float:
    """Of the n-grams of a response, the share that are different; 1 where none is there twice, or none is there.

    Source: Kim and Seo 2024, arXiv 2402.03469; the code's (naver-ai/rethinking-proxy-reward@70f2ecf, reward_model.py)
    trigrams are of nltk's `wordpunct_tokenize`. Other tokens, other numbers.

    Args:
        tokens: Of one response: words or ids, anything hashable.
        size: n >= 1.

    Returns:
        In (0, 1], no unit.

    Raises:
        TypeError: A text, which has to be cut into tokens first, or an array (give its `tolist()`).
        ValueError: A size below 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1; got {size}.")
    grams = [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
    return len(set(grams)) / len(grams) if grams else 1.0


@given
def r3(
    relevance: Array,
    lengths: Array,
    penalty: Array,
    open_ended: Array,
    *,
    per: float = 100.0,
    high: float = 3.5,
    most: float = 5.12,
) -> Array:
    """The reverse-engineered reward: relevance · length / `per` · penalty for an open-ended prompt, else F(relevance) · penalty.

    F maps [0, high] to [0, most] linearly, and goes on beyond. A negative relevance turns the incentives round: a
    longer and less repetitive response then loses. Source: Kim and Seo 2024, arXiv 2402.03469, as in the authors' code
    (naver-ai/rethinking-proxy-reward@70f2ecf, reward_model.py), where relevance is the product of Contriever's
    embeddings of response and query, or of response and known answer for a prompt that is not open-ended.

    Args:
        relevance: (...) floating-point, no unit.
        lengths: (...) tokens of the responses, floating-point.
        penalty: (...) `repetition_penalty` of each response.
        open_ended: (...) booleans.
        per: Tokens that are worth a factor of 1.
        high: Above 0, the relevance that F maps to `most`.
        most: The code's greatest length over `per`.

    Returns:
        (...) no unit.

    Raises:
        TypeError: Other kinds of numbers.
        ValueError: Shapes that differ, or `per` or `high` that is not positive.
    """
    if not (per > 0 and high > 0):
        raise ValueError(f"per and high must be positive, since they divide; got {per} and {high}.")
    xp, relevance, lengths, penalty = scores("r3", relevance=relevance, lengths=lengths, penalty=penalty)
    if not xp.is_array(open_ended) or xp.kind(open_ended) != "bool":
        raise TypeError(
            f"r3 needs booleans of {xp.name} for open_ended; got {getattr(open_ended, 'dtype', open_ended)}."
        )
    same_shape("r3", relevance=relevance, lengths=lengths, penalty=penalty, open_ended=open_ended)
    return relevance * xp.where(open_ended, lengths / per, 0 * lengths + most / high) * penalty


@given
def follow_up_likelihood(logps: Array, mask: Array, signs: Sequence[int]) -> Array:
    """FLR: mean log-prob of the tokens of positive follow-ups minus that of negative ones.

    (1/n+) Σ_{f in F+} mean_t log p(f_t | x, y, f_<t) - (1/n-) Σ_{f in F-} the same: a response is good whose reader is
    likely to go on with praise. Source: Zhang et al., arXiv 2409.13948 (AAAI 2025). The released code
    (e0397123/FLR@787bce6, run_llama3.py; read, not run) takes raw logits of one position for all tokens of a follow-up,
    which is not the paper's and is not built here.

    Args:
        logps: (..., F, T) log-probs of the tokens of F follow-ups to each response, in nats.
        mask: (..., F, T) booleans, true at a token; what stands elsewhere is not looked at.
        signs: F numbers, 1 for a positive and -1 for a negative follow-up, of each one at least.

    Returns:
        (...) in nats per token.

    Raises:
        TypeError: Other kinds of numbers.
        ValueError: Shapes or signs that do not fit, or a follow-up without a token, where that can be read; elsewhere
            its mean is 0.
    """
    xp, logps = scores("follow_up_likelihood", logps=logps)
    if not xp.is_array(mask) or xp.kind(mask) != "bool":
        raise TypeError(
            f"follow_up_likelihood needs booleans of {xp.name} for mask; got {getattr(mask, 'dtype', mask)}."
        )
    same_shape("follow_up_likelihood", logps=logps, mask=mask)
    plus, minus = (sum(sign == which for sign in signs) for which in (1, -1))
    if logps.ndim < 2 or not plus or not minus or plus + minus != len(signs) or len(signs) != logps.shape[-2]:
        raise ValueError(
            "follow_up_likelihood needs logps (..., F, T) and F signs, of 1 and -1 at least one each; got logps "
            f"{tuple(logps.shape)} and signs {list(signs)}."
        )
    known = xp.values(mask)
    if known is not None and not known.any(-1).all():
        raise ValueError("follow_up_likelihood got a follow-up without a token, whose mean log-prob is not defined.")
    means = average(xp, xp.sum(masked(xp, logps, mask), -1), xp.sum(mask, -1))
    weights = np.where(np.asarray(signs) > 0, 1 / plus, -1 / minus)
    return xp.sum(means * xp.constant(weights, means), -1)
