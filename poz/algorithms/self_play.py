"""Self-play on tabular policies: the exact rounds of SPPO, GPO, RSPO, ONPO, Nash-MD and EGPO.

As in `poz.algorithms.tabular`, every action is sampled and every label is expected, so a round is what a perfect fit of
the loss would give. Each function is an endless iterator over policies, the start first; take as many as you want with
`itertools.islice`. NumPy only; win probabilities and policies as in `poz.games`.
"""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from poz import games
from poz._given import given


@given
def sppo(P: npt.ArrayLike, start: npt.ArrayLike, *, eta: float) -> Iterator[games.Vector]:
    """policy_{t+1}(y) proportional to policy_t(y) exp(eta P(y > policy_t)): multiplicative weights.

    The average of the policies approaches the equilibrium of the unregularised game; the last one need not.

    Source: Wu et al. 2024, arXiv 2405.00675, eq. 3.
    """
    preferences, first = _game(P, start, eta=eta)
    return _iterated(np.log(first), lambda logits: logits + eta * (preferences @ games.tilted(logits)))


@given
def gpo(scores: npt.ArrayLike, start: npt.ArrayLike, *, beta: float) -> Iterator[games.Vector]:
    """policy_{t+1}(y) proportional to policy_t(y) exp(s(y > policy_t) / beta), for antisymmetric scores (actions, actions).

    Source: Zhang et al. 2024, arXiv 2410.02197.
    """
    matrix = np.asarray(scores, np.float64)
    if matrix.ndim != 2 or not np.array_equal(matrix, -matrix.T):
        raise ValueError("scores must be an antisymmetric matrix, (actions, actions); scores[i, j] = -scores[j, i].")
    _positive(beta=beta)
    with np.errstate(over="ignore"):
        gains = matrix / beta
    if not np.all(np.isfinite(gains)):
        raise ValueError(f"scores / beta must be finite, they are added to log-probs; got {gains.tolist()}.")
    first = _start(start, len(matrix))
    return _iterated(np.log(first), lambda logits: logits + gains @ games.tilted(logits))


@given
def rspo(
    P: npt.ArrayLike, start: npt.ArrayLike, reference: npt.ArrayLike, *, eta: float, regularization_weight: float
) -> Iterator[games.Vector]:
    """SPPO with a reverse KL towards the reference, of weight λ.

    policy_{t+1} proportional to [policy_t reference^(2λ) exp(eta P(y > policy_t))]^(1 / (1 + 2λ)), so that a fixed point
    is the equilibrium of the game regularised with tau = 2λ / eta.

    Source: Tang et al. 2025, arXiv 2503.00030; the round is the minimiser of its squared loss.
    """
    preferences, first = _game(P, start, eta=eta)
    prior = _prior(reference, len(first))
    if not 0 <= regularization_weight < np.inf:
        raise ValueError(f"regularization_weight must be >= 0 and finite; got {regularization_weight}.")
    pull = 2 * regularization_weight / (1 + 2 * regularization_weight)

    def step(logits: games.Vector) -> games.Vector:
        return _pulled(logits, prior, pull) + (1 - pull) * eta * (preferences @ games.tilted(logits))

    return _iterated(np.log(first), step)


@given
def onpo(P: npt.ArrayLike, start: npt.ArrayLike, *, eta: float) -> Iterator[games.Vector]:
    """Optimistic self-play: log policy_{t+1} = log policy_t + 2 eta P(y > policy_t) - eta P(y > policy_{t-1}).

    The base policy'_t takes the step, and the policy takes the same step again as a prediction of the next one. The
    last policy converges, linearly for eta <= 1/8 where the equilibrium is unique.

    Source: Zhang et al. 2025, arXiv 2502.16852.
    """
    preferences, first = _game(P, start, eta=eta)

    def rounds() -> Iterator[games.Vector]:
        base = logits = np.log(first)
        while True:
            yield games.tilted(logits)
            step = eta * (preferences @ games.tilted(logits))
            base, logits = base + step, base + 2 * step

    return rounds()


