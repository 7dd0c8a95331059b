"""What could make the fused log-probabilities faster, each change measured against what is done now; a GPU only."""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch

from poz.bench.inputs import Inputs, make
from poz.bench.measure import timed
from poz.bench.peers import PEERS
from poz.bench.shapes import HEADS, MODES, Case

Row = dict[str, Any]
LLAMA, QWEN = HEADS["llama-3-8b"], HEADS["qwen3-0.6b"]
ROWS = (1024, 2048, 4096, 8192)
MEMORY = ("1GiB", "2GiB", "4GiB", "8GiB", "32GiB")
PASSES = ((1024, 4), (2048, 4), (2048, 8), (4096, 4), (4096, 8), (8192, 8), (8192, 16))
TILES = ((128, 64, 64, 8, 4), (64, 128, 64, 8, 4), (128, 64, 128, 8, 3), (128, 128, 64, 8, 3))
"""Rows, columns and depth of a tile, warps, stages."""
TILE_SIZES = ((1024, 8192), (1024, 16384), (4096, 2048), (4096, 8192), (1024, 1 << 20), (4096, 1 << 20))
"""Rows and columns of logits at a time; the last are the whole vocabulary."""


def all_parts() -> dict[str, Callable[[], Iterator[Row]]]:
    """Everything that is tried, what says most first."""
    return {
        "products": products,
        "memory": memory,
        "pass": passes,
        "tiles": tiles,
        "forward without logits": forward,
        "ways": ways,
        "launches": launches,
    }


def milliseconds(call: Callable[[], Any], rounds: int = 7) -> float:
    """Median time of a call, after two that do not count."""
    for _ in range(2):
        call()
    return 1e3 * statistics.median(timed(call, "cuda") for _ in range(rounds))


