"""β-DPO's running mean and spread of the margin, and its draw of the pairs to keep: explicit state, pure functions.

    state = init()
    state = update(state, gaps)                      # gaps h of the global batch, as data, before they are used
    kept = keep(state, gaps, np.random.default_rng(step))
    losses = poz.beta_dpo(batch_of(kept), mean_gap=state.mean)

Source: Wu et al. 2024, arXiv 2407.08639; start, momentum, spread and draw are those of the authors' code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poz._given import given


class State(NamedTuple):
    """Moving averages over batches.

    Attributes:
        mean: M0, of the batch means of h, in nats.
        spread: S0, of the unbiased standard deviations of h, in nats.
    """

    mean: float
    spread: float


@given
def init() -> State:
    """Both 0, without a correction for it later."""
    return State(0.0, 0.0)


@given
def update(state: State, gaps: npt.ArrayLike, *, momentum: float = 0.9) -> State:
    """momentum times the old plus (1 - momentum) times the batch's; the spread of one pair counts as 0.

    Args:
        state: Of the last batch.
        gaps: (batch,) h, the log-ratio margins in nats, not times β.
        momentum: In [0, 1).

    Raises:
        ValueError: No pair, a gap that is not finite, or a momentum outside [0, 1).
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be at least 0 and below 1; got {momentum}.")
    h = _gaps(gaps)
    if not (h.size and np.isfinite(h).all()):
        raise ValueError(f"The mean and the spread are of finite margins, one at least; got {h.tolist()}.")
    spread = float(h.std(ddof=1)) if h.size > 1 else 0.0
    return State(
        momentum * state.mean + (1 - momentum) * float(h.mean()), momentum * state.spread + (1 - momentum) * spread
    )


@given
def keep(
    state: State, gaps: npt.ArrayLike, generator: np.random.Generator, *, share: float = 0.8
) -> npt.NDArray[np.intp]:
    """Places of int(share N) pairs in ascending order, drawn without replacement by e^(-((h - M0) / S0)² / 2).

    Args:
        state: Already updated with this batch.
        gaps: (batch,) h in nats.
        generator: Of the draw; all ranks need the same one.
        share: 1 - ρ, in (0, 1].

    Raises:
        ValueError: A share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1; got {share}.")
    h = _gaps(gaps)
    log_weight = -0.5 * ((h - state.mean) / state.spread) ** 2 if state.spread > 0 else np.zeros(h.shape)
    # The largest of log-weights plus Gumbel noise are a draw without replacement, whatever underflows.
    best = np.argsort(-(log_weight + generator.gumbel(size=h.shape)), kind="stable")
    return np.sort(best[: int(share * h.size + 1e-9)])


def _gaps(given: npt.ArrayLike) -> npt.NDArray[np.float64]:
    gaps = np.asarray(given, np.float64)
    if gaps.ndim != 1:
        raise ValueError(f"gaps must hold one margin per pair, shape (batch,); got shape {gaps.shape}.")
    return gaps
