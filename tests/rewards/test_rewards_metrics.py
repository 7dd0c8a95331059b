"""Metrics of reward models and policies: by hand, by SciPy, by theorems about the objectives themselves, and bit by bit."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import torch

import poz
from poz.rewards import metrics
from poz.rewards.metrics import Mean

MAKE = {
    "numpy": np.asarray,
    "torch": torch.as_tensor,
    "jax": lambda x: jnp.asarray(x, None if np.asarray(x).dtype == bool else jnp.float32),
}
LIBRARIES = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


def pairs(chosen, rejected, ref_chosen=None, ref_rejected=None, make=np.asarray, **fields):
    given = {"chosen": chosen, "rejected": rejected, "ref_chosen": ref_chosen, "ref_rejected": ref_rejected, **fields}
    return poz.Pairs(**{name: None if x is None else make(np.asarray(x)) for name, x in given.items()})


def drawn(seed, size=400, spread=20.0):
    """Log-probs of whole completions, in float64."""
    generator = np.random.default_rng(seed)
    return pairs(*generator.normal(-100, spread, (4, size)), label=generator.uniform(0, 1, size))


# -- sums with counts


@LIBRARIES
def test_shares_unequal_and_empty_add_up_to_the_mean_over_all(make):
    scores = np.random.default_rng(0).normal(size=(2, 11))
    shares = [
        metrics.reward_margin(make(scores[0, a:b]), make(scores[1, a:b])) for a, b in [(0, 7), (7, 7), (7, 8), (8, 11)]
    ]
    whole = sum(shares)
    assert isinstance(whole, Mean)
    assert float(whole.count) == 11
    # JAX computes in float32.
    assert float(whole.value) == pytest.approx(np.mean(scores[0] - scores[1]), rel=1e-5)
    assert float((shares[0] + shares[2]).count) == 8


@LIBRARIES
def test_a_mean_of_nothing_is_nan_and_adds_nothing(make):
    nothing = Mean.of(make(np.zeros(0)))
    assert math.isnan(float(nothing.value))
    assert float((nothing + Mean.of(make(np.array([3.0])))).value) == 3


def test_a_mean_of_plain_numbers_is_one():
    assert Mean(3.0, 4.0).value == 0.75
    assert math.isnan(Mean(0.0, 0.0).value)
    # 2^24 is the last count that float32 adds 1 to.
    counted = Mean(torch.tensor(0.0), torch.tensor(2.0**24))
    one = Mean(torch.tensor(0.0), torch.tensor(1.0))
    assert (counted + one).count == 2**24
    assert (Mean(*map(float, counted)) + Mean(*map(float, one))).count == 2**24 + 1


def test_a_mean_adds_over_ranks_as_it_says():
    # JAX sums the tuple as a pytree; torch sums a stack of it, here by hand over three ranks, one of them empty.
    scores = np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)

    def share(x):
        return jax.lax.psum(Mean.of(x), "ranks").value

    np.testing.assert_allclose(jax.vmap(share, axis_name="ranks")(jnp.asarray(scores)), [2.75, 2.75])
    ranks = [Mean.of(torch.tensor(x)) for x in ([1.0, 2.0], [], [3.0])]
    assert float(Mean(*torch.stack([torch.stack(list(r)) for r in ranks]).sum(0)).value) == 2


@LIBRARIES
def test_masked_rows_are_left_out_whatever_they_hold(make):
    values = make(np.array([1.0, np.nan, np.inf, 3.0]))
    mask = make(np.array([True, False, False, True]))
    assert float(Mean.of(values, mask).value) == 2
    assert float(metrics.reward_accuracy(values, make(np.zeros(4)), mask=mask).count) == 2
    assert math.isnan(float(metrics.reward_accuracy(values, make(np.zeros(4))).value))


def test_a_mean_keeps_no_graph():
    chosen = torch.ones(3, requires_grad=True)
    assert not metrics.reward_margin(chosen, torch.zeros(3)).total.requires_grad
    # What is given per pair does: a bound may be trained against.
    batch = poz.Pairs(*[torch.ones(3, requires_grad=True)] * 4)
    assert metrics.dpo_flip_bound(batch, beta=0.1).requires_grad


def test_a_mean_is_refused_what_it_cannot_add():
    one = Mean.of(np.ones(1))
    for wrong in (1, (1.0, 1.0), None):
        with pytest.raises(TypeError, match="A Mean adds to another Mean"):
            one + wrong
    with pytest.raises(TypeError, match="A Mean adds to another Mean"):
        1 + one


# -- accuracy


@LIBRARIES
@pytest.mark.parametrize(("tie", "expected"), [(0.5, 0.625), (0.0, 0.5), (1.0, 0.75)])
def test_reward_accuracy_by_hand(make, tie, expected):
    chosen, rejected = make(np.array([2.0, 0.0, 1.0, -1.0])), make(np.array([1.0, 0.0, 3.0, -2.0]))
    assert float(metrics.reward_accuracy(chosen, rejected, tie=tie).value) == expected
    assert float(metrics.reward_margin(chosen, rejected).value) == 0


def test_half_a_tie_makes_accuracies_of_both_orders_add_to_one():
    scores = np.random.default_rng(1).integers(0, 4, (2, 200)).astype(np.float64)
    both = metrics.reward_accuracy(*scores).value + metrics.reward_accuracy(*scores[::-1]).value
    assert both == pytest.approx(1, abs=1e-15)
    assert metrics.reward_accuracy(np.ones(9), np.ones(9)).value == 0.5


@LIBRARIES
def test_implicit_rewards_are_those_of_dpo(make):
    batch = poz.Pairs(*(make(np.asarray(x)[:20]) for x in drawn(2)[:4]))
    chosen, rejected = metrics.implicit_rewards(batch, beta=0.05)
    # L_DPO = softplus(-margin); JAX computes in float32, of sums near 100.
    losses = np.asarray(poz.dpo(batch, beta=0.05))
    np.testing.assert_allclose(np.logaddexp(0, np.asarray(rejected - chosen)), losses, rtol=1e-4, atol=1e-5)
    assert float(metrics.reward_accuracy(chosen, rejected).total) == np.sum(losses < np.log(2))


def test_generalisation_drop_by_hand():
    explicit = [Mean(9.0, 10.0), Mean(8.0, 10.0)]
    implicit = [Mean(17.0, 20.0), Mean(7.0, 10.0)]
    np.testing.assert_allclose(metrics.generalisation_drop(explicit, implicit), [0.075, 0.1])
    np.testing.assert_allclose(metrics.generalisation_drop(Mean(9.0, 10.0), implicit), [0.125, 0.2])
    assert all(map(math.isnan, metrics.generalisation_drop(Mean(9.0, 10.0), [*implicit, Mean(0.0, 0.0)])))


@LIBRARIES
def test_order_accuracy_wants_the_whole_order(make):
    logps = make(np.array([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0], [2.0, 2.0, 1.0], [1.0, 9.0, 0.0], [0.0, 9.0, 9.0]]))
    mask = make(np.array([[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 0, 1], [1, 0, 0]], bool))
    # In order, out of order, in order but for a tie, in order across a hole, and one alone, which has no order.
    for tie, right in ((1.0, 3.0), (0.5, 2.5), (0.0, 2.0)):
        assert tuple(map(float, metrics.order_accuracy(poz.Ranked(logps, mask=mask), tie=tie))) == (right, 4)


def test_order_accuracy_of_two_is_ranking_accuracy():
    batch = drawn(3)
    two = metrics.order_accuracy(poz.Ranked(np.stack([batch.chosen, batch.rejected], -1)))
    assert two == metrics.ranking_accuracy(batch)
    assert metrics.order_accuracy(poz.Ranked(np.zeros((3, 1)))) == Mean(0.0, 0.0)
    assert metrics.order_accuracy(poz.Ranked(np.zeros((0, 3)))) == Mean(0.0, 0.0)


@LIBRARIES
def test_kendall_is_scipys_averaged_over_prompts(make):
    generator = np.random.default_rng(4)
    scores, others = generator.integers(0, 5, (2, 60, 6)).astype(np.float32)
    scores[0], others[1] = 1.0, 2.0  # τ-b is not defined where all are equal
    mask = generator.random((60, 6)) < 0.8
    with np.errstate(invalid="ignore"):
        expected = [
            scipy.stats.kendalltau(a[m], b[m]).statistic if m.sum() > 1 else np.nan
            for a, b, m in zip(scores, others, mask, strict=True)
        ]
    mean = metrics.kendall(make(scores), make(others), mask=make(mask))
    assert float(mean.count) == np.sum(np.isfinite(expected)) < 59
    assert float(mean.value) == pytest.approx(np.nanmean(expected), rel=1e-5)  # JAX computes in float32
    assert float(metrics.kendall(make(scores), make(-scores)).value) == pytest.approx(-1, rel=1e-6)
    scores[5, 0] = np.nan
    assert math.isnan(float(metrics.kendall(make(scores), make(others)).value))


# -- ranking accuracy, what it could be, and when it flips


@LIBRARIES
def test_ranking_accuracy_is_of_the_policy_alone(make):
    batch = pairs(
        *([-4.0, -6.0, -5.0], [-5.0, -3.0, -5.0], [-1.0, -9.0, 0.0], [-9.0, -1.0, 0.0]),
        make=make,
        chosen_len=[2.0, 6.0, 5.0],
        rejected_len=[5.0, 2.0, 4.0],
    )
    assert float(metrics.ranking_accuracy(batch).total) == 2
    assert float(metrics.ranking_accuracy(batch, tie=0.0).total) == 1
    # Per token: -2 against -1, -1 against -1.5, -1 against -1.25.
    assert float(metrics.ranking_accuracy(batch, length_normalized=True).total) == 2
    assert float(metrics.reward_accuracy(*metrics.implicit_rewards(batch, beta=1.0)).total) == 1.5


def test_ranking_accuracy_is_antisymmetric_but_for_ties():
    batch = drawn(5)
    batch = batch._replace(chosen=np.where(np.arange(400) < 30, batch.rejected, batch.chosen))
    there, back = metrics.ranking_accuracy(batch), metrics.ranking_accuracy(batch.swap())
    assert there.total + back.total == 400 + 30
    assert metrics.ranking_accuracy(batch, tie=0.5).value + metrics.ranking_accuracy(batch.swap(), tie=0.5).value == 1


@LIBRARIES
def test_idealised_log_ratio_of_the_exact_optimum(make):
    # By hand: β = .1, α = .8, a reference 3 nats wrong; h* = logit(.8)/.1 = 13.862944, so 10.862944 and R* = 1.
    wrong = pairs([-9.0], [-1.0], [-13.0], [-10.0], make=make, label=[0.8])
    assert float(metrics.idealised_log_ratio(wrong, beta=0.1)[0]) == pytest.approx(10.862944, rel=1e-6)
    gap = metrics.alignment_gap(wrong, beta=0.1)
    assert (float(metrics.idealised_ranking_accuracy(wrong, beta=0.1).value), float(gap.value)) == (1, 1)


def test_idealised_log_ratio_is_where_tabular_dpo_ends():
    # The optimum over two completions of Σ p(i > j) L_DPO, found by bisection on its slope in log π(y_w)/π(y_l).
    beta, alpha, reference = 0.3, 0.7, -2.0
    low, high = -50.0, 50.0
    for _ in range(200):
        u = (low + high) / 2
        h = u - reference
        slope = -alpha / (1 + np.exp(beta * h)) + (1 - alpha) / (1 + np.exp(-beta * h))
        low, high = (u, high) if slope < 0 else (low, u)
    batch = pairs([0.0], [0.0], [reference], [0.0], label=[alpha])
    assert metrics.idealised_log_ratio(batch, beta=beta)[0] == pytest.approx(u, rel=1e-12)


def test_idealised_log_ratios_are_the_authors():
    # angie-chen55/pref-learning-ranking-acc@a86bdef rlhf_minimizer_client.py: `compute_loglikelihood_ratios` executed on
    # perplexities and α of one token each, where its normalised log-probs are log-probs; and the ratios 3/2 and 6 of
    # rlhf_minimizer_client_test.py.
    ppl_1 = np.array([8.76, 1.86, 1.93, 19.98, 13.4, 5.46])
    ppl_2 = np.array([9.26, 19.51, 18.06, 17.04, 8.46, 10.37])
    alpha = np.array([0.77, 0.78, 0.51, 0.31, 0.1, 0.4])
    batch = pairs(0 * ppl_1, 0 * ppl_1, -np.log(ppl_1), -np.log(ppl_2), label=alpha)
    half = [2.4721305555588566, 4.881683413572462, 2.3161902142994433]
    half += [-1.759406852043464, -4.854354688011172, -0.1694619837317064]
    two = [0.6596637466720554, 2.9831838535755484, 2.256182212378895]
    two += [-0.5592279018752944, -1.5585178220068432, 0.43873567843053984]
    np.testing.assert_allclose(metrics.idealised_log_ratio(batch, beta=0.5), half, rtol=1e-13)
    np.testing.assert_allclose(metrics.idealised_log_ratio(batch, beta=2.0), two, rtol=1e-13)
    assert metrics.idealised_ranking_accuracy(batch, beta=0.5).total == 3
    assert metrics.idealised_ranking_accuracy(batch, beta=2.0).total == 4
    ours = pairs([0.0] * 2, [0.0] * 2, -np.log([1.0, 2.0]), -np.log([3.0, 4.0]), label=[0.2, 0.9])
    np.testing.assert_allclose(np.exp(metrics.idealised_log_ratio(ours, beta=2.0)), [1.5, 6.0], rtol=1e-14)


def test_idealised_ranking_accuracy_in_its_limits():
    batch = drawn(6)
    reference = metrics.ranking_accuracy(pairs(batch.ref_chosen, batch.ref_rejected), tie=0.0)
    assert metrics.idealised_ranking_accuracy(batch, beta=1e12) == reference
    assert metrics.idealised_ranking_accuracy(batch, beta=1e-12).total == np.sum(batch.label > 0.5)
    assert metrics.idealised_ranking_accuracy(batch._replace(label=np.full(400, 0.5)), beta=0.1) == reference
    # A reference that is undecided is not right by the paper's strict >.
    undecided = pairs([0.0], [0.0], [-1.0], [-1.0], label=[0.5])
    assert metrics.idealised_ranking_accuracy(undecided, beta=0.1).value == 0


def test_idealised_ranking_accuracy_grows_with_agreement():
    batch = drawn(7)
    shares = np.concatenate([np.linspace(0, 1, 101), [0.9995, 0.9999]])
    found = [metrics.idealised_log_ratio(batch._replace(label=np.full(400, a)), beta=0.2) for a in np.sort(shares)]
    assert np.all(np.diff(found, axis=0) >= 0)
    assert np.all(np.isfinite(found))
    # Unanimity counts as 1 - 1e-3: logit = 6.9068 nats.
    np.testing.assert_allclose(found[-1] - found[52 - 2], 6.906755 / 0.2, rtol=1e-6)


def test_alignment_gap_by_hand():
    # R* = 1, 1, 0 and R = 0, 1, 1: of three pairs the gap is 0, of the first two 1/2.
    batch = pairs([-2.0, -1.0, -1.0], [-1.0, -2.0, -1.0], [0.0, 0.0, -9.0], [0.0, 0.0, 0.0], label=[0.75, 0.75, 0.75])
    assert metrics.alignment_gap(batch, beta=1.0).value == 0
    assert metrics.alignment_gap(batch, beta=1.0, mask=np.array([True, True, False])) == Mean(1.0, 2.0)


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0, 5.0])
def test_the_ranking_is_right_exactly_where_the_dpo_loss_is_below_its_bound(beta):
    # Theorem 4.1: R = 1 iff L <= softplus(-β c). Drawn losses stay a rounding away from the bound.
    batch = drawn(8, spread=2.0 / beta**0.5)
    right = batch.chosen >= batch.rejected
    below = poz.dpo(batch, beta=beta) <= metrics.dpo_flip_bound(batch, beta=beta)
    np.testing.assert_array_equal(right, below)
    assert 100 < right.sum() < 300
    # At the bound itself: log π(y_w) = log π(y_l).
    tied = batch._replace(chosen=batch.rejected)
    np.testing.assert_allclose(poz.dpo(tied, beta=beta), metrics.dpo_flip_bound(batch, beta=beta), rtol=1e-12)


def test_a_right_reference_and_a_loss_below_log_2_keep_the_ranking():
    # The paper's Proposition 2.6 has .6 in the place of log 2 = .69.
    batch = drawn(9)
    kept = (batch.ref_chosen > batch.ref_rejected) & (poz.dpo(batch) <= np.log(2))
    assert kept.sum() > 20
    assert np.all(batch.chosen[kept] >= batch.rejected[kept])


def test_the_loss_falls_by_93_percent_without_a_change_in_ranking():
    # Gradient descent on log π(y_w)/π(y_l) from a reference that is 30 nats wrong, β = .1: softplus(-3) = .048587.
    beta, c, u = 0.1, 30.0, -30.0
    bound = metrics.dpo_flip_bound(pairs([0.0], [0.0], [0.0], [c]), beta=beta)[0]
    assert bound == pytest.approx(0.048587, abs=5e-7)
    path = []
    for _ in range(2000):
        batch = pairs([u], [0.0], [0.0], [c])
        path.append((float(poz.dpo(batch, beta=beta)[0]), float(metrics.ranking_accuracy(batch).value)))
        u += 3.0 * beta / (1 + np.exp(beta * (u + c)))
    losses, right = np.array(path).T
    assert np.all(np.diff(losses) < 0)
    np.testing.assert_array_equal(right == 1, losses <= bound)
    last = losses[right == 0][-1]
    assert losses[0] == pytest.approx(np.log(2))
    assert last / losses[0] < 0.0702
    assert right[-1] == 1


@pytest.mark.parametrize("tau", [0.01, 0.1, 1.0])
def test_a_small_ipo_loss_settles_the_ranking(tau):
    batch = drawn(10, size=4000, spread=0.6 / tau)
    loss, bound = poz.ipo(batch, tau=tau), metrics.ipo_flip_bound(batch, tau=tau)
    right, settled = batch.chosen >= batch.rejected, loss < bound.loss
    np.testing.assert_array_equal(right[settled], bound.right[settled])
    # Both cases are there; above the bound both rankings occur where it says right.
    assert 20 < np.sum(settled & bound.right) < np.sum(settled) - 20
    assert 20 < np.sum(right[~settled & bound.right]) < np.sum(~settled & bound.right) - 20


def test_no_ipo_loss_at_all_may_be_the_wrong_ranking():
    # A loss of 0 leaves q + 1/(2τ), here -9 + 5.
    batch = pairs([-4.0], [0.0], [-9.0], [0.0])
    assert poz.ipo(batch, tau=0.1)[0] == 0
    assert metrics.ranking_accuracy(batch).value == 0
    bound = metrics.ipo_flip_bound(batch, tau=0.1)
    assert (bound.loss[0], bound.right[0]) == (16, False)


@LIBRARIES
def test_bounds_and_ratios_in_every_library(make):
    batch = drawn(11)
    other = poz.Pairs(*(None if x is None else make(x) for x in batch))
    for function in (
        lambda b: metrics.dpo_flip_bound(b, beta=0.1),
        lambda b: metrics.ipo_flip_bound(b, tau=0.1).loss,
        lambda b: metrics.idealised_log_ratio(b, beta=0.1),
    ):
        # float32 of log-probs near 100, in JAX.
        np.testing.assert_allclose(np.asarray(function(other)), function(batch), rtol=1e-4, atol=2e-5)
    assert isinstance(metrics.dpo_flip_bound(other, beta=0.1), type(other.chosen))


# -- calibration

# dunzeng/MORE@94c54e4 utils.py `calibration_error`, executed on these labels and probabilities.
LABELS = np.array([int(x) for x in "1101110101110011110101111111111001010010"], float)
PROBABILITIES = np.array(
    [0.5513915917784404, 0.992163770759431, 0.3909246581249086, 0.2140546925095369, 0.58766365050283, 0.7516487114818581,
     0.9685552773477837, 0.42852639627468536, 0.2384014259077467, 0.45607323364759567, 0.12345393345354339,
     0.16105406116863996, 0.5006893483807876, 0.6685108821444072, 0.5361333618283933, 0.32344201356671254,
     0.12363400544900638, 0.653095145720789, 0.7700077503631347, 0.3670563653581165, 0.6231941368378924,
     0.859580201706579, 0.538310697150481, 0.3614124984753706, 0.5648957078832939, 0.833782668445886,
     0.3430600567751855, 0.2747295578316593, 0.6969039165259503, 0.10742652002267039, 0.28273998238640596,
     0.17715036046536248, 0.466934910655742, 0.9320456460741805, 0.22967052611203864, 0.6687727263068645,
     0.9202452614565574, 0.6965771628898335, 0.30106893506711263, 0.43686832013767574]
)  # fmt: skip
AUTHORS = {
    ("uniform", 5): (0.32370791117868014, 0.3443433121620428, 0.6614562238881555),
    ("uniform", 8): (0.3015145802788159, 0.3165368168955646, 0.8818285136915933),
    ("quantile", 5): (0.2813358790979863, 0.2813358790979863, 0.544445741551816),
    ("quantile", 8): (0.31205746964585207, 0.31205746964585207, 0.6614562238881555),
}


def errors(bins):
    return bins.expected, bins.average, bins.largest


@pytest.mark.parametrize(("kind", "bins"), AUTHORS)
def test_calibration_errors_are_the_authors_in_shares_too(kind, bins):
    edges = np.linspace(0, 1, bins + 1)[1:-1] if kind == "uniform" else metrics.quantile_edges(PROBABILITIES, bins)
    shares = [
        metrics.Calibration.of(PROBABILITIES[a:b], LABELS[a:b], edges) for a, b in ((0, 3), (3, 3), (3, 29), (29, 40))
    ]
    np.testing.assert_allclose(errors(sum(shares)), AUTHORS[kind, bins], rtol=1e-13)


def test_perfect_predictions_have_no_error():
    generator = np.random.default_rng(12)
    predicted = generator.uniform(0, 1, 200_000)
    came = generator.random(200_000) < predicted
    # Five standard errors of the error of a bin of 40000: .5 / 200.
    assert metrics.Calibration.of(predicted, came).largest < 5 * 0.5 / 200
    constant = metrics.Calibration.of(np.full(8, 0.75), [1, 1, 1, 0, 1, 1, 1, 0])
    assert errors(constant) == (0, 0, 0)


def test_bins_of_both_orders_are_mirror_images():
    # An even number of edges has no middle one, which a probability could hit from one side only.
    margins = np.random.default_rng(13).normal(0, 2, 300)
    there = metrics.Calibration.of_margins(margins)
    np.testing.assert_array_equal(there.counts, there.counts[::-1])
    np.testing.assert_allclose(there.confidence, (there.counts - there.confidence)[::-1], rtol=1e-12)
    np.testing.assert_array_equal(there.correct, (there.counts - there.correct)[::-1])
    assert there.counts.sum() == 600


def test_bins_of_winners():
    # σ(|log 4|) = .8 twice, right and wrong, and a tie, which is right by half: (|.6 - 1| is of bin 4.)
    margins = [np.log(4), -np.log(4), 0.0]
    bins = metrics.Calibration.of_margins(margins, "winner", edges=[0.6])
    np.testing.assert_allclose(bins.confidence, [0.5, 1.6], rtol=1e-15)
    np.testing.assert_array_equal(bins.correct, [0.5, 1.0])
    assert bins.expected == pytest.approx(0.2)


def test_a_prediction_on_an_edge_is_of_the_lower_bin():
    # As in MORE, whose searchsorted is numpy's from the left.
    np.testing.assert_array_equal(metrics.Calibration.of([0.0, 0.2, 0.8, 1.0], [1, 1, 1, 1]).counts, [2, 0, 0, 1, 1])


def test_calibration_of_nothing_is_nan_and_adds_nothing():
    nothing = metrics.Calibration.of([], [])
    assert all(map(math.isnan, errors(nothing)))
    one = metrics.Calibration.of([0.75], [1.0])
    assert errors(nothing + one) == (0.25, 0.25, 0.25)
    with pytest.raises(ValueError, match="same edges"):
        one + metrics.Calibration.of([0.75], [1.0], [0.5])
    with pytest.raises(TypeError, match="adds to another Calibration"):
        one + 1


# -- ratings


def matches(seed, strengths, size):
    generator = np.random.default_rng(seed)
    first = generator.integers(len(strengths), size=size)
    second = (first + generator.integers(1, len(strengths), size=size)) % len(strengths)
    chance = scipy.special.expit(np.asarray(strengths)[first] - np.asarray(strengths)[second])
    return first, second, (generator.random(size) < chance).astype(float)


def test_elo_conversions():
    # 3D Arena, arXiv 2506.18787: 144.1 points are 69.6 % wins, 16.6 points 52.4 %.
    assert metrics.elo_win_rate(1644.1, 1500.0) == pytest.approx(0.696, abs=5e-4)
    assert metrics.elo_win_rate(16.6, 0.0) == pytest.approx(0.524, abs=5e-4)
    assert metrics.elo_gap(0.69622) == pytest.approx(144.1, abs=0.05)
    points = np.linspace(-800, 800, 9)
    np.testing.assert_allclose(metrics.elo_gap(metrics.elo_win_rate(points, 0.0)), points, atol=1e-10)
    assert metrics.elo_win_rate(1e6, 0.0) == 1 - metrics.elo_win_rate(-1e6, 0.0) == 1
    # One nat: σ(1) of wins.
    assert metrics.elo_win_rate(*metrics.elo_scale([1.0, 0.0])) == pytest.approx(scipy.special.expit(1))


def test_elo_by_hand_and_zero_sum():
    # E = 1/2 at first: 16 points change hands; then the loser, of whom E = 1/(1 + 10^(32/400)) is expected, wins.
    after = metrics.elo([1500.0, 1500.0], [0, 1], [1, 0], [1.0, 1.0], k=32)
    gain = 32 * (1 - 1 / (1 + 10 ** (32 / 400)))
    np.testing.assert_allclose(after, [1516 - gain, 1484 + gain], rtol=1e-14)
    played = matches(14, [0.0, 1.0, -1.0, 0.5], 500)
    after = metrics.elo(np.full(4, 1500.0), *played, k=24)
    assert after.sum() == pytest.approx(6000, abs=1e-8)
    assert list(np.argsort(-after)) == [1, 3, 0, 2]
    backwards = metrics.elo(np.full(4, 1500.0), *(x[::-1] for x in played), k=24)
    assert np.max(np.abs(backwards - after)) > 5


def test_an_elo_update_is_a_step_of_gradient_descent_on_bradley_terry():
    # d(-log E)/dR_A by central differences; k (1 - E) is a step of k 400 / ln 10.
    rating, opponent, k, step = 1510.0, 1620.0, 32.0, 1e-3
    after = metrics.elo([rating, opponent], [0], [1], [1.0], k=k)
    slope = [-np.log(metrics.elo_win_rate(rating + s, opponent)) for s in (step, -step)]
    slope = (slope[0] - slope[1]) / (2 * step)
    assert after[0] - rating == pytest.approx(-k * 400 / np.log(10) * slope, rel=1e-7)


def test_bradley_terry_of_two_is_the_logit_of_the_share():
    strengths = metrics.bradley_terry([[0, 30], [10, 0]])
    np.testing.assert_allclose(strengths, np.log(3) / 2 * np.array([1, -1]), rtol=1e-14)
    np.testing.assert_allclose(metrics.elo_gap(0.75), np.diff(metrics.elo_scale(strengths)[::-1]), rtol=1e-13)


@pytest.mark.parametrize("players", [3, 8])
def test_bradley_terry_is_the_maximum_and_knows_no_order(players):
    truth = np.random.default_rng(players).normal(0, 1, players)
    first, second, score = matches(15, truth, 3000)
    score[:200] = 0.5
    halves = [
        metrics.win_counts(first[a], second[a], score[a], players=players) for a in (slice(1700), slice(1700, None))
    ]
    wins = halves[0] + halves[1]
    assert wins.sum() == 3000
    found = metrics.bradley_terry(wins)

    def loss(s):
        return -np.sum(wins * scipy.special.log_expit(s[:, None] - s))

    theirs = scipy.optimize.minimize(loss, np.zeros(players), method="BFGS", options={"gtol": 1e-6}).x
    np.testing.assert_allclose(found, theirs - theirs.mean(), atol=1e-4)  # BFGS stops by numerical slopes
    # The condition of the maximum: wins are those expected.
    ahead = scipy.special.expit(found[:, None] - found)
    np.testing.assert_allclose(wins.sum(1), np.sum((wins + wins.T) * ahead, 1), rtol=1e-11)
    assert found.sum() == pytest.approx(0, abs=1e-12)
    order = np.random.default_rng(0).permutation(3000)
    again = metrics.win_counts(first[order], second[order], score[order], players=players)
    np.testing.assert_array_equal(again, wins)


def test_bradley_terry_finds_the_strengths_that_shares_follow():
    truth = np.random.default_rng(20).normal(0, 2, 7)
    played = np.random.default_rng(21).integers(1, 50, (7, 7))
    wins = (played + played.T) * scipy.special.expit(truth[:, None] - truth)
    np.fill_diagonal(wins, 0)
    np.testing.assert_allclose(metrics.bradley_terry(wins), truth - truth.mean(), rtol=1e-11)


def test_bradley_terry_of_a_cycle_and_of_ties_alone_is_level():
    np.testing.assert_allclose(metrics.bradley_terry([[0, 9, 1], [1, 0, 9], [9, 1, 0]]), np.zeros(3), atol=1e-12)
    tied = metrics.win_counts([0, 1], [1, 2], [0.5, 0.5], players=3)
    np.testing.assert_array_equal(metrics.bradley_terry(tied), np.zeros(3))
    np.testing.assert_array_equal(metrics.bradley_terry(np.zeros((1, 1))), [0.0])


def test_bradley_terry_of_very_unequal_wins():
    strengths = metrics.bradley_terry([[0, 1e9], [1, 0]])
    assert strengths[0] - strengths[1] == pytest.approx(9 * np.log(10), rel=1e-9)
    chain = np.zeros((6, 6))
    for better, worse in itertools.pairwise(range(6)):
        chain[better, worse], chain[worse, better] = 1e6, 1
    np.testing.assert_allclose(-np.diff(metrics.bradley_terry(chain)), np.full(5, 6 * np.log(10)), rtol=1e-9)


# -- preference strength


@LIBRARIES
def test_preference_strength_is_the_ensembles_mean_and_population_spread(make):
    scores = np.random.default_rng(16).normal(size=(2, 30, 10))
    found = metrics.preference_strength(make(scores[0]), make(scores[1]))
    ahead = scores[0] - scores[1]
    np.testing.assert_allclose(np.asarray(found.mean), ahead.mean(1), rtol=1e-4, atol=1e-6)  # JAX: float32
    np.testing.assert_allclose(np.asarray(found.spread), ahead.std(1), rtol=1e-5)
    assert float(metrics.negative_share(found).value) == np.float32(np.mean(ahead.mean(1) < 0))
    level = metrics.Strength(make(np.array([-1.0, 0.0, 1.0, np.nan])), None)
    assert float(metrics.negative_share(level, mask=make(np.array([True, True, True, False]))).total) == 1
    one = metrics.preference_strength(make(scores[0, :, :1]), make(scores[1, :, :1]))
    np.testing.assert_array_equal(np.asarray(one.spread), np.zeros(30))


def test_no_gradient_flows_through_a_strength():
    chosen = torch.ones(4, 3, requires_grad=True)
    assert not metrics.preference_strength(chosen, torch.zeros(4, 3)).spread.requires_grad
    slope = jax.grad(lambda x: metrics.preference_strength(x, jnp.zeros((4, 3))).spread.sum())(jnp.ones((4, 3)))
    np.testing.assert_array_equal(slope, np.zeros((4, 3)))


def test_the_weakest_fifth_is_mostly_labelled_wrongly():
    # A true gap of 1.5 |N|, a fifth of the labels flipped, ten models with noise of their own: the buckets of the paper.
    generator = np.random.default_rng(17)
    wrong = generator.random(20_000) < 0.2
    gap = np.where(wrong, -1, 1) * 1.5 * np.abs(generator.normal(size=20_000))
    ahead = gap[:, None] + generator.normal(0, 1, (20_000, 10))
    strength = metrics.preference_strength(ahead, np.zeros_like(ahead))
    bucket = metrics.strength_buckets(strength.mean)
    np.testing.assert_array_equal(np.bincount(bucket), [4000, 4000, 12000])
    rates = [wrong[bucket == b].mean() for b in range(3)]
    assert rates[0] > 0.75
    assert rates[1] < 0.35
    assert rates[2] < 0.01


def test_buckets_by_hand():
    np.testing.assert_array_equal(metrics.strength_buckets([5, 1, 4, 2, 3.0], (0.2, 0.6)), [2, 0, 2, 1, 1])
    np.testing.assert_array_equal(metrics.strength_buckets([7.0]), [2])
    np.testing.assert_array_equal(metrics.strength_buckets(np.ones(5)), np.full(5, 2))


# -- what is refused

ONES = np.ones(3)


@pytest.mark.parametrize(("call", "error", "sentence"), [
    (lambda: metrics.reward_accuracy([1.0], [0.0]), TypeError, "An array of NumPy, torch or JAX is needed"),
    (lambda: metrics.reward_accuracy(np.ones(3, int), ONES), TypeError, "needs floating-point numbers for chosen; got int64"),
    (lambda: metrics.reward_accuracy(ONES, torch.ones(3)), TypeError, "rejected of torch but chosen of numpy; give one library"),
    (lambda: metrics.reward_accuracy(ONES, np.ones(4)), ValueError, r"one shape for all; got chosen \(3,\), rejected \(4,\)"),
    (lambda: metrics.reward_accuracy(ONES, ONES, tie=2.0), ValueError, "tie is what an equal pair counts"),
    (lambda: metrics.reward_accuracy(ONES, ONES, mask=ONES), TypeError, "booleans of numpy; got numpy float64"),
    (lambda: metrics.reward_accuracy(ONES, ONES, mask=ONES[:2] > 0), ValueError, r"one boolean per value, shape \(3,\)"),
    (lambda: metrics.reward_accuracy(torch.ones(3), torch.ones(3, device="meta")), ValueError, "rejected on meta but chosen on"),
    (lambda: metrics.implicit_rewards(drawn(0), beta=0.0), ValueError, "beta must be above 0 and finite; got 0.0"),
    (lambda: metrics.implicit_rewards(pairs(ONES, ONES), beta=1.0), ValueError, "reads ref_chosen, which is missing"),
    (lambda: metrics.ranking_accuracy(poz.Ranked(np.ones((1, 2)))), TypeError, "needs a Pairs for pairs; got a Ranked"),
    (lambda: metrics.ranking_accuracy(pairs(ONES, ONES), length_normalized=True), ValueError, "reads chosen_len"),
    (lambda: metrics.idealised_log_ratio(drawn(0)._replace(label=None), beta=1.0), ValueError, "reads label"),
    (lambda: metrics.idealised_log_ratio(drawn(0)._replace(label=np.full(400, 1.5)), beta=1.0), ValueError, "from 0 to 1"),
    (lambda: metrics.idealised_log_ratio(drawn(0)._replace(label=np.full(400, np.nan)), beta=1.0), ValueError, "from 0 to 1"),
    (lambda: metrics.idealised_log_ratio(drawn(0), beta=np.inf), ValueError, "beta must be above 0 and finite"),
    (lambda: metrics.idealised_log_ratio(drawn(0), beta=1.0, least=0.0), ValueError, "least must be above 0"),
    (lambda: metrics.dpo_flip_bound(drawn(0), beta=-1.0), ValueError, "beta must be above 0"),
    (lambda: metrics.ipo_flip_bound(drawn(0), tau=0.0), ValueError, "tau must be above 0"),
    (lambda: metrics.kendall(np.ones((2, 3)), np.ones((2, 2))), ValueError, "one shape"),
    (lambda: metrics.kendall(np.ones((2, 0)), np.ones((2, 0))), ValueError, r"\(batch, K\); got \(2, 0\)"),
    (lambda: metrics.generalisation_drop(Mean(1.0, 1.0), []), ValueError, "one at least; got 0 and 0"),
    (lambda: metrics.generalisation_drop([Mean(1.0, 1.0)], [Mean(1.0, 1.0)] * 2), ValueError, "got 1 and 2"),
    (lambda: metrics.generalisation_drop(Mean(1.0, 1.0), Mean(1.0, 2.0)), TypeError, "got one alone"),
    (lambda: metrics.Calibration.of([0.5, 1.5], [1, 1]), ValueError, r"probabilities must lie in \[0, 1\]; got 1.5"),
    (lambda: metrics.Calibration.of([0.5], [1, 1]), ValueError, "needs one label; got 1 and 2"),
    (lambda: metrics.Calibration.of([np.nan], [1]), ValueError, "probabilities must be finite; got nan"),
    (lambda: metrics.Calibration.of([0.5], [1], [0.5, 0.2]), ValueError, "edges must ascend"),
    (lambda: metrics.Calibration.of([[0.5]], [1]), ValueError, r"shape \(n\); got \(1, 1\)"),
    (lambda: metrics.Calibration.of_margins([np.inf]), ValueError, "margins must be finite; got inf"),
    (lambda: metrics.Calibration.of_margins([1.0], "left"), ValueError, "sides is"),
    (lambda: metrics.quantile_edges([], 5), ValueError, "a prediction and a bin at least"),
    (lambda: metrics.elo_gap(1.0), ValueError, "above 0 and below 1"),
    (lambda: metrics.elo(ONES, [0], [3], [1.0], k=1), ValueError, "second must lie from 0 to 2; got 3 to 3"),
    (lambda: metrics.elo(ONES, [0], [0], [1.0], k=1), ValueError, "Nobody plays against itself; match 0"),
    (lambda: metrics.elo(ONES, [0.5], [1], [1.0], k=1), TypeError, "first must hold integers"),
    (lambda: metrics.elo(ONES, [0], [1], [2.0], k=1), ValueError, r"score must lie in \[0, 1\]"),
    (lambda: metrics.elo(ONES, [0], [1, 2], [1.0], k=1), ValueError, "two players and one score; got 1, 2 and 1"),
    (lambda: metrics.elo(ONES, [0], [1], [1.0], k=0), ValueError, "k must be above 0"),
    (lambda: metrics.win_counts([0], [1], [1.0], players=1), ValueError, "second must lie from 0 to 0"),
    (lambda: metrics.win_counts([], [], [], players=-1), ValueError, "players must be at least 0; got -1"),
    (lambda: metrics.bradley_terry([[0, 5], [0, 0]]), ValueError, "Player 1 has not beaten or tied player 0"),
    (lambda: metrics.bradley_terry([[0, 1, 0], [1, 0, 0], [0, 0, 0]]), ValueError, "Player 0 has not beaten or tied player 2"),
    (lambda: metrics.bradley_terry(np.zeros((0, 0))), ValueError, r"\(players, players\)"),
    (lambda: metrics.bradley_terry([[1, 1], [1, 1]]), ValueError, "0 on the diagonal"),
    (lambda: metrics.bradley_terry([[0, -1], [1, 0]]), ValueError, "finite counts of 0 or more"),
    (lambda: metrics.preference_strength(np.ones((3, 0)), np.ones((3, 0))), ValueError, r"\(batch, M\)"),
    (lambda: metrics.strength_buckets([]), ValueError, "of one at least; got none"),
    (lambda: metrics.strength_buckets([np.nan]), ValueError, "mean must be finite"),
    (lambda: metrics.strength_buckets([1.0], (0.4, 0.2)), ValueError, "upto must ascend"),
])  # fmt: skip
def test_is_refused_in_a_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_one_pair_and_sixteen_bits_are_measured():
    assert metrics.reward_accuracy(np.ones(1), np.zeros(1)) == Mean(1.0, 1.0)
    half = metrics.reward_margin(torch.full((4,), 0.1, dtype=torch.bfloat16), torch.zeros(4, dtype=torch.bfloat16))
    assert half.total.dtype == torch.float32
