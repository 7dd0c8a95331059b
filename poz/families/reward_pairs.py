"""Pairs of completions that a reward model is trained on: their scores, or what it embeds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from poz.backends import Array, namespace
from poz.families._family import family, layout_of
from poz.families._tokens import swapped

ANTISYMMETRIC = ("margin", "strength")


@family(
    {
        **dict.fromkeys(("chosen", "rejected"), ("b", "logp")),
        **dict.fromkeys(("label", "margin"), ("b", "number")),
        "tie": ("b", "mask"),
        "strength": ("b", "number"),
        **dict.fromkeys(("chosen_embedding", "rejected_embedding"), ("bd", "feature")),
        **dict.fromkeys(("chosen_view", "rejected_view"), ("bd", "feature")),
        "scales": ("bh", "feature"),
        **dict.fromkeys(("latent_mean", "latent_log_variance"), ("bz", "feature")),
        **dict.fromkeys(("chosen_factors", "rejected_factors"), ("bf", "number")),
        "auxiliary": ("b", "feature"),
    },
    sides=("chosen", "rejected"),
    scores=True,
)
class RewardPairs(NamedTuple):
    """Chosen against rejected as a reward model sees them.

    Several heads, (batch, heads), are pairs of their own: `from_heads` makes them, and losses.reshape(batch, heads).mean(-1) is
    the loss of each pair.

    Attributes:
        chosen: (batch,) score of the chosen completion, of any sign, in nats of preference.
        rejected: (batch,) the same of the rejected completion.
        label: (batch,) probability that chosen is the better one; 1 where it is not given.
        margin: (batch,) by how much the score of chosen is to be the higher one; 0 where it is not given.
        tie: (batch,) true where annotators found no difference.
        strength: (batch,) score of chosen minus that of rejected, averaged over an ensemble of reward models.
        chosen_embedding: (batch, width) what the model makes of the chosen completion in place of a score.
        rejected_embedding: (batch, width) the same of the rejected completion.
        chosen_view: (batch, width) the embedding of chosen of another pass, under another dropout.
        rejected_view: (batch, width) the same of the rejected completion.
        scales: (batch, width / 2) scale of each block of two of an embedding, which the prompt decides.
        latent_mean: (batch, latent) posterior mean of what is particular to the annotator.
        latent_log_variance: (batch, latent) log of its variance.
        chosen_factors: (batch, factors) known qualities of the chosen completion, the most important first.
        rejected_factors: (batch, factors) the same of the rejected completion.
        auxiliary: (batch,) another loss of the same pair, in nats, which is trained along.
    """

    chosen: Array = None
    rejected: Array = None
    label: Array = None
    margin: Array = None
    tie: Array = None
    strength: Array = None
    chosen_embedding: Array = None
    rejected_embedding: Array = None
    chosen_view: Array = None
    rejected_view: Array = None
    scales: Array = None
    latent_mean: Array = None
    latent_log_variance: Array = None
    chosen_factors: Array = None
    rejected_factors: Array = None
    auxiliary: Array = None

    def swap(self) -> RewardPairs:
        """The same pairs with the opposite label: margin and strength of the other sign."""
        return self._replace(**swapped(self, ANTISYMMETRIC))

    @classmethod
    def from_heads(cls, chosen: Array, rejected: Array, **fields: Array) -> RewardPairs:
        """Each head of a reward model as a pair of its own, head after head of the first pair, then of the next.

        Args:
            chosen: (batch, heads) scores of the chosen completions.
            rejected: (batch, heads) the same of the rejected completions.
            **fields: `label`, `margin`, `tie`, `strength`, `auxiliary`: (batch, heads), or (batch,) of all heads.

        Returns:
            (batch * heads,) scores and fields.

        Raises:
            TypeError: What is no array, or a field that is not one number for each pair.
            ValueError: Other shapes.
        """
        for x in (chosen, rejected, *fields.values()):
            namespace(x)  # no array has a sentence of its own
        shape = tuple(chosen.shape)
        if len(shape) != 2:
            raise ValueError(f"from_heads needs scores of shape (batch, heads) for chosen; got {shape}.")
        given = {"chosen": chosen, "rejected": rejected, **fields}
        if wrong := [name for name in given if layout_of(cls).shapes.get(name, ("",))[0] != "b"]:
            raise TypeError(
                f"from_heads takes numbers of pairs; got {', '.join(wrong)}, which is none. Give it afterwards."
            )
        pairs = np.repeat(np.arange(shape[0]), shape[1])
        for name, x in given.items():
            if tuple(x.shape) not in (shape, shape[: 1 if name in fields else 2]):
                raise ValueError(f"from_heads needs {shape} for {name}, as chosen; got {tuple(x.shape)}.")
            given[name] = x.reshape(-1) if len(x.shape) == 2 else x[pairs]
        return cls(**given)
