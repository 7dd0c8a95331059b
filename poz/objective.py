"""An objective: a formula with its source, and a call that checks what it is given."""

from __future__ import annotations

import copy
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Never, get_args, get_type_hints

import numpy as np

from poz import families
from poz._checks import another_family, prepared
from poz._nearest import meant
from poz.backends import Array, Namespace, namespace
from poz.counts import Counts
from poz.domains import Domain, Weights
from poz.purposes import Answer, proved

Values = Mapping[str, Any]


class Param(NamedTuple):
    """A hyper-parameter."""

    default: Any
    domain: Domain


class Limit(NamedTuple):
    """A special case that is another objective; each one is a test.

    With hyper-parameters `when(values)` this objective equals the objective `to` with hyper-parameters `then(values)`,
    for any drawn `values` of this one and, where `batch` is given, on `batch(drawn)` = (this one's, the other's).
    """

    to: str
    why: str
    when: Callable[[Values], Values] = lambda values: values
    then: Callable[[Values], Values] = lambda values: {}
    batch: Callable[[Any], tuple[Any, Any]] = lambda batch: (batch, batch)


class Deviation(NamedTuple):
    """How a named peer differs from the paper, and what reproduces it here."""

    who: str
    what: str
    here: str


class Published(NamedTuple):
    """Hyper-parameters that a paper or its released code uses: for each the values tried, and where that was read."""

    where: str
    values: Mapping[str, tuple[Any, ...]]


def _nothing(values: Values) -> str:
    return ""


class _Signature:
    """Of an objective the batch and its hyper-parameters, as they are bound; of the class what Python finds itself."""

    def __get__(self, this: Objective | None, owner: type) -> inspect.Signature:
        if this is None:
            raise AttributeError("__signature__")
        _, batch, *rest = inspect.signature(this.function).parameters.values()
        plain = get_type_hints(this.function)  # without domains, which the repr of a signature would spell out
        bound = [one.replace(default=this.values[one.name], annotation=plain[one.name]) for one in rest]
        return inspect.Signature([batch.replace(kind=inspect.Parameter.POSITIONAL_ONLY), *bound])


