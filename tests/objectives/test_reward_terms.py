"""Terms that a reward model is trained on beside Bradley-Terry: contrastive, auxiliary, and the hinge on ranks."""

import numpy as np
import pytest
import torch

import poz

FIELDS = ("chosen_embedding", "rejected_embedding", "chosen_view", "rejected_view")
every_kind = pytest.mark.parametrize("items", ["embeddings", "differences"])


def embedded(size=4, width=3, seed=0):
    """Pairs with scores, embeddings, and views of them that differ a little."""
    rng = np.random.default_rng(seed)
    first = rng.normal(0, 1, (2, size, width))
    views = first + rng.normal(0, 0.3, first.shape)
    return poz.RewardPairs(*rng.normal(0, 1, (2, size)), **dict(zip(FIELDS, (*first, *views), strict=True)))


def changed(pairs, change):
    return pairs._replace(**{name: change(getattr(pairs, name)) for name in FIELDS})


@every_kind
def test_the_order_of_the_pairs_and_who_is_chosen_have_no_say(items):
    pairs, order = embedded(), np.array([2, 0, 3, 1])
    losses = poz.reward_contrastive(pairs, items=items)
    np.testing.assert_allclose(
        poz.reward_contrastive(changed(pairs, lambda x: x[order]), items=items), losses[order], rtol=1e-12
    )
    np.testing.assert_allclose(poz.reward_contrastive(pairs.swap(), items=items), losses, rtol=1e-12)


def test_the_length_of_an_embedding_has_no_say():
    pairs = embedded()
    losses = poz.reward_contrastive(pairs)
    for length in (1e-200, 1e200):  # whose squares are no floats
        np.testing.assert_allclose(poz.reward_contrastive(changed(pairs, lambda x: x * length)), losses, rtol=1e-11)  # noqa: B023


@every_kind
def test_items_that_cannot_be_told_apart(items):
    """log(2B), without a slope where nothing has a direction: embeddings all alike, differences all zero."""
    alike = changed(embedded(), lambda x: torch.ones(x.shape, dtype=torch.float64, requires_grad=True))
    losses = poz.reward_contrastive(alike, items=items)
    np.testing.assert_allclose(losses.detach(), np.log(8), rtol=1e-14)
    losses.sum().backward()
    for name in FIELDS:  # cosines of 1 are as large as any: their slopes are rounding
        np.testing.assert_allclose(getattr(alike, name).grad, 0.0, atol=1e-14)


def test_an_embedding_of_zeros_has_cosine_and_slope_0():
    pairs = embedded()
    pairs.chosen_embedding[1] = 0.0
    leaves = changed(pairs, lambda x: torch.tensor(x, requires_grad=True))
    losses = poz.reward_contrastive(leaves)
    losses.sum().backward()
    rest = np.log(8)  # of this item
    other = poz.reward_contrastive(pairs, items="embeddings")
    assert np.isfinite(other).all()
    gradient = leaves.chosen_embedding.grad.numpy()
    assert (gradient[1] == 0).all()
    assert (gradient[0] != 0).any()
    alone = poz.RewardPairs(**{name: np.zeros((4, 3)) for name in FIELDS})
    np.testing.assert_allclose(poz.reward_contrastive(alone), rest, rtol=1e-14)


def test_one_pair_and_none():
    one = changed(embedded(1), lambda x: np.array([[3.0, 4.0]]) if x.shape else x)
    one = one._replace(rejected_embedding=np.zeros((1, 2)), rejected_view=np.zeros((1, 2)))
    np.testing.assert_allclose(
        poz.reward_contrastive(one, temperature=0.5, items="differences"), np.log1p(np.exp(-4)), rtol=1e-13
    )
    assert poz.reward_contrastive(changed(embedded(), lambda x: x[:0])).shape == (0,)


def test_the_sum_of_the_paper():
    """L = L_rm + β L_cl; a β of 0 leaves Bradley-Terry."""
    pairs, term = embedded(), poz.reward_contrastive.bind(items="differences", temperature=0.3)
    both = poz.combine([("bradley_terry", 1.0), (term, 0.7)])
    np.testing.assert_allclose(both(pairs), poz.bradley_terry(pairs) + 0.7 * term(pairs), rtol=1e-14)
    assert both.coupled == term.coupled
    nothing = poz.combine([("bradley_terry", 1.0), (term, 0.0)])
    np.testing.assert_array_equal(nothing(pairs), poz.bradley_terry(pairs))


