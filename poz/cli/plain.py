"""The pages of --help, in plain lines: nothing is shortened, and no word is cut, however narrow the terminal is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from textwrap import TextWrapper
from typing import Any

from typer.core import TyperCommand, TyperGroup

WIDEST = 100


def wrapped(text: str, width: int, indent: str = "", hanging: str | None = None) -> str:
    """A text broken between words; one that is longer than a line stays whole."""
    wrapper = TextWrapper(
        width,
        initial_indent=indent,
        subsequent_indent=indent if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapper.fill(text)


class _Plain:
    """What a page is made of."""

    def format_help(self: Any, ctx: Any, formatter: Any) -> None:
        """Writes all of it."""
        formatter.write("\n\n".join(self.paragraphs(ctx, min(shutil.get_terminal_size().columns, WIDEST))) + "\n")

    def paragraphs(self: Any, ctx: Any, width: int) -> Iterator[str]:
        """Usage, what it is, and its parameters."""
        yield wrapped(f"Usage: {ctx.command_path} {' '.join(self.collect_usage_pieces(ctx))}", width, "", "  ")
        if self.help:
            yield from (wrapped(" ".join(part.split()), width) for part in self.help.split("\n\n"))
        records = (param.get_help_record(ctx) for param in self.get_params(ctx))
        yield _entries([record for record in records if record], width)


class Command(_Plain, TyperCommand):
    """A command."""


class Group(_Plain, TyperGroup):
    """The program, with a sentence for each of its commands."""

    def paragraphs(self: Any, ctx: Any, width: int) -> Iterator[str]:
        """The commands behind the rest."""
        yield from super().paragraphs(ctx, width)
        yield _entries([(name, command.help.split("\n\n")[0]) for name, command in self.commands.items()], width)


def _entries(records: list[tuple[str, str]], width: int) -> str:
    """A name and what it means: beside each other where there is room for both, else below."""
    first = max(len(name) for name, _ in records) + 4
    if width - first < 40:
        return "\n".join(f"  {name}\n{wrapped(text, width, '      ')}" for name, text in records)
    return "\n".join(wrapped(text, width, f"  {name}".ljust(first), " " * first) for name, text in records)
