"""What a call of `linear_logps` is asked for beyond its arrays, written once, and what is refused of it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from poz._scaling import check_factors

OUTPUTS = ("logps", "lse", "entropy")


class Settings(NamedTuple):
    """What a call is asked for, beyond its arrays.

    Attributes:
        ignore_index: Target of rows that take no part.
        scale: Multiplies the logits first.
        softcap: Bound on their size, or None.
        temperature: Divides them last.
        outputs: Names, in the order of the results.
        limit: Bytes that may be used.
        exact: Whether products of 32-bit numbers are in 32 bit everywhere, and d logits in 32 bit on a CPU.
        axis: Mesh axis over which the vocabulary is sharded, or None.
    """

    ignore_index: int
    scale: float
    softcap: float | None
    temperature: float
    outputs: tuple[str, ...]
    limit: int
    exact: bool
    axis: str | None


def check_scaling(temperature: Any, logit_scale: Any, softcap: Any, precision: str, ignore_index: Any) -> None:
    """Numbers that are known while tracing."""
    for name, x in (("temperature", temperature), ("logit_scale", logit_scale), ("softcap", softcap)):
        number = isinstance(x, (int, float, np.number)) and not isinstance(x, bool)
        if not number and not (name == "softcap" and x is None):
            raise TypeError(f"{name} must be a Python number, known while tracing; got {type(x).__name__}.")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be positive and finite; got {temperature}.")
    if not -math.inf < logit_scale < math.inf:
        raise ValueError(f"logit_scale must be finite; got {logit_scale}.")
    if softcap is not None and not 0 < softcap < math.inf:
        raise ValueError(f"softcap must be positive and finite, or None for no cap; got {softcap}.")
    check_factors(temperature, logit_scale, softcap)
    if precision not in ("exact", "fast"):
        raise ValueError(f"precision must be 'exact' or 'fast'; got {precision!r}.")
    if isinstance(ignore_index, bool) or not isinstance(ignore_index, (int, np.integer)):
        raise TypeError(f"ignore_index must be an integer; got {type(ignore_index).__name__}.")


def check_outputs(outputs: tuple[str, ...]) -> tuple[str, ...]:
    """The names, as a tuple."""
    known = isinstance(outputs, (tuple, list)) and all(name in OUTPUTS for name in outputs)
    if not known or not outputs or len(set(outputs)) < len(outputs):
        raise ValueError(f"outputs must be a tuple of different names among {', '.join(OUTPUTS)}; got {outputs!r}.")
    return tuple(outputs)
