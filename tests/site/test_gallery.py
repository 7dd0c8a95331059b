"""The gallery in a browser: its filters find what `poz.zoo.find` finds, whoever asks, and however."""

import random
import re
import tomllib
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

import poz
from poz import plotting
from poz.purposes import PURPOSES

ROOT = Path(__file__).parents[2]
QUESTIONS = tomllib.loads((ROOT / "tests/questions.toml").read_text(encoding="utf-8"))["question"]
FAMILIES = sorted({one.family.__name__ for one in poz.zoo.values()})
FIELDS = sorted({field for one in poz.zoo.values() for field in one.reads | one.optional})
LEFT = "return [...document.querySelectorAll('.poz-card')].filter(one => one.offsetParent).map(one => one.dataset.name)"
# As a link does that stays on the page: one call a case, where a load would take seconds.
GO = "history.pushState(null, '', '?' + arguments[0]); dispatchEvent(new PopStateEvent('popstate'));" + LEFT


def wanted(answers=(), family=None, reads=(), reference_free=None, kernel=None, text=""):
    """Names, by the library, by the files of the kernels, and by what the specs are called."""
    try:
        found = poz.zoo.find(answers=answers, family=family, reads=reads, reference_free=reference_free)
    except ValueError:  # a field of another family
        found = []
    return [
        one.name
        for one in found
        if kernel in (None, bool([*ROOT.glob(f"kernels/*/{one.name}.py")]))
        and all(word in plain(" ".join((one.name, one.title, *one.aliases))) for word in plain(text).split())
    ]


def plain(text):
    return text.lower().translate({ord(one): None for one in "-_"})


def query(answers=(), family=None, reads=(), reference_free=None, kernel=None, text=""):
    """The same as the address has it."""
    parts = [f"for={one}" for one in answers] + [f"reads={one}" for one in reads]
    parts += [f"family={family}"] * bool(family) + [f"text={text}"] * bool(text)
    yes_or_no = {"reference-free": reference_free, "kernel": kernel}
    return "&".join(parts + [f"{name}={'yes' if one else 'no'}" for name, one in yes_or_no.items() if one is not None])


@pytest.fixture
def gallery(browser, opened):
    assert opened("gallery.html") == []
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


def left(browser):
    return browser.execute_script(LEFT)


def count(browser):
    return browser.find_element(By.ID, "poz-count").text


def choose(browser, answers=(), family=None, reads=(), reference_free=None):
    """By clicks on the page's own controls."""
    for name, values in (("for", answers), ("reads", reads)):
        details = browser.find_element(By.XPATH, f"//details[.//input[@name='{name}']]")
        if values:
            details.find_element(By.TAG_NAME, "summary").click()
        for value in values:
            details.find_element(By.CSS_SELECTOR, f"input[value='{value}']").click()
    if family:
        Select(browser.find_element(By.NAME, "family")).select_by_value(family)
    if reference_free is not None:
        Select(browser.find_element(By.NAME, "reference-free")).select_by_value("yes" if reference_free else "no")


@pytest.mark.parametrize("question", QUESTIONS, ids=[one["asked"] for one in QUESTIONS])
def test_who_asks_by_clicks_is_answered_as_the_library_answers(gallery, question):
    choose(gallery, **question["find"])
    assert left(gallery) == wanted(**question["find"])
    assert question["among"].keys() <= {*left(gallery)}
    assert not question["never"].keys() & {*left(gallery)}
    assert count(gallery) == f"{len(left(gallery))} of {len(poz.zoo)} objectives."


def test_every_filter_alone(gallery):
    asked = [{"answers": [one]} for one in PURPOSES] + [{"family": one} for one in FAMILIES]
    asked += [{"reads": [one]} for one in FIELDS]
    asked += [{name: one} for name in ("reference_free", "kernel") for one in (True, False)]
    assert gallery.execute_script(LEFT) == [*poz.zoo]
    for options in asked:
        assert gallery.execute_script(GO, query(**options)) == wanted(**options), options
    lengths = {len(wanted(**options)) for options in asked}
    assert len(lengths) > 15  # or the cases tell nothing apart


