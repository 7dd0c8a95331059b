"""Questions of people who train: what `poz.zoo.find` answers. The site's filters are asked the same."""

import tomllib
from pathlib import Path

import pytest

import poz

QUESTIONS = tomllib.loads(Path(__file__).with_name("questions.toml").read_text(encoding="utf-8"))["question"]


@pytest.mark.parametrize("question", QUESTIONS, ids=[one["asked"] for one in QUESTIONS])
def test_what_is_found_has_what_it_must_and_not_what_it_must_not(question):
    found = [one.name for one in poz.zoo.find(**question["find"])]
    assert question["among"].keys() <= {*found}
    assert not question["never"].keys() & {*found}
    assert question["never"].keys() <= poz.zoo.keys()
    assert len(found) < len(poz.zoo) / 3  # or nothing is answered
    for why in (*question["among"].values(), *question["never"].values()):
        assert why.endswith(".")


def test_there_are_at_least_ten_of_them():
    assert len({one["asked"] for one in QUESTIONS}) == len(QUESTIONS) >= 10
