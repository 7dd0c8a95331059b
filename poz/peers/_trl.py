"""What stands in for a trainer of TRL and for its model, so that TRL's own methods make a loss of given log-probs."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any


def spread(total: Any, length: Any = None) -> tuple[Any, Any]:
    """(rows,) summed log-probs as (rows, tokens) equal ones, and which are tokens: one for each row without lengths."""
    import torch

    count = torch.ones_like(total, dtype=torch.long) if length is None else length.long()
    mask = torch.arange(max(1, int(count.max()))) < count[:, None]
    return torch.where(mask, (total / count.clamp(min=1))[:, None], total.new_zeros(())), mask


def below(*blocks: tuple[Any, Any]) -> tuple[Any, Any]:
    """Blocks of tokens and their masks, one below the other, padded to one width."""
    import torch

    width = max(mask.shape[1] for _, mask in blocks)
    padded = [[torch.nn.functional.pad(x, (0, width - x.shape[1])) for x in block] for block in blocks]
    logps, masks = zip(*padded, strict=True)
    return torch.cat(logps), torch.cat(masks)


def inputs(mask: Any) -> dict[str, Any]:
    """Rows of a prompt of one token and a completion, every token of the first word."""
    import torch

    whole = torch.nn.functional.pad(mask, (1, 0), value=False).long()
    return {"input_ids": torch.zeros_like(whole), "attention_mask": torch.ones_like(whole), "completion_mask": whole}


class Model:
    """A model that gives tokens these log-probs, whatever it is asked.

    Args:
        logps: (rows, tokens) log-probs of the tokens after the first.
        mask: (rows, tokens) which of them are of a completion.
        collisions: (rows, tokens) log Σ_v π(v)² of each.
    """

    def __init__(self, logps: Any, mask: Any, collisions: Any = None) -> None:
        self.logps, self.mask, self.collisions = logps.masked_fill(~mask, 0.0), mask, collisions

    def __call__(self, *_: Any, **__: Any) -> Any:
        still = self.logps.detach()
        return SimpleNamespace(
            log_probs=self.logps, entropy=still, mean_logits=still, is_top1=self.mask, log_sum_sq_probs=self.collisions
        )


def trainer(**attributes: Any) -> Any:
    """On one process, with what TRL's methods ask of a trainer beside these attributes."""
    import torch

    def same(x: Any) -> Any:
        return x

    def token_logps(model: Any, *_: Any) -> Any:  # of TRL before 1.15, beside Liger's head
        outputs = model()
        return outputs.log_probs, outputs.entropy, outputs

    model: Any = torch.nn.Module()
    model.is_gradient_checkpointing = False
    given = {
        "accelerator": SimpleNamespace(
            device=torch.device("cpu"), gather=same, gather_for_metrics=same, unwrap_model=same
        ),
        "model": model,
        "aux_loss_enabled": False,
        "use_liger_kernel": True,
        "is_fsdp_enabled": False,
        "_get_per_token_logps_and_entropies": token_logps,
        "_metrics": defaultdict(lambda: defaultdict(list)),
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    return SimpleNamespace(**given | attributes)
