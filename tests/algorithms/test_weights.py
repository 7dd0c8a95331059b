"""Parameters on a line: what is the same stays, what comes back is nobody else's, and what has no line is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from poz.algorithms.apo_nesterov import next_reference
from poz.algorithms.weights import towards

INF = np.inf
LIBRARIES = {"numpy": np.array, "torch": torch.tensor, "jax": jnp.array}
every_library = pytest.mark.parametrize("array", LIBRARIES.values(), ids=LIBRARIES)


@every_library
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0, 1.5])
def test_an_infinity_in_both_stays(array, share):
    """Masks are often buffers that hold -inf; inf - inf would be NaN."""
    start, end = {"mask": array([0.0, -INF, INF, 1.0])}, {"mask": array([0.0, -INF, INF, 2.0])}
    np.testing.assert_allclose(np.asarray(towards(start, end, share)["mask"]), [0.0, -INF, INF, 1 + share])


@every_library
def test_no_step_meets_no_infinity(array):
    start = {"w": array([1.0, 2.0, -INF])}
    np.testing.assert_array_equal(np.asarray(towards(start, {"w": array([INF, -INF, 0.0])}, 0)["w"]), [1, 2, -INF])


@every_library
def test_a_nan_stays(array):
    made = towards({"w": array([np.nan, 1.0])}, {"w": array([1.0, np.nan])}, 0.5)["w"]
    assert np.isnan(np.asarray(made)).all()


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_what_comes_back_does_not_move_with_the_model(share):
    """A state_dict is the model itself, so a reference that shared its memory would follow the policy."""
    model = torch.nn.BatchNorm1d(1)
    start = {name: x.clone() for name, x in model.state_dict().items()}
    made = towards(start, model.state_dict(), share)
    before = {name: x.clone() for name, x in made.items()}
    model.train()
    with torch.no_grad():
        model.weight.add_(1.0)
        model(torch.tensor([[1.0], [3.0]]))
        for x in start.values():
            x.add_(1)
    assert model.num_batches_tracked == 1
    for name, x in before.items():
        assert torch.equal(made[name], x), name


def test_nor_does_the_next_reference():
    solved = {"u": np.array([0.1, -3.0])}
    made = next_reference({"u": np.zeros(2)}, solved, 0.0)
    solved["u"] += 1.0
    np.testing.assert_array_equal(made["u"], [0.1, -3.0])


@pytest.mark.parametrize(("start", "end", "error", "sentence"), [
    (np.array([1 + 1j]), np.array([2 + 0j]), TypeError, "'w' holds complex128 and complex128: no real numbers"),
    (torch.tensor([1 + 1j]), torch.tensor([2 + 0j]), TypeError, "'w' holds torch.complex64 and"),
    (jnp.array([1 + 1j]), jnp.array([2 + 0j]), TypeError, "'w' holds complex64 and"),
    (torch.tensor([1]), torch.tensor([2.5]), TypeError, "'w' holds torch.int64 and torch.float32: counters.*in both"),
    (torch.tensor([1.0]), torch.tensor([2]), TypeError, "'w' holds torch.float32 and torch.int64: counters.*in both"),
    (torch.zeros(2, device="meta"), torch.zeros(2), ValueError, "'w' is on meta and on cpu"),
    (torch.zeros(2).to_sparse(), torch.zeros(2), TypeError, "'w' must be dense; got torch.sparse_coo"),
    ({"b": np.ones(2)}, {"b": np.ones(2)}, TypeError, "'w' must be an array .* got dict and dict. Flatten"),
])  # fmt: skip
def test_what_lies_on_no_line_is_refused(start, end, error, sentence):
    with pytest.raises(error, match=sentence):
        towards({"w": start}, {"w": end}, 0.5)
