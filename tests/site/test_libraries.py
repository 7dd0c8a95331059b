"""Each library that was judged has a page, with all that was found of it, and the page of all leads there."""

import html
import re

from poz.peers import results


def plain(page):
    return " ".join(html.unescape(re.sub("<[^>]+>", "", page)).split())


def test_a_page_has_every_record_of_its_library(root, pages):
    records = results()["records"]
    assert len(records) > 500
    texts = {
        page: (root / "build/site" / page).read_text(encoding="utf-8") for page in pages if page.startswith("peers/")
    }
    by_title = {re.search("<h1[^>]*>(.*?)<", text)[1]: plain(text) for text in texts.values()}
    assert by_title.keys() == {record["library"] for record in records}
    missing = [
        (record["library"], what)
        for record in records
        if "".join((what := record.get("function") or record["does"].rstrip(".")).replace("`", "").split())
        not in "".join(by_title[record["library"]].split())
    ]
    assert missing == []


def test_the_page_of_all_leads_to_each(root, pages):
    text = (root / "build/site/peers.html").read_text(encoding="utf-8")
    assert {page for page in pages if page.startswith("peers/")} == set(
        re.findall(r'<td><a href="(peers/[^"]+)"', text)
    )