def test_filters_together(gallery):
    rng, some = random.Random(0), 0
    for _ in range(200):
        about = poz.zoo[rng.choice([*poz.zoo])]  # most combinations are met by none, so half of them are true of one
        near = rng.random() < 0.5
        purposes = [one.to for one in about.answers] if near else [*PURPOSES]
        fields = sorted(about.reads | about.optional) if near else FIELDS
        options = {
            "answers": rng.sample(purposes, min(len(purposes), rng.choice([0, 0, 1, 2]))),
            "family": rng.choice([None, about.family.__name__ if near else rng.choice(FAMILIES)]),
            "reads": rng.sample(fields, min(len(fields), rng.choice([0, 0, 1, 2]))),
            "reference_free": rng.choice([None, None, True, False]),
            "kernel": rng.choice([None, None, True, False]),
            "text": rng.choice(["", "", "", "dpo", "po", "preference", about.name[:3].strip("_")]),
        }
        found = wanted(**options)
        assert gallery.execute_script(GO, query(**options)) == found, options
        some += 0 < len(found) < len(poz.zoo) / 4
    assert some > 40


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("chi-po", "chi_po"),
        ("KTO", "kto"),
        ("kahneman", "kto"),
        ("cdpo", "dpo"),
        ("simple pref", "simpo"),
        ("ipomd", "online_ipo"),
    ],
)
def test_text_is_looked_for_in_names_titles_and_aliases(gallery, typed, name):
    gallery.find_element(By.NAME, "text").send_keys(typed)
    assert name in left(gallery)
    assert len(left(gallery)) < 20
    assert f"text={typed.replace(' ', '+')}" in gallery.current_url


def test_the_address_holds_what_is_asked_for(gallery, address):
    choose(gallery, answers=["ties"], family="Pairs")
    found = left(gallery)
    assert found == wanted(answers="ties", family="Pairs") != []
    assert gallery.current_url.endswith("gallery.html?family=Pairs&for=ties")
    gallery.refresh()
    assert left(gallery) == found
    gallery.back()
    assert left(gallery) == wanted(answers="ties")
    gallery.forward()
    assert left(gallery) == found
    gallery.find_element(By.LINK_TEXT, found[0]).click()
    assert f"objectives/{found[0]}.html" in gallery.current_url
    gallery.back()
    assert left(gallery) == found
    gallery.get(f"{address}gallery.html?for=reward-model&family=RewardPairs&text=margin")
    assert left(gallery) == wanted(answers="reward-model", family="RewardPairs", text="margin") != []
    gallery.find_element(By.ID, "poz-reset").click()
    assert left(gallery) == [*poz.zoo]
    assert gallery.current_url == f"{address}gallery.html"
    assert gallery.find_element(By.NAME, "text").get_attribute("value") == ""


def test_an_address_that_asks_for_what_is_no_filter_is_told_so(gallery, address):
    gallery.get(f"{address}gallery.html?for=tie&family=Pairs&family=Ranked&colour=red&kernel=maybe")
    for unknown in ("for=tie", "family=Ranked", "colour=red", "kernel=maybe"):
        assert unknown in count(gallery)
    assert left(gallery) == wanted(family="Pairs")


def test_nothing_found_says_what_to_leave_out(gallery, address):
    options = {"answers": ["binary-feedback"], "family": "Ranked", "reference_free": True}
    assert gallery.execute_script(GO, query(**options)) == wanted(**options) == []
    ways = gallery.find_elements(By.CSS_SELECTOR, "#poz-count button")
    one_less = {name: wanted(**{other: value for other, value in options.items() if other != name}) for name in options}
    assert sorted(way.text for way in ways) == sorted(
        [f"What it is for: binary-feedback (then {len(one_less['answers'])})"] * bool(one_less["answers"])
        + [f"Family: Ranked (then {len(one_less['family'])})"] * bool(one_less["family"])
        + [f"Reference policy: not needed (then {len(one_less['reference_free'])})"] * bool(one_less["reference_free"])
    )
    next(way for way in ways if way.text.startswith("What")).click()
    assert left(gallery) == one_less["answers"] != []
    assert "Leave out" not in count(gallery)
    gallery.execute_script(GO, "for=images&family=Ranked&reads=tie&reads=noise")
    assert "Reset" in count(gallery)  # no single one is in the way
    assert not gallery.find_elements(By.CSS_SELECTOR, "#poz-count button")


