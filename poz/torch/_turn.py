"""What one turn of self-play is trained on: completions, how often each wins, and what the other policies say of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from poz.families import Pairs, Samples, TokenPairs, layout_of
from poz.objective import Objective
from poz.torch.completions import Completions


@dataclass(frozen=True, eq=False)
class Turn:
    """The data of a turn, and the losses on it of the policy as it moves.

    Attributes:
        objective: The objective, with this turn's hyper-parameters.
        completions: What is trained on.
        winrates: (prompts, K) how often each completion wins against the rivals.
        wins: (prompts, K, K) probability that one completion beats another; None where the rivals are others.
        ref_logps: (prompts, K, tokens) log-probs under the reference in nats, where the objective reads them.
        opponents: (opponents, prompts, K) summed log-probs under the policies that are played, the newest first.
        calibration: Completions that the reference wrote, and `ref_calibration`, (prompts, K), their summed log-probs.
        report: Of the turn the number of `prompts` and `completions`, how many are `cut`, on how many prompts all are the
            `same`, the share of `ties` among judgements, and the mean number of `tokens`.
    """

    objective: Objective
    completions: Completions
    winrates: Tensor
    wins: Tensor | None
    ref_logps: Tensor | None
    opponents: Tensor | None
    calibration: Completions | None
    ref_calibration: Tensor | None
    report: Mapping[str, float]
    _score: Callable[[Any, Completions], Tensor]
    _version: int | None

    def __len__(self) -> int:
        """How many prompts there are."""
        return len(self.winrates)

    def losses(self, model: nn.Module, rows: Any = None) -> Tensor:
        """One loss for each prompt, in nats, whose mean is trained on; gradients reach the model.

        On pairs it is the mean over the pairs of a prompt, each in both orders by their probabilities, so that a tie is half a
        win. On samples it is what the objective gives for K of them.

        Args:
            model: The policy, or what wraps it.
            rows: The prompts, as a slice or integers; all if not given.

        Raises:
            TypeError: One number for the prompts.
            RuntimeError: The model has moved since, and the objective is a policy gradient.
        """
        if self._version is not None and version(model) != self._version:
            raise RuntimeError(
                f"`{self.objective.name}` is a policy gradient, right for the policy that wrote the completions; the parameters "
                "have moved since. Take one optimiser step in a turn, and more rounds."
            )
        if isinstance(rows, int):
            raise TypeError(f"rows must be the numbers of prompts, or a slice; got {rows}. Give [{rows}].")
        rows = (
            slice(None) if rows is None else list(rows) if isinstance(rows, tuple) else rows
        )  # of batches, which are tuples
        completions = self.completions.rows(rows)
        logps = self._score(model, completions)
        shares = completions.shares(logps)
        layout = layout_of(self.objective.family)
        if layout.per_token:
            return (shares * self._of_tokens(logps, completions, rows)).sum(-1)
        if layout.lists:
            return shares.shape[1] * (shares * self._of_samples(logps.sum(-1), rows)).sum(-1)
        return self._of_pairs(logps.sum(-1), completions, model, rows)

    def _of_tokens(self, logps: Tensor, completions: Completions, rows: Any) -> Tensor:
        assert self.ref_logps is not None
        flat = completions.mask.flatten(0, 1)
        losses: Tensor = self.objective(
            TokenPairs(
                logps.flatten(0, 1),
                ref_chosen=self.ref_logps[rows].flatten(0, 1),
                chosen_mask=flat,
                label=self.winrates[rows].flatten().to(logps),
            )
        )
        return losses.view(logps.shape[:2])

    def _of_samples(self, logps: Tensor, rows: Any) -> Tensor:
        assert self.opponents is not None
        fields = {"logps": logps, "anchor_logps": self.opponents[0, rows], "winrates": self.winrates[rows].to(logps)}
        if self.ref_logps is not None:
            fields["ref_logps"] = self.ref_logps[rows].sum(-1)
        losses: Tensor = self.objective(Samples(**{name: x.reshape(-1, 1) for name, x in fields.items()}))
        return losses.view(logps.shape)

    def _of_pairs(self, logps: Tensor, completions: Completions, model: nn.Module, rows: Any) -> Tensor:
        each = logps.shape[1]
        one, other = torch.triu_indices(each, each, 1, device=logps.device)
        lengths = completions.mask.sum(-1)
        pairs: dict[str, Tensor] = {}
        by_policy = {
            "{}": logps,
            "ref_{}": None if self.ref_logps is None else self.ref_logps[rows].sum(-1),
            "opponents_{}": None if self.opponents is None else self.opponents[:, rows],
            "{}_len": lengths,
        }
        for form, x in by_policy.items():
            if x is not None:
                pairs[form.format("chosen")] = x[..., one].flatten(-2)
                pairs[form.format("rejected")] = x[..., other].flatten(-2)
        if self.wins is None:
            pairs["margin"] = (self.winrates[rows][:, one] - self.winrates[rows][:, other]).flatten()
        if self.calibration is not None and self.ref_calibration is not None:
            written = self.calibration.rows(rows)
            pairs["calibration"] = written.counted(self._score(model, written).sum(-1))
            pairs["ref_calibration"] = written.counted(self.ref_calibration[rows])
        batch, shares = Pairs(**pairs), completions.shares(logps)
        weights = shares[:, one] * shares[:, other]
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        losses = self.objective(batch)
        if self.wins is not None:  # else the margin says all, and either order has the same loss
            won = self.wins[rows][:, one, other].flatten()
            losses = _share(won, losses) + _share(1 - won, self.objective(batch.swap()))
        return _share(weights, losses.view(weights.shape)).sum(-1)


def _share(weight: Tensor, losses: Tensor) -> Tensor:
    """Of a loss; nothing of an infinite one where the weight is 0."""
    weight = weight.to(losses)
    return torch.where(weight == 0, torch.zeros_like(losses), weight * losses)


def version(model: nn.Module) -> int:
    """A number that grows with each change of a parameter in place."""
    return sum(p._version for p in model.parameters())
