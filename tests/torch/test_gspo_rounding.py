"""How many completions leave GSPO's band by the rounding of log-probs alone, as docs/rollouts.md has it."""

import re

import pytest
import torch

import poz
from poz.torch import linear_logps

COMPLETIONS, TOKENS, HIDDEN, VOCABULARY, SPREAD, SEED = 400, 50, 32, 200, 5.0, 0


def outside(logps, old):
    """The share of completions whose gradient GSPO takes for one sign of the advantage."""
    free = torch.ones(COMPLETIONS, dtype=torch.bool)
    for advantage in (1.0, -1.0):
        moving = logps.detach().float().view(COMPLETIONS, TOKENS).requires_grad_()
        batch = poz.Rollouts(moving, old.view(COMPLETIONS, TOKENS), advantages=torch.full((COMPLETIONS,), advantage))
        (slope,) = torch.autograd.grad(poz.gspo(batch).sum(), moving)
        free &= (slope != 0).all(1)
    return 1 - free.double().mean().item()


def test_who_leaves_the_band_by_rounding(root):
    generator = torch.Generator().manual_seed(SEED)
    hidden = torch.randn(COMPLETIONS * TOKENS, HIDDEN, generator=generator).bfloat16()
    weight = (SPREAD / HIDDEN**0.5 * torch.randn(VOCABULARY, HIDDEN, generator=generator)).bfloat16()
    logits = hidden.double() @ weight.double().T
    exact = logits.log_softmax(-1)
    written = torch.multinomial(exact.exp(), 1, generator=generator)
    old, logits = exact.gather(1, written)[:, 0].float(), logits.bfloat16()
    assert -1.4 < old.mean() < -1.2
    shares = [
        outside(linear_logps(hidden, weight, written[:, 0]), old),
        outside(old.bfloat16(), old),
        outside(logits.float().log_softmax(-1).gather(1, written), old),
        outside(logits.log_softmax(-1).gather(1, written), old),
    ]
    page = (root / "docs/rollouts.md").read_text(encoding="utf-8")
    said = [int(x) / 100 for x in re.findall(r"\| (\d+) % \|", page[page.index("## What rounding") :])]
    assert shares[0] == said[0] == 0
    assert shares[1:] == pytest.approx(said[1:], abs=0.03)  # a sum of 32 products may be rounded another way
