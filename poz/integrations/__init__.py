"""One thin module or package per trainer library; each asks for its own."""

from typing import TYPE_CHECKING

from poz import _lazy

if not TYPE_CHECKING:  # else checkers would take any name for one that is there
    __getattr__ = _lazy.modules(__name__, __path__)[2]
