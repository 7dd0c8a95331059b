"""ArmoRM: the authors' fits, which are scikit-learn's, their penalties and their gate; and what ridge and ranks promise."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import torch

from poz.rewards import fits
from poz.rewards.fits import armorm

ROWS = {row["item"]: row for row in json.loads((Path(__file__).parents[1] / "authors/rewards/armorm.json").read_text())}
RNG = np.random.default_rng(21)


def rows(call):
    return pytest.mark.parametrize("row", [r for r in ROWS.values() if r["call"] == call], ids=lambda row: row["item"])


def numbers(x):
    return np.array(x, np.float64)  # None is NaN


# -- ridge


@rows("ridge_by_validation")
def test_authors_ridge(row):
    found = fits.ridge_by_validation(**{k: numbers(x) for k, x in row["inputs"].items()}, **row["settings"])
    np.testing.assert_allclose(found.weights, row["values"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.losses, row["losses"], rtol=1e-9)  # they solve the normal equations
    assert np.array_equal(found.penalty, row["penalty"])
    assert list(armorm.RIDGES) == row["settings"]["penalties"]
    inputs = numbers(row["inputs"]["features"]), numbers(row["inputs"]["labels"])
    np.testing.assert_allclose(fits.ridge(*inputs, found.penalty), found.weights, rtol=1e-13, atol=1e-16)


def by_hand(z, y, alpha):
    """(Z'Z + α I) w = Z'y to fifty digits, row by row where there is a label."""
    with mp.workdps(50):
        labelled = [(row, label) for row, label in zip(z.tolist(), y.tolist(), strict=True) if label == label]
        d = z.shape[1]
        left = mp.matrix(d, d)
        right = mp.matrix(d, 1)
        for row, label in labelled:
            for i in range(d):
                right[i] += mp.mpf(row[i]) * mp.mpf(label)
                for j in range(d):
                    left[i, j] += mp.mpf(row[i]) * mp.mpf(row[j])
        for i in range(d):
            left[i, i] += mp.mpf(alpha)
        return [float(x) for x in mp.lu_solve(left, right)]


@pytest.mark.parametrize("n", [3, 7])  # fewer rows than features, and more
def test_ridge_by_hand(n):
    z, y = RNG.normal(size=(n, 4)), RNG.normal(size=(n, 3))
    y[0, 1] = y[1:, 2] = np.nan  # attribute 2 has one label
    alpha = [1e-6, 0.3, 40.0]
    wanted = [by_hand(z, y[:, a], alpha[a]) for a in range(3)]
    np.testing.assert_allclose(fits.ridge(z, y, alpha), wanted, rtol=1e-9)


def test_a_ridge_vanishes_with_its_penalty_and_interpolates_without():
    z, y = RNG.normal(size=(4, 6)), RNG.normal(size=(4, 2))
    np.testing.assert_allclose(z @ fits.ridge(z, y, 0.0).T, y, rtol=1e-12)
    np.testing.assert_allclose(fits.ridge(z, y, 1e-13), fits.ridge(z, y, 0.0), rtol=1e-10)
    np.testing.assert_allclose(
        fits.ridge(z, y, 0.0), np.linalg.lstsq(z, y, rcond=None)[0].T, rtol=1e-12
    )  # the shortest
    np.testing.assert_allclose(1e12 * fits.ridge(z, y, 1e12), (z.T @ y).T, rtol=1e-10)
    lengths = [np.linalg.norm(fits.ridge(z, y, a)) for a in (0.0, 0.1, 1.0, 10.0)]
    assert np.all(np.diff(lengths) < 0)


def test_features_that_repeat_share_their_weight():
    z = RNG.normal(size=(9, 2))
    both, one = fits.ridge(z[:, [0, 0, 1]], z[:, :1], 1e-9), fits.ridge(z, z[:, :1], 1e-9)
    np.testing.assert_allclose(both[0, :2], one[0, 0] / 2, rtol=1e-8)
    assert not fits.ridge(np.zeros((3, 2)), np.ones((3, 1)), 0.0).any()
    many = np.random.default_rng(0).normal(size=(400, 20))  # whose last singular values are rounding
    repeated, labels = np.hstack([many, many]), many[:, :1] + 1
    np.testing.assert_allclose(fits.ridge(repeated, labels, 0.0)[:, :20], fits.ridge(many, labels, 0.0) / 2, atol=1e-12)


def test_one_sample_has_its_ridge():
    np.testing.assert_allclose(fits.ridge([[3.0, 4.0]], [[10.0]], 25.0), [[0.6, 0.8]])  # z y / (z·z + α)


def test_the_first_of_equal_penalties_is_taken():
    held_out = np.zeros((2, 3)), np.ones((2, 1))  # on which all weights err alike
    found = fits.ridge_by_validation(np.eye(3), np.ones((3, 1)), *held_out, penalties=[5.0, 1.0])
    assert found.penalty.tolist() == [5.0]
    assert found.losses.tolist() == [[1.0, 1.0]]


# -- verbosity


@rows("verbosity_penalties")
def test_authors_penalties(row):
    found = fits.verbosity_penalties(**row["inputs"], **row["settings"])
    assert found.penalty.tolist() == row["values"]
    assert list(armorm.PENALTIES) == row["tried"]
    enough = found.penalty < 1
    np.testing.assert_allclose(found.correlation[enough], np.array(row["correlation"])[enough], rtol=1e-13)


def spearman(x, y):
    """Pearson's correlation of ranks, where no two are equal."""
    x, y = (np.argsort(np.argsort(v)) - (len(v) - 1) / 2 for v in (x, y))
    return x @ y / (x @ x)


def test_attributes_are_cleared_of_verbosity():
    # ArmoRM: after the penalty no attribute rises with verbosity by a rank correlation of more than .03, and with the
    # next smaller penalty it would.
    long = RNG.normal(size=300)
    rewards = np.column_stack([0.4 * long, long, -0.3 * long, 0.8 * long]) + RNG.normal(size=(300, 4)) * [
        0.5,
        0,
        1,
        0.3,
    ]
    found = fits.verbosity_penalties(rewards, verbosity=1)
    cleared = fits.debias(rewards, found.penalty, verbosity=1)
    assert found.penalty[2] == 0
    assert np.all(found.penalty[[0, 3]] > 0)
    assert np.all(found.penalty[[0, 3]] < 1)
    assert not cleared[:, 1].any()
    for a in (0, 2, 3):
        np.testing.assert_allclose(found.correlation[a], spearman(cleared[:, a], long), atol=1e-12)
        assert found.correlation[a] <= 0.03
    for a in (0, 3):
        before = armorm.PENALTIES[armorm.PENALTIES.index(found.penalty[a]) - 1]
        assert spearman(rewards[:, a] - before * long, long) > 0.03


def test_an_attribute_without_variance_needs_no_penalty():
    rewards = np.column_stack([np.arange(5.0), np.ones(5), 9 * np.arange(5.0)])
    found = fits.verbosity_penalties(rewards, verbosity=0)
    assert found.penalty.tolist() == [1, 0, 1]  # nine times the verbosity is more than 1 takes away
    np.testing.assert_allclose(found.correlation, [0, 0, 1], rtol=1e-15)


@pytest.mark.parametrize("array", [np.array, torch.tensor, jnp.array])
def test_debias(array):
    rewards = array([[[1.0, 2.0, 4.0]], [[0.0, -1.0, 2.0]]])
    found = fits.debias(rewards, [0.5, 0.0, 1.0], verbosity=2)
    np.testing.assert_array_equal(found, [[[-1.0, 2.0, 0.0]], [[-1.0, -1.0, 0.0]]])


# -- the gate


def loss_by_hand(chosen, rejected, logits, temperature, scale):
    """G_i = -σ(-ΔR) Δr_i; through p = softmax(a/T), g = e p: dL/da_i = e/T p_i (G_i - Σ p G), dL/de = Σ p G."""
    weights = np.exp(logits / temperature - np.max(logits / temperature))
    p = weights / weights.sum()
    ahead = sum(scale * p[i] * (chosen[i] - rejected[i]) for i in range(len(p)))
    missed = 1 / (1 + np.exp(ahead))
    g = [-missed * (c - r) for c, r in zip(chosen, rejected, strict=True)]
    mean = sum(x * y for x, y in zip(p, g, strict=True))
    slopes = {
        "chosen": [-missed * scale * x for x in p],
        "rejected": [missed * scale * x for x in p],
        "logits": [scale / temperature * x * (y - mean) for x, y in zip(p, g, strict=True)],
    }
    return np.log1p(np.exp(-ahead)), slopes, mean


@rows("gated_loss")
def test_authors_gate_and_the_gradient_by_hand(row):
    inputs = {key: np.array(x) for key, x in row["inputs"].items()}
    each = [loss_by_hand(*example, **row["settings"]) for example in zip(*inputs.values(), strict=True)]
    np.testing.assert_allclose([e[0] for e in each], row["values"], rtol=1e-13)
    np.testing.assert_allclose(sum(e[2] for e in each), row["gradients"]["scale"], rtol=1e-13)
    np.testing.assert_allclose(fits.gated_loss(**inputs, **row["settings"]), row["values"], rtol=1e-13)

    temperature, scale = row["settings"].values()
    x = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (*inputs.values(), scale)]
    losses = fits.gated_loss(*x[:3], temperature=temperature, scale=x[3])
    by_torch = torch.autograd.grad(losses.sum(), x)
    with jax.enable_x64(True):
        by_jax = jax.jit(jax.grad(
            lambda c, r, a, e: fits.gated_loss(c, r, a, temperature=temperature, scale=e).sum(), argnums=(0, 1, 2, 3)
        ))(*map(jnp.asarray, inputs.values()), jnp.asarray(scale))  # fmt: skip
    for found in (by_torch, by_jax):
        for name, slope in zip(("chosen", "rejected", "logits"), found, strict=False):
            np.testing.assert_allclose(slope, [e[1][name] for e in each], rtol=1e-12, atol=1e-16)
            np.testing.assert_allclose(slope, row["gradients"][name], rtol=1e-12, atol=1e-16)
        np.testing.assert_allclose(found[3], row["gradients"]["scale"], rtol=1e-12)


