"""Where the prompt of a preference pair ends and its answers begin, in texts and in lists of messages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeGuard

Row = Mapping[str, Any]
Message = dict[str, Any]

TURN = "\n\nAssistant:"
"""What comes before the last turn of a dialogue in HH-RLHF."""

ASKED = ("prompt", "question", "instruction", "input", "query", "problem")
DIALOGUES = ("messages", "conversations", "conversation", "trajectory", "context", "history")
SYSTEM = ("system", "system_prompt", "system_message")
BEGUN = "initial_reason_steps"
"""What both answers go on from, in Step-DPO."""

UNCLEAR = (
    *("context", "history", "documents", "document", "passage", "background", "dialogue", "dialog"),
    *("article", "knowledge", "persona"),
)
"""Texts that belong to a prompt, though their names do not say where in it."""

BESIDE = ("tool_calls", "function_call", "reasoning_content", "thinking")
"""What a message may say beside its content."""

_NO_PROMPT = {
    "annotator",
    "prompt_embedding",
    "chosen_weights",
    "rejected_weights",
    "opponents_chosen",
    "opponents_rejected",
    "chosen_factors",
    "rejected_factors",
}
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


def prompted(
    row: Row, answers: list[Any], names: tuple[str, ...], own: str, where: str
) -> tuple[str | list[Message], list[Any]]:
    """The prompt, and what each answer adds to it: all texts, or all lists of messages.

    Args:
        row: Values by column.
        answers: One or two; a text, messages that answer, or a whole dialogue.
        names: Their columns.
        own: The column of the prompt; "" where it is one of the usual ones.
        where: What an error names.

    Raises:
        ValueError: The prompt is not certain.
    """
    asked, before, system = _given(row, names, own, where)
    begun = row.get(BEGUN) or ""
    if all(isinstance(answer, str) for answer in answers):
        texts = [_text(answer, f"{where}: {name!r}") for answer, name in zip(answers, names, strict=True)]
        dialogues = len(texts) == 2 and all(text.lstrip().startswith("Human:") for text in texts)
        told = any(name in row for name in (*SYSTEM, "history", BEGUN))  # so that rows without any are as those with it
        if dialogues or (not before and not told and set(asked) <= {"prompt", "info"}):
            return _of_texts(row, asked, bool(before or system or begun), texts, dialogues, where)
        answers = [begun + text for text in texts]
    elif begun:
        raise ValueError(f"{where}: {BEGUN!r} goes before answers that are texts; these are messages.")
    whole = [_messages(answer, f"{where}: {name!r}") for answer, name in zip(answers, names, strict=True)]
    return _of_messages(row, asked, before, system, whole, where)


def columns(row: Row) -> str:
    """The names of a row's columns, for a sentence."""
    return ", ".join(map(repr, row)) or "no keys"


def kind(value: Any) -> str:
    """What a value is, in words that show nothing of it."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number" if is_number(value) else f"something else, of type {type(value).__name__}")


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a number or a truth value."""
    return isinstance(value, int | float)


def _given(row: Row, names: tuple[str, ...], own: str, where: str) -> tuple[dict[str, str], list[Message], str]:
    """What the columns say of the prompt: texts of the user by column, turns before the answer, a system prompt."""
    if own == "info":
        return {own: _post(row.get(own), f"{where}: 'info'")}, [], ""
    wanted = (own,) if own else (*ASKED, *DIALOGUES, *UNCLEAR)
    given = {name: row[name] for name in wanted if name not in names and not _blank(row.get(name))}
    if isinstance(given.get("question"), dict):  # WebGPT
        given["question"] = given["question"].get("full_text")
    systems = {_text(row[name], f"{where}: {name!r}") for name in SYSTEM if not _blank(row.get(name))}
    if len(systems) > 1:
        raise ValueError(f"{where} has two system prompts that differ. Keep one of them; it has {columns(row)}.")
    earlier: list[Message] = []
    if not own and isinstance(given.get("history"), list):
        earlier = _history(given.pop("history"), f"{where}: 'history'")
    turns = {name: _messages(x, f"{where}: {name!r}") for name, x in given.items() if not isinstance(x, str)}
    dialogue = next(iter(turns.values()), [])
    if not all(_equal(dialogue, other) for other in turns.values()):
        raise ValueError(f"{where} has dialogues that differ, {columns(turns)}. Keep one of them.")
    asked = {name: _text(value, f"{where}: {name!r}") for name, value in given.items() if name not in turns}
    unclear = [name for name in asked if name in UNCLEAR and name != own]
    certain = [text for name, text in asked.items() if name not in unclear]
    for name in [name for name in unclear if any(asked[name].strip() in text for text in certain)]:
        unclear.remove(name)  # it is quoted
        del asked[name]
    if unclear:
        raise ValueError(
            f"{where} has {unclear[0]!r}, and nothing says where in the prompt that belongs. Write it into 'prompt', or "
            f"remove the column; it has {columns(row)}."
        )
    if {"instruction", "input"} <= asked.keys():
        asked["instruction"] += f"\n{asked.pop('input')}"
    return asked, earlier + dialogue, next(iter(systems), "")


