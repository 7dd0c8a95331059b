"""HyPO: the reference counts only where it is right."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, objective
from poz.purposes import Answer


@objective(
    title="Hybrid Preference Optimization (one-sided reference)",
    paper="arXiv:2602.11902",
    equation="the loss stated in the abstract",
    formula=r"-\log\sigma\bigl(\beta[\Delta_\pi-\max(0,\Delta_{ref})]\bigr),\quad\Delta=\log\tfrac{\pi(y_w)}{\pi(y_l)}",
    reads="chosen rejected ref_chosen ref_rejected",
    answers=[
        Answer(
            "wrong-reference",
            paper="abstract: DPO is satisfied too early by pairs that the reference ranks wrongly",
            test="objectives/test_purposes_shown.py::test_a_reference_that_ranks_wrongly_does_not_hold_a_pair_back",
        ),
    ],
    reduces_to=[
        Limit(
            "dpo",
            "a reference that ranks the pair rightly",
            lambda p: p,
            lambda p: p,
            lambda b: ((right := b._replace(ref_chosen=b.ref_rejected + 1)), right),
        ),
        Limit(
            "cpo",
            "a reference that ranks it wrongly",
            lambda p: p,
            lambda p: {**p, "nll_weight": 0.0},
            lambda b: ((wrong := b._replace(ref_chosen=b.ref_rejected - 1)), wrong),
        ),
    ],
    deviations=[
        Deviation("HyPO of arXiv:2406.01462", "is an offline contrastive loss plus an online KL", "not this objective"),
        Deviation("the paper, second hand", "has another threshold than 0, or a softplus, as options", "not offered"),
    ],
    basis="The abstract, which states the formula. Nothing could be run: no code of the authors, nor of another library, was found.",
)
def hypo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the constraint", low=0, open="low", unit="1/nat")] = 0.1,
) -> Array:
    """DPO where the reference prefers chosen, and without it where it does not; never below DPO's loss."""
    return -xp.log_sigmoid(beta * (terms.gap(xp, pairs) - xp.relu(terms.gap(xp, pairs, "ref_"))))
