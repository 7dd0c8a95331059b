"""What the passes over a head are told beside tensors, written once: the fields make the operators' schema."""

from __future__ import annotations

from typing import NamedTuple, get_type_hints

from poz.torch.head.tiles import Head

EXTRAS = ("lse", "entropy", "log_sum_sq_probs", "mean_logit", "top1")
OUTPUTS = ("logps", *EXTRAS)


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


_KINDS = {int: "SymInt", float: "float", float | None: "float?", bool: "bool", str: "str"}
SCHEMA = ", ".join(f"{_KINDS[kind]} {name}" for name, kind in get_type_hints(Settings).items())
