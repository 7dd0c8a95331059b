"""What a page of an objective calls: an example that says something, and of LCPO what learns."""

import inspect
from importlib import import_module

import pytest

import poz
from poz.integrations.trl import DPOTrainer
from poz.torch import LCPO


@pytest.fixture(autouse=True)
def _here(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "docs/site"))


def test_the_first_example_is_not_of_zeros_nor_of_a_list_without_completions():
    examples = import_module("witnesses").examples
    for name, spec in poz.zoo.items():
        first = examples(spec, 1)[0]
        assert any(map(float, first.losses)), name
        masks = [row for field, rows in first.fields.items() if field.endswith("mask") for row in rows]
        assert all(map(any, masks)), name


def test_lcpo_is_shown_with_reliabilities_that_learn():
    program = import_module("calls").trl(poz.lcpo)[1]
    assert '    objective="lcpo_em",\n' in program
    call = "poz.torch.LCPO(base, num_annotators)"
    assert call in program
    assert call in poz.lcpo.function.__doc__
    assert [*inspect.signature(LCPO).parameters][:2] == ["base", "num_annotators"]


@pytest.mark.parametrize("name", ["inpo", "mnpo", "onpo"])
def test_without_opponents_the_trainer_takes_the_reference_and_the_page_says_so(name):
    program = import_module("calls").trl(poz.zoo[name])[1]
    assert "opponents_chosen, opponents_rejected, else the reference is the opponent\n" in program
    assert "Without them the only opponent is the reference" in " ".join(DPOTrainer.__doc__.split())
