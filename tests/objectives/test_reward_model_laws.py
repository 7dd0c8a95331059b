"""Losses of reward models: what centres scores, what noisy labels do, ties, and what else is the same loss."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from points import close, sigmoid, slopes, softplus

import poz
from poz.testing import conform, draw_batch


def drawn(seed, size=6, **left_out):
    batch = draw_batch(poz.bradley_terry, np.random.default_rng(seed), size, 10.0)
    return batch._replace(**dict.fromkeys(left_out))


@given(seed=st.integers(0, 99), centering=st.floats(0.01, 3), shift=st.floats(-20, 20))
def test_a_constant_on_both_scores_is_settled_by_centring_alone(seed, centering, shift):
    """Without it nothing changes; with it Σ (r_w + r_l) = 0 is best, and what a shift from there costs is 4 c B shift²."""
    batch = drawn(seed)
    middle = (batch.chosen + batch.rejected).mean() / 2

    def moved(by):
        return batch._replace(chosen=batch.chosen + by, rejected=batch.rejected + by)

    close(poz.bradley_terry(moved(shift)), poz.bradley_terry(batch), size=1e3)
    least, cost = (poz.bradley_terry(moved(by - middle), centering=centering).sum() for by in (0, shift))
    close(cost - least, 4 * centering * len(batch.chosen) * shift**2, size=1e5)


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.4])
def test_noisy_labels_shrink_the_margin_to_a_finite_one(noise):
    """With a share q of labels flipped, the population's best margin has σ(d) = 1 - q: log((1 - q) / q), and is finite."""
    best = math.log((1 - noise) / noise)

    def population(d):  # a share q of the pairs is given in the other order
        there = poz.RewardPairs(np.array([d, 0.0]), np.array([0.0, d]))
        return poz.bradley_terry(there) @ [1 - noise, noise]

    close(sigmoid(best), 1 - noise)
    assert all(population(best) < population(best + step) for step in (-0.1, 0.1, 5.0))
    # the label that says so, and α = q of smoothing, have their minimum there too, on every pair alone
    at = poz.RewardPairs(np.array([best]), np.zeros(1), label=np.array([1 - noise]), strength=np.zeros(1))
    for objective in (poz.bradley_terry, poz.adaptive_margin.bind(label_smoothing=noise)):
        loss, slope, _ = slopes(objective, at)
        close(slope, 0)
        close(loss, population(best))


@given(d=st.floats(-50, 50))
def test_half_of_smoothing_is_even_in_the_margin(d):
    there, back = (
        poz.adaptive_margin(
            poz.RewardPairs(np.array([sign * d]), np.zeros(1), strength=np.zeros(1)), label_smoothing=0.5
        )
        for sign in (1, -1)
    )
    close(there, back, size=50)


@given(seed=st.integers(0, 99))
def test_a_flip_is_the_swapped_pair_and_two_are_none(seed):
    rng = np.random.default_rng(seed)
    pairs = draw_batch(poz.adaptive_margin, rng, 8, 30.0)
    bound = poz.adaptive_margin.bind(
        margin_scale=rng.uniform(0, 2), smooth_below=rng.uniform(-1, 1), label_smoothing=0.3
    )
    low = pairs.strength < 0
    flipped, kept = bound.bind(flip_below=0.0)(pairs), bound(pairs)
    np.testing.assert_array_equal(flipped[~low], kept[~low])
    np.testing.assert_array_equal(flipped[low], bound(pairs.swap())[low])
    np.testing.assert_array_equal(bound(pairs.swap().swap()), kept)
    assert low.any() or (pairs.strength >= 0).all()


def test_at_a_threshold_nothing_is_done():
    scores = {
        "chosen": np.array([1.0, 1.0]),
        "rejected": np.zeros(2),
        "strength": np.array([-0.5, np.nextafter(-0.5, -1)]),
    }
    pairs = poz.RewardPairs(**scores)
    close(poz.adaptive_margin(pairs, margin_scale=0.0, flip_below=-0.5), softplus(np.array([-1.0, 1.0])))
    smoothed = 0.75 * softplus(-1.0) + 0.25 * softplus(1.0)
    close(
        poz.adaptive_margin(pairs, margin_scale=0.0, smooth_below=-0.5, label_smoothing=0.25),
        [softplus(-1.0), smoothed],
    )
    _, kept, _ = slopes(poz.adaptive_margin.bind(margin_scale=0.0, flip_below=-0.5, smooth_below=-9.0), pairs)
    close(kept, [-sigmoid(-1.0), sigmoid(1.0)])


def test_a_suspect_pair_costs_less():
    """A strength below 0 is a negative margin: far below, the pair costs nothing whatever its scores; 0 is Bradley-Terry."""
    strength = np.array([-100.0, -1.0, 0.0, 1.0])
    losses = poz.adaptive_margin(poz.RewardPairs(np.zeros(4), np.zeros(4), strength=strength))
    close(losses, softplus(strength))
    assert losses[0] < 1e-40


