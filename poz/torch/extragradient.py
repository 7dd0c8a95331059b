"""EGPO's extragradient step around any torch optimiser, with an exact way back."""

from __future__ import annotations

import copy
from typing import Any

import torch

from poz._given import given


class Extragradient:
    """Two steps of an optimiser from one place: a look ahead, then the step with the gradient seen there.

        half = Extragradient(optimizer)
        loss(batch_of(policy)).backward(); half.look_ahead()    # the policy is now the midpoint
        batch = batch_of(policy)                                 # generate and judge with the midpoint
        half.back(); loss(batch).backward(); half.step()         # gradient at the old place, on the midpoint's data

    Args:
        optimizer: Any `torch.optim.Optimizer`; its state, too, goes back.

    Source: Zhou et al. 2025, arXiv 2503.08942, Algorithm 1 and its released trainer.
    """

    @given
    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._kept: tuple[list[torch.Tensor], dict[str, Any]] | None = None

    def keep(self) -> None:
        """Keeps parameters and optimiser state, for a step to the midpoint that somebody else takes."""
        if self._kept is not None:
            raise RuntimeError("Already at the midpoint; call back() and step() before the next look_ahead().")
        self._kept = [p.detach().clone() for p in self._parameters()], copy.deepcopy(self.optimizer.state_dict())

    def look_ahead(self) -> None:
        """Keeps parameters and optimiser state, and takes the step to the midpoint."""
        self.keep()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def back(self) -> None:
        """Restores parameters and optimiser state bit for bit."""
        if self._kept is None:
            raise RuntimeError("There is nothing to go back to; call look_ahead() first.")
        parameters, state = self._kept
        with torch.no_grad():
            for parameter, old in zip(self._parameters(), parameters, strict=True):
                parameter.copy_(old)
        self.optimizer.load_state_dict(state)
        self.optimizer.zero_grad()
        self._kept = None

    def step(self) -> None:
        """The step proper, from where `back` led."""
        if self._kept is not None:
            raise RuntimeError("Still at the midpoint; call back() and a backward pass before step().")
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _parameters(self) -> list[torch.Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]
