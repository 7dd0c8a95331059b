"""What `Samples.winrates` takes, made by a reward model or by a preference model that knows cycles.

    poz.sppo(poz.Samples(logps, anchor_logps, winrates=from_rewards(rewards)))

    scores = preference_scores(embeddings)                       # of the K completions of each prompt
    poz.gpo(poz.Samples(logps, anchor_logps, winrates=scores.mean(-1)))
    poz.sppo(poz.Samples(logps, anchor_logps, winrates=torch.sigmoid(scores / tau).mean(-1)))

A preference model learns from pairs by `poz.gpm`, -log σ(s / τ) of the score of chosen over rejected. In a
cycle each of three completions beats the next, and no rewards r have the signs of r_i - r_j for more than two of them.
16-bit numbers are computed with and returned in float32.
"""

from __future__ import annotations

from poz._given import given
from poz.backends import Array, namespace


@given
def from_rewards(rewards: Array, rivals: Array = None, *, scale: float = 1.0) -> Array:
    """Mean probability of a win over the rivals, (1/M) Σ_m σ(k (r - r_m)), as Bradley-Terry has it.

    Against completions of the reference policy this is Preference As Reward (Fu et al. 2025, arXiv 2502.18770, and the
    authors' code), within (0, 1) and of slope at most k / 4.

    Args:
        rewards: (..., K) r.
        rivals: (..., M) rewards of the rivals on the same prompts; None lets the K completions play each other, each
            one itself too, as in SPPO.
        scale: k > 0.

    Returns:
        (..., K) probabilities.

    Raises:
        ValueError: No rival, prompts that differ in number, or a scale that is not positive.
    """
    rewards = _wide(rewards)
    xp, against = namespace(rewards), rewards if rivals is None else _wide(rivals)
    if not scale > 0:
        raise ValueError(f"scale must be positive, or the worse completion would win; got {scale}.")
    if not rewards.ndim or not against.ndim or rewards.shape[:-1] != against.shape[:-1]:
        raise ValueError(
            f"Rewards (..., K) and those of rivals (..., M) must be of the same prompts; got {tuple(rewards.shape)} and "
            f"{tuple(against.shape)}."
        )
    if against.shape[-1] == 0:
        raise ValueError(f"Win rates need at least one rival per prompt; got rewards of shape {tuple(against.shape)}.")
    return xp.sum(xp.sigmoid(scale * (rewards[..., :, None] - against[..., None, :])), -1) / against.shape[-1]


@given
def preference_scores(embeddings: Array, scales: Array = None) -> Array:
    """Scores s(y_i ≻ y_j) = Σ_l λ_l (v_i,2l v_j,2l+1 - v_i,2l+1 v_j,2l) of a general preference model.

    Antisymmetric, so nothing beats itself; P(y_i ≻ y_j) = σ(s / τ). The embedding (r, c) gives c (r_i - r_j), the
    Bradley-Terry model. Source: Zhang et al. 2024, arXiv 2410.02197, with the sign of the authors' code, by which a
    chosen completion scores above 0 (the paper's theorem transposes it).

    Args:
        embeddings: (..., K, 2 n) v of the K completions, of a length near 1: long ones cancel.
        scales: (..., n) λ >= 0 of each prompt; None means 1.

    Returns:
        (..., K, K) scores, row against column; their mean along the last axis is ŝ of `poz.gpo`.

    Raises:
        ValueError: An odd width, scales that do not fit it, or no list of embeddings.
    """
    embeddings = _wide(embeddings)
    if embeddings.ndim < 2:
        raise ValueError(f"Embeddings must be (..., K, width); got {tuple(embeddings.shape)}.")
    width = embeddings.shape[-1]
    if width == 0 or width % 2:
        raise ValueError(f"An embedding is made of pairs of numbers, so its width must be even; got {width}.")
    first, second = embeddings[..., 0::2], embeddings[..., 1::2]
    if scales is not None:
        if scales.shape[-1] != width // 2:
            raise ValueError(f"{width // 2} pairs of numbers need as many scales; got {scales.shape[-1]}.")
        first = first * _wide(scales)[..., None, :]
    # One product and its transpose, so that s(i, j) is -s(j, i) to the bit.
    ahead = first @ second.swapaxes(-1, -2)
    return ahead - ahead.swapaxes(-1, -2)


def _wide(x: Array) -> Array:
    xp = namespace(x)
    return xp.widen(x) if xp.kind(x) == "half" else x
