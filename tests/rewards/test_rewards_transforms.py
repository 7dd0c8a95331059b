"""Shaped rewards: the authors' numbers, fifty digits, and the laws of Preference As Reward and its rivals."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import torch

from poz.algorithms.winrates import from_rewards
from poz.rewards import transforms as tr

ROWS = {
    row["item"]: row
    for row in json.loads((Path(__file__).parents[1] / "authors/rewards/transforms.json").read_text())
    if row["call"] not in ("multiplier_step", "advantage_cost", "safety_test", "r3") and "batches" not in row["inputs"]
}
RNG = np.random.default_rng(3)
REWARDS, REFERENCES = RNG.normal(0, 2, 7), RNG.normal(0, 2, (7, 4))
REFERENCES[:, 3] = REWARDS  # a pair that ties, where x = 0

# One call of each shaper, its number to fifty digits, and whether it sees r - r_m alone.
SHAPERS = {
    "par": (lambda r, f: tr.par(r, f, scale=1.7), lambda r, f: mean(sigma(1.7 * (r - x)) for x in f), True),
    "sgfc": (lambda r, f: tr.par(r, f, shift=3.0), lambda r, f: mean(sigma(r - 3 - x) for x in f), True),
    "centered": (tr.centered, lambda r, f: r - mean(f), True),
    "sigmoid": (lambda r, f: tr.sigmoid(r, scale=0.6), lambda r, f: sigma(mp.mpf(0.6) * r), False),
    "tanh": (lambda r, f: tr.tanh(r), lambda r, f: mp.tanh(r), False),
    "relative tanh": (tr.tanh, lambda r, f: mean(mp.tanh(r - x) for x in f), True),
    "arctan": (lambda r, f: tr.arctan(r), lambda r, f: mp.atan(r), False),
    "relative arctan": (tr.arctan, lambda r, f: mean(mp.atan(r - x) for x in f), True),
    "lsc": (tr.lsc, lambda r, f: mp.log(sigma(r - percentile(f))), True),
}
every = pytest.mark.parametrize("name", SHAPERS)


def sigma(x):
    return 1 / (1 + mp.exp(-x))


def mean(numbers):
    numbers = list(numbers)
    return mp.fsum(numbers) / len(numbers)


def percentile(f):
    """The 85th of a normal: √2 erfinv(2 .85 - 1)."""
    spread = mp.sqrt(mp.fsum((x - mean(f)) ** 2 for x in f) / (len(f) - 1))
    return mean(f) + mp.sqrt(2) * mp.erfinv(2 * mp.mpf("0.85") - 1) * (spread + mp.mpf("1e-5"))


def exact(name, derivative=False):
    """The number, or its slope in r by differences of fifty digits."""
    value = SHAPERS[name][1]
    with mp.workdps(50):
        rows = [(mp.mpf(r), [mp.mpf(x) for x in f]) for r, f in zip(REWARDS.tolist(), REFERENCES.tolist(), strict=True)]
        if derivative:
            return np.array([float(mp.diff(lambda t, f=f: value(t, f), r)) for r, f in rows])
        return np.array([float(value(r, f)) for r, f in rows])


def torch_gradient(function, rewards, *others):
    x = torch.tensor(rewards, requires_grad=True)
    (slope,) = torch.autograd.grad(function(x, *map(torch.tensor, others)).sum(), x)
    return slope.numpy()


def jax_gradient(function, rewards, *others):
    with jax.enable_x64(True):
        others = [jnp.asarray(x) for x in others]
        return np.asarray(jax.grad(lambda x: function(x, *others).sum())(jnp.asarray(rewards)))


GRADIENTS = pytest.mark.parametrize("gradient", [torch_gradient, jax_gradient], ids=["torch", "jax"])


def close(actual, expected):
    """A few roundings of float64 of numbers of the order of 1."""
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


# -- numbers


@pytest.mark.parametrize("item", ROWS)
def test_authors_values(item):
    row = ROWS[item]
    tolerance = 1e-6 if row["call"] == "polynomial" else 1e-13  # curve_fit stops where its steps are 1.5e-8
    inputs = [np.array(x) for x in row["inputs"].values()]
    actual = getattr(tr, row["call"])(*inputs, **row["settings"])
    np.testing.assert_allclose(actual, row["values"], rtol=tolerance, atol=tolerance)


@GRADIENTS
@pytest.mark.parametrize("item", ROWS)
def test_authors_gradients(item, gradient):
    row = ROWS[item]
    tolerance = 1e-6 if row["call"] == "polynomial" else 1e-11  # theirs is of 1 / (1 + e^-x)
    inputs = [np.array(x) for x in row["inputs"].values()]
    actual = gradient(lambda *x: getattr(tr, row["call"])(*x, **row["settings"]), *inputs)
    np.testing.assert_allclose(actual, row["gradients"]["rewards"], rtol=tolerance, atol=tolerance)


@every
def test_fifty_digits(name):
    close(SHAPERS[name][0](REWARDS, REFERENCES), exact(name))


@GRADIENTS
@every
def test_slopes_of_fifty_digits(name, gradient):
    close(gradient(SHAPERS[name][0], REWARDS, REFERENCES), exact(name, derivative=True))


def test_the_polynomial_is_the_least_squares_fit():
    x = np.linspace(-5, 5, 100)
    fit = np.polynomial.Polynomial.fit(x, 1 / (1 + np.exp(-x)), 5)
    inside = np.linspace(-4.99, 4.99, 57)
    np.testing.assert_allclose(tr.polynomial(inside), fit(inside), atol=1e-12)  # a fit of six unknowns against three
    np.testing.assert_array_equal(tr.polynomial(np.array([-np.inf, -6, -5, 5, 6, np.inf])), [0, 0, 0, 1, 1, 1])


@GRADIENTS
def test_the_polynomial_has_its_own_slopes(gradient):
    at = np.array([-7.0, -3.0, 0.0, 2.5, 1e200])
    step = 1e-5
    wanted = (tr.polynomial(at + step) - tr.polynomial(at - step)) / (2 * step)
    np.testing.assert_allclose(gradient(tr.polynomial, at), wanted, atol=1e-9)  # of differences


# -- laws


@every
def test_monotone(name):
    shaper, _, _ = SHAPERS[name]
    rewards = np.linspace(-4, 4, 41)
    shaped = shaper(rewards, np.broadcast_to(REFERENCES[0], (41, 4)))
    assert (np.diff(shaped) > 0).all()


def test_the_polynomial_is_not_monotone():
    assert (np.diff(tr.polynomial(np.linspace(-6, 6, 601))) < -0.005).sum() == 2  # where it is cut at either end


@every
def test_a_shift_of_all_rewards_is_seen_by_absolute_shapers_alone(name):
    shaper, _, relative = SHAPERS[name]
    moved = np.abs(shaper(REWARDS + 5, REFERENCES + 5) - shaper(REWARDS, REFERENCES)).max()
    assert moved < 1e-14 if relative else moved > 0.1


@pytest.mark.parametrize("name", ["par", "sgfc", "centered", "relative tanh", "relative arctan"])
def test_copies_of_a_reference_are_one(name):
    shaper = SHAPERS[name][0]
    close(shaper(REWARDS, np.repeat(REFERENCES[:, :1], 10, 1)), shaper(REWARDS, REFERENCES[:, :1]))


def test_as_good_as_the_reference_is_a_half():
    np.testing.assert_array_equal(tr.par(REWARDS, REWARDS[:, None], scale=3.0), 0.5)
    np.testing.assert_array_equal(tr.par(REWARDS + 3, np.stack([REWARDS] * 3, -1), shift=3.0) - 0.5 < 1e-15, True)


def test_drawn_as_the_references_are_it_is_a_half_on_average():
    close(tr.par(REWARDS, np.broadcast_to(REWARDS, (7, 7))).mean(), 0.5)


def test_two_responses_share_one():
    ours, theirs = REWARDS, REFERENCES[:, 0]
    close(tr.par(ours, theirs[:, None]) + tr.par(theirs, ours[:, None]), 1.0)


def test_a_steep_one_counts_wins():
    wins = (REWARDS[:, None] > REFERENCES[:, :3]).mean(-1)
    np.testing.assert_allclose(tr.par(REWARDS, REFERENCES[:, :3], scale=1e4), wins, atol=1e-12)


@GRADIENTS
def test_no_reward_buys_more_than_a_quarter_of_k(gradient):
    rewards = np.linspace(-30, 30, 601)
    slopes = gradient(lambda r: tr.par(r, r.reshape(-1, 1) * 0 + 1.5, scale=2.0), rewards)
    assert slopes.max() == 0.5 == slopes[np.argmin(np.abs(rewards - 1.5))]


def test_it_is_the_win_rate_of_poz_algorithms():
    close(tr.par(REWARDS, REFERENCES, scale=0.7), from_rewards(REWARDS[:, None], REFERENCES, scale=0.7)[:, 0])


def test_length_costs_beyond_what_is_free():
    lengths = np.array([0, 300, 301, 1300])
    close(tr.length_penalty(np.ones(4), lengths), [1, 1, 0.99, -9])
    assert jax_gradient(tr.length_penalty, np.ones(4), lengths).tolist() == [1, 1, 1, 1]


# -- far out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every
def test_the_limits_are_reached_and_no_slope_is_lost(name, dtype):
    shaper = SHAPERS[name][0]
    rewards = np.array([-1e4, -200, 0, 200, 1e4], dtype)
    references = np.zeros((5, 2), dtype)
    shaped = shaper(rewards, references)
    assert shaped.dtype == dtype
    assert np.isfinite(shaped).all()
    for slopes in (torch_gradient(shaper, rewards, references), jax_gradient(shaper, rewards, references)):
        assert slopes.dtype == dtype
        assert np.isfinite(slopes).all()
        assert slopes[2] > 0.04  # σ'(-3) of SGFC


@every
def test_what_is_infinite_or_nan_stays_in_its_example(name):
    shaper = SHAPERS[name][0]
    rewards = np.array([-np.inf, np.inf, np.nan, 1.0])
    shaped, references = shaper(rewards, np.zeros((4, 2))), np.zeros((1, 2))
    far = [float(shaper(np.array([x]), references)[0]) for x in (-1e9, 1e9)]
    assert np.isnan(shaped[2])
    assert shaped[3] == shaper(np.ones(1), references)[0]
    if name not in ("centered", "lsc"):
        np.testing.assert_allclose(shaped[:2], far, atol=1e-8)  # arctan comes near as 1/x
    else:
        assert shaped[0] == -np.inf


@pytest.mark.parametrize("name", ["par", "centered", "relative tanh", "relative arctan", "lsc"])
def test_infinities_that_compete_are_nan_in_their_example_alone(name):
    rewards, references = np.array([np.inf, 1.0]), np.array([[np.inf, 0.0], [0.5, 0.0]])
    with np.errstate(invalid="ignore"):
        shaped = SHAPERS[name][0](rewards, references)
    assert np.isnan(shaped).tolist() == [True, False]


# -- libraries


CALLS = {
    **{name: call for name, (call, _, _) in SHAPERS.items()},
    "polynomial": tr.polynomial,
    "ceiling": lambda r, f: tr.ceiling(r, most=0.5),
    "length_penalty": lambda r, f: tr.length_penalty(r, abs(f[:, 0]) * 400),
    "meanstd": lambda r, f: tr.meanstd(r, tr.update(tr.RunningStats(), f)),
    "clip": lambda r, f: tr.clip(r, tr.update(tr.RunningStats(), f)),
    "minmax": lambda r, f: tr.minmax(r, tr.update(tr.RunningStats(), f)),
    "per_sample_min": lambda r, f: tr.per_sample_min(f),
    "maxmin_weights": lambda r, f: tr.maxmin_weights(f, rate=0.5),
    "advantage_cost": lambda r, f: tr.advantage_cost(r, 0.3),
    "upper_bound": lambda r, f: tr.upper_bound(f, 0.3),
    "multiplier_step": lambda r, f: tr.multiplier_step(f[0, 0], f[0, 1], 0.5),
}


@pytest.mark.parametrize("name", CALLS)
def test_libraries_agree_and_keep_type_and_device(name):
    call = CALLS[name]
    wanted = call(REWARDS, REFERENCES)
    close(call(torch.tensor(REWARDS), torch.tensor(REFERENCES)).numpy(), wanted)
    with jax.enable_x64(True):
        close(jax.jit(call)(jnp.asarray(REWARDS), jnp.asarray(REFERENCES)), wanted)
    single = [REWARDS.astype(np.float32), REFERENCES.astype(np.float32)]
    assert call(*single).dtype == np.float32
    assert call(*map(torch.tensor, single)).dtype == torch.float32
    assert call(*(x.astype(np.float16) for x in single)).dtype == np.float32
    assert call(*(torch.tensor(x).bfloat16() for x in single)).dtype == torch.float32
    assert call(*(torch.tensor(x, device="meta") for x in single)).device.type == "meta"  # and no value was read


@pytest.mark.parametrize("name", ["par", "polynomial", "length_penalty", "meanstd", "per_sample_min", "advantage_cost"])
def test_they_are_one_graph_under_torch_compile(name):
    compiled = torch.compile(CALLS[name], backend="eager", fullgraph=True)
    inputs = torch.tensor(REWARDS), torch.tensor(REFERENCES)
    close(compiled(*inputs).numpy(), CALLS[name](*inputs).numpy())


def test_one_example_at_a_time():
    close(torch.vmap(tr.par)(torch.tensor(REWARDS), torch.tensor(REFERENCES)).numpy(), tr.par(REWARDS, REFERENCES))
    with jax.enable_x64(True):
        close(jax.vmap(tr.lsc)(jnp.asarray(REWARDS), jnp.asarray(REFERENCES)), tr.lsc(REWARDS, REFERENCES))


def test_importing_them_costs_numpy_only():
    code = "import sys, poz.rewards.transforms; print({'torch', 'jax', 'scipy', 'triton'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
