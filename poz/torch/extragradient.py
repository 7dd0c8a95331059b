"""EGPO's extragradient step around any torch optimiser, with an exact way back."""

from __future__ import annotations

import copy
from collections.abc import Mapping
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

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` goes on from, beside the model's own state, which is the midpoint's at the midpoint.

        Returns:
            "midpoint", whether it is there; "optimizer", the optimiser's state, at the midpoint what `back` restores, and there
            "parameters" too; "tensors", how many these hold.
        """
        held: dict[str, Any] = {"optimizer": self.optimizer.state_dict()}
        if self._kept is not None:
            held = {"parameters": self._kept[0], "optimizer": self._kept[1]}
        return {"midpoint": self._kept is not None, **held, "tensors": _tensors(held)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state_dict`, at the midpoint if it was taken there.

        `torch.distributed.checkpoint` fills in the tensors that it is given: those of an Extragradient whose optimiser has
        stepped, and that is at the midpoint if the state was. One with fewer is refused.

        Raises:
            TypeError: It is no state of an Extragradient.
            ValueError: It holds fewer tensors than were saved, or parameters of other shapes.
        """
        if not isinstance(state, Mapping) or not state.keys() >= {"midpoint", "optimizer", "tensors"}:
            raise TypeError(f"The state must be what Extragradient.state_dict() returns; got {state!r:.80}.")
        count = _tensors({**state, "tensors": None})
        if count != state["tensors"]:
            raise ValueError(
                f"The state was saved with {state['tensors']} tensors and holds {count}. Load into an Extragradient whose "
                f"optimiser has stepped{', and which is at the midpoint by look_ahead()' * bool(state['midpoint'])}: "
                "torch.distributed.checkpoint fills in no more than it is given."
            )
        if state["midpoint"]:
            shapes = [[tuple(p.shape) for p in given] for given in (self._parameters(), state["parameters"])]
            if shapes[0] != shapes[1]:
                raise ValueError(f"The optimiser has parameters of {shapes[0]}, and the state of {shapes[1]}.")
            self._kept = [p.detach().clone() for p in state["parameters"]], copy.deepcopy(state["optimizer"])
        else:
            self.optimizer.load_state_dict(state["optimizer"])
            self._kept = None

    def _parameters(self) -> list[torch.Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]


def _tensors(state: Any) -> int:
    if isinstance(state, Mapping | list | tuple):
        return sum(map(_tensors, state.values() if isinstance(state, Mapping) else state))
    return int(isinstance(state, torch.Tensor))
