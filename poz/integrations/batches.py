"""What trainers share: an objective's batch from the token log-probs of chosen and rejected completions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from poz.combination import Combination
from poz.families import Pairs, Ranked, TokenPairs, Unpaired
from poz.integrations import annotators
from poz.objective import Objective
from poz.preferences import COLUMNS

CALIBRATION = ("chosen", "rejected", "both")
"""Which completions of the batch may serve as calibration samples."""


class Scored(NamedTuple):
    """A batch of pairs after the forward pass; chosen completions first, then the rejected ones in the same order.

    Attributes:
        logps: (2 * batch, tokens) log-probs of the policy in nats.
        mask: (2 * batch, tokens) true at completion tokens.
        lengths: (2 * batch,) tokens of each completion.
        ref_logps: (2 * batch, tokens) log-probs of the reference, or (2 * batch,) their sums, or None.
        columns: What the data set says about each pair, by column name: (batch,), (batch, opponents) or
            (batch, tokens).
        collision: (2 * batch, tokens) log of the policy's collision probability, or None; see `poz.TokenPairs`.
    """

    logps: Tensor
    mask: Tensor
    lengths: Tensor
    ref_logps: Tensor | None = None
    columns: Mapping[str, Tensor] = {}
    collision: Tensor | None = None

    def first(self, pairs: int) -> Scored:
        """The first pairs only."""
        rows = {name: halves(x, pairs) for name, x in self._asdict().items() if isinstance(x, Tensor)}
        return self._replace(**rows, columns={name: x[:pairs] for name, x in self.columns.items()})


def halves(x: Tensor, pairs: int) -> Tensor:
    """Of rows for chosen and then for rejected completions, the first of both."""
    return x if 2 * pairs == len(x) else torch.cat([half[:pairs] for half in x.chunk(2)])


class Columns:
    """A collator that adds columns of the data set to what another collator makes; `known` annotators as their row."""

    def __init__(
        self,
        collator: Callable[[list[dict[str, Any]]], dict[str, Any]],
        names: Sequence[str],
        known: Mapping[Hashable, int] | None = None,
    ) -> None:
        self.collator, self.names, self.known = collator, names, known

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """The other collator's batch, and a tensor for each column that the examples have.

        Weights of tokens are laid out like log-probs: (batch, tokens - 1), 0 outside of the completion.

        Raises:
            ValueError: A column that does not hold numbers, or not one number for each token of a completion.
        """
        made = self.collator(examples)
        for name in self.names:
            if name not in examples[0]:
                continue
            values = [example[name] for example in examples]
            if name == annotators.COLUMN and self.known is not None:
                values = annotators.rows(self.known, values, "the data")
            if name.endswith("_weights"):
                side = name.removesuffix("_weights")
                tokens = [len(example[f"{side}_ids"]) for example in examples]
                mask = made["completion_mask"].bool().chunk(2)[side == "rejected"]
                from_end = getattr(self.collator, "truncation_mode", "") == "keep_end"
                made[name] = _per_token(name, values, tokens, mask, from_end)[:, 1:]
            else:
                made[name] = _tensor(name, values)
        return made


def columns_read(objective: Objective) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that an objective must find in the data, and those that it uses where they are there."""
    if objective.family is Ranked:
        return (), ("margin",) if "scores" in objective.reads | objective.optional else ()
    if objective.family is Unpaired:
        return tuple({"kl"} & objective.reads), tuple({"weights"} & objective.optional)
    per_annotator = getattr(objective.values.get("reliability"), "ndim", 0) > 0
    read = objective.reads | ({"annotator"} if per_annotator else set())
    required = [name for name in COLUMNS if name in read and not name.startswith("opponents_")]
    optional = [name for name in COLUMNS if name in read | objective.optional and name not in required]
    return tuple(required), tuple(optional)


