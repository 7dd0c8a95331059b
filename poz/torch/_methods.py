"""Which objectives self-play serves, and what is particular to the rounds of each."""

from __future__ import annotations

from typing import NamedTuple

import torch

from poz.combination import Combination
from poz.families import Pairs, named
from poz.objective import Objective

POLICY, REFERENCE, MIXTURE = "policy", "reference", "mixture"


class Method(NamedTuple):
    """What a round is.

    Attributes:
        writer: Who writes what is trained on.
        rivals: Who writes what that is judged against; "" where it is judged against itself.
        reference: "start", or "last" where each round begins with a new one.
        turns: "", "optimistic" or "extragradient".
        on_policy: Whether the loss is right for the policy alone that wrote the completions.
    """

    writer: str = POLICY
    rivals: str = ""
    reference: str = "start"
    turns: str = ""
    on_policy: bool = False

    @property
    def needs_reference(self) -> bool:
        """Whether the reference writes."""
        return not {self.writer, self.rivals}.isdisjoint((REFERENCE, MIXTURE))


METHODS = {
    "egpo": Method(writer=REFERENCE, rivals=POLICY, turns="extragradient"),
    "nash_md": Method(rivals=MIXTURE, on_policy=True),
    "onpo": Method(turns="optimistic"),
    "rspo": Method(),
    "selm": Method(reference="last"),
    "sppo": Method(),
}
"""All others are objectives on pairs that read nothing but `MADE`."""
SIDES = ("{}", "ref_{}", "{}_len", "opponents_{}")
MADE = {form.format(side) for form in SIDES for side in ("chosen", "rejected")} | {"calibration", "ref_calibration"}


def method_of(objective: Objective) -> Method:
    """How an objective is played.

    Raises:
        ValueError: It is not served.
    """
    parts = [part for part, _ in objective.parts] if isinstance(objective, Combination) else [objective]
    if objective.name in METHODS:
        return METHODS[objective.name]
    if own := [part.name for part in parts if part.name in METHODS]:
        raise ValueError(f"`{own[0]}` has rounds of its own, which it cannot share in a combination. Play it alone.")
    if objective.family is not Pairs:
        raise ValueError(
            f"`{objective.name}` reads {named(objective.family)}; self-play makes pairs, and what {', '.join(METHODS)} read."
        )
    if missing := sorted(objective.reads - MADE):
        raise ValueError(
            f"`{objective.name}` reads {', '.join(missing)}, which self-play does not make: it has win probabilities, and "
            "log-probs under the policies. Call it in a loop of your own."
        )
    if tied := [part for part in parts if part.coupled and not calibrated(part)]:
        raise ValueError(
            f"`{tied[0].name}` is defined over a batch ({tied[0].coupled}), and here each pair counts by its probability. "
            "Call it in a loop of your own."
        )
    return Method()


def calibrated(objective: Objective) -> bool:
    """Whether it reads completions of the reference."""
    return "calibration" in objective.reads


def plays(objective: Objective) -> bool:
    """Whether it reads log-probs under the policies that are played."""
    return not objective.reads.isdisjoint(("opponents_chosen", "anchor_logps"))


def check(
    objective: Objective,
    history: int,
    mixture: float | None,
    reference: str | None,
    optimizer: torch.optim.Optimizer | None,
) -> None:
    """Refuses arguments that the method does not use, and asks for those that it needs.

    Raises:
        ValueError: With a sentence.
    """
    name, method = objective.name, method_of(objective)
    several = "weights" in objective.params and plays(objective)  # of the opponents
    if history < 1 or (history > 1 and not several):
        raise ValueError(
            f"history is how many policies are played, at least 1; `{name}` plays "
            f"{'any number' if several else 'one, if any'}; got {history}."
        )
    weights = objective.values.get("weights") if several else None
    if weights is not None and (len(weights) != history or not weights[0] > 0):
        raise ValueError(
            f"weights must hold {history} numbers for history={history}, the newest policy's > 0; got {weights}."
        )
    if (method.rivals == MIXTURE) != (mixture is not None) or not 0 <= (mixture or 0) <= 1:
        raise ValueError(
            f"mixture is the share of the reference, in [0, 1], in the mixture that Nash-MD plays: `nash_md` needs one, such as "
            f"0.25, and no other objective; got {mixture} for `{name}`."
        )
    if reference not in (None, "start", "last"):
        raise ValueError(f"reference must be 'start' or 'last'; got {reference!r}.")
    if reference is not None and (objective.reference_free or method.needs_reference):
        own = "its own" if method.needs_reference else "no"
        raise ValueError(f"`{name}` has {own} reference; leave reference={reference!r} out.")
    if (method.turns == "extragradient") != (optimizer is not None):
        got = "none" if optimizer is None else f"one for `{name}`"
        raise ValueError(f"An optimizer that goes back is for `egpo`, which needs it; got {got}.")


def bound(objective: Objective, opponents: int) -> Objective:
    """With weights of so many opponents, where there are more, of the same sum."""
    weights = objective.values.get("weights") if plays(objective) else None
    if weights is None or len(weights) == opponents:
        return objective
    factor = sum(weights) / sum(weights[:opponents])
    return objective.bind(weights=tuple(factor * weight for weight in weights[:opponents]))
