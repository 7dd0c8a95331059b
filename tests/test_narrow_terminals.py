"""At 40, 60 and 80 columns every command says all that it says on a wide terminal, and cuts no word."""

import pytest
from rich.console import Console
from typer.testing import CliRunner

from poz import peers
from poz.cli import app

WIDE, WIDTHS = 1000, (40, 60, 80)
BORDERS = dict.fromkeys(map(ord, "┃│━─┡╇┩├┼┤└┴┘┏┳┓"), " ")
COMMANDS = ("list", "show", "plot", "verify", "cases", "audit", "worlds", "demo", "bench", "scale")
SAID = ["--help", *(f"{name} --help" for name in COMMANDS), "verify dpo ipo --backend numpy --cases 1", "scale"]
SAID += ["list --for ties", "list --purposes", "show lcpo", "show mnpo"]
REFUSED = [
    "show simop",
    "list --for tie",
    "verify dpo --backend nump",
    "demo --param beta",
    "audit --library TLR",
    "plot dpo -o x.gif",
]


@pytest.fixture
def told(monkeypatch):
    """The lines of a command on a terminal of that width."""

    def run(command, width):
        for name, value in {"COLUMNS": width, "FORCE_COLOR": 1, "NO_COLOR": 1}.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setattr("poz.cli.screen.out", Console(color_system=None))
        result = CliRunner().invoke(app, command.split())
        return (result.stdout or result.stderr).splitlines()

    return run


def words(lines):
    """Without the rules of tables, and the marks between a column's name and what stands in it."""
    return [word.strip(":;()") for line in lines for word in line.translate(BORDERS).split()]


@pytest.mark.parametrize("command", SAID + REFUSED)
def test_no_word_is_cut_or_lost(told, command):
    wide = words(told(command, WIDE))
    assert len(wide) > 3
    for width in WIDTHS:
        lines = told(command, width)
        assert "…" not in "".join(lines)
        # a word longer than the terminal, such as a path, is left to it
        assert [line for line in lines if len(line) > width and len(line.split()) > 1] == []
        assert set(wide) <= set(words(lines)), width


def test_what_the_demo_reports(told, monkeypatch):
    lines = [
        "poz.lcpo.bind(base=poz.dpo.bind(beta=0.1), reliability=0.9, mode='gibbs'), whose reliability is learnt",
        f"{'held-out pairs':16}{'before':>16}{'after':>16}",
        f"{'accuracy':16}{'0.5 ± 0.102':>16}{'0.6667 ± 0.096':>16}",
    ]
    monkeypatch.setattr("poz.demo.run", lambda *_, show, **__: [show(line) for line in lines])
    test_no_word_is_cut_or_lost(told, "demo")


def test_what_an_audit_found(told, monkeypatch):
    found = [record for record in peers.results()["records"] if record["library"] == "TRL"]
    assert len(found) > 50  # of which some have programs and examples
    monkeypatch.setattr("poz.peers.audit", lambda *_, **__: found[:50])
    test_no_word_is_cut_or_lost(told, "audit --library TRL")
