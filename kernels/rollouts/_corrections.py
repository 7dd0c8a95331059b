"""What corrects a token for its sampler: the log of its weight, from o - b; see `poz.objectives.rollouts._steps.log_weights`."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def truncated(apart, low, high):
    """Held within its bounds."""
    return tl.where(apart > high, high, tl.where(apart < low, low, apart))


@triton.jit
def masked(apart, low, high):
    """Nothing is left of what is out of bounds."""
    return tl.where((apart < low) | (apart > high), float("-inf"), apart)


CORRECTIONS = {"token_truncate": truncated, "token_mask": masked}
"""By the value of `correction`, of those that judge each token alone."""
