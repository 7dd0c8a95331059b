"""The command line, as a user runs it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import poz
from poz.cli import app

run = CliRunner()


def test_list_names_every_objective():
    result = run.invoke(app, ["list"])
    assert result.exit_code == 0
    assert all(name in result.output for name in poz.zoo)


@pytest.mark.parametrize("name", poz.zoo)
def test_show_prints_formula_parameters_and_sources(name, monkeypatch):
    monkeypatch.setattr("poz.cli.screen.out", Console(width=400))
    result = run.invoke(app, ["show", name])
    spec = poz.zoo[name]
    flat = "".join(result.output.split())
    assert result.exit_code == 0
    formula = re.search("Formula: (.*)", spec.__doc__)[1]
    for text in (spec.title, spec.paper, formula, *spec.params, *(d.who for d in spec.deviations)):
        assert "".join(text.split()) in flat, text


def test_an_unknown_name_gets_the_nearest():
    result = subprocess.run(
        [sys.executable, "-P", "-m", "poz", "show", "simop"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "Did you mean 'simpo'" in result.stderr
    assert "Traceback" not in result.stderr


def test_verify_writes_json_and_fails_on_a_miss(tmp_path):
    target = tmp_path / "out.json"
    result = run.invoke(app, ["verify", "dpo", "ipo", "--backend", "numpy", "--cases", "3", "--json", str(target)])
    assert result.exit_code == 0, result.output
    assert "2 passed, 0 failed" in result.output
    report = json.loads(target.read_text())
    assert {r["objective"] for r in report["results"]} == {"dpo", "ipo"}
    assert all(r["passed"] and r["cases"] == 3 for r in report["results"])
    assert report["versions"]["poz"] == poz.__version__


@pytest.mark.parametrize("name", ["simpo", "orpo"])
def test_verify_runs_triton_in_the_interpreter(name):
    """The fourth case has infinite log-probs: with a weight of 0 the kernel of `orpo` gave NaN there."""
    result = run.invoke(app, ["verify", name, "--backend", "triton", "--cases", "4"])
    assert result.exit_code == 0, result.output


def test_a_wrong_reference_makes_verify_fail(tmp_path):
    """A sign flipped in reference/pairs/dpo.py, seen by the worker process through a copy of the package."""
    import shutil

    root = Path(__file__).resolve().parents[1]
    shutil.copytree(root / "poz", tmp_path / "poz", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(root / "reference", tmp_path / "poz/reference")
    broken = tmp_path / "poz/reference/pairs/dpo.py"
    text = broken.read_text()
    assert text.count("softplus(-z)") >= 1
    broken.write_text(text.replace("softplus(-z)", "softplus(z)"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    command = [sys.executable, "-P", "-m", "poz", "verify", "dpo", "--backend", "numpy"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 1, result.stderr
    assert "0 passed, 1 failed" in result.stdout


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["plot", "dpo", "-o", "{folder}"], "is a folder. Name a file in it."),
        (["plot", "dpo", "-o", "{folder}/curves.txt"], "must end in .png, .pdf, .svg."),
        (["plot", "dpo", "-o", "{folder}/none/curves.png"], "There is no folder"),
        (["plot", "dpo", "-o", "{folder}/x.png", "--widest", "nan"], "--widest must be a positive number"),
        (["plot", "dpo", "-o", "{folder}/x.png", "--widest", "-1"], "--widest must be a positive number"),
        (["verify", "dpo", "--json", "{folder}"], "is a folder. Name a file in it."),
        (["demo", "-o", "{folder}"], "is a folder. Name a file in it."),
        (["demo", "-o", "{folder}/curves.txt"], "must end in .png, .pdf, .svg."),
        (["demo", "-o", "{folder}/file/curves.png"], "There is no folder"),
        (["bench", "--json", "{folder}"], "is a folder. Name a file in it."),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(tmp_path, command, sentence, monkeypatch):
    monkeypatch.setattr("poz.demo.trainer_of", None)
    (tmp_path / "file").touch()
    result = run.invoke(app, [part.format(folder=tmp_path) for part in command])
    assert result.exit_code == 2, result.output
    assert sentence in " ".join(result.stderr.split())
    assert not tmp_path.with_suffix(".png").exists()


def test_an_unknown_backend_gets_a_sentence():
    result = subprocess.run(
        [sys.executable, "-P", "-m", "poz", "verify", "dpo", "--backend", "mlx"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "There is no backend 'mlx'" in result.stderr


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("dpo", "beta=0.5", 0.5),
        ("dpo", " beta = 1e-3 ", 1e-3),
        ("simpo", "gamma=none", None),
        ("cpl", "regularizer=kl", "kl"),
        ("cpl", "regularizer=none", "none"),
        ("ipo", "length_normalized=true", True),
        ("vpo", "sign=-1", -1),
        ("mnpo", "weights=0.25,0.75", (0.25, 0.75)),
        ("mnpo", "weights=None", None),
        ("lcpo", "base=ipo", poz.ipo),
    ],
)
def test_demo_reads_hyper_parameters_by_their_domain(monkeypatch, name, given, value):
    seen = {}
    monkeypatch.setattr("poz.demo.run", lambda *args, **more: seen.update(more))
    result = run.invoke(app, ["demo", "--objective", name, "--param", given])
    assert result.exit_code == 0, result.output
    assert seen["params"] == {given.split("=")[0].strip(): value}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["beta"], "--param takes a name and a value, as in beta=0.5; got 'beta'."),
        (["beta="], "--param takes a name and a value"),
        (["gamma=1"], "`dpo` has no hyper-parameter 'gamma'; it has beta, label_smoothing."),
        (["beta=-1"], "`dpo` needs a number in (0, inf) for beta; got -1."),
        (["beta=nan"], "`dpo` needs a number in (0, inf) for beta; got nan."),
        (["beta=high"], "`dpo` needs a number in (0, inf) for beta; got 'high'."),
        (["beta=none"], "`dpo` needs a number in (0, inf) for beta; got 'none'."),
        (["beta=1", "beta=2"], "--param gives beta twice."),
    ],
)
def test_demo_refuses_hyper_parameters_in_a_sentence(monkeypatch, given, sentence):
    monkeypatch.setattr("poz.demo.run", None)
    result = run.invoke(app, ["demo", "--objective", "dpo", *(part for one in given for part in ("--param", one))])
    assert result.exit_code == 2, result.output
    assert sentence in " ".join(result.stderr.split())


def test_demo_ends_with_1_where_the_loss_is_no_number(monkeypatch):
    def run_into_nan(*_, **__):
        raise FloatingPointError("The loss on held-out pairs is nan after 2 steps.")

    monkeypatch.setattr("poz.demo.run", run_into_nan)
    result = run.invoke(app, ["demo"])
    assert result.exit_code == 1, result.output
    assert "is nan after 2 steps" in " ".join(result.stderr.split())
