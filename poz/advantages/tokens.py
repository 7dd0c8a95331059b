"""Advantages of tokens: returns to go, generalised advantage estimation, baselines of each token.

A hole is a token inside a completion that the policy has not written, such as the answer of a tool. verl and NeMo-RL skip
holes, so that a reward is not discounted for them; OpenRLHF goes on through them (`skip_holes=False`).
"""

from __future__ import annotations

from typing import Any

from poz._given import given
from poz.advantages._members import finite, ids, members, rewarded
from poz.advantages._processes import over
from poz.advantages.groups import group_mean
from poz.advantages.whitening import allowed, spread_over, whiten
from poz.backends import Array, Namespace
from poz.rewards._arrays import same_shape, scores


@given
def at_last(rewards: Array, mask: Array) -> Array:
    """Rewards of tokens from those of completions: all of it at the last valid token, 0 elsewhere.

    Args:
        rewards: (batch,) R.
        mask: (batch, tokens) true at tokens of the completion; of one without any, the reward is lost.

    Returns:
        (batch, tokens) rewards.

    Raises:
        TypeError: No floating-point rewards, no booleans, or two libraries.
        ValueError: Shapes that do not fit, or a reward that is not finite.
    """
    xp, rewards = rewarded("at_last", rewards)
    spread = spread_over("at_last", xp, rewards, mask)
    valid = xp.astype(mask, spread)
    return xp.where((xp.cumsum(valid, 1) == xp.sum(valid, 1)[:, None]) & mask, spread, 0 * spread)


@given
def returns(rewards: Array, mask: Array, *, discount: float = 1.0, skip_holes: bool = True) -> Array:
    """Discounted rewards to go, Σ_{s >= t} γ^(s - t) R_s, counted in valid tokens; 0 where the mask is false.

    Args:
        rewards: (batch, tokens) R of each token; what stands outside the mask is left out.
        mask: (batch, tokens) true at tokens of the completion.
        discount: γ in [0, 1].
        skip_holes: Whether a hole takes no step of γ.

    Returns:
        (batch, tokens) in the unit of the rewards. Errors as of `at_last`, and a γ outside [0, 1].
    """
    xp, rewards = scores("returns", rewards=rewards)
    discount = _share("returns", "discount", discount)
    rewards = _at_tokens("returns", xp, rewards, mask)
    return xp.where(mask, _to_go(xp, rewards, mask, discount, skip_holes), 0 * rewards)


@given
def gae(
    rewards: Array,
    values: Array,
    mask: Array,
    *,
    discount: float = 1.0,
    trace: float = 1.0,
    skip_holes: bool = True,
) -> tuple[Array, Array]:
    """Generalised advantage estimation: A_t = Σ (γλ)^k δ_{t+k}, δ_t = R_t + γ V_{t+1} - V_t. Schulman et al., arXiv 1506.02438.

    Trainers whiten the advantages, `whiten(advantages, mask)`.

    Args:
        rewards: (batch, tokens) R of each token.
        values: (batch, tokens) V, what the critic expects from there on; 0 after the last.
        mask: (batch, tokens) true at tokens of the completion.
        discount: γ in [0, 1].
        trace: λ in [0, 1].
        skip_holes: Whether a hole takes no step of γ and λ, and the value after it is that of the next valid token.

    Returns:
        Advantages and returns A + V, each (batch, tokens) in the unit of the rewards, 0 where the mask is false. Errors as
        of `at_last`, and a γ or λ outside [0, 1].
    """
    xp, rewards, values = scores("gae", rewards=rewards, values=values)
    discount, trace = _share("gae", "discount", discount), _share("gae", "trace", trace)
    same_shape("gae", rewards=rewards, values=values)
    rewards, values = (_at_tokens("gae", xp, x, mask) for x in (rewards, values))
    zero = 0 * values
    at = xp.where(mask, values, zero)
    here = (
        _recurrence(xp, xp.where(mask, zero, zero + 1), at) if skip_holes else at
    )  # V, or that of the next valid token
    gains = rewards + discount * _shifted(xp, here, 1) - at
    gains = xp.where(mask, gains, zero) if skip_holes else gains
    found = _to_go(xp, gains, mask, discount * trace, skip_holes)
    advantages = xp.where(mask, found, zero)
    return advantages, xp.where(mask, advantages + values, zero)


@given
def reinforce_plus_plus(
    rewards: Array,
    mask: Array,
    *,
    discount: float = 1.0,
    skip_holes: bool = True,
    epsilon: float = 0.0,
    ddof: int = 1,
    processes: Any = None,
) -> Array:
    """REINFORCE++: returns to go, whitened over all tokens of the batch. Hu 2025, arXiv 2501.03262.

    verl takes ddof 1, OpenRLHF and NeMo-RL 0. The paper was not read.

    Args:
        rewards: (batch, tokens) R of each token, less what the KL costs it; `at_last` makes them of (batch,).
        mask: (batch, tokens) true at tokens of the completion.
        discount: γ in [0, 1].
        skip_holes: As of `returns`.
        epsilon: ε >= 0, added to the deviation.
        ddof: As of `whiten`.
        processes: See `poz.advantages`.

    Returns:
        (batch, tokens) advantages, without a unit, 0 where the mask is false. Errors as of `returns` and `whiten`.
    """
    found = returns(rewards, mask, discount=discount, skip_holes=skip_holes)
    return whiten(found, mask, epsilon=epsilon, ddof=ddof, processes=processes)


