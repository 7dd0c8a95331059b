"""MORE's weights of sources: the authors' numbers, the hull looked through face by face, and what the weights promise."""

import json
from itertools import combinations
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from poz.rewards import fits

ROWS = {row["item"]: row for row in json.loads((Path(__file__).parents[1] / "authors/rewards/more.json").read_text())}
SOLVED = [item for item, row in ROWS.items() if row["call"] == "min_norm_weights"]
RNG = np.random.default_rng(11)
HULLS = {
    f"{t} of {width}": RNG.normal(0.3, 1, (t, width)) for t, width in [(1, 3), (2, 1), (2, 5), (3, 2), (4, 30), (6, 4)]
}
hulls = pytest.mark.parametrize("gradients", HULLS.values(), ids=HULLS)


def by_faces(gradients):
    """The shortest point of a hull: of each face the point of its plane nearest to 0, where its weights are positive."""
    best = None
    for size in range(1, len(gradients) + 1):
        for face in map(list, combinations(range(len(gradients)), size)):
            edges = gradients[face[1:]] - gradients[face[0]]
            along = np.linalg.lstsq(edges.T, -gradients[face[0]], rcond=None)[0]
            point, weights = gradients[face[0]] + along @ edges, [1 - along.sum(), *along]
            if min(weights) >= 0 and (best is None or point @ point < best @ best):
                best = point
    return best


def normalised(row):
    g, how = np.array(row["inputs"]["gradients"]), row["settings"]["normalise"]
    for i, loss in enumerate(row["settings"].get("losses", [0.0] * len(g))):
        if how == "loss":
            g[i] *= (np.sum(row["settings"]["losses"]) + len(g)) / (loss + 1)
        elif how != "none":
            g[i] /= np.sqrt(g[i] @ g[i]) * (loss if how == "loss+" else 1)
    return g


# -- numbers


@pytest.mark.parametrize("item", SOLVED)
def test_authors_weights(item):
    row = ROWS[item]
    weights = fits.min_norm_weights(**row["inputs"], **row["settings"])
    squared = np.sum((weights @ normalised(row)) ** 2)
    exact = len(weights) == 2
    # Frank-Wolfe stops where its step is below 1e-5, and stays above the shortest point.
    np.testing.assert_allclose(weights, row["values"], atol=1e-14 if exact else 5e-4)
    assert -1e-12 < row["squared"] - squared < (1e-12 if exact else 1e-6 * row["squared"])


@pytest.mark.parametrize("array", [np.array, torch.tensor, jnp.array])
def test_authors_losses_and_gradients(array):
    row = ROWS["sources of 1, 2 and 3 pairs"]
    with jax.enable_x64(True):
        c, r, head, source = (array(np.array(x)) for x in row["inputs"].values())
        found = fits.head_gradients(c, r, c @ head, r @ head, source, **row["settings"])
        losses = fits.source_losses(c @ head, r @ head, source, **row["settings"])
    np.testing.assert_allclose(losses, row["values"], rtol=1e-14)
    np.testing.assert_allclose(found.gradients, row["gradients"]["head"], rtol=1e-13, atol=1e-15)
    assert np.array_equal(found.count, [1, 2, 3])


def test_the_gradients_are_those_of_the_losses():
    row = ROWS["sources of 1, 2 and 3 pairs"]
    c, r, head, _ = (np.array(x) for x in row["inputs"].values())
    source = np.array([0, 3, 3, 0, 3, 3])  # nobody of the sources 1 and 2
    found = fits.head_gradients(c, r, c @ head, r @ head, source, sources=4)
    t = torch.tensor(head)
    pairs = torch.tensor(c), torch.tensor(r)
    by_torch = torch.autograd.functional.jacobian(
        lambda w: fits.source_losses(pairs[0] @ w, pairs[1] @ w, torch.tensor(source), sources=4), t
    )
    np.testing.assert_allclose(found.gradients, by_torch, rtol=1e-13, atol=1e-16)
    with jax.enable_x64(True):
        by_jax = jax.jit(jax.jacobian(lambda w: fits.source_losses(c @ w, r @ w, jnp.asarray(source), sources=4)))(head)
    np.testing.assert_allclose(found.gradients, by_jax, rtol=1e-13, atol=1e-16)
    assert not found.gradients[1:3].any()
    assert np.array_equal(found.count > 0, [True, False, False, True])


