"""Rows of K completions: what `poz.lists.read` makes of every layout that has them, and what it refuses."""

import pytest
from layouts import ASK, BAD, EARLIER, GOOD, LAYOUTS, NO, SYSTEM, USER, WORSE, YES, said

from poz.lists import read

LISTED = {
    "openbmb/UltraFeedback": ([said("user", ASK)], [YES, NO], "scores", [4.0, 2.5]),
    "argilla's distilabel, not binarized": None,
    "berkeley-nest/Nectar": (LAYOUTS["berkeley-nest/Nectar"][0][0]["prompt"], [GOOD, BAD, WORSE], "ranks", [1, 2, 3]),
    "princeton-nlp/llama3-ultrafeedback": (ASK, [GOOD, BAD], "scores", [0.2, 0.1]),
    "poz's own lists, with scores": (ASK, [GOOD, BAD, WORSE], "scores", [3.5, 2.0, -1.0]),
    "poz's own lists of messages, with ranks": (EARLIER + USER, [YES, NO], "ranks", [1, 2]),
    "poz's own lists, with win rates": (ASK, [GOOD, BAD], "winrates", [0.8, 0.2]),
}


@pytest.mark.parametrize("name", LISTED)
def test_read_right(name):
    found = read(LAYOUTS[name][0][0], "a row")
    if LISTED[name] is None:
        assert found == {}  # the worse one stands there twice
        return
    prompt, completions, column, numbers = LISTED[name]
    assert found == {"prompt": prompt, "completions": completions, column: numbers}


ROW = {"prompt": ASK, "completions": [BAD, GOOD, WORSE], "scores": [2.0, 3.5, 2.0]}


def test_equal_scores_stay_as_they_come():
    assert read(ROW, "a row")["completions"] == [GOOD, BAD, WORSE]


@pytest.mark.parametrize("change", [
    {"scores": [1.0, 1.0, 1.0]},
    {"completions": [BAD, GOOD, BAD]},
    {"completions": [BAD], "scores": [1.0]},
    {"completions": [], "scores": []},
])  # fmt: skip
def test_what_says_nothing_is_left_out(change):
    assert read({**ROW, **change}, "a row") == {}


def test_dialogues_that_share_their_prompt():
    row = {"completions": [EARLIER + USER + YES, EARLIER + USER + NO], "scores": [1, 2]}
    assert read(row, "a row") == {"prompt": EARLIER + USER, "completions": [NO, YES], "scores": [2.0, 1.0]}


@pytest.mark.parametrize(("change", "said"), [
    ({"scores": None}, r"a row: 'completions' must have a finite score for each answer"),
    ({"scores": [1.0, None, 2.0]}, r"must have a finite score for each"),
    ({"scores": [1.0, float("nan"), 2.0]}, r"must have a finite score for each"),
    ({"scores": [1.0, 2.0]}, r"must have a finite score for each"),
    ({"completions": GOOD}, r"a row holds no list of completions .*; it has 'prompt', 'completions', 'scores'"),
    ({"completions": [GOOD, BAD, 3]}, r"a row: 'completions' must be a text"),
    ({"completions": [GOOD, [said("assistant", BAD)], 3]}, r"a row: 'completions'"),
    (
        {"prompt": [], "completions": [SYSTEM + USER + YES, SYSTEM + USER + NO, EARLIER + USER + NO]},
        r"do not begin with one prompt|must begin with a message",
    ),
])  # fmt: skip
def test_refused(change, said):
    with pytest.raises(ValueError, match=said):
        read({**ROW, **change}, "a row")


def test_pairs_are_for_the_trainer_of_pairs():
    with pytest.raises(ValueError, match=r"holds no list .* A pair is for poz\.integrations\.trl\.DPOTrainer\."):
        read({"prompt": ASK, "chosen": GOOD, "rejected": BAD}, "a row")
