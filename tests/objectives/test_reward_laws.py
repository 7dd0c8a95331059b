"""Known rewards: as gaps, as scores, as targets."""

import math

import numpy as np
import pytest
from points import close, margin, slopes

import poz
import poz.reference


def test_gpo_of_additive_scores_tilts_by_the_centred_reward():
    """s(y, y') = r(y) - r(y'): the step from a uniform policy is log π - log π_t = (r - mean r) / β."""
    rewards = np.array([[1.0, -0.5, 0.25, 3.0]])
    scores = (rewards[..., :, None] - rewards[..., None, :]).mean(-1)
    start = np.full((1, 4), math.log(0.25))
    there = poz.Samples(start + (rewards - rewards.mean()) / 0.3, start, winrates=scores)
    close(poz.gpo(there, beta=0.3), 0)
    assert poz.gpo(there._replace(logps=start + rewards / 0.3), beta=0.3) > 1


@pytest.mark.parametrize("gap", [-1.0, 0.0, 0.3, 2.0])
def test_regressions_are_zero_exactly_at_their_target(gap):
    known = {"margin": np.full(2, gap)}
    close(poz.rebel(margin([3 * gap, 3 * gap + 1], **known), eta=3.0), [0, 1])
    for distance in ("squared", "backward_kl", "forward_kl"):
        at, off = poz.reward_aware_po(margin([6 * gap, 6 * gap + 1], **known), beta=0.5, eta=3.0, distance=distance)
        assert abs(at) < 1e-15
        assert off > 1e-4
    _, slope, _ = slopes(poz.dno.bind(eta=0.5), margin([2 * gap, 2 * gap + 1], **known))
    assert abs(slope[0]) < 1e-15
    assert slope[1] > 1e-3


def test_what_is_paid_for_the_gap():
    """ODPO: a gap below 1 is easier than DPO, of 0 free. MM-DPO: β from β to (1 + w) β, rising and concave."""
    gaps = np.array([0.0, 0.5, 1.0, 2.0, 10.0])
    pairs = margin(np.full(5, 0.7), margin=gaps)
    losses = poz.odpo(pairs, beta=1.0)
    assert losses[0] == 0
    assert (np.diff(losses) > 0).all()
    assert losses[1] < poz.dpo(pairs, beta=1.0)[1] < losses[3]
    steep = -np.log(np.expm1(poz.mm_dpo(margin(np.ones(7), margin=np.array([-5.0, 0, 1, 2, 3, 4, 1e3])), beta=1.0)))
    close(steep[[0, 1, -1]], [1, 1, 1.5])
    assert (np.diff(steep[1:]) > 0).all()
    assert (np.diff(steep[1:6], 2) < 0).all()


def test_rrhf_by_hand():
    """q = (-1, -0.5, -2): the second exceeds the first by 0.5; equal scores make no pair; κ = 0 is no normalisation."""
    lists = poz.Ranked(
        np.array([[-2.0, -1.5, -4.0]] * 2), None, np.array([[2, 3, 2]] * 2), np.array([[2.0, 1, 0], [2, 2, 0]])
    )
    close(poz.rrhf(lists, weight=2.0), [2 * 0.5 + 1, 1])
    close(poz.rrhf(lists, length_power=0.0, nll="sum"), [0.5 + 2, 2])


BAD = {
    "negative gap": (
        lambda: poz.odpo(margin([1.0, 2.0], margin=np.array([1.0, -0.5]))),
        r"needs margin >= 0 for offset='log'; got -0.5",
    ),
    "no samples for xpo": (lambda: poz.xpo(margin(1.0, calibration=np.zeros(0))), "got none"),
    "no samples for selm": (
        lambda: poz.selm(margin(1.0, calibration=np.zeros(0), ref_calibration=np.zeros(0))),
        "got none",
    ),
    "no gap": (lambda: poz.rebel(margin(1.0)), "`rebel` reads margin, which is missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence(case):
    act, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        act()
    assert str(caught.value).endswith(".")
