"""Laws of ConfPO: which tokens it selects, and what is left of the others."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from points import close, sigmoid, slopes, softplus

import poz
import poz.reference

SEEDS = st.integers(0, 2**32 - 1)


def drawn_tokens(seed):
    """Token log-probs of unequal lengths, NaN beyond them, and at least two tokens on each side."""
    rng = np.random.default_rng(seed)
    sides, b = [], int(rng.integers(1, 6))
    for width in (5, 7):
        mask = np.arange(width) < rng.integers(2, width + 1, (b, 1))
        sides.append((np.where(mask, -rng.exponential(1.5, (b, width)), np.nan), mask))
    (chosen, w), (rejected, v) = sides
    return poz.TokenPairs(chosen, rejected, chosen_mask=w, rejected_mask=v)


def selected(row):
    """The tokens of one completion that are less likely than its tokens are on average."""
    return row[np.exp(row) < np.exp(row).mean()]


LIST = np.array([[-1.0, -2.0, -3.0]])


@given(seed=SEEDS, beta=st.floats(0.1, 5), ratio=st.floats(0, 1))
def test_confpo_is_simpo_of_the_selected_tokens(seed, beta, ratio):
    tokens = drawn_tokens(seed)
    both = ((tokens.chosen, tokens.chosen_mask), (tokens.rejected, tokens.rejected_mask))
    sides = [[selected(x[on]) for x, on in zip(*side, strict=True)] for side in both]
    sums, lens = ([[f(x) for x in side] for side in sides] for f in (np.sum, len))
    pairs = poz.Pairs(*map(np.array, sums), chosen_len=np.array(lens[0]), rejected_len=np.array(lens[1]))
    expected = poz.simpo(pairs, beta=beta, gamma_beta_ratio=ratio)
    close(poz.confpo(tokens, beta=beta, gamma_beta_ratio=ratio), expected, size=10)


@given(level=st.floats(-20, -1e-3), widths=st.tuples(st.integers(1, 40), st.integers(2, 40)), side=st.booleans())
def test_confpo_of_a_constant_sequence_is_0(level, widths, side):
    """Even where the mean of equal numbers is rounded away from them."""
    flat, other = np.full((1, widths[0]), level), -np.linspace(0.1, 3, widths[1])[None]
    sides = (flat, other) if side else (other, flat)
    losses, chosen, rejected = slopes(poz.confpo, poz.TokenPairs(*sides), "chosen", "rejected")
    np.testing.assert_array_equal(losses, 0)
    np.testing.assert_array_equal(chosen, 0)
    np.testing.assert_array_equal(rejected, 0)


def test_confpo_of_nothing_of_the_impossible_and_of_the_unknown():
    inf, nan = math.inf, math.nan
    tokens = poz.TokenPairs(
        np.array([[-1.0, -2], [-1, -2], [-inf, -2], [-1, -2], [-inf, -inf], [nan, -2], [-1, -2], [-inf, -inf]]),
        np.array([[-1.0, -3], [nan, nan], [-1, -3], [-1, -inf], [-1, -3], [-1, -3], [nan, -3], [-inf, -1]]),
        chosen_mask=np.ones((8, 2), bool),
        rejected_mask=np.array([[True, True], [False, False]] + [[True, True]] * 6),
    )
    usual = math.log1p(math.exp(0.5 - 2.0))  # 2 (-2 + 3) - 0.5
    np.testing.assert_allclose(poz.confpo(tokens), [usual, 0, inf, 0, 0, nan, nan, 0], rtol=1e-14)
    np.testing.assert_array_equal(poz.confpo(poz.TokenPairs(*np.zeros((2, 3, 0)))), 0)


def test_confpo_selects_by_the_mean_probability_not_the_mean_log_prob():
    """-0.5 and -3 of a mean of 0.655, where -0.5 is above the mean log-prob of -0.8825."""
    tokens = poz.TokenPairs(np.array([[-0.01, -0.5, -3.0, -0.02]]), np.array([[-0.1, -4.0, -0.1, -0.1]]))
    _, chosen = slopes(poz.confpo, tokens, "chosen")
    np.testing.assert_array_equal(chosen != 0, [[False, True, True, False]])
    far = tokens._replace(chosen=tokens.chosen - 2000)  # e^x is 0, the selection the same
    np.testing.assert_array_equal(slopes(poz.confpo, far, "chosen")[1] != 0, chosen != 0)


def test_confpo_pulls_the_selected_tokens_alone_and_evenly():
    tokens = poz.TokenPairs(np.array([[-1.0, -4.0, -1.0, -3.0]]), np.array([[-2.0, -5.0]]))  # of means 0.20 and 0.07
    losses, chosen, rejected = slopes(poz.confpo.bind(beta=1.0, gamma_beta_ratio=0.5), tokens, "chosen", "rejected")
    close(losses, softplus(-1.0))  # -3.5 + 5 - 0.5
    close(chosen, sigmoid(-1) * np.array([[0, -0.5, 0, -0.5]]))
    close(rejected, sigmoid(-1) * np.array([[0, 1.0]]))


def test_an_impossible_token_is_selected_beside_a_possible_one_but_not_alone():
    tokens = poz.TokenPairs(
        np.array([[-math.inf, -2.0, -3.0], [-math.inf, -2.0, -3.0]]),
        np.array([[-1.0, -3.0]] * 2),
        chosen_mask=np.array([[True, True, True], [True, False, False]]),
    )
    losses, chosen, _ = slopes(poz.confpo.bind(beta=2.0), tokens, "chosen", "rejected")
    np.testing.assert_array_equal(losses, [math.inf, 0])
    np.testing.assert_array_equal(chosen, [[-1, 0, -1], [0, 0, 0]])  # e^-3 is below their mean, of three, too


BAD = {
    "pairs of other numbers": (
        lambda: poz.confpo(poz.TokenPairs(np.zeros((2, 3)), np.zeros((3, 3)))),
        r"`confpo`.*rejected.*\(3, 3\)",
    ),
    "a mask of other tokens": (
        lambda: poz.confpo(poz.TokenPairs(LIST, LIST, chosen_mask=np.ones((1, 2), bool))),
        r"`confpo`.*chosen_mask.*\(1, 2\)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    act, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        act()
    assert str(caught.value).endswith(".")
