"""ArmoRM's mixture: the rewards of attributes weighed by a gate that sees the prompt. arXiv 2406.12845; see `armorm`."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from poz._given import given
from poz.backends import Array, Namespace
from poz.rewards._arrays import same_shape, scores


@given
def gated_score(rewards: Array, logits: Array, *, temperature: float = 10.0, scale: Any = 1.0) -> Array:
    """R = e Σ_i softmax(a / T)_i r_i, with the logits a of a gate that sees the prompt alone.

    Args:
        rewards: (..., attributes), cleared of verbosity or not.
        logits: (..., attributes) of the gate.
        temperature: T > 0; the authors take 10.
        scale: e, a number or an array of one, shape () or (1,), which may be learnt.

    Returns:
        (...) in the unit of the rewards times e.

    Raises:
        TypeError: What are no floating-point arrays of one library, or a scale that is no number either.
        ValueError: Shapes that differ, no attribute, a temperature that is not positive, a scale of another shape, or one
            that is not finite, where it can be read.
    """
    xp, rewards, logits = scores("gated_score", rewards=rewards, logits=logits)
    same_shape("gated_score", rewards=rewards, logits=logits)
    if not rewards.ndim or not rewards.shape[-1]:
        raise ValueError(f"gated_score needs one attribute at least; got rewards of shape {tuple(rewards.shape)}.")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive; got {temperature}.")
    return _scale(xp, rewards, scale) * xp.sum(_gate(xp, logits / temperature) * rewards, -1)


@given
def gated_loss(chosen: Array, rejected: Array, logits: Array, *, temperature: float = 10.0, scale: Any = 1.0) -> Array:
    """-log σ(R_c - R_r) of two `gated_score`s with one gate, in nats.

    Args:
        chosen: (batch, attributes) rewards of the chosen completions.
        rejected: (batch, attributes) those of the rejected ones.
        logits: (batch, attributes) of the gate on their prompts.
        temperature: T > 0.
        scale: e.

    Returns:
        (batch,).

    Raises:
        TypeError: What are no floating-point arrays of one library.
        ValueError: As of `gated_score`.
    """
    xp, chosen, rejected = scores("gated_loss", chosen=chosen, rejected=rejected)
    same_shape("gated_loss", chosen=chosen, rejected=rejected)
    return xp.softplus(-gated_score(chosen - rejected, logits, temperature=temperature, scale=scale))


def _scale(xp: Namespace, rewards: Array, scale: Any) -> Any:
    """e as a number or an array of the shape ()."""
    known: Any
    if isinstance(scale, numbers.Real):
        scale = known = float(scale)  # NumPy's would make NumPy of the rest
    elif hasattr(scale, "shape"):
        _, _, scale = scores("gated_score", rewards=rewards, scale=scale)
        if tuple(scale.shape) not in ((), (1,)):
            raise ValueError(f"scale must be a number, or an array of one, shape () or (1,); got {tuple(scale.shape)}.")
        scale, known = scale.reshape(()), xp.values(scale)
    else:
        raise TypeError(f"gated_score needs a number or an array of {xp.name} for scale; got {type(scale).__name__}.")
    if known is not None and not np.all(np.isfinite(known)):
        raise ValueError(f"scale must be finite; got {known}.")
    return scale


def _gate(xp: Namespace, a: Array) -> Array:
    return xp.exp(a - xp.logsumexp(a, -1)[..., None])
