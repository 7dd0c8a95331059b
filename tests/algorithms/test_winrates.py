"""Win rates from rewards and from preference models, and the identities that tie reward models to Bradley-Terry."""

import jax
import numpy as np
import pytest
import torch

import poz
from poz import games
from poz.algorithms.winrates import from_rewards, preference_scores

RNG = np.random.default_rng(11)
REWARDS = RNG.normal(0, 2, (4, 5))
CHOSEN, REJECTED = RNG.normal(0, 2, (2, 64))


def close(actual, expected):
    """A few roundings of float64 of numbers of the order of 1."""
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


def bradley_terry(margin, **bound):
    """-log σ of a margin of scores, by the objective that users call."""
    nothing = np.zeros_like(margin)
    return poz.dpo(poz.Pairs(margin, nothing, nothing, nothing), **{"beta": 1.0, **bound})


def cycle():
    """Three embeddings a third of a turn apart: each beats the next."""
    turn = 2 * np.pi * np.arange(3) / 3
    return np.stack([np.cos(turn), np.sin(turn)], -1)


# -- preference scores


def test_scores_by_hand():
    # s(a, b) = λ1 (1*5 - 2*4) + λ2 (3*1 - (-1)*2) = -3 λ1 + 5 λ2, so -3 + 5 = 2, and -6 + 2.5 = -3.5 for λ = (2, .5).
    embeddings = np.array([[1.0, 2.0, 3.0, -1.0], [4.0, 5.0, 2.0, 1.0]])
    np.testing.assert_array_equal(preference_scores(embeddings), [[0, 2], [-2, 0]])
    np.testing.assert_array_equal(preference_scores(embeddings, np.array([2.0, 0.5])), [[0, -3.5], [3.5, 0]])


def test_scores_are_antisymmetric_to_the_bit_and_rotations_of_a_block_change_nothing():
    embeddings = RNG.normal(size=(4, 5, 6)).astype(np.float32)
    scores = preference_scores(embeddings, RNG.uniform(0, 2, (4, 3)).astype(np.float32))
    np.testing.assert_array_equal(scores, -scores.swapaxes(-1, -2))
    assert np.abs(scores).max() > 1
    turned = cycle() @ np.array([[np.cos(1.0), np.sin(1.0)], [-np.sin(1.0), np.cos(1.0)]])
    close(preference_scores(turned), preference_scores(cycle()))


def test_unit_vectors_score_the_sine_of_their_angle_and_fit_a_cycle():
    close(preference_scores(cycle()), np.sin(2 * np.pi / 3) * np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]]))


def test_every_game_is_a_preference_model():
    # The construction of arXiv 2410.02197: as many blocks as completions, v_i = (δ_il, -s_il / 2), realises any scores.
    scores = RNG.normal(size=(5, 5))
    scores -= scores.T
    embeddings = np.stack([np.eye(5), -scores / 2], -1).reshape(5, 10)
    close(preference_scores(embeddings), scores)


def test_rewards_are_the_embedding_whose_second_number_is_constant():
    # GPM with v = (r, c) is Bradley-Terry on c (r_w - r_l) / τ.
    embeddings = np.stack([np.stack([CHOSEN, REJECTED], -1), np.full((64, 2), 1.7)], -1)
    scores = preference_scores(embeddings)[:, 0, 1]
    close(bradley_terry(scores, beta=1 / 0.1), np.logaddexp(0, -1.7 * (CHOSEN - REJECTED) / 0.1))


def test_gradient_of_the_bradley_terry_loss_of_scores():
    # g = -σ(-s / τ) / τ; by v_w it is g (v_l,2l+1, -v_l,2l), by v_l it is g (-v_w,2l+1, v_w,2l).
    embeddings = RNG.normal(size=(2, 4))
    tensor = torch.tensor(embeddings, requires_grad=True)
    s = preference_scores(tensor)[0, 1][None]
    poz.dpo(poz.Pairs(s, 0 * s, 0 * s, 0 * s), beta=1 / 0.5).sum().backward()
    slope = -2 / (1 + np.exp(2 * s.item()))
    turned = embeddings[:, [1, 0, 3, 2]] * np.array([1.0, -1.0, 1.0, -1.0])
    close(tensor.grad, slope * np.stack([turned[1], -turned[0]]))
    by_jax = jax.grad(lambda v: jax.numpy.logaddexp(0, -2 * preference_scores(v)[0, 1]))(jax.numpy.asarray(embeddings))
    np.testing.assert_allclose(by_jax, tensor.grad, rtol=1e-5)


