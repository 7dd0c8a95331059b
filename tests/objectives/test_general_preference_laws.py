"""What holds of general preference models: scores of either order, circles that no reward has, a temperature that learns."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import poz
from poz.algorithms.winrates import preference_scores

RNG = np.random.default_rng(2410)
CYCLE = [(0, 1), (1, 2), (2, 0)]
# of ten pairs of five, drawn once; the best order of all has eight right
TOURNAMENT = [(0, 1), (2, 0), (3, 0), (0, 4), (1, 2), (1, 3), (4, 1), (2, 3), (4, 2), (4, 3)]


def pairs(v, w, **fields):
    return poz.RewardPairs(chosen_embedding=v, rejected_embedding=w, **fields)


def score(v, w, scales=None):
    """Of the first over the second, by what scores whole lists."""
    return preference_scores(np.stack([v, w], -2), scales)[..., 0, 1]


def embeddings(count=6, width=4):
    return RNG.normal(size=(2, count, width))


@pytest.mark.parametrize("link", ["logistic", "regression"])
def test_the_loss_is_of_the_score_that_the_preference_model_gives(link):
    v, w = embeddings()
    scales = RNG.uniform(0, 2, (6, 2))
    z = score(v, w, scales) / 0.7
    losses = poz.gpm(pairs(v, w, scales=scales), temperature=0.7, link=link, target=3.0)
    expected = np.logaddexp(0, -z) if link == "logistic" else (z - 3) ** 2 / 2
    np.testing.assert_allclose(losses, expected, rtol=1e-12)  # a few roundings
    assert set(np.sign(z)) == {-1, 1}


def test_both_orders_have_opposite_scores_and_probabilities_that_add_up():
    v, w = embeddings()
    ahead, behind = poz.gpm(pairs(v, w), temperature=0.7), poz.gpm(pairs(w, v), temperature=0.7)
    np.testing.assert_allclose(0.7 * (behind - ahead), score(v, w), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(np.exp(-ahead) + np.exp(-behind), 1, rtol=1e-14)
    np.testing.assert_array_equal(poz.gpm(pairs(v, v)), np.log(2))


def test_chosen_wins_where_rejected_is_a_left_turn_away():
    """The sign: unit vectors score sin(θ_l - θ_w), and a step down the loss raises the score of chosen."""
    angles = np.array([0.3, 1.2, -2.0])
    v = np.stack([np.cos([1.0, 1.0, 1.0]), np.sin([1.0, 1.0, 1.0])], -1)
    w = np.stack([np.cos(1 + angles), np.sin(1 + angles)], -1)
    np.testing.assert_allclose(poz.gpm(pairs(v, w), temperature=1.0), np.logaddexp(0, -np.sin(angles)), rtol=1e-12)
    first, second = (torch.tensor(x, requires_grad=True) for x in embeddings())
    poz.gpm(pairs(first, second), temperature=1.0).sum().backward()
    after = [(x - 1e-3 * x.grad).detach() for x in (first, second)]
    assert (score(*after) > score(first.detach(), second.detach())).all()


def test_any_game_of_five_is_five_planes():
    """arXiv 2410.02197's expressiveness: v_i = (δ_il, -s_il / 2) has the scores s, so nothing is left of a regression."""
    scores = RNG.normal(size=(5, 5))
    scores -= scores.T
    v = np.stack([np.eye(5), -scores / 2], -1).reshape(5, 10)
    for i, j in itertools.permutations(range(5), 2):
        losses = poz.gpm(pairs(v[i][None], v[j][None]), temperature=0.5, link="regression", target=2 * scores[i, j])
        np.testing.assert_allclose(losses, 0, atol=1e-30)  # the square of a rounding


def learnt(loss, shape, games):
    """What items are given by gradient descent on the games, of which the first wins."""
    torch.manual_seed(0)
    items = torch.nn.Parameter(0.1 * torch.randn(*shape, dtype=torch.float64))
    first, second = torch.tensor(games).T
    adam = torch.optim.Adam([items], lr=0.05)
    for _ in range(150):
        adam.zero_grad()
        loss(items[first], items[second]).mean().backward()
        adam.step()
    return items.detach().numpy()


