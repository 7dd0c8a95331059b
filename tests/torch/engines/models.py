"""The models, and their tokens, that the checks of engines share."""

import torch
from torch.distributed.fsdp import fully_shard

from poz.torch import LogpsHead

VOCABULARY, HIDDEN, SIZES = 38, 8, (5, 6)


class Model(torch.nn.Module):
    """Embeddings, a layer and a head."""

    def __init__(self, tied=False, frozen=()):
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(VOCABULARY, HIDDEN)
        self.body = torch.nn.Linear(HIDDEN, HIDDEN)
        self.lm_head = torch.nn.Linear(HIDDEN, VOCABULARY, bias=not tied)
        if tied:
            self.lm_head.weight = self.embed.weight
        for name in frozen:
            getattr(self, name).requires_grad_(False)

    def forward(self, ids, targets=None, parts=1):
        """Log-probs of the targets in so many calls of the head, or hidden states."""
        hidden = torch.tanh(self.body(self.embed(ids)))
        if targets is None:
            return hidden
        pairs = zip(hidden.chunk(parts), targets.chunk(parts), strict=True)
        return torch.cat([self.lm_head(rows, t) for rows, t in pairs])  # (tokens,), or (batch, tokens)


def headed(head=None, **options):
    model = Model(**options)
    model.lm_head = LogpsHead(model.lm_head, **(head or {}))
    return model


def tokens():
    torch.manual_seed(1)
    ids, targets = torch.randint(0, VOCABULARY, (2, sum(SIZES)))
    return ids, targets.masked_fill(torch.arange(sum(SIZES)) % 4 == 0, -100)


def gradient(parameter):
    return getattr(parameter.grad, "full_tensor", lambda: parameter.grad)()


def root(model, mesh, **options):
    return fully_shard(model, mesh=mesh, **options)


def own(model, mesh, **options):
    fully_shard(model.lm_head, mesh=mesh, **options)
    return fully_shard(model, mesh=mesh, **options)


def sequences():
    torch.manual_seed(2)
    ids = torch.randint(0, VOCABULARY, (8, 16))  # chosen and rejected of four pairs, in turn
    labels = ids.masked_fill(torch.arange(16) < torch.arange(8)[:, None], -100)
    return ids, labels
