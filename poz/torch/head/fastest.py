"""`implementation="fastest"`: which way without a gradient takes less time is measured, once for each head."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from poz.torch.head.plan import FUSED_OUTPUTS, choose_implementation

ROWS = 4096  # as many as a GPU multiplies at a time
ROUNDS = 5
_CHOSEN: dict[tuple[Any, ...], str] = {}


def fastest(
    linear_logps: Callable[..., Any], hidden: Tensor, weight: Tensor, bias: Tensor | None, group: str, **settings: Any
) -> str:
    """Which took less time on drawn hidden states, "triton" or "fused"; "auto" where "fused" does not serve.

    Args:
        linear_logps: what to measure.
        hidden: (rows, D); of which only dtype and device count.
        weight: (V, D).
        bias: (V,) or None.
        group: name of the process group, whose processes must not differ: "" if there is none.
        settings: what else the call is given.
    """
    needs_grad = any(tensor is not None and tensor.requires_grad for tensor in (hidden, weight, bias))
    served = set(settings["outputs"]) <= FUSED_OUTPUTS and weight.stride(1) == 1 and not group
    if (torch.is_grad_enabled() and needs_grad) or not served or torch.compiler.is_compiling():
        return "auto"
    try:
        choose_implementation("triton", hidden.device, hidden.dtype)
    except RuntimeError:
        return "auto"
    key = (hidden.device, hidden.dtype, *weight.shape, bias is None, *settings.values())
    if key not in _CHOSEN and not (hidden.is_cuda and torch.cuda.is_current_stream_capturing()):
        generator = torch.Generator(hidden.device).manual_seed(0)  # the caller's draws stay as they are
        drawn = torch.randn(ROWS, weight.shape[1], generator=generator, device=hidden.device, dtype=hidden.dtype)
        given = {"targets": torch.zeros(ROWS, dtype=torch.int64, device=hidden.device), "bias": bias, **settings}

        def seconds(way: str) -> float:
            return _seconds(lambda: linear_logps(drawn, weight, implementation=way, **given), drawn)

        with torch.no_grad():
            try:
                _CHOSEN[key] = quicker(seconds)
            except ValueError:  # `memory` is too small for so many rows, of which the call may have fewer
                return "auto"
    return _CHOSEN.get(key, "auto")


def quicker(seconds: Callable[[str], float], ways: tuple[str, ...] = ("triton", "fused")) -> str:
    """The way of the smaller median, in rounds that take turns; the first calls, which compile, do not count."""
    rounds = [[seconds(way) for way in ways] for _ in range(ROUNDS + 1)][1:]
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    return ways[medians.index(min(medians))]


def _seconds(run: Callable[[], Any], on: Tensor) -> float:
    if on.is_cuda:
        torch.cuda.synchronize(on.device)
    start = time.perf_counter()
    run()
    if on.is_cuda:
        torch.cuda.synchronize(on.device)
    return time.perf_counter() - start