def test_one_prompt_is_one_scalarisation():
    rewards, logits = RNG.normal(size=(5, 3)), RNG.normal(size=3)
    found = fits.gated_score(rewards, np.broadcast_to(logits, (5, 3)), temperature=0.5, scale=2.0)
    weights = fits.gated_score(np.eye(3), np.broadcast_to(logits, (3, 3)), temperature=0.5, scale=2.0)
    np.testing.assert_allclose(found, rewards @ weights, rtol=1e-13)
    np.testing.assert_allclose(weights.sum(), 2.0, rtol=1e-14)
    assert weights.min() > 0
    np.testing.assert_allclose(fits.gated_score(rewards[0], logits, temperature=0.5, scale=2.0), found[0], rtol=1e-14)


def test_one_attribute_is_bradley_terry():
    chosen, rejected, logits = RNG.normal(size=(3, 6, 1))
    found = fits.gated_loss(chosen, rejected, logits)
    np.testing.assert_allclose(found, np.log1p(np.exp(rejected - chosen))[:, 0], rtol=1e-14)


def test_far_logits_and_rewards_stay_finite():
    found = fits.gated_loss(np.array([[1e4, 0.0]]), np.array([[0.0, 1e4]]), np.array([[-1e5, 1e5]]))
    np.testing.assert_allclose(found, [1e4])


