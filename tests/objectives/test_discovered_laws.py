"""Laws of the losses that were discovered by search: DiscoPOP, PADLL, CELL, AQL, AQFL, PFL."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp
from points import close, margin, present, sigmoid, slopes, softplus

import poz
import poz.reference

Z = np.concatenate([np.linspace(-40, 40, 161), [-700.0, -100.0, 100.0, 700.0]])
SEEDS = st.integers(0, 2**32 - 1)
BETAS = st.floats(0.05, 2)


def pairs_of(seed, b=None):
    """Pairs of several tokens near a reference, with unequal gaps."""
    rng = np.random.default_rng(seed)
    b = b or int(rng.integers(2, 9))
    lens = rng.integers(1, 12, (2, b))
    ref = rng.normal(-1.5, 0.5, (2, b)) * lens
    policy = ref + rng.normal(0, 0.5, (2, b)) * lens
    return poz.Pairs(*policy, *ref, chosen_len=lens[0], rejected_len=lens[1])


def taken(pairs, index):
    return poz.Pairs(**{name: x[index] for name, x in present(pairs).items()})


X = np.linspace(-6, 6, 25)


def quantile(x):
    return 0.5 + 0.01 * (sigmoid(np.mean(x)) - 0.5)


ONE = np.array([-1.0, -2.0])


def test_siblings_of_discopop():
    h = Z[Z > -100]
    dpo = poz.dpo(margin(h), beta=0.5)
    close(poz.padll(margin(h), beta=0.5), np.where(h < 0, 0.45, 0.9) * dpo)
    close(poz.cell(margin(h), beta=0.5), 0.5 * (dpo + poz.gpo_link(margin(h), beta=0.5)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_discopop_of_badly_ordered_pairs(dtype):
    """B7: e^-z overflows below z = -88.7; the loss is DPO's there, and its slope."""
    pairs = margin([-89.0, -100.0, -800.0, -1e4])
    pairs = poz.Pairs(*[x.astype(dtype) for x in pairs[:4]])
    losses, slope, _ = slopes(poz.discopop.bind(beta=1.0), pairs)
    np.testing.assert_array_equal(losses, -pairs.chosen)
    np.testing.assert_array_equal(slope, -1)


@given(z=st.floats(-30, 30), tau=st.floats(0.05, 1))
def test_discopop_is_the_textbook_formula(z, tau):
    with mp.workdps(50):
        x, t = mp.mpf(z), mp.mpf(tau)
        m = 1 / (1 + mp.exp(-x / t))
        share = m * (1 - m) / t
        expected = (1 - m) * mp.log1p(mp.exp(-x)) + m * mp.exp(-x)
        slope = -(1 - m) / (1 + mp.exp(x)) - m * mp.exp(-x) + share * (mp.exp(-x) - mp.log1p(mp.exp(-x)))
    losses, found, _ = slopes(poz.discopop.bind(beta=1.0, tau=tau), margin(z))
    close(losses[0], float(expected))
    close(found[0], float(slope))


@given(beta=st.floats(0.02, 5))
def test_aql_joins_the_hinge_of_ordered_pairs_and_dpo_of_the_others(beta):
    """Each end up to the other's weight, e^-|x - q| of x = 20 z, times their difference."""
    x = np.array([21.0, 26.0, 33.0])  # the hinge of z > 1 is 0
    z = x / 20
    well, badly = poz.aql(margin(z / beta), beta=beta), poz.aql(margin(-z / beta), beta=beta)
    np.testing.assert_allclose(well, np.exp(quantile(x) - x) * softplus(-z), rtol=1e-8)  # the weight is 1 / (1 + 1e-9)
    np.testing.assert_allclose(
        badly - softplus(z), np.exp(-x - quantile(-x)) * (1 + z - softplus(z)), rtol=1e-8, atol=1e-14
    )


@given(beta=BETAS)
def test_aql_is_even_where_the_margin_is_the_quantile(beta):
    """One pair: x = q gives both weights 1/2; σ is 1-Lipschitz times 0.01, so the iteration settles at once."""
    x = 0.5
    for _ in range(12):
        x = float(quantile(x))
    close(poz.aql(margin(0.05 * x / beta), beta=beta), (softplus(-0.05 * x) + 1 - 0.05 * x) / 2)
    assert 0.5 < x < 0.505


def test_aqfl_of_one_pair_has_a_twentieth_of_a_sigmoid_as_quantile():
    for x in (-30.0, -2.0, 0.0, 0.01, 1.0, 19.0, 30.0):
        w = sigmoid(0.1 * abs(x - 0.05 * sigmoid(x)))
        expected = w * softplus(-0.05 * x) + (1 - w) * max(1 - 0.05 * x, 0)
        close(poz.aqfl(margin(x)), expected)
    losses, slope = slopes(poz.aqfl, margin([0.7]), "chosen")
    assert np.isfinite([*losses, *slope]).all()


@pytest.mark.parametrize("beta", [0.05, 0.5])
def test_aqfl_by_its_quantile(beta):
    """The farther from the quantile, on either side, the more of DPO; never less than half."""
    x = 20 * beta * X
    q = 0.95 * x.std(ddof=1) * sigmoid(-x).mean() + 0.05 * sigmoid(x.mean())
    w = sigmoid(0.1 * np.abs(x - q))
    dpo, hinge = softplus(-beta * X), np.maximum(1 - beta * X, 0)
    losses = poz.aqfl(margin(X), beta=beta)
    close(losses, w * dpo + (1 - w) * hinge)
    assert (np.abs(losses - dpo) <= np.abs(losses - hinge) + 1e-14).all()


