"""Formulas as text: what LaTeX says, in Unicode, for terminals and `help`.

A fraction is a/b, in parentheses where something stands beside it. A script is raised or lowered where Unicode has it, else
behind _ or ^; a formula has the letters of its subscripts in one way, so that y_l does not differ from y_w, which has none.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_SYMBOLS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "varepsilon": "ε", "epsilon": "ϵ", "zeta": "ζ", "eta": "η",
    "theta": "θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ",
    "tau": "τ", "phi": "ϕ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "ell": "ℓ", "infty": "∞",
    "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ",
    "Omega": "Ω", "partial": "∂", "nabla": "∇",
}  # fmt: skip
_RELATIONS = {
    "le": "≤", "ge": "≥", "leq": "≤", "geq": "≥", "ne": "≠", "neq": "≠", "in": "∈", "notin": "∉", "succ": "≻", "prec": "≺",
    "sim": "~", "mid": "|", "approx": "≈", "propto": "∝", "to": "→", "|": "‖", "=": "=", "<": "<", ">": ">",
}  # fmt: skip
_SIGNS = {"+": "+", "-": "-", "pm": "±", "mp": "∓", "odot": "⊙", "cdot": "·", "times": "×"}
_BIG = {"sum": "∑", "prod": "∏", "int": "∫"}
_MARKS = {"bar": "\u0304", "hat": "\u0302", "tilde": "\u0303"}
_LETTERS = {("mathbb", "E"): "𝔼", ("mathcal", "L"): "ℒ"}
_SPACES = {"quad": "\u2003", "qquad": "\u2003", ",": " ", ";": " ", " ": " "}
_SILENT = {"bigl", "bigr", "Bigl", "Bigr", "left", "right", "textstyle", "displaystyle", "!"}
_FRACTIONS = {("1", "2"): "½", ("1", "3"): "⅓", ("1", "4"): "¼", ("3", "4"): "¾"}
_SUB = dict(zip("0123456789+-()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))
_SUP = dict(zip("0123456789+-abcdeghijklmnoprstuvwxyz", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵃᵇᶜᵈᵉᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True))
_TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\s+|.")
_BRACKETS = re.compile(r"\([^()]*(?:\([^()]*\)[^()]*)*\)|\[[^][]*\]|\|[^|]*\|")
_SCRIPT = rf"(?:[_^](?:\w+|\(\))|[{''.join((*_SUB.values(), *_SUP.values()))}])*"
_ONE = re.compile(rf"\d+|(?:[A-Za-z]+(?=\(\))|\w[\u0302-\u0304]?'*)?{_SCRIPT}(?:\(\))?{_SCRIPT}")
_OPERAND = {"atom", "number", "close", "fraction", "call"}
_FOLLOWS = {"atom", "number", "open", "fraction", "call", "function", "big"}


class Item(NamedTuple):
    """A part of a formula, and what kind it is, by which it keeps its distance."""

    kind: str
    text: str


def readable(latex: str) -> str:
    """The formula in Unicode; as it stands where it is none in LaTeX."""
    try:
        return _joined(_Reader(latex).items(), spaced=True) if "\\" in latex else latex
    except (IndexError, ValueError):  # something is not closed
        return latex


class _Reader:
    def __init__(self, latex: str) -> None:
        self.tokens: list[str] = _TOKEN.findall(latex)
        self.place = 0
        singles = re.findall(r"_(?:\{([a-z]{1,2})\}|([a-zA-Z])|\\([a-zA-Z]+))", latex)
        self.spelled = any(not {*"".join(found)} <= {*_SUB} for found in singles)

    def items(self) -> list[Item]:
        """All up to the end of the group, with their scripts."""
        found: list[Item] = []
        while self.place < len(self.tokens):
            token = self.next()
            if token == "}":
                break
            if token in "^_" and found:
                found[-1] = self.scripted(found[-1], token)
            elif token == "'" and found:
                found[-1] = found[-1]._replace(text=found[-1].text + "'")
            elif item := self.item(token):
                found += item
        return found

    def next(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1]

    def argument(self) -> list[Item]:
        """A group, or the next token."""
        while (token := self.next()).isspace():
            pass
        return self.items() if token == "{" else self.item(token)

    def item(self, token: str) -> list[Item]:
        name = token.removeprefix("\\")
        if token == "{":
            return self.items()
        if token.isspace() or name in _SILENT:
            return []
        if token in ("\\{", "\\}") or token in "()[]|":
            kind = "bar" if token == "|" else "open" if name in "([{" else "close"
            return [Item(kind, name)]
        if token.startswith("\\"):
            return self.macro(name)
        if name in _RELATIONS:
            return [Item("relation", name)]
        kinds = {"+": "sign", "-": "sign", ",": "comma", ";": "comma", ":": "comma", "/": "slash"}
        return [Item(kinds.get(name, "number" if name in ".0123456789" else "atom"), name)]

    def macro(self, name: str) -> list[Item]:
        for kind, table in {
            "atom": _SYMBOLS,
            "relation": _RELATIONS,
            "sign": _SIGNS,
            "big": _BIG,
            "space": _SPACES,
        }.items():
            if name in table:
                return [Item(kind, table[name])]
        if name in ("big", "Big"):  # between two sides
            return [one._replace(kind="relation") for one in self.argument()]
        if name in ("frac", "tfrac", "dfrac"):
            return [_fraction(*(_joined(self.argument(), spaced=True) for _ in "ab"))]
        if name in ("text", "mathrm", "operatorname"):
            return [Item("text" if name == "text" else "function", self.raw())]
        if name in ("mathbb", "mathcal"):
            letter = _joined(self.argument())
            return [Item("atom", _LETTERS.get((name, letter), letter))]
        if name in (*_MARKS, "overline", "sqrt"):
            inner = _joined(self.argument(), spaced=True)
            if name in _MARKS and len(inner) == 1:
                return [Item("atom", inner + _MARKS[name])]
            return [Item("call", f"{'√' if name == 'sqrt' else 'mean'}({inner})")]
        return [Item("function", name)]  # log, max, and what is not known here

    def raw(self) -> str:
        """A group as it stands."""
        self.next()
        end = self.tokens.index("}", self.place)
        text = "".join(self.tokens[self.place : end])
        self.place = end + 1
        return text.replace("\\", "")

    def scripted(self, base: Item, sign: str) -> Item:
        inner = self.argument()
        if sign == "^" and base.text == "e":
            return Item("call", f"exp({_joined(inner, spaced=True)})")
        text = _joined(inner)
        letters = any(map(str.isalpha, text))
        word = re.fullmatch(r"[A-Za-z]{3,}", text)
        table = {} if word or (sign == "_" and letters and self.spelled) else (_SUB if sign == "_" else _SUP)
        if text and all(one in table for one in text):
            return base._replace(text=base.text + "".join(table[one] for one in text))
        if text == "*":
            return base._replace(text=base.text + text)
        plain = re.fullmatch(r"\(\w+\)|[<±+-]?[^\W_]+'?|[±+-]", text)
        return base._replace(text=base.text + sign + (text if plain else f"({text})"))


def _joined(items: list[Item], spaced: bool = False) -> str:
    """The items with their distances; within a script, which is not spaced, only names of functions have one."""
    text, before, bars = "", Item("open", ""), [False]
    for place, item in enumerate(items):
        if item.kind == "bar":
            bars[-1] = not bars[-1]
            item = item._replace(kind="open" if bars[-1] else "close")
        elif item.kind == "open":
            bars.append(False)
        elif item.kind == "close":
            bars = bars[:-1] or [False]
        elif item.kind == "sign":
            item = item._replace(kind="relation" if before.kind in _OPERAND else "open")
        elif item.kind == "fraction" and len(item.text) > 1:
            after = next((one.kind for one in items[place + 1 :] if one.kind != "space"), "")
            beside = after in _FOLLOWS or (after == "bar" and not bars[-1])
            if beside or before.kind in _OPERAND | {"function", "big"}:
                item = item._replace(text=" " * (before.kind == "function" and beside) + f"({item.text})")
        text += " " * _apart(before, item, spaced) + item.text
        before = before if item.kind == "space" else item
    text = re.sub(r"(?<=[(\[{]) +| +(?=[)\]},;])", "", re.sub(" +", " ", text))
    return re.sub(r" *\u2003[ \u2003]*", "  ", text).strip()


def _apart(before: Item, item: Item, spaced: bool) -> bool:
    first, second = before.kind, item.kind
    if not spaced:
        return first == "function" and second in ("atom", "number")
    if "relation" in (first, second) or first == "comma":
        return True
    if second in ("function", "call", "big"):
        return first in _OPERAND | {"function", "big"}
    script = "_" in before.text or "^" in before.text
    if second in ("atom", "number", "fraction"):
        named = first in ("function", "call") and second != "fraction"
        return named or first == "big" or (first in _OPERAND | {"function"} and script)
    return first == "big" and second == "open"


def _fraction(above: str, below: str) -> Item:
    if glyph := _FRACTIONS.get((above, below)):
        return Item("fraction", glyph)
    bare, under = re.sub(_BRACKETS, "()", above), re.sub(_BRACKETS, "()", below)
    above = f"({above})" if re.search(r"[ /+-]", bare) else above
    below = below if re.fullmatch(_ONE, under) else f"({below})"
    return Item("fraction", f"{above}/{below}")
