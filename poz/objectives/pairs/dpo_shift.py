"""DPO-Shift: a rejected completion counts less, so that chosen falls less."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="DPO-Shift",
    paper="arXiv:2502.07599",
    equation="eq. 3 (v2)",
    formula=r"-\log\sigma\Bigl(\beta\bigl[\log\tfrac{\pi(y_w)}{\pi_{ref}(y_w)}-\lambda\log\tfrac{\pi(y_l)}{\pi_{ref}(y_l)}\bigr]\Bigr)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published(
            "Meaquadddd/DPO-Shift@52eebac, recipes/llama-3-8b/dpo/config_full_ultrafeedback.yaml",
            {"beta": (0.01,), "shift": (0.7,)},
        ),
        Published(
            "Meaquadddd/DPO-Shift@52eebac, run.sh",
            {"shift": (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)},
        ),
    ],
    answers=[
        Answer(
            "displacement",
            world="displacement",
            paper="the authors' README: it balances the probability of chosen, which often falls, with the margin",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    reduces_to=[Limit("dpo", "λ = 1", lambda p: {**p, "shift": 1.0}, lambda p: {"beta": p["beta"]})],
    basis="The authors' code, executed in float64 (Meaquadddd/DPO-Shift@52eebac): tests/authors/dpo_shift.json. They fix λ or move it linearly between its bounds; the default is in between.",
)
def dpo_shift(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    shift: Annotated[float, Real("λ, weight of the rejected completion", low=0, high=1, usual=(0.0, 1.0))] = 0.75,
) -> Array:
    """DPO with the rejected log-ratio scaled by λ ≤ 1; below 1 the normaliser of the prompt does not cancel."""
    a, b = pairs.chosen - pairs.ref_chosen, pairs.rejected - pairs.ref_rejected
    return -xp.log_sigmoid(beta * (a - terms.times(xp, shift, b)))
