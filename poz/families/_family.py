"""What a family declares of its fields: all that handles a batch reads this, and asks for no family by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from poz.families._constructor import constructor

Family = TypeVar("Family", bound=tuple[Any, ...])
"""Any class of a NamedTuple."""
SHAPES: dict[type, Mapping[str, tuple[str, str]]] = {}
"""The shapes of every family there is; see `Layout`."""
DIMENSIONS = ("b", "bd", "bf", "bh", "bk", "bt", "bu", "bz", "mb", "c")
CONTENTS = ("logp", "feature", "number", "amount", "integer", "mask")


@dataclass(frozen=True)
class Layout:
    """How the fields of a family lie.

    Attributes:
        shapes: Of each field the dimensions, and what it holds. Dimensions: "b" the example, "t"/"u" tokens of the first or
            second side, "k" list, "m" opponents, "c" calibration samples (of no example), "d" an embedding, "h" its blocks of
            two, "z" what is latent, "f" factors. Content: "logp" (a log-prob, an error or a score) and "feature" (any other
            output of a model), which have a gradient; "number", "amount" (0 or more), "integer" (ids), or "mask".
        sides: The log-probs of the policy: of two completions, or of one or a list. Under other policies the same fields have
            a prefix, such as `ref_`.
        lengths: By side the field with its number of tokens.
        masks: By side the field that is true where there is something.
        plain: What a field is in a plain example, where that is neither 0 of a log-prob, 1 of a number nor true of a mask.
        ranked: Whether a list stands in order of preference, best first.
        errors: Whether these are squared errors, which are positive and of no tokens, in place of log-probs.
        scores: Whether these are scores of a reward model, which are of any sign and of no tokens, in place of log-probs.
    """

    shapes: Mapping[str, tuple[str, str]]
    sides: tuple[str, ...]
    lengths: Mapping[str, str] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)
    plain: Mapping[str, float] = field(default_factory=dict)
    ranked: bool = False
    errors: bool = False
    scores: bool = False
    amounts: Mapping[str, str] = field(init=False)  # by field the mask of where it matters, or ""

    def __post_init__(self) -> None:
        masks = {self.shapes[mask][0]: mask for mask in self.masks.values()}
        amounts = {name: masks.get(dims, "") for name, (dims, content) in self.shapes.items() if content == "amount"}
        object.__setattr__(self, "amounts", amounts)

    @property
    def paired(self) -> bool:
        """Whether there are two sides, chosen and rejected."""
        return len(self.sides) == 2

    @property
    def lists(self) -> bool:
        """Whether an example is a list of completions."""
        return self.shapes[self.sides[0]][0] == "bk"

    @property
    def per_token(self) -> bool:
        """Whether there is one log-prob for each token."""
        return self.shapes[self.sides[0]][0] == "bt"

    @property
    def tokens(self) -> bool:
        """Whether the sides are log-probs of tokens."""
        return not (self.errors or self.scores)

    @property
    def what(self) -> str:
        """What the sides hold, in a word."""
        return "scores" if self.scores else "log-probs"

    def policies(self) -> list[str]:
        """The sides under every policy."""
        return [name for name in self.shapes if any(name == side or name.endswith(f"_{side}") for side in self.sides)]


_LAYOUTS: dict[type, Layout] = {}


def family(
    shapes: Mapping[str, tuple[str, str]], *, sides: tuple[str, ...], **more: Any
) -> Callable[[type[Family]], type[Family]]:
    """Makes a family of a NamedTuple.

        @poz.families.family(
            {"chosen": ("b", "logp"), "rejected": ("b", "logp"), "margin": ("b", "number")}, sides=("chosen", "rejected")
        )
        class RewardPairs(NamedTuple):
            chosen: Any
            rejected: Any
            margin: Any = None

    `poz.testing.draws_of` says how one is drawn.

    Args:
        shapes: Of each field the dimensions and the content; see `Layout`.
        sides: The log-probs, or scores, that an objective judges: ("chosen", "rejected"), or one field.
        **more: The other attributes of `Layout`.

    Raises:
        TypeError: Something else than a NamedTuple, or a declaration that does not fit its fields.
    """

    def declare(made: type[Family]) -> type[Family]:
        problem = _problem(made, shapes, sides, more)
        if problem:
            raise TypeError(f"`{getattr(made, '__name__', made)}` is no family: {problem}")
        SHAPES[made], _LAYOUTS[made] = dict(shapes), Layout(dict(shapes), tuple(sides), **more)
        made.__new__ = constructor(made, named(made))  # type: ignore[method-assign]
        return made

    return declare


def is_family(given: Any) -> bool:
    """Whether a class is one of poz's families, or one that was declared."""
    return isinstance(given, type) and given in _LAYOUTS


