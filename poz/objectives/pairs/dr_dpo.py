"""Dr. DPO: pairs with a large loss, which may be mislabelled, count less."""

from typing import Annotated

import numpy as np

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, Published, objective
from poz.objectives._pairs import one
from poz.purposes import Answer


@objective(
    title="Distributionally robust DPO",
    paper="arXiv:2407.07880",
    equation="the Dr. DPO loss",
    formula=r"-\beta'\log\Bigl(\tfrac1B\sum_j e^{-L_j/\beta'}\Bigr),\quad L_j=-\log\sigma(\beta h_j)",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published("junkangwu/Dr_DPO@3c0678f, README.md", {"beta": (0.1,), "robustness": (1.0,)}),
    ],
    answers=[
        Answer(
            "noisy-labels",
            paper="abstract: optimising against the worst case of erroneous pairs makes DPO robust to them",
            test="objectives/test_list_laws.py::test_robust_dpo_ignores_an_impossible_pair",
        ),
    ],
    coupled="a log of a mean over the pairs of the batch",
    reduces_to=[Limit("dpo", "one pair", then=lambda p: {"beta": p["beta"]}, batch=one)],
    basis="The authors' code, executed in float64 (junkangwu/Dr_DPO@3c0678f): tests/authors/dr_dpo.json. Every example has the batch's value.",
)
def dr_dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    robustness: Annotated[
        float, Real("β', trust in the labels: at infinity it is DPO", low=0, open="low", unit="nat", usual=(0.1, 5.0))
    ] = 1.0,
) -> Array:
    """Soft minimum of the DPO losses of the batch, the same number for every example, so their mean is the loss."""
    losses = -xp.log_sigmoid(beta * terms.log_ratio_margin(pairs))
    if 0 in losses.shape:
        return losses
    least = -xp.amax(-xp.stop_gradient(losses), -1)
    lost = least == np.inf  # all pairs are impossible
    zero = xp.constant(0.0, losses)
    least, finite = xp.where(lost, zero, least), xp.where(lost, zero, losses)
    extra = xp.mean(xp.expm1((least - finite) / robustness))  # in (-1, 0]: exact also for a large β'
    return xp.where(lost, losses, least - robustness * xp.log1p(extra))