# -- refused


Z, Y = np.eye(3), np.ones((3, 2))
HOLE = np.where([False, True], np.nan, Y)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fits.ridge(Z, HOLE, 1.0), "Attribute 1 has no label; leave its column out"),
        (lambda: fits.ridge(Z[:0], Y[:0], 1.0), "Attribute 0 has no label"),
        (lambda: fits.ridge(Z, Y[:2], 1.0), r"shape \(rows, attributes\), 3 rows; got \(2, 2\)"),
        (lambda: fits.ridge(Z[:, :0], Y, 1.0), "one column at least"),
        (lambda: fits.ridge(Z * np.nan, Y, 1.0), "features must be finite; got nan"),
        (lambda: fits.ridge(Z, Y * np.inf, 1.0), "labels must be finite, or NaN where there is none"),
        (lambda: fits.ridge(Z, Y, -1.0), "penalty must be at least 0; got -1"),
        (lambda: fits.ridge(Z, Y, [1.0, 2.0, 3.0]), "penalty must be one number or one per attribute"),
        (lambda: fits.ridge_by_validation(Z, Y, Z, HOLE), "Attribute 1 has no held-out label"),
        (lambda: fits.ridge_by_validation(Z, Y, Z[:, :2], Y), "3 features and 2 labels; got 2 and 2"),
        (lambda: fits.ridge_by_validation(Z, Y, Z, Y, penalties=[]), "one or more"),
        (lambda: fits.verbosity_penalties(Z, verbosity=3), "from 0 to 2; got 3"),
        (lambda: fits.verbosity_penalties(Z[:1], verbosity=0), "no order in 1 rewards that do not vary"),
        (lambda: fits.verbosity_penalties(Y, verbosity=0), "no order in 3 rewards that do not vary"),
        (lambda: fits.verbosity_penalties(Z[:0], verbosity=0), "no order in 0 rewards"),
        (lambda: fits.verbosity_penalties(Z, verbosity=0, most=2.0), r"in \[-1, 1\]; got 2"),
        (lambda: fits.verbosity_penalties(Z, verbosity=0, penalties=[-0.1]), "at least 0"),
        (lambda: fits.verbosity_penalties([[1.0, np.inf]], verbosity=0), "rewards must be finite; got inf"),
        (lambda: fits.debias(Y, [1.0], verbosity=0), r"needs \(..., 1\) rewards for 1 penalties; got \(3, 2\)"),
        (lambda: fits.debias(Y, [1.0, 1.0], verbosity=2), "from 0 to 1; got 2"),
        (lambda: fits.gated_score(Y, Z), "needs one shape for all"),
        (lambda: fits.gated_score(Y[:, :0], Y[:, :0]), "one attribute at least"),
        (lambda: fits.gated_score(Y, Y, temperature=0.0), "temperature must be positive; got 0"),
        (lambda: fits.gated_loss(Y, Z, Y), "needs one shape for all"),
        (lambda: fits.gated_loss(Y, Y, Y, scale=np.ones((3, 1))), r"shape \(\) or \(1,\); got \(3, 1\)"),
        (lambda: fits.gated_score(Y, Y, scale=np.ones(3)), r"shape \(\) or \(1,\); got \(3,\)"),
        (lambda: fits.gated_score(Y, Y, scale=np.nan), "scale must be finite; got nan"),
        (lambda: fits.gated_score(Y, Y, scale=np.array([np.nan])), "scale must be finite"),
    ],
)
def test_what_makes_no_sense_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_kinds_that_make_no_sense_are_refused():
    with pytest.raises(TypeError, match="got logits of torch but rewards of numpy"):
        fits.gated_score(Y, torch.ones(3, 2))
    with pytest.raises(TypeError, match="got scale of torch but rewards of numpy"):
        fits.gated_score(Y, Y, scale=torch.ones(1))
    for scale in ("2", [2.0], None):
        with pytest.raises(TypeError, match="needs a number or an array of numpy for scale"):
            fits.gated_loss(Y, Y, Y, scale=scale)
    with pytest.raises(TypeError, match="needs floating-point numbers for rewards"):
        fits.debias(np.ones((2, 1), int), [1.0], verbosity=0)
