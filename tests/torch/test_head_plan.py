"""What `linear_logps_plan` says of a call is what the call does."""

import pytest
import torch

from poz.torch import linear_logps, linear_logps_plan

ROWS, WIDTH, VOCABULARY = 100, 24, 3000


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_what_is_kept_is_what_the_plan_says(dtype, precision, head):
    """One of the tensors that wait for the backward pass has as many bytes, and none that is not given has more."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, WIDTH, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator).to(dtype).requires_grad_(head)
    targets = torch.randint(VOCABULARY, (ROWS,), generator=generator)
    plan = linear_logps_plan(hidden, weight, targets, precision=precision)
    assert plan.mode == ("keep" if head else "one pass")
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: (saved.append(x), x)[1], lambda x: x):
        linear_logps(hidden, weight, targets, precision=precision)
    given = {x.data_ptr() for x in (hidden, weight, targets)}
    assert plan.kept == max(x.nbytes for x in saved if x.data_ptr() not in given)