def _of_texts(
    row: Row, asked: dict[str, str], more: bool, texts: list[str], dialogues: bool, where: str
) -> tuple[str, list[str]]:
    prompt = asked.get("info", row.get("prompt"))
    shared = _shared(texts)
    begins = all(text.strip() in shared for text in asked.values())
    if isinstance(prompt, str) and (not dialogues or (not (begins or more) and prompt.rstrip().endswith(TURN))):
        within = len(texts) == 2 and len(prompt.strip()) > 20 and _plain(prompt) in _plain(shared)
        if within and not shared.startswith(prompt):
            raise ValueError(f"{where}: the answers hold the prompt within them. Cut it there, or leave out 'prompt'.")
        return prompt, texts
    if more or not begins:
        raise ValueError(
            f"{where}: the dialogues do not begin with what else is said of the prompt; it has {columns(row)}."
        )
    turn = shared.rfind(TURN) + len(TURN) if TURN in shared else _last_turn(shared) if dialogues else 0
    if not turn:
        if "prompt" in row or len(texts) == 1:
            raise ValueError(f"{where} has no prompt. Give one, '' for none; it has {columns(row)}.")
        _check_no_other_prompt(row, where)
    cut = turn or shared.rfind(" ") + 1
    return shared[:cut], [text[cut:] for text in texts]


def _of_messages(
    row: Row, asked: dict[str, str], before: list[Message], system: str, whole: list[list[Message]], where: str
) -> tuple[list[Message], list[list[Message]]]:
    if not all(whole):
        raise ValueError(f"{where} has an empty list of messages for an answer.")
    if whole[0][0]["role"] == "assistant":
        prompt, answers = _before(asked, before, where), whole
        if not prompt:
            _check_no_other_prompt(row, where)
    else:
        shared = _shared_messages(whole) if len(whole) == 2 else whole[0][:-1]
        answers = [messages[len(shared) :] for messages in whole]
        _check_roles(answers, where)
        prompt = _agreed(asked, before, shared, answers, where)
    if system and prompt[:1] and prompt[0]["role"] == "system" and prompt[0]["content"] != system:
        raise ValueError(f"{where} has two system prompts that differ. Keep one of them; it has {columns(row)}.")
    if system and not (prompt and prompt[0]["role"] == "system"):
        prompt = [{"role": "system", "content": system}, *prompt]
    if prompt and prompt[-1]["role"] in ("assistant", "system"):
        raise ValueError(
            f"{where}: the prompt ends with a message of {prompt[-1]['role']!r}, not with what is answered; it has "
            f"{columns(row)}."
        )
    _check_roles(answers, where)
    return prompt, answers


def _check_roles(answers: list[list[Message]], where: str) -> None:
    if any(messages[0]["role"] != "assistant" for messages in answers):
        raise ValueError(
            f"{where}: the answers must begin with a message of 'assistant', after a prompt that they share."
        )


def _before(asked: dict[str, str], before: list[Message], where: str) -> list[Message]:
    """The prompt of answers that do not hold it."""
    if before and before[-1]["role"] == "user":
        if not all(_said(text, before) for text in asked.values()):
            raise ValueError(
                f"{where}: {columns(asked)} is not in the dialogue, and where it belongs there is not clear."
            )
        return before
    again = [name for name, text in asked.items() if any(text.strip() == one["content"] for one in before)]
    if again:
        raise ValueError(f"{where}: {again[0]!r} is in the dialogue, which has answered it. Remove one of the two.")
    if len({text.strip() for text in asked.values()}) > 1:
        raise ValueError(f"{where} has texts that may all be the prompt, {columns(asked)}. Keep one of them.")
    return before + [{"role": "user", "content": text} for text in list(asked.values())[:1]]


def _agreed(
    asked: dict[str, str], before: list[Message], shared: list[Message], answers: list[list[Message]], where: str
) -> list[Message]:
    """The prompt of whole dialogues, with which what else is said of it must agree."""
    prompt, more = shared, before[len(shared) :]
    goes_on = not more or any(_equal(more, messages[: len(more)]) for messages in answers)
    if before and not (goes_on and _equal(before[: len(shared)], shared)):
        if not shared or not _equal(before[-len(shared) :], shared):
            raise ValueError(f"{where}: the turns before the answers are not those that the answers begin with.")
        prompt = before
    if not all(_said(text, prompt) for text in asked.values()):
        raise ValueError(f"{where}: {columns(asked)} is not in the dialogues, and where it belongs there is not clear.")
    return prompt


