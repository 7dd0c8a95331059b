"""LCPO-EM as a torch module: `poz.lcpo` with reliabilities that learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy.typing as npt
import torch
from torch import Tensor, nn

from poz._given import given
from poz.algorithms import lcpo_em
from poz.families import Pairs
from poz.objective import Objective
from poz.objectives import dpo, lcpo


class LCPO(nn.Module):
    """`poz.lcpo` whose annotator reliabilities are learnt, once for each optimiser step.

    In training, each forward adds to the sums of the E-step; `step` moves the reliabilities by all of them, over all
    ranks, and starts anew. So gradient accumulation and data parallelism change nothing. Neither `eval()` nor a
    forward under `torch.no_grad()` counts.

        loss = poz.torch.LCPO(poz.dpo.bind(beta=0.1), num_annotators=227)
        loss.attach(optimizer)                       # or call loss.step() after each optimizer.step()
        loss(pairs).mean().backward()

    The reliabilities are as good as the policy's log-odds are. With log-odds of c times the true ones, these distributed
    normally with mean 0 and deviation 2, and annotators right in .729 of their labels, they settle at 1.000 (c = .1), .989
    (.3), .729 (1) and .662 (3): a policy that is too sure finds too many flips, one that is not sure enough, such as one
    before training, finds none, and drives them towards 1.

    Args:
        base: The objective on pairs whose labels are doubted.
        num_annotators: How many annotators there are; 1 where they are not known, then no ids are needed.
        reliability: First eta, one number or (annotators,), in [0, 1].
        step_size: Share of the way to the batch's estimate, in (0, 1].
        mode: "gibbs" or "weighted", see `poz.lcpo`.
        group: The torch process group to sum over. None: all processes where `torch.distributed` is running, else this
            one. Ranks that hold the same data do no harm, since sums and counts grow alike.

    Attributes:
        reliability: (annotators,) float32 buffer, eta; the only state that is checkpointed. It stays float32 when the
            module is cast, since a 16-bit eta would not move by small steps. Sums that wait for a step are, like
            gradients, not checkpointed.

    Source: Cao et al. 2025, arXiv 2509.24159 (RE-PO), Algorithm 1.
    """

    reliability: Tensor

    def __init__(
        self,
        base: Objective = dpo,
        num_annotators: int = 1,
        *,
        reliability: npt.ArrayLike = 0.9,
        step_size: float = 0.1,
        mode: Literal["gibbs", "weighted"] = "gibbs",
        group: Any = None,
    ) -> None:
        super().__init__()
        state = lcpo_em.init(num_annotators, reliability, like=torch.zeros(0, dtype=torch.float32))
        lcpo_em.update(state, state.sums, step_size=step_size)  # says so now if step_size is out of its domain
        self.objective = lcpo.bind(base=base, mode=mode)
        self.base, self.step_size, self.mode, self.group = base, step_size, mode, group
        self.register_buffer("reliability", state.reliability)
        self._waiting = state.sums

    def forward(self, pairs: Pairs) -> Tensor:
        """Losses (batch,) in nats, with the reliabilities of the last step."""
        losses = self.objective(
            pairs, reliability=lcpo_em.one_or_all(self.reliability, getattr(pairs, "annotator", None))
        )
        if self.training and torch.is_grad_enabled():
            found = lcpo_em.sums_of(pairs, self.reliability, base=self.base)
            self._waiting = lcpo_em.accumulate(self._state(), found).sums
        return losses  # type: ignore[no-any-return]

    @torch.no_grad()
    def step(self) -> None:
        """Moves the reliabilities by everything since the last step; every rank of the group must call it."""
        state = self._state()
        both = torch.stack(state.sums)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self._check_alike()
            torch.distributed.all_reduce(both, group=self.group)
        moved = lcpo_em.update(state, lcpo_em.Sums(*both), step_size=self.step_size)
        self.reliability.copy_(moved.reliability)
        self._waiting = moved.sums

    def _check_alike(self) -> None:
        count = len(self.reliability)
        ends = torch.tensor([count, -count], device=self.reliability.device)
        torch.distributed.all_reduce(ends, torch.distributed.ReduceOp.MAX, group=self.group)
        most, least = ends[0].item(), -ends[1].item()
        if least != most:
            raise ValueError(
                f"All processes need the same annotators; they have {least} to {most} of them, this one has {count}."
            )

    @given
    def attach(self, optimizer: torch.optim.Optimizer) -> torch.utils.hooks.RemovableHandle:
        """Calls `step` after each step of the optimiser, or of the one in it after `accelerator.prepare`.

        `.remove()` on what it returns undoes it.
        """
        while isinstance(getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
            optimizer = optimizer.optimizer  # type: ignore[attr-defined]
        return optimizer.register_step_post_hook(lambda *_: self.step())

    def extra_repr(self) -> str:
        """Shown by `print`."""
        return f"{self.base!r}, num_annotators={len(self.reliability)}, step_size={self.step_size}, mode={self.mode!r}"

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        given = state_dict.get(f"{prefix}reliability")
        if not isinstance(given, Tensor | None):
            raise TypeError(f"The state must hold `reliability` as a tensor; got a {type(given).__name__}.")
        if given is not None and given.is_meta:
            raise ValueError("`reliability` of the state is on the meta device and has no values.")
        if given is not None and not bool(((given >= 0) & (given <= 1)).all()):
            raise ValueError(f"A reliability is a probability in [0, 1]; the state holds {given.tolist()}.")
        super()._load_from_state_dict(state_dict, prefix, *others)
        self.reliability = self.reliability.float()  # also where it was assigned

    def _state(self) -> lcpo_em.State:
        total, count = (part.to(self.reliability) for part in self._waiting)
        return lcpo_em.State(self.reliability, lcpo_em.Sums(total, count))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LCPO:
        exact = self.reliability
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.reliability.dtype != exact.dtype:
            self.reliability = exact.to(self.reliability.device)
        return self
