"""How `poz.Pairs` are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from poz.families import Pairs
from poz.objective import Objective
from poz.testing.drawn import draws_of
from poz.testing.drawn._numbers import ANNOTATORS, calibration, log_probs, with_zeros


@draws_of(Pairs)
def pairs(objective: Objective, rng: np.random.Generator, size: int, widest: float) -> Pairs:
    """Pairs near the reference and far from it, ties and empty completions among them."""
    values: dict[str, Any] = {**getattr(objective.values.get("base"), "values", {}), **objective.values}
    weights, reliability = values.get("weights"), values.get("reliability")
    annotators = (getattr(reliability, "shape", ()) or (ANNOTATORS,))[0]
    if weights is not None and "annotator" in objective.reads:  # they are groups, with a weight each
        annotators = len(weights)
    opponents = len(weights) if weights is not None else int(rng.integers(1, 4))
    reference = {side: log_probs(rng, (size,), widest) for side in ("chosen", "rejected")}
    # Near the reference, as in training; then a tie, and margins of any size.
    policy = {side: reference[side] * np.exp(rng.normal(0, 0.1, size)) for side in reference}
    lens = {side: np.ceil(-reference[side] / rng.uniform(0.5, 3, size)).astype(np.int64) for side in reference}
    free = rng.random(size) < 0.4
    for side in reference:
        policy[side] = np.where(free, log_probs(rng, (size,), widest), policy[side])
    if size > 1:
        # A tie, of log-ratios that no e^x of them makes so steep that its rounding decides.
        policy["chosen"][0] = reference["chosen"][0] + np.clip(policy["chosen"][0] - reference["chosen"][0], -10, 10)
        for values in (policy, reference):
            values["rejected"][0] = values["chosen"][0]
        policy["rejected"][1], reference["rejected"][1], lens["rejected"][1] = 0.0, 0.0, 0  # an empty completion
    if size > 2:
        policy["chosen"][2], reference["chosen"][2], lens["chosen"][2] = 0.0, 0.0, 0
    near = np.exp(rng.normal(0, 0.1, (opponents, size)))
    margin = with_zeros(rng.normal(0, 2, size))
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
        **calibration(rng, min(widest, 100.0)),
        entropy=rng.uniform(0.01, 1, size),
        prompt_embedding=rng.spawn(1)[0].normal(0, 1, (size, 3)),
    )
