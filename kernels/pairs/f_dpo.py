"""f-DPO, as `poz.objectives.f_dpo`: DPO on scores f'(u) of the likelihood ratio u; a score is s, its slope s'."""

from __future__ import annotations

import triton
import triton.language as tl

from poz.kernels._maths import expm1, exponential, sigmoid, softplus
from poz.kernels.pairs._points import logistic
from poz.kernels.plan import PairPlan, Values, Variants


@triton.jit
def forward_kl(chosen, rejected, columns, params):
    """softplus(-z) with z = β (s(chosen) - s(rejected)), s(a) = -e^-a, s' = e^-a."""
    beta = params[0]
    own, up = exponential(-chosen)
    other, down = exponential(-rejected)
    pull = -beta * sigmoid(-beta * (other - own))
    return softplus(-beta * (other - own)), pull * up, -pull * down


@triton.jit
def js(chosen, rejected, columns, params):
    """The same with s(a) = log σ(a), s' = σ(-a)."""
    beta = params[0]
    z = beta * (softplus(-rejected) - softplus(-chosen))
    pull = -beta * sigmoid(-z)
    return softplus(-z), pull * sigmoid(-chosen), -pull * sigmoid(-rejected)


@triton.jit
def alpha(chosen, rejected, columns, params):
    """The same with s(a) = (1 - e^(-α a)) / α, s' = e^(-α a)."""
    beta, order = params
    own, up = minus_one(-order * chosen)
    other, down = minus_one(-order * rejected)
    z = beta * ((other - own) / order)
    pull = -beta * sigmoid(-z)
    return softplus(-z), pull * up, -pull * down


@triton.jit
def minus_one(x):
    """e^x - 1, accurate near 0 and continued by its tangent beyond x = 60, and its slope."""
    slope = tl.exp(tl.where(x > 60.0, 60.0, x))
    return expm1(tl.where(x > 60.0, 60.0, x)) + slope * tl.where(x > 60.0, x - 60.0, 0.0), slope


def plan(values: Values, anchors: int) -> PairPlan:
    """What the pair skeleton is told."""
    beta, order = values["beta"], values["alpha"]
    if values["divergence"] == "reverse_kl":
        return PairPlan(logistic, (beta, 0.0), (1.0,))
    if values["divergence"] == "alpha":
        return PairPlan(alpha, (beta, order if values["convention"] == "paper" else 1.0 - order), (1.0,))
    return PairPlan(forward_kl if values["divergence"] == "forward_kl" else js, (beta,), (1.0,))


VARIANTS: Variants = tuple({"divergence": name} for name in ("reverse_kl", "forward_kl", "js", "alpha"))
