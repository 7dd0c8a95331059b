"""What `conform` is given: functions, partials, modules and objects of any kind, bound or not, and how it names them again."""

import functools

import pytest
import torch

import poz
from poz.objective import objective
from poz.testing import conform


def dpo(pairs, beta, label_smoothing=0.0):
    return poz.dpo(pairs, beta=beta, label_smoothing=label_smoothing)


def double(pairs, beta=0.1):
    return 2 * poz.dpo(pairs, beta=beta)


class Double:
    def __call__(self, pairs, beta):
        return double(pairs, beta)

    def method(self, pairs, beta):
        return double(pairs, beta)


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("name", ["dpo", "kto", "aot", "cpl", "listnet"])
def test_one_example_alone_is_run(name, backend):
    """As `squeeze` has it, and what normalises over the batch."""
    result = conform(name, lambda batch, **values: poz.zoo[name](batch, **values).squeeze(), backend=backend, cases=1)
    assert "one loss per example is required, shape (1,); got shape ()" in result.problem
    assert len(result.case.objective(result.case.batch)) == 1
    assert conform(name, backend=backend, cases=1)


def test_of_a_batch_of_one_the_call_is_the_same():
    def candidate(pairs, beta):
        return poz.dpo(pairs, beta=beta) * (1 if len(pairs.chosen) > 1 else 2)

    result = conform("dpo", candidate, seed=5)
    assert not result
    assert eval(result.again, {"conform": conform, "candidate": candidate}).problem == result.problem


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        (poz.dpo.bind(beta=0.3), functools.partial(dpo, beta=0.4)),
        (poz.dpo.bind(beta=0.3), functools.partial(poz.dpo, beta=0.4)),
        (poz.dpo.bind(beta=0.3), poz.dpo.bind(beta=0.4)),
        (poz.dpo.bind(beta=0.3), functools.partial(poz.dpo.bind(beta=0.4), label_smoothing=0.0)),
    ],
)
def test_what_a_candidate_has_bound_is_not_bound_anew(reference, candidate):
    assert not conform(reference, candidate)
    assert conform(reference.bind(beta=0.4), candidate)
    held = conform("dpo", candidate)
    assert held, held
    assert "beta=0.4" in held.held


def test_an_objective_that_is_not_bound_is_drawn_for():
    assert conform("dpo", poz.dpo).held == ""
    assert conform("dpo", functools.partial(poz.dpo)).held == ""


@pytest.mark.parametrize(
    "candidate",
    [
        double, lambda pairs, beta: double(pairs, beta), functools.partial(double, beta=0.3), Double(), Double().method,
        poz.ipo.bind(tau=0.2),
    ],
    ids=["function", "lambda", "partial", "instance", "method", "objective"],
)  # fmt: skip
def test_the_call_can_be_said_again(candidate):
    result = conform("dpo", candidate)
    tools = {"poz": poz, "conform": conform, "candidate": candidate, "double": double}
    assert eval(result.again, tools).problem == result.problem


@pytest.mark.parametrize(
    ("backend", "candidate", "said"),
    [
        ("torch", lambda pairs: None, "an array of torch is required for the losses; got a NoneType"),
        ("torch", lambda pairs: 0.5, "an array of torch is required for the losses; got a float"),
        ("torch", lambda pairs: dpo(pairs, 0.1).detach().numpy(), "an array of torch is required for the losses; got a "),
        ("torch", lambda pairs: dpo(pairs, 0.1).detach(), "the losses are cut off from the log-probs"),
        ("torch", torch.no_grad()(lambda pairs: dpo(pairs, 0.1)), "the losses are cut off from the log-probs"),
        ("jax", lambda pairs: None, "an array of jax is required for the losses; got a NoneType"),
        ("numpy", lambda pairs: None, "an array of numpy is required for the losses; got a NoneType"),
        ("numpy", lambda pairs: torch.zeros(len(pairs.chosen)), "an array of numpy is required for the losses; got a Tensor"),
    ],
)  # fmt: skip
def test_what_are_no_losses_is_said(backend, candidate, said):
    result = conform("dpo", candidate, backend=backend, cases=2)
    assert said in result.problem


def test_an_error_without_a_message_is_named():
    def candidate(pairs, beta):
        raise AssertionError

    assert conform("dpo", candidate, cases=1).problem.endswith(": AssertionError")


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("backend", ["torch", "torch.compile"])
def test_gradients_are_there_where_the_caller_wants_none(mode, backend):
    with mode():
        assert conform("dpo", dpo, backend=backend, cases=2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"candidate": 3}, "candidate; got 3"),
        ({"candidate": "dpo"}, "candidate; got 'dpo'"),
        ({"cases": 2.0}, "a whole number for cases; got 2.0"),
        ({"seed": 1.5}, "a whole number for seed; got 1.5"),
        ({"size": "3"}, "a whole number for size; got '3'"),
        ({"without": None}, "without; got None"),
    ],
)
def test_another_kind_of_argument_is_refused(arguments, said):
    with pytest.raises(TypeError, match="conform needs ") as caught:
        conform("dpo", **arguments)
    assert said in str(caught.value)


@objective(title="own", paper="none", equation="none", formula="x", reads="chosen rejected")
def own(xp, pairs: poz.Pairs):
    """Defined here."""
    return pairs.rejected - pairs.chosen


def test_an_objective_of_ones_own_is_not_called_one_of_poz():
    assert repr(own) == f"{__name__}.own.bind()"
    assert repr(poz.dpo.bind(beta=0.3)) == "poz.dpo.bind(beta=0.3, label_smoothing=0.0)"