def check(objective: Objective) -> None:
    """Refuses an objective that pairs of completions cannot serve, before anything is trained.

    Raises:
        ValueError: `objective` reads what can be made neither from a pair nor from columns, or other lists than pairs.
    """
    name, family = objective.name, objective.family
    missing: list[str] = []
    try:
        made = batch(objective, _example(torch.device("cpu")))
        missing = sorted(field for field in objective.reads if getattr(made, field) is None)
        if missing:
            raise ValueError(f"`{name}` reads {', '.join(missing)}, which pairs of completions do not give.")
        if family is Ranked:
            objective(made)
    except (TypeError, ValueError) as error:
        if "kl_logps" in missing:
            raise ValueError(f"{error} {_KL_SAMPLES}") from error
        fields = ", ".join(f"{field}=..." for field in family._fields if field in objective.reads)
        raise ValueError(
            f"{error} A trainer on pairs of completions cannot serve it; call it in a loop of your own, as in "
            f"poz.{name}(poz.{family.__name__}({fields}))."
        ) from error


def check_columns(objective: Objective, columns: Sequence[str], where: str) -> None:
    """Says which column is missing.

    Raises:
        ValueError: `objective` must find a column that `where` does not have, or one of the two opponent columns.
    """
    required, optional = columns_read(objective)
    given = set(columns)
    opponents = {name for name in optional if name.startswith("opponents_")}
    if opponents & given:
        required = (*required, *sorted(opponents))
    for name in required:
        if name not in given:
            raise ValueError(
                f"`{objective.name}` reads the column {name!r}, which {where} does not have; it has "
                f"{', '.join(sorted(given))}. Add it, {_MEANING[name]}."
            )


def needs_reference(objective: Objective, columns: Sequence[str] = ()) -> bool:
    """Whether a reference pass is needed: the objective reads it, or reads opponents that `columns` do not hold."""
    opponents = "opponents_chosen" in objective.reads and "opponents_chosen" not in columns
    return opponents or not objective.reference_free


def needs_collision(objective: Objective) -> bool:
    """Whether the policy's collision probabilities are needed."""
    return not objective.reads.isdisjoint(("chosen_collision", "rejected_collision"))


def batch(
    objective: Objective, scored: Scored, *, calibration: str = "chosen"
) -> Pairs | TokenPairs | Ranked | Unpaired:
    """The batch that `objective` is given.

    Where the data do not say otherwise, the one opponent is the reference, and the known reward gap of a ranked pair
    is 1. Of a pair that is taken apart, chosen is desirable and rejected is not, and both have the columns of the pair;
    an objective that does not ask which is which (NPO) unlearns all that it is given, and that is rejected.

    Raises:
        TypeError: The objective reads a family that pairs of completions do not make.
    """
    if objective.family is TokenPairs:
        return _token_pairs(scored)
    if objective.family is Unpaired:
        return _unpaired(objective, scored)
    pairs = _pairs(scored)
    if objective.family is Ranked:
        gap = scored.columns.get("margin", torch.ones_like(pairs.chosen)).to(pairs.chosen)
        reference = None if pairs.ref_chosen is None else torch.stack((pairs.ref_chosen, pairs.ref_rejected), -1)
        return Ranked(
            logps=torch.stack((pairs.chosen, pairs.rejected), -1),
            ref_logps=reference,
            lengths=torch.stack((pairs.chosen_len, pairs.rejected_len), -1),
            scores=torch.stack((gap, torch.zeros_like(gap)), -1),
        )
    if objective.family is not Pairs:
        raise TypeError(
            f"`{objective.name}` reads poz.{objective.family.__name__}, which pairs of completions do not make."
        )
    sides = CALIBRATION[:2] if calibration == "both" else (calibration,)
    read = objective.reads | objective.optional
    filled: dict[str, Any] = {name: column for name, column in scored.columns.items() if name in Pairs._fields}
    for side in CALIBRATION[:2]:
        name = f"opponents_{side}"
        if name in scored.columns:
            filled[name] = scored.columns[name].T
        elif name in read and scored.ref_logps is not None:
            filled[name] = getattr(pairs, f"ref_{side}")[None]
    for of in ("", "ref_"):
        if f"{of}calibration" in read:
            filled[f"{of}calibration"] = torch.cat([getattr(pairs, f"{of}{side}") for side in sides])
    return pairs._replace(**filled)


