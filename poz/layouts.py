"""What a row of a preference data set says, whatever its columns are called; docs/data.md lists the layouts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from poz._nearest import misspelt
from poz.dialogues import ASKED, BEGUN, DIALOGUES, SYSTEM, Row, columns, is_number, kind, prompted

PAIRED = (
    ("chosen", "rejected"),
    ("chosen_response", "rejected_response"),
    ("response_j", "response_k"),
    ("messages", "rejected_messages"),
    ("messages", "rejected_response"),
)
"""The better and the worse answer."""

_SIGN = {-3: 0, -2: 0, -1: 0, 0: None, 1: 1, 2: 1, 3: 1}
_ARENA = {"model_a": 0, "model_b": 1, "tie": None, "tie (bothbad)": None, "both_bad": None}
JUDGED: tuple[tuple[str, str, str, dict[Any, int | None], str], ...] = (
    ("human_ref_A", "human_ref_B", "labels", {1: 0, 0: 1}, "history"),
    ("response_0", "response_1", "better_response_id", {0: 0, 1: 1}, ""),
    ("response_0", "response_1", "safer_response_id", {0: 0, 1: 1}, ""),
    ("response_1", "response_2", "preference_strength", _SIGN, ""),
    ("response1", "response2", "overall_preference", _SIGN, "context"),
    ("conversation_a", "conversation_b", "winner", _ARENA, ""),
    ("orig_response_A", "orig_response_B", "orig_preference", {"A": 0, "B": 1}, "orig_instruction"),
)
"""Two answers, the column that judges them, which of the two each verdict prefers (None: a tie), and the column of the
prompt where it is no usual one."""

RATED = (
    ("answers", "answer", "rank"),
    ("completions", "response", "fine-grained_score"),
    ("generations", "", "rating"),
    ("generations", "", "ratings"),
    ("responses", "", "scores"),
    ("all_generated_responses", "", "all_rm_scores"),
    ("completions", "", "scores"),
    ("completions", "", "ranks"),
    ("completions", "", "winrates"),
)
"""A list of answers, where each keeps its text ("": it is one), and its score: there, or in a list of that name."""
RANKS = ("rank", "ranks")
"""Scores of which 1 is the best."""
NO_REWARDS = (*RANKS, "winrates")
"""Scores whose gaps are no gaps of rewards."""

GOOD_OR_NOT = (
    ("completion", "label"),
    ("output", "kto_tag"),
    ("messages", "label"),
    ("conversations", "label"),
    ("conversations", "kto_tag"),
)
"""One answer, or a dialogue that ends with it, and whether it is good."""

SCORES = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("rating_chosen", "rating_rejected"),
    ("chosen_rating", "rejected_rating"),
    ("chosen-rating", "rejected-rating"),
    ("chosen_avg_rating", "rejected_avg_rating"),
)
"""The names that the scores of chosen and rejected go by."""

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
    "tie",
    "strength",
    "chosen_factors",
    "rejected_factors",
)
"""What a row may hold beside the texts, under the names of the fields of `poz.Pairs` and the other families of pairs."""

NUMBERS = {
    *COLUMNS,
    *(name for names in SCORES for name in names),
    *(found[2] for found in JUDGED if found[2] not in ("winner", "orig_preference")),
    *("kto_tag", "choice", "score_0", "score_1"),
}
"""Columns that are no texts."""

LONG = 16
"""Characters of a prompt that no two answers begin with by chance."""

_SIDES = ("chosen", "rejected", "completion")
_CONTENT = {
    *_SIDES,
    *(name for names in PAIRED for name in names),
    *(name for found in JUDGED for name in (*found[:3], found[4])),
    *(name for found in RATED for name in (found[0], found[2])),
    *("output", "kto_tag", "answer_0", "answer_1", "score_0", "score_1", "summaries", "choice", "info"),
    *(*ASKED, *DIALOGUES, *SYSTEM, BEGUN),
}


class _Answers(NamedTuple):
    """Two answers to one prompt, their columns, the gap of their scores, and the prompt's column if it is its own."""

    better: Any
    worse: Any
    names: tuple[str, ...]
    margin: float | None = None
    prompt: str = ""


