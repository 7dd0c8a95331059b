"""What an extragradient step is saved as, and goes on from."""

import io

import pytest
import torch

from poz.torch import Extragradient


def started():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    return model, Extragradient(torch.optim.Adam(model.parameters(), lr=0.1))


def backward(model, factor):
    (model(torch.full((1, 3), factor)) ** 2).sum().backward()


@pytest.mark.parametrize("midpoint", [False, True])
def test_it_goes_on_where_it_was_saved(midpoint):
    model, half = started()
    backward(model, 1.0)
    half.step()
    if midpoint:
        backward(model, 2.0)
        half.look_ahead()
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "half": half.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again, other = started()
    again.load_state_dict(saved["model"])
    other.load_state_dict(saved["half"])
    for policy, step in ((model, half), (again, other)):
        if midpoint:
            with pytest.raises(RuntimeError, match="Still at the midpoint"):
                step.step()
            step.back()
        backward(policy, 3.0)
        step.step()
    assert torch.equal(model.weight, again.weight)
    assert not torch.equal(model.weight, started()[0].weight)


def test_what_is_kept_is_not_what_was_given():
    model, half = started()
    backward(model, 1.0)
    half.look_ahead()
    state = half.state_dict()
    _, other = started()
    other.load_state_dict(state)
    state["parameters"][0].zero_()
    other.back()
    assert other.optimizer.param_groups[0]["params"][0].any()


def test_another_state_is_refused():
    model, half = started()
    backward(model, 1.0)
    half.look_ahead()
    state = half.state_dict()
    for given in (None, [], {}, half.optimizer.state_dict()):
        with pytest.raises(TypeError, match=r"must be what Extragradient\.state_dict"):
            started()[1].load_state_dict(given)
    other = Extragradient(torch.optim.Adam(torch.nn.Linear(4, 2).parameters()))
    with pytest.raises(ValueError, match=r"parameters of \[\(2, 4\), \(2,\)\], and the state of \[\(2, 3\), \(2,\)\]"):
        other.load_state_dict(state)
    with pytest.raises(ValueError, match="was saved with 2 tensors and holds 1"):
        other.load_state_dict({**state, "parameters": state["parameters"][:1]})
