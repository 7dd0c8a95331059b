"""How a family is made: as any NamedTuple, but that fields which it has not, or lacks, are said in a sentence."""

from __future__ import annotations

import functools
from typing import Any, NoReturn

from poz._nearest import meant

_MISSING = object()


def constructor(made: type[Any], name: str) -> Any:
    """`made.__new__`, at its own speed: one function, written out as NamedTuple's is, which torch.compile reads as well."""
    fields = made._fields
    defaults = made._field_defaults
    required = [field for field in fields if field not in defaults]
    wrong = " or ".join(["_more", "_unknown", *(f"{field} is _missing" for field in required)])
    row = f"({', '.join(fields)},)"
    result = f"_refuse({row}, _more, _unknown) if {wrong} else _new(_cls, {row})"

    def refuse(row: tuple[Any, ...], more: tuple[Any, ...], unknown: dict[str, Any]) -> NoReturn:
        given = f"{name}({', '.join(f'{field}=...' for field in required)})"
        if unknown:
            first = next(iter(unknown))
            near = meant(first, fields) or f" Its fields are {', '.join(fields)}."
            raise TypeError(f"{name} has no field {first!r}.{near}")
        if more:
            raise TypeError(
                f"{name} has {len(fields)} fields, {', '.join(fields)}; got {len(fields) + len(more)} values."
            )
        lacking = [field for field, value in zip(fields, row, strict=True) if value is _MISSING]
        raise TypeError(f"{name} needs {', '.join(lacking)}, which is missing. Give {given}.")

    new = eval(
        f"lambda _cls, {', '.join(fields)}, *_more, **_unknown: {result}",
        {"_new": tuple.__new__, "_missing": _MISSING, "_refuse": refuse},
    )
    new.__defaults__ = tuple(defaults.get(field, _MISSING) for field in fields)
    return functools.update_wrapper(new, made.__new__)
