"""A name that is none has its nearest in the message, and a call that does not fit says what would."""

import inspect
import pickle

import numpy as np
import pytest
from typer.testing import CliRunner

import poz
from poz import testing
from poz.cli import app
from poz.columns import check_columns
from poz.layouts import read

X = np.zeros(2)
PAIRS = poz.Pairs(X, X, X, X)
FAMILIES = [
    poz.Denoising,
    poz.Pairs,
    poz.Ranked,
    poz.RewardPairs,
    poz.Rollouts,
    poz.Samples,
    poz.TokenPairs,
    poz.Unpaired,
]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: poz.dpo.bind(betta=2), "has no hyper-parameter 'betta'; it has beta, label_smoothing. Did you mean 'beta'?"),
        (lambda: poz.dpo(PAIRS, lable_smoothing=0.1), "Did you mean 'label_smoothing'?"),
        (lambda: poz.dpo(PAIRS, 0.1), "`dpo` takes its hyper-parameters by name: poz.dpo(batch, beta=...); got 0.1 besides"),
        (lambda: poz.dpo.bind(0.1), "`dpo` takes its hyper-parameters by name: poz.dpo.bind(beta=...); got 0.1."),
        (lambda: poz.sppo.bind(0.1), "poz.sppo.bind(eta=...)"),
        (lambda: poz.dpo(), "`dpo` reads poz.Pairs; got nothing. Give poz.Pairs(chosen=..., rejected=..., ref_chosen=..., "),
        (lambda: poz.dpo(chosen=X, rejected=X), "chosen is a field of poz.Pairs: give poz.dpo(poz.Pairs(chosen=..., "),
        (lambda: poz.dpo.bind(ref_chosen=X), "ref_chosen is a field of poz.Pairs"),
        (lambda: poz.combine({"dpo": 1.0})(PAIRS, 0.1), "has no hyper-parameters; got 0.1 besides the batch"),
        (lambda: poz.Pairs(choosen=X, rejected=X), "poz.Pairs has no field 'choosen'. Did you mean 'chosen'"),
        (lambda: poz.Pairs(X, X, ref_choosen=X), "poz.Pairs has no field 'ref_choosen'. Did you mean 'ref_chosen'"),
        (lambda: poz.Pairs(X, qqq=X), "poz.Pairs has no field 'qqq'. Its fields are chosen, rejected, ref_chosen"),
        (lambda: poz.Pairs(), "poz.Pairs needs chosen"),
        (lambda: poz.Denoising(X, X, X, X, X, X), "poz.Denoising has 5 fields, chosen, rejected, ref_chosen"),
        (lambda: poz.Pairs.from_tokens(np.zeros((2, 3)), np.zeros((2, 3)), ref_choosen=X), "Did you mean 'ref_chosen'"),
        (lambda: poz.zoo["gpro"], "Did you mean 'grpo' or"),
        (lambda: poz.combine({"dpoo": 1.0}), "Did you mean 'dpo'"),
        (lambda: poz.peers.libraries()["TLR"], "There is no library 'TLR'. Did you mean 'TRL'"),
        (lambda: poz.zoo.find(answers=5), "Zoo.find needs a text or an Iterable for answers; got 5."),
        (lambda: read({"prompt": "a", "choosen": "b", "rejected": "c"}, "line 1"), "Did you mean 'choosen' by it?"),
    ],
)  # fmt: skip
def test_in_python(call, said):
    with pytest.raises((TypeError, KeyError, ValueError)) as caught:
        call()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: poz.gpo_link.bind(link="exponental"), "Did you mean 'exponential'?"),
        (lambda: testing.conform("dpo", backend="nump"), "Did you mean 'numpy'?"),
        (lambda: testing.conform("dpo", dtype="float46"), "Did you mean 'float64'"),
        (lambda: testing.conform("dpo", reduction="men"), "Did you mean 'mean'?"),
        (lambda: testing.conform("dpo", constant=["choosen"]), "Did you mean 'chosen'"),
        (lambda: testing.conform("kto", without=["wieghts"]), "Did you mean 'weights'?"),
        (
            lambda: check_columns(poz.lcpo.bind(reliability=X), ["anotator"], "the data"),
            "Did you mean 'anotator' by it?",
        ),
        (lambda: check_columns(poz.odpo, ["margins"], "the data"), "Did you mean 'margins' by it?"),
        (lambda: poz.Pairs.from_halves(np.zeros((2, 3)), layout="interleafed"), "Did you mean 'interleaved'?"),
    ],
)
def test_in_settings_and_columns(call, said):
    with pytest.raises(ValueError, match=r"Did you mean") as caught:
        call()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: poz.Pair, "Did you mean 'Pairs'"),
        (lambda: poz.reference.dpoo, "Did you mean 'dpo'"),
    ],
)
def test_in_modules(call, said):
    with pytest.raises(AttributeError) as caught:
        call()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("show simop", "Did you mean 'simpo'"),
        ("list --for tie", "Did you mean 'ties'"),
        ("list --family pairs", "Did you mean 'Pairs'"),
        ("list --reads lable", "Did you mean 'label'"),
        ("list --fmily Pairs", "--family"),
        ("lst", "Did you mean 'list'"),
        ("show dppo", "Did you mean 'dppo_tv' or 'dppo_kl'"),
        ("verify dpo --backend nump", "Did you mean 'numpy'"),
        ("demo --param betta=2", "Did you mean 'beta'"),
        ("audit --library TLR", "Did you mean 'TRL'"),
        ("audit --objective dppo", "Did you mean"),
    ],
)
def test_on_the_command_line(command, said):
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.__name__)
def test_families_are_still_named_tuples(family):
    _, *others = family._fields
    required = len(others) + 1 - len(family._field_defaults)
    one = family(*[X] * max(required, 1))
    assert one[0] is X
    assert isinstance(one, tuple)
    assert family._make([X, *others])[1:] == tuple(others)
    assert one._replace(**{others[0]: 1})[1] == 1
    assert pickle.loads(pickle.dumps(one))[max(required, 1) :] == one[max(required, 1) :]
    assert list(inspect.signature(family).parameters) == list(family._fields)
    assert family.__new__.__qualname__ == f"{family.__name__}.__new__"
