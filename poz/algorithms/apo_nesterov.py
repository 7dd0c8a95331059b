"""Accelerated Preference Optimization: iterative DPO or SPPO with Nesterov's momentum.

    solved = reference = copy.deepcopy(policy.state_dict())  # round 0
    for _ in range(rounds):
        last, solved = solved, train(reference)         # one solve against this round's reference; a copy, as it moves on
        reference = next_reference(last, solved)        # the next round's; the answer is the last `solved`

The momentum is between two solved rounds, not between a round and its own reference. Source: He, Yuan, Gu 2024, arXiv
2410.06293, algorithm 1 and eq. 3.7. Not Anchored Preference Optimization (`poz.apo_zero`, `poz.apo_down`). On tabular
policies and on logits it is exact; on the parameters of a language model it is what the authors run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poz._given import given
from poz.algorithms.weights import towards


@given
def next_reference(last: Mapping[str, Any], solved: Mapping[str, Any], alpha: float = 0.3) -> dict[str, Any]:
    """The reference of the next round, solved + α (solved - last).

    Args:
        last: Parameters or logits by name that the round before was solved to; of round 0, the reference itself.
        solved: Those of this round.
        alpha: α in [0, 1), the momentum; 0 is iterative DPO, whose next reference is `solved`.

    Raises:
        ValueError: α is outside [0, 1), or the names differ.
    """
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha must be at least 0 and below 1, where the steps add up to a finite one; got {alpha}.")
    return towards(last, solved, 1 + alpha)
