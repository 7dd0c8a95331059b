"""How often scores agree with annotators, which is the `accuracy` of training in every library."""

from __future__ import annotations

from poz.backends import Array


def agreement(margin: Array, label: Array = None, tie: Array = None) -> tuple[Array, Array]:
    """Where the score of the better one is the higher one, and where one is known to be better.

    Args:
        margin: (batch, ...) chosen minus rejected.
        label: What goes with it: the probability that chosen is the better one, of which 1/2 says nothing; 1 if None.
        tie: True where neither is better.
    """
    right = margin > 0
    known = right | ~right
    if label is not None:
        right = (right & (label > 0.5)) | ((margin < 0) & (label < 0.5))
        known = known & ((label > 0.5) | (label < 0.5))
    return right, known if tie is None else known & ~tie
