"""INPO and MNPO on tabular policies: the exact step that each round's loss regresses on, and the iterates.

Every action is sampled and every label is expected, so nothing is estimated: what an iterative recipe does when its
fits are perfect. NumPy only; win probabilities and policies as in `poz.games`.
"""

from __future__ import annotations

import itertools
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from poz import games
from poz._given import given

Schedule = float | Callable[[int], float]
"""A constant eta, or a function from the round (from 0) to its eta."""


@given
def inpo_step(
    policy: npt.ArrayLike, reference: npt.ArrayLike, P: npt.ArrayLike, *, tau: float, eta: float
) -> games.Vector:
    """One exact INPO round: mirror descent against the current policy, pulled towards the reference.

    policy_{t+1}(y) proportional to reference(y)^(tau/eta) policy_t(y)^(1 - tau/eta) exp(P(y > policy_t) / eta).

    Args:
        policy: (actions,) policy_t, which also samples the pairs.
        reference: (actions,) policy.
        P: (actions, actions) win probabilities.
        tau: Weight of the KL to the reference, 0 <= tau <= eta.
        eta: Inverse learning rate, > 0: large is slow.

    Returns:
        (actions,) the minimiser of the `poz.inpo` loss over all pairs drawn from `policy`.

    Source: Zhang et al. 2024, arXiv 2407.00617, Algorithm 1.
    """
    return mnpo_step([policy], None, reference, P, tau=tau, eta=eta)


@given
def mnpo_step(
    policies: Sequence[npt.ArrayLike] | npt.NDArray[np.floating[Any]],
    weights: npt.ArrayLike | None,
    reference: npt.ArrayLike,
    P: npt.ArrayLike,
    *,
    tau: float,
    eta: float,
    beta: float = 1.0,
    sampler: npt.ArrayLike | None = None,
) -> games.Vector:
    """One exact MNPO round: several opponents make the base measure, the sampler makes the win rates.

    policy_{t+1}(y) proportional to
    reference(y)^(tau/eta) prod_j policies_j(y)^((1 - tau/eta) weights_j) exp(P(y > sampler) / (eta beta)).

    Args:
        policies: The opponents, each (actions,), newest first.
        weights: One weight >= 0 per opponent, used as given; None for equal ones that sum to 1.
        reference: (actions,) policy.
        P: (actions, actions) win probabilities.
        tau: Weight of the KL to the reference, 0 <= tau <= eta.
        eta: Inverse learning rate, > 0.
        beta: Factor of the log-ratio gap in the loss, > 0.
        sampler: (actions,) policy that draws the pairs; the newest opponent where it is not given.

    Returns:
        (actions,) the minimiser of the `poz.mnpo` loss (distance "squared", target "constant") over those pairs.

    Source: Wu et al. 2025, arXiv 2509.23102 v3, eq. 17; the minimiser is `poz.games.squared_minimiser`.
    """
    ratio = _ratio(tau, eta)
    if not 0 < beta < np.inf:
        raise ValueError(f"beta scales the log-ratio gap and must be > 0 and finite; got {beta}.")
    if not len(policies):
        raise ValueError("An MNPO round needs at least one opponent; got none. Start from [reference].")
    shares = [1.0 / len(policies)] * len(policies) if weights is None else _numbers(weights, len(policies))
    if shares is None:
        raise ValueError(
            f"weights must hold one number >= 0 per opponent, {len(policies)} of them; got {_listed(weights)}."
        )
    rates = games.win_rates(P, policies[0] if sampler is None else sampler)
    prior = games.as_policy("reference", reference, len(rates))
    opponents = [games.as_policy("an opponent", policy, len(rates)) for policy in policies]
    return _round(opponents, shares, prior, rates, ratio, eta * beta)


@given
def inpo_iterates(
    P: npt.ArrayLike, reference: npt.ArrayLike, *, tau: float, eta: Schedule, start: npt.ArrayLike | None = None
) -> Iterator[games.Vector]:
    """The INPO policies, without end: the start, then one exact round after another.

    The last iterate converges to `poz.games.regularized_nash(P, reference, tau)` where eta is large enough: around a
    uniform equilibrium of `rock_paper_scissors(s)`, where eta > (tau^2 + s^2 / 12) / (2 tau). At a constant eta too
    small for its game there is a warning. Take as many as you want with `itertools.islice`.

    Args:
        P: (actions, actions) win probabilities.
        reference: (actions,) policy.
        tau: Weight of the KL to the reference, 0 <= tau <= eta.
        eta: Inverse learning rate, or its schedule; eta_t = tau (t + 2) / 2 has a proven O(1/t) rate.
        start: (actions,) first policy; the reference where it is not given.
    """
    return mnpo_iterates(P, reference, tau=tau, eta=eta, history=1, start=start)


