"""What every objective on rollouts takes alike: how tokens add up, what the reference costs, how the sampler is corrected."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, get_type_hints

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.counts import Counts
from poz.domains import FLAG, Choice, Real
from poz.families import Rollouts
from poz.objective import Values

AGGREGATIONS = ("sequence_mean", "token_mean", "sequence_sum")
ESTIMATORS = ("k1", "k2", "k3", "abs", "k1+", "k3+", "s*k1", "r*k1", "r*k3")
CORRECTIONS = ("none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_mask")


class Steps(NamedTuple):
    """What the term of a token is made of, all (batch, tokens) and 0 where the mask is false.

    Attributes:
        xp: The backend.
        logps: l, log π.
        old: o, the same of the policy that the update started from, held constant.
        log_ratio: l - o, against the policy that the update started from.
        advantages: A, or (batch, 1) where all tokens of a completion have one.
        valid: 1 at tokens, 0 elsewhere.
        count: (batch, 1) how many tokens there are, at least 1.
        log_weights: Log of what corrects the sampler, (batch, tokens) or (batch, 1), -∞ where nothing is left; held constant.
        kept: 1 where the correction lets a token through, 0 where it does not; 1 where it lets all through.
        ref: q, the log-probs of the reference, held constant, where they are given.
        noise: What tokens are chosen by at random, where it is given.
        groups: (batch,) ids of the prompts, where they are given.
    """

    xp: Namespace
    logps: Array
    old: Array
    log_ratio: Array
    advantages: Array
    valid: Array
    count: Array
    log_weights: Array
    kept: Array
    ref: Array = None
    noise: Array = None
    groups: Array = None

    def mean(self, x: Array) -> Array:
        """(batch, 1) mean over the tokens of a completion."""
        return self.xp.sum(x, -1)[..., None] / self.count

    def weighted(self, log_ratio: Array) -> Array:
        """w e^log_ratio, as one exponential: a huge weight of a tiny ratio is neither infinite nor 0."""
        return terms.exponential(self.xp, terms.spared(self.xp, self.kept, log_ratio) + self.log_weights)

    def surrogate(self, x: Array) -> Array:
        """-A x; 0 where A is 0, whatever x."""
        return -terms.times(self.xp, self.advantages, x)


def shared(
    *,
    aggregation: Annotated[str, Choice("how tokens add up to a completion, and completions to a loss", AGGREGATIONS)],
    length: Annotated[float, Real("L, what `sequence_sum` divides by", low=0, open="low", usual=(1.0, 20.0))] = 1.0,
    count_empty: Annotated[bool, Choice("completions without a token count in the mean", FLAG)] = True,
    per_token: Annotated[bool, Choice("advantages are of tokens, `token_advantages`", FLAG)] = False,
    kl_weight: Annotated[float, Real("β, weight of the KL to the reference", low=0)] = 0.0,
    kl: Annotated[
        str,
        Choice(
            "estimator of the KL; + has the gradient of k2, s* that of its expectation, r* is weighted by the ratio",
            ESTIMATORS,
        ),
    ] = "k3",
    entropy_weight: Annotated[float, Real("weight of the entropy, which is rewarded", low=0)] = 0.0,
    correction: Annotated[str, Choice("how the sampler is corrected for", CORRECTIONS)] = "none",
    correction_low: Annotated[float, Real("least weight that is let through", low=0, usual=(0.0, 1.0))] = 0.0,
    correction_high: Annotated[float, Real("greatest weight that is let through", low=1, usual=(1.0, 5.0))] = 2.0,
    off_policy_limit: Annotated[
        float | None,
        Real("δ, mean of b - l in nats beyond which a completion that did badly is dropped", low=0, optional=True),
    ] = None,
) -> None:
    """Signature of what is shared."""


SHARED = inspect.signature(shared).parameters
HINTS = get_type_hints(shared, include_extras=True)


def needs(p: Values) -> str:
    """The fields that are read."""
    there = ["logps", "token_advantages" if p["per_token"] else "advantages"]
    there += ["ref_logps"] * _given(p["kl_weight"]) + ["sampler_logps"] * (p["correction"] != "none")
    return " ".join(there + ["entropy"] * _given(p["entropy_weight"]))


def coupled(p: Values) -> str:
    """What ties a batch together."""
    if p["aggregation"] == "token_mean":
        return "a token weighs one over the tokens of the batch"
    return "" if p["count_empty"] else "the completions with a token are counted"


def counted(p: Values, whole: Counts) -> tuple[Values, Any]:
    """What does without the rest of a batch that counts so much, and what its losses lack."""
    completions, tokens, counting = (n + (n == 0) for n in (*whole[:2], whole.completions - whole.empty))
    if p["aggregation"] == "token_mean":
        return {"aggregation": "sequence_sum", "length": tokens / completions, "count_empty": True}, 1.0
    return {"count_empty": True}, completions / counting


def unordered(p: Values) -> str | None:
    """That nothing lies between the bounds of the correction."""
    low, high = p["correction_low"], p["correction_high"]
    if p["correction"] == "none" or not all(isinstance(x, int | float) for x in (low, high)) or low <= high:
        return None
    return f"needs correction_low of at most correction_high; got {low} and {high}. No weight lies between them."


DECLARED: dict[str, Any] = {
    "reads": needs,
    "optional": "mask old_logps sampler_logps",
    "coupled": coupled,
    "counted": counted,
    "constraint": unordered,
    "gradient_stops": "all log-probs but the policy's, advantages, and the weights that correct the sampler",
}
"""What every objective on rollouts declares."""


def member(*, weighs: bool = False, **defaults: Any) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Makes a loss of the term of a token, `term(steps, *, hyper-parameters)`, with what is shared.

    `defaults` are other ones than those of `shared`; `weighs` says that the term has the sampler's weights in it, as what
    is made of `Steps.weighted` has.
    """

    def decorate(term: Callable[..., Array]) -> Callable[..., Array]:
        own = [p for p in inspect.signature(term).parameters.values() if p.kind is p.KEYWORD_ONLY]
        added = [p.replace(default=defaults.get(p.name, p.default)) for p in SHARED.values()]
        names = {p.name for p in own}

        @functools.wraps(term)
        def loss(xp: Namespace, rollouts: Rollouts, **values: Any) -> Array:
            mine = {name: values.pop(name) for name in names}
            return _loss(xp, rollouts, functools.partial(term, **mine), weighs, **values)

        place = inspect.Parameter.POSITIONAL_OR_KEYWORD
        head = [inspect.Parameter("xp", place), inspect.Parameter("rollouts", place)]
        hints = {"xp": Namespace, "rollouts": Rollouts, **get_type_hints(term, include_extras=True), **HINTS}
        loss.__annotations__ = {**{name: hints[name] for name in ("xp", "rollouts", *names, *SHARED)}, "return": Array}
        loss.__signature__ = inspect.Signature([*head, *own, *added], return_annotation=Array)  # type: ignore[attr-defined]
        return loss

    return decorate


