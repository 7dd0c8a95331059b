"""The audit of made-up libraries: every verdict, from functions that are equal to ones that raise."""

import inspect
import json

import numpy as np
import pytest
import torch

import poz
import poz.reference
from poz.peers import Absent, Library, audit, described


def only(library, **rest):
    (record,) = audit(library, **{"cases": 4, **rest})
    return {name: value for name, value in record.items() if name != "seconds"}


def of_loss(call, objective="dpo", **rest):
    library = Library("Made up", "numpy")
    library.loss(objective, "their_loss", **rest)(lambda: call)
    return only(library)


def of_fact(call, **rest):
    library = Library("Made up", "numpy")
    library.fact("It does so.", **rest)(call)
    return only(library)


def margin(pairs):
    return pairs.chosen - pairs.rejected - pairs.ref_chosen + pairs.ref_rejected


def smoothed(pairs, *, beta=0.1, label_smoothing=0.0):
    """DPO as Chowdhury et al. write it, by torch's logsigmoid."""
    z, log = beta * margin(pairs), torch.nn.functional.logsigmoid
    if not label_smoothing:  # or 0 times an infinity
        return -log(z)
    return -(1 - label_smoothing) * log(z) - label_smoothing * log(-z)


def unsmoothed(pairs, *, beta=0.1, label_smoothing=0.0):
    return smoothed(pairs, beta=beta)


def test_an_equal_function_is_equal_in_float64_and_without_conditions():
    record = of_loss(smoothed)
    assert (record["verdict"], record["dtype"], record["but_for"]) == ("equal", "float64", [])
    assert described(record) == "equal"
    assert record["library"] == "Made up"
    assert record["version"] == np.__version__


def test_settings_that_are_needed_are_named_and_those_that_are_not_are_equal():
    needed = of_loss(unsmoothed, does="ignores label_smoothing", settings={"label_smoothing": 0.0})
    assert needed["verdict"] == "equal under settings"
    assert described(needed) == "equal with label_smoothing=0.0"
    assert of_loss(smoothed, settings={"label_smoothing": 0.0})["verdict"] == "equal"


def test_a_setting_that_the_function_does_not_take_is_that_of_the_reference_alone():
    def tenth(pairs):
        return smoothed(pairs, beta=0.25)

    assert of_loss(tenth)["verdict"] == "differs"
    record = of_loss(tenth, settings={"beta": 0.25})
    assert (record["verdict"], record["settings"]) == ("equal under settings", {"beta": 0.25})


def numbers(record):
    """What poz.reference and the function give on the example that a record shows, as code."""
    bound, batch = (eval(record[key], {"poz": poz, "torch": torch}) for key in ("with", "example"))
    given = {name: x.numpy() for name, x in batch._asdict().items() if x is not None}
    losses, gradients = getattr(poz.reference, bound.name)(**given, **bound.values)
    leaves = batch._replace(**{name: getattr(batch, name).requires_grad_() for name in gradients})
    return {"loss": losses, **gradients}, leaves, bound


def test_a_loss_that_differs_shows_one_small_example():
    record = of_loss(unsmoothed)
    right, batch, bound = numbers(record)
    assert (record["verdict"], record["where"]) == ("differs", "loss")
    assert right["loss"].shape == (1,)
    assert record["right"] == pytest.approx(right["loss"][0], rel=1e-6)
    assert record["theirs"] == pytest.approx(unsmoothed(batch, **bound.values).item(), rel=1e-6)
    assert described(record) == f"differs: loss {record['theirs']}, not {record['right']}"
    assert all(x == round(x, 1) for field in batch if field is not None for x in field.tolist())


def test_a_gradient_that_differs_is_shown():
    def detached(pairs, *, beta=0.1):
        loss = poz.dpo(pairs, beta=beta)
        return loss + (pairs.chosen - pairs.chosen.detach())

    record = of_loss(detached)
    right, _, _ = numbers(record)
    assert record["where"] == "chosen"
    assert record["right"] == pytest.approx(right["chosen"][0], rel=1e-6)
    assert record["theirs"] == pytest.approx(right["chosen"][0] + 1, rel=1e-6)


