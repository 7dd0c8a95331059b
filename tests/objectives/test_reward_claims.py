"""What papers say of terms and labels of reward models, and what follows from it."""

import numpy as np
import pytest

import poz

A, B, C = (0.0, 2.0), (1.0, 1.0), (2.0, 0.0)
CYCLE = np.array([A, B, C]), np.array([B, C, A])
DELTA = (1.5, 0.0)


def test_thresholds_of_ranked_factors_make_a_cycle_that_no_scores_fit():
    """HERON: with a threshold a beats b and b beats c by the second factor, and c beats a by the first. Three margins of sum 0
    have a mean loss of log 2 or more, and at most two are positive. Embeddings a third of a turn apart (GPM) fit all three.
    """
    rng = np.random.default_rng(0)
    for scores in (np.zeros(3), *rng.normal(0, 2, (50, 3))):
        pairs = poz.RewardPairs(scores, scores[[1, 2, 0]], chosen_factors=CYCLE[0], rejected_factors=CYCLE[1])
        losses = poz.heron(pairs, delta=DELTA)
        np.testing.assert_allclose(losses, poz.bradley_terry(pairs), rtol=1e-14)  # chosen is the better one of each
        assert losses.mean() >= np.log(2) - 1e-15
        assert (losses < np.log(2)).sum() <= 2
    turns = 2 * np.pi / 3 * np.arange(3)
    around = np.stack([np.cos(turns), np.sin(turns)], 1)
    losses = poz.gpm(poz.RewardPairs(chosen_embedding=around, rejected_embedding=around[[1, 2, 0]]), temperature=0.1)
    assert (losses < 1e-3).all()


def test_without_thresholds_ranked_factors_are_an_order():
    """HERON with δ = 0 is lexicographic: the same three stand in the order c, b, a, which scores fit."""
    scores = np.array([-9.0, 0.0, 9.0])
    pairs = poz.RewardPairs(scores, scores[[1, 2, 0]], chosen_factors=CYCLE[0], rejected_factors=CYCLE[1])
    assert (poz.heron(pairs) < 1e-3).all()


@pytest.mark.parametrize("size", [1, 2, 5])
def test_orthogonal_items_that_dropout_leaves_alone(size):
    """Secrets of RLHF II: of N = 2B embeddings log(1 + (N - 1) e^(-1/τ)); of differences one of the others is the opposite, so
    that it is log(1 + (N - 2) e^(-1/τ) + e^(-2/τ)).
    """
    temperature, basis = 0.2, 3.0 * np.eye(2 * size)
    chosen, rejected = basis[:size], basis[size:]
    near, far, count = np.exp(-1 / temperature), np.exp(-2 / temperature), 2 * size
    pairs = poz.RewardPairs(
        chosen_embedding=chosen, rejected_embedding=rejected, chosen_view=chosen, rejected_view=rejected
    )
    losses = poz.reward_contrastive(pairs, temperature=temperature)
    np.testing.assert_allclose(losses, np.log1p((count - 1) * near), rtol=1e-13)
    losses = poz.reward_contrastive(pairs, temperature=temperature, items="differences")
    np.testing.assert_allclose(losses, np.log1p((count - 2) * near + far), rtol=1e-13)
