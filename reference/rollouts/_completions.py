"""What the objectives on rollouts share: one completion at a time, its valid tokens alone, slopes as a matrix.

Of a completion with tokens 1..T:  d = log π - log π_old,  A its advantages, w the weights that correct the sampler
L = share Σ_t [w_t x_t + β KL_t - η H_t],  dL/dl_s = share [Σ_t w_t ∂x_t/∂l_s + β KL'_s],  dL/dH_s = -share η
share = 1/T (sequence_mean), B / all tokens (token_mean), 1 / length (sequence_sum); times B / those with a token, where empty
completions do not count
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from poz.reference._stable import LIMIT, Array, Mask, Result, quiet, tangent_exp, tangent_exp_slope


class One(NamedTuple):
    """l, d, A, log w, whether w lets it through, of a completion (T,); all completions; log π_old, log π_ref, noise and group.

    `whole` is log w of the completion: one weight of it, or those of its tokens together.
    """

    l: Array  # noqa: E741
    d: Array
    a: Array
    w: Array
    kept: Mask
    batch: list[Any]
    o: Array
    q: Any
    noise: Any
    group: Any
    whole: float


Term = Callable[..., tuple[Array, Array]]


def shared(
    *,
    aggregation: str,
    length: float = 1.0,
    count_empty: bool = True,
    per_token: bool = False,
    kl_weight: float = 0.0,
    kl: str = "k3",
    entropy_weight: float = 0.0,
    correction: str = "none",
    correction_low: float = 0.0,
    correction_high: float = 2.0,
    off_policy_limit: float | None = None,
) -> None:
    """Signature of what is shared."""


def fields(
    *,
    logps: Array,
    old_logps: Array | None = None,
    ref_logps: Array | None = None,
    sampler_logps: Array | None = None,
    entropy: Array | None = None,
    mask: Mask | None = None,
    advantages: Array | None = None,
    token_advantages: Array | None = None,
    noise: Array | None = None,
    groups: Array | None = None,
) -> None:
    """Signature of what is given."""


def member(*, weighs: bool = False, **defaults: Any) -> Callable[[Term], Callable[..., Result]]:
    """Makes a reference of `term(one, **hyper-parameters) -> (x (T,), ∂x_t/∂l_s (T, T))`; see the objective's own."""

    def decorate(term: Term) -> Callable[..., Result]:
        _, *own = inspect.signature(term).parameters.values()
        names = {p.name for p in own}
        added = [
            p.replace(default=defaults.get(p.name, p.default)) for p in inspect.signature(shared).parameters.values()
        ]

        @functools.wraps(term)
        @quiet
        def reference(**given: Any) -> Result:
            values = {p.name: p.default for p in (*own, *added)} | given
            mine = {name: values.pop(name) for name in names}
            return losses(functools.partial(term, **mine), weighs, **values)

        signature = inspect.signature(fields).parameters.values()
        reference.__signature__ = inspect.Signature([*signature, *own, *added])  # type: ignore[attr-defined]
        return reference

    return decorate


def losses(
    term: Term,
    weighs: bool,
    *,
    logps: Array,
    old_logps: Array | None = None,
    ref_logps: Any = None,
    sampler_logps: Any = None,
    entropy: Any = None,
    mask: Mask | None = None,
    advantages: Any = None,
    token_advantages: Any = None,
    noise: Array | None = None,
    groups: Array | None = None,
    **p: Any,
) -> Result:
    """Losses (B,) in nats and the gradient of their sum, by completion."""
    on = np.ones(logps.shape, dtype=bool) if mask is None else mask
    old = logps if old_logps is None else old_logps
    batch: list[One] = []
    for i, valid in enumerate(on):
        given = token_advantages if p["per_token"] else np.broadcast_to(advantages[:, None], logps.shape)
        apart: Any = None if sampler_logps is None else (old - sampler_logps)[i, valid]
        size = valid.sum()
        weights, kept = (
            corrected(apart, p) if p["correction"] != "none" else (np.zeros(size), np.ones(size, dtype=bool))
        )
        ratio = (np.where(np.isnan(logps), np.nan, 0.0) if old_logps is None else logps - old)[i, valid]
        rest = (
            old[i, valid],
            *(None if x is None else x[i, valid] for x in (ref_logps, noise)),
            groups is not None and groups[i],
            weights[: 1 if p["correction"].startswith("sequence") else size].sum(),
        )
        batch.append(One(logps[i, valid], ratio, given[i, valid].astype(float), weights, kept, batch, *rest))
    there = {"logps": logps, "old_logps": old_logps, "ref_logps": ref_logps, "sampler_logps": sampler_logps}
    there["entropy"] = entropy
    slopes = {name: np.zeros(logps.shape) for name, given in there.items() if given is not None}
    out = np.zeros(len(logps))
    for i, (one, valid) in enumerate(zip(batch, on, strict=True)):
        if not valid.any():
            continue
        x, matrix = term(one)
        if old_logps is None:  # the ratio is 1 whatever l, also an infinite one, which has no slope
            matrix = np.where(np.isinf(one.l), 0.0, matrix)
        weight = np.ones(len(x)) if weighs else tangent_exp(one.w)
        if p["off_policy_limit"] is not None:
            sampled = (old if sampler_logps is None else sampler_logps)[i, valid]
            far = np.mean(sampled - one.l) > p["off_policy_limit"]
            gone = (one.a < 0) & far
            x, matrix = np.where(gone, 0.0, x), np.where(gone[:, None], 0.0, matrix)
        total, slope = weight * x, weight @ matrix
        if p["kl_weight"] != 0:
            value, derivative = divergence(ref_logps[i, valid] - one.l, one.d, p["kl"])
            total, slope = total + p["kl_weight"] * value, slope + p["kl_weight"] * derivative
        share = shared_out(len(x), on.sum(1), p["aggregation"], p["length"], p["count_empty"])
        if p["entropy_weight"] != 0:
            total = total - p["entropy_weight"] * entropy[i, valid]
            slopes["entropy"][i, valid] = -share * p["entropy_weight"]
        out[i], slopes["logps"][i, valid] = share * total.sum(), share * slope
    return out, slopes


