"""poz worlds, but for the training: nobody moves here, so that every policy is the reference."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from poz.cli import app
from poz.worlds import budget, runs
from poz.worlds.language import FEATURES


@pytest.fixture
def nobody_moves(monkeypatch):
    def run(worlds, objectives, draws, *, settings, steps):
        for one in objectives:
            there = [world for world in worlds if not budget.reason(one, world)]
            still = np.zeros((len(draws.seeds), settings, 2, FEATURES))
            yield [runs.record(one, world, draws, {}, still) for world in there]

    monkeypatch.setattr(runs, "run", run)


def worlds(*given):
    return CliRunner().invoke(app, ["worlds", "--quick", *given])


def test_what_is_written_has_seed_versions_and_what_is_left_out(nobody_moves, tmp_path):
    names = {"--world": ("clean", "cycles"), "--objective": ("dpo", "plackett_luce", "modpo")}
    given = [part for option, values in names.items() for value in values for part in (option, value)]
    found = []
    for seed in (3, 3, 4):
        path = tmp_path / "found.json"
        result = worlds(*given, "--seed", str(seed), "--json", str(path))
        assert result.exit_code == 0, result.output
        found.append(json.loads(path.read_text()))
    assert found[0]["results"] == found[1]["results"] != found[2]["results"]
    first = found[0]
    assert (first["seed"], first["seeds"], first["finished"]) == (3, 4, True)
    assert {"python", "numpy", "jax", "poz"} <= first["versions"].keys()
    assert first["left_out"] == {
        "modpo": dict.fromkeys(("clean", "cycles"), "its margin is the reward of another goal"),
        "plackett_luce": {"cycles": "there is no order of a list"},
    }
    for one in first["results"]:  # the reference, chosen among equals
        assert (one["picked"], one["kl"], one["raised"]) == ([0] * 4, [0.0] * 4, [0.0] * 4)
        assert one["regret"] == next(r["regret"] for r in first["reference"] if r["world"] == one["world"])
    assert "plackett_luce is left out of cycles: there is no order of a list." in result.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--world clea", "There is no world 'clea'. Did you mean 'clean'"),
        ("--objective grpo", "`grpo` is on Rollouts, which no world fills. Objectives on Pairs, TokenPairs, Ranked"),
        ("--seed -1", "--seed must be a whole number from 0 to 4294967295; got -1."),
        ("--plot x.gif", "x.gif must end in .png, .pdf, .svg."),
    ],
)
def test_what_cannot_be_run_is_said_before(given, said):
    result = worlds(*given.split())
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
