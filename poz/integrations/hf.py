"""Any objective on pairs in transformers' Trainer, or in a subclass of yours: class Mine(OnPairs, MyTrainer)."""
# ruff: noqa: E402 - what is missing is said before anything fails

from typing import Any

from poz._extras import require

require("poz.integrations.hf", "hf", "torch", "transformers", "accelerate")

import torch
from transformers import Trainer

from poz.integrations._pairs import check_reference, score
from poz.objective import Objective
from poz.torch import scored_losses
from poz.zoo import zoo


class OnPairs:
    """The loss is the objective's mean over the pairs of an optimiser step, however these are split into batches.

    Batches have `input_ids`, `labels` (-100 in prompts and padding) and so on, (2 * batch, tokens), chosen rows first;
    `ref_logps`, (2 * batch,) sums or (2 * batch, tokens - 1), where no `ref_model` is given; and columns, (batch,).
    """

    def __init__(self: Any, *args: Any, objective: str | Objective, ref_model: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.objective = zoo[objective] if isinstance(objective, str) else objective
        check_reference(self.objective, self.model, ref_model)
        set_ = {name: getattr(self.args, name) for name in ("remove_unused_columns", "label_smoothing_factor")}
        set_ |= {"compute_loss_func": self.compute_loss_func, "n_gpu > 1": self.args.n_gpu > 1}
        set_["gradient_accumulation_steps > 1"] = self.objective.coupled and self.args.gradient_accumulation_steps > 1
        if told := [name for name, value in set_.items() if value]:
            raise ValueError(
                f"{told[0]} drops what {self.objective!r} reads, or replaces it, or parts its batch. Unset it."
            )
        self.model_accepts_loss_kwargs = False  # else a batch's mean is not divided by the batches accumulated
        self.ref_model = ref_model and self.accelerator.prepare_model(ref_model.eval(), evaluation_mode=True)

    def get_batch_samples(self: Any, *args: Any, **kwargs: Any) -> tuple[list[Any], None]:
        """The batches of an optimiser step, whose pairs are counted over all processes."""
        batches = super().get_batch_samples(*args, **kwargs)[0]  # type: ignore[misc]
        rows = torch.tensor(sum(len(batch["labels"]) for batch in batches), device=self.args.device)
        self._scale = len(batches) * self.accelerator.num_processes / int(self.accelerator.reduce(rows, "sum"))
        return batches, None

    def compute_loss(self: Any, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
        """The mean times this batch's share of the step's pairs times its batches, by which Trainer divides."""
        losses = scored_losses(self.objective, score(self.objective, model, self.ref_model, inputs))
        whole = self.objective.coupled or not model.training  # its mean is already that of all processes
        loss = losses.mean() * (1 if whole else len(inputs["labels"]) * self._scale)
        return (loss, {"loss": loss, "losses": losses.detach()}) if return_outputs else loss


class PairTrainer(OnPairs, Trainer):  # type: ignore[misc]
    """transformers' Trainer: PairTrainer(model, args, data_collator=..., train_dataset=..., objective="simpo")."""
