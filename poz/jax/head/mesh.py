"""How a call lies on a mesh: over which axes arrays differ, and a call on whole arrays that is spread over one."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, NamedTuple

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


class Lying(NamedTuple):
    """How a call on whole arrays is spread over a mesh.

    Attributes:
        mesh: Its devices.
        rows: The axes of each dimension of `targets`.
        axis: The axis of the vocabulary, or None.
    """

    mesh: Any
    rows: Spec
    axis: str | None


def lying(hidden: Array, weight: Array, bias: Array, targets: Array) -> Lying | None:
    """How arrays lie on the explicit axes of a mesh, as their types say; None where they say nothing.

    Warns where they lie on a mesh of automatic axes, which types do not show.

    Raises:
        ValueError: In a way in which no device could do its part.
    """
    given = {"hidden": hidden, "weight": weight, "bias": bias, "targets": targets}
    layouts = {name: _layout(x) for name, x in given.items() if x is not None}
    specs = {name: tuple(layout.spec) for name, layout in layouts.items()}
    if not any(entry is not None for spec in specs.values() for entry in spec):
        _warn_automatic(given)
        return None
    (*rows, width), (vocabulary, weight_width) = specs["hidden"], specs["weight"]
    for name, entry in (("hidden", width), ("weight", weight_width)):
        if entry is not None:
            raise ValueError(
                f"{name} is laid out over the mesh as {layouts[name].spec}, so that no device has the whole of a hidden state; "
                "jax.reshard it to None in its last dimension."
            )
    rows = [own or other for own, other in zip(rows, specs["targets"], strict=True)]
    if tuple(rows) != specs["targets"] and any(entry is not None for entry in specs["targets"]):
        raise ValueError(
            f"hidden and targets are laid out as {layouts['hidden'].spec} and {layouts['targets'].spec}: jax.reshard one."
        )
    if vocabulary is not None and not isinstance(vocabulary, str):
        raise ValueError(f"V must lie over one axis of the mesh; weight is laid out as {layouts['weight'].spec}.")
    if bias is not None and specs["bias"][0] not in (None, vocabulary):
        raise ValueError(
            f"weight and bias are laid out as {layouts['weight'].spec} and {layouts['bias'].spec}: jax.reshard one."
        )
    if vocabulary in _names(rows):
        raise ValueError(
            f"hidden {layouts['hidden'].spec} and weight {layouts['weight'].spec} are both laid out over {vocabulary!r}. Gather "
            "the weight with jax.reshard(weight, jax.P()), or lay one of them over another axis."
        )
    meshes = {layout.mesh for layout in layouts.values() if not layout.mesh.empty}
    if len(meshes) > 1:
        raise ValueError(f"Arrays lie on different meshes: {', '.join(map(str, meshes))}.")
    concrete = (x.sharding.mesh for x in given.values() if _concrete(x))
    mesh = next((mesh for mesh in concrete if isinstance(mesh, Mesh) and not mesh.empty), *meshes)
    return Lying(mesh, Spec(*rows), vocabulary)


def _layout(x: Array) -> Any:
    return jax.typeof(x).sharding


def _concrete(x: Array) -> bool:
    return x is not None and not isinstance(x, jax.core.Tracer) and hasattr(x.sharding, "mesh")


def _names(entries: Iterable[AxisNames]) -> list[str]:
    return [name for entry in entries for name in ((entry,) if isinstance(entry, str) else entry or ())]


def _warn_automatic(given: dict[str, Array]) -> None:
    for name, x in given.items():
        mesh = None if x is None else _layout(x).mesh
        if mesh is None or mesh.empty or (_concrete(x) and x.sharding.is_fully_replicated):
            continue
        automatic = [
            axis
            for axis, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
            if kind == AxisType.Auto and mesh.shape[axis] > 1
        ]
        if automatic:
            warnings.warn(
                f"{name} lies on a mesh whose axes {', '.join(automatic)} are automatic, and does not show how: the compiler may "
                "gather it for each tile of the vocabulary. Give mesh=, and data_axis= and vocabulary_axis= where rows and "
                "vocabulary are spread; mesh= alone says that each device has the whole.",
                stacklevel=4,
            )
            return


def lying_as_named(
    mesh: Any, data_axis: AxisNames, vocabulary_axis: str | None, weight: Array, targets: Array
) -> Lying:
    """How the caller spreads whole arrays over a mesh.

    Raises:
        TypeError, ValueError: With a sentence.
    """
    if not isinstance(mesh, (Mesh, jax.sharding.AbstractMesh)):
        raise TypeError(f"mesh must be a jax.sharding.Mesh, as jax.make_mesh gives; got {type(mesh).__name__}.")
    axes = (data_axis,) if isinstance(data_axis, str) else data_axis or ()
    if not isinstance(axes, tuple) or len(set(axes)) < len(axes):
        raise ValueError(
            f"data_axis must be the name of an axis of mesh, or a tuple of different ones; got {data_axis!r}."
        )
    for name in (*axes, *((vocabulary_axis,) if vocabulary_axis is not None else ())):
        if name not in mesh.shape:
            raise ValueError(f"mesh has the axes {', '.join(map(str, mesh.shape))}; got {name!r}.")
    if vocabulary_axis in axes:
        raise ValueError(f"data_axis and vocabulary_axis must differ; got {vocabulary_axis!r} for both.")
    shards = math.prod(mesh.shape[name] for name in axes)
    if axes and (targets.ndim == 0 or targets.shape[0] % shards):
        raise ValueError(
            f"The first dimension of hidden must divide over {shards} devices of data_axis; got {tuple(targets.shape)}. Pad it "
            "with rows whose target is ignore_index."
        )
    parts = mesh.shape[vocabulary_axis] if vocabulary_axis is not None else 1
    if weight.shape[0] % parts:
        raise ValueError(
            f"V must divide over {parts} devices of vocabulary_axis; got {weight.shape[0]}. Pad weight with rows of 0 and bias "
            "with -inf."
        )
    return Lying(mesh, Spec(axes) if axes else Spec(), vocabulary_axis)


def over_mesh(
    run: Run, settings: Settings, where: Lying, hidden: Array, weight: Array, bias: Array, targets: Array
) -> tuple[Array, ...]:
    """What `run` makes, on the devices of the mesh."""
    by_token = Spec(where.axis)
    arrays: tuple[Array, ...] = hidden, weight, bias, targets
    specs = where.rows, by_token, by_token, where.rows
    arrays = tuple(None if x is None else _laid_out(x, where.mesh, spec) for x, spec in zip(arrays, specs, strict=True))
    return tuple(_mapped(run, settings._replace(axis=where.axis), where.mesh, specs)(*arrays))


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
