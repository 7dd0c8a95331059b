"""docs/peers.md, docs/reports and `poz show` are what poz/peers/results.json says; and how results are merged."""

import ast
import builtins
import contextlib
import io
import json
import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from poz.cli import app
from poz.peers import described, libraries, results

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def page(root):
    sys.path.insert(0, str(root / "tests/peers"))
    try:
        import page as found

        yield found
    finally:
        sys.path.remove(str(root / "tests/peers"))


def record(library="One", version="1.0", verdict="equal", **rest):
    return {"library": library, "version": version, "kind": "loss", "objective": "dpo", "function": "f", "does": "",
            "settings": {}, "given": "", "topic": "", "verdict": verdict, "dtype": "float64", "but_for": []} | rest  # fmt: skip


def run(path, *records, **rest):
    versions = dict.fromkeys(("python", "numpy", "torch", "jax"), "3.0") | {"poz": "0.1.0"}
    timed = [one | {"seconds": 0.1} for one in records]
    head = {"versions": versions, "objective": "", "cases": 8, "seed": 0}
    path.write_text(json.dumps(head | {"records": timed} | rest))
    return path


NOTHING = {"cases": 8, "seed": 0, "versions": {}, "records": []}


def test_pages_are_those_of_the_results(page, root):
    from reports import reports

    texts = {file.name: file.read_text(encoding="utf-8") for file in (root / "docs/reports").glob("*.md")}
    assert page.PAGE.read_text(encoding="utf-8") == page.page(results()), "python tests/peers/page.py writes it"
    assert texts == reports(results()), "python tests/peers/page.py writes them"


def test_results_are_of_the_rows_as_they_stand(page):
    """What a row says and is held to is what was run; `make audit` runs it again."""
    assert [one for one in results()["records"] if not page.stands(one)] == []
    assert not page.stands(results()["records"][0] | {"does": "something else"})
    assert not page.stands(record("No such library"))


def test_results_hold_no_time_and_one_record_for_each(page):
    found = results()["records"]
    keys = [
        (one["library"], one["version"], one["kind"], one.get("function") or one["key"], one.get("objective"))
        for one in found
    ]
    assert len(keys) == len(set(keys))
    assert not any("seconds" in one for one in found)
    assert found == sorted(found, key=page._order)


def test_merging_one_file_leaves_the_others_as_they_were(page, tmp_path):
    both = run(tmp_path / "base.json", record(), record("Two"), record("One", "2.0"))
    first = page.merge([both], NOTHING)
    assert page.merge([both], first) == first
    assert [(one["library"], one["version"]) for one in first["records"]] == [
        ("One", "1.0"),
        ("One", "2.0"),
        ("Two", "1.0"),
    ]
    second = page.merge([run(tmp_path / "one.json", record(verdict="differs", function="g"))], first)
    assert [(one["version"], one["function"], one["verdict"]) for one in second["records"]] == [
        ("1.0", "g", "differs"), ("2.0", "f", "equal"), ("1.0", "f", "equal")
    ]  # fmt: skip


def test_versions_stand_in_their_order_and_a_checkout_once(page, tmp_path):
    file = run(tmp_path / "base.json", record(version="1.10.0"), record(version="1.9.0"), record("Two", "@1234567"))
    found = page.merge([file], NOTHING)
    assert [one["version"] for one in found["records"]] == ["1.9.0", "1.10.0", "@1234567"]
    found = page.merge([run(tmp_path / "base.json", record("Two", "@7654321"))], found)
    assert [one["version"] for one in found["records"]] == ["1.9.0", "1.10.0", "@7654321"]


@pytest.mark.parametrize(
    ("rest", "said"), [({"objective": "dpo"}, "is about dpo alone"), ({"seed": 1}, "has 8 cases of seed 1")]
)
def test_what_would_not_be_the_whole_is_not_merged(page, tmp_path, rest, said):
    first = page.merge([run(tmp_path / "a.json", record())], NOTHING)
    with pytest.raises(SystemExit, match=said):
        page.merge([run(tmp_path / "b.json", record(), **rest)], first)


