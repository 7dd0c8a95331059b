"""The model of docs/scale.md: by hand, beside the bytes that were counted, and as the page prints it."""

import json
import shlex

import pytest
from typer.testing import CliRunner

from poz.cli import app
from poz.scale import Head, Machine, best, costs


def test_model_has_the_bytes_that_were_counted(root):
    """At 2 and 4 processes, two to a node; `make trainers-scale` counts them anew."""
    counted = json.loads((root / "bench/wire.json").read_text(encoding="utf-8"))
    assert {*counted["bytes"]} == {"2", "4"}
    for processes, row in counted["bytes"].items():
        model = list(costs(Head(**counted["head"]), Machine(int(processes), counted["node"])))
        assert {one.layout: one.inside + one.across for one in model} == row
        assert all(row.values())


def test_costs_by_hand():
    """A head of 1000 by 10 on 2 nodes of 4: weights 20 kB, gradients 40 kB, 12 bytes of state a parameter."""
    found = {one.layout: one for one in costs(Head(1000, 10, 5, gradient=4), Machine(8, 4, inside=1000.0, across=10.0))}
    assert found["replicated"] == ("replicated", 0, 2 * 7 / 8 * 40_000, 180_000, 7000.0)
    assert found["fsdp"][1:4] == (0, 7 / 8 * 60_000, 180_000 / 8 + 60_000)
    assert found["fsdp, gathered twice"].across == 7 / 8 * 80_000
    hybrid = found["hybrid"]
    assert hybrid[1:4] == (3 / 4 * 60_000, 2 / 2 * 10_000, 180_000 / 4 + 60_000)
    assert hybrid.seconds == 45 + 1000
    rows = 4 * 5  # of a node
    body = 2 * 3 / 4 * rows * (24 + 4 * 10)
    assert found["vocabulary, body too"][1:4] == (body, 10_000, 45_000 + rows * 10 * 6)
    assert found["vocabulary"].inside == body + 3 / 4 * rows * 20
    assert best(list(found.values()), 50_000).layout == "vocabulary, body too"
    assert best(list(found.values()), 105_000).layout == "vocabulary, body too"
    assert best(list(found.values()), 46_000) is None


@pytest.mark.parametrize(
    ("head", "machine", "said"),
    [
        (Head(0, 8), Machine(8), "vocabulary must be positive; got 0"),
        (Head(8, 8), Machine(8, across=-1.0), "across must be positive; got -1.0"),
        (Head(8, 8), Machine(12), "12 devices do not fill nodes of 8"),
    ],
)
def test_sizes_that_are_none_are_refused(head, machine, said):
    with pytest.raises(ValueError, match=said):
        list(costs(head, machine))


def test_page_has_what_the_commands_print(root):
    page = (root / "docs/scale.md").read_text(encoding="utf-8")
    blocks = [part.split("```")[0].strip() for part in page.split("```bash\n")[1:]]
    commands = [block for block in blocks if block.startswith("poz scale")]
    assert len(commands) == 2
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command)[1:])
        assert result.exit_code == 0, result.output
        table = "\n".join(line.rstrip() for line in result.output.strip().splitlines())
        assert table in page, f"{command}\n{table}"
    assert CliRunner().invoke(app, ["scale", "--devices", "12"]).exit_code == 2
    assert CliRunner().invoke(app, ["scale", "--room", "nan"]).exit_code == 2
