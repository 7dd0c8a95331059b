"""Objectives that are bound to changing values inside a compiled function: one graph, and the numbers of the plain call."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

import poz

VALUES = [round(0.1 * step, 1) for step in range(1, 13)]  # more than torch.compile compiles one function for


def pairs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return poz.Pairs(*torch.randn(4, 6, generator=generator))


def with_lengths(batch):
    return poz.Pairs(*batch[:2], chosen_len=batch[2].abs(), rejected_len=batch[3].abs())


def compiled(function, **options):
    torch._dynamo.reset()
    counter = CompileCounter()
    return torch.compile(function, backend=counter, **options), counter


@pytest.mark.parametrize("fullgraph", [True, False])
@pytest.mark.parametrize(
    "function",
    [
        lambda batch, value: poz.dpo.bind(beta=value)(batch),
        lambda batch, value: poz.simpo.bind(beta=2.0).bind(gamma=value)(with_lengths(batch)),
        lambda batch, value: poz.zoo["ipo"].bind(tau=1.0)(batch, tau=value),
    ],
    ids=["dpo", "simpo", "ipo"],
)  # fmt: skip
def test_one_graph_for_all_values(function, fullgraph):
    batch = pairs()
    step, counter = compiled(function, fullgraph=fullgraph)
    for value in VALUES:
        torch.testing.assert_close(step(batch, value), function(batch, value))
    assert counter.frame_count <= 2, "one value, then any"


def test_a_learned_value_has_its_gradient():
    def function(batch, value):
        return poz.dpo.bind(beta=value)(batch).sum()

    step, counter = compiled(function, fullgraph=True)
    for value in VALUES:
        slopes = []
        for call in (step, function):
            leaf = torch.tensor(value, requires_grad=True)
            slopes.append(torch.autograd.grad(call(pairs(), leaf), leaf)[0])
        torch.testing.assert_close(*slopes)
    assert counter.frame_count == 1


def test_values_are_checked_there_too():
    step, _ = compiled(lambda batch, value: poz.dpo.bind(beta=value)(batch), fullgraph=True)
    with pytest.raises(Exception, match=r"`dpo` needs .* for beta; got -1"):
        step(pairs(), -1.0)


def test_combine_says_where_it_belongs():
    step, _ = compiled(lambda batch, value: poz.combine({"dpo": 1.0, "sft": value})(batch), fullgraph=True)
    with pytest.raises(Exception, match=r"poz.combine inside a compiled function .* Call it outside"):
        step(pairs(), 0.2)
    outside = poz.combine({"dpo": 1.0, "sft": 0.2})
    step, counter = compiled(lambda batch: outside(batch), fullgraph=True)
    for seed in range(3):
        torch.testing.assert_close(step(pairs(seed)), outside(pairs(seed)))
    assert counter.frame_count == 1


def test_a_base_is_bound_outside():
    step, _ = compiled(lambda batch: poz.lcpo.bind(base=poz.dpo)(batch), fullgraph=True)
    with pytest.raises(
        Exception, match=r"`lcpo` is bound to another objective inside a compiled function. Bind it outside"
    ):
        step(pairs())
