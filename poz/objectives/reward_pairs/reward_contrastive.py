"""The contrastive term of Secrets of RLHF II: what a reward model embeds is to be told apart, under any dropout."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import RewardPairs
from poz.objective import Deviation, Published, Values, objective


def _check_values(xp: Namespace, pairs: RewardPairs, values: Values) -> None:
    if pairs.chosen_embedding.shape[-1] == 0:
        raise ValueError("`reward_contrastive` needs embeddings of at least one number; got width 0.")


def _directions(xp: Namespace, chosen: Array, rejected: Array, items: str) -> Array:
    """The items of one pass, of length 1; a zero vector stays one, and has no slope."""
    if items == "differences":
        chosen, rejected = chosen - rejected, rejected - chosen
    vectors = xp.concatenate([chosen, rejected], 0)
    largest = xp.amax(abs(xp.stop_gradient(vectors)), -1)[
        ..., None
    ]  # no length has an overflow; the direction is the same
    zero, one = largest == 0, xp.ones_like(largest)
    vectors = vectors / xp.where(zero, one, largest)
    squares = xp.sum(vectors**2, -1)[..., None]
    return vectors / xp.where(zero, one, squares) ** 0.5 * xp.where(zero, 0 * one, one)


@objective(
    title="Contrastive term of a reward model (Secrets of RLHF II)",
    paper="arXiv:2401.06080",
    equation="the SimCSE loss ℓ of L_rm + β L_cl",
    formula=r"\tfrac12(\ell_i+\ell_{B+i}),\quad\ell_i=-\log\frac{e^{\cos(x_i,y_i)/\tau}}{\sum_{j\le2B}e^{\cos(x_i,y_j)/\tau}},\ x=\text{items of a pass},\ y=\text{of another}",
    reads="chosen_embedding rejected_embedding chosen_view rejected_view",
    check_values=_check_values,
    coupled="each item is told apart from those of the whole batch",
    published=[Published("princeton-nlp/SimCSE@49fa580 run_unsup_example.sh", {"temperature": (0.05,)})],
    deviations=[
        Deviation(
            "princeton-nlp/SimCSE@49fa580",
            "bounds the length of an embedding by 1e-8 from below, so that a zero vector has a slope of up to 1e8 over τ",
            "none",
        ),
    ],
    basis="The paper's loss is that of SimCSE, whose code was executed in float64 (princeton-nlp/SimCSE@49fa580): "
    "tests/authors/reward_contrastive.json. The paper's own code has no such term (OpenLMLab/MOSS-RLHF@4865d82) and its τ and β "
    "were in no text that was read: the default is SimCSE's.",
)
def reward_contrastive(
    xp: Namespace,
    pairs: RewardPairs,
    *,
    temperature: Annotated[
        float, Real("τ, below which cosines differ by much", low=0, open="low", usual=(0.05, 1.0))
    ] = 0.05,
    items: Annotated[
        str,
        Choice("embeddings of both completions, or their differences of both signs", ("embeddings", "differences")),
    ] = "embeddings",
) -> Array:
    """How hard it is to find an item of one pass among those of another, averaged over the two items of each pair.

    It knows no label: add it to one that does, `poz.combine([("bradley_terry", 1.0), ("reward_contrastive", 0.1)])`.
    """
    count = pairs.chosen_embedding.shape[0]
    if count == 0:
        return xp.sum(pairs.chosen_embedding, -1)
    one = _directions(xp, pairs.chosen_embedding, pairs.rejected_embedding, items)
    other = _directions(xp, pairs.chosen_view, pairs.rejected_view, items)
    logits = one @ xp.whole(other).swapaxes(-1, -2) / temperature
    own = xp.constant(np.eye(2 * count), logits) > 0
    ahead = xp.sum(terms.masked(xp, logits, own), -1)[..., None]
    rest = xp.where(own, xp.constant(-np.inf, logits), logits - ahead)
    losses = xp.softplus(xp.logsumexp(rest, -1))  # log(1 + Σ e^(s_ij - s_ii)): a small loss keeps its digits
    return (losses[:count] + losses[count:]) / 2
