"""Softmax DPO: one chosen completion against several rejected ones."""

from typing import Annotated

from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs, Ranked
from poz.objective import Deviation, Limit, Published, objective
from poz.objectives import _lists as ranked


@objective(
    title="Softmax Direct Preference Optimization",
    paper="arXiv:2406.09215",
    equation="the S-DPO loss",
    formula=r"\log\Bigl(1+\sum_{j>1}e^{s_j-s_1}\Bigr),\quad s=\beta\log\tfrac{\pi}{\pi_{ref}}",
    reads="logps ref_logps",
    optional="mask",
    aliases=("softmax_dpo",),
    published=[Published("chenyuxin1999/S-DPO@07befa4 softmax_dpo.sh", {"beta": (1.0,)})],
    reduces_to=[
        Limit(
            "dpo",
            "one rejected completion",
            then=lambda p: p,
            batch=lambda b: (
                Ranked(b.logps[..., :2], b.ref_logps[..., :2]),
                Pairs(b.logps[..., 0], b.logps[..., 1], b.ref_logps[..., 0], b.ref_logps[..., 1]),
            ),
        )
    ],
    deviations=[
        Deviation(
            "the authors' code",
            "takes exponentials bare: in float32 at a gap of β s infinite from 89 on, and a NaN gradient there and at -110",
            "finite",
        )
    ],
    basis="The authors' code, executed in float64 (chenyuxin1999/S-DPO@07befa4): tests/authors/s_dpo.json. The paper's body was not read.",
)
def s_dpo(
    xp: Namespace,
    lists: Ranked,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
) -> Array:
    """Softmax cross-entropy of picking the first completion of the list; the order of the others does not matter."""
    ratio, valid = ranked.log_ratios(xp, lists)
    first = valid & (ranked.places(xp, valid, ratio) == 1)
    zero = xp.constant(0.0, ratio)
    best = xp.sum(xp.where(first, ratio, zero), -1)
    return ranked.log_one_plus_sum(xp, beta, ratio, best, valid & ~first)
