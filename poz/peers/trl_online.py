"""TRL's experimental OnlineDPOTrainer: what `training_step` hands to the backward pass, the mean over the pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from poz.families import Pairs
from poz.peers._library import Library
from poz.peers._trl import below, spread, trainer

library = Library("TRL", "trl", since="1.14")


def _loss(pairs: Pairs, loss_type: str, beta: float) -> Any:
    """Of pairs whose first completion has the higher reward."""
    import torch
    from trl.experimental.online_dpo import OnlineDPOTrainer

    (policy, mask), (reference, _) = (
        below(spread(getattr(pairs, f"{of}chosen")), spread(getattr(pairs, f"{of}rejected"))) for of in ("", "ref_")
    )
    size, ids = len(pairs.chosen), torch.zeros_like(mask).long()
    given: list[Any] = []
    words = SimpleNamespace(eos_token_id=0, batch_decode=lambda rows, **_: [""] * len(rows))
    this = trainer(
        args=SimpleNamespace(
            use_vllm=True, missing_eos_penalty=None, loss_type=loss_type, torch_empty_cache_steps=None, optim="",
            n_gpu=1, gradient_accumulation_steps=1,
        ),
        beta=beta, eos_token_ids=[0], ref_model="reference", reward_funcs=None, stats=defaultdict(list),
        processing_class=words, _tokenizer=words,
        _generate_vllm=lambda *_: (ids, mask, ids, mask.long()),
        _forward=lambda model, *_: reference if model == "reference" else policy,
        _calculate_rewards_from_functions=lambda **_: torch.tensor([1.0, 0.0]).repeat_interleave(size),
    )  # fmt: skip
    this.accelerator.backward = given.append
    OnlineDPOTrainer.training_step(this, torch.nn.Module(), {"prompt": [""] * size})
    return given[0]


@library.loss("dpo", "OnlineDPOTrainer, loss_type='sigmoid'", reduction="mean")
def dpo() -> Callable[..., Any]:
    return lambda pairs, *, beta=0.1: _loss(pairs, "sigmoid", beta)


@library.loss("ipo", "OnlineDPOTrainer, loss_type='ipo'", topic="ipo_sum_or_mean", reduction="mean")
def ipo() -> Callable[..., Any]:
    return lambda pairs, *, tau=0.1: _loss(pairs, "ipo", tau)
