"""VPL's latents beside its loss: the draw that rewards are conditioned on, and the weight of the KL over the steps.

    z = latents.sample(mean, log_variance, noise)                  # in training; in evaluation z = mean
    pairs = poz.RewardPairs(rewards(chosen, z), rewards(rejected, z), latent_mean=mean, latent_log_variance=log_variance)
    losses = poz.vpl(pairs, kl_weight=0.01 * latents.annealing(step, 10_000, baseline=0.1, cyclical=True))

Source: Poddar et al. 2024, arXiv 2408.10075, as in the authors' code (WEIRDLabUW/vpl_llm@fdfdfa7, hidden_context/vae_utils.py).
"""

from __future__ import annotations

import math

from poz._given import given
from poz.backends import Array
from poz.rewards._arrays import root, same_shape, scores


@given
def sample(
    mean: Array, log_variance: Array, noise: Array, *, clamp: float | None = None, normalized: bool = False
) -> Array:
    """z = μ + σ ε, through which gradients reach μ and log σ²; 16 bit is computed in float32.

    Args:
        mean: (..., latent) μ, floating-point.
        log_variance: (..., latent) log σ².
        noise: (..., latent) ε, standard normal.
        clamp: The same as of the objective: μ and log σ² are put into [-clamp, clamp] first.
        normalized: Whether z is stretched to the length √latent, as in the authors' training on language; a z of 0 stays.

    Raises:
        TypeError: Other kinds of numbers, or arrays of two libraries.
        ValueError: Shapes that differ, two devices, or a clamp that is not positive.
    """
    xp, mean, log_variance, noise = scores("latents.sample", mean=mean, log_variance=log_variance, noise=noise)
    same_shape("latents.sample", mean=mean, log_variance=log_variance, noise=noise)
    if clamp is not None:
        if not clamp > 0:
            raise ValueError(f"clamp must be positive, or None for none; got {clamp}.")
        mean, log_variance = xp.clip(mean, -clamp, clamp), xp.clip(log_variance, -clamp, clamp)
    z = mean + xp.exp(log_variance / 2) * noise
    if not normalized or not z.shape[-1]:
        return z
    largest = xp.amax(abs(xp.stop_gradient(z)), -1)[..., None]  # by which no square overflows or is lost
    z = z / xp.where(largest > 0, largest, xp.ones_like(largest))
    length = root(xp, xp.sum(z**2, -1) / z.shape[-1])[..., None]
    return z / xp.where(length > 0, length, xp.ones_like(length))


@given
def annealing(step: int, steps: int, *, shape: str = "cosine", baseline: float = 0.0, cyclical: bool = False) -> float:
    """What to multiply the weight of the KL with at a step: from `baseline` towards 1 within `steps`.

    Args:
        step: From 0.
        steps: At least 1: the length of the rise.
        shape: "linear"; "cosine", half a wave; "logistic", 1 / (1 + e^(steps/2 - step)).
        baseline: In [0, 1], where the rise begins.
        cyclical: Whether it begins anew every `steps` steps, in place of staying.

    Raises:
        ValueError: Numbers out of those, or another shape.
    """
    if step < 0 or steps < 1:
        raise ValueError(f"step must be at least 0 and steps at least 1; got {step} and {steps}.")
    if not 0 <= baseline <= 1:
        raise ValueError(f"baseline must lie in [0, 1]; got {baseline}.")
    at = step % steps if cyclical else min(step, steps)
    if shape == "linear":
        rise = at / steps
    elif shape == "cosine":
        rise = (1 - math.cos(math.pi * at / steps)) / 2
    elif shape == "logistic":
        rise = (1 + math.tanh((at - steps / 2) / 2)) / 2  # where e^(steps/2 - step) would overflow
    else:
        raise ValueError(f"shape must be 'linear', 'cosine' or 'logistic'; got {shape!r}.")
    return baseline + (1 - baseline) * rise
