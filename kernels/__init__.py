"""Triton kernels: one skeleton per family, one point function per objective, and a torch twin of each skeleton.

A point is in the folder of the family that its objective reads; those that several use are in `_points.py` there.

`poz.kernels.loss.token_loss` and `list_loss` take packed per-token log-probs, `fused_losses` beside them a batch
of a family. An objective without a point function is run by its own function, on sums over tokens that Triton makes;
only denoising errors are of no tokens. Importing this package imports neither torch nor Triton.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from poz._extras import require
from poz.kernels import plan

if not TYPE_CHECKING:  # else checkers would take any name for one that is there

    def __getattr__(name: str) -> Any:
        """The modules are imported when they are asked for."""
        here = f"{plan.FILES[name]}." if name in plan.FILES else ""
        if name.startswith("_") or find_spec(f"poz.kernels.{here}{name}") is None:
            raise AttributeError(f"`poz.kernels` has no attribute {name!r}.")
        require(f"poz.kernels.{name}", "triton", "triton")
        return import_module(f"poz.kernels.{here}{name}")
