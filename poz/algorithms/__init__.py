"""What carries state or spans iterations: annotator reliabilities, and the iterations of preference games.

A module is imported when it is asked for.
"""

from typing import TYPE_CHECKING

from poz import _lazy

if not TYPE_CHECKING:  # else checkers would take any name for one that is there
    __all__, __dir__, __getattr__ = _lazy.modules(__name__, __path__)
