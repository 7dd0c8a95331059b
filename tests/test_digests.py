"""Committed results carry a digest of the files that they describe; pages say where it is not that of the files as they are."""

import importlib.util

import pytest

from poz._digest import digest, older, sentences


@pytest.fixture
def files(tmp_path):
    made = [tmp_path / name for name in "ab"]
    for file in made:
        file.write_bytes(b"one\n" + file.name.encode() + b"\n")
    return made


def test_a_digest_is_of_texts_alone(files, tmp_path):
    before = digest(files)
    assert digest([*files[::-1], files[0]]) == before
    moved = files[0].rename(tmp_path / "c")
    moved.write_bytes(moved.read_bytes().replace(b"\n", b"\r\n"))
    assert digest([moved, files[1]]) == before
    assert older(before, [moved, files[1]]) is False
    assert older(None, files[1:]) is None
    moved.write_bytes(b"one\nA\n")
    assert older(before, [moved, files[1]])
    assert older(before, [files[1]])


def test_a_page_names_what_may_be_of_something_else():
    said = sentences([("one", True), ("two", None), ("three", False), ("four", True)], "the rows")
    assert said == [
        "Of an older state of the rows: one, four.",
        "Without a digest of the rows, so that it is not known whether these have changed since: two.",
    ]
    assert sentences([("three", False)], "the rows") == []


def test_the_page_of_benchmarks_says_of_which_state_they_are(root):
    spec = importlib.util.spec_from_file_location("bench_page", root / "tests/bench/page.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    assert page.split(page.PAGE.read_text(encoding="utf-8"))[1] == page.state(), "python tests/bench/page.py writes it"
