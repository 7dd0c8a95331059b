"""Tabular preference games, solved exactly.

A game is a matrix `P` with `P[i, j]` the probability that action i is preferred to action j, so `P + P.T = 1`. Two
players, each pulled towards a reference policy by `tau` KL divergences, play

    J(p, q) = P(p > q) - tau KL(p || reference) + tau KL(q || reference).

Its symmetric equilibrium is what the iterative objectives (INPO, MNPO, online IPO) converge to, and is found here to
rounding. Policies are float64 probability vectors, divergences are in nats. NumPy only.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from poz._given import given

Vector: TypeAlias = npt.NDArray[np.float64]
"""(actions,) float64."""
Matrix: TypeAlias = npt.NDArray[np.float64]
"""(actions, actions) float64."""

_SLACK = 1e-9


@given
def rock_paper_scissors(strength: float = 0.8) -> Matrix:
    """The smallest game without a best action: each action beats the next but one.

    P = 1/2 + strength (R - 1/2), where R is deterministic; the unregularised equilibrium is uniform.

    Args:
        strength: In [-1, 1]; 1 is the deterministic game, 0 indifference, and a minus sign turns the cycle round.

    Returns:
        (3, 3) win probabilities.
    """
    if not -1 <= strength <= 1:
        raise ValueError(f"A win probability lies in [0, 1], so strength must lie in [-1, 1]; got {strength}.")
    deterministic = np.array([[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]])
    return 0.5 + strength * (deterministic - 0.5)


@given
def win_rates(P: npt.ArrayLike, opponent: npt.ArrayLike) -> Vector:
    """Probability of each action to be preferred to a draw from the opponent: P(y > q) = sum_y' P[y, y'] q(y').

    Args:
        P: (actions, actions) win probabilities.
        opponent: (actions,) policy of the opponent.

    Returns:
        (actions,) win rates in [0, 1].
    """
    preferences = _constant_sum(P)
    return preferences @ as_policy("opponent", opponent, len(preferences))


@given
def preference_value(P: npt.ArrayLike, policy: npt.ArrayLike, opponent: npt.ArrayLike) -> float:
    """Probability that a draw from `policy` is preferred to one from `opponent`: p^T P q."""
    preferences = _constant_sum(P)
    return float(
        as_policy("policy", policy, len(preferences)) @ preferences @ as_policy("opponent", opponent, len(preferences))
    )


@given
def as_policy(name: str, given: npt.ArrayLike, actions: int | None = None) -> Vector:
    """The given probabilities as a float64 vector, or a sentence that says what is wrong with them.

    Args:
        name: What the sentence calls it.
        given: (actions,) numbers >= 0 that sum to 1 within 1e-9.
        actions: How many there must be, where that is known.
    """
    vector = _weights(name, given, actions)
    if abs(np.sum(vector) - 1) > _SLACK:
        raise ValueError(f"{name} must sum to 1; its sum is {np.sum(vector):.12g}. Divide it by its sum, in float64.")
    return vector


@given
def kl(policy: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """KL(policy || other) = sum_y p log(p / q) in nats; inf where `other` misses an action of `policy`."""
    p = as_policy("policy", policy)
    q = as_policy("other", other, len(p))
    played = p > 0
    with np.errstate(divide="ignore"):
        return max(0.0, float(np.sum(p[played] * (np.log(p[played]) - np.log(q[played])))))


@given
def tilted(log_weights: npt.ArrayLike) -> Vector:
    """The policy proportional to exp(log_weights): a softmax, in which -inf is an action never played."""
    shifted = np.asarray(log_weights, np.float64)
    weights: Vector = np.exp(shifted - np.max(shifted))
    return weights / np.sum(weights)


@given
def squared_minimiser(base: npt.ArrayLike, win_rate: npt.ArrayLike, target: float) -> Vector:
    """Where the IPO family ends: the population minimiser of (g(y_w) - g(y_l) - target)^2, g = log(policy / base).

    policy(y) proportional to base(y) exp(2 target P(y > mu)), for pairs drawn independently from any sampler mu with
    full support and labelled by the win probabilities. IPO: base = reference, target = 1 / (2 tau). INPO:
    base = reference^(tau/eta) policy_t^(1 - tau/eta), mu = policy_t, target = 1 / (2 eta). MNPO: base = the weighted
    geometric mean of the opponents.

    Args:
        base: (actions,) weights >= 0; they need not sum to 1.
        win_rate: (actions,) P(y > mu), as from `win_rates`.
        target: What the log-ratio gap is regressed on, in nats.

    Returns:
        (actions,) the minimiser.

    Source: Azar et al. 2023, arXiv 2310.12036, Theorem 2, with any base and target.
    """
    weights = _weights("base", base)
    rates = np.asarray(win_rate, np.float64)
    if rates.shape != weights.shape:
        raise ValueError(f"win_rate must have the shape of base, {weights.shape}; got {rates.shape}.")
    return tilted(_log(weights) + 2 * target * rates)


@given
def best_response(P: npt.ArrayLike, opponent: npt.ArrayLike, reference: npt.ArrayLike, tau: float) -> Vector:
    """What maximises P(p > q) - tau KL(p || reference) against a fixed opponent q.

    Proportional to reference(y) exp(P(y > q) / tau). With tau = 0 it is the reference restricted to the best actions
    among those that it plays, which is the limit of small tau.

    Args:
        P: (actions, actions) win probabilities.
        opponent: (actions,) policy of the opponent.
        reference: (actions,) policy; what it never plays, the answer never plays.
        tau: Weight of the KL divergence, >= 0.
    """
    preferences = _constant_sum(P)
    rates = preferences @ as_policy("opponent", opponent, len(preferences))
    prior = as_policy("reference", reference, len(preferences))
    if _temperature(tau) == 0:
        best = np.max(rates[prior > 0])
        chosen: Vector = np.where(rates >= best - 4 * np.finfo(float).eps, prior, 0.0)
        return chosen / np.sum(chosen)
    return tilted(_log(prior) + rates / tau)


@given
def duality_gap(P: npt.ArrayLike, policy: npt.ArrayLike, reference: npt.ArrayLike, tau: float) -> float:
    """How much a player could win by deviating from `policy`: 0 at the equilibrium and nowhere else.

    max_p J(p, policy) - min_q J(policy, q) = 2 [tau log sum_y reference(y) exp(P(y > policy) / tau)
    + tau KL(policy || reference)] - 1. With tau = 0 it is the limit, 2 max_y P(y > policy) - 1 over the actions that
    the reference plays. It is inf for a policy that plays others.

    Args:
        P: (actions, actions) win probabilities with P + P.T = 1.
        policy: (actions,) the policy to judge.
        reference: (actions,) policy.
        tau: Weight of the KL divergence, >= 0.

    Source: the gap of INPO, Zhang et al. 2024, arXiv 2407.00617; a best response's value is a log-partition function.
    """
    preferences = _constant_sum(P)
    judged = as_policy("policy", policy, len(preferences))
    prior = as_policy("reference", reference, len(preferences))
    rates = preferences @ judged
    divergence = kl(judged, prior)
    if _temperature(tau) == 0:
        return divergence if np.isinf(divergence) else max(0.0, float(2 * np.max(rates[prior > 0]) - 1))
    # Centred win rates: 1/2 and the final -1 cancel before they can round.
    log_weights = _log(prior) + (rates - 0.5) / tau
    top = np.max(log_weights)
    return max(0.0, float(2 * tau * (top + np.log(np.sum(np.exp(log_weights - top))) + divergence)))


@given
def regularized_nash(P: npt.ArrayLike, reference: npt.ArrayLike, tau: float) -> Vector:
    """The symmetric Nash equilibrium of the regularised game, a quantal response equilibrium, to rounding.

    The only solution of p(y) proportional to reference(y) exp(P(y > p) / tau). Newton's method on
    F(x) = x - log reference - (P - 1/2) softmax(x) / tau, halving steps that do not reduce |F|. It always arrives:
    the Jacobian is 1 minus a skew matrix times a positive one, so it is never singular, and |F| bounds x.

    Args:
        P: (actions, actions) win probabilities with P + P.T = 1.
        reference: (actions,) policy; what it never plays, the equilibrium never plays.
        tau: Weight of the KL divergence, > 0. Rounding of win rates is divided by it, so the residual of the fixed
            point is about 1e-16 max(1, 1 / tau).

    Returns:
        (actions,) the equilibrium.

    Raises:
        ValueError: If P + P.T is not 1, a policy is not one, or tau is not above 0.
        ArithmeticError: If 1 / tau is so large that rounding stops the iteration first.

    Source: the game of Munos et al. 2023, arXiv 2312.00886, and of INPO, arXiv 2407.00617.
    """
    preferences = _constant_sum(P)
    prior = as_policy("reference", reference, len(preferences))
    if _temperature(tau) == 0:
        raise ValueError("The equilibrium is unique for tau > 0 only; got tau = 0. Take a small tau, such as 1e-3.")
    support = prior > 0
    start = np.log(prior[support])
    advantage = (preferences[np.ix_(support, support)] - 0.5) / tau
    logits = start
    policy = tilted(logits)
    residual = logits - start - advantage @ policy
    enough = 1e-15 * max(1.0, float(np.max(np.abs(start))), float(np.max(np.abs(advantage))))
    for _ in range(10_000):
        size = float(np.max(np.abs(residual)))
        if size <= enough:
            break
        jacobian = np.eye(len(start)) - advantage * policy + np.outer(advantage @ policy, policy)
        step = np.linalg.solve(jacobian, residual)
        share = 1.0
        while True:
            tried = logits - share * step
            tried_policy = tilted(tried)
            tried_residual = tried - start - advantage @ tried_policy
            if np.sum(tried_residual**2) < (1 - 0.1 * share) * np.sum(residual**2) or share < 1e-6:
                break
            share /= 2
        if share < 1e-6:
            break
        logits, policy, residual = tried, tried_policy, tried_residual
    if not np.max(np.abs(residual)) <= 1e3 * enough:
        raise ArithmeticError(
            f"The equilibrium for tau = {tau} was not reached: {np.max(np.abs(residual)):.1e} nats are left in its "
            "log-probabilities. Take a larger tau."
        )
    equilibrium = np.zeros_like(prior)
    equilibrium[support] = policy
    return equilibrium


def _log(weights: Vector) -> Vector:
    with np.errstate(divide="ignore"):
        logs: Vector = np.log(weights)
    return logs


def _constant_sum(P: npt.ArrayLike) -> Matrix:
    matrix = np.asarray(P, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise ValueError(
            f"P must be a square matrix of win probabilities, (actions, actions); got shape {matrix.shape}."
        )
    if not np.all((matrix >= 0) & (matrix <= 1)):
        raise ValueError(f"P holds probabilities in [0, 1]; got {_worst(matrix, 0.5)}.")
    off = matrix + matrix.T - 1
    if np.max(np.abs(off)) > _SLACK:
        row, column = np.unravel_index(np.argmax(np.abs(off)), off.shape)
        raise ValueError(
            f"One of two actions is preferred, so P + P.T must be 1, with 1/2 on the diagonal; "
            f"got P[{row}, {column}] = {matrix[row, column]} and P[{column}, {row}] = {matrix[column, row]}."
        )
    return matrix


def _weights(name: str, given: npt.ArrayLike, actions: int | None = None) -> Vector:
    vector = np.asarray(given, np.float64)
    if vector.ndim != 1 or vector.size == 0 or (actions is not None and len(vector) != actions):
        wanted = "(actions,)" if actions is None else f"({actions},)"
        raise ValueError(f"{name} must be one weight per action, shape {wanted}; got shape {vector.shape}.")
    if not (np.all(vector >= 0) and np.all(np.isfinite(vector))) or not np.any(vector):
        raise ValueError(f"{name} must hold weights >= 0, not all 0; got {vector.tolist()}.")
    return vector


def _temperature(tau: float) -> float:
    if not 0 <= tau < np.inf:
        raise ValueError(f"tau is the weight of a KL divergence and must be >= 0 and finite; got {tau}.")
    return tau


def _worst(x: npt.NDArray[np.float64], centre: float) -> float:
    bad = x[~((x >= 0) & (x <= 1))]
    return float(bad[np.argmax(np.abs(bad - centre))])
