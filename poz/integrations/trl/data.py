"""Data sets for TRL's trainers: the layouts of docs/data.md, looked through row by row before anything is trained."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from datasets import ClassLabel, Dataset, IterableDataset

from poz.dialogues import columns as names_of
from poz.layouts import check_column, read, repeats, unrepeated


def first_of(dataset: Any, where: str) -> Mapping[str, Any]:
    """The first example as it is trained on, which shows the columns; nothing where there is no data set.

    Raises:
        TypeError: Several data sets by name.
        ValueError: There is none, or it is not understood.
    """
    if isinstance(dataset, dict):
        names = ", ".join(map(repr, dataset))
        raise TypeError(f"{where} must be one data set; got a {type(dataset).__name__} of {names}. Give one of them.")
    for name, feature in (getattr(dataset, "features", None) or {}).items():
        if name in ("label", "labels", "kto_tag") and isinstance(feature, ClassLabel):
            names = ", ".join(map(repr, feature.names))
            raise ValueError(f"{where}: {name!r} has the classes {names}. Give true or false, 1 or 0, for good or not.")
    for number, row in enumerate(() if dataset is None else plain(dataset)):
        for example in [row] if with_images(row) else read(row, f"{where}, row {number}"):
            return example
    if dataset is None:
        return {}
    raise ValueError(f"There is no example in {where}.")


def with_images(row: Mapping[str, Any]) -> bool:
    """Whether TRL takes a row for one with images, whose tokens its collator makes while it trains."""
    return "image" in row or "images" in row


def check_images(
    given: Mapping[str, Any], columns: Sequence[str], texts: tuple[str, ...] = ("prompt", "chosen", "rejected")
) -> None:
    """Looks through the data sets with images among the arguments of a trainer; of a stream, through its first row.

    Raises:
        ValueError: A row without one of the texts or without images, with answers that are the same, or that lacks a finite
            number in one of the columns; a column with a number for each token.
    """
    evaluated = given.get("eval_dataset")
    named = evaluated if isinstance(evaluated, dict) else {"eval": evaluated}
    for name, dataset in {"train": given.get("train_dataset"), **named}.items():
        where = f"the data set {name!r}"
        first = first_of(dataset, where)
        used = [column for column in columns if column in first]
        for column in used:
            if column.endswith("_weights"):
                raise ValueError(
                    f"{where} has images, and its column {column!r} a number for each token, which the trainer's collator "
                    "makes only while it trains. Leave that column out, or the images."
                )
        rows = [first] if first else []
        if isinstance(dataset, Dataset):  # without the images themselves, which would be decoded
            rows = plain(dataset).remove_columns(sorted({"image", "images"} & {*dataset.column_names}))
        for number, row in enumerate(rows):
            here = f"{where}, row {number}"
            if missing := [*(text for text in texts if not row.get(text) and row.get(text) is not False)]:
                raise ValueError(f"{here}, has no {missing[0]!r}; with images it wants {', '.join(map(repr, texts))}.")
            if not with_images(first):
                raise ValueError(f"{where} has no images, and the training data set has. Give both of one kind.")
            if "chosen" in texts and row["chosen"] == row["rejected"]:
                raise ValueError(f"{here}, has two answers that are the same. Leave it out.")
            if "label" in texts and row["label"] not in (True, False):
                raise ValueError(f"{here}: 'label' must be true or false, 1 or 0; got {row['label']!r}.")
            for column in used:
                check_column(column, row.get(column), here)


def plain(dataset: Any) -> Any:
    """The data set with Python's own values in place of those of a format, such as "torch", or the very same."""
    formatted = isinstance(dataset, Dataset) and dataset.format["type"] is not None
    return dataset.with_format(None) if formatted or isinstance(dataset, IterableDataset) else dataset


def prepared(dataset: Any, columns: Sequence[str], where: str, *, single: bool = False) -> Any:
    """The data set with prompt, chosen and rejected as TRL wants them, or the very same where it has them and no format.

    Args:
        dataset: Of `datasets`; a stream is looked through while it is read.
        columns: Those of the objective.
        where: What an error names.
        single: Whether completions with a label will do.

    Raises:
        ValueError: A row that is not understood, or that lacks a finite number in one of the columns.
    """
    dataset = plain(dataset)
    first = first_of(dataset, where)
    used = [name for name in columns if name in first]
    examples = partial(_examples, first=first, used=used, where=where, single=single)
    if isinstance(dataset, IterableDataset):
        known = list(next(iter(dataset)))
        return dataset.map(partial(_mapped, examples, list(first), False), batched=True, remove_columns=known)
    if not isinstance(dataset, Dataset):
        return dataset
    changed, every, again, empty, count, undecided = False, True, False, 0, 0, 0
    for number, row in enumerate(dataset):
        found = examples(row, number)
        changed = changed or found != [row]
        undecided += not found
        for example in found:
            count += 1
            blank = not example["prompt"] or (isinstance(example["prompt"], str) and not example["prompt"].strip())
            empty += blank
            if not blank:
                begun = repeats(example)
                every, again = every and begun, again or begun
    same = "ties or have answers that are the same"
    if not count:
        raise ValueError(f"All rows of {where} are {same}. Give pairs of which one is better.")
    if undecided:
        warnings.warn(f"{where}: left out {undecided} of {len(dataset)} rows, which are {same}.", stacklevel=2)
    if empty:
        warnings.warn(f"{where}: {empty} of {count} prompts are empty.", stacklevel=2)
    if not changed and not again:
        return dataset
    return dataset.map(
        partial(_mapped, examples, list(first), every),
        with_indices=True,
        batched=True,
        remove_columns=dataset.column_names,
    )


