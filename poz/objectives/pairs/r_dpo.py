"""R-DPO: DPO that pays for length."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Length-regularised DPO",
    paper="arXiv:2403.19159",
    equation="eq. 9, as cited by a port",
    formula=r"-\log\sigma\bigl(\beta h+\alpha(|y_w|-|y_l|)\bigr)",
    reads="chosen rejected ref_chosen ref_rejected chosen_len rejected_len",
    published=[Published("LuJunru/SamPO@25e9631 dpo.sh", {"beta": (0.1,), "alpha": (0.01,)})],
    answers=[
        Answer(
            "length-bias",
            paper="abstract: DPO exploits length, and a simple regulariser prevents it",
            test="objectives/test_length_laws.py::test_length_is_paid_for",
        ),
    ],
    reduces_to=[
        Limit("dpo", "α = 0", lambda p: {**p, "alpha": 0.0}, lambda p: {"beta": p["beta"]}),
        Limit(
            "dpo",
            "equal lengths",
            lambda p: p,
            lambda p: {"beta": p["beta"]},
            lambda b: (b._replace(rejected_len=b.chosen_len), b),
        ),
    ],
    deviations=[
        Deviation(
            "alpha-DPO's and γ-PO's repositories",
            "the opposite sign, and the batch size as both lengths, so that what runs is `dpo`",
            "alpha=0.0 for what runs",
        ),
    ],
    basis="Two ports, executed in float64 (LuJunru/SamPO@25e9631, sail-sg/oat@c1a074c): tests/authors/r_dpo.json; no authors' code. "
    "The sign is derived too: the optimum is π_ref exp((r - α n)/β).",
)
def r_dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    alpha: Annotated[float, Real("α, price of a token, in reward", low=0, unit="1/token", usual=(0.0, 0.5))] = 0.01,
) -> Array:
    """DPO under the reward r - α n: a longer chosen completion gets a smaller gradient."""
    z = beta * terms.log_ratio_margin(pairs)
    return -xp.log_sigmoid(z + alpha * (xp.astype(pairs.chosen_len, z) - xp.astype(pairs.rejected_len, z)))
