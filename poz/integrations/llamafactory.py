"""Any objective on pairs in LLaMA-Factory: python -m poz.integrations.llamafactory simpo beta=2 gamma=1 -- train.yaml."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import patch

from poz.columns import needs_reference
from poz.integrations._pairs import PairLosses, spoken
from poz.objective import Objective

NAMES = {"pref_beta": "beta", "simpo_gamma": "gamma", "dpo_label_smoothing": "label_smoothing"}
SETTINGS, ZERO = (*NAMES, "pref_bco_weight", "ld_alpha", "pref_loss"), ("dpo_label_smoothing", "pref_bco_weight")


def train(objective: str | Objective, args: Mapping[str, Any], callbacks: Any = None, **params: Any) -> None:
    """LLaMA-Factory's `run_exp` on what its yaml has, and callbacks, with an objective in the place of its loss.

    Raises:
        ValueError: An objective that cannot be trained here, or an argument that it would not follow.
    """
    away = [name for name in ("USE_RAY", "USE_MCA") if os.getenv(name, "0").lower() in ("1", "y", "true")]
    if (got := " ".join([str(args.get("stage")), *away])) != "dpo":
        raise ValueError(f"poz goes into stage: dpo of LLaMA-Factory, without USE_RAY and USE_MCA; got {got}.")
    loss = PairLosses("LLaMA-Factory", objective, args.get("gradient_accumulation_steps", 1), **params)
    kind = "sigmoid" if needs_reference(loss.objective) else "simpo"  # which says whether a reference is loaded
    loss.agree({name: args[name] for name in SETTINGS if args.get(name, kind) != kind}, NAMES, ZERO)
    from llamafactory.train import tuner
    from llamafactory.train.dpo import trainer

    class Trainer(trainer.CustomDPOTrainer):  # type: ignore[misc]
        def concatenated_forward(self, model: Any, batch: Any, *others: Any, **more: Any) -> Any:
            self.loss_type = "sigmoid"  # of which log-probs are sums; of "simpo" they are means
            self.lengths = (batch["labels"][:, 1:] != self.label_pad_token_id).sum(1).chunk(2)
            return super().concatenated_forward(model, batch, *others, **more)

        def compute_preference_loss(self, *logps: Any) -> Any:
            return loss.of(logps[:2], logps[2:], self.lengths)

    with patch.object(trainer, "CustomDPOTrainer", Trainer):
        tuner.run_exp({**args, "pref_loss": kind}, callbacks)


def main(words: Sequence[str]) -> None:
    """The command: an objective and its hyper-parameters, "--", and the yaml with what overrides it."""
    at = words.index("--") if "--" in words else len(words)
    objective, theirs = spoken(words[:at]), words[at + 1 :]
    if not theirs or not theirs[0].endswith((".yaml", ".yml")):
        raise ValueError(f"After the objective come -- and LLaMA-Factory's yaml; got {' '.join(theirs) or 'none'}.")
    from llamafactory.hparams import read_args

    with patch.object(sys, "argv", ["llamafactory-cli", *theirs]):
        train(objective, read_args())


if __name__ == "__main__":
    main(sys.argv[1:])
