"""`poz audit`, as a user runs it, on what is installed and on what is not."""

import contextlib
import json
import subprocess
import sys

import pytest
from rich.console import Console
from typer.testing import CliRunner

import poz
from poz.cli import app
from poz.peers import Library, libraries

run = CliRunner()


def made_up(monkeypatch, **libraries):
    """The command with these libraries alone, 80 columns wide."""
    monkeypatch.setattr("poz.peers.libraries", lambda: libraries)
    monkeypatch.setattr("poz.cli.screen.out", Console(width=80, force_terminal=True, color_system=None))
    monkeypatch.setenv("COLUMNS", "80")


def equal():
    library = Library("Made up", "numpy")
    library.loss("dpo", "their_dpo_loss")(lambda: poz.dpo)
    return library


def test_one_library_and_objective_as_json():
    result = run.invoke(app, ["audit", "--library", "liger", "--objective", "dpo", "--cases", "2", "--json", "-"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["versions"]["poz"] == poz.__version__
    assert (found["objective"], found["cases"], found["seed"]) == ("dpo", 2, 0)
    assert {(record["library"], record["objective"]) for record in found["records"]} == {("Liger", "dpo")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--library", "Tiger"], "There is no library 'Tiger'. Did you mean 'Liger' or 'TRL'?"),
        (["--objective", "ippo"], "There is no objective 'ippo'"),
        (["--checkout", "Tiger=."], "There is no library 'Tiger'. Did you mean 'Liger' or 'TRL'?"),
        (["--checkout", "Liger"], "--checkout takes a library and a folder, as in HALOs=../HALOs; got"),
        (["--checkout", "Liger={tmp_path}"], "is no git checkout of Liger: give the folder that `git clone` made."),
        (["--json", "{tmp_path}/no/a.json"], "There is no folder"),
        (["--seed", "-1"], "--seed must be a whole number"),
    ],
)
def test_what_is_not_understood_is_refused(arguments, said, tmp_path):
    result = run.invoke(app, ["audit", *(text.format(tmp_path=tmp_path) for text in arguments)])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_a_library_that_is_not_installed_is_named_and_costs_nothing(monkeypatch):
    absent = Library("Absent", "no-such-package")

    @absent.fact("It is imported.", gives=1)
    def never():
        raise AssertionError("called")

    made_up(monkeypatch, equal=equal(), absent=absent)
    result = run.invoke(app, ["audit", "--cases", "1"])
    assert result.exit_code == 0, result.output
    assert "Not installed, nor given as --checkout: Absent." in result.output
    assert "1 of 1 called" in result.output


def test_knowing_the_libraries_imports_none_of_them():
    code = "import sys; from poz.peers import libraries; print(*[one.package for one in libraries().values()]); " \
        "print(*{name.partition('.')[0] for name in sys.modules})"  # fmt: skip
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    packages, modules = (set(line.replace("-", "_").split()) for line in done.stdout.splitlines())
    assert "liger_kernel" in packages
    assert not modules & (packages | {"torch", "jax", "transformers"})


def test_nothing_that_can_be_called_is_an_exit_of_one(monkeypatch):
    def gone():
        raise ImportError("No module named 'flash_attn'")

    broken = Library("Broken", "numpy")
    broken.loss("dpo", "their_dpo_loss")(gone)
    made_up(monkeypatch, Broken=broken)
    result = run.invoke(app, ["audit", "--library", "Broken"])
    assert result.exit_code == 1
    assert "0 of 1 called" in result.output
    made_up(monkeypatch, Absent=Library("Absent", "no-such-package"))
    result = run.invoke(app, ["audit"])
    assert result.exit_code == 1
    assert "Not installed, nor given as --checkout: Absent." in result.output


def test_it_fits_80_columns_and_no_word_is_cut(monkeypatch):
    long = "SomeVeryLongTrainerName.with_a_method_that_nobody_can_remember, loss_type='sigmoid_and_more'"
    library = Library("A library of a long name", "numpy")
    library.loss("dpo", long, does="is one more", settings={"beta": 0.5})(lambda: lambda pairs: poz.dpo(pairs) + 1)
    library.fact("It is so.", gives="x" * 90)(lambda: "x" * 90)
    made_up(monkeypatch, long=library)
    result = run.invoke(app, ["audit", "--cases", "1"])
    lines = result.output.splitlines()
    assert [line for line in lines if len(line) > 80 and len(line.split()) > 1] == []
    said = " ".join(result.output.split())
    for cell in (long, "x" * 90, "A library of a long name", "differs: loss"):
        assert cell in said


def test_the_examples_of_one_library_are_printed(monkeypatch):
    library = Library("Wrong", "numpy")
    library.loss("dpo", "their_dpo_loss")(lambda: lambda pairs: poz.dpo(pairs) + 1)
    made_up(monkeypatch, Wrong=library)
    shown = "Wrong, their_dpo_loss, example: poz.Pairs(chosen=torch.tensor(["
    assert shown in run.invoke(app, ["audit", "--library", "Wrong", "--cases", "1"]).output
    assert shown in run.invoke(app, ["audit", "--objective", "dpo", "--cases", "1"]).output
    assert shown not in run.invoke(app, ["audit", "--cases", "1"]).output


def test_what_a_library_prints_is_not_in_the_json(monkeypatch):
    def noisy():
        print("a banner")
        return poz.dpo

    library = Library("Noisy", "numpy")
    library.loss("dpo", "their_dpo_loss")(noisy)
    made_up(monkeypatch, Noisy=library)
    result = run.invoke(app, ["audit", "--cases", "1", "--json", "-"])
    assert json.loads(result.stdout)["records"][0]["verdict"] == "equal"
    assert "a banner" in result.stderr


def repository(folder, *commands):
    for command in ("init -q", *commands):
        words = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org", *command.split()]
        subprocess.run(words, check=True, capture_output=True)


def test_a_checkout_is_imported_and_named_by_its_commit(monkeypatch, tmp_path):
    (tmp_path / "checked_out_for_this_test.py").write_text("answer = 42\n")
    repository(tmp_path, "add .", "commit -qm one")
    library = Library("Checked out")

    @library.fact("It has the answer.", gives=42)
    def answers():
        import checked_out_for_this_test

        return checked_out_for_this_test.answer

    made_up(monkeypatch, **{"Checked out": library})
    monkeypatch.setattr(sys, "path", list(sys.path))
    arguments = ["audit", "--checkout", f"Checked out={tmp_path}", "--json", "-"]
    (record,) = json.loads(run.invoke(app, arguments).stdout)["records"]
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert record["verdict"] == "as said"
    assert record["version"] == f"@{head.stdout[:7]}"
    (tmp_path / "checked_out_for_this_test.py").write_text("answer = 43\n")
    with contextlib.suppress(KeyError):
        del sys.modules["checked_out_for_this_test"]
    result = run.invoke(app, arguments)
    assert result.exit_code == 2
    assert "are changed, so no commit names what would be judged" in " ".join(result.output.split())


def test_every_row_names_what_poz_has():
    """Objectives, settings, topics; and of a bug why it is one, and what is told apart."""
    from poz.peers import TOPICS

    for library in libraries().values():
        for loss in library.losses:
            assert loss.objective in poz.zoo, loss
            poz.zoo[loss.objective].bind(**loss.settings)
            assert {*loss.constant} <= {*poz.zoo[loss.objective].family._fields}, loss
        for one in [*library.losses, *library.facts]:
            assert one.topic in {"", *TOPICS}, one
        names = [(loss.objective, loss.function) for loss in library.losses], [one.key for one in library.facts]
        for each in names:
            assert len(each) == len(set(each)), library.name
        for fact in library.facts:
            assert fact.objective in {"", *poz.zoo}, fact
            assert fact.because or fact.right is None, fact


def test_what_nothing_is_known_of_is_said():
    result = run.invoke(app, ["audit", "--library", "JAX", "--objective", "heron"])
    assert result.exit_code == 1
    assert "Nothing is known of that" in result.output
    assert "┃" not in result.output


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("TRL", "dpo"), TypeError, "must be one of poz.peers.libraries()"),
        ((equal(), "ippo"), ValueError, "There is no objective 'ippo'. Did you mean"),
        ((Library("Absent", "no-such-package"), ""), ValueError, "Absent is not installed; poz.peers.results"),
    ],
)
def test_the_function_refuses_what_the_command_does(arguments, error, said):
    with pytest.raises(error) as caught:
        list(poz.peers.audit(*arguments))
    assert said in str(caught.value)
    with pytest.raises(ValueError, match="At least one case"):
        list(poz.peers.audit(equal(), cases=0))


def test_a_checkout_of_something_else_gives_no_records(monkeypatch, tmp_path):
    (tmp_path / "other.py").write_text("")
    repository(tmp_path, "add .", "commit -qm one")
    library = Library("Elsewhere")

    @library.fact("It has the answer.", gives=42)
    def answers():
        import not_in_this_checkout

        return not_in_this_checkout.answer

    made_up(monkeypatch, Elsewhere=library)
    monkeypatch.setattr(sys, "path", list(sys.path))
    result = run.invoke(app, ["audit", "--checkout", f"Elsewhere={tmp_path}", "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 2
    assert f"Nothing of Elsewhere can be called in {tmp_path}." in "".join(result.output.splitlines())
    assert not (tmp_path / "out.json").exists()


def test_where_it_is_piped_a_record_is_a_line(monkeypatch):
    monkeypatch.setattr("poz.peers.libraries", lambda: {"Made up": equal()})
    result = run.invoke(app, ["audit"])
    version = Library("Made up", "numpy").version()
    assert result.stdout.splitlines()[0].split("\t") == [f"Made up {version}", "their_dpo_loss", "dpo", "equal"]
