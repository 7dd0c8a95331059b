"""Drawn cases with their losses and gradients as plain numbers, for implementations that no backend here can run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from poz._given import given
from poz.objective import Objective
from poz.testing.answers import reference
from poz.testing.draws import WIDEST, Deck, draw_case
from poz.zoo import zoo


@given
def cases(name: str | Objective, *, count: int = 8, seed: int = 0, size: int = 4) -> dict[str, Any]:
    """What the float64 reference of an objective says of drawn batches, as JSON has it: to test one in another language.

    `json.dumps(..., allow_nan=False)` takes it: no log-prob is infinite, but a loss far out, or a threshold that switches
    something off, may be, and stands as "inf", "-inf" or "nan", the only texts where numbers are.

    Args:
        name: The objective, by name; or one whose hyper-parameters stay as they are bound.
        count: How many draws of inputs and hyper-parameters; every other one has log-ratios of up to 1e4 nats.
        seed: Of the draws.
        size: Examples per batch.

    Returns:
        `objective`, `formula` (LaTeX), `family`, `seed`, and `cases`, each with `values` (hyper-parameters; of an objective among
        them its `name` and `values`), `inputs` by field (those that are None are left out; 0-based ids, masks of true and
        false, log-probs in nats), `losses`, one for each example, and `gradients` of the sum of the losses by field.

    Raises:
        TypeError: It has no reference.
        ValueError: There is nothing to draw, or no such seed.
    """
    if count < 1 or size < 1:
        raise ValueError(f"At least one case of one example has to be drawn; got count={count}, size={size}.")
    if seed < 0:
        raise ValueError(f"The seed must be a whole number from 0; got {seed}.")
    this = zoo[name] if isinstance(name, str) else name
    held = () if isinstance(name, str) else tuple(this.params)
    rng, deck, found = np.random.default_rng(seed), Deck(), []
    for index in range(count):
        bound, batch = draw_case(this, rng, size, WIDEST if index % 2 else 30.0, deck, held)
        deck.count()
        losses, gradients = reference(bound, batch)
        inputs = {field: x for field, x in batch._asdict().items() if x is not None}
        found.append(_plain({"values": bound.values, "inputs": inputs, "losses": losses, "gradients": gradients}))
    return {
        "objective": this.name,
        "formula": this.formula,
        "family": this.family.__name__,
        "seed": seed,
        "cases": found,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Objective):
        return {"name": value.name, "values": _plain(value.values)}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if hasattr(value, "items"):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if not isinstance(value, float) or math.isfinite(value) else repr(value)
