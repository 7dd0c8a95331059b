"""Hidden states, a head and targets whose logits look like a language model's; the same numbers every time.

What is made, for any size:

* the head's rows are Gaussian with a length near 6, and hidden states are Gaussian, so that the bulk of the logits is
  Gaussian with a standard deviation of 6 nats;
* each position prefers one token, drawn at random: its hidden state leans towards that token's row until its
  log-odds against all others are as drawn from a normal distribution with a standard deviation of 4 nats. So some
  positions are certain, some are open, as in text;
* the mean of those log-odds is solved for, so that the mean entropy is 1.5 nats;
* targets are drawn from the softmax itself, so their mean log-prob is -1.5 nats, up to the noise of the draw;
* the first part of each sequence is prompt, with the target -100; the share of the rest is `Case.valid`.

Gaussian logits of standard deviation 1, the usual benchmark input, spread the probability over thousands of tokens and
make every gradient tiny; they flatter whoever rounds or drops small gradients. These do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from poz.bench.shapes import Case

STD = 6.0
LOGP = -1.5
SPREAD = 4.0
BETA = 0.01
CLIP = (0.2, 0.28)
STALE = 0.15
IGNORED = -100
TILE = 1 << 28
SEED = 0


class Inputs(NamedTuple):
    """What an implementation is given.

    Attributes:
        case: What it was made for.
        hidden: (N, D).
        weight: (V, D).
        targets: (N,) int64, -100 where there is no target.
        rows: (n,) int64, where there is one.
        upstream: (N,) float32, gradient of the mean DPO loss (beta 0.01, no reference) with respect to the log-probs,
            0 where there is no target; 0 in a case of DAPO, whose rows make the loss of their own log-probs.
        old: (N,) float32, log-probs of an older policy, which the policy's are spread about by 0.15 nat.
        advantages: (sequences,) float32.
    """

    case: Case
    hidden: Tensor
    weight: Tensor
    targets: Tensor
    rows: Tensor
    upstream: Tensor
    old: Tensor
    advantages: Tensor


def make(case: Case, device: str | torch.device = "cpu", seed: int = SEED) -> Inputs:
    """Return the inputs of a case; the same for the same case, seed and kind of device."""
    device, dtype = torch.device(device), getattr(torch, case.dtype)
    generator = torch.Generator(device).manual_seed(seed)
    size, vocabulary, tokens = case.head.hidden, case.head.vocabulary, case.tokens
    weight = torch.randn(vocabulary, size, generator=generator, device=device).mul_(STD / size**0.5).to(dtype)
    hidden = torch.randn(tokens, size, generator=generator, device=device)
    preferred = torch.randint(vocabulary, (tokens,), generator=generator, device=device)
    drawn = torch.randn(tokens, generator=generator, device=device, dtype=torch.float64) * SPREAD
    lengths = torch.empty(tokens, device=device, dtype=torch.float64)
    now, others, entropy = lengths.clone(), lengths.clone(), lengths.clone()
    for here, logits in tiles(hidden.to(dtype), weight):
        column = preferred[here, None]
        now[here] = logits.gather(1, column)[:, 0].double()
        logits.scatter_(1, column, -1e9)
        others[here] = logits.logsumexp(1).double()
        entropy[here] = others[here] - (logits.softmax(1).mul_(logits)).sum(1).double()
        lengths[here] = weight[preferred[here]].float().square().sum(1).double()
    wanted = others + drawn + _centre(drawn, entropy)
    lean = ((wanted - now) / lengths).clamp(min=0.0).float()
    hidden = torch.addcmul(hidden, lean[:, None], weight[preferred].float()).to(dtype)
    targets = torch.empty(tokens, dtype=torch.int64, device=device)
    logps = torch.empty(tokens, dtype=torch.float64, device=device)
    for here, logits in tiles(hidden, weight):
        uniform = torch.rand(logits.shape[0], generator=generator, device=device, dtype=torch.float64)
        lse = logits.logsumexp(1).double()
        cumulative = logits.softmax(1).double().cumsum_(1)
        place = torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)
        targets[here] = place[:, 0].clamp(max=vocabulary - 1)
        logps[here] = logits.gather(1, targets[here, None])[:, 0].double() - lse
    count, length = case.sequences
    skipped = length - case.scored // count
    targets.view(count, length)[:, :skipped] = IGNORED
    valid = targets != IGNORED
    old = logps + torch.randn(tokens, generator=generator, device=device) * STALE
    advantages = torch.randn(count, generator=generator, device=device)
    upstream = _upstream(case, logps * valid, valid) if case.objective == "dpo" else advantages.new_zeros(tokens)
    return Inputs(case, hidden, weight, targets, valid.nonzero()[:, 0], upstream, (old * valid).float(), advantages)


def _centre(drawn: Tensor, entropy: Tensor) -> float:
    """The mean log-odds that makes the mean entropy of "preferred token or one of the others" equal to -LOGP."""
    low, high = -60.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        p = (drawn + middle).sigmoid()
        mean = (torch.special.entr(p) + torch.special.entr(1 - p) + (1 - p) * entropy).mean()
        low, high = (middle, high) if mean > -LOGP and entropy.mean() > 0 else (low, middle)
    return (low + high) / 2


def _upstream(case: Case, logps: Tensor, valid: Tensor) -> Tensor:
    count, length = case.sequences
    sums = logps.view(count, length).sum(1)
    margin = BETA * (sums[: count // 2] - sums[count // 2 :])
    slope = -BETA * torch.sigmoid(-margin) / (count // 2)
    return (torch.cat([slope, -slope])[:, None].expand(count, length).reshape(-1) * valid).float()


def dapo(inputs: Inputs, logps: Tensor, rows: Tensor | None = None) -> Tensor:
    """DAPO's loss as trainers write it, of the log-probs (N,) of all tokens or of those of `rows`."""
    which = slice(None) if rows is None else rows
    length = inputs.case.sequences[1]
    advantages = inputs.advantages.repeat_interleave(length)[which].to(logps.dtype)
    ratio = (logps - inputs.old[which].to(logps.dtype)).exp()
    clipped = ratio.clamp(1 - CLIP[0], 1 + CLIP[1])
    terms = -torch.min(ratio * advantages, clipped * advantages)
    return (terms * (inputs.targets[which] != IGNORED)).sum() / max(len(inputs.rows), 1)


def tiles(hidden: Tensor, weight: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield row ranges and their float32 logits, at most 1 GiB at a time; the products are float32 too."""
    step = max(1, TILE // weight.shape[0])
    for low in range(0, hidden.shape[0], step):
        here = slice(low, min(low + step, hidden.shape[0]))
        if hidden.is_cuda and hidden.dtype != torch.float32:
            yield here, torch.mm(hidden[here], weight.t(), out_dtype=torch.float32)
        else:
            yield here, hidden[here].float() @ weight.float().t()


def for_jax(inputs: Inputs) -> dict[str, Any]:
    """The same numbers as JAX arrays: hidden, weight, targets (int32, -100 kept) and upstream."""
    import jax.numpy as jnp

    dtype = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}[inputs.case.dtype]
    return {
        "hidden": jnp.asarray(inputs.hidden.float().cpu().numpy()).astype(dtype),
        "weight": jnp.asarray(inputs.weight.float().cpu().numpy()).astype(dtype),
        "targets": jnp.asarray(inputs.targets.cpu().numpy().astype("int32")),
        "upstream": jnp.asarray(inputs.upstream.cpu().numpy()),
    }
