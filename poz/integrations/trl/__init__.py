"""TRL's own trainers with any objective of poz, and poz's token log-probs under all of TRL's trainers.

    from poz.integrations.trl import DPOTrainer

    DPOTrainer(model=..., objective="simpo", args=DPOConfig(...), train_dataset=...).train()

Where no objective is given, the options of DPOConfig say which one it is, and `objective_of` shows it. `RankedTrainer` is the
same for lists of K completions, `RewardTrainer` for reward models, `GRPOTrainer` for completions that the policy writes
itself, and `poz.integrations.trl_kto.KTOTrainer` for single completions with a label.
"""
# ruff: noqa: E402 - what is missing is said before anything fails

from poz._extras import require

require("poz.integrations.trl", "trl", "torch", "trl", "transformers", "peft")

from poz.integrations.trl.dpo import DPOTrainer as DPOTrainer
from poz.integrations.trl.grpo import GRPOTrainer as GRPOTrainer
from poz.integrations.trl.head import install as install
from poz.integrations.trl.head import installed as installed
from poz.integrations.trl.head import uninstall as uninstall
from poz.integrations.trl.kto import KTOTrainer as KTOTrainer
from poz.integrations.trl.learnt import RELIABILITY as RELIABILITY
from poz.integrations.trl.learnt import STATE as STATE
from poz.integrations.trl.options import objective_of as objective_of
from poz.integrations.trl.ranked import RankedTrainer as RankedTrainer
from poz.integrations.trl.reward import RewardTrainer as RewardTrainer
from poz.integrations.trl.shared import folder as folder
