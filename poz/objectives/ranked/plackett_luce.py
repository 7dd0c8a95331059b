"""Plackett-Luce DPO: the likelihood of a whole ranking, or of its first stages."""

from typing import Annotated

import numpy as np

from poz.backends import Array, Namespace
from poz.domains import NUMBERS, Real
from poz.families import Pairs, Ranked
from poz.objective import Deviation, Limit, Values, objective
from poz.objectives import _lists as ranked


def _constraint(p: Values) -> str | None:
    stages = p["stages"]
    if type(stages) in NUMBERS and stages != int(stages):
        return f"needs a whole number of stages; got {stages}. Take {max(1, round(stages))}, or None for all."
    return None


@objective(
    title="Plackett-Luce DPO",
    paper="arXiv:2305.18290",
    equation="the ranking form, in the appendix; stages as in KPO, arXiv:2506.00441",
    formula=r"\sum_{k\le m}\Bigl(\log\sum_{j\ge k}e^{s_j}-s_k\Bigr),\quad s=\beta\log\tfrac{\pi}{\pi_{ref}}",
    reads="logps ref_logps",
    optional="mask",
    aliases=("pl_dpo", "listmle", "kpo"),
    constraint=_constraint,
    reduces_to=[
        Limit("s_dpo", "one stage", lambda p: {**p, "stages": 1.0}, lambda p: {"beta": p["beta"]}),
        Limit(
            "dpo",
            "K = 2",
            lambda p: {**p, "stages": None},
            lambda p: {"beta": p["beta"]},
            lambda b: (
                Ranked(b.logps[..., :2], b.ref_logps[..., :2]),
                Pairs(b.logps[..., 0], b.logps[..., 1], b.ref_logps[..., 0], b.ref_logps[..., 1]),
            ),
        ),
    ],
    deviations=[
        Deviation("KPO (second hand)", "a number of stages per query", "stages is one number for all lists"),
    ],
    basis="Textbook likelihood; a port of it, and S-DPO for one stage, executed in float64 (zhaoyang02/ordinal-preference-optimization@6489a5d, chenyuxin1999/S-DPO@07befa4): tests/authors/plackett_luce.json. KPO, and so two stages and more, is known from a summary.",
)
def plackett_luce(
    xp: Namespace,
    lists: Ranked,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    stages: Annotated[
        float | None,
        Real(
            "m, how many places from the top are ranked; None for all",
            low=1,
            usual=(1.0, 4.0),
            whole=True,
            optional=True,
        ),
    ] = None,
) -> Array:
    """Negative log-likelihood that one completion after another is picked in the given order."""
    ratio, valid = ranked.log_ratios(xp, lists)
    size = ratio.shape[-1]
    after = xp.constant(np.triu(np.ones((size, size)), 1), ratio) > 0
    left = after & valid[..., :, None] & valid[..., None, :]
    losses = ranked.log_one_plus_sum(xp, beta, ratio[..., None, :], ratio, left)
    if stages is not None:
        losses = xp.where(ranked.places(xp, valid, ratio) <= stages, losses, xp.constant(0.0, ratio))
    return xp.sum(losses, -1)
