"""Extragradient Preference Optimization: IPO towards win rates that the midpoint policy was judged by."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import FLAG, Choice, Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Extragradient Preference Optimization",
    paper="arXiv:2503.08942",
    equation="the sampled loss of either half step",
    formula=r"\bigl(h-\tfrac1\beta[P(y\succ y'')-P(y'\succ y'')]\bigr)^2,\quad y''\sim\operatorname{sg}[\pi]",
    reads=lambda p: (
        "chosen rejected ref_chosen ref_rejected margin" + " chosen_len rejected_len" * bool(p["length_normalized"])
    ),
    published=[
        Published(
            "zhourunlong/EGPO@f295bf3 lms/train_nlhf.py, lms/trainers/extragradient_config.py",
            {"beta": (0.1,), "length_normalized": (True,)},
        )
    ],
    answers=[
        Answer("online", paper="the authors' code: each half step generates with the policy at hand"),
        Answer("intransitive", test="algorithms/test_self_play.py::test_egpo_is_stable_where_mirror_descent_cycles"),
    ],
    reduces_to=[
        Limit(
            "ipo",
            "a gap in win rates of 1/2",
            then=lambda p: {"tau": p["beta"], "length_normalized": p["length_normalized"]},
            batch=lambda b: (b._replace(margin=0 * b.chosen + 0.5), b),
        )
    ],
    deviations=[
        Deviation("the authors' configuration", "per-token means", "length_normalized=True"),
        Deviation("the authors' code, y'' drawn as y and y'", "one judgement, P(y ≻ y') - 1/2", "margin=P-1/2"),
        Deviation(
            "its two half steps", "restore the parameters between them", "a matter of the trainer, not of the loss"
        ),
    ],
    basis="The authors' code, executed in float64 (zhourunlong/EGPO@f295bf3): tests/authors/egpo.json.",
)
def egpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[
        float, Real("β, strength of the KL constraint to the reference", low=0, open="low", unit="1/nat")
    ] = 0.1,
    length_normalized: Annotated[
        bool, Choice("divide each completion's log-probs, policy and reference, by its own length", FLAG)
    ] = False,
) -> Array:
    """Squared distance of h from the gap in win rates against a third completion (`margin`), over β."""
    h = terms.gap(xp, pairs, "", length_normalized) - terms.gap(xp, pairs, "ref_", length_normalized)
    return (h - xp.astype(pairs.margin, h) / beta) ** 2