def test_what_is_held_constant_is_not_compared():
    def frozen(pairs, *, beta=0.1):
        return poz.dpo(pairs._replace(ref_chosen=pairs.ref_chosen.detach()), beta=beta)

    assert of_loss(frozen)["where"] == "ref_chosen"
    assert of_loss(frozen, constant=["ref_chosen"])["verdict"] == "equal"


@pytest.mark.parametrize(("reduction", "other"), [("mean", "sum"), ("sum", "mean")])
def test_a_mean_over_the_batch_is_held_to_the_mean(reduction, other):
    def reduced(pairs, **values):
        return getattr(smoothed(pairs, **values), reduction)()

    reduced.__signature__ = inspect.signature(smoothed)
    assert of_loss(reduced, reduction=reduction)["verdict"] == "equal"
    assert of_loss(reduced, reduction=other)["verdict"] == "differs"
    assert of_loss(reduced)["verdict"] == "cannot be called"  # no loss per example


def test_float32_whatever_it_is_given_is_equal_in_float32():
    def narrow(pairs, *, beta=0.1):
        return smoothed(poz.Pairs(*(x if x is None else x.float() for x in pairs)), beta=beta).double()

    def only_float32(pairs, *, beta=0.1):
        if pairs.chosen.dtype != torch.float32:
            raise TypeError("give float32")
        return smoothed(pairs, beta=beta)

    for call in (narrow, only_float32):
        record = of_loss(call)
        assert (record["verdict"], record["dtype"]) == ("equal", "float32")
        assert described(record) == "equal, in float32"
    shown = of_loss(lambda pairs: only_float32(pairs) + 1)
    assert (shown["verdict"], shown["where"]) == ("differs", "loss")
    assert "dtype=torch.float32" in shown["example"]
    assert shown["theirs"] == pytest.approx(shown["right"] + 1, abs=1e-6)


def test_conventions_that_are_needed_are_named_and_no_others():
    def naive(pairs, *, beta=0.1):
        return (1 + torch.exp(-beta * margin(pairs))).log()

    record = of_loss(naive)
    assert record["verdict"] == "equal"
    assert record["but_for"] == ["extreme"]
    assert described(record) == "equal, but for extreme"


def test_examples_of_several_where_one_is_never_wrong():
    def crossed(pairs, *, beta=0.1, label_smoothing=0.0):
        return poz.dpo(pairs, beta=beta, label_smoothing=label_smoothing).flip(0)

    record = of_loss(crossed)
    right, batch, bound = numbers(record)
    theirs = crossed(batch, **bound.values).detach().numpy()
    at = (np.abs(theirs - right["loss"]) / (right["loss"] + 1)).argmax()
    assert 1 < len(theirs) <= 4
    assert (record["theirs"], record["right"]) == pytest.approx((theirs[at], right["loss"][at]), rel=1e-6)


def test_a_function_that_sometimes_raises_differs_and_one_that_always_does_cannot_be_called():
    def sometimes(pairs, *, beta=0.1, label_smoothing=0.0):
        if len(pairs.chosen) > 1:
            raise RuntimeError("one pair at most\nand more that nobody reads")
        return smoothed(pairs, beta=beta, label_smoothing=label_smoothing)

    def always(pairs, *, beta=0.1):
        raise RuntimeError("needs a GPU")

    assert "RuntimeError: one pair at most" in described(of_loss(sometimes))
    record = of_loss(always)
    assert record["verdict"] == "cannot be called"
    assert record["why"].startswith("It raises on every batch: ")
    assert "RuntimeError: needs a GPU" in record["why"]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (Absent("Version 2 has no such function."), "Version 2 has no such function."),
        (Absent(), "The library has no such function."),
        (ImportError("No module named 'flash_attn'"), "It raises ImportError: No module named 'flash_attn'"),
        (KeyError("x"), "It raises KeyError: 'x'"),
        (
            ImportError("no 'f' in 'g' (/a/b/site-packages/g.py)\nsee /a/site-packages/h.py"),
            "It raises ImportError: no 'f' in 'g' see h.py",
        ),
        (SystemExit(3), "It raises SystemExit: 3"),
        (AssertionError(), "It raises AssertionError"),
    ],
)
def test_what_stops_a_function_is_said_and_stops_nothing_else(error, why):
    def broken():
        raise error

    library = Library("Made up", "numpy")
    library.loss("dpo", "gone")(broken)
    library.log_probs("gone too")(broken)
    library.fact("It is there.", gives=1)(broken)
    library.fact("It is the answer.", gives=42)(lambda: 42)
    *gone, there = audit(library)
    assert [record["verdict"] for record in gone] == ["cannot be called"] * 3
    assert [record["why"] for record in gone] == [why] * 3
    assert there["verdict"] == "as said"


