"""DPO with a weighted reference."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Limit, Published, objective
from poz.purposes import Answer


@objective(
    title="Reference-weighted DPO",
    paper="arXiv:2405.19534",
    equation="eq. 4, section 5 of the draft in the authors' repository",
    formula=r"-\log\sigma\bigl(\beta[\Delta_\pi-\gamma\,\Delta_{ref}]\bigr),\quad\Delta=\log\tfrac{\pi(y_w)}{\pi(y_l)}",
    reads="chosen rejected ref_chosen ref_rejected",
    published=[
        Published("angie-chen55/pref-learning-ranking-acc@a86bdef README.md", {"beta": (0.1,)}),
        Published(
            "angie-chen55/pref-learning-ranking-acc@a86bdef, the draft of the paper there, section 5",
            {"gamma": (0.0, 2.0)},
        ),
    ],
    answers=[
        Answer(
            "wrong-reference",
            paper="section 5, eq. 4 of the authors' draft: γ scales how hard a pair is to learn that the reference ranks wrongly",
            test="objectives/test_purposes_shown.py::test_a_reference_that_ranks_wrongly_does_not_hold_a_pair_back",
        ),
    ],
    reduces_to=[
        Limit("dpo", "γ = 1", lambda p: {**p, "gamma": 1.0}, lambda p: {"beta": p["beta"]}),
        Limit(
            "cpo",
            "γ = 0: no reference",
            lambda p: {**p, "gamma": 0.0},
            lambda p: {"beta": p["beta"], "nll_weight": 0.0},
        ),
    ],
    basis="The authors' code (`alpha_scaling`), executed in float64 (angie-chen55/pref-learning-ranking-acc@a86bdef): tests/authors/dpo_gamma.json.",
)
def dpo_gamma(
    xp: Namespace,
    pairs: Pairs,
    *,
    beta: Annotated[float, Real("β, strength of the KL constraint", low=0, open="low", unit="1/nat")] = 0.1,
    gamma: Annotated[float, Real("γ, weight of the reference's log-ratio", usual=(-0.5, 2.0))] = 1.0,
) -> Array:
    """DPO with the reference's log-ratio scaled by γ: a smaller γ protects fewer of its mis-ranked pairs."""
    return -xp.log_sigmoid(beta * (terms.gap(xp, pairs) - terms.times(xp, gamma, terms.gap(xp, pairs, "ref_"))))
