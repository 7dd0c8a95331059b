"""What four processes find out for test_engines.py in one start, under names; each writes its answers beside the store."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from checkpoints import loaded, saved
from context import context
from fsdp import fsdp, two_dimensions, whole_models
from torch.distributed.tensor import init_device_mesh
from torch.multiprocessing import start_processes


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=4)
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
    answers = {}
    for check in (fsdp, two_dimensions, whole_models, context):
        answers |= check(rank, mesh)
    answers |= saved(rank, folder, mesh)
    Path(folder, f"{rank}.json").write_text(json.dumps(answers))
    dist.destroy_process_group()


if __name__ == "__main__":
    start_processes(work, (sys.argv[1],), 4, daemon=True, start_method="fork")
    first = Path(sys.argv[1], "0.json")
    first.write_text(json.dumps(json.loads(first.read_text()) | {"loaded": loaded(sys.argv[1])}))