def read(row: Row, where: str) -> list[dict[str, Any]]:
    """The pairs that a row holds, under the names prompt, chosen and rejected, with its other columns.

    Each of the three is a text, to be joined without anything between, or all are lists of messages
    `{"role": ..., "content": ...}`. A list of K answers gives all pairs whose scores differ. A row that says of one
    answer whether it is good gives prompt, completion and label.

    Args:
        row: Values by column.
        where: What an error names.

    Returns:
        No pair where the row is a tie.

    Raises:
        ValueError: The columns are of no known layout, or do not say for certain what the prompt is.
    """
    others = {name: value for name, value in row.items() if name not in _CONTENT}
    if names := _good_or_not(row):
        answer, verdict = names
        prompt, (completion,) = prompted(row, [row[answer]], (answer,), "", where)
        label = truth(row[verdict], f"{where}: {verdict!r}")
        return [{"prompt": prompt, "completion": completion, **others, "label": label}]
    pairs = []
    for found in _answers(row, where):
        prompt, (chosen, rejected) = prompted(row, [found.better, found.worse], found.names, found.prompt, where)
        margin = {} if found.margin is None or "margin" in row else {"margin": found.margin}
        pairs.append({"prompt": prompt, "chosen": chosen, "rejected": rejected, **others, **margin})
    return pairs


def repeats(pair: Row) -> bool:
    """Whether the prompt is a text with which all answers begin."""
    prompt = pair["prompt"]
    answers = [pair[side] for side in _SIDES if side in pair] + pair.get("completions", [])
    return isinstance(prompt, str) and bool(prompt.strip()) and all(answer.startswith(prompt) for answer in answers)


def unrepeated(pair: dict[str, Any], every: bool) -> dict[str, Any]:
    """What `read` gives, without the prompt at the beginning of the answers, where that is no chance.

    Args:
        pair: What `read` gives.
        every: Whether all pairs of the data set repeat their prompts; then short ones are cut too.
    """
    if not repeats(pair) or not (every or len(pair["prompt"].strip()) >= LONG):
        return pair
    cut = {side: pair[side][len(pair["prompt"]) :] for side in _SIDES if side in pair}
    listed = {name: [one[len(pair["prompt"]) :] for one in pair[name]] for name in ("completions",) if name in pair}
    return {**pair, **cut, **listed}


def check_column(name: str, value: Any, where: str) -> None:
    """Refuses what no objective computes with in a column of `COLUMNS`.

    Raises:
        ValueError: Nothing, NaN, infinity, something that is no number, a negative weight, a label outside [0, 1], or a tie that
            is neither 0 nor 1.
    """
    many = name.endswith(("_weights", "_factors")) or name.startswith(("opponents_", "prompt_"))
    if many and not isinstance(value, list | tuple):
        raise ValueError(f"{where}: {name!r} must be a list of numbers; got {kind(value)}.")
    for number in value if many else [value]:
        if name == "annotator" and isinstance(number, str):
            continue
        if not is_number(number) or not math.isfinite(number):
            got = number if is_number(number) else kind(number)
            raise ValueError(f"{where}: {name!r} must hold finite numbers; got {got}. Mend the row, or leave it out.")
        if name.endswith("_weights") and number < 0:
            raise ValueError(f"{where}: {name!r} must hold numbers of 0 or more; got {number}.")
        if name == "tie" and number not in (0, 1):
            raise ValueError(
                f"{where}: 'tie' says whether there was no difference: true or false, 1 or 0; got {number}."
            )
        if name == "label" and not 0 <= number <= 1:
            raise ValueError(f"{where}: 'label' is the probability that chosen is better, from 0 to 1; got {number}.")


def truth(value: Any, what: str) -> bool:
    """Whether a completion is good, from true or false, 1 or 0.

    Raises:
        ValueError: Anything else.
    """
    if not is_number(value) or value not in (0, 1):
        got = value if is_number(value) else kind(value)
        raise ValueError(f"{what} says whether the completion is good: true or false, 1 or 0; got {got}.")
    return bool(value)


def _good_or_not(row: Row) -> tuple[str, str] | None:
    if any(set(names) <= row.keys() for names in PAIRED):
        return None
    return next((names for names in GOOD_OR_NOT if set(names) <= row.keys()), None)


