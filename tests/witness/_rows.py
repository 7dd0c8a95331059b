"""Rows worked by hand, as data: every implementation of an objective is held against the same ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Row:
    """One worked example, to 12 significant digits.

    ``gradients`` holds partials with respect to summed log-probs; a key "a+b" is the sum of two of them, for fields
    that name the same completion. With ``mean`` the numbers are those of the batch mean instead of the examples.
    """

    item: str
    fields: Mapping[str, Any]
    params: Mapping[str, Any]
    losses: Any
    gradients: Mapping[str, Any] = field(default_factory=dict)
    mean: bool = False

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields as arrays: masks bool, annotators and groups int, everything else float64."""
        kinds = {"annotator": np.int64, "groups": np.int64, "desirable": bool}
        flags = ("mask", "_changed", "tie")
        return {
            name: np.array(value, dtype=kinds.get(name, bool if name.endswith(flags) else np.float64))
            for name, value in self.fields.items()
        }

    def check(self, losses: np.ndarray, gradients: Mapping[str, np.ndarray]) -> None:
        """Hold per-example losses and gradients of their sum against the row: 12 digits leave a relative 1e-11."""
        count = len(losses) if self.mean else 1
        observed = np.mean(losses) if self.mean else losses
        np.testing.assert_allclose(observed, self.losses, rtol=1e-11, atol=1e-15, err_msg=f"{self.item}: losses")
        for name, expected in self.gradients.items():
            total = sum(gradients[part] for part in name.split("+")) / count
            np.testing.assert_allclose(total, expected, rtol=1e-11, atol=1e-15, err_msg=f"{self.item}: {name}")


# P1 has h = (-10 + 12) - (-11 + 11) = 2 and P2 has h = (-8 + 7) - (-9 + 9.5) = -1.5
P1 = {"chosen": [-10], "rejected": [-12], "ref_chosen": [-11], "ref_rejected": [-11]}
P1P2 = {"chosen": [-10, -8], "rejected": [-12, -7], "ref_chosen": [-11, -9], "ref_rejected": [-11, -9.5]}
LENGTHS = {"chosen_len": [4], "rejected_len": [5]}
# Δ = -3.2/4 + 6.5/5 = 0.5; γ = 2.5 * 0.55 = 1.375; z = 1.25 - 1.375 = -0.125; z' = -1.25 - 1.375 = -2.625
SIMPO = {"chosen": [-3.2], "rejected": [-6.5], "chosen_len": [4], "rejected_len": [5]}
# the bonus before its sign is α β mean(-5 + 6, -9 + 7) = 0.2 * 0.5 * -0.5 = -0.05
CALIBRATED = {**P1, "calibration": [-5, -9], "ref_calibration": [-6, -7]}
# l - q = (1, -1)
TWO = {"logps": [[-10, -12]], "anchor_logps": [[-11, -11]], "winrates": [[0.75, 0.25]]}
# l - q = (0.5, 0, -1)
THREE = {"logps": [[-2, -3, -5]], "anchor_logps": [[-2.5, -3, -4]], "winrates": [[0.9, 0.5, 0.2]]}
# β = 0.5 makes s = (0.5, 0, -1)
LIST = {"logps": [[-2, -3, -5]], "ref_logps": [[-3, -3, -3]]}
# and (0.5, masked, 0) in the second list
RAGGED = {
    "logps": [[-2, -3, -5], [-2, -9, -4]],
    "ref_logps": [[-3, -3, -3], [-3, 0, -4]],
    "mask": [[True, True, True], [True, False, True]],
}
# a batch of three whose margins are those of chosen
MARGINS = {"rejected": [0, 0, 0], "ref_chosen": [0, 0, 0], "ref_rejected": [0, 0, 0]}
AOT = {"chosen": [-10, -8], "rejected": [-12, -7], "ref_chosen": [-11, -9], "ref_rejected": [-11, -10.5]}
# log-ratios of y_w: 0.5, 0.5; of y_l: -1
TOKENS = {"chosen": [[-1, -2]], "rejected": [[-3]], "ref_chosen": [[-1.5, -2.5]], "ref_rejected": [[-2]]}
# a third token of y_l that no mask lets in
PADDED = {**TOKENS, "rejected": [[-3, -9]], "ref_rejected": [[-2, 5]], "rejected_mask": [[True, False]]}
PAIR = {"chosen": [-3.0], "rejected": [-7.0], "ref_chosen": [-4.0], "ref_rejected": [-6.0]}  # a = 1, b = -1
FLAT = {"chosen": [0], "rejected": [0], "ref_chosen": [0], "ref_rejected": [0]}
