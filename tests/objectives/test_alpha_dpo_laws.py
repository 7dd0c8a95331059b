"""Laws of alpha-DPO: what sets its target margins, and that they are held."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from points import close, present, slopes

import poz
import poz.reference

SEEDS = st.integers(0, 2**32 - 1)
ALPHA = {"beta": 2.0, "gamma_beta_ratio": 0.3, "alpha": 0.2}


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


def gaps(pairs):
    """Chosen less rejected in mean log-prob, under the policy and under the reference."""
    return [
        getattr(pairs, f"{of}chosen") / pairs.chosen_len - getattr(pairs, f"{of}rejected") / pairs.rejected_len
        for of in ("", "ref_")
    ]


def targets(pairs, **given_):
    """The target margins, from the losses."""
    losses = poz.alpha_dpo(pairs, **{**ALPHA, **given_})
    return gaps(pairs)[0] + np.log(np.expm1(losses)) / ALPHA["beta"]


ONE = np.array([-1.0, -2.0])
LIST = np.array([[-1.0, -2.0, -3.0]])
PER_TOKEN = {"chosen_len": np.ones(2), "rejected_len": np.ones(2)}


@given(seed=SEEDS, beta=st.floats(0.5, 10), ratio=st.floats(0, 1))
def test_alpha_dpo_without_alpha_is_simpo(seed, beta, ratio):
    pairs = pairs_of(seed)
    simpo = poz.simpo(pairs, beta=beta, gamma_beta_ratio=ratio)
    close(poz.alpha_dpo(pairs, beta=beta, gamma_beta_ratio=ratio, alpha=0.0), simpo, size=10)
    # One pair, or pairs that moved alike, are as usual as their batch.
    close(poz.alpha_dpo(taken(pairs, [1]), beta=beta, gamma_beta_ratio=ratio), simpo[[1]], size=10)
    for count in (2, 7, 49):  # the mean of equal numbers may be rounded away from them
        equal = [1] * count
        close(poz.alpha_dpo(taken(pairs, equal), beta=beta, gamma_beta_ratio=ratio), simpo[equal], size=10)


@given(seed=SEEDS)
def test_the_targets_of_alpha_dpo_spread_evenly_around_gamma(seed):
    """In units of γ and α they have the mean 0 and the variance 1, and the reference counts up to a constant only."""
    pairs = pairs_of(seed)
    found = targets(pairs)
    # log(e^l - 1) at losses from e^-8 on loses three digits
    np.testing.assert_allclose(found.mean(), ALPHA["gamma_beta_ratio"], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found.std(ddof=1), ALPHA["alpha"], rtol=1e-8)
    policy, reference = gaps(pairs)
    usual = (policy - reference) - (policy - reference).mean()
    expected = ALPHA["gamma_beta_ratio"] + ALPHA["alpha"] * usual / (policy - reference).std(ddof=1)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    moved = pairs._replace(ref_chosen=pairs.ref_chosen + 3 * pairs.chosen_len)
    np.testing.assert_allclose(poz.alpha_dpo(moved, **ALPHA), poz.alpha_dpo(pairs, **ALPHA), rtol=1e-10)


@given(seed=SEEDS)
def test_known_gaps_make_alpha_dpo_separable(seed):
    pairs = pairs_of(seed, b=5)
    policy, reference = gaps(pairs)
    center, spread = (policy - reference).mean(), (policy - reference).std(ddof=1)
    whole = poz.alpha_dpo(pairs, **ALPHA)
    for known in ({"mean_gap": center}, {"gap_std": spread}, {"mean_gap": center, "gap_std": spread}):
        this = poz.alpha_dpo.bind(**ALPHA, **known)
        np.testing.assert_allclose(this(pairs), whole, rtol=1e-11)
        assert bool(this.coupled) == (len(known) == 1)
    assert this(taken(pairs, slice(0))).shape == (0,)
    parts = [this(taken(pairs, part)) for part in (slice(0, 2), slice(2, 3), slice(3, 5))]
    np.testing.assert_array_equal(np.concatenate(parts), this(pairs))
    assert np.abs(np.concatenate([poz.alpha_dpo(taken(pairs, [i]), **ALPHA) for i in range(5)]) - whole).max() > 1e-4
    assert poz.alpha_dpo.coupled


def test_the_target_of_alpha_dpo_is_held():
    pairs = pairs_of(3, b=4)
    losses, chosen, rejected, *held = slopes(
        poz.alpha_dpo.bind(**ALPHA), pairs, "chosen", "rejected", "ref_chosen", "ref_rejected"
    )
    steep = -ALPHA["beta"] * -np.expm1(-losses)  # σ(-z) = 1 - e^-loss
    close(chosen, steep / pairs.chosen_len)
    close(rejected, -steep / pairs.rejected_len)
    np.testing.assert_array_equal(held, 0)


@pytest.mark.parametrize(("alpha", "ahead", "behind"), [(0.3, 0.0, math.inf), (0.6, math.inf, 0.0)])
def test_an_infinite_gap_goes_with_the_larger_of_itself_and_its_target(alpha, ahead, behind):
    """At M and S given, Δ - α Δ / S has the sign of (1 - α / S) Δ; the third pair is at its target, γ' = M = 1/4."""
    pairs = poz.Pairs(
        np.array([-1.0, -math.inf, -1.0]),
        np.array([-math.inf, -1.0, -1.25]),
        *np.full((2, 3), -2.0),
        chosen_len=np.ones(3),
        rejected_len=np.ones(3),
    )
    with np.errstate(invalid="ignore"):
        losses = poz.alpha_dpo(pairs, beta=2.0, gamma_beta_ratio=0.25, alpha=alpha, mean_gap=0.25, gap_std=0.4)
    close(losses, [ahead, behind, math.log(2)])


def test_alpha_dpo_without_alpha_is_simpo_whatever_the_gaps():
    pairs = pairs_of(4, b=4)
    pairs.chosen[1] = pairs.rejected[2] = -math.inf
    simpo = poz.simpo(pairs, beta=2.0, gamma_beta_ratio=0.3)
    assert np.isinf(simpo).tolist() == [False, True, False, False]
    with np.errstate(invalid="ignore"):
        close(poz.alpha_dpo(pairs, **{**ALPHA, "alpha": 0.0}), simpo, size=10)


BAD = {
    "no spread": (lambda: poz.alpha_dpo.bind(gap_std=0.0), r"in \(0, inf\) or None for gap_std; got 0.0"),
    "no spread in a call": (
        lambda: poz.alpha_dpo(poz.Pairs(*[ONE] * 4, **PER_TOKEN), gap_std=0.0),
        r"in \(0, inf\) or None for gap_std; got 0.0",
    ),
    "no lengths": (lambda: poz.alpha_dpo(poz.Pairs(*[ONE] * 4)), "`alpha_dpo` reads chosen_len, which is missing"),
    "a table of pairs": (
        lambda: poz.alpha_dpo(poz.Pairs(*[LIST] * 4, chosen_len=LIST * 0 + 1, rejected_len=LIST * 0 + 1)),
        r"one log-prob per completion for chosen, shape \(batch,\); got shape",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    act, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        act()
    assert str(caught.value).endswith(".")
