"""docs/formats.md: every row is read as the page says, by the objectives that it names, and every program runs."""

import json
import re
import warnings

import numpy as np
import pytest

import poz
from poz import preferences
from poz.columns import check_columns
from poz.families import layout_of
from poz.layouts import read
from poz.lists import read as read_list


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs/formats.md").read_text(encoding="utf-8")


def examples(page):
    """Each row, with the objectives that are said to read it, in the sentence before."""
    for said, row in re.findall(r"[Rr]ead by\s((?:`\w+`(?:, )?)+):\n\n```json\n(.*)\n```", page):
        yield re.findall(r"`(\w+)`", said), json.loads(row)


def test_every_row_is_read_by_the_objectives_that_are_named(page, tmp_path):
    rows = list(examples(page))
    assert len(rows) == len(re.findall("^```json", page, re.MULTILINE)) - 1  # the prompt of rollouts
    for names, row in rows:
        if "completions" in row:
            found = [read_list(row, "the row")]
            assert found[0]["completions"][0] == " Eight minutes."
            assert found[0].keys() >= {"scores", "ranks", "winrates"} & row.keys()
        else:
            found = read(row, "the row")
            assert found[0].keys() >= row.keys() - {"score_chosen", "score_rejected"}
        for name in names:
            spec = poz.zoo[name]
            if not layout_of(spec.family).lists:
                check_columns(spec, list(found[0]), "the row")


def test_what_a_file_of_pairs_holds(page, tmp_path):
    path = tmp_path / "rows.jsonl"
    for _, row in examples(page):
        if "completion" in row:
            continue
        path.write_text(json.dumps(row), encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pairs = preferences.load(path)
        assert len(pairs) == {3: 3, 2: 1}[len(row.get("completions", "ab"))]
        assert pairs[0]["chosen"] != pairs[0]["rejected"]
    path.write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c", "image": "x.png"}))
    with pytest.raises(ValueError, match="holds an 'image', which is not a text"):
        preferences.load(path)


def test_the_programs_run_and_the_ways_to_make_pairs_agree(page):
    given = {"np": np, "poz": poz}
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 8
    for block in blocks:
        exec(block, given)
        if "packed" in block:
            assert given["pairs"].chosen_len.tolist() == [3, 2]
            for other in ("halves", "turns", "packed"):
                for field in ("chosen", "rejected", "chosen_len", "rejected_len"):
                    np.testing.assert_allclose(getattr(given[other], field), getattr(given["pairs"], field), rtol=1e-15)
        elif "losses" in block:
            assert np.isfinite(given["losses"]).all(), block
            assert given["losses"].ndim == 1


def test_every_family_has_a_section(page):
    assert {spec.family.__name__ for spec in poz.zoo.values()} <= set(re.findall("^## (.*)", page, re.MULTILINE))
