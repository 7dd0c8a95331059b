"""The stubs of the families, the objectives and the zoo, from classes and signatures: python tests/stubs.py writes them.

What runs stays plain: a NamedTuple that is generic at run time is none to torch.compile.
"""

import inspect
from pathlib import Path

import poz
from poz import families
from poz.domains import Choice, Real, Weights
from poz.objective import Base
from poz.purposes import PURPOSES
from poz.zoo import Zoo

ROOT = Path(__file__).resolve().parents[1]
HEAD = '"""{} Written by tests/stubs.py."""\n# mypy: disable-error-code="override"\n'
HEAD += "# pyright: reportIncompatibleMethodOverride=false\n\n"


def objectives() -> str:
    """A class per objective: what it is called with, and what may be bound."""
    used = sorted({spec.family.__name__ for spec in poz.zoo.values()})
    parts = [
        HEAD.format("What each objective takes, for type checkers and completion."),
        "from collections.abc import Iterable, Sequence\nfrom typing import Any, Literal, Protocol, TypeVar, overload\n\n",
        f"from poz.families import {', '.join(used)}\n",
        "from poz.objective import Objective\nfrom poz.zoo import Zoo\n\n",
        'A = TypeVar("A")\n\n',
        "class Array(Protocol):\n",
        '    """A number, or one per example, of NumPy, torch or JAX."""\n\n',
        "    @property\n    def dtype(self) -> object: ...\n",
        "    @property\n    def shape(self) -> Sequence[int]: ...\n\n",
    ]
    for name, spec in poz.zoo.items():
        given = [f"{one}: {_type(param.domain)} = ..." for one, param in spec.params.items()]
        given = ["*", *given] if given else []
        kind = _class(name)
        parts += [
            f"class {kind}(Objective):\n",
            f"    def __call__(self, batch: {spec.family.__name__}[A], /, {', '.join(given)}) -> A: ...\n",
            f"    def bind(self, {', '.join(given)}) -> {kind}: ...\n\n",
            f"{name}: {kind}\n",
        ]
    return "".join([*parts, *_zoo()])


def _class(name: str) -> str:
    return "_" + "".join(part.capitalize() for part in name.split("_"))


def _zoo() -> list[str]:
    """The zoo, in which a name that is written out has its own signature, and what is asked for is of a closed list."""
    families = dict.fromkeys(spec.family for spec in poz.zoo.values())
    lists = {
        "Purpose": PURPOSES,
        "Field": dict.fromkeys(field for family in families for field in family._fields),
        "Family": [family.__name__ for family in families],
    }
    closed = {
        "answers": "_Purpose | Iterable[_Purpose]",
        "reads": "_Field | Iterable[_Field]",
        "family": "_Family | type[Any] | None",
    }
    asked = [
        f"{name}: {closed.get(name, one.annotation)} = ..."
        for name, one in inspect.signature(Zoo.find).parameters.items()
        if name != "self"
    ]
    named = [
        f"    @overload\n    def __getitem__(self, name: Literal{[name, *spec.aliases]}) -> {_class(name)}: ...\n"
        for name, spec in poz.zoo.items()
    ]
    return [
        *(f"_{name} = Literal{list(options)}\n" for name, options in lists.items()),
        "\nclass _Zoo(Zoo):\n",
        *named,
        "    @overload\n    def __getitem__(self, name: str) -> Objective: ...\n",
        f"    def find(self, *, {', '.join(asked)}) -> list[Objective]: ...\n",
    ]


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
        '\nA = TypeVar("A", default=Any)\nB = TypeVar("B")\n\n',  # B of constructors: pyright takes a bare class as of Any
    ]
    for name in sorted(names):
        family = getattr(families, name)
        first = family._fields[0]  # whose arrays those of the losses are; others may be None, or of integers
        kinds = {one: "A" if one == first or one not in family._field_defaults else "Any" for one in family._fields}
        fields = [f"    {one}: {kind}{' = ...' * (one in family._field_defaults)}\n" for one, kind in kinds.items()]
        parts += [f"class {name}(NamedTuple, Generic[A]):\n", *fields]
        methods = [one for one in vars(family) if not one.startswith("_") and one not in family._fields]
        parts += [_method(family, one) for one in methods] + ["\n"]
    return "".join([*parts, f"Batch = {' | '.join(f'{name}[B]' for name in sorted(names))}\n"])


def _module(name: str) -> str:
    return getattr(getattr(families, name), "__module__", "") or ("poz.families._family" if name == "SHAPES" else "")


def _method(family: type, name: str) -> str:
    own = vars(family)[name]
    on_class = isinstance(own, classmethod)
    signature = inspect.signature(own.__func__ if on_class else own)
    arrays = "B" if on_class else "A"
    parts = []
    for one in signature.parameters.values():
        if one.kind is one.KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        star = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        said = "" if one.annotation is one.empty else f": {_annotation(one, bool(star), arrays)}"
        default = "" if one.default is one.empty else " = ..." if said else "=..."
        parts.append(f"{star}{one.name}{said}{default}")
    returns = str(signature.return_annotation).replace(family.__name__, f"{family.__name__}[{arrays}]")
    return "    @classmethod\n" * on_class + f"    def {name}({', '.join(parts)}) -> {returns}: ...\n"


def _annotation(one: inspect.Parameter, many: bool, arrays: str) -> str:
    said = str(one.annotation)
    return said if said != "Array" else f"{arrays} | None" if many or one.default is None else arrays


STUBS = {"poz/objectives/__init__.pyi": objectives, "poz/families/__init__.pyi": classes}

if __name__ == "__main__":
    for path, write in STUBS.items():
        (ROOT / path).write_text(write(), encoding="utf-8")
