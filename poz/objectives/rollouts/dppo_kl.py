"""DPPO: tokens whose probability has moved too far already are left out, by the KL between their being there or not."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.objective import Deviation, Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.objectives.rollouts._region import trusted
from poz.purposes import Answer


@objective(
    title="Divergence PPO, binary KL",
    paper="arXiv:2602.04879",
    equation="eq. 12 and 14 of v3",
    formula=r"-\operatorname{sg}[m\min(r,c)]A\log\pi,\quad m=0\text{ where }k>\delta_h\text{ and }r>1\text{ for }A>0,\ k>\delta_l\text{ and }r<1\text{ elsewhere},\ k=\pi_{old}\log\tfrac{\pi_{old}}{\pi}+(1-\pi_{old})\log\tfrac{1-\pi_{old}}{1-\pi},\ r=\tfrac{\pi}{\pi_{old}},\ A=\text{advantage}",
    published=[
        Published(
            "arXiv:2602.04879v3 section 5 and appendix E",
            {"divergence_low": (0.05,), "divergence_high": (0.05,), "ratio_cap": (5.0,)},
        ),
        Published(
            "verl@1dda039 examples/dppo_trainer",
            {"divergence_low": (0.05,), "divergence_high": (0.05,), "ratio_cap": (20.0,)},
        ),
        Published("sail-sg/Stable-RL@c6af1d1", {"ratio_cap": (10.0,)}),
    ],
    answers=[
        Answer(
            "trust-region",
            paper="section 4.2: masked by an estimate of the divergence, as ratios punish unlikely tokens too much and likely ones too little",
        ),
    ],
    deviations=[
        Deviation("sail-sg/Stable-RL@c6af1d1", "adds 1e-8 to the probability of all other tokens", "exact"),
        Deviation(
            "the paper, and sail-sg/Stable-RL@c6af1d1 `dppo_binary_kl`",
            "judges by the log-probs of the sampler; by those of the same policy run again training collapses (section 5.2)",
            "give the sampler's as old_logps",
        ),
        Deviation(
            "sail-sg/Stable-RL@c6af1d1 `dppo_binary_kl_recompute`",
            "judges by the policy run again and has the ratio to the sampler, the way that collapses",
            "one old policy",
        ),
        Deviation("the paper, eq. 12", "has no cap; its larger runs have 5", "ratio_cap=1e30"),
    ],
    basis="The paper (v3, eq. 12, 14 and 23) and the authors' code, executed in float64 (sail-sg/Stable-RL@c6af1d1): tests/authors/dppo_kl.json, which has verl's beside it.",
    **steps.DECLARED,
)
@steps.member(aggregation="token_mean")
def dppo_kl(
    at: steps.Steps,
    *,
    divergence_low: Annotated[
        float,
        Real(
            "KL in nats up to which the policy may lower a token that did badly", low=0, open="low", usual=(0.01, 0.5)
        ),
    ] = 0.05,
    divergence_high: Annotated[
        float, Real("up to which it may raise one that did well", low=0, open="low", usual=(0.01, 0.5))
    ] = 0.05,
    ratio_cap: Annotated[float, Real("c, the ratio is at most that", low=1, usual=(1.0, 30.0))] = 20.0,
) -> Array:
    """REINFORCE with a capped ratio, of the tokens that are within the region of trust."""
    xp, d = at.xp, at.xp.stop_gradient(at.log_ratio)
    was, now = xp.exp(at.old), xp.stop_gradient(at.logps)
    others = [terms.times(xp, 1 - was, _others(xp, x)) for x in (at.old, now)]
    moved = others[0] - others[1] - terms.times(xp, was, d)
    moved = xp.where((now >= 0) & (was < 1), xp.constant(np.inf, d), moved)  # the others have become impossible
    moved = xp.where(d == 0, xp.constant(0.0, d), moved)
    good = at.advantages > 0
    outside = xp.where(good, (moved > divergence_high) & (d > 0), (moved > divergence_low) & (d < 0))
    return trusted(at, outside, ratio_cap)


def _others(xp: Namespace, x: Array) -> Array:
    """log(1 - e^x), the log-prob of all other tokens; -∞ where there are none."""
    return steps.log(xp, -xp.expm1(x))
