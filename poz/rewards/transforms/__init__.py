"""Rewards made into what a policy is trained on, as pure functions on NumPy, torch and JAX.

`shapers` needs a reward and those of references; `running` explicit statistics that merge over ranks; `proxies` no
reward model; `worst_case` several; `safety` costs under a constraint that holds with high confidence.
"""

from poz.rewards.transforms.proxies import follow_up_likelihood, r3, repetition_penalty
from poz.rewards.transforms.running import RunningStats, clip, meanstd, merge, minmax, update
from poz.rewards.transforms.safety import (
    SafetyTest,
    advantage_cost,
    kappa,
    multiplier_step,
    safety_test,
    upper_bound,
)
from poz.rewards.transforms.shapers import (
    arctan,
    ceiling,
    centered,
    length_penalty,
    lsc,
    par,
    polynomial,
    sigmoid,
    tanh,
)
from poz.rewards.transforms.worst_case import maxmin_weights, per_sample_min

__all__ = [
    "RunningStats",
    "SafetyTest",
    "advantage_cost",
    "arctan",
    "ceiling",
    "centered",
    "clip",
    "follow_up_likelihood",
    "kappa",
    "length_penalty",
    "lsc",
    "maxmin_weights",
    "meanstd",
    "merge",
    "minmax",
    "multiplier_step",
    "par",
    "per_sample_min",
    "polynomial",
    "r3",
    "repetition_penalty",
    "safety_test",
    "sigmoid",
    "tanh",
    "update",
    "upper_bound",
]
