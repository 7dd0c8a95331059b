"""What the passes over a head are given, written once: the fields are also the operators' schema."""

from __future__ import annotations

from typing import Any, NamedTuple, get_type_hints

from torch import Tensor

from poz.torch.head.tiles import Head

OUTPUTS = ("logps", "lse", "entropy", "log_sum_sq_probs", "mean_logit", "top1")


class Inputs(NamedTuple):
    """The tensors of one call.

    Attributes:
        hidden: (tokens, hidden size).
        weight: (vocabulary here, hidden size).
        bias: (vocabulary here,) or None.
        targets: (tokens,) int64.
        rows: (rows,) int64, which of the tokens take part, or None to find out.
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    targets: Tensor
    rows: Tensor | None


class Settings(NamedTuple):
    """Numbers, flags and names of one call.

    Attributes:
        ignore_index: target of rows that are left out.
        temperature: divides the logits last.
        logit_scale: multiplies them first.
        softcap: bound on their size, or None.
        fast: whether 16-bit inputs give 16-bit logits.
        outputs: names, joined by commas.
        mode: see `Plan`.
        block_rows: rows multiplied at a time.
        implementation: "torch", "triton" or "fused".
        group: name of the process group, "" for none.
        first: number of this shard's first token.
        vocabulary: tokens over all shards.
        check: whether targets and rows are looked at.
    """

    ignore_index: int
    temperature: float
    logit_scale: float
    softcap: float | None
    fast: bool
    outputs: str
    mode: str
    block_rows: int
    implementation: str
    group: str
    first: int
    vocabulary: int
    check: bool

    @property
    def head(self) -> Head:
        """What is done to the product to make logits."""
        return Head(self.temperature, self.logit_scale, self.softcap, self.fast)

    @property
    def wanted(self) -> frozenset[str]:
        """The names of the outputs."""
        return frozenset(self.outputs.split(","))


class Saved(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        stats: (5, padded rows) float64, `RowStatistics`.
        tile_lse: (tiles, padded rows) float64.
        kept: probabilities, flat, or gradients of hidden states, or empty.
    """

    stats: Tensor
    tile_lse: Tensor
    kept: Tensor


class Upstream(NamedTuple):
    """Gradients of the differentiable outputs, one number for each row, or None."""

    grad_logp: Tensor | None
    grad_lse: Tensor | None
    grad_entropy: Tensor | None


class Needs(NamedTuple):
    """Which tensors need a gradient."""

    need_hidden: bool
    need_weight: bool
    need_bias: bool


_KINDS = {
    Tensor: "Tensor", Tensor | None: "Tensor?", int: "SymInt", float: "float", float | None: "float?", bool: "bool",
    str: "str",
}  # fmt: skip


def schema_of(*kinds: type[Any]) -> str:
    """The arguments of an operator that takes the fields of these named tuples one after the other."""
    return ", ".join(f"{_KINDS[kind]} {name}" for part in kinds for name, kind in get_type_hints(part).items())


def parts(given: tuple[Any, ...], *kinds: type[Any]) -> tuple[Any, ...]:
    """The named tuples again, from the arguments of the operator."""
    left = iter(given)
    return tuple(kind(*(next(left) for _ in kind._fields)) for kind in kinds)