def test_what_is_no_batch_of_embeddings_is_refused():
    pairs = embedded()
    with pytest.raises(ValueError, match="needs embeddings of at least one number; got width 0"):
        poz.reward_contrastive(changed(pairs, lambda x: x[:, :0]))
    with pytest.raises(ValueError, match="shape"):
        poz.reward_contrastive(pairs._replace(chosen_view=pairs.chosen_view[:, :2]))
    with pytest.raises(ValueError, match=r"one vector per completion for chosen_embedding.*got shape \(1, 4, 3\)"):
        poz.reward_contrastive(changed(pairs, lambda x: x[None]))


def test_an_unknown_embedding_spoils_the_batch_and_says_so():
    """Its item stands in every sum."""
    pairs = embedded()
    pairs.rejected_view[2, 0] = np.nan
    assert np.isnan(poz.reward_contrastive(pairs)).all()


# RewardModel.forward of ernie-research/Tool-Augmented-Reward-Model@1601b5f (src/models/reward_model.py), in float64, with
# drawn scores and logits in place of the network: three pairs of five tokens, a third of the labels left out.
THEMIS = {
    "chosen": [-1.203, -1.987, -0.373],
    "rejected": [0.631, 1.704, 0.165],
    "cross_entropy": [6.845984108309786, 16.571432927577778, 14.898278597690965],  # of both completions of a pair
    "tokens": 17,
    "loss": 3.3698252801557587,
    "slopes": [-0.14370625857741914, -0.16261002739863725, -0.1052245073723587],
}


def test_themis_is_a_sum():
    """The cross-entropy per token of the batch plus half of Bradley-Terry."""
    chosen, rejected = (
        torch.tensor(THEMIS[side], dtype=torch.float64, requires_grad=True) for side in ("chosen", "rejected")
    )
    share = len(chosen) / THEMIS["tokens"]
    words = torch.tensor(THEMIS["cross_entropy"], dtype=torch.float64, requires_grad=True)
    themis = poz.combine({"auxiliary": 1.0, "bradley_terry": 0.5})
    loss = themis(poz.RewardPairs(chosen, rejected, auxiliary=share * words)).mean()
    assert loss.item() == pytest.approx(THEMIS["loss"], rel=1e-14)
    slopes = torch.autograd.grad(loss, (chosen, rejected, words))
    np.testing.assert_allclose(slopes[0], THEMIS["slopes"], rtol=1e-13)
    np.testing.assert_allclose(slopes[1], -slopes[0], rtol=1e-15)
    np.testing.assert_allclose(slopes[2], 1 / THEMIS["tokens"], rtol=1e-14)


def test_an_auxiliary_loss_is_taken_as_it_is():
    given = np.array([0.5, np.inf, np.nan])
    losses = poz.auxiliary(poz.RewardPairs(auxiliary=given))
    np.testing.assert_array_equal(losses, given)
    assert losses is not given, "what is done to losses is not done to what was given"
    with pytest.raises(ValueError, match="auxiliary"):
        poz.auxiliary(poz.RewardPairs(np.zeros(2), np.zeros(2)))


def test_a_pair_of_the_ranking_hinge_is_the_same_either_way_round():
    rng = np.random.default_rng(0)
    pairs = poz.RewardPairs(*rng.normal(0, 2, (2, 9)), margin=rng.integers(-3, 4, 9).astype(float))
    np.testing.assert_array_equal(poz.rank_hinge(pairs.swap(), bound=0.7), poz.rank_hinge(pairs, bound=0.7))


def test_equal_ranks_say_nothing_whatever_the_scores():
    scores = [torch.tensor([3.0, np.inf, -5.0], requires_grad=True), torch.tensor([1.0, 0.0, 2.0], requires_grad=True)]
    losses = poz.rank_hinge(poz.RewardPairs(*scores, margin=torch.zeros(3)), bound=0.7)
    losses.sum().backward()
    np.testing.assert_allclose(losses.detach(), 0.7, rtol=1e-6)
    assert all((x.grad == 0).all() for x in scores)