def layout_of(given: type[Any]) -> Layout:
    """The layout of a family.

    Raises:
        TypeError: No family.
    """
    if given not in _LAYOUTS:
        raise TypeError(
            f"A family is required: {', '.join(map(named, _LAYOUTS))}, or a NamedTuple under @poz.families.family(...), which "
            f"says what its fields hold; got {getattr(given, '__name__', repr(given))}."
        )
    return _LAYOUTS[given]


def named(given: type[Any]) -> str:
    """A family as one writes it."""
    return f"poz.{given.__name__}" if given.__module__.startswith("poz.families.") else given.__qualname__


def _problem(made: Any, shapes: Any, sides: Any, more: Mapping[str, Any]) -> str:
    fields = getattr(made, "_fields", None)
    if not isinstance(made, type) or not issubclass(made, tuple) or not fields:
        return "a NamedTuple with fields is required. Write class ...(NamedTuple)."
    optional = getattr(made, "_field_defaults", {})
    if wrong := sorted(set(shapes) ^ set(fields)):
        which = "are declared and are no fields" if set(wrong) <= set(shapes) else "are fields without a shape"
        return f"{', '.join(wrong)} {which}. Declare each field, {', '.join(fields)}."
    for name, shape in shapes.items():
        if len(shape) != 2 or shape[0] not in DIMENSIONS or shape[1] not in CONTENTS:
            return (
                f"the shape of {name} must be dimensions, one of {', '.join(DIMENSIONS)}, and content, one of "
                f"{', '.join(CONTENTS)}; got {shape!r}."
            )
    if isinstance(sides, str) or not set(sides) <= set(fields) or (len(sides) != 1 and sides != ("chosen", "rejected")):
        return f"sides must be ('chosen', 'rejected'), or one of its fields, such as ('logps',); got {sides!r}."
    wanted = ("b", "b"), ("bt", "bu"), ("b",), ("bk",), ("bt",)
    if tuple(shapes[side][0] for side in sides) not in wanted or any(shapes[side][1] != "logp" for side in sides):
        return (
            f"its sides must hold log-probs ('logp'), two of b or of bt and bu, or one of b, bk or bt; got {sides!r}."
        )
    if unknown := sorted(set(more) - {"lengths", "masks", "plain", "ranked", "errors", "scores"}):
        return f"it has no {', '.join(unknown)} to declare; see poz.families.Layout."
    for what, content in (("lengths", "amount"), ("masks", "mask")):
        for side, name in more.get(what, {}).items():
            if side not in sides or name not in shapes or shapes[name] != (shapes[side][0], content):
                return (
                    f"{what} must name for a side a field of its dimensions that holds {content!r}; got {side}: {name}."
                )
    if unknown := sorted(set(more.get("plain", {})) - set(shapes)):
        return f"plain names {', '.join(unknown)}, which it has not; its fields are {', '.join(fields)}."
    if missing := [name for name in fields if name not in optional and name not in sides]:
        return f"{missing[0]} must be optional, as in {missing[0]}: Any = None, for not every objective reads it."
    return ""