@pytest.mark.parametrize(("games", "best"), [(CYCLE, 2), (TOURNAMENT, 8)], ids=["cycle", "tournament"])
def test_a_general_preference_model_learns_the_circles_that_no_reward_has(games, best):
    """100 % of a cycle of three against 2/3 at most of Bradley-Terry, as of a tournament against its best order."""
    items, winners, losers = 1 + max(max(games)), *np.array(games).T
    places = np.array(list(itertools.permutations(range(items))))
    assert (places[:, winners] > places[:, losers]).sum(1).max() == best  # any rewards are one of these orders, or tie
    rewards = learnt(lambda r, s: poz.bradley_terry(poz.RewardPairs(r, s)), (items,), games)
    assert (rewards[winners] > rewards[losers]).sum() <= best < len(games)
    v = learnt(lambda v, w: poz.gpm(pairs(v, w)), (items, 2 * (items // 2)), games)
    assert (preference_scores(v)[winners, losers] > 0).all()


def test_soft_labels_are_still_where_the_probability_is_theirs():
    label = np.array([0.1, 0.5, 0.9])
    scores = 0.7 * np.log(label / (1 - label))
    v = torch.tensor(np.stack([scores, np.ones(3)], -1), requires_grad=True)
    w = torch.tensor([[0.0, 1.0]] * 3)
    poz.gpm(pairs(v, w.double(), label=torch.tensor(label)), temperature=0.7).sum().backward()
    np.testing.assert_allclose(v.grad[:, 0], 0, atol=1e-15)


@pytest.mark.parametrize(("library", "tau"), [("torch", 0.1), ("torch", 0.005), ("jax", 0.005)])
def test_a_temperature_learns_also_below_the_floor_of_the_authors(library, tau):
    """dL/dτ = σ(-z) z / τ of cross-entropy; below τ = 1e-2 the authors' classes give their parameter no gradient."""
    v, w = 0.1 * embeddings()
    z = score(v, w) / tau
    expected = (z / tau / (1 + np.exp(z))).sum()
    assert abs(expected) > 1e-2
    if library == "torch":
        temperature = torch.tensor(tau, dtype=torch.float64, requires_grad=True)
        poz.gpm(pairs(torch.tensor(v), torch.tensor(w)), temperature=temperature).sum().backward()
        slope = temperature.grad
    else:
        with jax.enable_x64(True):
            batch = pairs(jnp.asarray(v), jnp.asarray(w))
            slope = jax.jit(jax.grad(lambda t: poz.gpm(batch, temperature=t).sum()))(tau)
    np.testing.assert_allclose(slope, expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (
            pairs(np.ones((2, 3)), np.ones((2, 3))),
            "embeddings of an even width, 2 k outputs .* got width 3",
        ),
        (pairs(np.ones((2, 0)), np.ones((2, 0))), "embeddings of an even width, 2 k outputs .* got width 0"),
        (pairs(np.ones((2, 4)), np.ones((2, 4)), scales=np.ones((2, 4))), "2 scales for a width of 4; got 4"),
        (
            pairs(np.ones((2, 4)), np.ones((2, 4)), scales=np.array([[1.0, 0.0], [1.0, -0.5]])),
            "scales of 0 or more; got -0.5",
        ),
        (pairs(np.ones((2, 2)), np.ones((2, 2)), label=np.array([1.0, -1.0])), r"labels in \[0, 1\]"),
    ],
)
def test_what_is_no_list_of_planes_is_refused(batch, said):
    with pytest.raises(ValueError, match=f"`gpm` needs {said}"):
        poz.gpm(batch)


def test_a_regression_on_margins_needs_them():
    with pytest.raises(ValueError, match="margin"):
        poz.gpm(pairs(*embeddings()), link="margin_regression")