def products() -> Iterator[Row]:
    """Rates of the three products of a head, by rows, with 16-bit, float32 and summed float32 results; and of a copy."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda").random_()
    goal = torch.empty_like(source)
    taken = milliseconds(lambda: goal.copy_(source))
    yield {"what": "copy", "ms": taken, "gb_per_s": 2 * source.numel() / taken / 1e6}
    for head, rows in itertools.product((LLAMA, QWEN), ROWS):
        hidden, weight, logits = (
            torch.randn(shape, device="cuda", dtype=torch.bfloat16)
            for shape in ((rows, head.hidden), (head.vocabulary, head.hidden), (rows, head.vocabulary))
        )
        pairs = {"forward": (hidden, weight.t()), "hidden": (logits, weight), "weight": (logits.t(), hidden)}
        for name, (left, right) in pairs.items():
            shape = left.shape[0], right.shape[1]
            out16 = torch.empty(shape, dtype=torch.bfloat16, device="cuda")
            out32 = torch.zeros(shape, dtype=torch.float32, device="cuda")
            kinds: dict[str, Callable[[], Any]] = {
                "16 bit": functools.partial(torch.mm, left, right, out=out16),
                "float32": functools.partial(torch.mm, left, right, out_dtype=torch.float32, out=out32),
                "added to float32": functools.partial(
                    torch.addmm, out32, left, right, out_dtype=torch.float32, out=out32
                ),
            }
            for kind, call in kinds.items():
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
                taken = milliseconds(call, 5)
                yield {
                    "what": f"{name}, {kind}", "head": head.name, "rows": rows, "ms": taken,
                    "tflops": 2 * rows * head.hidden * head.vocabulary / taken / 1e9,
                    "extra_mib": (torch.cuda.max_memory_allocated() - before) / 2**20,
                }  # fmt: skip


def _call(given: Inputs, mode: str, **options: Any) -> Callable[[], Any]:
    from poz.torch import linear_logps

    hidden = given.hidden.detach().requires_grad_(mode != "forward")
    weight = given.weight.detach().requires_grad_(mode == "train")
    leaves = [leaf for leaf in (hidden, weight) if leaf.requires_grad]

    def call() -> Any:
        with torch.set_grad_enabled(bool(leaves)):
            made = linear_logps(hidden, weight, given.targets, rows=given.rows, **options)
        return torch.autograd.grad(made, leaves, given.upstream) if leaves else made

    return call


def memory() -> Iterator[Row]:
    """The memory allowed, which sets the rows multiplied at a time and whether probabilities are kept."""
    from poz.torch import linear_logps_plan

    for head in (LLAMA, QWEN):
        given = make(Case(head, 8192), "cuda")
        for mode, allowed in itertools.product(MODES, MEMORY):
            hidden = given.hidden.detach().requires_grad_(mode != "forward")
            weight = given.weight.detach().requires_grad_(mode == "train")
            plan = linear_logps_plan(hidden, weight, given.targets, memory=allowed)
            row = {"head": head.name, "what": mode, "memory": allowed, "plan": plan.mode, "rows": plan.block_rows}
            yield {**row, "ms": milliseconds(_call(given, mode, memory=allowed), 5)}


def passes() -> Iterator[Row]:
    """The passes over logits, statistics and residuals: columns at a time and warps."""
    from poz.kernels import logps as kernels
    from poz.torch.head.launches import gradient_over, pass_over
    from poz.torch.head.tiles import Head as Scaling

    rows = 4096
    for head in (LLAMA, QWEN):
        logits = torch.randn(rows, head.vocabulary, device="cuda").mul_(6)
        targets = torch.randint(head.vocabulary, (rows,), device="cuda")
        into, column = (
            torch.empty_like(logits, dtype=torch.bfloat16),
            torch.ones(rows, device="cuda", dtype=torch.float64),
        )
        scaling = Scaling(temperature=1.0, logit_scale=1.0, softcap=None, fast=False)
        calls = {
            "statistics": functools.partial(pass_over, logits, None, targets, scaling, frozenset({"logps"})),
            "residual": functools.partial(
                gradient_over, logits, None, targets, scaling, 30 * column, column, None, column, into
            ),
        }
        for (block, warps), (what, call) in itertools.product(PASSES, calls.items()):
            with mock.patch.multiple(kernels, PASS_BLOCK=block, GRADIENT_BLOCK=block, PASS_WARPS=warps):
                taken = milliseconds(call)
            moved = logits.numel() * (4 if what == "statistics" else 6)
            yield {
                "head": head.name, "what": what, "block": block, "warps": warps, "ms": taken,
                "gb_per_s": moved / taken / 1e6,
            }  # fmt: skip


def tiles() -> Iterator[Row]:
    """Product and pass over the vocabulary in tiles, down to those whose logits stay in the second-level cache."""
    from poz.torch.head.launches import pass_over
    from poz.torch.head.tiles import Head as Scaling

    scaling = Scaling(temperature=1.0, logit_scale=1.0, softcap=None, fast=False)
    for head, (rows, columns) in itertools.product((LLAMA, QWEN), TILE_SIZES):
        columns = min(columns, head.vocabulary)
        hidden = torch.randn(rows, head.hidden, device="cuda", dtype=torch.bfloat16)
        weight = torch.randn(head.vocabulary, head.hidden, device="cuda", dtype=torch.bfloat16) * (6 / head.hidden**0.5)
        targets = torch.randint(columns, (rows,), device="cuda")
        slab = torch.empty(rows, columns, device="cuda")
        starts = range(0, head.vocabulary - columns + 1, columns)

        def all_tiles(passing: bool, given: Any = (hidden, weight, targets, slab, starts, columns)) -> None:
            hidden, weight, targets, slab, starts, columns = given
            for low in starts:
                torch.mm(hidden, weight[low : low + columns].t(), out_dtype=torch.float32, out=slab)
                if passing:
                    pass_over(slab, None, targets, scaling, frozenset({"logps"}))

        row = {"head": head.name, "rows": rows, "columns": columns, "mib": slab.numel() * 4 / 2**20}
        for what, passing in (("products", False), ("products and passes", True)):
            taken = milliseconds(functools.partial(all_tiles, passing), 5)
            done = 2 * rows * columns * len(starts) * head.hidden
            yield {**row, "what": what, "ms": taken, "tflops": done / taken / 1e9}


def forward() -> Iterator[Row]:
    """The product that stores no logits, by tile, against a product and a pass."""
    from poz.torch.head.fused import product_over
    from poz.torch.head.tiles import Head as Scaling

    plain = Scaling(1.0, 1.0, None, False)
    rows = 8192
    for head in (QWEN, LLAMA):
        given = make(Case(head, rows, mode="forward"), "cuda")
        for allowed in ("1GiB", "8GiB"):
            taken = milliseconds(_call(given, "forward", memory=allowed), 5)
            yield {"head": head.name, "what": f"product and pass, {allowed}", "ms": taken}
        for (tall, wide, deep, warps, stages), split in itertools.product(TILES, (2048, 8192)):
            call = functools.partial(
                product_over, given.hidden, given.weight, None, given.targets, plain, split, (tall, wide, deep),
                num_warps=warps, num_stages=stages,
            )  # fmt: skip
            row: Row = {"head": head.name, "what": f"tile {tall}x{wide}x{deep}, {warps} warps, split {split}"}
            try:
                taken = milliseconds(call, 5)
            except Exception as error:  # a tile may ask for more shared memory than there is
                yield {**row, "reason": _sentence(error)}
                continue
            yield {**row, "ms": taken, "tflops": 2 * rows * head.hidden * head.vocabulary / taken / 1e9}


def ways() -> Iterator[Row]:
    """Training by every way of ours: kept, made again, in the loop, with 16-bit logits."""
    for head in (LLAMA, QWEN):
        case = Case(head, 8192)
        given = make(case, "cuda")
        for peer in PEERS:
            if peer.serves(case) and peer.name.startswith("poz") and peer.available(case, "cuda") is None:
                taken = milliseconds(functools.partial(_discard, peer.prepare(given, "train")), 5)
                yield {"head": head.name, "what": peer.name, "ms": taken}


def _discard(run: Callable[[], Any]) -> None:
    run()


def launches() -> Iterator[Row]:
    """What launches cost where there are few rows: a call as it is against its replay from a CUDA graph."""
    for mode in MODES:
        given = make(Case(LLAMA, 512, mode=mode), "cuda")
        call = _call(given, mode)
        side: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kept = call()
        yield {"head": LLAMA.name, "what": f"{mode}, 512 rows, calls", "ms": milliseconds(call, 20)}
        yield {"head": LLAMA.name, "what": f"{mode}, 512 rows, replays", "ms": milliseconds(graph.replay, 20)}
        del kept, graph


def tune(end: float, tell: Callable[[str, list[Row]], None]) -> None:
    """Run all parts until `end` of `time.monotonic`; `tell` is given each part's name and its rows, as far as they came."""
    for name, part in all_parts().items():
        rows: list[Row] = []
        try:
            for row in part():
                rows.append(row)
                if time.monotonic() > end:
                    rows.append({"what": "the rest", "reason": "out of time"})
                    break
        except Exception as error:  # a part that breaks is a result, and no reason to stop
            rows.append({"what": "the rest", "reason": _sentence(error)})
        tell(name, rows)
        torch.cuda.empty_cache()


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
