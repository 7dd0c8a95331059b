"""Kernels compiled ahead of time: what they take, and what is said where it is too much."""

import json
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest

triton = pytest.importorskip("triton")

from poz.kernels import ahead_of_time as aot  # noqa: E402 - needs Triton


@pytest.mark.parametrize("arch", aot.TARGETS)
def test_resources_are_within_the_table(arch):
    measured, table = aot.measure(aot.cases(), [arch]), json.loads(aot.TABLE.read_text())
    found = aot.problems(measured, table)
    assert not found, "\n".join(found)
    if (
        table["triton"] == triton.__version__
    ):  # fewer registers are no problem, and a table that is not of these kernels
        for name, rows in measured.items():
            assert table["kernels"][name].get(arch) == (list(rows[arch]) if arch in rows else None), name


def test_table_has_no_stale_rows():
    assert set(json.loads(aot.TABLE.read_text())["kernels"]) == {case.name for case in aot.cases()}


def test_what_is_too_much_is_said():
    table = {"triton": triton.__version__, "kernels": {"sum": {"sm_80": [32, 0, 9]}}}

    def said(*now, arch="sm_80", table=table):
        return aot.problems({"sum": {arch: aot.Resources(*now)}}, table)

    assert said(32, 0, aot.SHARED["sm_80"]) == said(31, 0, 99) == []
    assert said(33, 0, 9) == ["sum on sm_80 takes 33 registers; the table says 32."]
    assert said(33, 0, 9, table={**table, "triton": "another"}) == []
    assert said(32, 1, 9) == ["sum on sm_80 spills 1; nothing may spill."]
    assert said(32, 0, 166913) == ["sum on sm_80 takes 166913 bytes of shared memory; sm_80 has 166912."]
    unknown = ["sum on sm_90 is not in resources.json; write the table anew with --write."]
    assert said(32, 0, 9, arch="sm_90") == unknown


def test_all_that_a_compiler_says_it_spilled_is_counted(monkeypatch):
    on_amd = " .vgpr_count: 40\n .vgpr_spill_count: 3\n .sgpr_spill_count: 2\n"
    compiled = SimpleNamespace(asm={"cubin": b"", "amdgcn": on_amd}, metadata=SimpleNamespace(shared=7))
    on_nvidia = SimpleNamespace(stdout="Function sum:\n REG:24 STACK:8 SHARED:0 LOCAL:16 TEXTURE:0")
    monkeypatch.setattr(triton, "compile", lambda *_, **__: compiled)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: on_nvidia)
    case = aot.cases()[0]
    assert aot.resources(case, "gfx942") == (40, 5, 7)
    assert aot.resources(case, "sm_90") == (24, 24, 7)


def test_command_writes_a_table_and_checks_against_it(monkeypatch, tmp_path, capsys):
    case = aot.cases()[0]
    monkeypatch.setattr(aot, "cases", lambda: [case])
    monkeypatch.setattr(aot, "TABLE", tmp_path / "resources.json")
    for command in (["--write"], ["--check"], []):
        assert aot.main(command) == 0
        assert capsys.readouterr().out.startswith("1 kernels on sm_80, sm_90, sm_100, gfx942: no spill")
        written = aot.TABLE.read_text()
    assert set(json.loads(written)["kernels"][case.name]) == set(aot.TARGETS)
    less = json.loads(written)
    less["kernels"][case.name]["sm_80"][0] -= 1
    aot.TABLE.write_text(json.dumps(less))
    assert aot.main([]) == 1
    assert capsys.readouterr().out.count("registers; the table says") == 1
    monkeypatch.setattr(sys, "argv", [aot.__file__, "--check", "--write"])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(aot.__file__, run_name="__main__")
    assert "not allowed with" in capsys.readouterr().err
