"""`PreferenceLoss` gives what the objective gives on the same pairs, reduced as it is asked to."""

import numpy as np
import pytest
import torch

import poz
from poz.testing import draw_case
from poz.torch import PreferenceLoss

SUMS = {
    "policy_chosen_logps": "chosen",
    "policy_rejected_logps": "rejected",
    "reference_chosen_logps": "ref_chosen",
    "reference_rejected_logps": "ref_rejected",
}
CALIBRATED = ("vpo", "selm", "xpo")  # whose calibration samples are completions of the batch
NAMES = [name for name, spec in poz.zoo.items() if spec.family is poz.Pairs and name not in CALIBRATED]
C, R, Q, P = (
    torch.tensor(x, dtype=torch.float64) for x in ([-1.0, -2, -9], [-2.0, -2, -3], [-1.5, -1, -8], [-3.0, -2, -2])
)
LENGTHS = {"chosen_len": torch.tensor([3, 1, 5]), "rejected_len": torch.tensor([2, 2, 4])}


def drawn(name):
    """What the loss is called with, and the pairs themselves; opponents as columns have them, (batch, opponents)."""
    case = draw_case(poz.zoo[name], np.random.default_rng(5), 4, 30.0)
    fields = {field: torch.tensor(x) for field, x in case.batch._asdict().items() if x is not None}
    for field in {"chosen", "chosen_len"} & fields.keys():  # the other side, which `sft` does not read
        fields.setdefault(field.replace("chosen", "rejected"), fields[field].clone())
    given = {name: fields[field] for name, field in SUMS.items() if field in fields}
    columns = {field: x for field, x in fields.items() if field not in SUMS.values()}
    opponents = {field: x.T for field, x in columns.items() if field.startswith("opponents")}
    return case.objective, poz.Pairs(**fields), given | columns | opponents


@pytest.mark.parametrize("name", NAMES)
def test_losses_and_slopes_are_those_of_the_objective(name):
    objective, pairs, given = drawn(name)
    slopes = []
    for call in (lambda: PreferenceLoss(objective)(**given)[0], lambda: objective(pairs)):
        sides = [side.requires_grad_() for side in (pairs.chosen, pairs.rejected)]
        losses = call()
        slopes.append((losses, *torch.autograd.grad(losses.sum(), sides, materialize_grads=True)))
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_rewards_are_scaled_log_ratios_without_a_gradient():
    chosen = C.clone().requires_grad_()
    losses, *rewards = PreferenceLoss("dpo", beta=0.3)(chosen, R, Q, P)
    torch.testing.assert_close(torch.stack(rewards), torch.stack((0.3 * (C - Q), 0.3 * (R - P))))
    assert losses.requires_grad
    assert not any(reward.requires_grad for reward in rewards)
    means = PreferenceLoss("simpo", beta=2.0)(C, R, **LENGTHS)[1:]
    torch.testing.assert_close(means[0], 2 * C / LENGTHS["chosen_len"])


def test_weights_and_a_denominator_of_the_whole_batch():
    """A pair that counts 0 may be NaN; what two micro-batches give by the pairs of both is what the whole one gives."""
    losses, weights = poz.dpo(poz.Pairs(C, R, Q, P)), torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    spoiled = torch.where(weights == 0, torch.nan, C)
    total = losses[0] + losses[1] / 2
    found = {
        how: PreferenceLoss("dpo", how)(spoiled, R, Q, P, example_weights=weights)[0] for how in ("none", "sum", "mean")
    }
    torch.testing.assert_close(found["none"], torch.stack((losses[0], losses[1] / 2, 0 * losses[0])))
    torch.testing.assert_close(found["sum"], total)
    torch.testing.assert_close(found["mean"], total / 1.5)
    mean = PreferenceLoss("dpo", "mean")
    parts = [mean(*(x[part] for x in (C, R, Q, P)), denominator=3)[0] for part in (slice(2), slice(2, 3))]
    torch.testing.assert_close(parts[0] + parts[1], losses.mean())
    torch.testing.assert_close(mean(C, R, Q, P)[0], losses.mean())


