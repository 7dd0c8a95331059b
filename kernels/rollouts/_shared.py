"""What every objective on rollouts takes alike, as its skeleton is told; see `poz.objectives.rollouts._steps`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from poz.backends import namespace
from poz.kernels.rollouts._corrections import CORRECTIONS
from poz.kernels.rollouts._kl import ESTIMATORS
from poz.kernels.twin import Ragged, Segments, wide
from poz.objective import Objective
from poz.objectives.rollouts import _steps as steps

TOKENS = ("old_logps", "sampler_logps", "token_advantages")


class Shared(NamedTuple):
    """Arguments of `poz.kernels.rollouts._skeleton.rollouts`, as they are called there; `bounds` are its low and high."""

    old: Tensor | None
    sampler: Tensor | None
    log_weights: Tensor | None
    advantages: Tensor
    shares: Tensor
    kl_weight: float
    bounds: tuple[float, float]
    kl: Any
    correction: Any
    per_token: bool


def shared(
    objective: Objective, logps: Tensor, columns: Mapping[str, Tensor], segments: Segments
) -> tuple[Shared, Tensor]:
    """What the skeleton is told, held constant, and what the losses (completions,) are less by: the bonus for entropy.

    The weights that correct a sampler are made here where they are not of a token alone, by the objective's own functions.
    """
    p, given = objective.values, {name: x.detach() for name, x in columns.items()}
    xp, counts = namespace(logps), segments.offsets.diff().float()
    shares = steps.share(xp, counts, p["aggregation"], p["length"], p["count_empty"])
    whole = p["off_policy_limit"] is not None or p["correction"] not in ("none", *CORRECTIONS)
    correction = None if whole else CORRECTIONS.get(p["correction"])
    low, high = (_log(p[f"correction_{end}"]) for end in ("low", "high"))
    made = Shared(
        given.get("old_logps"),
        None if correction is None else given["sampler_logps"],
        _log_weights(p, logps, given, segments) if whole else None,
        given["token_advantages" if p["per_token"] else "advantages"],
        shares,
        p["kl_weight"],
        (low, high),
        ESTIMATORS[p["kl"]] if "ref_logps" in objective.reads else None,
        correction,
        p["per_token"],
    )
    bonus = 0.0 * shares
    if "entropy" in columns:
        bonus = p["entropy_weight"] * shares * segments.sum(columns["entropy"])
    return made, bonus


@torch.no_grad()
def _log_weights(p: Mapping[str, Any], logps: Tensor, given: Mapping[str, Tensor], segments: Segments) -> Tensor:
    """(tokens,) logs of the weights, minus infinity where a token is dropped."""
    xp = namespace(logps)
    tokens = {name: Ragged.of(wide(x), segments) for name, x in given.items() if name in TOKENS}
    policy = Ragged.of(wide(logps.detach()), segments)
    old = tokens.get("old_logps", policy)
    advantages = tokens["token_advantages"] if p["per_token"] else given["advantages"].to(policy.dtype)[:, None]
    ones = torch.ones_like(policy)
    count = torch.sum(ones, dim=-1)[:, None]
    some = count.clamp(min=1.0)
    at = steps.Steps(xp, policy, old, policy - old, advantages, ones, some, 0.0 * some, 0.0 * some, None, None)
    found = 0.0 * ones
    if p["correction"] != "none":
        found = found + steps.log_weights(at, old - tokens["sampler_logps"], p)["log_weights"]
    if p["off_policy_limit"] is not None:
        far = steps.dropped(at, tokens.get("sampler_logps", old), p["off_policy_limit"])
        found = xp.where(far, xp.constant(-math.inf, found), found)
    return found.as_subclass(Tensor).float()


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf
