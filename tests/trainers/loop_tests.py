"""What a loop of one's own does with the recipe of docs/trainers.md: of `trained`, which the file that imports this defines.

`trained(objective, batch=8, accumulation=1, count=8, policy=None)` gives the gradient and the losses of `count` pairs.
"""

import math

import pytest
import torch
from tiny_batches import EXACT, collate, exact, models, objective, plain_dpo, rows

import poz

DIGITS = 1e-10  # of float64 after some hundred roundings, in gradients of size 1


def test_dpo_is_a_plain_one(trained, agree):
    policy, reference = models()
    expected = plain_dpo(policy, reference, collate(rows()), beta=0.3)
    found, losses = trained(poz.dpo.bind(beta=0.3))
    agree("own", losses, [expected.item()], DIGITS)
    agree("own", found, list(torch.autograd.grad(expected, list(policy.parameters()))), DIGITS)
    assert max(x.abs().max() for x in found) > 0.01


@pytest.mark.parametrize("name", EXACT)
def test_others_are_their_references(name, trained, agree):
    loss, slopes = exact(name, *models(), collate(rows()))
    found, losses = trained(objective(name))
    agree("reference", losses, [loss], DIGITS)
    agree("reference", found, list(slopes), DIGITS)


def test_eight_batches_of_one_are_four_of_two(trained, agree):
    whole = trained(poz.dpo)[0]
    for batch, accumulation in ((1, 8), (2, 4)):
        agree("accumulation", trained(poz.dpo, batch, accumulation)[0], whole, DIGITS)


def test_a_shorter_last_accumulation_is_divided_by_the_longer_one(trained, fact):
    """Three batches at accumulation 4."""
    mean, found = trained(poz.dpo, 3, 1, count=3)[0], trained(poz.dpo, 1, 4, count=3)[0]
    for ours, theirs in zip(found, mean, strict=True):
        torch.testing.assert_close(ours, 0.75 * theirs)
    fact("gradient of three batches at accumulation 4, in that of their mean", 0.75)


def test_a_policy_that_is_its_reference_has_margin_0(trained, agree):
    losses = trained(poz.dpo, batch=4, count=4, policy=models()[1].requires_grad_(True))[1]
    agree("start", losses, [math.log(2)], 1e-15)
