"""MetaRM: a reward model is first moved to where it tells the policy's own responses apart, and learns from there.

    θ' = θ + η ∇J(θ)            J of k responses of today's policy to a prompt
    θ  <- θ - α ∇L(θ')          L the loss on the preference pairs; first-order, so that θ' counts as data

Source: Wang et al. 2024, *Secrets of RLHF in Large Language Models Part II*, arXiv 2401.06080. Its η and α are not stated in
the text that was read, and its repository (OpenLMLab/MOSS-RLHF@4865d82) has the plain loss alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from poz._given import given
from poz.backends import Array, namespace
from poz.rewards._arrays import scores as checked


@given
def difference(scores: Array) -> Array:
    """J = (2 / k²) Σ_{i<j} σ(|r_i - r_j|), which grows as the scores of a prompt's responses spread.

    From (k - 1) / 2k, where all are equal, to below (k - 1) / k: the paper divides by k² / 2, not by the number of pairs.
    The slope of a tie is 0, so equal scores stay equal.

    Args:
        scores: (..., k) scores of k >= 2 responses to each prompt.

    Returns:
        (...), no unit.

    Raises:
        TypeError: No floating-point array.
        ValueError: Fewer than two responses.
    """
    xp, scores = checked("difference", scores=scores)
    if not scores.ndim or scores.shape[-1] < 2:
        raise ValueError(f"difference compares two responses at least, (..., k); got shape {tuple(scores.shape)}.")
    k = scores.shape[-1]
    other, zero = xp.constant(1 - np.eye(k), scores) > 0, xp.constant(0.0, scores)  # inf is not far from itself
    ahead = xp.where(other, scores[..., :, None], zero) - xp.where(other, scores[..., None, :], zero)
    apart = xp.sigmoid(xp.relu(ahead) + xp.relu(-ahead))  # |x|, of slope 0 at 0
    return (xp.sum(xp.sum(apart, -1), -1) - k / 2) / k**2  # without the k on the diagonal, each 1/2


@given
def meta_step(
    parameters: Any,
    difference_gradient: Callable[[Any], Any],
    loss_gradient: Callable[[Any], Any],
    *,
    eta: float,
    alpha: float,
) -> Any:
    """θ - α ∇L(θ + η ∇J(θ)).

    For an optimizer of your own take alpha = 1 and hand it θ minus what comes back, the gradient.

    Args:
        parameters: Arrays of NumPy, torch or JAX, alone or in dictionaries, lists and tuples, nested; as
            `dict(model.named_parameters())`, for torch.func.functional_call.
        difference_gradient: From such parameters to ∇J there, in the same containers, as of torch.func.grad or jax.grad.
        loss_gradient: From such parameters, which come without a graph, to ∇L there.
        eta: η >= 0; 0 is a plain step.
        alpha: α >= 0.

    Returns:
        New parameters without a graph, in the same containers; the given ones stay.

    Raises:
        TypeError: A container or a leaf of another kind.
        ValueError: Steps that are negative or not finite, or gradients that are not shaped as the parameters.
    """
    if not (0 <= eta < math.inf and 0 <= alpha < math.inf):
        raise ValueError(f"eta and alpha must be at least 0 and finite; got {eta} and {alpha}.")
    there = _moved(parameters, difference_gradient(parameters), eta, "parameters")
    return _moved(parameters, loss_gradient(there), -alpha, "parameters")


def _moved(tree: Any, by: Any, step: float, where: str) -> Any:
    """tree + step · by, leaf for leaf."""
    if isinstance(tree, Mapping):
        if not isinstance(by, Mapping) or set(by) != set(tree):
            raise ValueError(f"The gradient of {where} must have the keys {sorted(map(str, tree))}; got {_shown(by)}.")
        return {key: _moved(x, by[key], step, f"{where}[{key!r}]") for key, x in tree.items()}
    if isinstance(tree, list | tuple):
        if not isinstance(by, list | tuple) or len(by) != len(tree):
            raise ValueError(f"The gradient of {where} must have {len(tree)} parts; got {_shown(by)}.")
        parts = [_moved(x, g, step, f"{where}[{i}]") for i, (x, g) in enumerate(zip(tree, by, strict=True))]
        if isinstance(tree, list):
            return parts
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    try:
        xp = namespace(tree)
    except TypeError as error:
        raise TypeError(
            f"{where} is a {type(tree).__name__}; parameters are arrays in dictionaries, lists and tuples."
        ) from error
    if xp.kind(tree) not in ("real", "half"):
        raise TypeError(f"{where} holds {tree.dtype}; parameters are floating-point numbers. Leave it out.")
    if not xp.is_array(by) or tuple(by.shape) != tuple(tree.shape):
        raise ValueError(f"The gradient of {where} must be of {xp.name}, {tuple(tree.shape)}; got {_shown(by)}.")
    return xp.stop_gradient(tree) + step * xp.stop_gradient(by)


def _shown(x: Any) -> str:
    if isinstance(x, Mapping):
        return f"the keys {sorted(map(str, x))}"
    return f"shape {tuple(x.shape)}" if hasattr(x, "shape") else f"a {type(x).__name__}"
