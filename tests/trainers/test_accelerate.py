"""The recipe of docs/trainers.md in Accelerate's loop, on a tiny Llama in float64: `make trainers-accelerate`."""

import copy

import pytest
import torch
from accelerate import Accelerator
from loop_tests import *  # noqa: F403
from recipes import recipe
from tiny_batches import collate, models, moved, rows
from torch.utils.data import DataLoader

LOOP = recipe("Accelerate")


@pytest.fixture
def trained():
    return step


def step(objective, batch=8, accumulation=1, count=8, policy=None):
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
