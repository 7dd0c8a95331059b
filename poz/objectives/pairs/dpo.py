"""Direct Preference Optimization, and its conservative form."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Published, objective
from poz.purposes import Answer


@objective(
    title="Direct Preference Optimization",
    paper="arXiv:2305.18290",
    equation="eq. 7; label smoothing from the cDPO note (Mitchell 2023), eq. 3",
    formula=r"-(1-\varepsilon)\log\sigma(\beta h)-\varepsilon\log\sigma(-\beta h),\quad h=\log\tfrac{\pi(y_w)}{\pi_{ref}(y_w)}-\log\tfrac{\pi(y_l)}{\pi_{ref}(y_l)}",
    reads="chosen rejected ref_chosen ref_rejected",
    aliases=("sigmoid", "cdpo", "spin"),
    published=[
        Published(
            "eric-mitchell/direct-preference-optimization@f8b8c0f README.md, config/loss/dpo.yaml",
            {"beta": (0.1,), "label_smoothing": (0.0,)},
        ),
        Published("second hand: arXiv:2305.18290 appendix B as others quote it, 0.5 for TL;DR", {"beta": (0.1, 0.5)}),
    ],
    answers=[
        Answer(
            "noisy-labels",
            under="label_smoothing above 0",
            paper="the authors' README: label smoothing is the share of preferences that are flipped",
        ),
        Answer(
            "overfitting",
            under="label_smoothing above 0",
            test="objectives/test_theorems.py::test_conservative_dpo_stays_finite_where_all_labels_agree",
        ),
    ],
    basis="Paper, and the authors' code, executed in float64 (eric-mitchell/direct-preference-optimization@f8b8c0f): tests/authors/dpo.json.",
)
def dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    label_smoothing: Annotated[
        float, Real("ε, probability that a label is flipped", low=0, high=0.5, usual=(0.0, 0.5))
    ] = 0.0,
) -> Array:
    """Logistic loss of the implicit reward margin β h; label smoothing makes it conservative DPO."""
    return terms.smoothed(xp, beta * terms.log_ratio_margin(pairs), label_smoothing)
