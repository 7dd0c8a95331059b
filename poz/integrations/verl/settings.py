"""Which of verl's settings are an objective's hyper-parameters, and what of them is refused."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import poz
from poz._nearest import meant
from poz.objective import Objective, Values
from poz.objectives.rollouts._steps import SHARED

MODES = {
    "token-mean": "token_mean",
    "token-sum": "sequence_sum",
    "seq-mean-token-sum": "sequence_sum",
    "seq-mean-token-mean": "sequence_mean",
    "seq-mean-token-sum-norm": "sequence_sum",
}
"""verl's `loss_agg_mode`, and the aggregation that it is here."""
FIELDS = {
    "epsilon_low": "clip_ratio_low",
    "epsilon_high": "clip_ratio_high",
    "divergence_low": "clip_ratio_low",
    "divergence_high": "clip_ratio_high",
    "dual_clip": "clip_ratio_c",
    "tau_positive": "tau_pos",
    "tau_negative": "tau_neg",
    "dppo_tv.ratio_cap": "clip_ratio_c",
    "dppo_kl.ratio_cap": "clip_ratio_c",
    "kl_cov.share": "policy_loss.kl_cov_ratio",
    "kl_cov.kl_strength": "policy_loss.ppo_kl_coef",
    "dro.beta": "policy_loss.dro_beta",
}
"""Hyper-parameters, of one objective alone where it is named, and the field of verl's ActorConfig that they are."""
INSTEAD = {
    "ref_logps": "verl adds a KL itself: set actor.use_kl_loss=True, kl_loss_coef and kl_loss_type, or give kl_weight=0",
    "entropy": "verl adds it itself, by actor.entropy_coeff; give entropy_weight=0",
    "sampler_logps": 'verl makes weights of them itself, by algorithm.rollout_correction; give correction="none"',
    "noise": "its own loss_mode=clip_cov draws it from torch's global generator",
}
FIXED = ("count_empty", "per_token", "kl", "correction_low", "correction_high")
"""Hyper-parameters that verl leaves nothing to say about."""


class Setting(NamedTuple):
    """A field of a configuration: what it says, and what its class says where nobody does."""

    value: Any
    default: Any


def found(objective: Objective | str) -> Objective:
    """The objective of a name."""
    chosen = poz.zoo[objective] if isinstance(objective, str) else objective
    if not isinstance(chosen, Objective):
        raise TypeError(f"An objective, or its name, is needed; got {type(chosen).__name__}.")
    return chosen


def told(objective: Objective) -> dict[str, Any]:
    """The hyper-parameters that are not at their defaults."""
    return {name: value for name, value in objective.values.items() if value != objective.params[name].default}


def problem(objective: Objective, given: Values) -> str | None:
    """Why verl cannot train with an objective, in a sentence; None where it can."""
    if objective.family is not poz.Rollouts:
        return f"verl trains on rollouts; `{objective.name}` reads another family. `poz list` says which read poz.Rollouts."
    missing = sorted(SHARED.keys() - objective.params.keys())
    if missing:
        return f"`{objective.name}` lacks {missing[0]}, which the objectives on rollouts of poz.zoo all have and verl needs."
    for name in FIXED:
        if name in given:
            return f"`{objective.name}` got {name}={given[name]!r}, which has no use in verl. Leave it as it is."
    without = objective if "kl_weight" in given else objective.bind(kl_weight=0.0)
    for field in sorted(without.reads - {"logps", "advantages", "token_advantages"}):
        instead = INSTEAD.get(field, "train with an objective that does not")
        return f"`{objective.name}` reads {field}, which verl does not hand to a policy loss: {instead}."
    return None


def own_mode(objective: Objective) -> str:
    """The `loss_agg_mode` that an objective has by itself."""
    aggregation, length = objective.values["aggregation"], objective.values["length"]
    if aggregation == "sequence_sum":
        return "seq-mean-token-sum" if length == 1 else "seq-mean-token-sum-norm"
    return {"token_mean": "token-mean", "sequence_mean": "seq-mean-token-mean"}[aggregation]


def read(config: Any, field: str) -> Setting:
    """What a field says; None and None where it is not there."""
    *way, name = field.split(".")
    for part in way:
        config = getattr(config, part, None)
    return Setting(getattr(config, name, None), getattr(type(config), name, None))


def agreed(objective: Objective, given: Values, config: Any, mode: str) -> dict[str, Any]:
    """The hyper-parameters to call an objective with: what was given with it, and what verl's configuration says.

    Raises:
        ValueError: The two contradict each other, or the configuration itself.
    """
    values, silent = {"kl_weight": 0.0}, []
    for name in objective.params:
        field = FIELDS.get(f"{objective.name}.{name}") or FIELDS.get(name)
        if field is None:
            continue
        value, default = _clip_ratio(config, field) if field.startswith("clip_ratio_") else read(config, field)
        if name in given and value is not None and value not in (given[name], default):
            raise ValueError(
                f"`{objective.name}` was registered with {name}={given[name]!r}, and verl's {field} is {value!r}. Leave one "
                "of them out."
            )
        if name not in given and value is not None:
            values[name] = value
            if value == default != objective.values[name]:
                silent.append(f"{field}={value!r} for {name}={objective.values[name]!r}")
    silent += _mode(objective, config, mode, given)
    if objective.values["kl_weight"] and not read(config, "use_kl_loss").value:
        raise ValueError(
            f"`{objective.name}` has a KL to the reference, kl_weight={objective.values['kl_weight']!r}, and "
            f"{INSTEAD['ref_logps']} to have none."
        )
    if silent:
        warnings.warn(
            f"`{objective.name}` runs with defaults of verl's where its own are others: {', '.join(silent)}. Set them in "
            "verl's configuration, or register the objective with them.",
            stacklevel=3,
        )
    return values


def _clip_ratio(config: Any, field: str) -> Setting:
    """One end of the band, which is `clip_ratio` where it is None."""
    end, both = read(config, field), read(config, "clip_ratio")
    if field == "clip_ratio_c":
        return end
    ends = [read(config, f"clip_ratio_{name}").value for name in ("low", "high")]
    if None not in (*both, *ends) and both.value not in (both.default, *ends):
        raise ValueError(
            f"verl's clip_ratio={both.value!r} has no effect beside clip_ratio_low={ends[0]!r} and clip_ratio_high={ends[1]!r}. "
            "Set these two."
        )
    return end if end.value is not None else both


def _mode(objective: Objective, config: Any, mode: str, given: Values) -> list[str]:
    """What to say of the aggregation."""
    if mode not in MODES:
        raise ValueError(f"verl's loss_agg_mode must be one of {', '.join(MODES)}; got {mode!r}.{meant(mode, MODES)}")
    wanted, own = given.get("aggregation"), own_mode(objective)
    if wanted not in (None, MODES[mode]) or ("length" in given and mode != "seq-mean-token-sum-norm"):
        raise ValueError(
            f"`{objective.name}` was registered for loss_agg_mode={own!r}, and verl's is {mode!r}, also for its own KL and "
            "entropy. Make them the same."
        )
    unsaid = mode == read(config, "loss_agg_mode").default and wanted is None
    return [f"loss_agg_mode={mode!r} for {own!r}"] if unsaid and mode != own else []
