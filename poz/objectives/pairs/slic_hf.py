"""Sequence Likelihood Calibration with human feedback."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Sequence Likelihood Calibration with Human Feedback",
    paper="arXiv:2305.10425",
    equation="the rank calibration loss with its cross-entropy regulariser, section 2 as TRL cites it",
    formula=r"\max\bigl(0,\delta-\log\pi(y_w)+\log\pi(y_l)\bigr)-\lambda\log\pi(y_w)",
    reads="chosen rejected",
    published=[
        Published(
            "ContextualAI/HALOs@4831988 config/loss/slic.yaml", {"delta": (1.0,), "regularization_weight": (0.1,)}
        )
    ],
    answers=[
        Answer(
            "off-policy",
            paper="abstract: feedback that was collected on another model's completions is learned from as well",
        ),
        Answer(
            "displacement",
            world="displacement",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    reduces_to=[
        Limit(
            "hinge",
            "δ = 1, λ = 0, and a uniform reference",
            lambda p: {"delta": 1.0, "regularization_weight": 0.0},
            lambda p: {"beta": 1.0},
            lambda b: (b, b._replace(ref_chosen=0 * b.chosen, ref_rejected=0 * b.rejected)),
        )
    ],
    deviations=[
        Deviation(
            "the paper (second hand)",
            "regularises towards a separate SFT target where there is one",
            "the chosen completion",
        ),
    ],
    basis="The HALOs of 2023, executed in float64 (yinyueqin/relative-preference-optimization@c1b5163): tests/authors/slic_hf.json. No authors' code, and of the paper the abstract alone was read.",
)
def slic_hf(
    xp: Namespace,
    pairs: Pairs,
    *,
    delta: Annotated[float, Real("δ, margin to reach", low=0, unit="nat", usual=(0.0, 5.0))] = 1.0,
    regularization_weight: Annotated[float, Real("λ, weight of the NLL of chosen", low=0, usual=(0.0, 1.0))] = 0.1,
) -> Array:
    """Hinge loss of the difference of summed log-probs, plus λ times the summed NLL of the chosen completion."""
    likely = terms.times(xp, regularization_weight, pairs.chosen)
    return xp.relu(delta - (pairs.chosen - pairs.rejected)) - likely
