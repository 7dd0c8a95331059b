"""The wrong kind of thing at a public door is refused in a sentence that names the argument."""

import inspect

import numpy as np
import pytest
import torch
from together import together

import poz
from poz import games
from poz.algorithms import (
    apo_nesterov,
    baseline,
    beta_dpo,
    group_weights,
    lcpo_em,
    self_play,
    tabular,
    weights,
    winrates,
)
from poz.rewards import selection
from poz.rewards.fits import armorm, gate, maxmin, meta_rm, more, properties
from poz.rewards.metrics import accuracy, calibration, ranking, ratings, strength
from poz.testing import conform
from poz.torch import LCPO, slopes, whole_batch
from poz.torch.extragradient import Extragradient

MODULES = (
    *(apo_nesterov, baseline, beta_dpo, games, group_weights, lcpo_em, self_play, tabular, weights, winrates),
    *(accuracy, calibration, ranking, ratings, strength, selection),
    *(armorm, gate, maxmin, meta_rm, more, properties),
)
WRONG = {
    "None": None,
    "text": "x",
    "bytes": b"x",
    "dictionary": {"a": 1},
    "object": object(),
    "function": len,
    "meta tensor": torch.zeros(3, device="meta"),
    "sparse tensor": torch.zeros(3).to_sparse(),
}
DOORS = [
    (f"{module.__name__.removeprefix('poz.')}.{name}", door)
    for module in MODULES
    for name, door in vars(module).items()
    if inspect.isfunction(door) and not name.startswith("_") and door.__module__ == module.__name__
]
PLAIN = {"float": 0.5, "int": 2, "npt.ArrayLike": np.array([0.5, 0.5]), "Schedule": 0.5, "bool": True}
"""What suits an annotation, so that another argument is the only one that is wrong."""


def arguments(door):
    """Something for each argument that has to be given; by the order of the checks it need not be right."""
    return {name: PLAIN.get(str(p.annotation)) for name, p in inspect.signature(door).parameters.items()}


@pytest.mark.parametrize(("name", "door"), DOORS, ids=[name for name, _ in DOORS])
@together("wrong", WRONG.values())
def test_is_refused_by_what_carries_state_and_by_games(name, door, wrong):
    for argument, parameter in inspect.signature(door).parameters.items():
        if "Array" in str(parameter.annotation).replace("ArrayLike", "") or parameter.annotation == "Any":
            continue  # an array of any library, which the function asks about itself
        optional = parameter.default is None or "None" in str(parameter.annotation)
        if (wrong is None and optional) or (
            callable(wrong) and ("Callable" in str(parameter.annotation) or parameter.annotation == "Schedule")
        ):
            continue
        if isinstance(wrong, dict) and "Mapping" in str(parameter.annotation):
            continue
        if isinstance(wrong, str) and parameter.annotation == "str":
            continue
        before = {}
        for key, value in arguments(door).items():  # the arguments are looked at in their order
            if key == argument:
                break
            before[key] = value
        if any(value is None for value in before.values()):
            continue
        with pytest.raises(TypeError, match=rf"needs .* for {argument}; got "):
            door(**{**arguments(door), **before, argument: wrong})


def test_every_function_of_these_modules_is_a_door():
    assert len(DOORS) > 35


PAIRS = poz.Pairs(*[torch.zeros(3)] * 4)


@pytest.mark.parametrize("wrong", [*WRONG.values(), [1.0]], ids=[*WRONG, "list"])
@pytest.mark.parametrize("call", [
    lambda x: whole_batch(x, PAIRS),
    lambda x: whole_batch(poz.dpo, x),
    lambda x: slopes(x, PAIRS),
    lambda x: slopes(poz.aot, x),
    lambda x: LCPO()(x),
    lambda x: LCPO().attach(x),
    lambda x: LCPO(num_annotators=x),
    lambda x: LCPO(reliability=x) if not isinstance(x, list) else LCPO(num_annotators=x),
    lambda x: Extragradient(x),
    lambda x: poz.dpo(x),
    lambda x: poz.combine([(x, 1.0)]),
    lambda x: lcpo_em.update(x, lcpo_em.Sums(np.ones(1), np.ones(1))),
    lambda x: lcpo_em.update(lcpo_em.init(), x),
    lambda x: conform(x, lambda pairs, **_: pairs.chosen),
    lambda x: conform("dpo", dtype=3 if isinstance(x, str) else x),  # a text that is none is a ValueError
])  # fmt: skip
def test_is_refused_by_the_other_doors(call, wrong):
    with pytest.raises((TypeError, KeyError), match=r"needs? |reads poz|There is no objective"):
        call(wrong)


@pytest.mark.parametrize(("call", "sentence"), [
    (lambda: poz.combine({"dpo": float("nan")}), "finite weights; got nan for `dpo`"),
    (lambda: poz.combine({"dpo": float("inf")}), "finite weights; got inf"),
    (lambda: beta_dpo.update(beta_dpo.init(), [1.0], momentum=2.0), "momentum must be at least 0 and below 1; got 2.0"),
    (lambda: beta_dpo.update(beta_dpo.init(), []), r"of finite margins, one at least; got \[\]"),
    (lambda: beta_dpo.update(beta_dpo.init(), [1.0, float("nan")]), "of finite margins"),
    (lambda: beta_dpo.update(beta_dpo.init(), [[1.0]]), r"shape \(batch,\); got shape \(1, 1\)"),
    (lambda: beta_dpo.keep(beta_dpo.init(), [1.0], np.random.default_rng(0), share=0.0), "share must be above 0"),
    (lambda: group_weights.update([0.5, -0.5], np.ones(2), np.array([0, 1])), "weights must be finite, at least 0"),
    (lambda: group_weights.update([float("nan")], np.ones(1), np.array([0])), "weights must be finite"),
])  # fmt: skip
def test_a_number_out_of_its_domain_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
