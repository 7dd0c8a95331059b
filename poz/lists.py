"""What a row of a data set says of K answers to one prompt; docs/data.md lists the layouts."""

from __future__ import annotations

from typing import Any

from poz.dialogues import Row, columns, prompted
from poz.layouts import NO_REWARDS, goodness, rated

NUMBERS = ("scores", "ranks", "winrates")
"""What `read` finds beside completions, and the columns of poz's own layout that hold it."""


def read(row: Row, where: str) -> dict[str, Any]:
    """The list that a row holds: `prompt`, `completions`, best first, and their `scores`, `ranks` or `winrates`.

    The prompt and each completion are a text, or a list of messages, as in `poz.layouts.read`; equal ones stay in the
    order of the row. Completions that are the same, or fewer than two, say nothing that lists are trained on.

    Args:
        row: Values by column.
        where: What an error names.

    Returns:
        Nothing where there are fewer than two completions, two of them are the same, or none is better than another.

    Raises:
        ValueError: The row holds no list of answers with their scores, or does not say for certain what the prompt is.
    """
    found = rated(row)
    if found is None:
        pair = " A pair is for poz.integrations.trl.DPOTrainer." * ("chosen" in row)
        raise ValueError(
            f"{where} holds no list of completions with a score for each; it has {columns(row)}. Give 'prompt', "
            f"'completions' and 'scores', 'winrates' or 'ranks', 1 for the best; docs/data.md lists other layouts.{pair}"
        )
    answers, scores, name, score = found
    values = goodness(answers, scores, name, score, where)
    if len(set(values)) < 2 or any(one in answers[:place] for place, one in enumerate(answers)):
        return {}
    order = sorted(range(len(answers)), key=lambda place: -values[place])
    best, *others = (answers[place] for place in order)
    found_in = [prompted(row, [best, other], (name, name), "", where) for other in others]
    prompt, (first, _) = found_in[0]
    if any((shared, sides[0]) != (prompt, first) for shared, sides in found_in):
        raise ValueError(f"{where}: the completions do not begin with one prompt. Give it as 'prompt', without them.")
    kept = score if score == "winrates" else "ranks" if score in NO_REWARDS else "scores"
    sorted_values = [-values[place] if kept == "ranks" else values[place] for place in order]
    return {"prompt": prompt, "completions": [first, *(sides[1] for _, sides in found_in)], kept: sorted_values}
