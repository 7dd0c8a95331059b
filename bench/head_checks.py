"""The Triton kernels under `linear_logps` and `logps`, against float64, twice."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor

from poz.bench import inputs as generator
from poz.bench.exact import errors, exact
from poz.bench.jobs import Check
from poz.bench.shapes import Case, Head

EXTRAS = ("logps", "lse", "entropy", "log_sum_sq_probs", "mean_logit", "top1")
IGNORED = generator.IGNORED
SIZES = ((66, 9, 261), (1, 33, 130), (301, 520, 5003), (640, 256, 32768), (4097, 1000, 50257))


class _Problem(NamedTuple):
    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    targets: Tensor
    upstream: Tensor


@functools.lru_cache(maxsize=1)
def _problem(rows: int, width: int, vocabulary: int, dtype: torch.dtype, device: str, bias: bool) -> _Problem:
    source = torch.Generator().manual_seed(rows + vocabulary)
    hidden = torch.randn(rows, width, generator=source)
    weight = torch.randn(vocabulary, width, generator=source) * (4 / width**0.5)
    targets = torch.randint(0, vocabulary, (rows,), generator=source)
    targets[0], targets[-1] = vocabulary - 1, 0
    targets[rows // 3 : rows // 2] = IGNORED
    upstream = torch.randn(rows, generator=source)
    upstream[-rows // 4 :] = 0
    shift = torch.randn(vocabulary, generator=source).to(dtype).to(device) if bias else None
    return _Problem(
        hidden.to(dtype).to(device), weight.to(dtype).to(device), shift, targets.to(device), upstream.to(device)
    )


def _dense(problem: _Problem, options: dict[str, Any], head: bool) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Outputs and gradients in float64, the whole at once; the loss is upstream @ (log-prob + entropy / 2 + lse / 3)."""
    leaves = [problem.hidden, problem.weight] + ([] if problem.bias is None else [problem.bias])
    wide = [leaf.double().requires_grad_(head or place == 0) for place, leaf in enumerate(leaves)]
    logits = wide[0] @ wide[1].T
    logits = (logits if problem.bias is None else logits + wide[2]) * options["logit_scale"]
    cap = options["softcap"]
    logits = (logits if cap is None else cap * torch.tanh(logits / cap)) / options["temperature"]
    logp = logits.log_softmax(-1)
    valid = problem.targets != IGNORED
    made = {
        "logps": logp.gather(1, problem.targets.clamp(min=0)[:, None])[:, 0] * valid,
        "lse": logits.logsumexp(-1) * valid,
        "entropy": -(logp.exp() * logp).sum(-1) * valid,
        "log_sum_sq_probs": (2 * logp).logsumexp(-1) * valid,
        "mean_logit": logits.mean(-1) * valid,
        "top1": logits.argmax(-1) * valid,
    }
    total = made["logps"] if options["outputs"] == ("logps",) else made["logps"] + made["entropy"] / 2 + made["lse"] / 3
    slopes = torch.autograd.grad((total * problem.upstream).sum(), [leaf for leaf in wide if leaf.requires_grad])
    return {name: made[name].detach() for name in options["outputs"]}, list(slopes)


def _ours(problem: _Problem, options: dict[str, Any], head: bool) -> tuple[dict[str, Tensor], list[Tensor]]:
    from poz.torch import linear_logps

    leaves = [problem.hidden, problem.weight] + ([] if problem.bias is None else [problem.bias])
    leaves = [leaf.detach().requires_grad_(head or place == 0) for place, leaf in enumerate(leaves)]
    bias = None if problem.bias is None else leaves[2]
    got = linear_logps(leaves[0], leaves[1], problem.targets, bias=bias, implementation="triton", **options)
    made = {"logps": got} if isinstance(got, Tensor) else {name: getattr(got, name) for name in options["outputs"]}
    total = made["logps"] if len(made) == 1 else made["logps"] + made["entropy"] / 2 + made["lse"] / 3
    slopes = torch.autograd.grad((total * problem.upstream).sum(), [leaf for leaf in leaves if leaf.requires_grad])
    return {name: value.detach() for name, value in made.items()}, list(slopes)


def _smallest(problem: _Problem, options: dict[str, Any]) -> str:
    """The least memory that `linear_logps` accepts, which makes it compute logits again."""
    from poz.torch import linear_logps_plan

    try:
        linear_logps_plan(
            problem.hidden, problem.weight, problem.targets, bias=problem.bias, implementation="triton",
            **{**options, "memory": 1},
        )  # fmt: skip
    except ValueError as error:
        return str(error).rsplit("'", 2)[1]
    raise RuntimeError("One byte of memory was accepted.")