def test_denominators_are_numbers_of_any_library_under_compile_too():
    mean = PreferenceLoss("dpo", "mean")
    compiled = torch.compile(mean, fullgraph=True, backend="eager")
    for count in (3, 7, 7.0, torch.tensor([7]), np.int64(7)):
        expected = poz.dpo(poz.Pairs(C, R, Q, P)).sum() / int(count)
        torch.testing.assert_close(mean(C, R, Q, P, denominator=count)[0], expected)
        if not isinstance(count, np.integer):
            torch.testing.assert_close(compiled(C, R, Q, P, denominator=count)[0], expected)


def test_a_pair_taken_apart_counts_on_both_sides():
    singles = poz.Unpaired(torch.cat((C, R)), torch.cat((Q, P)), torch.tensor([True] * 3 + [False] * 3))
    losses = poz.kto(singles, estimator="zero")
    weights = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    kto = PreferenceLoss("kto", "mean", estimator="zero")
    whole = (losses[:3] * weights + losses[3:] * weights).sum()
    torch.testing.assert_close(kto(C, R, Q, P, example_weights=weights)[0], whole / 3)
    torch.testing.assert_close(kto(C, R, Q, P, denominator=6)[0], losses.mean() / 2)


@pytest.mark.parametrize("name", CALIBRATED)
def test_calibration_samples_are_the_chosen_completions(name):
    objective = poz.zoo[name]
    expected = objective(poz.Pairs(C, R, Q, P, calibration=C, ref_calibration=Q))
    torch.testing.assert_close(PreferenceLoss(objective)(C, R, Q, P)[0], expected)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: PreferenceLoss("dpo", "batchmean"), r"'none', 'mean', 'sum'.*got 'batchmean'"),
        (lambda: PreferenceLoss("cpl"), r"`cpl` reads poz.TokenPairs, log-probs of tokens.*poz.torch.scored_losses"),
        (lambda: PreferenceLoss("grpo"), r"`grpo` reads poz.Rollouts, which pairs of completions do not make"),
        (lambda: PreferenceLoss("bradley_terry"), r"`bradley_terry` reads poz.RewardPairs, scores"),
        (lambda: PreferenceLoss("kto"), r"`kto` reads kl_logps"),
        (lambda: PreferenceLoss("dpo")(C, R), "needs reference_chosen_logps and reference_rejected_logps"),
        (lambda: PreferenceLoss("dpo")(C, R, Q), "got no reference_rejected_logps"),
        (lambda: PreferenceLoss("cpo")(C, R, Q), "got no reference_rejected_logps"),
        (lambda: PreferenceLoss("simpo")(C, R), "`simpo` needs chosen_len and rejected_len"),
        (lambda: PreferenceLoss("dpo")(C, R[:2], Q, P), r"policy_rejected_logps must be \(batch,\).*\(3,\); got \(2,\)"),
        (lambda: PreferenceLoss("dpo")(C[None], R[None], Q[None], P[None]), r"policy_chosen_logps must be \(batch,\)"),
        (lambda: PreferenceLoss("dpo")(C, R, Q, P, lable=C), "`dpo` reads no column 'lable'; it reads none"),
        (lambda: PreferenceLoss("dpo")(C, R, Q, P, label=C / C), "`dpo` reads no column 'label'"),
        (lambda: PreferenceLoss("vpo")(C, R, Q, P, calibration=C), "`vpo` reads no column 'calibration'"),
        (lambda: PreferenceLoss("selm")(C, R), "needs reference_chosen_logps and reference_rejected_logps"),
        (lambda: PreferenceLoss("dpo", "mean")(C, R, Q, P, denominator=0), "denominator must be > 0; got 0"),
        (lambda: PreferenceLoss("dpo", "mean")(C, R, Q, P, denominator=0 * C[0]), "denominator must be > 0; got -?0"),
        (lambda: PreferenceLoss("dpo", "mean")(C, R, Q, P, denominator=C / C), r"must be one number; got a tensor \(3,\)"),
        (lambda: PreferenceLoss("dpo")(C, R, Q, P, example_weights=R + 2), "example_weights must be 0 or more; got -1"),
        (lambda: PreferenceLoss("dpo")(C, R, Q, P, example_weights=C * torch.nan), "must be 0 or more; got nan"),
        (lambda: PreferenceLoss("dpo")(C, R, Q, P, denominator=3), r"reduction='mean' divides by; got reduction='none'"),
        (lambda: PreferenceLoss("dpo")(C, R, Q, P, example_weights=C[:2]), r"must be \(3,\).*got \(2,\)"),
        (lambda: PreferenceLoss("aot")(C, R, Q, P, example_weights=-C), r"`aot` is defined over a batch.*Leave out"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: PreferenceLoss(3), "a name or a poz.Objective; got int"),
        (lambda: PreferenceLoss("dpo")(C.numpy(), R, Q, P), "policy_chosen_logps must be a torch tensor; got ndarray"),
        (lambda: PreferenceLoss("dpo")(C, R, [0.0] * 3, P), "reference_chosen_logps must be a torch tensor; got list"),
        (
            lambda: PreferenceLoss("dpo")(C, R, Q, P, example_weights=[1.0] * 3),
            "example_weights must be a torch tensor",
        ),
        (
            lambda: PreferenceLoss("dpo", "mean")(C, R, Q, P, denominator="3"),
            "denominator must be a number, or .* got str",
        ),
        (lambda: PreferenceLoss("dpo")(*(x.long() for x in (C, R, Q, P))), "logps must be floating-point"),
    ],
)
def test_what_is_no_tensor_is_refused(call, said):
    with pytest.raises(TypeError, match=said):
        call()


