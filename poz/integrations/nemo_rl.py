"""Any objective on pairs as a loss function of NeMo-RL's DPO.

```python
loss_fn = poz.integrations.nemo_rl.Loss("simpo", beta=2.0)  # in examples/run_dpo.py, after setup, before dpo_train
```
"""

from __future__ import annotations

from typing import Any

import torch
from nemo_rl.algorithms.loss.interfaces import LossInputType, LossType
from torch import Tensor

from poz.families import Pairs
from poz.objective import Objective
from poz.torch import PreferenceLoss


class Loss:
    """The objective's mean over the pairs of the global batch, of which a micro-batch gives its share.

    Args:
        objective: A name, or an objective with its hyper-parameters bound, that a pair of log-probs can serve.
        **params: Hyper-parameters.

    Raises:
        ValueError: The objective ties a batch together, of which NeMo-RL shows micro-batches.
    """

    loss_type = LossType.SEQUENCE_LEVEL
    input_type = LossInputType.LOGPROB

    def __init__(self, objective: str | Objective, **params: Any) -> None:
        self._loss = PreferenceLoss(objective, "mean", **params)
        if how := self._loss.objective.coupled:
            raise ValueError(
                f"`{self._loss.objective.name}` is defined over a batch ({how}); NeMo-RL shows micro-batches."
            )

    def __call__(
        self, next_token_logprobs: Tensor, data: Any, global_valid_seqs: Tensor, global_valid_toks: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Loss and metrics of (2 * batch, tokens - 1) log-probs, rows chosen, rejected, chosen, ..., under NeMo-RL's names."""
        mask, ref = data["token_mask"][:, 1:].bool(), data["reference_policy_logprobs"][:, :-1]
        pairs = Pairs.from_halves(next_token_logprobs, mask=mask, ref_logps=ref, layout="interleaved")
        weights, count = data["sample_mask"][::2], global_valid_seqs / 2
        lengths = {"chosen_len": pairs.chosen_len, "rejected_len": pairs.rejected_len}
        loss, good, bad = self._loss(*pairs[:4], **lengths, example_weights=weights, denominator=count)
        means = {"accuracy": good > bad, "rewards_chosen_mean": good, "rewards_rejected_mean": bad}
        metrics = {name: (torch.where(weights == 0, 0, x) * weights).sum() / count for name, x in means.items()}
        metrics |= {"loss": loss, "preference_loss": loss, "sft_loss": 0 * count, "num_valid_samples": weights.sum()}
        return loss, {name: x.item() for name, x in metrics.items()}
