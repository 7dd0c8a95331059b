"""Laws of the decoupled and unpaired objectives: identities between them, saturation, and where NaN lurks in others."""

import math

import numpy as np
import pytest
import torch

import poz
from poz.algorithms import baseline
from poz.families import Pairs, Ranked, Samples, Unpaired
from poz.objectives.pairs.apo_down import apo_down
from poz.objectives.pairs.apo_zero import apo_zero
from poz.objectives.pairs.sft import sft
from poz.objectives.ranked.info_nca import info_nca
from poz.objectives.ranked.nca import nca
from poz.objectives.samples.qrpo import qrpo
from poz.objectives.unpaired.bco import bco
from poz.objectives.unpaired.kto import kto
from poz.objectives.unpaired.npo import npo

A, B = (grid.ravel() for grid in np.meshgrid(np.linspace(-30, 30, 13), np.linspace(-20, 25, 10)))
EXTREMES = [-1e4, -800.0, -89.0, -1e-8, 0.0, 1e-8, 89.0, 800.0, 1e4]


def close(found, expected):
    """A few roundings of float64 at the size of the summands, which is at most 100."""
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


def one(ratio, good, **data):
    ratio = np.atleast_1d(np.asarray(ratio, float))
    return Unpaired(ratio, np.zeros(ratio.shape), np.full(ratio.shape, good), **data)


def two(a, b):
    a, b = (np.atleast_1d(np.asarray(x, float)) for x in (a, b))
    return Pairs(a, b, 0 * a, 0 * b)


def slope(objective, batch, field="logps", dtype=torch.float64):
    batch = type(batch)(*[x if x is None else torch.as_tensor(x) for x in batch])
    batch = batch._replace(
        **{k: v.to(dtype) for k, v in batch._asdict().items() if v is not None and v.is_floating_point()}
    )
    leaf = getattr(batch, field).clone().requires_grad_()
    losses = objective(batch._replace(**{field: leaf}))
    return losses.detach().numpy(), torch.autograd.grad(losses.sum(), leaf)[0].numpy()


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_kto_without_kl_on_both_completions_is_apo_zero(beta):
    options = {"beta": beta, "estimator": "zero"}
    close(kto(one(A, True), **options) + kto(one(B, False), **options), apo_zero(two(A, B), beta=beta))


@pytest.mark.parametrize("beta", [0.01, 1.0])
def test_nca_of_a_pair_is_bco_and_a_pull_on_both(beta):
    """1e-3 between scores 1 and 0 leaves e^-1000 = 0 for the second."""
    lists = Ranked(np.stack([A, B], -1), np.zeros((len(A), 2)), scores=np.tile([1.0, 0.0], (len(A), 1)))
    pair = bco(one(A, True), beta=beta) + bco(one(B, False), beta=beta)
    pull = 0.5 * np.logaddexp(0, beta * A) - 0.5 * np.logaddexp(0, beta * B)
    close(nca(lists, beta=beta, alpha=1e-3), pair + pull)


@pytest.mark.parametrize("good", [True, False])
def test_bco_sees_rewards_relative_to_its_baseline(good):
    """A shift by c of every log-ratio and by βc of δ: 0.5 * 3, exact in binary."""
    close(bco(one(A + 3, good), beta=0.5, baseline=0.25 + 1.5), bco(one(A, good), beta=0.5, baseline=0.25))


def test_info_nca_of_a_clear_pair_is_dpo():
    lists = Ranked(np.stack([A, B], -1), np.zeros((len(A), 2)), scores=np.tile([1.0, 0.0], (len(A), 1)))
    close(info_nca(lists, beta=0.3, alpha=1e-3), poz.dpo(two(A, B), beta=0.3))


def test_npo_becomes_gradient_ascent():
    """(2/β)(softplus(βa) - log 2) = a + βa²/4 - ..., and |a| <= 30: the rest is below 2.3e-4 at β = 1e-6."""
    beta = 1e-6
    np.testing.assert_allclose(npo(one(A, False), beta=beta) - 2 / beta * math.log(2), A, atol=beta * 30**2 / 4 + 1e-8)
    # the slope 2σ(βa) is 1 + βa/2
    np.testing.assert_allclose(slope(npo.bind(beta=beta), one(A, False))[1], 1, atol=beta * 30)


def test_npo_stops_where_a_completion_is_forgotten():
    losses, slopes = slope(npo.bind(beta=1.0), one([-800.0, -50.0, 50.0], False))
    assert losses[0] == slopes[0] == 0
    close(slopes[1:], [2 / (1 + math.exp(50)), 2 / (1 + math.exp(-50))])


def test_kto_and_apo_are_bounded_and_saturate():
    far = np.array([-1e4, -800.0, 800.0, 1e4])
    for good in (True, False):
        losses, slopes = slope(kto.bind(beta=1.0, estimator="zero", desirable_weight=1.5), one(far, good))
        assert ((losses >= 0) & (losses <= 1.5)).all()
        assert (slopes == 0).all()
    for objective in (apo_zero, apo_down):
        losses, slopes = slope(objective.bind(beta=1.0), two(far, -far), "chosen")
        assert ((losses >= 0) & (losses <= 2)).all()
        assert (slopes == 0).all()


