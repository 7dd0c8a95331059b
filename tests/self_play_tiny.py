"""Policies over a few completions whose law is known, the games that they play, and the rounds of `poz.torch.SelfPlay`."""

import itertools

import numpy as np
import torch
from torch import nn

import poz
from poz.torch import Completions


def rows(policy):
    """All that it can write, once each, behind a token that begins each row."""
    words = torch.tensor(list(itertools.product(range(policy.letters), repeat=policy.written)))
    ids = torch.cat((torch.full((len(words), 1), policy.letters), words), 1)[None]
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[..., 0] = False
    return Completions(ids, mask)


class Tree(nn.Module):
    """A table of logits, one row for each prefix, in float64: it can have any law over the words of so many letters."""

    def __init__(self, law, letters=4):
        super().__init__()
        self.letters, self.written = letters, round(np.log(len(law)) / np.log(letters))
        joint = torch.log(torch.as_tensor(law))
        rows = [joint.view(letters**depth, letters, -1).logsumexp(-1) for depth in range(self.written)]
        self.table = nn.Parameter(torch.cat([row.log_softmax(-1) for row in rows]))

    def forward(self, input_ids, attention_mask=None):
        place, found = torch.zeros_like(input_ids[:, 0]), []
        for depth in range(self.written):
            found.append(self.table[place + sum(self.letters**d for d in range(depth))])
            place = self.letters * place + input_ids[:, 1 + depth]
        return torch.stack([*found, found[-1]], 1)


class Recurrent(nn.Module):
    """A GRU, which has the laws that it can learn."""

    def __init__(self, written, letters=4, width=24):
        super().__init__()
        self.letters, self.written = letters, written
        self.embed = nn.Embedding(letters + 1, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, letters)

    def forward(self, input_ids, attention_mask=None):
        return self.head(self.gru(self.embed(input_ids))[0])


def law(policy):
    """(completions,) their probabilities."""
    ids = rows(getattr(policy, "model", policy)).input_ids[0]  # a mixture has the letters of its model
    logps = policy(input_ids=ids)[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    found = logps.double().sum(-1).detach().exp()
    return found / found.sum()


def everything(policy, prompts):
    """A `generate` that gives all completions, each with its probability."""
    return rows(getattr(policy, "model", policy))._replace(weights=law(policy)[None])


def judge_of(P):
    return lambda completions, rivals: torch.as_tensor(P)[None]


def solve(model, loss, steps=40):
    """To the minimum."""
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=steps, line_search_fn="strong_wolfe", tolerance_grad=1e-9, tolerance_change=0,
        history_size=steps,
    )  # fmt: skip

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)


def play(model, objective, P, rounds, *, train=solve, **settings):
    """The policies after each round, the start first."""
    game = poz.torch.SelfPlay(model, objective, everything, judge_of(P), **settings)
    found = [law(model).numpy()]
    for _ in range(rounds):
        for turn in game.round(None):
            train(model, lambda turn=turn: turn.losses(model).mean())
        found.append(law(model).numpy())
    return found


def cyclic_game(completions, seed=0):
    """Win probabilities far from transitive, and a start that is not uniform."""
    generator = np.random.default_rng(seed)
    angle, skill = generator.uniform(0, 2 * np.pi, completions), generator.normal(size=completions)
    scores = 1.5 * np.sin(angle[:, None] - angle[None]) + 0.5 * (skill[:, None] - skill[None])
    return 1 / (1 + np.exp(-scores)), generator.dirichlet(np.full(completions, 3.0))
