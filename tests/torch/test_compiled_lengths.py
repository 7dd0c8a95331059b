"""torch.compile over batches of other lengths: one graph, the numbers of the plain call, whatever the plan decides."""

import pytest
import torch
import torch.distributed as dist

from poz.torch import linear_logps

LENGTHS = (30, 50, 70)


def step(hidden, weight, targets):
    return linear_logps(hidden * 1.0, weight, targets)


@pytest.mark.parametrize(
    ("vocabulary", "dynamic", "kind"),  # one tile, several; logits are kept or, of 150000 tokens, made again
    [
        (1000, True, "train"), (32000, None, "train"), (150000, True, "train"), (150000, None, "train"),
        (1000, True, "frozen"), (32000, None, "frozen"), (1000, None, "forward"), (32000, True, "forward"),
    ],
)  # fmt: skip
def test_other_lengths(vocabulary, dynamic, kind):
    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(vocabulary, 4, generator=generator).requires_grad_(kind == "train")
    for length in LENGTHS:
        hidden = torch.randn(length, 4, generator=generator).requires_grad_(kind != "forward")
        targets = torch.randint(0, vocabulary, (length,), generator=generator)
        found, wanted = (function(hidden, weight, targets) for function in (compiled, step))
        torch.testing.assert_close(
            found, wanted, rtol=1e-6, atol=1e-6
        )  # the same bits in all runs but one, unexplained
        leaves = [leaf for leaf in (hidden, weight) if leaf.requires_grad]
        if leaves:
            slopes = [torch.autograd.grad(made.sum(), leaves) for made in (found, wanted)]
            # another tile of rows where symbols, not sizes, decide it
            torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("wrong", "said"), [([1, 4, 1], "each row once; got 1 2 times"), ([1, 30], "must lie in")])
def test_rows_are_checked_there_too(wrong, said):
    """They have no values while a call is traced; twice the same row had twice its gradient."""
    torch._dynamo.reset()
    compiled = torch.compile(lambda *given, rows: linear_logps(*given, rows=rows), fullgraph=True, backend="aot_eager")
    given = torch.randn(30, 4), torch.randn(1000, 4), torch.randint(0, 1000, (30,))
    rows = torch.tensor([4, 1])
    assert torch.equal(compiled(*given, rows=rows), linear_logps(*given, rows=rows))
    with pytest.raises(ValueError, match=said):
        compiled(*given, rows=torch.tensor(wrong))


def test_a_group_breaks_the_graph_and_says_so():
    torch._dynamo.reset()
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:

        def whole(hidden, weight, targets):
            return linear_logps(hidden * 1.0, weight, targets, group=dist.group.WORLD)

        given = torch.randn(30, 4), torch.randn(1000, 4), torch.randint(0, 1000, (30,))
        assert torch.equal(torch.compile(whole, backend="aot_eager")(*given), whole(*given))
        torch._dynamo.reset()
        with pytest.raises(Exception, match="`group` does not go through torch"):
            torch.compile(whole, backend="aot_eager", fullgraph=True)(*given)
    finally:
        dist.destroy_process_group()


def test_what_does_not_fit_is_said_while_tracing_too():
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda *given: linear_logps(*given, memory="20KiB"), fullgraph=True, dynamic=True, backend="aot_eager"
    )
    with pytest.raises(Exception, match="'20KiB' is too small for a head of 1000 tokens"):
        compiled(torch.randn(30, 4), torch.randn(1000, 4), torch.randint(0, 1000, (30,)))
