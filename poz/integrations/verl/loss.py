"""An objective with the signature of verl's policy losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

import poz
from poz.integrations.verl import settings
from poz.objective import Objective, Values


class PolicyLoss(Protocol):
    """What verl calls, by keyword: the loss, a scalar, and metrics by name."""

    def __call__(
        self,
        old_log_prob: Tensor,
        log_prob: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        loss_agg_mode: str = ...,
        config: Any = None,
        rollout_is_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        """See `policy_loss`."""
        ...


UNBOUNDED = 1e30  # correction_high of weights that verl has bounded already; its logarithm is finite in float32


def policy_loss(objective: Objective | str, **hyper: Any) -> PolicyLoss:
    """An objective on rollouts as verl calls its policy losses.

    Its clips, weights and temperatures are those of verl's configuration where that has a field for them:
    `clip_ratio_low` and `clip_ratio_high` (and `clip_ratio` where one is None), `clip_ratio_c` (`dual_clip`, and
    `ratio_cap` of `dppo_tv` and `dppo_kl`), `tau_pos`, `tau_neg`, and of `policy_loss` `kl_cov_ratio`, `ppo_kl_coef`,
    `dro_beta`. A hyper-parameter that is given here goes before a field at its default, and one that contradicts a field
    is refused.
    How tokens add up is `loss_agg_mode`, whatever the objective has by itself, with the counts of the global batch in
    `config.global_batch_info`; without these the tokens, or the completions with a token, of the micro-batch are counted.
    `loss_scale_factor` is `length`, and must be given where it divides: the padded width, which verl takes without it,
    depends on the batch. Weights of the sampler multiply the term of a token. The KL to the reference and the entropy are
    left to verl, which adds them to any policy loss. An objective over the tokens of a batch, `kl_cov`, sees the
    micro-batch.

    The metrics have verl's names: `actor/ppo_kl`, the mean of log π_old - log π over tokens in nats;
    `actor/pg_clipfrac`, the share of tokens with an advantage that are left without a gradient, and
    `actor/pg_clipfrac_lower`, the share that `dual_clip` leaves without.

    Args:
        objective: On `poz.Rollouts`, or its name.
        hyper: Its hyper-parameters.

    Returns:
        A function of `old_log_prob`, `log_prob`, `advantages`, `response_mask` and `rollout_is_weights`, all
        (batch, tokens), of `loss_agg_mode` and of verl's ActorConfig. It warns where a default of verl's is taken and the
        objective has another one, and raises ValueError where settings are missing, unknown or contradict each other.

    Raises:
        TypeError: An unknown hyper-parameter.
        ValueError: An objective, or a value, that verl cannot train with; the message says what to do.
    """
    chosen = settings.found(objective)
    given = settings.told(chosen) | hyper
    chosen = chosen.bind(**hyper)
    wrong = settings.problem(chosen, given)
    if wrong:
        raise ValueError(wrong)

    def loss(
        old_log_prob: Tensor,
        log_prob: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        loss_agg_mode: str = settings.own_mode(chosen),
        config: Any = None,
        rollout_is_weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, float]]:
        if not hasattr(config, "global_batch_info"):
            raise ValueError(f"`poz:{chosen.name}` needs verl's ActorConfig for config; got {type(config).__name__}.")
        values = settings.agreed(chosen, given, config, loss_agg_mode)
        values |= {"aggregation": "sequence_sum", "length": 1.0, "per_token": True}
        if loss_agg_mode == "seq-mean-token-mean":
            values["aggregation"] = "sequence_mean"
        batch = poz.Rollouts(log_prob, old_logps=old_log_prob, mask=_mask(response_mask), token_advantages=advantages)
        weighted, weighing = _weighted(chosen, batch, rollout_is_weights)
        losses = chosen(weighted, **values, **weighing)
        return _added_up(losses.sum(), config, loss_agg_mode, batch.mask, given), _metrics(chosen, batch, values)

    loss.__name__ = loss.__qualname__ = f"poz_{chosen.name}"
    return loss


def _mask(given: Tensor) -> Tensor:
    mask: Tensor = given.bool()
    if not torch.equal(mask.to(given.dtype), given):
        raise ValueError("A response_mask is of 0 and 1; got other numbers. Weights of tokens are rollout_is_weights.")
    return mask


def _weighted(objective: Objective, batch: poz.Rollouts, weights: Tensor | None) -> tuple[poz.Rollouts, Values]:
    """The batch with a sampler that the old policy is so many times likelier than."""
    if weights is None:
        return batch, {}
    if objective.name == "vespo" or objective.values["off_policy_limit"] is not None:
        raise ValueError(
            f"`{objective.name}` asks how likely the sampler was, and rollout_is_weights, which verl has bounded, do not "
            "say. Set algorithm.rollout_correction.rollout_is to null."
        )
    if weights.shape != batch.logps.shape:
        raise ValueError(
            f"rollout_is_weights must be one per token, {tuple(batch.logps.shape)}; got shape {tuple(weights.shape)}."
        )
    sampler = batch.old_logps - weights.log()
    values = {"correction": "token_truncate", "correction_low": 0.0, "correction_high": UNBOUNDED}
    return batch._replace(sampler_logps=sampler), values


def _added_up(total: Tensor, config: Any, mode: str, mask: Tensor, given: Values) -> Tensor:
    """The loss, from the sum over the completions that are here."""
    info = config.global_batch_info
    processes: int = info.get("dp_size") or 1

    def count(name: str, here: Callable[[], Tensor]) -> Tensor | int:
        number: int | None = info.get(name)
        if number is None and processes > 1:
            raise ValueError(f"loss_agg_mode={mode!r} needs {name} of all {processes} processes in global_batch_info.")
        return here().clamp(min=1) if number is None else number

    if mode == "token-sum":
        return total * processes
    if mode == "token-mean":
        return total * processes / count("batch_num_tokens", lambda: mask.sum())
    mean = total * processes / count("global_batch_size", lambda: mask.any(-1).sum())
    return mean / _length(config, given.get("length")) if mode == "seq-mean-token-sum-norm" else mean


def _length(config: Any, given: float | None) -> float:
    said = config.global_batch_info.get("loss_scale_factor") or getattr(config, "loss_scale_factor", None)
    if None not in (said, given) and said != given:
        raise ValueError(
            f"length={given!r} was registered, and verl's loss_scale_factor is {said!r}. Leave one of them out."
        )
    length: float | None = given if said is None else said
    if length is None:
        raise ValueError(
            "loss_agg_mode='seq-mean-token-sum-norm' needs actor.loss_scale_factor, such as the greatest length of a "
            "completion; the padded width, which verl takes without it, depends on the batch."
        )
    return length


def _metrics(objective: Objective, batch: poz.Rollouts, values: Values) -> dict[str, float]:
    """What verl logs, under its names."""
    mask, tokens = batch.mask, batch.mask.sum().clamp(min=1)
    with torch.enable_grad():
        logps = batch.logps.detach().requires_grad_()
        (slope,) = torch.autograd.grad(objective(batch._replace(logps=logps), **values).sum(), logps)
    log_ratio = (logps - batch.old_logps).detach()
    lower = torch.zeros_like(mask)
    if (dual_clip := values.get("dual_clip", objective.values.get("dual_clip"))) is not None:
        lower = mask & (batch.token_advantages < 0) & (log_ratio.exp() > dual_clip)
    gone = mask & (batch.token_advantages != 0) & (slope == 0) & ~lower
    return {
        "actor/pg_clipfrac": (gone.sum() / tokens).item(),
        "actor/ppo_kl": (-log_ratio[mask].sum() / tokens).item(),
        "actor/pg_clipfrac_lower": (lower.sum() / tokens).item(),
    }
