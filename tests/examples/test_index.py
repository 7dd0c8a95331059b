"""examples/README.md names every file and how it is run, and the files of data are read as it says."""

import re
import shlex
import warnings

import pytest

import poz
from poz import demo, preferences
from poz._rows import rows
from poz.lists import read


@pytest.fixture(scope="module")
def index(root):
    return (root / "examples/README.md").read_text(encoding="utf-8")


def test_it_has_each_file_and_no_other(root, index):
    files = (path for path in (root / "examples").rglob("*") if path.suffix in (".py", ".jsonl"))
    there = {str(path.relative_to(root / "examples")) for path in files}
    assert set(re.findall(r"^\| `([\w/.]+)`", index, re.MULTILINE)) == there


def test_what_is_to_be_run_is_there(root, index):
    commands = [shlex.split(line) for line in re.findall(r"\| `((?:python|torchrun|accelerate|poz) [^`]+)` \|", index)]
    assert len(commands) == len(re.findall(r"^\| `", index, re.MULTILINE))
    for command in commands:
        assert [part for part in command if "examples/" in part and not (root / part).is_file()] == []
        if command[0] == "poz":
            assert command[1] == "demo"
            assert "--objective" not in command or command[command.index("--objective") + 1] in poz.zoo


@pytest.mark.parametrize(("name", "pairs"), [("pairs", 24), ("annotators", 90), ("lists", 36), ("good_or_not", 12)])
def test_a_file_is_read(root, name, pairs):
    path = root / f"examples/{name}.jsonl"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(preferences.load(path)) == pairs
    if name == "lists":
        assert {len(read(row, where)["completions"]) for where, row in rows(path)} == {3, 4}


def test_the_demo_finds_the_annotator_who_is_wrong(root, tmp_path):
    """In a few steps, after which nobody is trusted as at the start, 0.9."""
    data, said = root / "examples/annotators.jsonl", []
    how = {"batch_size": 12, "learning_rate": 1e-2, "max_length": 64, "show": said.append}
    found = demo.run("lcpo_em", data, 14, tmp_path / "x.png", **how).reliability
    assert found["cleo"] < 0.88 < min(found["anna"], found["ben"])
