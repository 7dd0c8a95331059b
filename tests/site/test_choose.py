"""Which objective when, and the graph of limits, in a browser."""

from pathlib import Path

from selenium.webdriver.common.by import By

import poz
from poz.purposes import PURPOSES

ROOT = Path(__file__).parents[2]
BELOW = """const head = document.getElementById(arguments[0]); let text = ""; const names = [];
for (let one = head.nextElementSibling; one && !/^H[23]$/.test(one.tagName); one = one.nextElementSibling) {
  text += " " + one.textContent;
  names.push(...[...one.querySelectorAll('a[href^="objectives/"]')].map((link) => link.textContent));
}
return [text, names]"""


def test_each_purpose_has_its_objectives_with_their_reasons(browser, opened):
    assert opened("choose.html") == []
    for purpose, said in PURPOSES.items():
        assert said.rstrip(".") in browser.find_element(By.ID, purpose).text
        text, names = browser.execute_script(BELOW, purpose)
        claimed = [name for name, one in poz.zoo.items() for each in one.said if each.to == purpose and each.against]
        assert sorted(names) == sorted([*claimed, *(one.name for one in poz.zoo.find(answers=purpose))])
        assert text.count("Contradicted") >= bool(claimed)
        plain = " ".join(text.split())
        for one in poz.zoo.find(answers=purpose):
            (answer,) = (each for each in one.answers if each.to == purpose)
            said = (answer.reads, answer.paper, answer.test.partition("::test_")[2].replace("_", " "), answer.world)
            for reason in said:
                assert " ".join(reason.replace("`", "").split()) in plain, one.name


def test_what_came_of_a_claim_in_a_world_stands_beside_it(monkeypatch):
    """Made up: of flipped labels robust DPO is better than DPO on every seed, LCPO worse, and Dr. DPO now one, now the other.

    DPO is said to be for them with label smoothing, as which it is run under the name of conservative DPO.
    """
    monkeypatch.syspath_prepend(str(ROOT / "docs/site"))
    import choose

    regrets = {
        "dpo": [2.0, 2.1, 2.2, 2.3],
        "robust_dpo": [1.0, 1.0, 1.1, 1.1],
        "lcpo": [3.0, 3.2, 3.2, 3.3],
        "dr_dpo": [1.9, 2.2, 2.1, 2.4],
        "cdpo": [1.5, 1.6, 1.7, 1.9],
    }
    results = [
        {"objective": name, "world": world, "regret": regret}
        for name, regret in regrets.items()
        for world in ("flips_10", "flips_30")
    ]
    parts = choose.purposes({"results": results}).split("### ")
    (noisy,) = (part for part in parts if "{#noisy-labels " in part)
    said = {
        "dpo": "better than dpo",
        "robust\\_dpo": "better than dpo",
        "lcpo": "worse than dpo",
        "dr\\_dpo": "neither better nor worse than dpo, beyond chance",
    }
    place = "](worlds.md#what-was-found)"
    for name, outcome in said.items():
        (row,) = (line for line in noisy.splitlines() if line.startswith(f"| [{name}]"))
        assert row.endswith(f"**World** [flips_10{place}, [flips_30{place}: {outcome} |")
    assert noisy.count("**World**") == len(said)


def test_who_says_nothing_is_named(browser, opened):
    opened("choose.html")
    silent = {one.name for one in poz.zoo.values() if not one.answers}
    assert {*browser.execute_script(BELOW, "of-no-declared-purpose")[1]} == silent != set()


def test_the_guide_leads_into_the_gallery(browser, opened):
    opened("choose.html")
    links = {
        link.get_attribute("href").rpartition("?")[2]
        for link in browser.find_elements(By.CSS_SELECTOR, "a[href*='gallery.html?']")
    }
    assert {f"for={purpose}" for purpose in PURPOSES if poz.zoo.find(answers=purpose)} <= links
    assert {f"family={one.family.__name__}" for one in poz.zoo.values()} <= links
    assert opened(f"gallery.html?{min(links)}") == []
    assert "There is no filter" not in browser.find_element(By.ID, "poz-count").text


def test_no_filter_that_the_guide_links_to_is_unknown(browser, opened):
    opened("choose.html")
    links = {
        link.get_attribute("href").rpartition("?")[2]
        for link in browser.find_elements(By.CSS_SELECTOR, "a[href*='gallery.html?']")
    }
    opened("gallery.html")
    for link in links:
        browser.execute_script(
            "history.pushState(null, '', '?' + arguments[0]); dispatchEvent(new PopStateEvent('popstate'))", link
        )
        assert "There is no filter" not in browser.find_element(By.ID, "poz-count").text, link


def test_the_graph_has_every_limit_and_no_name_on_another(browser, opened):
    assert opened("limits.html") == []
    limits = [(one.name, limit.why, limit.to) for one in poz.zoo.values() for limit in one.reduces_to]
    rows = browser.execute_script(
        "return [...document.querySelectorAll('.poz-table tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    assert sorted(map(tuple, rows)) == sorted(limits)
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('.poz-edge title')].map(one => one.textContent)"
    )
    pairs = {(general, special) for general, _, special in limits if general != special}
    assert len(drawn) == len(pairs)
    assert {tuple(text.split(" where: ")[0].split(" is ")) for text in drawn} == pairs
    boxes = browser.execute_script(
        """return [...document.querySelectorAll(".poz-limits a")].map((link) => {
          const {left, right, top, bottom} = link.getBoundingClientRect();
          return [link.textContent, link.href.baseVal, left, right, top, bottom]})"""
    )
    assert {text for text, *_ in boxes} == {name for pair in pairs for name in pair}
    assert all(to == f"objectives/{name}.html" for name, to, *_ in boxes)
    places = [box[2:] for box in boxes]
    for i, (a, b, top, bottom) in enumerate(places):
        for c, d, other, end in places[:i]:
            assert b <= c or d <= a or bottom <= other + 2 or end <= top + 2


def test_a_page_of_an_objective_has_its_part_of_the_graph(browser, opened):
    """MNPO becomes INPO, which becomes IPO, and what weighs rewards becomes MNPO; DPO, of so many, is drawn with none."""
    assert opened("objectives/mnpo.html") == []
    links = browser.find_elements(By.CSS_SELECTOR, ".poz-limits a")
    assert {link.text for link in links} == {"inpo", "ipo", "dpo", "reward_aware_po"}
    next(link for link in links if link.text == "inpo").click()
    assert browser.current_url.endswith("objectives/inpo.html")
    assert opened("objectives/dpo.html") == []
    assert browser.find_elements(By.CSS_SELECTOR, ".poz-limits") == []