def parts(objective: Objective) -> tuple[Objective, ...]:
    """What a combination adds up, or the objective itself."""
    return tuple(part for part, _ in objective.parts) if isinstance(objective, Combination) else (objective,)


def implicit_rewards(objective: Objective, scored: Scored) -> tuple[Tensor, Tensor]:
    """The rewards that the policy implies for the chosen and for the rejected completions, each (batch,).

    scale * (log-prob - reference's log-prob), where scale is the objective's first hyper-parameter in 1/nat (nearly
    always beta), or 1 where it has none; the reference is left out where the objective does not read it; log-probs
    are means per token where means are all that the objective sees (SimPO: beta times the mean), else sums. The rewards
    of a combination are those of its first part that has such a hyper-parameter.
    """
    objective = _rewarding(objective)
    pairs, reads, means = _pairs(scored), objective.reads, _sees_means(objective, scored)
    rewards = []
    for side in CALIBRATION[:2]:
        reward = getattr(pairs, side).detach()
        if reads & {f"ref_{side}", "ref_logps"}:
            reward = reward - getattr(pairs, f"ref_{side}")
        if means:
            reward = reward / getattr(pairs, f"{side}_len").clamp(min=1)
        rewards.append(reward_scale(objective) * reward)
    return rewards[0], rewards[1]


def reward_scale(objective: Objective) -> Any:
    """The first hyper-parameter in 1/nat, which turns a log-ratio into a reward, or 1 where there is none."""
    return next(_scales(_rewarding(objective)), 1.0)


def _scales(objective: Objective) -> Iterator[Any]:
    units = {name: getattr(param.domain, "unit", "") for name, param in objective.params.items()}
    in_nats = (objective.values[name] for name, unit in units.items() if unit == "1/nat")
    return (value for value in in_nats if value is not None)


def _rewarding(objective: Objective) -> Objective:
    """The objective whose rewards are shown: what LCPO is based on, and the first part of a combination with a scale."""
    while "base" in objective.values:
        objective = objective.values["base"]
    if not isinstance(objective, Combination):
        return objective
    found = map(_rewarding, parts(objective))
    return next((part for part in found if any(True for _ in _scales(part))), objective)


def _sees_means(objective: Objective, scored: Scored) -> bool:
    """Whether the objective, terms that imitate chosen aside, sees no more than means per token.

    Then what the rejected completion adds to the loss stays the same when every log-prob and length is doubled.
    """
    if objective.reads.isdisjoint(("chosen_len", "rejected_len", "lengths")):
        return False
    opponents = {name: 0 * column[:1] for name, column in scored.columns.items() if name.startswith("opponents_")}

    def loss(times: int, rejected: float) -> Any:
        example = _example(scored.logps.device, times, rejected)
        return objective(batch(objective, example._replace(columns={**example.columns, **opponents})))

    once, twice = (loss(times, -0.25) - loss(times, -0.5) for times in (1, 2))
    return torch.allclose(once, twice)


def _example(device: torch.device, times: int = 1, rejected: float = -0.25) -> Scored:
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


def _pairs(scored: Scored) -> Pairs:
    chosen, rejected = scored.logps.float().chunk(2)
    chosen_mask, rejected_mask = scored.mask.chunk(2)
    reference = (None, None) if scored.ref_logps is None else scored.ref_logps.float().chunk(2)
    pairs = Pairs.from_tokens(
        chosen,
        rejected,
        chosen_mask=chosen_mask,
        rejected_mask=rejected_mask,
        ref_chosen=reference[0],
        ref_rejected=reference[1],
    )
    chosen_len, rejected_len = scored.lengths.chunk(2)
    return pairs._replace(chosen_len=chosen_len, rejected_len=rejected_len)


