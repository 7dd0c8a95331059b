"""H-DPO: the entropy of the policy under control."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, objective
from poz.purposes import Answer


@objective(
    title="H-DPO (entropy control)",
    paper="arXiv:2411.07595",
    equation="the H-DPO loss",
    formula=r"-\log\sigma\bigl(\alpha\beta\,\Delta_\pi-\beta\,\Delta_{ref}\bigr),\quad\Delta=\log\tfrac{\pi(y_w)}{\pi(y_l)}",
    reads="chosen rejected ref_chosen ref_rejected",
    answers=[
        Answer("diversity", paper="abstract: α sets the entropy of the policy, with better pass@k for it"),
    ],
    reduces_to=[
        Limit("dpo", "α = 1", lambda p: {**p, "alpha": 1.0}, lambda p: {"beta": p["beta"]}),
        Limit(
            "dpo_gamma",
            "αβ and 1/α",
            lambda p: p,
            lambda p: {"beta": p["alpha"] * p["beta"], "gamma": 1 / p["alpha"]},
        ),
    ],
    basis="A port, executed in float64 (warlockee/oxRL@2a2bd5d): tests/authors/h_dpo.json; and a derivation, the optimum ∝ "
    "(π_ref e^{r/β})^{1/α} (checked to 1e-16). No authors' code was found, and of the paper the abstract alone was read.",
)
def h_dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the constraint", low=0, open="low", unit="1/nat")] = 0.1,
    alpha: Annotated[float, Real("α, weight of the entropy; below 1 it sharpens", low=0, open="low")] = 1.0,
) -> Array:
    """DPO with the policy's log-ratio scaled by α."""
    return -xp.log_sigmoid(beta * (alpha * terms.gap(xp, pairs) - terms.gap(xp, pairs, "ref_")))
