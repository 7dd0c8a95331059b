"""Links from pages to files of the repository that are not in docs/: each gets a page, for there is no address to link to."""

import ast
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples.md",
}
"""Documents outside docs/, and the page that each becomes."""
LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?(?=\))")
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"
NAMED = re.compile(r"(?<!\[)`((?:[\w-]+/)*[\w-]+\.md|examples/)`")
"""A document in code, as README names them: it has no links, for it is read elsewhere too."""
HOME = {page: PurePosixPath(path) for path, page in PAGES.items()}


def linked(markdown: str, here: PurePosixPath) -> tuple[str, set[PurePosixPath]]:
    """A page with its links into the repository turned to pages, documents in code too, and what these links name."""
    found = set()
    source = HOME.get(str(here), _source(here))

    def turned(match: re.Match[str]) -> str:
        path = PurePosixPath(os.path.normpath(source.parent / match[1]))
        if path.is_relative_to("docs"):
            to = path.relative_to("docs")
        elif page := PAGES.get(str(path)) or PAGES.get(f"{path}/README.md"):
            to = PurePosixPath(page)
        elif (ROOT / path).exists():
            found.add(path)
            to = page_of(path)
        else:
            return match[0]
        return os.path.relpath(to, here.parent) + (match[2] or "")

    def document(match: re.Match[str]) -> str:
        path = match[1].rstrip("/")
        page = (path.startswith("docs/") and (ROOT / path).exists()) or path in PAGES or f"{path}/README.md" in PAGES
        return f"[{match[0]}]({os.path.relpath(path, source.parent)})" if page else match[0]

    return LINK.sub(turned, NAMED.sub(document, markdown)), found


def _source(page: PurePosixPath) -> PurePosixPath:
    """Where a page stands in the repository, from the root."""
    return page.relative_to("source").with_suffix("") if page.parts[0] == "source" else "docs" / page


def page_of(path: PurePosixPath) -> PurePosixPath:
    """The page of a file or folder; data stays as it is."""
    made = PurePosixPath("source") / path
    return made if path.suffix in (".json", ".jsonl", ".png", ".csv") else made.with_name(f"{made.name}.md")


def needed(texts: Mapping[str, str]) -> dict[str, str | Path]:
    """What pages link to in the repository: by page its Markdown, or the file that is copied."""
    made: dict[str, str | Path] = {}
    todo: Iterable[PurePosixPath] = {
        path for name, text in texts.items() for path in linked(text, PurePosixPath(name))[1]
    }
    while todo := [path for path in todo if str(page_of(path)) not in made]:
        path = todo.pop()
        page = page_of(path)
        made[str(page)] = content = _shown(path) if page.suffix == ".md" else ROOT / path
        if isinstance(content, str):
            todo = [*todo, *linked(content, page)[1]]
    return made


def _shown(path: PurePosixPath) -> str:
    file = ROOT / path
    if path.suffix == ".md":
        return file.read_text(encoding="utf-8")
    if file.is_file():
        return f"{UNSEARCHED}# `{path}`\n\n{code(file)}"
    names = sorted(one for one in file.iterdir() if one.name[0] not in "._")
    rows = (f"* `{one.name}{'/' * one.is_dir()}`{_about(one)}" for one in names)
    return "\n".join((f"# `{path}/`", "", *rows))


def _about(file: Path) -> str:
    if file.suffix != ".py":
        return ""
    text = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    return f": {text}" if text else ""


def code(file: Path) -> str:
    """A file as a block of Markdown."""
    text = file.read_text(encoding="utf-8").rstrip()
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text) or ("",)))
    language = {".py": "python", ".pyi": "python", ".toml": "toml", ".yml": "yaml", ".sh": "bash"}.get(
        file.suffix, "text"
    )
    return f"{fence}{language}\n{text}\n{fence}\n"
