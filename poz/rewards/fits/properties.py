"""What a property of a completion does to its chance to be preferred, with length or anything else controlled for.

    found = property_effects(properties_a - properties_b, a_preferred, controls=(length_a - length_b)[:, None])
    found.win_rate[3]           # what one unit more of property 3 adds to the probability of a win, .04 for 4 points

`property_effects` looks at one property after the other, as the table of *What's In My Human Feedback?* does (Movva et al.
2025, arXiv 2510.26202; rmovva/wimhf@af57741, select_neurons_controlled_ols; its properties are the activations of a sparse
autoencoder, standardised). `joint_effects` looks at all at once, as *Dissecting Human and LLM Preferences* (Li et al. 2024,
arXiv 2402.11296; GAIR-NLP/Preference-Dissection@ebaeb8a, visualization/app.py) and WIMHF's selection do: an L1 penalty
is the Laplace prior of the former, of scale 1 / l1 (.1 in their script), and the controlled lasso of the latter. (Their
posterior means are sampled by NUTS, which was not run; here is the mode, where small effects are exactly 0.)

Written on NumPy and SciPy: scikit-learn's logistic regression penalises controls with everything else.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poz._extras import require
from poz._given import given
from poz.backends.numpy import sigmoid
from poz.rewards._host import Floats, finite, shares
from poz.rewards.fits import _logistic


class Effects(NamedTuple):
    """What properties do to the log-odds and to the probability of a win.

    Attributes:
        coefficients: (properties,) nats of log-odds per unit.
        win_rate: (properties,) mean over the pairs of P(win | one unit) - P(win | none), in (-1, 1), where the other
            terms of the regression stay as they are. Of one property without controls and intercept σ(w) - 1/2.
        controls: (properties, controls), or (controls,) of a joint fit, nats per unit.
        intercept: (properties,), or () of a joint fit, nats: how much more often the first completion wins; 0 without.
    """

    coefficients: Floats
    win_rate: Floats
    controls: Floats
    intercept: Floats


@given
def property_effects(
    properties: npt.ArrayLike,
    preferred: npt.ArrayLike,
    *,
    controls: npt.ArrayLike | None = None,
    intercept: bool = True,
) -> Effects:
    """The effect of each property alone: logistic regressions on it, the controls and an intercept, none penalised.

    Args:
        properties: (pairs, properties) how much more of each the first completion has; 1, 0 or -1, or any number.
        preferred: (pairs,) 1 or True where the first completion won, 0 where the second, 1/2 for a tie.
        controls: (pairs, controls), as the difference of lengths.
        intercept: Whether the first completion may win for being the first.

    Raises:
        ValueError: Shapes that differ, numbers that are not finite, a property that does not vary or that the controls
            make up, or one by which all wins can be told, so that its coefficient would be infinite.
    """
    x, y, c = _table(properties, preferred, controls, intercept)
    found = np.empty((x.shape[1], 1 + c.shape[1]))
    win_rate = np.empty(x.shape[1])
    for i, column in enumerate(x.T):
        found[i] = _fit(np.column_stack([column, c]), y, f"Property {i}")
        win_rate[i] = _win_rate(found[i, 0], c @ found[i, 1:])
    return Effects(found[:, 0], win_rate, *_split(found[:, 1:], intercept))


@given
def joint_effects(
    properties: npt.ArrayLike,
    preferred: npt.ArrayLike,
    *,
    controls: npt.ArrayLike | None = None,
    l1: float = 0.0,
    intercept: bool = False,
) -> Effects:
    """The effects of all properties in one logistic regression, l1 Σ |w| added to its loss Σ -log P, in nats.

    Controls and intercept are not penalised. Effects of 0 are exactly 0.

    Args:
        properties: (pairs, properties) how much more of each the first completion has.
        preferred: (pairs,) 1 or True where the first completion won, 0 where the second, 1/2 for a tie.
        controls: (pairs, controls).
        l1: At least 0.
        intercept: Whether the first completion may win for being the first.

    Raises:
        ImportError: SciPy is missing, for a penalty.
        ValueError: As of `property_effects` of what is not penalised, or a negative penalty.
        ArithmeticError: Rounding that ends SciPy's search too early.
    """
    x, y, c = _table(properties, preferred, controls, intercept)
    if not 0 <= l1 < math.inf:
        raise ValueError(f"l1 must be at least 0 and finite; got {l1}.")
    table, size = np.column_stack([x, c]), x.shape[1]
    found = _fit(table, y, "Some property") if l1 == 0 else _lasso(table, y, l1, size)
    rest = table @ found
    win_rate = [_win_rate(w, rest - w * column) for w, column in zip(found[:size], x.T, strict=True)]
    return Effects(found[:size], np.array(win_rate), *_split(found[size:], intercept))


def _table(
    properties: npt.ArrayLike, preferred: npt.ArrayLike, controls: npt.ArrayLike | None, intercept: bool
) -> tuple[Floats, Floats, Floats]:
    """Properties, labels, and controls with the column of the intercept."""
    x, y = finite("properties", properties, "pairs properties"), shares("preferred", preferred, "pairs")
    c = np.empty((len(x), 0)) if controls is None else finite("controls", controls, "pairs controls")
    if not len(x) == len(y) == len(c):
        raise ValueError(
            f"properties, preferred and controls must be of the same pairs; got {len(x)}, {len(y)}, {len(c)}."
        )
    if not x.size:
        raise ValueError(f"A regression needs one pair and one property at least; got properties of shape {x.shape}.")
    return x, y, np.column_stack([c, np.ones(len(x))]) if intercept else c


def _fit(table: Floats, y: Floats, what: str) -> Floats:
    if np.linalg.matrix_rank(table / _logistic.units(table)) < table.shape[1]:
        raise ValueError(
            f"{what} does not vary, or is made up of the other columns, so that its coefficient could be any; "
            f"got {table.shape[0]} pairs."
        )
    try:
        return _logistic.newton(table, y)
    except ArithmeticError as error:
        raise ValueError(
            f"{what} tells all wins from losses, alone or with the controls, so that a coefficient would be infinite. Give more "
            "pairs, or properties of a joint fit an l1 penalty."
        ) from error


def _lasso(table: Floats, y: Floats, l1: float, size: int) -> Floats:
    """w = u - v with u, v >= 0 of the first columns, for which |w| is smooth; SciPy does the rest."""
    require("poz.rewards.fits", "rewards", "scipy")
    from scipy.optimize import minimize

    columns, unit = table.shape[1], _logistic.units(table)
    if columns > size:  # what no penalty bounds has to be finite by itself
        _fit(table[:, size:], y, "A control")
    both = np.column_stack([table / unit, -table[:, :size] / unit[:size]])
    price = l1 / unit[:size]
    cost = np.concatenate([price, np.zeros(columns - size), price])

    def value(w: Floats) -> tuple[float, Floats]:
        return _logistic.loss(both, y, w) + float(cost @ w), _logistic.slopes(both, y, w) + cost

    bounds = [(0.0, None)] * size + [(None, None)] * (columns - size) + [(0.0, None)] * size
    options = {"maxiter": 100_000, "maxfun": 1_000_000, "ftol": 0.0, "gtol": 1e-10}
    w = minimize(value, np.zeros(len(cost)), jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    slope = value(w)[1]
    at_bound = np.concatenate([w[:size] == 0, np.zeros(columns - size, bool), w[columns:] == 0])
    off = float(np.max(np.where(at_bound, np.maximum(-slope, 0.0), np.abs(slope))))
    if not off <= 1e-6 * max(1.0, float(np.max(cost))):
        raise ArithmeticError(f"The penalised coefficients are not found: a slope of {off:.1e} is left.")
    return np.concatenate([w[:size] - w[columns:], w[size:columns]]) / unit


def _win_rate(w: float, rest: Floats) -> float:
    return float(np.mean(sigmoid(rest + w) - sigmoid(rest)))


def _split(found: Floats, intercept: bool) -> tuple[Floats, Floats]:
    if intercept:
        return found[..., :-1], np.asarray(found[..., -1])
    return found, np.zeros(found.shape[:-1])
