"""docs/trainers.md has what `make trainers` measured, and every trainer that has tests was measured or is named as not run."""

import importlib.util
import json
import tomllib


def test_page_has_the_table_of_the_results(root):
    spec = importlib.util.spec_from_file_location("page", root / "tests/trainers/page.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    inside = page.split(page.PAGE.read_text(encoding="utf-8"))[1]
    assert inside == page.table(), "python tests/trainers/page.py writes it"


def test_each_trainer_was_measured(root):
    folder = root / "tests/trainers"
    asked = {file.stem.removeprefix("test_") for file in folder.glob("test_*.py")}
    measured = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in (folder / "results").glob("*.json")}
    skipped = tomllib.loads((folder / "not_run.toml").read_text(encoding="utf-8"))
    assert asked == {file.stem for file in folder.glob("*.txt")} == {*measured}
    assert not asked & {*skipped}
    assert all(row["tests"] > 0 and row["versions"] for row in measured.values())
