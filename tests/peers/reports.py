"""Drafts of the reports to the maintainers of a library, one for each of its bugs: docs/reports/LIBRARY_KEY.md."""

import ast
import dis
import inspect
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from poz.peers import described, libraries

Record = dict[str, Any]


def repro(call: Callable[[], Any]) -> str:
    """The body of a fact as a program that prints what it gives, with what it takes from its file imported.

    Raises:
        ValueError: It takes more than names of other packages, so it does not stand alone.
    """
    source = textwrap.dedent(inspect.getsource(call))
    (function,) = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    body = function.body[1:] if ast.get_docstring(function) else function.body
    last, lines = body[-1], source.splitlines()
    if isinstance(last, ast.Return) and last.value is not None and list(_returns(function)) == [last]:
        text = textwrap.dedent("\n".join(lines[body[0].lineno - 1 : last.lineno - 1]))
        value = (ast.get_source_segment(source, last.value) or "").replace("\n" + " " * last.col_offset, "\n")
        text += f"\nprint({value})"
    else:
        text = "\n".join([f"def {function.name}():", *lines[body[0].lineno - 1 :], "", "", f"print({function.name}())"])
    text = re.sub(r"[ \t]+# (noqa|type: ignore|fmt: skip)\S*.*", "", text).replace("raise Absent(", "raise SystemExit(")
    text = re.sub(
        r"^( *(?!else|try|finally)\w+): [^=\n]+ = ", r"\1 = ", text, flags=re.MULTILINE
    )  # of a function they are not evaluated
    taken = _imports(inspect.unwrap(call)) + ["from typing import Any"] * bool(re.search(r"\bAny\b", text))
    apart = [""] if taken and not text.startswith(("import ", "from ")) else []
    return "\n".join([*taken, *apart, text.strip("\n")]) + "\n"


def _returns(node: ast.AST) -> Iterator[ast.Return]:
    """Those of a function, without those of functions in it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Return):
            yield child
        elif not isinstance(child, (ast.FunctionDef, ast.Lambda, ast.ClassDef)):
            yield from _returns(child)


def _imports(call: Callable[[], Any]) -> list[str]:
    """Lines that import what a function takes from its file."""
    found = []
    if closed := inspect.getclosurevars(call).nonlocals:
        raise ValueError(f"{call.__qualname__} takes {', '.join(closed)} from around it: a report has to stand alone.")
    for name in sorted(_globals(call.__code__) & set(call.__globals__) - {"Absent"}):
        value = call.__globals__[name]
        module = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "poz")
        if module.partition(".")[0] == "poz":
            raise ValueError(
                f"{call.__qualname__} takes {name} from its file: a report has to stand alone. Write it out."
            )
        parent, _, last = module.rpartition(".")
        if not isinstance(value, ModuleType):
            found.append(f"from {module} import {name}")
        elif parent:
            found.append(f"from {parent} import {last}" + f" as {name}" * (name != last))
        else:
            found.append(f"import {module}" + f" as {name}" * (name != last))
    return sorted(found, key=lambda line: (line.startswith("from"), line))


def _globals(code: CodeType) -> set[str]:
    """Names that a function, and what stands in it, takes from its file."""
    own = {one.argval for one in dis.get_instructions(code) if one.opname == "LOAD_GLOBAL"}
    return own.union(*(_globals(one) for one in code.co_consts if isinstance(one, CodeType)))


def reports(results: Record) -> dict[str, str]:
    """The text of every report, by the name of its file."""
    places = tomllib.loads(Path(__file__).with_name("checkouts.toml").read_text(encoding="utf-8"))
    calls = {(name, fact.key): fact.call for name, library in libraries().items() for fact in library.facts}
    bugs: dict[tuple[str, str], list[Record]] = {}
    for record in results["records"]:
        if record["kind"] == "bug" and (record["library"], record["key"]) in calls:
            bugs.setdefault((record["library"], record["key"]), []).append(record)
    last = {record["library"]: record["version"] for record in results["records"]}
    return {
        named(*pair): _report(pair[0], records, calls[pair], places.get(pair[0]), last[pair[0]])
        for pair, records in bugs.items()
        if any(record["verdict"] == "stands" for record in records)
    }


def named(library: str, key: str) -> str:
    """The file of a report, which begins with its library."""
    start = re.sub(r"\W+", "_", library.lower())
    return f"{key if key.startswith(start) else f'{start}_{key}'}.md"


def _report(library: str, records: list[Record], call: Callable[[], Any], place: Record | None, last: str) -> str:
    one = records[-1]  # the newest that could be asked
    where = f", in a checkout of https://github.com/{place['repository']}" if place else ""
    parts = [
        f"# {library}: {one['does'].rstrip('.')}",
        "\n".join(f"* {library} {record['version']}: {described(record)}" for record in records)
        + f"\n* {library} {last}, the newest that was run, has none of it: there is nothing to report."
        * (one["version"] != last),
        f"To see it{where}:",
        f"```python\n{repro(call)}```",
        f"prints {_code(one['gives'])}, and ought to print {_code(one['right'])}: {_begun(one['because']).rstrip('.')}.",
    ]
    if one["link"]:
        parts.append(f"See {one['link']}.")
    if one["objective"]:
        parts.append(
            f"The reference is `poz.reference.{one['objective']}`; `poz show {one['objective']}` has its formula."
        )
    return "\n\n".join(parts) + "\n"


def _code(value: Any) -> str:
    return f"`` {value} ``" if "`" in str(value) else f"`{value}`"


def _begun(text: str) -> str:
    """A sentence as it goes on after a colon."""
    first = text.split(" ", 1)[0]
    return text[:1].lower() + text[1:] if first.istitle() and first.isalpha() else text
