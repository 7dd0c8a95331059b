"""Tapered Off-Policy REINFORCE: what did badly counts less as it becomes less likely, what did well counts whole."""

from typing import Annotated

from poz import terms
from poz.backends import Array
from poz.domains import Choice
from poz.objective import Deviation, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._clipped import least
from poz.purposes import Answer


@objective(
    title="Tapered Off-Policy REINFORCE",
    paper="arXiv:2503.14286",
    equation="eq. 8 as ROLL quotes it",
    formula=r"-\operatorname{sg}[w]A\log\pi,\quad w=1\text{ where }A>0,\ \min\bigl(\prod_t\tfrac{\pi}{\pi_{old}},1\bigr)\text{ elsewhere},\ A=\text{advantage}",
    answers=[
        Answer(
            "off-policy",
            paper="abstract: importance sampling is tapered for bad completions alone, so that learning is stable even offline",
        ),
    ],
    deviations=[
        Deviation(
            "alibaba/ROLL@8eb27cc, yanxi-chen/Trinity-RFT@5b77c08", "taper each token by its own ratio", "level='token'"
        ),
        Deviation("alibaba/ROLL@8eb27cc", "goes by the sign of the reward", "by that of the advantage"),
    ],
    basis="Trainers' code, executed in float64 (alibaba/ROLL@8eb27cc, yanxi-chen/Trinity-RFT@5b77c08): tests/authors/topr.json. Both have level='token'. Of the paper the abstract alone was read.",
    **steps.DECLARED,
)
@steps.member(aggregation="sequence_sum")
def topr(
    at: steps.Steps,
    *,
    level: Annotated[str, Choice("whose ratio it is", ("sequence", "token"))] = "sequence",
) -> Array:
    """REINFORCE, with a ratio of at most 1 where the advantage is not above 0."""
    xp = at.xp
    d = at.log_ratio if level == "token" else xp.sum(at.log_ratio, -1)[..., None]
    tapered = xp.exp(least(xp, d, xp.constant(0.0, d)))
    weight = xp.where(at.advantages > 0, xp.ones_like(at.logps), tapered * xp.ones_like(at.logps))
    return at.surrogate(terms.times(xp, xp.stop_gradient(weight), at.logps))
