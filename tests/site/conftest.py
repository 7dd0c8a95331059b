"""The built site, a browser, and what it finds on each page."""

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver

SITE = Path(__file__).parents[2] / "build/site"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves under a prefix, as a project's pages are; without search, nothing to search in."""

    search = True

    def do_GET(self) -> None:
        if self.search or not self.path.endswith("/search_index.json"):
            return super().do_GET()
        whole = json.loads((SITE / "search/search_index.json").read_text())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({**whole, "docs": whole["docs"][:1]}).encode())

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.removeprefix("/some/prefix"))

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="session")
def site() -> Path:
    return SITE


@pytest.fixture(scope="session")
def pages() -> list[str]:
    found = sorted(str(path.relative_to(SITE)) for path in SITE.rglob("*.html"))
    assert len(found) > 200, "Build the site first: make docs."
    return found


@pytest.fixture(scope="session")
def address():
    """Where the site is served."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/some/prefix/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def browser():
    """One for all tests."""
    options = webdriver.ChromeOptions()
    here = [shutil.which(name) for name in ("chromium", "chromedriver")]
    assert all(here), "chromium and chromedriver must be on the PATH; make docs-test says how they come there."
    options.binary_location, driven = here
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-dev-shm-usage",
        "disable-gpu",
        "disable-ipc-flooding-protection",
        "window-size=1280,1000",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(driven))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def opened(browser, address):
    """Opens a page; gives what the console said, and what was asked for in vain or outside the site."""

    def open_page(page: str) -> list[str]:
        for log in ("browser", "performance"):  # of what was open before
            browser.get_log(log)
        browser.get(address + page)
        said = [entry["message"] for entry in browser.get_log("browser") if entry["level"] != "INFO"]
        asked = _asked(browser)
        assert asked, page
        return said + [url for url, fine in asked.items() if not fine or not url.startswith(address)]

    return open_page


@pytest.fixture(scope="session")
def seen(browser, opened, pages) -> dict[str, dict[str, object]]:
    """Every page on a phone: what went wrong, and what look.js finds. With the search each of them would read all the others."""
    look = Path(__file__).with_name("look.js").read_text()
    Quiet.search = False
    with on_phone(browser):
        found = {page: {"problems": opened(page), **browser.execute_script(look)} for page in pages}
    Quiet.search = True
    return found


@contextmanager
def on_phone(browser) -> Iterator[None]:
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def phone(browser):
    with on_phone(browser):
        yield browser


@pytest.fixture
def dark(browser):
    wanted = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})
    yield browser
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def _asked(browser) -> dict[str, bool]:
    """The addresses asked for since the last call, and whether each was there."""
    urls, failed = {}, set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        event, given = message["method"], message["params"]
        if event == "Network.requestWillBeSent":
            urls[given["requestId"]] = given["request"]["url"]
        elif (event == "Network.responseReceived" and given["response"]["status"] >= 400) or (
            event == "Network.loadingFailed" and not given.get("canceled")
        ):
            failed.add(given["requestId"])
    return {url: one not in failed for one, url in urls.items() if not url.startswith(("data:", "blob:", "about:"))}
