"""Bytes that each layout of `poz.scale` sends, counted: `python -m poz.bench.wire FILE`, on 2 and 4 processes of one machine.

Counted are the tensors handed to collectives, turned into bytes on a ring as `poz.scale` turns them.
"""
# ruff: noqa: E402 - what is missing is said before anything fails

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from poz._extras import require

require("poz.bench.wire", "bench", "torch")

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.multiprocessing import start_processes  # type: ignore[attr-defined]
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from poz.scale import Head, reduced, shared
from poz.torch import LogpsHead, linear_logps

HEAD = Head(vocabulary=512, hidden=64, tokens=32, weight=4, gradient=4)
PROCESSES = (2, 4)
Step = Callable[[], None]
NODE = 2  # processes that stand for the devices of a node


class Wire(TorchDispatchMode):
    """Adds up what collectives send; operators of poz's own, into which this does not see, call `dist.all_reduce`."""

    def __init__(self) -> None:
        super().__init__()
        self.sent, self._apart = 0.0, False

    def __enter__(self) -> Wire:
        self._all_reduce = dist.all_reduce

        def all_reduce(tensor: Tensor, *args: Any, group: Any = None, **options: Any) -> Any:
            self._add("allreduce_", [[tensor]], dist.get_world_size(group))
            self._apart = True
            try:
                return self._all_reduce(tensor, *args, group=group, **options)
            finally:
                self._apart = False

        dist.all_reduce = all_reduce
        return super().__enter__()

    def __exit__(self, *problem: Any) -> None:
        dist.all_reduce = self._all_reduce
        super().__exit__(*problem)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name.startswith("c10d::") and not self._apart:
            group = next(dist.ProcessGroup.unbox(x) for x in args if isinstance(x, torch.ScriptObject))
            self._add(name.removeprefix("c10d::"), args, group.size())
        return func(*args, **(kwargs or {}))

    def _add(self, name: str, args: Any, over: int) -> None:
        sizes = [x.numel() * x.element_size() for x in tree_leaves(args[:2]) if isinstance(x, Tensor)]
        if name == "allreduce_":
            sent = reduced(sum(sizes), over)
        elif name in ("_allgather_base_", "_reduce_scatter_base_"):
            sent = shared(max(sizes), over)
        elif name == "allgather_":  # of a few numbers, by which the processes of a call learn of one another
            return
        else:
            raise NotImplementedError(f"What {name} sends is not counted.")
        self.sent += sent


def _alike() -> tuple[Tensor, Tensor, Tensor]:
    """Rows of this process, their targets, and the whole weight."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(HEAD.vocabulary, HEAD.hidden, generator=generator)
    hidden = torch.randn(HEAD.tokens, HEAD.hidden, generator=generator.manual_seed(1 + dist.get_rank()))
    targets = torch.randint(0, HEAD.vocabulary, (HEAD.tokens,), generator=generator)
    return hidden.requires_grad_(), targets, weight


def _linear(weight: Tensor) -> torch.nn.Linear:
    linear = torch.nn.Linear(HEAD.hidden, HEAD.vocabulary, bias=False)
    linear.weight = torch.nn.Parameter(weight)
    return linear


def replicated(_: DeviceMesh) -> Step:
    """DDP."""
    hidden, targets, weight = _alike()
    head = torch.nn.parallel.DistributedDataParallel(LogpsHead(_linear(weight)))
    return lambda: head(hidden, targets).mean().backward()


def _sharded(mesh: DeviceMesh, kept: bool) -> Step:
    hidden, targets, weight = _alike()
    head = LogpsHead(_linear(weight))
    fully_shard(head, mesh=mesh, reshard_after_forward=not kept)
    return lambda: head(hidden, targets).mean().backward()


def fsdp(_: DeviceMesh) -> Step:
    """FSDP2 over all processes, the gathered weight kept."""
    return _sharded(init_device_mesh("cpu", (dist.get_world_size(),)), kept=True)


def gathered_twice(_: DeviceMesh) -> Step:
    """FSDP2, the weight gathered again for the backward pass."""
    return _sharded(init_device_mesh("cpu", (dist.get_world_size(),)), kept=False)


def hybrid(nodes: DeviceMesh) -> Step:
    """FSDP2 within a node, replicated over nodes."""
    return _sharded(nodes if nodes.size(0) > 1 else nodes["inside"], kept=True)


def _vocabulary(mesh: DeviceMesh, gathers: bool) -> Step:
    return lambda: _on_vocabulary(mesh, gathers)


def _on_vocabulary(mesh: DeviceMesh, gathers: bool) -> None:
    hidden, _, weight = _alike()
    group, nodes = mesh.get_group("inside"), mesh.get_group("across")
    part = weight.chunk(group.size())[group.rank()].clone().requires_grad_()
    rows = torch.empty(group.size() * HEAD.tokens, HEAD.hidden)
    if gathers:
        dist.all_gather_into_tensor(rows, hidden.detach(), group=group)
    else:
        rows.copy_(torch.randn(rows.shape, generator=torch.Generator().manual_seed(2)))
    same = torch.randint(0, HEAD.vocabulary, (len(rows),), generator=torch.Generator().manual_seed(3))
    linear_logps(rows.requires_grad_(), part, same, group=group).mean().backward()
    if nodes.size() > 1:
        dist.all_reduce(part.grad, group=nodes)


def vocabulary(mesh: DeviceMesh) -> Step:
    """A part of the vocabulary each, below a body that has other rows on each device."""
    return _vocabulary(mesh, gathers=True)


def vocabulary_and_body(mesh: DeviceMesh) -> Step:
    """A part of the vocabulary each, below a body that has the same rows on the devices of a node."""
    return _vocabulary(mesh, gathers=False)


LAYOUTS: dict[str, Callable[[DeviceMesh], Step]] = {
    "replicated": replicated,
    "fsdp": fsdp,
    "fsdp, gathered twice": gathered_twice,
    "hybrid": hybrid,
    "vocabulary": vocabulary,
    "vocabulary, body too": vocabulary_and_body,
}


def count(rank: int, processes: int, folder: str) -> None:
    """One process of a run, which writes what it sent."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store{processes}", rank=rank, world_size=processes)
    found = {}
    for name, layout in LAYOUTS.items():
        mesh = init_device_mesh("cpu", (processes // NODE, NODE), mesh_dim_names=("across", "inside"))
        step = layout(mesh)
        with Wire() as wire:
            step()
        found[name] = wire.sent
    Path(folder, f"{processes}.{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


def main(file: Path) -> None:
    """Counts, and writes bytes by number of processes and layout."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for processes in PROCESSES:
            start_processes(count, (processes, folder), processes)
            every = [json.loads(Path(folder, f"{processes}.{rank}.json").read_text()) for rank in range(processes)]
            if any(one != every[0] for one in every):
                raise RuntimeError(f"Processes sent different numbers of bytes: {every}.")
            rows[str(processes)] = every[0]
    file.write_text(
        json.dumps({"torch": torch.__version__, "head": HEAD._asdict(), "node": NODE, "bytes": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
