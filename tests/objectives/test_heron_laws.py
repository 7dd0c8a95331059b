"""HERON's rule: the first factor that differs by more than its threshold decides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import poz

LABELS = {1.0: np.log1p(np.exp(-1)), -1.0: np.log1p(np.exp(1)), 0.0: 0.0}


def labels(better, worse, delta=None):
    """What the rule says of each pair, read off its loss in a batch of its own at a margin of 1."""
    found = []
    for one, other in zip(better, worse, strict=True):
        factors = np.array([one], float), np.array([other], float)
        pairs = poz.RewardPairs(np.ones(1), np.zeros(1), chosen_factors=factors[0], rejected_factors=factors[1])
        loss = poz.heron(pairs, delta=delta)[0]
        found += [label for label, wanted in LABELS.items() if abs(loss - wanted) < 1e-12]
    return found


def ranked(size=40, factors=3, seed=0):
    """Scores, and factors that are often equal."""
    rng = np.random.default_rng(seed)
    scores, table = rng.normal(0, 2, (2, size)), rng.integers(0, 3, (2, size, factors)).astype(float)
    return poz.RewardPairs(*scores, chosen_factors=table[0], rejected_factors=table[1])


def test_without_thresholds_the_order_is_that_of_a_dictionary():
    pairs = ranked()
    tuples = [[tuple(row) for row in x.tolist()] for x in (pairs.chosen_factors, pairs.rejected_factors)]
    found = labels(pairs.chosen_factors, pairs.rejected_factors)
    assert found == [float((a > b) - (a < b)) for a, b in zip(*tuples, strict=True)]
    assert set(found) == {-1.0, 0.0, 1.0}


def test_only_the_order_of_a_factor_counts_where_there_is_no_threshold():
    pairs = ranked()
    stretched = {name: np.exp(3 * getattr(pairs, name)) for name in ("chosen_factors", "rejected_factors")}
    np.testing.assert_array_equal(poz.heron(pairs._replace(**stretched)), poz.heron(pairs))


@pytest.mark.parametrize("delta", [None, (1.0, 0.0, 0.5)])
def test_the_rule_is_antisymmetric(delta):
    pairs = ranked()
    there = labels(pairs.chosen_factors, pairs.rejected_factors, delta)
    assert labels(pairs.rejected_factors, pairs.chosen_factors, delta) == [-label for label in there]
    np.testing.assert_array_equal(poz.heron(pairs.swap(), delta=delta), poz.heron(pairs, delta=delta))


@pytest.mark.parametrize("never", [1e300, np.inf])
def test_a_threshold_that_nothing_reaches_drops_its_factor(never):
    pairs = ranked()
    rest = {name: getattr(pairs, name)[:, 1:] for name in ("chosen_factors", "rejected_factors")}
    tensors = (pairs._replace(**rest), pairs)
    shorter, longer = (
        one._replace(**{name: torch.tensor(x) for name, x in one._asdict().items() if x is not None}) for one in tensors
    )
    losses = poz.heron(longer, delta=torch.tensor([never, 1.0, 0.0], dtype=torch.float64))
    assert torch.equal(losses, poz.heron(longer, delta=(never, 1.0, 0.0)))
    assert torch.equal(losses, poz.heron(shorter, delta=(1.0, 0.0)))
    assert not torch.equal(losses, poz.heron(longer, delta=(0.0, 1.0, 0.0)))


def test_the_batch_mean_is_that_of_the_pairs_that_are_decided():
    pairs, delta = ranked(), (1.0, 1.0, 1.0)
    label = np.array(labels(pairs.chosen_factors, pairs.rejected_factors, delta))
    assert 0 < (label == 0).sum() < len(label)
    turned = poz.RewardPairs(*(np.where(label < 0, *order) for order in ((pairs[1], pairs[0]), (pairs[0], pairs[1]))))
    decided = poz.RewardPairs(*(side[label != 0] for side in turned[:2]))
    losses = poz.heron(pairs, delta=delta)
    np.testing.assert_allclose(losses.mean(), poz.bradley_terry(decided).mean(), rtol=1e-13)
    assert (losses[label == 0] == 0).all()


def test_where_nothing_is_decided_there_is_neither_loss_nor_slope():
    scores = [torch.tensor([3.0, -1.0, np.inf], requires_grad=True), torch.zeros(3, requires_grad=True)]
    same = torch.ones(3, 2)
    losses = poz.heron(poz.RewardPairs(*scores, chosen_factors=same, rejected_factors=same))
    losses.sum().backward()
    assert (losses == 0).all()
    assert all((x.grad == 0).all() for x in scores)
    assert poz.heron(poz.RewardPairs(*torch.zeros(2, 0), chosen_factors=same[:0], rejected_factors=same[:0])).shape == (
        0,
    )


def test_factors_may_be_counts_and_flags():
    """Unsigned and boolean ones cannot be subtracted as they are."""
    better, worse = np.array([[0, 1], [2, 0]]), np.array([[1, 0], [1, 0]])
    scores = np.array([1.0, 1.0]), np.zeros(2)
    wanted = poz.heron(poz.RewardPairs(*scores, chosen_factors=better, rejected_factors=worse))
    np.testing.assert_allclose(wanted, [LABELS[-1.0], LABELS[1.0]], rtol=1e-14)
    counts = poz.RewardPairs(*scores, chosen_factors=better.astype(np.uint8), rejected_factors=worse.astype(np.uint8))
    np.testing.assert_array_equal(poz.heron(counts), wanted)
    flags = poz.RewardPairs(*scores, chosen_factors=better > 0, rejected_factors=worse > 0)
    np.testing.assert_allclose(poz.heron(flags).tolist(), [2 * LABELS[-1.0], 0.0], rtol=1e-14)


def test_an_unknown_factor_counts_where_it_is_reached():
    nan, inf = np.nan, np.inf
    better = np.array([[nan, 1], [1, nan], [0, nan], [inf, 0], [inf, 1]])
    worse = np.array([[0, 0], [0, 0], [0, 1], [5, 0], [inf, 0]])
    pairs = poz.RewardPairs(np.ones(5), np.zeros(5), chosen_factors=better, rejected_factors=worse)
    with np.errstate(invalid="ignore"):
        losses = poz.heron(pairs)  # of two infinite factors nobody knows which is the larger one
    assert np.isnan(losses).tolist() == [True, False, True, False, True]
    np.testing.assert_allclose(losses[[1, 3]], LABELS[1.0], rtol=1e-14)  # all five count


NEAR = {
    "counts": np.array([[16777217, 0], [16777216, 9]], np.int32),
    "seconds": np.array([[1700000001, 0], [1700000000, 9]], np.int64),
    "far apart": np.array([[2**31 - 1, 0], [-(2**31), 9]], np.int32),
    "small": np.array([[127, 0], [-128, 9]], np.int8),
    "doubles": np.array([[1 + 1e-12, 0], [1, 9]]),
}


@pytest.mark.parametrize("array", [np.asarray, torch.tensor, jnp.asarray], ids=["numpy", "torch", "jax"])
@pytest.mark.parametrize("which", NEAR)
def test_factors_are_told_apart_in_their_own_numbers(which, array):
    """Scores of 32 bits do not round factors of more, nor do integers overflow; the first factor is chosen's."""
    with jax.enable_x64(NEAR[which].dtype.itemsize == 8):
        better, worse = (array(x[None]) for x in NEAR[which])
        scores = (array(np.float32([x])) for x in (1, 0))
        pairs = poz.RewardPairs(*scores, chosen_factors=better, rejected_factors=worse)
        for delta in (None, (1e-13, 0.0)):
            losses = poz.heron(pairs, delta=delta)
            assert losses.dtype == pairs.chosen.dtype
            np.testing.assert_allclose(losses, LABELS[1.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("factors", "delta", "sentence"),
    [
        (0, None, "needs at least one factor"),
        (3, (0.5, 0.5), "one threshold in delta for each factor; got 2 for 3 factors"),
        (3, (0.5, -0.5, 0.0), "numbers >= 0"),
    ],
)
def test_what_is_no_ranking_of_factors_is_refused(factors, delta, sentence):
    pairs = ranked()
    fewer = {name: getattr(pairs, name)[:, :factors] for name in ("chosen_factors", "rejected_factors")}
    with pytest.raises(ValueError, match=sentence):
        poz.heron(pairs._replace(**fewer), delta=delta)


def test_packed_pairs_have_their_factors_in_two_columns():
    from poz.kernels.loss import from_batch, token_loss

    pairs = poz.RewardPairs(*(None if x is None else torch.tensor(x) for x in ranked()))
    given = from_batch("heron", pairs, {})
    torch.testing.assert_close(token_loss("heron", **given), poz.heron(pairs))
    with pytest.raises(ValueError, match="needs chosen_factors with these hyper-parameters, one for each example"):
        token_loss("heron", given["logps"], given["offsets"])
    flat = {name: x.reshape(-1) for name, x in given["columns"].items()}
    with pytest.raises(ValueError, match=r"chosen_factors must have shape \(40, width\)"):
        token_loss("heron", given["logps"], given["offsets"], columns=flat)
