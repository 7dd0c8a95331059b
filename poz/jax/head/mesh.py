"""How a call lies on a mesh: over which axes arrays differ, and a call on whole arrays that is spread over one."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from poz.jax.head.settings import Settings

Array = Any
AxisNames = str | tuple[str, ...] | None
Run = Callable[..., tuple[Array, ...]]


def mapped_axes(*arrays: Array) -> frozenset[str]:
    """Mesh axes over which any of the arrays differs between devices."""
    return frozenset().union(*map(_axes_of, (x for x in arrays if x is not None)))


def _axes_of(x: Array) -> frozenset[str]:
    of_type = jax.typeof(x)
    return frozenset(of_type.vma if hasattr(of_type, "vma") else of_type.mat.varying)


def varying(x: Array, axes: frozenset[str]) -> Array:
    """The same values, said to differ over `axes`."""
    missing = tuple(sorted(axes - _axes_of(x))) if x is not None else ()
    return lax.pcast(x, missing, to="varying") if missing else x


def summed_like(x: Array, axes: frozenset[str]) -> Array:
    """The sum over devices that leaves differences over `axes` only."""
    over = tuple(sorted(_axes_of(x) - axes))
    return lax.psum(x, over) if over else x


def axis_size(axis: str | None, weight: Array) -> int:
    """Shards of the vocabulary."""
    if axis is None:
        return 1
    if axis not in mapped_axes(weight):
        raise ValueError(
            f"vocabulary_axis={axis!r} needs mesh, or a call inside jax.shard_map (with check_vma left on) in which weight is "
            "sharded over that axis."
        )
    return int(jax.lax.axis_size(axis))


def check_layout(*arrays: Array) -> None:
    """Arrays of a call without a mesh lie whole on each device."""
    for x in arrays:
        layout: Any = None if x is None else jax.typeof(x).sharding
        if layout is not None and any(axis is not None for axis in layout.spec):
            raise ValueError(
                f"An array is laid out over a mesh as {layout.spec}: give the mesh, and its axis as data_axis or vocabulary_axis."
            )


def over_mesh(
    run: Run,
    settings: Settings,
    mesh: Mesh,
    data_axis: AxisNames,
    hidden: Array,
    weight: Array,
    bias: Array,
    targets: Array,
) -> tuple[Array, ...]:
    """What `run` makes, on the devices of the mesh."""
    if not isinstance(mesh, (Mesh, jax.sharding.AbstractMesh)):
        raise TypeError(f"mesh must be a jax.sharding.Mesh, as jax.make_mesh gives; got {type(mesh).__name__}.")
    axes = (data_axis,) if isinstance(data_axis, str) else data_axis or ()
    if not isinstance(axes, tuple) or len(set(axes)) < len(axes):
        raise ValueError(
            f"data_axis must be the name of an axis of mesh, or a tuple of different ones; got {data_axis!r}."
        )
    for name in (*axes, *((settings.axis,) if settings.axis is not None else ())):
        if name not in mesh.shape:
            raise ValueError(f"mesh has the axes {', '.join(map(str, mesh.shape))}; got {name!r}.")
    if settings.axis in axes:
        raise ValueError(f"data_axis and vocabulary_axis must differ; got {settings.axis!r} for both.")
    shards = math.prod(mesh.shape[name] for name in axes)
    if axes and (targets.ndim == 0 or targets.shape[0] % shards):
        raise ValueError(
            f"The first dimension of hidden must divide over {shards} devices of data_axis; got {tuple(hidden.shape)}. Pad it "
            "with rows whose target is ignore_index."
        )
    parts = mesh.shape[settings.axis] if settings.axis is not None else 1
    if weight.shape[0] % parts:
        raise ValueError(
            f"V must divide over {parts} devices of vocabulary_axis; got {weight.shape[0]}. Pad weight with rows of 0 and bias "
            "with -inf."
        )
    by_row, by_token = Spec(axes) if axes else Spec(), Spec(settings.axis)
    arrays: tuple[Array, ...] = hidden, weight, bias, targets
    specs = by_row, by_token, by_token, by_row
    arrays = tuple(None if x is None else _laid_out(x, mesh, spec) for x, spec in zip(arrays, specs, strict=True))
    return tuple(_mapped(run, settings, mesh, specs)(*arrays))


def _laid_out(x: Array, mesh: Mesh, spec: Spec) -> Array:
    """The array over the explicit axes of the mesh; over the others the compiler lays it."""
    explicit = {n for n, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit}
    if not explicit:
        return x
    named = [(entry,) if isinstance(entry, str) else entry or () for entry in spec]
    return jax.reshard(x, NamedSharding(mesh, Spec(*(tuple(n for n in names if n in explicit) for names in named))))


@lru_cache(maxsize=64)
def _mapped(run: Run, settings: Settings, mesh: Mesh, specs: tuple[Spec, ...]) -> Callable[..., tuple[Array, ...]]:
    # Eagerly, shard_map takes no custom derivative that asks what needs a gradient, and would compile one step at a time.
    mapped = jax.shard_map(
        partial(run, settings), mesh=mesh, in_specs=specs, out_specs=tuple(specs[0] for _ in settings.outputs)
    )
    return jax.jit(mapped)
