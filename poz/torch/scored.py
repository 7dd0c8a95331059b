"""From the token log-probs of chosen and rejected completions to the losses of any objective, in any trainer.

A trainer scores its pairs, makes a `Scored` of the log-probs, and calls `scored_losses`: that is all it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from poz._nearest import meant
from poz.backends import namespace
from poz.columns import check_columns
from poz.combination import Combination
from poz.families import Layout, Pairs, Rollouts, Samples, layout_of, named
from poz.families._of_pairs import list_of
from poz.layouts import COLUMNS
from poz.objective import Objective
from poz.torch.lcpo import LCPO
from poz.torch.whole_batch import whole_batch
from poz.zoo import zoo

SIDES = ("chosen", "rejected")
CALIBRATION = (*SIDES, "both")
"""Which completions of the batch may serve as calibration samples."""


class Scored(NamedTuple):
    """A batch of pairs after the forward pass; chosen completions first, then the rejected ones in the same order.

    Attributes:
        logps: (2 * batch, tokens) log-probs of the policy in nats.
        mask: (2 * batch, tokens) true at completion tokens.
        lengths: (2 * batch,) tokens of each completion, or None where they are those of the mask; a first token of a
            row, which has no log-prob, may count.
        ref_logps: (2 * batch, tokens) log-probs of the reference, or (2 * batch,) their sums, or None.
        columns: What the data set says about each pair, by column name: (batch,), (batch, opponents) or
            (batch, tokens).
        collision: (2 * batch, tokens) log of the policy's collision probability, or None; see `poz.TokenPairs`.
    """

    logps: Tensor
    mask: Tensor
    lengths: Tensor | None = None
    ref_logps: Tensor | None = None
    columns: Mapping[str, Tensor] = {}
    collision: Tensor | None = None

    def first(self, pairs: int) -> Scored:
        """The first pairs only."""
        rows = {name: halves(x, pairs) for name, x in self._asdict().items() if isinstance(x, Tensor)}
        return self._replace(**rows, columns={name: x[:pairs] for name, x in self.columns.items()})

    def check(self) -> None:
        """Refuses what does not fit together.

        Raises:
            TypeError: One is no torch tensor, or log-probs are no floating-point numbers.
            ValueError: Of `logps`, `mask` and so on one has other rows or tokens, or a column other pairs.
        """
        shape = check_rows(
            {name: x for name, x in self._asdict().items() if name != "columns"},
            self.columns,
            "(2 * batch, tokens), a row for each chosen and then one for each rejected completion",
            of=2,
        )
        for name, column in self.columns.items():
            if column.ndim == 0 or len(column) != shape[0] // 2:
                raise ValueError(
                    f"The column {name!r} must have a row for each of the {shape[0] // 2} pairs; got {tuple(column.shape)}."
                )


def check_rows(fields: Mapping[str, Any], columns: Mapping[str, Any], layout: str, of: int = 1) -> tuple[int, int]:
    """The shape of `logps`, in multiples of `of` rows, which the other fields must have, or its rows.

    Raises:
        TypeError: One is no torch tensor, or log-probs are no floating-point numbers.
        ValueError: One has other rows or tokens, or the mask is no mask.
    """
    given = {name: x for name, x in fields.items() if x is not None}
    for name, x in {**given, **{f"The column {name!r}": x for name, x in columns.items()}}.items():
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a torch tensor; got a {type(x).__name__}. torch.as_tensor makes one.")
        if name in ("logps", "ref_logps", "collision") and not x.is_floating_point():
            raise TypeError(f"{name} must be floating-point numbers; got {x.dtype}.")
    shape = tuple(given["logps"].shape)
    if len(shape) != 2 or shape[0] % of:
        raise ValueError(f"logps must be {layout}; got {shape}.")
    rows = shape[:1]
    wanted: dict[str, list[tuple[int, ...]]] = {
        "mask": [shape],
        "lengths": [rows],
        "ref_logps": [shape, rows],
        "collision": [shape],
    }
    for name, shapes in wanted.items():
        if name in given and tuple(given[name].shape) not in shapes:
            raise ValueError(
                f"{name} must be {' or '.join(map(str, shapes))}, as logps are {shape}; got {tuple(given[name].shape)}."
            )
    if given["mask"].dtype != torch.bool:
        raise ValueError(f"mask must be true or false at each token; got {given['mask'].dtype}. Give mask.bool().")
    return shape


def halves(x: Tensor, pairs: int) -> Tensor:
    """Of rows for chosen and then for rejected completions, the first of both."""
    return x if 2 * pairs == len(x) else torch.cat([half[:pairs] for half in x.chunk(2)])


def scored_losses(objective: str | Objective | LCPO, scored: Scored, *, calibration: str = "chosen") -> Tensor:
    """The losses of a scored batch under any objective that pairs can serve: what a trainer needs of poz.

    `poz.columns` says which columns and whether a reference the objective reads, and `poz.torch.implicit_rewards` what
    to log. An objective that ties a batch together sees the batches of all processes.

    Rollouts need none of this: their fields are what a trainer has, `poz.dapo(poz.Rollouts(logps, mask=mask, advantages=...))`.

    Args:
        objective: A name, an objective with its hyper-parameters bound, or a `poz.torch.LCPO`, whose `step` stays the
            caller's.
        scored: The pairs of this process.
        calibration: The calibration samples of VPO, completions of the batch: "chosen", "rejected" or "both".

    Returns:
        (batch,), or (2 * batch,) where the objective reads single completions and is given both of a pair, chosen ones
        first; NPO is given the rejected ones alone, (batch,). Their mean is trained on; gradients reach `scored.logps`.

    Raises:
        TypeError: The objective reads a family that pairs of completions do not make, or what is scored is no tensor.
        ValueError: Rows, tokens or columns that do not fit together, or a column that is missing or that nothing reads.
    """
    if isinstance(objective, str):
        objective = zoo[objective]
    spec = spec_of(objective)
    if calibration not in CALIBRATION:
        raise ValueError(
            f"calibration must be one of {CALIBRATION}; got {calibration!r}.{meant(calibration, CALIBRATION)}"
        )
    scored.check()
    known = dict.fromkeys((*COLUMNS, *layout_of(spec.family).shapes))
    if unknown := [name for name in scored.columns if name not in known]:
        raise ValueError(
            f"{unknown[0]!r} is no column that an objective reads; those are {', '.join(known)}.{meant(unknown[0], known)}"
        )
    made = family_batch(spec, scored, calibration=calibration)
    check_columns(spec, list(scored.columns), "the scored batch")
    return whole_batch(spec, made) if spec.coupled else objective(made)


def family_batch(objective: Objective, scored: Scored, *, calibration: str = "chosen") -> Any:
    """The batch that `objective` is given.

    Where the data do not say otherwise, the one opponent is the reference, which is the last iteration's policy too, the
    known reward gap of a ranked pair is 1, and the win rates of a pair's completions over each other are 1 and 0. Of a pair
    that is taken apart, chosen is desirable and rejected is not, and both have the columns of the pair; an objective that
    does not ask which is which (NPO) unlearns all that it is given, and that is rejected.

    Raises:
        TypeError: The objective reads a family that pairs of completions do not make.
    """
    family, layout = objective.family, layout_of(objective.family)
    if layout.scores:
        raise TypeError(f"`{objective.name}` reads {named(family)}, {SCORES_OF_REWARDS} Or {_own(objective)}")
    if (
        not layout.tokens
        or (layout.lists and not (layout.ranked or family is Samples))
        or (layout.per_token and not layout.paired)
    ):
        trained = "train with poz.integrations.trl.GRPOTrainer, or " if family is Rollouts else ""
        raise TypeError(
            f"`{objective.name}` reads {named(family)}, which pairs of completions do not make; {trained}{_own(objective)}"
        )
    if layout.paired and layout.per_token:
        return _filled(family, _by_token(layout, scored))
    if not layout.paired and not layout.lists:
        return _filled(family, _single(objective, layout, scored))
    pairs = as_pairs(scored)
    if layout.lists:
        known = {name: column for name, column in scored.columns.items() if name in ("margin", "label")}
        return list_of(namespace(pairs.chosen), family, pairs._replace(**known))
    sides = SIDES if calibration == "both" else (calibration,)
    read = objective.reads | objective.optional
    filled: dict[str, Any] = dict(scored.columns)
    for side in SIDES:
        name = f"opponents_{side}"
        if name in scored.columns:
            filled[name] = scored.columns[name].T
        elif name in read and scored.ref_logps is not None:
            filled[name] = getattr(pairs, f"ref_{side}")[None]
    for of in ("", "ref_"):
        if f"{of}calibration" in read:
            filled[f"{of}calibration"] = torch.cat([getattr(pairs, f"{of}{side}") for side in sides])
    return _filled(family, pairs._asdict() | filled)


def _filled(family: type[Any], fields: Mapping[str, Any]) -> Any:
    """The family, of those fields that it has."""
    return family(**{name: x for name, x in fields.items() if name in family._fields})


def check_pairs(objective: Objective) -> None:
    """Refuses an objective that pairs of completions cannot serve, before anything is trained.

    Raises:
        ValueError: `objective` reads what can be made neither from a pair nor from columns, or other lists than pairs.
    """
    name = objective.name
    missing: list[str] = []
    try:
        made = family_batch(objective, example(torch.device("cpu")))
        missing = sorted(field for field in objective.reads if getattr(made, field) is None)
        if missing:
            raise ValueError(f"`{name}` reads {', '.join(missing)}, which pairs of completions do not give.")
        if any(layout_of(part.family).lists for part in parts(objective)):
            objective(made)
    except TypeError as error:  # which says what to do
        raise ValueError(str(error)) from error
    except ValueError as error:
        how = (
            _KL_SAMPLES
            if "kl_logps" in missing
            else f"A trainer on pairs of completions cannot serve it; {_of_lists(objective)}{_own(objective)}"
        )
        raise ValueError(f"{error} {how}") from error


TWO_PROMPTS = ("mdpo", "mapl")
"""Objectives on lists whose log-probs are not all of completions of one prompt."""


def _of_lists(objective: Objective) -> str:
    one = layout_of(objective.family).lists and objective.name not in TWO_PROMPTS
    return "poz.integrations.trl.RankedTrainer takes lists of K, or " * one


def _own(objective: Objective) -> str:
    fields = ", ".join(f"{field}=..." for field in objective.family._fields if field in objective.reads)
    return f"call it in a loop of your own, as in poz.{objective.name}({named(objective.family)}({fields}))."


def parts(objective: Objective) -> tuple[Objective, ...]:
    """What a combination adds up, or the objective itself."""
    return tuple(part for part, _ in objective.parts) if isinstance(objective, Combination) else (objective,)


def spec_of(objective: Objective | LCPO) -> Objective:
    """The objective itself, or the one that an `LCPO` stands for."""
    if isinstance(objective, Objective):
        return objective
    if isinstance(objective, LCPO):
        bound = zoo["lcpo"].bind(base=objective.base, mode=objective.mode)
        return bound.bind(reliability=objective.reliability) if len(objective.reliability) > 1 else bound
    raise TypeError(f"objective must be a name, a poz.Objective or a poz.torch.LCPO; got {type(objective).__name__}.")


def example(device: torch.device, times: int = 1, rejected: float = -0.25) -> Scored:
    """A pair with every column, log-probs and lengths multiplied; no hinge is flat at it, as chosen is less likely."""
    logps = torch.tensor([[-1.0, -2.0], [rejected, rejected]], device=device)
    per_token = dict.fromkeys(("chosen_weights", "rejected_weights"), torch.ones(1, 2, device=device))
    numbers = {"label": 1.0, "margin": 1.0, "entropy": 0.5, "kl": 0.5, "annotator": 0}
    return Scored(
        times * logps,
        mask=torch.ones_like(logps, dtype=torch.bool),
        lengths=times * torch.tensor([2, 4], device=device),
        ref_logps=times * torch.full_like(logps, -1.0),
        columns={**per_token, **{name: torch.tensor([value], device=device) for name, value in numbers.items()}},
        collision=torch.full_like(logps, -1.0),
    )


def as_pairs(scored: Scored) -> Pairs:
    """Sums over tokens, and lengths."""
    chosen, rejected = wide(scored.logps).chunk(2)
    chosen_mask, rejected_mask = scored.mask.chunk(2)
    reference = (None, None) if scored.ref_logps is None else wide(scored.ref_logps).chunk(2)
    pairs = Pairs.from_tokens(
        chosen,
        rejected,
        chosen_mask=chosen_mask,
        rejected_mask=rejected_mask,
        ref_chosen=reference[0],
        ref_rejected=reference[1],
    )
    chosen_len, rejected_len = (scored.mask.sum(1) if scored.lengths is None else scored.lengths).chunk(2)
    return pairs._replace(chosen_len=chosen_len, rejected_len=rejected_len)


def wide(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x if x.dtype == torch.float64 else x.float()


def _single(objective: Objective, layout: Layout, scored: Scored) -> dict[str, Any]:
    pairs, (name,) = as_pairs(scored), layout.sides
    sides = SIDES if "desirable" in objective.reads else ("rejected",)

    def joined(of: str) -> Tensor | None:
        parts = [getattr(pairs, of.format(side)) for side in sides]
        return None if parts[0] is None else torch.cat(parts)

    good = torch.tensor([side == "chosen" for side in sides], device=scored.logps.device)
    return {
        name: joined("{}"),
        f"ref_{name}": joined("ref_{}"),
        "desirable": good.repeat_interleave(len(pairs.chosen)),
        **dict.fromkeys(layout.lengths.values(), joined("{}_len")),
        **{
            column: scored.columns[column].repeat(len(sides))
            for column in ("kl", "weights")
            if column in scored.columns
        },
    }


def _by_token(layout: Layout, scored: Scored) -> dict[str, Any]:
    policies = {"{}": scored.logps, "ref_{}": scored.ref_logps, "{}_collision": scored.collision}
    fields: dict[str, Any] = dict(scored.columns)
    for row, side in enumerate(layout.sides):
        fields |= {of.format(side): None if x is None else wide(x).chunk(2)[row] for of, x in policies.items()}
        fields |= {layout.masks[side]: scored.mask.chunk(2)[row]} if side in layout.masks else {}
    return fields


SCORES_OF_REWARDS = "scores of a reward model, which a policy does not give. Use poz.integrations.trl.RewardTrainer."
_KL_SAMPLES = (
    "They are the log-probs of completions under prompts that are not theirs: poz.integrations.trl_kto.KTOTrainer makes"
    " them, and estimator='zero', or 'given' with a column 'kl', needs none."
)
