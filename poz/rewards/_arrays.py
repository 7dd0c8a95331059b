"""What the functions of `poz.rewards` take: arrays of one library, or a sentence."""

from __future__ import annotations

from typing import Any

from poz.backends import Array, Namespace, namespace


def scores(function: str, **named: Array) -> tuple[Any, ...]:
    """The backend and the arrays, all floating-point, of one library and on one device; 16 bit is widened to float32.

    Raises:
        TypeError: No array, no floating-point numbers, or arrays of two libraries.
        ValueError: Arrays on two devices.
    """
    (first, x), *_ = named.items()
    xp, place = _read(function, first, x), None
    for name, x in named.items():
        if (other := _read(function, name, x)) is not xp:
            raise TypeError(f"{function} got {name} of {other.name} but {first} of {xp.name}; give one library's.")
        if xp.kind(x) not in ("real", "half"):
            raise TypeError(f"{function} needs floating-point numbers for {name}; got {x.dtype}. Convert them before.")
        place = place or xp.device(x)
        if xp.device(x) != place:
            raise ValueError(f"{function} got {name} on {xp.device(x)} but {first} on {place}; move them together.")
    return xp, *(xp.widen(x) if xp.kind(x) == "half" else x for x in named.values())


def _read(function: str, name: str, x: Array) -> Namespace:
    try:
        return namespace(x)
    except TypeError as error:
        raise TypeError(f"{function} cannot read {name}: {error}") from None


def same_shape(function: str, **named: Array) -> None:
    """Raises a ValueError where shapes differ: nothing is broadcast in silence."""
    shapes = {name: tuple(x.shape) for name, x in named.items()}
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{function} needs one shape for all; got {said}.")


def root(xp: Namespace, x: Array) -> Array:
    """√x, whose slope at 0 is taken as 0: a deviation of numbers that are all equal has no direction."""
    above = x > 0
    return xp.where(above, xp.where(above, x, xp.ones_like(x)) ** 0.5, x)
