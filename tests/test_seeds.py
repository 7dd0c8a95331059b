"""What is drawn comes with its seed and versions: the same seed gives the same numbers again, another one others."""

import json

import pytest
from typer.testing import CliRunner

import poz
from poz import preferences
from poz.cli import app
from poz.peers import audit
from poz.peers._library import Library
from poz.testing import conform


def cases(seed, folder):
    return CliRunner().invoke(app, ["cases", "dpo", "--count", "1", "--seed", str(seed)]).stdout


def demo(seed, folder):
    data, found = folder / "pairs.jsonl", folder / "found.json"
    data.write_text("".join(json.dumps(pair) + "\n" for pair in preferences.load()[:5]))
    given = ["--objective", "simpo", "--data", data, "--steps", 1, "--output", folder / "x.png", "--seed", seed]
    result = CliRunner().invoke(app, ["demo", *map(str, given), "--json", str(found)])
    assert f"seed {seed}; python " in result.stdout
    return found.read_text()


@pytest.mark.parametrize(("command", "numbers"), [(cases, "cases"), (demo, "before")])
def test_a_command_writes_its_seed_and_versions(tmp_path, command, numbers):
    first, again, other = (json.loads(command(seed, tmp_path)) for seed in (3, 3, 4))
    assert again == first
    assert other[numbers] != first[numbers]
    assert (first["seed"], other["seed"]) == (3, 4)
    assert first["versions"]["poz"] == poz.__version__
    assert {"python", "numpy"} <= set(first["versions"])


def verified(seed):
    """The inputs and numbers of the first that is wrong, as `poz verify` writes them."""
    return conform("dpo", lambda pairs, *, beta=0.1: beta * pairs.chosen, backend="numpy", cases=1, seed=seed).inputs


def audited(seed):
    library = Library("Made up", "numpy")
    library.loss("dpo", "half", backend="numpy")(lambda: lambda pairs, *, beta=0.1: 0.5 * poz.dpo(pairs, beta=beta))
    (record,) = audit(library, cases=1, seed=seed)
    return {name: x for name, x in record.items() if name != "seconds"}


@pytest.mark.parametrize("run", [verified, audited])
def test_a_seed_is_that_of_the_draws(run):
    first, again, other = map(run, (3, 3, 4))
    assert first == again != other
