"""Identity Preference Optimization (Ψ-PO with the identity)."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import FLAG, Choice, Real
from poz.families import Pairs
from poz.objective import objective
from poz.purposes import Answer


@objective(
    title="Identity Preference Optimization",
    paper="arXiv:2310.12036",
    equation="eq. 17",
    formula=r"\bigl(h-\tfrac{1}{2\tau}\bigr)^2",
    reads=lambda p: (
        "chosen rejected ref_chosen ref_rejected" + " chosen_len rejected_len" * bool(p["length_normalized"])
    ),
    answers=[
        Answer(
            "overfitting",
            paper="section 4.2 and section 5: the KL constraint of DPO weakens the more certain preferences are, and that of IPO does not",
            test="objectives/test_purposes_shown.py::test_no_push_beyond_a_finite_margin",
        ),
        Answer(
            "intransitive",
            paper="abstract: it is stated in probabilities of preference, which no reward need explain",
            test="objectives/test_theorems.py::test_ipo_minimiser",
        ),
    ],
    basis="Paper (sum of token log-probs). Two implementations, executed in float64: sums (eric-mitchell/direct-preference-optimization@"
    "f8b8c0f) and means (huggingface/trl@v1.16.0, which reports them as confirmed by the authors): tests/authors/ipo.json. "
    "The authors released none that was found. Libraries call τ `beta`.",
)
def ipo(
    xp: Namespace,
    pairs: Pairs,
    *,
    tau: Annotated[
        float, Real("τ, strength of the KL constraint; the target is 1/(2τ)", low=0, open="low", unit="1/nat")
    ] = 0.1,
    length_normalized: Annotated[
        bool, Choice("divide each completion's log-probs, policy and reference, by its own length", FLAG)
    ] = False,
) -> Array:
    """Squared distance of the log-ratio margin h from 1/(2τ), so it does not saturate on deterministic labels."""
    h = terms.gap(xp, pairs, "", length_normalized) - terms.gap(xp, pairs, "ref_", length_normalized)
    return (h - 0.5 / tau) ** 2
