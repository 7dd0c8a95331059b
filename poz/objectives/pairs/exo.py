"""Efficient Exact Optimization on pairs: reverse KL to the smoothed label."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Published, objective
from poz.purposes import Answer


@objective(
    title="Efficient Exact Optimization (pairs)",
    paper="arXiv:2402.00856",
    equation="the preference form of EXO, K = 2; section 3.2 and eq. 16 as TRL cites them",
    formula=r"\sigma(z)\log\frac{\sigma(z)}{1-\varepsilon}+\sigma(-z)\log\frac{\sigma(-z)}{\varepsilon},\quad z=\beta h",
    reads="chosen rejected ref_chosen ref_rejected",
    aliases=("exo_pair",),
    published=[
        Published(
            "haozheji/exact-optimization@a8ab360 exp/hh_exp, exp/tldr_exp; labels 0 and -10 in src/align_stage/loss.py",
            {"beta": (0.5,), "label_smoothing": (4.54e-5,)},
        ),
        Published("the same, exp/imdb_exp", {"beta": (0.1,), "label_smoothing": (4.54e-5,)}),
        Published(
            "second hand: huggingface/trl@v1.16.0 says that the paper recommends it", {"label_smoothing": (1e-3,)}
        ),
    ],
    answers=[
        Answer("overfitting", test="objectives/test_purposes_shown.py::test_no_push_beyond_a_finite_margin"),
    ],
    deviations=[
        Deviation(
            "the authors' code", "labels (0, -10), not normalised: less log(1 + e^-10)", "label_smoothing=4.54e-5"
        ),
    ],
    basis="The authors' code, executed in float64 (haozheji/exact-optimization@a8ab360), what its author added to TRL, and Liger: "
    "tests/authors/exo.json.",
)
def exo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    label_smoothing: Annotated[
        float, Real("ε, probability that a label is flipped", low=0, high=0.5, open="low", usual=(1e-4, 0.5))
    ] = 1e-3,
) -> Array:
    """KL(policy's preference || smoothed label): the gradient vanishes for badly mis-ordered pairs."""
    z = beta * terms.log_ratio_margin(pairs)
    right = xp.log(terms.numbers(xp, 1 - label_smoothing, z))
    wrong = xp.log(terms.numbers(xp, label_smoothing, z))
    kept = terms.times(xp, xp.sigmoid(z), xp.log_sigmoid(z) - right)
    return kept + terms.times(xp, xp.sigmoid(-z), xp.log_sigmoid(-z) - wrong)
