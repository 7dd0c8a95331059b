"""Preference pairs from JSON Lines files: one object a line with `chosen` and `rejected`, plain or gzipped."""

from __future__ import annotations

import gzip
import json
import os
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COLUMNS = (
    "label",
    "margin",
    "annotator",
    "entropy",
    "prompt_embedding",
    "kl",
    "weights",
    "chosen_weights",
    "rejected_weights",
    "opponents_chosen",
    "opponents_rejected",
)
"""What a line may hold beside the texts, under the names of the fields of `poz.Pairs`, `poz.TokenPairs` and `poz.Unpaired`."""

TURN = "\n\nAssistant:"
"""What comes before the last turn of a dialogue in HH-RLHF."""

SHIPPED = Path(__file__).parent / "preferences.jsonl"
"""A small set that comes with poz: chosen is polite and to the point, rejected curt or rambling."""

Pair = dict[str, Any]


def load(path: str | os.PathLike[str] = SHIPPED) -> list[Pair]:
    """Reads preference pairs.

    Each line holds `chosen` and `rejected`, and may hold `prompt`; each is a text or a list of messages
    `{"role": ..., "content": ...}`. Without a prompt, what both begin with is the prompt: of whole dialogues, as in
    HH-RLHF, all up to the last turn of the assistant; of other texts, all up to the last space. It may be empty.
    Lines whose completions are the same say nothing and are left out, with a warning that counts them.

    Args:
        path: A `.jsonl` file; gzip is recognised by its content.

    Returns:
        Dictionaries with `prompt`, `chosen` and `rejected`, texts to be joined without anything between, and those of
        `COLUMNS` that the file holds, as they are.

    Raises:
        FileNotFoundError: No such file.
        ValueError: A malformed line; the message names file and line and shows none of the text.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    pairs: list[Pair] = []
    same = 0
    for number, line in _lines(path):
        pair = _pair(line, f"{path}, line {number}")
        if pair["chosen"] == pair["rejected"]:
            same += 1
            continue
        if pairs and pair.keys() != pairs[0].keys():
            odd = sorted(pair.keys() ^ pairs[0].keys())[0]
            has, lacks = ("has", "the first pair does not") if odd in pair else ("has no", "the first pair does")
            raise ValueError(f"{path}, line {number} {has} {odd!r}, but {lacks}. Give it in every line or in none.")
        pairs.append(pair)
    if same:
        warnings.warn(f"{path}: left out {same} lines whose chosen and rejected are the same.", stacklevel=2)
    if not pairs:
        raise ValueError(f"{path} holds no preference pairs. Each line must be an object with 'chosen' and 'rejected'.")
    return pairs


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    number = 0
    try:
        with gzip.open(path) if zipped else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is a damaged gzip file, after line {number}: {error}") from error


def _pair(line: bytes, where: str) -> Pair:
    try:
        found = json.loads(line, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not UTF-8, at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error.msg} at column {error.colno}.") from None
    except OverflowError:
        raise ValueError(f"{where} holds an integer of more than 64 bits. Write a smaller one, or a text.") from None
    except RecursionError:
        raise ValueError(f"{where} is nested too deeply. Give texts, numbers and messages.") from None
    if not isinstance(found, dict):
        raise ValueError(f"{where} must be an object with 'chosen' and 'rejected'; got {_kind(found)}.")
    for key in ("chosen", "rejected"):
        if key not in found:
            raise ValueError(f"{where} has no {key!r}; it has {', '.join(map(repr, found)) or 'no keys'}.")
    columns = {name: found[name] for name in COLUMNS if name in found}
    chosen, rejected = (_text(found[key], f"{where}: {key!r}") for key in ("chosen", "rejected"))
    if "prompt" in found:
        prompt = _text(found["prompt"], f"{where}: 'prompt'")
        if not isinstance(found["prompt"], list):
            return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **columns}
        for key in ("chosen", "rejected"):
            if isinstance(found[key], str):
                raise ValueError(f"{where}: {key!r} must be a list of messages, as 'prompt' is; got a text.")
        chosen, rejected = prompt + chosen, prompt + rejected
    cut = _prompt_length(chosen, rejected)
    return {"prompt": chosen[:cut], "chosen": chosen[cut:], "rejected": rejected[cut:], **columns}


def _prompt_length(chosen: str, rejected: str) -> int:
    differ = (i for i, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other)
    shared = chosen[: next(differ, min(len(chosen), len(rejected)))]
    turn = shared.rfind(TURN)
    return turn + len(TURN) if turn >= 0 else shared.rfind(" ") + 1


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise OverflowError
    return int(digits)


def _text(value: Any, what: str) -> str:
    text = value if isinstance(value, str) else _joined(value, what)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} holds half a surrogate pair, which is no character.") from None
    return text


def _joined(value: Any, what: str) -> str:
    if not isinstance(value, list):
        raise ValueError(f"{what} must be a text or a list of messages; got {_kind(value)}.")
    names = {"user": "Human", "assistant": "Assistant"}
    texts = []
    for message in value:
        parts = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if not all(isinstance(part, str) for part in parts):
            raise ValueError(f"{what} must hold messages with the texts 'role' and 'content'; got {_kind(message)}.")
        role, content = parts
        texts.append(f"\n\n{names.get(str(role), str(role).capitalize())}: {content}")
    return "".join(texts)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
