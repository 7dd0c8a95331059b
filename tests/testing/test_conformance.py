"""`conform` itself: what is wrong is caught and said, what is right passes, and every option is run."""

import numpy as np
import pytest
import torch
from together import together
from torch.nn import functional

import poz
from poz.domains import Choice, Real
from poz.testing import conform
from poz.testing.draws import Deck, draw_case

CASES = 8  # what `poz verify` runs by default


def simpo(pairs, beta, gamma, gamma_beta_ratio, label_smoothing, smoothing, link, guard):
    lengths = [n.clamp(min=1) if guard else n for n in (pairs.chosen_len, pairs.rejected_len.clamp(min=1))]
    target = gamma if gamma_beta_ratio is None else gamma_beta_ratio * beta
    means = poz.Pairs(pairs.chosen / lengths[0], pairs.rejected / lengths[1], chosen_len=1 + 0 * pairs.chosen_len,
                      rejected_len=1 + 0 * pairs.chosen_len)  # fmt: skip
    return poz.simpo(means, beta=beta, gamma=target, label_smoothing=label_smoothing, smoothing=smoothing, link=link)


def of_zoo(name, **changed):
    """The objective with some hyper-parameters held at a value, whatever is asked for."""
    objective = poz.zoo[name]
    return lambda batch, **values: objective(batch, **{**values, **changed})


def in_place(pairs, beta, label_smoothing):
    losses = poz.dpo(pairs, beta=beta, label_smoothing=label_smoothing)
    with torch.no_grad():
        pairs.chosen.mul_(2)
    return losses


WRONG = {
    "an empty chosen completion gives NaN": (
        "simpo", lambda pairs, **values: simpo(pairs, guard=False, **values), "loss[2] is nan, expected"),
    "one link of six": (
        "gpo_link",
        lambda pairs, beta, link: poz.gpo_link(pairs, beta=beta, link=link) * (2 if link == "exponential" else 1),
        "link='exponential'"),
    "a KL sample of 0 counts as none": (
        "kto",
        lambda batch, estimator, **values: poz.kto(
            batch, estimator="mean" if estimator == "nonzero_mean" else estimator, **values),
        "estimator='nonzero_mean'"),
    "no smoothing": ("dpo", of_zoo("dpo", label_smoothing=0.0), "expected"),
    "the input changed": ("dpo", in_place, "the input `chosen` was changed in place"),
    "a tuple": ("dpo", lambda pairs, **values: (poz.dpo(pairs, **values), 0.0), "losses alone is required; got a tuple"),
    "a reference without gradient": (
        "dpo", lambda pairs, **values: poz.dpo(pairs._replace(ref_chosen=pairs.ref_chosen.detach()), **values),
        "gradient of ref_chosen"),
    "raises": ("dpo", lambda pairs, **values: 1 / 0, "ZeroDivisionError: division by zero"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
@pytest.mark.parametrize("seed", range(3))
def test_a_mistake_is_found_and_said(mistake, seed):
    name, candidate, said = WRONG[mistake]
    result = conform(name, candidate, seed=seed)
    assert not result.passed
    assert said in result.problem


def test_the_guarded_simpo_passes():
    assert conform("simpo", lambda pairs, **values: simpo(pairs, guard=True, **values), cases=CASES).passed


def test_what_numpy_gets_is_checked_too():
    def wrong(pairs, **values):
        pairs.chosen[...] -= pairs.ref_chosen
        return poz.dpo(pairs._replace(ref_chosen=0 * pairs.ref_chosen), **values)

    result = conform("dpo", wrong, backend="numpy")
    assert "the input `chosen` was changed in place" in result.problem
    for losses, said in (
        (lambda p: poz.dpo(p) * 1j, "real losses"),
        (lambda p: torch.zeros(12, requires_grad=True), "an array of numpy is required"),
    ):
        result = conform("dpo", lambda pairs, losses=losses, **values: losses(pairs), backend="numpy")
        assert said in result.problem
        assert result.loss_error is None
        assert "raised" not in str(result)


def test_a_reference_held_constant_may_be():
    def detached(pairs, **values):
        held = {side: getattr(pairs, side).detach() for side in ("ref_chosen", "ref_rejected")}
        return poz.dpo(pairs._replace(**held), **values)

    assert "conform(..., constant=('ref_" in conform("dpo", detached).problem
    assert conform("dpo", detached, constant=("ref_chosen", "ref_rejected")).passed


@pytest.mark.parametrize("seed", range(25))
def test_float32_as_others_write_it_passes(seed):
    """The target 1 - label_smoothing rounded to float32, and the log-sigmoid of another library."""

    def cross_entropy(pairs, beta, label_smoothing):
        z = beta * ((pairs.chosen - pairs.rejected) - (pairs.ref_chosen - pairs.ref_rejected))
        target = torch.full_like(z, 1 - label_smoothing)
        return functional.binary_cross_entropy_with_logits(z, target, reduction="none")

    result = conform("dpo", cross_entropy, dtype="float32", seed=seed, without=["infinite"])
    assert result.passed, result


@pytest.mark.parametrize(
    ("name", "backend", "seed"),
    [
        ("alpha_po", "numpy", 1011),
        ("alpha_po", "torch", 1011),
        ("apo_down", "numpy", 1053),
        ("apo_down", "torch", 1053),
    ],
)
def test_float32_keeps_its_digits(name, backend, seed):
    """Two rewards next to -1/α subtracted, and a margin whose chosen part cancels, once cost alpha_po and apo_down theirs."""
    result = conform(name, backend=backend, dtype="float32", seed=seed)
    assert result.passed, result


def options(objective):
    """Every option that draws should come to: of choices, None of optional numbers, optional fields there and not."""
    wanted = {
        (name, option)
        for name, p in objective.params.items()
        if isinstance(p.domain, Choice)
        for option in p.domain.options
    }
    wanted |= {
        (n, none)
        for n, p in objective.params.items()
        if isinstance(p.domain, Real) and p.domain.optional
        for none in (True, False)
    }
    return wanted


def enough(objective):
    """Cases in which each option comes, and a field that one option of a choice leaves optional both is there and is not."""
    return max([CASES, *(2 * len(p.domain.options) for p in objective.params.values() if isinstance(p.domain, Choice))])


def came(objective, case):
    values = case.objective.values
    found = {(name, values[name]) for name, p in objective.params.items() if isinstance(p.domain, Choice)}
    return found | {
        (n, values[n] is None) for n, p in objective.params.items() if isinstance(p.domain, Real) and p.domain.optional
    }


@pytest.mark.parametrize("name", [name for name, objective in poz.zoo.items() if options(objective)])
@together("seed", range(4))
def test_every_option_is_run(name, seed):
    objective, deck, rng = poz.zoo[name], Deck(), np.random.default_rng(seed)
    found = set()
    for _ in range(enough(objective)):
        case = draw_case(objective, rng, deck=deck)
        deck.count()
        found |= came(objective, case)
    assert found >= options(objective)


@pytest.mark.parametrize("name", [name for name, objective in poz.zoo.items() if objective.optional])
def test_optional_fields_come_and_stay_away(name):
    objective, deck, rng = poz.zoo[name], Deck(), np.random.default_rng(0)
    given = {field: set() for field in objective.optional}
    for _ in range(enough(objective)):
        case = draw_case(objective, rng, deck=deck)
        deck.count()
        for field, there in given.items():
            there.add(getattr(case.batch, field) is not None)
    assert all(there == {True, False} for there in given.values()), given
