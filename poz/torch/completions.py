"""What a policy has written, as tokens: every policy that scores it sees the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from poz.torch.head.logps import logps


class Completions(NamedTuple):
    """K completions of each prompt.

    Attributes:
        input_ids: (prompts, K, tokens) int64: the prompt from the first token on, its completion, and anything behind.
        mask: (prompts, K, tokens) true at the tokens of the completion, its end token included.
        weights: (prompts, K) probability of each under whoever wrote them, where these are all that can be written; None
            for samples, which count alike.
        cut: (prompts, K) true where a completion was cut before its end; None where nothing is cut.
    """

    input_ids: Tensor
    mask: Tensor
    weights: Tensor | None = None
    cut: Tensor | None = None

    @classmethod
    def of_generate(
        cls, output: Tensor, prompt_mask: Tensor, *, end: int | Sequence[int] | None, weights: Tensor | None = None
    ) -> Completions:
        """Of what `generate` of transformers gives for prompts padded on the left.

        A completion ends with its first end token; one without is cut, and stays the prefix that it is, whose log-prob is that
        of a policy that writes no more tokens.

        Args:
            output: (prompts * K, prompt tokens + new tokens), the K completions of a prompt one after the other.
            prompt_mask: (prompts, prompt tokens), the `attention_mask` of the prompts.
            end: The end token, or several; None where completions are of a fixed length.
            weights: As above.

        Raises:
            TypeError: No tensors, or an end that is no token.
            ValueError: Rows that do not fit, no prompts, or prompts padded on the right.
        """
        for name, x in (("output", output), ("prompt_mask", prompt_mask)):
            if not isinstance(x, Tensor):
                raise TypeError(f"{name} must be a tensor; got {type(x).__name__}. Of a dictionary give its sequences.")
        given_end: Any = end.tolist() if isinstance(end, Tensor) else end
        ends = list(given_end) if isinstance(given_end, Sequence) else [] if end is None else [given_end]
        if not all(type(one) is int for one in ends):
            raise TypeError(f"end must be the number of a token, several, or None; got {end!r}.")
        asked, given = tuple(prompt_mask.shape), tuple(output.shape)
        if len(asked) != 2 or 0 in asked or len(given) != 2 or given[0] % asked[0] or given[1] < asked[1]:
            raise ValueError(
                "output must be (prompts * K, tokens), the prompts' own first, and prompt_mask (prompts, prompt tokens); got "
                f"{given} and {asked}."
            )
        rows, width = output.shape
        each, read = rows // len(prompt_mask), prompt_mask.to(output.device).bool()
        if not read[:, -1].all() or (read[:, :-1] & ~read[:, 1:]).any():
            raise ValueError(
                "Prompts must be padded on the left, so that completions follow them; padding_side='left'."
            )
        new = output[:, read.shape[1] :]
        ended = torch.zeros_like(new, dtype=torch.bool) if end is None else torch.isin(new, new.new_tensor(ends))
        written = (ended.cumsum(1) - ended.long()) == 0
        mask = torch.cat((torch.zeros_like(output[:, : read.shape[1]], dtype=torch.bool), written), 1)
        place = torch.arange(width, device=output.device) + (~read).sum(1).repeat_interleave(each)[:, None]
        inside, place = place < width, place.clamp(max=width - 1)
        shape = (len(prompt_mask), each, width)
        return cls(
            output.gather(1, place).view(shape),
            (mask.gather(1, place) & inside).view(shape),
            weights,
            None if end is None else ~ended.any(1).view(shape[:2]),
        )

    def check(self) -> None:
        """Refuses what cannot be scored or counted.

        Raises:
            TypeError: No tensor of tokens, or a mask that is not boolean.
            ValueError: Shapes that do not fit, a completion without a token, weights that are no probabilities.
        """
        for name, x, dtype in (("input_ids", self.input_ids, torch.int64), ("mask", self.mask, torch.bool)):
            if not isinstance(x, Tensor) or x.dtype != dtype:
                raise TypeError(
                    f"{name} of completions must be a tensor of {dtype}; got {getattr(x, 'dtype', type(x).__name__)}."
                )
        shape = tuple(self.input_ids.shape)
        if len(shape) != 3 or 0 in shape:
            raise ValueError(f"input_ids of completions must be (prompts, K, tokens), none of them 0; got {shape}.")
        for name, given, wanted in (
            ("mask", self.mask, shape),
            ("weights", self.weights, shape[:2]),
            ("cut", self.cut, shape[:2]),
        ):
            if given is not None and tuple(given.shape) != wanted:
                raise ValueError(f"{name} of completions must be {wanted}; got {tuple(given.shape)}.")
        if self.mask[..., 0].any():
            raise ValueError(
                "A completion begins with the first token of a row, which has no log-prob. Put one before it."
            )
        if (empty := ~self.mask.any(-1)).any():
            prompt, row = empty.nonzero()[0].tolist()
            raise ValueError(
                f"Completion {row} of prompt {prompt} has no token, so nothing says how probable it is. Count its end token."
            )
        if self.weights is not None:
            off = (self.weights.sum(-1) - 1).abs().max()
            if not bool((self.weights >= 0).all()) or not off < 1e-5:  # float32 sums of thousands
                raise ValueError("weights must be >= 0 and sum to 1 for each prompt. Leave them out for samples.")

    def rows(self, rows: Any) -> Completions:
        """Of some prompts."""
        return Completions(self.input_ids[rows], self.mask[rows], *(None if x is None else x[rows] for x in self[2:]))

    def shares(self, like: Tensor) -> Tensor:
        """(prompts, K) what each counts, 1 / K of samples; of the dtype and on the device of another tensor."""
        if self.weights is not None:
            return self.weights.to(like)
        return like.new_full(self.mask.shape[:2], 1 / self.mask.shape[1])

    def counted(self, values: Tensor) -> Tensor:
        """Of a number for each completion those whose plain mean is the mean over prompts of their means."""
        return (
            values.flatten()
            if self.weights is None
            else (self.mask.shape[1] * self.weights.to(values) * values).flatten()
        )

    def same(self) -> Tensor:
        """(prompts,) true where all completions of a prompt are one."""
        written = self.input_ids.where(self.mask, torch.full_like(self.input_ids, -1))
        return (written == written[:, :1]).all(-1).all(-1)


def token_logps(model: Any, completions: Completions) -> Tensor:
    """(prompts, K, tokens) log-probs of completions in nats, 0 elsewhere, of a model that gives logits as in transformers."""
    prompts, each, width = completions.mask.shape
    ids, mask = (x.view(prompts * each, width) for x in completions[:2])
    read = (
        mask.flip(1).cumsum(1).flip(1) > 0
    )  # up to the last token of the completion; what is behind is never looked at
    output = model(input_ids=ids.where(read, torch.zeros_like(ids)), attention_mask=read.long())
    logits = getattr(output, "logits", output)[:, :-1]
    found = logps(logits, ids[:, 1:].where(mask[:, 1:], torch.full_like(ids[:, 1:], -100)))
    return torch.nn.functional.pad(found, (1, 0)).view(prompts, each, width)
