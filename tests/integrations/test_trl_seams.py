"""What poz touches of TRL's private names is in one file, and one that is gone or otherwise is said when it is imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import trl
from trl.trainer import dpo_trainer, grpo_trainer, kto_trainer, reward_trainer, utils

from poz.integrations import trl as ours
from poz.integrations.trl import seams

FILES = sorted(Path(ours.__file__).parent.glob("*.py"))
TRAINERS = (trl.DPOTrainer, trl.KTOTrainer, trl.RewardTrainer, trl.GRPOTrainer)


def private(names):
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


def of_trl():
    """Private names of the trainers, of what their methods read and write, and of the modules that they use."""
    found = set().union(*(private(vars(one)) for one in (utils, *seams.MODULES.values())))
    for trainer in TRAINERS:
        found |= private(dir(trainer))
        for function in (getattr(trainer, name) for name in dir(trainer)):
            found |= private(getattr(getattr(function, "__code__", None), "co_names", ()))
    return found - {"_attn_implementation"}  # of transformers' configurations, which TRL reads too


def touched(tree):
    for node in ast.walk(tree):
        for field in ("attr", "name", "id", "arg"):
            if isinstance(name := getattr(node, field, None), str):
                yield name
        if isinstance(node, ast.alias):
            yield from node.name.split(".")


def test_the_names_are_found():
    assert {"_metrics", "_compute_loss", "_ChunkedLogProbFunction", "_precompute_model_hash", "_tp_size"} <= of_trl()
    assert set(touched(ast.parse("self._a._b\ndef _c(_d): from x import _e"))) >= {"_a", "_b", "_c", "_d", "_e"}


@pytest.mark.parametrize("file", [file for file in FILES if file.name != "seams.py"], ids=lambda file: file.name)
def test_no_other_file_touches_them(file):
    tree = ast.parse(file.read_text())
    assert set(touched(tree)) & of_trl() == set()
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not any(module == "trl" or module.startswith("trl.") for module in modules)


def other(*_, **__):
    """In a method's place: it takes other arguments, and sets nothing."""


def nothing(one):
    pass


METHODS = [(trainer, name) for trainer in TRAINERS for name in (*seams.METHODS[trainer.__name__], "__init__")]
GONE = [
    *((dpo_trainer, name) for name in seams.EXCHANGED),
    *((kto_trainer, name) for name in (*seams.EXCHANGED, "KTOTrainer")),
    *((grpo_trainer, name) for name in (*seams.EXCHANGED, "GRPOTrainer")),
    (reward_trainer, "RewardTrainer"),
    *((utils, name) for name in (*seams.FUNCTIONS, "_ChunkedLogProbFunction")),
]


@pytest.mark.parametrize(("where", "name"), GONE)
def test_one_that_is_gone(monkeypatch, where, name):
    monkeypatch.delattr(where, name)
    with pytest.raises(ImportError, match=rf"trl .* has no .*{name}.*last saw in trl 1\.16\. Install trl==1\.16"):
        seams.check()


@pytest.mark.parametrize("trainer", TRAINERS)
def test_every_attribute_is_looked_for(monkeypatch, trainer):
    name = trainer.__name__
    monkeypatch.setattr(seams, "ATTRIBUTES", {**seams.ATTRIBUTES, name: (*seams.ATTRIBUTES[name], "_gone")})
    with pytest.raises(ImportError, match=rf"has no attribute _gone of trl\.{name}, .*last saw in trl 1\.16"):
        seams.check()


@pytest.mark.parametrize("table", ["LABELS", "EXCHANGED"])
def test_every_name_of_a_table_is_looked_for(monkeypatch, table):
    monkeypatch.setattr(seams, table, (*getattr(seams, table), "_gone"))
    with pytest.raises(ImportError, match=r"has no .*_gone.*last saw in trl 1\.16"):
        seams.check()


@pytest.mark.parametrize(("trainer", "name"), METHODS)
def test_a_method_that_is_otherwise(monkeypatch, trainer, name):
    monkeypatch.setattr(trainer, name, other)
    said = "no attribute _metrics of" if name == "__init__" else rf"other arguments of .*{name}, \(_, __\) for \(self"
    with pytest.raises(ImportError, match=rf"has {said}.*last saw in trl 1\.16"):
        seams.check()


@pytest.mark.parametrize("name", [name for name, arguments in seams.FUNCTIONS.items() if arguments])
def test_a_function_that_is_otherwise(monkeypatch, name):
    monkeypatch.setattr(utils, name, nothing)
    with pytest.raises(ImportError, match=rf"other arguments of trl\.trainer\.utils\.{name}, \(one\) for"):
        seams.check()


def test_a_head_that_takes_other_arguments(monkeypatch):
    monkeypatch.setattr(utils._ChunkedLogProbFunction, "forward", staticmethod(nothing))
    with pytest.raises(ImportError, match=r"other arguments of its forward, \(one\) for \(ctx, hidden, weight"):
        seams.check()


def test_all_are_there_and_an_older_trl_is_refused(monkeypatch):
    seams.check()
    monkeypatch.setattr(trl, "__version__", "1.13.0")
    with pytest.raises(ImportError, match=r"needs trl >= 1\.14, .* found 1\.13\.0"):
        seams.check()


def test_it_is_said_when_poz_is_imported():
    code = "from trl.trainer import utils; del utils._use_triton; import poz.integrations.trl_kto"
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "ImportError" in found.stderr
    assert "no trl.trainer.utils._use_triton, which poz.integrations.trl builds on" in found.stderr.splitlines()[-1]
