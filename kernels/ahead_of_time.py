"""Compiles every kernel ahead of time, without a GPU, and holds its resources against a committed table.

    python -m poz.kernels.ahead_of_time --check     # fails on a spill, on too much shared memory, on more registers than before
    python -m poz.kernels.ahead_of_time --write     # rewrites resources.json

A new skeleton is one more function in `KERNELS`; a new point is found by itself.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from poz.kernels.launch import FIXED
from poz.kernels.logps import AHEAD_OF_TIME
from poz.kernels.pairs._points import logistic
from poz.kernels.pairs._skeleton import pairs
from poz.kernels.plan import ListPlan, PairPlan, RolloutPlan, Variants, file_of, has_kernel, plan, point_name
from poz.kernels.ranked._skeleton import ranked
from poz.kernels.rollouts._corrections import CORRECTIONS
from poz.kernels.rollouts._kl import ESTIMATORS
from poz.kernels.rollouts._points import clipped
from poz.kernels.rollouts._skeleton import rollouts
from poz.kernels.sums import segment_running, segment_slopes, segment_sums
from poz.zoo import zoo

Plan = TypeVar("Plan", PairPlan, ListPlan, RolloutPlan)
TABLE = Path(__file__).with_name("resources.json")
TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
SHARED = {"sm_80": 166912, "sm_90": 232448, "sm_100": 232448, "gfx942": 65536}
"""Bytes of shared memory that one program may use."""


class Case(NamedTuple):
    """One specialisation of a kernel.

    Attributes:
        name: Its row in the table.
        kernel: The `triton.jit` function.
        signature: For every argument its type, a tuple of types, or the value of a constant.
        options: Options of the launch.
        aligned: Arguments known to be multiples of 16: addresses and strides that the kernel may load vectors from.
        archs: Where it is meant to run.
    """

    name: str
    kernel: Any
    signature: Mapping[str, Any]
    options: Mapping[str, Any]
    aligned: Sequence[str] = ()
    archs: Sequence[str] = tuple(TARGETS)


class Resources(NamedTuple):
    """Registers per thread (vector registers on AMD), bytes or registers spilled, bytes of shared memory."""

    registers: int
    spills: int
    shared: int


def plans(kind: type[Plan]) -> Iterator[Plan]:
    """The plans of one kind: of each objective that has a kernel, as its file's `VARIANTS` bind it."""
    for objective in zoo.values():
        if has_kernel(objective.name):
            variants: Variants = getattr(file_of(objective.name), "VARIANTS", ({},))
            for values in variants:
                bound = objective.bind(**values)
                made = plan(bound, len(bound.reads & {"ref_chosen", "ref_logps", "opponents_chosen"}))
                if isinstance(made, kind):
                    yield made


def pair_cases() -> Iterator[Case]:
    """The pair skeleton: every point over tokens in bf16, and what else changes the code around it."""
    for made in plans(PairPlan):
        yield _pair_case(made, "bf16", tokens=True)
        if made.cloning is not None:
            yield _pair_case(
                PairPlan(made.cloning[0], (), columns=("chosen", "rejected"), mean=True), "bf16", tokens=True
            )
    simple = PairPlan(logistic, (0.1, 0.0), (1.0,))
    yield _pair_case(simple, "fp16", tokens=True, one=True)
    yield _pair_case(simple, "fp32", tokens=False)
    yield _pair_case(simple._replace(mean=True), "fp32", tokens=False)


def _pair_case(made: PairPlan, dtype: str, tokens: bool, one: bool = False) -> Case:
    # Triton turns an argument that is 1 into a constant, so a single pair or token compiles differently.
    few = {"count": 1, "tokens": 1} if one else {"count": "i32", "tokens": "i32"}
    words = [
        f"pairs {point_name(made.point)}",
        f"over {point_name(made.base)}" if made.base else "",
        f"{len(made.weights)} anchors",
        "mean" * made.mean,
        "discounted" * (made.discount != 1.0),
        "tokens" if tokens else "sums",
        dtype,
        "one" * one,
    ]
    return Case(
        " ".join(filter(None, words)),
        pairs,
        {
            "logps": f"*{dtype}",
            "anchors": (f"*{dtype}",) * len(made.weights),
            "weights": ("fp32",) * len(made.weights),
            "columns": ("*fp32",) * len(made.columns),
            "offsets": "*i64",
            "lengths": "*i64" if made.mean and not tokens else None,
            "losses": "*fp32",
            "gradient": "*fp32",
            **few,
            "log2_discount": "fp32",
            "hyper": ("fp32",) * len(made.params),
            "POINT": made.point,
            "BASE": made.base,
            "MEAN": made.mean,
            "DISCOUNTED": made.discount != 1.0,
            "BLOCK": 1024 if tokens else 128,
        },
        {"num_warps": 4 if tokens else 1},
    )


