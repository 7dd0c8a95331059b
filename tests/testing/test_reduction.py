"""`conform` of functions that give the mean or the sum of the losses of a batch, or that are held to ordinary numbers alone."""

import numpy as np
import pytest

import poz
from poz.testing import conform


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", ["dpo", "cpo", "dr_dpo"])
def test_a_mean_is_held_to_the_mean_and_a_sum_to_the_sum(name, reduction):
    other = {"mean": "sum", "sum": "mean"}[reduction]

    def reduced(batch, **values):
        return getattr(poz.zoo[name](batch, **values), reduction)()

    assert conform(name, reduced, cases=4, reduction=reduction)
    wrong = conform(name, reduced, cases=4, reduction=other)
    assert not wrong
    assert "expected" in wrong.problem


def test_gradients_of_a_mean_are_held_too():
    def detached(batch, **values):
        loss = poz.dpo(batch, **values)
        return loss.mean().detach() + 0 * loss.sum()

    assert "gradient" in conform("dpo", detached, cases=4, reduction="mean", without=["extreme", "infinite"]).problem


def test_shapes_that_do_not_suit_the_reduction_are_refused():
    assert "the reduced loss is required" in conform("dpo", poz.dpo, cases=1, reduction="mean").problem
    assert "name it as the reduction" in conform("dpo", lambda b, **k: poz.dpo(b, **k).mean(), cases=1).problem
    with pytest.raises(ValueError, match="no reduction 'max'"):
        conform("dpo", reduction="max")


def test_without_extremes_a_naive_formula_passes():
    """-log(1 + e^z) as it stands overflows beyond 709 nats and loses its digits from 37 on, not within 30."""
    seen = []

    def naive(batch, *, beta):
        z = beta * (batch.chosen - batch.ref_chosen - batch.rejected + batch.ref_rejected)
        seen.append(float(z.detach().abs().max()))
        return (1 + (-z).exp()).log()

    assert conform("dpo", naive, cases=8, without=["extreme", "infinite"])
    assert max(seen) <= 2 * 30
    assert not conform("dpo", naive, cases=8, without=["infinite"])
    assert np.max(seen) > 700


def test_without_extremes_and_empty_completions_no_completion_is_certain():
    """The odds of a certain completion are infinite, and e^p / (1 - e^p) as it stands has no slope there."""

    def naive(batch, *, odds_weight):
        p, q = batch.chosen / batch.chosen_len, batch.rejected / batch.rejected_len
        odds = p - q - ((-p.exp()).log1p() - (-q.exp()).log1p())
        return -p - odds_weight * odds.sigmoid().log()

    assert conform("orpo", naive, cases=4, dtype="float64", without=["empty", "infinite", "extreme"])
    assert not conform("orpo", naive, cases=4, without=["empty", "infinite"])
