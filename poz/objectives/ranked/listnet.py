"""ListNet on log-ratios: cross-entropy against a softmax of known rewards."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Ranked
from poz.objective import Limit, objective
from poz.objectives import _lists as ranked
from poz.purposes import Answer


@objective(
    title="ListNet DPO (LiPO with softmax)",
    paper="arXiv:2402.01878",
    equation="eq. 11 (v3) with another target: q = softmax(ψ/τ) is ListNet's (Cao et al. 2007), the paper has q = ψ/Σψ",
    formula=r"-\sum_i q_i\log\operatorname{softmax}(s)_i,\quad q=\operatorname{softmax}(\psi/\tau),\ s=\beta\log\tfrac{\pi}{\pi_{ref}}",
    reads="logps ref_logps scores",
    optional="mask",
    aliases=("lipo_softmax",),
    answers=[
        Answer(
            "preference-strength",
            test="objectives/test_list_laws.py::test_listnet_is_least_where_the_policy_has_the_rewards",
        ),
    ],
    reduces_to=[Limit("info_nca", "the same loss", lambda p: p, lambda p: {"beta": p["beta"], "alpha": p["tau"]})],
    basis="Textbook ListNet with log-ratios as scores; the same loss by others, executed in float64 (EXO's baseline, haozheji/"
    "exact-optimization@a8ab360, and InfoNCA): tests/authors/listnet.json. The paper's target is reproduced by scores = log ψ and "
    "τ = 1; its authors released nothing that was found.",
)
def listnet(
    xp: Namespace,
    lists: Ranked,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    tau: Annotated[float, Real("τ, temperature of the known rewards", low=0, open="low", usual=(0.1, 2.0))] = 1.0,
) -> Array:
    """Expected -log of being picked first, over picks that follow the known rewards."""
    ratio, valid = ranked.log_ratios(xp, lists)
    others = xp.constant(1 - np.eye(ratio.shape[-1]), ratio) > 0
    picked = others & valid[..., :, None] & valid[..., None, :]
    losses = ranked.log_one_plus_sum(xp, beta, ratio[..., None, :], ratio, picked)
    known = terms.masked(xp, xp.astype(lists.scores, ratio), lists.mask) / tau
    top = xp.amax(xp.where(valid, known, xp.constant(-np.inf, ratio)), -1)[..., None]
    zero = xp.constant(0.0, ratio)
    weights = xp.where(valid, xp.exp(known - xp.where(top == -np.inf, zero, top)), zero)
    share = weights / xp.maximum(xp.sum(weights, -1)[..., None], 1.0)  # the largest weight is 1
    return xp.sum(terms.times(xp, share, losses), -1)
