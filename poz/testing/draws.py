"""Inputs and hyper-parameters drawn from what an objective declares, in NumPy."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from poz.domains import Choice, Domain, Real, Weights
from poz.families import Denoising, Pairs, Ranked, Samples, TokenPairs, Unpaired
from poz.objective import Base, Objective

Floats = npt.NDArray[np.float64]
ANNOTATORS = 3
WIDEST = 1e4  # nats: the largest margin that every objective must survive
PATIENCE = 50  # draws from a deck before chance takes over: some options do not go together
Option = TypeVar("Option", bound=Hashable)


class Case(NamedTuple):
    """An objective with bound hyper-parameters, and a batch for it."""

    objective: Objective
    batch: Any


class Deck:
    """Draws options so that each comes as often as the others over many cases: one of those that came least often."""

    def __init__(self) -> None:
        self._came: Counter[tuple[str, Hashable]] = Counter()
        self._drawn: list[tuple[str, Hashable]] = []

    def draw(self, name: str, options: Sequence[Option], rng: np.random.Generator) -> Option:
        """One of the options of what is called `name`."""
        least = min(self._came[name, option] for option in options)
        rare = [option for option in options if self._came[name, option] == least]
        pick = rare[rng.integers(len(rare))]
        self._drawn.append((name, pick))
        return pick

    def mark(self) -> int:
        """Where the draws stand, for `put_back`."""
        return len(self._drawn)

    def put_back(self, mark: int = 0) -> None:
        """What was drawn since the mark was refused, and has not come."""
        del self._drawn[mark:]

    def count(self) -> None:
        """All that was drawn and not put back has come."""
        self._came.update(self._drawn)
        self._drawn.clear()


def draw_case(
    objective: Objective,
    rng: np.random.Generator,
    size: int = 8,
    widest: float = WIDEST,
    deck: Deck | None = None,
    held: Collection[str] = (),
) -> Case:
    """Draws hyper-parameters over their whole domain, but for those held, then a batch of `size` examples that suits them."""
    for _ in range(100):
        bound = objective.bind(**draw_values(objective, rng, deck, held))
        try:
            return Case(bound, draw_batch(bound, rng, size, widest, deck))
        except ValueError as error:  # hyper-parameters that no batch suits
            refused = error
    raise refused


def draw_values(
    objective: Objective, rng: np.random.Generator, deck: Deck | None = None, held: Collection[str] = ()
) -> dict[str, Any]:
    """Hyper-parameters that satisfy the objective's constraint; those held are not drawn."""
    for attempt in range(1000):
        this = Deck() if deck is None or attempt >= PATIENCE else deck
        this.put_back()
        drawn = {name: param.domain for name, param in objective.params.items() if name not in held}
        values = {**objective.values, **{name: _draw(name, domain, rng, this) for name, domain in drawn.items()}}
        if objective.constraint(values) is None:
            return values
    raise ValueError(f"No hyper-parameters of `{objective.name}` satisfied its constraint in 1000 draws.")


def _draw(name: str, domain: Domain, rng: np.random.Generator, deck: Deck) -> Any:
    if isinstance(domain, Real):
        if domain.optional and deck.draw(name, ("none", "a number"), rng) == "none":
            return None
        if domain.per and rng.random() < 0.5:
            return rng.uniform(*domain.usual, size=ANNOTATORS)
        if domain.whole:
            return float(rng.integers(int(domain.usual[0]), int(domain.usual[1]) + 1))
        ends = [end for end in (domain.low, domain.high) if domain.problem(end) is None]
        return float(rng.choice(ends)) if ends and rng.random() < 0.15 else float(rng.uniform(*domain.usual))
    if isinstance(domain, Choice):
        return deck.draw(name, domain.options, rng)
    if isinstance(domain, Weights):
        count = deck.draw(name, (None, 1, 2, 3), rng)
        return None if count is None else tuple(map(float, _with_zeros(rng.uniform(0, 1, count))))
    if isinstance(domain, Base):
        from poz.zoo import zoo

        bases = [o for o in zoo.values() if o.family is Pairs and {"chosen", "rejected"} <= o.reads and not o.coupled]
        bases = [o for o in bases if not o.reads & {"calibration", "opponents_chosen", "annotator"}]
        bases = [o for o in bases if not any(isinstance(p.domain, Base) for p in o.params.values())]
        salt = int(rng.integers(2**32))  # with it names are put in order, so that a new one changes no draw but its own
        base = min(bases, key=lambda o: hashlib.sha256(f"{salt} {o.name}".encode()).digest())
        return base.bind(**draw_values(base, rng))
    raise TypeError(f"Nothing is known about drawing from {type(domain).__name__}.")


