"""The site can be read in light and dark, searched, and opened from files."""

from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

PAGES = ("index.html", "objectives/dpo.html", "objectives/kl_cov.html", "peers.html", "trainers.html", "data.html")
PAGES += ("gallery.html", "choose.html", "limits.html")
CONTRAST = Path(__file__).with_name("contrast.js").read_text()


def faint(browser, page, opened, scheme):
    """Text that does not stand out, as a new reader has it: the site remembers the choice of an old one."""
    opened(page)
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    assert browser.find_element(By.TAG_NAME, "body").get_attribute("data-md-color-scheme") == scheme
    return browser.execute_script(CONTRAST)


@pytest.mark.parametrize("page", PAGES)
def test_text_stands_out_by_day(browser, opened, page):
    assert faint(browser, page, opened, "default") == {}


@pytest.mark.parametrize("page", PAGES)
def test_text_stands_out_at_night(dark, opened, page):
    assert faint(dark, page, opened, "slate") == {}


@pytest.mark.parametrize("served", [True, False])
def test_search_finds_an_objective(browser, address, site, served):
    browser.get((address if served else f"{site.as_uri()}/") + "objectives/ipo.html")
    browser.find_element(By.CSS_SELECTOR, "[data-md-component=search-query]").send_keys("mallows")
    found = WebDriverWait(browser, 60).until(lambda one: one.find_elements(By.CSS_SELECTOR, ".md-search-result__link"))
    assert any("objectives/mallows_dpo.html" in link.get_attribute("href") for link in found)


def test_pages_lead_on_from_files(browser, site):
    browser.get(f"{site.as_uri()}/index.html")
    browser.find_element(By.LINK_TEXT, "Objectives").click()
    browser.find_element(By.LINK_TEXT, "simpo").click()
    assert browser.title.startswith("simpo")
    assert [one for one in browser.get_log("browser") if one["level"] == "SEVERE"] == []
