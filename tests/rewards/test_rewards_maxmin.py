"""MaxMin-RLHF's mixture: the authors' E-step, and hard EM with linear rewards, whose M-step is exact."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from poz.rewards import fits

(ROW,) = json.loads((Path(__file__).parents[1] / "authors/rewards/maxmin.json").read_text())


@pytest.mark.parametrize("array", [np.array, torch.tensor, jnp.array])
def test_authors_e_step(array):
    with jax.enable_x64(True):
        inputs = {key: array(np.array(x)) for key, x in ROW["inputs"].items()}
        found = fits.annotator_log_likelihoods(**inputs, **ROW["settings"])
    np.testing.assert_allclose(found, ROW["values"], rtol=1e-12)  # theirs is of exp
    assert fits.assign(found).tolist() == ROW["cluster"]


def test_far_rewards_do_not_overflow():
    found = fits.annotator_log_likelihoods(np.array([[0.0, 1e4]]), np.array([[1e4, 0.0]]), np.array([0]), annotators=1)
    np.testing.assert_array_equal(found, [[-1e4, 0.0]])  # theirs is NaN


def test_log_likelihoods_add_up_over_batches():
    c, r, who = (np.array(x) for x in ROW["inputs"].values())
    parts = [fits.annotator_log_likelihoods(c[i], r[i], who[i], annotators=4) for i in (slice(3), slice(3, 8))]
    assert not parts[0][2:].any()
    np.testing.assert_allclose(sum(parts), ROW["values"], rtol=1e-12)


def test_ties_go_to_the_first():
    assert fits.assign([[-1.0, -1.0], [-2.0, -1.0], [-3.0, -4.0]]).tolist() == [0, 1, 0]


def groups(seed, noise=1.5, sizes=(28, 12), pairs=30, width=6):
    """Users who want opposite things, each with noisy pairs: differences of features of what they chose."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=width) * noise
    who = np.repeat(np.arange(sum(sizes)), pairs)
    features = rng.normal(size=(len(who), width))
    wins = rng.random(len(who)) < 1 / (1 + np.exp(-(features @ truth) * np.where(who < sizes[0], 1, -1)))
    return np.where(wins, 1, -1)[:, None] * features, who


def bradley_terry(x, penalty):
    """By SciPy, from the formula: what one cluster is."""

    def value(w):
        return np.sum(np.logaddexp(0, -x @ w)) + penalty / 2 * w @ w, -(x.T / (1 + np.exp(x @ w))).sum(1) + penalty * w

    return minimize(value, np.zeros(x.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9}).x


@pytest.mark.parametrize("penalty", [0.0, 2.0])
def test_one_cluster_is_bradley_terry(penalty):
    x, who = groups(0)
    found = fits.fit_mixture(x, who, clusters=1, penalty=penalty)
    np.testing.assert_allclose(found.weights, [bradley_terry(x, penalty)], atol=1e-8)
    assert found.settled
    assert len(found.objective) == 1


def test_each_model_is_that_of_its_annotators_and_the_objective_is_theirs():
    x, who = groups(3)
    found = fits.fit_mixture(x, who, clusters=2, penalty=0.5)
    theirs = [found.cluster[who] == k for k in range(2)]
    np.testing.assert_allclose(found.weights, [bradley_terry(x[mine], 0.5) for mine in theirs], atol=1e-7)
    with mp.workdps(30):
        total = 0.25 * np.sum(found.weights**2)
        for row, user in zip(x.tolist(), who.tolist(), strict=True):
            w = found.weights[found.cluster[user]].tolist()
            total += mp.log1p(mp.exp(-mp.fsum(a * b for a, b in zip(row, w, strict=True))))
    np.testing.assert_allclose(found.objective[-1], float(total), rtol=1e-12)


def test_rounds_go_on_where_they_were_left():
    x, who = groups(3)
    whole, short = fits.fit_mixture(x, who, clusters=2), fits.fit_mixture(x, who, clusters=2, rounds=1)
    assert not short.settled
    assert np.array_equal(short.cluster, np.arange(40) % 2)
    scores = x @ short.weights.T
    after = fits.assign(fits.annotator_log_likelihoods(scores, np.zeros_like(scores), who, annotators=40))
    rest = fits.fit_mixture(x, who, clusters=2, first=after)
    np.testing.assert_allclose([*short.objective, *rest.objective], whole.objective, rtol=1e-9)


def test_an_empty_cluster_keeps_its_model():
    x, who = np.array([[1.0], [1.0], [2.0]]), np.array([0, 1, 1])
    found = fits.fit_mixture(x, who, clusters=2, penalty=1.0, first=[1, 1])
    assert found.cluster.tolist() == [1, 1]
    assert found.weights[0] == 0
    assert found.settled
    again = fits.fit_mixture(x * [[1.0], [-1.0], [-1.0]], who, clusters=2, penalty=1.0, first=[1, 1])
    assert again.cluster.tolist() == [0, 1]  # won back by the model that says 1/2
    assert again.weights[0] > 0