def _unpaired(objective: Objective, scored: Scored) -> Unpaired:
    pairs = _pairs(scored)
    sides = CALIBRATION[:2] if "desirable" in objective.reads else ("rejected",)

    def joined(of: str) -> Tensor | None:
        parts = [getattr(pairs, of.format(side)) for side in sides]
        return None if parts[0] is None else torch.cat(parts)

    good = torch.tensor([side == "chosen" for side in sides], device=scored.logps.device)
    return Unpaired(
        joined("{}"),
        ref_logps=joined("ref_{}"),
        desirable=good.repeat_interleave(len(pairs.chosen)),
        lengths=joined("{}_len"),
        **{name: scored.columns[name].repeat(len(sides)) for name in ("kl", "weights") if name in scored.columns},
    )


def _token_pairs(scored: Scored) -> TokenPairs:
    chosen, rejected = scored.logps.float().chunk(2)
    chosen_mask, rejected_mask = scored.mask.chunk(2)
    ref_chosen = ref_rejected = None
    if scored.ref_logps is not None:
        ref_chosen, ref_rejected = scored.ref_logps.float().chunk(2)
    collision = (None, None) if scored.collision is None else scored.collision.float().chunk(2)
    return TokenPairs(
        chosen,
        rejected,
        ref_chosen=ref_chosen,
        ref_rejected=ref_rejected,
        chosen_mask=chosen_mask,
        rejected_mask=rejected_mask,
        chosen_collision=collision[0],
        rejected_collision=collision[1],
        **{name: column for name, column in scored.columns.items() if name in TokenPairs._fields},
    )


def _tensor(name: str, values: list[Any]) -> torch.Tensor:
    try:
        tensor = torch.tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"The column {name!r} must hold numbers, or lists of numbers of one length; got {values!r}."
        ) from error
    return tensor.float() if tensor.is_floating_point() or name.startswith("opponents_") else tensor


def _per_token(name: str, values: list[Any], tokens: list[int], mask: Tensor, from_end: bool) -> Tensor:
    """One number for each token where `mask` is true, in order, and 0 elsewhere; those of tokens that are cut off go."""
    laid = torch.zeros(mask.shape, device=mask.device)
    for row, here, numbers, whole in zip(laid, mask, values, tokens, strict=True):
        given, kept = _tensor(name, numbers), int(here.sum())
        if given.shape != (whole,):
            raise ValueError(
                f"The column {name!r} must hold one number for each token of the completion, its end token included; got "
                f"{given.numel()} for {whole} tokens."
            )
        row[here] = given[whole - kept :].to(row) if from_end else given[:kept].to(row)
    return laid


_MEANING = {
    "label": "the probability that chosen is the better one",
    "margin": "the known reward of chosen minus that of rejected",
    "annotator": "an integer id from 0 for whoever labelled the pair",
    "kl": "a known estimate of the KL divergence of the policy from the reference, in nats",
    "entropy": "the mean token entropy of the reference as a share of the log of the vocabulary size, in (0, 1]",
    "prompt_embedding": "a list of numbers from a sentence encoder, of one length for all pairs",
    "chosen_weights": "a list with the weight of each token of chosen, its end token included",
    "rejected_weights": "a list with the weight of each token of rejected, its end token included",
    "opponents_chosen": "a list of the log-probs of chosen under each opponent",
    "opponents_rejected": "a list of the log-probs of rejected under each opponent",
}

_KL_SAMPLES = (
    "They are the log-probs of completions under prompts that are not theirs: poz.integrations.trl_kto.KTOTrainer makes"
    " them, and estimator='zero', or 'given' with a column 'kl', needs none."
)
