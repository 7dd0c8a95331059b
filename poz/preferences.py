"""Preference pairs from files, in the layouts that data sets come in; docs/data.md lists them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from poz._rows import rows
from poz.dialogues import BESIDE
from poz.dialogues import TURN as TURN
from poz.layouts import COLUMNS as COLUMNS
from poz.layouts import check_column, read, repeats, unrepeated

SHIPPED = Path(__file__).parent / "preferences.jsonl"
"""A small set that comes with poz: chosen is polite and to the point, rejected curt or rambling."""

Pair = dict[str, Any]


def load(path: str | os.PathLike[str] = SHIPPED) -> list[Pair]:
    """Reads preference pairs.

    Each row holds `chosen` and `rejected`, and may hold `prompt`; each is a text or a list of messages
    `{"role": ..., "content": ...}`. Without a prompt, what both begin with is the prompt: of whole dialogues, as in
    HH-RLHF, all up to the last turn of the assistant; of other texts, all up to the last space. It may be empty, with a
    warning that counts such pairs. Other layouts are those of docs/data.md; one that is not certain is refused.
    Pairs whose completions are the same, and ties, say nothing and are left out, with a warning that counts them.
    Single completions with a label (KTO's) make a pair where one prompt has a good and a bad one.

    Args:
        path: JSON lines, a JSON array or CSV, each gzipped or not, or Parquet or Arrow, which need the extra `trl`.

    Returns:
        Dictionaries with `prompt`, `chosen` and `rejected`, texts to be joined without anything between, and those of
        `COLUMNS` that the file holds; the margin may be the gap of two scores.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A malformed row, or one that is not understood; the message names file and row and shows no text.
        ImportError: Parquet or Arrow without the extra `trl`.
    """
    if "://" in str(path):
        raise FileNotFoundError(f"{path} is an address. Download it, and give the file.")
    path = Path(path)
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder. Give one of its files.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    ties = derived = 0
    found: list[tuple[str, Pair]] = []
    single: list[tuple[str, Pair]] = []
    first_row: list[bool] = []  # whether it has a prompt, and whether that is a text
    for where, row in rows(path):
        if seen := [name for name in ("image", "images", "video", "audio") if row.get(name)]:
            raise ValueError(f"{where} holds an {seen[0]!r}, which is not a text. Leave the row or the column out.")
        pairs = read(row, where)
        ties += not pairs
        for pair in pairs:
            derived += "margin" in pair and "margin" not in row
            (single if "completion" in pair else found).append((where, _as_texts(pair, where)))
        for pair in pairs[:1]:
            is_text = isinstance(pair["prompt"], str)
            first_row = first_row or ["prompt" in row, is_text]
            if first_row[1] != is_text:
                one, other = ("texts", "messages") if is_text else ("messages", "texts")
                raise ValueError(f"{where} holds {one}, and the first row {other}. Give all as one of them.")
            if first_row[0] and "prompt" not in row:
                raise ValueError(f"{where} has no 'prompt', but the first row does. Give it in every row or in none.")
    every = all(repeats(pair) for _, pair in found + single if pair["prompt"].strip())
    rivals = list(_rivals([(where, unrepeated(pair, every)) for where, pair in single]))
    made = [(where, unrepeated(pair, every)) for where, pair in found] + rivals
    if 0 < derived < len(made):
        made = [(where, {name: x for name, x in pair.items() if name != "margin"}) for where, pair in made]
        _warn(f"{path}: {len(made) - derived} of {len(made)} pairs have no scores, so none has a margin.")
    differing = [(where, pair) for where, pair in made if pair["chosen"] != pair["rejected"]]
    left_out = {
        "ties": ties,
        "completions without a rival": len(single) - 2 * len(rivals),
        "lines whose chosen and rejected are the same": len(made) - len(differing),
    }
    for what, count in left_out.items():
        if count:
            _warn(f"{path}: left out {count} {what}.")
    if not differing:
        raise ValueError(f"{path} holds no preference pairs. Each line must be an object with 'chosen' and 'rejected'.")
    first = differing[0][1]
    for where, pair in differing:
        if pair.keys() != first.keys():
            odd = sorted(pair.keys() ^ first.keys())[0]
            has, lacks = ("has", "the first pair does not") if odd in pair else ("has no", "the first pair does")
            raise ValueError(f"{where} {has} {odd!r}, but {lacks}. Give it in every line or in none.")
    empty = sum(not pair["prompt"].strip() for _, pair in differing)
    if empty:
        _warn(f"{path}: {empty} of {len(differing)} prompts are empty.")
    return [pair for _, pair in differing]


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def _rivals(single: list[tuple[str, Pair]]) -> Iterator[tuple[str, Pair]]:
    """The good completions of each prompt beside its bad ones."""
    sides: dict[str, dict[bool, list[tuple[str, Pair]]]] = {}
    for where, one in single:
        sides.setdefault(one["prompt"], {True: [], False: []})[one["label"]].append((where, one))
    for prompt, side in sides.items():
        for (where, good), (_, bad) in zip(side[True], side[False], strict=False):
            yield where, {"prompt": prompt, "chosen": good["completion"], "rejected": bad["completion"]}


def _as_texts(pair: Pair, where: str) -> Pair:
    """The texts, joined as in HH-RLHF where they are messages, and those of `COLUMNS` that the row holds."""
    columns = {name: pair[name] for name in COLUMNS if name in pair}
    for name, value in columns.items():
        check_column(name, value, where)
    sides: list[str] = [side for side in ("prompt", "chosen", "rejected", "completion") if side in pair]
    texts: dict[str, str] = {side: _text(pair[side], f"{where}: {side!r}") for side in sides}
    answers = sides[1:]
    if not isinstance(pair["prompt"], str) and all(texts[side].startswith(TURN) for side in answers):
        texts = {side: texts[side].removeprefix(TURN) if side in answers else texts[side] + TURN for side in sides}
    return {**texts, **columns}


def _text(value: Any, what: str) -> str:
    text = value if isinstance(value, str) else _joined(value, what)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds half a surrogate pair, which is no character.") from None
    return text


def _joined(messages: list[dict[str, Any]], what: str) -> str:
    names = {"user": "Human", "assistant": "Assistant"}
    texts = []
    for message in messages:
        role, content = message["role"], message["content"]
        if beside := [name for name in BESIDE if message.get(name)]:
            raise ValueError(f"{what} holds messages with {beside[0]!r}. Write that into 'content', or leave it out.")
        if not isinstance(content, str):
            raise ValueError(f"{what} must hold messages with the texts 'role' and 'content'; one is no text.")
        texts.append(f"\n\n{names.get(role, role.capitalize())}: {content}")
    return "".join(texts)
