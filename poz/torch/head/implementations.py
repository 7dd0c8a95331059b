"""The table of implementations. Triton is imported where it is used."""

from __future__ import annotations

from collections.abc import Callable

from poz.torch.head import in_torch
from poz.torch.head.work import Implementation


def _torch() -> Implementation:
    return in_torch.IMPLEMENTATION


def _triton() -> Implementation:
    from poz.torch.head import triton

    return triton.IMPLEMENTATION


def _fused() -> Implementation:
    from poz.torch.head import fused

    return fused.IMPLEMENTATION


IMPLEMENTATIONS: dict[str, Callable[[], Implementation]] = {"torch": _torch, "triton": _triton, "fused": _fused}


def implementation_of(name: str) -> Implementation:
    """The functions of an implementation that a plan names."""
    return IMPLEMENTATIONS[name]()
