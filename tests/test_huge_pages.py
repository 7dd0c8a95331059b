"""Large fresh tensors on a CPU are mapped in huge pages where the system gives them to those who ask."""

from pathlib import Path

import pytest
import torch

from poz.torch._huge_pages import LEAST_BYTES, in_huge_pages


def flags_of(address):
    """The kernel's flags of the mapping around an address; `hg` is the advice."""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            low, high = (int(part, 16) for part in first.split("-"))
            found = low <= address < high
        elif first == "VmFlags:" and found:
            return rest
    raise LookupError(hex(address))


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="a kernel without huge pages")
def test_large_tensors_are_advised():
    plain, advised = torch.empty(2**26, dtype=torch.uint8), torch.empty(2**26, dtype=torch.uint8)
    assert in_huge_pages(advised) is advised
    assert "hg" in flags_of(advised.data_ptr() + 2**25)
    assert "hg" not in flags_of(plain.data_ptr() + 2**25)


@pytest.mark.parametrize("made", [(0,), (3,), (LEAST_BYTES // 4,), (LEAST_BYTES // 4 + 1,)])
def test_any_tensor_comes_back_as_it_was(made):
    tensor = torch.arange(made[0], dtype=torch.float32)
    before = tensor.clone()
    assert in_huge_pages(tensor) is tensor
    torch.testing.assert_close(tensor, before, rtol=0, atol=0)
    meta = torch.empty(2**26, device="meta")
    assert in_huge_pages(meta) is meta
