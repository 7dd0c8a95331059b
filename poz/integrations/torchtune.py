"""Objectives that read lengths in torchtune's recipes, which hand a loss sums over tokens alone.

```yaml
loss:
  _component_: poz.integrations.torchtune.PreferenceLoss
  objective: simpo
  beta: 2.0
```

Where the objective reads none, as `dpo`, `poz.torch.PreferenceLoss` in its place needs nothing of this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torchtune import rlhf

import poz.torch

_COUNTS: deque[Tensor] = deque(maxlen=2)  # recipes score both sides at once, or chosen and then rejected ones


class PreferenceLoss(poz.torch.PreferenceLoss):
    """`poz.torch.PreferenceLoss` with the lengths of the completions that the recipe has just scored.

    Making one puts a function that counts around `torchtune.rlhf.get_batch_log_probs`, which every DPO recipe calls.
    """

    def __init__(self, objective: Any, **params: Any) -> None:
        super().__init__(objective, **params)
        if not hasattr(rlhf.get_batch_log_probs, "__wrapped__"):
            rlhf.get_batch_log_probs = _counting(rlhf.get_batch_log_probs)

    def forward(self, policy_chosen_logps: Tensor, *logps: Tensor, **fields: Any) -> Any:  # type: ignore[override]
        """As `poz.torch.PreferenceLoss`, with lengths by the labels of the last call of `get_batch_log_probs`.

        Raises:
            ValueError: These log-probs are not what it has returned.
        """
        rows, scored = 2 * len(policy_chosen_logps), sum(map(len, _COUNTS))
        if scored < rows:
            raise ValueError(
                f"{rows} completions are trained on; torchtune.rlhf.get_batch_log_probs has scored {scored}."
            )
        chosen_len, rejected_len = torch.cat([*_COUNTS])[-rows:].chunk(2)
        return super().forward(policy_chosen_logps, *logps, chosen_len=chosen_len, rejected_len=rejected_len, **fields)


def _counting(scored: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @wraps(scored)
    def counted(logits: Tensor, labels: Tensor, label_pad_token_id: int = -100, **how: Any) -> Tensor:
        _COUNTS.append((labels[:, 1:] != label_pad_token_id).sum(-1))
        return scored(logits, labels, label_pad_token_id, **how)

    return counted
