"""What `import poz` offers, what a name that it has not may have meant, and what an objective has to be made of."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
from rich.console import Console
from typer.testing import CliRunner

import poz
from poz.cli import app
from poz.domains import Real
from poz.objective import objective

SPEC = {"title": "own", "paper": "none", "equation": "none", "formula": "x", "reads": "chosen rejected"}


def test_a_star_import_brings_public_names_alone():
    names = {}
    exec("from poz import *", names)
    del names["__builtins__"]
    families = {"Pairs", "TokenPairs", "Ranked", "Unpaired", "Samples", "Denoising", "RewardPairs", "Rollouts"}
    assert set(names) == families | {"Counts", "Objective", "UnknownObjective", "combine", "zoo"} | set(poz.zoo)


def test_dir_shows_what_there_is():
    shown = dir(poz)
    assert {"dpo", "Pairs", "combine", "torch", "jax", "testing", "kernels", "reference", "__version__"} <= set(shown)
    assert {"domains", "families", "peers", "plotting", "purposes", "rewards", "terms", "worlds"} <= set(shown)
    assert not {"Any", "TYPE_CHECKING", "find_spec", "import_module", "get_close_matches"} & set(shown)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Pair", "Pairs"), ("pairs", "Pairs"), ("TokenPair", "TokenPairs"), ("combin", "combine"), ("objectiv", "Objective"),
     ("purpose", "purposes"), ("kernal", "kernels"), ("simp", "simpo")],
)  # fmt: skip
def test_a_misspelled_name_is_set_right(name, meant):
    with pytest.raises(AttributeError, match=f"`poz` has no attribute '{name}'. Did you mean '{meant}'"):
        getattr(poz, name)


def test_modules_are_there_without_a_second_import(root):
    """Of the packages that need NumPy alone."""
    names = (root / "tests/public_names.txt").read_text().split()
    lines = [name for name in names if name.startswith(("poz.algorithms.", "poz.rewards.", "poz.testing."))]
    assert "poz.algorithms.latents" in lines
    code = "import sys, poz\nassert 'poz.algorithms' not in sys.modules\n" + "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_module_that_is_not_there_is_said():
    with pytest.raises(AttributeError, match=r"`poz\.algorithms` has no attribute 'latent'; its modules are .*latents"):
        _ = poz.algorithms.latent
    assert "lcpo_em" in dir(poz.algorithms)


def test_what_is_no_name_is_not_there():
    assert not hasattr(poz, "dpo.foo")
    assert not hasattr(poz, "")


def bare(xp, pairs):
    """No family."""


def undeclared(xp, pairs: poz.Pairs, *, beta: float = 0.1):
    """No domain."""


def array(xp, pairs: float):
    """Another family."""


def positional(xp, pairs: poz.Pairs, beta: Annotated[float, Real("β", low=0)] = 0.1):
    """Hyper-parameters that are no keywords."""


def required(xp, pairs: poz.Pairs, *, beta: Annotated[float, Real("β", low=0)]):
    """No default."""


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda xp, pairs: pairs.chosen, "needs a family of poz.families as the annotation of its second argument"),
        (bare, "needs a family of poz.families as the annotation of its second argument"),
        (array, "needs a family of poz.families as the annotation of its second argument"),
        (lambda: 0, "needs a family of poz.families as the annotation of its second argument"),
        (undeclared, "needs a default and a domain for beta"),
        (required, "needs a default and a domain for beta"),
        (positional, "needs its hyper-parameters behind a *; got beta"),
    ],
)
def test_what_makes_no_objective_is_refused(function, said):
    with pytest.raises(TypeError) as caught:
        objective(**SPEC)(function)
    assert said in str(caught.value)


def test_a_name_that_comes_twice_is_verified_once(tmp_path):
    target = tmp_path / "out.json"
    command = "verify dpo sigmoid dpo --backend numpy --backend numpy --cases 1 --json"
    assert CliRunner().invoke(app, [*command.split(), str(target)]).exit_code == 0
    assert [r["objective"] for r in json.loads(target.read_text())["results"]] == ["dpo"]


def test_a_report_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    result = CliRunner().invoke(app, f"verify dpo --backend numpy --cases 1 --json {tmp_path}/x.json".split())
    assert result.exit_code == 2
    assert "Cannot write" in result.stderr
    assert "1 passed, 0 failed" in result.stdout


def test_a_narrow_list_cuts_nothing_off(monkeypatch):
    monkeypatch.setattr("poz.cli.screen.out", Console(width=40, force_terminal=True, color_system=None))
    text = CliRunner().invoke(app, ["list"]).stdout
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 40
    for word in ("dpo", "2305.18290", "Pairs", "sigmoid"):
        assert word in text


def test_references_are_found_in_the_folders_of_their_families():
    assert set(poz.zoo) <= set(dir(poz.reference))
    assert set(poz.reference.__all__) == set(poz.zoo)
    assert poz.reference.pro.__module__ == "poz.reference.ranked.pro"
    with pytest.raises(AttributeError, match=r"`poz\.reference` has no attribute 'dpoo'"):
        _ = poz.reference.dpoo


def test_show_says_where_an_objective_is(root, monkeypatch):
    monkeypatch.chdir(root)
    shown = CliRunner().invoke(app, ["show", "sppo"]).stdout
    files = [line.removeprefix("file\t") for line in shown.splitlines() if line.startswith("file\t")]
    assert files == ["poz/objectives/samples/sppo.py", "reference/samples/sppo.py"]
    shown = CliRunner().invoke(app, ["show", "pro"]).stdout
    assert shown.endswith("file\treference/ranked/pro.py\nfile\tkernels/ranked/pro.py\n")