def test_two_users_who_agree_share_a_model():
    x = np.array([[1.0], [1.0], [1.0], [1.0]])
    found = fits.fit_mixture(x, np.array([0, 0, 1, 1]), clusters=2, penalty=1.0)
    assert found.cluster.tolist() == [0, 0]  # both models are the same, so the first has both
    assert found.settled


def test_units_of_features_do_not_matter_without_a_penalty():
    x, who = groups(0)
    unit = 10.0 ** np.arange(-9, 9, 3)
    near, far = (fits.fit_mixture(x * u, who, clusters=2, penalty=0.0) for u in (1.0, unit))
    assert np.array_equal(far.cluster, near.cluster)
    np.testing.assert_allclose(far.weights * unit, near.weights, rtol=1e-8)


def test_a_weak_penalty_bounds_what_tells_all_pairs_apart():
    # The slope vanishes: penalty w = n σ(-w), here of three pairs whose one feature is 1.
    (w,) = fits.fit_mixture(np.ones((3, 1)), [0, 0, 0], clusters=1, penalty=1e-9).weights[0]
    np.testing.assert_allclose(1e-9 * w, 3 / (1 + np.exp(w)), rtol=1e-8)


ONES = np.ones((3, 2))


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: fits.fit_mixture(ONES, [0, 0, 2], clusters=1), ValueError, "Annotator 1 has no pair"),
        (lambda: fits.fit_mixture(ONES, [0, 0, 1], clusters=3), ValueError, "number of annotators, 2; got 3"),
        (lambda: fits.fit_mixture(ONES, [0, 0, 1], clusters=0), ValueError, "from 1 to the number of annotators"),
        (lambda: fits.fit_mixture(ONES, [0, 1], clusters=1), ValueError, r"one id per pair, \(3,\)"),
        (lambda: fits.fit_mixture(ONES[:0], [], clusters=1), ValueError, "one pair and one feature at least"),
        (lambda: fits.fit_mixture(ONES[:, :0], [0, 0, 0], clusters=1), ValueError, "one pair and one feature"),
        (lambda: fits.fit_mixture(ONES * np.nan, [0, 0, 0], clusters=1), ValueError, "differences must be finite"),
        (lambda: fits.fit_mixture(ONES, [0, 0, 0], clusters=1, rounds=0), ValueError, "rounds must be at least 1"),
        (lambda: fits.fit_mixture(ONES, [0, 0, 0], clusters=1, penalty=-1.0), ValueError, "penalty at least 0"),
        (lambda: fits.fit_mixture(ONES, [0, 0, 1], clusters=2, first=[0]), ValueError, "one cluster per annotator"),
        (lambda: fits.fit_mixture(ONES, [0, 0, 1], clusters=2, first=[0, 2]), ValueError, "from 0 to 1; got 0 to 2"),
        (lambda: fits.fit_mixture(ONES, [0, 0, 0], clusters=1, penalty=0.0), ArithmeticError, "would be infinite, or"),
        (lambda: fits.fit_mixture([[1.0], [2.0]], [0, 0], clusters=1, penalty=0.0), ArithmeticError, "be infinite"),
        (lambda: fits.fit_mixture(ONES * 0, [0, 0, 0], clusters=1, penalty=0.0), ArithmeticError, "or makes no difference"),
        (lambda: fits.assign([[np.nan, 0.0]]), ValueError, "must be finite"),
        (lambda: fits.assign(np.ones((2, 0))), ValueError, "K >= 1"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(call, error, said):
    with pytest.raises(error, match=said):
        call()


META = torch.zeros(3, dtype=int, device="meta")


@pytest.mark.parametrize(
    ("scores", "annotator", "annotators", "error", "said"),
    [
        ((ONES, ONES), np.array([0, 1]), 2, ValueError, r"one annotator per pair, \(3,\); got \(2,\)"),
        ((ONES, ONES[:2]), np.array([0, 1, 1]), 2, ValueError, "one shape"),
        ((ONES[0], ONES[0]), np.array([0, 1]), 2, ValueError, r"\(batch, K\)"),
        ((ONES, ONES), np.array([0, 1, 2]), 2, ValueError, "from 0 to 1; got 0 to 2"),
        ((ONES, ONES), np.array([0, 0, 0]), 0, ValueError, "one annotator at least"),
        ((ONES, ONES), np.ones(3), 2, TypeError, "integer ids of numpy for annotator; got numpy float64"),
        ((ONES, ONES), [0, 0, 1], 2, TypeError, "got list"),
        ((torch.ones(3, 2), torch.ones(3, 2)), META, 2, ValueError, "annotator on meta but scores on cpu"),
    ],
)
def test_scores_and_ids_that_make_no_sense_are_refused(scores, annotator, annotators, error, said):
    with pytest.raises(error, match=said):
        fits.annotator_log_likelihoods(*scores, annotator, annotators=annotators)
