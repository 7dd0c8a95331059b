"""REBEL: regress the log-ratio margin onto the reward gap."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Regression to Relative Rewards (REBEL)",
    paper="arXiv:2404.16767",
    equation="the regression of Algorithm 1, times η²",
    formula=r"\bigl(h-\eta(r_w-r_l)\bigr)^2",
    reads="chosen rejected ref_chosen ref_rejected margin",
    published=[
        Published("ZhaolinGao/REBEL@4ad7c11 src/ultrafeedback/rebel.py", {"eta": (1.0,)}),
        Published("ZhaolinGao/REBEL@4ad7c11 src/ultrafeedback_largebatch/rebel.py", {"eta": (1e6,)}),
    ],
    answers=[
        Answer(
            "preference-strength",
            test="objectives/test_reward_laws.py::test_regressions_are_zero_exactly_at_their_target",
        ),
        Answer(
            "no-critic",
            paper="abstract: policy optimisation becomes a regression on reward gaps, without a network of values or clipping",
        ),
    ],
    reduces_to=[
        Limit(
            "ipo",
            "every gap 1; τ = 1/(2η)",
            lambda p: p,
            lambda p: {"tau": 0.5 / p["eta"]},
            lambda b: (b._replace(margin=0 * b.chosen + 1), b),
        )
    ],
    deviations=[Deviation("the paper", "(h/η - (r_w - r_l))²", "divide by eta**2; the same minimiser")],
    basis="The authors' code, executed in float64 (ZhaolinGao/REBEL@4ad7c11): tests/authors/rebel.json.",
)
def rebel(
    xp: Namespace,
    pairs: Pairs,
    *,
    eta: Annotated[float, Real("η, step size of the policy update", low=0, open="low")] = 1.0,
) -> Array:
    """Squared distance of h, against the policy that sampled the pair (`ref_`), from η times the known reward gap."""
    h = terms.log_ratio_margin(pairs)
    return (h - eta * xp.astype(pairs.margin, h)) ** 2
