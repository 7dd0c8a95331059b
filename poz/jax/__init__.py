"""poz for JAX: fused log-probs of a linear head, and a training step for any objective. Importing this imports JAX."""
# ruff: noqa: E402 - what is missing is said before anything fails

from typing import TYPE_CHECKING

from poz import _lazy
from poz._extras import require

require("poz.jax", "jax", "jax", "flax", "optax")

from poz.jax.head.linear_logps import LinearLogps as LinearLogps
from poz.jax.head.linear_logps import linear_logps as linear_logps
from poz.jax.head.linear_logps import linear_logps_plan as linear_logps_plan
from poz.jax.train import train_step as train_step

if not TYPE_CHECKING:  # else checkers would take any name for one that is there
    __getattr__ = _lazy.modules(__name__, __path__)[2]
