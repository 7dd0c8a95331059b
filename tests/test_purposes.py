"""What objectives are said to be for: the list of purposes, and the reasons that stand in the objectives' files."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

import poz
from poz.purposes import PURPOSES

TESTS = Path(__file__).parent
SAID = [(name, answer) for name, one in poz.zoo.items() for answer in one.said]
READ = (
    "abstract: ",
    "section ",
    "eq. ",
    "theorem",
    "the algorithm: ",
    "the authors' README: ",
    "the authors' code: ",
    "second hand: ",
)

NOTHING = {
    "discopop padll cell aql aqfl pfl": "found by search, whose paper reports scores and names no kind of data that they suit",
    "aot": "sorts the margins of a batch, so that a distribution dominates another, whatever the data are",
}
SILENT = {name for names in NOTHING for name in names.split()}


@cache
def functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", poz.zoo)
def test_an_objective_answers_something_once(name):
    said = [answer.to for answer in poz.zoo[name].said]
    assert {*said} <= PURPOSES.keys()
    assert len({*said}) == len(said) <= 4
    assert {answer.to for answer in poz.zoo[name].said if answer.against}.isdisjoint(
        a.to for a in poz.zoo[name].answers
    )
    assert (name in SILENT) == (not poz.zoo[name].answers)


def test_every_purpose_is_served():
    found = {answer.to for one in poz.zoo.values() for answer in (*one.answers, *one.said)}  # a contradicted claim too
    unserved = {*PURPOSES} - found
    assert not unserved


def test_what_the_fields_prove_nobody_writes():
    assert not [
        (name, answer.to) for name, answer in SAID if answer.to in {a.to for a in poz.zoo[name].answers if a.reads}
    ]


def test_every_reason_says_where_it_was_read_and_is_part_of_a_sentence():
    for name, answer in SAID:
        assert answer.paper or answer.test or answer.world, name
        assert not answer.paper or answer.paper.startswith(READ), (name, answer.paper)
        for reason in (answer.paper, answer.test, answer.world):
            assert reason == reason.strip().rstrip("."), (name, reason)


def test_a_named_test_exists():
    for name, answer in SAID:
        if answer.test:
            path, _, function = answer.test.partition("::")
            assert function.startswith("test_"), (name, answer.test)
            assert function in functions(TESTS / path), (name, answer.test)


def test_the_same_words_are_of_the_same_paper():
    papers = defaultdict(set)
    for name, answer in SAID:
        papers[answer.paper].add(poz.zoo[name].paper)
    assert not {reason: found for reason, found in papers.items() if reason and len(found) > 1}
