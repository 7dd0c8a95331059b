"""What one call of `linear_logps` costs, counted, so that a slow-down is seen without a clock; and who runs it."""

from collections import Counter

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

import poz
from poz.torch import fused_objective, linear_logps, linear_logps_plan

ROWS, HIDDEN, VOCABULARY = 32, 64, 256
PRODUCTS = ("aten::mm", "aten::addmm", "aten::addmm_")


def problem(rows=ROWS, hidden=HIDDEN, vocabulary=VOCABULARY, kind="train", dtype=torch.float32):
    generator = torch.Generator().manual_seed(rows)
    h, w = (torch.randn(size, hidden, generator=generator).to(dtype) for size in (rows, vocabulary))
    t = torch.randint(0, vocabulary, (rows,), generator=generator)
    return h.requires_grad_(kind != "forward"), w.requires_grad_(kind == "train"), t


def step(h, w, t, coefficients=None, **settings):
    made = linear_logps(h, w, t, **settings)
    leaves = [leaf for leaf in (h, w) if leaf.requires_grad]
    if not leaves:
        return [made]
    return [made.detach(), *torch.autograd.grad((made if coefficients is None else made * coefficients).sum(), leaves)]


def counted(run):
    """How often each operation ran, and the most bytes alive at once."""
    run()  # the first call of its kind looks at more
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        kept = run()
    alive = peak = 0
    names = Counter()
    for event in record.profiler.kineto_results.events():
        names[event.name()] += 1
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    del kept
    return names, peak


@pytest.mark.parametrize(("kind", "products"), [("train", 3), ("frozen", 2), ("forward", 1)])
def test_products_of_a_small_call(kind, products):
    names, _ = counted(lambda: step(*problem(kind=kind)))
    assert sum(names[name] for name in PRODUCTS) == products


@pytest.mark.parametrize(("memory", "mode", "each"), [("1GiB", "keep", 3), ("12MiB", "recompute", 4)])
def test_products_of_a_call_in_tiles(memory, mode, each):
    given = problem(600, 8, 20_000)
    plan = linear_logps_plan(*given, memory=memory)
    tiles, blocks = 3, -(-600 // plan.block_rows)
    assert (plan.mode, blocks > 1) == (mode, mode == "recompute")
    names, _ = counted(lambda: step(*given, memory=memory))
    assert sum(names[name] for name in PRODUCTS) == each * tiles * blocks


@pytest.mark.parametrize(("kind", "most"), [("train", 160), ("frozen", 142), ("forward", 88)])
def test_operations_of_a_small_call(kind, most):
    """As torch 2.13 counts them, with those that they call (151, 134, 82), and a few more for another version."""
    given = problem(kind=kind)
    names, _ = counted(lambda: step(*given))
    operations = sum(number for name, number in names.items() if name.startswith("aten::"))
    assert 20 < operations <= most, names


def test_bytes_of_a_small_call():
    """Probabilities of 64 rows and the gradient of the head; hidden states, float64 rows and what is small beside."""
    given = problem()
    _, peak = counted(lambda: step(*given))
    tile, hidden, weight, row = 4 * 64 * VOCABULARY, 4 * 64 * HIDDEN, 4 * VOCABULARY * HIDDEN, 8 * 64
    assert weight + tile < peak <= tile + weight + 2 * hidden + 8 * row


class Watching(TorchDispatchMode):
    """Something that traces sees one operator."""

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.seen = [*getattr(self, "seen", []), str(function)]
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.7, "logit_scale": -1.3}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["train", "frozen", "forward"])
@pytest.mark.parametrize("rows", [1, 30, 64, 130])
def test_the_same_bits_whoever_runs_it(rows, kind, dtype, settings):
    """The operators, and calls of a signature that was seen before; with and without coefficients of 0."""
    h, w, t = problem(rows, 24, 300, kind, dtype)
    some = torch.linspace(-1, 2, rows, dtype=dtype)
    for coefficients in (some, some * (torch.arange(rows) % 3 > 0)):
        with Watching() as watching:
            wanted = step(h, w, t, coefficients, **settings)
        assert "poz.linear_logps.default" in watching.seen
        for _ in range(3):
            for mine, theirs in zip(step(h, w, t, coefficients, **settings), wanted, strict=True):
                assert torch.equal(mine, theirs)


def test_an_ignored_target_beside_the_same_shapes():
    h, w, t = problem()
    whole = step(h, w, t)[0]
    t[3] = -100
    found = step(h, w, t)
    assert found[0][3] == 0
    assert not found[1][3].any()
    assert torch.equal(found[0][4:], whole[4:])


def test_what_was_refused_stays_refused_after_calls_that_were_not():
    h, w, t = problem()
    for _ in range(2):
        linear_logps(h, w, t, temperature=1, ignore_index=1000)
    wrong = t.clone()
    wrong[5] = VOCABULARY
    with pytest.raises(ValueError, match="Targets must lie in"):
        linear_logps(h, w, wrong)
    for setting in ({"temperature": True}, {"temperature": torch.tensor(1.0)}, {"ignore_index": 1000.0}):
        with pytest.raises(TypeError):
            linear_logps(h, w, t, **{"temperature": 1, "ignore_index": 1000, **setting})
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(linear_logps(h, w, t).sum(), h, create_graph=True)[0].sum().backward()
    with pytest.raises(RuntimeError, match="do not pass through"):
        torch.func.grad(lambda x: linear_logps(x, w, t).sum())(h.detach())


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor."""

    most = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        made = function(*arguments, **(keywords or {}))
        tensors = [x for x in (made if isinstance(made, (tuple, list)) else [made]) if isinstance(x, torch.Tensor)]
        self.most = max([self.most, *(x.untyped_storage().nbytes() for x in tensors)])
        return made


def test_memory_holds_more_rows_of_16_bit_probabilities():
    """Exact ones are kept in float32; fast ones in 16 bit, where the rest of the memory serves more rows."""
    h, w, t = problem(2 * 8 * 64, 16, 4096, dtype=torch.bfloat16)
    h, t = h.detach().view(2, 8, 64, 16).requires_grad_(), t.view(2, 8, 64)
    reference = {"ref_chosen": torch.zeros(8), "ref_rejected": torch.zeros(8)}
    rows = {}
    for precision, item in (("exact", 4), ("fast", 2)):
        with Largest() as seen:
            fused_objective(poz.dpo, h, w, t, fields=reference, memory="16MiB", precision=precision)
        assert seen.most <= 2**24
        rows[precision] = seen.most / item / 4096
    assert rows["fast"] > rows["exact"] >= 64