def draw_batch(
    objective: Objective, rng: np.random.Generator, size: int = 8, widest: float = WIDEST, deck: Deck | None = None
) -> Any:
    """A batch that the objective, as it is bound, accepts; each optional field is there half of the time."""
    mark = 0 if deck is None else deck.mark()
    for attempt in range(100):
        this = Deck() if deck is None or attempt >= PATIENCE else deck
        if deck is not None:
            deck.put_back(mark)
        batch = _draw_batch(objective, rng, size, widest, this)
        try:
            with np.errstate(all="ignore"):
                objective(batch)
        except ValueError as error:  # numbers of opponents, say, that the objective refuses
            refused = error
            continue
        return batch
    raise refused


def _draw_batch(objective: Objective, rng: np.random.Generator, size: int, widest: float, deck: Deck) -> Any:
    batch = _FAMILIES[objective.family](objective, rng, size, widest)
    dropped = [name for name in batch._fields if name not in objective.reads | objective.optional]
    arrays = any(getattr(value, "ndim", 0) for value in objective.values.values())
    if not arrays:
        dropped += [name for name in sorted(objective.optional) if deck.draw(f"field {name}", (True, False), rng)]
    return batch._replace(**dict.fromkeys(dropped))


def _log_probs(rng: np.random.Generator, shape: tuple[int, ...], widest: float) -> Floats:
    """Negative, over many orders of magnitude: from 1e-3 nat to `widest`."""
    return -np.exp(rng.uniform(np.log(1e-3), np.log(widest), shape))


def _with_zeros(x: Floats) -> Floats:
    """The numbers with those near 0 made exactly 0, as weights and margins of data often are."""
    return np.where(np.abs(x) < 0.1, 0.0, x)


