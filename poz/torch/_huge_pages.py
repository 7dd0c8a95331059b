"""Huge pages for large fresh tensors on a CPU.

Most Linux systems give huge pages to those who ask. The first write to 128 MiB in pages of 4 KiB takes 32768 page faults, as
long as a tenth of the matrix products of a training step; in pages of 2 MiB it takes 64.
"""

from __future__ import annotations

import ctypes
import mmap
from functools import cache
from typing import Any

from torch import Tensor

LEAST_BYTES = 2**22


@cache
def _advise() -> Any:
    """Return the C library's madvise, or None where it knows no huge pages."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return advise


def in_huge_pages(fresh: Tensor) -> Tensor:
    """Ask for huge pages under a tensor that nothing was written to yet, and return it; only advice, so it never fails."""
    advise = _advise()
    if fresh.device.type == "cpu" and fresh.nbytes >= LEAST_BYTES and advise is not None:
        first = -(-fresh.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
        last = (fresh.data_ptr() + fresh.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        advise(first, last - first, mmap.MADV_HUGEPAGE)
    return fresh
