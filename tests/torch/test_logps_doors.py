"""Arguments of the wrong kind, and transformations that do not pass through, get a sentence at each public function."""

import numpy as np
import pytest
import torch
import torch.autograd.forward_ad as forward_ad
import torch.distributed as dist

import poz
from poz.torch import fused_objective, linear_logps, linear_logps_plan, logps

PAIRS = (2, 1, 3)
HIDDEN, WEIGHT, TARGETS = torch.randn(*PAIRS, 4), torch.randn(9, 4), torch.randint(0, 9, PAIRS)


def in_the_loop(hidden, weight, targets, **options):
    return fused_objective(poz.cpo, hidden, weight, targets, **options).loss


def of_logits(hidden, weight, targets, **options):
    return logps(
        hidden if isinstance(hidden, np.ndarray) or hidden.shape[-1] == 9 else hidden @ weight.T, targets, **options
    )


HEADS = (linear_logps, linear_logps_plan, in_the_loop)
ALL = (*HEADS, of_logits)

PART = torch.nn.Parameter(torch.empty(0))
PART.ds_id, PART.ds_shape = 0, torch.Size([9, 4])  # what DeepSpeed makes of a parameter; tests/trainers has it itself

KINDS = {
    "a part of ZeRO-3": (HEADS, {"weight": PART}, ValueError, r"`weight` is .*in parts, \(9, 4\) in all.*LogpsHead"),
    "no index to ignore": (ALL, {"ignore_index": None}, TypeError, "`ignore_index` must be an integer.*keep -100"),
    "a text as index": (ALL, {"ignore_index": "pad"}, TypeError, "`ignore_index` must be an integer"),
    "NumPy": (ALL, {"hidden": HIDDEN.numpy()}, TypeError, "got a NumPy array. Convert it with torch.from_numpy"),
    "a list": (ALL, {"targets": TARGETS.tolist()}, TypeError, "`targets` must be a torch tensor; got list"),
    "a layer": (
        HEADS,
        {"weight": torch.nn.Linear(4, 9)},
        TypeError,
        "the module Linear. Give its `.weight`, and its `.bias`",
    ),
    "a NumPy bias": (HEADS, {"bias": np.zeros(9)}, TypeError, "`bias` must be a torch tensor; got a NumPy array"),
    "sparse": (HEADS, {"weight": WEIGHT.to_sparse()}, TypeError, "`weight` must be dense"),
    "meta": (HEADS, {"hidden": HIDDEN.to("meta")}, ValueError, "`hidden` is on the meta device"),
    "a text": (ALL, {"temperature": "1"}, TypeError, "`temperature` must be a Python number.*got str"),
    "learned temperature": (
        ALL,
        {"temperature": torch.ones((), requires_grad=True)},
        TypeError,
        "got Parameter|got Tensor",
    ),
    "learned scale": (
        HEADS,
        {"logit_scale": torch.nn.Parameter(torch.ones(()))},
        TypeError,
        "to learn it, leave it out",
    ),
    "a tensor as cap": (HEADS, {"softcap": torch.tensor(3.0)}, TypeError, "`softcap` must be a Python number"),
    "an index beyond int64": (ALL, {"ignore_index": 2**63}, TypeError, "`ignore_index` must be an integer"),
    "an index below int64": (ALL, {"ignore_index": -(2**63) - 1}, TypeError, "`ignore_index` must be an integer"),
    "a tiny temperature": (ALL, {"temperature": 1e-300}, ValueError, "that float32 does not hold"),
    "a huge temperature": (ALL, {"temperature": 10**400}, ValueError, "that float32 does not hold"),
    "a huge scale": (HEADS, {"logit_scale": 1e300}, ValueError, "that float32 does not hold"),
    "a huge quotient": (HEADS, {"logit_scale": 1e30, "temperature": 1e-30}, ValueError, "that float32 does not hold"),
    "a huge cap": (HEADS, {"softcap": 1e30, "temperature": 1e-30}, ValueError, "that float32 does not hold"),
    "no outputs": (HEADS[:1], {"outputs": None}, ValueError, "`outputs` must be a tuple of names"),
    "a group by name": (HEADS[:2], {"group": "tp"}, TypeError, "`group` must be a process group.*got 'tp'"),
    "rows twice": (HEADS[:2], {"rows": torch.tensor([1, 4, 1])}, ValueError, "name each row once; got 1 2 times"),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds(name):
    functions, change, kind, words = KINDS[name]
    for function in functions:
        with pytest.raises(kind, match=words):
            function(**{"hidden": HIDDEN, "weight": WEIGHT, "targets": TARGETS, **change})


FUNCTIONS = {"linear_logps": linear_logps, "fused_objective": in_the_loop, "logps": of_logits}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, in forward mode
@pytest.mark.parametrize("name", FUNCTIONS)
def test_transformations(name):
    """The derivative that was 0 in silence, and torch's own words about autograd.Function."""

    def total(hidden, weight):
        return FUNCTIONS[name](hidden, weight, TARGETS).sum()

    for argument in (0, 1):
        for transform in (torch.func.grad, torch.func.jacrev):
            with pytest.raises(RuntimeError, match=f"torch.func .* do not pass through poz.torch.{name}"):
                transform(total, argument)(HIDDEN, WEIGHT)
    moved = (HIDDEN, WEIGHT)
    for transform in (lambda: torch.func.jvp(total, moved, moved), lambda: torch.func.jacfwd(total)(*moved)):
        with pytest.raises(RuntimeError, match=f"poz.torch.{name} has no forward-mode derivative"):
            transform()
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(WEIGHT, WEIGHT)
        with pytest.raises(RuntimeError, match=f"poz.torch.{name} has no forward-mode derivative"):
            total(HIDDEN, dual)
        assert total(HIDDEN, WEIGHT).isfinite()  # what has no tangent is computed there too


def test_vmap():
    several = torch.stack([HIDDEN, 2 * HIDDEN])
    by_hand = torch.stack([linear_logps(one, WEIGHT, TARGETS) for one in several])
    assert torch.equal(torch.vmap(lambda one: linear_logps(one, WEIGHT, TARGETS))(several), by_hand)
    others = torch.stack([TARGETS, TARGETS.flip(2)])
    others[1, :, :, :2] = -100  # each has rows of its own that take part
    slopes = []
    for each in (torch.vmap, lambda function: lambda values: torch.stack([function(one) for one in values])):
        weight = WEIGHT.clone().requires_grad_()
        made = each(lambda targets, weight=weight: linear_logps(HIDDEN, weight, targets))(others)
        slopes.append((made.detach(), torch.autograd.grad(made.sum(), weight)[0]))
    torch.testing.assert_close(*slopes)
    assert not slopes[0][0][1, :, :, :2].any()
    for name in ("logps", "fused_objective"):
        with pytest.raises(RuntimeError, match=f"torch.vmap does not pass through poz.torch.{name}"):
            torch.vmap(lambda one, name=name: FUNCTIONS[name](one, WEIGHT, TARGETS))(several)


def test_sharded_rows():
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        sharded = distribute_tensor(HIDDEN, mesh, [Shard(0)])
        for function in HEADS:
            with pytest.raises(ValueError, match=r"`hidden` is a DTensor.*to_local"):
                function(sharded, WEIGHT, TARGETS)
            with pytest.raises(ValueError, match="`targets` is a DTensor"):
                function(HIDDEN, WEIGHT, distribute_tensor(TARGETS, mesh, [Shard(0)]))
        with pytest.raises(ValueError, match="`logits` is a DTensor"):
            logps(distribute_tensor(HIDDEN @ WEIGHT.T, mesh, [Shard(0)]), TARGETS)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("call", [linear_logps, poz.torch.logps], ids=["linear_logps", "logps"])
def test_ignore_index_is_any_integer_of_64_bit(call):
    """And no other, which targets could not be compared with."""
    targets = torch.tensor([1, 0])
    given = (torch.ones(2, 3), torch.ones(4, 3), targets) if call is linear_logps else (torch.ones(2, 4), targets)
    for index in (-(2**63), 2**63 - 1):
        torch.testing.assert_close(call(*given, ignore_index=index), torch.full((2,), 0.25).log())
    for index in (-(2**63) - 1, 2**63):
        with pytest.raises(TypeError, match="`ignore_index` must be an integer that is no target"):
            call(*given, ignore_index=index)