def test_nothing_that_counts_has_a_mean_of_zero():
    mean = PreferenceLoss("dpo", "mean")
    chosen = C.clone().requires_grad_()
    for loss in (
        mean(chosen, R, Q, P, example_weights=torch.zeros(3))[0],
        mean(*(x[:0] for x in (chosen, R, Q, P)))[0],
        mean(*(x[:0] for x in (chosen, R, Q, P)), denominator=3)[0],
        mean(*(x[:0] for x in (chosen, R, Q, P)), denominator=torch.tensor([3]))[0],
    ):
        assert loss.item() == 0
        (slope,) = torch.autograd.grad(loss, chosen, materialize_grads=True)
        assert not slope.any()


def test_it_is_a_module_that_says_what_it_is():
    loss = PreferenceLoss(poz.ipo.bind(tau=0.2), "mean")
    assert not list(loss.parameters())
    assert "tau=0.2" in repr(loss)
    assert loss.objective.name == "ipo"


@pytest.mark.parametrize("name", ["dpo", "ipo", "orpo", "simpo"])
@pytest.mark.parametrize("spoiled", [torch.nan, -torch.inf])
def test_a_pair_that_counts_zero_has_no_gradient_whatever_it_holds(name, spoiled):
    """0 times a NaN is NaN, so the gradient must not come by that pair at all."""
    objective, weights = poz.zoo[name], torch.tensor([1, 1, 0])
    sides = [torch.where(weights == 0, spoiled, side).requires_grad_() for side in (C, R)]
    reference = () if objective.reference_free else (Q, P)
    lengths = LENGTHS if "chosen_len" in objective.reads else {}
    loss = PreferenceLoss(objective, "sum")(*sides, *reference, **lengths, example_weights=weights)[0]
    kept = [side[:2].clone().requires_grad_() for side in (C, R)]
    fields = {field: x[:2] for field, x in lengths.items()}
    expected = objective(poz.Pairs(*kept, *(x[:2] for x in reference), **fields)).sum()
    torch.testing.assert_close(loss, expected)
    slopes = zip(torch.autograd.grad(loss, sides), torch.autograd.grad(expected, kept), strict=True)
    for slope, wanted in slopes:
        torch.testing.assert_close(slope, torch.cat((wanted, wanted.new_zeros(1))))
