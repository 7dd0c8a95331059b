"""Files are written whole or not at all: on a full disk the file before stays, and nothing is left over."""

import json
import os
import stat
import subprocess
import sys

import pytest

COMMANDS = {
    "verify --json": (["verify", "dpo", "--backend", "numpy", "--cases", "1", "--json"], "out.json"),
    "plot": (["plot", "dpo", "-o"], "out.png"),
}


def poz(*arguments, room=None):
    """The command line in a process that may write files of so many bytes."""
    start = "import resource, runpy, sys; "
    if room is not None:  # what is written beyond it fails, as on a full disk
        start += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); "
    start += "runpy.run_module('poz', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-P", "-B", "-c", start, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes there")
@pytest.mark.parametrize("before", [None, "kept"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk(tmp_path, name, before):
    command, file = COMMANDS[name]
    target = tmp_path / file
    if before is not None:
        target.write_text(before)
    result = poz(*command, target, room=100)
    assert result.returncode == 2, result.stderr
    assert f"Cannot write {target}" in " ".join(result.stderr.split()).replace("/ ", "/")
    assert "Traceback" not in result.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == (
        {} if before is None else {file: before.encode()}
    )


def test_a_link_stays_one_and_rights_stay(tmp_path):
    command, file = COMMANDS["verify --json"]
    (tmp_path / "real.json").write_text("before")
    (tmp_path / "real.json").chmod(0o640)
    (tmp_path / file).symlink_to("real.json")
    assert poz(*command, tmp_path / file).returncode == 0
    assert (tmp_path / file).is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["cases"] == 1
    assert stat.S_IMODE((tmp_path / "real.json").stat().st_mode) == 0o640
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(not os.path.exists("/dev/stderr"), reason="no devices there")
def test_what_is_no_file_is_written_to(tmp_path):
    command, _ = COMMANDS["verify --json"]
    result = poz(*command, "/dev/stderr")
    assert result.returncode == 0
    assert '"cases": 1' in result.stderr