def _answers(row: Row, where: str) -> Iterator[_Answers]:
    for names in PAIRED:
        if set(names) <= row.keys():
            better, worse = (row[name] for name in names)
            if names == ("messages", "rejected_response"):  # ms-swift: the dialogue with another last turn
                if not isinstance(better, list) or not isinstance(worse, str):
                    raise ValueError(f"{where}: {names[0]!r} must be a list of messages, and {names[1]!r} a text.")
                worse = [*better[:-1], {"role": "assistant", "content": worse}]
            yield _Answers(better, worse, names, _gap(row))
            return
    judged = [found for found in JUDGED if set(found[:3]) <= row.keys()]
    if len(judged) > 1:
        verdicts = " and ".join(repr(found[2]) for found in judged)
        raise ValueError(f"{where} is judged twice, by {verdicts}, which may differ. Keep one of the two columns.")
    if judged:
        one, other, verdict, meaning, prompt = judged[0]
        yield from _judged([row[one], row[other]], (one, other), row[verdict], verdict, meaning, prompt, where)
    elif {"summaries", "choice"} <= row.keys():
        listed = row["summaries"] if isinstance(row["summaries"], list) else []
        texts = [summary.get("text") if isinstance(summary, dict) else None for summary in listed]
        if len(texts) != 2:
            raise ValueError(
                f"{where}: 'summaries' must be a list of two, each with its 'text'; got {kind(row['summaries'])}."
            )
        yield from _judged(texts, ("summaries",) * 2, row["choice"], "choice", {0: 0, 1: 1}, "info", where)
    elif {"answer_0", "answer_1", "score_0", "score_1"} <= row.keys():
        answers, scores = ([row[f"{name}_{side}"] for side in (0, 1)] for name in ("answer", "score"))
        scores = goodness(answers, scores, "answer_0", "score_0", where)
        yield from _by_score(answers, scores, ("answer_0", "answer_1"), True)
    elif "instruction" in row and isinstance(row.get("output"), list) and len(row["output"]) == 2:
        yield _Answers(row["output"][0], row["output"][1], ("output",) * 2)
    else:
        yield from _rated(row, where)


def _judged(
    answers: list[Any],
    names: tuple[str, ...],
    judged: Any,
    verdict: str,
    meaning: Mapping[Any, int | None],
    prompt: str,
    where: str,
) -> Iterator[_Answers]:
    if isinstance(judged, list | dict) or judged not in meaning:
        known = ", ".join(map(repr, meaning))
        raise ValueError(f"{where}: {verdict!r} must be one of {known}; got {kind(judged)} that is none of them.")
    winner = meaning[judged]
    if winner is not None:
        yield _Answers(answers[winner], answers[1 - winner], names, None, prompt)


def rated(row: Row) -> tuple[list[Any], Any, str, str] | None:
    """A list of answers, their scores, which need not be numbers, or ranks, and the columns of both, if a row holds one."""
    for name, text, score in RATED:
        listed = row.get(name)
        if not isinstance(listed, list) or (not text and score not in row):
            continue
        if text and not all(isinstance(one, dict) and {text, score} <= one.keys() for one in listed):
            continue
        answers, scores = ([one[key] for one in listed] for key in (text, score)) if text else (listed, row[score])
        return answers, scores, name, score
    return None


def _rated(row: Row, where: str) -> Iterator[_Answers]:
    if found := rated(row):
        answers, scores, name, score = found
        yield from _by_score(
            answers, goodness(answers, scores, name, score, where), (name,) * 2, score not in NO_REWARDS
        )
        return
    missing = "rejected" if "chosen" in row else "chosen"
    raise ValueError(
        f"{where} has no {missing!r}; it has {columns(row)}.{misspelt(missing, [*row])} docs/data.md lists the layouts that are "
        "read."
    )


def goodness(answers: list[Any], scores: Any, name: str, score: str, where: str) -> list[float]:
    """The score of each answer, the greatest of the best; of ranks their negatives.

    Raises:
        ValueError: Not a finite number for each answer.
    """
    fitting = isinstance(scores, list | tuple) and len(scores) == len(answers)
    if not fitting or not all(is_number(one) and math.isfinite(one) for one in scores):
        raise ValueError(f"{where}: {name!r} must have a finite score for each answer. Mend the row, or leave it out.")
    return [float(-one if score in RANKS else one) for one in scores]


def _by_score(answers: list[Any], scores: list[float], names: tuple[str, ...], rewards: bool) -> Iterator[_Answers]:
    """All pairs of different scores, the best answer first."""
    order = sorted(range(len(answers)), key=lambda place: -scores[place])
    for rank, better in enumerate(order):
        for worse in order[rank + 1 :]:
            gap = scores[better] - scores[worse]
            if gap > 0:
                yield _Answers(answers[better], answers[worse], names, gap if rewards else None)


def _gap(row: Row) -> float | None:
    for names in SCORES:
        chosen, rejected = (row.get(name) for name in names)
        if is_number(chosen) and is_number(rejected):
            return float(chosen - rejected)
    return None
