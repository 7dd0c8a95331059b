"""Policies with a handful of actions, on which the population loss of an objective can be minimised to rounding."""

import numpy as np
import torch

import poz


def population(logits, sampler, P, *, reference=None, opponents=(), **fields):
    """All (chosen, rejected) pairs of actions as one batch, and their probabilities, which sum to 1.

    Two independent draws from the sampler, labelled: a wins against b with probability 2 sampler(a) sampler(b) P[a, b].
    """
    actions = len(sampler)
    chosen, rejected = map(torch.as_tensor, np.divmod(np.arange(actions**2), actions))
    mass = torch.as_tensor((2 * np.outer(sampler, sampler) * P).ravel())

    def sides(name, policies):
        logs = torch.log(torch.as_tensor(np.asarray(policies, dtype=np.float64)))
        return {f"{name}_chosen": logs[..., chosen], f"{name}_rejected": logs[..., rejected]}

    if reference is not None:
        fields |= sides("ref", reference)
    if len(opponents):
        fields |= sides("opponents", opponents)
    logps = torch.log_softmax(logits, 0)
    return poz.Pairs(logps[chosen], logps[rejected], **fields), mass


def minimiser(loss, actions, *, steps=100):
    """The policy at which `loss(logits)` is stationary, by Newton's method with backtracking, from the uniform one.

    Directions of negative curvature are followed downhill, no logit moves by more than 1 in a step, and the direction
    that shifts all logits is left out.
    """
    logits = torch.zeros(actions, dtype=torch.float64, requires_grad=True)
    for _ in range(steps):
        value = loss(logits)
        (slope,) = torch.autograd.grad(value, logits)
        curvature = torch.autograd.functional.hessian(loss, logits)
        scale, axes = torch.linalg.eigh(curvature + torch.full((actions, actions), 1.0 / actions, dtype=torch.float64))
        step = axes @ ((axes.T @ slope) / scale.abs().clamp(min=1e-8))
        size = step.abs().max()
        if size < 1e-13:
            return torch.softmax(logits.detach(), 0).numpy()
        step = step / size.clamp(min=1)
        while size > 1e-6 and loss(logits - step) > value:  # below that, the loss is flat to rounding
            step = step / 2
        logits = (logits - step).detach().requires_grad_()
    raise ArithmeticError(f"No minimum after {steps} steps: the last step was {size:.1e}, the slope {slope.tolist()}.")


def bradley_terry(rewards):
    """P[a, b] = sigmoid(rewards[a] - rewards[b])."""
    rewards = np.asarray(rewards, dtype=np.float64)
    return 1 / (1 + np.exp(rewards[None, :] - rewards[:, None]))


def random_game(generator, actions):
    """Win probabilities with P + P.T = 1, as far from transitive as chance makes them."""
    upper = np.triu(generator.uniform(0.02, 0.98, (actions, actions)), 1)
    return upper + np.tril(1 - upper.T, -1) + 0.5 * np.eye(actions)