def test_the_page_names_every_verdict(page):
    own = {
        "gives": 0.5,
        "right": 1.0,
        "because": "halves are no wholes",
        "link": "",
        "got": 0.5,
        "key": "k",
        "does": "It halves.",
    }
    bug = record(verdict="stands", kind="bug", objective="ipo", **own)
    del bug["function"]
    rows = [
        record(topic="dpo_smoothing"),
        record(version="2.0", topic="dpo_smoothing"),
        record("Two", verdict="differs", does="adds one", where="loss", theirs=2.0, right=1.0),
        record("Two", verdict="cannot be called", function="g|h", why="No module."),
        bug,
    ]
    text = page.page(NOTHING | {"versions": {"base": dict.fromkeys(page.PACKAGES, "1")}, "records": rows})
    assert "| One 1.0, 2.0 | `f` | as `dpo` by default | equal |" in text
    assert "| `dpo` | Two 1.0 | `f` | adds one | differs: loss 2.0, not 1.0 |" in text
    assert "| Two 1.0 | `g\\|h` | dpo | No module. |" in text
    assert "| [It halves](reports/one_k.md) | One 1.0 | `ipo` | stands: 0.5, right is 1.0 |" in text
    assert "| Two 1.0 | 0 | 0 | 1 | 1 | 0 | 0 | 0 | 0 |" in text
    assert "| in all | 2 | 0 | 1 | 1 | 0 | 0 | 1 | 0 |" in text
    assert "\n* HALOs: not installed" in text


def test_show_has_what_was_found_elsewhere(monkeypatch):
    monkeypatch.setattr("poz.cli.screen.out", Console(width=400))
    name = next(one["objective"] for one in results()["records"] if one.get("objective"))
    shown = "".join(CliRunner().invoke(app, ["show", name]).output.split())
    for one in results()["records"]:
        if one.get("objective") == name:
            assert "".join((one.get("function") or one["does"]).split()) in shown
            assert "".join(described(one).split()) in shown
    assert "elsewhere" not in CliRunner().invoke(app, ["show", "amapo"]).output


NUMBER = r"-?\b(?:nan|inf|\d[\d.]*(?:e[-+]?\d+)?)"


def numbers(said):
    return [float(one) for one in re.findall(NUMBER, str(said))]


BUGS = [one for one in results()["records"] if one["kind"] == "bug"]


@pytest.mark.parametrize(
    "bug", [one for one in BUGS if libraries()[one["library"]].version() == one["version"]], ids=lambda one: one["key"]
)
def test_a_report_shows_its_bug(bug, page, root):
    """The program that stands there, run, prints what the record says."""
    from reports import named

    text = (root / "docs/reports" / named(bug["library"], bug["key"])).read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(program, bug["key"], "exec"), {"__name__": "__main__"})
    assert "poz" not in program
    assert 0 < program.count("\n") <= 25
    printed = said.getvalue().strip().splitlines()[-1]
    assert numbers(printed) == pytest.approx(numbers(bug["got"]), rel=1e-4, nan_ok=True)
    assert re.sub(NUMBER, "", printed) == re.sub(NUMBER, "", str(bug["got"]).replace("'", "")), "words"


def test_a_program_that_does_not_stand_alone_is_refused(page):
    from reports import repro

    def leans():
        return described(SimpleNamespace())

    with pytest.raises(ValueError, match="takes described from its file: a report has to stand alone"):
        repro(leans)


def test_a_program_has_its_imports_and_no_remarks_to_our_tools(page):
    from reports import repro

    def adds():
        """Not shown."""
        f = lambda x: SimpleNamespace(y=x)  # noqa: E731
        return [
            f(1).y,
            json.dumps(1),
        ]  # fmt: skip

    def tries():
        try:
            return json.loads("{")
        except ValueError:
            return 0

    assert repro(adds) == (
        "import json\nfrom types import SimpleNamespace\n\nf = lambda x: SimpleNamespace(y=x)\n"
        "print([\n    f(1).y,\n    json.dumps(1),\n])\n"
    )
    for fact, printed in ((adds, "[1, '1']\n"), (tries, "0\n")):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(repro(fact), {})
        assert said.getvalue() == printed


def test_every_environment_of_peers_judges_a_library(page, root):
    import environments

    for file in (root / "tests/peers").glob("*.txt"):
        assert any(file.stem.partition("_")[0] in one.package.lower().split("-") for one in libraries().values()), file
    assert "--library LLaMA-Factory" in environments.flags("llamafactory")
    assert environments.flags("hf") == ""


@pytest.mark.parametrize("report", sorted((ROOT / "docs/reports").glob("*.md")), ids=lambda path: path.stem)
def test_a_report_names_nothing_that_it_does_not_import(report):
    """Annotations of what a function holds are not evaluated there, and are where its body stands alone."""
    (code,) = re.findall(r"```python\n(.*?)```", report.read_text(encoding="utf-8"), re.DOTALL)
    known, read = {*dir(builtins)}, set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            known |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else known).add(node.id)
    assert read
    assert read <= known
