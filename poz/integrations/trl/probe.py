"""Whether the log-probs that TRL's pass over a model's head gives are those of the model's own logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from poz.torch.head.probe import compare


def check_head(model: Any, temperature: float = 1.0) -> None:
    """Compares fused with plain log-probs of a few tokens; the model stays as it is.

    TRL's pass multiplies the last hidden states by `get_output_embeddings().weight`, and knows some names under which a
    configuration keeps a scale or a soft cap. Heads that do more are refused.

    Args:
        model: What `add_fused_lm_head` was called with.
        temperature: As it was given there.

    Raises:
        ValueError: The two differ, or there is no fused pass.
    """

    def sentence(what: str) -> str:
        return (
            f"Log-probs from the last hidden states and the output embeddings of `{model.config.model_type}` {what}: its head "
            "does more than multiply, or is not where TRL looks for it. TRL's own trainers have the same fault. Use "
            "poz.torch.logps on the model's logits in a loop of your own."
        )

    unseen = _unseen(model.get_output_embeddings())
    if unseen:
        raise ValueError(sentence(f"would never train {', '.join(unseen)}"))
    compare(
        model,
        lambda given: model.forward(**given, labels=given["input_ids"], fused_lm_head=True).log_probs,
        sentence,
        temperature=temperature,
    )


def _unseen(head: Any) -> list[str]:
    """Names of what a head would train beside what its weight and bias are made of, such as an adapter that begins at 0.

    Raises:
        ValueError: It has no weight.
    """
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor):
        raise ValueError(
            f"The model's head, a {type(head).__name__}, has no weight to multiply hidden states by. Give a linear layer."
        )
    trained = {name: p for name, p in head.named_parameters() if p.requires_grad}
    with torch.enable_grad():
        made = [t.sum() for t in (head.weight, getattr(head, "bias", None)) if t is not None and t.requires_grad]
    if not made or not trained:
        return list(trained)
    found = torch.autograd.grad(made, list(trained.values()), [torch.ones_like(t) for t in made], allow_unused=True)
    return [name for name, gradient in zip(trained, found, strict=True) if gradient is None]