def test_kto_leaves_alone_what_is_too_hard_to_learn():
    """A good completion 60 nats below the reference, a bad one as far above: DPO pulls at such a pair with all of β."""
    for good, ratio in ((True, -60.0), (False, 60.0)):
        _, (far,) = slope(kto.bind(beta=1.0, estimator="zero"), one(ratio, good))
        _, (near,) = slope(kto.bind(beta=1.0, estimator="zero"), one(0.0, good))
        assert 0 <= far / near < 1e-15  # e^-60, or 0 after rounding
    _, (pull,) = slope(poz.dpo.bind(beta=1.0), two(-60.0, 60.0), "chosen")
    close(pull, -1)


@pytest.mark.parametrize("kl", [0.0, 1.5])
def test_annotators_who_contradict_each_other_change_nothing(kl):
    """Each completion once good and once bad, whatever the policy has learned; of two such pairs DPO pulls at both ends."""
    objective = kto.bind(beta=0.3, estimator="given")
    (_, good), (_, bad) = (slope(objective, one(A, label, kl=np.full(A.shape, kl))) for label in (True, False))
    assert abs(good).max() > 0.01
    close(good + bad, 0)
    (_, forth), (_, back) = (
        slope(poz.dpo, two(*ends), side) for ends, side in (((A, B), "chosen"), ((B, A), "rejected"))
    )
    assert abs((forth + back)[A != B]).min() > 1e-4


def test_apo_down_lowers_chosen_unless_the_pair_is_badly_ordered():
    """β (s'(βa) - s'(β(a - b))): by hand at β = 1, a = 0, b = -2 and at a = 2, b = 2."""
    _, slopes = slope(apo_down.bind(beta=1.0), two([0.0, 2.0], [-2.0, 2.0]), "chosen")
    s = 1 / (1 + math.exp(-2))
    close(slopes, [0.25 - s * (1 - s), s * (1 - s) - 0.25])


def test_ways_to_estimate_the_kl():
    """Ratios (1, 0, 2, -0.5): mean 0.625, over the nonzero ones 2.5 / 3; a negative mean counts as 0, with no slope."""
    ratios = np.array([1.0, 0.0, 2.0, -0.5])
    batch = one([1.0, -2.0], True, kl_logps=ratios, kl_ref_logps=0 * ratios, kl=np.array([0.3, -0.3]))
    for kl, point in (("mean", 0.625), ("nonzero_mean", 2.5 / 3), ("given", [0.3, 0]), ("zero", 0)):
        close(kto(batch, beta=0.7, estimator=kl), 1 / (1 + np.exp(0.7 * (batch.logps - point))))
    below = batch._replace(kl_logps=np.array([-2.0, 1.0]), kl_ref_logps=np.zeros(2))
    np.testing.assert_array_equal(kto(below, estimator="mean"), kto(below, estimator="zero"))
    same = batch._replace(kl_logps=np.zeros(3), kl_ref_logps=np.zeros(3))
    np.testing.assert_array_equal(kto(same, estimator="nonzero_mean"), kto(same, estimator="zero"))  # not 0 / 0
    leaf = torch.tensor(ratios, requires_grad=True)
    moving = Unpaired(*[x if x is None else torch.as_tensor(x) for x in batch])._replace(kl_logps=leaf)
    assert not kto(moving, estimator="mean").requires_grad


def test_a_mean_over_the_tokens_of_the_batch():
    pairs = Pairs(np.array([-3.0, -8.0, 0.0]), np.zeros(3), chosen_len=np.array([1, 4, 0]))
    close(sft(pairs, normalizer="batch_tokens").mean(), 11 / 5)
    close(sft(pairs, normalizer="mean"), [3, 2, 0])
    close(sft(pairs._replace(chosen_len=np.zeros(3)), normalizer="batch_tokens"), [9, 24, 0])  # an empty batch counts 1


def test_qrpo_vanishes_at_its_optimum():
    """π = π_ref e^(T/β) / Z; Z by the midpoint rule over the quantiles, good to 1e-4 for smooth e^(T/β)."""
    grid = (np.arange(4000) + 0.5) / 4000
    for transform, reward in (("log", np.log(grid)), ("identity", grid)):
        for beta in (0.2, 1.0):
            ratio = reward / beta - np.log(np.exp(reward / beta).mean())
            samples = Samples(ratio[None], ref_logps=0 * ratio[None], winrates=grid[None])
            losses = qrpo(samples, beta=beta, transform=transform, floor=1e-9)
            assert losses[0] / len(grid) < 1e-8


def test_qrpo_of_a_small_beta():
    """e^(1/β) overflows; β log Z = 1 + β log β + β log(1 - e^(-1/β)), of which the last is 0 here."""
    samples = Samples(np.zeros((1, 1)), ref_logps=np.zeros((1, 1)), winrates=np.ones((1, 1)))
    close(qrpo(samples, beta=1e-4, transform="identity"), 0.5 * (1e-4 * math.log(1e-4)) ** 2)


