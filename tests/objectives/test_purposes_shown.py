"""Slopes that show what an objective is said to be for; DPO's own beside them, which do not."""

import numpy as np
import pytest
from points import slopes

import poz

GUARDED = poz.zoo.find(answers="displacement", family="Pairs")
LINKS = [poz.gpo_link.bind(link=link) for link in ("hinge", "square", "truncated_quadratic")]


def pair(objective, chosen, rejected, ref_chosen=-20.0, ref_rejected=-20.0, lengths=(10.0, 10.0)):
    """One pair, of ten tokens a side, with what of it the objective reads."""
    fields = {
        "chosen": [chosen],
        "rejected": [rejected],
        "ref_chosen": [ref_chosen],
        "ref_rejected": [ref_rejected],
        "chosen_len": lengths[:1],
        "rejected_len": lengths[1:],
        "entropy": [0.5],
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
    ("objective", "other"),
    [
        (poz.hypo, poz.dpo),
        (poz.dpo_gamma.bind(gamma=0.5), poz.dpo),
        (poz.dpo_gamma.bind(gamma=0.0), poz.dpo),
        (poz.rainbow_po, poz.ln_dpo),
    ],
    ids=repr,
)
def test_a_reference_that_ranks_wrongly_does_not_hold_a_pair_back(objective, other):
    # The reference prefers rejected by 60 nats, 6 a token, and the policy is undecided: to the other the pair is learned.
    undecided = {"chosen": -50.0, "rejected": -50.0, "ref_chosen": -70.0, "ref_rejected": -10.0}
    _, held, _ = slopes(other, pair(other, **undecided))
    _, ours, _ = slopes(objective, pair(objective, **undecided))
    assert ours < 5 * held < 0


def test_alpha_dpo_asks_for_more_where_the_reference_ranks_wrongly():
    # Of two pairs of which the policy is undecided, so that SimPO pulls at both alike.
    lengths, ends = np.full(2, 10.0), np.array([-70.0, -10.0])
    pairs = poz.Pairs(np.full(2, -50.0), np.full(2, -50.0), ends, ends[::-1].copy(), lengths, lengths)
    _, pulls, _ = slopes(poz.alpha_dpo, pairs)
    assert pulls[0] < pulls[1] < 0


@pytest.mark.parametrize("objective", [poz.simpo, poz.ln_dpo, poz.rainbow_po], ids=lambda one: one.name)
def test_length_alone_is_no_margin(objective):
    # Every token of both sides is 1 nat likelier than under the reference: twice as many of them are a margin to DPO alone.
    def loss(of, chosen, rejected):
        return of(pair(of, -chosen, -rejected, -2 * chosen, -2 * rejected, lengths=(chosen, rejected)))[0]

    even = loss(objective, 10.0, 10.0)
    assert loss(objective, 20.0, 10.0) == pytest.approx(even, rel=1e-12)
    assert loss(objective, 10.0, 20.0) == pytest.approx(even, rel=1e-12)
    assert loss(poz.dpo, 20.0, 10.0) < loss(poz.dpo, 10.0, 10.0) < loss(poz.dpo, 10.0, 20.0)


@pytest.mark.parametrize(
    "objective", poz.zoo.find(answers="preference-strength", family="Pairs"), ids=lambda one: one.name
)
def test_a_stronger_preference_pulls_harder(objective):
    # At the reference; the probability of a label is as good a strength as a gap in rewards.
    pulls = []
    for known in ({"margin": 0.5, "label": 0.6}, {"margin": 2.0, "label": 0.9}):
        given = {name: np.array([x]) for name, x in known.items() if name in objective.reads | objective.optional}
        assert given
        _, chosen, _ = slopes(objective, pair(objective, -20.0, -20.0)._replace(**given))
        pulls.append(chosen[0])
    assert pulls[1] < 1.1 * pulls[0] < 0


@pytest.mark.parametrize("objective", [poz.bradley_terry, poz.adaptive_margin], ids=lambda one: one.name)
def test_a_stronger_preference_pulls_scores_apart_harder(objective):
    given = {"margin", "strength"} & (objective.reads | objective.optional)
    known = {name: np.array([0.5, 2.0]) for name in given}
    _, chosen, _ = slopes(objective, poz.RewardPairs(np.zeros(2), np.zeros(2), **known))
    assert chosen[1] < 1.1 * chosen[0] < 0
