"""DPO-Positive (Smaug): chosen may not fall below the reference."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="DPO-Positive",
    paper="arXiv:2402.13228",
    equation="eq. 3, v3",
    formula=r"-\log\sigma\Bigl(\beta\bigl[h-\lambda\max\bigl(0,\log\tfrac{\pi_{ref}(y_w)}{\pi(y_w)}\bigr)\bigr]\Bigr)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published("second hand: arXiv:2402.13228, v3", {"beta": (0.3,), "penalty": (5.0, 50.0, 500.0)}),
        Published("LuJunru/SamPO@25e9631 dpo.sh", {"beta": (0.1,), "penalty": (50.0,)}),
    ],
    answers=[
        Answer(
            "displacement",
            world="displacement",
            paper="abstract: DPO may make chosen less likely as long as the ratio grows, and the penalty averts it",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    reduces_to=[
        Limit("dpo", "λ = 0", lambda p: {**p, "penalty": 0.0}, lambda p: {"beta": p["beta"]}),
        Limit(
            "dpo",
            "chosen above the reference",
            lambda p: p,
            lambda p: {"beta": p["beta"]},
            lambda b: ((above := b._replace(ref_chosen=b.chosen - 1)), above),
        ),
    ],
    basis="Two ports, executed in float64 (LuJunru/SamPO@25e9631, sail-sg/oat@c1a074c): tests/authors/dpop.json. The authors' repository holds no code.",
)
def dpop(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.3,
    penalty: Annotated[
        float, Real("λ, price of a chosen completion less likely than under the reference", low=0, usual=(0.0, 100.0))
    ] = 50.0,
) -> Array:
    """DPO whose margin is lowered by λ times what chosen has lost against the reference."""
    lost = xp.relu(pairs.ref_chosen - pairs.chosen)
    return -xp.log_sigmoid(beta * (terms.log_ratio_margin(pairs) - terms.times(xp, penalty, lost)))
