"""Examples on several processes, and bytes on the wire: `make trainers-scale`, with Ray Train, Accelerate and torchrun."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from poz.scale import Head, Machine, costs

ROOT = Path(__file__).resolve().parents[2]
ONE = """
import importlib.util as util, sys
spec = util.spec_from_file_location("example", sys.argv[1])
spec.loader.exec_module(example := util.module_from_spec(spec))
print("losses", *example.main(int(sys.argv[2]), sys.argv[3]))
"""
QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "RAY_TRAIN_V2_ENABLED": "1"}

# Accelerate 1.15 makes MULTI_CPU of FSDP where there is no accelerator (executed): its state is told that FSDP was meant.
ON_CPU = """
import runpy, sys
from accelerate import state
from accelerate.utils import DistributedType
made = state.AcceleratorState.__init__
def init(self, *args, **options):
    fresh = not self._shared_state
    made(self, *args, **options)
    if fresh and options.get("fsdp_plugin") is not None:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, options["fsdp_plugin"]
state.AcceleratorState.__init__ = init
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def started(*command, **environment):
    """The losses that a command prints last."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], env={**QUIET, **environment}, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [float(x) for x in done.stdout[done.stdout.rindex("losses") :].splitlines()[0].split()[1:]]


def torchrun(processes, *command, **environment):
    module = "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes
    return started(*module, *command, **environment)


def test_tensor_parallel_losses_are_those_of_one_process(agree):
    path = ROOT / "examples/torchrun_tp.py"
    alone = started(path)
    assert alone[-1] < 0.1 < alone[0]
    agree("processes", torchrun(2, path), alone, 1e-6)  # float32, printed to six places


def test_accelerate_shards_by_fsdp2(agree, tmp_path):
    program, path = tmp_path / "on_cpu.py", ROOT / "examples/accelerate_fsdp2/train.py"
    program.write_text(ON_CPU)
    config = (ROOT / "examples/accelerate_fsdp2/config.yaml").read_text()
    assert "fsdp_version: 2" in config
    assert "fsdp_transformer_layer_cls_to_wrap: LogpsHead" in config
    fsdp = {
        "ACCELERATE_USE_CPU": "true",
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_TRANSFORMER_CLS_TO_WRAP": "LogpsHead",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
    }  # what `accelerate launch` makes of the configuration
    agree("processes", torchrun(2, program, path, **fsdp), started(path), 1e-6)


def test_ray_train_with_one_and_two_workers(agree, tmp_path):
    path = ROOT / "examples/ray_train.py"
    one, two = (started("-c", ONE, path, workers, tmp_path / f"{workers}.txt") for workers in (1, 2))
    assert one[-1] < 0.1 < one[0]
    agree("processes", two, one, 1e-6)


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    file = tmp_path_factory.mktemp("wire") / "wire.json"
    command = [sys.executable, "-m", "poz.bench.wire", str(file)]
    subprocess.run(command, env=QUIET, check=True, timeout=400)
    return json.loads(file.read_text())


def test_bytes_on_the_wire_are_those_of_the_model_and_of_the_file(counted):
    assert counted["bytes"] == json.loads((ROOT / "bench/wire.json").read_text())["bytes"]
    for processes, row in counted["bytes"].items():
        model = costs(Head(**counted["head"]), Machine(int(processes), counted["node"]))
        assert {one.layout: one.inside + one.across for one in model} == row
