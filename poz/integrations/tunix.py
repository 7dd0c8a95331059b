"""Any objective on pairs in Tunix: poz.integrations.tunix.use(DPOTrainer(model, ref, optimizer, config), "simpo", beta=2.0)."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from tunix.rl.common import get_per_token_logps

from poz.columns import needs_reference
from poz.families import Pairs, named
from poz.objective import Objective
from poz.zoo import zoo

GIVEN = {form.format(side) for side in ("chosen", "rejected") for form in ("{}", "ref_{}", "{}_len", "opponents_{}")}
UNREAD = ("algorithm", "beta", "lambda_orpo", "label_smoothing")


def use(trainer: Any, objective: str | Objective, **params: Any) -> Any:
    """A `DPOTrainer`, whose loss from now on is the objective's mean over the batch; what it logs keeps its names.

    The opponent of an objective that reads opponents is the reference. Rewards that are logged are beta, 1 where there is
    none, times the summed log-probs, less the reference's where there is one.

    Raises:
        ValueError: The objective reads what these pairs do not have, or ties a batch together that is accumulated; or the
            configuration sets what Tunix's own loss alone reads.
    """
    spec = (zoo[objective] if isinstance(objective, str) else objective).bind(**params)
    config, name = trainer.dpo_config, spec.name
    told = [field for field in dataclasses.fields(config) if field.name in UNREAD]
    unread = ", ".join(field.name for field in told if getattr(config, field.name) != field.default)
    if spec.family is not Pairs:
        raise ValueError(f"`{name}` reads {named(spec.family)}; Tunix's DPOTrainer makes poz.Pairs.")
    if missing := ", ".join(sorted(spec.reads - GIVEN)):
        raise ValueError(f"`{name}` reads {missing}, which Tunix's batches do not have.")
    if needs_reference(spec) and any(trainer.ref_model is one for one in (None, trainer.model)):
        raise ValueError(f"`{name}` reads a reference; give DPOTrainer a ref_model, which is not its model.")
    if spec.coupled and (config.gradient_accumulation_steps or 1) > 1:
        raise ValueError(f"`{name}` is defined over a batch ({spec.coupled}), which must not be accumulated.")
    if unread:
        raise ValueError(f"{unread} of the configuration is read by Tunix's own loss alone; leave it out.")
    scale = spec.values.get("beta", 1.0)

    def loss(model: Any, train_example: Any) -> tuple[Any, dict[str, Any]]:
        x = train_example
        logps = get_per_token_logps(model, x.input_ids, x.positions, x.attention_mask, x.logits_to_keep, x.images)
        ref = None if x.ref_chosen_logps is None else jnp.concatenate((x.ref_chosen_logps, x.ref_rejected_logps))
        pairs = Pairs.from_halves(logps, mask=x.completion_mask.astype(bool), ref_logps=ref)
        if "opponents_chosen" in spec.reads:
            pairs = pairs._replace(opponents_chosen=pairs.ref_chosen[None], opponents_rejected=pairs.ref_rejected[None])
        sums, refs = pairs[:2], (0.0, 0.0) if ref is None else (pairs.ref_chosen, pairs.ref_rejected)
        good, bad = (scale * (own - its) for own, its in zip(sums, refs, strict=True))
        logged = {"rewards/chosen": good, "rewards/rejected": bad, "rewards/margin": good - bad}
        logged |= {"rewards/accuracy": good > bad, "log_probs/chosen": sums[0], "log_probs/rejected": sums[1]}
        return spec(pairs).mean(), {name: each.mean() for name, each in logged.items()}

    return trainer.with_loss_fn(loss, has_aux=True).with_gen_model_input_fn(lambda x: {"train_example": x})
