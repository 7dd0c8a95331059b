"""Laws of mDPO, whose lists have a chosen, a rejected and a corrupted completion."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from points import close, slopes, softplus

import poz
import poz.reference

SEEDS = st.integers(0, 2**32 - 1)
BETAS = st.floats(0.05, 2)


def corrupted(seed):
    rng = np.random.default_rng(seed)
    return poz.Ranked(*rng.normal(-20, 4, (2, int(rng.integers(1, 6)), 3)))


LIST = np.array([[-1.0, -2.0, -3.0]])


@given(seed=SEEDS, beta=BETAS)
def test_a_corruption_that_changes_nothing_leaves_dpo_and_the_anchor(seed, beta):
    lists = corrupted(seed)
    a = lists.logps[:, 0] - lists.ref_logps[:, 0]
    lists.logps[:, 2] = lists.ref_logps[:, 2] + a
    pairs = poz.Pairs(lists.logps[:, 0], lists.logps[:, 1], lists.ref_logps[:, 0], lists.ref_logps[:, 1])
    close(poz.mdpo(lists, beta=beta), poz.dpo(pairs, beta=beta) + math.log(2) + softplus(-beta * a), size=10)


@given(seed=SEEDS, beta=BETAS, delta=st.floats(0, 5))
def test_mdpo_treats_the_rejected_and_the_corrupted_alike_and_anchors_the_chosen(seed, beta, delta):
    lists = corrupted(seed)
    this = poz.mdpo.bind(beta=beta, delta=delta)
    exchanged = poz.Ranked(lists.logps[:, [0, 2, 1]], lists.ref_logps[:, [0, 2, 1]])
    close(this(exchanged), this(lists), size=10)
    # What all three share moves the anchor alone, and δ moves it the other way.
    x = beta * (lists.logps[:, 0] - lists.ref_logps[:, 0])
    close(
        this(lists._replace(logps=lists.logps + 3)) - this(lists),
        softplus(delta - x - 3 * beta) - softplus(delta - x),
        100,
    )
    close(this(lists) - poz.mdpo(lists, beta=beta), softplus(delta - x) - softplus(-x), size=100)


def test_the_slopes_of_mdpo_at_a_point():
    """(a, b, c) = (log 3, 0, 0) at β = 1 and δ = log 9: σ(-log 3) = 1/4 twice, and σ(log 9 - log 3) = 3/4."""
    third = math.log(3)
    lists = poz.Ranked(np.array([[third - 5, -4.0, -7.0]]), np.array([[-5.0, -4.0, -7.0]]))
    losses, policy, reference = slopes(poz.mdpo.bind(beta=1.0, delta=2 * third), lists, "logps", "ref_logps")
    close(losses, 2 * math.log(4 / 3) + math.log(4))
    close(policy, [[-1.25, 0.25, 0.25]])
    close(reference, [[1.25, -0.25, -0.25]])


BAD = {
    "two of mdpo": (lambda: poz.mdpo(poz.Ranked(LIST[:, :2], LIST[:, :2])), "`mdpo` needs 3 .*; got K = 2"),
    "four of mdpo": (lambda: poz.mdpo(poz.Ranked(*[np.zeros((1, 4))] * 2)), "`mdpo` needs 3 .*; got K = 4"),
    "no reference of mdpo": (lambda: poz.mdpo(poz.Ranked(LIST)), "`mdpo` reads ref_logps, which is missing"),
    "a negative anchor": (lambda: poz.mdpo.bind(delta=-0.5), r"in \[0, inf\) for delta; got -0.5"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    act, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        act()
    assert str(caught.value).endswith(".")
