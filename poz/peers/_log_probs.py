"""What a function of log-probs does to a few hundred tokens, beside float64 on the same inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from poz.peers._library import LogProbs

TOKENS, WIDTH, VOCABULARY, CAP = 128, 64, 4096, 5.0
IGNORED = -100


def measured(this: LogProbs, function: Callable[..., Any], seed: int) -> dict[str, Any]:
    """By what was asked, in nats; what a function raised where a target is -100 stands in place of a number.

    Returns:
        `float32`, `bfloat16`: Root mean square error of a token, with logits of standard deviation 6, which those functions
            that are given logits are given rounded.
        `float32_sum`, `bfloat16_sum`: The error of the sum of all tokens.
        `softcap`: As `float32`, under a soft cap; only where there is one.
        `ignored`: What a token with target -100 gets: 0 where it is left out, NaN, or another number each; `empty`: the sum where
            all have it.
        `nan`: Whether NaN in the rows of ignored tokens stays out of all log-probs, and of the gradients, of which those
            rows have one too, and the head: "yes", "not in gradients" or "no".
    """
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(TOKENS, WIDTH))
    weight = rng.normal(size=(VOCABULARY, WIDTH)) * 6 / np.sqrt(WIDTH)
    targets = rng.integers(VOCABULARY, size=TOKENS)
    run = {"torch": _torch, "jax": _jax}[this.backend]
    found: dict[str, Any] = {}
    for dtype in ("float32", "bfloat16"):
        got, _, given = run(this, function, hidden, weight, targets, dtype)
        error = got - _exact(given, targets)
        found[dtype] = float(np.sqrt(np.mean(error**2)))
        found[f"{dtype}_sum"] = float(error.sum())
    if this.softcap:
        got, _, given = run(this, function, hidden, weight, targets, "float32", CAP)
        found["softcap"] = float(np.sqrt(np.mean((got - _exact(given, targets, CAP)) ** 2)))
    ignored = np.arange(TOKENS) % 4 == 0
    some = np.where(ignored, IGNORED, targets)

    def of_ignored() -> Any:
        got, _, _ = run(this, function, hidden, weight, some, "float32")
        own = got[ignored]
        return (
            float(own[0]) + 0.0
            if np.array_equal(own, np.full_like(own, own[0]), equal_nan=True)
            else "another number each"
        )

    def of_nan() -> str:
        plain, slopes, _ = run(this, function, hidden, weight, some, "float32")
        broken = np.where(ignored[:, None], np.nan, hidden)
        got, with_nan, _ = run(this, function, broken, weight, some, "float32")
        if not np.allclose(got, plain, rtol=0, atol=1e-5):  # of a sum in another order
            return "no"
        alike = (np.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(with_nan, slopes, strict=True))
        return "yes" if all(alike) else "not in gradients"

    def of_none() -> float:
        return float(run(this, function, hidden, weight, np.full(TOKENS, IGNORED), "float32")[0].sum())

    return found | {"ignored": _tried(of_ignored), "nan": _tried(of_nan), "empty": _tried(of_none)}


def _tried(ask: Callable[[], Any]) -> Any:
    """The answer, or what was raised."""
    try:
        return ask()
    except Exception as error:  # what a library does with it is the finding
        return f"raises {type(error).__name__}"


def _exact(given: tuple[Any, Any], targets: Any, softcap: float | None = None) -> Any:
    hidden, weight = given
    logits = hidden if weight is None else hidden @ weight.T
    if softcap is not None:
        logits = softcap * np.tanh(logits / softcap)
    largest = logits.max(1)
    log_sum = largest + np.log(np.exp(logits - largest[:, None]).sum(1))
    return logits[np.arange(len(targets)), targets] - log_sum


def _torch(
    this: LogProbs, function: Any, hidden: Any, weight: Any, targets: Any, dtype: str, softcap: Any = None
) -> Any:
    """Log-probs, the gradients of their sum over the tokens that count, and the inputs as they were rounded."""
    import torch

    h, w, target = torch.tensor(hidden), torch.tensor(weight), torch.tensor(targets)
    given = tuple(x.to(getattr(torch, dtype)).requires_grad_() for x in ((h @ w.T,) if this.logits else (h, w)))
    got = function(*given, target) if this.logits else function(*given, target, softcap)
    slopes = torch.autograd.grad(got[target != IGNORED].sum(), given)
    exact = (given[0].detach().double().numpy(), None if this.logits else given[1].detach().double().numpy())
    return got.detach().double().numpy(), [x.double().numpy() for x in slopes], exact


def _jax(this: LogProbs, function: Any, hidden: Any, weight: Any, targets: Any, dtype: str, softcap: Any = None) -> Any:
    import jax
    import jax.numpy as jnp

    kept, target = targets != IGNORED, jnp.asarray(targets)
    given = tuple(jnp.asarray(x, dtype) for x in ((hidden @ weight.T,) if this.logits else (hidden, weight)))

    def total(given: Any) -> Any:
        got = function(*given, target) if this.logits else function(*given, target, softcap)
        return jnp.where(kept, got, 0.0).sum(), got

    slopes, got = jax.grad(total, has_aux=True)(given)
    exact = (np.asarray(given[0], np.float64), None if this.logits else np.asarray(given[1], np.float64))
    return np.asarray(got, np.float64), [np.asarray(x, np.float64) for x in slopes], exact


def shifted(logits: Any, targets: Any) -> tuple[Any, Any]:
    """A sequence for each token, behind a prompt of one, for functions that shift labels: logits (N, 2, V), labels (N, 2)."""
    import torch

    labels = torch.stack([torch.full_like(targets, IGNORED), targets], 1)
    return torch.stack([logits, torch.zeros_like(logits)], 1), labels
