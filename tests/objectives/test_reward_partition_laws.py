"""Laws of reward partitioning: its target, and the value of a prompt."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from points import close, slopes

import poz
import poz.reference

SEEDS = st.integers(0, 2**32 - 1)


def partitioned(seed, tau):
    """Lists, and V of each in plain NumPy."""
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 5)), int(rng.integers(1, 6)))
    lengths, scores = rng.integers(0, 9, shape), -np.sort(-rng.normal(0, 2, shape), -1)
    ref = rng.normal(-1.5, 0.4, shape) * np.maximum(lengths, 1)
    valid = rng.random(shape) < 0.7
    valid[:, 0] = True
    worth = np.where(valid, tau * ref / np.maximum(lengths, 1) + scores, -np.inf)
    value = tau * np.log(np.exp((worth - worth[:, :1]) / tau).sum(-1)) + worth[:, 0]
    lists = poz.Ranked(rng.normal(-20, 4, shape), ref, lengths, scores, valid)
    return lists, worth, value


def found_values(lists, tau):
    """V from the slopes, which are e / n, e = log(π/π_ref) / n - (r - V) / τ; the first completion is valid."""
    _, slope = slopes(poz.reward_partition.bind(tau=tau), lists, "logps")
    n = np.maximum(lists.lengths[:, 0], 1)
    ratio = (lists.logps[:, 0] - lists.ref_logps[:, 0]) / n
    return (n * slope[:, 0] - ratio) * tau + lists.scores[:, 0]


LIST = np.array([[-1.0, -2.0, -3.0]])


@given(seed=SEEDS, tau=st.floats(0.2, 2))
def test_reward_partition_is_0_exactly_at_its_target(seed, tau):
    lists, _, value = partitioned(seed, tau)
    n = np.maximum(lists.lengths, 1)
    there = lists._replace(logps=lists.ref_logps + n * (lists.scores - value[:, None]) / tau)
    losses, slope, back = slopes(poz.reward_partition.bind(tau=tau), there, "logps", "ref_logps")
    close(losses, 0)  # squares of roundings
    close(slope, 0, size=100)
    close(back, 0, size=100)
    count = lists.mask.sum(-1)
    off = there._replace(logps=there.logps + np.where(lists.mask, 0.5 * n, np.nan))
    close(poz.reward_partition(off, tau=tau), count / 8, size=100)


@given(seed=SEEDS, tau=st.floats(0.2, 2))
def test_the_value_of_a_prompt_is_a_soft_maximum(seed, tau):
    lists, worth, value = partitioned(seed, tau)
    found = found_values(lists, tau)
    close(found, value, size=1e3)
    best, count = worth.max(-1), lists.mask.sum(-1)
    assert (best - 1e-10 <= found).all()
    assert (found <= best + tau * np.log(count) + 1e-10).all()
    alike = lists._replace(ref_logps=0 * lists.ref_logps, scores=0 * lists.scores + 2)
    close(found_values(alike, tau), 2 + tau * np.log(count), size=1e3)


@given(seed=SEEDS, shift=st.floats(-5, 5))
def test_reward_partition_knows_no_zero_of_the_rewards_and_holds_its_value(seed, shift):
    lists, _, value = partitioned(seed, 0.5)
    this = poz.reward_partition.bind(tau=0.5)
    close(this(lists._replace(scores=lists.scores + shift)), this(lists), size=1e4)
    _, slope, back = slopes(this, lists, "logps", "ref_logps")
    n = np.maximum(lists.lengths, 1)
    residual = (lists.logps - lists.ref_logps) / n - (lists.scores - value[:, None]) / 0.5
    close(slope, np.where(lists.mask, residual / n, 0), size=1e3)
    close(back, -slope)


def test_reward_partition_of_an_infinite_reference():
    """Alone, the error is log π / |y|, whatever the reference; beside one that is certain, others are infinitely rare."""
    infinite = math.inf * np.array([[1.0], [-1.0]])
    alone = poz.Ranked(np.array([[-3.0]] * 2), infinite, np.array([[2.0]] * 2), np.zeros((2, 1)))
    certain = poz.Ranked(*np.array([[[-3.0, -4.0]], [[math.inf, -2.0]], [[1.0, 3.0]], [[1.0, 0.0]]]))
    competing = certain._replace(ref_logps=infinite.T[:, :1].repeat(2, 1))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(poz.reward_partition(alone), (3 / 2) ** 2 / 2)
        np.testing.assert_array_equal(poz.reward_partition(certain), math.inf)
        np.testing.assert_array_equal(poz.reward_partition(competing), math.nan)


def test_reward_partition_is_of_means_per_token():
    """(-8 + 10) / 10 and (-30 + 28) / 20, V = 0.7 log(e^(-1 + 1 / 0.7) + e^(-1.4 - 1 / 0.7)): 1.9014, as released."""
    lists = poz.Ranked(*np.array([[[-8.0, -30.0]], [[-10.0, -28.0]], [[10, 20]], [[1.0, -1.0]]]))
    value = 0.7 * math.log(math.exp(-1 + 1 / 0.7) + math.exp(-1.4 - 1 / 0.7))
    close(poz.reward_partition(lists, tau=0.7), ((0.2 - (1 - value) / 0.7) ** 2 + (-0.1 + (1 + value) / 0.7) ** 2) / 2)
    assert poz.reward_partition(lists, tau=0.7) == pytest.approx(1.901, abs=5e-4)
    sums = poz.reward_partition(lists._replace(lengths=np.ones((1, 2))), tau=0.7)
    assert abs(sums - 1.901) > 1  # lengths of 1 read sums


BAD = {
    "no rewards": (
        lambda: poz.reward_partition(poz.Ranked(LIST, LIST, lengths=LIST * 0 + 1)),
        "`reward_partition` reads scores, which is missing",
    ),
    "no temperature": (lambda: poz.reward_partition.bind(tau=0.0), r"in \(0, inf\) for tau; got 0.0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    act, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        act()
    assert str(caught.value).endswith(".")
