"""MetaRM: the difference of a prompt's scores, by hand and within its bounds, and the step that climbs it first."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from poz.rewards import fits

SCORES = np.round(np.random.default_rng(6).normal(0, 2, (5, 4)), 3)
SCORES[1] = 0.7  # all tie
SCORES[2, 1] = SCORES[2, 3]


def sigma(x):
    return 1 / (1 + math.exp(-x))


def by_hand(r):
    """J = (2/k²) Σ_{i<j} σ(|r_i - r_j|), dJ/dr_i = (2/k²) Σ_{j≠i} σ(|x|) σ(-|x|) sign x with x = r_i - r_j."""
    k = len(r)
    value = 2 / k**2 * sum(sigma(abs(r[i] - r[j])) for j in range(k) for i in range(j))
    slope = []
    for i in range(k):
        apart = [r[i] - x for x in r]
        slope.append(2 / k**2 * sum(sigma(abs(x)) * sigma(-abs(x)) * (x > 0) - sigma(abs(x)) * sigma(-abs(x)) * (x < 0)
                                    for x in apart))  # fmt: skip
    return value, slope


def test_difference_by_hand():
    wanted = [by_hand(row) for row in SCORES.tolist()]
    values, slopes = [w[0] for w in wanted], [w[1] for w in wanted]
    x = torch.tensor(SCORES, requires_grad=True)
    by_torch = fits.difference(x)
    (slope,) = torch.autograd.grad(by_torch.sum(), x)
    with jax.enable_x64(True):
        by_jax = jax.jit(jax.value_and_grad(lambda x: fits.difference(x).sum()))(SCORES)
    for found in (fits.difference(SCORES), by_torch.detach()):
        np.testing.assert_allclose(found, values, rtol=1e-14)
    np.testing.assert_allclose(by_jax[0], sum(values), rtol=1e-14)
    for found in (slope, by_jax[1]):
        np.testing.assert_allclose(found, slopes, rtol=1e-13, atol=1e-17)
    assert not np.any(slope.numpy()[1])  # all tie


@pytest.mark.parametrize("k", [2, 3, 10])
def test_difference_lies_within_its_bounds(k):
    # Equal scores give (k - 1) / 2k; scores far from each other (k - 1) / k.
    close, far = (k - 1) / (2 * k), (k - 1) / k
    spread = np.arange(k) / k
    np.testing.assert_allclose(fits.difference(np.zeros(k)), close, rtol=1e-15)
    np.testing.assert_allclose(fits.difference(1e4 * spread), far, rtol=1e-15)
    between = [fits.difference(s * spread) for s in (0.1, 1.0, 5.0)]
    assert np.all(np.diff([close, *between, far]) > 0)


def test_only_the_distances_count():
    np.testing.assert_allclose(fits.difference(SCORES + 3), fits.difference(SCORES), rtol=1e-14)
    np.testing.assert_allclose(fits.difference(-SCORES), fits.difference(SCORES), rtol=1e-15)
    np.testing.assert_allclose(fits.difference(SCORES[:, ::-1]), fits.difference(SCORES), rtol=1e-14)
    assert np.isnan(fits.difference(np.array([1.0, np.nan])))


def test_an_infinite_score_is_the_limit_of_a_far_one():
    x = torch.tensor([np.inf, 0.0, 1.0], requires_grad=True)
    far = torch.tensor([1e4, 0.0, 1.0], requires_grad=True)
    (slope,), (wanted,) = (torch.autograd.grad(fits.difference(s), s) for s in (x, far))
    assert fits.difference(x) == fits.difference(far)
    assert fits.difference(x.detach().numpy()) == fits.difference(far.detach().numpy())  # without a warning
    assert torch.equal(slope, wanted)


# -- the step


class Head(NamedTuple):
    weight: object
    bias: object


RESPONSES, PAIRS = np.random.default_rng(7).normal(size=(2, 6, 3))
ETA, ALPHA = 0.5, 0.2


def step_by_hand(w):
    """θ - α ∇L(θ + η ∇J(θ)) for r = w·f, with J of all six responses and L the Bradley-Terry loss of three pairs."""
    there = w + ETA * np.array(by_hand((RESPONSES @ w).tolist())[1]) @ RESPONSES
    ahead = PAIRS[:3] - PAIRS[3:]
    return w - ALPHA * sum(-sigma(-float(d @ there)) * d for d in ahead)


def loss(xp, head):
    scores = xp.asarray(PAIRS) @ head
    return -(jax.nn.log_sigmoid if xp is jnp else torch.nn.functional.logsigmoid)(scores[:3] - scores[3:]).sum()


def gradient(function):
    def at(parameters):
        w = parameters["head"][0].detach().requires_grad_()
        return {"head": torch.autograd.grad(function(w), [w])}

    return at


def test_the_step_in_torch():
    w = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    climb, descent = (
        gradient(lambda w: fits.difference(torch.tensor(RESPONSES) @ w)),
        gradient(lambda w: loss(torch, w)),
    )
    found = fits.meta_step({"head": [w]}, climb, descent, eta=ETA, alpha=ALPHA)
    assert not found["head"][0].requires_grad
    np.testing.assert_allclose(found["head"][0], step_by_hand(w.detach().numpy()), rtol=1e-13)


def test_the_step_in_jax():
    with jax.enable_x64(True):
        w = jnp.array([0.3, -0.2, 0.5])
        tree = (Head(w, jnp.zeros(())),)
        found = jax.jit(
            lambda p: fits.meta_step(
                p,
                jax.grad(lambda p: fits.difference(jnp.asarray(RESPONSES) @ p[0].weight)),
                jax.grad(lambda p: loss(jnp, p[0].weight)),
                eta=ETA,
                alpha=ALPHA,
            )
        )(tree)
        assert isinstance(found, tuple)
        assert isinstance(found[0], Head)
        np.testing.assert_allclose(found[0].weight, step_by_hand(np.asarray(w)), rtol=1e-13)


def test_without_the_climb_it_is_a_plain_step_and_the_climb_spreads():
    w = np.array([0.3, -0.2, 0.5])

    def climb(w):
        return np.array(by_hand((RESPONSES @ w).tolist())[1]) @ RESPONSES

    plain = fits.meta_step(w, climb, lambda w: 2 * w, eta=0.0, alpha=0.25)
    np.testing.assert_allclose(plain, w / 2)
    lifted = fits.meta_step(w, climb, lambda w: -w, eta=0.1, alpha=1.0) - w
    assert fits.difference(RESPONSES @ lifted) > fits.difference(RESPONSES @ w)


# -- refused


def nothing(tree):
    return tree


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: fits.difference(np.ones((3, 1))), ValueError, r"two responses at least, \(..., k\); got shape \(3, 1\)"),
        (lambda: fits.difference(np.ones(())), ValueError, "two responses at least"),
        (lambda: fits.difference(np.ones(3, int)), TypeError, "needs floating-point numbers"),
        (lambda: fits.meta_step(np.ones(2), nothing, nothing, eta=-1.0, alpha=1.0), ValueError, "at least 0 and finite"),
        (lambda: fits.meta_step(np.ones(2), nothing, nothing, eta=1.0, alpha=np.inf), ValueError, "at least 0"),
        (lambda: fits.meta_step({"w": 3.0}, nothing, nothing, eta=1.0, alpha=1.0), TypeError,
         r"parameters\['w'\] is a float; parameters are arrays"),
        (lambda: fits.meta_step([np.arange(2)], nothing, nothing, eta=1.0, alpha=1.0), TypeError,
         r"parameters\[0\] holds int64; parameters are floating-point numbers"),
        (lambda: fits.meta_step({"w": np.ones(2)}, lambda p: {}, nothing, eta=1.0, alpha=1.0), ValueError,
         r"must have the keys \['w'\]"),
        (lambda: fits.meta_step([np.ones(2)], lambda p: [], nothing, eta=1.0, alpha=1.0), ValueError, "1 parts"),
        (lambda: fits.meta_step(np.ones(2), lambda p: np.ones(3), nothing, eta=1.0, alpha=1.0), ValueError,
         r"of numpy, \(2,\); got shape \(3,\)"),
        (lambda: fits.meta_step(np.ones(2), lambda p: torch.ones(2), nothing, eta=1.0, alpha=1.0), ValueError,
         "of numpy"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(call, error, said):
    with pytest.raises(error, match=said):
        call()