def test_an_interrupt_stops_the_audit():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        of_fact(interrupted, gives=1)


def test_a_fact_is_as_said_or_otherwise():
    assert of_fact(lambda: 0.333333, gives=1 / 3)["verdict"] == "as said"
    record = of_fact(lambda: 0.334, gives=1 / 3)
    assert (record["kind"], record["verdict"], record["got"]) == ("fact", "otherwise", 0.334)


@pytest.mark.parametrize(
    ("got", "verdict"),
    [(0.5, "stands"), (0.25, "mended"), (0.1, "otherwise"), (np.float32(0.25), "mended"), (None, "otherwise")],
)
def test_a_bug_stands_until_the_right_number_comes(got, verdict):
    record = of_fact(lambda: got, gives=0.5, right=0.25, because="half of it", link="https://example.org/1")
    assert (record["kind"], record["verdict"]) == ("bug", verdict)
    assert (record["because"], record["link"]) == ("half of it", "https://example.org/1")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf"), "text"], (1, 2.0), torch.tensor([1.0])])
def test_a_record_is_plain_json_whatever_a_fact_gives(value):
    record = of_fact(lambda: value, gives=value, right=[0.0])
    assert record["verdict"] == "stands"
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_a_record_says_the_same_again():
    assert of_loss(unsmoothed) == of_loss(unsmoothed)


def test_only_what_is_about_an_objective_is_run():
    library = Library("Made up", "numpy")
    library.loss("dpo", "dpo_loss")(lambda: smoothed)
    library.loss("ipo", "ipo_loss")(lambda: smoothed)
    library.log_probs("logps")(lambda: None)
    library.fact("It is one.", gives=1, objective="dpo")(lambda: 1)
    library.fact("It is two.", gives=2)(lambda: 2)
    asked = list(audit(library, "dpo", cases=2))
    assert [(record["kind"], record["objective"]) for record in asked] == [("loss", "dpo"), ("fact", "dpo")]


@pytest.mark.parametrize(
    ("since", "before", "records"),
    [
        ("", "", 1),
        ("2.0", "", 1),
        ("", "999", 1),
        ("2", "999.0.1", 1),
        ("999", "", 0),
        ("", "1.26", 0),
        ("2.999", "3", 0),
    ],
)
def test_a_row_about_other_versions_has_no_record(since, before, records):
    library = Library("made up", "numpy", since=since, before=before)

    @library.fact("adds", gives=3)
    def adds():
        return 3

    assert len(list(audit(library))) == records
    assert library.facts


def test_a_row_has_versions_of_its_own():
    library = Library("made up", "numpy", since="999")

    @library.fact("adds", gives=3, since="1.0")
    def adds():
        return 3

    assert [record["verdict"] for record in audit(library)] == ["as said"]


def test_fields_that_a_library_lacks_are_not_drawn():
    def plain(pairs):
        return -torch.nn.functional.logsigmoid(pairs.chosen - pairs.rejected - pairs.margin)

    lacks = ("label", "tie")
    assert of_loss(plain, "bradley_terry", lacks=(*lacks, "margin"))["verdict"] == "cannot be called"  # it reads it
    with_margin = of_loss(lambda pairs: plain(pairs if pairs.margin is not None else pairs._replace(margin=0)),
                          "bradley_terry", lacks=lacks)  # fmt: skip
    assert with_margin["verdict"] == "equal"
    wrong = of_loss(lambda pairs: 2 * plain(pairs._replace(margin=0)), "bradley_terry", lacks=(*lacks, "margin"))
    assert wrong["verdict"] == "differs"
    assert "margin" not in wrong["example"]
