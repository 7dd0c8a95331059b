"""What is made of rewards: shaped, bounded, constrained, measured, and the pairs picked by them.

    from poz.rewards import transforms
    shaped = transforms.par(rewards, reference_rewards)

A module is imported when it is asked for, and `import poz.rewards` costs NumPy only.
"""

from typing import TYPE_CHECKING

from poz import _lazy

if not TYPE_CHECKING:  # else checkers would take any name for one that is there
    __all__, __dir__, __getattr__ = _lazy.modules(__name__, __path__)
