"""Time `linear_logps` on a CPU beside TRL's kernel and plain torch: one interleaved run, medians, errors against float64.

Run as `python bench/linear_logps_cpu.py [--rows 1024] [--hidden 768] [--vocabulary 32000] [--repeats 5] [--only train-float32]`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from poz.torch._linear_logps import linear_logps

Logps = Callable[[Tensor, Tensor, Tensor], Tensor]
ALLOWED = {"train-float32": (0.50, 0.85), "frozen-float32": (0.35, 0.85), "train-bfloat16": (0.60, None)}


def naive(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Logits, log-softmax, gather."""
    return (hidden @ weight.t()).log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)


def contenders() -> dict[str, Logps]:
    """Return name -> function; TRL's is missing where it cannot be imported."""
    found: dict[str, Logps] = {
        "poz": lambda hidden, weight, targets: linear_logps(hidden, weight, targets),
        "naive": naive,
    }
    try:
        from trl.kernels.chunked_logprob import ChunkedLogProbFunction
    except ImportError as error:
        print(f"trl is left out: {error}")
    else:
        found["trl"] = lambda hidden, weight, targets: ChunkedLogProbFunction.apply(
            hidden, weight, None, targets, 1.0, 32768, None, 1.0, ()
        )[0]
    return found


def peaked(rows: int, hidden_size: int, vocabulary: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return hidden states, head and targets whose logits have a standard deviation of 6 nats."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, hidden_size, generator=generator)
    weight = torch.randn(vocabulary, hidden_size, generator=generator) * (6 / hidden_size**0.5)
    return hidden.to(dtype), weight.to(dtype), torch.randint(0, vocabulary, (rows,), generator=generator)


def run(case: str, rows: int, hidden_size: int, vocabulary: int, repeats: int, clock: str) -> None:
    """Time one case with all contenders in turn and print a line for each."""
    kind, dtype_name = case.split("-")
    dtype = getattr(torch, dtype_name)
    hidden, weight, targets = peaked(rows, hidden_size, vocabulary, dtype)
    exact = hidden[:128].double() @ weight.double().t()
    exact = exact.log_softmax(-1).gather(-1, targets[:128, None]).squeeze(-1)
    hidden.requires_grad_(kind != "forward")
    weight.requires_grad_(kind == "train")
    upstream = torch.linspace(-1, 1, rows)
    functions = contenders()
    now = time.perf_counter if clock == "wall" else time.process_time
    times: dict[str, list[float]] = {name: [] for name in functions}
    errors: dict[str, float] = {}
    for repeat in range(repeats + 1):
        for name, function in functions.items():
            hidden.grad = weight.grad = None
            begin = now()
            logps = function(hidden, weight, targets)
            if kind != "forward":
                logps.backward(upstream.to(logps.dtype))
            if repeat:
                times[name].append(now() - begin)
            errors[name] = (logps[:128].detach().double() - exact).pow(2).mean().sqrt().item()
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"{case}: rows {rows}, hidden {hidden_size}, vocabulary {vocabulary}, {torch.get_num_threads()} threads")
    for name, median in medians.items():
        ratio = medians["poz"] / median
        limit = ALLOWED.get(case, (None, None))[("trl", "naive").index(name)] if name != "poz" else None
        verdict = "" if limit is None else f"  allowed {limit:.2f}: {'met' if ratio <= limit else 'MISSED'}"
        print(f"  {name:6s} {median:7.3f} s  poz/{name} {ratio:5.2f}  log-prob rms error {errors[name]:.1e}{verdict}")


def main() -> None:
    """Read the command line and run the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--vocabulary", type=int, default=32000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall", help="cpu: for a busy machine, with one thread"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for case in (*ALLOWED, "frozen-bfloat16", "forward-float32", "forward-bfloat16"):
        if arguments.only in case:
            run(case, arguments.rows, arguments.hidden, arguments.vocabulary, arguments.repeats, arguments.clock)


if __name__ == "__main__":
    main()
