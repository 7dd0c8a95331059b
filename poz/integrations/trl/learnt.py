"""What LCPO learns in a trainer: annotators by their ids, reliabilities in logs, checkpoints and beside the model."""

from __future__ import annotations

import json
import os
from typing import Any

import torch
from transformers import TrainerCallback

from poz import annotators
from poz.integrations.trl import data
from poz.objective import Objective
from poz.torch.lcpo import LCPO
from poz.zoo import zoo

STATE = "objective.pt"
"""The file of a checkpoint that holds the state of an objective that has one."""
RELIABILITY = "reliability.json"
"""The file beside a saved model that says how reliable LCPO found each annotator."""


class Learning:
    """A trainer whose objective may be an `LCPO`."""

    args: Any
    _objective: Any
    _used: set[str]
    _annotators: dict[Any, int] | None = None

    def named(self, name: str, dataset: Any) -> Objective | LCPO:
        """The objective of a name; of LCPO, what learns the reliabilities of the data's annotators."""
        objective = zoo[name]
        if objective.name != "lcpo":
            return objective
        if dataset is None or annotators.COLUMN not in data.first_of(dataset, "the training data set"):
            return LCPO()
        self._annotators = annotators.numbered(data.plain(dataset), "the training data set")
        return LCPO(num_annotators=len(self._annotators))

    def learn(self: Any) -> None:
        """Moves the reliabilities of an LCPO with the optimiser."""
        if isinstance(self._objective, LCPO):
            self._objective.to(self.accelerator.device)
            self.add_callback(Stateful(self._objective))

    def reliabilities(self) -> dict[Any, float]:
        """Of each annotator by their id; of all of them by None where they are not known."""
        if not isinstance(self._objective, LCPO):
            return {}
        found = self._objective.reliability.tolist()
        alone = len(found) == 1 and annotators.COLUMN not in self._used
        names = [None] if alone else range(len(found)) if self._annotators is None else self._annotators
        return dict(zip(names, found, strict=True))

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """TRL's, with the reliabilities that LCPO has found so far."""
        found = self.reliabilities() if "loss" in logs else {}
        if len(found) > 50:
            numbers = list(found.values())
            found = {"min": min(numbers), "mean": sum(numbers) / len(numbers), "max": max(numbers)}
        named = {"reliability" if name is None else f"reliability/{name}": value for name, value in found.items()}
        logs.update(named)  # the caller's own, which TRL adds its metrics to
        super().log(logs, *args, **kwargs)  # type: ignore[misc]

    def save_model(self, output_dir: str | None = None, *args: Any, **kwargs: Any) -> None:
        """TRL's, with the reliabilities that LCPO has found, in `reliability.json`."""
        super().save_model(output_dir, *args, **kwargs)  # type: ignore[misc]
        if isinstance(self._objective, LCPO) and self.args.should_save:
            found = [{"annotator": name, "reliability": value} for name, value in self.reliabilities().items()]
            with open(os.path.join(output_dir or self.args.output_dir, RELIABILITY), "w", encoding="utf-8") as file:
                json.dump(found, file, indent=1, ensure_ascii=False, default=str)

    def save_state(self, folder: str) -> None:
        """Writes the state of an objective that has one."""
        if isinstance(self._objective, LCPO) and self.args.should_save:
            os.makedirs(folder, exist_ok=True)
            state = {**self._objective.state_dict(), "annotators": self._annotators and list(self._annotators)}
            torch.save(state, os.path.join(folder, STATE))

    def load_state(self, folder: str) -> None:
        """Reads it.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It is damaged, or that of other annotators.
        """
        if not isinstance(self._objective, LCPO):
            return
        path = os.path.join(folder, STATE)
        if not os.path.exists(path):
            raise FileNotFoundError(f"{folder} has no {STATE}, the state of the objective; it is no checkpoint of one.")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            saved, known = state.pop("annotators", None), self._annotators and list(self._annotators)
        except Exception as error:  # torch's own have no kind in common
            raise ValueError(
                f"{path} is not the state of an objective, or is damaged. Resume from another one."
            ) from error
        if saved != known:
            raise ValueError(f"{path} has the reliabilities of the annotators {saved}; the training data have {known}.")
        self._objective.load_state_dict(state)


class Stateful(TrainerCallback):
    """Moves the state of an objective with the optimiser."""

    def __init__(self, objective: LCPO) -> None:
        self.objective = objective

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Once for each step."""
        self.objective.step()
