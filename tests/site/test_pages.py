"""Every page in a browser: nothing fails, nothing comes from elsewhere, formulas are drawn, and a phone is wide enough."""

import posixpath
import re
from urllib.parse import unquote
from xml.etree import ElementTree

import poz


def test_no_page_fails_or_asks_elsewhere(seen):
    assert {page: one["problems"] for page, one in seen.items() if one["problems"]} == {}


def test_every_objective_has_a_page_with_its_formula_drawn(seen):
    drawn = {name: seen[f"objectives/{name}.html"]["formulas"] for name in poz.zoo}
    assert [name for name, formulas in drawn.items() if not formulas] == []
    assert len(seen["rollouts.html"]["formulas"]) > 5  # which is written by hand


def test_formulas_are_drawn(seen):
    flat = {
        page: one for page, one in seen.items() if any(min(size) < 5 for size in one["formulas"])
    }  # pixels of a letter
    assert flat == {}
    left = re.compile(r"\\[a-zA-Z,!;{}|]|\$\$")
    assert {page: left.findall(one["formula"]) for page, one in seen.items() if left.search(one["formula"])} == {}


def test_formulas_are_mathml(site):
    for name in poz.zoo:
        found = re.findall("<math.*?</math>", (site / f"objectives/{name}.html").read_text(encoding="utf-8"), re.DOTALL)
        assert found, name
        for formula in found:
            assert "merror" not in {one.tag.rpartition("}")[2] for one in ElementTree.fromstring(formula).iter()}, name
            assert "\\" not in formula, name


def test_no_page_is_wider_than_a_phone(seen):
    assert {page: one["wide"] for page, one in seen.items() if one["wide"] > 360} == {}


def test_drawings_are_seen_whole_on_a_phone(seen):
    assert len([page for page, one in seen.items() if one["drawings"]]) > 100
    assert {page: one["drawings"] for page, one in seen.items() if max(one["drawings"], default=0) > 360} == {}


def test_titles_are_unique(seen):
    titles = [one["title"] for one in seen.values()]
    assert sorted({title for title in titles if titles.count(title) > 1 or not title}) == []


def test_images_have_an_alternative_text(seen):
    assert {page: one["unnamed"] for page, one in seen.items() if one["unnamed"]} == {}


def test_links_lead_to_pages_and_places_on_them(seen, site):
    dead = []
    for page, one in seen.items():
        for link in one["links"]:
            if re.match(r"[a-z]+:", link):
                continue
            path, _, place = re.sub(r"\?[^#]*", "", link).partition("#")
            to = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(path))) if path else page
            if (to in seen and place and unquote(place) not in seen[to]["ids"]) or not (site / to).is_file():
                dead.append((page, link))
    assert dead == []


def test_links_elsewhere_are_of_papers_and_projects(seen):
    """No address of poz itself is invented: there is none yet."""
    hosts = {
        re.match(r"https?://([^/]+)", link)[1] for one in seen.values() for link in one["links"] if link[:4] == "http"
    }
    assert {host for host in hosts if "poz" in host} == set()
    assert "arxiv.org" in hosts
