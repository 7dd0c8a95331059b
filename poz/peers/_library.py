"""What a file of poz/peers declares about one library, and how its functions are called."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from poz.testing.runners import Backend

Make = Callable[[], Callable[..., Any]]
Made = TypeVar("Made", bound=Callable[..., Any])


class Absent(Exception):
    """The library that is installed has no such function; the message says why."""


@dataclass(frozen=True)
class Loss:
    """A loss function of a library beside an objective of poz.

    Attributes:
        objective: Name.
        function: The library's own, as its users name it, such as "DPOTrainer, loss_type='ipo'".
        make: Imports the library and gives `f(batch, *, hyper-parameters) -> losses`; what it does not take is held.
        does: What it does otherwise than the objective by default; "" where nothing.
        settings: Hyper-parameters of poz that reproduce it.
        given: What the adapter does that no setting of poz says; "" where nothing.
        topic: Of a disagreement, by its key in `poz.peers.TOPICS`.
        backend, constant, reduction: As `poz.testing.conform` has them.
        lacks: Optional fields of poz that it has nothing for, such as ("label",); they are not drawn.
        since, before: Versions that it is about, see `Library`; in others there is no record of it.
        module: Where it is declared, which `poz.peers.libraries` fills in.
    """

    objective: str
    function: str
    make: Make
    does: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    given: str = ""
    topic: str = ""
    backend: Backend = "torch"
    constant: Collection[str] = ()
    reduction: Literal["none", "mean", "sum"] = "none"
    lacks: Collection[str] = ()
    since: str = ""
    before: str = ""
    module: str = ""


@dataclass(frozen=True)
class LogProbs:
    """A function of a library that gives log-probs of targets.

    Attributes:
        function: The library's own, as its users name it.
        make: Imports the library and gives `f(hidden (N, H), weight (V, H), targets (N,), softcap) -> (N,)` log-probs, or,
            where `logits`, `f(logits (N, V), targets (N,)) -> (N,)`. A target of -100 is ignored.
        logits: Whether it is given logits.
        softcap: Whether it has a soft cap of logits.
        backend: "torch" or "jax".
        since, before, module: As of `Loss`.
    """

    function: str
    make: Make
    logits: bool = False
    softcap: bool = False
    backend: str = "torch"
    since: str = ""
    before: str = ""
    module: str = ""


@dataclass(frozen=True)
class Fact:
    """What a library does on one small input, as a number that a call gives.

    Attributes:
        key: Unique within the library; of a bug also the name of its report.
        call: Imports the library and nothing of poz, and gives a number, a text, or a list of them. NaN is a number.
        does: What the library does, as a sentence.
        gives: What the call gave when this was written.
        right: Of a bug, what it ought to give; None where there is no wrong or right.
        because: Of a bug, why that is right.
        link: Where it is known.
        objective: Name, where it is about one.
        topic: Of a disagreement, by its key in `poz.peers.TOPICS`.
        since, before, module: As of `Loss`.
    """

    key: str
    call: Callable[[], Any]
    does: str
    gives: Any
    right: Any = None
    because: str = ""
    link: str = ""
    objective: str = ""
    topic: str = ""
    since: str = ""
    before: str = ""
    module: str = ""


def taking(call: Callable[..., Any], names: Iterable[str]) -> Callable[..., Any]:
    """The call of a batch and keywords, as one that takes these hyper-parameters of poz."""
    batch = inspect.Parameter("batch", inspect.Parameter.POSITIONAL_ONLY)
    own = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    call.__signature__ = inspect.Signature([batch, *own])  # type: ignore[attr-defined]
    return call


class Library:
    """One library, and what is known of it.

    Args:
        name: As its users write it; several files may be about one.
        package: On the package index; "" where it is read from a checkout alone.
        since: The first version that the rows of a file are about; all before where it is "".
        before: The first version that they are not about any more; none where it is "".
    """

    def __init__(self, name: str, package: str = "", *, since: str = "", before: str = "") -> None:
        self.name, self.package = name, package
        self.range = {"since": since, "before": before}
        self.losses: list[Loss] = []
        self.logps: list[LogProbs] = []
        self.facts: list[Fact] = []

    def version(self) -> str:
        """What is there: a version, or the commit of a checkout; "" where nothing is."""
        if self.name in _CHECKOUTS:
            return _CHECKOUTS[self.name]
        try:
            return importlib.metadata.version(self.package) if self.package else ""
        except importlib.metadata.PackageNotFoundError:
            return ""

    def loss(self, objective: str, function: str, **rest: Any) -> Callable[[Made], Made]:
        """Decorates what makes a loss function; arguments are those of `Loss`."""

        def keep(make: Made) -> Made:
            self.losses.append(Loss(objective, function, make, **self.range | rest))
            return make

        return keep

    def log_probs(self, function: str, **rest: Any) -> Callable[[Made], Made]:
        """Decorates what makes a function of log-probs; arguments are those of `LogProbs`."""

        def keep(make: Made) -> Made:
            self.logps.append(LogProbs(function, make, **self.range | rest))
            return make

        return keep

    def fact(self, does: str, *, gives: Any, **rest: Any) -> Callable[[Made], Made]:
        """Decorates a call of the library; arguments are those of `Fact`. With `right` it is a bug."""

        def keep(call: Made) -> Made:
            self.facts.append(Fact(call.__name__, call, does, gives, **self.range | rest))
            return call

        return keep


_CHECKOUTS: dict[str, str] = {}


def about(row: Loss | LogProbs | Fact, version: str) -> bool:
    """Whether a row is about this version; about every commit of a checkout."""
    numbers = _numbers(version)
    return not numbers or (numbers >= _numbers(row.since) and not (row.before and numbers >= _numbers(row.before)))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version.split("+")[0])[:3])) if version[:1].isdigit() else ()


def checkout(name: str, path: Path) -> None:
    """Lets the library of that name be imported from a checkout, a git work tree, which names its commit.

    Raises:
        ValueError: There is none, or files of it are changed.
    """
    path = path.resolve()
    head = ["git", "-C", str(path), "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    try:
        if not (path / ".git").exists():
            raise FileNotFoundError(path / ".git")
        commit = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(f"{path} is no git checkout of {name}: give the folder that `git clone` made.") from error
    if commit.endswith("-dirty"):
        raise ValueError(f"Files of {path} are changed, so no commit names what would be judged: `git stash` them.")
    sys.path.insert(0, str(path))
    _CHECKOUTS[name] = f"@{commit}"
