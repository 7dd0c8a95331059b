"""Generalized Preference Optimization: any convex link of the margin."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Choice, Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, objective
from poz.purposes import Answer


@objective(
    title="Generalized Preference Optimization (links)",
    paper="arXiv:2402.05749",
    equation="the table of links (body not read)",
    formula=r"f(\beta h),\quad f(z)\in\{e^{-z},\ \max(0,1-z)^2,\ (1+e^z)^{-2},\ (z-1)^2,\ -\log\sigma(z),\ \max(0,1-z)\}",
    reads="chosen rejected ref_chosen ref_rejected",
    answers=[
        Answer(
            "overfitting",
            under="link='hinge', 'square' or 'truncated_quadratic'",
            paper="abstract: the convex function of the margin is how an offline loss regularises",
            test="objectives/test_purposes_shown.py::test_no_push_beyond_a_finite_margin",
        ),
        Answer(
            "noisy-labels",
            under="link='savage'",
            test="objectives/test_link_laws.py::test_savage_is_bounded_and_forgets_both_ends",
        ),
    ],
    reduces_to=[
        Limit("dpo", "logistic", lambda p: {**p, "link": "logistic"}, lambda p: {"beta": p["beta"]}),
        Limit("hinge", "hinge", lambda p: {**p, "link": "hinge"}, lambda p: {"beta": p["beta"]}),
        Limit("ipo", "square, β = 1", lambda p: {"link": "square", "beta": 1.0}, lambda p: {"tau": 0.5}),
    ],
    deviations=[Deviation("the formula", "e^-z overflows float32 below z = -88", "a tangent continues it beyond e^60")],
    basis="Another paper's port of three links, executed in float64 (haoxian-chen/MallowsPO@c188a2e): tests/authors/gpo_link.json. The exponential, the truncated quadratic and Savage were not run in anyone's code; at β = 2τ the square is 4τ² times IPO.",
)
def gpo_link(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the constraint", low=0, open="low", unit="1/nat")] = 0.1,
    link: Annotated[
        str,
        Choice("f", ("exponential", "truncated_quadratic", "savage", "square", "logistic", "hinge")),
    ] = "exponential",
) -> Array:
    """A classification loss of the margin; all are convex but Savage, which is bounded and forgives outliers."""
    return terms.linked(xp, beta * terms.log_ratio_margin(pairs), link)