def _loss(xp: Namespace, r: Rollouts, term: Callable[[Steps], Array], weighs: bool, **p: Any) -> Array:
    logps = terms.masked(xp, r.logps, r.mask)
    valid = terms.masked(xp, xp.ones_like(logps), r.mask)
    old, ref, sampler = (_constant(xp, x, r.mask) for x in (r.old_logps, r.ref_logps, r.sampler_logps))
    log_ratio = slope_of(xp, logps) if old is None else logps - old
    old = xp.stop_gradient(logps) if old is None else old
    count = xp.sum(valid, -1)[..., None]
    advantages = r.token_advantages if p["per_token"] else r.advantages[..., None]
    advantages = xp.stop_gradient(xp.astype(advantages, logps))
    advantages = terms.masked(xp, advantages, r.mask) if p["per_token"] else advantages
    at_least, given = xp.maximum(count, 1.0), (ref, r.noise, r.groups)
    steps = Steps(xp, logps, old, log_ratio, advantages, valid, at_least, 0 * count, 1.0, *given)
    corrected = log_weights(steps, old - sampler, p) if p["correction"] != "none" else None
    x = term(steps._replace(**corrected) if corrected and weighs else steps)
    if corrected and not weighs:
        x = terms.times(xp, terms.exponential(xp, corrected["log_weights"]), x)
    if p["off_policy_limit"] is not None:
        x = xp.where(dropped(steps, old if sampler is None else sampler, p["off_policy_limit"]), xp.constant(0.0, x), x)
    if _given(p["kl_weight"]):
        x = x + p["kl_weight"] * divergence(steps, ref, p["kl"])
    if _given(p["entropy_weight"]):
        x = x - p["entropy_weight"] * terms.masked(xp, r.entropy, r.mask)
    total = xp.sum(terms.masked(xp, x + 0 * valid, r.mask), -1)
    return total * share(xp, count[..., 0], p["aggregation"], p["length"], p["count_empty"])


