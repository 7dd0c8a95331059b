"""Which objective is a limit of which: as drawings whose names are links, and as the text of the conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from html import escape
from itertools import pairwise
from statistics import mean

import poz
from poz.objective import Objective

Address = Callable[[str], str]
Node = tuple[str, int]
"""A name and its column; of an edge that passes a column, its name there."""

COLUMN, ROW, PASS, TEXT = 190, 22, 9, 7.3
"""Pixels: from column to column, from name to name, for an edge that passes between, and of a letter."""


def whole(address: Address) -> str:
    """All limits in one drawing: what has no limit on the left, each other name right of all its limits."""
    return _drawing({(one.name, limit.to) for one in poz.zoo.values() for limit in one.reduces_to}, address)


def around(objective: Objective, address: Address, most: int = 12) -> str:
    """What is a limit of one objective, and of those; and of what it is one, where that is no more than `most`."""
    edges = {
        (one.name, objective.name) for one in poz.zoo.values() for limit in one.reduces_to if limit.to == objective.name
    }
    edges = edges if len(edges) <= most else set()
    below = [objective.name]
    for name in below:
        edges |= {(name, limit.to) for limit in poz.zoo[name].reduces_to}
        below += {limit.to for limit in poz.zoo[name].reduces_to} - {*below}
    return _drawing(edges, address, objective.name)


def _drawing(edges: set[tuple[str, str]], address: Address, own: str = "") -> str:
    edges = {(general, special) for general, special in edges if general != special}
    if not edges:
        return ""
    top, parts = 0.0, []
    for component in _components(edges):
        part, height = _layered(component, top, address, own)
        parts.append(part)
        top += height + ROW
    names = {name for edge in edges for name in edge}
    size = (COLUMN * max(_depths(edges).values()) + 140, round(top - ROW))
    text = (
        f"{len(names)} objectives, and {len(edges)} arrows from one to its limit; the text has each with its condition."
    )
    return (
        '<div class="poz-scroll" role="region" aria-label="Graph of limits" tabindex="0"><svg class="poz-limits" role="group" '
        f'width="{size[0]}" height="{size[1]}" viewBox="0 0 {size[0]} {size[1]}" aria-label="{escape(text)}">'
        f"{_ARROW}{''.join(parts)}</svg></div>"
    )


_ARROW = (
    '<defs><marker id="poz-arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0L8 4L0 8z"/></marker></defs>'
)


def table(address: Address) -> str:
    """The same as text: each limit with its condition."""
    rows = "".join(
        f"<tr><td>{_link(one.name, address)}</td><td>{escape(limit.why)}</td><td>{_link(limit.to, address)}</td></tr>"
        for one in sorted(poz.zoo.values(), key=lambda one: one.name)
        for limit in one.reduces_to
    )
    return (
        '<table class="poz-table"><thead><tr><th>objective</th><th>where</th><th>is</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _link(name: str, address: Address) -> str:
    return f'<a href="{escape(address(name))}">{name}</a>'


def _depths(edges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The longest way from each name to one that has no limit."""
    limits: dict[str, list[str]] = {}
    for general, special in edges:
        limits.setdefault(general, []).append(special)
        limits.setdefault(special, [])
    depths: dict[str, int] = {}

    def depth(name: str, above: tuple[str, ...] = ()) -> int:
        if name in above:
            raise ValueError(f"No columns can be made of limits that go round: {' to '.join((*above, name))}.")
        if name not in depths:
            depths[name] = max((depth(one, (*above, name)) + 1 for one in limits[name]), default=0)
        return depths[name]

    for name in limits:
        depth(name)
    return depths


def _components(edges: set[tuple[str, str]]) -> Iterator[set[tuple[str, str]]]:
    """Edges by what hangs together, the largest first."""
    groups: list[set[str]] = []
    for edge in sorted(edges):
        touched = [group for group in groups if group & {*edge}]
        groups = [group for group in groups if group not in touched] + [set().union(edge, *touched)]
    for group in sorted(groups, key=lambda group: (-len(group), min(group))):
        yield {edge for edge in edges if edge[0] in group}


