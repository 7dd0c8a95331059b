"""The torch twins of the skeletons and their points: same maths, same arguments, any device, no Triton.

They compute in float32, and in float64 where they are given float64. `poz.kernels.loss` runs them where there is no
GPU; tests hold the kernels against them and both against `poz.reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from poz.kernels.plan import ListPlan, PairPlan

Columns = Sequence[Tensor]
Params = tuple[float, ...]
Slopes = tuple[Tensor, Tensor, Tensor]
Point = Callable[[Tensor, Tensor, Columns, Params], Slopes]


def pairs(
    plan: PairPlan,
    logps: Tensor,
    offsets: Tensor,
    anchors: Sequence[Tensor],
    columns: Columns,
    lengths: Tensor | None,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """Loss of each pair and its gradient in every token; see `poz.kernels.pairs.pairs` for the arguments."""
    values = _values(logps, anchors, plan.weights)
    count = offsets.numel() // 2
    segment, power = _walk(offsets, values, plan.discount)
    scores = _sums(values * power, segment, 2 * count)
    divisors = _divisors(offsets, lengths, scores) if plan.mean else torch.ones_like(scores)
    chosen, rejected = (scores / divisors).view(2, count)
    numbers = [column.to(values.dtype) for column in columns]
    if plan.base is None:
        losses, up, down = POINTS[plan.point](chosen, rejected, numbers, plan.params)
    else:
        losses, up, down = OVER[plan.point](chosen, rejected, numbers, plan.params, POINTS[plan.base])
    if not with_gradient:
        return losses, None
    return losses, _spread(torch.cat([up, down]) / divisors, segment) * power


def ranked(
    plan: ListPlan,
    logps: Tensor,
    offsets: Tensor,
    lists: Tensor,
    anchors: Sequence[Tensor],
    rewards: Tensor | None,
    lengths: Tensor | None,
    longest: int,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """Loss of each list and its gradient in every token; see `poz.kernels.ranked.ranked` for the arguments."""
    values = _values(logps, anchors, plan.weights)
    segment, _ = _walk(offsets, values, 1.0)
    sums = _sums(values, segment, offsets.numel() - 1)
    divisors = _divisors(offsets, lengths, sums) if plan.mean else torch.ones_like(sums)
    place = lists[:-1, None] + torch.arange(longest, device=lists.device)
    valid = place < lists[1:, None]
    place = torch.where(valid, place, sums.numel())

    def table(x: Tensor) -> Tensor:
        return torch.cat([x, x.new_zeros(1)])[place]

    known = torch.zeros_like(sums) if rewards is None else rewards.to(values.dtype)
    losses, slopes = LIST_POINTS[plan.point](table(sums / divisors), table(known), valid, plan.params)
    slopes = slopes / table(divisors).clamp(min=1.0)
    if plan.sft_weight and longest:
        pull = plan.sft_weight * (valid.sum(1).to(values.dtype) - 1.0).square()
        losses = losses - _times(pull, table(sums)[:, 0])
        slopes = torch.cat([slopes[:, :1] - pull[:, None], slopes[:, 1:]], dim=1)
    if not with_gradient:
        return losses, None
    per_completion = sums.new_zeros(sums.numel() + 1).scatter(0, place[valid], slopes[valid])[:-1]
    return losses, _spread(per_completion, segment)


def _values(logps: Tensor, anchors: Sequence[Tensor], weights: Params) -> Tensor:
    dtype = torch.promote_types(logps.dtype, torch.float32)
    values = logps.to(dtype)
    for weight, anchor in zip(weights, anchors, strict=True):
        values = values - _times(values.new_tensor(weight), anchor.to(dtype))
    return values


def _walk(offsets: Tensor, values: Tensor, discount: float) -> tuple[Tensor, Tensor]:
    # Segment of each token, from 1 on; 0 and the last number are in front of and behind all segments.
    token = torch.arange(values.numel(), device=offsets.device)
    segment = torch.searchsorted(offsets, token, right=True)
    if discount == 1.0:
        return segment, torch.ones_like(values)
    step = token - torch.cat([offsets.new_zeros(1), offsets])[segment]
    return segment, values.new_tensor(discount) ** step.to(values.dtype)


def _sums(values: Tensor, segment: Tensor, count: int) -> Tensor:
    return values.new_zeros(count + 2).index_add(0, segment, values)[1:-1]


def _spread(slopes: Tensor, segment: Tensor) -> Tensor:
    edge = slopes.new_zeros(1)
    return torch.cat([edge, slopes, edge])[segment]


def _divisors(offsets: Tensor, lengths: Tensor | None, like: Tensor) -> Tensor:
    return (offsets.diff() if lengths is None else lengths).to(like.dtype).clamp(min=1.0)


def _softplus(x: Tensor) -> Tensor:
    return x.clamp(min=0.0) + torch.log1p(torch.exp(-x.abs()))


def _times(weight: Tensor, value: Tensor) -> Tensor:
    return torch.where((weight == 0.0) & ~value.isnan(), 0.0, weight * value)


def _soft_label(z: Tensor, hit: Tensor, miss: Tensor) -> Tensor:
    return torch.log1p(torch.exp(-z.abs())) + _times(torch.where(z > 0.0, miss, hit), z.abs())


def _along(loss: Tensor, slope: Tensor) -> Slopes:
    return loss, slope, -slope


def _logistic(chosen: Tensor, rejected: Tensor, columns: Columns, params: Params) -> Slopes:
    beta, smoothing = params
    return _simpo_logistic(chosen, rejected, columns, (beta, 0.0, smoothing))


def _squared(chosen: Tensor, rejected: Tensor, columns: Columns, params: Params) -> Slopes:
    return _mnpo_squared(chosen, rejected, columns, (1.0, params[0]))


def _simpo_logistic(chosen: Tensor, rejected: Tensor, columns: Columns, params: Params) -> Slopes:
    beta, gamma, smoothing = params
    z = beta * (chosen - rejected) - gamma
    miss = z.new_tensor(smoothing)
    return _along(_soft_label(z, 1.0 - miss, miss), beta * (miss - torch.sigmoid(-z)))


def _simpo_swapped(chosen: Tensor, rejected: Tensor, columns: Columns, params: Params) -> Slopes:
    beta, gamma, smoothing = params
    z, other = beta * (chosen - rejected) - gamma, beta * (rejected - chosen) - gamma
    keep, flip = z.new_tensor(1.0 - smoothing), z.new_tensor(smoothing)
    loss = _times(keep, _softplus(-z)) + _times(flip, _softplus(-other))
    return _along(loss, beta * (flip * torch.sigmoid(-other) - keep * torch.sigmoid(-z)))


def _simpo_hinge(chosen: Tensor, rejected: Tensor, columns: Columns, params: Params) -> Slopes:
    beta, gamma = params
    room = 1.0 - (beta * (chosen - rejected) - gamma)
    slope = torch.where(room <= 0.0, 0.0, torch.where(room > 0.0, -1.0, room))
    return _along(torch.relu(room), beta * slope)


def _cpl_labelled(chosen: Tensor, rejected: Tensor, columns: Columns, params: Params) -> Slopes:
    alpha, bias = params
    label, unlabel = columns[0], 1.0 - columns[0]
    wrong, other = alpha * (bias * rejected - chosen), alpha * (bias * chosen - rejected)
    loss = _times(label, _softplus(wrong)) + _times(unlabel, _softplus(other))
    ours, theirs = alpha * label * torch.sigmoid(wrong), alpha * unlabel * torch.sigmoid(other)
    return loss, bias * theirs - ours, bias * ours - theirs


def _cpl_cloning(chosen: Tensor, rejected: Tensor, columns: Columns, params: Params) -> Slopes:
    return -(_times(columns[0], chosen) + _times(columns[1], rejected)), -columns[0], -columns[1]


def _target(columns: Columns, number: float, like: Tensor) -> Tensor:
    return number * columns[0] if columns else torch.full_like(like, number)


def _mnpo_squared(chosen: Tensor, rejected: Tensor, columns: Columns, params: Params) -> Slopes:
    a = params[0] * (chosen - rejected)
    error = a - _target(columns, params[1], a)
    return _along(error.square(), 2.0 * params[0] * error)


def _mnpo_backward_kl(chosen: Tensor, rejected: Tensor, columns: Columns, params: Params) -> Slopes:
    b = _target(columns, params[1], chosen)
    side = torch.where(b < 0.0, -1.0, 1.0).to(b.dtype)
    a, b = side * params[0] * (chosen - rejected), side * b
    miss = torch.sigmoid(-b)
    loss = _soft_label(a, 1.0 - miss, miss) - torch.log1p(torch.exp(-b)) - _times(miss, b)
    return _along(loss, side * params[0] * (miss - torch.sigmoid(-a)))


def _lcpo_gibbs(chosen: Tensor, rejected: Tensor, columns: Columns, params: Params, base: Point) -> Slopes:
    loss, up, down = base(chosen, rejected, columns[1:2], params)
    other, other_up, other_down = base(rejected, chosen, columns[2:3], params)
    u = other - loss
    w, miss = torch.sigmoid(u + columns[0]), torch.sigmoid(-u - columns[0])
    slope = torch.sigmoid(u) * miss * (1.0 - torch.exp(columns[0]))
    return _soft_label(u, w, miss), slope * (other_down - up), slope * (other_up - down)


def _lcpo_weighted(chosen: Tensor, rejected: Tensor, columns: Columns, params: Params, base: Point) -> Slopes:
    loss, up, down = base(chosen, rejected, columns[1:2], params)
    other, other_up, other_down = base(rejected, chosen, columns[2:3], params)
    w, miss = torch.sigmoid(other - loss + columns[0]), torch.sigmoid(loss - other - columns[0])
    return _times(w, loss) + _times(miss, other), w * up + miss * other_down, w * down + miss * other_up


def _pro_reward_gap(scores: Tensor, rewards: Tensor, valid: Tensor, params: Params) -> tuple[Tensor, Tensor]:
    return _pro(scores, rewards[:, :, None] - rewards[:, None, :], valid)


def _pro_none(scores: Tensor, rewards: Tensor, valid: Tensor, params: Params) -> tuple[Tensor, Tensor]:
    return _pro(scores, scores.new_ones(()).expand(*scores.shape, scores.shape[1]), valid)


def _pro(scores: Tensor, gaps: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    later = (valid[:, :, None] & valid[:, None, :]).triu(1)
    some = later.any(2)
    if not scores.shape[1]:
        return scores.sum(1), scores
    largest = torch.where(later, gaps, -torch.inf).amax(2).where(some, 0.0)
    own = _times(largest, scores)
    others = torch.where(later, _times(gaps, scores[:, None, :]), -torch.inf)
    top = torch.maximum(own, others.amax(2))
    shares = torch.exp(others - top[:, :, None])
    rest = shares.sum(2)
    total = torch.exp(own - top) + rest
    losses = torch.where(own >= top, torch.log1p(rest), top - own + torch.log(total))
    pulls = torch.where(later, gaps * (shares / total[:, :, None]), 0.0)
    slopes = pulls.sum(1) - torch.where(some, largest * (rest / total), 0.0)
    return torch.where(some, losses, 0.0).sum(1), slopes


def _cpl_comparisons(scores: Tensor, rewards: Tensor, valid: Tensor, params: Params) -> tuple[Tensor, Tensor]:
    alpha, bias = params
    better = (rewards[:, :, None] > rewards[:, None, :]) & valid[:, :, None] & valid[:, None, :]
    x = alpha * (bias * scores[:, None, :] - scores[:, :, None])
    count = better.sum((1, 2)).clamp(min=1).to(scores.dtype)
    slope = torch.where(better, alpha * torch.sigmoid(x), 0.0)
    losses = torch.where(better, _softplus(x), 0.0).sum((1, 2)) / count
    return losses, (bias * slope.sum(1) - slope.sum(2)) / count[:, None]


POINTS: dict[str, Point] = {
    "dpo.logistic": _logistic,
    "ipo.squared": _squared,
    "simpo.logistic": _simpo_logistic,
    "simpo.swapped": _simpo_swapped,
    "simpo.hinge": _simpo_hinge,
    "cpl.labelled": _cpl_labelled,
    "cpl.cloning": _cpl_cloning,
    "vpo.logistic": _logistic,
    "inpo.squared": _squared,
    "mnpo.squared": _mnpo_squared,
    "mnpo.backward_kl": _mnpo_backward_kl,
}
"""Points of the pair skeleton, by "file.function" of the kernel."""

OVER: dict[str, Callable[[Tensor, Tensor, Columns, Params, Point], Slopes]] = {
    "lcpo.gibbs": _lcpo_gibbs,
    "lcpo.weighted": _lcpo_weighted,
}
"""Points over another point."""

LIST_POINTS: dict[str, Callable[[Tensor, Tensor, Tensor, Params], tuple[Tensor, Tensor]]] = {
    "pro.reward_gap": _pro_reward_gap,
    "pro.none": _pro_none,
    "cpl_ranking.comparisons": _cpl_comparisons,
}
"""Points of ranked lists: (scores, rewards, valid (lists, longest), params) -> (losses, d loss / d score)."""
