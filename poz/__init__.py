"""poz: preference-optimization objectives, an exact reference for each, and one fused kernel under all of them.

    pairs = poz.Pairs(chosen, rejected, ref_chosen=..., ref_rejected=...)   # (batch,) summed log-probs, in nats
    losses = poz.dpo(pairs, beta=0.1)                                       # (batch,), same library, device and graph

`poz.zoo` holds every objective by name. `import poz` costs NumPy only.
"""

from typing import TYPE_CHECKING

from poz.combination import combine as combine
from poz.families import Denoising as Denoising
from poz.families import Pairs as Pairs
from poz.families import Ranked as Ranked
from poz.families import Samples as Samples
from poz.families import TokenPairs as TokenPairs
from poz.families import Unpaired as Unpaired
from poz.objective import Objective as Objective
from poz.objectives import *  # noqa: F403
from poz.zoo import UnknownObjective as UnknownObjective
from poz.zoo import zoo as zoo

__version__ = "0.1.0"

if not TYPE_CHECKING:  # else checkers would take any name for one that is there

    def __getattr__(name: str) -> None:
        raise AttributeError(f"`poz` has no attribute {name!r}. {zoo.hint(name)}")
