"""Optimistic Nash Policy Optimization: one half step of optimistic mirror descent in self-play."""

from typing import Annotated

from poz import terms
from poz.backends import Array, Namespace
from poz.domains import Real
from poz.families import Pairs
from poz.objective import Deviation, Limit, Values, objective
from poz.purposes import Answer


def _check_values(xp: Namespace, pairs: Pairs, values: Values) -> None:
    if pairs.opponents_chosen.shape[0] != 1:
        raise ValueError(
            f"`onpo` has one opponent, the policy it starts the half step from; got {pairs.opponents_chosen.shape[0]}."
        )


def _as_reference(pairs: Pairs) -> tuple[Pairs, Pairs]:
    one = pairs._replace(opponents_chosen=pairs.opponents_chosen[:1], opponents_rejected=pairs.opponents_rejected[:1])
    return one, one._replace(ref_chosen=one.opponents_chosen[0], ref_rejected=one.opponents_rejected[0])


@objective(
    title="Optimistic Nash Policy Optimization",
    paper="arXiv:2502.16852",
    equation="the two losses of its practical algorithm",
    formula=r"\bigl(\Delta_\pi-\Delta_{\pi'}-\tfrac{\eta}{2}\bigr)^2,\quad \Delta_\mu=\log\mu(y_w)-\log\mu(y_l)",
    reads="chosen rejected opponents_chosen opponents_rejected",
    answers=[
        Answer(
            "intransitive",
            paper="theorem: with optimism the last policy approaches the equilibrium, without a regulariser",
            test="algorithms/test_self_play.py::test_onpo_last_iterate_converges",
        ),
        Answer("online", paper="the algorithm: pairs of the current policy serve both halves of a step"),
    ],
    check_values=_check_values,
    reduces_to=[
        Limit(
            "ipo",
            "the reference is π', τ = 1/η",
            then=lambda p: {"tau": 1 / p["eta"], "length_normalized": False},
            batch=_as_reference,
        ),
        Limit(
            "inpo",
            "without a KL constraint, η there being 1/η",
            then=lambda p: {"eta": 1 / p["eta"], "tau": 0.0, "length_normalized": False},
            batch=_as_reference,
        ),
    ],
    deviations=[
        Deviation("INPO", "η is an inverse step size", "eta=1/eta_inpo"),
        Deviation(
            "its two half steps",
            "π'_t, then π'_{t+1} as opponent, on the same pairs of π_t",
            "two calls: π'_{t+1} is the first minimiser, π_{t+1} the second",
        ),
    ],
    basis="Paper, full text; no code was released. MNPO's loss without a reference, and IPO by DPO's authors, executed in float64 "
    "(smiles724/MNPO@b8317e9): tests/authors/onpo.json. The default η is not the paper's: its theory has η <= 1/8 or 1/2.",
)
def onpo(
    xp: Namespace,
    pairs: Pairs,
    *,
    eta: Annotated[float, Real("η, step size; the target is η/2", low=0, open="low", unit="nat")] = 0.1,
) -> Array:
    """Squared distance of the margin over the policy that the half step starts from, π', from η/2."""
    return (terms.gap(xp, pairs) - terms.gap(xp, pairs, "opponents_")[0] - 0.5 * eta) ** 2
