"""Any objective on pairs as the loss module that trainers of preferences call with summed log-probs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from poz._checks import least
from poz._nearest import meant
from poz.backends import namespace
from poz.columns import columns_read, needs_reference
from poz.families import layout_of, named
from poz.objective import Objective
from poz.torch.implicit_rewards import implicit_rewards
from poz.torch.scored import SIDES, Scored, check_pairs, scored_losses
from poz.zoo import zoo

REDUCTIONS = ("none", "mean", "sum")


class PreferenceLoss(nn.Module):
    """An objective behind the arguments that TRL's losses used to have, and with them those of most trainers.

        loss = PreferenceLoss("simpo", beta=2.0, gamma=1.0)
        losses, chosen_rewards, rejected_rewards = loss(chosen, rejected, chosen_len=..., rejected_len=...)

    Args:
        objective: A name, or an objective with its hyper-parameters bound, that a pair of log-probs can serve.
        reduction: "none", one loss per pair; "mean", over pairs; "sum".
        **params: Hyper-parameters.

    Raises:
        TypeError: No objective.
        ValueError: Another reduction, or an objective that reads what pairs, or sums over tokens, do not have.
    """

    def __init__(self, objective: str | Objective, reduction: str = "none", **params: Any) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {REDUCTIONS}; got {reduction!r}.{meant(reduction, REDUCTIONS)}")
        chosen = zoo[objective] if isinstance(objective, str) else objective
        if not isinstance(chosen, Objective):
            raise TypeError(f"objective must be a name or a poz.Objective; got {type(chosen).__name__}.")
        self.objective = chosen.bind(**params)
        self.reduction, layout = reduction, layout_of(self.objective.family)
        if layout.paired and layout.per_token:
            raise ValueError(
                f"`{self.objective.name}` reads {named(self.objective.family)}, log-probs of tokens, and here are their sums. "
                "Give the tokens to poz.torch.scored_losses."
            )
        check_pairs(self.objective)
        read = self.objective.reads | self.objective.optional
        self._lengths = bool(read & set(layout.lengths.values()))

    def extra_repr(self) -> str:
        """The objective, with its hyper-parameters."""
        return f"{self.objective!r}, reduction={self.reduction!r}"

    def forward(
        self,
        policy_chosen_logps: Tensor,
        policy_rejected_logps: Tensor,
        reference_chosen_logps: Tensor | None = None,
        reference_rejected_logps: Tensor | None = None,
        *,
        chosen_len: Tensor | None = None,
        rejected_len: Tensor | None = None,
        example_weights: Tensor | None = None,
        denominator: Tensor | float | None = None,
        **columns: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses in nats, and the implicit rewards of both sides, which have no gradient (see `implicit_rewards`).

        Args:
            policy_chosen_logps: (batch,) summed log-probs of chosen completions under the policy, in nats.
            policy_rejected_logps: (batch,) those of rejected ones.
            reference_chosen_logps: (batch,) those of chosen ones under the reference, where the objective reads them.
            reference_rejected_logps: (batch,) those of rejected ones.
            chosen_len: (batch,) tokens of the chosen completions, where the objective reads them.
            rejected_len: (batch,) those of the rejected ones.
            example_weights: (batch,) what each pair counts, 0 for one that is padding.
            denominator: What "mean" divides by, > 0, such as the pairs of all processes; the sum of the weights where it is
                not given. Nothing that counts, as in an empty share of a batch, has a mean of 0.
            **columns: Other fields that the objective reads, (batch,): label, margin, ...

        Returns:
            Losses, (batch,) or after reduction (); rewards (batch,) and (batch,). Of an objective on single completions the
            losses are (2 * batch,), chosen ones first, and the mean is over all of them.

        Raises:
            TypeError: Something is no tensor.
            ValueError: Something that the objective reads is missing, or of another shape; a column that it does not read;
                weights below 0 or NaN, or where an objective ties the batch together; a denominator that nothing is divided
                by, or not > 0.
        """
        scored = self._scored(
            (policy_chosen_logps, policy_rejected_logps),
            (reference_chosen_logps, reference_rejected_logps),
            (chosen_len, rejected_len),
            columns,
        )
        if example_weights is not None:
            ignored = self._weighed(example_weights, len(policy_chosen_logps)).repeat(2)[:, None] == 0
            trained = scored.logps.where(~ignored, scored.logps.detach())  # else 0 times a NaN is its gradient
            scored = scored._replace(logps=trained)
        losses = scored_losses(self.objective, scored)
        return (
            self._reduced(losses, len(policy_chosen_logps), example_weights, denominator),
            *implicit_rewards(self.objective, scored),
        )

    def _scored(self, policy: Any, reference: Any, lengths: Any, columns: dict[str, Tensor]) -> Scored:
        read = [*dict.fromkeys(name for names in columns_read(self.objective) for name in names)]
        if unread := [name for name in columns if name not in read]:
            raise ValueError(
                f"`{self.objective.name}` reads no column {unread[0]!r}; it reads {', '.join(read) or 'none'}. Leave it out."
            )
        both = {"policy_{}_logps": policy, "reference_{}_logps": reference, "{}_len": lengths}
        referred = needs_reference(self.objective, [*columns])
        needed = {"policy_{}_logps": True, "reference_{}_logps": referred, "{}_len": self._lengths}
        joined = []
        for form, pair in both.items():
            names = [form.format(side) for side in SIDES]
            missing = [name for name, x in zip(names, pair, strict=True) if x is None]
            if missing and (needed[form] or len(missing) == 1):
                raise ValueError(
                    f"`{self.objective.name}` needs {' and '.join(names)}; got no {' and no '.join(missing)}."
                )
            for name, x in zip(names, pair, strict=True):
                if x is not None and not isinstance(x, Tensor):
                    raise TypeError(
                        f"{name} must be a torch tensor; got {type(x).__name__}. torch.as_tensor makes one."
                    )
                if x is not None and (x.ndim != 1 or x.shape != policy[0].shape):
                    raise ValueError(
                        f"{name} must be (batch,), one number for each pair, as policy_chosen_logps "
                        f"{tuple(policy[0].shape)}; got {tuple(x.shape)}. poz.Pairs.from_halves sums over tokens."
                    )
            joined.append(None if missing else torch.cat(pair))
        _, ref, counts = joined
        tokens = torch.cat(policy)[:, None]
        return Scored(tokens, torch.ones_like(tokens, dtype=torch.bool), counts, ref, columns)

    def _weighed(self, weights: Any, pairs: int) -> Tensor:
        if self.objective.coupled:
            raise ValueError(
                f"`{self.objective.name}` is defined over a batch ({self.objective.coupled}), of which a weight takes no "
                "pair away. Leave out the pairs that do not count."
            )
        if not isinstance(weights, Tensor):
            raise TypeError(f"example_weights must be a torch tensor; got {type(weights).__name__}.")
        xp = namespace(weights)  # which refuses a DTensor
        if weights.shape != (pairs,):
            raise ValueError(f"example_weights must be ({pairs},), one for each pair; got {tuple(weights.shape)}.")
        if not (found := least(xp, weights)) >= 0:
            raise ValueError(f"example_weights must be 0 or more; got {found}.")
        return weights

    def _reduced(self, losses: Tensor, pairs: int, weights: Tensor | None, denominator: Any) -> Tensor:
        if denominator is not None and self.reduction != "mean":
            raise ValueError(f"A denominator is what reduction='mean' divides by; got reduction={self.reduction!r}.")
        rows = max(len(losses) // max(pairs, 1), 1)
        if weights is not None:
            weights = weights.to(losses).repeat(rows)
            losses = torch.where(weights == 0, torch.zeros_like(losses), losses * weights)
        if self.reduction == "none":
            return losses
        total = losses.sum()
        if self.reduction == "sum":
            return total
        if denominator is not None:
            return total.div(_positive(denominator) * rows)
        counted = total.new_tensor(len(losses)) if weights is None else weights.sum()
        return total / torch.where(counted == 0, torch.ones_like(counted), counted)


def _positive(denominator: Any) -> Any:
    """What a sum is divided by, () or a number.

    Raises:
        TypeError, ValueError: It is none, or not > 0 where that can be read.
    """
    if isinstance(denominator, Tensor):
        xp = namespace(denominator)  # which refuses a DTensor
        if denominator.numel() != 1:
            raise ValueError(f"denominator must be one number; got a tensor {tuple(denominator.shape)}.")
        denominator = denominator.reshape(())
        if not xp.readable(denominator):
            return denominator
    elif not isinstance(denominator, int | float) and not hasattr(denominator, "__float__"):  # NumPy's are neither
        raise TypeError(f"denominator must be a number, or a tensor of one; got {type(denominator).__name__}.")
    if not denominator > 0:
        raise ValueError(f"denominator must be > 0; got {float(denominator)}.")
    return denominator