@given(seed=st.integers(0, 99), temperature=st.floats(0.1, 3))
def test_a_softmax_over_two_scores_is_the_same_loss(seed, temperature):
    """HPSv2's and 3DGen-Bench's cross-entropy; only their difference counts."""
    batch = drawn(seed, margin=None, tie=None)
    label = np.ones(6) if batch.label is None else batch.label
    scores = np.stack([batch.chosen, batch.rejected]) / temperature
    logs = scores - np.logaddexp(*scores)
    close(poz.zoo["softmax_ce"](batch, temperature=temperature), -(label * logs[0] + (1 - label) * logs[1]), size=1e3)


def test_at_an_equal_score_a_tie_pulls_at_nothing():
    even = poz.RewardPairs(np.full(2, 3.0), np.full(2, 3.0), label=np.full(2, 0.5), tie=np.array([False, True]))
    loss, chosen, rejected = slopes(poz.bradley_terry.bind(tie_weight=2.0), even)
    close(loss, [math.log(2), 0])
    close([chosen, rejected], 0)


@given(seed=st.integers(0, 99))
def test_the_swapped_pair_has_the_same_loss(seed):
    bound = poz.bradley_terry.bind(tie_weight=0.7, centering=0.1, temperature=0.5)
    batch = drawn(seed)._replace(label=np.full(6, 0.25))
    close(bound(batch.swap()), bound(batch), size=1e3)


MM_RLHF = {
    "chosen": [
        -0.8575594790042205,
        0.008264028562487119,
        -0.2313215849603741,
        0.36886591183455725,
        -1.0581214666721739,
        0.5688550726372343,
    ],
    "rejected": [
        1.5184590598306595,
        0.07133628641093644,
        -1.134164230971403,
        1.2063067682625535,
        -1.1944521122636822,
        -0.8743151164951539,
    ],
    "tie": [False, True, False, False, True, False],
}
"""Two of six are ties; what its trainer, Kwai-YuanQi/MM-RLHF@7c8af1d, gave in float64 with a tie weight of 0.5 and 0.01 of
centring."""


def mm_rlhf(pairs, tie_weight, centering):
    """What is to be computed here instead, as `poz show bradley_terry` has it."""
    (recipe,) = (one.here for one in poz.bradley_terry.deviations if "MM-RLHF" in one.who)
    losses = poz.bradley_terry(pairs, tie_weight=tie_weight)
    return eval(recipe.split(": ")[1], {**pairs._asdict(), "l": losses, "c": centering})


def test_the_two_means_of_mm_rlhf():
    pairs = poz.RewardPairs(**{name: np.array(x) for name, x in MM_RLHF.items()})
    theirs = mm_rlhf(pairs, 0.5, 0.01)
    np.testing.assert_allclose(theirs, 1.075812708322658, rtol=1e-14)
    assert abs(poz.bradley_terry(pairs, tie_weight=0.5, centering=0.01).mean() - theirs) > 0.1


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("size", [1, 3])
def test_a_batch_of_ties_alone_or_of_none_divides_by_nothing(size, tied):
    pairs = poz.RewardPairs(np.full(size, 2.0), np.zeros(size), tie=np.full(size, tied))
    close(poz.bradley_terry(pairs, tie_weight=0.25), 1.0 if tied else softplus(-2.0))
    close(mm_rlhf(pairs, 0.25, 0.0), 1.0 if tied else softplus(-2.0))


def test_the_worst_pairs_keep_their_gradient():
    """What MOSS-RLHF released gave, in float64, at d = -5, -12, -20 and -40: it is capped at 11.51, and 2e-4 at -20."""
    d = np.array([-5.0, -12.0, -20.0, -40.0])
    theirs = [5.005222332002095, 11.033951279110793, 11.512719370847263, 11.512925464969804]
    loss, slope, _ = slopes(poz.bradley_terry, poz.RewardPairs(d, 0 * d))
    np.testing.assert_allclose(-np.log(sigmoid(d) + 1e-5), theirs, rtol=1e-14)
    np.testing.assert_allclose(loss, -d, rtol=2e-3)
    np.testing.assert_allclose(slope, -1, rtol=1e-2)


def test_scores_of_either_sign_are_drawn():
    def as_if_log_probs(pairs):
        return poz.bradley_terry(pairs._replace(chosen=np.minimum(pairs.chosen, 0)))

    assert conform(poz.bradley_terry, backend="numpy", cases=1)
    assert not conform(poz.bradley_terry, as_if_log_probs, backend="numpy", cases=1)


@pytest.mark.parametrize("field", ["margin", "label"])
def test_an_unknown_margin_or_label_of_a_tie_has_no_say_in_its_slope(field):
    """A tie's slope is 2 (r_w - r_l), that of the other pair σ(r_w - r_l) - 1."""
    numbers, tie = np.float32([[1.0, 2.0], [0.5, 2.5]]), np.array([True, False])
    unknown = np.float32([np.nan, {"margin": 0.0, "label": 1.0}[field]])

    def total(chosen, rejected, array):
        batch = poz.RewardPairs(chosen, rejected, tie=array(tie), **{field: array(unknown)})
        return poz.bradley_terry(batch).sum()

    chosen, rejected = (torch.tensor(x, requires_grad=True) for x in numbers)
    total(chosen, rejected, torch.tensor).backward()
    wanted = [1.0, sigmoid(-0.5) - 1]
    np.testing.assert_allclose(chosen.grad, wanted, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(total)(*map(jnp.asarray, numbers), jnp.asarray), wanted, rtol=1e-6)
