"""Any objective on pairs in Axolotl, by a field of its yaml beside `rl: dpo`; an installed poz is among its plugins by itself.

```yaml
plugins: [poz.integrations.axolotl.Plugin]
poz: simpo beta=2 gamma=1
```
"""

from __future__ import annotations

from typing import Any

from axolotl.integrations.base import BasePlugin
from pydantic import BaseModel

from poz.integrations._pairs import spoken

PLUGIN, TRAINER = f"{__name__}.Plugin", f"{__name__}.trainer.DPOTrainer"
SETTINGS = (
    "rl_beta dpo_loss_type dpo_loss_weights dpo_label_smoothing dpo_ld_alpha dpo_use_weighting simpo_gamma cpo_alpha "
)
SETTINGS += "orpo_alpha kto_desirable_weight kto_undesirable_weight trainer_cls"


class PozArgs(BaseModel):
    """The field of the yaml: an objective and its hyper-parameters."""

    poz: str | None = None


class Plugin(BasePlugin):  # type: ignore[misc]
    """Puts poz's DPOTrainer in the place of Axolotl's where the yaml has `poz`."""

    def get_input_args(self) -> str:
        """Where the field of the yaml is declared."""
        return f"{__name__}.PozArgs"

    def register(self, cfg: Any) -> None:
        """Refuses a yaml without an objective, for another trainer, or with a setting of another loss, by a ValueError."""
        said, told = cfg.get("poz"), {"trl.beta": (cfg.get("trl") or {}).get("beta")}
        if said is None and PLUGIN not in [name.replace(":", ".") for name in cfg.get("plugins") or []]:
            return  # loaded since it is installed, and not asked for
        if not isinstance(said, str):
            raise ValueError(f"The yaml needs an objective in words, as in poz: simpo beta=2 gamma=1; got {said!r}.")
        if cfg.get("rl") != "dpo":
            raise ValueError(f"poz goes into rl: dpo of Axolotl; got {cfg.get('rl')}.")
        objective, told = spoken(said.split()), {**told, **{name: cfg.get(name) for name in SETTINGS.split()}}
        for name in [name for name in told if told[name] is not None]:
            raise ValueError(
                f"Axolotl is told {name}={told[name]!r}, and trains {objective!r}. Leave that setting out."
            )

    def get_trainer_cls(self, cfg: Any) -> None:
        """Names the trainer in cfg, for a class that is returned would be made without its model (0.21)."""
        if cfg.poz:
            cfg.trainer_cls = TRAINER

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        """Refuses the trainer of another plugin, as Axolotl takes the first class that one returns."""
        if cfg.poz and f"{type(trainer).__module__}.{type(trainer).__name__}" != TRAINER:
            raise ValueError(f"Another plugin has put {type(trainer).__name__} in the place of poz's. Leave one out.")
