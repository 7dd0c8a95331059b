"""DPPO: tokens whose probability has moved too far already are left out, by total variation."""

from typing import Annotated

from poz.backends import Array
from poz.domains import Real
from poz.objective import Deviation, Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._region import trusted
from poz.purposes import Answer


@objective(
    title="Divergence PPO, binary total variation",
    paper="arXiv:2602.04879",
    equation="eq. 12 and 13 of v3",
    formula=r"-\operatorname{sg}[m\min(r,c)]A\log\pi,\quad m=[\pi-\pi_{old}\le\delta_h]\text{ where }A>0,\ [\pi-\pi_{old}\ge-\delta_l]\text{ elsewhere},\ r=\tfrac{\pi}{\pi_{old}},\ A=\text{advantage}",
    published=[
        Published(
            "arXiv:2602.04879v3 section 5 and appendix E",
            {"divergence_low": (0.15, 0.2), "divergence_high": (0.15, 0.2), "ratio_cap": (5.0,)},
        ),
        Published("verl@1dda039", {"divergence_low": (0.2,), "divergence_high": (0.2,), "ratio_cap": (20.0,)}),
    ],
    answers=[
        Answer(
            "trust-region",
            paper="section 4.2: masked by an estimate of the divergence, as ratios punish unlikely tokens too much and likely ones too little",
        ),
    ],
    deviations=[
        Deviation(
            "the paper",
            "judges by the log-probs of the sampler; by those of the same policy run again training collapses (section 5.2)",
            "give the sampler's as old_logps",
        ),
        Deviation("the paper, eq. 12", "has no cap; its larger runs have 5", "ratio_cap=1e30"),
    ],
    basis="The paper (v3, eq. 12, 13 and 23), and verl's code, executed in float64 (verl-project/verl@1dda039): tests/authors/dppo_tv.json.",
    **steps.DECLARED,
)
@steps.member(aggregation="token_mean")
def dppo_tv(
    at: steps.Steps,
    *,
    divergence_low: Annotated[
        float, Real("how far down the policy may have moved a token that did badly", low=0, open="low")
    ] = 0.2,
    divergence_high: Annotated[float, Real("how far up a token that did well", low=0, open="low")] = 0.2,
    ratio_cap: Annotated[float, Real("c, the ratio is at most that", low=1, usual=(1.0, 30.0))] = 20.0,
) -> Array:
    """REINFORCE with a capped ratio, of the tokens that are within the region of trust."""
    xp, moved = at.xp, at.xp.exp(at.xp.stop_gradient(at.logps)) - at.xp.exp(at.old)
    return trusted(at, xp.where(at.advantages > 0, moved > divergence_high, moved < -divergence_low), ratio_cap)
