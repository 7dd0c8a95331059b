"""Lists of completions for TRL's trainer of pairs: looked through, tokenised and collated by what TRL has for pairs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from poz import lists
from poz.columns import list_columns
from poz.dialogues import columns as names_of
from poz.integrations.trl import data
from poz.integrations.trl.seams import global_then_local_main_first
from poz.layouts import repeats, unrepeated
from poz.objective import Objective
from poz.torch.lists import check_lists, order_alone

IDS = "completions_ids"
"""The column of a prepared data set that holds the tokens of each completion."""
SIZES, REFERENCE = "sizes", "ref_logps"
"""In a batch, how many completions each prompt has, and the summed log-probs of the reference, one for each row."""
_PRECOMPUTED = "ref_chosen_logps"
_RENDERED = ("tools", "chat_template_kwargs")
"""What TRL hands to the chat template beside the messages."""


def prepared(dataset: Any, objective: Objective, where: str) -> Dataset:
    """The data set with prompt, completions, best first, and the numbers that the objective reads.

    Raises:
        TypeError: A stream, or something else that is no data set.
        ValueError: A row that is not understood, lacks a number, or has another count than the objective takes.
    """
    if not isinstance(dataset, Dataset):
        raise TypeError(f"{where} must be a datasets.Dataset of lists, read whole; got {type(dataset).__name__}.")
    dataset = data.plain(dataset)
    needed, ordered = list_columns(objective), order_alone(objective)
    kind: Any = None
    counts: dict[int, str] = {}
    left_out, empty, every = 0, 0, True
    for number, row in enumerate(dataset):
        here = f"{where}, row {number}"
        found = _example(row, here, needed, ordered)
        if not found:
            left_out += 1
            continue
        prompt = found["prompt"]
        if not isinstance(prompt, kind or type(prompt)):
            kinds = ["texts" if one is str else "messages" for one in (type(prompt), kind)]
            raise ValueError(f"{here} holds {kinds[0]}, and the rows before it {kinds[1]}. Give all as one of them.")
        if prompt == []:
            raise ValueError(f"{here} has no prompt before its messages; it has {names_of(row)}.")
        kind = type(prompt)
        blank = isinstance(prompt, str) and not prompt.strip()
        empty, every = empty + blank, every and (blank or repeats(found))
        counts.setdefault(len(found["completions"]), here)
    why = f"have fewer than two completions, two that are the same, or {'two' * bool(ordered) or 'all'} of equal scores"
    if not counts:
        raise ValueError(f"All rows of {where} {why}. Give lists of which one is better than another.")
    if left_out:
        warnings.warn(f"{where}: left out {left_out} of {len(dataset)} rows, which {why}.", stacklevel=2)
    if empty:
        warnings.warn(f"{where}: {empty} of {len(dataset) - left_out} prompts are empty.", stacklevel=2)
    for count, here in counts.items():
        check_lists(objective, count, here)
    if len(counts) > 1 and "mask" not in objective.reads | objective.optional:
        (one, first), (other, second), *_ = counts.items()
        raise ValueError(
            f"`{objective.name}` takes lists of one length; {first} has {one} completions and {second} {other}. Leave the "
            "others out, or take an objective with a mask, such as `pro`."
        )
    examples = partial(_examples, needed=needed, ordered=ordered, where=where, every=every)
    return dataset.map(examples, with_indices=True, batched=True, remove_columns=dataset.column_names)


def tokenised(dataset: Dataset, trls: Callable[[Any], Any], where: str, args: Any) -> Dataset:
    """The data set with `prompt_ids` and `completions_ids`, which TRL makes of two completions at a time.

    The prompt ends where the tokens of the first completion leave it. Lists whose prompt alone fills `max_length` go,
    as TRL's pairs do.
    """
    length, args.max_length = args.max_length, None
    try:
        sides = trls(dataset.map(_side_by_side, batched=True, remove_columns=dataset.column_names))
    finally:
        args.max_length = length
    begins, rows = [0], 0
    for completions in dataset["completions"]:
        rows += (len(completions) + 1) // 2
        begins.append(rows)
    with global_then_local_main_first():
        made = dataset.map(partial(_together, sides=sides, begins=begins), with_indices=True)
        if length is not None and args.truncation_mode == "keep_start":
            made = made.filter(partial(_fits, length=length))
    data.check_left(made, dataset, where, length)
    return made


class Lists:
    """A collator of lists: each completion is a row, those of one prompt one after the other.

    TRL's collator of pairs truncates and pads them. A batch has `sizes` (batch,), TRL's tensors with a row for each
    completion, `columns` (rows,), and `ref_logps` (rows,) where they are precomputed. Where the rows are odd in number,
    which TRL's trainer of pairs cannot take, one token stands in a row of its own at the end.
    """

    def __init__(self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]], columns: Sequence[str]) -> None:
        self.collator, self.columns = collator, columns

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch of these examples."""
        sizes = [len(example[IDS]) for example in examples]
        pairs: list[dict[str, Any]] = []
        order: list[tuple[int, int]] = []
        for example in examples:
            for chosen, rejected in _twos(example[IDS]):
                ids = {"prompt_ids": example["prompt_ids"], "chosen_ids": chosen, "rejected_ids": rejected}
                order += [(len(pairs), 0), (len(pairs), 1)][: 1 + (chosen is not rejected)]
                pairs.append(ids)
        rows = [pair + side * len(pairs) for pair, side in order]
        made = self.collator(pairs)
        taken = torch.tensor(rows + rows[-1:] * (len(rows) % 2))
        made = {name: x[taken] for name, x in made.items()}
        if len(rows) % 2:
            made["attention_mask"][-1, 1:] = made["completion_mask"][-1] = 0
        batch: dict[str, Any] = {
            SIZES: torch.tensor(sizes),
            **made,
        }  # first, for trainers count the rows of what is first
        for name in self.columns:
            batch[name] = torch.tensor([number for example in examples for number in example[name]])
        if _PRECOMPUTED in examples[0]:
            known = [example[_PRECOMPUTED][:size] for example, size in zip(examples, sizes, strict=True)]
            batch[REFERENCE] = torch.tensor([logp for logps in known for logp in logps])
        return batch


