"""DDO-RM: the policy over K candidates is drawn to itself, improved by their rewards."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Ranked
from poz.objective import Deviation, Published, objective
from poz.objectives.ranked.info_nca import log_softmax


@objective(
    title="Decision Distribution Optimization with a Reward Model",
    paper="arXiv:2604.11119",
    equation="as the authors have it",
    formula=r"-\sum_i q_i\log p_i,\quad p=\operatorname{softmax}(\tfrac1\tau\log\pi),\ q=\operatorname{sg}\bigl[\operatorname{softmax}(\tfrac1\tau\log\pi_0+\tfrac1\lambda r)\bigr],\ \pi_0=\pi\text{ or }\pi_{ref}",
    reads=lambda p: "logps scores" + " ref_logps" * (p["improves"] == "reference"),
    optional="mask",
    gradient_stops="the target q, which is data once it is drawn up",
    published=[
        Published(
            "TiantianZ399/rethinking-theory-of-post-training-in-llm-experiment@a1c8252",
            {"temperature": (1.0,), "tau": (1.0,)},
        )
    ],
    deviations=[
        Deviation("the authors' code", "takes the scores of an earlier policy for the target", "improves='reference'"),
    ],
    basis="The authors' code, executed in float64 (TiantianZ399/rethinking-theory-of-post-training-in-llm-experiment@a1c8252): tests/authors/ddo_rm.json. Masked lists are not in it. The paper was not read.",
)
def ddo_rm(
    xp: Namespace,
    lists: Ranked,
    *,
    temperature: Annotated[
        float, Real("λ, temperature of the scores, in their unit", low=0, open="low", usual=(0.1, 3.0))
    ] = 1.0,
    tau: Annotated[
        float, Real("τ, temperature of the log-probs", low=0, open="low", unit="nat", usual=(0.1, 3.0))
    ] = 1.0,
    improves: Annotated[str, Choice("which policy the target improves", ("policy", "reference"))] = "policy",
) -> Array:
    """Cross-entropy of the candidates' distribution against the target; 0 for a list of one."""
    valid = xp.ones_like(lists.logps) > 0 if lists.mask is None else lists.mask
    mine = log_softmax(xp, terms.masked(xp, lists.logps / tau, lists.mask), valid)
    start = (
        mine if improves == "policy" else log_softmax(xp, terms.masked(xp, lists.ref_logps / tau, lists.mask), valid)
    )
    scores = terms.masked(xp, xp.astype(lists.scores, lists.logps), lists.mask)
    better = log_softmax(xp, xp.stop_gradient(start) + scores / temperature, valid)
    target = xp.where(valid, xp.exp(better), xp.constant(0.0, mine))
    return -xp.sum(terms.times(xp, target, mine), -1)
