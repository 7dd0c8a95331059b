"""Weights of opponents may be any numbers in the host's memory, and what they must be is said."""

import itertools

import numpy as np
import pytest

from poz.algorithms.tabular import mnpo_iterates, mnpo_step

P = np.array([[0.5, 0.7, 0.2], [0.3, 0.5, 0.9], [0.8, 0.1, 0.5]])
UNIFORM = np.full(3, 1 / 3)
HOW = {"tau": 0.1, "eta": 1.0}


def iterates(weights):
    return np.array(list(itertools.islice(mnpo_iterates(P, UNIFORM, **HOW, weights=weights), 4)))


@pytest.mark.parametrize("weights", [np.array([0.6, 0.4]), np.array([0.6, 0.4], np.float32), (0.6, 0.4)])
def test_an_array_is_as_good_as_a_list(weights):
    # float32 rounds .6 by 1e-8
    np.testing.assert_allclose(iterates(weights), iterates([0.6, 0.4]), rtol=1e-6)
    opponents = [UNIFORM, np.array([0.2, 0.3, 0.5])]
    ours, lists = (
        mnpo_step(o, w, UNIFORM, P, **HOW) for o, w in ((np.array(opponents), weights), (opponents, [0.6, 0.4]))
    )
    np.testing.assert_allclose(ours, lists, rtol=1e-6)


@pytest.mark.parametrize(
    ("weights", "got"),
    [
        (np.array([0.6, -0.4]), r"\[0.6, -0.4\]"),
        (np.array([[0.6, 0.4]]), r"\[\[0.6, 0.4\]\]"),
        (0.5, "0.5"),
        ([1.0, float("nan")], r"\[1.0, nan\]"),
        ([1.0], r"\[1.0\]"),
    ],
)
def test_others_are_refused(weights, got):
    with pytest.raises(ValueError, match=rf"weights must hold 2 numbers >= 0, the first one > 0; got {got}"):
        iterates(weights)
    with pytest.raises(ValueError, match=rf"weights must hold one number >= 0 per opponent, 2 of them; got {got}"):
        mnpo_step([UNIFORM, UNIFORM], weights, UNIFORM, P, **HOW)
