"""Logits of tokens whose log-probs are those of a batch, for functions that begin at a model's logits."""

from __future__ import annotations

from typing import Any

from poz.families import Pairs


def spread(logps: Any, lengths: Any = None) -> tuple[Any, Any]:
    """A prompt of one token, and a completion of which each token has an equal share of the log-prob.

    Args:
        logps: (batch,) tensor of log-probs of completions, in nats; or (batch, tokens), as they are.
        lengths: (batch,) numbers of tokens; 1 where not given; or a mask, (batch, tokens).

    Returns:
        logits: (batch, 1 + tokens, 2), which a trainer shifts: entry t is of the token at t + 1, and the last of none.
        labels: (batch, 1 + tokens), 0 at the tokens of the completion and -100 elsewhere.
    """
    import torch

    if logps.ndim == 1:
        lengths = torch.ones(len(logps), dtype=torch.int64) if lengths is None else lengths.long()
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        logps = (logps / lengths.clamp(min=1))[:, None].expand(mask.shape)
    else:
        mask = torch.ones(logps.shape, dtype=torch.bool) if lengths is None else lengths
    logps = torch.where(mask, logps, -1.0)
    with torch.no_grad():  # log(1 - e^x) in the form that has all digits; of a certain token -60, whose e^x is none
        other = torch.where(logps > -0.7, torch.log(-torch.expm1(logps)), torch.log1p(-torch.exp(logps))).clamp(min=-60)
        slope = -torch.exp(logps - other)  # with which the softmax of both has slope 1 in x
    other = other + slope * (logps - logps.detach())
    logits = torch.nn.functional.pad(torch.stack([logps, other], -1), (0, 0, 0, 1))
    return logits, torch.nn.functional.pad(torch.where(mask, 0, -100), (1, 0), value=-100)


def stacked(*sides: tuple[Any, Any]) -> tuple[Any, Any]:
    """The same of several sides, each as `spread` takes it, one behind the other; the shorter ones are padded."""
    import torch

    each = [spread(*side) for side in sides]
    wide = max(labels.shape[1] for _, labels in each)
    pad = torch.nn.functional.pad
    logits = torch.cat([pad(x, (0, 0, 0, wide - x.shape[1])) for x, _ in each])
    return logits, torch.cat([pad(x, (0, wide - x.shape[1]), value=-100) for _, x in each])


def closed(logps: Any, mask: Any) -> tuple[Any, Any]:
    """(batch, tokens) log-probs and their mask, with the tokens that count before those that do not."""
    import torch

    if mask is None:
        return logps, mask
    order = torch.argsort(~mask, dim=1, stable=True)
    return logps.gather(1, order), mask.gather(1, order)


def with_lengths(pairs: Pairs) -> Pairs:
    """The pairs, of a function that reads lengths.

    Raises:
        ValueError: They have none, since the objective as it is bound reads none: every mean would be a sum.
    """
    if pairs.chosen_len is None:
        raise ValueError("The function reads lengths, which the objective does not; bind what reads them.")
    return pairs
