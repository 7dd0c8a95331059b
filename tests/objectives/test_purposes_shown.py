"""Slopes that show what an objective is said to be for; DPO's own beside them, which do not."""

import math

import numpy as np
import pytest
from points import slopes

import poz

GUARDED = poz.zoo.find(answers="displacement", family="Pairs")
LINKS = [poz.gpo_link.bind(link=link) for link in ("hinge", "square", "truncated_quadratic")]


def pair(objective, chosen, rejected, ref_chosen=-20.0, ref_rejected=-20.0):
    """One pair of ten tokens a side, with what else the objective reads."""
    fields = {
        "chosen": [chosen],
        "rejected": [rejected],
        "ref_chosen": [ref_chosen],
        "ref_rejected": [ref_rejected],
        "chosen_len": [10.0],
        "rejected_len": [10.0],
    }
    return poz.Pairs(**{name: np.array(x) for name, x in fields.items() if name in objective.reads})


@pytest.mark.parametrize("objective", GUARDED, ids=lambda one: one.name)
def test_chosen_is_raised_more_than_rejected_is_lowered(objective):
    # Where both have become less likely than under the reference, and the margin has grown: a step along margins alone,
    # as DPO's, lowers what the two share by as much as it raises it, and so lets chosen fall on.
    for below, further in ((-0.5, -1.0), (-2.0, -6.0)):
        _, chosen, rejected = slopes(objective, pair(objective, -20 + below, -20 + further))
        assert chosen < 0
        assert -chosen > 1.001 * rejected
        _, chosen, rejected = slopes(poz.dpo, pair(poz.dpo, -20 + below, -20 + further))
        assert -chosen == rejected


@pytest.mark.parametrize("objective", [poz.hinge, poz.ipo, poz.exo, poz.repo, *LINKS], ids=repr)
def test_no_push_beyond_a_finite_margin(objective):
    # 90 nats, 9 a token: beyond them a certain label asks for no more, where DPO still does.
    far = {"chosen": -5.0, "rejected": -95.0}
    _, chosen, rejected = slopes(objective, pair(objective, **far))
    assert chosen >= 0 >= rejected
    _, chosen, rejected = slopes(poz.dpo, pair(poz.dpo, **far))
    assert chosen < 0 < rejected


@pytest.mark.parametrize(
    "objective", [poz.hypo, poz.dpo_gamma.bind(gamma=0.5), poz.dpo_gamma.bind(gamma=0.0)], ids=repr
)
def test_a_reference_that_ranks_wrongly_does_not_hold_a_pair_back(objective):
    # The reference prefers rejected by 60 nats and the policy is undecided: to DPO the pair is learned, log(1 + e^-6).
    undecided = (-50.0, -50.0, -70.0, -10.0)
    losses, chosen, _ = slopes(poz.dpo.bind(beta=0.1), pair(poz.dpo, *undecided))
    assert losses[0] == pytest.approx(math.log1p(math.exp(-6)), rel=1e-12)
    _, ours, _ = slopes(objective.bind(beta=0.1), pair(objective, *undecided))
    assert ours < 5 * chosen < 0
