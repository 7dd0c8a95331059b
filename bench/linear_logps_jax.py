"""Time `poz.jax.linear_logps` beside plain JAX: one interleaved run, medians, memory, and errors against float64.

Run as `python bench/linear_logps_jax.py [--rows 1024] [--hidden 512] [--vocabulary 32000] [--valid 1.0] [--only train]`.
Every contender is jitted; arrays are arguments, none is a constant of the program. Memory is what the compiled program
allocates beside its arguments and results.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from poz.jax import linear_logps, linear_logps_plan

IGNORED = -100
REACH = (0.9, 0.25)


def naive(hidden: Any, weight: Any, targets: Any) -> Any:
    """Logits, log-softmax in float32, gather."""
    logps = jax.nn.log_softmax((hidden @ weight.T).astype(jnp.float32))
    kept = targets != IGNORED
    return jnp.where(kept, jnp.take_along_axis(logps, jnp.where(kept, targets, 0)[:, None], 1)[:, 0], 0.0)


def contenders(memory: str) -> dict[str, Callable[..., Any]]:
    """Name -> function of hidden, weight and targets; a missing package is named."""
    found: dict[str, Callable[..., Any]] = {
        "poz": lambda hidden, weight, targets: linear_logps(hidden, weight, targets, memory=memory),
        "naive": naive,
        "naive remat": jax.checkpoint(naive),
    }
    try:
        import optax
    except ImportError as error:
        print(f"optax is left out: {error}")
    else:

        def with_optax(hidden: Any, weight: Any, targets: Any) -> Any:
            logits = (hidden @ weight.T).astype(jnp.float32)
            kept = targets != IGNORED
            loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, jnp.where(kept, targets, 0))
            return jnp.where(kept, -loss, 0.0)

        found["optax"] = with_optax
    return found


def peaked(rows: int, hidden_size: int, vocabulary: int, dtype: str, valid: float) -> tuple[Any, Any, Any, Any]:
    """Hidden states, a head and targets whose logits have a standard deviation of 6 nats, and coefficients."""
    random = np.random.default_rng(0)
    hidden = jnp.asarray(random.standard_normal((rows, hidden_size), np.float32), dtype)
    weight = jnp.asarray(random.standard_normal((vocabulary, hidden_size), np.float32) * (6 / hidden_size**0.5), dtype)
    targets = np.where(random.random(rows) < valid, random.integers(0, vocabulary, rows), IGNORED)
    return hidden, weight, jnp.asarray(targets), jnp.linspace(-1, 1, rows)


def compiled(kind: str, function: Callable[..., Any], arrays: tuple[Any, ...]) -> Any:
    """The program for a case."""

    def loss(hidden: Any, weight: Any, targets: Any, upstream: Any) -> Any:
        logps = function(hidden, weight, targets)
        return jnp.vdot(upstream, logps), logps

    if kind == "forward":
        program = loss
    else:
        program = jax.value_and_grad(loss, (0, 1) if kind == "train" else 0, has_aux=True)
    return jax.jit(program).lower(*arrays).compile()


def run(kind: str, dtype: str, options: argparse.Namespace) -> None:
    """Time one case with all contenders in turn and print a line for each."""
    arrays = peaked(options.rows, options.hidden, options.vocabulary, dtype, options.valid)
    some = [np.asarray(x[:64], np.float64) for x in (arrays[0], arrays[2])]
    logits = some[0] @ np.asarray(arrays[1], np.float64).T
    targets = some[1].astype(int)
    exact = np.take_along_axis(logits, np.maximum(targets, 0)[:, None], 1)[:, 0] - np.log(np.exp(logits).sum(1))
    exact = np.where(targets == IGNORED, 0, exact)
    programs = {name: compiled(kind, f, arrays) for name, f in contenders(options.memory).items()}
    now = time.perf_counter if options.clock == "wall" else time.process_time
    times: dict[str, list[float]] = {name: [] for name in programs}
    errors: dict[str, float] = {}
    for repeat in range(options.repeats + 1):
        for name, program in programs.items():
            begin = now()
            result = jax.block_until_ready(program(*arrays))
            if repeat:
                times[name].append(now() - begin)
            logps = result[1] if kind == "forward" else result[0][1]
            errors[name] = float(np.sqrt(np.mean((np.asarray(logps[:64], np.float64) - exact) ** 2)))
            del result, logps
    medians = {name: statistics.median(values) for name, values in times.items()}
    memory = {name: program.memory_analysis().temp_size_in_bytes for name, program in programs.items()}
    plan = linear_logps_plan(
        *arrays[:2], memory=options.memory, head_gradient=kind == "train", hidden_gradient=kind != "forward"
    )
    print(
        f"{kind} {dtype}: {options.rows} rows ({options.valid:.0%} valid), hidden {options.hidden}, {options.vocabulary} tokens; {plan.mode}"
    )
    for name, median in medians.items():
        time_ratio, memory_ratio = medians["poz"] / median, memory["poz"] / memory[name]
        verdict = ""
        if name == "naive" and kind == "train" and dtype == "float32":
            verdict = "  reach " + ("met" if time_ratio <= REACH[0] and memory_ratio <= REACH[1] else "MISSED")
        print(
            f"  {name:12s} {median:7.3f} s  poz/{name} {time_ratio:5.2f}   {memory[name] / 2**20:8.1f} MiB  poz/{name} "
            f"{memory_ratio:5.2f}   log-prob rms error {errors[name]:.1e}{verdict}"
        )


def main() -> None:
    """Read the command line and run the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=32000)
    parser.add_argument("--valid", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--memory", default="1GiB")
    parser.add_argument("--only", default="", help="part of a case's name, such as 'train' or 'bfloat16'")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: for a busy machine")
    options = parser.parse_args()
    for dtype in ("float32", "bfloat16"):
        for kind in ("train", "frozen", "forward"):
            if options.only in f"{kind} {dtype}":
                run(kind, dtype, options)


if __name__ == "__main__":
    main()
