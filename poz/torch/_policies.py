"""Policies of a model that are not in it now: copies of what it learns, and their mixture with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Policy = Mapping[str, Tensor]
"""What a model learns, by name: of an adapter that alone, and buffers."""


def learned(model: nn.Module) -> dict[str, Tensor]:
    """The tensors themselves.

    Raises:
        ValueError: Nothing is learned.
    """
    found = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not found:
        raise ValueError("The policy has no parameter that requires a gradient, so no round would change it.")
    return found | dict(model.named_buffers())


def copy_of(model: nn.Module, device: Any = None) -> Policy:
    """A copy of its own memory, on `device` if given."""
    return {name: x.detach().to(device or x.device, copy=True) for name, x in learned(model).items()}


def size(policy: Policy) -> int:
    """In bytes."""
    return sum(x.numel() * x.element_size() for x in policy.values())


@contextlib.contextmanager
def at(model: nn.Module, policy: Policy | None) -> Iterator[None]:
    """Without gradients and in evaluation mode, with the weights of a policy, or its own for None; then all is as it was."""
    modes = [(module, module.training) for module in model.modules()]
    own = None if policy is None else copy_of(model)
    try:
        model.eval()
        if policy is not None:
            load(model, policy)
        with torch.no_grad():
            yield
    finally:
        if own is not None:
            load(model, own)
        for module, training in modes:
            module.training = training


def load(model: nn.Module, policy: Policy) -> None:
    """The weights of a policy into the model.

    Raises:
        ValueError: As for `check_fits`.
    """
    check_fits(model, policy)
    with torch.no_grad():
        for name, x in learned(model).items():
            x.copy_(policy[name])


def check_fits(model: nn.Module, policy: Policy) -> None:
    """Refuses a policy of another model.

    Raises:
        ValueError: The model learns other parameters, or of other shapes, than when the policy was kept.
    """
    now, then = ({name: x.shape for name, x in some.items()} for some in (learned(model), policy))
    if others := sorted({name for name, _ in now.items() ^ then.items()}):
        raise ValueError(
            f"A policy that was kept has other parameters than the model learns now: {others[:3]}."
            " Freeze, and unfreeze, before poz.torch.SelfPlay is made."
        )


class Mixture(nn.Module):
    """The geometric mixture of a model and one of its policies, of each next token, as (1 - c) log π + c log π_ref.

    Called as the model, it gives logits. `generate` is that of transformers, and reads the reference anew for each token.
    """

    def __init__(self, model: nn.Module, reference: Policy, share: float) -> None:
        super().__init__()
        self.model, self.share = model, share
        self._reference = dict(reference)

    def forward(self, *args: Any, **inputs: Any) -> Tensor:
        """(..., tokens, vocabulary), unnormalised."""
        output = self.model(*args, **inputs)
        return self._mixed(getattr(output, "logits", output), self._of_reference(*args, **inputs))

    def generate(self, input_ids: Tensor, attention_mask: Tensor | None = None, **settings: Any) -> Any:
        """As of the model."""
        prompts = torch.ones_like(input_ids) if attention_mask is None else attention_mask

        def processor(ids: Tensor, scores: Tensor) -> Tensor:
            read = torch.ones_like(ids)
            read[:, : prompts.shape[1]] = prompts.repeat_interleave(len(ids) // len(prompts), 0)
            place = (read.cumsum(1) - 1).clamp(min=0)
            theirs = self._of_reference(input_ids=ids, attention_mask=read, position_ids=place)
            return self._mixed(scores, theirs[:, -1])

        model: Any = self.model
        return model.generate(input_ids=input_ids, attention_mask=prompts, logits_processor=[processor], **settings)

    def _of_reference(self, *args: Any, **inputs: Any) -> Tensor:
        weights = {name: x.to(p.device) for name, p in learned(self.model).items() for x in (self._reference[name],)}
        output = torch.func.functional_call(self.model, weights, args, inputs)
        logits: Tensor = getattr(output, "logits", output)
        return logits

    def _mixed(self, ours: Tensor, theirs: Tensor) -> Tensor:
        return (1 - self.share) * ours.log_softmax(-1) + self.share * theirs.log_softmax(-1)