def test_gpo_stays_where_scores_are_a_cycle_and_regresses_on_centred_rewards():
    # GPO: each completion of a cycle wins as much as it loses; additive scores give (r - mean r) / β.
    same = -RNG.exponential(5, (1, 3))
    mean_scores = preference_scores(cycle()).mean(-1)[None]
    np.testing.assert_allclose(poz.gpo(poz.Samples(same, same, winrates=mean_scores), beta=1.0), 0, atol=1e-30)
    additive = preference_scores(np.stack([REWARDS, np.ones_like(REWARDS)], -1)).mean(-1)
    moved = (REWARDS - REWARDS.mean(-1, keepdims=True)) / 0.3
    np.testing.assert_allclose(poz.gpo(poz.Samples(moved, 0 * moved, winrates=additive), beta=0.3), 0, atol=1e-26)


# -- win rates from rewards


def test_win_rates_of_rewards_by_hand():
    # σ(log 3) = 3/4 and σ(0) = 1/2: among themselves (1/2 + 3/4) / 2 = 5/8, against a rival of reward 0 3/4 and 1/2.
    rewards = np.log([3.0, 1.0])
    close(from_rewards(rewards), [5 / 8, 3 / 8])
    close(from_rewards(rewards, np.zeros(1)), [3 / 4, 1 / 2])
    close(from_rewards(rewards, np.zeros(1), scale=2.0), [9 / 10, 1 / 2])


def test_win_rates_of_many_rivals_are_those_of_the_game():
    # PAR with M -> ∞ is the probability to beat the reference policy: each action drawn 1000 q_i times of 1000.
    rewards, reference = REWARDS[0], np.array([0.1, 0.2, 0.3, 0.15, 0.25])
    rivals = np.repeat(rewards, (1000 * reference).round().astype(int))
    preferences = 1 / (1 + np.exp(rewards[None, :] - rewards[:, None]))
    np.testing.assert_allclose(from_rewards(rewards, rivals), games.win_rates(preferences, reference), rtol=1e-12)


def test_win_rates_are_of_differences_centred_and_bounded():
    rates = from_rewards(REWARDS)
    close(from_rewards(REWARDS + 7), rates)
    close(rates.mean(-1), 0.5)
    close(
        from_rewards(REWARDS[:, :1], np.repeat(REWARDS[:, 1:2], 4, -1)), from_rewards(REWARDS[:, :1], REWARDS[:, 1:2])
    )
    assert from_rewards(np.array([1e4, -1e4])).tolist() == [0.75, 0.25]
    slope = (from_rewards(np.array([1e-6]), np.zeros(1), scale=3.0) - 0.5) / 1e-6
    assert slope == pytest.approx(3 / 4, rel=1e-9)


@pytest.mark.parametrize("library", [torch.tensor, jax.numpy.asarray])
def test_libraries_agree(library):
    given = library(REWARDS.astype(np.float32)), library(REWARDS.astype(np.float32)[:, :2])
    # float32: sums of five numbers below 1
    np.testing.assert_allclose(from_rewards(*given), from_rewards(REWARDS, REWARDS[:, :2]), atol=1e-6)
    np.testing.assert_allclose(preference_scores(given[1]), preference_scores(REWARDS[:, :2]), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_numbers_are_computed_in_float32(dtype):
    half = torch.tensor(REWARDS).to(dtype)
    assert from_rewards(half).dtype == preference_scores(half[:, :4]).dtype == torch.float32
    assert torch.equal(from_rewards(half, half[:, :2]), from_rewards(half.float(), half[:, :2].float()))
    assert torch.equal(preference_scores(half[:, :4]), preference_scores(half[:, :4].float()))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: from_rewards(REWARDS[:1], REWARDS), r"of the same prompts; got \(1, 5\) and \(4, 5\)"),
        (lambda: from_rewards(REWARDS[0, 0]), r"of the same prompts; got \(\) and \(\)"),
        (lambda: preference_scores(REWARDS[0]), r"must be \(..., K, width\); got \(5,\)"),
        (lambda: from_rewards(REWARDS, REWARDS[:, :0]), "at least one rival"),
        (lambda: from_rewards(REWARDS, scale=-1.0), "scale must be positive"),
        (lambda: preference_scores(REWARDS), "must be even; got 5"),
        (lambda: preference_scores(REWARDS[:, :4], np.ones(3)), "2 pairs of numbers need as many scales; got 3"),
        (lambda: from_rewards([1.0, 2.0]), "NumPy, torch or JAX"),
    ],
)
def test_bad_input(call, said):
    with pytest.raises((ValueError, TypeError), match=said):
        call()


