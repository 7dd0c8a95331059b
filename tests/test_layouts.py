"""The layouts of `tests/layouts.py`: what is certain is read right, and what is not is refused."""

import json
import re
import warnings

import pytest
from layouts import LAYOUTS, REFUSED

from poz import preferences

FORMS = ("prompt", "chosen", "rejected", "margin")


def written(folder, rows):
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_there_are_enough_of_them():
    assert len(LAYOUTS) >= 40


@pytest.mark.parametrize("name", LAYOUTS)
def test_read_right(tmp_path, name):
    rows, expected = LAYOUTS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairs = preferences.load(written(tmp_path, rows))
    assert pairs == [dict(zip(FORMS, pair, strict=False)) for pair in expected]


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path, name):
    row, sentence = REFUSED[name]
    path = written(tmp_path, [row])
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        preferences.load(path)
    assert str(caught.value).startswith(f"{path}, line 1")
    assert "rivers" not in str(caught.value)


def test_ties_are_left_out_and_counted(tmp_path):
    tie, pair = ({"prompt": "a", "response1": "b", "response2": "c", "overall_preference": n} for n in (0, 1))
    with pytest.warns(UserWarning, match="left out 2 ties"):
        assert preferences.load(written(tmp_path, [tie, pair, tie])) == [
            {"prompt": "a", "chosen": "c", "rejected": "b"}
        ]


def test_a_completion_without_a_rival_is_left_out_and_counted(tmp_path):
    rows = [
        {"prompt": p, "completion": c, "label": c == "c"} for p, c in (("a", "c"), ("b", "c"), ("a", "d"), ("a", "e"))
    ]
    with pytest.warns(UserWarning, match="left out 2 completions without a rival"):
        assert preferences.load(written(tmp_path, rows)) == [{"prompt": "a", "chosen": "c", "rejected": "d"}]


def test_empty_prompts_are_counted(tmp_path):
    rows = [{"chosen": "One cat", "rejected": "A cat"}, {"chosen": "A cat", "rejected": "A dog"}]
    with pytest.warns(UserWarning, match="1 of 2 prompts are empty"):
        assert [pair["prompt"] for pair in preferences.load(written(tmp_path, rows))] == ["", "A "]


def test_scores_that_some_rows_lack_are_no_margin(tmp_path):
    scored = {"prompt": "a", "chosen": "b", "rejected": "c", "score_chosen": 2.0, "score_rejected": 1.0}
    with pytest.warns(UserWarning, match="1 of 2 pairs have no scores, so none has a margin"):
        pairs = preferences.load(written(tmp_path, [scored, {**scored, "score_rejected": None}]))
    assert pairs == [{"prompt": "a", "chosen": "b", "rejected": "c"}] * 2
    assert preferences.load(written(tmp_path, [{**scored, "margin": 5.0}]))[0]["margin"] == 5.0
