"""What moves and leaves the losses as they are: both sides, policy and reference, or neither."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from points import close, slopes

import poz
import poz.reference
from poz.testing.strategies import cases

# Functions of h = (l_w - l_l) - (r_w - r_l), and of data, alone.
OF_H = (
    *("hinge", "robust_dpo", "exo", "discopop", "odpo", "spce", "mm_dpo", "rebel", "reward_aware_po", "gpo_link"),
    *("dove", "dno", "r_dpo", "modpo", "alt_po", "padll", "cell", "mallows_dpo"),
    *("aql", "aqfl"),
)


JUMPS = ("padll", "pfl")


# Functions of l_w - l_l and r_w - r_l.
OF_GAPS = (*OF_H, "dpo_gamma", "hypo", "h_dpo", "pfl")


# Functions of a = l_w - r_w and b = l_l - r_l.
OF_RATIOS = (*OF_H, "dpop", "chi_po", "cal_dpo", "f_dpo", "dpo_shift", "minor_dpo", "bpo")


@pytest.mark.parametrize("name", OF_GAPS)
@given(data=st.data(), shift=st.floats(-50, 50))
def test_a_constant_on_both_sides_changes_nothing(name, data, shift):
    case = data.draw(cases(poz.zoo[name], widest=10.0))
    b = case.batch
    moved = b._replace(chosen=b.chosen + shift, rejected=b.rejected + shift)
    losses = case.objective(b)
    # Rounding of h at this size is 3e-14, and a loss may be as steep as it is large.
    if name not in JUMPS:
        np.testing.assert_allclose(case.objective(moved), losses, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OF_RATIOS)
@given(data=st.data())
def test_only_the_log_ratios_count(name, data):
    case = data.draw(cases(poz.zoo[name], widest=10.0))
    b, shift = case.batch, np.linspace(-30, 30, len(case.batch.chosen))
    if name in JUMPS:
        return
    moved = b._replace(chosen=b.chosen + shift, ref_chosen=b.ref_chosen + shift)
    np.testing.assert_allclose(case.objective(moved), case.objective(b), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", OF_GAPS)
@given(data=st.data())
def test_gradients_of_the_two_sides_cancel(name, data):
    case = data.draw(cases(poz.zoo[name], widest=100.0))
    _, chosen, rejected = slopes(case.objective, case.batch)
    np.testing.assert_array_equal(chosen, -rejected)


@pytest.mark.parametrize("name", ["cal_dpo", "chi_po", "f_dpo", "dpo_shift", "dpop", "minor_dpo", "bpo"])
def test_displacing_both_log_ratios_does_change_these(name):
    this = poz.f_dpo.bind(divergence="js") if name == "f_dpo" else poz.zoo[name]
    pairs = poz.Pairs(np.array([1.0]), np.array([0.5]), np.zeros(1), np.zeros(1))
    moved = pairs._replace(chosen=pairs.chosen - 3, rejected=pairs.rejected - 3)
    assert abs(this(moved) - this(pairs))[0] > 1e-3


def test_losses_of_single_completions_know_the_level():
    """Adding 1 to policy and reference changes nothing; to the policy alone it does, unlike for functions of z."""
    a, b, beta = np.array([0.5, -1.0]), np.array([-0.3, 2.0]), 0.7

    def two(shift, ref):
        sides = [x + shift for x in (a, b)]
        known = np.tile([1.0, 0.0], (2, 1))
        refs = [np.full(2, float(ref))] * 2
        pairs = poz.Pairs(*sides, *refs)
        lists = poz.Ranked(np.stack(sides, -1), np.stack(refs, -1), scores=known)
        ones = [poz.Unpaired(x, r, np.full(2, good)) for x, r, good in zip(sides, refs, (True, False), strict=True)]
        return {
            "dpo": poz.dpo(pairs, beta=beta),
            "apo_zero": poz.apo_zero(pairs, beta=beta),
            "apo_down": poz.apo_down(pairs, beta=beta),
            "nca": poz.nca(lists, beta=beta),
            "bco": sum(poz.bco(one, beta=beta) for one in ones),
            "kto": sum(poz.kto(one, beta=beta, estimator="zero") for one in ones),
            "sppo": poz.sppo(poz.Samples(lists.logps, lists.ref_logps, winrates=known), eta=1 / beta),
        }

    here, along, away = two(0, 0), two(1, 1), two(1, 0)
    for name, losses in here.items():
        close(along[name], losses, size=10)
        assert (abs(away[name] - losses) > 1e-3).all() == (name != "dpo"), name
