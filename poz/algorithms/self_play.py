"""Self-play on tabular policies: the exact rounds of SPPO, GPO, RSPO, ONPO, Nash-MD and EGPO.

As in `poz.algorithms.tabular`, every action is sampled and every label is expected, so a round is what a perfect fit of
the loss would give. Each function is an endless iterator over policies, the start first; take as many as you want with
`itertools.islice`. NumPy only; win probabilities and policies as in `poz.games`.
"""

from __future__ import annotations

import itertools
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
    first = games.as_policy("start", start, len(matrix))
    _positive(beta=beta)
    return _iterated(np.log(first), lambda logits: logits + matrix @ games.tilted(logits) / beta)


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
    prior = np.log(games.as_policy("reference", reference, len(first)))
    pull = 2 * regularization_weight

    def step(logits: games.Vector) -> games.Vector:
        moved: games.Vector = logits + pull * prior + eta * (preferences @ games.tilted(logits))
        return moved / (1 + pull)

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
    prior = np.log(games.as_policy("reference", reference, len(first)))

    def rounds() -> Iterator[games.Vector]:
        logits = np.log(first)
        for index in itertools.count():
            yield games.tilted(logits)
            rate = eta(index) if callable(eta) else eta
            mixed = (1 - rate * tau) * logits + rate * tau * prior
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
    preferences, first = _game(P, start, eta=eta)
    prior = np.log(games.as_policy("reference", reference, len(first)))

    def step(logits: games.Vector) -> games.Vector:
        base = (1 - eta * tau) * logits + eta * tau * prior
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
    first = games.as_policy("start", start)
    if not np.all(first > 0):
        raise ValueError(f"start must play every action, or self-play never finds the others; got {first.tolist()}.")
    return np.asarray(P, np.float64), first


def _positive(**rates: float) -> None:
    for name, rate in rates.items():
        if not 0 < rate < np.inf:
            raise ValueError(f"{name} must be > 0 and finite; got {rate}.")
