"""Every public name is on a page of the site, with what its docstring says."""

import html
import re
from importlib import import_module

import pytest

HEADING = re.compile(
    r'<h\d id="(poz[^"]*)" class="doc doc-heading">.*?<div class="doc doc-contents[^"]*">(.*?)</div>', re.DOTALL
)
PUBLIC = (
    "families",
    "torch",
    "jax",
    "testing",
    "peers",
    "plotting",
    "worlds",
    "backends",
    "advantages",
    "integrations.trl",
)
PUBLIC += ("rewards.transforms", "rewards.metrics", "rewards.fits")


@pytest.fixture(scope="module")
def texts(root, pages):
    return {page: (root / "build/site" / page).read_text(encoding="utf-8") for page in pages}


@pytest.fixture(scope="module")
def anchors(texts):
    """The page of each."""
    found = {}
    for page, text in texts.items():
        found |= dict.fromkeys(re.findall(r'\bid="(poz\.[^"]+)"', text), page)
    return found


def test_every_public_name_has_an_anchor(anchors, root):
    names = (root / "tests/public_names.txt").read_text().split()
    assert len(names) > 600
    assert [name for name in names if name not in anchors] == []
    assert anchors["poz.dpo"] == "objectives/dpo.html"
    assert anchors["poz.Pairs"] == "api/poz.families.html"


@pytest.mark.parametrize("part", PUBLIC)
def test_what_a_package_shows_has_an_anchor(anchors, part):
    """Whatever it lists, or imports under its own name from below."""
    package = import_module(f"poz.{part}")
    own = [
        name
        for name, found in vars(package).items()
        if getattr(found, "__module__", "")[: len(part) + 5] == f"poz.{part}."
    ]
    listed = [name for name in getattr(package, "__all__", own) if name[0] != "_" and not name.isupper()]
    assert listed
    assert [name for name in listed if f"poz.{part}.{name}" not in anchors] == []


def test_none_is_without_a_text(texts):
    found = [
        (name, " ".join(html.unescape(re.sub("<[^>]+>", "", text)).split()))
        for page in texts
        if page.startswith("api/")
        for name, text in HEADING.findall(texts[page])
    ]
    assert len(found) > 300
    assert [name for name, text in found if len(text.removeprefix("Bases: ").split()) < 2] == []


def test_names_in_a_text_are_links(texts):
    assert 'href="api/poz.families.html#poz.RewardPairs"><code>poz.RewardPairs</code></a>' in texts["trl.html"]


def test_documents_that_are_named_in_code_are_links(texts, root):
    for path in (root / "docs").glob("*.md"):
        assert f'<a href="{path.stem}.html"><code>docs/{path.name}</code></a>' in texts["index.html"], path.name
    assert '<a href="examples.html"><code>examples/</code>' in texts["index.html"]
