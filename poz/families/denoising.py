"""Pairs of images or clips, one denoising error each."""

from __future__ import annotations

from typing import NamedTuple

from poz.backends import Array
from poz.families._family import family


@family(
    {
        **dict.fromkeys(("chosen", "rejected", "ref_chosen", "ref_rejected"), ("b", "logp")),
        "timestep": ("b", "number"),
    },
    sides=("chosen", "rejected"),
    errors=True,
)
class Denoising(NamedTuple):
    """Denoising errors of chosen against rejected images or clips, at one timestep and one noise for both.

    Attributes:
        chosen: (batch,) mean squared error of the predicted noise of the chosen one under the policy.
        rejected: (batch,) the same of the rejected one.
        ref_chosen: (batch,) the same of the chosen one under the reference policy.
        ref_rejected: (batch,) the same of the rejected one.
        timestep: (batch,) the timestep of the pair.
    """

    chosen: Array
    rejected: Array
    ref_chosen: Array = None
    ref_rejected: Array = None
    timestep: Array = None
