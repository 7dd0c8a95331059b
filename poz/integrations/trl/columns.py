"""A collator that adds columns of the data set to the batches of TRL's."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from poz import annotators


class Columns:
    """A collator that adds columns of the data set to what another collator makes; `known` annotators as their row."""

    def __init__(
        self,
        collator: Callable[[list[dict[str, Any]]], dict[str, Any]],
        names: Sequence[str],
        known: Mapping[Hashable, int] | None = None,
    ) -> None:
        self.collator, self.names, self.known = collator, names, known

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """The other collator's batch, and a tensor for each column that the examples have.

        Weights of tokens are laid out like log-probs: (batch, tokens - 1), 0 outside of the completion.

        Raises:
            ValueError: A column that does not hold numbers, or not one number for each token of a completion; one that is
                cut off whole behind an image.
        """
        made = self.collator(examples)
        if "pixel_values" in made and "KL_input_ids" in made and len(examples) == 1:
            raise ValueError(
                "A KL sample needs the completion of a second example in the batch, and this one has one. Set the batch size so "
                "that no batch is of one (dataloader_drop_last), or take an objective without samples, such as "
                "kto(estimator='zero')."
            )
        if "pixel_values" in made and not bool(made["completion_mask"].any(1).all()):
            raise ValueError(
                f"max_length={getattr(self.collator, 'max_length', None)} leaves nothing of a completion behind its prompt and "
                "its image. Raise it, or set it None."
            )
        for name in self.names:
            if name not in examples[0]:
                continue
            values = [example[name] for example in examples]
            if name == annotators.COLUMN and self.known is not None:
                values = annotators.rows(self.known, values, "the data")
            if name.endswith("_weights"):
                side = name.removesuffix("_weights")
                tokens = [len(example[f"{side}_ids"]) for example in examples]
                mask = made["completion_mask"].bool().chunk(2)[side == "rejected"]
                from_end = getattr(self.collator, "truncation_mode", "") == "keep_end"
                made[name] = _per_token(name, values, tokens, mask, from_end)[:, 1:]
            else:
                made[name] = _tensor(name, values)
        return made


def _tensor(name: str, values: list[Any]) -> torch.Tensor:
    try:
        tensor = torch.tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"The column {name!r} must hold numbers, or lists of numbers of one length; got {values!r}."
        ) from error
    if tensor.is_floating_point() and name.endswith(
        "_factors"
    ):  # which are compared, so that rounding makes ties of them
        return torch.tensor(values, dtype=torch.float64)
    return tensor.float() if tensor.is_floating_point() or name.startswith("opponents_") else tensor


def _per_token(name: str, values: list[Any], tokens: list[int], mask: Tensor, from_end: bool) -> Tensor:
    """One number for each token where `mask` is true, in order, and 0 elsewhere; those of tokens that are cut off go."""
    laid = torch.zeros(mask.shape, device=mask.device)
    for row, here, numbers, whole in zip(laid, mask, values, tokens, strict=True):
        given, kept = _tensor(name, numbers), int(here.sum())
        if given.shape != (whole,):
            raise ValueError(
                f"The column {name!r} must hold one number for each token of the completion, its end token included; got "
                f"{given.numel()} for {whole} tokens."
            )
        row[here] = given[whole - kept :].to(row) if from_end else given[:kept].to(row)
    return laid