@pytest.mark.parametrize("array", [np.array, torch.tensor, jnp.array])
def test_a_pair_without_a_finite_score_is_its_own_source_s(array):
    c, r, source = array([-np.inf, 1.0, 1.0, np.nan]), array([0.0] * 4), array([0, 1, 2, 3])
    sure = np.log1p(np.exp(-1.0))
    losses = fits.source_losses(c, r, source, sources=4)
    np.testing.assert_allclose(losses, [np.inf, sure, sure, np.nan], rtol=1e-6)  # float32
    features = array(np.ones((4, 1)))
    slopes = fits.head_gradients(features, 0 * features, c, r, source, sources=4).gradients[:, 0]
    np.testing.assert_allclose(slopes, [-1, -np.exp(-sure - 1), -np.exp(-sure - 1), np.nan], rtol=1e-6)
    likely = fits.annotator_log_likelihoods(c[:, None], r[:, None], source, annotators=4)[:, 0]
    np.testing.assert_allclose(likely, [-np.inf, -sure, -sure, np.nan], rtol=1e-6)


def test_an_id_that_cannot_be_read_and_is_nobody_s_counts_for_nobody():
    c, r, source = jnp.ones(4), jnp.zeros(4), jnp.array([0, -1, 2, 1])
    found = jax.jit(lambda source: fits.source_losses(c, r, source, sources=2))(source)
    np.testing.assert_allclose(found, np.log1p(np.exp(-1.0)) * np.ones(2), rtol=1e-6)  # float32


# -- laws of the shortest point


@hulls
def test_the_point_is_the_shortest_and_falls_for_every_source(gradients):
    weights = fits.min_norm_weights(gradients)
    point = weights @ gradients
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-14)
    np.testing.assert_allclose(point, by_faces(gradients), atol=1e-12)
    assert (gradients @ point).min() >= point @ point - 1e-12


@hulls
def test_neither_order_nor_unit_matters(gradients):
    order = RNG.permutation(len(gradients))
    weights = fits.min_norm_weights(gradients)
    assert np.array_equal(fits.min_norm_weights(gradients[order]), weights[order])
    for unit in (1e180, 1e-180):
        np.testing.assert_allclose(fits.min_norm_weights(gradients * unit), weights, atol=1e-12)


def test_nothing_is_left_to_do_where_0_lies_in_the_hull():
    gradients = RNG.normal(size=(5, 3))
    gradients[0] = -gradients[1:].sum(0)
    point = fits.min_norm_weights(gradients) @ gradients
    np.testing.assert_allclose(point, 0, atol=1e-14)