def ranked_cases() -> Iterator[Case]:
    """The skeleton of ranked lists: every point over tokens in bf16, and over sums with explicit lengths."""
    for made, dtype, tokens in (
        (made, *case) for made in plans(ListPlan) for case in (("bf16", True), ("fp32", False))
    ):
        yield Case(
            f"ranked {point_name(made.point)} {len(made.weights)} anchors {'tokens' if tokens else 'sums'} {dtype}",
            ranked,
            {
                "logps": f"*{dtype}",
                "anchors": (f"*{dtype}",) * len(made.weights),
                "weights": ("fp32",) * len(made.weights),
                "rewards": "*fp32" if made.rewards else None,
                "offsets": "*i64",
                "lists": "*i64",
                "lengths": None if tokens else "*i64",
                "losses": "*fp32",
                "gradient": "*fp32",
                "count": "i32",
                "tokens": "i32",
                "sft_weight": "fp32",
                "hyper": ("fp32",) * len(made.params),
                "POINT": made.point,
                "MEAN": made.mean,
                "SFT": made.sft_weight != 0.0,
                "SIZE": 8,
                "BLOCK": 1024 if tokens else 128,
            },
            {"num_warps": 4 if tokens else 1},
        )


def rollout_cases() -> Iterator[Case]:
    """The skeleton of rollouts: every point beside k3, and every estimator and correction under PPO's clip."""
    for made in plans(RolloutPlan):
        yield _rollout_case(made, ESTIMATORS["k3"])
    simple = RolloutPlan(clipped, (0.2, -0.2, 1.0, 2.0), weighs=True)
    yield from (_rollout_case(simple, kl) for kl in ESTIMATORS.values())
    yield from (_rollout_case(simple, correction=correction) for correction in CORRECTIONS.values())
    yield _rollout_case(simple, weighted=True)
    yield _rollout_case(simple, ESTIMATORS["k3"], on_policy=True)


def _rollout_case(
    made: RolloutPlan, kl: Any = None, correction: Any = None, weighted: bool = False, on_policy: bool = False
) -> Case:
    words = [
        f"rollouts {point_name(made.point)}",
        f"of the {made.whole}" * bool(made.whole),
        "at its token" * (bool(made.whole) and not made.spread),
        f"{kl.__name__} to the reference" if kl else "",
        correction.__name__ if correction else "",
        "weighted" * weighted,
        "on-policy" * on_policy,
        "bf16",
    ]
    return Case(
        " ".join(filter(None, words)),
        rollouts,
        {
            "logps": "*bf16",
            "old": None if on_policy else "*bf16",
            "ref": "*bf16" if kl else None,
            "sampler": "*bf16" if correction else None,
            "log_weights": "*fp32" if weighted else None,
            "advantages": "*fp32",
            "shares": "*fp32",
            "offsets": "*i64",
            "losses": "*fp32",
            "gradient": "*fp32",
            "count": "i32",
            "tokens": "i32",
            **dict.fromkeys(("kl_weight", "low", "high"), "fp32"),
            "hyper": ("fp32",) * len(made.params),
            "POINT": made.point,
            "KL": kl,
            "CORRECTION": correction,
            "PER_TOKEN": on_policy,
            "WEIGHS": made.weighs,
            "WHOLE": made.whole != "",
            "MEAN": made.whole == "mean",
            "SPREAD": made.whole != "" and made.spread,
            "BLOCK": 512,
        },
        {"num_warps": 4},
    )


def sums_cases() -> Iterator[Case]:
    """Sums over segments of tokens in bf16, running sums in float32, and their gradients."""
    here: dict[str, Any] = {"offsets": "*i64"}
    yield _sums_case(segment_sums, {"logps": "*bf16", **here, "sums": "*fp32", "count": "i32"})
    yield _sums_case(segment_slopes, {"slopes": "*fp32", **here, "gradient": "*fp32", "count": "i32", "tokens": "i32"})
    for backward in (False, True):
        running = {"values": "*fp32", **here, "running": "*fp32", "count": "i32", "BACKWARD": backward}
        yield _sums_case(segment_running, running, " backward" * backward)