def _pairs(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> Pairs:
    values: dict[str, Any] = {**getattr(objective.values.get("base"), "values", {}), **objective.values}
    weights, reliability = values.get("weights"), values.get("reliability")
    annotators = (getattr(reliability, "shape", ()) or (ANNOTATORS,))[0]
    if weights is not None and "annotator" in objective.reads:  # they are groups, with a weight each
        annotators = len(weights)
    opponents = len(weights) if weights is not None else int(rng.integers(1, 4))
    reference = {side: _log_probs(rng, (size,), widest) for side in ("chosen", "rejected")}
    # Near the reference, as in training; then a tie, and margins of any size.
    policy = {side: reference[side] * np.exp(rng.normal(0, 0.1, size)) for side in reference}
    lens = {side: np.ceil(-reference[side] / rng.uniform(0.5, 3, size)).astype(np.int64) for side in reference}
    free = rng.random(size) < 0.4
    for side in reference:
        policy[side] = np.where(free, _log_probs(rng, (size,), widest), policy[side])
    if size > 1:
        # A tie, of log-ratios that no e^x of them makes so steep that its rounding decides.
        policy["chosen"][0] = reference["chosen"][0] + np.clip(policy["chosen"][0] - reference["chosen"][0], -10, 10)
        for values in (policy, reference):
            values["rejected"][0] = values["chosen"][0]
        policy["rejected"][1], reference["rejected"][1], lens["rejected"][1] = 0.0, 0.0, 0  # an empty completion
    if size > 2:
        policy["chosen"][2], reference["chosen"][2], lens["chosen"][2] = 0.0, 0.0, 0
    near = np.exp(rng.normal(0, 0.1, (opponents, size)))
    margin = _with_zeros(rng.normal(0, 2, size))
    return Pairs(
        policy["chosen"],
        policy["rejected"],
        reference["chosen"],
        reference["rejected"],
        lens["chosen"],
        lens["rejected"],
        rng.choice([0.0, 0.25, 0.5, 1.0], size),
        np.abs(margin) if rng.random() < 0.5 else margin,  # some objectives refuse a better rejected completion
        rng.integers(0, annotators, size),
        policy["chosen"] * near,
        policy["rejected"] * near[::-1],
        **_calibration(rng, min(widest, 100.0)),
        entropy=rng.uniform(0.01, 1, size),
        prompt_embedding=rng.spawn(1)[0].normal(0, 1, (size, 3)),
    )


def _calibration(rng: np.random.Generator, widest: float) -> dict[str, Floats]:
    samples = (int(rng.integers(1, 6)),)
    found = {name: _log_probs(rng, samples, widest) for name in ("calibration", "ref_calibration")}
    if samples[0] > 1:  # a sample on which policy and reference agree
        found["ref_calibration"][0] = found["calibration"][0]
    return found


def _token_pairs(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> TokenPairs:
    fields: dict[str, Any] = {"label": rng.choice([0.0, 0.25, 0.5, 1.0], size)}
    for side in ("chosen", "rejected"):
        shape = (size, int(rng.integers(1, 9)))
        fields[side] = _log_probs(rng, shape, widest / shape[1])
        fields[f"ref_{side}"] = fields[side] * np.exp(rng.normal(0, 0.2, shape))
        fields[f"{side}_mask"] = rng.random(shape) < 0.7
        fields[f"{side}_mask"][0] = False  # an empty completion
        fields[f"{side}_changed"] = rng.random(shape) < 0.5
        fields[f"{side}_weights"] = _with_zeros(rng.uniform(0, 2, shape))
        fields[f"{side}_kl"] = np.exp(rng.uniform(-5, 1, shape))
        fields[f"{side}_collision"] = -np.exp(rng.uniform(-5, 1.5, shape))
    return TokenPairs(**fields)


def _ranked(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> Ranked:
    shape = (size, int(rng.integers(2, 6)))
    logps = _log_probs(rng, shape, widest)
    scores = -np.sort(-rng.normal(0, 2, shape), axis=-1)
    scores[0] = scores[0, 0]  # all equal
    if size > 1:
        scores[1, 1] = scores[1, 0]
    lengths = np.ceil(-logps / rng.uniform(0.5, 3, shape)).astype(np.int64)
    mask = rng.random(shape) < 0.75
    mask[:, 0] = True
    mask[2:3, 1:] = False  # a list of one
    for row in range(3, min(size, 5)):  # an empty completion, the best or the second
        logps[row, row - 3], lengths[row, row - 3] = 0.0, 0
    return Ranked(logps, logps * np.exp(rng.normal(0, 0.2, shape)), lengths, scores, mask)


def _unpaired(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> Unpaired:
    logps = _log_probs(rng, (size,), widest)
    near = np.exp(rng.normal(0, 0.1, size))
    calibration = _calibration(rng, min(widest, 100.0))
    reference = np.where(rng.random(size) < 0.4, _log_probs(rng, (size,), widest), logps * near)
    lengths = np.ceil(-logps / rng.uniform(0.5, 3, size)).astype(np.int64)
    if size > 2:
        logps[2], reference[2], lengths[2] = 0.0, 0.0, 0  # an empty completion
    return Unpaired(
        logps,
        reference,
        rng.random(size) < 0.5,
        lengths,
        _with_zeros(rng.uniform(0, 2, size)),
        rng.exponential(0.5, size),
        calibration["calibration"],
        calibration["ref_calibration"],
    )


def _samples(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> Samples:
    shape = (size, int(rng.integers(2, 6)))
    logps = _log_probs(rng, shape, widest)
    anchor, reference = (logps * np.exp(rng.normal(0, 0.2, shape)) for _ in range(2))
    return Samples(logps, anchor, reference, rng.uniform(0, 1, shape))


def _denoising(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> Denoising:
    chosen, rejected = (-_log_probs(rng, (size,), min(widest, 30.0)) for _ in range(2))
    ref_chosen, ref_rejected = (error * np.exp(rng.normal(0, 0.1, size)) for error in (chosen, rejected))
    return Denoising(chosen, rejected, ref_chosen, ref_rejected, rng.integers(0, 1000, size))


_FAMILIES: dict[type, Any] = {
    Pairs: _pairs,
    TokenPairs: _token_pairs,
    Ranked: _ranked,
    Unpaired: _unpaired,
    Samples: _samples,
    Denoising: _denoising,
}
