"""DIL: preference learning as imitation, by density ratios."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import FLAG, Choice
from poz.families import Pairs
from poz.objective import Deviation, objective
from poz.purposes import Answer


@objective(
    title="Direct Imitation Learning",
    paper="arXiv:2503.05079",
    equation="the LSIF, UKL and BCE forms",
    formula=r"-e^a+\tfrac12e^{2b}\ \big|\ -\log\pi(y_w)+e^b\ \big|\ -\log\sigma(a)-\log\sigma(-b),\quad a=\log\tfrac{\pi(y_w)}{\pi_{ref}(y_w)},\ b=\log\tfrac{\pi(y_l)}{\pi_{ref}(y_l)}",
    reads=lambda p: (
        "chosen rejected ref_chosen ref_rejected" + " chosen_len rejected_len" * bool(p["length_normalized"])
    ),
    answers=[
        Answer(
            "displacement",
            test="objectives/test_purposes_shown.py::test_chosen_is_raised_more_than_rejected_is_lowered",
        ),
    ],
    deviations=[
        Deviation("the authors' released run", "mean log-probs", "length_normalized=True"),
        Deviation("the formula", "e^{2b} overflows float32 at b > 44", "a tangent continues it beyond e^60"),
    ],
    basis="The authors' code, executed in float64 (tengxiao1/DIL@0bf8bdc): tests/authors/dil.json. UKL of sums was not run.",
)
def dil(
    xp: Namespace,
    pairs: Pairs,
    *,
    loss: Annotated[str, Choice("which density-ratio loss", ("lsif", "ukl", "bce"))] = "lsif",
    length_normalized: Annotated[bool, Choice("divide each completion's log-probs by its own length", FLAG)] = False,
) -> Array:
    """Fits π/π_ref to the ratio of the densities of chosen and rejected completions, each side on its own."""

    def logp(of: str, side: str) -> Array:
        total = getattr(pairs, f"{of}{side}")
        return terms.average(xp, total, getattr(pairs, f"{side}_len")) if length_normalized else total

    chosen = logp("", "chosen")
    a, b = chosen - logp("ref_", "chosen"), logp("", "rejected") - logp("ref_", "rejected")
    if loss == "lsif":
        return 0.5 * terms.exponential(xp, 2 * b) - terms.exponential(xp, a)
    return terms.exponential(xp, b) - chosen if loss == "ukl" else xp.softplus(-a) + xp.softplus(b)
