"""The Triton kernels under the interpreter, which has to be asked for before Triton is imported: in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from poz.torch import linear_logps
from poz.torch.head.fastest import quicker
from poz.torch.head.linear_logps import linear_logps_plan

pytest.importorskip("triton")

SCRIPT = r"""
import itertools
import torch, triton
import poz
from poz.kernels.packed import token_loss
from poz.kernels import logps as kernels
from poz.torch.head.linear_logps import linear_logps, linear_logps_plan
from poz.torch.head import fastest
from poz.torch.head.logps import logps
from poz.torch.head.tiles import Head
from poz.torch.head.fused import product_over
from poz.torch.head.launches import gradient_over, pass_over
from poz.torch.head.triton_memory import backward_shape

torch.manual_seed(0)
ALL = ("logps", "lse", "entropy", "log_sum_sq_probs", "mean_logit", "top1")
rows, hidden, vocabulary = 66, 9, 261
modes, tiles = set(), set()
# Any two of the choices meet, and the three that decide what the backward pass reads do in every way.
f32, bf16, one = torch.float32, torch.bfloat16, ("logps",)
for dtype, softcap, head, outputs, memory in (
    (f32, 5.0, True, one, "1GiB"), (bf16, None, True, one, "1GiB"), (bf16, 5.0, True, one, "200KiB"),
    (f32, None, True, one, "200KiB"), (f32, None, True, ALL, "1GiB"), (bf16, 5.0, True, ALL, "1GiB"),
    (f32, 5.0, True, ALL, "200KiB"), (bf16, None, True, ALL, "200KiB"), (f32, 5.0, False, one, "1GiB"),
    (bf16, None, False, one, "1GiB"),
):
    h, w, b = (torch.randn(n).to(dtype) for n in ((rows, hidden), (vocabulary, hidden), (vocabulary,)))
    t = torch.randint(0, vocabulary, (rows,))
    t[0], t[5:9] = vocabulary - 1, -100
    c = torch.randn(rows)
    c[20:30] = 0
    results = {}
    for implementation in ("torch", "triton"):
        a = [tensor.clone().requires_grad_(head or i == 0) for i, tensor in enumerate((h, w, b))]
        options = dict(bias=a[2], softcap=softcap, temperature=1.2, outputs=outputs, implementation=implementation,
                       memory=memory if implementation == "triton" else "1GiB")
        made = linear_logps(a[0], a[1], t, **options)
        if implementation == "triton":
            plan = linear_logps_plan(a[0], a[1], t, **options)
            modes.add(plan.mode)
            tiles.add(backward_shape(rows, w, plan.block_rows))
        many = len(outputs) > 1
        ((made.logps * c + made.entropy * c + made.lse * 0.3).sum() if many else (made * c).sum()).backward()
        results[implementation] = [*(made if many else [made]), *[tensor.grad for tensor in a if tensor.grad is not None]]
    values = len(outputs)
    for number, (ours, theirs) in enumerate(zip(results["triton"], results["torch"], strict=True)):
        ours, theirs = ours.double(), theirs.double()
        limit = 5e-6 if number < values or dtype == torch.float32 else 2e-2
        error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        assert error <= limit, (dtype, softcap, head, outputs, memory, number, error)
assert modes == {"keep", "recompute", "one pass"}, modes
assert any(height < rows and width < vocabulary for height, width in tiles), tiles

b = torch.randn(vocabulary)
b[7] = -float("inf")  # a token that the head masks, and the target of two rows
t = torch.tensor([3, 7, 5, 7, -100, 9])
masked = [linear_logps(h[:6].float(), w.float(), t, bias=b, outputs=("logps", "entropy"), implementation=which)
          for which in ("triton", "torch")]
assert masked[0].logps[t == 7].isinf().all() and masked[0].entropy.isfinite().all()
for ours, theirs in zip(*masked):
    torch.testing.assert_close(ours, theirs)

z = torch.randn(5, 300)
z[2, 7] = float("nan")
t = torch.tensor([0, 299, 5, -1, 300])
part = pass_over(z, None, t, Head(1.0, 1.0, None, False), frozenset(("entropy",)))
assert part.others.isnan().tolist() == [False, False, True, False, False]
assert part.target_logit.isnan().tolist() == [False, False, False, True, True]
assert torch.allclose(part.total[3], z[3].double().logsumexp(0))
inplace, one = z.clone(), torch.ones(5, dtype=torch.float64)
at_target = z.softmax(1).gather(1, t.clamp(0, 299)[:, None])[:, 0] - 1
gradient_over(inplace, None, t, Head(1.0, 1.0, None, False), part.total, one, None, at_target, inplace)
want = z.softmax(1)
want[:3].scatter_add_(1, t[:3, None], -torch.ones(3, 1))
assert torch.allclose(inplace, want, atol=1e-6, equal_nan=True)
assert inplace.isnan().any(1).tolist() == [False, False, True, False, False]

