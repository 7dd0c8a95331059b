"""`poz.testing.cases`, read back as somebody in another language would, and put to the objectives and to torch's gradients."""

import json
import subprocess
import sys

import numpy as np
import pytest

import poz
from poz.testing import BACKENDS, cases, expected
from poz.testing.tolerances import RTOL, assert_close


def read(value):
    """What JSON has, as arrays; texts where numbers are stand for those that JSON has not."""
    return np.array(value, float) if np.array(value).dtype.kind in "Uf" else np.array(value)


def values(plain):
    found = {}
    for name, value in plain.items():
        if isinstance(value, dict):
            value = poz.zoo[value["name"]].bind(**values(value["values"]))
        elif isinstance(value, list):
            value = read(value) if name == "reliability" else tuple(float(one) for one in value)
        found[name] = value
    return found


@pytest.mark.parametrize("name", poz.zoo)
def test_cases_fed_back_give_their_losses_and_gradients(name):
    found = json.loads(json.dumps(cases(name, count=2), allow_nan=False))
    this = poz.zoo[name]
    assert found["family"] == this.family.__name__
    for case in found["cases"]:
        bound = this.bind(**values(case["values"]))
        batch = this.family(**{field: read(x) for field, x in case["inputs"].items()})
        scale = expected(bound, batch)
        losses, gradients = BACKENDS["torch"](None, bound, batch, "float64")
        assert_close(
            "losses", actual=losses, expected=read(case["losses"]), rtol=RTOL["float64", "loss"], scale=scale.loss_scale
        )
        assert set(gradients) <= set(case["gradients"])
        for field, slope in gradients.items():
            assert_close(field, actual=slope, expected=read(case["gradients"][field]), rtol=RTOL["float64", "gradient"],
                         scale=scale.gradient_scale[field])  # fmt: skip


def test_cases_are_those_of_their_seed():
    assert cases("dpo", count=1) == cases("dpo", count=1)
    assert cases("dpo", count=1)["cases"] != cases("dpo", count=1, seed=1)["cases"]
    assert len(cases("dpo", count=3, size=5)["cases"][2]["losses"]) == 5


def test_a_bound_objective_keeps_its_hyper_parameters():
    found = cases(poz.dpo.bind(beta=0.25), count=3)["cases"]
    assert [case["values"] for case in found] == [{"beta": 0.25, "label_smoothing": 0.0}] * 3


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size": 0}, {"seed": -1}])
def test_nothing_to_draw_is_refused(wrong):
    with pytest.raises(ValueError, match=r"At least one case|seed must be"):
        cases("dpo", **wrong)


def test_the_command_prints_json_alone():
    command = [sys.executable, "-P", "-m", "poz", "cases", "simpo", "--count", "1", "--seed", "3"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    given = json.loads(printed)
    assert given.pop("versions")["poz"] == poz.__version__
    assert given == cases("simpo", count=1, seed=3)
