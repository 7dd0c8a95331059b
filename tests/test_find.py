"""Objectives for what is at hand: poz.zoo.find, and poz list, which prints them."""

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

import poz
from poz.cli import app

run = CliRunner()


def listed(*options):
    result = run.invoke(app, ["list", *options])
    assert result.exit_code == 0, result.output
    return [line.split("\t") for line in result.stdout.splitlines()]


def names(found):
    return [one.name for one in found]


def test_find_takes_each_condition_and_all_of_them():
    assert poz.zoo.find() == list(poz.zoo.values())
    ranked = poz.zoo.find(family="Ranked")
    assert ranked == poz.zoo.find(family=poz.Ranked)
    assert {"pro", "plackett_luce"} <= {*names(ranked)}
    assert "dpo" not in names(ranked)
    free = poz.zoo.find(family="Pairs", reference_free=True)
    assert {"simpo", "orpo", "cpo"} <= {*names(free)}
    assert not {"dpo", "ipo"} & {*names(free)}
    assert {*names(free)} | {*names(poz.zoo.find(family="Pairs", reference_free=False))} == {
        name for name, one in poz.zoo.items() if one.family is poz.Pairs
    }
    with_label = names(poz.zoo.find(reads="label"))
    assert "dpo" not in with_label
    assert "lcpo" in names(poz.zoo.find(reads=("annotator",)))  # must be given
    assert "bradley_terry" in with_label  # may be given
    assert names(poz.zoo.find(answers="noisy-labels", family="Pairs")).index("dpo") == 0
    assert names(poz.zoo.find(reads=("annotator", "label"))) == [
        n for n in names(poz.zoo.find(reads="annotator")) if n in with_label
    ]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"answers": "tie"}, "no purpose 'tie'. Did you mean 'ties'?"),
        ({"family": "ranked"}, "no family 'ranked'. Did you mean 'Ranked'?"),
        ({"family": dict}, "no family 'dict'. There are Denoising, Pairs"),
        ({"reads": "lable"}, "no field 'lable'. Did you mean 'label'"),
        ({"family": "Unpaired", "reads": ["margin"]}, "no field of Unpaired 'margin'"),
    ],
)
def test_names_that_are_none_have_their_nearest(asked, said):
    with pytest.raises(ValueError, match="There is no") as caught:
        poz.zoo.find(**asked)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--reads", "kl"], "At other settings: with estimator='given' kto. Leave out --reads"),
        (["--reads", "timestep"], "with first=400 diffusion_dpo."),
        (["--reads", "token_advantages", "--with-reference"], "with per_token=True grpo, a2po."),
        (["--for", "ties", "--family", "Rollouts"], "with its defaults. Leave out --for"),
    ],
)
def test_what_is_read_at_a_setting_alone_is_said_where_nothing_is_found(asked, said):
    result = run.invoke(app, ["list", *asked])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_where_it_is_piped_the_list_has_a_line_for_each_with_its_aliases():
    rows = listed()
    assert [row[0] for row in rows] == list(poz.zoo)
    assert {len(row) for row in rows} == {8}
    dpo = next(row for row in rows if row[0] == "dpo")
    assert dpo[1:4] == ["Pairs", "arXiv:2305.18290", "Direct Preference Optimization"]
    assert dpo[4].split() == list(poz.dpo.aliases) != []
    assert dpo[5] == "chosen rejected ref_chosen ref_rejected"
    assert [row[0] for row in listed("--family", "Ranked", "--reference-free")] == names(
        poz.zoo.find(family="Ranked", reference_free=True)
    )
    assert [row[0] for row in listed("--reads", "label", "--reads", "margin")] == names(
        poz.zoo.find(reads=["margin", "label"])
    )


def test_as_json():
    result = run.invoke(app, ["list", "--json", "--family", "Unpaired"])
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert list(rows) == names(poz.zoo.find(family="Unpaired"))
    assert rows["kto"]["paper"] == poz.kto.paper
    assert {*rows["kto"]["reads"]} == poz.kto.reads
    assert {*rows["kto"]["optional"]} == poz.kto.optional


def test_on_a_terminal_of_80_columns_no_word_is_cut(monkeypatch):
    monkeypatch.setattr("poz.cli.screen.out", Console(width=80, force_terminal=True, color_system=None))
    text = run.invoke(app, ["list"]).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for name, one in poz.zoo.items():
        for word in (name, *one.title.split(), *one.aliases):
            assert word.strip("()") in text, word


def test_conditions_that_nothing_meets_are_said():
    result = run.invoke(app, ["list", "--family", "Unpaired", "--reads", "ref_logps", "--reference-free"])
    assert result.exit_code == 2
    assert "No objective is all of that" in result.stderr
    assert "no family 'Pair'. Did you mean 'Pairs'" in run.invoke(app, ["list", "--family", "Pair"]).stderr


def test_why_an_objective_answers_is_said_beside_it(monkeypatch):
    rows = json.loads(run.invoke(app, ["list", "--json", "--for", "ties", "--family", "Pairs"]).stdout)
    assert [row["name"] for row in rows] == names(poz.zoo.find(answers="ties", family="Pairs"))
    for row in rows:
        assert row["answers"] == {one.to: one.why for one in poz.zoo[row["name"]].answers}
        assert "label" in row["answers"]["ties"]
        assert row["reference_free"] == ("reference-free" in row["answers"])
    monkeypatch.setattr("poz.cli.screen.out", Console(width=200, force_terminal=True, color_system=None))
    assert "ties: It reads label, the probability" in run.invoke(app, ["list", "--for", "ties"]).stdout


def test_purposes_are_listed_with_their_sentences_and_how_many_answer_each():
    lines = [line.split("\t") for line in run.invoke(app, ["list", "--purposes"]).stdout.splitlines()]
    assert {one: text for one, _, text in lines} == poz.purposes.PURPOSES
    assert {one: int(count) for one, count, _ in lines} == {
        one: len(poz.zoo.find(answers=one)) for one in poz.purposes.PURPOSES
    }
    rows = json.loads(run.invoke(app, ["list", "--purposes", "--json", "--family", "Ranked"]).stdout)
    found = {row["purpose"]: row["objectives"] for row in rows}
    assert found["k-responses"] == names(poz.zoo.find(answers="k-responses", family="Ranked"))
    assert found["images"] == []


def test_a_word_that_only_a_purpose_sentence_has_finds_the_purpose():
    assert "no purpose 'flipped'. Did you mean 'noisy-labels'?" in run.invoke(app, ["list", "--for", "flipped"]).stderr
    with pytest.raises(ValueError, match="Did you mean 'length-bias'"):
        poz.zoo.find(answers="length")
