"""Every page in a browser: nothing fails, nothing is fetched from elsewhere, and it fits a phone."""


def test_every_page_opens(opened, pages):
    wrong = {page: problems for page in pages if (problems := opened(page))}
    assert wrong == {}
