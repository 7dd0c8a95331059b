"""What a batch must be before an objective computes with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poz.backends import Namespace, namespace
from poz.families import Family, layout_of, named


def prepared(
    objective: str, batch: Family, family: type[Family], required: tuple[str, ...], optional: tuple[str, ...]
) -> tuple[Namespace, Family]:
    """Checks the fields that an objective reads, drops the others, and widens 16-bit log-probs.

    Returns:
        The backend, and the batch to compute with.

    Raises:
        TypeError: The batch is of another family, a field has the wrong kind of numbers, or libraries are mixed.
        ValueError: A field is missing, shapes do not match, or devices are mixed.
    """
    if type(batch) is not family:
        raise TypeError(another_family(objective, family, type(batch).__name__))
    layout = layout_of(family)
    specs = layout.shapes
    fields: dict[str, Any] = {}
    sizes: dict[str, Any] = {}
    first = getattr(batch, required[0])
    if first is None:
        raise ValueError(_missing(objective, required[0], batch, required))
    library = type(first)
    xp = _BACKENDS.get(library) or _BACKENDS.setdefault(library, _namespace(objective, required[0], first))
    device_of = xp.device
    dtype, shape, device = first.dtype, first.shape, device_of(first)
    lead, half = specs[required[0]], False
    if len(shape) > len(lead[0]) and lead[0][-1] not in "tu":
        raise ValueError(_more_dimensions(objective, required[0], lead[0], tuple(shape), family))
    for field in required + optional if optional else required:
        value = getattr(batch, field)
        if value is None:
            if field in required:
                raise ValueError(_missing(objective, field, batch, required))
            continue
        fields[field] = value
        # The usual case, and the only one that has to be fast: the same kind of thing as the first field.
        if (
            type(value) is library
            and specs[field] is lead
            and value.shape == shape
            and value.dtype == dtype
            and value is not first
            and device_of(value) == device
        ):
            continue
        if value is not first and (other := _namespace(objective, field, value)) is not xp:
            raise TypeError(
                f"`{objective}` got {other.name} for {field} but {xp.name} for the fields before it; "
                "give one library's arrays."
            )
        if device_of(value) != device:
            raise ValueError(
                f"`{objective}` got {field} on {device_of(value)} but other fields on {device}; move them together."
            )
        dims, content = specs[field]
        kind = xp.kind(value)
        if kind not in _KINDS[content]:
            wanted = _WANTED["score" if content == "logp" and layout.scores else content]
            how = f" Give {field} > 0." * (content == "mask")
            raise TypeError(f"`{objective}` needs {wanted} for {field}; got {value.dtype}.{how}")
        half = half or kind == "half"
        if dims == lead[0] == "b" and value.shape == shape:
            continue  # any shape will do, and it is looked at once there is another
        if not sizes:
            _check_shape(objective, required[0], specs, tuple(shape), sizes)
        _check_shape(objective, field, specs, tuple(value.shape), sizes)
    if half:
        fields = {name: xp.widen(x) if xp.kind(x) == "half" else x for name, x in fields.items()}
    _check_amounts(objective, xp, fields, layout.amounts)
    return xp, family(**fields)


_BACKENDS: dict[type, Namespace] = {}  # `namespace` of each type of array seen so far
_KINDS = {
    "logp": ("real", "half"),
    "feature": ("real", "half"),
    "number": ("real", "half", "integer", "bool"),
    "amount": ("real", "half", "integer", "bool"),
    "integer": ("integer",),
    "mask": ("bool",),
}
_WANTED = {
    "logp": "floating-point log-probs in nats",
    "score": "floating-point scores",
    "feature": "floating-point numbers",
    "number": "real numbers",
    "amount": "real numbers",
    "integer": "integer ids",
    "mask": "booleans",
}


def another_family(objective: str, family: type, given: str) -> str:
    """What is said of a batch of another family."""
    return f"`{objective}` reads {named(family)}; got {given}."


def _check_amounts(objective: str, xp: Namespace, fields: dict[str, Any], amounts: Mapping[str, str]) -> None:
    for name in fields:
        if name not in amounts or least(xp, fields[name]) >= 0:
            continue
        values, mask = xp.values(fields[name]), amounts[name]
        if values is None:
            continue
        valid = xp.values(fields[mask]) if mask in fields else None
        below = values[values < 0] if valid is None else values[(values < 0) & valid]
        if below.size:
            raise ValueError(f"`{objective}` needs {name} of 0 or more; got {below[0]}.")


def least(xp: Namespace, x: Any, sign: int = 1) -> float:
    """The least of x, or of -x, where it can be read, else 0; NaN, or what is less, where one is among them."""
    if not xp.readable(x):
        return 0.0
    shape = x.shape
    if len(shape) == 1 and shape[0] <= 64:  # a list is made in a third of the time that NumPy's array takes
        few: list[float] = x.tolist() or [0.0]
        return min(few) if sign > 0 else -max(few)
    values = xp.values(x)
    assert values is not None
    if not values.size:
        return 0.0
    return sign * float(values.item(values.argmin() if sign > 0 else values.argmax()))


def _check_shape(
    objective: str, field: str, specs: Mapping[str, tuple[str, str]], shape: tuple[int, ...], sizes: dict[str, Any]
) -> None:
    dims = specs[field][0]
    # "b" stands for any number of dimensions: none under vmap, else one, or of tokens any.
    axes: dict[str, Any] = {}
    tail = len(dims) - dims.index("b") - 1 if "b" in dims else 0
    if "b" in dims:
        head = dims.index("b")
        if len(shape) < head + tail:
            raise ValueError(f"`{objective}` needs {len(dims)} dimensions for {field}; got shape {shape}.")
        axes["b"] = shape[head : len(shape) - tail]
        axes |= dict(zip(dims[:head], shape[:head], strict=True))
        if tail:
            axes[dims[-1]] = shape[-1]
    elif len(shape) != len(dims):
        raise ValueError(f"`{objective}` needs {len(dims)} dimension for {field}; got shape {shape}.")
    else:
        axes = dict(zip(dims, shape, strict=True))
    if axes.get("k") == 0:
        raise ValueError(f"`{objective}` needs at least one completion per prompt; got K = 0.")
    for axis, size in axes.items():
        first, known = sizes.setdefault(axis, (field, size))
        if known != size:
            there = {**axes, **{name: size for name, (_, size) in sizes.items()}}
            other, required = (_joined(specs[name][0], there) for name in (first, field))
            raise ValueError(
                f"`{objective}` got {field} of shape {shape}, which does not fit {first} of shape {other}: {required} is "
                f"required.{_of_tokens(field, specs)}"
            )


def _joined(dims: str, sizes: Mapping[str, Any]) -> tuple[int, ...]:
    """A shape of such dimensions."""
    return sum((sizes[axis] if axis == "b" else (sizes[axis],) for axis in dims), ())


def _of_tokens(field: str, specs: Mapping[str, Any]) -> str:
    """Where that lies which some give in the place of a field: one for each token."""
    name = f"token_{field}"
    return f" Those of tokens are {name}, read with per_token=True." * (name in specs)


def _namespace(objective: str, field: str, value: Any) -> Namespace:
    try:
        return namespace(value)
    except TypeError as error:
        raise TypeError(f"`{objective}` cannot read {field}: {error}") from None


def _more_dimensions(objective: str, field: str, dims: str, shape: tuple[int, ...], family: type) -> str:
    wanted = {"b": "(batch,)", "bk": "(batch, K)"}.get(dims, "(batch, width)")
    if layout_of(family).scores:
        heads = "take poz.RewardPairs.from_heads, and average the losses over the heads" * (dims == "b")
        return (
            f"`{objective}` needs {'one score' if dims == 'b' else 'one vector'} per completion for {field}, shape {wanted}; got "
            f"shape {shape}. Put all examples in one dimension, or take vmap."
            + f" Of several heads, {heads}."
            * bool(heads)
        )
    how = f", as {named(family)}.from_tokens does," if hasattr(family, "from_tokens") else ""
    return (
        f"`{objective}` needs one log-prob per completion for {field}, shape {wanted}; got shape {shape}. Sum those of tokens"
        f"{how or ','} and put all examples in one dimension, or take vmap."
    )


def _missing(objective: str, field: str, batch: Family, required: tuple[str, ...]) -> str:
    all_of_them = ", ".join(f"{name}=..." for name in required)
    other = _of_tokens(field, layout_of(type(batch)).shapes) * (getattr(batch, f"token_{field}", None) is not None)
    return f"`{objective}` reads {field}, which is missing. Give {named(type(batch))}({all_of_them}).{other}"
