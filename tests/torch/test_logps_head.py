"""The head as a module, and processes that should share their rows."""

import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes

import poz
from poz.torch import linear_logps, linear_logps_plan

VOCABULARY, HIDDEN, ROWS = 37, 8, 19


def problem():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, HIDDEN, generator=generator)
    targets = torch.randint(0, VOCABULARY, (ROWS,), generator=generator)
    targets[::7] = -100
    linear = torch.nn.Linear(HIDDEN, VOCABULARY)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return hidden, targets, linear


def start(rank, path):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)


def other_rows(rank, path):
    """With `group`, every process must have the same rows: whatever differs is raised by both."""
    start(rank, path)
    hidden, targets, linear = problem()
    shard = linear.weight.detach()[: 20 + rank].clone()
    ignored, moved = targets.clone(), targets.clone()
    ignored[3], moved[3] = -100, (targets[3] + 1) % VOCABULARY
    swapped = targets.clone()
    swapped[[1, 2]] = targets[[2, 1]]
    rows = (targets != -100).nonzero().squeeze(1)
    different = {
        "count": (hidden[: 18 + rank], targets[: 18 + rank], {}),
        "ignored": (hidden, (targets, ignored)[rank], {}),
        "targets": (hidden, (targets, moved)[rank], {}),
        "order": (hidden, (targets, swapped)[rank], {}),
        "rows": (hidden, targets, {"rows": (rows, rows.flip(0))[rank]}),
        "settings": (hidden, targets, {"temperature": 1.0 + rank}),
        "outputs": (hidden, targets, {"outputs": (("logps",), ("logps", "entropy"))[rank]}),
        "gradient": (hidden.clone().requires_grad_(rank == 0), targets, {}),
    }
    for name, (h, t, options) in different.items():
        for call in (linear_logps, linear_logps_plan):
            with pytest.raises(ValueError, match="must be given the same") as refused:
                call(h, shard, t, group=dist.group.WORLD, **options)
            assert "`group`" in str(refused.value), name
    whole = torch.cat([linear.weight.detach()[:20], linear.weight.detach()[:21]])
    made = linear_logps(hidden, shard, targets, group=dist.group.WORLD)
    torch.testing.assert_close(made, linear_logps(hidden, whole, targets))
    dist.destroy_process_group()


def one_refuses(rank, path):
    """What one process alone is given wrong, all raise, and the next call is right; a batch may have no rows."""
    start(rank, path)
    hidden, targets, linear = problem()
    whole = linear.weight.detach()
    shard, bias = (whole[:20], whole[20:])[rank].clone(), (linear.bias[:20], linear.bias[20:])[rank].detach().clone()
    right = {"hidden": hidden, "weight": shard, "targets": targets, "bias": bias, "group": dist.group.WORLD}
    rows = torch.tensor([1, 2])
    wrong = {
        "a list": ({"hidden": hidden.tolist()}, TypeError, "must be a torch tensor"),
        "setting": ({"temperature": 0.0}, ValueError, "`temperature` must be positive"),
        "outputs": ({"outputs": ("loss",)}, ValueError, "`outputs` must be"),
        "a vector": ({"weight": shard[0]}, ValueError, r"`weight` \(V, D\)"),
        "an empty shard": ({"weight": shard[:0], "bias": bias[:0]}, ValueError, "at least one token"),
        "64 bit": ({"hidden": hidden.double()}, TypeError, "must share one of"),
        "16 bit": ({"weight": shard.bfloat16()}, TypeError, "must share one of"),
        "bias": ({"bias": bias[1:]}, ValueError, "`bias` must be"),
        "rows": ({"rows": rows * 1000}, ValueError, "`rows` must lie in"),
        "targets": ({"targets": targets.int()}, TypeError, "`targets` must be int64"),
    }
    want = linear_logps(hidden, whole, targets, bias=linear.bias.detach())
    for change, kind, words in wrong.values():
        for call in (linear_logps, linear_logps_plan):
            if rank == 0:
                with pytest.raises(kind, match=words):
                    call(**{**right, **change})
            else:
                with pytest.raises(ValueError, match="Process 0 of `group` refuses what it is given"):
                    call(**{**right, **({"rows": rows} if "rows" in change else {})})
        torch.testing.assert_close(linear_logps(**right), want)

    for nothing in ({"hidden": hidden[:0], "targets": targets[:0]}, {"targets": torch.full_like(targets, -100)}):
        leaf, part = hidden.clone().requires_grad_(), shard.clone().requires_grad_()
        given = {"hidden": leaf if "hidden" not in nothing else leaf[:0], "weight": part}
        made = linear_logps(**{**right, **nothing, **given})
        assert torch.equal(made, torch.zeros(nothing["targets"].shape))
        made.sum().backward()
        assert not torch.cat([part.grad, leaf.grad]).any()
    with pytest.raises(ValueError, match="must be given the same"):
        linear_logps(**{**right, **({"targets": torch.full_like(targets, -100)} if rank else {})})
    subgroup = dist.new_group([0])
    for group in ("tp", dist, *([subgroup] if rank else [])):
        with pytest.raises(TypeError, match="`group` must be a process group that this process belongs to"):
            linear_logps(**{**right, "group": group})
    dist.destroy_process_group()


@pytest.mark.parametrize("work", ["other_rows", "one_refuses"])
def test_processes(work, tmp_path):
    command = [sys.executable, __file__, work, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-2500:]


def test_the_head_is_the_linear_layer_with_other_hands():
    """Its parameters are those of the layer under the same names, so checkpoints and ties stay as they are."""
    hidden, targets, linear = problem()
    head = poz.torch.LogpsHead(linear, temperature=2.0)
    assert head.weight is linear.weight
    assert list(head.state_dict()) == list(linear.state_dict())
    want = (linear(hidden) / 2).log_softmax(-1).gather(1, targets.clamp(min=0)[:, None])[:, 0]
    torch.testing.assert_close(head(hidden, targets), want.where(targets != -100, torch.zeros(())))
    torch.testing.assert_close(head(hidden), linear(hidden))
    assert head(hidden, targets, outputs=("lse",)).lse.shape == targets.shape
    with pytest.raises(TypeError, match="a linear layer"):
        poz.torch.LogpsHead(torch.nn.Embedding(3, 4).weight)


if __name__ == "__main__":  # one imports everything, and splits
    work = {"other_rows": other_rows, "one_refuses": one_refuses}[sys.argv[1]]
    start_processes(work, (sys.argv[2],), 2, daemon=True, start_method="fork")