@pytest.mark.parametrize("name", ["aql", "aqfl"])
def test_the_quantile_has_a_gradient(name):
    """Against central differences of the sum; their error is 1e-12 of the third derivative, and 1e-16 / 1e-6."""
    this = poz.zoo[name].bind(beta=0.1)
    x, step = np.array([2.0, -1.5, 0.3, 5.0]), 1e-6
    moved = np.eye(4) * step
    expected = [(this(margin(x + d)).sum() - this(margin(x - d)).sum()) / (2 * step) for d in moved]
    _, chosen, ref_rejected = slopes(this, margin(x), "chosen", "ref_rejected")
    np.testing.assert_allclose(chosen, expected, atol=1e-8)
    np.testing.assert_array_equal(chosen, ref_rejected)
    # and is a say of each pair in the others' losses
    assert np.abs(this(margin(x))[:2] - this(margin(x[:2]))).min() > 1e-7


@pytest.mark.parametrize("name", ["aql", "aqfl", "alpha_dpo"])
@given(seed=SEEDS)
def test_the_order_of_the_batch_does_not_matter(name, seed):
    pairs = pairs_of(seed)
    order = np.random.default_rng(seed).permutation(len(pairs.chosen))
    np.testing.assert_allclose(poz.zoo[name](taken(pairs, order)), poz.zoo[name](pairs)[order], rtol=1e-10)


@pytest.mark.parametrize("name", ["aql", "aqfl", "alpha_dpo"])
def test_a_batch_is_tied_together_and_may_be_empty(name):
    this, pairs = poz.zoo[name].bind(beta=0.05), pairs_of(5, b=6)
    assert this.coupled
    halves = [this(taken(pairs, part)) for part in (slice(0, 2), slice(2, 6))]
    assert np.abs(np.concatenate(halves) - this(pairs)).max() > 1e-6
    assert this(taken(pairs, slice(0))).shape == (0,)
    losses, chosen = slopes(this, taken(pairs, slice(0)), "chosen")
    assert losses.shape == chosen.shape == (0,)


@pytest.mark.parametrize("name", ["aql", "aqfl"])
@pytest.mark.parametrize("x", [1.5, 0.1, -2.3])
@pytest.mark.parametrize("count", [2, 7, 49])
def test_equal_pairs_have_one_loss_and_one_slope(name, x, count):
    """Those of the pair alone, as the spread has no slope, though the mean may be rounded away from them."""
    losses, chosen = slopes(poz.zoo[name].bind(beta=0.4), margin([x] * count), "chosen")
    alone, slope = slopes(poz.zoo[name].bind(beta=0.4), margin(x), "chosen")
    close(losses, alone[0])
    close(chosen, slope[0])


def test_a_spread_too_small_to_square_is_none():
    """(1e-170)² is 0, and its root would have an infinite slope."""
    losses, chosen = slopes(poz.aqfl.bind(beta=0.4), margin([0.0, 1e-170]), "chosen")
    alone, slope = slopes(poz.aqfl.bind(beta=0.4), margin([0.0, 0.0]), "chosen")
    close(losses, alone)
    close(chosen, slope)


def test_pfl_jumps_where_the_policy_is_indifferent():
    tiny = 1e-12
    losses, slope = slopes(poz.pfl.bind(beta=0.5), margin([-tiny, 0.0, tiny]), "chosen")
    np.testing.assert_allclose(losses, [2, 2, math.log(2) / 2], rtol=1e-11)
    np.testing.assert_allclose(slope, [-1, -1, -0.125], rtol=1e-11)


@given(seed=SEEDS, beta=BETAS)
def test_pfl_is_half_of_dpo_where_the_policy_prefers_chosen_and_twice_the_hinge_elsewhere(seed, beta):
    """Whatever the reference prefers."""
    pairs = pairs_of(seed)
    right = pairs.chosen > pairs.rejected
    losses, chosen, rejected = slopes(poz.pfl.bind(beta=beta), pairs, "chosen", "rejected")
    close(losses, np.where(right, poz.dpo(pairs, beta=beta) / 2, 2 * poz.hinge(pairs, beta=beta)))
    np.testing.assert_array_equal(rejected, -chosen)


def test_the_published_strength_of_pfl_at_the_reference():
    """log σ(0) has the slope 1/2: a quarter of β; a log-prob of -10 beside -12 is no tie, whatever the reference."""
    pairs = poz.Pairs(*np.array([[-10.0], [-12.0]] * 2))
    losses, slope = slopes(poz.pfl, pairs, "chosen")
    np.testing.assert_allclose([losses[0], slope[0]], [math.log(2) / 2, -0.25 * 0.05], rtol=1e-15)


BAD = {
    "discopop beyond one": (lambda: poz.discopop.bind(tau=1.5), r"in \(0, 1\] for tau; got 1.5"),
    "no reference of aql": (lambda: poz.aql(poz.Pairs(ONE, ONE)), "`aql` reads ref_chosen, which is missing"),
    "no strength": (lambda: poz.aqfl.bind(beta=0.0), r"in \(0, inf\) for beta; got 0.0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    act, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        act()
    assert str(caught.value).endswith(".")
