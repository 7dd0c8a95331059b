"""What is made of rewards: shaped, bounded, constrained, measured, and the pairs picked by them.

    from poz.rewards import transforms
    shaped = transforms.par(rewards, reference_rewards)

A module is imported when it is asked for, and `import poz.rewards` costs NumPy only.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

if not TYPE_CHECKING:  # else checkers would take any name for one that is there
    __all__ = [part.name for part in iter_modules(__path__) if not part.name.startswith("_")]

    def __dir__() -> list[str]:
        return [*__all__, *(name for name in globals() if name.startswith("__"))]

    def __getattr__(name: str) -> Any:
        """The modules of poz.rewards are imported when they are asked for."""
        if name in __all__:
            return import_module(f"poz.rewards.{name}")
        raise AttributeError(f"`poz.rewards` has no attribute {name!r}; it has {', '.join(__all__)}.")