# A row in several blocks, the last one narrower: every statistic and the gradient are those of the row.
kernels.PASS_BLOCK = kernels.GRADIENT_BLOCK = 128
z, t, here = 4 * torch.randn(5, 300), torch.tensor([0, 299, 130, 128, 5]), Head(1.3, 0.8, 6.0, False)
part = pass_over(z, None, t, here, frozenset(ALL))
bent = torch.tanh(0.8 * z.double() / 6.0)
want = 6.0 * bent / 1.3
p = want.softmax(1)
for name, value in dict(
    others=want.scatter(1, t[:, None], -torch.inf).logsumexp(1), target_logit=want.gather(1, t[:, None])[:, 0],
    total=want.logsumexp(1), mean_energy=(p * want).sum(1), log_square=(2 * want).logsumexp(1), logit_sum=want.sum(1),
    best=want.amax(1), best_index=want.argmax(1),
).items():
    assert torch.allclose(getattr(part, name), value, rtol=1e-5, atol=1e-5), name  # roundings of 300 float32 terms
made, one = torch.empty(5, 300), torch.ones(5, dtype=torch.float64)
gradient_over(z, None, t, here, part.total, 2 * one, 0.5 * one, -3 * one, made)
slopes = (p * (2 + 0.5 * want) * (1 - bent**2)).scatter(1, t[:, None], -3.0)
assert torch.allclose(made.double(), slopes, rtol=1e-4, atol=1e-6)
kernels.PASS_BLOCK = kernels.GRADIENT_BLOCK = 4096

# Nothing to learn from: every target ignored, and nothing sent back where logits are made again
h, w = torch.randn(70, 9, requires_grad=True), torch.randn(261, 9, requires_grad=True)
t = torch.randint(0, 261, (70,))
for targets, upstream, memory in ((torch.full((70,), -100), 1.0, "1GiB"), (t, 0.0, "1GiB"), (t, 0.0, "200KiB")):
    made = linear_logps(h, w, targets, memory=memory, implementation="triton")
    for gradient in torch.autograd.grad(made.sum() * upstream, (h, w)):
        assert (gradient == 0).all()

# Numbers that do not lie side by side
bias, wide = torch.randn(522), torch.randn(50, 6)
assert torch.allclose(
    linear_logps(h, w, t, bias=bias[::2], implementation="triton"), linear_logps(h, w, t, bias=bias[::2]), atol=1e-5
)
few = torch.randint(0, 50, (6,))
assert torch.allclose(logps(wide.t(), few, implementation="triton"), logps(wide.t(), few), atol=1e-6)
for call in (lambda: logps(wide.t().double(), few, implementation="triton"),
             lambda: linear_logps(h.double(), w.double(), t, implementation="triton")):
    try:
        call()
    except RuntimeError as error:
        assert "float64" in str(error)
    else:
        raise AssertionError("float64 was computed in float32")

z = torch.randn(6, 50)
t = torch.randint(0, 50, (6,))
assert torch.allclose(logps(z, t, implementation="triton"), logps(z, t), atol=1e-6)

h, w, t, b = torch.randn(44, 9), torch.randn(261, 9), torch.randint(0, 80, (44,)), torch.zeros(261)
b[100:200] = -float("inf")
t[0] = 150  # a masked target: log-prob -inf, and slopes as finite as the others'
for memory, softcap, head in (("1GiB", None, True), ("200KiB", None, True), ("1GiB", None, False), ("200KiB", 5.0, True)):
    results = []
    for implementation in ("torch", "triton"):
        a = [h.clone().requires_grad_(), w.clone().requires_grad_(head)]
        made = linear_logps(*a, t, bias=b, softcap=softcap, implementation=implementation,
                            memory=memory if implementation == "triton" else "1GiB")
        results.append([made.detach(), *torch.autograd.grad(made.sum(), a if head else a[:1])])
    for ours, theirs in zip(*results[::-1], strict=True):
        assert theirs[1:].isfinite().all()
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5), (memory, softcap, head)

