"""`poz demo` trains a reward model too, and has it score what a policy writes."""

import json
import math

import pytest
from typer.testing import CliRunner

import poz
from poz import demo, preferences
from poz.cli import app

EMBEDDING = {"chosen_embedding", "rejected_embedding"}
CHEAP = {"batch_size": 2, "steps": 1}


@pytest.fixture(scope="module")
def reward(tmp_path_factory):
    """What the demo gives back, its report, and where the model is."""
    folder, lines = tmp_path_factory.mktemp("reward"), []
    result = demo.run(
        "bradley_terry", steps=24, out=folder / "x.png", save=folder / "model", learning_rate=3e-3, show=lines.append
    )
    return result, lines, folder / "model"


def test_learns_the_shipped_preference_on_held_out_pairs(reward):
    result, lines, folder = reward
    assert (result.train_pairs, result.held_out_pairs) == (96, 24)
    assert result.after.accuracy >= 0.9 > 0.7 >= result.before.accuracy
    assert result.after.margin > result.before.margin + 2
    assert result.after.loss < 0.3 < result.before.loss
    assert result.held_out[0] == (0, result.before)
    assert result.picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert lines[0].startswith("Bradley-Terry reward model (arXiv:2203.02155), 24 steps of 16 pairs")
    assert "margin: mean score of chosen minus that of rejected" in lines
    assert lines[-1] == f"it scores what a policy writes: poz demo --objective orpo --reward-model {folder}"
    assert {"config.json", "tokenizer.json"} <= {path.name for path in folder.iterdir()}


def test_it_scores_what_a_policy_writes(reward, tmp_path):
    lines = []
    given = {"out": tmp_path / "x.png", "reward_model": reward[2], "save": tmp_path / "policy", "show": lines.append}
    result = demo.run("orpo", **CHEAP, **given)
    judged = result.judged
    assert judged.completions == 24
    assert judged.before != judged.after
    # The same held-out pairs as when it was trained, whose margin its trainer measured in other batches.
    assert judged.chosen.mean - judged.rejected.mean == pytest.approx(reward[0].after.margin, rel=1e-4)
    assert all(math.isfinite(x) and error > 0 for x, error in judged[1:])
    (row,) = [line for line in lines if line.startswith("reward ")]
    assert (
        row.split()[1:]
        == f"{judged.before.mean:.4g} ± {judged.before.error:.3f} {judged.after.mean:.4g} ± {judged.after.error:.3f}".split()
    )
    assert any(
        f"of chosen ones {judged.chosen.mean:.4g}, of rejected ones {judged.rejected.mean:.4g}" in line
        for line in lines
    )
    plain = demo.run("orpo", **CHEAP, out=tmp_path / "x.png", show=lines.append)
    assert plain.judged is None
    assert (plain.before, plain.after) == (result.before, result.after)  # it draws from random numbers of its own
    with pytest.raises(ValueError, match=r"policy holds a LlamaForCausalLM, which gives no scores"):
        demo.run("orpo", **CHEAP, **{**given, "reward_model": tmp_path / "policy"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("orpo", r"holds no reward model\. Train one: poz demo --objective bradley_terry --save .*nowhere"),
        ("bradley_terry", "`bradley_terry` trains a reward model itself"),
    ],
)
def test_refuses(tmp_path, name, said):
    with pytest.raises(ValueError, match=said):
        demo.run(name, **CHEAP, out=tmp_path / "x.png", reward_model=tmp_path / "nowhere")


def test_columns_are_read_or_left_out_aloud(tmp_path):
    rows = [{**pair, "margin": 1.0, "annotator": i} for i, pair in enumerate(preferences.load()[:8])]
    path, lines = tmp_path / "rows.jsonl", []
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    demo.run("bradley_terry", path, **CHEAP, out=tmp_path / "x.png", show=lines.append)
    assert "bradley_terry reads margin of the pairs" in lines
    assert "bradley_terry does not read annotator: left out" in lines


@pytest.mark.parametrize("name", [name for name, spec in poz.zoo.items() if spec.reads == EMBEDDING])
def test_an_embedding_in_place_of_a_score(tmp_path, name):
    result = demo.run(name, **CHEAP, out=tmp_path / "x.png", show=lambda line: None)
    assert result.before != result.after
    assert math.isfinite(result.after.margin)


def test_folders_on_the_command_line(monkeypatch, tmp_path):
    seen = {}
    monkeypatch.setattr("poz.demo.run", lambda *args, **more: seen.update(more))
    given = ["demo", "--save", str(tmp_path / "a"), "--reward-model", str(tmp_path / "b")]
    assert CliRunner().invoke(app, given).exit_code == 0
    assert (seen["save"], seen["reward_model"]) == (tmp_path / "a", tmp_path / "b")