@given
def nash_md(
    P: npt.ArrayLike,
    start: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    tau: float,
    eta: Callable[[int], float] | float,
) -> Iterator[games.Vector]:
    """Mirror descent from and against the mixture: mix_t proportional to policy_t^(1 - eta tau) reference^(eta tau).

    policy_{t+1}(y) proportional to mix_t(y) exp(eta P(y > mix_t)). With eta_t = 2 / (tau (t + 2)) the last policy
    converges to the regularised equilibrium, KL(p*, p_T) <= 8 / (tau² (T + 1)); with a constant eta it ends elsewhere.

    Source: Munos et al. 2023, arXiv 2312.00886, Theorem 1.
    """
    preferences, first = _game(P, start)
    prior = _prior(reference, len(first))
    if not callable(eta):
        _share(eta, tau)

    def rounds() -> Iterator[games.Vector]:
        logits = np.log(first)
        for index in itertools.count():
            yield games.tilted(logits)
            rate = eta(index) if callable(eta) else eta
            mixed = _pulled(logits, prior, _share(rate, tau))
            logits = mixed + rate * (preferences @ games.tilted(mixed))

    return rounds()


@given
def egpo(
    P: npt.ArrayLike, start: npt.ArrayLike, reference: npt.ArrayLike, *, tau: float, eta: float
) -> Iterator[games.Vector]:
    """Extragradient: a half step to look at the payoff, then a full step from the same place with that payoff.

    log half = (1 - eta tau) log policy_t + eta tau log reference + eta P(y > policy_t); policy_{t+1} the same with
    P(y > half). The last policy converges linearly to the regularised equilibrium.

    Source: Zhou et al. 2025, arXiv 2503.08942, whose beta is tau here.
    """
    preferences, first = _game(P, start)
    prior, share = _prior(reference, len(first)), _share(eta, tau)

    def step(logits: games.Vector) -> games.Vector:
        base = _pulled(logits, prior, share)
        half = base + eta * (preferences @ games.tilted(logits))
        moved: games.Vector = base + eta * (preferences @ games.tilted(half))
        return moved

    return _iterated(np.log(first), step)


def _iterated(logits: games.Vector, step: Callable[[games.Vector], games.Vector]) -> Iterator[games.Vector]:
    while True:
        yield games.tilted(logits)
        logits = step(logits)
        logits = logits - np.max(logits)


def _game(P: npt.ArrayLike, start: npt.ArrayLike, **rates: float) -> tuple[games.Matrix, games.Vector]:
    _positive(**rates)
    games.win_rates(P, start)  # checks both
    return np.asarray(P, np.float64), _start(start)


def _start(start: npt.ArrayLike, actions: int | None = None) -> games.Vector:
    first = games.as_policy("start", start, actions)
    if not np.all(first > 0):
        raise ValueError(f"start must play every action, or self-play never finds the others; got {first.tolist()}.")
    return first


def _prior(reference: npt.ArrayLike, actions: int) -> games.Vector:
    """Log-probs of the reference, -inf of what it never plays."""
    with np.errstate(divide="ignore"):
        logs: games.Vector = np.log(games.as_policy("reference", reference, actions))
    return logs


def _pulled(logits: games.Vector, prior: games.Vector, share: float) -> games.Vector:
    """(1 - share) logits + share prior; a share of 0 removes an infinity."""
    if share in (0, 1):
        return prior if share else logits
    return (1 - share) * logits + share * prior


def _share(eta: float, tau: float) -> float:
    """eta tau, the share of the reference in a round."""
    if not isinstance(eta, numbers.Real):
        raise TypeError(f"A schedule gives a number for eta; got {eta!r}.")
    _positive(eta=float(eta))
    if not 0 <= tau < np.inf:
        raise ValueError(f"tau is the weight of a KL divergence and must be >= 0 and finite; got {tau}.")
    if eta * tau > 1 + 1e-9:  # rounding
        raise ValueError(
            f"eta tau must be at most 1, or the current policy gets a negative weight; got {eta * tau:.6g}, {eta} times {tau}."
        )
    return min(1.0, float(eta * tau))


def _positive(**rates: float) -> None:
    for name, rate in rates.items():
        if not 0 < rate < np.inf:
            raise ValueError(f"{name} must be > 0 and finite; got {rate}.")
