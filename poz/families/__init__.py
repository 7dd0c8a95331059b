"""What an objective is given: log-probabilities in nats, and what is known about the completions.

Each family is a NamedTuple in a file of its own, so JAX and torch treat it as a pytree without registration. Only the
fields that an objective reads (`Objective.reads`) must be filled; the others stay None. `from_tokens` builds any of them
(but `Denoising` and `RewardPairs`, which have no tokens) from per-token log-probabilities and a mask, so a trainer computes
those once.
`family` makes one of a NamedTuple of your own.
"""

from poz.families._family import SHAPES as SHAPES
from poz.families._family import Family as Family
from poz.families._family import Layout as Layout
from poz.families._family import family as family
from poz.families._family import is_family as is_family
from poz.families._family import layout_of as layout_of
from poz.families._family import named as named
from poz.families.denoising import Denoising as Denoising
from poz.families.pairs import Pairs as Pairs
from poz.families.ranked import Ranked as Ranked
from poz.families.reward_pairs import RewardPairs as RewardPairs
from poz.families.rollouts import Rollouts as Rollouts
from poz.families.samples import Samples as Samples
from poz.families.token_pairs import TokenPairs as TokenPairs
from poz.families.unpaired import Unpaired as Unpaired
