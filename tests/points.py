"""Pairs at a point, and losses with their slopes there: what the laws of single objectives are written in."""

import numpy as np
import torch

import poz


def close(actual, expected, size=1.0):
    """Dozens of roundings of 1e-16, on numbers of some tens of nats or of the size that is given."""
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13 * size)


def softplus(x):
    return np.logaddexp(0, x)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, float)))


def present(batch):
    return {name: x for name, x in batch._asdict().items() if x is not None}


def margin(h, **data):
    """Pairs whose log-ratio margin is h."""
    h = np.atleast_1d(np.asarray(h, float))
    return poz.Pairs(h, *[0 * h] * 3, **data)


def means(p, q, dtype=torch.float64):
    """Pairs of one token on each side, with a graph."""
    sides = [torch.tensor(np.atleast_1d(x), dtype=dtype, requires_grad=True) for x in (p, q)]
    one = torch.ones_like(sides[0]).detach()
    return poz.Pairs(*sides, chosen_len=one, rejected_len=one)


def slopes(objective, batch, *fields):
    """The losses, and the gradient of their sum by field: of both sides, where none is named."""
    given = {
        name: x if isinstance(x, torch.Tensor) else torch.tensor(np.array(x)) for name, x in present(batch).items()
    }
    fields = fields or ("chosen", "rejected")
    for name in fields:
        given[name] = given[name].detach().requires_grad_()
    losses = objective(type(batch)(**given))
    moved = [given[name] for name in fields]
    gradients = torch.autograd.grad(losses.sum(), moved, allow_unused=True, materialize_grads=True)
    return losses.detach().numpy(), *[gradient.numpy() for gradient in gradients]
