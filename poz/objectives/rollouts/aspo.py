"""ASPO: where the advantage is positive, the ratio is turned over, so that likely tokens gain less and unlikely ones more."""

from typing import Annotated

from poz import terms
from poz.backends import Array
from poz.domains import Real
from poz.objective import Deviation, Published, objective
from poz.objectives.rollouts import _steps as steps
from poz.purposes import Answer


@objective(
    title="Asymmetric Importance Sampling Policy Optimization",
    paper="arXiv:2510.06062",
    equation="section 6, eq. 3 of v2",
    formula=r"-wA\tfrac{\pi}{\operatorname{sg}[\pi]},\quad w=\operatorname{sg}\bigl[\tfrac1r\bigr]\text{ for }A\ge0,\ \operatorname{sg}[r]\text{ elsewhere},\ r=\tfrac{\pi}{\pi_{old}},\ A=\text{advantage; held constant beyond PPO's clip, and }-c_\pm A\log\pi\text{ where }w>c_\pm",
    published=[
        Published(
            "arXiv:2510.06062v2 appendix B", {"epsilon_low": (0.2,), "epsilon_high": (0.2,), "kl_weight": (0.001,)}
        ),
        Published(
            "wizard-III/Archer2.0@b08d963",
            {"epsilon_low": (0.2, 0.4), "epsilon_high": (0.2, 0.4), "cap_positive": (3.0,), "cap_negative": (3.0,)},
        ),
    ],
    answers=[
        Answer(
            "trust-region",
            paper="abstract: the ratios of tokens with positive advantage favour what is likely already, and are flipped",
        ),
        Answer(
            "entropy-collapse",
            paper="abstract: in v2, it mitigates the collapse of the entropy, and training is more stable",
        ),
    ],
    deviations=[
        Deviation(
            "wizard-III/Archer2.0@b08d963",
            "has ε of 0.2 up to the 80 % quantile of the entropies of a completion, and of 0.4 above",
            "one ε for all tokens",
        ),
    ],
    basis="The paper (v2, section 6) and the authors' code, executed in float64 (wizard-III/Archer2.0@b08d963): tests/authors/aspo.json. The paper says nothing of a dual clip where A < 0, and has a KL of weight 0.001 (k3, appendix B), where the default here is none.",
    **steps.DECLARED,
)
@steps.member(aggregation="token_mean")
def aspo(
    at: steps.Steps,
    *,
    epsilon_low: Annotated[float, Real("ε below 1", low=0, high=1, usual=(0.0, 1.0))] = 0.2,
    epsilon_high: Annotated[float, Real("ε above 1", low=0, usual=(0.0, 2.0))] = 0.2,
    cap_positive: Annotated[
        float, Real("c where A >= 0, the greatest weight; no clip holds beyond", low=1, open="low", usual=(1.1, 5.0))
    ] = 3.0,
    cap_negative: Annotated[float, Real("c where A < 0", low=1, open="low", usual=(1.1, 5.0))] = 3.0,
) -> Array:
    """Each token's log-prob, weighted by the ratio or by its inverse, within PPO's clip."""
    xp, d, good = at.xp, at.log_ratio, at.advantages >= 0
    low, high = steps.log(xp, 1 - terms.numbers(xp, epsilon_low, d)), xp.log1p(terms.numbers(xp, epsilon_high, d))
    clipped = xp.where(good, d > high, d < low)
    log_weight = xp.stop_gradient(xp.where(good, -xp.where(d > high, high, d), xp.where(d < low, low, d)))
    most = xp.log(xp.where(good, terms.numbers(xp, cap_positive, d), terms.numbers(xp, cap_negative, d)))
    capped = log_weight > most
    weight = xp.exp(xp.where(capped, most, log_weight))
    slope = xp.where(clipped, xp.constant(0.0, d), steps.slope_of(xp, at.logps))
    return at.surrogate(weight * xp.where(capped, at.logps, 1 + slope))
