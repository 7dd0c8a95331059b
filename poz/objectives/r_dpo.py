"""R-DPO: DPO that pays for length."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective


@objective(
    title="Length-regularised DPO",
    paper="arXiv:2403.19159",
    equation="eq. 9, as cited by a port",
    formula=r"-\log\sigma\bigl(\beta h+\alpha(|y_w|-|y_l|)\bigr)",
    reads="chosen rejected ref_chosen ref_rejected chosen_len rejected_len",
    published=[Published("", {"alpha": (0.005, 0.1, 1.0)})],
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
    deviations=[Deviation("oxRL", "the opposite sign of α", "not offered: it rewards length")],
    basis="Two ports that agree (one executed, equal), and a derivation of the sign: the optimum is π_ref exp((r - α n)/β). "
    "No authors' code; the default α is one of the values in use.",
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
