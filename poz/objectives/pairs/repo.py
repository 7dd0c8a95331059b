"""RePO: SimPO's hinge limit, with one hyper-parameter."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="ReLU-based Preference Optimization",
    paper="arXiv:2503.07426",
    equation="the RePO loss",
    formula=r"\max\bigl(0,\gamma-(\bar p_w-\bar p_l)\bigr),\quad\bar p=\tfrac{1}{|y|}\log\pi(y)",
    reads="chosen rejected chosen_len rejected_len",
    published=[
        Published("junkangwu/RePO@79cdf5b, training_configs/gemma-2-9b-it-repo.yaml", {"gamma": (0.4,)}),
        Published("junkangwu/RePO@79cdf5b, training_configs/llama-3-8b-instruct-repo.yaml", {"gamma": (0.6,)}),
    ],
    answers=[
        Answer("no-tuning", against="clean", paper="abstract: one hyper-parameter, where SimPO has two"),
        Answer("uneven-pairs", paper="abstract: trivial pairs are filtered by the hinge"),
        Answer("overfitting", test="objectives/test_purposes_shown.py::test_no_push_beyond_a_finite_margin"),
    ],
    reduces_to=[
        Limit(
            "slic_hf",
            "one token on each side, no regulariser",
            lambda p: p,
            lambda p: {"delta": p["gamma"], "regularization_weight": 0.0},
            lambda b: ((one := b._replace(chosen_len=0 * b.chosen_len, rejected_len=0 * b.rejected_len)), one),
        )
    ],
    basis="The authors' code, executed in float64 (junkangwu/RePO@79cdf5b): tests/authors/repo.json. It is SimPO / β as β grows without bound.",
)
def repo(
    xp: Namespace,
    pairs: Pairs,
    *,
    gamma: Annotated[float, Real("γ, margin to reach", low=0, unit="nat", usual=(0.0, 5.0))] = 0.4,
) -> Array:
    """Hinge loss of the difference of mean token log-probs."""
    return xp.relu(gamma - terms.gap(xp, pairs, "", True))
