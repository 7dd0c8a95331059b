"""The command line in pipes, on consoles of other encodings, and stopped in the middle; and parts of poz by their names."""

import json
import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import poz
from poz.cli import app

RUN = [sys.executable, "-P", "-m", "poz"]


def poz_run(*arguments, **environment):
    return subprocess.run(
        [*RUN, *arguments], capture_output=True, check=False, env={**os.environ, "COLUMNS": "200", **environment}
    )


def test_json_goes_to_standard_output_alone(tmp_path):
    result = poz_run("verify", "dpo", "--backend", "numpy", "--cases", "1", "--json", "-")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["finished"] is True
    assert [r["objective"] for r in report["results"]] == ["dpo"]
    assert b"1 passed, 0 failed" in result.stderr


@pytest.mark.parametrize("command", ["verify dpo", "demo"])
def test_a_negative_seed_is_refused(command):
    result = CliRunner().invoke(app, [*command.split(), "--seed", "-1"])
    assert result.exit_code == 2
    assert "--seed must be a whole number from 0 to 4294967295; got -1." in " ".join(result.stderr.split())


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize("name", ["dpo", "kto", "vpo", "lipo_lambda"])
def test_symbols_that_a_console_cannot_show_are_spelled(encoding, name):
    spelled, plain = (poz_run("show", name, PYTHONIOENCODING=one) for one in (encoding, "utf-8"))
    assert spelled.returncode == 0, spelled.stderr
    assert "β" in plain.stdout.decode()
    text = spelled.stdout.decode(encoding)
    assert text.count("beta") > plain.stdout.decode().count("beta")
    assert text.count("?") == plain.stdout.decode().count("?")


def test_the_list_can_be_shown_on_any_console():
    assert poz_run("list", PYTHONIOENCODING="cp1252").returncode == 0


@pytest.mark.parametrize(
    "name", [n for n, o in poz.zoo.items() if o.family is poz.RewardPairs and "chosen" not in o.reads]
)
def test_what_has_no_margin_is_not_drawn(name, tmp_path):
    result = CliRunner().invoke(app, ["plot", name, "-o", str(tmp_path / "x.png")])
    assert result.exit_code == 2
    assert f"`{name}` reads no score, so there is no margin" in " ".join(result.stderr.split())


def test_a_benchmark_of_nothing_is_refused():
    result = poz_run("bench", "--only", "dpo", "--quick")
    assert result.returncode == 2
    assert b"No case has 'dpo' in its name; there are " in result.stderr
    assert result.stdout == b""


OFTEN = """
import signal
from poz import cli
from poz.__main__ import main
cli.EVERY = 0.5
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job is born without
main()
"""


def interrupted(arguments):
    """The command, with a line of progress every half second, stopped by Ctrl-C once some are finished."""
    command = [sys.executable, "-P", "-c", OFTEN, *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    first = next(line for line in process.stderr if int(line.split()[0]) > 1)  # "2 of 102, rrhf on numpy, 1 s"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, for all that belong to it
    out, err = process.communicate(timeout=60)
    return process, out, first + err


@pytest.mark.skipif(os.name == "nt", reason="process groups are of POSIX")
def test_ctrl_c_keeps_what_is_finished(tmp_path):
    """With progress in a pipe."""
    target = tmp_path / "out.json"
    process, out, err = interrupted(["verify", "--backend", "numpy", "--cases", "60", "--json", str(target)])
    assert process.returncode == 130, err
    assert "Traceback" not in err + out
    report = json.loads(target.read_text())
    done = len(report["results"])
    assert 0 < done < len(poz.zoo)
    assert report["finished"] is False
    assert f"Stopped; {done} of {len(poz.zoo)} are finished." in out
    assert f" of {len(poz.zoo)}, " in err


def test_parts_are_there_when_they_are_asked_for():
    code = """
import sys, poz
assert not {"torch", "jax", "scipy", "triton", "matplotlib"} & set(sys.modules)
assert poz.reference.dpo and poz.preferences.load and poz.testing.conform and poz.games and poz.kernels.layout
print(poz.torch.linear_logps.__name__)
for name in ("simp", "refrence", "_nothing"):
    try: getattr(poz, name)
    except AttributeError as error: print(error)
"""
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    logps, simp, reference, private = result.stdout.splitlines()
    assert logps == "linear_logps"
    assert simp.startswith("`poz` has no attribute 'simp'. Did you mean 'simpo'")
    assert reference == "`poz` has no attribute 'refrence'. Did you mean 'reference'?"
    assert private == "`poz` has no attribute '_nothing'."
