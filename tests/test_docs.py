"""What the pages in docs/ say is there, is there."""

import pkgutil
import re

import pytest

import poz
from poz.testing.tolerances import RTOL


@pytest.fixture(scope="module")
def tests(root):
    return "\n".join(path.read_text(encoding="utf-8") for path in (root / "tests").rglob("test_*.py"))


def test_guarantees_name_the_tests_that_hold_them(root, tests):
    named = set(re.findall(r"`(test_\w+)`", (root / "docs/guarantees.md").read_text()))
    assert len(named) > 10
    assert {name for name in named if f"def {name}(" not in tests} == set()


def test_guarantees_have_the_tolerances_of_the_code(root):
    rows = [
        line.split("|")[1:-1] for line in (root / "docs/guarantees.md").read_text().splitlines() if line[:2] == "| "
    ]
    held = {row[0].strip(): float(row[2].strip()) for row in rows if row[3].strip().startswith("`test_float")}
    assert held == {f"{what}, {dtype}": RTOL[dtype, what] for dtype, what in RTOL}


def test_the_citation_has_the_version_of_the_package(root):
    assert f"version: {poz.__version__}\n" in (root / "CITATION.cff").read_text()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs"])
def test_links_lead_to_files(root, page):
    for path in sorted((root / page).glob("*.md")) if (root / page).is_dir() else [root / page]:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
            assert link.startswith("http") or (path.parent / link).exists(), f"{path.name}: {link}"


def seeds(root):
    """The rows of docs/seeds.md: number, paper, what, names, tests."""
    lines = (root / "docs/seeds.md").read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if re.match(r"\| \d", line)]


def ticked(cell):
    return re.findall(r"`([\w.]+)`", cell)


def test_every_seed_has_its_row(root):
    assert [int(row[0]) for row in seeds(root)] == list(range(1, 65))


def test_a_seed_has_a_name_and_a_test_or_a_reason(root):
    without = [row[0] for row in seeds(root) if not (ticked(row[3]) and ticked(row[4])) and row[2][:6] != "*open*"]
    assert [row[0] for row in seeds(root) if row[2][:9] == "*nothing*"] == without
    assert len([row for row in seeds(root) if row[2][:6] == "*open*"]) <= 6


def test_names_and_tests_of_seeds_exist(root, tests):
    for row in seeds(root):
        assert [name for name in ticked(row[4]) if f"def {name}(" not in tests] == [], row
        assert all(pkgutil.resolve_name(name) for name in ticked(row[2] + row[3])), row


def test_an_objective_of_a_seed_is_named_by_it(root):
    papers = {f"arXiv:{found[0]}": row for row in seeds(root) if (found := re.findall(r"\((\d+\.\d+)\)", row[1]))}
    assert len(papers) > 45
    missing = [o.name for o in poz.zoo.values() if o.paper in papers and f"`poz.{o.name}`" not in papers[o.paper][3]]
    assert missing == []
