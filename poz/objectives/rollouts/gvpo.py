"""GVPO: within a group, the log-ratios are fitted to the rewards, both as deviations from their means."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import Deviation, Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.purposes import Answer


@objective(
    title="Group Variance Policy Optimization",
    paper="arXiv:2504.19599",
    equation="as the authors have it",
    formula=r"\tfrac k{k-1}\tfrac12\bigl(s-\operatorname{sg}[\bar s]-A\bigr)^2,\quad s=\beta\sum_t\log\tfrac{\pi}{\pi_{old}},\ \bar s\text{ the mean over the }k\text{ completions of the prompt},\ A=\text{advantage, `poz.advantages.group\_mean`}",
    published=[Published("jszkc/GVPO@627aa25", {"beta": (0.1,)})],
    answers=[
        Answer("off-policy", paper="abstract: any distribution may have sampled, without importance weights"),
    ],
    deviations=[
        Deviation(
            "jszkc/GVPO@627aa25", "adds up over the completions where the mean is taken here, and over k", "length"
        ),
    ],
    basis="The authors' code, executed in float64 (jszkc/GVPO@627aa25): tests/authors/gvpo.json. Of the paper the abstract alone was read.",
    **steps.DECLARED
    | {
        "reads": lambda p: f"{steps.needs(p)} groups",
        "coupled": "a completion is compared with the others of its prompt",
        "gradient_stops": f"{steps.DECLARED['gradient_stops']}; the mean of a group",
    },
)
@steps.member(aggregation="sequence_mean")
def gvpo(
    at: steps.Steps,
    *,
    beta: Annotated[float, Real("β, weight of the log-ratio", low=0, open="low", usual=(0.01, 1.0))] = 0.1,
) -> Array:
    """The squared error of the whole completion, at each of its tokens; 0 of one that is alone."""
    xp, s = at.xp, beta * at.xp.sum(at.log_ratio, -1)[..., None]
    alike = at.groups[:, None] == xp.whole(at.groups)[None, :]
    others = xp.where(alike, xp.whole(xp.stop_gradient(s)[:, 0])[None, :], xp.constant(0.0, s))
    k = xp.sum(xp.where(alike, xp.ones_like(others), 0 * xp.ones_like(others)), -1)[..., None]
    error = s - xp.sum(others, -1)[..., None] / k - at.advantages
    return xp.where(k > 1, k / xp.maximum(k - 1, 1.0) / 2 * error**2, xp.constant(0.0, error))