def head_options(size: tuple[int, int, int], dtype: torch.dtype, device: str, large: bool) -> Iterator[Check]:
    """`linear_logps` through its Triton kernels: every option and way through; and twice with the same bits."""
    rows, width, vocabulary = size
    for (cap, bias, scale, temperature), head, outputs, way in itertools.product(
        ((None, False, 1.0, 1.0), (7.0, True, 0.6, 1.3)), (True, False), (("logps",), EXTRAS), ("keep", "again")
    ):
        if (way == "again" and not head) or (not large and dtype != torch.float32 and len(outputs) > 1):
            continue
        options: dict[str, Any] = {"softcap": cap, "logit_scale": scale, "temperature": temperature, "outputs": outputs}
        problem = _problem(rows, width, vocabulary, dtype, device, bias)
        if large and way == "keep":
            problem = problem._replace(weight=problem.weight.t().contiguous().t())
        options["memory"] = "8GiB" if way == "keep" else _smallest(problem, options)
        made, slopes = _ours(problem, options, head)
        wanted, exact_slopes = _dense(problem, options, head)
        name = (
            f"head {rows}x{width}x{vocabulary} {str(dtype)[6:]} {'cap bias ' * bias}{'' if head else 'frozen '}{way} "
        )
        name += f"{len(outputs)} outputs"
        gap = max(_gap(made[key], wanted[key]) for key in outputs if key != "top1")
        yield Check(f"{name}: outputs, nats", gap, 2e-4 if dtype == torch.float32 else 5e-4)
        if "top1" in outputs:
            wrong = (made["top1"] != wanted["top1"]).double().mean().item()
            yield Check(f"{name}: share of other top-1", wrong, 0.0 if rows < 1000 else 1e-3)
        limit = {torch.float32: 2e-5, torch.bfloat16: 8e-3, torch.float16: 2e-3}[dtype]
        share = max(_relative(mine, other) for mine, other in zip(slopes, exact_slopes, strict=True))
        yield Check(f"{name}: gradients, relative", share, limit)
        again, slopes_again = _ours(problem, options, head)
        same = all(torch.equal(made[key], again[key]) for key in outputs)
        same &= all(torch.equal(a, b) for a, b in zip(slopes, slopes_again, strict=True))
        yield Check(f"{name}: other bits the second time", float(not same), 0.0)


def _gap(mine: Tensor, other: Tensor) -> float:
    gap = (mine.double() - other).abs().max().item()
    return gap if gap == gap else math.nan


def _relative(mine: Tensor, other: Tensor) -> float:
    size = torch.linalg.vector_norm(other).item()
    return float(torch.linalg.vector_norm(mine.double() - other).item() / (size or 1.0))


def selected(device: str, large: bool) -> Iterator[Check]:
    """`logps(logits, targets)` and its gradient, in place too."""
    from poz.torch import logps

    for rows, vocabulary, dtype in (
        ((513, 50257, torch.bfloat16), (7, 130, torch.float32)) if large else ((5, 130, torch.float32),)
    ):
        logits = (6 * torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(1))).to(dtype).to(device)
        targets = torch.randint(0, vocabulary, (rows,), device=device)
        targets[1] = IGNORED
        wide = logits.double().requires_grad_()
        wanted = wide.log_softmax(-1).gather(1, targets.clamp(min=0)[:, None])[:, 0] * (targets != IGNORED)
        slope = torch.autograd.grad(wanted.sum(), wide)[0]
        for inplace in (False, True):
            leaf = logits.clone().requires_grad_()
            made = logps(leaf, targets, inplace=inplace, implementation="triton")
            mine = torch.autograd.grad(made.sum(), leaf)[0]
            name = f"logps of {rows}x{vocabulary} {str(dtype)[6:]} logits{' in place' * inplace}"
            yield Check(f"{name}: nats", _gap(made.detach(), wanted.detach()), 2e-5)
            yield Check(
                f"{name}: gradient, relative", _relative(mine, slope), 5e-3 if dtype == torch.bfloat16 else 1e-5
            )


