"""A record says of which rows and references it is, and what checks an audit says where it found something else."""

import sys

import pytest

from poz.peers import aged, described, libraries, results
from poz.peers._state import state


@pytest.fixture(scope="module")
def tools(root):
    """tests/peers/page.py and check.py."""
    sys.path.insert(0, str(root / "tests/peers"))
    try:
        import check
        import page

        yield page, check
    finally:
        sys.path.remove(str(root / "tests/peers"))


@pytest.fixture
def record():
    """That of TRL's IPO, as if it were run on the row as it stands."""
    found = next(one for one in results()["records"] if one["library"] == "TRL" and one.get("objective") == "ipo")
    row = next(one for one in libraries()["TRL"].losses if (one.objective, one.function) == ("ipo", found["function"]))
    return {name: x for name, x in found.items() if name != "older"} | {"digest": state(row)}


def test_a_record_is_older_than_what_has_changed_since(record, tools):
    page, _ = tools
    changed = record | {"digest": "0" * 12}
    without = {name: x for name, x in record.items() if name != "digest"}
    other = record | {"does": "something that no row says"}
    assert [one["older"] for one in aged([record, changed, without, other])] == [False, True, None, True]
    fresh, older, *_ = map(described, aged([record, changed]))
    assert older == f"{fresh}, of an older state of its row or reference"
    said = page._states(aged([record, record, changed, without]))
    name = f"{record['library']} {record['version']}"
    assert f"\nOf an older state of its rows and the references: {name} (1 of 4).\n" in said
    assert f"have changed since: {name} (1 of 4).\n" in said
    assert page._states(aged([record])) == ""


def test_rows_of_one_file_about_two_objectives_rest_on_two_references(record):
    rows = [one for one in libraries()["TRL"].losses if one.module == "poz.peers.trl_pairs"]
    assert len({state(row) for row in rows}) == len({row.objective for row in rows}) > 1


def test_what_an_audit_finds_otherwise_is_said(record, tools):
    _, check = tools
    known = [record, record | {"library": "Another", "verdict": "differs"}]
    name = f"TRL {record['version']}, {record['function']} for ipo,"
    assert check.differences([record | {"digest": "", "seconds": 1.0}], known) == []
    assert check.differences([record | {"verdict": "differs"}], known) == [
        f"{name} is {described(record | {'verdict': 'differs'})}; results.json says {described(record)}."
    ]
    assert check.differences([record | {"but_for": ["empty"], "verdict": "equal"}], known)
    assert check.differences([record, record | {"function": "new"}], known) == [
        f"TRL {record['version']}, new for ipo, is no record of results.json."
    ]
    assert check.differences([record], [*known, record | {"function": "gone"}]) == [
        f"TRL {record['version']}, gone for ipo, is a record of results.json, and was not run."
    ]
    numbers = record | {"got": [0.5, "nan"]}
    assert check.differences([numbers | {"got": [0.5 + 1e-7, "nan"]}], [numbers]) == []
    assert check.differences([numbers | {"got": [0.6, "nan"]}], [numbers])