def padded(rows: Tensor, sizes: Sequence[int], width: int) -> Tensor:
    """(batch, width): the numbers of each list, and zeros."""
    made = rows.new_zeros(len(sizes), width)
    for numbers, laid in zip(torch.split(rows, list(sizes)), made, strict=True):
        laid[: len(numbers)] = numbers
    return made


def _example(row: Mapping[str, Any], here: str, needed: Sequence[str], ordered: str) -> dict[str, Any]:
    """What a row gives, if it is a list that the objective learns from."""
    if {*needed} & row.keys():
        row = {name: value for name, value in row.items() if name in needed or name not in lists.NUMBERS}
    found = lists.read(row, here)
    for name in needed if found else ():
        if name not in found:
            what = "how good each completion is" if name == "scores" else "how often each completion wins"
            raise ValueError(
                f"The objective reads {name!r}, {what}, and {here} has {sorted(found)[-1]!r}. Give the column {name!r}, or "
                "an objective that reads an order alone, such as `plackett_luce`."
            )
    values: list[float] = next((found[name] for name in lists.NUMBERS if name in found), [])
    if ordered and len(set(values)) < len(values):
        return {}
    return {**found, **{name: row[name] for name in _RENDERED if name in row}} if found else {}


def _examples(
    batch: Mapping[str, list[Any]],
    indices: Sequence[int],
    *,
    needed: Sequence[str],
    ordered: str,
    where: str,
    every: bool,
) -> dict[str, list[Any]]:
    rows = (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))
    found = [_example(row, f"{where}, row {n}", needed, ordered) for row, n in zip(rows, indices, strict=True)]
    kept = [unrepeated(example, every) for example in found if example]
    names = ("prompt", "completions", *needed, *(name for name in _RENDERED if name in batch))
    return {name: [example[name] for example in kept] for name in names}


def _twos(completions: Sequence[Any]) -> list[tuple[Any, Any]]:
    """Two at a time; the last one beside itself where there is no other."""
    return [(completions[i], completions[min(i + 1, len(completions) - 1)]) for i in range(0, len(completions), 2)]


def _side_by_side(batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    twos = [_twos(completions) for completions in batch["completions"]]
    names = ("prompt", *(name for name in _RENDERED if name in batch))
    repeated = {name: [x for x, two in zip(batch[name], twos, strict=True) for _ in two] for name in names}
    sides = {side: [pair[i] for two in twos for pair in two] for i, side in enumerate(("chosen", "rejected"))}
    return {**repeated, **sides}


def _together(example: Mapping[str, Any], index: int, *, sides: Dataset, begins: Sequence[int]) -> dict[str, Any]:
    pairs = sides[begins[index] : begins[index + 1]]
    prompts, (chosen, rejected) = pairs["prompt_ids"], (pairs[f"{side}_ids"] for side in ("chosen", "rejected"))
    whole = [
        prompt + ids for prompt, two in zip(prompts, zip(chosen, rejected, strict=True), strict=True) for ids in two
    ]
    start = min(map(len, prompts))
    return {"prompt_ids": prompts[0][:start], IDS: [ids[start:] for ids in whole[: len(example["completions"])]]}


def _fits(example: Mapping[str, Any], length: int) -> bool:
    return len(example["prompt_ids"]) < length
