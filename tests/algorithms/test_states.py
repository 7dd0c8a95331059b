"""States that lie in arrays of their own: a checkpoint is loaded into them in place."""

import numpy as np
import pytest
import torch

from poz.algorithms import baseline, lcpo_em


def leaves(state):
    return [leaf for part in state for leaf in (leaves(part) if isinstance(part, tuple) else [part])]


@pytest.mark.parametrize("like", [np.zeros(0), torch.zeros(0), torch.zeros(0, dtype=torch.float64)], ids=repr)
@pytest.mark.parametrize("init", [baseline.init, lcpo_em.init], ids=["baseline", "lcpo_em"])
def test_no_array_of_a_state_is_another(init, like):
    found = leaves(init(like=like))
    for number, leaf in enumerate(found):
        leaf[...] = number
    assert [float(np.ravel(leaf)[0]) for leaf in found] == list(range(len(found)))


@pytest.mark.parametrize(
    ("given", "wide"), [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)]
)
def test_sums_of_sixteen_bits_are_in_thirty_two(given, wide):
    """1000 rewards of -100 nats are beyond float16, and 1000.1 of them told apart in float64 alone."""
    logps = torch.full((1000,), -100.0, dtype=given)
    logps[0] -= 0.1 if given == torch.float64 else 0.0
    found = baseline.sums(logps, torch.zeros_like(logps), beta=1.0)
    assert found.total.dtype == wide
    assert float(found.total) == (-100_000.1 if given == torch.float64 else -100_000.0)
