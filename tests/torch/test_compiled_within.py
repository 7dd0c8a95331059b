"""What counts of a batch make of an objective, inside a compiled function."""

import pytest
import torch

import poz


@pytest.mark.parametrize("objective", [poz.dapo, poz.grpo.bind(kl_weight=0.0, count_empty=False)], ids=lambda o: o.name)
def test_counts_of_a_traced_mask_are_those_of_the_batch(objective):
    draw = torch.Generator().manual_seed(2)
    logps, old = (-torch.rand(4, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    mask = torch.arange(3) < torch.tensor([3, 0, 1, 2])[:, None]
    whole = objective(poz.Rollouts(logps, old, mask=mask, advantages=torch.tensor([1.0, 2.0, -1.0, 0.5])))

    @torch.compile(backend="eager")
    def computed(logps, old, mask, advantages):
        return objective.within(poz.Counts.of(mask))(poz.Rollouts(logps, old, mask=mask, advantages=advantages))

    got = computed(logps, old, mask, torch.tensor([1.0, 2.0, -1.0, 0.5]))
    torch.testing.assert_close(got, whole, rtol=1e-12, atol=0)