# A NaN row without a coefficient is worth nothing; with one, its gradient is NaN.
h[40] = float("nan")
others = torch.arange(44) != 40
for memory, head in (("1GiB", True), ("200KiB", True), ("1GiB", False)):
    a = [h.clone().requires_grad_(), w.clone().requires_grad_(head)]
    made = linear_logps(*a, t, implementation="triton", memory=memory)
    assert made.isnan().nonzero().tolist() == [[40]]
    clean = [h[others].clone().requires_grad_(), w.clone().requires_grad_(head)]
    want = torch.autograd.grad(linear_logps(*clean, t[others]).sum(), clean[: 1 + head])
    found = torch.autograd.grad(made[others].sum(), a[: 1 + head], retain_graph=True)
    assert not found[0][40].any(), (memory, head)
    assert torch.allclose(found[0][others], want[0], rtol=1e-5, atol=1e-5), (memory, head)
    assert not head or torch.allclose(found[1], want[1], rtol=1e-5, atol=1e-5)
    by_hidden = torch.autograd.grad(made.sum(), a[0])[0]
    assert by_hidden[40].isnan().all()
    assert by_hidden[others].isfinite().all()

# Under a large cap tanh is nearly linear, and must not lose its digits.
h, w, t = torch.randn(66, 9), torch.randn(261, 9), torch.randint(0, 261, (66,))
for softcap in (1e3, 1e6):
    z = softcap * torch.tanh(h.double() @ w.double().T / softcap)
    want = z.log_softmax(1).gather(1, t[:, None])[:, 0]
    for implementation in ("triton", "fused"):
        error = (linear_logps(h, w, t, softcap=softcap, implementation=implementation) - want).square().mean().sqrt()
        assert error < 1e-5, (softcap, implementation, error)

# "fast" makes 16-bit logits, as plain code does; a few round otherwise, as rows come in other numbers.
h, w, t = torch.randn(66, 24).bfloat16(), torch.randn(261, 24).bfloat16(), torch.randint(0, 261, (66,))
rounded, z = (h @ w.T).float(), h.float() @ w.float().T
for precision, near, far in (("exact", z, rounded), ("fast", rounded, z)):
    made = linear_logps(h, w, t, precision=precision, implementation="triton")
    off = [(made - x.log_softmax(1).gather(1, t[:, None])[:, 0]).abs().mean() for x in (near, far)]
    assert off[0] < off[1] / 10, (precision, off)

for dtype, softcap, temperature in ((f32, None, 0.7), (f32, 4.0, 1.0), (bf16, None, 1.0), (bf16, 4.0, 0.7)):
    h, w, b = torch.randn(70, 40).to(dtype), torch.randn(2150, 40).to(dtype), torch.randn(2150)
    t = torch.randint(0, 2150, (70,))
    t[0], t[5:9] = 2149, -100
    b[[100, 2100]] = -float("inf")
    made = linear_logps(h, w, t, bias=b, softcap=softcap, temperature=temperature, outputs=("lse", "logps"),
                        implementation="fused", memory="70KiB")
    logits = h.double() @ w.double().T + b
    logits = (softcap * torch.tanh(logits / softcap) if softcap else logits) / temperature
    logits[:, [100, 2100]] = -float("inf")
    lse, real = logits.logsumexp(1), t >= 0
    assert torch.allclose(made.lse.double(), lse * real, atol=1e-4)
    want = logits.gather(1, t.clamp(min=0)[:, None])[:, 0] - lse
    assert torch.allclose(made.logps.double(), want * real, atol=1e-4)
h[3] = float("nan")
alone = linear_logps(h, w, t, implementation="fused", memory="70KiB")
assert alone.isnan().nonzero().tolist() == [[3]]
plan = linear_logps_plan(h, w, t, implementation="fused", memory="70KiB")
assert (plan.implementation, plan.mode) == ("fused", "forward")
assert plan.block_rows < 70
part = product_over(h, w, None, torch.full((70,), -1), Head(1.0, 1.0, None, False))
assert not part.owned.any()
assert part.target_logit.isnan().all()
assert torch.allclose(part.total[4:], (h.double() @ w.double().T).logsumexp(1)[4:], atol=1e-4)
assert linear_logps(h[:0], w, t[:0], implementation="fused").shape == (0,)

# "fastest": the first call for a head measures, the others remember; where "fused" does not serve it is "auto".
calls, times = [], itertools.cycle((2.0, 1.0))
fastest.ROWS, fastest.ROUNDS = 40, 2
fastest._seconds = lambda run, on: (calls.append(run()), next(times))[1]
h, w, t = torch.randn(35, 24), torch.randn(90, 24), torch.randint(0, 90, (35,))
drawn = torch.get_rng_state()
for _ in range(2):
    assert torch.equal(linear_logps(h, w, t, implementation="fastest"), linear_logps(h, w, t, implementation="fused"))
