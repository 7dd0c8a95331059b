"""What `conform` hands back: a verdict that is false where it failed, and says where, why and how to see it again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional

import poz
from poz.testing import Mismatch, conform

CASES = 8  # what `poz verify` runs by default
SEEDS = range(10)


def margin(pairs):
    return (pairs.chosen - pairs.rejected) - (pairs.ref_chosen - pairs.ref_rejected)


def smoothed(right, wrong, label_smoothing):
    """As poz has it: a factor of 0 removes an infinity."""
    kept = torch.where(torch.tensor(label_smoothing) == 0, torch.zeros_like(wrong), wrong)
    return (1 - label_smoothing) * right + label_smoothing * kept


def textbook(pairs, beta, label_smoothing):
    z = beta * margin(pairs)
    return -(1 - label_smoothing) * functional.logsigmoid(z) - label_smoothing * functional.logsigmoid(-z)


def textbook_simpo(pairs, beta, gamma):
    gap = pairs.chosen / pairs.chosen_len - pairs.rejected / pairs.rejected_len
    return -functional.logsigmoid(beta * gap - gamma)


def wrong(pairs, beta, label_smoothing):
    return textbook(pairs, beta, label_smoothing) * 1.5


def test_a_verdict_is_true_where_it_passed():
    assert conform("dpo", cases=1)
    assert not conform("dpo", wrong, cases=1)


def test_a_failure_can_be_raised():
    with pytest.raises(Mismatch, match=r"loss\[\d+\] is .*, expected .*\n  inputs: poz\.Pairs\(chosen=torch\.tensor"):
        conform("dpo", wrong, cases=1, check=True)
    assert conform("dpo", cases=1, check=True).passed


@pytest.mark.parametrize(
    ("objective", "candidate"),
    [
        (poz.dpo.bind(beta=0.3), lambda pairs: -functional.logsigmoid(0.3 * margin(pairs))),
        (poz.dpo.bind(beta=0.3), poz.dpo.bind(beta=0.3)),
        ("dpo", lambda pairs: -functional.logsigmoid(0.1 * margin(pairs))),
        ("dpo", lambda pairs, beta: -functional.logsigmoid(beta * margin(pairs))),
    ],
    ids=["function of the batch", "bound objective", "at the defaults", "of β alone"],
)
def test_hyper_parameters_that_a_candidate_does_not_take_are_held(objective, candidate):
    result = conform(objective, candidate)
    assert result, result
    assert ("label_smoothing=0.0 throughout" in str(result)) == isinstance(objective, str)
    assert not conform(poz.dpo.bind(beta=0.2), lambda pairs: -functional.logsigmoid(0.3 * margin(pairs)))


def test_a_module_takes_what_its_forward_takes():
    class Loss(torch.nn.Module):
        def forward(self, pairs, beta):
            return -functional.logsigmoid(beta * margin(pairs))

    assert conform("dpo", Loss())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_convention_is_named_and_can_be_left_out(seed):
    simpo = poz.simpo.bind(beta=2.0, gamma=1.0)
    result = conform(simpo, textbook_simpo, seed=seed)
    assert not result
    assert "Only completions of length 0, which counts as 1 here, fail" in result.problem
    assert "without=['empty']" in result.problem
    objective, batch = result.case
    assert (np.minimum(batch.chosen_len, batch.rejected_len) == 0).any()
    assert np.isfinite(objective(batch)).any()
    assert conform(simpo, textbook_simpo, seed=seed, without=["empty"])


def test_the_convention_of_infinite_log_probs_is_named_and_can_be_left_out():
    plain = poz.dpo.bind(label_smoothing=0.0)
    result = conform(plain, textbook, cases=CASES)  # 0 times infinity
    assert "Only infinite log-probs" in result.problem
    assert any(np.isinf(x).any() for x in result.case.batch if x is not None)
    assert conform(plain, textbook, cases=CASES, without=["infinite"])

    def cautious(pairs, beta, label_smoothing):
        assert torch.isfinite(pairs.chosen).all(), "an infinity"
        return textbook(pairs, beta, label_smoothing)

    assert "without=['infinite']" in conform("dpo", cautious).problem


def test_an_optional_field_can_be_left_out():
    def blind(pairs, tau, kl_credit):
        return poz.nash_md(pairs._replace(chosen_mask=None), tau=tau, kl_credit=kl_credit)

    assert "`chosen_mask` is given" in conform("nash_md", blind).problem
    assert conform("nash_md", blind, without=["chosen_mask"])


def test_a_mistake_of_another_kind_is_no_convention():
    assert "without" not in conform("dpo", wrong).problem
    assert "without" not in conform("simpo", lambda pairs, beta, gamma: 1 / 0).problem


WINDOWS = [(20, 22), (89, 103), (104, 140), (710, 744), (746, 1000)]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_window_is_drawn_on_either_side_in_every_seed(seed):
    wanted = {(sign, window) for sign in (-1, 1) for window in WINDOWS}
    seen = set()

    def look(pairs, beta):
        z = beta * margin(pairs)
        seen.update(
            (sign, (low, high)) for sign, (low, high) in wanted if ((low <= sign * z) & (sign * z <= high)).any()
        )
        return poz.dpo(pairs, beta=beta)

    assert conform("dpo", look, cases=CASES, seed=seed)
    assert seen == wanted


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "softplus",
    [functional.softplus, lambda x: (1 + x.exp()).log(), lambda x: functional.softplus(x).nan_to_num(posinf=100)],
)
def test_another_softplus_is_found_in_every_seed(softplus, seed):
    def dpo(pairs, beta, label_smoothing):
        z = beta * margin(pairs)
        return smoothed(softplus(-z), softplus(z), label_smoothing)

    assert not conform("dpo", dpo, cases=CASES, seed=seed)
    assert not conform("apo_zero", lambda pairs, beta: softplus(poz.apo_zero(pairs, beta=beta)), cases=CASES, seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_infinite_loss_made_finite_is_found_in_every_seed(seed):
    for name in ("dpo", "ipo", "pro", "cpl", "npo", "sppo"):
        objective = poz.zoo[name]
        result = conform(name, lambda b, **v: objective(b, **v).nan_to_num(posinf=100), cases=CASES, seed=seed)  # noqa: B023
        assert not result, name
        assert "is 100, expected inf" in result.problem


@pytest.mark.parametrize("seed", SEEDS)
def test_a_probability_that_rounds_to_one_is_drawn_in_every_seed(seed):
    def orpo(pairs, odds_weight):
        chosen, rejected = pairs.chosen / pairs.chosen_len.clamp(1), pairs.rejected / pairs.rejected_len.clamp(1)
        odds = chosen - rejected - ((1 - chosen.exp()).log() - (1 - rejected.exp()).log())
        return -chosen - odds_weight * functional.logsigmoid(odds)

    result = conform("orpo", orpo, cases=CASES, seed=seed, without=["infinite", "empty"])
    assert not result


def test_the_numbers_differ_where_they_differ():
    result = conform("dpo", lambda pairs, beta: poz.dpo(pairs, beta=beta) + 1e-9)
    found, right = result.problem.partition("loss[")[2].partition(" is ")[2].split(", an error")[0].split(", expected ")
    assert found != right
    assert float(found) - float(right) == pytest.approx(1e-9, rel=1)


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("name", ["dpo", "cpl", "listnet", "aot", "mnpo", "kto"])
def test_the_example_and_the_call_make_the_failure_again(name, backend):
    def candidate(batch, **values):
        return poz.zoo[name](batch, **values) * 1.001

    result = conform(name, candidate, backend=backend, cases=3, seed=3)
    tools = {"poz": poz, "np": np, "torch": torch, "jnp": jnp, "conform": conform, "candidate": candidate}
    again = eval(result.again, tools)
    assert again.problem == result.problem
    np.testing.assert_array_equal(again.case.batch[0], result.case.batch[0])
    with jax.enable_x64(True):
        losses = np.asarray(result.case.objective(eval(result.inputs, tools)))
    with np.errstate(all="ignore"):
        everybody = result.case.objective(result.case.batch)
    assert len(losses) == (len(everybody) if result.case.objective.coupled else 1)
    assert np.isclose(losses[:, None], everybody, rtol=1e-12).any(1).all()


def test_jax_compiles_once_for_calls_that_are_alike():
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(event) if event.endswith("backend_compile_duration") else None
    )

    def compilations(candidate):
        before = len(compiled)
        result = conform("simpo", candidate, backend="jax", cases=4)
        return len(compiled) - before, result.passed

    factor = 1.0

    def candidate(pairs, **values):
        return factor * poz.simpo(pairs, **values)

    def careful(pairs, beta, gamma):
        return poz.simpo(pairs, beta=beta, gamma=gamma) if beta > 0 else None

    first, again = compilations(candidate), compilations(candidate)
    assert first[0] > 0
    assert again == (0, True)
    assert compilations(careful)[1]
    assert compilations(careful) == (0, True)
    factor = 2.0
    assert compilations(candidate)[1] is False  # what it is traced to decides, not what it is called


def test_what_cannot_be_asked_for_is_a_sentence():
    with pytest.raises(ValueError, match="The seed must be a whole number from 0; got -1"):
        conform("dpo", seed=-1)
    with pytest.raises(ValueError, match="`dpo` cannot be drawn without margin; without may name empty, infinite"):
        conform("dpo", without=["margin"])
    with pytest.raises(ValueError, match=r"Give without as a list of names, \['empty'\]"):
        conform("dpo", without="empty")
