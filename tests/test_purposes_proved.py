"""Purposes that what an objective reads proves: nobody writes them in its file."""

import re

import pytest

import poz

ANOTHER = ("ref_", "anchor_", "opponents_")


def served(objective):
    return {one.to for one in objective.answers}


@pytest.mark.parametrize(
    ("name", "yes", "no"),
    [
        ("dpo", "", "reference-free k-responses binary-feedback reward-model images"),
        ("simpo", "reference-free", "k-responses"),
        ("sppo", "k-responses", "reference-free"),  # the last iteration's policy is another one to score with
        ("onpo", "", "reference-free"),
        ("bradley_terry", "reward-model ties", "reference-free"),  # there is no policy
        ("diffusion_dpo", "images", "reference-free"),
        ("mapo", "images reference-free", ""),
        ("kto", "binary-feedback unpaired-data", "reference-free"),
        ("npo", "", "binary-feedback unpaired-data"),  # all of its completions are to be forgotten
        ("plackett_luce", "k-responses", "reference-free"),
        ("mdpo", "", "k-responses"),  # three columns, each of a meaning of its own
        ("lcpo", "", "reference-free"),
        ("spce", "ties", ""),
        ("grpo", "engine-mismatch", "off-policy"),
    ],
)
def test_what_it_reads_proves_them(name, yes, no):
    assert {*yes.split()} <= served(poz.zoo[name])
    assert not {*no.split()} & served(poz.zoo[name])
    for purpose in yes.split():
        assert poz.zoo[name] in poz.zoo.find(answers=purpose)


def test_the_reason_names_what_is_read_or_says_what_is_not():
    for name, one in poz.zoo.items():
        for answer in one.answers:
            assert answer.to in poz.purposes.PURPOSES
            named = {*re.findall(r"\w+", answer.reads)} & {"label", "desirable", "sampler_logps"}
            assert named <= one.reads | one.optional, name
            assert answer.reads or answer.paper or answer.test or answer.world, name
        assert len(one.answers) == len(served(one)), name
    (why,) = [one.reads for one in poz.spce.answers if one.to == "ties"]
    assert "label" in why
    assert "1/2" in why


def test_reference_free_is_that_no_other_policy_scores():
    for name, one in poz.zoo.items():
        another = any(field.startswith(ANOTHER) for field in one.reads)
        assert ("reference-free" in served(one)) == (not another and one.family is not poz.RewardPairs), name
        assert (one in poz.zoo.find(reference_free=True)) == (not another), name


def test_binding_changes_what_is_read_and_so_what_is_proved():
    name = "grpo"
    assert "reference-free" not in served(poz.zoo[name])
    free = poz.zoo[name].bind(kl_weight=0.0)
    assert "reference-free" in served(free)
    assert {one.to for one in free.bind(kl_weight=0.1).answers} == served(poz.zoo[name])


def test_a_sum_serves_what_its_fields_prove():
    assert "reference-free" in served(poz.combine({"simpo": 1.0, "sft": 0.1}))
    assert "reference-free" not in served(poz.combine({"simpo": 1.0, "dpo": 0.1}))


def test_an_objective_of_ones_own_has_them_too():
    from typing import Annotated

    from poz.domains import Real
    from poz.objective import objective

    @objective(title="t", paper="p", equation="e", formula="f", reads="logps scores", optional="mask", answers=[])
    def mine(xp, lists: poz.Ranked, *, beta: Annotated[float, Real("weight", low=0)] = 1.0):
        """Mine."""
        return xp.sum(lists.logps, -1)

    assert served(mine) == {"k-responses", "reference-free"}