def test_qrpo_raises_a_quantile_for_the_log_alone():
    """As released: β = 0.003, a floor of 1/3, q = 0 at the reference: (β log Z)² / 2, β log Z = 1 + β log β."""
    worst = Samples(np.zeros((1, 1)), ref_logps=np.zeros((1, 1)), winrates=np.zeros((1, 1)))
    loss = qrpo(worst, beta=0.003, transform="identity", floor=1 / 3)
    close(loss, 0.5 * (1 + 0.003 * math.log(0.003)) ** 2)
    assert loss[0] == pytest.approx(0.4827, abs=5e-5)
    np.testing.assert_array_equal(loss, qrpo(worst, beta=0.003, transform="identity"))


def test_a_running_baseline_counts_completions_not_batches():
    ratios = [np.array([1.0, 2.0, 3.0]), np.array([-4.0]), np.array([np.nan, 8.0])]
    state = baseline.init()
    assert baseline.value(state) == 0
    for x in ratios:
        state = baseline.update(state, baseline.sums(x, 0 * x, beta=0.5))
    close(baseline.value(state), 0.5 * 10 / 5)
    leaf = torch.ones(2, requires_grad=True)
    assert not baseline.sums(leaf, 0 * leaf, beta=0.5).total.requires_grad


def test_density_ratio_weights_have_bounds():
    p, bad = np.array([0.0, 0.2, 0.5, 0.75, 0.95, 1.0]), np.zeros(6, bool)
    close(baseline.density_ratio_weights(p, bad), [0.5, 0.5, 1, 3, 10, 10])
    close(baseline.density_ratio_weights(p, ~bad), 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("objective", [kto.bind(estimator="zero"), bco, npo], ids=lambda o: o.name)
@pytest.mark.parametrize("good", [True, False])
def test_unpaired_losses_are_finite(objective, good, dtype):
    losses, slopes = slope(objective.bind(beta=1.0), one(EXTREMES, good), dtype=dtype)
    assert np.isfinite([losses, slopes]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("objective", [nca, info_nca], ids=lambda o: o.name)
def test_lists_are_finite_whatever_the_padding(objective, dtype):
    logps = np.array([[x, y, np.nan] for x in EXTREMES for y in EXTREMES])
    mask = np.tile([True, True, False], (len(logps), 1))
    mask[:2] = [[False, False, False], [True, False, False]]
    lists = Ranked(logps, np.where(mask, 0, np.inf), scores=np.where(mask, [1.0, 9.0, 0], np.nan), mask=mask)
    losses, slopes = slope(objective.bind(beta=1.0), lists, dtype=dtype)
    assert np.isfinite(losses).all()
    assert np.isfinite(slopes).all()
    assert losses[0] == 0
    assert (slopes[~mask] == 0).all()


def test_a_weight_of_zero_removes_an_example_and_a_nan_stays_where_it_is():
    batch = one([np.inf, np.nan, 1.0], False, weights=np.array([0, 1, 2]))
    for objective in (bco, npo, kto.bind(estimator="zero")):
        losses = objective(batch)
        assert losses[0] == 0
        assert np.isnan(losses[1])
        assert losses[2] == 2 * objective(batch._replace(weights=None))[2]


SAMPLES = Samples(np.zeros((1, 2)), ref_logps=np.zeros((1, 2)), winrates=np.array([[0.5, 1.5]]))
BAD = {
    "no KL samples": (
        lambda: kto(one(1.0, True, kl_logps=np.zeros(0), kl_ref_logps=np.zeros(0))),
        "kl_logps; got none",
    ),
    "no nonzero KL samples": (
        lambda: kto(one(1.0, True, kl_logps=np.zeros(0), kl_ref_logps=np.zeros(0)), estimator="nonzero_mean"),
        "kl_logps; got none",
    ),
    "no KL": (lambda: kto(one(1.0, True), estimator="given"), "`kto` reads kl, which is missing"),
    "another KL": (lambda: kto.bind(estimator="median"), "for estimator; got 'median'"),
    "negative weight": (lambda: kto.bind(desirable_weight=-1.0), "for desirable_weight; got -1.0"),
    "no beta": (lambda: npo.bind(beta=0.0), "for beta; got 0.0"),
    "no quantile": (lambda: qrpo(SAMPLES), r"quantiles in \[0, 1\] from winrates; got 0.5 to 1.5"),
    "no floor": (lambda: qrpo.bind(floor=0.0), "for floor; got 0.0"),
    "no scores": (lambda: nca(Ranked(np.zeros((1, 2)), np.zeros((1, 2)))), "`nca` reads scores, which is missing"),
    "no temperature": (lambda: info_nca.bind(alpha=0.0), "for alpha; got 0.0"),
    "no lengths": (lambda: sft(two(1.0, 1.0), normalizer="mean"), "`sft` reads chosen_len, which is missing"),
    "no probability": (lambda: baseline.density_ratio_weights(np.array([1.5]), np.array([False])), "got 1.5 to 1.5"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    act, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        act()
    assert str(caught.value).endswith((".", "?"))