def test_it_is_used_from_the_keyboard_alone(gallery):
    """Tab from the first control to the others, letters, Enter and Space."""
    gallery.find_element(By.NAME, "text").send_keys("dpo", Keys.TAB)
    family = gallery.switch_to.active_element
    assert family.get_attribute("name") == "family"
    family.send_keys("Pairs", Keys.TAB, Keys.TAB, Keys.TAB)
    assert left(gallery) == wanted(family="Pairs", text="dpo")
    reset = gallery.switch_to.active_element
    assert reset.get_attribute("id") == "poz-reset"
    reset.send_keys(Keys.TAB)
    gallery.switch_to.active_element.send_keys(Keys.ENTER)  # opens what it is for
    gallery.switch_to.active_element.send_keys(Keys.TAB)
    first = gallery.switch_to.active_element
    assert first.get_attribute("value") == next(iter(PURPOSES))
    first.send_keys(Keys.SPACE)
    assert left(gallery) == wanted(answers=[next(iter(PURPOSES))], family="Pairs", text="dpo") != []
    style = gallery.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert style != "none"  # where one is must be seen
    status = gallery.find_element(By.ID, "poz-count")
    assert status.get_attribute("role") == "status"  # is read out when it changes


def test_without_javascript_all_cards_are_there(gallery, address):
    gallery.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        gallery.get(f"{address}gallery.html?for=ties")
        assert [one.text for one in gallery.find_elements(By.CSS_SELECTOR, ".poz-card h2")] == [*poz.zoo]
        assert not gallery.find_element(By.ID, "poz-filters").is_displayed()
    finally:
        gallery.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_it_works_from_files(gallery):
    page = (ROOT / "build/site/gallery.html").as_uri()
    gallery.get(f"{page}?family=Ranked")
    assert left(gallery) == wanted(family="Ranked")
    Select(gallery.find_element(By.NAME, "reference-free")).select_by_value("yes")
    assert left(gallery) == wanted(family="Ranked", reference_free=True)
    assert gallery.current_url == f"{page}?family=Ranked&reference-free=yes"
    gallery.back()
    assert left(gallery) == wanted(family="Ranked")
    gallery.get_log("performance")  # what is asked for next time is of the site as it is served


def test_each_card_has_a_picture_with_a_text_or_says_why_not(gallery):
    cards = gallery.execute_script(
        """return [...document.querySelectorAll(".poz-card")].map((card) => [
          card.dataset.name,
          card.querySelector("svg")?.getAttribute("aria-label"),
          card.querySelector(".poz-no-curve")?.textContent,
          [...card.querySelectorAll("svg path:not(.poz-axis)")].map((path) => [
            path.getBBox().height, getComputedStyle(path).strokeDasharray])])"""
    )
    texts = {name: text for name, text, _, _ in cards}
    assert [name for name, text, why, _ in cards if bool(text) == bool(why)] == []
    assert sum(map(bool, texts.values())) > 90
    assert "falls from 1.31 to 0.313; at 0 it is 0.693" in texts["dpo"]  # log(1 + e^(β m)) at 10, -10 and 0 nats
    assert "falls from 225 to 0" in texts["ipo"]  # (m - 1 / (2 τ))²
    assert {"advantage +1", "advantage \N{MINUS SIGN}1"} <= {*re.findall(r"advantage \S1", texts["grpo"])}
    curves = {name: found for name, _, _, found in cards}
    assert (
        min(height for name in ("dpo", "ipo") for height, _ in curves[name]) > 45
    )  # neither is flattened by the other
    for name in texts.keys() & {name for name, text in texts.items() if text}:
        dashes = [dash for _, dash in curves[name]]
        each = len(plotting.lines(poz.zoo[name]))
        assert len(dashes) == 2 * each, name  # every line in both panels
        assert len({*dashes}) == each, name  # and told apart without colour


def test_it_fits_a_phone_with_all_that_can_be_opened(phone, opened):
    assert opened("gallery.html?for=noisy-labels") == []
    for summary in phone.find_elements(By.CSS_SELECTOR, "#poz-filters summary"):
        summary.click()
    assert phone.execute_script("return document.documentElement.scrollWidth") <= 360
    assert all(box.is_displayed() for box in phone.find_elements(By.CSS_SELECTOR, "#poz-filters input"))
