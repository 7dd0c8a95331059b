"""The rewards that a policy implies under an objective, which trainers log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from poz.combination import Combination
from poz.families import layout_of
from poz.objective import Objective
from poz.torch.lists import ScoredLists, example_lists, list_batch
from poz.torch.scored import SIDES, Scored, as_pairs, example, family_batch, parts
from poz.zoo import zoo


def implicit_rewards(objective: str | Objective, scored: Scored) -> tuple[Tensor, Tensor]:
    """The rewards that the policy implies for the chosen and for the rejected completions, each (batch,).

    scale * (log-prob - reference's log-prob), where scale is the objective's first hyper-parameter in 1/nat (nearly
    always beta), or 1 where it has none; the reference is left out where the objective does not read it; log-probs
    are means per token where means are all that the objective sees (SimPO: beta times the mean), else sums. The rewards
    of a combination are those of its first part that has such a hyper-parameter.

    Raises:
        TypeError: The objective reads scores or errors, which are no log-probs of a policy.
    """
    objective = _rewarding(zoo[objective] if isinstance(objective, str) else objective)
    if not layout_of(objective.family).tokens:
        family_batch(objective, scored)  # says so
    pairs, reads, means = as_pairs(scored), objective.reads, _sees_means(objective, scored)
    rewards = []
    for side in SIDES:
        reward = getattr(pairs, side).detach()
        if reads & {f"ref_{side}", "ref_logps", "anchor_logps"}:
            reward = reward - getattr(pairs, f"ref_{side}")
        if means:
            reward = reward / getattr(pairs, f"{side}_len").clamp(min=1)
        rewards.append(reward_scale(objective) * reward)
    return rewards[0], rewards[1]


def reward_scale(objective: Objective) -> Any:
    """The first hyper-parameter in 1/nat, which turns a log-ratio into a reward, or 1 where there is none."""
    return next(_scales(_rewarding(objective)), 1.0)


def _scales(objective: Objective) -> Iterator[Any]:
    units = {name: getattr(param.domain, "unit", "") for name, param in objective.params.items()}
    in_nats = (objective.values[name] for name, unit in units.items() if unit == "1/nat")
    return (value for value in in_nats if value is not None)


def _rewarding(objective: Objective) -> Objective:
    """The objective whose rewards are shown: what LCPO is based on, and the first part of a combination with a scale."""
    while "base" in objective.values:
        objective = objective.values["base"]
    if not isinstance(objective, Combination):
        return objective
    found = map(_rewarding, parts(objective))
    return next((part for part in found if any(True for _ in _scales(part))), objective)


def list_rewards(objective: str | Objective, scored: ScoredLists) -> Tensor:
    """The rewards that the policy implies for completions in lists: (batch, K), in the order of `list_batch`, 0 at padding.

    They are those of `implicit_rewards`, and do not depend on what other completions a list has.

    Raises:
        TypeError, ValueError: As for `poz.torch.list_losses`.
    """
    spec = zoo[objective] if isinstance(objective, str) else objective
    made, objective = list_batch(spec, scored), _rewarding(spec)
    (side,) = layout_of(objective.family).sides
    rewards: Tensor = getattr(made, side).detach()
    if f"ref_{side}" in objective.reads:
        rewards = rewards - getattr(made, f"ref_{side}")
    if _lists_see_means(objective):
        rewards = rewards / getattr(made, layout_of(objective.family).lengths[side]).clamp(min=1)
    mask = getattr(made, layout_of(objective.family).masks.get(side, ""), None)
    rewards = reward_scale(objective) * rewards
    return rewards if mask is None else rewards.where(mask, torch.zeros_like(rewards))


def _lists_see_means(objective: Objective) -> bool:
    """The same for lists, of what the last of three completions, whose scores fall, adds to the loss."""
    if not _reads_lengths(objective):
        return False

    def loss(times: int, last: float) -> Any:
        return objective(list_batch(objective, example_lists(objective, 3, times, last)))

    once, twice = (loss(times, -0.25) - loss(times, -0.5) for times in (1, 2))
    return torch.allclose(once, twice)


def _reads_lengths(objective: Objective) -> bool:
    return not objective.reads.isdisjoint(layout_of(objective.family).lengths.values())


def _sees_means(objective: Objective, scored: Scored) -> bool:
    """Whether the objective, terms that imitate chosen aside, sees no more than means per token.

    Then what the rejected completion adds to the loss stays the same when every log-prob and length is doubled.
    """
    if not _reads_lengths(objective):
        return False
    opponents = {name: 0 * column[:1] for name, column in scored.columns.items() if name.startswith("opponents_")}

    def loss(times: int, rejected: float) -> Any:
        made = example(scored.logps.device, times, rejected)
        return objective(family_batch(objective, made._replace(columns={**made.columns, **opponents})))

    once, twice = (loss(times, -0.25) - loss(times, -0.5) for times in (1, 2))
    return torch.allclose(once, twice)