def log_weights(at: Steps, apart: Array, p: Values) -> dict[str, Array]:
    """`log_weights`, how much likelier the old policy is than the sampler within its bounds, and `kept`; `apart` is o - b."""
    xp, (level, how) = at.xp, p["correction"].split("_")
    judged = apart if level == "token" else at.mean(apart) if level == "geometric" else xp.sum(apart, -1)[..., None]
    low, high = (log(xp, terms.numbers(xp, p[f"correction_{end}"], judged)) for end in ("low", "high"))
    if how == "truncate":
        within = xp.where(judged > high, high, xp.where(judged < low, low, judged))
        return {"log_weights": within}
    gone, weights = (judged < low) | (judged > high), apart if level == "geometric" else judged
    kept = xp.where(gone, 0 * xp.ones_like(judged), xp.ones_like(judged))
    return {"log_weights": xp.where(gone, xp.constant(-np.inf, weights), weights), "kept": kept}


def slope_of(xp: Namespace, x: Array) -> Array:
    """0, with the gradient of x where that is finite."""
    finite = terms.spared(xp, 0.0, x)
    return finite - xp.stop_gradient(finite)


def log(xp: Namespace, x: Array) -> Array:
    """The logarithm, -∞ of 0 without a warning."""
    above = x > 0
    return xp.where(above, xp.log(xp.where(above, x, xp.ones_like(x))), xp.constant(-np.inf, x))


def dropped(at: Steps, sampler: Array, limit: Array) -> Array:
    """Whether a token counts no more: the policy has gone far from a completion that did badly (DeepSeek-V3.2)."""
    return (at.advantages < 0) & (at.mean(at.valid * (sampler - at.xp.stop_gradient(at.logps))) > limit)


def divergence(at: Steps, ref: Array, estimator: str) -> Array:
    """An estimate of KL(π || π_ref) from one token, with x = log π_ref - log π."""
    xp, x, d = at.xp, ref - at.logps, at.log_ratio
    if estimator in ("k1", "k2", "abs"):
        return {"k1": -x, "k2": x**2 / 2, "abs": xp.relu(x) + xp.relu(-x)}[estimator]
    if estimator == "k3":
        return _k3(xp, x)
    if estimator == "r*k1":
        return -x * terms.exponential(xp, d)
    still, d = xp.stop_gradient(x), xp.stop_gradient(d)
    if estimator == "r*k3":
        value, slope = _weighted_k3(xp, still, d, ref - at.old)
    else:
        value = _k3(xp, still) if estimator == "k3+" else -still
        slope = 1 - still if estimator == "s*k1" else -still
    return value + slope * slope_of(xp, at.logps)


def _weighted_k3(xp: Namespace, x: Array, d: Array, apart: Array) -> tuple[Array, Array]:
    """e^d (e^x - x - 1) and its slope -x e^d; `apart` is d + x, so that no e^x is held against its like.

    That is how far the exponential at d + x lies above its tangent at d, also where it goes on straight from `terms.CAP` on.
    """
    straight, zero = d > terms.CAP, xp.constant(0.0, d)
    ratio = xp.exp(xp.where(straight, xp.constant(terms.CAP, d), d))
    far = terms.exponential(xp, apart) - (1 + x) * ratio
    left = xp.where(apart < terms.CAP, apart - terms.CAP, zero)
    near = ratio * _k3(xp, xp.where(straight, left, x))
    return xp.where((abs(x) < 1) | straight, near, far), xp.where(straight, zero, -x * ratio)


def _k3(xp: Namespace, x: Array) -> Array:
    """e^x - x - 1; near 0, where it would cancel, x²/2 + x³/6 + ..., whose next term is below 1e-17 of it."""
    near = abs(x) < 0.1
    small = xp.where(near, x, 0 * x)
    rest = xp.ones_like(small)
    for k in range(11, 2, -1):
        rest = 1 + small / k * rest
    return xp.where(
        near, small**2 / 2 * rest, terms.exponential_minus_one(xp, xp.where(near, 1 + xp.constant(0.0, x), x)) - x
    )


def share(xp: Namespace, count: Array, aggregation: str, length: Any, count_empty: bool) -> Array:
    """What the sum over a completion's tokens is multiplied with, so that the mean over completions is the loss."""
    some = xp.where(count > 0, xp.ones_like(count), 0 * count)
    counted = 1.0 if count_empty else count.shape[-1] / xp.maximum(xp.sum(some, -1), 1.0)
    if aggregation == "token_mean":
        return count.shape[-1] / xp.maximum(xp.sum(count, -1), 1.0) + 0 * count
    return counted / (xp.maximum(count, 1.0) if aggregation == "sequence_mean" else length) + 0 * count


def _constant(xp: Namespace, x: Array, mask: Array) -> Array:
    return None if x is None else xp.stop_gradient(terms.masked(xp, x, mask))


def _given(value: Any) -> bool:
    """Whether a weight is there; one that is traced is."""
    return type(value) not in (float, int) or value != 0