# -- what the losses of reward models become in their simplest case: Bradley-Terry on scores. The models are none of
# poz, so all of them but that is written out here.


def test_softmax_of_two_scores_is_soft_bradley_terry():
    # PickScore, HPS v2: -Σ_j t_j log softmax(s)_j with t = (p, 1 - p).
    label = RNG.uniform(size=64)
    scores = np.stack([CHOSEN, REJECTED])
    log_softmax = scores - np.log(np.exp(scores).sum(0))
    nothing = np.zeros(64)
    soft = poz.spce(poz.Pairs(CHOSEN, REJECTED, nothing, nothing, label=label), beta=1.0)
    close(soft, -label * log_softmax[0] - (1 - label) * log_softmax[1])


def test_variational_model_without_noise_and_divergence_is_bradley_terry():
    # VPL: r(x, z) at z = μ + σ ε, plus β KL; σ = 0 and β = 0 leave the rewards at μ.
    direction, mean, noise = RNG.normal(size=(2, 64, 3)), RNG.normal(size=3), RNG.normal(size=3)

    def loss(sigma, beta):
        chosen, rejected = direction @ (mean + sigma * noise)
        divergence = -0.5 * np.sum(1 + 2 * np.log(sigma + 1e-300) - mean**2 - sigma**2)
        return np.log1p(np.exp(rejected - chosen)) + beta * divergence

    close(loss(0.0, 0.0), bradley_terry((direction[0] - direction[1]) @ mean))
    assert np.abs(loss(0.5, 0.0) - loss(0.0, 0.0)).max() > 0.1


def test_mixture_of_one_reward_is_bradley_terry():
    # MaxMin-RLHF: each annotator goes to the reward that explains her best; one reward leaves no choice.
    rewards = RNG.normal(size=(3, 2, 64))
    annotator = RNG.integers(0, 4, 64)

    def loss(rewards):
        evidence = -np.log1p(np.exp(rewards[:, 1] - rewards[:, 0]))
        best = [np.argmax(evidence[:, annotator == person].sum(-1)) for person in range(4)]
        return -evidence[np.array(best)[annotator], np.arange(64)]

    close(loss(rewards[:1]), bradley_terry(rewards[0, 0] - rewards[0, 1]))
    assert loss(rewards).sum() < loss(rewards[:1]).sum()


def test_hierarchy_of_one_factor_is_bradley_terry_on_its_sign():
    # HERON: the first factor that differs by more than its threshold decides; one factor and 0 leave its sign.
    first, second = RNG.normal(size=(2, 64, 2))

    def signs(factors, thresholds):
        gaps = [f[:, 0] - f[:, 1] for f in factors]
        return np.select([np.abs(g) > t for g, t in zip(gaps, thresholds, strict=True)], [np.sign(g) for g in gaps])

    gap = CHOSEN - REJECTED
    one = np.sign(first[:, 0] - first[:, 1])
    close(bradley_terry(signs([first], [0.0]) * gap), np.where(one > 0, np.log1p(np.exp(-gap)), np.log1p(np.exp(gap))))
    assert (signs([first, second], [1.0, 0.0]) != one).any()


def test_gated_mixture_of_one_attribute_is_bradley_terry():
    # ArmoRM: R = Σ_i e softmax(a)_i r_i; of one attribute the gate is the scale e, whatever the prompt.
    gates, attributes = RNG.normal(size=(64, 3)), RNG.normal(size=(2, 64, 3))

    def margin(count):
        gate = np.exp(gates[:, :count])
        gate *= 1.3 / gate.sum(-1, keepdims=True)
        return ((attributes[0] - attributes[1])[:, :count] * gate).sum(-1)

    close(bradley_terry(margin(1)), bradley_terry((attributes[0] - attributes[1])[:, 0], beta=1.3))
    assert np.abs(margin(3) - margin(1)).max() > 0.1
