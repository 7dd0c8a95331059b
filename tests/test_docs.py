"""What the pages in docs/ say is there, is there."""

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