def corrected(apart: Array, p: dict[str, Any]) -> tuple[Array, Mask]:
    """Log w of the tokens of a completion, from o - b, and whether they are let through."""
    low, high, size = np.log(p["correction_low"]), np.log(p["correction_high"]), len(apart)
    level, how = p["correction"].split("_")
    whole = {
        "token": apart,
        "sequence": np.full(size, apart.sum()),
        "geometric": np.full(size, apart.sum() / max(size, 1)),
    }
    if how == "truncate":
        return np.clip(whole[level], low, high), np.ones(size, dtype=bool)
    gone = (whole[level] < low) | (whole[level] > high)
    return np.where(gone, -np.inf, apart if level == "geometric" else whole[level]), ~gone


def divergence(x: Array, d: Array, estimator: str) -> tuple[Array, Array]:
    """KL_t and its slope in l, with x = log π_ref - l."""
    # k1 = -x, k2 = x²/2, k3 = e^x - x - 1, and dx/dl = -1, dd/dl = 1
    k3 = k3_of(x)
    plain = {
        "k1": (-x, np.ones(len(x))),
        "k2": (x * x / 2, -x),
        "k3": (k3, -minus_one(x, tangent_exp_slope)),
        "abs": (np.abs(x), -np.sign(x)),
        "k1+": (-x, -x),
        "k3+": (k3, -x),
        "s*k1": (-x, 1 - x),  # of k1 e^(l - sg l)
        "r*k1": (-x * tangent_exp(d), tangent_exp(d) - x * tangent_exp_slope(d)),
    }
    if estimator in plain:
        return plain[estimator]
    # e^d (e^x - x - 1) = E(d + x) - E(d) - x E'(d), the Bregman divergence of e^x, or of what goes on along its tangent;
    # d + x does not depend on l, so the slope is -x E''(d), and E'' is 0 on the tangent
    # there, so that for d > LIMIT it is E(d + x) minus the tangent at LIMIT
    ratio = np.exp(np.minimum(d, LIMIT))
    value = np.where(np.abs(x) < 1, ratio * k3, tangent_exp(d + x) - (1 + x) * ratio)
    value = np.where(d > LIMIT, ratio * k3_of(np.minimum(d + x - LIMIT, 0.0)), value)
    return value, np.where(d > LIMIT, 0.0, -x * ratio)


def minus_one(x: Array, exponential: Callable[[Array], Array]) -> Array:
    """e^x - 1, its digits kept near 0."""
    return np.where(np.abs(x) < 1, np.expm1(np.clip(x, -1, 1)), exponential(x) - 1)


def k3_of(x: Array) -> Array:
    """e^x - x - 1 = Σ_k x^k / k! from k = 2, which is what is summed near 0."""
    near = np.clip(x, -1.0, 1.0)
    part, total = np.ones(x.shape) * near, np.zeros(x.shape)
    for k in range(2, 25):
        part = part * near / k
        total = total + part
    return np.where(np.abs(x) < 1, total, tangent_exp(x) - 1 - x)


def shared_out(size: int, sizes: Array, aggregation: str, length: float, count_empty: bool) -> float:
    """What each token of a completion of that size weighs in its loss."""
    if aggregation == "token_mean":
        return float(len(sizes) / sizes.sum())
    of = 1.0 / size if aggregation == "sequence_mean" else 1.0 / length
    return float(of if count_empty else of * len(sizes) / np.count_nonzero(sizes))


def clipped(
    one: One, d: Array, low: Any, high: Any, dual: float | None = None, cap: float | None = None
) -> tuple[Array, Array]:
    """w R(d) with -A R = -min(r A, clip(r, 1 - low, 1 + high) A), r = e^d, and w R'(d): 0 where it is clipped, else w r."""
    a, most = one.a, np.inf if cap is None else np.log(cap)
    up, down = np.minimum(np.log1p(high), most), np.log1p(-low)
    top = most if dual is None else np.minimum(np.log(dual), most)
    ratio = np.broadcast_to(d, a.shape)
    floor, ceiling = np.where(a > 0, -np.inf, down), np.where(a > 0, up, top)
    kept = np.minimum(
        np.maximum(np.minimum(ratio, most), floor), ceiling
    )  # where the band is empty its ceiling is what holds
    free, kept = (kept == ratio) | np.isnan(kept), weighted(one, kept)
    return tangent_exp(kept), np.where(free, tangent_exp_slope(kept), 0.0)


def weighted(one: One, d: Array) -> Array:
    """Log of w e^d; -∞ of a token that is not let through, unless its d is NaN."""
    return np.where(np.isinf(d) & ~one.kept, 0.0, d) + one.w
