"""A linear head that gives log-probabilities from its own forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from poz.torch.head.linear_logps import linear_logps


class LogpsHead(torch.nn.Module):
    """A linear head whose forward pass is `linear_logps`, so that what hooks into a forward pass sees its weight used.

    FSDP does: processes with rows of their own gather the head for the pass, and its gradients are reduced over them.

        model.lm_head = LogpsHead(model.lm_head)  # the same parameters under the same names
        fully_shard(model.lm_head)
        logps = model.lm_head(hidden, targets)

    Args:
        head: what has a `weight` (V, D) and a `bias` (V,) or None, such as `torch.nn.Linear`.
        **settings: of `linear_logps`, for every call.

    Raises:
        TypeError: it is no linear layer.
    """

    def __init__(self, head: torch.nn.Module, **settings: Any) -> None:
        super().__init__()
        weight = getattr(head, "weight", None)
        if not isinstance(head, torch.nn.Module) or not isinstance(weight, Tensor) or weight.dim() != 2:
            raise TypeError(
                f"LogpsHead needs a linear layer, with a weight (V, D) and a bias or None; got {type(head).__name__}. Make one, "
                "or call poz.torch.linear_logps with the weight."
            )
        self.weight, self.bias = weight, getattr(head, "bias", None)
        self.settings = settings

    def forward(self, hidden: Tensor, targets: Tensor | None = None, **settings: Any) -> Any:
        """`linear_logps(hidden, weight, targets, ...)`; without targets the logits, which the model's own pass needs."""
        if targets is None:
            if settings.get("group", self.settings.get("group")) is not None:
                raise ValueError(
                    "Logits need the whole vocabulary, of which this process holds a part; give `targets`, or gather the logits "
                    "of torch.nn.functional.linear(hidden, head.weight)."
                )
            return torch.nn.functional.linear(hidden, self.weight, self.bias)
        return linear_logps(hidden, self.weight, targets, bias=self.bias, **{**self.settings, **settings})
