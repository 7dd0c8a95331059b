"""Robust DPO: unbiased under label flips of a known rate."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Provably Robust DPO",
    paper="arXiv:2403.00409",
    equation="the unbiased loss, section 3.1 as TRL cites it",
    formula=r"\frac{-(1-\varepsilon)\log\sigma(\beta h)+\varepsilon\log\sigma(-\beta h)}{1-2\varepsilon}",
    reads="chosen rejected ref_chosen ref_rejected",
    aliases=("robust",),
    published=[
        Published(
            "second hand: huggingface/trl@f2cd577 docs/source/paper_index.md",
            {"beta": (0.1,), "label_smoothing": (0.1,)},
        )
    ],
    answers=[
        Answer(
            "noisy-labels",
            world="annotators",
            paper="abstract: the loss is unbiased under random flips of preferences",
            test="objectives/test_label_laws.py::test_robust_dpo_is_unbiased_under_flips",
        ),
    ],
    reduces_to=[
        Limit("dpo", "ε = 0: no flips", lambda p: {**p, "label_smoothing": 0.0}, lambda p: {"beta": p["beta"]})
    ],
    deviations=[
        Deviation("conservative DPO", "has + ε z where this has - ε z / (1 - 2 ε)", "poz.dpo(label_smoothing=...)")
    ],
    basis="An author's code, as added to TRL, executed in float64 (huggingface/trl@b344bce), and TRL and Liger: "
    "tests/authors/robust_dpo.json. Unbiasedness, (1-ε) L(z) + ε L(-z) = DPO(z), derived and checked.",
)
def robust_dpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    label_smoothing: Annotated[
        float, Real("ε, probability that a label is flipped", low=0, high=0.5, open="high", usual=(0.0, 0.45))
    ] = 0.1,
) -> Array:
    """DPO debiased for flipped labels; unbounded below, its slope tends to -β ε / (1 - 2 ε) and never to 0."""
    z = beta * terms.log_ratio_margin(pairs)
    return -xp.log_sigmoid(z) - terms.times(xp, label_smoothing / (1 - 2 * label_smoothing), z)
