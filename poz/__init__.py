"""poz: preference-optimization objectives, an exact reference for each, and one fused kernel under all of them.

    pairs = poz.Pairs(chosen, rejected, ref_chosen=..., ref_rejected=...)   # (batch,) summed log-probs, in nats
    losses = poz.dpo(pairs, beta=0.1)                                       # (batch,), same library, device and graph

`poz.zoo` holds every objective by name. `import poz` costs NumPy only.
"""

from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from poz.combination import combine as combine
from poz.counts import Counts as Counts
from poz.families import Denoising as Denoising
from poz.families import Pairs as Pairs
from poz.families import Ranked as Ranked
from poz.families import RewardPairs as RewardPairs
from poz.families import Rollouts as Rollouts
from poz.families import Samples as Samples
from poz.families import TokenPairs as TokenPairs
from poz.families import Unpaired as Unpaired
from poz.objective import Objective as Objective
from poz.objectives import *  # noqa: F403
from poz.zoo import UnknownObjective as UnknownObjective
from poz.zoo import zoo as zoo

__version__ = "0.1.0"
_PARTS = (
    "torch",
    "jax",
    "testing",
    "reference",
    "kernels",
    "integrations",
    "advantages",
    "algorithms",
    "games",
    "preferences",
    "rewards",
    "worlds",
    "domains",
    "families",
    "peers",
    "plotting",
    "purposes",
    "terms",
)
"""What else there is; `poz.torch` and so on are imported when they are asked for."""

if not TYPE_CHECKING:  # else checkers would take any name for one that is there
    _OTHERS = [
        "Counts",
        "Denoising",
        "Objective",
        "Pairs",
        "Ranked",
        "RewardPairs",
        "Rollouts",
        "Samples",
        "TokenPairs",
        "Unpaired",
    ]
    _OTHERS += ["UnknownObjective", "combine", "zoo"]
    __all__ = [*_OTHERS, *zoo]

    def __dir__() -> list[str]:
        return [*__all__, *_PARTS, *(name for name in globals() if name.startswith("__"))]

    def __getattr__(name: str) -> Any:
        """The parts of poz are imported when they are asked for."""
        if not name.startswith("_") and name.isidentifier():
            if find_spec(f"poz.{name}") is not None:
                return import_module(f"poz.{name}")
            if name in zoo:
                raise AttributeError(
                    f"`poz` has no attribute {name!r}, which names `poz.{zoo[name].name}` in poz.zoo alone."
                )
            near = get_close_matches(name, [*_PARTS, *_OTHERS], n=1)
            hint = f"Did you mean {near[0]!r}?" if near else zoo.hint(name)
            raise AttributeError(f"`poz` has no attribute {name!r}. {hint}")
        raise AttributeError(f"`poz` has no attribute {name!r}.")