def fused_forward(device: str, large: bool) -> Iterator[Check]:
    """The matrix product that stores no logits, with targets left out, in each dtype."""
    from poz.torch import linear_logps

    sizes = ((37, 40, 150), (513, 1024, 50257), (2048, 1000, 32001)) if large else ((21, 20, 90),)
    dtypes = (torch.bfloat16, torch.float16, torch.float32)
    for (rows, width, vocabulary), dtype, cap in itertools.product(sizes, dtypes, (None, 5.0)):
        problem = _problem(rows, width, vocabulary, dtype, device, True)
        options: dict[str, Any] = {"bias": problem.bias, "softcap": cap, "outputs": ("logps", "lse")}
        with torch.no_grad():
            made, again = (
                linear_logps(problem.hidden, problem.weight, problem.targets, implementation="fused", **options)
                for _ in range(2)
            )
        assert problem.bias is not None
        logits = problem.hidden.double() @ problem.weight.double().T + problem.bias.double()
        logits = logits if cap is None else cap * torch.tanh(logits / cap)
        lse, takes_part = logits.logsumexp(1), problem.targets >= 0
        logps = logits.gather(1, problem.targets.clamp(min=0)[:, None])[:, 0] - lse
        name = f"fused forward {rows}x{width}x{vocabulary} {str(dtype)[6:]}{' cap' * (cap is not None)}"
        yield Check(f"{name}: log-probs, nats", _gap(made.logps, logps * takes_part), 1e-4)
        yield Check(f"{name}: log-sum-exp, nats", _gap(made.lse, lse * takes_part), 1e-4)
        yield Check(f"{name}: other bits the second time", float(not torch.equal(made.logps, again.logps)), 0.0)
        if large:  # the interpreter would take minutes to measure
            with torch.no_grad():
                ways = [
                    linear_logps(problem.hidden, problem.weight, problem.targets, implementation=way, **options).logps
                    for way in ("fastest", "fused", "triton")
                ]
            found = any(torch.equal(ways[0], way) for way in ways[1:])
            yield Check(f"{name}: fastest is neither way", float(not found), 0.0)


def poisoned(device: str, large: bool) -> Iterator[Check]:
    """The same bits where every tensor that is not initialised holds NaN."""
    rows, width, vocabulary = (777, 264, 9001) if large else (34, 9, 261)
    for dtype, head, way in itertools.product((torch.float32, torch.bfloat16), (True, False), ("keep", "again")):
        problem = _problem(rows, width, vocabulary, dtype, device, True)
        options: dict[str, Any] = {"softcap": None, "logit_scale": 1.0, "temperature": 1.0, "outputs": ("logps",)}
        options["memory"] = "1GiB" if way == "keep" else _smallest(problem, options)
        clean = _ours(problem, options, head)
        with _poison() as called:
            dirty = _ours(problem, options, head)
        same = torch.equal(clean[0]["logps"], dirty[0]["logps"])
        same &= all(torch.equal(a, b) for a, b in zip(clean[1], dirty[1], strict=True))
        name = f"NaN in fresh memory, {str(dtype)[6:]} {'trained' if head else 'frozen'} {way}"
        yield Check(f"{name}: other bits", float(not same or not called), 0.0)


@contextlib.contextmanager
def _poison() -> Iterator[list[str]]:
    """Fill what `torch.empty` and its relatives give with NaN, or -1 for integers; in every thread. Yields who was called."""
    called: list[str] = []

    def filling(original: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
        @functools.wraps(original)
        def empty(*args: Any, **kwargs: Any) -> Tensor:
            called.append(name)
            made = original(*args, **kwargs)
            return made.fill_(math.nan if made.is_floating_point() else -1)

        return empty

    places = ((torch, "empty"), (torch, "empty_like"), (torch, "empty_strided"), (torch.Tensor, "new_empty"))
    with contextlib.ExitStack() as stack:
        for owner, name in places:
            stack.enter_context(mock.patch.object(owner, name, filling(getattr(owner, name), name)))
        yield called


def beyond_int32(device: str, large: bool) -> Iterator[Check]:
    """More than 2^31 logits, kept, made again, and given."""
    if not large:
        return
    from poz.torch import linear_logps, linear_logps_plan, logps

    case = Case(Head("wide", 64, 128256), 17 * 1024 + 1024, 1.0, "train", "bfloat16")
    given = generator.make(case, device)
    answer = exact(given, "train")
    bits = []
    for memory in ("24GiB", "1536MiB"):
        hidden, weight = given.hidden.detach().requires_grad_(), given.weight.detach().requires_grad_()
        mode = linear_logps_plan(hidden, weight, given.targets, memory=memory, implementation="triton").mode
        made = linear_logps(hidden, weight, given.targets, memory=memory, implementation="triton")
        slopes = torch.autograd.grad(made, (hidden, weight), given.upstream)
        found = errors((made.detach(), *slopes), answer, given, "tokens")
        bits.append(made.detach())
        name = f"{case.tokens * case.head.vocabulary / 2**31:.2f} * 2^31 logits, {mode}"
        yield Check(f"{name}: largest error, nats", found.worst or 0.0, 1e-3)
        yield Check(f"{name}: gradients, relative", max(found.hidden or 0.0, found.weight or 0.0), 8e-3)
    yield Check("2^31 logits: other bits kept than made again", float(not torch.equal(*bits)), 0.0)
    del slopes, hidden, weight
    logits = given.hidden @ given.weight.t()
    made = logps(logits, given.targets, implementation="triton")
    last = logits[-64:].double().log_softmax(-1).gather(1, given.targets[-64:, None])[:, 0]
    yield Check("2^31 given logits, last rows: nats", _gap(made[-64:], last), 1e-4)