def _layered(edges: set[tuple[str, str]], top: float, address: Address, own: str) -> tuple[str, float]:
    """Names in columns by depth; in each ordered by where their neighbours are, so that few edges cross."""
    depths = _depths(edges)
    steps: list[tuple[Node, Node]] = []  # from right to left, each over one column
    chains: dict[tuple[str, str], list[Node]] = {}
    for general, special in sorted(edges):
        middle = [(f"{general} {special}", column) for column in range(depths[general] - 1, depths[special], -1)]
        chain = [(general, depths[general]), *middle, (special, depths[special])]
        chains[general, special] = chain
        steps += pairwise(chain)
    columns: dict[int, list[Node]] = {}
    for node in sorted({node for step in steps for node in step}):
        columns.setdefault(node[1], []).append(node)
    beside: dict[Node, list[Node]] = {}
    for a, b in steps:
        beside.setdefault(a, []).append(b)
        beside.setdefault(b, []).append(a)
    y = {node: ROW * place for nodes in columns.values() for place, node in enumerate(nodes)}
    for sweep in range(24):
        for column in sorted(columns, reverse=bool(sweep % 2)):
            near = {n: [y[m] for m in beside[n] if (m[1] > column) == bool(sweep % 2)] for n in columns[column]}
            goal = {n: mean(near[n]) if near[n] else y[n] for n in columns[column]}
            columns[column].sort(key=lambda n: goal[n])
            _place(columns[column], goal, y)
    low = min(y.values())
    place = {node: (COLUMN * node[1] + 4, y[node] - low + top + ROW / 2) for node in y}
    parts = []
    for (general, special), chain in chains.items():
        why = "; ".join(limit.why for limit in poz.zoo[general].reduces_to if limit.to == special)
        title = f"<title>{escape(f'{general} is {special} where: {why}')}</title>"
        parts.append(f'<path class="poz-edge" d="{_way(chain, place)}" marker-end="url(#poz-arrow)">{title}</path>')
    for name, column in depths.items():
        x, at = place[name, column]
        bold = ' class="poz-own"' if name == own else ""
        text = f'<text x="{x}" y="{at + 4:.1f}"{bold}>{name}</text>'
        parts.append(text if name == own else f'<a href="{escape(address(name))}">{text}</a>')
    return "".join(parts), max(y.values()) - low + ROW


def _place(nodes: list[Node], goal: dict[Node, float], y: dict[Node, float]) -> None:
    """As near to their goals as their order and sizes allow: those that would overlap stand around the mean of their goals."""
    blocks: list[tuple[list[Node], list[float]]] = []  # nodes, and of each where it wants the block to begin
    for node in nodes:
        blocks.append(([node], [goal[node]]))
        while len(blocks) > 1 and _start(blocks[-2]) + sum(map(_size, blocks[-2][0])) > _start(blocks[-1]):
            (left, wants), (right, wishes) = blocks[-2:]
            shift = sum(map(_size, left))
            blocks[-2:] = [(left + right, wants + [wish - shift for wish in wishes])]
    for members, wants in blocks:
        at = mean(wants)
        for node in members:
            y[node] = at
            at += _size(node)


def _start(block: tuple[list[Node], list[float]]) -> float:
    return mean(block[1])


def _size(node: Node) -> float:
    return PASS if " " in node[0] else ROW


def _way(chain: list[Node], place: dict[Node, tuple[float, float]]) -> str:
    """A curve from the left of a name, through the columns between, to the right of its limit."""
    points = [place[chain[0]]]
    for node in chain[1:-1]:
        x, y = place[node]
        points += [(x + COLUMN - 40, y), (x, y)]
    x, y = place[chain[-1]]
    points.append((x + TEXT * len(chain[-1][0]) + 6, y))
    (x, y), *rest = points
    way = f"M{x - 4:.1f} {y:.1f}"
    for number, (a, b) in enumerate(rest):
        if number % 2:  # straight on, past the names of a column
            way += f"H{a:.1f}"
        else:
            half = (x + a) / 2
            way += f"C{half:.1f} {y:.1f} {half:.1f} {b:.1f} {a:.1f} {b:.1f}"
        x, y = a, b
    return way


def pages() -> dict[str, str]:
    """The page."""

    def address(name: str) -> str:
        return f"objectives/{name}.html"

    about = (
        "An arrow leads from an objective to one that it becomes: under hyper-parameters, or on data, that the "
        "table below names. Each of them is a test, which runs both on drawn data. Names lead to their pages.\n\n"
    )
    text = (
        f"# Which objective is a limit of which\n\n{about}{whole(address)}\n\n## The conditions\n\n{table(address)}\n"
    )
    return {"limits.md": "---\nhide: [toc]\n---\n\n" + text}