@given
def reinforce_plus_plus_baseline(
    rewards: Array, groups: Array, mask: Array, *, epsilon: float = 0.0, ddof: int = 1, processes: Any = None
) -> Array:
    """REINFORCE++ with a baseline: R - mean of the group at every token, whitened over all tokens of the batch.

    Hu 2025, arXiv 2501.03262, as in verl (ddof 1) and OpenRLHF and NeMo-RL (0); the paper was not read.

    Args:
        rewards: (batch,) R.
        groups: (batch,) integer ids of the prompts.
        mask: (batch, tokens) true at tokens of the completion.
        epsilon: ε >= 0, added to the deviation.
        ddof: As of `whiten`.
        processes: See `poz.advantages`.

    Returns:
        (batch, tokens) advantages, without a unit, 0 where the mask is false. Errors as of `group_mean` and `whiten`.
    """
    xp, rewards = rewarded("reinforce_plus_plus_baseline", rewards)
    centred = group_mean(rewards, groups, processes=processes)
    spread = spread_over("reinforce_plus_plus_baseline", xp, centred, mask)
    return whiten(spread, mask, epsilon=epsilon, ddof=ddof, processes=processes)


@given
def optimal_token_baseline(
    rewards: Array,
    groups: Array,
    mask: Array,
    logps: Array,
    collision: Array,
    *,
    sampler_weights: Array = None,
    processes: Any = None,
) -> Array:
    """Returns to go less the baseline of least variance at each place: Σ W G / Σ W over the group's completions there.

    W_t = Σ_{s <= t} (1 - 2 π_s + Σ_v π_s(v)²), the squared norm of the scores so far. Where one completion of the group is
    left, there is no baseline. As verl@1dda039 `optimal_token_baseline`, whose 1e-8 in the denominator is left out; the paper
    behind it is not named there.

    Args:
        rewards: (batch, tokens) R of each token.
        groups: (batch,) integer ids of the prompts.
        mask: (batch, tokens) true at tokens of the completion, without holes: places are compared with each other.
        logps: (batch, tokens) log π of the tokens, in nats.
        collision: (batch, tokens) Σ_v π(v)², the probability that two draws agree.
        sampler_weights: (batch, tokens) weights by which the sampler is corrected, whose squares multiply W's terms.
        processes: See `poz.advantages`.

    Returns:
        (batch, tokens) advantages in the unit of the rewards, 0 where the mask is false. Errors as of `group` and `at_last`,
        and a mask with holes.
    """
    name = "optimal_token_baseline"
    xp, rewards, logps, collision = scores(name, rewards=rewards, logps=logps, collision=collision)
    weights = xp.ones_like(rewards) if sampler_weights is None else scores(name, rewards=rewards, w=sampler_weights)[2]
    same_shape(name, rewards=rewards, logps=logps, collision=collision, sampler_weights=weights)
    rewards, logps, collision, weights = (_at_tokens(name, xp, x, mask) for x in (rewards, logps, collision, weights))
    if ((known := xp.values(logps)) is not None and (known > 0).any()) or (
        (known := xp.values(collision)) is not None and ((known < 0) | (known > 1)).any()
    ):
        raise ValueError(f"{name} needs log-probs, at most 0, and a collision within 0 and 1, no logarithm of it.")
    known = xp.values(mask)
    if known is not None and (known[:, 1:] & ~known[:, :-1]).any():
        raise ValueError(f"{name} compares completions place by place, so it needs a mask that is true up to its end.")
    valid = xp.astype(mask, rewards)
    to_go = _to_go(xp, rewards, mask, 1.0, True)
    score = xp.cumsum(valid * (1 - 2 * xp.exp(logps) + collision) * weights**2, 1)

    def compared(to_go: Array, score: Array, valid: Array, groups: Array) -> Array:
        m = members(xp, groups)
        norm, several = m.sum(valid * score), m.sum(valid) > 1
        several = several & (norm > 0)
        baseline = m.sum(valid * score * to_go) / xp.where(several, norm, xp.ones_like(norm))
        return valid * (to_go - xp.where(several, baseline, 0 * baseline))

    return over(processes, compared, to_go, score, valid, ids(name, xp, rewards, groups))


def _share(function: str, name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{function} needs {name} within 0 and 1; got {value!r}.")
    return value


def _at_tokens(function: str, xp: Namespace, x: Array, mask: Array) -> Array:
    """(batch, tokens) as data, 0 where the mask is false, whatever stands there."""
    if x.ndim != 2:
        raise ValueError(f"{function} needs numbers of tokens, shape (batch, tokens); got {tuple(x.shape)}.")
    x = xp.stop_gradient(x)
    x = xp.where(allowed(function, xp, x, mask), x, xp.constant(0.0, x))
    finite(function, xp, numbers_of_tokens=x)
    return x


def _shifted(xp: Namespace, x: Array, by: int) -> Array:
    """What stands `by` places later, 0 beyond the end."""
    return xp.concatenate([x[:, by:], 0 * x[:, :by]], 1)


def _recurrence(xp: Namespace, factor: Array, x: Array) -> Array:
    """y_t = x_t + factor_t y_{t+1}, y = 0 beyond the end; by doubling, in log2(tokens) steps instead of tokens."""
    step = 1
    while step < x.shape[1]:
        x, factor = x + factor * _shifted(xp, x, step), factor * _shifted(xp, factor, step)
        step *= 2
    return x


def _to_go(xp: Namespace, x: Array, mask: Array, discount: float, skip_holes: bool) -> Array:
    step = discount + 0 * x
    return _recurrence(xp, xp.where(mask, step, 0 * step + 1) if skip_holes else step, x)
