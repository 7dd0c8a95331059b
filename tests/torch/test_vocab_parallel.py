"""A head sharded over processes gives what the whole head gives."""

import os
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor, init_device_mesh
from torch.multiprocessing import start_processes

from poz.torch.head.linear_logps import linear_logps

VOCABULARY, HIDDEN, ROWS = 301, 12, 40
OUTPUTS = ("logps", "lse", "entropy", "log_sum_sq_probs", "mean_logit", "top1")
SHARDS = (17, 130, 1, 153)


def problem():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, HIDDEN, generator=generator)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=generator)
    bias = torch.randn(VOCABULARY, generator=generator)
    targets = torch.randint(0, VOCABULARY, (ROWS,), generator=generator)
    targets[:8] = torch.tensor([0, 16, 17, 146, 147, 148, 300, -100])
    return hidden, weight, bias, targets


def whole(head, outputs):
    hidden, weight, bias, targets = problem()
    hidden, weight, bias = hidden.requires_grad_(), weight.requires_grad_(head), bias.requires_grad_(head)
    made = linear_logps(hidden, weight, targets, bias=bias, outputs=outputs, softcap=9.0, memory="8MiB")
    backward(made, outputs)
    return made, hidden.grad, weight.grad, bias.grad


def backward(made, outputs):
    factor = torch.linspace(-1, 1, ROWS)
    loss = made * factor if len(outputs) == 1 else made.logps * factor + made.entropy * 0.3 + made.lse * factor
    loss.sum().backward()


def work(rank, world, path):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=world)
    first = sum(SHARDS[:rank])
    mine = slice(first, first + SHARDS[rank])
    for head in (True, False):
        for outputs in (("logps",), OUTPUTS):
            want, by_hidden, by_weight, by_bias = whole(head, outputs)
            hidden, weight, bias, targets = problem()
            hidden.requires_grad_()
            shard, part = weight[mine].clone().requires_grad_(head), bias[mine].clone().requires_grad_(head)
            made = linear_logps(
                hidden, shard, targets, bias=part, outputs=outputs, softcap=9.0, group=dist.group.WORLD, memory="8MiB"
            )
            backward(made, outputs)
            pairs = zip(made, want, strict=True) if len(outputs) > 1 else [(made, want)]
            for ours, theirs in pairs:
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-5)
            torch.testing.assert_close(hidden.grad, by_hidden, rtol=1e-4, atol=1e-5)
            if head:
                torch.testing.assert_close(shard.grad, by_weight[mine], rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(part.grad, by_bias[mine], rtol=1e-4, atol=1e-5)
    check_dtensor(rank, world)
    check_refusals(rank)
    dist.destroy_process_group()


def uneven(rank, world, path):
    """Shards so unequal that one alone would be multiplied in more rows at a time; each block is joined over processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=world)
    generator = torch.Generator().manual_seed(1)
    hidden, weight = torch.randn(100, 16, generator=generator), torch.randn(6050, 16, generator=generator)
    targets = torch.randint(0, 6050, (100,), generator=generator)
    mine = (slice(0, 50), slice(50, 6050))[rank]
    for implementation, memory in (("triton", "4MiB"), ("fused", "200KiB"), ("torch", "4MiB")):
        shard, inputs = weight[mine].clone(), hidden.clone()
        if implementation != "fused":
            shard.requires_grad_()
            inputs.requires_grad_()
        options = {"group": dist.group.WORLD, "implementation": implementation}
        made = linear_logps(inputs, shard, targets, memory=memory, **options)
        a, b = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        want = linear_logps(a, b, targets, implementation="torch")
        torch.testing.assert_close(made, want.detach() if implementation == "fused" else want, rtol=1e-5, atol=2e-5)
        if implementation != "fused":
            made.sum().backward()
            want.sum().backward()
            torch.testing.assert_close(inputs.grad, a.grad, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(shard.grad, b.grad[mine], rtol=1e-4, atol=1e-5)
        with pytest.raises(ValueError, match="too small for a head of 6000 tokens"):
            linear_logps(inputs, shard, targets, memory="20KiB", **options)
    dist.destroy_process_group()


def check_dtensor(rank, world):
    mesh = init_device_mesh("cpu", (world,))
    hidden, weight, _, targets = problem()
    sharded = distribute_tensor(weight, mesh, [Shard(0)]).requires_grad_()
    group = mesh.get_group()
    made = linear_logps(hidden, sharded, targets, group=group)
    torch.testing.assert_close(made, linear_logps(hidden, weight, targets), rtol=1e-5, atol=1e-5)
    made.sum().backward()
    weight.requires_grad_()
    linear_logps(hidden, weight, targets).sum().backward()
    torch.testing.assert_close(sharded.grad.full_tensor(), weight.grad, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="must be sharded on dimension 0"):
        linear_logps(hidden, distribute_tensor(weight.detach(), mesh, [Replicate()]), targets, group=group)


def check_refusals(rank):
    hidden, weight, _, targets = problem()
    with pytest.raises(ValueError, match=r"Targets must lie in \[0, "):
        linear_logps(hidden, weight[10 * rank :][:10], targets, group=dist.group.WORLD)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    wrong = DTensor.from_local(
        weight[: 10 + rank], mesh, [Shard(0)], shape=torch.Size((VOCABULARY, HIDDEN)), stride=(HIDDEN, 1)
    )
    with pytest.raises(ValueError, match="in all, but the head has 301"):
        linear_logps(hidden, wrong, targets, group=mesh.get_group())


def test_sharded_head_agrees_with_the_whole_one(tmp_path):
    run("work", len(SHARDS), tmp_path)


def test_processes_with_unequal_shards_go_in_step(tmp_path):
    """Under Triton's interpreter, whose way joins block by block; and what is too little for one is refused by all."""
    run("uneven", 2, tmp_path, TRITON_INTERPRET="1")


def run(what, world, folder, **environment):
    """In a process that imports everything once and splits into `world`; one that fails ends all."""
    done = subprocess.run(
        [sys.executable, __file__, what, str(world), str(folder / "store")],
        capture_output=True, text=True, env={**os.environ, **environment}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


if __name__ == "__main__":
    what, world, store = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    start_processes({"work": work, "uneven": uneven}[what], (world, store), world, daemon=True, start_method="fork")