@given
def mnpo_iterates(
    P: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    tau: float,
    eta: Schedule,
    beta: float = 1.0,
    history: int = 2,
    weights: npt.ArrayLike | None = None,
    start: npt.ArrayLike | None = None,
) -> Iterator[games.Vector]:
    """The MNPO policies, without end: each round plays the latest `history` of them, the newest also draws the pairs.

    Args:
        P: (actions, actions) win probabilities.
        reference: (actions,) policy.
        tau: Weight of the KL to the reference, 0 <= tau <= eta.
        eta: Inverse learning rate, or its schedule.
        beta: Factor of the log-ratio gap, > 0.
        history: How many policies are kept, >= 1; 1 is INPO.
        weights: One weight per kept policy, newest first; divided by the sum over those available, so that a short
            history tempers nothing. None for equal ones.
        start: (actions,) first policy; the reference where it is not given.

    Warns:
        UserWarning: eta is constant and too small for the game: the equilibrium repels the iterates.

    Source: Wu et al. 2025, arXiv 2509.23102 v3, TD-MNPO; first in, first out, as in the released code.
    """
    if history < 1:
        raise ValueError(f"history is the number of policies kept and must be >= 1; got {history}.")
    shares = [1.0] * history if weights is None else _numbers(weights, history)
    if shares is None or not shares[0] > 0:
        raise ValueError(f"weights must hold {history} numbers >= 0, the first one > 0; got {_listed(weights)}.")
    first = games.as_policy("start", reference if start is None else start)
    mnpo_step([first], None, reference, P, tau=tau, eta=eta(0) if callable(eta) else eta, beta=beta)  # checks all
    prior, preferences = np.asarray(reference, np.float64), np.asarray(P, np.float64)
    if not callable(eta) and tau > 0:
        said = _said_of_stability(preferences, prior, tau=tau, eta=eta, beta=beta, shares=shares)
        if said:
            warnings.warn(said, stacklevel=2)

    def rounds() -> Iterator[games.Vector]:
        kept = deque([first], maxlen=history)
        for index in itertools.count():
            yield kept[0]
            now = eta(index) if callable(eta) else eta
            total = sum(shares[: len(kept)])
            weights = [share / total for share in shares[: len(kept)]]
            kept.appendleft(_round(kept, weights, prior, preferences @ kept[0], _ratio(tau, now), now * beta))

    return rounds()


def _round(
    opponents: Iterable[games.Vector],
    shares: Iterable[float],
    reference: games.Vector,
    rates: games.Vector,
    ratio: float,
    scale: float,
) -> games.Vector:
    log_weights = rates / scale
    with np.errstate(divide="ignore"):
        if ratio > 0:  # 0 log 0 would be NaN
            log_weights += ratio * np.log(reference)
        for share, opponent in zip(shares, opponents, strict=True):
            if (1 - ratio) * share > 0:
                log_weights += (1 - ratio) * share * np.log(opponent)
    return games.tilted(log_weights)


def _listed(weights: Any) -> Any:
    return np.asarray(weights, np.float64).tolist()


def _numbers(weights: Any, count: int) -> list[float] | None:
    """So many finite numbers of 0 or more, or None."""
    found = np.asarray(weights, np.float64)
    good = found.shape == (count,) and bool(np.all((found >= 0) & (found < np.inf)))
    return found.tolist() if good else None


def _said_of_stability(
    P: games.Matrix, reference: games.Vector, *, tau: float, eta: float, beta: float, shares: Sequence[float]
) -> str:
    try:
        with np.errstate(all="ignore"):
            radius = _spectral_radius(P, reference, tau=tau, eta=eta, beta=beta, shares=shares)
    except ArithmeticError as error:
        return f"Whether the iterates leave the equilibrium is not known. {error}"
    if radius <= 1 + 1e-9:
        return ""
    return (
        f"At eta = {eta} and tau = {tau} the iterates leave the equilibrium of this game: a small distance grows "
        f"{radius:.6g}-fold in a round. Take a larger eta, or eta_t = tau (t + 2) / 2."
    )


def _spectral_radius(
    P: games.Matrix, reference: games.Vector, *, tau: float, eta: float, beta: float, shares: Sequence[float]
) -> float:
    """By how much a round stretches a small distance from the equilibrium, for a history that is full.

    In logits x a round is x' = (1 - tau/eta) sum_j w_j x_j + P softmax(x_0) / (eta beta) + constant. In the direction of an
    eigenvalue m of its last slope, P (diag p - p p^T) / (eta beta), that is x' = sum_j c_j x_j with c_j = (1 - tau/eta) w_j,
    and m more beside the newest.
    """
    p = games.regularized_nash(P, reference, tau * beta)
    slopes = np.linalg.eigvals(P @ (np.diag(p) - np.outer(p, p)) / (eta * beta))
    rounds = np.zeros((len(p), len(shares), len(shares)), complex)
    rounds[:, 0] = (1 - tau / eta) * np.array(shares) / sum(shares)
    rounds[:, 0, 0] += slopes
    rounds[:, 1:, :-1] = np.eye(len(shares) - 1)  # what was the newest becomes the next
    return float(np.abs(np.linalg.eigvals(rounds)).max())


def _ratio(tau: float, eta: float) -> float:
    if not 0 < eta < np.inf:
        raise ValueError(f"eta is an inverse learning rate and must be > 0 and finite; got {eta}.")
    if not 0 <= tau <= eta:
        raise ValueError(f"tau must lie in [0, eta], or the current policy gets a negative weight; got {tau} of {eta}.")
    return tau / eta
