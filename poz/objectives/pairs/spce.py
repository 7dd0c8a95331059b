"""Soft-preference cross-entropy: DPO with the probability that chosen is better."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, Values, objective
from poz.objectives import _labels as labels
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    labels.check(xp, "spce", pairs)


@objective(
    title="Soft-Preference Cross-Entropy (online self-preferring)",
    paper="arXiv:2405.14103",
    equation="the SPCE loss; body not read",
    formula=r"-y\log\sigma(\beta h)-(1-y)\log\sigma(-\beta h)",
    reads="chosen rejected ref_chosen ref_rejected",
    optional="label",
    answers=[
        Answer(
            "preference-strength",
            paper="abstract: the strength of a preference tells pairs apart that a label alone does not",
            test="objectives/test_purposes_shown.py::test_a_stronger_preference_pulls_harder",
        ),
        Answer(
            "overfitting",
            paper="abstract: using the strength is what avoids overfitting",
            test="objectives/test_label_laws.py::test_soft_labels_have_a_finite_optimum_with_the_entropy_as_value",
        ),
        Answer("online", paper="abstract: the model judges pairs that it generated itself"),
    ],
    check_values=_check_values,
    aliases=("soft_dpo", "osp"),
    reduces_to=[
        Limit("dpo", "every label 1", lambda p: p, lambda p: p, lambda b: (b._replace(label=None), b)),
        Limit(
            "dpo",
            "every label 1 - ε",
            lambda p: p,
            lambda p: {**p, "label_smoothing": 0.25},
            lambda b: (b._replace(label=0 * b.chosen + 0.75), b),
        ),
    ],
    basis="The abstract (name, inputs); how the paper estimates y is not settled, so y is given. No code of its authors was found. The cross-entropy of "
    "DPO's authors, executed in float64 (eric-mitchell/direct-preference-optimization@f8b8c0f): tests/authors/spce.json.",
)
def spce(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
) -> Array:
    """Cross-entropy of σ(β h) to a soft label: least, and still, where h = logit(y) / β."""
    z = beta * terms.log_ratio_margin(pairs)
    if pairs.label is None:
        return -xp.log_sigmoid(z)
    label = xp.astype(pairs.label, z)
    return -terms.times(xp, label, xp.log_sigmoid(z)) - terms.times(xp, 1 - label, xp.log_sigmoid(-z))
