"""docs/worlds.md is what the committed results say, and the results are of the budget that it names."""

import importlib
import sys

import pytest

import poz
from poz.worlds import WORLDS, budget, measure, report


@pytest.fixture(scope="module")
def page(root):
    """tests/worlds/page.py."""
    theirs = sys.modules.pop("page", None)  # tests/peers has one too
    sys.path.insert(0, str(root / "tests/worlds"))
    try:
        yield importlib.import_module("page")
    finally:
        sys.path.remove(str(root / "tests/worlds"))
        sys.modules.pop("page")
        if theirs is not None:
            sys.modules["page"] = theirs


@pytest.fixture(scope="module")
def results(page):
    return page.read()


def test_the_page_is_what_the_results_say(page, results):
    assert page.PAGE.read_text(encoding="utf-8") == page.page(results), "python tests/worlds/page.py writes it"
    assert results["digest"] in page.PICTURE.read_text(encoding="utf-8"), "and the heat map"


def test_results_are_whole_and_of_the_budget(results):
    assert results["finished"]
    sizes = results["seeds"], results["settings"], results["steps"], results["judgements"]
    assert sizes == (budget.SEEDS, budget.SETTINGS, budget.STEPS, measure.JUDGEMENTS)
    found = {(one["objective"], one["world"]) for one in results["results"]}
    left = {(name, world) for name, where in results["left_out"].items() for world in where}
    assert not found & left
    assert found | left >= {
        (one.name, world) for one in budget.objectives() if one.name in results["digests"] for world in WORLDS
    }
    assert all(len(one["regret"]) == budget.SEEDS for one in results["results"])


def test_a_page_says_which_numbers_are_of_code_before(page, results):
    import found

    cells = {key: cell for key, cell in report.cells(results).items() if key[1] == "clean"}
    assert "has changed since" not in found.ran(results, cells)
    old = {**results, "digest": "0", "digests": {**results["digests"], "dpo": "0"}}
    assert "The code of the worlds has changed since" in found.ran(old, cells)
    assert "Changed since, so that the numbers are those of before: `dpo`" in found.ran(old, cells)


def test_a_world_that_is_a_reason_supports_it(results):
    supported = {
        (one.objective, one.purpose, one.world) for one in report.verdicts(results) if one.verdict == "supported"
    }
    named = {(o.name, answer.to, answer.world) for o in poz.zoo.values() for answer in o.answers if answer.world}
    assert named <= supported


def test_what_fails_counts_as_a_claim_alone(results):
    failed = {(one.objective, one.purpose, one.world) for one in report.verdicts(results) if one.verdict == "FAILS"}
    against = {(o.name, answer.to, answer.against) for o in poz.zoo.values() for answer in o.said if answer.against}
    assert against <= failed
    still = {(o.name, answer.to) for o in poz.zoo.values() for answer in o.answers if not answer.reads}
    assert not {(name, purpose) for name, purpose, _ in failed} & still


@pytest.mark.parametrize(("gap", "verdict"), [(-0.5, "supported"), (0.5, "FAILS"), (0.0, "undecided")])
def test_a_verdict_is_about_differences_on_the_same_seeds(results, gap, verdict):
    """Of numbers made up: seeds differ by far more than the objectives, but alike."""
    seeds = [float(i % 2 * 10 + 5) for i in range(16)]
    moved = [x + gap + 0.01 * (i % 3 - 1) for i, x in enumerate(seeds)]
    rows = [
        {"objective": name, "world": "flips_30", "regret": x} for name, x in (("dpo", seeds), ("robust_dpo", moved))
    ]
    (found,) = report.verdicts({"results": rows})
    assert (found.objective, found.purpose, found.verdict) == ("robust_dpo", "noisy-labels", verdict)
