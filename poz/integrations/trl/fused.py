"""A head that gives a model's log-probs without its logits, for versions of TRL that have none: as TRL's from 1.15 on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import wraps
from types import MethodType
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func
from transformers.utils.generic import ModelOutput

FIELDS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")


@dataclass
class Fused(ModelOutput):
    """What a model gives in the place of logits: (rows, tokens - 1) each, and the load balancing of mixtures of experts."""

    log_probs: Any = None
    entropy: Any = None
    log_sum_sq_probs: Any = None
    mean_logits: Any = None
    is_top1: Any = None
    aux_loss: Any = None


def add_fused_lm_head(
    model: Any,
    kernel: Callable[[], AbstractContextManager[Any]],
    temperature: float = 1.0,
    cast_lm_head_to_fp32: bool = False,
    outputs: tuple[str, ...] = FIELDS[:1],
) -> None:
    """Lets `model(..., labels=..., fused_lm_head=True)` give log-probs of labels, 0 where they are -100, and no logits.

    Args:
        model: A causal language model of transformers, not yet in PEFT's.
        kernel: Makes a context of the head that computes log-probs.
        temperature: Divides the logits.
        cast_lm_head_to_fp32: Whether the head multiplies in float32, whatever autocast says.
        outputs: Names of `FIELDS`; the others are None.
    """
    plain, config = model.forward, model.config.get_text_config()

    @wraps(type(model).forward)
    def forward(self: Any, *args: Any, labels: Any = None, fused_lm_head: bool = False, **given: Any) -> Any:
        if not fused_lm_head:
            return plain(*args, **given, **({} if labels is None else {"labels": labels}))
        if getattr(config, "output_router_logits", False):
            given.setdefault("output_router_logits", True)
        made = self.base_model(*args, **{**given, "use_cache": False})
        head = self.get_output_embeddings()
        weight, bias = (x.full_tensor() if isinstance(x, DTensor) else x for x in (head.weight, head.bias))
        hidden, labels = made.last_hidden_state[:, :-1].to(weight.device), labels[:, 1:].to(weight.device)
        mask = labels != -100
        autocast: Any = nullcontext()
        if cast_lm_head_to_fp32:
            hidden, autocast = hidden.float(), torch.autocast(hidden.device.type, enabled=False)
        with autocast, kernel() as head_of:
            found = head_of.apply(
                *(hidden[mask], weight, bias, labels[mask], temperature, 0),
                *(getattr(config, "final_logit_softcapping", None), _scale(config), outputs),
            )
        laid = [None if x is None else x.new_zeros(mask.shape).masked_scatter(mask, x) for x in found]
        balance = None
        if given.get("output_router_logits"):
            experts = (config.num_experts, config.num_experts_per_tok)
            balance = load_balancing_loss_func(made.router_logits, *experts, given.get("attention_mask"))
        return Fused(**dict(zip((*FIELDS, "aux_loss"), (*laid, balance), strict=True)))

    model.forward = MethodType(forward, model)


def _scale(config: Any) -> float:
    """What a configuration multiplies logits by, under the names that TRL knows."""
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if getattr(config, name, None) is not None:
            return float(getattr(config, name))
    divides = getattr(config, "logits_scaling", None)
    if divides is None:
        return 1.0
    return float(divides if config.model_type == "hyperclovax" else 1 / divides)