class Described:
    """Of an objective the text of its function and what it declares, of the class its own."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def __get__(self, this: Objective | None, owner: type) -> str | None:
        return self.text if this is None else _described(this)


def _described(this: Objective) -> str:
    """What `help` shows: text, formula, fields, and hyper-parameters with their domains."""
    from poz._formula import readable  # which nobody else waits for

    fields = [name for name in this.family._fields if name in this.reads]
    given = [name for name in this.family._fields if name in this.optional]
    lines = [inspect.cleandoc(this.function.__doc__ or ""), "", f"Formula: {readable(this.formula)}"]
    lines += [f"Also called {', '.join(this.aliases)}."] * bool(this.aliases)
    lines += [f"Source: {this.paper}, {this.equation}"]
    lines += [f"For: {', '.join(one.to for one in this.answers)}"] * bool(this.answers)
    lines += ["", f"Reads {families.named(this.family)}: {', '.join(fields)}"]
    lines += [f"Where given: {', '.join(given)}"] * bool(given) + ["", "Hyper-parameters:"] * bool(this.params)
    for name, (_, domain) in this.params.items():
        lines.append(f"    {name}: {domain.meaning}; {domain.describe()}, here {this.values[name]!r}.")
    return "\n".join(lines)


@dataclass(frozen=True, eq=False, repr=False)
class Objective:
    """A preference-optimization objective.

    Calling it gives one loss per example, in nats, never reduced, as an array of the library, dtype and device of its
    inputs and in their gradient graph. 16-bit inputs are computed and returned in float32.

    Attributes:
        name: The name; also of its file here, of its reference and of its kernel.
        title: The full name.
        paper: arXiv identifier, or where else it was published.
        equation: Where in the paper, and in which version.
        formula: LaTeX.
        family: What it is given, a class of `poz.families`.
        params: Hyper-parameters with default and domain.
        aliases: Other names in use.
        published: Values of the hyper-parameters in the paper and the released code, with where they were read.
        said: What its file says of the purposes it serves, with reasons; `answers` has also those that its fields prove, and
            not those that are contradicted.
        reduces_to: Limits that are other objectives.
        deviations: How named peers differ.
        gradient_stops: What is held constant under differentiation, beyond the inputs that are data.
        basis: What the formula here rests on.
        reference: The same in float64 NumPy, as those of `poz.reference`, which poz's own have; None where there is none.
        values: The hyper-parameters it is called with.
    """

    name: str
    title: str
    paper: str
    equation: str
    formula: str
    family: type[Any]
    params: Mapping[str, Param]
    function: Callable[..., Array]
    needs: Callable[[Values], tuple[str, ...]]
    may_read: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    said: tuple[Answer, ...] = ()
    reduces_to: tuple[Limit, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    gradient_stops: str = ""
    basis: str = ""
    couples: Callable[[Values], str] = _nothing
    counted: Callable[[Values, Counts], tuple[Values, Any]] | None = None
    constraint: Callable[[Values], str | None] = lambda values: None
    check_values: Callable[..., None] | None = None
    reference: Callable[..., Any] | None = None
    values: Values = field(default_factory=dict)
    _required: tuple[str, ...] = ()
    _arrays: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _deep: bool = field(init=False, repr=False, compare=False)  # whether arrays are where no node takes them from
    _traced: Callable[[], bool] = field(init=False, repr=False, compare=False)
    _node: Callable[..., Array] = field(init=False, repr=False, compare=False)
    _key: str = field(init=False, repr=False, compare=False)
    __signature__ = _Signature()

    def __post_init__(self) -> None:
        object.__setattr__(self, "_traced", _traced(self))
        object.__setattr__(self, "_arrays", tuple(name for name, value in self.values.items() if _is_array(value)))
        object.__setattr__(self, "_deep", any(map(holds_arrays, self.values.values())))
        object.__setattr__(self, "_key", f"{self.name} {next(_count)}")  # a graph is kept for this very objective

    @property
    def reads(self) -> frozenset[str]:
        """The fields that a trainer must supply, with the hyper-parameters bound so far."""
        return frozenset(self._required)

    @property
    def optional(self) -> frozenset[str]:
        """The fields that are used where they are given."""
        return frozenset(self.may_read)

    @property
    def reference_free(self) -> bool:
        """Whether no reference policy is needed."""
        return not any(name.startswith("ref_") for name in self._required)

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The purposes it serves with the hyper-parameters bound so far, with reasons."""
        why = proved(families.layout_of(self.family), self.reads, self.optional)
        said = tuple(one._replace(reads=why.pop(one.to, "")) for one in self.said if not one.against)
        return (*said, *(Answer(purpose, reads=reason) for purpose, reason in why.items()))

    @property
    def coupled(self) -> str:
        """What ties the examples of a batch together, with the hyper-parameters bound so far; "" where nothing does.

        Such an objective is defined over the global batch: splitting that into micro-batches or over processes
        changes it.
        """
        return self.couples(self.values)

    _times: ClassVar[Callable[[Objective, Any], Objective]]
    """The objective with a weight, which `poz.combination` makes."""

    def within(self, whole: Counts) -> Objective:
        """The same on any part of a batch whose counts are known, where only those tie its examples together.

        Each loss is what it is in the whole batch, whose mean is the sum of those of all parts by `whole.completions`. An
        objective that ties nothing together is given back as it is.

        Raises:
            TypeError: `whole` are no counts.
            ValueError: More than counts ties the examples together.
        """
        if not isinstance(whole, Counts):
            raise TypeError(f"`whole` must be what a batch counts, as poz.Counts.of(mask) gives it; got {whole!r:.80}.")
        if not self.coupled:
            return self
        values, factor = ({}, 1.0) if self.counted is None else self.counted(self.values, whole.read())
        made = self.bind(**values)
        if made.coupled:
            raise ValueError(
                f"`{self.name}` is defined over the whole batch ({made.coupled}), of which counts do not tell enough. Call it "
                "on all of it: poz.torch.whole_batch does over processes, poz.torch.slopes over micro-batches."
            )
        return made if type(factor) is float and factor == 1 else made._times(factor)

    def bind(self, *more: Never, **params: Any) -> Objective:
        """The same objective with other hyper-parameters, validated once.

        Raises:
            TypeError: A hyper-parameter that the objective does not have.
            ValueError: A value outside its domain, or a combination that is not defined.
        """
        if more:
            raise TypeError(self._by_name(more, call=False))
        if tracing():
            return Rebound(self, params)  # type: ignore[return-value]
        values, required = self._with(params)
        optional = tuple(name for name in self.may_read if name not in required)
        return replace(self, values=MappingProxyType(values), may_read=optional, _required=required)

    def _with(self, params: Values) -> tuple[dict[str, Any], tuple[str, ...]]:
        for name, value in params.items():
            # as a Python number it is checked, and leaves dtypes alone
            if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
                params = {**params, name: value.item()}
                value = value.item()
            if name not in self.params:
                raise TypeError(self._no_parameter(name))
            if isinstance(self.params[name].domain, Weights):
                value = _plain(value)
                params = {**params, name: value}
            problem = self.params[name].domain.problem(value)
            if problem:
                raise ValueError(
                    f"`{self.name}` needs {problem} for {name}; got {value!r}.{self._paper_uses(name, value)}"
                )
        values = {**self.values, **params}
        problem = self.constraint(values)
        if problem:
            raise ValueError(f"`{self.name}` {problem}")
        return values, self.needs(values)

    def __call__(self, batch: tuple[Any, ...] | None = None, /, *more: Never, **params: Any) -> Array:
        """Per-example losses in nats, shape (batch,).

        Raises:
            TypeError: Another family, mixed libraries, integers for log-probs, an unknown hyper-parameter.
            ValueError: Missing fields, shapes that do not match, mixed devices, values out of their domain.
        """
        if more or batch is None:
            raise TypeError(self._misfit(more, params))
        if self._traced() and not self._deep and not any(isinstance(value, Objective) for value in params.values()):
            if self._arrays:  # a node takes its tensors as arguments
                params = {**{name: self.values[name] for name in self._arrays}, **params}
            places = [place for place, value in enumerate(batch) if value is not None]
            other = "" if type(batch) is self.family else type(batch).__name__
            return self._node(self._key, other, places, [batch[place] for place in places], **params)
        return self._called(batch, params)

    def _called(self, batch: Any, params: Values) -> Array:
        values, required = self._with(params) if params else (self.values, self._required)
        xp, fields = self._checked(batch, values, required)
        return self.function(xp, fields, **values)

    def check(self, batch: Any) -> None:
        """Raises what a call would, and computes nothing."""
        self._checked(batch, self.values, self._required)

    def _checked(self, batch: Any, values: Values, required: tuple[str, ...]) -> tuple[Namespace, Any]:
        xp, fields = prepared(self.name, batch, self.family, required, self.may_read)
        self.check_arrays(xp, fields, values)
        if self.couples is not _nothing:
            self._check_batch(fields, values)
        if self.check_values is not None:
            self.check_values(xp, fields, values)
        return xp, fields

    def check_arrays(self, xp: Namespace, fields: Any, values: Values) -> None:
        """Refuse hyper-parameters of another library, or of a shape that would broadcast to more than the batch."""
        for name, value in values.items():
            if type(value) is not float and hasattr(value, "dtype"):
                self._check_array(name, value, xp, fields, self.needs(values))

    def _check_array(self, name: str, value: Array, xp: Namespace, fields: Any, read: tuple[str, ...]) -> None:
        if getattr(self.params[name].domain, "per", ""):
            return  # a table, such as one reliability per annotator, is used entry by entry
        if namespace(value) is not xp and not (xp.name == "jax" and isinstance(value, np.ndarray)):
            what = families.layout_of(self.family).what
            raise TypeError(
                f"`{self.name}` got {namespace(value).name} for {name} but {xp.name} for the {what}; "
                "give a Python number, or one library's arrays."
            )
        shape, batch = tuple(value.shape), self._batch_shape(fields, read)
        flat = all(set(families.layout_of(self.family).shapes[field][0]) <= set("bmc") for field in read)
        if shape and not (flat and shape == batch) and (len(shape) > len(batch) or set(shape) != {1}):
            wanted = (
                f"a number, or one per example, an array of shape {batch}" if flat else "one number for all of them"
            )
            raise ValueError(f"`{self.name}` needs {wanted}, for {name}; got shape {shape}.")

    def _check_batch(self, fields: Any, values: Values) -> None:
        read, coupled = self.needs(values), self.couples(values)
        shape = self._batch_shape(fields, read)
        samples = any(families.layout_of(self.family).shapes[field][0] == "c" for field in read)  # beside the examples
        if coupled and len(shape) != 1 and not samples:
            raise ValueError(
                f"`{self.name}` is defined over a batch ({coupled}), so it needs one batch dimension; got {len(shape)}, "
                f"shape {shape}. Put all examples in one, and leave vmap out."
            )

    def _batch_shape(self, fields: Any, read: tuple[str, ...]) -> tuple[int, ...]:
        shapes = families.layout_of(self.family).shapes
        field = next(name for name in read if "b" in shapes[name][0])  # samples are of no example
        dims, shape = shapes[field][0], tuple(getattr(fields, field).shape)
        return shape[dims.index("b") : len(shape) - (len(dims) - dims.index("b") - 1)]

    def __repr__(self) -> str:
        bound = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        module = self.function.__module__
        home = "poz" if module.startswith("poz.objectives.") else module
        return f"{home}.{self.function.__qualname__}.bind({bound})"

    def _no_parameter(self, name: str) -> str:
        if name in self.family._fields:
            return f"{name} is a field of {families.named(self.family)}: give {self._written(self._filled())}."
        known = ", ".join(self.params) or "none"
        return f"`{self.name}` has no hyper-parameter {name!r}; it has {known}.{meant(name, self.params)}"

    def _misfit(self, more: tuple[Any, ...], params: Values) -> str:
        """What is wrong with a call without a batch, or with more than that."""
        if more:
            return self._by_name(more, call=True)
        if wrong := [name for name in params if name not in self.params]:
            return self._no_parameter(wrong[0])
        return f"{another_family(self.name, self.family, 'nothing')} Give {self._filled()}."

    def _by_name(self, given: tuple[Any, ...], *, call: bool) -> str:
        """That hyper-parameters have no order."""
        said = ", ".join(map(repr, given)) + " besides the batch" * call
        if not self.params:
            return f"`{self.name}` has no hyper-parameters; got {said}."
        first = f"{next(iter(self.params))}=..."
        how = self._written("batch", first) if call else f"poz.{self.name}.bind({first})"
        return f"`{self.name}` takes its hyper-parameters by name: {how}; got {said}."

    def _written(self, *arguments: str) -> str:
        return f"poz.{self.name}({', '.join(arguments)})"

    def _filled(self) -> str:
        return f"{families.named(self.family)}({', '.join(f'{name}=...' for name in self._required)})"

    def _paper_uses(self, name: str, value: Any) -> str:
        if near := meant(value, getattr(self.params[name].domain, "options", ())):
            return near
        used = dict.fromkeys(value for one in self.published for value in one.values.get(name, ()))
        return f" Published are {', '.join(map(str, used))}." if used else ""

    def __copy__(self) -> Objective:
        return self  # nothing of it changes

    def __deepcopy__(self, memo: dict[int, Any]) -> Objective:
        return replace(self, values=MappingProxyType(copy.deepcopy(dict(self.values), memo)))


