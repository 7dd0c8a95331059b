"""RankList: RankNet on neighbours of a ranking, and on completions some places apart."""

from typing import Annotated

from poz.backends import Array, Namespace
from poz.domains import NUMBERS, Choice, Real
from poz.families import Pairs, Ranked
from poz.objective import Limit, Values, objective
from poz.objectives import _lists as ranked


def _constraint(p: Values) -> str | None:
    skips, decay = p["skips"], p["decay"]
    if type(skips) in NUMBERS and skips != int(skips):
        return f"needs a whole number of skips; got {skips}. Take {max(1, round(skips))}."
    if p["aggregate"] == "lse" and type(decay) in NUMBERS and decay != 1:
        return f"has no decay for aggregate='lse'; got {decay}. Leave it 1, or use aggregate='sum'."
    return None


@objective(
    title="RankList",
    paper="arXiv:2508.09826",
    equation="reconstructed from the abstract",
    formula=r"\sum_{k\le m}\gamma^{k-1}\sum_i\log\bigl(1+e^{s_{i+k}-s_i}\bigr)\ \text{or}\ \sum_i\log\Bigl(1+\sum_{k\le m}e^{s_{i+k}-s_i}\Bigr),\quad s=\beta\log\tfrac{\pi}{\pi_{ref}}",
    reads="logps ref_logps",
    optional="mask",
    constraint=_constraint,
    reduces_to=[
        Limit(
            "dpo",
            "K = 2",
            then=lambda p: {"beta": p["beta"]},
            batch=lambda b: (
                Ranked(b.logps[..., :2], b.ref_logps[..., :2]),
                Pairs(b.logps[..., 0], b.logps[..., 1], b.ref_logps[..., 0], b.ref_logps[..., 1]),
            ),
        )
    ],
    basis="Unverified: a reconstruction from the abstract (local and skip-wise RankNet terms, log-sum-exp variant). Nothing could be run: no code was found.",
)
def ranklist(
    xp: Namespace,
    lists: Ranked,
    *,
    beta: Annotated[float, Real("β, scale of the log-ratios", low=0, open="low", unit="1/nat")] = 0.1,
    skips: Annotated[
        float, Real("m, how many places apart two completions may be", low=1, usual=(1.0, 4.0), whole=True)
    ] = 1.0,
    decay: Annotated[
        float, Real("γ, a comparison k places apart weighs γ^(k-1)", low=0, high=1, open="low", usual=(0.1, 1.0))
    ] = 1.0,
    aggregate: Annotated[
        str, Choice("sum the logistic losses of one completion, or take one log of 1 + Σ exp", ("sum", "lse"))
    ] = "sum",
) -> Array:
    """Logistic losses of each completion against the next ones; padding does not count as a place."""
    ratio, valid = ranked.log_ratios(xp, lists)
    zero, place = xp.constant(0.0, ratio), ranked.places(xp, valid, ratio)
    apart = place[..., None, :] - place[..., :, None]
    near = (apart >= 1) & (apart <= skips) & valid[..., :, None] & valid[..., None, :]
    if aggregate == "lse":
        return xp.sum(ranked.log_one_plus_sum(xp, beta, ratio[..., None, :], ratio, near), -1)
    weight = decay ** xp.where(near, apart - 1, zero)
    return xp.sum(
        xp.sum(xp.where(near, weight * xp.softplus(xp.where(near, ranked.lead(beta, ratio), zero)), zero), -1), -1
    )