def _check_no_other_prompt(row: Row, where: str) -> None:
    """Refuses to go without a prompt where an unknown column may be it."""
    known = {*_NO_PROMPT, "chosen", "rejected", "completion", *ASKED, *DIALOGUES, *SYSTEM}
    texts = [n for n, x in row.items() if n not in known and isinstance(x, str | list | dict) and not _blank(x)]
    if texts:
        raise ValueError(
            f"{where} has no 'prompt', and {', '.join(map(repr, texts))} may be it. Call the prompt 'prompt', or remove the "
            f"columns that are none; it has {columns(row)}."
        )


def _messages(value: Any, what: str) -> list[Message]:
    """Messages with role and content, from those, ShareGPT's, columns of either, a single one, or an answer's text."""
    if isinstance(value, str):
        return [{"role": "assistant", "content": _text(value, what)}]
    if isinstance(value, dict) and ("role" in value or "from" in value):
        lists = all(isinstance(part, list) for part in value.values())
        value = (
            [dict(zip(value, parts, strict=True)) for parts in zip(*value.values(), strict=True)] if lists else [value]
        )
    if not isinstance(value, list):
        raise ValueError(f"{what} must be a text or a list of messages; got {kind(value)}.")
    return [_message(one, what) for one in value]


def _message(one: Any, what: str) -> Message:
    parts = one if isinstance(one, dict) else {}
    told = isinstance(parts.get("content"), str | list) or parts.get("tool_calls")
    if isinstance(parts.get("role"), str) and told:
        return parts if "content" in parts else {"content": None, **parts}
    who, said = parts.get("from"), parts.get("value")
    if not isinstance(who, str) or not isinstance(said, str):
        raise ValueError(f"{what} must hold messages with the texts 'role' and 'content'; got {kind(one)}.")
    if who not in _ROLES:
        raise ValueError(f"{what} must hold turns from {', '.join(_ROLES)}; got another one.")
    return {"role": _ROLES[who], "content": said}


def _history(value: list[Any], what: str) -> list[Message]:
    if all(isinstance(turn, list | tuple) and len(turn) == 2 for turn in value):
        said = [(role, text) for turn in value for role, text in zip(("user", "assistant"), turn, strict=True)]
        return [{"role": role, "content": _text(text, what)} for role, text in said]
    return _messages(value, what)


def _post(info: Any, what: str) -> str:
    parts = [info.get(name) for name in ("subreddit", "title", "post")] if isinstance(info, dict) else [None]
    if not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{what} must hold the texts 'subreddit', 'title' and 'post'.")
    return "SUBREDDIT: r/{}\n\nTITLE: {}\n\nPOST: {}\n\nTL;DR:".format(*parts)


_WRITTEN = re.compile(
    r"""\s*(array\(\s*)?\[?\s*\{(?=.*?['"](role|from)['"]\s*:\s*['"](user|assistant|system|human|gpt)['"])"""
    r"""(?=.*?['"](content|value)['"]\s*:)""",
    re.DOTALL,
)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a text or a list of messages; got {kind(value)}.")
    if _WRITTEN.match(value):
        raise ValueError(f"{what} is a list of messages that was written as a text. Give the list itself.")
    return value


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)


def _shared(texts: list[str]) -> str:
    one, other = texts[0], texts[-1]
    differ = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return one[: next(differ, min(len(one), len(other)))]


def _last_turn(text: str) -> int:
    """Where the assistant's last turn begins, whatever ends the lines; 0 where there is none."""
    return max((found.end() for found in re.finditer(r"\n[ \t]*Assistant:", text)), default=0)


def _plain(text: str) -> str:
    """The text with one space for all white space, and one way to write an accent."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _shared_messages(whole: list[list[Message]]) -> list[Message]:
    """What both dialogues begin with, before an answer in each."""
    length = 0
    while length < min(map(len, whole)) - 1 and _equal(*([messages[length]] for messages in whole)):
        length += 1
    while length and whole[0][length - 1]["role"] == "assistant":
        length -= 1
    return whole[0][:length]


def _equal(one: list[Message], other: list[Message]) -> bool:
    return [_seen(message) for message in one] == [_seen(message) for message in other]


def _seen(message: Message) -> list[Any]:
    return [message["role"], message["content"], *(message.get(name) or None for name in BESIDE)]


def _said(text: str, messages: list[Message]) -> bool:
    """Whether a text stands in the messages, or holds all that the user says in them."""
    said = [str(message["content"]).strip() for message in messages]
    users = [part for message, part in zip(messages, said, strict=True) if message["role"] == "user"]
    return any(text.strip() in part for part in said) or (bool(users) and all(part in text for part in users))
