"""Every objective once more, in float64 NumPy, written from its paper with its gradient derived by hand.

A reference takes arrays by field name and returns ``(losses, grads)``: the losses of the examples, shape (B,), and for
every log-prob field it was given the derivative of the summed losses. It is slow, plain and alone: nothing here is
shared with the code it checks.
"""

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not TYPE_CHECKING:  # else checkers would take any name for one that is there
    _FAMILY_OF = {path.stem: path.parent.name for path in Path(__file__).parent.glob("*/[!_]*.py")}
    __all__ = sorted(_FAMILY_OF)

    def __dir__() -> list[str]:
        return [*__all__, *(name for name in globals() if name.startswith("__"))]

    def __getattr__(name: str) -> Any:
        """A reference is imported when it is asked for."""
        if name not in _FAMILY_OF:
            near = f" Did you mean {close[0]!r}?" if (close := get_close_matches(name, __all__, n=1)) else ""
            raise AttributeError(f"`poz.reference` has no attribute {name!r}.{near}")
        found = globals()[name] = getattr(import_module(f"poz.reference.{_FAMILY_OF[name]}.{name}"), name)
        return found