PROMPTS = ("prompt alone fills", "prompts alone fill")
TEXTS = ("text is longer than", "texts are longer than")
"""Why TRL drops an example: of policies, which read what is cut off, and of reward models, which read it to the end."""


def check_left(made: Any, dataset: Any, where: str, max_length: int | None, why: tuple[str, str] = PROMPTS) -> None:
    """Says how many examples TRL has dropped from what was prepared, because they do not fit.

    Raises:
        ValueError: All of them.
    """
    if not isinstance(made, Dataset):
        return
    given = len(dataset) * (2 if "completion_ids" in made.column_names and "chosen" in dataset.column_names else 1)
    if not len(made):
        raise ValueError(f"No example of {where} is left: each {why[0]} max_length={max_length}. Raise it.")
    if len(made) < given:
        lost = f"left out {given - len(made)} of {given} examples, whose {why[1]} max_length={max_length}"
        warnings.warn(f"{where}: {lost}.", stacklevel=2)


def check_lists(made: Any, columns: Sequence[str], where: str) -> None:
    """Looks for a number for each token, and for as many in each other list.

    Raises:
        ValueError: A row of another length.
    """
    for name in columns if isinstance(made, Dataset) else ():
        if name not in made.column_names or not isinstance(made[0][name], list):
            continue
        tokens = made[f"{name.removesuffix('weights')}ids"] if name.endswith("_weights") else None
        first = len(made[0][name])
        for number, numbers in enumerate(made[name]):
            here, count = f"{where}, row {number}", len(numbers)
            if tokens is None and count != first:
                raise ValueError(f"{here}: {name!r} holds {count} numbers, and {first} in the rows before it.")
            if tokens is not None and count != len(tokens[number]):
                raise ValueError(f"{here}: {ONE_EACH.format(name)}; got {count} for {len(tokens[number])} tokens.")


ONE_EACH = "{!r} must hold one number for each token of the completion, its end token included"


def _examples(
    row: Mapping[str, Any],
    number: int | str,
    *,
    first: Mapping[str, Any],
    used: Sequence[str],
    where: str,
    single: bool,
) -> list[dict[str, Any]]:
    """What a row gives, if that is of the kind of the first."""
    here = f"{where}, row {number}"
    found = [
        example for example in read(row, here) if "chosen" not in example or example["chosen"] != example["rejected"]
    ]
    for example in found:
        if "completion" in example and not single:
            raise ValueError(
                f"{here} holds one completion and a label, not a pair. Use poz.integrations.trl_kto.KTOTrainer; it has "
                f"{names_of(row)}."
            )
        if isinstance(example["prompt"], str) != isinstance(first["prompt"], str):
            raise ValueError(
                f"{here} holds {_kind(example)}, and the rows before it {_kind(first)}. Give all as one of them."
            )
        if example["prompt"] == []:
            raise ValueError(f"{here} has no prompt before its messages; it has {names_of(row)}.")
        for name in used:
            if name not in example:
                raise ValueError(
                    f"{here} has no {name!r}, which the rows before it have. Give it in every row or in none."
                )
            check_column(name, example[name], here)
        if "margin" not in used and "margin" not in row:
            example.pop("margin", None)  # a gap of scores that nobody asked for
    return found


def _kind(example: Mapping[str, Any]) -> str:
    return "texts" if isinstance(example["prompt"], str) else "messages"


def _mapped(examples: Any, names: list[str], every: bool, batch: Mapping[str, list[Any]], indices: Any = None) -> Any:
    numbers = indices or ["of the stream"] * len(next(iter(batch.values())))
    rows: Iterator[Any] = (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))
    found = [unrepeated(one, every) for row, n in zip(rows, numbers, strict=True) for one in examples(row, n)]
    return {name: [example[name] for example in found] for name in names if not found or name in found[0]}
