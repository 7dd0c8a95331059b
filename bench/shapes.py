"""The shapes that benchmarks and tests share, and the least work that any implementation has to do on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Mode = Literal["train", "frozen", "forward"]
Objective = Literal["dpo", "dapo"]
MODES: tuple[Mode, ...] = ("train", "frozen", "forward")
MATMULS: dict[Mode, tuple[str, ...]] = {
    "train": ("forward", "hidden", "weight"),
    "frozen": ("forward", "hidden"),
    "forward": ("forward",),
}
"""Matrix products that each mode cannot do without, 2 * tokens * vocabulary * hidden operations each."""
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8}


class Head(NamedTuple):
    """An LM head.

    Attributes:
        name: Of the model it belongs to.
        hidden: Width of the hidden states.
        vocabulary: Tokens.
    """

    name: str
    hidden: int
    vocabulary: int


HEADS = {
    head.name: head
    for head in (
        Head("llama-3-8b", 4096, 128256),
        Head("qwen2.5-7b", 3584, 152064),
        Head("gemma-2-9b", 3584, 256000),
        Head("qwen3-0.6b", 1024, 151936),
    )
}
"""Heads for a GPU."""
CPU_HEADS = {
    head.name: head
    for head in (
        Head("reach", 768, 32000),
        Head("narrow", 32, 64000),
        Head("small", 256, 8192),
        Head("tiny", 64, 2003),
        Head("fixed", 64, 256),
    )
}
"""Heads that two cores can do: `reach` is the one the project's aims are stated for, `tiny` is for tests, and
`fixed` takes no time but that of a call."""
TOKENS = (512, 2048, 8192, 32768)
VALID = (0.25, 0.5, 1.0)


class Case(NamedTuple):
    """One thing to measure.

    Attributes:
        head: The LM head.
        tokens: Rows that an implementation is given.
        valid: Share of them that has a target; the others are prompt or padding.
        mode: "train": gradients of hidden states and head; "frozen": of the hidden states; "forward": none.
        dtype: Of hidden states and head.
        library: "torch" or "jax".
        objective: Whose loss the gradients are of.
    """

    head: Head
    tokens: int
    valid: float = 1.0
    mode: Mode = "train"
    dtype: str = "bfloat16"
    library: str = "torch"
    objective: Objective = "dpo"

    @property
    def name(self) -> str:
        """A short name, such as `reach train float32 N=1024`."""
        share = "" if self.valid == 1 else f" {self.valid:.0%} valid"
        more = " jax" * (self.library == "jax") + f" {self.objective}" * (self.objective != "dpo")
        return f"{self.head.name} {self.mode} {self.dtype} N={self.tokens}{share}{more}"

    @property
    def sequences(self) -> tuple[int, int]:
        """Sequences and tokens of each, at most 1024: chosen, then as many rejected ones; or the completions of a group."""
        length = min(1024, self.tokens // (2 if self.objective == "dpo" else 8))
        return self.tokens // length, length

    @property
    def scored(self) -> int:
        """Tokens that have a target: the end of each sequence."""
        count, length = self.sequences
        return count * round(length * self.valid)


def flops(case: Case) -> int:
    """Operations that the definition asks for: 6NVD to train, 4NVD with a frozen head, 2NVD forward only.

    N counts the tokens that have a target; work on others is waste, so it is not in here.
    """
    return 2 * len(MATMULS[case.mode]) * case.scored * case.head.vocabulary * case.head.hidden


def traffic(case: Case) -> int:
    """Bytes that have to move at least: hidden states and head read, log-probs and gradients written."""
    rows, head = case.scored * case.head.hidden, case.head.vocabulary * case.head.hidden
    written = {"train": rows + head, "frozen": rows, "forward": 0}[case.mode]
    return BYTES[case.dtype] * (rows + head + written) + 4 * case.scored


def floor_seconds(case: Case, matmul_rates: Mapping[str, float], copy_rate: float) -> float:
    """The least time: matrix products at their measured rates, or the bytes at the copy rate where that takes longer.

    Args:
        case: What is measured.
        matmul_rates: Operations per second of the products named in `MATMULS`.
        copy_rate: Bytes per second, read and written ones both counted.
    """
    each = 2 * case.scored * case.head.vocabulary * case.head.hidden
    return max(sum(each / matmul_rates[name] for name in MATMULS[case.mode]), traffic(case) / copy_rate)
