"""Preference losses straight from packed per-token log-probs: one launch gives the losses and the token gradient.

Tokens of all completions stand in one vector `logps` (tokens,), float of any width, in nats; `offsets`
(completions + 1,) are their borders in it. Losses and gradients are computed in float32. Offsets on a GPU are not
checked: reading them would wait for it.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from poz._extras import HAS_TRITON
from poz.families import layout_of
from poz.kernels import layout, twin
from poz.kernels.packed_checks import check_anchors, check_borders, check_column, check_columns
from poz.kernels.plan import ListPlan, PairPlan, Plan, RolloutPlan, plan

if TYPE_CHECKING:
    from poz.objective import Objective

Implementation = Literal["auto", "triton", "torch"]
Weights = tuple[float, ...]


def token_loss(
    name: str,
    logps: Tensor,
    offsets: Tensor,
    *,
    anchors: Tensor | Sequence[Tensor] = (),
    lengths: Tensor | None = None,
    label: Tensor | None = None,
    margin: Tensor | None = None,
    entropy: Tensor | None = None,
    annotator: Tensor | None = None,
    calibration: Tensor | None = None,
    ref_calibration: Tensor | None = None,
    columns: Mapping[str, Tensor] | None = None,
    implementation: Implementation = "auto",
    **params: Any,
) -> Tensor:
    """Losses (examples,) of an objective on pairs or on single completions, in nats, differentiable in all log-probs.

    An objective without a point function that reads pairs token by token reads three borders, which waits for a GPU.

    Args:
        name: The objective.
        logps: (tokens,) log-probs of the policy: the chosen completions in order, then the rejected ones where the
            objective reads any; or the completions of `poz.Unpaired`.
        offsets: (2 pairs + 1,) borders of the completions; (examples + 1,) where there is one for each example.
        anchors: Log-probs of other policies at the same tokens, (anchors, tokens) or a sequence of (tokens,): the
            reference first where the objective reads it, then each opponent.
        lengths: (completions,) divisors where the objective averages over tokens; the numbers of tokens if not given.
            0 counts as 1.
        label: (pairs,) P(chosen is better), 1 if not given.
        margin: (pairs,) known reward gaps.
        entropy: (pairs,) token entropy of the reference, as `poz.Pairs.entropy`; (tokens,) as `poz.Rollouts.entropy`.
        annotator: (pairs,) integer ids.
        calibration: (samples,) summed log-probs of calibration completions under the policy.
        ref_calibration: (samples,) the same under the reference.
        columns: All other fields of the family that the objective reads, by name: (examples,) or (samples,),
            (pairs, width) of a vector, and (tokens,) what belongs to a token, the sides of a pair in one: `weights`,
            `changed`, `kl`, `collision`, `old_logps`.
        implementation: "triton", "torch" (the twin), or "auto", see `implementation_for`.
        **params: Hyper-parameters of the objective.

    Raises:
        ValueError: Shapes or devices that do not fit, missing data, a hyper-parameter outside its domain.
        RuntimeError: Triton was asked for where it cannot run.
    """
    objective = _objective(name, params)
    if layout_of(objective.family).lists:
        raise ValueError(f"`{name}` reads lists; call list_loss.")
    sides = layout.sides(objective)
    others = check_anchors(objective, anchors)
    offsets = check_borders("offsets", offsets, logps, logps.numel())
    count, over = divmod(offsets.numel() - 1, len(sides))
    if over:
        raise ValueError(f"`{name}` needs 2 pairs + 1 offsets, an odd number; got {offsets.numel()}.")
    given: dict[str, Tensor | None] = {"label": label, "margin": margin, "entropy": entropy, "annotator": annotator}
    sizes, shapes = {"b": count, "bt": logps.numel()}, layout_of(objective.family).shapes
    for what, value, size in (
        *((f"anchors[{i}]", anchor, logps.numel()) for i, anchor in enumerate(others)),
        ("lengths", lengths, offsets.numel() - 1),
        *((what, value, sizes[shapes.get(what, "b")[0]]) for what, value in given.items()),
    ):
        check_column(what, value, logps, size)
    given |= {"calibration": calibration, "ref_calibration": ref_calibration}
    ones = logps.new_ones(count, dtype=torch.promote_types(logps.dtype, torch.float32))
    given["label"] = ones if label is None else label
    data = check_columns(objective, given, columns or {}, logps, sizes)
    runs = implementation_for(implementation, logps)
    made = cast("PairPlan | RolloutPlan | None", _plan(objective, len(others), data, runs))
    if made is None:
        return twin.examples(objective, logps, offsets, others, lengths, data, _segments(runs))
    if isinstance(made, RolloutPlan):
        return _rollouts(objective, made, logps, offsets, others, data)
    data.setdefault("label", ones)
    find = functools.partial(_column, data=data, offsets=offsets, lengths=lengths)
    numbers = [column(find) if callable(column) else find(column) for column in made.columns]
    launch = _launch()
    go = functools.partial(launch.pairs, made, offsets=offsets, columns=numbers, lengths=lengths)
    losses = _fused(logps, others, made.weights, go, offsets, 2)
    if made.cloning is not None:
        clone, picked = PairPlan(made.cloning[0], (), mean=True), made.cloning[1](data["label"])
        go = functools.partial(launch.pairs, clone, offsets=offsets, columns=picked, lengths=lengths)
        losses = losses + _fused(logps, (), (), go, offsets, 2)
    if made.bonus is not None:
        gap = data["calibration"].to(losses.dtype)
        if "ref_calibration" in data:
            gap = gap - data["ref_calibration"].to(losses.dtype)
        gap = gap.mean()
        losses = losses + (made.bonus * gap if made.bonus else torch.where(gap.isinf(), 0.0, 0.0 * gap))
    return losses


def list_loss(
    name: str,
    logps: Tensor,
    offsets: Tensor,
    lists: Tensor,
    *,
    anchors: Tensor | Sequence[Tensor] = (),
    lengths: Tensor | None = None,
    rewards: Tensor | None = None,
    longest: int | None = None,
    columns: Mapping[str, Tensor] | None = None,
    implementation: Implementation = "auto",
    **params: Any,
) -> Tensor:
    """Losses (lists,) of an objective on lists of completions, in nats, differentiable in all log-probs.

    Args:
        name: The objective.
        logps: (tokens,) log-probs of the policy, list after list, best completion first where they are ranked.
        offsets: (completions + 1,) borders of the completions.
        lists: (lists + 1,) borders of the lists, in completions.
        anchors: Log-probs of other policies at the same tokens, as for `token_loss`: the reference first where the
            objective reads it, then the policy of the last iteration.
        lengths: (completions,) divisors where the objective averages over tokens; the numbers of tokens if not given.
            0 counts as 1.
        rewards: (completions,) known rewards.
        longest: An upper bound on the completions of one list; if not given it is read, which waits for a GPU.
        columns: All other fields of the family that the objective reads, by name, (completions,): `winrates`.
        implementation: "triton", "torch" (the twin), or "auto", see `implementation_for`.
        **params: Hyper-parameters of the objective.

    Raises:
        ValueError: Shapes or devices that do not fit, missing data, a hyper-parameter outside its domain.
        RuntimeError: Triton was asked for where it cannot run.
    """
    objective = _objective(name, params)
    if not layout_of(objective.family).lists:
        raise ValueError(f"`{name}` reads no lists; call token_loss.")
    others = check_anchors(objective, anchors)
    count = offsets.numel() - 1
    offsets, lists = (
        check_borders("offsets", offsets, logps, logps.numel()),
        check_borders("lists", lists, logps, count),
    )
    for what, value, size in (
        *((f"anchors[{i}]", anchor, logps.numel()) for i, anchor in enumerate(others)),
        ("lengths", lengths, count),
        ("rewards", rewards, count),
    ):
        check_column(what, value, logps, size)
    data = check_columns(objective, {"rewards": rewards}, columns or {}, logps, {"bk": count})
    if longest is None:
        longest = int(lists.diff().max()) if lists.numel() > 1 else 0
    ragged = lists.device.type == "cpu" and bool((lists.diff() != longest).any())
    if ragged and "mask" not in objective.reads | objective.optional:
        raise ValueError(f"`{name}` needs lists of one length; got {lists.diff().tolist()}.")
    runs = implementation_for(implementation, logps)
    made = cast("ListPlan | None", _plan(objective, len(others), data, runs))
    if made is None:
        return twin.lists(objective, logps, offsets, lists, others, lengths, data, longest, _segments(runs))
    go = functools.partial(
        _launch().ranked,
        made,
        offsets=offsets,
        lists=lists,
        rewards=data.get("rewards"),
        lengths=lengths,
        longest=longest,
    )
    return _fused(logps, others, made.weights, go, offsets[lists], 1)


def implementation_for(implementation: Implementation, logps: Tensor) -> Literal["triton", "torch"]:
    """What runs for these log-probs: "auto" takes Triton for 16- and 32-bit tensors on a GPU, and the twin elsewhere.

    Raises:
        ValueError: No such implementation.
        RuntimeError: Triton was asked for where there is neither a GPU nor the interpreter.
    """
    if implementation not in ("auto", "triton", "torch"):
        raise ValueError(f"implementation must be 'auto', 'triton' or 'torch'; got {implementation!r}.")
    if implementation == "torch":
        return "torch"
    if implementation == "auto":
        return "triton" if HAS_TRITON and logps.is_cuda and logps.dtype != torch.float64 else "torch"
    if not HAS_TRITON:
        raise RuntimeError("implementation='triton' needs the package triton. Install it, or take 'auto'.")
    if not logps.is_cuda and not importlib.import_module("poz.kernels.launch").interpreted():
        raise RuntimeError(
            f"implementation='triton' needs log-probs on a GPU; got {logps.device}. Move them there, set "
            "TRITON_INTERPRET=1 before triton is imported, or take 'auto'."
        )
    return "triton"


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, go: Callable[..., Any], weights: Weights, borders: Tensor, copies: int, *logps: Tensor
    ) -> Any:
        losses, gradient = go(logps=logps[0], anchors=logps[1:], with_gradient=any(ctx.needs_input_grad))
        if gradient is not None:
            ctx.save_for_backward(gradient, borders)
        ctx.copies = copies
        ctx.shares = [(1.0, logps[0].dtype), *((-w, x.dtype) for w, x in zip(weights, logps[1:], strict=True))]
        return losses.to(torch.promote_types(logps[0].dtype, torch.float32))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient, borders = ctx.saved_tensors
        edge, end = upstream.new_zeros(1), borders.new_full((1,), gradient.numel())
        counts = borders.diff(prepend=borders.new_zeros(1), append=end)
        scale = torch.cat([edge, upstream.repeat(ctx.copies), edge])
        gradient = gradient * scale.repeat_interleave(counts, output_size=gradient.numel())
        asked = zip(ctx.needs_input_grad[4:], ctx.shares, strict=True)
        return (None,) * 4 + tuple((gradient * share).to(dtype) if need else None for need, (share, dtype) in asked)


def _fused(
    logps: Tensor, anchors: tuple[Tensor, ...], weights: Weights, go: Callable[..., Any], borders: Tensor, copies: int
) -> Tensor:
    # The tokens between `borders` belong to example 0, 1, ...; `copies` times over.
    return cast(Tensor, _Fused.apply(go, weights, borders, copies, logps, *anchors))


def _objective(name: str, params: Mapping[str, Any]) -> Objective:
    from poz.zoo import zoo

    return zoo[name].bind(**params)


def _rollouts(
    objective: Objective,
    made: RolloutPlan,
    logps: Tensor,
    offsets: Tensor,
    others: tuple[Tensor, ...],
    data: Mapping[str, Tensor],
) -> Tensor:
    # All but the policy and its entropy are constants.
    shared = importlib.import_module("poz.kernels.rollouts._shared").shared
    told, bonus = shared(objective, logps, data, _segments("triton")(offsets, logps.numel()))
    go = functools.partial(_launch().rollouts, made, told, offsets=offsets)
    losses = _fused(logps, tuple(x.detach() for x in others), (0.0,) * len(others), go, offsets, 1)
    return losses - cast(Tensor, bonus)


def _plan(objective: Objective, anchors: int, data: Mapping[str, Tensor], runs: str) -> Plan | None:
    """The point to launch, if there is one: it takes plain numbers, and has no gradient but that of log-probs.

    Hyper-parameters that are tensors, and data with a gradient, go through the objective itself, on Triton's sums; of
    rollouts the data have none, or one that is known.
    """
    if runs != "triton" or _has_tensors(objective):
        return None
    made = plan(objective, anchors)
    moved = any(x.requires_grad for x in data.values()) and torch.is_grad_enabled()
    return None if moved and not isinstance(made, RolloutPlan) else made


def _has_tensors(objective: Objective) -> bool:
    for name, value in objective.values.items():
        table = getattr(
            objective.params[name].domain, "per", ""
        )  # is looked up for each pair, unless it has a gradient
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Tensor) and (part.requires_grad or not table):
                return True
            if name == "base" and _has_tensors(part):
                return True
    return False


def _launch() -> Any:
    return importlib.import_module("poz.kernels.launch")


def _segments(runs: str) -> type[twin.Segments]:
    return twin.Segments if runs == "torch" else cast("type[twin.Segments]", _launch().Segments)


def _column(name: str, data: Mapping[str, Tensor], offsets: Tensor, lengths: Tensor | None) -> Tensor | None:
    if name in ("chosen_len", "rejected_len"):
        return (offsets.diff() if lengths is None else lengths).chunk(2)[name == "rejected_len"]
    return data.get(name)
