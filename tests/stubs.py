"""The stubs of the families and the objectives, from their classes and signatures: python tests/stubs.py writes them.

What runs stays plain: a NamedTuple that is generic at run time is none to torch.compile.
"""

import inspect
from pathlib import Path

import poz
from poz import families
from poz.domains import Choice, Real, Weights
from poz.objective import Base

ROOT = Path(__file__).resolve().parents[1]
HEAD = '"""{} Written by tests/stubs.py."""\n# mypy: disable-error-code="override"\n'
HEAD += "# pyright: reportIncompatibleMethodOverride=false\n\n"


def objectives() -> str:
    """A class per objective: what it is called with, and what may be bound."""
    used = sorted({spec.family.__name__ for spec in poz.zoo.values()})
    parts = [
        HEAD.format("What each objective takes, for type checkers and completion."),
        "from collections.abc import Sequence\nfrom typing import Literal, Protocol, TypeVar\n\n",
        f"from poz.families import {', '.join(used)}\nfrom poz.objective import Objective\n\n",
        'A = TypeVar("A")\n\n',
        "class Array(Protocol):\n",
        '    """A number, or one per example, of NumPy, torch or JAX."""\n\n',
        "    @property\n    def dtype(self) -> object: ...\n",
        "    @property\n    def shape(self) -> Sequence[int]: ...\n\n",
    ]
    for name, spec in poz.zoo.items():
        given = [f"{one}: {_type(param.domain)} = ..." for one, param in spec.params.items()]
        given = ["*", *given] if given else []
        kind = "_" + "".join(part.capitalize() for part in name.split("_"))
        parts += [
            f"class {kind}(Objective):\n",
            f"    def __call__(self, batch: {spec.family.__name__}[A], /, {', '.join(given)}) -> A: ...\n",
            f"    def bind(self, {', '.join(given)}) -> {kind}: ...\n\n",
            f"{name}: {kind}\n",
        ]
    return "".join(parts)


def _type(domain: object) -> str:
    if isinstance(domain, Real):
        return "float | Array" + " | None" * domain.optional
    if isinstance(domain, Choice):
        options = [repr(option) for option in domain.options]
        return "bool" if set(options) == {"False", "True"} else f"Literal[{', '.join(options)}]"
    if isinstance(domain, Weights):
        return "Sequence[float] | Array | None"
    assert isinstance(domain, Base), domain
    return "Objective"


def classes() -> str:
    """The families, over the type of their arrays."""
    plain = [name for name in vars(families) if not name.startswith("_") and _module(name) == "poz.families._family"]
    names = [name for name, one in vars(families).items() if isinstance(one, type) and hasattr(one, "_fields")]
    parts = [
        HEAD.format("The families, each over the type of its arrays."),
        "from typing import Any, Generic, NamedTuple\n\nfrom typing_extensions import TypeVar\n\n",
        *(
            f"from poz.families._family import {name} as {name}\n"
            for name in sorted(plain, key=lambda name: (not name.isupper(), name))
        ),
        '\nA = TypeVar("A", default=Any)\n\n',
    ]
    for name in sorted(names):
        family = getattr(families, name)
        first = family._fields[0]  # whose arrays those of the losses are; others may be None, or of integers
        kinds = {one: "A" if one == first or one not in family._field_defaults else "Any" for one in family._fields}
        fields = [f"    {one}: {kind}{' = ...' * (one in family._field_defaults)}\n" for one, kind in kinds.items()]
        parts += [f"class {name}(NamedTuple, Generic[A]):\n", *fields]
        methods = [one for one in vars(family) if not one.startswith("_") and one not in family._fields]
        parts += [_method(family, one) for one in methods] + ["\n"]
    return "".join(parts)


def _module(name: str) -> str:
    return getattr(getattr(families, name), "__module__", "") or ("poz.families._family" if name == "SHAPES" else "")


def _method(family: type, name: str) -> str:
    own = vars(family)[name]
    on_class = isinstance(own, classmethod)
    signature = inspect.signature(own.__func__ if on_class else own)
    parts = []
    for one in signature.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        star = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        said = "" if one.annotation is one.empty else f": {_annotation(one, bool(star))}"
        default = "" if one.default is one.empty else " = ..." if said else "=..."
        parts.append(f"{star}{one.name}{said}{default}")
    returns = str(signature.return_annotation).replace(family.__name__, f"{family.__name__}[A]")
    return "    @classmethod\n" * on_class + f"    def {name}({', '.join(parts)}) -> {returns}: ...\n"


def _annotation(one: inspect.Parameter, many: bool) -> str:
    said = str(one.annotation)
    return said if said != "Array" else "A | None" if many or one.default is None else "A"


STUBS = {"poz/objectives/__init__.pyi": objectives, "poz/families/__init__.pyi": classes}

if __name__ == "__main__":
    for path, write in STUBS.items():
        (ROOT / path).write_text(write(), encoding="utf-8")