assert len(calls) == 6
assert torch.equal(torch.get_rng_state(), drawn)
assert [tuple(call.shape) for call in calls] == [(40,)] * 6
assert torch.allclose(calls[0], calls[1], atol=1e-4) and not torch.equal(calls[0], calls[1])
assert linear_logps_plan(h, w, t, implementation="fastest").implementation == "fused"
times = itertools.cycle((1.0, 2.0))
assert linear_logps_plan(h, w[:80], t % 80, implementation="fastest").implementation == "triton"
assert len(calls) == 12
# Memory for the call itself, and not for the rows that are measured.
fastest.ROWS = 4000
assert linear_logps_plan(h, w, t, implementation="fastest", memory="100KiB").implementation == "torch"
for other in (
    dict(outputs=("entropy",)), dict(hidden=h.clone().requires_grad_()), dict(weight=w.t().contiguous().t()),
    dict(hidden=h.double(), weight=w.double()),
):
    given = {**dict(hidden=h, weight=w, targets=t, implementation="fastest"), **other}
    assert linear_logps_plan(**given).implementation == "torch", other
assert len(calls) == 12

# Losses from packed tokens: what is no plain number, or has a gradient of its own, has it on Triton too.
policy, reference = torch.randn(14), torch.randn(14)
offsets, margin = torch.tensor([0, 2, 5, 6, 9, 10, 14]), torch.randn(3)
for name, params, columns in (
    ("dpo", dict(beta=torch.tensor(0.3)), {}),
    ("dpo", dict(beta=torch.tensor([0.1, 0.2, 0.3])), {}),
    ("lcpo", dict(base=poz.dpo.bind(beta=torch.tensor(0.3)), reliability=torch.tensor(0.8)), {}),
    ("rebel", {}, dict(margin=margin)),
):
    slopes = []
    for way in ("triton", "torch"):
        moving = [x.clone().requires_grad_() for x in (*(v for v in params.values() if torch.is_tensor(v)), *columns.values())]
        left = iter(moving)
        these = {k: next(left) if torch.is_tensor(v) else v for k, v in params.items()}
        those = {k: next(left) for k in columns}
        leaf = policy.clone().requires_grad_()
        losses = token_loss(name, leaf, offsets, anchors=[reference], implementation=way, **these, **those)
        slopes.append(torch.autograd.grad(losses.sum(), [leaf, *moving]))
    assert all(x.any() for x in slopes[0]), name
    assert all(torch.allclose(x, y, rtol=1e-4, atol=1e-6) for x, y in zip(*slopes)), name
try:
    token_loss("lcpo", policy, offsets, anchors=[reference], annotator=torch.tensor([0, 2, 1]), implementation="triton",
               reliability=torch.tensor([0.9, 0.8]))
except ValueError as error:
    assert "Annotator ids go from 0 to 1" in str(error)
else:
    raise AssertionError("an annotator without a reliability")

for refused, said in (
    (lambda: linear_logps(h.requires_grad_(), w, t, implementation="fused"), "no_grad"),
    (lambda: linear_logps(h.detach(), w, t, implementation="fused", outputs=("entropy",)), "entropy"),
    (lambda: linear_logps(h.detach(), w.t().contiguous().t(), t, implementation="fused"), "contiguous"),
    (lambda: linear_logps(h.detach().double(), w.double(), t, implementation="fused"), "float64"),
    (lambda: logps(wide.t(), few, implementation="fused"), "'auto', 'torch', 'triton'"),
):
    try:
        refused()
    except (RuntimeError, ValueError) as error:
        assert said in str(error), error
    else:
        raise AssertionError(said)
print("all agree")
"""


def test_kernels_agree_with_torch(tmp_path):
    script = tmp_path / "kernels.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment, cwd=Path(tmp_path)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all agree" in done.stdout


def test_the_faster_way_has_the_smaller_median_without_the_first_call():
    seconds = {"triton": iter((9.0, 2, 2, 2, 8, 2)), "fused": iter((0.1, 3, 3, 0.5, 0.5, 3))}
    assert quicker(lambda way: next(seconds[way])) == "triton"
    assert [list(rest) for rest in seconds.values()] == [[], []]
    assert quicker(lambda way: {"triton": 2.0, "fused": 1.0}[way]) == "fused"


def test_fastest_without_a_gpu_is_what_auto_chooses():
    hidden, weight, targets = torch.ones(3, 4), torch.ones(5, 4), torch.zeros(3, dtype=torch.int64)
    assert linear_logps_plan(hidden, weight, targets, implementation="fastest").implementation == "torch"
    with pytest.raises(ValueError, match="'auto', 'torch', 'triton', 'fused', 'fastest'; got 'quickest'"):
        linear_logps(hidden, weight, targets, implementation="quickest")
