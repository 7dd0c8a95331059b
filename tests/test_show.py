"""poz show: what one objective is, whoever reads it."""

import json
import re

import pytest
from rich.console import Console
from typer.testing import CliRunner

import poz
from poz.cli import app

NAMES = ("dpo", "lcpo", "kto", "grpo", "bradley_terry")


def shown(*arguments):
    result = CliRunner().invoke(app, ["show", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("name", NAMES)
def test_in_a_pipe_it_is_a_line_a_fact(name):
    spec, rows = poz.zoo[name], [line.split("\t") for line in shown(name).splitlines()]
    facts = {key: [row[1:] for row in rows if row[0] == key] for key in dict.fromkeys(row[0] for row in rows)}
    assert facts["name"] == [[name]]
    assert [one for one, *_ in facts.get("alias", [])] == list(spec.aliases)
    assert [one for one, *_ in facts["parameter"]] == list(spec.params)
    assert [one for one, *_ in facts.get("answers", [])] == [one.to for one in spec.answers]
    assert [why for _, why in facts.get("answers", [])] == [one.why for one in spec.answers]
    assert {*facts["reads"][0][0].split()} == spec.reads
    assert not {*"│┃━…"} & {*shown(name)}
    assert all(path.endswith(f"{name}.py") for (path,) in facts["file"])


@pytest.mark.parametrize("name", NAMES)
def test_as_json_it_has_all_of_it_and_the_latex(name):
    spec, facts = poz.zoo[name], json.loads(shown(name, "--json"))
    assert facts["latex"] == spec.formula
    assert facts["formula"] == re.search("Formula: (.*)", spec.__doc__)[1]
    assert [one["name"] for one in facts["parameters"]] == list(spec.params)
    assert [one["to"] for one in facts["reduces_to"]] == [limit.to for limit in spec.reduces_to]
    assert [one["who"] for one in facts["deviations"]] == [one.who for one in spec.deviations]
    assert facts["basis"] == spec.basis


def test_latex_is_there_where_it_is_asked_for(monkeypatch):
    assert f"formula\t{poz.ipo.formula}\n" in shown("ipo", "--latex")
    assert "formula\t(h - 1/(2τ))²\n" in shown("ipo")
    monkeypatch.setattr("poz.cli.screen.out", Console(width=40, force_terminal=True, color_system=None))
    assert poz.dpo.formula in shown("dpo", "--latex")  # in one piece, to be copied


def test_who_computes_it_is_a_line_for_each_library_with_the_name_it_has_there():
    rows = [line.split("\t")[1:] for line in shown("dpo").splitlines() if line.startswith("used_by\t")]
    used = dict(rows)
    assert len({name.rsplit(" ", 1)[0] for name in used}) == len(rows) > 10
    (trl,) = [names for library, names in rows if library.startswith("TRL ")]
    assert "DPOTrainer, loss_type='sigmoid' (here label_smoothing=0.0)" in trl
    versions = {one["version"] for one in poz.peers.results()["records"] if one["library"] == "TRL"}
    assert "TRL " + max(versions, key=lambda one: tuple(map(int, one.split(".")))) in used
    (differs,) = [line for line in shown("orpo").splitlines() if line.startswith("used_by\tTunix")]
    assert differs.endswith("DPOTrainer, algorithm='orpo' (differs)")
    assert "used_by" not in shown("lcpo")


def test_an_alias_shows_the_objective_it_is_of():
    assert shown("sigmoid") == shown("dpo")