@pytest.mark.parametrize(
    ("gradients", "wanted"),
    [
        ([[1.0, 2.0], [1.0, 2.0]], [0.5, 0.5]),
        ([[0.0, 0.0], [-0.0, 0.0]], [0.5, 0.5]),
        ([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], [0.0, 1.0, 0.0]),
        ([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [0.25, 0.5, 0.25]),
        ([[3.0], [1.0]], [0.0, 1.0]),
        ([[7.0, 1.0]], [1.0]),
        (np.ones((4, 0)), [0.25] * 4),
    ],
    ids=["equal", "zero", "one is zero", "two are equal", "one direction", "one source", "no width"],
)
def test_what_is_degenerate_is_defined(gradients, wanted):
    np.testing.assert_allclose(fits.min_norm_weights(gradients), wanted, atol=1e-15)


def test_of_sources_that_agree_it_ends_at_the_least_sure():
    # One feature, 88 wins of 100 and 62 of 100: a head that begins at 0 stops at logit .62, where the latter is content.
    wins, source = np.repeat([1.0, -1.0, 1.0, -1.0], [88, 12, 62, 38])[:, None], np.repeat([0, 1], 100)
    head, nothing = np.zeros(1), np.zeros(200)
    for _ in range(200):
        found = fits.head_gradients(wins, 0 * wins, wins @ head, nothing, source, sources=2)
        head = head - fits.min_norm_weights(found.gradients) @ found.gradients
    np.testing.assert_allclose(head, np.log(0.62 / 0.38), rtol=1e-9)


def test_a_source_without_a_pair_takes_no_weight_when_it_is_absent():
    gradients = np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    present = np.array([True, False, True])
    np.testing.assert_allclose(fits.min_norm_weights(gradients), [0, 1, 0])  # what "absent" is there to prevent
    np.testing.assert_allclose(fits.min_norm_weights(gradients, present=present), [0.2, 0, 0.8], rtol=1e-14)
    losses = np.array([1.0, np.nan, 3.0])
    weights = fits.min_norm_weights(gradients, present=present, normalise="loss", losses=losses)
    np.testing.assert_allclose(weights, [1 / 17, 0, 16 / 17], rtol=1e-14)  # of 3 * 2 and 1.5 * 1


def test_the_longer_gradient_of_a_smaller_loss_counts_for_less():
    weights = fits.min_norm_weights(np.eye(2), normalise="loss", losses=[0.0, 1.0])  # gradients of 3 and 1.5
    np.testing.assert_allclose(weights, [0.2, 0.8], rtol=1e-14)


def test_units_of_gradients_of_0_stay_0():
    gradients = np.array([[3.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    for how in ("l2", "loss+"):
        weights = fits.min_norm_weights(gradients, normalise=how, losses=np.ones(3))
        np.testing.assert_allclose(weights, [0, 1, 0])


def test_gradients_average():
    first, second = RNG.normal(size=(2, 3, 4))
    present = np.array([True, True, False])
    mean = fits.average_gradients(None, first, rate=0.3, present=present)
    assert np.array_equal(mean, [first[0], first[1], np.zeros(4)])
    mean = fits.average_gradients(mean, second, rate=0.3, present=~present)
    np.testing.assert_allclose(mean, [first[0], first[1], 0.3 * second[2]])
    np.testing.assert_allclose(fits.average_gradients(first, second, rate=0.3), 0.7 * first + 0.3 * second)
    assert np.array_equal(fits.average_gradients(first, second, rate=1.0), second)


# -- refused


ONES, IDS = np.ones(3), np.array([0, 1, 0])


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: fits.min_norm_weights(ONES), ValueError, r"shape \(sources, width\); got \(3,\)"),
        (lambda: fits.min_norm_weights(np.ones((0, 2))), ValueError, "needs a source that is present"),
        (lambda: fits.min_norm_weights(np.eye(2), present=np.zeros(2, bool)), ValueError, "a source that is present"),
        (lambda: fits.min_norm_weights(np.eye(2), present=[1, 0]), ValueError, "one boolean per source"),
        (lambda: fits.min_norm_weights([[1.0, np.nan]]), ValueError, "gradients must be finite; got nan"),
        (lambda: fits.min_norm_weights(np.eye(2), normalise="l1"), ValueError, "one of none, l2, loss, loss"),
        (lambda: fits.min_norm_weights(np.eye(2), normalise="loss"), ValueError, "give losses="),
        (lambda: fits.min_norm_weights(np.eye(2), normalise="loss", losses=ONES), ValueError, "one per source"),
        (lambda: fits.min_norm_weights(np.eye(2), normalise="loss", losses=[1, -1]), ValueError, "of at least 0"),
        (lambda: fits.min_norm_weights(np.eye(2), normalise="loss+", losses=[1, 0]), ValueError, "above 0; got 0"),
        (lambda: fits.average_gradients(None, np.eye(2), rate=0.0), ValueError, r"in \(0, 1\]; got 0"),
        (lambda: fits.average_gradients(np.eye(3), np.eye(2), rate=1.0), ValueError, "must have one shape"),
        (lambda: fits.source_losses(ONES, ONES, IDS, sources=0), ValueError, "needs one source at least; got sources=0"),
        (lambda: fits.source_losses(ONES, ONES, IDS, sources=1), ValueError, "from 0 to 0; got 0 to 1"),
        (lambda: fits.source_losses(ONES, ONES[:1], IDS, sources=2), ValueError, "needs one shape for all"),
        (lambda: fits.source_losses(ONES, ONES, -IDS, sources=2), ValueError, "got -1 to 0"),
        (lambda: fits.source_losses(ONES, ONES, IDS[:2], sources=2), ValueError, r"one source per pair, \(3,\); got \(2,\)"),
        (lambda: fits.source_losses(ONES, ONES, ONES, sources=2), TypeError, "needs integer ids of numpy"),
        (lambda: fits.source_losses(ONES[None], ONES[None], IDS[None], sources=2), ValueError, r"shape \(batch,\)"),
        (lambda: fits.head_gradients(np.eye(2), np.eye(2), ONES, ONES, IDS, sources=2), ValueError, "batch 3"),
        (lambda: fits.head_gradients(np.eye(3), np.eye(2), ONES, ONES, IDS, sources=2), ValueError, "one shape"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(call, error, said):
    with pytest.raises(error, match=said):
        call()


def test_an_empty_batch_has_no_losses():
    nothing = np.zeros(0)
    assert np.array_equal(fits.source_losses(nothing, nothing, np.zeros(0, int), sources=2), [0, 0])
    found = fits.head_gradients(np.zeros((0, 3)), np.zeros((0, 3)), nothing, nothing, np.zeros(0, int), sources=2)
    assert not found.gradients.any()
    assert not found.count.any()


def test_sixteen_bits_are_widened():
    scores = torch.zeros(3, dtype=torch.bfloat16)
    assert fits.source_losses(scores, scores, torch.tensor(IDS), sources=2).dtype == torch.float32
