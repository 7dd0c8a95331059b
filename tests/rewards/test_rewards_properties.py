"""What properties do to the win rate: WIMHF's own regressions, scikit-learn's lasso, and effects that are known."""

import json
from pathlib import Path

import numpy as np
import pytest

from poz.rewards import fits

ROWS = {
    row["item"]: row for row in json.loads((Path(__file__).parents[1] / "authors/rewards/properties.json").read_text())
}


def sigma(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("item", ["as they are", "standardised"])
def test_authors_controlled_coefficients(item):
    row = ROWS[item]
    inputs = {key: np.array(x) for key, x in row["inputs"].items()}
    if row["standardised"]:
        for key in ("properties", "controls"):
            inputs[key] = (inputs[key] - inputs[key].mean(0)) / inputs[key].std(0)
    found = fits.property_effects(**inputs)
    np.testing.assert_allclose(found.coefficients, row["values"], rtol=1e-6)  # statsmodels stops at 1e-8 of the loss


@pytest.mark.parametrize("item", [item for item in ROWS if item.startswith("lasso")])
def test_scikit_learns_lasso(item):
    row = ROWS[item]
    found = fits.joint_effects(**row["inputs"], **row["settings"])
    np.testing.assert_allclose(found.coefficients, row["values"], atol=1e-7)
    assert np.array_equal(found.coefficients == 0, np.array(row["values"]) == 0)


RNG = np.random.default_rng(13)
X, C = RNG.normal(size=(200, 3)), RNG.normal(size=(200, 2))
Y = (RNG.random(200) < sigma(X @ [1.0, -0.5, 0.0] + C @ [0.8, 0.0] + 0.3)).astype(float)


def slopes_and_wins(columns, weights, first):
    """Σ (P - y) x of each column, 0 at the maximum, and the mean of P(one unit more of the first) - P(none)."""
    table = np.column_stack(columns)
    without = table @ weights - weights[0] * first
    return table.T @ (sigma(table @ weights) - Y), sum(sigma(z + weights[0]) - sigma(z) for z in without) / len(Y)


@pytest.mark.parametrize("intercept", [True, False])
def test_the_slopes_vanish_and_the_win_rates_are_counted(intercept):
    ones = [np.ones(200)] * intercept
    found = fits.property_effects(X, Y, controls=C, intercept=intercept)
    for j in range(3):
        weights = [found.coefficients[j], *found.controls[j], *[found.intercept[j]] * intercept]
        slopes, wins = slopes_and_wins([X[:, j], C, *ones], weights, X[:, j])
        np.testing.assert_allclose(slopes, 0, atol=1e-9)
        np.testing.assert_allclose(found.win_rate[j], wins, rtol=1e-12)
    joint = fits.joint_effects(X, Y, controls=C, intercept=intercept)
    for j in range(3):
        order = [j, *(k for k in range(3) if k != j)]
        weights = [*joint.coefficients[order], *joint.controls, *[joint.intercept] * intercept]
        slopes, wins = slopes_and_wins([X[:, order], C, *ones], weights, X[:, j])
        np.testing.assert_allclose(slopes, 0, atol=1e-9)
        np.testing.assert_allclose(joint.win_rate[j], wins, rtol=1e-12)
    assert np.any(found.intercept) == np.any(joint.intercept) == intercept


def test_the_conditions_of_the_lasso_hold():
    # |slope| <= l1 where the coefficient is 0, slope = -l1 sign(w) elsewhere, 0 of what is not penalised.
    found = fits.joint_effects(X, Y, controls=C, l1=15.0, intercept=True)
    missed = sigma(X @ found.coefficients + C @ found.controls + found.intercept) - Y
    slopes = X.T @ missed
    w = found.coefficients
    assert (w == 0).any()
    assert (w != 0).any()
    np.testing.assert_allclose(slopes[w != 0], -15.0 * np.sign(w[w != 0]), rtol=1e-6)
    assert np.all(np.abs(slopes[w == 0]) <= 15.0)
    np.testing.assert_allclose([*(C.T @ missed), missed.sum()], 0, atol=1e-5)
    assert not np.any(fits.joint_effects(X, Y, l1=1e4).coefficients)


def test_wins_of_a_property_that_one_side_has():
    # Dissecting: P(prefer | property) = σ(w). Of 8 pairs where it tells the sides apart 6 are won; the others say nothing.
    has = np.array([1, 1, 1, 1, -1, -1, -1, -1, 0, 0.0])
    won = np.array([1, 1, 1, 0, 0, 0, 0, 1, 1, 0.0])
    found = fits.property_effects(has[:, None], won, intercept=False)
    np.testing.assert_allclose(found.coefficients, [np.log(3)], rtol=1e-12)
    np.testing.assert_allclose(found.win_rate, [0.25], rtol=1e-12)


def test_a_tie_is_half_of_each():
    halves = fits.property_effects([[1.0], [2.0], [-1.0]], [0.5, 1.0, 1.0])
    both = fits.property_effects([[1.0], [1.0], [2.0], [2.0], [-1.0], [-1.0]], [0, 1, 1, 1, 1, 1.0])
    np.testing.assert_allclose(halves.coefficients, both.coefficients, rtol=1e-8)


def test_swapping_the_sides_changes_no_effect():
    one, other = fits.property_effects(X, Y, controls=C), fits.property_effects(-X, 1 - Y, controls=-C)
    np.testing.assert_allclose(other.coefficients, one.coefficients, rtol=1e-9)
    np.testing.assert_allclose(other.intercept, -one.intercept, rtol=1e-9)


TIES = np.full(200, 0.5)


def test_all_ties_have_no_effect():
    found = fits.property_effects(X, TIES, controls=C)
    assert not any(np.any(part) for part in found)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fits.property_effects(X, Y[:3]), "of the same pairs; got 200, 3, 200"),
        (lambda: fits.property_effects(X, Y, controls=C[:3]), "got 200, 200, 3"),
        (lambda: fits.property_effects(X[:, 0], Y), r"shape \(pairs, properties\); got \(200,\)"),
        (lambda: fits.property_effects(X, Y * 2), r"preferred must lie in \[0, 1\]; got 2"),
        (lambda: fits.property_effects(X * np.nan, Y), "properties must be finite"),
        (lambda: fits.property_effects(X[:0], Y[:0]), "one pair and one property at least"),
        (lambda: fits.property_effects(X[:, :0], Y), "one pair and one property at least"),
        (
            lambda: fits.property_effects(np.column_stack([X, np.ones(200)]), Y),
            "Property 3 does not vary, or is made up",
        ),
        (lambda: fits.property_effects(np.zeros((200, 1)), Y, intercept=False), "Property 0 does not vary"),
        (lambda: fits.property_effects(X, Y, controls=X[:, 1:2]), "Property 1 does not vary, or is made up"),
        (lambda: fits.property_effects(X[:1], Y[:1]), "Property 0 does not vary.*got 1 pairs"),
        (lambda: fits.property_effects(Y[:, None], Y), "Property 0 tells all wins from losses"),
        (lambda: fits.property_effects(X, np.ones(200)), "tells all wins from losses"),
        (lambda: fits.joint_effects(X, X[:, 1] > 0), "Give more pairs, or properties of a joint fit an l1 penalty"),
        (lambda: fits.property_effects([[1.0], [2.0]], [1, 1], intercept=False), "tells all wins from losses"),
        (lambda: fits.joint_effects(X, Y, controls=Y[:, None] - 0.5, l1=5.0), "A control tells all wins from losses"),
        (
            lambda: fits.joint_effects(X, Y, controls=np.ones((200, 1)), intercept=True, l1=5.0),
            "A control does not vary",
        ),
        (lambda: fits.joint_effects(X, Y, l1=-1.0), "l1 must be at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_a_penalty_bounds_what_would_be_infinite():
    found = fits.joint_effects(X, X[:, 1] > 0, l1=5.0)
    assert 0 < found.coefficients[1] < 10


def test_far_units_do_no_harm():
    far, near = fits.joint_effects(X * 1e9, Y, controls=C * 1e-9, l1=8e9), fits.joint_effects(X, Y, controls=C, l1=8.0)
    np.testing.assert_allclose(far.coefficients * 1e9, near.coefficients, atol=1e-6)
    scaled = fits.property_effects(X * 1e9, Y, controls=C * 1e-9)
    np.testing.assert_allclose(
        scaled.coefficients * 1e9, fits.property_effects(X, Y, controls=C).coefficients, rtol=1e-9
    )
