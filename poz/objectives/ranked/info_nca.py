"""InfoNCA: which of K completions is the rewarded one."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs, Ranked
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


def log_softmax(xp: Namespace, logits: Array, valid: Array) -> Array:
    """Over the valid entries of each list; 0 elsewhere."""
    zero = xp.constant(0.0, logits)
    anyone = xp.sum(xp.astype(valid, logits), -1)[..., None] > 0
    kept = xp.where(anyone, xp.where(valid, logits, xp.constant(-np.inf, logits)), zero)
    kept = kept - xp.stop_gradient(xp.amax(kept, -1))[..., None]  # so that no large logit rounds the total
    return xp.where(valid, xp.where(valid, kept, zero) - xp.logsumexp(kept, -1)[..., None], zero)


def targets(xp: Namespace, lists: Ranked, alpha: Array, valid: Array) -> Array:
    """q, the softmax of scores / α over the valid entries; 0 elsewhere."""
    scores = terms.masked(xp, xp.astype(lists.scores, lists.logps), lists.mask)
    zero = xp.constant(0.0, scores)
    return xp.where(valid, xp.exp(log_softmax(xp, scores / alpha, valid)), zero)


@objective(
    title="InfoNCA",
    paper="arXiv:2402.05369",
    equation="the InfoNCA loss; table 1 of v3 by a secondary source",
    formula=r"-\sum_i q_i\log\operatorname{softmax}(s)_i,\quad s=\beta\log\tfrac{\pi}{\pi_{ref}},\ q=\operatorname{softmax}(r/\alpha)",
    reads="logps ref_logps scores",
    optional="mask",
    published=[
        Published(
            "thu-ml/Noise-Contrastive-Alignment@cbb9248 yamls/reward_qlora.yaml", {"beta": (0.01,), "alpha": (1e-4,)}
        )
    ],
    answers=[
        Answer(
            "preference-strength",
            paper="abstract: rewards are given as scalars, for which preferences are a special case",
        ),
    ],
    reduces_to=[
        Limit(
            "dpo",
            "K = 2, scores so far apart that q is one-hot",
            when=lambda p: {**p, "alpha": 1e-3},
            then=lambda p: {"beta": p["beta"]},
            batch=lambda lists: (
                Ranked(
                    lists.logps[..., :2],
                    lists.ref_logps[..., :2],
                    scores=np.broadcast_to([1.0, 0.0], (len(lists.logps), 2)),
                ),
                Pairs(*(x[..., k] for x in lists[:2] for k in (0, 1))),
            ),
        ),
    ],
    deviations=[
        Deviation("the authors' code", "adds 0.01 to the first score, against ties", "scores with the 0.01 in"),
        Deviation("the authors' code", "says that its α is 1/α of the paper, and divides by it", "divides by alpha"),
    ],
    basis="The authors' code, executed in float64 (thu-ml/Noise-Contrastive-Alignment@cbb9248): tests/authors/info_nca.json. Masked lists "
    "are not in it, and the default α is not theirs. Of the paper the abstract alone was read.",
)
def info_nca(
    xp: Namespace,
    lists: Ranked,
    *,
    beta: Annotated[float, Real("β, scale of the policy's log-ratios", low=0, open="low", unit="1/nat")] = 0.01,
    alpha: Annotated[float, Real("α, temperature of the scores", low=0, open="low")] = 0.01,
) -> Array:
    """Cross-entropy of the softmax of the log-ratios against that of the scores; 0 for a list of one."""
    valid = xp.ones_like(lists.logps) > 0 if lists.mask is None else lists.mask
    mine = log_softmax(xp, beta * terms.masked(xp, lists.logps - lists.ref_logps, lists.mask), valid)
    return -xp.sum(terms.times(xp, targets(xp, lists, alpha, valid), mine), -1)
