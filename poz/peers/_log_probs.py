"""What a function of log-probs does to a few hundred tokens, beside float64 on the same inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from poz.peers._library import LogProbs

TOKENS, WIDTH, VOCABULARY, CAP = 128, 64, 4096, 5.0
IGNORED = -100


def measured(this: LogProbs, function: Callable[..., Any], seed: int) -> dict[str, Any]:
    """By what was asked.

    Returns:
        `float32`, `bfloat16`: Root mean square error of a token, in nats, with logits of standard deviation 6.
        `bfloat16_sum`: The error of the sum of all tokens, in nats.
        `softcap`: The same as float32 under a soft cap; only where there is one.
        `ignored`: What a token with target -100 gets; `empty`: where all have it.
        `nan`: Whether NaN in an ignored row leaves the other rows and their gradients alone.
    """
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(TOKENS, WIDTH))
    weight = rng.normal(size=(VOCABULARY, WIDTH)) * 6 / np.sqrt(WIDTH)
    targets = rng.integers(VOCABULARY, size=TOKENS)
    run = {"torch": _torch, "jax": _jax}[this.backend]
    found: dict[str, Any] = {}
    for dtype in ("float32", "bfloat16"):
        got, _, given = run(this, function, hidden, weight, targets, dtype)
        error = got - _exact(*given, targets)
        found[dtype] = float(np.sqrt(np.mean(error**2)))
        found[f"{dtype}_sum"] = float(error.sum())
    if this.softcap:
        got, _, given = run(this, function, hidden, weight, targets, "float32", CAP)
        found["softcap"] = float(np.sqrt(np.mean((got - _exact(*given, targets, CAP)) ** 2)))
    some = np.where(np.arange(TOKENS) % 4 == 0, IGNORED, targets)
    plain, slopes, _ = run(this, function, hidden, weight, some, "float32")
    found["ignored"] = sorted({*plain[some == IGNORED].tolist()})[0]
    broken = np.where((some == IGNORED)[:, None], np.nan, hidden)
    got, with_nan, _ = run(this, function, broken, weight, some, "float32")
    kept = some != IGNORED
    found["nan"] = bool(np.array_equal(got[kept], plain[kept]) and np.allclose(with_nan[kept], slopes[kept], atol=1e-5))
    found["empty"] = float(run(this, function, hidden, weight, np.full(TOKENS, IGNORED), "float32")[0].sum())
    return found


def _exact(hidden: Any, weight: Any, targets: Any, softcap: float | None = None) -> Any:
    logits = hidden if weight is None else hidden @ weight.T
    if softcap is not None:
        logits = softcap * np.tanh(logits / softcap)
    largest = logits.max(1)
    log_sum = largest + np.log(np.exp(logits - largest[:, None]).sum(1))
    return logits[np.arange(len(targets)), targets] - log_sum


def _torch(
    this: LogProbs, function: Any, hidden: Any, weight: Any, targets: Any, dtype: str, softcap: Any = None
) -> Any:
    """Log-probs, the gradient of their sum over the rows that count, and the inputs as they were rounded."""
    import torch

    kind = getattr(torch, dtype)
    h, w = (torch.tensor(x, dtype=torch.float64) for x in (hidden, weight))
    target = torch.tensor(targets)
    given = (h @ w.T).to(kind) if this.logits else h.to(kind)
    head = None if this.logits else w.to(kind)
    given.requires_grad_()
    got = function(given, target) if this.logits else function(given, head, target, softcap)
    got[target != IGNORED].sum().backward()
    exact = given.detach().double().numpy(), None if head is None else head.double().numpy()
    return got.detach().double().numpy(), given.grad.double().numpy(), exact


def _jax(this: LogProbs, function: Any, hidden: Any, weight: Any, targets: Any, dtype: str, softcap: Any = None) -> Any:
    import jax
    import jax.numpy as jnp

    kept = targets != IGNORED
    given = jnp.asarray(hidden @ weight.T if this.logits else hidden, dtype)
    head = None if this.logits else jnp.asarray(weight, dtype)
    target = jnp.asarray(targets)

    def total(x: Any) -> Any:
        got = function(x, target) if this.logits else function(x, head, target, softcap)
        return jnp.where(kept, got, 0.0).sum(), got

    slopes, got = jax.grad(total, has_aux=True)(given)
    exact = np.asarray(given, np.float64), None if head is None else np.asarray(head, np.float64)
    return np.asarray(got, np.float64), np.asarray(slopes, np.float64), exact
