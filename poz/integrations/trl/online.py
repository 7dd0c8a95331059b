"""TRL's experimental OnlineDPOTrainer with any objective of poz that a pair and its rewards can serve."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from poz.columns import columns_read, needs_collision
from poz.integrations.trl.seams import Generated, online_dpo
from poz.integrations.trl.shared import by_name, check_columns, check_config, check_constant, name_after
from poz.objective import Objective
from poz.torch.implicit_rewards import implicit_rewards
from poz.torch.scored import Scored, check_pairs, scored_losses, spec_of
from poz.zoo import zoo

Base: Any = online_dpo().OnlineDPOTrainer


class OnlineDPOTrainer(Generated, Base):  # type: ignore[misc]
    """TRL's OnlineDPOTrainer with one more argument, `objective`.

    Everything else is TRL's: for each prompt the policy writes two completions, reward functions or models judge them,
    and the better one is chosen. The step is made by poz's loss in the place of TRL's.

    * Two completions with the same reward say nothing: the loss of that pair is 0, where TRL takes the first as chosen.
    * An objective that reads `margin` is given the difference of the rewards.
    * Gradients are the mean over micro-batches. TRL scores by the reference whether it is read or not.
    * `rewards/*` are the objective's own, as in `poz.integrations.trl.DPOTrainer`; `objective/*` are TRL's, with its beta.

    Args:
        model: As for TRL.
        ref_model: As for TRL.
        reward_funcs: As for TRL.
        args: `trl.experimental.online_dpo.OnlineDPOConfig`.
        *others: The other arguments of TRL's OnlineDPOTrainer, in its order.
        objective: A name of `poz.zoo`, or an objective with its hyper-parameters bound.
        **kwargs: The same by name.

    Raises:
        ValueError: A pair that was just written cannot serve the objective, or settings contradict each other.
        poz.UnknownObjective: No objective of that name.
    """

    def __init__(
        self,
        model: Any,
        ref_model: Any = None,
        reward_funcs: Any = None,
        args: Any = None,
        *others: Any,
        objective: str | Objective = "dpo",
        **kwargs: Any,
    ) -> None:
        self.objective = spec = spec_of(zoo[objective] if isinstance(objective, str) else objective)
        check_pairs(spec)
        given = by_name(Base, model, ref_model, reward_funcs, args, *others, **kwargs)
        _check(spec, args)
        check_constant(spec, given)
        name_after(self, spec)
        super().__init__(**given)

    def loss_of(self, logps: Tensor, ref_logps: Tensor, mask: Tensor, rewards: Tensor) -> Tensor:
        """The objective's mean over the pairs of a batch, of which those without a better completion count as 0."""
        first, second = rewards.chunk(2)
        pairs = (first != second).nonzero()[:, 0]
        rows = torch.cat([pairs + len(first) * (second > first)[pairs], pairs + len(first) * (first > second)[pairs]])
        columns = {"margin": (first - second).abs()[pairs]} if "margin" in sum(columns_read(self.objective), ()) else {}
        self._scored = Scored(logps[rows], mask[rows], None, ref_logps[rows], columns)
        return scored_losses(self.objective, self._scored).sum() / len(first) + 0 * logps.sum()

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """TRL's, with the rewards of the objective among the metrics."""
        loss: Tensor = super().training_step(*args, **kwargs)
        chosen, rejected = (x.detach() for x in implicit_rewards(self.objective, self._scored))
        for name, x in (("chosen", chosen), ("rejected", rejected), ("margins", chosen - rejected)):
            self._log(name, x)
        self._log("accuracies", (chosen > rejected).float())
        return loss

    def _log(self, name: str, values: Tensor) -> None:
        """The mean over all processes, in the place of what TRL has logged of this step."""
        here = torch.stack((values.sum(), values.new_tensor(float(len(values)))))
        value, number = self.accelerator.gather(here[None]).sum(0).tolist()
        self.stats[f"rewards/{name}"][-1] = value / max(number, 1)


def _check(spec: Objective, args: Any) -> None:
    check_columns(
        spec, (), set(), {"margin": 0.0}, "two completions that the policy has just written and their rewards"
    )
    if needs_collision(spec) or "calibration" in spec.reads:
        raise ValueError(
            f"`{spec.name}` reads more than log-probs of the two completions. Train it by poz.integrations.trl.DPOTrainer on "
            "pairs that were written before."
        )
    if args is None:
        return  # TRL asks for them
    check_config(spec, args, {"loss_type": "sigmoid", "beta": 0.1})
    if spec.coupled and args.gradient_accumulation_steps > 1:
        raise ValueError(
            f"`{spec.name}` is defined over the whole batch ({spec.coupled}), so gradient_accumulation_steps="
            f"{args.gradient_accumulation_steps} would change it. Set 1."
        )
    if args.max_new_tokens >= args.max_length:
        raise ValueError(
            f"max_length={args.max_length} holds the prompt and max_new_tokens={args.max_new_tokens}, so prompts would be cut "
            "off whole when they are scored. Raise max_length."
        )
