"""Advantages of completions, by comparison within a group.

Trainers that name the same paper differ in the deviation (n or n - 1 in its denominator, what is added to it), so both are
parameters: TRL 1.16 `ddof=1, epsilon=1e-4`, verl@1dda039 1 and 1e-6, OpenRLHF@3c3be62 1 and 1e-9, NeMo-RL@7ea279a
`leave_one_out=True` and 1e-6 (tests/authors/advantages.json has what each of them gave).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from poz._given import given
from poz.advantages._members import (
    Members,
    delta_degrees,
    deviation,
    divided,
    finite,
    ids,
    members,
    number,
    rewarded,
)
from poz.advantages._processes import over
from poz.advantages.whitening import spread_over, whiten
from poz.backends import Array, Namespace
from poz.rewards._arrays import same_shape, scores


@given
def group(
    rewards: Array,
    groups: Array,
    *,
    epsilon: float = 0.0,
    ddof: int = 1,
    leave_one_out: bool = False,
    processes: Any = None,
) -> Array:
    """GRPO: (R - mean of the group) / (its deviation + ε). Shao et al. 2024, arXiv 2402.03300, section 4.1.2.

    The paper has neither an ε nor says which deviation. Where that is 0, nothing is divided.

    Args:
        rewards: (batch,) R.
        groups: (batch,) integer ids of the prompts.
        epsilon: ε >= 0, in the unit of the rewards.
        ddof: 1 for the deviation of a sample, 0 for that of the population.
        leave_one_out: Mean and deviation of the others, as NeMo-RL has by default; takes memory for batch² numbers.
        processes: See `poz.advantages`.

    Returns:
        (batch,) advantages, without a unit.

    Raises:
        TypeError: No floating-point rewards, no integers as ids, or two libraries.
        ValueError: Shapes that do not fit, a reward that is not finite, an ε below 0, another ddof.
    """
    epsilon, ddof = number("group", "epsilon", epsilon), delta_degrees("group", ddof)

    def compared(xp: Namespace, m: Members, x: Array) -> Array:
        centred = m.centred(x)
        if leave_one_out:
            return divided(xp, _scaled(xp, m, centred), _deviation_of_others(xp, m, x, ddof), epsilon)
        return divided(xp, centred, m.std(x, ddof), epsilon)

    return _by_group("group", compared, rewards, groups, processes)


@given
def group_mean(rewards: Array, groups: Array, *, processes: Any = None) -> Array:
    """Dr. GRPO: R - mean of the group. Liu et al. 2025, arXiv 2503.20783; (K - 1) / K of `leave_one_out`.

    Args:
        rewards: (batch,) R.
        groups: (batch,) integer ids of the prompts.
        processes: See `poz.advantages`.

    Returns:
        (batch,) advantages in the unit of the rewards. Errors as of `group`.
    """
    return _by_group("group_mean", lambda xp, m, x: m.centred(x), rewards, groups, processes)


@given
def leave_one_out(rewards: Array, groups: Array, *, processes: Any = None) -> Array:
    """RLOO: R - mean of the others of the group, an unbiased baseline. Ahmadian et al. 2024, arXiv 2402.14740, eq. 6.

    Args:
        rewards: (batch,) R.
        groups: (batch,) integer ids of the prompts.
        processes: See `poz.advantages`.

    Returns:
        (batch,) advantages in the unit of the rewards. Errors as of `group`.
    """
    return _by_group("leave_one_out", lambda xp, m, x: _scaled(xp, m, m.centred(x)), rewards, groups, processes)


@given
def batch_std(rewards: Array, groups: Array, *, epsilon: float = 0.0, ddof: int = 1, processes: Any = None) -> Array:
    """(R - mean of the group) / (deviation of all rewards of the batch + ε). Liu et al. 2025, arXiv 2508.08221.

    As TRL 1.16 does with `scale_rewards="batch"`, which adds 1e-4; the paper was not read.

    Args:
        rewards: (batch,) R.
        groups: (batch,) integer ids of the prompts.
        epsilon: ε >= 0, in the unit of the rewards.
        ddof: 1 for the deviation of a sample, 0 for that of the population.
        processes: See `poz.advantages`.

    Returns:
        (batch,) advantages, without a unit. Errors as of `group`.
    """
    epsilon, ddof = number("batch_std", "epsilon", epsilon), delta_degrees("batch_std", ddof)

    def compared(xp: Namespace, m: Members, x: Array) -> Array:
        apart = x - x[:1]
        spread = apart - xp.sum(apart) / max(x.shape[0], 1)
        most = xp.amax(abs(spread), 0) if x.shape[0] else xp.sum(spread)
        std = deviation(xp, spread, most, xp.sum, xp.constant(x.shape[0], x), ddof)
        return divided(xp, m.centred(x), std, epsilon)

    return _by_group("batch_std", compared, rewards, groups, processes)


@given
def length_weighted(rewards: Array, groups: Array, lengths: Array, *, processes: Any = None) -> Array:
    """OPO: R - Σ T R / Σ T over the group, T the tokens of a completion. Hao et al. 2025, arXiv 2505.23585.

    Args:
        rewards: (batch,) R.
        groups: (batch,) integer ids of the prompts.
        lengths: (batch,) numbers of tokens; 0 counts as 1.
        processes: See `poz.advantages`.

    Returns:
        (batch,) advantages in the unit of the rewards.

    Raises:
        TypeError, ValueError: As of `group`, and lengths of another shape or below 0.
    """
    xp, rewards = rewarded("length_weighted", rewards)
    if not xp.is_array(lengths) or xp.kind(lengths) not in ("integer", "real", "half"):
        raise TypeError(
            f"length_weighted needs numbers of {xp.name} for lengths; got {getattr(lengths, 'dtype', lengths)}."
        )
    same_shape("length_weighted", rewards=rewards, lengths=lengths)
    known = xp.values(lengths)
    if known is not None and not ((known >= 0) & (known < float("inf"))).all():
        raise ValueError(
            f"length_weighted needs lengths of 0 or more; got {known[~((known >= 0) & (known < float('inf')))][0]}."
        )
    lengths = xp.maximum(xp.astype(lengths, rewards), 1.0)

    def compared(x: Array, groups: Array, lengths: Array) -> Array:
        m = members(xp, groups)
        apart = x - m.first(x)
        return apart - m.sum(lengths * apart) / m.sum(lengths)

    return over(processes, compared, rewards, ids("length_weighted", xp, rewards, groups), lengths)


@given
def pass_at_k(
    rewards: Array, groups: Array, *, normalize: bool = False, epsilon: float = 0.0, processes: Any = None
) -> Array:
    """Only the best of a group counts, by how much it beats the second best: an unbiased gradient of its maximum.

    Tang et al. 2025, arXiv 2503.19595. Where two are best, nobody is. verl divides by the group's deviation + 1e-6
    (`normalize=True, epsilon=1e-6`), and raises for a group of one, which has 0 here.

    Args:
        rewards: (batch,) R.
        groups: (batch,) integer ids of the prompts.
        normalize: Divide by the sample deviation of the group + ε.
        epsilon: ε >= 0, in the unit of the rewards.
        processes: See `poz.advantages`.

    Returns:
        (batch,) advantages, 0 but for the best of each group. Errors as of `group`.
    """
    epsilon = number("pass_at_k", "epsilon", epsilon)

    def compared(xp: Namespace, m: Members, x: Array) -> Array:
        order = m.ascending(x)
        last = m.start + m.size - 1
        second = xp.gather(order, xp.where(m.size > 1, last - 1, last))
        best = xp.argsort(order) == last
        gap = xp.where(best, x - xp.gather(x, second), m.sum(0 * x))  # NaN where the group has one
        return divided(xp, gap, m.std(x, 1), epsilon) if normalize else gap

    return _by_group("pass_at_k", compared, rewards, groups, processes)


@given
def greedy_baseline(rewards: Array, greedy: Array) -> Array:
    """ReMax: R minus the reward of the greedy completion of the same prompt. Li et al. 2023, arXiv 2310.10505, eq. 5.

    Args:
        rewards: (batch,) R.
        greedy: (batch,) rewards of the greedy completions.

    Returns:
        (batch,) advantages in the unit of the rewards. Errors as of `group`.
    """
    xp, rewards, greedy = scores("greedy_baseline", rewards=rewards, greedy=greedy)
    same_shape("greedy_baseline", rewards=rewards, greedy=greedy)
    finite("greedy_baseline", xp, rewards=rewards, greedy=greedy)
    return xp.stop_gradient(rewards - greedy)


@given
def gdpo(
    rewards: Array,
    groups: Array,
    *,
    weights: Sequence[float] | None = None,
    mask: Array = None,
    epsilon: float = 0.0,
    ddof: int = 1,
    leave_one_out: bool = False,
    processes: Any = None,
) -> Array:
    """GDPO: each reward by itself as in `group`, their weighted sum, and that whitened over the batch. arXiv 2601.05242.

    Summed first, rewards of different scales would drown each other. TRL 1.16 and NeMo-RL whiten over completions, verl
    over tokens. The paper was not read.

    Args:
        rewards: (batch, rewards) R of each kind.
        groups: (batch,) integer ids of the prompts.
        weights: One for each kind of reward, below 0 for what is to be avoided; 1 for all where not given.
        mask: (batch, tokens) true at tokens, over which it is then whitened; the completions where not given.
        epsilon: ε >= 0, added to each deviation.
        ddof: 1 for the deviation of a sample, 0 for that of the population.
        leave_one_out: As of `group`.
        processes: See `poz.advantages`.

    Returns:
        (batch,) advantages, without a unit. Errors as of `group`, and for weights that do not fit.
    """
    xp, rewards = rewarded("gdpo", rewards, 2)
    kinds = rewards.shape[1]
    weights = [1.0] * kinds if weights is None else [float(w) for w in weights]
    if not all(abs(w) < float("inf") for w in weights):
        raise ValueError(f"gdpo needs finite weights; got {weights}.")
    if len(weights) != kinds or not kinds:
        raise ValueError(f"gdpo needs a weight for each kind of reward, {kinds}; got {len(weights)}.")
    options: dict[str, Any] = {"epsilon": epsilon, "ddof": ddof, "leave_one_out": leave_one_out}
    parts = [w * group(rewards[:, k], groups, processes=processes, **options) for k, w in enumerate(weights)]
    summed = sum(parts[1:], parts[0])
    if mask is None:
        return whiten(summed, epsilon=epsilon, ddof=ddof, processes=processes)
    whole = whiten(spread_over("gdpo", xp, summed, mask), mask, epsilon=epsilon, ddof=ddof, processes=processes)
    return xp.sum(whole, 1) / xp.maximum(xp.sum(xp.astype(mask, summed), 1), 1.0)  # they are equal in a completion


def _by_group(
    function: str, compared: Callable[[Namespace, Members, Array], Array], rewards: Array, groups: Array, processes: Any
) -> Array:
    xp, rewards = rewarded(function, rewards)
    groups = ids(function, xp, rewards, groups)
    return over(processes, lambda x, of: compared(xp, members(xp, of), x), rewards, groups)


def _scaled(xp: Namespace, m: Members, centred: Array) -> Array:
    """R minus the mean of the others is K / (K - 1) times R minus the mean of all; 0 where there are no others."""
    count = m.count(centred)
    return centred * (count / xp.maximum(count - 1, 1.0))


def _deviation_of_others(xp: Namespace, m: Members, x: Array, ddof: int) -> Array:
    """Of each completion the deviation of the others in its group, exactly 0 where these are equal."""
    places = xp.argsort(m.order)  # where each stands among the sorted
    another = m.start + xp.where((places == m.start) & (m.size > 1), m.start * 0 + 1, m.start * 0)
    other = xp.gather(x, xp.gather(m.order, another))
    alike = (m.index[:, None] == m.index[None, :]) & (places[:, None] != places[None, :])
    zero = xp.constant(0.0, x)
    apart = xp.where(alike, x[:, None] - other, zero)  # of a column the others, in its rows
    count = m.count(x) - 1
    spread = xp.where(alike, apart - xp.sum(apart, 0) / xp.maximum(count, 1.0), zero)
    most = xp.amax(abs(spread), 0) if x.shape[0] else x
    return deviation(xp, spread, most, lambda squares: xp.sum(squares, 0), count, ddof)
