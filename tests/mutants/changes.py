"""What may be changed in a file, one place at a time."""

from __future__ import annotations

import ast
import copy
import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
BINARY: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
COMPARE: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip
MEMBER: dict[type, type] = {ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}
LOGIC: dict[type, type] = {ast.And: ast.Or, ast.Or: ast.And}
NEGATED = {
    "exp", "log1p", "log_sigmoid", "logsumexp", "relu", "sigmoid", "smoothed", "soft_label", "softmax", "softplus",
}  # fmt: skip
END = 10**9


class Mutant(NamedTuple):
    """One change; the file as it is has `was` = `now` = ""."""

    path: Path
    line: int
    was: str
    now: str
    nth: int  # of the same changes in this file
    source: Callable[[], str]
    key: str
    runs: tuple[range, ...] = ()  # lines of which one runs where the change does: the closest first

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}  {self.was}  ->  {self.now}  ({self.nth})"


class Site(NamedTuple):
    """A node, where its parent holds it, and the lines that say whether it runs."""

    parent: ast.AST
    field: str
    at: int | None
    node: ast.AST
    runs: tuple[range, ...]


def exchanged(name: str) -> str:
    return name.replace("chosen", "rejected") if "chosen" in name else name.replace("rejected", "chosen")


def formula(node: ast.AST, field: str = "") -> Iterator[ast.AST]:
    """What may stand instead of a node of a formula."""
    if isinstance(node, ast.BinOp):
        if type(node.op) in BINARY:
            yield ast.BinOp(node.left, BINARY[type(node.op)](), node.right)
        if isinstance(node.op, ast.Add | ast.Sub):
            yield node.left
            yield node.right if isinstance(node.op, ast.Add) else ast.UnaryOp(ast.USub(), node.right)
    elif isinstance(node, ast.AugAssign) and type(node.op) in BINARY:
        yield ast.AugAssign(node.target, BINARY[type(node.op)](), node.value)
        yield ast.Pass()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand
    elif isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            if type(op) in COMPARE:
                ops = [*node.ops[:at], COMPARE[type(op)](), *node.ops[at + 1 :]]
                yield ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
        yield ast.Constant(exchanged(node.value))
    elif isinstance(node, ast.Attribute):
        yield ast.Attribute(node.value, exchanged(node.attr), node.ctx)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield ast.Name(exchanged(node.id), node.ctx)
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        at = 1 if name == "smoothed" else 0
        if name in NEGATED and len(node.args) > at:
            minus = ast.UnaryOp(ast.USub(), node.args[at])
            yield ast.Call(node.func, [*node.args[:at], minus, *node.args[at + 1 :]], node.keywords)


def plumbing(node: ast.AST, field: str) -> Iterator[ast.AST]:
    """More where formulas are carried about: conditions, flags, defaults, statements and refusals."""
    yield from formula(node, field)
    if field in ("test", "ifs"):
        yield ast.UnaryOp(ast.Not(), node)  # type: ignore[arg-type]
    if isinstance(node, ast.BoolOp):
        yield ast.BoolOp(LOGIC[type(node.op)](), node.values)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in MEMBER:
        yield ast.Compare(node.left, [MEMBER[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif (
        isinstance(node, ast.Raise | ast.Break | ast.Continue)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
        or (isinstance(node, ast.Assign) and all(isinstance(to, ast.Attribute | ast.Subscript) for to in node.targets))
    ):
        yield ast.Pass()


def _lines(node: ast.AST) -> range:
    """Of a statement: without its body."""
    body = getattr(node, "body", None)
    last = body[0].lineno if isinstance(body, list) and body else node.end_lineno + 1  # type: ignore[attr-defined]
    return range(node.lineno, max(last, node.lineno + 1))  # type: ignore[attr-defined]


def sites(
    parent: ast.AST, whole: range = range(END), body: bool = False, runs: tuple[range, ...] = ()
) -> Iterator[Site]:
    """Every node below `parent`: no decorators, annotations, docstrings or messages.

    What is not in a function's `body` runs at import: any line of `whole`, its class or file, stands for it.
    """
    for field, value in ast.iter_fields(parent):
        if field in ("annotation", "returns", "decorator_list") or (field == "func" and isinstance(value, ast.Name)):
            continue
        for at, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST) or isinstance(node, ast.FormattedValue):
                continue
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                continue
            inside, around, near = body, whole, runs
            if isinstance(parent, ast.FunctionDef):
                inside = field == "body"
                around = range(parent.body[0].lineno, (parent.end_lineno or 0) + 1)
            elif isinstance(parent, ast.ClassDef):
                around = range(parent.lineno, (parent.end_lineno or 0) + 1)
            if not inside:
                near = (around,)
            elif isinstance(node, ast.stmt):
                near = (_lines(node),)
            line = getattr(node, "lineno", 0)
            yield Site(parent, field, at, node, (range(line, line + 1), *near) if inside and line else near)
            if not isinstance(node, ast.Raise):
                yield from sites(node, around, inside, near)


def source(tree: ast.AST, site: Site, node: ast.AST) -> str:
    """The file with `node` at a site."""

    def put(it: ast.AST) -> None:
        if site.at is None:
            setattr(site.parent, site.field, it)
        else:
            getattr(site.parent, site.field)[site.at] = it

    put(node)
    text = ast.unparse(tree)
    put(site.node)
    return text


def mutants(path: Path, changes: Callable[[ast.AST, str], Iterator[ast.AST]] = formula) -> list[Mutant]:
    """The file as it is, then every change of it."""
    text, where = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
    tree = ast.parse(text)

    def key(*change: object) -> str:
        return hashlib.sha256(repr((where, text, *change)).encode()).hexdigest()[:24]

    plain = functools.partial(ast.unparse, tree)
    found, seen = [Mutant(path, 0, "", "", 0, plain, key())], Counter[tuple[str, str]]()
    for site in list(sites(tree)):
        for changed in changes(site.node, site.field):
            was, now = ast.unparse(site.node), ast.unparse(ast.fix_missing_locations(copy.deepcopy(changed)))
            if was == now:
                continue
            was = "raise" if isinstance(site.node, ast.Raise) else was
            seen[was, now] += 1
            nth, made = seen[was, now], functools.partial(source, tree, site, changed)
            line = getattr(site.node, "lineno", 0)
            found.append(Mutant(path, line, was, now, nth, made, key(was, now, nth), site.runs))
    return found
