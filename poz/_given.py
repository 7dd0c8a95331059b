"""The rule at the public doors: arguments are of the kind that the signature says, or refused in a sentence."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import numbers
import sys
import types
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

P = ParamSpec("P")
R = TypeVar("R")


def given(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which raises a TypeError for an argument of another kind than its annotation says.

    A number is any real number, an array what NumPy makes float64 of; what is annotated as Any is looked at further in.
    """
    signature = inspect.signature(function)
    name, module = function.__qualname__.removesuffix(".__init__"), function.__module__.rpartition(".")[2]
    name = name if name.lower().startswith(module.removeprefix("_")) else f"{module}.{name}"

    @functools.cache
    def hints() -> dict[str, Any]:
        return {key: hint for key, hint in get_type_hints(function).items() if key != "return"}

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        torch = sys.modules.get("torch")
        if torch is not None and torch.compiler.is_compiling():
            return function(*args, **kwargs)  # what looks at signatures cannot be traced
        for key, value in signature.bind(*args, **kwargs).arguments.items():
            hint = hints().get(key, Any)
            if not _fits(value, hint):
                raise TypeError(f"{name} needs {_said(hint)} for {key}; got {_shown(value)}.")
        return function(*args, **kwargs)

    return checked


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if hint == npt.ArrayLike:
        return _is_numeric(value)
    if get_origin(hint) in (Union, types.UnionType):
        return any(_fits(value, one) for one in _alternatives(hint))
    if hint is None or hint is types.NoneType:
        return value is None
    if hint is float:
        return isinstance(value, numbers.Real)
    if hint is int:
        return isinstance(value, numbers.Integral)
    kind = _kind(hint)
    if kind is np.ndarray:
        return _is_numeric(value)
    if kind in (collections.abc.Sequence, collections.abc.Iterable) and isinstance(value, str | bytes):
        return False
    return isinstance(value, kind) if isinstance(kind, type) else True


def _kind(hint: Any) -> Any:
    """The class of a hint; of a closed list that of its options, among which the function looks itself."""
    return type(get_args(hint)[0]) if get_origin(hint) is Literal else get_origin(hint) or hint


def _alternatives(hint: Any) -> list[Any]:
    """The members of a union; NumPy's ArrayLike, a union with text in it, as the one that it is."""
    members, arrays = get_args(hint), get_args(npt.ArrayLike)
    if not (arrays and set(arrays) <= set(members)):
        return list(members)
    return [npt.ArrayLike, *(one for one in members if one not in arrays)]


def _is_numeric(value: Any) -> bool:
    if value is None or isinstance(value, str | bytes | collections.abc.Mapping):
        return False
    try:
        np.asarray(value, np.float64)
    except Exception:  # every library has errors of its own for what it cannot hand over
        return False
    return True


def _said(hint: Any) -> str:
    if hint == npt.ArrayLike:
        return "numbers in the host's memory, as of np.asarray(...)"
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(_said, _alternatives(hint))))
    if hint is types.NoneType:
        return "None"
    named = {
        float: "a number",
        int: "a whole number",
        bool: "True or False",
        str: "a text",
        np.ndarray: "an array of numbers",
    }
    kind = _kind(hint)
    return named.get(kind) or _with_article(getattr(kind, "__name__", str(kind)))


def _with_article(name: str) -> str:
    return f"an {name}" if name[0] in "AEIOUaeiou" else f"a {name}"


def _shown(value: Any) -> str:
    if value is None or isinstance(value, str | numbers.Number):
        return repr(value)[:60]
    where = {"meta": " on the meta device"}.get(str(getattr(value, "device", "")), "")
    layout = str(getattr(value, "layout", "torch.strided")).removeprefix("torch.")
    sparse = " " + layout if "sparse" in layout else ""
    return f"a{sparse} {type(value).__name__}{where}" if sparse else _with_article(type(value).__name__) + where