def _sums_case(kernel: Any, signature: Mapping[str, Any], of: str = "") -> Case:
    return Case(kernel.__name__ + of, kernel, {**signature, "BLOCK": 1024}, {"num_warps": 4})


KERNELS: Sequence[Callable[[], Iterable[Any]]] = (
    pair_cases,
    ranked_cases,
    rollout_cases,
    sums_cases,
    lambda: AHEAD_OF_TIME,
)
"""Each gives the cases of one kernel."""


def cases() -> list[Case]:
    """Every case of every kernel; objectives that share a point share its case."""
    return list({case[0]: Case(*case) for some in KERNELS for case in some()}.values())


def resources(case: Case, arch: str) -> Resources:
    """What the compiled kernel takes on `arch`, one of `TARGETS`."""
    constants = {name: kind for name, kind in case.signature.items() if not isinstance(kind, str | tuple)}
    signature = {name: "constexpr" if name in constants else kind for name, kind in case.signature.items()}
    attributes = {(list(signature).index(name),): [["tt.divisibility", 16]] for name in case.aligned}
    source = ASTSource(fn=case.kernel, signature=signature, constexprs=constants, attrs=attributes)
    compiled = triton.compile(source, target=TARGETS[arch], options={**FIXED, **case.options})
    read = _nvidia if arch.startswith("sm_") else _amd
    return Resources(*read(compiled), compiled.metadata.shared)


def _nvidia(compiled: Any) -> tuple[int, int]:
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        said = subprocess.run([tool, "-res-usage", file.name], check=True, capture_output=True, text=True).stdout
    usage = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", said)}
    return usage["REG"], usage["STACK"] + usage["LOCAL"]


def _amd(compiled: Any) -> tuple[int, int]:
    usage = {key: int(value) for key, value in re.findall(r"\.(\w+):\s+(\d+)", compiled.asm["amdgcn"])}
    return usage["vgpr_count"], usage["vgpr_spill_count"] + usage["sgpr_spill_count"]


def measure(some: Iterable[Case], archs: Sequence[str] = tuple(TARGETS)) -> dict[str, dict[str, Resources]]:
    """Resources by name of the case and architecture."""
    return {case.name: {arch: resources(case, arch) for arch in archs if arch in case.archs} for case in some}


def problems(measured: Mapping[str, Mapping[str, Resources]], table: Mapping[str, Any]) -> list[str]:
    """What is wrong, as sentences. Registers are compared where the table was made with the Triton at hand."""
    found = []
    same_triton = table["triton"] == triton.__version__
    for name, by_arch in measured.items():
        for arch, now in by_arch.items():
            known = table["kernels"].get(name, {}).get(arch)
            if now.spills:
                found.append(f"{name} on {arch} spills {now.spills}; nothing may spill.")
            if now.shared > SHARED[arch]:
                found.append(f"{name} on {arch} takes {now.shared} bytes of shared memory; {arch} has {SHARED[arch]}.")
            if known is None:
                found.append(f"{name} on {arch} is not in {TABLE.name}; write the table anew with --write.")
            elif same_triton and now.registers > known[0]:
                found.append(f"{name} on {arch} takes {now.registers} registers; the table says {known[0]}.")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0 where nothing is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m poz.kernels.ahead_of_time", description=(__doc__ or "").splitlines()[0]
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="compare with the committed table (the default)")
    what.add_argument("--write", action="store_true", help="rewrite the committed table")
    write = parser.parse_args(arguments).write
    measured = measure(cases())
    if write:
        rows = (f"    {json.dumps(name)}: {json.dumps(row)}" for name, row in sorted(measured.items()))
        text = ",\n".join(rows)
        TABLE.write_text(f'{{\n  "triton": "{triton.__version__}",\n  "kernels": {{\n{text}\n  }}\n}}\n')
    found = problems(measured, json.loads(TABLE.read_text()))
    print("\n".join(found) or f"{len(measured)} kernels on {', '.join(TARGETS)}: no spill, within shared memory.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
