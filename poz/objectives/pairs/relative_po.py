"""Relative Preference Optimization: every chosen completion against the rejected ones of all prompts."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.objectives._pairs import one
from poz.purposes import Answer


def _similarity(xp: Namespace, prompts: Array, temperature: Array) -> Array:
    largest = xp.amax(abs(prompts), -1)[..., None]  # 1 after division, so that no square overflows or is lost
    prompts = prompts / xp.where(largest == 0, xp.ones_like(largest), largest)
    unit = prompts / xp.maximum(xp.sum(prompts**2, -1) ** 0.5, 1.0)[..., None]
    logits = unit @ xp.whole(unit).swapaxes(-1, -2) / temperature
    return xp.exp(logits - xp.logsumexp(logits, -1)[..., None])


@objective(
    title="Relative Preference Optimization",
    paper="arXiv:2402.10958",
    equation="the RPO loss with embedding distance, and RPO-Diagonal",
    formula=r"-\sum_j m_{ij}\log\sigma\bigl(\beta\,w_{ij}(a_i-b_j)\bigr),\quad w_{ij}=\operatorname{softmax}_j\tfrac{\cos(x_i,x_j)}{T},\ (a,b)=\log\tfrac{\pi}{\pi_{ref}}\text{ of }(y_w,\ y_l)",
    reads="chosen rejected ref_chosen ref_rejected",
    optional="prompt_embedding",
    published=[
        Published(
            "yinyueqin/relative-preference-optimization@c1b5163 config/loss/rpo-paired.yaml",
            {"beta": (0.1,), "temperature": (0.5,)},
        ),
        Published("the same, rpo-diagonal.yaml", {"beta": (0.1,), "diagonal_weight": (0.8,)}),
    ],
    answers=[
        Answer("prompts", paper="abstract: completions of related prompts are contrasted, weighted by likeness"),
        Answer("unpaired-data", paper="abstract: completions that are not paired are learned from too"),
    ],
    coupled="each chosen completion meets the rejected ones of the whole batch",
    reduces_to=[
        Limit("dpo", "one pair", then=lambda p: {"beta": p["beta"]}, batch=one),
        Limit(
            "dpo",
            "m_ii = 1 and no embeddings",
            lambda p: {**p, "diagonal_weight": 1.0},
            lambda p: {"beta": p["beta"]},
            lambda b: (b._replace(prompt_embedding=None), b),
        ),
    ],
    deviations=[
        Deviation("the authors' RPO-Diagonal", "has no embeddings, and NaN for a single pair", "diagonal_weight=0.8"),
        Deviation("the authors' unpaired RPO", "chosen and rejected belong to different prompts", "not offered"),
    ],
    basis="The authors' code, executed in float64 (yinyueqin/relative-preference-optimization@c1b5163): the weights stand inside σ: "
    "tests/authors/relative_po.json. Embeddings with diagonal_weight are in none of theirs. β log Z of two prompts does not cancel.",
)
def relative_po(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    temperature: Annotated[
        float, Real("T, how little similar prompts differ from others", low=0, open="low", usual=(0.1, 2.0))
    ] = 0.5,
    diagonal_weight: Annotated[
        float | None,
        Real(
            "m_ii, weight of a prompt's own pair; None: 1/B, as all others",
            low=0,
            high=1,
            usual=(0.0, 1.0),
            optional=True,
        ),
    ] = None,
) -> Array:
    """Mean logistic loss over all pairs of a chosen and a rejected completion, sharper where prompts are alike."""
    chosen, count = pairs.chosen - pairs.ref_chosen, pairs.chosen.shape[-1]
    if count == 0:
        return chosen
    h = chosen[..., :, None] - xp.whole(pairs.rejected - pairs.ref_rejected)[..., None, :]
    if pairs.prompt_embedding is not None:
        warmth = terms.numbers(xp, temperature, chosen)[..., None]
        h = terms.times(xp, _similarity(xp, xp.astype(pairs.prompt_embedding, chosen), warmth), h)
    losses = -xp.log_sigmoid(terms.numbers(xp, beta, chosen)[..., None] * h)
    if diagonal_weight is None or count == 1:
        return xp.sum(losses, -1) / count
    own = terms.numbers(xp, diagonal_weight, chosen)[..., None]
    share = xp.where(xp.constant(np.eye(count), chosen) > 0, own, (1 - own) / (count - 1))
    return xp.sum(terms.times(xp, share, losses), -1)
