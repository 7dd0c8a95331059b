"""χ²-Preference Optimization: pessimism by another link."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, objective
from poz.purposes import Answer


@objective(
    title="χ²-Preference Optimization",
    paper="arXiv:2407.13399",
    equation="the χPO loss, eq. 9 of the ICLR submission by a secondary source",
    formula=r"-\log\sigma\bigl(\operatorname{clip}_{2R}[\beta\varphi(e^a)-\beta\varphi(e^b)]\bigr),\quad\varphi(u)=u+\log u,\ (a,b)=\log\tfrac{\pi}{\pi_{ref}}\text{ of }(y_w,\ y_l)",
    reads="chosen rejected ref_chosen ref_rejected",
    answers=[
        Answer(
            "over-optimisation",
            paper="abstract: a KL divergence is too weak against it, and χ² is pessimistic where data are few",
        ),
        Answer(
            "displacement",
            world="displacement",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    deviations=[
        Deviation("the paper, second hand", "clips at twice the largest reward", "clip=2 * R; there the gradient is 0"),
        Deviation("the formula", "overflows: e^a for a > 88 in float32", "a tangent continues e^a beyond a = 60"),
    ],
    basis="Abstract (DPO with only the link changed), and a port, executed in float64 (warlockee/oxRL@2a2bd5d): "
    "tests/authors/chi_po.json. The level of the clip and β are not settled, so there is no clip by default; no row has one.",
)
def chi_po(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the χ² and KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    clip: Annotated[
        float | None, Real("2R, largest reward margin; None: no clip", low=0, open="low", optional=True, usual=(1, 20))
    ] = None,
) -> Array:
    """DPO with the link φ(u) = u + log u in place of log u; at the reference its slope is twice DPO's."""
    a, b = pairs.chosen - pairs.ref_chosen, pairs.rejected - pairs.ref_rejected
    z = beta * (terms.exponential(xp, a) - terms.exponential(xp, b) + (a - b))
    return -xp.log_sigmoid(z if clip is None else xp.clip(z, -clip, clip))
