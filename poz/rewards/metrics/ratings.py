"""Elo and Bradley-Terry ratings of players, from matches. NumPy, on the host.

    wins = win_counts(first, second, score, players=3)          # adds up over ranks
    ratings = elo_scale(bradley_terry(wins))                    # in any order the same
    ratings = elo(np.full(3, 1500.0), first, second, score, k=32)  # later matches count for more

One update of Elo is one step of stochastic gradient descent on the Bradley-Terry loss, d(-log E)/dR_A = -(ln 10 / 400)(1 - E).
Source of the conversions: Ebert 2025, *3D Arena*, arXiv 2506.18787.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from poz._given import given
from poz.backends.numpy import log_sigmoid, sigmoid
from poz.rewards._host import Floats, Places, finite, places, shares

PER_NAT = 400 / math.log(10)
"""Elo points of one nat of Bradley-Terry strength."""


@given
def elo_win_rate(rating: npt.ArrayLike, opponent: npt.ArrayLike) -> Any:
    """E = 1 / (1 + 10^((opponent - rating) / 400)), the score that is expected; shapes broadcast."""
    ahead = np.asarray(rating, np.float64) - np.asarray(opponent, np.float64)
    return sigmoid(ahead / PER_NAT)


@given
def elo_gap(win_rate: npt.ArrayLike) -> Any:
    """Elo points by which who wins this often is ahead, 400 log10(p / (1 - p)): 144.1 for 69.6 %.

    Raises:
        ValueError: A win rate that is not above 0 and below 1, which no rating has.
    """
    p = np.asarray(win_rate, np.float64)
    if not np.all((p > 0) & (p < 1)):
        raise ValueError(f"A gap of ratings needs win rates above 0 and below 1; got {p.tolist()}.")
    return PER_NAT * (np.log(p) - np.log1p(-p))


@given
def elo_scale(strengths: npt.ArrayLike, centre: float = 1500.0) -> Floats:
    """Ratings in Elo points of Bradley-Terry strengths in nats, with `centre` for the strength 0."""
    return np.asarray(centre + PER_NAT * np.asarray(strengths, np.float64))


@given
def elo(
    ratings: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike, score: npt.ArrayLike, *, k: float
) -> Floats:
    """Ratings after matches, one after the other: R_A += k (S - E), R_B -= the same.

    Their sum stays. They depend on the order of the matches, which `bradley_terry` does not.

    Args:
        ratings: (players,) Elo points before.
        first: (matches,) integer player of each match, from 0.
        second: (matches,) the other player.
        score: (matches,) S of `first`: 1 won, 0 lost, 1/2 a tie.
        k: Points at stake, above 0; 16 to 32 are usual.

    Returns:
        (players,) Elo points after.

    Raises:
        ValueError: A player without a rating or against itself, lengths that differ, scores outside [0, 1].
    """
    if not 0 < k < math.inf:
        raise ValueError(f"k must be above 0 and finite; got {k}.")
    after = finite("ratings", ratings).copy()
    for a, b, s in zip(*_matches(first, second, score, len(after)), strict=True):
        gain = k * (s - sigmoid((after[a] - after[b]) / PER_NAT))
        after[a] += gain
        after[b] -= gain
    return after


@given
def win_counts(first: npt.ArrayLike, second: npt.ArrayLike, score: npt.ArrayLike, *, players: int) -> Floats:
    """(players, players) wins of row over column, a tie one half to each: what `bradley_terry` needs, and adds up.

    Arguments and errors as of `elo`.
    """
    if players < 0:
        raise ValueError(f"players must be at least 0; got {players}.")
    wins = np.zeros((players, players))
    a, b, s = _matches(first, second, score, players)
    np.add.at(wins, (a, b), s)
    np.add.at(wins, (b, a), 1 - s)
    return wins


@given
def bradley_terry(wins: npt.ArrayLike) -> Floats:
    """The maximum-likelihood strengths s of P(i beats j) = σ(s_i - s_j), by Newton's method.

    Args:
        wins: (players, players) wins of row over column, as of `win_counts`; the diagonal is 0.

    Returns:
        (players,) nats that sum to 0. At them each player's wins are those expected, Σ_j n_ij σ(s_i - s_j).

    Source: Bradley & Terry 1952; it exists iff from each player a chain of wins leads to each other one (Ford 1957).

    Raises:
        ValueError: No square of counts, or strengths that would be infinite, with the players concerned.
        ArithmeticError: Counts so unequal that rounding stops the iteration first.
    """
    counts = np.asarray(wins, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(f"wins must be of row over column, (players, players); got shape {counts.shape}.")
    if not np.all(np.isfinite(counts) & (counts >= 0)) or np.any(np.diag(counts)):
        raise ValueError("wins must be finite counts of 0 or more, and 0 on the diagonal: nobody plays against itself.")
    reached = _reached(counts)
    if not np.all(reached):
        winner, loser = np.argwhere(~reached)[0]
        raise ValueError(
            f"Player {winner} has not beaten or tied player {loser}, nor anyone in a chain that leads there, so there is no "
            "finite maximum. Add matches, or count a half win more on both sides of each pair that met."
        )
    met, strengths = counts + counts.T, np.zeros(len(counts))
    for _ in range(200):
        ahead = strengths[:, None] - strengths
        # d log L / d s_i = Σ_j (wins_ij σ(s_j - s_i) - wins_ji σ(s_i - s_j))
        missed = counts * sigmoid(-ahead)
        weight = met * sigmoid(ahead) * sigmoid(-ahead)
        # A shift of all strengths changes nothing; the mean weight on it keeps their sum at 0.
        curvature = np.diag(weight.sum(1)) - weight + (weight.mean() or 1.0)
        step = np.linalg.solve(curvature, missed.sum(1) - missed.sum(0))
        if np.max(np.abs(step)) <= 1e-12 * max(1.0, float(np.max(np.abs(strengths)))):
            strengths = strengths + step
            return np.asarray(strengths - strengths.mean())
        now = _log_likelihood(counts, strengths)
        while _log_likelihood(counts, strengths + step) < now - 1e-12 * abs(now):
            step = step / 2
        strengths = strengths + step
    raise ArithmeticError(
        f"The strengths still move by {np.max(np.abs(step)):.1e} nats after 200 steps: wins from {counts[counts > 0].min()} to "
        f"{counts.max()} are too unequal for float64."
    )


def _log_likelihood(wins: Floats, strengths: Floats) -> float:
    return float(np.sum(wins * log_sigmoid(strengths[:, None] - strengths)))


def _reached(wins: Floats) -> npt.NDArray[np.bool_]:
    """Whether a chain of wins leads from row to column."""
    reached = (wins > 0) | np.eye(len(wins), dtype=bool)
    for _ in range(len(wins).bit_length()):  # each squaring doubles the length of a chain
        reached = (reached.astype(np.float64) @ reached) > 0
    return reached


def _matches(
    first: npt.ArrayLike, second: npt.ArrayLike, score: npt.ArrayLike, players: int
) -> tuple[Places, Places, Floats]:
    a, b = places("first", first, players, "matches"), places("second", second, players, "matches")
    s = shares("score", score, "matches")
    if not a.size == b.size == s.size:
        raise ValueError(f"A match has two players and one score; got {a.size}, {b.size} and {s.size}.")
    if np.any(a == b):
        raise ValueError(f"Nobody plays against itself; match {np.argmax(a == b)} has player {a[a == b][0]} twice.")
    return a, b, s
