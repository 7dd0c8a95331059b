"""Metrics of TRL's trainers as sums and counts, whatever the sizes of batches and the number of processes.

TRL logs means of the means of batches and processes, and in evaluation counts the copies that fill up a last batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

LOSS = "loss"
"""The name of the total of losses, which TRL keeps elsewhere."""


def total(values: Tensor, where: Tensor | None = None) -> Tensor:
    """(2,): the sum and the number of values, all of them or those of a mask."""
    values = values.detach().float()
    where = torch.ones_like(values, dtype=torch.bool) if where is None else where
    return torch.stack((values.where(where, torch.zeros_like(values)).sum(), where.float().sum()))


def _margin(metrics: Mapping[str, list[float]]) -> list[float]:
    """Of single completions, whose mean rewards are those of other numbers of them."""
    chosen, rejected = (metrics.get(f"rewards/{side}") for side in ("chosen", "rejected"))
    return [chosen[-1] - rejected[-1]] if chosen and rejected else []


class Counted:
    """A trainer whose metrics are means over all examples, or all of their tokens, since the last log."""

    _totals: dict[str, dict[str, tuple[float, float]]]

    def examples_here(self: Any, rows: int) -> int:
        """How many of this process's rows are examples: the last batch of an evaluation is filled up with copies."""
        state = self.accelerator.gradient_state
        if self.model.training or not state.end_of_dataloader or state.remainder <= 0:
            return rows
        before = self.accelerator.process_index // self.alike * rows
        return int(min(max(state.remainder - before, 0), rows))

    def count(self: Any, mode: str, totals: Mapping[str, Tensor], tokens: Tensor) -> None:
        """Adds up the totals of all processes, and keeps the means of this batch where TRL does.

        Args:
            mode: "train" or "eval".
            totals: By the name of the metric, from `total`.
            tokens: The number of tokens that are trained on here.
        """
        here = torch.stack((*totals.values(), torch.stack((tokens.float(), tokens.float()))))
        *summed, (trained, _) = self.accelerator.gather(here[None]).sum(0).tolist()
        metrics, known = self.logged[mode], self._known()[mode]
        for name, (value, number) in zip(totals, summed, strict=True):
            before = known.get(name, (0.0, 0.0))
            known[name] = (before[0] + value, before[1] + number)
            if name != LOSS and number:
                metrics[name].append(value / number)
        if "rewards/margins" not in totals and all(number for _, number in summed):
            metrics["rewards/margins"] += _margin(metrics)
        if mode == "train":
            self.trained_tokens += int(trained) // self.alike
        metrics["num_tokens"] = [self.trained_tokens]

    def log(self: Any, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """TRL's, with means over all examples or tokens; a mean of nothing is left out."""
        mode = "train" if self.model.training else "eval"
        known, metrics = self._known().pop(mode, {}), self.logged[mode]
        known.pop(LOSS, None)
        for name, (value, number) in known.items():
            metrics[name] = [value / number] if number else []
        if known and "rewards/margins" not in known:
            metrics["rewards/margins"] = _margin(metrics)
        for name in [name for name, values in metrics.items() if not values]:
            del metrics[name]
        super().log(logs, *args, **kwargs)  # type: ignore[misc]

    def evaluation_loop(self: Any, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        """TRL's, with the mean of the losses of all examples."""
        self._known().pop("eval", None)
        self.logged["eval"].clear()
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)  # type: ignore[misc]
        value, number = self._known()["eval"].get(LOSS, (0.0, 0.0))
        if number:
            output.metrics[f"{metric_key_prefix}_loss"] = value / number
        return output

    def _known(self) -> dict[str, dict[str, tuple[float, float]]]:
        if not hasattr(self, "_totals"):
            self._totals = defaultdict(dict)
        return self._totals