class Rebound:
    """What `bind` gives inside a function that `torch.compile` traces: a call, to which the values are arguments.

    So one graph serves all values; an objective of its own would be a constant of the graph.
    """

    def __init__(self, objective: Objective, params: Values) -> None:
        if any(isinstance(value, Objective | Rebound) for value in params.values()):
            raise TypeError(
                f"`{objective.name}` is bound to another objective inside a compiled function. Bind it outside."
            )
        self.objective, self.params = objective, params

    @property
    def coupled(self) -> str:
        """As of `Objective`."""
        return self.objective.couples({**self.objective.values, **self.params})

    def bind(self, **params: Any) -> Rebound:
        """The same with other values."""
        return Rebound(self.objective, {**self.params, **params})

    def __call__(self, batch: Any, /, **params: Any) -> Array:
        """What the objective gives with these values, which are checked there."""
        return self.objective(batch, **{**self.params, **params})


def tracing() -> bool:
    """Whether `torch.compile` reads the code that asks, and does not run it."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_dynamo_compiling()


Objective.__doc__ = Described(Objective.__doc__)  # type: ignore[assignment]


@dataclass(frozen=True)
class Base(Domain):
    """A hyper-parameter that is another objective, with its own bound."""

    def describe(self) -> str:
        """In words."""
        return "an objective on pairs, such as poz.dpo.bind(beta=0.1)"

    def problem(self, value: Any) -> str | None:
        """Not an objective."""
        return None if isinstance(value, Objective) else self.describe()

    def read(self, text: str) -> Any:
        """The name as it is, which whoever knows the zoo looks up."""
        return text


def has_base(objective: Any) -> bool:
    """Whether an objective, or a part of a combination, is over another objective."""
    itself = any(isinstance(param.domain, Base) for param in objective.params.values())
    return itself or any(has_base(part) for part, _ in getattr(objective, "parts", ()))


def objective(
    *,
    title: str,
    paper: str,
    equation: str,
    formula: str,
    reads: str | Callable[[Values], str],
    optional: str = "",
    aliases: Iterable[str] = (),
    published: Iterable[Published] = (),
    answers: Iterable[Answer] = (),
    reduces_to: Iterable[Limit] = (),
    deviations: Iterable[Deviation] = (),
    gradient_stops: str = "",
    basis: str = "",
    coupled: str | Callable[[Values], str] = "",
    counted: Callable[[Values, Counts], tuple[Values, Any]] | None = None,
    constraint: Callable[[Values], str | None] = lambda values: None,
    check_values: Callable[..., None] | None = None,
    reference: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Array]], Objective]:
    """Turns `function(xp, batch, *, hyper-parameters)` into an `Objective`.

    The family and the domains of the hyper-parameters are read from the signature. `reads` are field names with
    spaces between them, and `coupled` says what ties the examples of a batch together; each is a string, or a function
    from the hyper-parameters to one. `counted(values, whole)` gives, where what the whole batch counts is all that ties it
    together, hyper-parameters that do without, and a factor of the losses. `constraint` returns what is wrong with a
    combination of hyper-parameters.
    `check_values(xp, batch, values)` raises for values of the inputs that are not defined, where they can be read
    without waiting (see `Namespace.values`). `reference` is what `poz.testing.conform` compares with: a function of float64
    NumPy arrays by field name and of the hyper-parameters, written independently, that gives the losses and a dictionary
    with the gradient of their sum in every log-prob it was given.

    Raises:
        TypeError: The signature names no family, or a hyper-parameter has no default or no domain.
    """

    def decorate(function: Callable[..., Array]) -> Objective:
        family, params = _declared(function)
        spec = Objective(
            name=function.__name__,
            title=title,
            paper=paper,
            equation=equation,
            formula=formula,
            family=family,
            params=MappingProxyType(params),
            function=function,
            needs=_words(reads),
            may_read=tuple(optional.split()),
            aliases=tuple(aliases),
            published=tuple(published),
            said=tuple(answers),
            reduces_to=tuple(reduces_to),
            deviations=tuple(deviations),
            gradient_stops=gradient_stops,
            basis=basis,
            couples=_text(coupled),
            counted=counted,
            constraint=constraint,
            check_values=check_values,
            reference=reference,
        )
        return spec.bind(**{name: param.default for name, param in params.items()})

    return decorate


def _declared(function: Callable[..., Array]) -> tuple[type[Any], dict[str, Param]]:
    """The family and the hyper-parameters, as the signature has them."""
    hints = get_type_hints(function, include_extras=True)
    arguments = inspect.signature(function).parameters
    placed = [name for name, p in arguments.items() if p.kind is not p.KEYWORD_ONLY]
    family: Any = hints.get("".join(placed[1:2]))
    if not families.is_family(family):
        raise TypeError(
            f"`{function.__name__}` needs a family of poz.families as the annotation of its second argument, as in "
            f"{function.__name__}(xp, pairs: poz.Pairs, *, beta: ... = 0.1), or a NamedTuple of your own under "
            f"@poz.families.family(...); got {getattr(family, '__name__', family)}."
        )
    if len(placed) > 2:
        raise TypeError(f"`{function.__name__}` needs its hyper-parameters behind a *; got {placed[2]}.")
    params = {}
    for name, p in arguments.items():
        if p.kind is p.KEYWORD_ONLY:
            domains = [d for d in get_args(hints.get(name))[1:] if isinstance(d, Domain)]
            if not domains or p.default is p.empty:
                raise TypeError(
                    f"`{function.__name__}` needs a default and a domain for {name}, as in "
                    f"{name}: Annotated[float, Real(meaning, low=0)] = 0.1."
                )
            params[name] = Param(p.default, domains[0])
    return family, params


def _is_array(value: Any) -> bool:
    return type(value) is not float and hasattr(value, "dtype") and not isinstance(value, np.ndarray)


_count = itertools.count()


def _traced(objective: Objective) -> Callable[[], bool]:
    """Whether `torch.compile` is tracing; if so, the objective becomes one node of its graph.

    Inlined, each call would check every attribute that the objective has read.
    """
    compile_id: Callable[[], Any] | None = None

    def node(key: str, other: str, places: list[int], fields: list[Array], **params: Any) -> Array:
        if other:
            raise TypeError(another_family(objective.name, objective.family, other))
        names = objective.family._fields
        return objective._called(
            objective.family(**{names[place]: x for place, x in zip(places, fields, strict=True)}), params
        )

    def traced() -> bool:
        nonlocal compile_id
        if compile_id is None:
            torch = sys.modules.get("torch")
            if torch is None:
                return False
            compile_id = torch._guards.CompileContext.current_compile_id
        if compile_id() is None:
            return False
        if not hasattr(objective, "_node"):
            object.__setattr__(objective, "_node", sys.modules["torch"].compiler.allow_in_graph(node))
        return True

    traced._dynamo_marked_constant = True  # type: ignore[attr-defined]  # tracing runs it, and keeps the answer
    return traced


def holds_arrays(value: Any) -> bool:
    """Whether an objective, or a tuple, has arrays in it, which is where no node of a graph takes them from."""
    if isinstance(value, Objective):
        return value._deep or bool(value._arrays)
    return isinstance(value, tuple) and any(map(_is_array, value))


def _plain(weights: Any) -> Any:
    """A table of numbers as a tuple, so that it belongs to no library."""
    if isinstance(weights, np.ndarray) and weights.ndim == 1:
        return tuple(weights.tolist())
    if isinstance(weights, tuple | list):
        return tuple(w.item() if isinstance(w, np.generic) else w for w in weights)
    return weights


def _words(given: str | Callable[[Values], str]) -> Callable[[Values], tuple[str, ...]]:
    if callable(given):
        return lambda values: tuple(given(values).split())
    fixed = tuple(given.split())
    return lambda values: fixed


def _text(given: str | Callable[[Values], str]) -> Callable[[Values], str]:
    if callable(given):
        return given
    fixed = given
    return (lambda values: fixed) if fixed else _nothing
