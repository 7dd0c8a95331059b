"""The recipe of docs/trainers.md in Accelerate's loop, on a tiny Llama in float64: `make trainers-accelerate`."""

import copy
import math

import pytest
import torch
from accelerate import Accelerator
from recipes import recipe
from tiny_batches import EXACT, collate, exact, models, moved, objective, plain_dpo, rows
from torch.utils.data import DataLoader

import poz
import poz.torch

DIGITS = 1e-10  # of float64 after some hundred roundings, in gradients of size 1
LOOP = recipe("Accelerate")


def trained(objective, batch=8, accumulation=1, count=8, policy=None):
    """The gradient, as one step of SGD of rate 1 or several of rate so small that it stays; and the losses."""
    policy, reference = copy.deepcopy(policy or models()[0]), models()[1]
    before, losses = copy.deepcopy(policy), []
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulation)
    model, optimizer, loader = accelerator.prepare(
        policy, torch.optim.SGD(policy.parameters(), lr=1.0), DataLoader(rows(count), batch, collate_fn=collate)
    )
    backward = accelerator.backward
    accelerator.backward = lambda loss: (losses.append(loss.item()), backward(loss))
    exec(LOOP, {**globals(), **locals()})
    return moved(before, policy, 1.0), losses


def test_dpo_is_a_plain_one(agree):
    policy, reference = models()
    expected = plain_dpo(policy, reference, collate(rows()), beta=0.3)
    found, losses = trained(poz.dpo.bind(beta=0.3))
    agree("own", losses, [expected.item()], DIGITS)
    agree("own", found, list(torch.autograd.grad(expected, list(policy.parameters()))), DIGITS)
    assert max(x.abs().max() for x in found) > 0.01


@pytest.mark.parametrize("name", EXACT)
def test_others_are_their_references(name, agree):
    loss, slopes = exact(name, *models(), collate(rows()))
    found, losses = trained(objective(name))
    agree("reference", losses, [loss], DIGITS)
    agree("reference", found, list(slopes), DIGITS)


def test_eight_batches_of_one_are_four_of_two(agree):
    whole = trained(poz.dpo)[0]
    for batch, accumulation in ((1, 8), (2, 4)):
        agree("accumulation", trained(poz.dpo, batch, accumulation)[0], whole, DIGITS)


def test_a_shorter_last_accumulation_is_divided_by_the_longer_one(fact):
    """Three batches at accumulation 4."""
    mean, found = trained(poz.dpo, 3, 1, count=3)[0], trained(poz.dpo, 1, 4, count=3)[0]
    for ours, theirs in zip(found, mean, strict=True):
        torch.testing.assert_close(ours, 0.75 * theirs)
    fact("gradient of three batches at accumulation 4, in that of their mean", 0.75)


def test_a_policy_that_is_its_reference_has_margin_0(agree):
    losses = trained(poz.dpo, batch=4, count=4, policy=models()[1].requires_grad_(True))[1]
    agree("start", losses, [math.log(2)], 1e-15)
