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
